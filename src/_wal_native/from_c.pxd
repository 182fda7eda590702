"""What the core hands out as Python objects: texts, bytes and identifiers.

These functions are inline: a module that cimports them has copies of its own.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from _wal_native.core cimport aqw_bytes
from _wal_native.ids cimport id_from_data

cdef extern from *:
    object PyUnicode_DecodeUTF8(const char *data, Py_ssize_t size, const char *errors)


cdef inline object text_of(aqw_bytes text):
    return PyUnicode_DecodeUTF8(<const char *>text.data, text.size, NULL)


cdef inline object bytes_of(aqw_bytes data):
    return PyBytes_FromStringAndSize(<const char *>data.data, data.size)


cdef inline tuple ids_of(type cls, const uint8_t *ids, uint32_t count):
    cdef uint32_t i
    return tuple([id_from_data(cls, ids + 16 * i) for i in range(count)])
