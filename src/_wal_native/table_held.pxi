# --- The table, held by queries while they last ---------------------------------------------------

cdef extern from *:
    """
    /* In a forked child: lets go of an object's critical section for threads that are gone. One
     * that this thread is in stays, for its own end. The interpreter says nowhere else who is in a
     * section: a thread's sections are a list, with two bits of the address for their kind. */
    static void aqw_table_free_section(PyObject *object) {
    #ifdef Py_GIL_DISABLED
        uintptr_t section = PyThreadState_Get()->critical_section;
        int is_mine = 0;
        while ((section & ~(uintptr_t)3) != 0) {
            PyCriticalSection2 *both = (PyCriticalSection2 *)(section & ~(uintptr_t)3);
            PyCriticalSection *one = (PyCriticalSection *)both;
            is_mine |= (section & 1) == 0 &&
                       (one->_cs_mutex == &object->ob_mutex ||
                        ((section & 2) != 0 && both->_cs_mutex2 == &object->ob_mutex));
            section = one->_cs_prev;
        }
        object->ob_mutex = (PyMutex){0};
        if (is_mine) PyMutex_Lock(&object->ob_mutex);
    #else
        (void)object;
    #endif
    }
    """
    void aqw_table_free_section(object table) noexcept


cdef object tables = WeakList()


def free_sections():
    """Let go, in a forked child, of the tables' critical sections for the parent's threads."""
    for table in tables:
        aqw_table_free_section(table)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=free_sections)


cdef class _HeldTable:
    """A table of the core, and how queries and changes of it keep out of each other's way."""

    def __cinit__(self):
        cdef bytes seed = os.urandom(16)
        self.table = aqw_table_new(NULL, seed)
        if self.table == NULL:
            raise MemoryError("no memory for the state table")
        self.encoder = EventEncoder()
        tables.add(self)

    def __dealloc__(self):
        cdef aqw_table *table = self.table
        if self.is_alone:
            return      # in a forked child, whose parent was changing it: it has no way back
        with nogil:  # a large table takes its time, for which other threads need not wait
            aqw_table_free(table)

    cdef void forget_lost_holders(self) noexcept:
        """Forget the queries of threads that do not exist in a forked child: they have no end."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index, kept = 0
        for index in range(self.holders):
            if self.holding[index] == thread:
                self.holding[kept] = thread
                kept += 1
        self.holders = kept
        self.waiting = 0
        self.holders_generation = aqw_fork_generation()

    cdef int hold(self) except -1:
        cdef unsigned long thread = PyThread_get_thread_ident()
        if self.holders_generation != aqw_fork_generation():
            self.forget_lost_holders()
        while True:
            if self.is_in_batch:
                self.wait_for_batch()
            if self.holders < HOLDERS_MAX:
                break
            if self.holds_all():
                raise RecursionError(
                    f"{HOLDERS_MAX} queries of one thread are under way, "
                    "each within the one before")
            self.wait_a_moment()
        self.holding[self.holders] = thread
        self.holders += 1
        return 0

    cdef void let_go(self) noexcept:
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index
        for index in range(self.holders - 1, -1, -1):
            if self.holding[index] == thread:
                self.holders -= 1
                self.holding[index] = self.holding[self.holders]
                return

    cdef bint is_held_here(self) noexcept:
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index
        for index in range(self.holders):
            if self.holding[index] == thread:
                return True
        return False

    cdef bint holds_all(self) noexcept:
        """Whether all queries under way are this thread's, so that none ends while it waits."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index
        for index in range(self.holders):
            if self.holding[index] != thread:
                return False
        return True

    cdef int wait_a_moment(self) except -1:
        """Let other threads run, with the interpreter's lock given up."""
        pause(PAUSE_SECONDS)
        return 0

    cdef int wait_for_queries(self) except -1:
        if self.holders_generation != aqw_fork_generation():
            self.forget_lost_holders()
        while self.holders > 0:
            if self.is_held_here():
                raise ReentrantCallError
            self.wait_a_moment()
        return 0

    cdef int let_queries_in(self) except -1:
        """Let the queries that have waited for the change before this one go first."""
        cdef int turn
        for turn in range(TURNS_MAX):
            if self.waiting == 0:
                break
            self.wait_a_moment()
        return 0

    cdef int ensure_whole(self) except -1:
        """Raise ForkedError where the thread that was changing the table is gone."""
        if self.is_alone and self.alone_generation != aqw_fork_generation():
            raise ForkedError
        return 0

    cdef int begin_alone(self) except -1:
        self.ensure_whole()
        if self.holders_generation != aqw_fork_generation():
            self.forget_lost_holders()
        self.let_queries_in()
        self.wait_for_queries()
        self.batch_thread = PyThread_get_thread_ident()
        self.alone_generation = aqw_fork_generation()
        self.is_alone = True
        self.is_in_batch = True
        return 0

    cdef void end_alone(self) noexcept:
        self.is_in_batch = False
        self.is_alone = False

    cdef int apply(self, const aqw_event *event) except -1:
        self.wait_for_queries()
        return raise_status(aqw_table_apply(self.table, event), event.sequence)

    cdef int begin(self) except -1:
        self.wait_for_queries()
        raise_status(aqw_table_begin(self.table))
        self.batch_thread = PyThread_get_thread_ident()
        self.is_in_batch = True
        return 0

    cdef void commit(self) noexcept:
        self.is_in_batch = False
        aqw_table_commit(self.table)

    cdef void rollback(self) noexcept:
        aqw_table_rollback(self.table)
        self.is_in_batch = False

    cdef const aqw_table *settled(self) except NULL:
        if self.is_in_batch:
            self.wait_for_batch()
        return self.table

    cdef int wait_for_batch(self) except -1:
        # What changes the table alone makes no query. In a forked child another thread may have got
        # its number.
        while self.is_in_batch and (
                self.is_alone or self.batch_thread != PyThread_get_thread_ident()):
            self.ensure_whole()
            if self.lane is None:
                self.waiting += 1
                try:
                    self.wait_a_moment()
                finally:
                    self.waiting = max(0, self.waiting - 1)
            elif self.lane.thread == 0:
                # A copy takes in another writer's group, for which nothing takes the lane.
                self.wait_a_moment()
            else:
                # The thread that applies the batch holds the lane until it commits or undoes it,
                # and longer where it has undone the batch to wait for a store.
                self.lane.wait_a_while()
        return 0
