"""The field checker: what the constructors of commands and domain types accept.

msgspec builds a struct without looking at its values and then calls ``__post_init__``. That hook is a function made
here, once for each class, from the class's annotations: it reads every field straight from its slot, accepts what is in
its final form at the cost of a few comparisons, and takes the slow path for the rest: conversion, or a typed refusal.
Only the new instance is ever changed, never what the caller passed in.

A command is built for every submit, so that much would still be half of what one costs. When the hook meets the first instance of a
class, it gives the class a constructor that fills the slots and checks them in one go; what that cannot place is left to msgspec's.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Size
from cpython.exc cimport PyErr_Clear
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyNumber_Index
from cpython.object cimport Py_TYPE, PyObject, PyObject_TypeCheck, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport UINT64_MAX, int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from _wal_native.ids cimport Identifier

import enum
import types
import typing

from msgspec.structs import fields as struct_fields

from _wal_native.above import InvalidFieldError, InvalidFieldTypeError

cdef object NODEFAULT
from msgspec import NODEFAULT

cdef extern from "base/limits.h":
    enum:
        AQW_PAYLOAD_SIZE_MAX, AQW_TEXT_SIZE_MAX, AQW_LIST_COUNT_MAX, AQW_DEPARTMENT_SIZE_MAX
        AQW_BATCH_COUNT_MAX, AQW_BATCH_SIZE_MAX
        AQW_SEGMENT_SIZE_MIN, AQW_SEGMENT_SIZE_FIRST, AQW_SEGMENT_SIZE_DEFAULT, AQW_SEGMENT_SIZE_MAX
        AQW_SEGMENT_FILE_SIZE_MAX, AQW_SEGMENT_RESERVE_MAX, AQW_SEGMENT_COUNT_MAX, AQW_MAPPING_COUNT_MAX
        AQW_RING_SIZE_MIN, AQW_RING_SIZE_DEFAULT, AQW_RING_SIZE_MAX
        AQW_SNAPSHOT_COUNT_MAX, AQW_QUARANTINE_COPIES_MAX, AQW_PURGE_COUNT_MAX, AQW_TOMBSTONE_COUNT_MAX, AQW_IMAGE_ITEM_SIZE_MAX
        AQW_PATH_SIZE_MAX, AQW_NAME_SIZE_MAX
    const unsigned long long AQW_ROW_COUNT_MAX, AQW_SEQUENCE_MAX

cdef extern from *:
    """
    /* The offset of a struct's slot, or -1 where the descriptor is not that of an object slot. */
    #include <structmember.h>
    static Py_ssize_t aqw_fields_slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return -1;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : -1;
    }
    static inline PyObject *aqw_fields_slot(PyObject *instance, Py_ssize_t offset) {
        return *(PyObject **)((char *)instance + offset);
    }
    /* Puts a value into a slot; the slot takes a reference of its own. */
    static inline void aqw_fields_set(PyObject *instance, Py_ssize_t offset, PyObject *value) {
        PyObject **slot = (PyObject **)((char *)instance + offset);
        PyObject *old = *slot;
        *slot = Py_NewRef(value);
        Py_XDECREF(old);
    }
    /* Whether calls of the class go through a function of its own, which may then be another one; and its instances are nothing but
     * slots. On free-threaded builds another thread may be calling it. */
    static int aqw_fields_takes_constructor(PyObject *cls, Py_ssize_t count) {
    #ifdef Py_GIL_DISABLED
        (void)cls;
        (void)count;
        return 0;
    #else
        PyTypeObject *type = (PyTypeObject *)cls;
        return Py_TYPE(cls)->tp_vectorcall_offset == offsetof(PyTypeObject, tp_vectorcall) && type->tp_vectorcall != NULL &&
               !PyType_IS_GC(type) && type->tp_weaklistoffset == 0 && type->tp_dictoffset == 0 && type->tp_itemsize == 0 &&
               type->tp_basicsize == (Py_ssize_t)(sizeof(PyObject) + (size_t)count * sizeof(PyObject *));
    #endif
    }
    /* An instance with empty slots. */
    static inline PyObject *aqw_fields_new(PyObject *cls) {
        PyObject *made = PyObject_Malloc((size_t)((PyTypeObject *)cls)->tp_basicsize);
        if (made == NULL) return PyErr_NoMemory();
        for (PyObject **slot = (PyObject **)(made + 1); (char *)slot < (char *)made + ((PyTypeObject *)cls)->tp_basicsize; slot++) *slot = NULL;
        return PyObject_Init(made, (PyTypeObject *)cls);
    }
    /* Only calls are taken over. How instances end stays msgspec's: it calls the functions of base classes for those of subclasses, which
     * may be tracked by the collector, have weak references or a dictionary, and so another allocator. */
    static void aqw_fields_take_over(PyObject *cls, vectorcallfunc construct) { ((PyTypeObject *)cls)->tp_vectorcall = construct; }
    /* The value of an int from 0 to 2**60 - 1, for less than a call. */
    static inline int aqw_fields_number(PyObject *number, uint64_t *value) {
    #if PY_VERSION_HEX < 0x030C0000
        Py_ssize_t size = Py_SIZE(number);
        const digit *digits = ((PyLongObject *)number)->ob_digit;
    #else
        uintptr_t tag = ((PyLongObject *)number)->long_value.lv_tag;
        Py_ssize_t size = (tag & 2) != 0 ? -1 : (Py_ssize_t)(tag >> 3);
        const digit *digits = ((PyLongObject *)number)->long_value.ob_digit;
    #endif
        if (size < 0 || size > 2) return 0;
        *value = (size > 0 ? digits[0] : 0) | (size > 1 ? (uint64_t)digits[1] << PyLong_SHIFT : 0);
        return 1;
    }
    """
    ctypedef object (*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *)
    ctypedef struct ClassWithCalls "PyTypeObject":
        vectorcallfunc tp_vectorcall
    Py_ssize_t PyVectorcall_NARGS(size_t count) noexcept
    void aqw_fields_set(PyObject *instance, Py_ssize_t offset, PyObject *value) noexcept
    bint aqw_fields_takes_constructor(object cls, Py_ssize_t count) noexcept
    object aqw_fields_new(PyObject *cls)
    void aqw_fields_take_over(object cls, vectorcallfunc construct) noexcept
    bint aqw_fields_number(PyObject *number, uint64_t *value) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(PyObject *text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text) noexcept
    Py_ssize_t aqw_fields_slot_offset(object descriptor) noexcept
    PyObject *aqw_fields_slot(object instance, Py_ssize_t offset) noexcept
    const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *size) noexcept
    long long PyLong_AsLongLongAndOverflow(PyObject *number, int *overflow) noexcept
    unsigned long long PyLong_AsUnsignedLongLong(PyObject *number) noexcept
    PyObject *PyErr_Occurred() noexcept
    object PyUnicode_FromObject(object text)

# The limits of core/base/limits.h; public as actionqueue.limits.
SEQUENCE_MAX = AQW_SEQUENCE_MAX
PAYLOAD_SIZE_MAX = AQW_PAYLOAD_SIZE_MAX
TEXT_SIZE_MAX = AQW_TEXT_SIZE_MAX
LIST_COUNT_MAX = AQW_LIST_COUNT_MAX
DEPARTMENT_SIZE_MAX = AQW_DEPARTMENT_SIZE_MAX
BATCH_COUNT_MAX = AQW_BATCH_COUNT_MAX
BATCH_SIZE_MAX = AQW_BATCH_SIZE_MAX
SEGMENT_SIZE_MIN = AQW_SEGMENT_SIZE_MIN
SEGMENT_SIZE_FIRST = AQW_SEGMENT_SIZE_FIRST
SEGMENT_SIZE_DEFAULT = AQW_SEGMENT_SIZE_DEFAULT
SEGMENT_SIZE_MAX = AQW_SEGMENT_SIZE_MAX
SEGMENT_FILE_SIZE_MAX = AQW_SEGMENT_FILE_SIZE_MAX
SEGMENT_RESERVE_MAX = AQW_SEGMENT_RESERVE_MAX
MAPPING_COUNT_MAX = AQW_MAPPING_COUNT_MAX
SEGMENT_COUNT_MAX = AQW_SEGMENT_COUNT_MAX
RING_SIZE_MIN = AQW_RING_SIZE_MIN
RING_SIZE_DEFAULT = AQW_RING_SIZE_DEFAULT
RING_SIZE_MAX = AQW_RING_SIZE_MAX
SNAPSHOT_COUNT_MAX = AQW_SNAPSHOT_COUNT_MAX
QUARANTINE_COPIES_MAX = AQW_QUARANTINE_COPIES_MAX
PURGE_COUNT_MAX = AQW_PURGE_COUNT_MAX
TOMBSTONE_COUNT_MAX = AQW_TOMBSTONE_COUNT_MAX
IMAGE_ITEM_SIZE_MAX = AQW_IMAGE_ITEM_SIZE_MAX
ROW_COUNT_MAX = AQW_ROW_COUNT_MAX
PATH_SIZE_MAX = AQW_PATH_SIZE_MAX
NAME_SIZE_MAX = AQW_NAME_SIZE_MAX


# --- What an annotation may say --------------------------------------------------------------------------------------

@cython.final
cdef class IntegerRule:
    """Metadata of an ``int`` annotation: the smallest and the largest value, within 64 bits."""

    cdef readonly object minimum
    cdef readonly object maximum

    def __init__(self, minimum, maximum):
        self.minimum = minimum
        self.maximum = maximum


@cython.final
cdef class SizeRule:
    """Metadata of a ``str``, ``bytes`` or ``tuple`` annotation: least and most UTF-8 bytes, bytes or entries."""

    cdef readonly Py_ssize_t minimum
    cdef readonly Py_ssize_t maximum

    def __init__(self, minimum, maximum):
        self.minimum = minimum
        self.maximum = maximum


@cython.final
cdef class NotNilRule:
    """Metadata of an identifier annotation: the nil UUID is refused."""


@cython.final
cdef class ConvertRule:
    """Metadata of a class annotation: values of these types are passed to the function, which gives an instance."""

    cdef readonly tuple accepted
    cdef readonly object function

    def __init__(self, accepted, function):
        self.accepted = accepted
        self.function = function


cdef enum:
    PRESENCES_MAX = 4

cdef struct Presence:
    Py_ssize_t offset
    PyObject *members
    bint is_required


@cython.final
cdef class PresenceRule:
    """What the optional fields of a class depend on: each may be there only where a choice is one of certain members.

    A class says so with its attribute ``_together``, for those who build many: where it holds, ``_check_together`` is not called. What is
    empty does not hold, since it may mean that there is none.
    """

    cdef str choice
    cdef dict members               # of each optional field
    cdef tuple required             # the fields that must be there with their members
    cdef Py_ssize_t choice_offset
    cdef Presence presences[PRESENCES_MAX]

    def __init__(self, str choice, dict members, tuple required):
        if len(members) > PRESENCES_MAX:
            raise ValueError(f"at most {PRESENCES_MAX} fields can depend on a choice")
        self.choice = choice
        self.members = {name: tuple(among) for name, among in members.items()}
        self.required = required

    cdef int bind(self, object cls) except -1:
        """Find the slots."""
        cdef int index
        self.choice_offset = slot_of(cls, self.choice)
        for index, (name, among) in enumerate(self.members.items()):
            self.presences[index].offset = slot_of(cls, name)
            self.presences[index].members = <PyObject *>among
            self.presences[index].is_required = name in self.required
        return 0

    cdef bint holds(self, object instance) except -1:
        """Whether the fields of an instance, each valid in itself, go together."""
        cdef PyObject *choice = aqw_fields_slot(instance, self.choice_offset)
        cdef PyObject *value
        cdef bint is_member
        cdef int index
        for index in range(PyDict_Size(self.members)):
            value = aqw_fields_slot(instance, self.presences[index].offset)
            is_member = is_among(choice, <object>self.presences[index].members)
            if value == <PyObject *>None:
                if is_member and self.presences[index].is_required:
                    return False
            elif not is_member or not <object>value:
                return False
        return True


cdef Py_ssize_t slot_of(object cls, str name) except -1:
    """Return where a field lies in an instance."""
    cdef Py_ssize_t offset = aqw_fields_slot_offset(getattr(cls, name))
    if offset < 0:
        raise TypeError(f"{cls.__name__}.{name} has no slot; this version of msgspec is not supported")
    return offset


cdef inline bint is_among(PyObject *choice, object members) noexcept:
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(members)):
        if PyTuple_GET_ITEM(members, index) == choice:
            return True
    return False


# --- Fields ----------------------------------------------------------------------------------------------------------

cdef enum Kind:
    UNSIGNED, SIGNED, TEXT, BYTES, IDENTIFIER, CHOICE, ITEMS, INSTANCE


@cython.final
cdef class Field:
    """One field of a class, or the entries of a list field: what is accepted as it is, and what else is converted."""

    cdef str name
    cdef Py_ssize_t offset          # of the slot in an instance
    cdef Kind kind
    cdef bint optional
    cdef uint64_t unsigned_minimum, unsigned_maximum
    cdef int64_t signed_minimum, signed_maximum
    cdef Py_ssize_t size_minimum, size_maximum
    cdef bint not_nil
    cdef object cls                 # the type of an accepted value; of INSTANCE, or a subclass of it
    cdef dict members               # CHOICE: name to member
    cdef Field item                 # ITEMS: the entries
    cdef ConvertRule conversion     # INSTANCE: what else is accepted, or None

    def __init__(self, str name, object annotation):
        self.name = name
        self.size_maximum = AQW_TEXT_SIZE_MAX
        self.read(annotation)

    def read(self, annotation):
        """Take over what the annotation says."""
        origin = typing.get_origin(annotation)
        if origin is typing.Union or origin is types.UnionType:
            inner = [part for part in typing.get_args(annotation) if part is not type(None)]
            if len(inner) != 1:
                raise TypeError(f"the field {self.name!r} has more than one type: {annotation}")
            self.optional = True
            self.read(inner[0])
        elif origin is typing.Annotated:
            base, *rules = typing.get_args(annotation)
            self.read(base)
            for rule in rules:
                self.restrict(rule)
        elif origin is tuple:
            entry, _ = typing.get_args(annotation)
            self.kind = ITEMS
            self.cls = tuple
            self.item = Field(self.name, entry)
            self.size_maximum = AQW_LIST_COUNT_MAX
        else:
            self.read_class(annotation)

    def read_class(self, cls):
        """Take over a plain class."""
        self.cls = cls
        if cls is int:
            self.kind = UNSIGNED
            self.unsigned_maximum = UINT64_MAX
        elif cls is str:
            self.kind = TEXT
        elif cls is bytes:
            self.kind = BYTES
            self.size_maximum = AQW_PAYLOAD_SIZE_MAX
        elif not isinstance(cls, type):
            raise TypeError(f"the field {self.name!r} has an annotation that cannot be checked: {cls!r}")
        elif issubclass(cls, Identifier):
            self.kind = IDENTIFIER
        elif issubclass(cls, enum.StrEnum):
            self.kind = CHOICE
            self.members = {member.value: member for member in cls}
        else:
            self.kind = INSTANCE

    def restrict(self, rule):
        """Take over the metadata of an annotation."""
        if isinstance(rule, IntegerRule) and self.kind == UNSIGNED:
            if rule.minimum < 0:
                self.kind = SIGNED
                self.signed_minimum = rule.minimum
                self.signed_maximum = rule.maximum
            else:
                self.unsigned_minimum = rule.minimum
                self.unsigned_maximum = rule.maximum
        elif isinstance(rule, SizeRule) and self.kind in (TEXT, BYTES, ITEMS):
            self.size_minimum = (<SizeRule>rule).minimum
            self.size_maximum = (<SizeRule>rule).maximum
        elif isinstance(rule, NotNilRule) and self.kind == IDENTIFIER:
            self.not_nil = True
        elif isinstance(rule, ConvertRule) and self.kind == INSTANCE:
            self.conversion = rule
        else:
            raise TypeError(f"the field {self.name!r} has a rule that does not fit its type: {rule!r}")


# --- The fast path: is the value in its final form? ------------------------------------------------------------------

cdef bint accepts(Field field, PyObject *value) noexcept:
    """Whether the field takes the value as it is. Never leaves an exception set."""
    cdef Py_ssize_t size
    if value == <PyObject *>None:
        return field.optional
    if field.kind == IDENTIFIER:
        return has_type(value, field.cls) and not (field.not_nil and is_nil(<Identifier>value))
    if field.kind == UNSIGNED:
        return PyLong_CheckExact(<object>value) and is_unsigned(field, value)
    if field.kind == SIGNED:
        return PyLong_CheckExact(<object>value) and is_signed(field, value)
    if field.kind == TEXT:
        if not PyUnicode_CheckExact(<object>value):
            return False
        size = utf8_size(value)
        return field.size_minimum <= size <= field.size_maximum
    if field.kind == CHOICE:
        return has_type(value, field.cls)
    if field.kind == BYTES:
        return (PyBytes_CheckExact(<object>value)
                and field.size_minimum <= PyBytes_GET_SIZE(<object>value) <= field.size_maximum)
    if field.kind == INSTANCE:
        return PyObject_TypeCheck(<object>value, <PyTypeObject *>field.cls)
    return accepts_items(field, value)


cdef inline bint has_type(PyObject *value, object cls) noexcept:
    """Whether the value is an instance of the very class, and not of a subclass."""
    return <PyObject *>Py_TYPE(<object>value) == <PyObject *>cls


cdef bint accepts_items(Field field, PyObject *value) noexcept:
    cdef Py_ssize_t index, count
    if not PyTuple_CheckExact(<object>value):
        return False
    count = PyTuple_GET_SIZE(<object>value)
    if not field.size_minimum <= count <= field.size_maximum:
        return False
    for index in range(count):
        if not accepts(field.item, PyTuple_GET_ITEM(<object>value, index)):
            return False
    return True


cdef inline bint is_nil(Identifier value) noexcept:
    cdef uint64_t half[2]
    memcpy(half, value.data, 16)
    return (half[0] | half[1]) == 0


cdef inline bint is_unsigned(Field field, PyObject *value) noexcept:
    cdef int overflow
    cdef long long small = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef unsigned long long number = <unsigned long long>small
    if overflow < 0 or (overflow == 0 and small < 0):
        return False
    if overflow > 0:
        number = PyLong_AsUnsignedLongLong(value)
        if number == UINT64_MAX and PyErr_Occurred() != NULL:
            PyErr_Clear()
            return False
    return field.unsigned_minimum <= number <= field.unsigned_maximum


cdef inline bint is_signed(Field field, PyObject *value) noexcept:
    cdef int overflow
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    return overflow == 0 and field.signed_minimum <= number <= field.signed_maximum


cdef inline Py_ssize_t utf8_size(PyObject *value) noexcept:
    """Return a string's size in UTF-8, or -1 where it has no such form. The string keeps the form for the encoder."""
    cdef Py_ssize_t size
    if PyUnicode_AsUTF8AndSize(value, &size) == NULL:
        PyErr_Clear()
        return -1
    return size


