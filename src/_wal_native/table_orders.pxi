# --- Runs in the orders in which a scheduler asks for them ----------------------------------------

cdef enum:
    ORDER_READ_AT_ONCE = 256
    ORDERED_AT_ONCE = 2048      # runs, which take about a millisecond
    LOOKED_AT_ONCE = 8192       # rows, the same


cdef class _OrderQueries(_RunQueries):
    """Queries that cost their answer, however many runs there are."""

    cdef const aqw_table *ordered(self) except NULL:
        """Return the table with its orders up to date; the caller holds it."""
        cdef const aqw_table *table
        cdef uint8_t is_done
        while True:
            table = self.settled()
            raise_status(aqw_table_order(self.table, ORDERED_AT_ONCE, &is_done))
            if is_done:
                return table
            self.let_others_run()

    cdef int let_others_run(self) except -1:
        """Give up the interpreter's lock for an instant; a signal's handler may raise.

        Only queries can come in between, for the caller holds the table.
        """
        with nogil:
            pass
        PyErr_CheckSignals()
        return 0

    cdef uint32_t known_row(self, str owner, object after, RunId run_id) except 0:
        cdef uint32_t row = aqw_table_find_run(self.settled(), run_id.data)
        if row == 0:
            raise InvalidFieldError(
                owner, "after", after, "must name a run that the queue still knows")
        return row

    @cython.critical_section
    def read_order(self, int order, uint64_t until, uint32_t limit, str owner, after=None, /):
        """Return a list of up to ``limit`` (time, run_id), the earliest time first.

        ``order`` is ORDER_DUE, ORDER_LEASES (the times are expiries) or ORDER_DEADLINES. No time is
        after ``until``. Of runs with the same time the oldest comes first. ``after`` is the pair
        behind which the list begins; ``owner`` names the caller's query. Raises InvalidFieldError
        where it names an unknown run, MemoryError without memory.
        """
        cdef aqw_ordered_entry entries[ORDER_READ_AT_ONCE]
        cdef aqw_ordered_entry last
        cdef const aqw_ordered_entry *behind = NULL
        cdef const aqw_table *table
        cdef aqw_run_view run
        cdef uint32_t count, asked, at
        cdef uint64_t time
        cdef RunId run_id
        if not 0 <= order < AQW_ORDER_COUNT:
            raise ValueError(f"no order of runs has the code {order}")
        self.hold()
        try:
            if after is not None:
                time, run_id = after
                last.words[0] = time
                last.row = self.known_row(owner, after, run_id)
                behind = &last
            pairs = []
            while limit:
                asked = min(limit, <uint32_t>ORDER_READ_AT_ONCE)
                table = self.ordered()
                count = aqw_table_read_order(table, order, behind, until, entries, asked)
                for at in range(count):
                    aqw_table_run(table, entries[at].row, &run)
                    pairs.append((entries[at].words[0], id_from_data(RunId, run.run_id)))
                if count < asked:
                    break
                last = entries[count - 1]
                behind = &last
                limit -= count
                if limit:
                    self.let_others_run()
            return pairs
        finally:
            self.let_go()

    @cython.critical_section
    def read_run_ids(self, state=None, uint32_t limit=AQW_ROW_COUNT_MAX, after=None, /):
        """Return the identifiers of up to ``limit`` runs in a state, or of all, the oldest first.

        ``after`` is the RunId behind which the list begins, of a run in any state. Raises TypeError
        for a state that is not a RunState, InvalidFieldError for an unknown run.
        """
        cdef const aqw_table *table
        cdef aqw_run_view run
        cdef aqw_table_counts counts
        cdef uint32_t row = 0, left, looked = 0
        cdef int code
        self.hold()
        try:
            code = -1 if state is None else state_code(state)
            if after is not None:
                row = self.known_row("run_ids", after, after)
            counts = counts_of(self.settled())
            left = min(limit, counts.runs if code < 0 else counts.runs_by_state[code])
            run_ids = []
            while left:
                looked += 1
                if looked % LOOKED_AT_ONCE == 0:
                    self.let_others_run()
                if code < 0 or aqw_rule_state_is_terminal(<uint8_t>code):
                    table = self.settled()
                    row = aqw_table_next(table, AQW_ROW_RUN, row)
                    if row and code >= 0 and aqw_table_run_state(table, row) != code:
                        continue
                else:
                    table = self.ordered()
                    row = aqw_table_next_in_state(table, <uint8_t>code, row)
                if row == 0:
                    break
                aqw_table_run(table, row, &run)
                run_ids.append(id_from_data(RunId, run.run_id))
                left -= 1
            return run_ids
        finally:
            self.let_go()
