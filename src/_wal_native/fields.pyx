"""The field checker: what the constructors of commands and domain types accept.

msgspec builds a struct without looking at its values and then calls ``__post_init__``. This module
makes that hook, once for each class, from the class's annotations. The hook reads every field
straight from its slot. It accepts a value in its final form at the cost of a few comparisons
(``fields_accept.pxi``), and takes the slow path for any other: conversion, or a typed refusal
(``fields_convert.pxi``). It changes only the new instance, never what the caller passed in.

A submit builds a command, and the hook alone would be half of its cost. So when the hook meets the
first instance of a class, it gives the class a constructor that fills the slots and checks them in
one go (``fields_constructor.pxi``). That leaves to msgspec's constructor what it cannot place.
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

from _wal_native.ids cimport Identifier, is_nil
from _wal_native.slots cimport aqw_slot_set, aqw_slots_are_all, slot_of, value_in

import enum
import types
import typing

from msgspec.structs import fields as struct_fields

from _wal_native import above
from _wal_native.above import InvalidFieldError, InvalidFieldTypeError

cdef extern from "<stdatomic.h>":
    ctypedef int atomic_int

cdef object NODEFAULT
from msgspec import NODEFAULT

cdef extern from *:
    ctypedef object (*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *)
    ctypedef struct ClassWithCalls "PyTypeObject":
        vectorcallfunc tp_vectorcall

include "fields_limits.pxi"
include "fields_rules.pxi"
include "fields_accept.pxi"
include "fields_convert.pxi"


# --- The hook -------------------------------------------------------------------------------------

@cython.final
cdef class FieldTable:
    """All fields of one class, and its method ``_check_together`` where it has one."""

    cdef str type_name
    cdef tuple fields
    cdef Quick *quicks              # one for each field
    cdef object check_together
    cdef PresenceRule together      # where it holds, check_together is not called; or None
    cdef atomic_int was_looked_at   # by add_constructor
    # For the constructor only:
    cdef tuple names
    cdef tuple defaults             # NODEFAULT where a field has no default
    cdef tuple factories            # NODEFAULT where a field has no factory
    cdef vectorcallfunc build       # msgspec's

    def __init__(self, cls):
        cdef Py_ssize_t index
        annotations = {}
        for base in reversed(cls.__mro__):
            # An empty dict of the class itself where it has no annotations, not that of a base.
            annotations.update(getattr(base, "__annotations__", {}))
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
        if not accepts_at_once(&quick[index], value_in(instance, quick[index].offset)):
            check_field(table, instance, <Field>PyTuple_GET_ITEM(table.fields, index))
    if table.check_together is not None and (
            table.together is None or not table.together.holds(instance)):
        table.check_together(instance)
    return 0


cdef int check_field(FieldTable table, object instance, Field field) except -1:
    cdef PyObject *value = value_in(instance, field.offset)
    if not accepts(field, value):
        converted = convert(table.type_name, field, <object>value)
        aqw_slot_set(<PyObject *>instance, field.offset, <PyObject *>converted)
    return 0


def field_checker(cls):
    """Return the ``__post_init__`` of a struct class.

    It checks every field, and converts a value where the field's rule allows that. Then it calls
    the class's method ``_check_together`` where the class has one. An instance whose fields do not
    fit raises InvalidFieldError or InvalidFieldTypeError.

    Raises TypeError for an annotation that cannot be checked, or a field without a slot.
    """
    cdef FieldTable table = FieldTable(cls)

    def check(instance):
        if type(instance) is not cls:
            raise TypeError(
                f"{type(instance).__name__} has no check of its own fields: the __init_subclass__ of "
                "a class that it is derived from must call super().__init_subclass__()")
        check_fields(table, instance)
        if not table.was_looked_at:     # the class was not yet complete when its hook was made
            refuse_chains(table, cls)
            table.was_looked_at = True
            add_constructor(table, cls)

    return check


cdef int refuse_chains(FieldTable table, object cls) except -1:
    """Refuse a class whose instances may be links of a chain, and whose end is not the collector's.

    The end of such a chain would take a call a link, and so end the process. The library's own
    fields lead to no chain, so only those count that other modules have added to one of its types.
    Those types are known by themselves: any class may claim to be of one of its modules.
    """
    own = [base for base in cls.__mro__ if vars(above).get(base.__name__) is base]
    if cls.__struct_config__.gc or not own:
        return 0
    for base in cls.__mro__:
        if base in own:
            continue
        for field in table.fields:
            held = field
            while (<Field>held).kind == ITEMS:
                held = (<Field>held).item
            if (<Field>held).kind == INSTANCE and \
                    (<Field>field).name in getattr(base, "__annotations__", {}):
                raise TypeError(
                    f"{cls.__name__}.{(<Field>field).name} holds objects, so the class must be "
                    f"declared with gc=True")
    return 0


include "fields_constructor.pxi"