# What decides most fields, in one place, and without a look at the rest of the rule.

cdef struct Quick:
    Py_ssize_t offset
    PyObject *cls                   # of a value in its final form; of INSTANCE, the class itself only
    Kind kind
    bint optional
    bint not_nil
    uint64_t minimum, maximum       # of a number, or of a size


cdef void set_quick(Quick *to, Field field) noexcept:
    to.offset = field.offset
    to.cls = <PyObject *>field.cls
    to.kind = field.kind
    to.optional = field.optional
    to.not_nil = field.not_nil
    if field.kind == UNSIGNED:
        to.minimum, to.maximum = field.unsigned_minimum, field.unsigned_maximum
    elif field.kind == SIGNED:
        to.minimum, to.maximum = 0, <uint64_t>field.signed_maximum
    else:
        to.minimum, to.maximum = <uint64_t>field.size_minimum, <uint64_t>field.size_maximum


cdef inline bint accepts_at_once(const Quick *quick, PyObject *value) noexcept:
    """Whether the field is known to take the value; where it is not, ``accepts`` decides."""
    cdef uint64_t number
    if <PyObject *>Py_TYPE(<object>value) != quick.cls:
        return value == <PyObject *>None and quick.optional
    if quick.kind == IDENTIFIER:
        return not (quick.not_nil and is_nil(<Identifier>value))
    if quick.kind == CHOICE or quick.kind == INSTANCE:
        return True
    if quick.kind == UNSIGNED or quick.kind == SIGNED:
        return aqw_fields_number(value, &number) and quick.minimum <= number <= quick.maximum
    if quick.kind == BYTES:
        return quick.minimum <= <uint64_t>PyBytes_GET_SIZE(<object>value) <= quick.maximum
    if quick.kind == TEXT:
        return PyUnicode_IS_COMPACT_ASCII(value) and quick.minimum <= <uint64_t>PyUnicode_GET_LENGTH(value) <= quick.maximum
    return quick.minimum == 0 and PyTuple_GET_SIZE(<object>value) == 0      # ITEMS


