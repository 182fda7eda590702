/* Rows with their links and index entries: what applying an event and loading an image share. */
#include <string.h>

#include "base/limits.h"
#include "event/rules.h"
#include "table/internal.h"

const uint8_t *aqw_bytes_copy(aqw_table *table, aqw_bytes bytes) {
    uint8_t *copy = aqw_arena_take(&table->arena, bytes.size, 1);
    if (copy && bytes.size) memcpy(copy, bytes.data, bytes.size);
    return copy;
}

aqw_owned *aqw_owned_copy(aqw_table *table, aqw_bytes bytes) {
    aqw_owned *owned = aqw_heap_take(&table->heap, sizeof *owned + bytes.size);
    if (!owned) return NULL;
    owned->size = bytes.size;
    if (bytes.size) memcpy(owned->data, bytes.data, bytes.size);
    return owned;
}

aqw_lease *aqw_lease_take(aqw_table *table, aqw_bytes owner) {
    aqw_lease *lease = aqw_heap_take(&table->heap, sizeof *lease + owner.size);
    if (!lease) return NULL;
    lease->owner_size = owner.size;
    if (owner.size) memcpy(lease->owner, owner.data, owner.size);
    return lease;
}

const uint8_t *aqw_ending_take(aqw_table *table, uint8_t result, aqw_bytes detail) {
    uint8_t *ending =
        aqw_arena_take(&table->arena, AQW_ENDING_HEADER_SIZE + (size_t)detail.size, 1);
    if (!ending) return NULL;
    aqw_store_u32(ending, detail.size << 8 | result);
    if (detail.size) memcpy(ending + AQW_ENDING_HEADER_SIZE, detail.data, detail.size);
    return ending;
}

/* Rows in general */

