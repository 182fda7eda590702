"""The answer to an accepted command. A submit makes one each time, so it costs no more than its two fields."""

cimport cython
from libc.stdint cimport uint64_t

from actionqueue.errors import InvalidFieldTypeError


cdef object applied_of = None       # actionqueue.model.base.applied_of; it and the next need this module first
cdef object APPLIED = None          # actionqueue.model.base.AppliedMutation


cdef object describe(object command):
    """What the command changed, as a new object."""
    global applied_of
    if applied_of is None:
        from actionqueue.model.base import applied_of as found
        applied_of = found
    return applied_of(command)


cdef int check_applied(object applied) except -1:
    """Outcomes are not the collector's, so nothing may be put into them that could hold one: a long chain of them would end the process."""
    global APPLIED
    if APPLIED is None:
        from actionqueue.model.base import AppliedMutation
        APPLIED = AppliedMutation
    if not isinstance(applied, APPLIED):
        raise InvalidFieldTypeError("MutationOutcome", "applied", applied, "must be what a command changes, an Applied… object")
    return 0


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class MutationOutcome:
    """The answer to an accepted command: the sequence of its event, and what it changed."""

    __match_args__ = ("sequence", "applied")

    def __init__(self, uint64_t sequence, applied):
        check_applied(applied)
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