# --- The slow path: convert or refuse --------------------------------------------------------------------------------

cdef object convert(str type_name, Field field, object value):
    """Return the value in its final form, or raise what says why the field refuses it."""
    if value is None or field.kind == IDENTIFIER:
        return refuse(type_name, field, value, isinstance(value, Identifier) and type(value) is field.cls)
    if field.kind == UNSIGNED or field.kind == SIGNED:
        if isinstance(value, int) and not isinstance(value, bool):
            return checked(type_name, field, PyNumber_Index(value))     # the plain int in a subclass's instance
        return refuse(type_name, field, value, False)
    if field.kind == TEXT:
        if isinstance(value, str):
            return checked(type_name, field, PyUnicode_FromObject(value))
        return refuse(type_name, field, value, False)
    if field.kind == BYTES:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return checked(type_name, field, bytes(memoryview(value)))
        return refuse(type_name, field, value, False)
    if field.kind == CHOICE:
        if not PyUnicode_CheckExact(value):
            return refuse(type_name, field, value, False)
        member = field.members.get(value)
        return refuse(type_name, field, value, True) if member is None else member
    if field.kind == ITEMS:
        if isinstance(value, (list, tuple)):
            return convert_items(type_name, field, tuple(value))
        return refuse(type_name, field, value, False)
    if field.conversion is not None and isinstance(value, field.conversion.accepted):
        return field.conversion.function(value)
    return refuse(type_name, field, value, False)


