"""Identifiers, and what the projection has of tasks, runs and attempts, as the bytes of arrays."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from _wal_native.buffers cimport Buffer, id_buffer
from _wal_native.core cimport *
from _wal_native.ids cimport Identifier, id_from_data
from _wal_native.rules cimport state_code
from _wal_native.table cimport StateTable

from _wal_native.above import InvalidFieldTypeError

# --- Identifiers ----------------------------------------------------------------------------------

def pack_ids(ids, /):
    """Return the identifiers' bytes, 16 for each, one after the other.

    Raises InvalidFieldTypeError for an item that is not an identifier.
    """
    cdef list items = list(ids)
    cdef bytearray packed = bytearray(16 * len(items))
    cdef uint8_t[::1] to = packed
    cdef Py_ssize_t i
    for i in range(len(items)):
        if not isinstance(items[i], Identifier):
            raise InvalidFieldTypeError("id_array", "ids", items[i], "must be identifiers")
        memcpy(&to[16 * i], (<Identifier>items[i]).data, 16)
    return packed


def unpack_ids(array, type id_type not None, /):
    """Return the identifiers in an array, as objects of one of the seven types.

    The array is V16, or uint8 of shape (n, 16). Raises InvalidFieldTypeError for an array of
    another type or for another `id_type`, InvalidFieldError for an array of another layout.
    """
    if not issubclass(id_type, Identifier) or id_type is Identifier:
        raise InvalidFieldTypeError(
            "ids_from_array", "id_type", id_type, "must be one of the seven identifier types")
    cdef Buffer buffer = id_buffer("ids_from_array", "array", array)
    cdef const uint8_t *data = buffer.data()
    cdef Py_ssize_t i
    return [id_from_data(id_type, data + 16 * i) for i in range(buffer.length())]


# --- Records --------------------------------------------------------------------------------------

cdef aqw_run_record run
cdef aqw_task_record task
cdef aqw_attempt_record attempt


cdef dict layout(tuple fields, const void *record, size_t size):
    """Return what ``numpy.dtype`` takes: the names, formats and offsets of a record's fields.

    A field is (name, format, its address).
    """
    return {
        "names": [name for name, _, _ in fields],
        "formats": [format for _, format, _ in fields],
        "offsets": [address - <size_t>record for _, _, address in fields],
        "itemsize": size,
    }


RUN_LAYOUT = layout((
    ("run_id", "V16", <size_t>&run.run_id),
    ("task_id", "V16", <size_t>&run.task_id),
    ("state", "u1", <size_t>&run.state),
    ("effective_priority", "i4", <size_t>&run.effective_priority),
    ("attempt_count", "u4", <size_t>&run.attempt_count),
    ("has_active_attempt", "?", <size_t>&run.has_active_attempt),
    ("active_attempt_id", "V16", <size_t>&run.active_attempt_id),
    ("created_at", "u8", <size_t>&run.created_at),
    ("scheduled_at", "u8", <size_t>&run.scheduled_at),
    ("last_state_change_at", "u8", <size_t>&run.last_state_change_at),
    ("has_lease", "?", <size_t>&run.has_lease),
    ("lease_expiry", "u8", <size_t>&run.lease_expiry),
    ("lease_acquired_at", "u8", <size_t>&run.lease_acquired_at),
    ("lease_updated_at", "u8", <size_t>&run.lease_updated_at),
), &run, sizeof(run))

TASK_LAYOUT = layout((
    ("task_id", "V16", <size_t>&task.task_id),
    ("created_at", "u8", <size_t>&task.created_at),
    ("is_canceled", "?", <size_t>&task.is_canceled),
    ("canceled_at", "u8", <size_t>&task.canceled_at),
    ("run_count", "u4", <size_t>&task.run_count),
), &task, sizeof(task))

ATTEMPT_LAYOUT = layout((
    ("attempt_id", "V16", <size_t>&attempt.attempt_id),
    ("run_id", "V16", <size_t>&attempt.run_id),
    ("started_at", "u8", <size_t>&attempt.started_at),
    ("is_finished", "?", <size_t>&attempt.is_finished),
    ("finished_at", "u8", <size_t>&attempt.finished_at),
    ("result", "u1", <size_t>&attempt.result),
    ("detail_size", "u4", <size_t>&attempt.detail_size),
), &attempt, sizeof(attempt))


cdef bytes room_for(uint32_t count, size_t size):
    return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(count * size))


cdef bint may_enter_lane(StateTable table) noexcept:
    with cython.critical_section(table):
        return table.lane is not None and not table.is_held_here()


def read_records(StateTable table not None, /):
    """Return (latest sequence, tasks, runs, attempts): the whole table at one moment.

    The last three are the bytes of records, whose layouts stand above. A table that belongs to a
    queue is copied without the GIL, in the lane, where no thread submits meanwhile. Any other table
    is copied with the GIL. So is a queue's table where a finalizer asks in the middle of a query,
    because the thread in the lane may be waiting for the end of that query.
    """
    if not may_enter_lane(table):
        return copy_records(table, False)
    cdef object lock = table.lane.enter()
    try:
        return copy_records(table, True)
    finally:
        lock.release()


cdef tuple copy_records(StateTable table, bint is_in_lane):
    cdef aqw_table_counts counts
    cdef const aqw_table *settled
    cdef bytes tasks, runs, attempts
    cdef aqw_task_record *to_tasks
    cdef aqw_run_record *to_runs
    cdef aqw_attempt_record *to_attempts
    with cython.critical_section(table):
        table.hold()
        try:
            settled = table.settled()
            aqw_table_counts_get(settled, &counts)
            tasks = room_for(counts.tasks, sizeof(task))
            runs = room_for(counts.runs, sizeof(run))
            attempts = room_for(counts.attempts, sizeof(attempt))
            to_tasks = <aqw_task_record *>PyBytes_AS_STRING(tasks)
            to_runs = <aqw_run_record *>PyBytes_AS_STRING(runs)
            to_attempts = <aqw_attempt_record *>PyBytes_AS_STRING(attempts)
            if not is_in_lane:
                fill_records(settled, &counts, to_tasks, to_runs, to_attempts)
            else:
                table.is_copied = True
                with nogil:
                    fill_records(settled, &counts, to_tasks, to_runs, to_attempts)
                table.is_copied = False
            return aqw_table_latest_sequence(settled), tasks, runs, attempts
        finally:
            table.let_go()


cdef void fill_records(
    const aqw_table *table, const aqw_table_counts *counts, aqw_task_record *tasks,
    aqw_run_record *runs, aqw_attempt_record *attempts,
) noexcept nogil:
    aqw_table_copy_tasks(table, tasks, counts.tasks)
    aqw_table_copy_runs(table, runs, counts.runs)
    aqw_table_copy_attempts(table, attempts, counts.attempts)


def read_run_ids(StateTable table not None, state, /):
    """Return the bytes of run identifiers, 16 for each, in the order of the runs' creation.

    They are the runs in the state, or all runs where the state is None. They are copied as
    `read_records` copies. Raises TypeError for a state that is not a RunState.
    """
    cdef uint8_t code = AQW_STATE_NONE if state is None else <uint8_t>state_code(state)
    if not may_enter_lane(table):
        return copy_run_ids(table, code, False)
    cdef object lock = table.lane.enter()
    try:
        return copy_run_ids(table, code, True)
    finally:
        lock.release()


cdef bytes copy_run_ids(StateTable table, uint8_t code, bint is_in_lane):
    cdef aqw_table_counts counts
    cdef const aqw_table *settled
    cdef uint32_t count
    cdef bytes ids
    cdef uint8_t *to
    with cython.critical_section(table):
        table.hold()
        try:
            settled = table.settled()
            aqw_table_counts_get(settled, &counts)
            count = counts.runs if code == AQW_STATE_NONE else counts.runs_by_state[code]
            ids = room_for(count, 16)
            to = <uint8_t *>PyBytes_AS_STRING(ids)
            if not is_in_lane:
                aqw_table_copy_run_ids(settled, code, to, count)
            else:
                table.is_copied = True
                with nogil:
                    aqw_table_copy_run_ids(settled, code, to, count)
                table.is_copied = False
        finally:
            table.let_go()
    return ids
