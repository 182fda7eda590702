#include "table/columns.h"

#include <string.h>

#include "table/internal.h"

_Static_assert(sizeof(aqw_run_record) == 112, "no padding but the declared one");
_Static_assert(sizeof(aqw_task_record) == 40, "no padding but the declared one");
_Static_assert(sizeof(aqw_attempt_record) == 56, "no padding but the declared one");

static void copy_run(const aqw_table *table, const aqw_run_row *run, aqw_run_record *to) {
    memset(to, 0, sizeof *to);
    memcpy(to->run_id, run->run_id, 16);
    memcpy(to->task_id, aqw_task_at(table, run->task)->task_id, 16);
    if (run->has_active_attempt)
        memcpy(to->active_attempt_id, aqw_attempt_at(table, run->last_attempt)->attempt_id, 16);
    to->created_at = run->created_at;
    to->scheduled_at = run->scheduled_at;
    to->last_state_change_at = run->last_state_change_at;
    if (run->lease) {
        to->has_lease = 1;
        to->lease_expiry = run->lease->expiry;
        to->lease_acquired_at = run->lease->acquired_at;
        to->lease_updated_at = run->lease->updated_at;
    }
    to->effective_priority = run->effective_priority;
    to->attempt_count = run->attempt_count;
    to->state = run->state;
    to->has_active_attempt = run->has_active_attempt;
}

uint32_t aqw_table_copy_runs(const aqw_table *table, aqw_run_record *to, uint32_t capacity) {
    uint32_t copied = 0;
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_RUN].count && copied < capacity; row++) {
        const aqw_run_row *run = aqw_run_at(table, row);
        if (!run->is_purged) copy_run(table, run, &to[copied++]);
    }
    return copied;
}

uint32_t aqw_table_copy_tasks(const aqw_table *table, aqw_task_record *to, uint32_t capacity) {
    uint32_t copied = 0;
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_TASK].count && copied < capacity; row++) {
        const aqw_task_row *task = aqw_task_at(table, row);
        if (task->is_purged) continue;
        aqw_task_record *record = &to[copied++];
        memset(record, 0, sizeof *record);
        memcpy(record->task_id, task->task_id, 16);
        record->created_at = task->created_at;
        record->canceled_at = task->canceled_at;
        record->run_count = task->run_count;
        record->is_canceled = task->is_canceled;
    }
    return copied;
}

static void copy_attempt(const aqw_run_row *run, const aqw_attempt_row *attempt,
                         aqw_attempt_record *to) {
    memset(to, 0, sizeof *to);
    memcpy(to->attempt_id, attempt->attempt_id, 16);
    memcpy(to->run_id, run->run_id, 16);
    to->started_at = attempt->started_at;
    to->result = AQW_RESULT_NONE;
    if (!attempt->ending) return;
    uint32_t header = aqw_load_u32(attempt->ending);
    to->is_finished = 1;
    to->finished_at = attempt->finished_at;
    to->result = (uint8_t)header;
    to->detail_size = header >> 8;
}

uint32_t aqw_table_copy_attempts(const aqw_table *table, aqw_attempt_record *to,
                                 uint32_t capacity) {
    uint32_t copied = 0;
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_ATTEMPT].count && copied < capacity; row++) {
        const aqw_attempt_row *attempt = aqw_attempt_at(table, row);
        const aqw_run_row *run = aqw_run_at(table, attempt->run);
        if (!run->is_purged) copy_attempt(run, attempt, &to[copied++]);
    }
    return copied;
}

uint32_t aqw_table_copy_run_ids(const aqw_table *table, uint8_t state, uint8_t *to,
                                uint32_t capacity) {
    uint32_t copied = 0;
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_RUN].count && copied < capacity; row++) {
        const aqw_run_row *run = aqw_run_at(table, row);
        if (run->is_purged || (state != AQW_STATE_NONE && run->state != state)) continue;
        memcpy(to + (size_t)copied++ * 16, run->run_id, 16);
    }
    return copied;
}