cdef object convert_items(str type_name, Field field, tuple entries):
    if not field.size_minimum <= len(entries) <= field.size_maximum:
        return refuse(type_name, field, entries, True)
    return tuple([entry if accepts(field.item, <PyObject *>entry) else convert(type_name, field.item, entry)
                  for entry in entries])


cdef object checked(str type_name, Field field, object value):
    """Return the converted value where the field takes it."""
    if accepts(field, <PyObject *>value):
        return value
    return refuse(type_name, field, value, True)


cdef object refuse(str type_name, Field field, object value, bint type_fits):
    """Raise what says why the field refuses the value."""
    error = InvalidFieldError if type_fits else InvalidFieldTypeError
    raise error(type_name, field.name, value, reason_for(field, value, type_fits))


cdef str reason_for(Field field, object value, bint type_fits):
    """What the field takes, None included."""
    return what_fits(field, value, type_fits) + (", or None" if field.optional and not type_fits else "")


cdef str what_fits(Field field, object value, bint type_fits):
    if field.kind == SIGNED:
        return f"must be an int from {field.signed_minimum} to {field.signed_maximum}"
    if field.kind == UNSIGNED:
        return f"must be an int from {field.unsigned_minimum} to {field.unsigned_maximum}"
    if field.kind == TEXT:
        if type_fits and utf8_size(<PyObject *>value) < 0:
            return "must be text that UTF-8 can encode, without lone surrogates"
        return f"must be a str of {field.size_minimum} to {field.size_maximum} bytes in UTF-8"
    if field.kind == BYTES:
        return f"must be {field.size_minimum} to {field.size_maximum} bytes"
    if field.kind == IDENTIFIER:
        return "must not be nil" if type_fits else f"must be a {field.cls.__name__}"
    if field.kind == CHOICE:
        return f"must be one of {', '.join(field.members)}"
    if field.kind == ITEMS:
        return f"must be a tuple or list of {field.size_minimum} to {field.size_maximum} entries"
    others = "" if field.conversion is None else "".join(f" or {cls.__name__}" for cls in field.conversion.accepted)
    return f"must be a {field.cls.__name__}{others}"


