# --- Claims as arrays ------------------------------------------------------------------------------

@cython.final
cdef class ClaimRows:
    """What a claim of many runs gives, as the memory of arrays, a row for each run.

    The identifiers have 16 bytes a row. ``numbers`` has five numbers of 64 bits a row: that of the
    attempt; where in ``data`` the task's encoded specification begins and ends; where in ``data``
    its payload begins, and the payload's size.
    """

    cdef readonly bytearray task_ids
    cdef readonly bytearray run_ids
    cdef readonly bytearray attempt_ids
    cdef readonly bytearray numbers
    cdef readonly bytearray data

    def __cinit__(self):
        self.task_ids = bytearray()
        self.run_ids = bytearray()
        self.attempt_ids = bytearray()
        self.numbers = bytearray()
        self.data = bytearray()

    cdef int add(
        self, const uint8_t *task_id, const aqw_held *held, uint32_t number, aqw_bytes spec
    ) except -1:
        cdef uint64_t row[5]
        cdef aqw_task_spec decoded
        if aqw_task_spec_decode(spec.data, spec.size, &decoded) != AQW_OK:
            raise SystemError("the table has a specification that does not decode")
        row[0] = number
        row[1] = <uint64_t>len(self.data)
        row[2] = row[1] + spec.size
        row[3] = row[1]
        row[4] = decoded.payload.size
        if decoded.payload.size:
            row[3] += <uint64_t>(decoded.payload.data - spec.data)
        self.task_ids += task_id[:16]
        self.run_ids += held.run_id[:16]
        self.attempt_ids += held.attempt_id[:16]
        self.numbers += (<const uint8_t *>row)[:sizeof(row)]
        self.data += spec.data[:spec.size]
        return 0


@cython.final
cdef class ColumnCompletion(Step):
    """Attempts of one owner that did their work, as arrays. The one item has their runs' bytes.

    The identifiers are copied, because other threads may change the caller's arrays meanwhile.
    """

    cdef object owner
    cdef bytes run_ids
    cdef bytes attempt_ids
    cdef Buffer offsets         # of the outputs, or None
    cdef Buffer data
    cdef bytes output           # the same for all rows, or None

    cdef int take(self, claims, outputs) except -1:
        """Take the arrays in. Raises for what they can't be."""
        cdef aqw_held held
        cdef Buffer run_ids = id_buffer("complete_columns", "run_ids", claims.run_ids)
        cdef Buffer attempt_ids = id_buffer("complete_columns", "attempt_ids", claims.attempt_ids)
        refuse_length("attempt_ids", attempt_ids, run_ids.length())
        self.run_ids = run_ids.data()[:16 * run_ids.length()]
        self.attempt_ids = attempt_ids.data()[:16 * run_ids.length()]
        self.owner = set_owner(&held, "complete_columns", claims.owner)
        self.items = [self.run_ids]
        if outputs is None or isinstance(outputs, bytes):
            self.output = None if outputs is None else bytes(outputs)
            return 0
        if not isinstance(outputs, tuple) or len(outputs) != 2:
            raise InvalidFieldTypeError(
                "complete_columns", "outputs", outputs,
                "must be bytes for all rows, or a tuple of offsets and data")
        self.offsets = offset_buffer("complete_columns", "outputs", outputs[0])
        self.data = byte_buffer("complete_columns", "outputs", outputs[1])
        refuse_length("outputs", self.offsets, run_ids.length() + 1)
        return 0

    cdef uint64_t offset(self, Py_ssize_t index) noexcept:
        cdef uint32_t small
        cdef uint64_t offset
        cdef const uint8_t *data = self.offsets.data()
        if self.offsets.view.itemsize == sizeof(small):
            memcpy(&small, data + index * sizeof(small), sizeof(small))
            return small
        memcpy(&offset, data + index * sizeof(offset), sizeof(offset))
        return offset

    cdef int set_output(self, aqw_bytes *output, Py_ssize_t index) except -1:
        """Point to a row's output. The caller's arrays may change: each number is read once."""
        cdef uint64_t begin, end
        if self.output is not None:
            output.data = <const uint8_t *><const char *>self.output
            output.size = <uint32_t>min(len(self.output), <Py_ssize_t>AQW_PAYLOAD_SIZE_MAX + 1)
        elif self.offsets is not None:
            begin = self.offset(index)
            end = self.offset(index + 1)
            if begin > end or end > <uint64_t>self.data.length():
                raise InvalidFieldError(
                    "complete_columns", "outputs", end,
                    f"row {index}: must have offsets that rise, up to the size of the data")
            output.data = self.data.data() + begin
            output.size = <uint32_t>min(end - begin, <uint64_t>AQW_PAYLOAD_SIZE_MAX + 1)
        return 0

    cdef int add_to_batch(self, Work on) except -1:
        cdef aqw_held held
        cdef aqw_bytes output
        cdef Py_ssize_t index
        output.data = NULL
        output.size = 0
        set_text(&held.owner, self.owner)
        on.begin(self.now)
        for index in range(len(self.run_ids) // 16):
            if index % AT_ONCE == AT_ONCE - 1:
                let_others_run()
            memcpy(held.run_id, <const char *>self.run_ids + 16 * index, 16)
            memcpy(held.attempt_id, <const char *>self.attempt_ids + 16 * index, 16)
            self.set_output(&output, index)
            on.complete_held(&held, output)
        return 0


cdef int refuse_length(str field, Buffer buffer, Py_ssize_t needed) except -1:
    if buffer.length() != needed:
        raise InvalidFieldError(
            "complete_columns", field, buffer.length(), f"must have {needed} items")
    return 0
