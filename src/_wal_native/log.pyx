"""The log of an open queue, and the one native call that appends an event and applies it.

Appends and batches come one at a time: the caller has the lane's lock. Any thread may call
everything else. The GIL is released around each C call that may do I/O, and around nothing else.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from _wal_native.events cimport EventEncoder
from _wal_native.core cimport *
from _wal_native.fault cimport damage_of, raise_close_fault, raise_log_fault, raise_open_fault
from _wal_native.group cimport taken_in
from _wal_native.outcome cimport outcome_of
from _wal_native.progress cimport Progress, end_the_watch, watch_for_signals
from _wal_native.status cimport raise_status
from _wal_native.table cimport StateTable
from _wal_native.turn cimport Turn

import os

from _wal_native.above import (
    ClosedError,
    ForkedError,
    InvalidFieldError,
    PoisonedError,
    RecordTooLarge,
)
from _wal_native.weak_list import WeakList

DEFAULT_SEGMENT_SIZE = AQW_SEGMENT_SIZE_DEFAULT
DEFAULT_RING_SIZE = AQW_RING_SIZE_DEFAULT

cdef object open_logs = WeakList()

cdef enum:
    QUICK_SIZE_MAX = 65536      # bytes of a batch that go into the ring with the GIL kept

cdef uint64_t SIGNALS_NS = 100_000_000
"""Waits for a store, which may take long, let signals' handlers run as often."""

cdef double SECONDS_MAX = 1e9
"""Seconds from here on are for ever, and so is what is no number."""


cdef uint64_t moment_in(double seconds) noexcept:
    """Return the moment of the monotonic clock that comes in so many seconds."""
    if not seconds < SECONDS_MAX:
        seconds = SECONDS_MAX
    return aqw_log_moment_after(<uint64_t>(max(seconds, 0.0) * 1e9))


def abandon_all():
    """Let the parent's logs go in a forked child, which has closed its descriptors of them."""
    for log in open_logs:
        (<Log?>log).abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=abandon_all)