# --- The hook --------------------------------------------------------------------------------------------------------

@cython.final
cdef class FieldTable:
    """All fields of one class, and its method ``_check_together`` if it has one."""

    cdef str type_name
    cdef tuple fields
    cdef Quick *quicks              # one for each field
    cdef object check_together
    cdef PresenceRule together      # where it holds, check_together has nothing to say; or None
    cdef bint was_looked_at         # by add_constructor
    # For the constructor only:
    cdef tuple names
    cdef tuple defaults             # NODEFAULT where there is none
    cdef tuple factories            # likewise
    cdef vectorcallfunc build       # msgspec's

    def __init__(self, cls):
        cdef Py_ssize_t index
        annotations = {}
        for base in reversed(cls.__mro__):
            annotations.update(getattr(base, "__annotations__", {}))    # a class's own, even if it has none
        self.type_name = cls.__name__
        self.fields = tuple(
            [self.field(cls, name, kind) for name, kind in annotations.items()
             if typing.get_origin(kind) is not typing.ClassVar])
        self.quicks = <Quick *>PyMem_Malloc(len(self.fields) * sizeof(Quick))
        if self.quicks == NULL:
            raise MemoryError
        for index, field in enumerate(self.fields):
            set_quick(&self.quicks[index], field)
        self.check_together = getattr(cls, "_check_together", None)
        self.together = getattr(cls, "_together", None)
        if self.together is not None:
            self.together.bind(cls)

    def __dealloc__(self):
        PyMem_Free(self.quicks)

    def field(self, cls, name, kind):
        """Read one field's annotation, and find its slot."""
        cdef Field field = Field(name, kind)
        field.offset = slot_of(cls, name)
        return field


