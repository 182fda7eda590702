/* Writes a table's image; table/image.h specifies it. */
#include "table/image.h"

#include "table/family.h"

/* The largest fields: those of a run with a full group of steps. */
_Static_assert(16 + 5 + 10 + 10 + 5 + AQW_IMAGE_GROUP_COUNT_MAX * (1 + VARINT_SIZE_MAX) <=
                   AQW_IMAGE_FIELDS_SIZE_MAX,
               "a run fits");
_Static_assert(AQW_IMAGE_ITEM_SIZE_MAX == AQW_PAYLOAD_SIZE_MAX + AQW_IMAGE_FIELDS_SIZE_MAX,
               "an item's limit");

/* Returns how many of a type of item there are. A lease has no row. */
static uint32_t count_of(const aqw_table *table, const uint8_t *kinds, int type) {
    return kinds[type] == AQW_ROW_KIND_COUNT ? table->head.lease_count
                                             : aqw_count_left(table, kinds[type]);
}

static aqw_status save_head(aqw_saver *save, const uint8_t *kinds) {
    const aqw_table_head *head = &save->table->head;
    writer *out = start(save);
    put_varint(out, head->latest_sequence);
    aqw_engine_put(out, &head->engine);
    for (int type = AQW_IMAGE_TASK; type < AQW_IMAGE_TYPE_COUNT; type++)
        put_varint(out, count_of(save->table, kinds, type));
    return emit(save, AQW_IMAGE_HEAD);
}

static aqw_status save_task(aqw_saver *save, uint32_t row) {
    const aqw_task_row *task = aqw_task_at(save->table, row);
    uint64_t purged = task->runs_created - task->run_count;
    writer *out = start(save);
    put_id(out, task->task_id);
    put_varint(out, task->created_at);
    put_u8(out, (task->is_canceled ? AQW_IMAGE_HAS_FIRST : 0u) |
                    (task->had_runs ? AQW_IMAGE_HAD_RUNS : 0u) |
                    (purged ? AQW_IMAGE_RUNS_PURGED : 0u) |
                    (task->completed_purged ? AQW_IMAGE_COMPLETED_PURGED : 0u));
    if (task->is_canceled) put_difference(out, task->canceled_at, task->created_at);
    if (task->had_runs) put_difference(out, task->last_run_at, task->created_at);
    if (purged) put_varint(out, purged);
    return emit_with(save, AQW_IMAGE_TASK, task->spec, task->spec_size);
}

/* ---- Runs ---- */

/* The group of steps in the making: in the run's own item, or in one of its history. */
typedef struct step_group {
    uint8_t type;
    uint32_t count;
    uint8_t state;
    uint64_t time;
} step_group;

/* Makes room for one more step. */
static aqw_status next_step(aqw_saver *save, step_group *group) {
    if (group->count < AQW_IMAGE_GROUP_COUNT_MAX) {
        group->count++;
        return AQW_OK;
    }
    aqw_status status = emit(save, group->type);
    start(save);
    group->type = AQW_IMAGE_HISTORY;
    group->count = 1;
    return status;
}

/* Saves the step that leaves no row: a lease was closed where the run's state says
 * that it came another way. */
static aqw_status save_way_to(aqw_saver *save, step_group *group, uint8_t state) {
    if (group->state == state) return AQW_OK;
    aqw_status status = next_step(save, group);
    put_u8(&save->out, AQW_IMAGE_LEASE_CLOSED);
    group->state = state;
    return status;
}

static aqw_status save_step(aqw_saver *save, step_group *group, const aqw_history_row *entry) {
    aqw_status status = save_way_to(save, group, entry->from_state);
    if (status == AQW_OK) status = next_step(save, group);
    if (status != AQW_OK) return status;
    put_u8(&save->out, entry->to_state);
    put_difference(&save->out, entry->timestamp, group->time);
    group->state = entry->to_state;
    group->time = entry->timestamp;
    return AQW_OK;
}

static aqw_status save_steps(aqw_saver *save, const aqw_run_row *run) {
    step_group group = {AQW_IMAGE_RUN, 0, AQW_SCHEDULED, run->created_at};
    for (uint32_t row = run->first_history; row;) {
        const aqw_history_row *entry = aqw_row_at(save->table, AQW_ROW_HISTORY, row);
        aqw_status status = save_step(save, &group, entry);
        if (status != AQW_OK) return status;
        row = entry->next;
    }
    aqw_status status = save_way_to(save, &group, run->state);
    return status == AQW_OK ? emit(save, group.type) : status;
}

