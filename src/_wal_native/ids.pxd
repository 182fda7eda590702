"""The identifiers' layout. Other modules read ``.data`` and build with ``id_from_data``."""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef class Identifier:
    cdef unsigned char data[16]     # the UUID's bytes, in network order; never changed once built


@cython.final
cdef class TaskId(Identifier):
    pass


@cython.final
cdef class RunId(Identifier):
    pass


@cython.final
cdef class AttemptId(Identifier):
    pass


@cython.final
cdef class ActorId(Identifier):
    pass


@cython.final
cdef class TenantId(Identifier):
    pass


@cython.final
cdef class LedgerEntryId(Identifier):
    pass


@cython.final
cdef class SubscriptionId(Identifier):
    pass


# Returns a new identifier with these 16 bytes. Its type `cls` is one of the seven.
cdef Identifier id_from_data(type cls, const unsigned char *data)


cdef inline bint is_nil(Identifier value) noexcept:
    cdef uint64_t half[2]
    memcpy(half, value.data, 16)
    return (half[0] | half[1]) == 0
