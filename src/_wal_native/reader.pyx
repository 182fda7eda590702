"""Reading logs.

A LogReader reads a log that no writer has open, as recovery would. A LogFollower reads one that may
have a writer, as far as it is durable (``reader_follower.pxi``). Neither takes a lock, and neither
writes or creates anything.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, ENOENT
from libc.string cimport memcpy

from _wal_native.core cimport *
from _wal_native.fault cimport raise_open_fault
from _wal_native.progress cimport Progress, end_the_watch, watch_for_signals
from _wal_native.table cimport StateTable

import os

from _wal_native.above import ForkedError, OpenIOError


cdef extern from "<stdatomic.h>":
    ctypedef int atomic_int
    int atomic_exchange(atomic_int *to, int value) noexcept


cdef tuple fields_of(const aqw_record *record):
    """Return a record as a tuple.

    It has segment, offset, sequence, kind code, flags, size, watermark and payload.
    """
    return (
        record.segment_number, record.position, record.sequence, record.kind, record.flags,
        record.size, record.watermark,
        PyBytes_FromStringAndSize(<const char *>record.payload, record.payload_size))


cdef class LogReader:
    """The records of a log, oldest first, by the rules of recovery. For one thread.

    `base` is the log UUID and the sequence of a snapshot. The log need not go back further than
    that, and must not end before it.
    """

    cdef aqw_stream *stream
    cdef atomic_int is_busy     # a call is under way without the GIL
    cdef Progress progress      # of its opening; the stream knows it as long as it lives
    cdef readonly str directory

    def __cinit__(self, str directory not None, tuple base=None):
        cdef aqw_fault fault
        cdef aqw_status status
        cdef aqw_stream_base c_base
        cdef const aqw_stream_base *base_or_none = NULL
        cdef bytes path = os.fsencode(directory)
        cdef const char *c_path = path
        cdef bytes log_uuid
        if base is not None:
            log_uuid = base[0]
            memcpy(c_base.log_uuid, <const char *>log_uuid, 16)
            c_base.sequence = base[1]
            base_or_none = &c_base
        cdef list raised = []
        self.stream = NULL
        self.directory = directory
        self.progress = Progress()
        watch_for_signals(self.progress, raised)
        with nogil:
            status = aqw_stream_open(
                aqw_io_system(), c_path, base_or_none, self.progress.progress, &self.stream, &fault)
        if status != AQW_OK:
            self.stream = NULL
        end_the_watch(self.progress, raised)
        if status != AQW_OK:
            raise_open_fault(&fault)

    def __dealloc__(self):
        with nogil:
            aqw_stream_free(self.stream)

    cdef int begin(self) except -1:
        if atomic_exchange(&self.is_busy, True):
            raise RuntimeError("a LogReader is for one thread")
        return 0

    def summary(self):
        """Return what is known of the log as a whole, as a dict. Sizes are in bytes."""
        cdef const aqw_stream_summary *summary = aqw_stream_summary_of(self.stream)
        cdef object reason = None
        if summary.drop_reason:
            reason = (<bytes>aqw_reason_name(summary.drop_reason)).decode("ascii")
        return {    # one by one, because users see them, and C has more members than these
            "segments": summary.segments,
            "ignored_segments": summary.ignored_segments,
            "base_sequence": summary.base_sequence,
            "first_sequence": summary.first_sequence,
            "last_sequence": summary.last_sequence,
            "durable_sequence": summary.durable_sequence,
            "is_clean": bool(summary.is_clean),
            "end": summary.end,
            "ring_events": summary.ring_events,
            "dropped_from": summary.dropped_from,
            "dropped_bytes": summary.dropped_bytes,
            "dropped_events": summary.dropped_events,
            "ring_has_dropped": bool(summary.ring_has_dropped),
            "drop_reason": reason,
        }

    def segments(self):
        """Return the segments' headers as a list of dicts, oldest first."""
        cdef const aqw_segment_header *header
        cdef uint64_t index = 0
        cdef list found = []
        while True:
            header = aqw_stream_segment(self.stream, index)
            if header == NULL:
                return found
            found.append({
                "number": header.place.segment_number,
                "first_sequence": header.place.first_sequence,
                "file_size": header.file_size,
                "watermark": header.watermark,
                "link_end": header.link_end,
                "created_at": header.created_at,
            })
            index += 1

    def __iter__(self):
        return self

    def __next__(self):
        cdef aqw_record record
        cdef aqw_fault fault
        cdef aqw_status status
        self.begin()
        with nogil:
            status = aqw_stream_next(self.stream, &record, &fault)
        try:    # busy to the end: the record lies in memory that the next call uses again
            if status == AQW_END:
                raise StopIteration
            if status != AQW_OK:
                raise_open_fault(&fault)
            return fields_of(&record)
        finally:
            self.is_busy = False

    def replay(self, StateTable table not None, Progress progress=None):
        """Apply every event from here to the end to the table, except those that it has.

        Returns the numbers of records, events and bytes as a dict. Raises the OpenError family,
        StoppedError where `progress` was canceled.
        """
        cdef aqw_replay_counts counts
        cdef aqw_fault fault
        cdef aqw_status status
        cdef list raised = []
        if progress is None:
            progress = Progress()
        counts.records = counts.events = counts.bytes = 0
        self.begin()
        watch_for_signals(progress, raised)
        with nogil:
            status = aqw_replay_stream(
                self.stream, table.table, &counts, progress.progress, &fault)
        self.is_busy = False
        end_the_watch(progress, raised)
        if status != AQW_OK:
            raise_open_fault(&fault)
        return replayed(&counts)

    def replay_to(self, StateTable table not None, uint64_t sequence, Progress progress=None):
        """Apply events as :meth:`replay` does, up to the one with this sequence.

        It ends before that where the log ends before that.
        """
        cdef aqw_fault fault
        cdef aqw_replay_counts counts
        cdef aqw_status status
        cdef list raised = []
        if progress is None:
            progress = Progress()
        counts.records = counts.events = counts.bytes = 0
        self.begin()
        watch_for_signals(progress, raised)
        with nogil:
            status = replay_until(
                self.stream, table.table, sequence, &counts, progress.progress, &fault)
        self.is_busy = False
        end_the_watch(progress, raised)
        if status != AQW_OK and status != AQW_END:
            raise_open_fault(&fault)
        return replayed(&counts)