cdef int check_fields(FieldTable table, object instance) except -1:
    cdef const Quick *quick = table.quicks
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(table.fields)):
        if not accepts_at_once(&quick[index], aqw_fields_slot(instance, quick[index].offset)):
            check_field(table, instance, <Field>PyTuple_GET_ITEM(table.fields, index))
    if table.check_together is not None and (table.together is None or not table.together.holds(instance)):
        table.check_together(instance)
    return 0


cdef int check_field(FieldTable table, object instance, Field field) except -1:
    cdef PyObject *value = aqw_fields_slot(instance, field.offset)
    if not accepts(field, value):
        converted = convert(table.type_name, field, <object>value)
        aqw_fields_set(<PyObject *>instance, field.offset, <PyObject *>converted)
    return 0


def field_checker(cls):
    """Return the ``__post_init__`` of a struct class: it checks, and where it is allowed converts, every field.

    After the fields the method ``_check_together`` of the class is called, if there is one. Raises TypeError where an
    annotation of the class is none that can be checked.
    """
    cdef FieldTable table = FieldTable(cls)

    def check(instance):
        check_fields(table, instance)
        if not table.was_looked_at:     # now the class is complete; while its hooks are made it is not
            table.was_looked_at = True
            add_constructor(table, type(instance))

    return check


