"""Callers' arrays, whose types and layouts are checked before their items are read.

They come through the buffer protocol, so a NumPy array is as good as an ``array.array`` or a
memoryview, and nothing here needs NumPy.
"""

from cpython.buffer cimport (
    PyBUF_FULL_RO, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)

import sys

from _wal_native.above import InvalidFieldError, InvalidFieldTypeError

cdef str NATIVE_ORDERS = "@=<" if sys.byteorder == "little" else "@=>!"
cdef const uint8_t NOTHING[1]


cdef class Buffer:
    """The memory of a caller's array, held as long as this object lives."""

    def __cinit__(self):
        self.is_held = False

    def __dealloc__(self):
        if self.is_held:
            PyBuffer_Release(&self.view)

    cdef const uint8_t *data(self) noexcept:
        """Return where the memory begins; never NULL."""
        return <const uint8_t *>self.view.buf if self.view.buf != NULL else NOTHING

    cdef Py_ssize_t length(self) noexcept:
        """Return the length of the first dimension."""
        return self.view.shape[0]


cdef str format_of(const Py_buffer *view):
    """Return the code of an item's format, without the sign of the machine's byte order.

    The sign of another order stays, so that no single code is left.
    """
    cdef str text = "B" if view.format == NULL else (<bytes>view.format).decode("ascii", "replace")
    if text[:1] in NATIVE_ORDERS:
        text = text[1:]
    return text


cdef object shown(object value, const Py_buffer *view):
    """Return what an error says of an array: not its items, of which there may be many.

    It is short, because errors shorten values.
    """
    cdef object dtype = getattr(value, "dtype", None)
    shape = tuple([view.shape[i] for i in range(view.ndim)])
    return f"{format_of(view) if dtype is None else dtype} of shape {shape}"


cdef int refuse_mask(str owner, str argument, object value) except -1:
    """Refuse items that NumPy masks: the buffer has values for them all the same."""
    cdef object masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray) and masked.is_masked(value):
        raise InvalidFieldError(owner, argument, f"{value.dtype} of shape {value.shape}",
                                "must have no masked items; fill them, or leave their rows out")
    return 0


cdef Buffer take(str owner, str argument, object value, str needed):
    cdef Buffer buffer = Buffer.__new__(Buffer)
    refuse_mask(owner, argument, value)
    try:
        PyObject_GetBuffer(value, &buffer.view, PyBUF_FULL_RO)
    except (TypeError, ValueError, BufferError):
        shown_value = (value if getattr(value, "dtype", None) is None
                       else f"{value.dtype} of shape {value.shape}")
        raise InvalidFieldTypeError(owner, argument, shown_value, f"must be {needed}") from None
    buffer.is_held = True
    return buffer


cdef int check_layout(
    str owner, str argument, object value, Buffer buffer, int dimensions, str needed
) except -1:
    if buffer.view.ndim != dimensions:
        raise InvalidFieldError(owner, argument, shown(value, &buffer.view), f"must be {needed}")
    if not PyBuffer_IsContiguous(&buffer.view, c"C"):
        raise InvalidFieldError(owner, argument, shown(value, &buffer.view),
                                "must be contiguous; numpy.ascontiguousarray makes it so")
    return 0


cdef Buffer taken(str owner, str argument, object value, str codes, tuple sizes, str needed):
    """Return a one-dimensional array whose items have one of these codes and sizes."""
    cdef Buffer buffer = take(owner, argument, value, needed)
    cdef str code = format_of(&buffer.view)
    if len(code) != 1 or code not in codes or buffer.view.itemsize not in sizes:
        raise InvalidFieldTypeError(owner, argument, shown(value, &buffer.view),
                                    f"must be {needed}, in the machine's byte order")
    check_layout(owner, argument, value, buffer, 1, needed)
    return buffer


cdef Buffer id_buffer(str owner, str argument, object value):
    cdef str needed = "an array of identifiers: V16, or uint8 of shape (n, 16)"
    cdef Buffer buffer = take(owner, argument, value, needed)
    cdef str code = format_of(&buffer.view)
    if code == "16s":
        raise InvalidFieldTypeError(owner, argument, shown(value, &buffer.view),
                                    f"must be {needed}; S16 drops zero bytes at the end, "
                                    "so identifiers do not survive in it")
    if code == "16x":
        check_layout(owner, argument, value, buffer, 1, needed)
    elif code == "B":
        check_layout(owner, argument, value, buffer, 2, needed)
        if buffer.view.shape[1] != 16:
            raise InvalidFieldError(
                owner, argument, shown(value, &buffer.view), f"must be {needed}")
    else:
        raise InvalidFieldTypeError(
            owner, argument, shown(value, &buffer.view), f"must be {needed}")
    return buffer


cdef Buffer code_buffer(str owner, str argument, object value):
    return taken(owner, argument, value, "B", (1,), "an array of uint8, or one value for all rows")


cdef Buffer number_buffer(str owner, str argument, object value):
    return taken(
        owner, argument, value, "QLN", (8,), "an array of uint64, or one number for all rows")


cdef Buffer priority_buffer(str owner, str argument, object value):
    return taken(
        owner, argument, value, "il", (4,), "an array of int32, or one number for all rows")


cdef Buffer offset_buffer(str owner, str argument, object value):
    return taken(
        owner, argument, value, "IiLlQqNn", (4, 8), "offsets in an array of uint32 or uint64")


cdef Buffer byte_buffer(str owner, str argument, object value):
    return taken(owner, argument, value, "Bbc", (1,), "data in an array of uint8")
