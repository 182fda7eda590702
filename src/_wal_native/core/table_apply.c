/* What an event does to the table. Every function goes in the same order: the rules (rules.h, in the order in which a
 * command is validated), then all the memory that the change needs, then the change, which can't fail.
 *
 * This file has the dispatch and the events of tasks, runs, leases and the engine; table_apply_records.c the rest. */
#include <string.h>

#include "bytes.h"
#include "limits.h"
#include "rules.h"
#include "table_internal.h"

static aqw_run_row *run_at(const aqw_table *table, uint32_t row) {
    return aqw_rows_at(&table->rows[AQW_ROW_RUN], row);
}

static aqw_task_row *task_at(const aqw_table *table, uint32_t row) {
    return aqw_rows_at(&table->rows[AQW_ROW_TASK], row);
}

static aqw_attempt_row *attempt_at(const aqw_table *table, uint32_t row) {
    return aqw_rows_at(&table->rows[AQW_ROW_ATTEMPT], row);
}

/* Tasks */

static uint32_t add_parent(aqw_table *table, const uint8_t parent_task_id[16]) {
    uint32_t row = aqw_rows_add(&table->rows[AQW_ROW_PARENT]);
    aqw_parent_row *parent = aqw_rows_at(&table->rows[AQW_ROW_PARENT], row);
    memcpy(parent->parent_task_id, parent_task_id, 16);
    aqw_index_insert(table, AQW_ROW_PARENT, row);
    return row;
}

static void add_child(aqw_table *table, const uint8_t parent_task_id[16], uint32_t task) {
    uint32_t parent_row = aqw_table_find_parent(table, parent_task_id);
    if (!parent_row) parent_row = add_parent(table, parent_task_id);
    uint32_t child_row = aqw_rows_add(&table->rows[AQW_ROW_CHILD]);
    ((aqw_child_row *)aqw_rows_at(&table->rows[AQW_ROW_CHILD], child_row))->task = task;

    aqw_parent_row *parent = aqw_rows_at(&table->rows[AQW_ROW_PARENT], parent_row);
    if (parent->last_child) {
        ((aqw_child_row *)aqw_rows_at(&table->rows[AQW_ROW_CHILD], parent->last_child))->next = child_row;
    } else {
        parent->first_child = child_row;
    }
    parent->last_child = child_row;
}

