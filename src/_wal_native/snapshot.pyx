"""Snapshots, compaction and repair of a queue's directory.

Every function makes one long call without the GIL. Of those that change something, the caller of
`compact` holds the queue's lock, and `repair` takes it.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from _wal_native.core cimport *
from _wal_native.fault cimport damage_of, raise_open_fault, raise_snapshot_fault
from _wal_native.log cimport Log
from _wal_native.progress cimport Progress, end_the_watch, watch_for_signals
from _wal_native.status cimport raise_status
from _wal_native.table cimport StateTable

import os


cdef aqw_progress *progress_of(Progress progress):
    return NULL if progress is None else progress.progress


def compact(
    str directory not None, Log log not None, *, uint64_t now, bint drops_segments,
    Progress progress=None,
):
    """Make a snapshot of everything durable, and keep two.

    With `drops_segments` it drops the segments that the older snapshot covers. `log` is the open
    log of that directory, `now` is in Unix seconds. Returns a dict. Raises SnapshotError,
    DisplacedError, CorruptLogError, StoppedError or MemoryError; the queue stays open and whole.
    """
    cdef aqw_compact_options options
    cdef aqw_compact_report report
    cdef aqw_fault fault
    cdef aqw_status status
    cdef bytes path = os.fsencode(directory)
    cdef const char *c_path = path
    log.check()
    options.now = now
    options.drops_segments = drops_segments
    options.log = log.log
    cdef list raised = []
    if progress is None:
        progress = Progress()
    options.progress = progress.progress
    watch_for_signals(progress, raised)
    with nogil:
        status = aqw_compact(aqw_io_system(), c_path, &options, &report, &fault)
    end_the_watch(progress, raised)
    if status != AQW_OK:
        raise_snapshot_fault(&fault)
    fields = dict(report)
    fields["is_new"] = bool(report.is_new)
    return fields


cdef struct Ranges:
    uint64_t *bounds            # first and last of each, in the order in which they were met
    size_t count
    size_t capacity


cdef aqw_status add_to_ranges(
    void *to, const aqw_record *record, aqw_fault *fault
) noexcept nogil:
    cdef Ranges *ranges = <Ranges *>to
    cdef uint64_t *grown
    if ranges.count > 0 and ranges.bounds[2 * ranges.count - 1] + 1 == record.sequence:
        ranges.bounds[2 * ranges.count - 1] = record.sequence
        return AQW_OK
    if ranges.count == ranges.capacity:
        ranges.capacity = 2 * ranges.capacity + 16
        grown = <uint64_t *>realloc(ranges.bounds, ranges.capacity * 2 * sizeof(uint64_t))
        if grown == NULL:
            return aqw_fault_set(fault, AQW_NO_MEMORY, NULL)
        ranges.bounds = grown
    ranges.bounds[2 * ranges.count] = ranges.bounds[2 * ranges.count + 1] = record.sequence
    ranges.count += 1
    return AQW_OK


def repair(
    str directory not None, *, bint accepts_data_loss, uint64_t now=0, str holder=None,
    Progress progress=None,
):
    """Find out what a repair would do, or do it. Returns a dict.

    Without a `holder` it takes no lock, and only looks. `now` is in Unix seconds. "verified" has
    the first and the last sequence of every range of events, after the snapshot, whose records
    verify, in the order of the log. Raises the OpenError family, StoppedError or MemoryError, and
    ValueError for a repair without a holder.
    """
    cdef aqw_repair_options options
    cdef aqw_repair_report report
    cdef aqw_fault fault
    cdef aqw_status status
    cdef Ranges ranges
    cdef bytes path = os.fsencode(directory)
    cdef bytes holder_text = b"" if holder is None else holder.encode()
    cdef const char *c_path = path
    cdef bint only_looks = holder is None
    if only_looks and accepts_data_loss:
        raise ValueError("a repair takes the lock, so it needs a holder")
    ranges.bounds = NULL
    ranges.count = ranges.capacity = 0
    options.accepts_data_loss = accepts_data_loss
    options.now = now
    options.holder = holder_text
    options.progress = progress_of(progress)
    options.visit = add_to_ranges
    options.visit_to = &ranges
    try:
        with nogil:
            if only_looks:
                status = aqw_repair_look(aqw_io_system(), c_path, &options, &report, &fault)
            else:
                status = aqw_repair(aqw_io_system(), c_path, &options, &report, &fault)
        if status != AQW_OK:
            raise_open_fault(&fault)
        verified = [(ranges.bounds[2 * index], ranges.bounds[2 * index + 1])
                    for index in range(ranges.count)]
    finally:
        free(ranges.bounds)
    return {
        "is_damaged": bool(report.is_damaged),
        "damage": damage_of(&report.damage) if report.is_damaged else None,
        "kept_sequence": report.kept_sequence,
        "lost_first": report.lost_first or None,
        "lost_last": report.lost_last or None,
        "readable_events": report.readable_events,
        "quarantined_files": report.quarantined_files,
        "quarantined_bytes": report.quarantined_bytes,
        "verified": verified,
    }


def list_snapshots(str directory not None):
    """Return the sequences of the snapshots in the directory, valid or not, newest first.

    Raises the OpenError family where the directory cannot be read.
    """
    cdef uint64_t sequences[AQW_SNAPSHOT_COUNT_MAX]
    cdef uint32_t count = 0
    cdef aqw_fault fault
    cdef aqw_status status
    cdef bytes path = os.fsencode(directory)
    cdef const char *c_path = path
    with nogil:
        status = aqw_snapshot_list(
            aqw_io_system(), c_path, sequences, AQW_SNAPSHOT_COUNT_MAX, &count, &fault)
    if status != AQW_OK:
        raise_open_fault(&fault)
    return [sequences[index] for index in range(count)]


cdef dict info_fields(const aqw_snapshot_info *info):
    return {
        "log_uuid": info.log_uuid[:16],
        "sequence": info.sequence,
        "created_at": info.created_at,
        "file_size": info.file_size,
    }


def read_snapshot(
    str directory not None, uint64_t sequence, StateTable table=None, *, Progress progress=None
):
    """Verify one snapshot, and load it into the empty table where the caller gives one.

    Returns a dict. Raises CorruptLogError where the snapshot does not verify, else the OpenError
    family, and StoppedError where `progress` was canceled.
    """
    cdef aqw_snapshot_info info
    cdef aqw_fault fault
    cdef aqw_status status
    cdef bytes path = os.fsencode(directory)
    cdef const char *c_path = path
    cdef aqw_table *c_table = NULL if table is None else table.table
    cdef aqw_progress *c_progress = progress_of(progress)
    with nogil:
        status = aqw_snapshot_read(
            aqw_io_system(), c_path, sequence, c_table, c_progress, &info, &fault)
    if status != AQW_OK:
        raise_open_fault(&fault)
    return info_fields(&info)


def snapshot_counts(str directory not None, uint64_t sequence):
    """Return what a snapshot says of itself, for the price of its first block.

    That is a dict like that of `read_snapshot`, and a dict with the number of rows of each kind.
    Raises CorruptLogError where the header or that block does not verify.
    """
    cdef aqw_table_counts counts
    cdef aqw_snapshot_info info
    cdef aqw_fault fault
    cdef aqw_status status
    cdef bytes path = os.fsencode(directory)
    cdef const char *c_path = path
    with nogil:
        status = aqw_snapshot_read_counts(
            aqw_io_system(), c_path, sequence, &counts, &info, &fault)
    if status != AQW_OK:
        raise_open_fault(&fault)
    fields = dict(counts)
    fields["history"] += fields["runs"]     # each run implies its first entry
    for name in ("runs_by_state", "parents", "memory_bytes"):   # the first block does not say these
        del fields[name]
    return info_fields(&info), fields


def load_newest_snapshot(
    str directory not None, StateTable table not None, *, Progress progress=None
):
    """Load the newest snapshot that verifies into the empty table.

    Returns a dict, or None without a snapshot that verifies; and the CorruptLogError for a newer
    snapshot that does not verify, or None. Raises the OpenError family, StoppedError, MemoryError.
    """
    cdef aqw_snapshot_choice choice
    cdef aqw_fault fault
    cdef aqw_status status
    cdef bytes path = os.fsencode(directory)
    cdef const char *c_path = path
    cdef list raised = []
    if progress is None:
        progress = Progress()
    watch_for_signals(progress, raised)
    with nogil:
        status = aqw_snapshot_load_newest(
            aqw_io_system(), c_path, table.table, progress.progress, &choice, &fault)
    end_the_watch(progress, raised)
    if status != AQW_OK:
        raise_open_fault(&fault)
    return (info_fields(&choice.info) if choice.is_found else None,
            damage_of(&choice.damage) if choice.damaged else None)


cdef struct Digest:
    uint32_t running
    uint64_t bytes


cdef aqw_status add_to_digest(
    void *to, uint8_t kind, aqw_bytes fields, aqw_bytes bytes
) noexcept nogil:
    cdef Digest *digest = <Digest *>to
    cdef uint8_t header[5]
    cdef uint32_t size = fields.size + bytes.size
    cdef int index
    header[0] = kind
    for index in range(4):
        header[1 + index] = <uint8_t>(size >> (8 * index))
    digest.running = aqw_crc32c_update(digest.running, header, 5)
    digest.running = aqw_crc32c_update(digest.running, fields.data, fields.size)
    digest.running = aqw_crc32c_update(digest.running, bytes.data, bytes.size)
    digest.bytes += 5 + size
    return AQW_OK


def image_digest(StateTable table not None):
    """Return a checksum (CRC32C) and the size in bytes of everything that the table holds.

    They are equal for equal projections.
    """
    cdef Digest digest
    cdef aqw_status status
    digest.running = AQW_CRC32C_START
    digest.bytes = 0
    with cython.critical_section(table):
        status = aqw_table_save(table.settled(), add_to_digest, &digest)
    raise_status(status)
    return aqw_crc32c_finish(digest.running), digest.bytes


def take_completions(StateTable to not None, StateTable of not None):
    """Have a table that no other thread uses know the forgotten completed runs that another knows.

    A snapshot of a version before the one that keeps them does not say which these are.
    """
    with cython.critical_section(to, of):
        aqw_table_take_completions(to.table, of.settled())
