# --- Tasks, what they depend on, and the forgotten ones -------------------------------------------

cdef object task_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_task_view task
    aqw_table_task(table, row, &task)
    return (
        id_from_data(TaskId, task.task_id),
        task.created_at,
        time_if(task.is_canceled, task.canceled_at),
        bytes_of(task.spec),
        task.runs_created,
        time_if(task.has_last_run, task.last_run_at),
    )


cdef object task_id_of(const aqw_table *table, uint32_t row):
    cdef aqw_task_view task
    aqw_table_task(table, row, &task)
    return id_from_data(TaskId, task.task_id)


cdef object dependency_pair(const aqw_table *table, uint32_t row):
    cdef aqw_dependency_view dependency
    aqw_table_dependency(table, row, &dependency)
    return id_from_data(TaskId, dependency.task_id), id_from_data(TaskId, dependency.depends_on)


cdef list children_in(const aqw_table *table, uint32_t parent_row):
    cdef aqw_parent_view parent
    cdef aqw_child_view child
    cdef list children = []
    aqw_table_parent(table, parent_row, &parent)
    cdef uint32_t row = parent.first_child
    while row:
        aqw_table_child(table, row, &child)
        children.append(id_from_data(TaskId, child.task_id))
        row = child.next
    return children


cdef object tombstone_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_tombstone_view tombstone
    aqw_table_tombstone(table, row, &tombstone)
    return id_from_data(TaskId, tombstone.task_id), tombstone.until


cdef class _TaskQueries(_ReadyQueries):
    """Queries for tasks, what they depend on, and the forgotten ones."""

    @cython.critical_section
    def task_exists(self, TaskId task_id not None, /):
        """Whether the task was created, and not forgotten since."""
        self.hold()
        try:
            return aqw_table_find_task(self.settled(), task_id.data) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def is_task_canceled(self, TaskId task_id not None, /):
        """Whether the task was canceled."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            return row != 0 and aqw_table_task_is_canceled(self.settled(), row) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def has_forgotten_completed_run(self, TaskId task_id not None, /):
        """Whether retention has forgotten a completed run of the task.

        What depends on the task counts it as one that is there.
        """
        cdef aqw_task_view task
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            if row == 0:
                return False
            aqw_table_task(self.settled(), row, &task)
            return task.completed_purged != 0
        finally:
            self.let_go()

    @cython.critical_section
    def forgotten_until(self, TaskId task_id not None, /):
        """Return when a forgotten task's identifier may be used again (Unix seconds).

        Until then a new task with it is refused. None where it may be used now.
        """
        cdef aqw_tombstone_view tombstone
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_tombstone(self.settled(), task_id.data)
            if row == 0:
                return None
            aqw_table_tombstone(self.settled(), row, &tombstone)
            return tombstone.until
        finally:
            self.let_go()

    @cython.critical_section
    def read_task(self, TaskId task_id not None, /):
        """Return (task_id, created_at, canceled_at, encoded spec, runs_created, last_run_at).

        None for an unknown task.
        """
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            return task_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_tasks(self):
        """Return what :meth:`read_task` returns for every task, in the order of creation."""
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_TASK, task_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_task_ids(self):
        """Return the identifiers of all tasks, in the order of creation."""
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_TASK, task_id_of)
        finally:
            self.let_go()

    @cython.critical_section
    def read_dependencies(self, TaskId task_id not None, /):
        """Return the identifiers of the task's prerequisites, in no particular order."""
        cdef aqw_task_view task
        cdef aqw_dependency_view dependency
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            depends_on = []
            if row:
                aqw_table_task(self.settled(), row, &task)
                row = task.first_dependency
            while row:
                aqw_table_dependency(self.settled(), row, &dependency)
                depends_on.append(id_from_data(TaskId, dependency.depends_on))
                row = dependency.next_in_task
            return depends_on
        finally:
            self.let_go()

    @cython.critical_section
    def read_dependents(self, TaskId task_id not None, /):
        """Return the identifiers of the tasks that depend on this one, the newest first."""
        cdef aqw_task_view task
        cdef aqw_dependency_view dependency
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            dependents = []
            if row:
                aqw_table_task(self.settled(), row, &task)
                row = task.first_dependent
            while row:
                aqw_table_dependency(self.settled(), row, &dependency)
                dependents.append(id_from_data(TaskId, dependency.task_id))
                row = dependency.next_on_same
            return dependents
        finally:
            self.let_go()

    @cython.critical_section
    def read_dependency_pairs(self):
        """Return every (task_id, prerequisite), in the order of declaration."""
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_DEPENDENCY, dependency_pair)
        finally:
            self.let_go()

    @cython.critical_section
    def read_children(self, TaskId parent_task_id not None, /):
        """Return the tasks that name this one as their parent, in the order of creation.

        The parent itself may be unknown.
        """
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_parent(self.settled(), parent_task_id.data)
            return children_in(self.settled(), row) if row else []
        finally:
            self.let_go()

    @cython.critical_section
    def read_parent_pairs(self):
        """Return every (parent_task_id, task_id)."""
        cdef aqw_parent_view parent
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_next_parent(self.settled(), 0)
            pairs = []
            while row:
                aqw_table_parent(self.settled(), row, &parent)
                parent_task_id = id_from_data(TaskId, parent.parent_task_id)
                pairs += [(parent_task_id, child) for child in children_in(self.settled(), row)]
                row = aqw_table_next_parent(self.settled(), row)
            return pairs
        finally:
            self.let_go()

    @cython.critical_section
    def read_tombstones(self):
        """Return a list of (task_id, until), in the order in which the tasks were forgotten."""
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_TOMBSTONE, tombstone_tuple)
        finally:
            self.let_go()
