/* Budgets: a limit of a task in a dimension. They go with their task. */
#include "table/family.h"

typedef struct aqw_budget_row {
    uint64_t limit;
    uint64_t consumed;
    uint64_t allocated_at;
    uint32_t task;
    uint8_t dimension;
    uint8_t is_exhausted;
} aqw_budget_row;

static aqw_budget_row *budget_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_BUDGET, row);
}

/* ---- The key ---- */

static uint64_t budget_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_budget_row *budget = budget_at(table, row);
    return aqw_hash_numbers(table, budget->task, budget->dimension);
}

static uint32_t find_budget(const aqw_table *table, uint32_t task, uint8_t dimension) {
    const aqw_map *map = &table->maps[AQW_ROW_BUDGET];
    aqw_map_probe probe;
    aqw_map_find(map, aqw_hash_numbers(table, task, dimension), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_budget_row *budget = budget_at(table, row);
        if (budget->task == task && budget->dimension == dimension) return row;
    }
    return 0;
}

uint32_t aqw_table_find_budget(const aqw_table *table, const uint8_t task_id[16],
                               uint8_t dimension) {
    uint32_t task = aqw_table_find_task(table, task_id);
    return task ? find_budget(table, task, dimension) : 0;
}

static aqw_budget_row *add_budget(aqw_table *table, uint32_t task, uint8_t dimension) {
    uint32_t row = aqw_row_new(table, AQW_ROW_BUDGET);
    aqw_budget_row *budget = budget_at(table, row);
    budget->task = task;
    budget->dimension = dimension;
    aqw_index_insert(table, AQW_ROW_BUDGET, row);
    return budget;
}

/* ---- Events ---- */

static aqw_status budget_allocated(aqw_table *table, const aqw_event *event, uint32_t row) {
    uint8_t dimension = event->as.budget.dimension;
    if (dimension > AQW_BUDGET_DIMENSION_LAST) return AQW_INVALID_ARGUMENT;
    aqw_status status = row ? aqw_undo_keep_row(table, AQW_ROW_BUDGET, row)
                            : aqw_index_reserve(table, AQW_ROW_BUDGET, 1);
    if (status != AQW_OK) return status;

    uint32_t task = row ? 0 : aqw_table_find_task(table, event->as.budget.task_id);
    aqw_budget_row *budget = row ? budget_at(table, row) : add_budget(table, task, dimension);
    budget->limit = event->as.budget.value;
    budget->consumed = 0;
    budget->allocated_at = event->timestamp;
    budget->is_exhausted = 0;
    aqw_orders_note_budget(table, budget->task);
    return AQW_OK;
}

static void consume(aqw_budget_row *budget, uint64_t amount) {
    budget->consumed = amount > UINT64_MAX - budget->consumed ? UINT64_MAX
                                                              : budget->consumed + amount;
    if (budget->consumed >= budget->limit) budget->is_exhausted = 1;
}

static aqw_status budget_changed(aqw_table *table, const aqw_event *event) {
    const uint8_t *task_id = event->as.budget.task_id;
    if (event->kind != AQW_BUDGET_EXHAUSTED && !aqw_table_find_task(table, task_id))
        return AQW_REFUSED_UNKNOWN_TASK;
    uint32_t row = aqw_table_find_budget(table, task_id, event->as.budget.dimension);
    if (event->kind == AQW_BUDGET_ALLOCATED) return budget_allocated(table, event, row);
    if (!row)
        return event->kind == AQW_BUDGET_REPLENISHED ? AQW_REFUSED_BUDGET_NOT_ALLOCATED : AQW_OK;
    if (aqw_undo_keep_row(table, AQW_ROW_BUDGET, row) != AQW_OK) return AQW_NO_MEMORY;

    aqw_budget_row *budget = budget_at(table, row);
    if (event->kind == AQW_BUDGET_CONSUMED) {
        consume(budget, event->as.budget.value);
    } else if (event->kind == AQW_BUDGET_REPLENISHED) {
        budget->limit = event->as.budget.value;
        budget->consumed = 0;
        budget->is_exhausted = 0;
        aqw_orders_note_budget(table, budget->task);
    } else {
        budget->is_exhausted = 1;
    }
    return AQW_OK;
}

