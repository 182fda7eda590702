"""Reading a log that no writer has open: records for people and tools, and the projection that a writer would find.

A reader takes no lock, and writes and creates nothing.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, ENOENT

from _wal_native.core cimport *
from _wal_native.fault cimport raise_open_fault
from _wal_native.table cimport StateTable

import os


cdef class LogReader:
    """The records of a log, oldest first, by the same rules as recovery. For one thread."""

    cdef aqw_stream *stream
    cdef bint is_busy           # in a call without the GIL
    cdef readonly str directory

    def __cinit__(self, str directory not None):
        cdef aqw_fault fault
        cdef aqw_status status
        cdef bytes path = os.fsencode(directory)
        cdef const char *c_path = path
        self.stream = NULL
        self.directory = directory
        with nogil:
            status = aqw_stream_open(aqw_io_system(), c_path, &self.stream, &fault)
        if status != AQW_OK:
            self.stream = NULL
            raise_open_fault(&fault)

    def __dealloc__(self):
        aqw_stream_free(self.stream)

    cdef int begin(self) except -1:
        if self.is_busy:
            raise RuntimeError("a LogReader is for one thread")
        self.is_busy = True
        return 0

    def summary(self):
        """What is known of the log as a whole, as a dict."""
        cdef const aqw_stream_summary *summary = aqw_stream_summary_of(self.stream)
        fields = dict(summary[0])
        fields["is_clean"] = bool(summary.is_clean)
        fields["ring_has_dropped"] = bool(summary.ring_has_dropped)
        fields["drop_reason"] = (<bytes>aqw_reason_name(summary.drop_reason)).decode("ascii") if summary.drop_reason else None
        return fields

    def segments(self):
        """The segments' headers as a list of dicts, oldest first."""
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
        """The next record as a tuple: segment, offset, sequence, kind code, flags, size, watermark, payload."""
        cdef aqw_record record
        cdef aqw_fault fault
        cdef aqw_status status
        self.begin()
        with nogil:
            status = aqw_stream_next(self.stream, &record, &fault)
        self.is_busy = False
        if status == AQW_END:
            raise StopIteration
        if status != AQW_OK:
            raise_open_fault(&fault)
        return (record.segment_number, record.position, record.sequence, record.kind, record.flags, record.size, record.watermark,
                PyBytes_FromStringAndSize(<const char *>record.payload, record.payload_size))

    def replay(self, StateTable table not None):
        """Apply every event from here to the end to the table. Returns how many records, events and bytes that were."""
        cdef aqw_replay_counts counts
        cdef aqw_fault fault
        cdef aqw_status status
        counts.records = counts.events = counts.bytes = 0
        self.begin()
        with nogil:
            status = aqw_replay_stream(self.stream, table.table, &counts, &fault)
        self.is_busy = False
        if status != AQW_OK:
            raise_open_fault(&fault)
        return dict(counts)


def lock_is_held(str path not None, /):
    """Whether a writer holds the lock file at this path. A missing file is held by nobody."""
    cdef bytes encoded = os.fsencode(path)
    cdef int error = aqw_io_system().probe_lock(NULL, encoded)
    if error == 0 or error == ENOENT:
        return False
    if error == EAGAIN:         # EWOULDBLOCK, which every system spells the same
        return True
    raise OSError(error, os.strerror(error), path)
