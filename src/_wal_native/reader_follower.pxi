# --- Following a log that may have a writer -------------------------------------------------------

cdef class LogFollower:
    """The durable events of a log that may have a writer, after the event `after`. For one thread.

    `checksum` is what :attr:`checksum` said after that event, or None where the caller does not
    know it.
    """

    cdef aqw_follower *follower
    cdef atomic_int is_busy     # a call is under way without the GIL
    cdef uint64_t generation    # of forks, when it was opened: a child does not have its files
    cdef readonly tuple record  # what next_record returned last
    cdef aqw_group group        # what take_group makes a group in

    def __cinit__(self, str directory not None, uint64_t after, checksum=None):
        cdef aqw_fault fault
        cdef aqw_status status
        cdef bint is_known = checksum is not None
        cdef uint32_t c_checksum = checksum if is_known else 0
        cdef bytes path = os.fsencode(directory)
        cdef const char *c_path = path
        self.follower = NULL
        self.generation = aqw_fork_generation()
        with nogil:
            if is_known:
                status = aqw_follower_open_behind(
                    aqw_io_system(), c_path, after, c_checksum, &self.follower, &fault)
            else:
                status = aqw_follower_open(
                    aqw_io_system(), c_path, after, &self.follower, &fault)
        if status != AQW_OK:
            self.follower = NULL
            raise_open_fault(&fault)

    def __dealloc__(self):
        aqw_group_free(&self.group)
        if self.generation == aqw_fork_generation():
            with nogil:
                aqw_follower_free(self.follower)

    cdef int begin(self) except -1:
        if self.generation != aqw_fork_generation():
            raise ForkedError
        if atomic_exchange(&self.is_busy, True):
            raise RuntimeError("a LogFollower is for one thread")
        return 0

    @property
    def sequence(self):
        """Sequence of the last event that was returned or replayed; at first that of `after`."""
        return aqw_follower_sequence(self.follower)

    @property
    def durable_sequence(self):
        """Events up to this sequence were durable at the follower's last look."""
        return aqw_follower_durable_sequence(self.follower)

    @property
    def history(self):
        """The history that is followed, as 32 hexadecimal digits; None while it is not known."""
        cdef const uint8_t *history = aqw_follower_history(self.follower)
        return None if history == NULL else (<bytes>history[:16]).hex()

    @property
    def checksum(self):
        """The checksum of the event with the sequence :attr:`sequence`.

        None where the follower has not met that event.
        """
        cdef uint32_t checksum = 0
        return checksum if aqw_follower_checksum(self.follower, &checksum) else None

    def trust(self, uint64_t sequence, /):
        """From now on take events up to this one, durable or not.

        A queue that has written them out itself calls this.
        """
        self.begin()
        aqw_follower_trust(self.follower, sequence)
        self.is_busy = False

    def next_record(self):
        """Return the next durable event's record as a tuple like LogReader's.

        None where no further event is durable yet. Where a signal's handler raises right after this
        call, the caller does not get the tuple, and finds it in `record`.
        """
        cdef aqw_record record
        cdef aqw_fault fault
        cdef aqw_status status
        self.begin()
        with nogil:
            status = aqw_follower_next(self.follower, &record, &fault)
        try:    # busy to the end: the record lies in memory that the next call uses again
            if status == AQW_END:
                return None
            if status != AQW_OK:
                raise_open_fault(&fault)
            self.record = fields_of(&record)
            return self.record
        finally:
            self.is_busy = False

    def take_group(
        self, uint64_t upto, size_t size_max, bytes log_uuid not None, uint64_t epoch,
        uint64_t watermark, uint32_t link,
    ):
        """Return the next whole batches up to an event, durable or not, as a group.

        That is the first and the last sequence, the group's bytes (no more than `size_max`, unless
        one batch has more) and its checksum; None where no event is left.
        """
        cdef aqw_fault fault
        cdef aqw_status status
        cdef aqw_group_header header
        if len(log_uuid) != 16:
            raise ValueError("log_uuid has 16 bytes")
        self.begin()
        try:
            memcpy(header.log_uuid, <const char *>log_uuid, 16)
            header.epoch = epoch
            header.first_sequence = aqw_follower_sequence(self.follower) + 1
            header.watermark = watermark
            header.link = link
            aqw_follower_trust(self.follower, upto)
            with nogil:
                status = fill_group(self.follower, &self.group, upto, size_max, &fault)
            if self.group.count == 0:
                if status != AQW_OK and status != AQW_END:
                    raise_open_fault(&fault)
                return None
            aqw_group_seal(&self.group, &header)
            return (
                header.first_sequence, header.first_sequence + header.count - 1,
                PyBytes_FromStringAndSize(<const char *>self.group.data, self.group.size),
                header.checksum)
        finally:
            self.is_busy = False

    def replay(self, StateTable table not None, *, bint is_private):
        """Apply the durable events from here on to the table, a batch as one.

        Returns the number of events. A private table, which no other thread knows yet, gets all of
        them. For any other table the call may return before the end, so that queries that wait for
        it get a turn: 0 says that no event was left.
        """
        cdef uint64_t count = 0
        cdef aqw_fault fault
        cdef aqw_status status
        self.begin()
        if is_private:
            with nogil:
                status = apply_events(
                    self.follower, table.table, <uint64_t>-1, &count, &fault)
        else:
            try:
                with cython.critical_section(table):
                    table.begin_alone()
            except BaseException:
                self.is_busy = False
                raise
            with nogil:
                status = apply_events(self.follower, table.table, SHARED_EVENTS, &count, &fault)
            with cython.critical_section(table):
                table.end_alone()
        self.is_busy = False
        if status != AQW_OK and status != AQW_END:
            raise_open_fault(&fault)
        return count


