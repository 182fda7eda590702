"""The answer to an accepted command. A submit makes one each time, so it costs no more than its two fields."""

cimport cython
from libc.stdint cimport uint64_t


cdef object applied_of = None       # actionqueue.mapping.applied_of, which needs this module first


cdef object describe(object command):
    """What the command changed, as a new object."""
    global applied_of
    if applied_of is None:
        from actionqueue.mapping import applied_of as found
        applied_of = found
    return applied_of(command)


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class MutationOutcome:
    """The answer to an accepted command: the sequence of its event, and what it changed."""

    __match_args__ = ("sequence", "applied")

    def __init__(self, uint64_t sequence, applied):
        self.number = sequence
        self.change = applied
        self.command = None

    @property
    def sequence(self):
        """The sequence of the command's event."""
        return self.number

    @property
    def applied(self):
        """What the command changed. Built anew each time for an outcome that a submit returned."""
        return self.change if self.command is None else describe(self.command)

    def __eq__(self, other):
        if type(other) is not MutationOutcome:
            return NotImplemented
        cdef MutationOutcome second = other
        return self.number == second.number and self.applied == second.applied

    def __hash__(self):
        return hash((self.number, self.applied))

    def __repr__(self):
        return f"MutationOutcome(sequence={self.number}, applied={self.applied!r})"

    def __reduce__(self):
        return MutationOutcome, (self.number, self.applied)


cdef MutationOutcome outcome_of(uint64_t sequence, object command):
    cdef MutationOutcome outcome = MutationOutcome.__new__(MutationOutcome)
    outcome.number = sequence
    outcome.command = command
    return outcome
