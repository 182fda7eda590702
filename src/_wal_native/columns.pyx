"""Rows of arrays as events: the door of ``core/queue/submit_columns.h``.

:class:`Rows` is what one call submits. The caller makes and checks it under no lock. Then, in the
lane, it adds the rows to the log's open batch, some at a time, so that other threads and signals
get their turn in between. The table is whole whenever they do.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from _wal_native.buffers cimport (
    Buffer, byte_buffer, code_buffer, id_buffer, number_buffer, offset_buffer, priority_buffer,
    refuse_mask,
)
from _wal_native.core cimport *
from _wal_native.ids cimport AttemptId, RunId, id_from_data
from _wal_native.log cimport Log
from _wal_native.rules cimport state_member
from _wal_native.status cimport raise_status

import operator
import sys

from _wal_native.above import (
    AttemptResultKind,
    InvalidFieldError,
    InvalidFieldTypeError,
    RecordTooLarge,
    RunState,
)

cdef enum:
    REFUSED_FIRST = 1024        # the first room for refused rows, in rows

cdef tuple STATES = tuple(RunState)             # the order of the members is the order of the codes
cdef tuple RESULTS = tuple(AttemptResultKind)


@cython.final
cdef class RefusedRows:
    """The refused rows of a call, in their order, with what the errors for them say."""

    cdef aqw_refused_row *rows
    cdef uint32_t count
    cdef uint32_t capacity

    def __dealloc__(self):
        PyMem_Free(self.rows)

    cdef int reserve(self, uint32_t more) except -1:
        cdef size_t capacity = max(<size_t>self.capacity, <size_t>REFUSED_FIRST)
        cdef void *grown
        if self.capacity - self.count >= more:
            return 0
        while capacity - self.count < more:
            capacity *= 2
        grown = PyMem_Realloc(self.rows, capacity * sizeof(aqw_refused_row))
        if grown == NULL:
            raise MemoryError("no memory to note which rows are refused")
        self.rows = <aqw_refused_row *>grown
        self.capacity = <uint32_t>capacity
        return 0

    def __len__(self):
        return self.count

    def row(self, uint32_t index, /):
        """Return the number of the refused row at this place; both numbers begin with 0.

        Raises IndexError where fewer rows were refused.
        """
        if index >= self.count:
            raise IndexError("fewer rows were refused")
        return self.rows[index].row

    def codes(self, uint32_t row_count, /):
        """Return a status code (16 bits) for each row of the call, 0 for an accepted row."""
        cdef bytearray codes = bytearray(2 * <size_t>row_count)
        cdef uint8_t[::1] to = codes
        cdef uint32_t i
        for i in range(self.count):
            if self.rows[i].row < row_count:
                memcpy(&to[2 * <size_t>self.rows[i].row], &self.rows[i].status, 2)
        return codes

    def find(self, uint32_t row, /):
        """Return what is known of a refused row, as a tuple (see the stub).

        None for an accepted row.
        """
        cdef uint32_t low = 0, high = self.count, middle
        while low < high:
            middle = low + (high - low) // 2
            if self.rows[middle].row < row:
                low = middle + 1
            else:
                high = middle
        if low == self.count or self.rows[low].row != row:
            return None
        return refused_tuple(&self.rows[low])


cdef tuple refused_tuple(const aqw_refused_row *row):
    return (
        row.status,
        id_from_data(RunId, row.run_id),
        None if row.state == AQW_STATE_NONE else state_member(row.state),
        state_member(row.previous_state),
        state_member(row.new_state),
        id_from_data(AttemptId, row.attempt_id),
        id_from_data(AttemptId, row.active_attempt_id) if row.has_active_attempt else None,
        row.expiry,
        row.lease_expiry if row.has_lease else None,
        row.payload_size,
    )


@cython.final
cdef class Rows:
    """The rows that one call submits."""

    cdef aqw_columns columns
    cdef aqw_columns_walk walk
    cdef list kept                  # what the columns point to
    cdef readonly str owner         # the name of the call, for errors
    cdef readonly RefusedRows refused

    def __cinit__(self, str owner not None, uint8_t kind):
        memset(&self.columns, 0, sizeof(self.columns))
        memset(&self.walk, 0, sizeof(self.walk))
        self.owner = owner
        self.kept = []
        self.columns.kind = kind
        self.refused = RefusedRows.__new__(RefusedRows)

    def __len__(self):
        return self.columns.count

    # --- Taking the arrays in ---------------------------------------------------------------------

    cdef int keep(self, str argument, Buffer buffer, aqw_column *to) except -1:
        """Point a column to an array, which must have an item for each row."""
        if buffer.length() != self.columns.count:
            raise InvalidFieldError(
                self.owner, argument, buffer.length(),
                f"must have {self.columns.count} items, one for each of run_ids")
        self.kept.append(buffer)
        to.data = buffer.data()
        to.step = <uint32_t>(
            buffer.view.itemsize * (buffer.view.shape[1] if buffer.view.ndim == 2 else 1))
        return 0

    cdef int share(self, bytes value, aqw_column *to) except -1:
        """Point a column to one value for all rows."""
        self.kept.append(value)
        to.data = <const uint8_t *><const char *>value
        to.step = 0
        return 0

    cdef int set_run_ids(self, object value) except -1:
        cdef Buffer buffer = id_buffer(self.owner, "run_ids", value)
        if buffer.length() > AQW_BATCH_COUNT_MAX:
            raise InvalidFieldError(
                self.owner, "run_ids", buffer.length(),
                f"at most {AQW_BATCH_COUNT_MAX} rows fit into one call")
        self.columns.count = <uint32_t>buffer.length()
        return self.keep("run_ids", buffer, &self.columns.run_ids)

    cdef int set_attempt_ids(self, object value) except -1:
        return self.keep(
            "attempt_ids", id_buffer(self.owner, "attempt_ids", value), &self.columns.attempt_ids)

    cdef int set_numbers(self, str argument, object value, aqw_column *to) except -1:
        if not is_single(value):
            return self.keep(argument, number_buffer(self.owner, argument, value), to)
        refuse_mask(self.owner, argument, value)
        try:
            return self.share(whole_number(value).to_bytes(8, sys.byteorder), to)
        except TypeError:
            raise InvalidFieldTypeError(
                self.owner, argument, value,
                "must be a whole number, or an array of uint64") from None
        except OverflowError:
            raise InvalidFieldError(
                self.owner, argument, value, "must be from 0 to 2**64 - 1") from None

    cdef int set_priorities(self, str argument, object value, aqw_column *to) except -1:
        if not is_single(value):
            return self.keep(argument, priority_buffer(self.owner, argument, value), to)
        refuse_mask(self.owner, argument, value)
        try:
            return self.share(whole_number(value).to_bytes(4, sys.byteorder, signed=True), to)
        except TypeError:
            raise InvalidFieldTypeError(
                self.owner, argument, value,
                "must be a whole number, or an array of int32") from None
        except OverflowError:
            raise InvalidFieldError(
                self.owner, argument, value, "must be from -2**31 to 2**31 - 1") from None

    cdef int set_codes(self, str argument, object value, tuple members, aqw_column *to) except -1:
        if not is_single(value):
            return self.keep(argument, code_buffer(self.owner, argument, value), to)
        if isinstance(value, str):
            if value not in members:
                raise InvalidFieldError(
                    self.owner, argument, value, f"must be one of {', '.join(members)}")
            return self.share(bytes([members.index(value)]), to)
        refuse_mask(self.owner, argument, value)
        try:
            code = whole_number(value)
        except TypeError:
            raise InvalidFieldTypeError(
                self.owner, argument, value,
                "must be a member, its name, its code or an array of uint8") from None
        if not 0 <= code < len(members):
            raise InvalidFieldError(
                self.owner, argument, value, f"must be a code from 0 to {len(members) - 1}")
        return self.share(bytes([code]), to)

    cdef int set_bytes(
        self, str argument, object value, bint is_text, aqw_byte_column *to
    ) except -1:
        """Take one text or bytes for all rows, or a pair of arrays: offsets and data."""
        if isinstance(value, tuple) and len(value) == 2:
            return self.set_pair(argument, value[0], value[1], to)
        if is_text and isinstance(value, str):
            try:
                value = value.encode()
            except UnicodeEncodeError:
                raise InvalidFieldError(
                    self.owner, argument, value, "must not have lone surrogates") from None
        if not isinstance(value, bytes):
            raise InvalidFieldTypeError(
                self.owner, argument, value,
                f"must be {'a str or ' if is_text else ''}bytes for all rows, "
                "or a tuple of offsets and data")
        self.kept.append(value)
        to.data = <const uint8_t *><const char *><bytes>value
        to.size = len(value)
        return 0

    cdef int set_pair(
        self, str argument, object offsets, object data, aqw_byte_column *to
    ) except -1:
        cdef Buffer offset_items = offset_buffer(self.owner, argument, offsets)
        cdef Buffer bytes_items = byte_buffer(self.owner, argument, data)
        if offset_items.length() != <Py_ssize_t>self.columns.count + 1:
            raise InvalidFieldError(
                self.owner, argument, offset_items.length(),
                f"must have {self.columns.count + 1} offsets, one more than there are rows")
        self.kept += [offset_items, bytes_items]
        to.data = bytes_items.data()
        to.size = <uint64_t>bytes_items.length()
        to.offsets = offset_items.data()
        to.offset_size = <uint32_t>offset_items.view.itemsize
        return 0

    cdef Rows checked(self):
        """Return these rows where each has values that a command could have.

        Raises InvalidFieldError for the first row that has not.
        """
        cdef aqw_column_fault fault
        cdef aqw_status status
        with nogil:
            status = aqw_columns_check(&self.columns, &fault)
        if status != AQW_OK:
            reason = (<bytes>fault.reason).decode("ascii")
            raise InvalidFieldError(
                self.owner, (<bytes>fault.column).decode("ascii"), fault.value,
                f"row {fault.row}: {reason}")
        return self

    # --- In the lane ------------------------------------------------------------------------------

    def add_to(self, Log log not None, uint32_t rows_max, bint stops, /):
        """Add up to `rows_max` more rows to the log's open batch; return whether more are left.

        A refused row goes into :attr:`refused`. With `stops`, the call ends with the first refused
        row. After an exception the caller must roll the batch back.

        Raises:
            RuntimeError: No batch is open.
            MemoryError: There is no memory for the rows.
            RecordTooLarge: The rows do not fit into one batch.
            InvalidFieldError: The arrays were changed after they were checked.
        """
        cdef uint32_t left = self.columns.count - self.walk.next
        cdef uint32_t end = self.walk.next + min(left, rows_max)
        cdef aqw_status status
        if not log.batch_is_open:
            raise RuntimeError("no batch is open")
        self.refused.reserve(1 if stops else end - self.walk.next)
        self.walk.refused = self.refused.rows
        self.walk.stops = stops
        with cython.critical_section(log.table):
            status = aqw_columns_add(&self.columns, end, log.table.table, &log.batch, &self.walk)
        self.refused.count = self.walk.refused_count
        if status == AQW_TOO_LARGE:
            raise RecordTooLarge(
                self.walk.batch_size, AQW_BATCH_SIZE_MAX).at_batch_index(self.walk.next)
        if status == AQW_INVALID_ARGUMENT or status == AQW_MALFORMED_EVENT:
            raise InvalidFieldError(
                self.owner, "run_ids", self.walk.next,
                "the arrays were changed while the call was reading this row")
        raise_status(status)
        return self.walk.next < self.columns.count and not (
            stops and self.walk.refused_count > 0)


cdef bint is_single(object value):
    """Whether the value is one for all rows, not an array. NumPy's numbers have no dimensions."""
    return isinstance(value, (int, str)) or getattr(value, "ndim", None) == 0