static aqw_status reserve_child(aqw_table *table, const uint8_t parent_task_id[16]) {
    uint32_t parent_row = aqw_table_find_parent(table, parent_task_id);
    if (aqw_index_reserve(table, AQW_ROW_CHILD, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (!parent_row) return aqw_index_reserve(table, AQW_ROW_PARENT, 1);
    const aqw_parent_row *parent = aqw_rows_at(&table->rows[AQW_ROW_PARENT], parent_row);
    if (aqw_undo_keep_row(table, AQW_ROW_PARENT, parent_row) != AQW_OK) return AQW_NO_MEMORY;
    return aqw_undo_keep_row(table, AQW_ROW_CHILD, parent->last_child);
}

static aqw_status task_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *task_id = event->as.task_created.task_id;
    aqw_bytes spec = event->as.task_created.spec;
    aqw_task_spec fields;
    if (aqw_table_find_task(table, task_id)) return AQW_REFUSED_TASK_EXISTS;
    if (spec.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    if (aqw_task_spec_decode(spec.data, spec.size, &fields) != AQW_OK) return AQW_MALFORMED_EVENT;

    if (aqw_index_reserve(table, AQW_ROW_TASK, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (fields.has_parent && reserve_child(table, fields.parent_task_id) != AQW_OK) return AQW_NO_MEMORY;
    uint8_t *spec_copy = aqw_arena_take(&table->arena, spec.size, 1);
    if (!spec_copy) return AQW_NO_MEMORY;

    memcpy(spec_copy, spec.data, spec.size);
    uint32_t row = aqw_rows_add(&table->rows[AQW_ROW_TASK]);
    aqw_task_row *task = task_at(table, row);
    memcpy(task->task_id, task_id, 16);
    task->created_at = event->timestamp;
    task->spec = spec_copy;
    task->spec_size = spec.size & AQW_PAYLOAD_SIZE_MAX;
    aqw_index_insert(table, AQW_ROW_TASK, row);
    if (fields.has_parent) add_child(table, fields.parent_task_id, row);
    return AQW_OK;
}

static aqw_status task_canceled(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_task(table, event->as.task_canceled.task_id);
    if (!row) return AQW_REFUSED_UNKNOWN_TASK;
    if (task_at(table, row)->is_canceled) return AQW_REFUSED_TASK_CANCELED;
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, row) != AQW_OK) return AQW_NO_MEMORY;

    task_at(table, row)->is_canceled = 1;
    task_at(table, row)->canceled_at = event->timestamp;
    return AQW_OK;
}

/* Runs */

static aqw_status run_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *run_id = event->as.run_created.run_id;
    uint64_t created_at = event->as.run_created.created_at;
    uint32_t task_row = aqw_table_find_task(table, event->as.run_created.task_id);
    if (!task_row) return AQW_REFUSED_UNKNOWN_TASK;
    if (aqw_table_find_run(table, run_id)) return AQW_REFUSED_RUN_EXISTS;

    aqw_task_row *task = task_at(table, task_row);
    if (aqw_index_reserve(table, AQW_ROW_RUN, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, task_row) != AQW_OK) return AQW_NO_MEMORY;
    if (task->last_run && aqw_undo_keep_row(table, AQW_ROW_RUN, task->last_run) != AQW_OK) return AQW_NO_MEMORY;

    uint32_t row = aqw_rows_add(&table->rows[AQW_ROW_RUN]);
    aqw_run_row *run = run_at(table, row);
    memcpy(run->run_id, run_id, 16);
    run->created_at = created_at;
    run->scheduled_at = event->as.run_created.scheduled_at;
    run->last_state_change_at = created_at;
    run->task = task_row;
    run->effective_priority = event->as.run_created.effective_priority;
    run->state = AQW_SCHEDULED;
    aqw_index_insert(table, AQW_ROW_RUN, row);

    if (task->last_run) {
        run_at(table, task->last_run)->next_in_task = row;
    } else {
        task->first_run = row;
    }
    task->last_run = row;
    task->run_count++;
    table->head.runs_by_state[AQW_SCHEDULED]++;
    return AQW_OK;
}

static void set_state(aqw_table *table, aqw_run_row *run, uint8_t state) {
    table->head.runs_by_state[run->state]--;
    table->head.runs_by_state[state]++;
    run->state = state;
}

static void drop_lease(aqw_table *table, aqw_run_row *run) {
    aqw_lease *lease = run->lease;
    if (!lease) return;
    run->lease = NULL;
    table->head.lease_count--;
    aqw_undo_replaced(table, lease, sizeof *lease + lease->owner_size);
}

static void append_history(aqw_table *table, aqw_run_row *run, uint8_t to_state, uint64_t timestamp) {
    aqw_rows *history = &table->rows[AQW_ROW_HISTORY];
    uint32_t row = aqw_rows_add(history);
    aqw_history_row *entry = aqw_rows_at(history, row);
    entry->timestamp = timestamp;
    entry->from_state = run->state;
    entry->to_state = to_state;
    if (run->last_history) {
        ((aqw_history_row *)aqw_rows_at(history, run->last_history))->next = row;
    } else {
        run->first_history = row;
    }
    run->last_history = row;
}

/* A change of state from what the run is in; `row` is the run's. */
static aqw_status change_state(aqw_table *table, uint32_t row, uint8_t to_state, uint64_t timestamp) {
    aqw_run_row *run = run_at(table, row);
    if (!aqw_rule_transition_is_valid(run->state, to_state)) return AQW_REFUSED_TRANSITION;
    if (aqw_rule_attempt_blocks_change(run->state, to_state, run->has_active_attempt)) {
        return AQW_REFUSED_ATTEMPT_ACTIVE;
    }

    if (aqw_index_reserve(table, AQW_ROW_HISTORY, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (run->last_history && aqw_undo_keep_row(table, AQW_ROW_HISTORY, run->last_history) != AQW_OK) {
        return AQW_NO_MEMORY;
    }
    if (aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;

    append_history(table, run, to_state, timestamp);
    set_state(table, run, to_state);
    run->last_state_change_at = timestamp;
    if (!aqw_rule_attempt_allowed(to_state)) run->has_active_attempt = 0;
    if (aqw_rule_state_is_terminal(to_state)) drop_lease(table, run);
    return AQW_OK;
}

/* A change of state that also says what the run was in. */
static aqw_status change_state_from(aqw_table *table, const uint8_t run_id[16], uint8_t from_state, uint8_t to_state,
                                    uint64_t timestamp) {
    uint32_t row = aqw_table_find_run(table, run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    if (run_at(table, row)->state != from_state) return AQW_REFUSED_PREVIOUS_STATE;
    return change_state(table, row, to_state, timestamp);
}

static aqw_status run_canceled(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_run(table, event->as.run.run_id);
    return row ? change_state(table, row, AQW_CANCELED, event->timestamp) : AQW_REFUSED_UNKNOWN_RUN;
}

/* Attempts */

static aqw_status attempt_started(aqw_table *table, const aqw_event *event) {
    const uint8_t *attempt_id = event->as.attempt_started.attempt_id;
    uint32_t row = aqw_table_find_run(table, event->as.attempt_started.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = run_at(table, row);
    if (!aqw_rule_attempt_allowed(run->state)) return AQW_REFUSED_ATTEMPT_STATE;
    if (run->has_active_attempt) return AQW_REFUSED_ATTEMPT_ALREADY_ACTIVE;
    if (aqw_table_run_had_attempt(table, row, attempt_id)) return AQW_REFUSED_ATTEMPT_REUSED;
    if (aqw_rule_attempt_count_is_full(run->attempt_count)) return AQW_REFUSED_ATTEMPT_COUNT;

    if (aqw_index_reserve(table, AQW_ROW_ATTEMPT, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (run->last_attempt && aqw_undo_keep_row(table, AQW_ROW_ATTEMPT, run->last_attempt) != AQW_OK) {
        return AQW_NO_MEMORY;
    }

    uint32_t attempt_row = aqw_rows_add(&table->rows[AQW_ROW_ATTEMPT]);
    aqw_attempt_row *attempt = attempt_at(table, attempt_row);
    memcpy(attempt->attempt_id, attempt_id, 16);
    attempt->started_at = event->timestamp;
    attempt->run = row;
    aqw_index_insert(table, AQW_ROW_ATTEMPT, attempt_row);

    if (run->last_attempt) {
        attempt_at(table, run->last_attempt)->next = attempt_row;
    } else {
        run->first_attempt = attempt_row;
    }
    run->last_attempt = attempt_row;
    run->has_active_attempt = 1;
    run->attempt_count++;
    return AQW_OK;
}

static aqw_status attempt_finished(aqw_table *table, const aqw_event *event) {
    aqw_bytes detail = event->as.attempt_finished.detail;
    uint8_t result = event->as.attempt_finished.result;
    uint32_t row = aqw_table_find_run(table, event->as.attempt_finished.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = run_at(table, row);
    if (!aqw_rule_attempt_allowed(run->state)) return AQW_REFUSED_ATTEMPT_STATE;
    const uint8_t *active_id = aqw_table_run_active_attempt(table, row);
    if (!active_id) return AQW_REFUSED_ATTEMPT_MISSING;
    if (!aqw_id_equal(active_id, event->as.attempt_finished.attempt_id)) return AQW_REFUSED_ATTEMPT_MISMATCH;
    if (result > AQW_ATTEMPT_RESULT_LAST) return AQW_INVALID_ARGUMENT;
    if (detail.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;

    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_ATTEMPT, run->last_attempt) != AQW_OK) return AQW_NO_MEMORY;
    uint8_t *ending = aqw_arena_take(&table->arena, AQW_ENDING_HEADER_SIZE + (size_t)detail.size, 1);
    if (!ending) return AQW_NO_MEMORY;

    aqw_store_u32(ending, detail.size << 8 | result);
    if (detail.size) memcpy(ending + AQW_ENDING_HEADER_SIZE, detail.data, detail.size);
    aqw_attempt_row *attempt = attempt_at(table, run->last_attempt);
    attempt->finished_at = event->timestamp;
    attempt->ending = ending;
    run->has_active_attempt = 0;
    return AQW_OK;
}

/* Leases */

static int owner_matches(const aqw_lease *lease, aqw_bytes owner) {
    return lease->owner_size == owner.size && (owner.size == 0 || memcmp(lease->owner, owner.data, owner.size) == 0);
}

static aqw_status lease_acquired(aqw_table *table, const aqw_event *event) {
    aqw_bytes owner = event->as.lease.owner;
    uint32_t row = aqw_table_find_run(table, event->as.lease.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = run_at(table, row);
    if (!aqw_rule_lease_acquire_allowed(run->state)) return AQW_REFUSED_LEASE_STATE;
    if (run->lease) return AQW_REFUSED_LEASE_ACTIVE;
    if (owner.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;

    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;
    aqw_lease *lease = aqw_heap_take(&table->heap, sizeof *lease + owner.size);
    if (!lease) return AQW_NO_MEMORY;

    aqw_undo_taken(table, lease, sizeof *lease + owner.size);
    lease->expiry = event->as.lease.expiry;
    lease->acquired_at = event->timestamp;
    lease->updated_at = event->timestamp;
    lease->owner_size = owner.size;
    if (owner.size) memcpy(lease->owner, owner.data, owner.size);
    run->lease = lease;
    table->head.lease_count++;
    return AQW_OK;
}

static aqw_status lease_heartbeat(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_run(table, event->as.lease.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = run_at(table, row);
    if (!aqw_rule_lease_heartbeat_allowed(run->state)) return AQW_REFUSED_LEASE_STATE;
    if (!run->lease) return AQW_REFUSED_LEASE_MISSING;
    if (!owner_matches(run->lease, event->as.lease.owner)) return AQW_REFUSED_LEASE_OWNER;
    if (aqw_rule_lease_expiry_regresses(run->lease->expiry, event->as.lease.expiry)) {
        return AQW_REFUSED_LEASE_REGRESSION;
    }
    if (aqw_undo_keep(table, run->lease, sizeof *run->lease) != AQW_OK) return AQW_NO_MEMORY;

    run->lease->expiry = event->as.lease.expiry;
    run->lease->updated_at = event->timestamp;
    return AQW_OK;
}

/* Expired or released. The way back to ready is no state change: it has no history entry and leaves
 * last_state_change_at alone. */
static aqw_status lease_closed(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_run(table, event->as.lease.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = run_at(table, row);
    if (!aqw_rule_lease_close_allowed(run->state)) return AQW_REFUSED_LEASE_STATE;
    if (!run->lease) return AQW_REFUSED_LEASE_MISSING;
    if (!owner_matches(run->lease, event->as.lease.owner)) return AQW_REFUSED_LEASE_OWNER;
    if (run->lease->expiry != event->as.lease.expiry) return AQW_REFUSED_LEASE_EXPIRY;
    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;

    drop_lease(table, run);
    if (aqw_rule_lease_close_makes_ready(run->state)) set_state(table, run, AQW_READY);
    return AQW_OK;
}

/* The engine */

static aqw_status engine_paused(aqw_table *table, const aqw_event *event) {
    aqw_engine_view *engine = &table->head.engine;
    if (engine->is_paused) return AQW_REFUSED_ENGINE_PAUSED;
    engine->is_paused = 1;
    engine->has_paused_at = 1;
    engine->paused_at = event->timestamp;
    engine->has_resumed_at = 0;
    engine->resumed_at = 0;
    return AQW_OK;
}

static aqw_status engine_resumed(aqw_table *table, const aqw_event *event) {
    aqw_engine_view *engine = &table->head.engine;
    if (!engine->is_paused) return AQW_REFUSED_ENGINE_NOT_PAUSED;
    if (aqw_rule_resume_precedes_pause(engine->paused_at, event->timestamp)) return AQW_REFUSED_RESUME_BEFORE_PAUSE;
    engine->is_paused = 0;
    engine->has_resumed_at = 1;
    engine->resumed_at = event->timestamp;
    return AQW_OK;
}

static aqw_status apply(aqw_table *table, const aqw_event *event) {
    switch (event->kind) {
    case AQW_TASK_CREATED: return task_created(table, event);
    case AQW_RUN_CREATED: return run_created(table, event);
    case AQW_RUN_STATE_CHANGED:
        return change_state_from(table, event->as.run_state_changed.run_id, event->as.run_state_changed.previous_state,
                                 event->as.run_state_changed.new_state, event->timestamp);
    case AQW_ATTEMPT_STARTED: return attempt_started(table, event);
    case AQW_ATTEMPT_FINISHED: return attempt_finished(table, event);
    case AQW_TASK_CANCELED: return task_canceled(table, event);
    case AQW_RUN_CANCELED: return run_canceled(table, event);
    case AQW_LEASE_ACQUIRED: return lease_acquired(table, event);
    case AQW_LEASE_HEARTBEAT: return lease_heartbeat(table, event);
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED: return lease_closed(table, event);
    case AQW_ENGINE_PAUSED: return engine_paused(table, event);
    case AQW_ENGINE_RESUMED: return engine_resumed(table, event);
    case AQW_RUN_SUSPENDED:
        return change_state_from(table, event->as.run_suspended.run_id, AQW_RUNNING, AQW_SUSPENDED, event->timestamp);
    case AQW_RUN_RESUMED:
        return change_state_from(table, event->as.run.run_id, AQW_SUSPENDED, AQW_READY, event->timestamp);
    default: return aqw_apply_record(table, event);
    }
}

aqw_status aqw_table_apply(aqw_table *table, const aqw_event *event) {
    if (!aqw_rule_sequence_rises(table->head.latest_sequence, event->sequence)) return AQW_REFUSED_SEQUENCE;
    aqw_status status = apply(table, event);
    if (status == AQW_OK) table->head.latest_sequence = event->sequence;
    return status;
}
