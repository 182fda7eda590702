/* Views: rows as the contract shows them, with identifiers in place of row numbers. */
#include <string.h>

#include "table/family.h"

uint64_t aqw_table_latest_sequence(const aqw_table *table) { return table->head.latest_sequence; }

uint64_t aqw_table_newest_change(const aqw_table *table) { return table->head.newest_change; }

void aqw_table_counts_get(const aqw_table *table, aqw_table_counts *counts) {
    memset(counts, 0, sizeof *counts);
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        size_t count_at = aqw_row_types[kind]->count_at;
        uint32_t count = aqw_count_left(table, kind);
        if (count_at) memcpy((uint8_t *)counts + (count_at - 1), &count, sizeof count);
    }
    memcpy(counts->runs_by_state, table->head.runs_by_state, sizeof counts->runs_by_state);
    counts->leases = table->head.lease_count;
    counts->memory_bytes = table->heap.taken_bytes;
}

/* Parents are in the order of their first children, which may change with a purge of children. */
uint32_t aqw_table_next_parent(const aqw_table *table, uint32_t row) {
    uint32_t child =
        row ? ((const aqw_parent_row *)aqw_row_at(table, AQW_ROW_PARENT, row))->first_child : 0;
    while (child < table->rows[AQW_ROW_CHILD].count) {
        uint32_t parent_row = aqw_child_at(table, ++child)->parent;
        if (((const aqw_parent_row *)aqw_row_at(table, AQW_ROW_PARENT, parent_row))->first_child ==
            child)
            return parent_row;
    }
    return 0;
}

void aqw_table_task(const aqw_table *table, uint32_t row, aqw_task_view *view) {
    const aqw_task_row *task = aqw_row_at(table, AQW_ROW_TASK, row);
    aqw_id_copy(view->task_id, task->task_id);
    view->created_at = task->created_at;
    view->canceled_at = task->canceled_at;
    view->is_canceled = task->is_canceled;
    view->spec = aqw_bytes_of(task->spec, task->spec_size);
    view->runs_created = task->runs_created;
    view->has_last_run = task->had_runs;
    view->last_run_at = task->last_run_at;
    view->completed_purged = task->completed_purged;
    view->run_count = task->run_count;
    view->first_run = task->first_run;
    view->first_dependency = task->first_dependency;
    view->first_dependent = task->first_dependent;
}

static void fill_lease(const aqw_lease *lease, aqw_lease_view *view) {
    view->owner = aqw_bytes_of(lease->owner, lease->owner_size);
    view->expiry = lease->expiry;
    view->acquired_at = lease->acquired_at;
    view->updated_at = lease->updated_at;
}

void aqw_table_run(const aqw_table *table, uint32_t row, aqw_run_view *view) {
    const aqw_run_row *run = aqw_row_at(table, AQW_ROW_RUN, row);
    memset(view, 0, sizeof *view);
    aqw_id_copy(view->run_id, run->run_id);
    aqw_task_id_copy(table, view->task_id, run->task);
    view->state = run->state;
    view->has_active_attempt = run->has_active_attempt;
    if (run->has_active_attempt)
        aqw_id_copy(view->active_attempt_id, aqw_table_run_active_attempt(table, row));
    view->has_lease = run->lease != NULL;
    if (run->lease) fill_lease(run->lease, &view->lease);
    view->effective_priority = run->effective_priority;
    view->attempt_count = run->attempt_count;
    view->created_at = run->created_at;
    view->scheduled_at = run->scheduled_at;
    view->last_state_change_at = run->last_state_change_at;
    view->first_history = run->first_history;
    view->first_attempt = run->first_attempt;
    view->next_in_task = run->next_in_task;
    while (view->next_in_task && aqw_run_at(table, view->next_in_task)->is_purged) {
        view->next_in_task = aqw_run_at(table, view->next_in_task)->next_in_task;
    }
}

void aqw_table_history(const aqw_table *table, uint32_t row, aqw_history_view *view) {
    const aqw_history_row *entry = aqw_row_at(table, AQW_ROW_HISTORY, row);
    view->from_state = entry->from_state;
    view->to_state = entry->to_state;
    view->timestamp = entry->timestamp;
    view->next = entry->next;
}

void aqw_table_attempt(const aqw_table *table, uint32_t row, aqw_attempt_view *view) {
    const aqw_attempt_row *attempt = aqw_row_at(table, AQW_ROW_ATTEMPT, row);
    memset(view, 0, sizeof *view);
    aqw_id_copy(view->attempt_id, attempt->attempt_id);
    view->started_at = attempt->started_at;
    view->next = attempt->next;
    view->result = AQW_RESULT_NONE;
    if (!attempt->ending) return;
    uint32_t header = aqw_load_u32(attempt->ending);
    aqw_bytes detail = aqw_bytes_of(attempt->ending + AQW_ENDING_HEADER_SIZE, header >> 8);
    view->is_finished = 1;
    view->finished_at = attempt->finished_at;
    view->result = (uint8_t)header;
    if (view->result == AQW_FAILURE || view->result == AQW_TIMEOUT) {
        view->error = detail;
    } else if (detail.size) {
        view->output = detail;
    }
}

void aqw_table_parent(const aqw_table *table, uint32_t row, aqw_parent_view *view) {
    const aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, row);
    aqw_id_copy(view->parent_task_id, parent->parent_task_id);
    view->first_child = parent->first_child;
}

void aqw_table_child(const aqw_table *table, uint32_t row, aqw_child_view *view) {
    const aqw_child_row *child = aqw_child_at(table, row);
    aqw_task_id_copy(table, view->task_id, child->task);
    view->next = child->next;
    while (view->next && aqw_task_at(table, aqw_child_at(table, view->next)->task)->is_purged) {
        view->next = aqw_child_at(table, view->next)->next;
    }
}

uint8_t aqw_table_run_state(const aqw_table *table, uint32_t row) {
    return ((const aqw_run_row *)aqw_row_at(table, AQW_ROW_RUN, row))->state;
}

const uint8_t *aqw_table_run_active_attempt(const aqw_table *table, uint32_t row) {
    const aqw_run_row *run = aqw_row_at(table, AQW_ROW_RUN, row);
    if (!run->has_active_attempt) return NULL;
    return ((const aqw_attempt_row *)aqw_row_at(table, AQW_ROW_ATTEMPT, run->last_attempt))
        ->attempt_id;
}

int aqw_table_run_had_attempt(const aqw_table *table, uint32_t row, const uint8_t attempt_id[16]) {
    return aqw_table_run_attempt_count(table, row) &&
           aqw_index_find_attempt(table, row, attempt_id);
}

uint32_t aqw_table_run_attempt_count(const aqw_table *table, uint32_t row) {
    return ((const aqw_run_row *)aqw_row_at(table, AQW_ROW_RUN, row))->attempt_count;
}

int aqw_table_run_lease(const aqw_table *table, uint32_t row, aqw_lease_view *view) {
    const aqw_run_row *run = aqw_row_at(table, AQW_ROW_RUN, row);
    if (run->lease) fill_lease(run->lease, view);
    return run->lease != NULL;
}

int aqw_table_task_is_canceled(const aqw_table *table, uint32_t row) {
    return ((const aqw_task_row *)aqw_row_at(table, AQW_ROW_TASK, row))->is_canceled;
}
