"""Callers' arrays, whose types and layouts are checked before their items are read."""

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint8_t


cdef class Buffer:
    cdef Py_buffer view
    cdef bint is_held

    cdef const uint8_t *data(self) noexcept
    cdef Py_ssize_t length(self) noexcept

# Raises InvalidFieldError for a masked array with masked items.
cdef int refuse_mask(str owner, str argument, object value) except -1

# Each returns an array's memory, and holds it as long as the returned object lives. The memory is
# contiguous, in the machine's byte order, and has one dimension (that of identifiers may have two).
# Raises InvalidFieldTypeError for another type, InvalidFieldError for another layout. The error
# names `owner` and `argument`.
cdef Buffer id_buffer(str owner, str argument, object value)    # V16, or uint8 of shape (n, 16)
cdef Buffer code_buffer(str owner, str argument, object value)  # uint8
cdef Buffer number_buffer(str owner, str argument, object value)    # uint64
cdef Buffer priority_buffer(str owner, str argument, object value)    # uint64
# Of 32 or 64 bits. A negative number reads as a large one.
cdef Buffer offset_buffer(str owner, str argument, object value)
cdef Buffer byte_buffer(str owner, str argument, object value)  # single bytes