cdef object whole_number(object value):
    # NumPy before 2.3 takes its own booleans for numbers, with a warning.
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", None) == "b":
        raise TypeError
    return operator.index(value)


# --- The calls ------------------------------------------------------------------------------------

def transitions(run_ids, previous_states, new_states, timestamps, /):
    """Return the rows of ``submit_transitions``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """
    cdef Rows rows = Rows("submit_transitions", AQW_RUN_STATE_CHANGED)
    rows.set_run_ids(run_ids)
    rows.set_codes("previous_states", previous_states, STATES, &rows.columns.previous_states)
    rows.set_codes("new_states", new_states, STATES, &rows.columns.new_states)
    rows.set_numbers("timestamps", timestamps, &rows.columns.timestamps)
    return rows.checked()


def reschedules(run_ids, scheduled_times, effective_priorities, timestamps, /):
    """Return the rows of ``submit_reschedules``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """
    cdef Rows rows = Rows("submit_reschedules", AQW_RUN_RESCHEDULED)
    rows.set_run_ids(run_ids)
    rows.set_numbers("scheduled_times", scheduled_times, &rows.columns.scheduled_times)
    rows.set_priorities("effective_priorities", effective_priorities, &rows.columns.priorities)
    rows.set_numbers("timestamps", timestamps, &rows.columns.timestamps)
    return rows.checked()


