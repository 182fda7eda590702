"""The answer to an accepted command, for the lane."""

from libc.stdint cimport uint64_t


cdef class MutationOutcome:
    cdef uint64_t number
    cdef object change          # given to the constructor
    cdef object command         # or else what the change is told from, when somebody asks


cdef MutationOutcome outcome_of(uint64_t sequence, object command)
