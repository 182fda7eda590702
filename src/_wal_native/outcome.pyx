"""The answer to an accepted command.

Each submit makes one, so it costs no more than its two fields.
"""

cimport cython
from libc.stdint cimport uint64_t

# Its outcomes are looked up when they are needed: they need this module first.
from _wal_native import above


cdef int check_applied(object applied) except -1:
    """Refuse what could hold an outcome.

    The collector does not track outcomes, so a long chain of them would end the process, unless the
    collector tracks the objects between them.
    """
    if not isinstance(applied, above.AppliedMutation):
        raise above.InvalidFieldTypeError(
            "MutationOutcome", "applied", applied,
            "must be what a command changes, an Applied… object")
    if not type(applied).__struct_config__.gc:
        raise above.InvalidFieldTypeError(
            "MutationOutcome", "applied", applied, "must be of a class with gc=True")
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
        """What the command changed. An outcome of a submit makes a new object for each look."""
        return self.change if self.command is None else above.applied_of(self.command)

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
