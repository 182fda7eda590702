"""The front of the lane: a submit that needs neither Python code nor I/O is done here, in one piece.

The core's rules decide, the same that replay asks. Where they refuse a command, or where it takes anything more than memory, the command
goes through the lane in Python (:mod:`actionqueue.lane`), which validates it by the model's checks and raises what
that says. So this is only ever a shorter way to an acceptance.
"""

cimport cython
from libc.stdint cimport uint64_t

from _wal_native.core cimport aqw_fork_generation
from _wal_native.log cimport Log
from _wal_native.outcome cimport outcome_of
from _wal_native.turn cimport Turn

from _wal_native.above import ClosedError, DurabilityPolicy, ReentrantCallError

cdef object IMMEDIATE = DurabilityPolicy.IMMEDIATE
cdef object DEFERRED = DurabilityPolicy.DEFERRED


cdef object policy_of(object durability):
    """The member; ValueError where it names none."""
    if durability is IMMEDIATE or durability is DEFERRED:
        return durability
    return DurabilityPolicy(durability)


cdef class Lane:
    """Base of :class:`actionqueue.lane.QueueLane`.

    `_lane` is taken while a thread is in the lane's Python part. What is done here does not take it: it runs no Python code and keeps the
    GIL, or on free-threaded builds the projection's critical section, from its look at `_lane` to its end. There the thread that has
    taken the lane begins with a query of the projection, which waits for the end of what is under way here. A thread that copies the
    table without the GIL has the lane's lock, too, and says so in the table.
    """

    cdef public Log _log
    cdef public object _durability
    cdef public object _unusable        # why the handle takes no commands, or None
    cdef readonly Turn _lane

    def __cinit__(self, *args, **kwargs):
        self._lane = Turn()
        self._unusable = ClosedError()      # until it is made: an object whose constructor was not run, or has failed, takes nothing

    cdef uint64_t try_submit(self, object command) except? 0:
        """The sequence, or 0 where nothing has changed and the lane must look at the command."""
        cdef Log log = self._log
        if log is None:
            raise ClosedError
        if self._lane.generation != aqw_fork_generation():      # before the critical section, which a thread of the parent's may hold
            return 0
        with cython.critical_section(log.table):
            if self._lane.is_taken or log.table.is_copied or self._unusable is not None:
                return 0
            return log.try_submit(command)

    def submit(self, command, durability=None):
        """Validate a command, append its event, apply it, and return the outcome once it is as durable as asked for.

        Args:
            command: The command. Its sequence None means the next one; a number must be exactly the next one.
            durability: IMMEDIATE or DEFERRED; None means the queue's own.

        Raises:
            ValidationError: The command was refused; nothing has changed.
            AppendError: The event was not appended, or (``written`` is unknown) the handle is poisoned.
            PartialDurabilityError: The event was appended and applied but is not known to be durable; the handle is poisoned.
            PoisonedError, ClosedError, ForkedError: The handle takes no commands; nothing has changed.
        """
        cdef object policy = self._durability if durability is None else policy_of(durability)
        cdef uint64_t sequence = self.try_submit(command)
        if sequence == 0:
            if self._log.table.is_held_here():  # the lane's holder may be waiting for the end of this thread's own query
                raise ReentrantCallError
            sequence = self._submit(command)
        if policy is IMMEDIATE:
            self._wait_durable(sequence)
        return outcome_of(sequence, command)
