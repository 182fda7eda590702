# --- Ready runs that may be started, and what blocks the others -----------------------------------

cdef enum:
    READY_READ_AT_ONCE = 64
    READY_LOOKS_AT_ONCE = 1024  # runs, of which those that are blocked are parked


cdef bint may_run(const aqw_table *table, uint32_t run, object capabilities) except -1:
    """Whether these capabilities, a frozenset or None for all, have those that the run requires."""
    cdef uint32_t offset = 0
    cdef aqw_bytes name
    if capabilities is None:
        return True
    while aqw_table_next_required(table, run, &offset, &name):
        if text_of(name) not in capabilities:
            return False
    return True


cdef bint takes_key(const aqw_table *table, uint32_t row, set keys) except -1:
    """Whether no run in the set has the key of this one, which the set then has."""
    cdef aqw_run_view run
    cdef aqw_task_view task
    cdef aqw_task_spec spec
    aqw_table_run(table, row, &run)
    aqw_table_task(table, aqw_table_find_task(table, run.task_id), &task)
    if aqw_task_spec_decode(task.spec.data, task.spec.size, &spec) != AQW_OK:
        raise SystemError("the table has a specification that does not decode")
    if spec.concurrency_key.data == NULL:
        return True
    key = bytes_of(spec.concurrency_key)
    if key in keys:
        return False
    keys.add(key)
    return True