static aqw_status save_attempt(aqw_saver *save, const aqw_run_row *run,
                               const aqw_attempt_row *attempt) {
    writer *out = start(save);
    put_id(out, attempt->attempt_id);
    put_difference(out, attempt->started_at, run->created_at);
    if (!attempt->ending) {
        put_u8(out, AQW_IMAGE_UNFINISHED);
        return emit(save, AQW_IMAGE_ATTEMPT);
    }
    uint32_t ending = aqw_load_u32(attempt->ending);
    put_u8(out, ending & 0xFF);
    put_difference(out, attempt->finished_at, attempt->started_at);
    return emit_with(save, AQW_IMAGE_ATTEMPT, attempt->ending + AQW_ENDING_HEADER_SIZE,
                     ending >> 8);
}

static aqw_status save_lease(aqw_saver *save, const aqw_run_row *run) {
    const aqw_lease *lease = run->lease;
    writer *out = start(save);
    put_difference(out, lease->acquired_at, run->created_at);
    put_difference(out, lease->updated_at, lease->acquired_at);
    put_difference(out, lease->expiry, lease->acquired_at);
    return emit_with(save, AQW_IMAGE_LEASE, lease->owner, lease->owner_size);
}

static aqw_status save_run(aqw_saver *save, uint32_t row) {
    const aqw_run_row *run = aqw_run_at(save->table, row);
    writer *out = start(save);
    put_id(out, run->run_id);
    put_task(save, run->task);
    put_varint(out, run->created_at);
    put_difference(out, run->scheduled_at, run->created_at);
    put_zigzag(out, run->effective_priority);
    aqw_status status = save_steps(save, run);
    for (uint32_t at = run->first_attempt; at && status == AQW_OK;
         at = aqw_attempt_at(save->table, at)->next) {
        status = save_attempt(save, run, aqw_attempt_at(save->table, at));
    }
    return status == AQW_OK && run->lease ? save_lease(save, run) : status;
}

/* ---- The whole ---- */

typedef aqw_status (*row_saver)(aqw_saver *save, uint32_t row);

static aqw_status save_rows(aqw_saver *save, int kind, row_saver save_row) {
    aqw_status status = AQW_OK;
    for (uint32_t row = 0;
         status == AQW_OK && (row = aqw_table_next(save->table, kind, row)) != 0;) {
        status = save_row(save, row);
    }
    return status;
}

/* Numbers the tasks that are left. */
static aqw_status number_tasks(aqw_saver *save, aqw_heap *heap) {
    const aqw_table *table = save->table;
    uint32_t number = 0;
    if (!table->head.purged[AQW_ROW_TASK]) return AQW_OK;
    save->numbers =
        aqw_heap_take(heap, sizeof *save->numbers * (size_t)table->rows[AQW_ROW_TASK].count);
    if (!save->numbers) return AQW_NO_MEMORY;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_TASK, row)) != 0;)
        save->numbers[row - 1] = ++number;
    return AQW_OK;
}

/* Saves all rows of a kind. Those that belong to a run are saved with it. */
static aqw_status save_items(aqw_saver *save, int kind) {
    const aqw_row_item *item = aqw_row_types[kind]->item;
    if (kind == AQW_ROW_TASK) return save_rows(save, kind, save_task);
    if (kind == AQW_ROW_RUN) return save_rows(save, kind, save_run);
    if (item->save_all) return item->save_all(save);
    return item->save ? save_rows(save, kind, item->save) : AQW_OK;
}

aqw_status aqw_table_save(const aqw_table *table, aqw_image_sink sink, void *to) {
    uint8_t kinds[AQW_IMAGE_TYPE_COUNT];
    if (table->undo.is_open) return AQW_INVALID_ARGUMENT;
    aqw_saver save = {.table = table, .sink = sink, .to = to};
    aqw_heap heap;              /* not the table's own, which must not change */
    aqw_heap_init(&heap, &table->heap.memory);
    aqw_kinds_by_item(kinds);
    aqw_status status = number_tasks(&save, &heap);
    if (status == AQW_OK) status = save_head(&save, kinds);
    for (int type = AQW_IMAGE_TASK; type < AQW_IMAGE_TYPE_COUNT && status == AQW_OK; type++) {
        if (kinds[type] != AQW_ROW_KIND_COUNT) status = save_items(&save, kinds[type]);
    }
    aqw_heap_return(&heap, save.numbers,
                    sizeof *save.numbers * (size_t)table->rows[AQW_ROW_TASK].count);
    return status;
}