@cython.final
cdef class Log:
    """An open log, which :func:`open_log` makes.

    It has the methods that :mod:`actionqueue.authority` asks of a writer.
    """

    def __cinit__(self):
        self.log = NULL
        self.batch_is_open = False
        self.generation = aqw_fork_generation()
        aqw_batch_init(&self.batch)

    def __dealloc__(self):
        cdef aqw_fault fault
        aqw_batch_free(&self.batch)
        if self.log != NULL and self.generation == aqw_fork_generation():
            with nogil:
                aqw_log_close(self.log, &fault)
                aqw_log_free(self.log)

    cdef int check(self) except -1:
        if self.generation != aqw_fork_generation():
            raise ForkedError
        if self.log == NULL:
            raise ClosedError
        return 0

    cdef int raise_fault(
        self, int status, const aqw_fault *fault, uint64_t sequence=0
    ) except -1:
        """Raise what a status of the log means, and where the store ended the log, why it did."""
        if status == AQW_POISONED and self.store_failure is not None:
            raise PoisonedError(self.store_failure)
        if status == AQW_TOO_LARGE:
            raise RecordTooLarge(self.batch.size, self.batch_size_max)
        return raise_log_fault(status, fault, sequence)

    cdef object too_large(self, const aqw_event *event):
        """Return the error for an event that is too large, or makes the batch too large."""
        cdef size_t size
        aqw_event_encode(event, NULL, 0, &size)
        if self.batch_size_max != 0 and aqw_record_size(<uint32_t>size) > self.batch_size_max:
            return RecordTooLarge(size, self.batch_size_max)
        if size > AQW_PAYLOAD_SIZE_MAX:
            return RecordTooLarge(size, AQW_PAYLOAD_SIZE_MAX)
        if self.batch.count >= AQW_BATCH_COUNT_MAX:
            return InvalidFieldError(
                "Batch", "commands", self.batch.count + 1, f"at most {AQW_BATCH_COUNT_MAX} fit")
        return RecordTooLarge(
            self.batch.size + aqw_record_size(<uint32_t>size), AQW_BATCH_SIZE_MAX)

    cdef int stage(self, object event) except -1:
        """Encode an event after those of the batch under construction."""
        cdef aqw_event *encoded = self.encoder.fill(event)
        cdef aqw_status status = aqw_batch_add(&self.batch, encoded)
        if status == AQW_TOO_LARGE:
            raise self.too_large(encoded)
        return raise_status(status, encoded.sequence)

    def own_table(self, Turn lane not None):
        """Make the table this log's alone, so that only the log changes it.

        While the log applies a batch, queries wait for their turn in the lane.
        """
        self.table.lane = lane

    def ensure_not_in_query(self):
        """Raise ReentrantCallError where a query of this thread is under way.

        A change that it asks for now would wait for itself.
        """
        self.table.ensure_not_in_query()

    # --- One event --------------------------------------------------------------------------------

    def append(self, event):
        """Append an event without applying it. Raises what :meth:`submit` raises."""
        cdef aqw_fault fault
        cdef aqw_status status
        self.check()
        aqw_batch_reset(&self.batch)
        self.stage(event)
        with nogil:
            status = aqw_log_append(self.log, &self.batch, &fault)
        if status != AQW_OK:
            self.raise_fault(status, &fault, event.sequence)

    def flush(self):
        """Return when every appended event is on stable storage."""
        self.sync(None)

    def submit(self, event):
        """Append an event and apply it to the table, in one step.

        No signal and no other thread comes between the two.

        Raises:
            RecordTooLarge, RefusedEventError, LogSpaceError, MemoryError: Nothing has changed.
            LogWriteError: Bytes may have reached the file.
            PoisonedError, ClosedError, ForkedError: The log takes no events; nothing has changed.
            ReentrantCallError: A query of this thread is under way; nothing has changed.
        """
        self.check()
        self.submit_encoded(self.encoder.fill(event))

    def submit_frugally(self, event):
        """Submit an event that makes room.

        Where the disk is full, it takes a smaller segment than other events may have.
        """
        self.check()
        aqw_log_set_frugal(self.log, 1)
        try:
            self.submit(event)
        finally:
            if self.generation == aqw_fork_generation():
                aqw_log_set_frugal(self.log, 0)

    cdef int submit_encoded(self, const aqw_event *event) except -1:
        cdef aqw_fault fault
        cdef aqw_status status
        cdef uint64_t size
        while True:
            with cython.critical_section(self.table):
                self.table.wait_for_queries()
                status = aqw_submit(self.log, self.table.table, &self.batch, event, &fault)
            if status == AQW_OK:
                return 0
            if status == AQW_TOO_LARGE:
                raise self.too_large(event)
            if status != AQW_NEEDS_ROOM:
                break
            self.wait_for_store()
            size = aqw_record_size(<uint32_t>aqw_event_payload_size(event))
            self.wait_to_leave_segment(size)
            if aqw_log_is_direct(self.log, size):
                return self.append_direct(event)
            with nogil:
                status = aqw_log_make_room(self.log, size, &fault)
            if status != AQW_OK:
                break
        return self.raise_fault(status, &fault, event.sequence)

    cdef uint64_t try_submit(self, object command) except? 0:
        """Append and apply a command's event where that takes memory only.

        Returns its sequence, or 0 where nothing has changed. Runs no Python code and keeps the GIL,
        unless it returns 0. The caller holds the table's critical section. A free-threaded build
        may give that up while it encodes a text that another thread encodes, too; so what the
        caller has looked at is looked at again.
        """
        cdef aqw_fault fault
        cdef aqw_status status
        cdef uint64_t sequence = aqw_table_latest_sequence(self.table.table) + 1
        if (self.generation != aqw_fork_generation() or self.batch_is_open
                or self.table.holders > 0 or self.quick_is_busy):
            return 0
        self.quick_is_busy = True
        try:
            if not self.encode_command(self.quick, command, sequence):
                return 0
            # A query, a batch or a call in the lane began while the command was being encoded. An
            # event that was submitted meanwhile has its sequence, and apply refuses this one.
            if self.table.holders > 0 or self.batch_is_open or self.table.lane.thread != 0:
                return 0
            status = aqw_submit(
                self.log, self.table.table, &self.batch, &self.quick.event, &fault)
        finally:
            self.quick_is_busy = False
        return sequence if status == AQW_OK else 0

    cdef bint encode_command(
        self, EventEncoder encoder, object command, uint64_t sequence
    ) except -1:
        """Make a command's event where that needs no Python event in between."""
        try:
            return encoder.fill_command(command, sequence)
        # The lane meets it again, in its turn among the checks. A signal's handler has not raised
        # it: the encoder runs no Python code.
        except Exception:
            return False

    cdef int append_direct(self, const aqw_event *event) except -1:
        """Append and apply an event whose append writes to the segment before it returns.

        The table applies the event first, and undoes it where the append fails.
        """
        aqw_batch_reset(&self.batch)
        if aqw_batch_add(&self.batch, event) != AQW_OK:
            raise self.too_large(event)
        with cython.critical_section(self.table):
            self.table.begin()
        try:
            with cython.critical_section(self.table):
                self.table.apply(event)
            self.append_staged()
        except BaseException:
            with cython.critical_section(self.table):
                self.table.rollback()
            raise
        with cython.critical_section(self.table):
            self.table.commit()
        aqw_batch_reset(&self.batch)    # at once, so that a large batch gives its memory back
        return 0

    cdef int append_staged(self) except -1:
        cdef aqw_fault fault
        cdef aqw_status status = AQW_NEEDS_ROOM
        if self.batch.size <= QUICK_SIZE_MAX:
            status = aqw_log_try_append(self.log, &self.batch, NULL, NULL, &fault)
        if status == AQW_NEEDS_ROOM:
            while self.must_wait(self.batch.size):
                self.wait_without_batch()
                with nogil:
                    status = aqw_log_make_room(self.log, self.batch.size, &fault)
                if status != AQW_OK:
                    self.raise_fault(status, &fault)
            with nogil:
                status = aqw_log_append(self.log, &self.batch, &fault)
        return (0 if status == AQW_OK
                else self.raise_fault(status, &fault, self.batch.first_sequence))

    # --- Batches ----------------------------------------------------------------------------------

    def batch_begin(self):
        """Begin a batch: until its commit, a rollback undoes what :meth:`batch_add` applies.

        Raises ValueError where a batch is open, ReentrantCallError in a query of this thread.
        """
        self.check()
        self.wait_for_store()   # before the batch, for which queries wait
        with cython.critical_section(self.table):
            self.table.begin()
            aqw_batch_reset(&self.batch)
            self.batch_is_open = True

    def batch_add(self, event):
        """Apply an event and stage it for the append.

        After an exception the caller must roll the batch back.
        """
        self.check()        # a signal's handler may have forked: the batch was undone in the child
        self.stage(event)
        with cython.critical_section(self.table):
            self.table.apply(&self.encoder.event)

    def batch_extend(self, list commands not None, Py_ssize_t index, list outcomes):
        """Add commands from an index on, and append their outcomes to `outcomes`, if not None.

        This goes on as long as the rules accept a command and the lane need not look at it. Returns
        the index of the first command that was left; the batch is as if it had not been tried.
        """
        cdef uint64_t sequence
        while index < len(commands):
            self.check()
            command = commands[index]
            sequence = self.add_command(command)
            if sequence == 0:
                break
            if outcomes is not None:
                outcomes.append(outcome_of(sequence, command))
            index += 1
        return index

    cdef uint64_t add_command(self, object command) except? 0:
        """Add a command to the batch. Returns its sequence; 0, with the batch as it was, for one
        that the rules refuse or the lane must look at.
        """
        cdef uint64_t sequence
        cdef size_t size = self.batch.size
        cdef bint is_added = False
        # Cython keeps the reference of a section that a break leaves, so nothing leaves this one.
        with cython.critical_section(self.table):
            sequence = aqw_table_latest_sequence(self.table.table) + 1
            if (self.encode_command(self.encoder, command, sequence)
                    and aqw_batch_add(&self.batch, &self.encoder.event) == AQW_OK):
                is_added = aqw_table_apply(self.table.table, &self.encoder.event) == AQW_OK
                if not is_added:
                    aqw_batch_take_back(&self.batch, size)
        return sequence if is_added else 0

    def batch_commit(self):
        """Append the batch as one. After an exception the caller must roll it back.

        Returns whether there was anything to append. Does nothing where no batch is open.
        """
        cdef bint is_any = False
        self.check()
        if self.batch_is_open:
            is_any = self.batch.count > 0
            if is_any:
                self.append_staged()
            with cython.critical_section(self.table):
                self.batch_is_open = False
                self.table.commit()
            aqw_batch_reset(&self.batch)
        return is_any

    def batch_rollback(self):
        """Undo the open batch. Does nothing where no batch is open."""
        if self.batch_is_open:
            with cython.critical_section(self.table):
                self.batch_is_open = False
                self.table.rollback()
            aqw_batch_reset(&self.batch)

    # --- Durability -------------------------------------------------------------------------------

    def sync(self, sequence):
        """Return when every event up to `sequence` is on stable storage.

        None means every event so far. Callers share syncs. Raises LogWriteError or PoisonedError
        where the events may not be durable.
        """
        cdef aqw_fault fault
        cdef aqw_status status
        cdef uint64_t wanted = <uint64_t>-1 if sequence is None else sequence
        self.check()
        if self.has_store:
            self.wait_until_stored(wanted)
            return
        with nogil:
            status = aqw_log_sync(self.log, wanted, &fault)
        if status != AQW_OK:
            self.raise_fault(status, &fault)

    def write_out(self):
        """Write what was appended so far to the segment's file, without a sync.

        Returns the sequence of the last event.
        """
        cdef aqw_fault fault
        cdef aqw_status status
        cdef uint64_t sequence = 0
        self.check()
        with nogil:
            status = aqw_log_write_out(self.log, &sequence, &fault)
        if status != AQW_OK:
            self.raise_fault(status, &fault)
        return sequence

    @property
    def last_sequence(self):
        """Sequence of the last appended event; 0 before the first."""
        cdef uint64_t sequence
        self.check()
        with nogil:     # the append lock may be held over I/O
            sequence = aqw_log_last_sequence(self.log)
        return sequence

    @property
    def durable_sequence(self):
        """Every event up to this sequence is on stable storage."""
        self.check()
        return aqw_log_durable_sequence(self.log)

    def ensure_open(self):
        """Raise ForkedError, ClosedError or PoisonedError unless the log takes appends."""
        cdef aqw_fault fault
        self.check()
        cdef aqw_status status = aqw_log_state(self.log, &fault)
        if status != AQW_OK:
            self.raise_fault(status, &fault)

    def stats(self):
        """Return counters and positions as a dict; sizes in bytes, times in nanoseconds."""
        cdef aqw_log_stats stats
        self.check()
        with nogil:     # the append lock may be held over I/O
            aqw_log_stats_get(self.log, &stats)
        fields = dict(stats)
        fields["is_ring_mapped"] = bool(stats.is_ring_mapped)
        fields["sync_ns_histogram"] = tuple(stats.sync_ns_histogram)
        fields["sync_events_histogram"] = tuple(stats.sync_events_histogram)
        return fields

    # --- A log with a store -----------------------------------------------------------------------

    cdef int wait_until_stored(self, uint64_t wanted) except -1:
        """Return when the store has every event up to the sequence. Signals' handlers may raise."""
        cdef aqw_fault fault
        cdef aqw_status status
        cdef uint64_t last, until
        with nogil:
            last = aqw_log_last_sequence(self.log)
        if wanted > last:
            self.ensure_open()
            wanted = last
        while True:
            until = aqw_log_moment_after(SIGNALS_NS)
            with nogil:
                status = aqw_log_sync_until(self.log, wanted, until, &fault)
            if status != AQW_END:
                break
            PyErr_CheckSignals()
            self.check()
        return 0 if status == AQW_OK else self.raise_fault(status, &fault)

    cdef bint must_wait(self, uint64_t size) noexcept:
        """Whether so many bytes have to wait for the store before they are appended."""
        cdef bint waits = False
        if self.has_store:
            with nogil:
                waits = (aqw_log_store_holds(self.log) != 0
                         or aqw_log_leaves_segment(self.log, size) != 0)
        return waits

    cdef int wait_without_batch(self) except -1:
        """Wait for the store until the staged batch has room. Meanwhile the table is without it.

        So queries need not wait. The caller is in the lane, where nothing else changes the table.
        """
        cdef aqw_status status
        with cython.critical_section(self.table):
            self.table.rollback()
        self.wait_for_store()
        self.wait_to_leave_segment(self.batch.size)
        with cython.critical_section(self.table):
            self.table.begin()
            status = aqw_apply_again(self.table.table, &self.batch)
        return raise_status(status, self.batch.first_sequence)

    cdef int wait_for_store(self) except -1:
        """Return when appends need not wait for the store. Signals' handlers may raise."""
        cdef aqw_fault fault
        cdef aqw_status status = AQW_OK
        while self.has_store and status == AQW_OK and aqw_log_store_holds(self.log):
            with nogil:
                status = aqw_log_store_hold(self.log, &fault)
            PyErr_CheckSignals()
            self.check()
        return 0 if status == AQW_OK else self.raise_fault(status, &fault)

    cdef int wait_to_leave_segment(self, uint64_t size) except -1:
        """Return when the log need not wait for the store before so many bytes are appended.

        The log does wait for it where it leaves a segment, and then no signal's handler runs.
        """
        cdef bint leaves = False
        if self.has_store:
            with nogil:
                leaves = aqw_log_leaves_segment(self.log, size)
        return self.wait_until_stored(<uint64_t>-1) if leaves else 0

    def try_sync(self, seconds):
        """Wait until the store has every event, but no longer; return whether it has them.

        Signals' handlers may raise.
        """
        cdef aqw_fault fault
        cdef aqw_status status
        cdef uint64_t until = moment_in(seconds)
        cdef uint64_t last, look
        self.check()
        with nogil:
            last = aqw_log_last_sequence(self.log)
        while True:
            look = min(until, aqw_log_moment_after(SIGNALS_NS))
            with nogil:
                status = aqw_log_sync_until(self.log, last, look, &fault)
            if status != AQW_END or look == until:
                break
            PyErr_CheckSignals()
            self.check()
        if status != AQW_OK and status != AQW_END:
            self.raise_fault(status, &fault)
        return status == AQW_OK

    def begin_shipping(self, seconds):
        """Wait until events are to go to the store, or so long; return the last one's sequence.

        They are in the segments' files then. Returns None where nothing waits for the store. Raises
        ClosedError after :meth:`stop_shipping`, PoisonedError.
        """
        cdef aqw_fault fault
        cdef aqw_status status
        cdef uint64_t sequence = 0
        cdef uint64_t until = moment_in(seconds)
        self.check()
        with nogil:
            status = aqw_log_ship_begin(self.log, until, &sequence, &fault)
        if status == AQW_END:
            return None
        if status != AQW_OK:
            self.raise_fault(status, &fault)
        return sequence

    def acknowledge(self, uint64_t sequence):
        """Count every event up to a sequence as durable: the store has them."""
        self.check()
        with nogil:
            aqw_log_ship_end(self.log, sequence)

    def fail_shipping(self, error):
        """Poison the log with an error: the store takes nothing more from it."""
        self.check()
        self.store_failure = error
        with nogil:
            aqw_log_ship_fail(self.log)

    def stop_shipping(self):
        """End what :meth:`begin_shipping` waits for, and what waits for the store."""
        self.check()
        with nogil:
            aqw_log_ship_stop(self.log)

    def ship_from(self, uint64_t sequence):
        """Say what the store has when shipping begins: every event up to a sequence."""
        self.check()
        with nogil:
            aqw_log_ship_from(self.log, sequence)

    def append_for(self, seconds):
        """Have appends wait from so long on, until this is called again."""
        cdef uint64_t until = moment_in(seconds)
        self.check()
        with nogil:
            aqw_log_append_until(self.log, until)

    @property
    def log_uuid(self):
        """The log's UUID, 16 bytes."""
        self.check()
        return <bytes>aqw_log_uuid(self.log)[:16]

    def take_in(self, const uint8_t[::1] data not None):
        """Apply and append what a group has after the last event, all of which is durable."""
        cdef uint64_t written = 0
        cdef aqw_fault fault
        cdef aqw_status status
        cdef aqw_group_header header
        memset(&fault, 0, sizeof(fault))     # reading a group leaves it as it is
        self.check()
        status = aqw_group_read(&data[0], <size_t>data.shape[0], &header) if data.shape[0] \
            else AQW_CORRUPT
        if status == AQW_OK:
            with cython.critical_section(self.table):
                self.table.begin_alone()
            with nogil:
                status = aqw_take_in(
                    self.log, self.table.table, &self.batch, &data[0], <size_t>data.shape[0],
                    &header, &fault)
                # A durable event is in the segment's file: that is where readers look for it.
                if status == AQW_OK:
                    status = aqw_log_write_out(self.log, &written, &fault)
                if status == AQW_OK:
                    aqw_log_ship_end(self.log, written)
            with cython.critical_section(self.table):
                self.table.end_alone()
            if status not in (AQW_OK, AQW_REFUSED_SEQUENCE, AQW_CORRUPT, AQW_UNSUPPORTED_FORMAT):
                self.raise_fault(status, &fault)
        return taken_in(status, &fault)

    # --- The end ----------------------------------------------------------------------------------

    def close(self):
        """Sync, write the close marker, and let go of files and lock. A second close does nothing.

        A poisoned log only lets go. Raises PoisonedError where a sync of the policy's thread failed
        and no call has raised that yet.
        """
        cdef aqw_fault fault
        cdef aqw_status status
        self.check()
        with nogil:
            status = aqw_log_close(self.log, &fault)
        if status != AQW_OK:
            raise_close_fault(status, &fault)

    def abandon(self):
        """Let the log go in a forked child, and undo the batch that the parent was applying."""
        if self.log != NULL and self.generation != aqw_fork_generation():
            aqw_log_abandon(self.log)
            self.batch_is_open = False
            self.quick_is_busy = False
            if not self.table.is_alone:     # by a thread that took in a group: see ensure_whole
                self.table.rollback()
            if self.table.lane is not None:
                self.table.lane.renew()
            self.table.is_copied = False
            self.table.holders = 0      # their threads do not exist in the child


include "log_open.pxi"