aqw_status aqw_owned_reserve(aqw_table *table, int kind, uint32_t row, aqw_bytes bytes,
                             aqw_owned **owned) {
    if (bytes.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    aqw_status status = row ? aqw_undo_keep_row(table, kind, row)
                            : aqw_index_reserve(table, kind, 1);
    if (status != AQW_OK) return status;
    if (aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;
    *owned = aqw_owned_copy(table, bytes);
    return *owned ? AQW_OK : AQW_NO_MEMORY;
}

void aqw_owned_set(aqw_table *table, aqw_owned **place, aqw_owned *owned) {
    aqw_owned *replaced = *place;
    aqw_undo_taken(table, owned, sizeof *owned + owned->size);
    *place = owned;
    if (replaced) aqw_undo_replaced(table, replaced, sizeof *replaced + replaced->size);
}

uint32_t aqw_row_new(aqw_table *table, int kind) {
    AQW_DEBUG(aqw_check_added(table, kind));
    return aqw_rows_add(&table->rows[kind]);
}

void *aqw_row_new_keyed(aqw_table *table, int kind, const uint8_t id[16]) {
    uint32_t row = aqw_row_new(table, kind);
    uint8_t *added = aqw_row_at(table, kind, row);
    memcpy(added, id, 16);
    aqw_index_insert(table, kind, row);
    return added;
}

/* Tasks */

uint32_t aqw_task_add(aqw_table *table, const uint8_t task_id[16]) {
    uint32_t row = aqw_row_add(table, AQW_ROW_TASK, sizeof(aqw_task_row));
    memcpy(aqw_task_at(table, row)->task_id, task_id, 16);
    aqw_index_insert(table, AQW_ROW_TASK, row);
    return row;
}

aqw_status aqw_child_reserve(aqw_table *table, const uint8_t parent_task_id[16]) {
    uint32_t parent_row = aqw_index_find_parent(table, parent_task_id);
    if (aqw_index_reserve(table, AQW_ROW_CHILD, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (!parent_row) return aqw_index_reserve(table, AQW_ROW_PARENT, 1);
    const aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, parent_row);
    if (aqw_undo_keep_row(table, AQW_ROW_PARENT, parent_row) != AQW_OK) return AQW_NO_MEMORY;
    return aqw_undo_keep_row(table, AQW_ROW_CHILD, parent->last_child);
}

void aqw_child_add(aqw_table *table, const uint8_t parent_task_id[16], uint32_t task) {
    uint32_t parent_row = aqw_index_find_parent(table, parent_task_id);
    int is_new = parent_row == 0;
    if (is_new) {
        aqw_row_new_keyed(table, AQW_ROW_PARENT, parent_task_id);
        parent_row = table->rows[AQW_ROW_PARENT].count;
    }
    uint32_t child_row = aqw_row_new(table, AQW_ROW_CHILD);
    aqw_child_row *child = aqw_row_at(table, AQW_ROW_CHILD, child_row);
    child->task = task;
    child->parent = parent_row;

    aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, parent_row);
    if (parent->last_child)
        ((aqw_child_row *)aqw_row_at(table, AQW_ROW_CHILD, parent->last_child))->next = child_row;
    if (!parent->first_child) {
        parent->first_child = child_row;
        if (!is_new) table->head.purged[AQW_ROW_PARENT]--;
    }
    parent->last_child = child_row;
}

/* Runs */

static void note_change(aqw_table *table, uint64_t timestamp) {
    if (timestamp > table->head.newest_change) table->head.newest_change = timestamp;
}

uint32_t aqw_run_add(aqw_table *table, uint32_t task_row, const uint8_t run_id[16],
                     uint64_t created_at) {
    uint32_t row = aqw_row_add(table, AQW_ROW_RUN, sizeof(aqw_run_row));
    aqw_run_row *run = aqw_run_at(table, row);
    memcpy(run->run_id, run_id, 16);
    run->created_at = created_at;
    run->last_state_change_at = created_at;
    run->task = task_row;
    run->state = AQW_SCHEDULED;
    aqw_index_insert(table, AQW_ROW_RUN, row);

    aqw_task_row *task = aqw_task_at(table, task_row);
    if (task->last_run) aqw_run_at(table, task->last_run)->next_in_task = row;
    if (!task->first_run) task->first_run = row;
    task->last_run = row;
    task->run_count++;
    task->open_runs++;
    task->runs_created++;
    task->had_runs = 1;
    table->head.runs_by_state[AQW_SCHEDULED]++;
    note_change(table, created_at);
    return row;
}

void aqw_run_set_state(aqw_table *table, aqw_run_row *run, uint8_t state) {
    table->head.runs_by_state[run->state]--;
    table->head.runs_by_state[state]++;
    run->state = state;
}

/* A run's end is its last change. */
static void note_end(aqw_table *table, const aqw_run_row *run) {
    aqw_task_row *task = aqw_task_at(table, run->task);
    task->open_runs--;
    if (run->last_state_change_at > task->last_end) task->last_end = run->last_state_change_at;
}

void aqw_run_change_state(aqw_table *table, aqw_run_row *run, uint8_t state, uint64_t timestamp) {
    uint32_t row = aqw_row_add(table, AQW_ROW_HISTORY, sizeof(aqw_history_row));
    aqw_history_row *entry = aqw_row_at(table, AQW_ROW_HISTORY, row);
    entry->timestamp = timestamp;
    entry->from_state = run->state;
    entry->to_state = state;
    if (run->last_history) {
        ((aqw_history_row *)aqw_row_at(table, AQW_ROW_HISTORY, run->last_history))->next = row;
    } else {
        run->first_history = row;
    }
    run->last_history = row;
    run->history_count++;
    run->last_state_change_at = timestamp;
    aqw_run_set_state(table, run, state);
    note_change(table, timestamp);
    if (aqw_rule_state_is_terminal(state)) note_end(table, run);
}

uint32_t aqw_attempt_add(aqw_table *table, uint32_t run_row, const uint8_t attempt_id[16],
                         uint64_t started_at) {
    uint32_t row = aqw_row_add(table, AQW_ROW_ATTEMPT, sizeof(aqw_attempt_row));
    aqw_attempt_row *attempt = aqw_attempt_at(table, row);
    memcpy(attempt->attempt_id, attempt_id, 16);
    attempt->started_at = started_at;
    attempt->run = run_row;
    aqw_index_insert(table, AQW_ROW_ATTEMPT, row);

    aqw_run_row *run = aqw_run_at(table, run_row);
    if (run->last_attempt) {
        aqw_attempt_at(table, run->last_attempt)->next = row;
    } else {
        run->first_attempt = row;
    }
    run->last_attempt = row;
    run->has_active_attempt = 1;
    run->attempt_count++;
    return row;
}

void aqw_attempt_end(aqw_table *table, aqw_run_row *run, uint64_t finished_at,
                     const uint8_t *ending) {
    aqw_attempt_row *attempt = aqw_attempt_at(table, run->last_attempt);
    attempt->finished_at = finished_at;
    attempt->ending = ending;
    run->has_active_attempt = 0;
}
