"""Groups of events, as they lie in a replicated engine (core/files/group.h)."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _wal_native.core cimport *
from _wal_native.table cimport StateTable


cdef str reason_of(int status):
    """Return in words why a group is of no use; an empty text where it is."""
    if status == AQW_OK:
        return ""
    if status == AQW_UNSUPPORTED_FORMAT:
        return "a newer version of the library wrote it"
    return "its bytes do not verify"


cdef str taken_in(int status, const aqw_fault *fault):
    """Return in words why a group was not taken in; an empty text where it was."""
    if status == AQW_REFUSED_SEQUENCE:
        return "events are missing before it"
    if status == AQW_CORRUPT and fault.reason == AQW_REASON_REFUSED_EVENT:
        return (f"event {fault.first_sequence} breaks a rule "
                f"({aqw_status_name(fault.refusal).decode('ascii')})")
    return reason_of(status)


def read_group(const uint8_t[::1] data not None):
    """Return a group's header and why the group is of no use: one of the two is None.

    The header has the log's UUID, epoch, first and last sequence, watermark, link and checksum.
    """
    cdef aqw_group_header header
    cdef aqw_status status = AQW_CORRUPT
    if data.shape[0] > 0:
        status = aqw_group_read(&data[0], <size_t>data.shape[0], &header)
    if status != AQW_OK:
        return None, reason_of(status)
    return (
        <bytes>header.log_uuid[:16], header.epoch, header.first_sequence,
        header.first_sequence + header.count - 1, header.watermark, header.link, header.checksum,
    ), None


def records_of_group(const uint8_t[::1] data not None, uint64_t after):
    """Return the records of a valid group's events after a sequence, as tuples like LogReader's."""
    cdef aqw_group_header header
    cdef aqw_group_cursor cursor
    cdef aqw_record record
    cdef list found = []
    if data.shape[0] == 0 or aqw_group_read(&data[0], <size_t>data.shape[0], &header) != AQW_OK:
        raise ValueError("the group does not verify")
    aqw_group_first(&cursor, &data[0], <size_t>data.shape[0], &header)
    while aqw_group_next(&cursor, &record):
        if record.sequence > after:
            found.append((
                0, 0, record.sequence, record.kind, record.flags, record.size, header.watermark,
                PyBytes_FromStringAndSize(<const char *>record.payload, record.payload_size)))
    return found


def event_checksum(uint64_t sequence, int kind, bytes payload not None):
    """Return the checksum of an event itself, as a position has it."""
    cdef aqw_record record
    record.sequence = sequence
    record.kind = <uint8_t>kind
    record.payload = <const uint8_t *><const char *>payload
    record.payload_size = <uint32_t>len(payload)
    return aqw_record_event_checksum(&record)


def take_in(StateTable table not None, const uint8_t[::1] data not None):
    """Apply what a group has after the table's last event, a batch as one.

    Returns in words why it can't, or an empty text.
    """
    cdef aqw_fault fault
    cdef aqw_group_header header
    cdef aqw_batch batch
    cdef aqw_status status = AQW_CORRUPT
    if data.shape[0] > 0:
        status = aqw_group_read(&data[0], <size_t>data.shape[0], &header)
    if status != AQW_OK:
        return reason_of(status)
    aqw_batch_init(&batch)
    with cython.critical_section(table):
        table.begin_alone()
    with nogil:
        status = aqw_take_in(
            NULL, table.table, &batch, &data[0], <size_t>data.shape[0], &header, &fault)
    with cython.critical_section(table):
        table.end_alone()
    aqw_batch_free(&batch)
    return taken_in(status, &fault)