cdef uint64_t SHARED_EVENTS = 2048
"""Queries wait for as many: for two or three milliseconds. With fewer a refresh beside busy threads
falls behind a fast writer."""


cdef aqw_status apply_events(
    aqw_follower *follower, aqw_table *table, uint64_t events_max, uint64_t *count, aqw_fault *fault
) noexcept nogil:
    """Apply events, and of a batch all or none.

    Where an event of a batch can't be read or applied, table and follower go back to its beginning.
    """
    cdef aqw_record record
    cdef aqw_follower_place place
    cdef aqw_status status = AQW_OK
    cdef uint64_t before = 0
    cdef bint in_batch = False
    while count[0] < events_max or in_batch:
        if not in_batch:
            aqw_follower_where(follower, &place)
            before = count[0]
        status = aqw_follower_next(follower, &record, fault)
        if status == AQW_OK and not in_batch and record.flags == AQW_FLAG_BATCH_OPEN:
            status = aqw_table_begin(table)
            if status != AQW_OK:
                aqw_follower_go_back(follower, &place)
                return aqw_fault_set(fault, status, NULL)
            in_batch = True
        if status == AQW_OK:
            status = aqw_replay_record(table, &record, fault)
        if status != AQW_OK:
            break
        count[0] += 1
        if in_batch and record.flags == AQW_FLAG_BATCH_END:
            aqw_table_commit(table)
            in_batch = False
    if in_batch:
        aqw_table_rollback(table)
        aqw_follower_go_back(follower, &place)
        count[0] = before
    return status


cdef aqw_status fill_group(
    aqw_follower *follower, aqw_group *group, uint64_t upto, size_t size_max, aqw_fault *fault
) noexcept nogil:
    """Add whole batches to an empty group, as long as they fit."""
    cdef aqw_follower_place place
    cdef aqw_record record
    cdef size_t size
    cdef uint32_t count
    cdef aqw_status status = aqw_group_begin(group)
    if status != AQW_OK:
        return aqw_fault_set(fault, status, NULL)
    while aqw_follower_sequence(follower) < upto:
        aqw_follower_where(follower, &place)
        size = group.size
        count = group.count
        while True:
            status = aqw_follower_next(follower, &record, fault)
            if status != AQW_OK:
                break
            status = aqw_group_add(group, &record)
            if status != AQW_OK:
                aqw_fault_set(fault, status, NULL)
                break
            if record.flags != AQW_FLAG_BATCH_OPEN:
                break
        if status != AQW_OK or (count > 0 and group.size > size_max):
            aqw_group_take_back(group, size, count)
            aqw_follower_go_back(follower, &place)
            break
    return status
