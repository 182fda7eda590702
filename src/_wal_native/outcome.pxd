"""The answer to an accepted command, for the lane."""

from libc.stdint cimport uint64_t


cdef class MutationOutcome:
    cdef uint64_t number
    cdef object change          # the argument of the constructor
    cdef object command         # or else the command, from which a reader of `applied` gets one


cdef MutationOutcome outcome_of(uint64_t sequence, object command)