cdef class _ReadyQueries(_OrderQueries):
    """Queries for what to start next."""

    cdef list ready_groups(self, object capabilities):
        """Return the groups of ready runs that these capabilities may run."""
        cdef const aqw_table *table = self.ordered()
        cdef aqw_ready_group group
        cdef list groups = []
        cdef bint is_first = True
        while aqw_table_next_ready_group(table, is_first, &group):
            is_first = False
            if group.id == 0 or may_run(table, group.run, capabilities):
                groups.append(group.id)
        return groups

    cdef uint32_t ready_rows(
        self, uint32_t limit, object capabilities, aqw_ordered_entry *place, uint32_t *rows
    ) except? 0:
        cdef aqw_ordered_entry entries[READY_READ_AT_ONCE]
        cdef uint64_t *groups = NULL
        cdef uint32_t group_count, asked, looks, copied, at, count = 0
        chosen = self.ready_groups(capabilities)
        group_count = <uint32_t>len(chosen)
        groups = <uint64_t *>PyMem_Malloc((group_count + 1) * sizeof(uint64_t))
        if groups == NULL:
            raise MemoryError
        try:
            for at in range(group_count):
                groups[at] = chosen[at]
            while count < limit:
                asked = min(limit - count, <uint32_t>READY_READ_AT_ONCE)
                looks = READY_LOOKS_AT_ONCE
                self.ordered()
                raise_status(aqw_table_read_ready(
                    self.table, groups, group_count, place, entries, asked, &looks, &copied))
                for at in range(copied):
                    rows[count + at] = entries[at].row
                count += copied
                if looks and copied < asked:
                    break
                if count < limit:
                    self.let_others_run()
            return count
        finally:
            PyMem_Free(groups)

    cdef uint32_t rows_to_claim(
        self, uint32_t limit, object capabilities, uint32_t **rows
    ) except? 0:
        cdef aqw_ordered_entry place
        cdef aqw_engine_view engine
        memset(&place, 0, sizeof(place))
        self.hold()
        try:
            aqw_table_engine(self.settled(), &engine)
            limit = min(limit, counts_of(self.table).runs_by_state[AQW_READY])
            if engine.is_paused or limit == 0:
                return 0
            rows[0] = <uint32_t *>PyMem_Malloc(limit * sizeof(uint32_t))
            if rows[0] == NULL:
                raise MemoryError
            if limit == 1:
                return self.ready_rows(1, capabilities, &place, rows[0])
            return self.one_a_key(limit, capabilities, &place, rows[0])
        finally:
            self.let_go()

    cdef uint32_t one_a_key(
        self, uint32_t limit, object capabilities, aqw_ordered_entry *place, uint32_t *rows
    ) except? 0:
        """Fill in rows as `ready_rows` does, of runs with the same concurrency key the first only.

        Groups of different capabilities each have a first one.
        """
        cdef uint32_t asked, found, at, count = 0
        cdef set keys = set()
        while count < limit:
            asked = limit - count
            found = self.ready_rows(asked, capabilities, place, rows + count)
            for at in range(count, count + found):
                if takes_key(self.settled(), rows[at], keys):
                    rows[count] = rows[at]
                    count += 1
            if found < asked:
                break
        return count

    @cython.critical_section
    def read_ready(self, uint32_t limit, str owner, object capabilities=None, after=None, /):
        """Return a list of up to ``limit`` (priority, since, run_id) of runs that may be started.

        ``capabilities`` is a frozenset of texts, or None for all runs. ``after`` is the triple
        behind which the list begins; ``owner`` names the caller's query. Raises InvalidFieldError
        where it names an unknown run, MemoryError without memory.
        """
        cdef aqw_ordered_entry place
        cdef aqw_run_view run
        cdef uint32_t *rows = NULL
        cdef uint32_t at, count
        cdef RunId run_id
        memset(&place, 0, sizeof(place))
        self.hold()
        try:
            if after is not None:
                priority, place.words[2], run_id = after
                place.words[1] = aqw_ready_rank(priority)
                place.row = self.known_row(owner, after, run_id)
            limit = min(limit, counts_of(self.settled()).runs_by_state[AQW_READY])
            rows = <uint32_t *>PyMem_Malloc((<size_t>limit + 1) * sizeof(uint32_t))
            if rows == NULL:
                raise MemoryError
            count = self.ready_rows(limit, capabilities, &place, rows)
            found = []
            for at in range(count):
                if at % ORDERED_AT_ONCE == ORDERED_AT_ONCE - 1:
                    self.let_others_run()
                aqw_table_run(self.settled(), rows[at], &run)
                found.append((
                    run.effective_priority, run.last_state_change_at,
                    id_from_data(RunId, run.run_id)))
            return found
        finally:
            PyMem_Free(rows)
            self.let_go()

    @cython.critical_section
    def counted_attempts(self, RunId run_id not None, /):
        """Return the number of the run's attempts that did not end as suspended; 0 for no run."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return aqw_table_counted_attempts(self.table, row) if row else 0
        finally:
            self.let_go()

    @cython.critical_section
    def read_blockers(self, RunId run_id not None, /):
        """Return what would keep a run from being started, were it ready: (kind, id, dimension).

        ``kind`` is a code of C, BLOCKED_BY_CANCEL and so on; the identifier is that of a task,
        for BLOCKED_BY_KEY that of the run that holds the key, and for BLOCKED_BY_LEASE the run's
        own; only budgets have a dimension. None for an unknown run. A triple may come twice.
        """
        cdef aqw_blocker blocker
        cdef aqw_run_view run
        cdef const aqw_table *table
        cdef uint32_t row
        blocker.kind = blocker.dimension = 0
        blocker.row = blocker.place = blocker.steps = blocker.mark = 0
        self.hold()
        try:
            table = self.ordered()
            row = aqw_table_find_run(table, run_id.data)
            if row == 0:
                return None
            found = []
            while aqw_table_next_blocker(table, row, &blocker):
                if blocker.kind == AQW_BLOCKED_BY_KEY or blocker.kind == AQW_BLOCKED_BY_LEASE:
                    aqw_table_run(table, blocker.row, &run)
                    found.append((blocker.kind, id_from_data(RunId, run.run_id), None))
                elif blocker.kind == AQW_BLOCKED_BY_BUDGET:
                    found.append((
                        blocker.kind, task_id_of(table, blocker.row),
                        DIMENSIONS[blocker.dimension]))
                else:
                    found.append((blocker.kind, task_id_of(table, blocker.row), None))
            return found
        finally:
            self.let_go()