static const aqw_row_event budget_events[] = {
    {AQW_BUDGET_ALLOCATED, budget_changed},
    {AQW_BUDGET_CONSUMED, budget_changed},
    {AQW_BUDGET_EXHAUSTED, budget_changed},
    {AQW_BUDGET_REPLENISHED, budget_changed},
    {0, NULL},
};

/* ---- The view ---- */

void aqw_table_budget(const aqw_table *table, uint32_t row, aqw_budget_view *view) {
    const aqw_budget_row *budget = budget_at(table, row);
    aqw_task_id_copy(table, view->task_id, budget->task);
    view->dimension = budget->dimension;
    view->limit = budget->limit;
    view->consumed = budget->consumed;
    view->allocated_at = budget->allocated_at;
    view->is_exhausted = budget->is_exhausted;
}

/* ---- The image ---- */

static aqw_status save_budget(aqw_saver *save, uint32_t row) {
    const aqw_budget_row *budget = budget_at(save->table, row);
    writer *out = start(save);
    put_task(save, budget->task);
    put_u8(out, budget->dimension | (budget->is_exhausted ? AQW_IMAGE_EXHAUSTED : 0u));
    put_varint(out, budget->limit);
    put_varint(out, budget->consumed);
    put_varint(out, budget->allocated_at);
    return emit(save, AQW_IMAGE_BUDGET);
}

static aqw_status load_budget(aqw_table_loader *load, cursor *from) {
    count_one(load, from, AQW_IMAGE_BUDGET);
    uint32_t task = read_task(load, from);
    uint8_t code = read_code(from, AQW_IMAGE_EXHAUSTED | AQW_BUDGET_DIMENSION_LAST);
    uint8_t dimension = (uint8_t)(code & ~AQW_IMAGE_EXHAUSTED);
    uint8_t is_exhausted = (code & AQW_IMAGE_EXHAUSTED) != 0;
    uint64_t limit = read_varint(from);
    uint64_t consumed = read_varint(from);
    uint64_t allocated_at = read_varint(from);
    require(from, dimension <= AQW_BUDGET_DIMENSION_LAST &&
                      (is_exhausted || consumed < limit || consumed == 0));
    if (finish(from) != AQW_OK || find_budget(load->table, task, dimension))
        return AQW_MALFORMED_SNAPSHOT;

    aqw_budget_row *budget = add_budget(load->table, task, dimension);
    budget->limit = limit;
    budget->consumed = consumed;
    budget->allocated_at = allocated_at;
    budget->is_exhausted = is_exhausted;
    return AQW_OK;
}

static const aqw_row_item budget_item = {
    .type = AQW_IMAGE_BUDGET, .size_min = 5, .save = save_budget, .load = load_budget};

/* ---- The purge of the task ---- */

static int budget_is_purged(const aqw_table *table, uint32_t row) {
    return aqw_task_at(table, budget_at(table, row)->task)->is_purged;
}

static void drop_with_task(aqw_table *table, uint32_t task) {
    for (uint8_t dimension = 0; dimension <= AQW_BUDGET_DIMENSION_LAST; dimension++) {
        if (find_budget(table, task, dimension)) table->head.purged[AQW_ROW_BUDGET]++;
    }
}

/* ---- The kind ---- */

#if !defined(NDEBUG)
static void check_budget(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_budget_row *budget = budget_at(table, row);
    (void)to;
    AQW_ASSERT(budget->task >= 1 && budget->task <= table->rows[AQW_ROW_TASK].count);
    AQW_ASSERT(budget->dimension <= AQW_BUDGET_DIMENSION_LAST);
    AQW_ASSERT(budget->is_exhausted || budget->consumed < budget->limit || budget->consumed == 0);
}
#endif

const aqw_row_type aqw_budget_type = {
    .size = sizeof(aqw_budget_row),
    .count_at = AQW_COUNTED_AS(budgets),
    .hash_of = budget_hash,
    .is_purged = budget_is_purged,
    .events = budget_events,
    .item = &budget_item,
    .drop_with_task = drop_with_task,
    AQW_CHECKED_BY(check_budget, NULL)
};
