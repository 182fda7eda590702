# --- Runs, their attempts and leases --------------------------------------------------------------

cdef extern from *:
    """
    /* Makes an instance of a class whose instances are nothing but slots. The slots take references
     * of their own. */
    static PyObject *aqw_table_instance(PyObject *cls, const Py_ssize_t *offsets,
                                        PyObject *values) {
        PyObject *made = PyType_GenericAlloc((PyTypeObject *)cls, 0);
        if (made == NULL) return NULL;
        for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(values); index++)
            *(PyObject **)((char *)made + offsets[index]) =
                Py_NewRef(PyTuple_GET_ITEM(values, index));
        return made;
    }
    """
    object aqw_table_instance(object cls, const Py_ssize_t *offsets, tuple values)


cdef enum:
    RUN_FIELDS = 9

cdef Py_ssize_t run_offsets[RUN_FIELDS]
cdef bint runs_are_slots = (len(RunInstance.__struct_fields__) == RUN_FIELDS
                            and aqw_slots_are_all(RunInstance, RUN_FIELDS))
for index, name in enumerate(RunInstance.__struct_fields__):
    if runs_are_slots:
        run_offsets[index] = aqw_slot_offset(getattr(RunInstance, name))
        runs_are_slots = run_offsets[index] >= 0
del index, name


cdef tuple run_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_run_view run
    aqw_table_run(table, row, &run)
    return (
        id_from_data(RunId, run.run_id),
        id_from_data(TaskId, run.task_id),
        STATES[run.state],
        id_from_data(AttemptId, run.active_attempt_id) if run.has_active_attempt else None,
        run.attempt_count,
        run.created_at,
        run.scheduled_at,
        run.effective_priority,
        run.last_state_change_at,
    )


cdef object run_instance(const aqw_table *table, uint32_t row):
    """Return the run in the row, without its constructor's checks: the core checked the values."""
    fields = run_tuple(table, row)
    if runs_are_slots:
        return aqw_table_instance(RunInstance, run_offsets, fields)
    return RunInstance(*fields)


cdef class _RunQueries(_HeldTable):
    """Queries for runs, their attempts and leases."""

    @cython.critical_section
    def run_state(self, RunId run_id not None, /):
        """Return the run's state; None for an unknown run."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return STATES[aqw_table_run_state(self.settled(), row)] if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def active_attempt_id(self, RunId run_id not None, /):
        """Return the run's active attempt; None where it has no active attempt."""
        cdef uint32_t row
        cdef const uint8_t *attempt_id
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            attempt_id = aqw_table_run_active_attempt(self.settled(), row) if row else NULL
            return id_from_data(AttemptId, attempt_id) if attempt_id != NULL else None
        finally:
            self.let_go()

    @cython.critical_section
    def active_lease(self, RunId run_id not None, /):
        """Return the run's lease as (owner, expiry in Unix seconds); None where it has no lease."""
        cdef aqw_lease_view lease
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0 or not aqw_table_run_lease(self.settled(), row, &lease):
                return None
            return text_of(lease.owner), lease.expiry
        finally:
            self.let_go()

    @cython.critical_section
    def attempt_count(self, RunId run_id not None, /):
        """Return the number of the run's attempts so far; 0 for an unknown run."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return aqw_table_run_attempt_count(self.settled(), row) if row else 0
        finally:
            self.let_go()

    @cython.critical_section
    def attempt_was_used(self, RunId run_id not None, AttemptId attempt_id not None, /):
        """Whether the run ever had this attempt."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return row != 0 and aqw_table_run_had_attempt(self.settled(), row, attempt_id.data) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def run(self, RunId run_id not None):
        """Return the run as it is now; None where there is no such run."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return run_instance(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_lease(self, RunId run_id not None, /):
        """Return (owner, expiry, acquired_at, updated_at); None where the run has no lease."""
        cdef aqw_lease_view lease
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0 or not aqw_table_run_lease(self.settled(), row, &lease):
                return None
            return text_of(lease.owner), lease.expiry, lease.acquired_at, lease.updated_at
        finally:
            self.let_go()

    @cython.critical_section
    def read_history(self, RunId run_id not None, /):
        """Return a list of (from_state, to_state, timestamp), oldest first.

        The first from_state is None. Returns None for an unknown run.
        """
        cdef aqw_run_view run
        cdef aqw_history_view entry
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0:
                return None
            aqw_table_run(self.settled(), row, &run)
            entries = [(None, STATES[AQW_SCHEDULED], run.created_at)]
            row = run.first_history
            while row:
                aqw_table_history(self.settled(), row, &entry)
                entries.append(
                    (STATES[entry.from_state], STATES[entry.to_state], entry.timestamp))
                row = entry.next
            return entries
        finally:
            self.let_go()

    @cython.critical_section
    def read_attempts(self, RunId run_id not None, /):
        """Return a list of (attempt_id, started_at, finished_at, result, error, output).

        It has the oldest attempt first. Returns None for an unknown run.
        """
        cdef aqw_run_view run
        cdef aqw_attempt_view attempt
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0:
                return None
            aqw_table_run(self.settled(), row, &run)
            attempts = []
            row = run.first_attempt
            while row:
                aqw_table_attempt(self.settled(), row, &attempt)
                attempts.append((
                    id_from_data(AttemptId, attempt.attempt_id),
                    attempt.started_at,
                    time_if(attempt.is_finished, attempt.finished_at),
                    RESULTS[attempt.result] if attempt.is_finished else None,
                    text_of(attempt.error) if attempt.error.data != NULL else None,
                    bytes_of(attempt.output) if attempt.output.data != NULL else None,
                ))
                row = attempt.next
            return attempts
        finally:
            self.let_go()

    @cython.critical_section
    def read_runs_of_task(self, TaskId task_id not None, /):
        """Return the task's runs, in the order of creation."""
        cdef aqw_task_view task
        cdef aqw_run_view run
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            runs = []
            if row:
                aqw_table_task(self.settled(), row, &task)
                row = task.first_run
            while row:
                runs.append(run_instance(self.settled(), row))
                aqw_table_run(self.settled(), row, &run)
                row = run.next_in_task
            return runs
        finally:
            self.let_go()
