# --- Budgets and subscriptions --------------------------------------------------------------------

cdef int dimension_code(str query, object dimension) except -1:
    """Return the code of a member, or of the member with this name.

    It takes and refuses what a command's field does.
    """
    cdef int code
    for code in range(AQW_BUDGET_DIMENSION_LAST + 1):
        if <PyObject *>DIMENSIONS[code] == <PyObject *>dimension:
            return code
    if PyUnicode_CheckExact(dimension) and dimension in DIMENSIONS:
        return DIMENSIONS.index(dimension)
    refusal = InvalidFieldError if PyUnicode_CheckExact(dimension) else InvalidFieldTypeError
    raise refusal(query, "dimension", dimension, f"must be one of {', '.join(DIMENSIONS)}")


cdef object budget_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_budget_view budget
    aqw_table_budget(table, row, &budget)
    return (
        id_from_data(TaskId, budget.task_id),
        DIMENSIONS[budget.dimension],
        budget.limit,
        budget.consumed,
        budget.allocated_at,
        budget.is_exhausted != 0,
    )


cdef object subscription_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_subscription_view subscription
    aqw_table_subscription(table, row, &subscription)
    return (
        id_from_data(SubscriptionId, subscription.subscription_id),
        id_from_data(TaskId, subscription.task_id),
        filter_from_c(subscription.filter),
        subscription.created_at,
        time_if(subscription.is_triggered, subscription.triggered_at),
        time_if(subscription.is_canceled, subscription.canceled_at),
    )


cdef class _BudgetQueries(_TaskQueries):
    """Queries for budgets and subscriptions."""

    @cython.critical_section
    def budget_allocation_exists(self, TaskId task_id not None, dimension, /):
        """Whether the task has a budget in this dimension: a member, or its name.

        Raises InvalidFieldError for another name, InvalidFieldTypeError for another type.
        """
        self.hold()
        try:
            return aqw_table_find_budget(
                self.settled(), task_id.data,
                <uint8_t>dimension_code("budget_allocation_exists", dimension)) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def subscription_exists(self, SubscriptionId subscription_id not None, /):
        """Whether the subscription was created."""
        self.hold()
        try:
            return aqw_table_find_subscription(self.settled(), subscription_id.data) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def is_subscription_canceled(self, SubscriptionId subscription_id not None, /):
        """Whether the subscription was canceled."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_subscription(self.settled(), subscription_id.data)
            return row != 0 and aqw_table_subscription_is_canceled(self.settled(), row) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def read_budget(self, TaskId task_id not None, dimension, /):
        """Return (task_id, dimension, limit, consumed, allocated_at, is_exhausted).

        None where the task has no budget in this dimension: a member, or its name. Raises
        InvalidFieldError for another name, InvalidFieldTypeError for another type.
        """
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_budget(
                self.settled(), task_id.data, <uint8_t>dimension_code("budget", dimension))
            return budget_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_budgets(self):
        """Return what :meth:`read_budget` returns for every budget, in the order of allocation."""
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_BUDGET, budget_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_subscription(self, SubscriptionId subscription_id not None, /):
        """Return (subscription_id, task_id, filter, created_at, triggered_at, canceled_at).

        None for an unknown subscription.
        """
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_subscription(self.settled(), subscription_id.data)
            return subscription_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_subscriptions(self):
        """Return what :meth:`read_subscription` returns for every one, in the order of creation."""
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_SUBSCRIPTION, subscription_tuple)
        finally:
            self.let_go()