def lease_heartbeats(run_ids, owners, expiries, timestamps, /):
    """Return the rows of ``submit_lease_heartbeats``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """
    cdef Rows rows = Rows("submit_lease_heartbeats", AQW_LEASE_HEARTBEAT)
    rows.set_run_ids(run_ids)
    rows.set_bytes("owners", owners, True, &rows.columns.owners)
    rows.set_numbers("expiries", expiries, &rows.columns.expiries)
    rows.set_numbers("timestamps", timestamps, &rows.columns.timestamps)
    return rows.checked()


def attempt_starts(run_ids, attempt_ids, timestamps, /):
    """Return the rows of ``submit_attempt_starts``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """
    cdef Rows rows = Rows("submit_attempt_starts", AQW_ATTEMPT_STARTED)
    rows.set_run_ids(run_ids)
    rows.set_attempt_ids(attempt_ids)
    rows.set_numbers("timestamps", timestamps, &rows.columns.timestamps)
    return rows.checked()


def attempt_finishes(run_ids, attempt_ids, results, timestamps, outputs, errors, /):
    """Return the rows of ``submit_attempt_finishes``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """
    cdef Rows rows = Rows("submit_attempt_finishes", AQW_ATTEMPT_FINISHED)
    rows.set_run_ids(run_ids)
    rows.set_attempt_ids(attempt_ids)
    rows.set_codes("results", results, RESULTS, &rows.columns.results)
    rows.set_numbers("timestamps", timestamps, &rows.columns.timestamps)
    if outputs is not None:
        rows.set_bytes("outputs", outputs, False, &rows.columns.outputs)
    if errors is not None:
        rows.set_bytes("errors", errors, True, &rows.columns.errors)
    return rows.checked()
