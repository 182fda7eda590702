"""The front of the lane: it does a submit that needs neither Python code nor I/O in one piece.

The core's rules decide, the same that replay asks. Where they refuse a command, or where it takes
more than memory, the command goes through the lane in Python (:mod:`actionqueue.lane`). That
validates it by the model's checks and raises what they say. So this is only ever a shorter way to
an acceptance.
"""

cimport cython
from libc.stdint cimport uint64_t

from _wal_native.core cimport aqw_fork_generation
from _wal_native.log cimport Log
from _wal_native.outcome cimport outcome_of
from _wal_native.table cimport StateTable
from _wal_native.turn cimport Turn

from _wal_native.above import ClosedError, DurabilityPolicy, ReentrantCallError

cdef object IMMEDIATE = DurabilityPolicy.IMMEDIATE
cdef object DEFERRED = DurabilityPolicy.DEFERRED


cdef object policy_of(object durability):
    """Return the policy's member. Raises ValueError where no member has this name."""
    if durability is IMMEDIATE or durability is DEFERRED:
        return durability
    return DurabilityPolicy(durability)


cdef class Lane:
    """Base of :class:`actionqueue.lane.QueueLane`.

    A thread takes `_lane` while it is in the lane's Python part. A submit here does not take it:
    from its look at `_lane` to its end it runs no Python code and keeps the GIL, or on
    free-threaded builds the projection's critical section. On those builds a thread that has taken
    the lane begins with a query of the projection, which waits for the end of a submit here. A
    thread that copies the table without the GIL has the lane's lock, too, and says so in the table.
    """

    def __cinit__(self, *args, **kwargs):
        self._lane = Turn()
        self.former = []
        # The constructor above replaces it. Where that did not run, or failed, it stays.
        self.unusable = ClosedError()

    @property
    def _unusable(self):
        return self.unusable

    @_unusable.setter
    def _unusable(self, error):
        with cython.critical_section(self):
            self.former.append(self.unusable)
            self.unusable = error

    cdef uint64_t try_submit(self, object command) except? 0:
        """Return the sequence, or 0 with nothing changed: then the lane looks at the command."""
        cdef Log log = self._log
        if log is None:
            raise ClosedError
        # Before the critical section, which a thread of the parent process may hold.
        if self._lane.generation != aqw_fork_generation():
            return 0
        with cython.critical_section(log.table):
            if self._lane.thread != 0 or log.table.is_copied or self.unusable is not None:
                return 0
            return log.try_submit(command)

    def submit(self, command, durability=None):
        """Validate a command, append its event, apply it, and return the outcome.

        The outcome comes once the event is as durable as `durability` asks for.

        Args:
            command: The command. Its sequence None means the next one; a number must be exactly the
                next one.
            durability: IMMEDIATE or DEFERRED; None means the queue's own.

        Raises:
            ValidationError: The command was refused; nothing has changed.
            AppendError: The event was not appended, or (``written`` is unknown) the handle is
                poisoned.
            PartialDurabilityError: The event was appended and applied, but may not be durable; the
                handle is poisoned.
            PoisonedError, ClosedError, ForkedError: The handle takes no commands; nothing has
                changed.
            ReentrantCallError: A query or submit of this thread is under way; nothing has changed.
            ValueError: `durability` is not a DurabilityPolicy, nor the name of one.
        """
        cdef object policy = self._durability if durability is None else policy_of(durability)
        cdef StateTable table
        cdef bint is_in_query
        cdef uint64_t sequence = self.try_submit(command)
        if sequence == 0:
            # The lane's holder may be waiting for the end of this thread's own query.
            table = self._log.table
            with cython.critical_section(table):
                is_in_query = table.is_held_here()
            if is_in_query:
                raise ReentrantCallError
            sequence = self._submit(command)
        if policy is IMMEDIATE:
            self._wait_durable(sequence)
        return outcome_of(sequence, command)