cdef dict replayed(const aqw_replay_counts *counts):
    """Return the counts of a replay as a dict."""
    return {"records": counts.records, "events": counts.events, "bytes": counts.bytes}


cdef uint64_t PROGRESS_RECORDS = 1024


cdef aqw_status replay_until(
    aqw_stream *stream, aqw_table *table, uint64_t sequence, aqw_replay_counts *counts,
    aqw_progress *progress, aqw_fault *fault,
) noexcept nogil:
    cdef aqw_record record
    cdef aqw_status status
    while aqw_table_latest_sequence(table) < sequence:
        status = aqw_stream_next(stream, &record, fault)
        if status != AQW_OK:
            return status
        counts.records += 1
        counts.bytes += record.size
        aqw_progress_add(progress, record.size)
        if counts.records % PROGRESS_RECORDS == 0 and aqw_progress_must_stop(progress):
            return aqw_fault_set(fault, AQW_STOPPED, NULL)
        if record.kind < AQW_KIND_MARKER and record.sequence > aqw_table_latest_sequence(table):
            counts.events += 1
            status = aqw_replay_record(table, &record, fault)
            if status != AQW_OK:
                return status
    return AQW_OK


include "reader_follower.pxi"
include "reader_salvage.pxi"


def lock_is_held(str path not None, /):
    """Whether a writer holds the lock file at this path. No writer holds a missing file.

    Raises OpenIOError where the system does not say.
    """
    cdef bytes encoded = os.fsencode(path)
    cdef const char *c_path = encoded
    cdef int error
    with nogil:
        error = aqw_io_system().probe_lock(NULL, c_path)
    if error == 0 or error == ENOENT:
        return False
    if error == EAGAIN:         # EWOULDBLOCK has the same number on every system
        return True
    raise OpenIOError("lock", path, error)


cdef void visit_name(void *to, const char *name) noexcept nogil:
    with gil:
        try:
            # This runs no Python code. A signal's handler could raise in that, which would be lost.
            (<list>to).append(<bytes>name)
        except MemoryError:     # a name is left out; no promise depends on a complete list
            pass


def names_in(str path):
    """Return the names in a directory, or an empty list where it can't be read.

    A child that is forked meanwhile keeps no descriptor of the directory.
    """
    cdef bytes encoded = os.fsencode(path)
    cdef const char *c_path = encoded
    cdef list names = []
    with nogil:
        aqw_io_system().list(NULL, c_path, visit_name, <void *>names)
    return [os.fsdecode(name) for name in names]
