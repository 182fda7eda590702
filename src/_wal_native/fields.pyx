"""The field checker: what the constructors of commands and domain types accept.

msgspec builds a struct without looking at its values and then calls ``__post_init__``. That hook is a function made
here, once for each class, from the class's annotations: it reads every field straight from its slot, accepts what is in
its final form at the cost of a few comparisons, and takes the slow path for the rest: conversion, or a typed refusal.
Only the new instance is ever changed, never what the caller passed in.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_Clear
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport Py_TYPE, PyObject, PyObject_TypeCheck, PyTypeObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport UINT64_MAX, int64_t, uint64_t
from libc.string cimport memcpy

from _wal_native.ids cimport Identifier

import enum
import types
import typing

from msgspec.structs import force_setattr

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError

cdef extern from "core/limits.h":
    enum:
        AQW_PAYLOAD_SIZE_MAX, AQW_TEXT_SIZE_MAX, AQW_LIST_COUNT_MAX, AQW_DEPARTMENT_SIZE_MAX
        AQW_BATCH_COUNT_MAX, AQW_BATCH_SIZE_MAX
        AQW_SEGMENT_SIZE_MIN, AQW_SEGMENT_SIZE_FIRST, AQW_SEGMENT_SIZE_DEFAULT, AQW_SEGMENT_SIZE_MAX
        AQW_SEGMENT_COUNT_MAX
        AQW_RING_SIZE_MIN, AQW_RING_SIZE_DEFAULT, AQW_RING_SIZE_MAX
        AQW_SNAPSHOT_COUNT_MAX, AQW_PURGE_COUNT_MAX, AQW_IMAGE_ITEM_SIZE_MAX
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
    """
    Py_ssize_t aqw_fields_slot_offset(object descriptor) noexcept
    PyObject *aqw_fields_slot(object instance, Py_ssize_t offset) noexcept
    const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *size) noexcept
    long long PyLong_AsLongLongAndOverflow(PyObject *number, int *overflow) noexcept
    unsigned long long PyLong_AsUnsignedLongLong(PyObject *number) noexcept
    PyObject *PyErr_Occurred() noexcept
    object PyUnicode_FromObject(object text)

# The limits of core/limits.h; public as actionqueue.limits.
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
SEGMENT_COUNT_MAX = AQW_SEGMENT_COUNT_MAX
RING_SIZE_MIN = AQW_RING_SIZE_MIN
RING_SIZE_DEFAULT = AQW_RING_SIZE_DEFAULT
RING_SIZE_MAX = AQW_RING_SIZE_MAX
SNAPSHOT_COUNT_MAX = AQW_SNAPSHOT_COUNT_MAX
PURGE_COUNT_MAX = AQW_PURGE_COUNT_MAX
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
    cdef object cls                 # IDENTIFIER, CHOICE, INSTANCE: the type of an accepted value
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


# --- The slow path: convert or refuse --------------------------------------------------------------------------------

cdef object convert(str type_name, Field field, object value):
    """Return the value in its final form, or raise what says why the field refuses it."""
    if value is None or field.kind == IDENTIFIER:
        return refuse(type_name, field, value, isinstance(value, Identifier) and type(value) is field.cls)
    if field.kind == UNSIGNED or field.kind == SIGNED:
        if isinstance(value, int) and not isinstance(value, bool):
            return checked(type_name, field, int.__add__(value, 0))     # the plain int in a subclass's instance
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
    cdef object check_together

    def __init__(self, cls):
        annotations = {}
        for base in reversed(cls.__mro__):
            annotations.update(getattr(base, "__annotations__", {}))    # a class's own, even if it has none
        self.type_name = cls.__name__
        self.fields = tuple(
            [self.field(cls, name, kind) for name, kind in annotations.items()
             if typing.get_origin(kind) is not typing.ClassVar])
        self.check_together = getattr(cls, "_check_together", None)

    def field(self, cls, name, kind):
        """Read one field's annotation, and find its slot."""
        cdef Field field = Field(name, kind)
        field.offset = aqw_fields_slot_offset(getattr(cls, name))
        if field.offset < 0:
            raise TypeError(f"{cls.__name__}.{name} has no slot; this version of msgspec is not supported")
        return field


cdef int check_fields(FieldTable table, object instance) except -1:
    cdef Field field
    cdef PyObject *entry
    cdef PyObject *value
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(table.fields)):
        entry = PyTuple_GET_ITEM(table.fields, index)
        value = aqw_fields_slot(instance, (<Field>entry).offset)
        if not accepts(<Field>entry, value):
            field = <Field>entry
            force_setattr(instance, field.name, convert(table.type_name, field, <object>value))
    if table.check_together is not None:
        table.check_together(instance)
    return 0


def field_checker(cls):
    """Return the ``__post_init__`` of a struct class: it checks, and where it is allowed converts, every field.

    After the fields the method ``_check_together`` of the class is called, if there is one. Raises TypeError where an
    annotation of the class is none that can be checked.
    """
    cdef FieldTable table = FieldTable(cls)

    def check(instance):
        check_fields(table, instance)

    return check