# --- The constructor -------------------------------------------------------------------------------------------------

cdef enum:
    CONSTRUCTORS = 1024
    CONSTRUCTORS_MAX = 512      # more classes than that are left to msgspec

cdef struct Constructor:
    PyObject *cls               # both are kept for good
    PyObject *table

cdef Constructor constructors[CONSTRUCTORS]     # by the class's address; the next free place where that is taken
cdef int constructor_count = 0


cdef inline int place_of(PyObject *cls) noexcept:
    """Where a class's entry is, or would be."""
    cdef int place = <int>((<uintptr_t>cls >> 4) * <uintptr_t>2654435761 % CONSTRUCTORS)
    while constructors[place].cls != cls and constructors[place].cls != NULL:
        place = (place + 1) % CONSTRUCTORS
    return place


cdef int add_constructor(FieldTable table, object cls) except -1:
    """Have calls of the class come to ``construct``, if its fields are those of the table."""
    global constructor_count
    cdef int place
    if constructors[place_of(<PyObject *>cls)].cls != NULL:
        return 0
    if not aqw_fields_takes_constructor(cls, len(table.fields)) or constructor_count >= CONSTRUCTORS_MAX:
        return 0
    fields = struct_fields(cls)
    names = tuple([field.name for field in fields])
    if names != tuple([(<Field?>field).name for field in table.fields]):
        return 0
    table.names = names
    table.defaults = tuple([field.default for field in fields])
    table.factories = tuple([field.default_factory for field in fields])
    table.build = (<ClassWithCalls *>cls).tp_vectorcall
    place = place_of(<PyObject *>cls)
    Py_INCREF(cls)
    Py_INCREF(table)
    constructors[place].table = <PyObject *>table
    constructors[place].cls = <PyObject *>cls
    constructor_count += 1
    aqw_fields_take_over(cls, <vectorcallfunc>construct)
    return 0


