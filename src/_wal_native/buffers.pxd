"""Arrays of callers, checked before anything is read of them."""

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint8_t


cdef class Buffer:
    cdef Py_buffer view
    cdef bint is_held

    cdef const uint8_t *data(self) noexcept
    cdef Py_ssize_t length(self) noexcept

# InvalidFieldError for a masked array with masked items.
cdef int refuse_mask(str owner, str argument, object value) except -1

# Each returns the memory of an array, held as long as the object returned lives: contiguous, of one dimension (identifiers also of
# two), in the machine's byte order. InvalidFieldTypeError for another type, InvalidFieldError for another layout; `owner` and `argument`
# are what it names.
cdef Buffer id_buffer(str owner, str argument, object value)            # V16, or uint8 of shape (n, 16)
cdef Buffer code_buffer(str owner, str argument, object value)          # uint8
cdef Buffer number_buffer(str owner, str argument, object value)        # uint64
cdef Buffer offset_buffer(str owner, str argument, object value)        # of 32 or 64 bits; a negative number reads as a large one
cdef Buffer byte_buffer(str owner, str argument, object value)          # single bytes