cdef object construct(PyObject *cls, PyObject *const *arguments, size_t count_and_flag, PyObject *names):
    """Build an instance: what msgspec's constructor and the hook do, in one go."""
    cdef FieldTable table = <FieldTable>constructors[place_of(cls)].table
    cdef Py_ssize_t given = PyVectorcall_NARGS(count_and_flag)
    cdef Py_ssize_t index, count = PyTuple_GET_SIZE(table.fields)
    if given > count:
        return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    instance = aqw_fields_new(cls)
    for index in range(given):
        aqw_fields_set(<PyObject *>instance, offset_of(table, index), arguments[index])
    if names != NULL:
        for index in range(PyTuple_GET_SIZE(<object>names)):
            if not set_by_name(table, instance, PyTuple_GET_ITEM(<object>names, index), arguments[given + index]):
                return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    if given < count and not set_defaults(table, instance, given):
        return msgspec_constructs(table, cls, arguments, count_and_flag, names)
    check_fields(table, instance)
    return instance


cdef inline object msgspec_constructs(FieldTable table, PyObject *cls, PyObject *const *arguments, size_t count_and_flag, PyObject *names):
    """What cannot be placed at once: names that are not interned, and mistakes, which msgspec tells of."""
    try:
        return table.build(cls, arguments, count_and_flag, names)
    except TypeError as error:
        if type(error) is not TypeError:
            raise
        raise TypeError(call_text(table, str(error), PyVectorcall_NARGS(count_and_flag))) from None


cdef str call_text(FieldTable table, str mistake, Py_ssize_t given):
    """What msgspec says of a call, with the class, what it takes, and what is mostly wrong with the call of a command."""
    cdef str text = f"{table.type_name}({', '.join(table.names)}): {mistake[:1].lower()}{mistake[1:]}"
    if table.names[:1] == ("sequence",) and table.type_name.endswith("Command") and 0 < given < len(table.names):
        text += f"; is the leading None forgotten? The first value is the sequence, None takes the next one: {table.type_name}(None, ...)"
    return text


cdef inline Py_ssize_t offset_of(FieldTable table, Py_ssize_t index) noexcept:
    return table.quicks[index].offset


cdef bint set_by_name(FieldTable table, object instance, PyObject *name, PyObject *value) noexcept:
    """Fill the field of this name, unless there is none or it was filled before."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(table.names)):
        if PyTuple_GET_ITEM(table.names, index) == name:
            if aqw_fields_slot(instance, offset_of(table, index)) != NULL:
                return False
            aqw_fields_set(<PyObject *>instance, offset_of(table, index), value)
            return True
    return False


cdef bint set_defaults(FieldTable table, object instance, Py_ssize_t first) except -1:
    """Fill what is empty, from a field on, unless a field has no default."""
    cdef Py_ssize_t index
    cdef PyObject *default
    for index in range(first, PyTuple_GET_SIZE(table.fields)):
        if aqw_fields_slot(instance, offset_of(table, index)) != NULL:
            continue
        default = PyTuple_GET_ITEM(table.defaults, index)
        if default != <PyObject *>NODEFAULT:
            aqw_fields_set(<PyObject *>instance, offset_of(table, index), default)
            continue
        factory = table.factories[index]
        if factory is NODEFAULT:
            return False
        made = factory()
        aqw_fields_set(<PyObject *>instance, offset_of(table, index), <PyObject *>made)
    return True


def complete_class(cls not None):
    """Have calls of a complete class come here from the first one on, so that also the first mistake is told with the class's name."""
    add_constructor(FieldTable(cls), cls)


def has_constructor(cls not None):
    """Whether instances of the class are built here. They are from the second one on at the latest, but on free-threaded builds."""
    return constructors[place_of(<PyObject *>cls)].cls != NULL
