/* What an event does to the table. Every function goes in the same order: the rules (rules.h, in
 * the order in which a command is validated), then all the memory that the change needs, then the
 * change, which can't fail.
 *
 * This file has the dispatch and the events of tasks, runs and leases; those of rarer rows are in
 * the files of their families (table/family.h). */
#include <string.h>

#include "base/limits.h"
#include "event/rules.h"
#include "table/check.h"
#include "table/family.h"

/* Tasks */

static aqw_status task_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *task_id = event->as.task_created.task_id;
    aqw_bytes spec = event->as.task_created.spec;
    int has_parent = aqw_task_spec_has_parent(spec.data, spec.size);
    aqw_task_spec fields;
    if (aqw_table_find_task(table, task_id)) return AQW_REFUSED_TASK_EXISTS;
    if (aqw_table_find_tombstone(table, task_id)) return AQW_REFUSED_TASK_FORGOTTEN;
    if (spec.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    if ((has_parent || !event->spec_is_valid) &&
        aqw_task_spec_decode(spec.data, spec.size, &fields) != AQW_OK)
        return AQW_MALFORMED_EVENT;

    if (aqw_index_reserve(table, AQW_ROW_TASK, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (has_parent && aqw_child_reserve(table, fields.parent_task_id) != AQW_OK)
        return AQW_NO_MEMORY;
    const uint8_t *spec_copy = aqw_bytes_copy(table, spec);
    if (!spec_copy) return AQW_NO_MEMORY;

    uint32_t row = aqw_task_add(table, task_id);
    aqw_task_row *task = aqw_task_at(table, row);
    task->created_at = event->timestamp;
    task->spec = spec_copy;
    task->spec_size = spec.size & AQW_PAYLOAD_SIZE_MAX;
    if (has_parent) aqw_child_add(table, fields.parent_task_id, row);
    return AQW_OK;
}

static aqw_status task_canceled(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_task(table, event->as.task_canceled.task_id);
    if (!row) return AQW_REFUSED_UNKNOWN_TASK;
    if (aqw_task_at(table, row)->is_canceled) return AQW_REFUSED_TASK_CANCELED;
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, row) != AQW_OK) return AQW_NO_MEMORY;

    aqw_task_at(table, row)->is_canceled = 1;
    aqw_task_at(table, row)->canceled_at = event->timestamp;
    return AQW_OK;
}

/* Runs */

/* The next event is often one of the same run. */
static uint32_t find_run(aqw_table *table, const uint8_t run_id[16]) {
    return table->expected_run = aqw_table_find_run(table, run_id);
}

static aqw_status run_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *run_id = event->as.run_created.run_id;
    uint64_t created_at = event->as.run_created.created_at;
    uint32_t task_row = aqw_table_find_task(table, event->as.run_created.task_id);
    if (!task_row) return AQW_REFUSED_UNKNOWN_TASK;
    if (aqw_table_find_run(table, run_id)) return AQW_REFUSED_RUN_EXISTS;

    aqw_task_row *task = aqw_task_at(table, task_row);
    if (aqw_index_reserve(table, AQW_ROW_RUN, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, task_row) != AQW_OK) return AQW_NO_MEMORY;
    if (task->last_run && aqw_undo_keep_row(table, AQW_ROW_RUN, task->last_run) != AQW_OK)
        return AQW_NO_MEMORY;

    table->expected_run = aqw_run_add(table, task_row, run_id, created_at);
    if (table->orders.are_made) aqw_orders_note_run(table, table->expected_run, 1);
    aqw_run_row *run = aqw_run_at(table, table->expected_run);
    run->scheduled_at = event->as.run_created.scheduled_at;
    if (run->scheduled_at > task->last_run_at) task->last_run_at = run->scheduled_at;
    run->effective_priority = event->as.run_created.effective_priority;
    return AQW_OK;
}

static void drop_lease(aqw_table *table, aqw_run_row *run) {
    aqw_lease *lease = run->lease;
    if (!lease) return;
    run->lease = NULL;
    table->head.lease_count--;
    aqw_undo_replaced(table, lease, sizeof *lease + lease->owner_size);
}

/* Changes the state from what the run is in; `row` is the run's. */
static aqw_status change_state(aqw_table *table, uint32_t row, uint8_t to_state,
                               uint64_t timestamp) {
    aqw_run_row *run = aqw_run_at(table, row);
    if (!aqw_rule_transition_is_valid(run->state, to_state)) return AQW_REFUSED_TRANSITION;
    if (aqw_rule_attempt_blocks_change(run->state, to_state, run->has_active_attempt)) {
        return AQW_REFUSED_ATTEMPT_ACTIVE;
    }

    if (aqw_index_reserve(table, AQW_ROW_HISTORY, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (run->last_history &&
        aqw_undo_keep_row(table, AQW_ROW_HISTORY, run->last_history) != AQW_OK) {
        return AQW_NO_MEMORY;
    }
    int ends = aqw_rule_state_is_terminal(to_state);
    if (ends && aqw_undo_keep_row(table, AQW_ROW_TASK, run->task) != AQW_OK) return AQW_NO_MEMORY;
    int drops_lease = run->lease != NULL && ends;
    if (drops_lease && aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;

    aqw_note_run(table, row);
    aqw_run_change_state(table, run, to_state, timestamp);
    if (!aqw_rule_attempt_allowed(to_state)) run->has_active_attempt = 0;
    if (drops_lease) drop_lease(table, run);
    return AQW_OK;
}

/* Changes the state where the event also says what the run was in. */
static aqw_status change_state_from(aqw_table *table, const uint8_t run_id[16], uint8_t from_state,
                                    uint8_t to_state, uint64_t timestamp) {
    uint32_t row = find_run(table, run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    if (aqw_run_at(table, row)->state != from_state) return AQW_REFUSED_PREVIOUS_STATE;
    return change_state(table, row, to_state, timestamp);
}

static aqw_status run_canceled(aqw_table *table, const aqw_event *event) {
    uint32_t row = find_run(table, event->as.run.run_id);
    return row ? change_state(table, row, AQW_CANCELED, event->timestamp) : AQW_REFUSED_UNKNOWN_RUN;
}

/* The task's last_run_at stays: it tells for when runs were created. */
static aqw_status run_rescheduled(aqw_table *table, const aqw_event *event) {
    uint32_t row = find_run(table, event->as.run_rescheduled.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = aqw_run_at(table, row);
    if (!aqw_rule_state_allows(event->kind, run->state)) return AQW_REFUSED_TRANSITION;
    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;

    aqw_note_run(table, row);
    run->scheduled_at = event->as.run_rescheduled.scheduled_at;
    run->effective_priority = event->as.run_rescheduled.effective_priority;
    return AQW_OK;
}

/* Attempts */

static aqw_status attempt_started(aqw_table *table, const aqw_event *event) {
    const uint8_t *attempt_id = event->as.attempt_started.attempt_id;
    uint32_t row = find_run(table, event->as.attempt_started.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = aqw_run_at(table, row);
    if (!aqw_rule_state_allows(event->kind, run->state)) return AQW_REFUSED_ATTEMPT_STATE;
    if (run->has_active_attempt) return AQW_REFUSED_ATTEMPT_ALREADY_ACTIVE;
    if (aqw_table_run_had_attempt(table, row, attempt_id)) return AQW_REFUSED_ATTEMPT_REUSED;
    if (aqw_rule_attempt_count_is_full(run->attempt_count)) return AQW_REFUSED_ATTEMPT_COUNT;

    if (aqw_index_reserve(table, AQW_ROW_ATTEMPT, 1) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (run->last_attempt &&
        aqw_undo_keep_row(table, AQW_ROW_ATTEMPT, run->last_attempt) != AQW_OK) {
        return AQW_NO_MEMORY;
    }

    aqw_note_run(table, row);
    aqw_attempt_add(table, row, attempt_id, event->timestamp);
    return AQW_OK;
}

static aqw_status attempt_finished(aqw_table *table, const aqw_event *event) {
    aqw_bytes detail = event->as.attempt_finished.detail;
    uint8_t result = event->as.attempt_finished.result;
    uint32_t row = find_run(table, event->as.attempt_finished.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = aqw_run_at(table, row);
    if (!aqw_rule_state_allows(event->kind, run->state)) return AQW_REFUSED_ATTEMPT_STATE;
    const uint8_t *active_id = aqw_table_run_active_attempt(table, row);
    if (!active_id) return AQW_REFUSED_ATTEMPT_MISSING;
    if (!aqw_id_equal(active_id, event->as.attempt_finished.attempt_id))
        return AQW_REFUSED_ATTEMPT_MISMATCH;
    if (result > AQW_ATTEMPT_RESULT_LAST) return AQW_INVALID_ARGUMENT;
    if (detail.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;

    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_ATTEMPT, run->last_attempt) != AQW_OK)
        return AQW_NO_MEMORY;
    const uint8_t *ending = aqw_ending_take(table, result, detail);
    if (!ending) return AQW_NO_MEMORY;

    aqw_note_run(table, row);
    aqw_attempt_end(table, run, event->timestamp, ending);
    return AQW_OK;
}

/* Leases */

static int owner_matches(const aqw_lease *lease, aqw_bytes owner) {
    return lease->owner_size == owner.size &&
           (owner.size == 0 || memcmp(lease->owner, owner.data, owner.size) == 0);
}

static aqw_status lease_acquired(aqw_table *table, const aqw_event *event) {
    aqw_bytes owner = event->as.lease.owner;
    uint32_t row = find_run(table, event->as.lease.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = aqw_run_at(table, row);
    if (!aqw_rule_state_allows(event->kind, run->state)) return AQW_REFUSED_LEASE_STATE;
    if (run->lease) return AQW_REFUSED_LEASE_ACTIVE;
    if (owner.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;

    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;
    aqw_lease *lease = aqw_lease_take(table, owner);
    if (!lease) return AQW_NO_MEMORY;

    aqw_note_run(table, row);
    aqw_undo_taken(table, lease, sizeof *lease + owner.size);
    lease->expiry = event->as.lease.expiry;
    lease->acquired_at = event->timestamp;
    lease->updated_at = event->timestamp;
    run->lease = lease;
    table->head.lease_count++;
    return AQW_OK;
}

static aqw_status lease_heartbeat(aqw_table *table, const aqw_event *event) {
    uint32_t row = find_run(table, event->as.lease.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = aqw_run_at(table, row);
    if (!aqw_rule_state_allows(event->kind, run->state)) return AQW_REFUSED_LEASE_STATE;
    if (!run->lease) return AQW_REFUSED_LEASE_MISSING;
    if (!owner_matches(run->lease, event->as.lease.owner)) return AQW_REFUSED_LEASE_OWNER;
    if (aqw_rule_lease_expiry_regresses(run->lease->expiry, event->as.lease.expiry)) {
        return AQW_REFUSED_LEASE_REGRESSION;
    }
    if (aqw_undo_keep(table, run->lease, sizeof *run->lease) != AQW_OK) return AQW_NO_MEMORY;

    aqw_note_run(table, row);
    run->lease->expiry = event->as.lease.expiry;
    run->lease->updated_at = event->timestamp;
    return AQW_OK;
}

/* Expired or released. The way back to ready is no state change: it has no history entry and leaves
 * last_state_change_at alone. */
static aqw_status lease_closed(aqw_table *table, const aqw_event *event) {
    uint32_t row = find_run(table, event->as.lease.run_id);
    if (!row) return AQW_REFUSED_UNKNOWN_RUN;
    aqw_run_row *run = aqw_run_at(table, row);
    if (!aqw_rule_state_allows(event->kind, run->state)) return AQW_REFUSED_LEASE_STATE;
    if (!run->lease) return AQW_REFUSED_LEASE_MISSING;
    if (!owner_matches(run->lease, event->as.lease.owner)) return AQW_REFUSED_LEASE_OWNER;
    if (run->lease->expiry != event->as.lease.expiry) return AQW_REFUSED_LEASE_EXPIRY;
    if (aqw_undo_keep_row(table, AQW_ROW_RUN, row) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;

    aqw_note_run(table, row);
    drop_lease(table, run);
    if (aqw_rule_lease_close_makes_ready(run->state)) aqw_run_set_state(table, run, AQW_READY);
    return AQW_OK;
}

static aqw_status apply_rare(aqw_table *table, const aqw_event *event) {
    uint8_t kind = table->rare_kinds[event->kind];
    if (kind == AQW_ROW_KIND_COUNT) return AQW_INVALID_ARGUMENT;
    const aqw_row_event *of = aqw_row_types[kind]->events;
    while (of->kind != event->kind) of++;
    return of->apply(table, event);
}

static aqw_status apply(aqw_table *table, const aqw_event *event) {
    switch (event->kind) {
    case AQW_TASK_CREATED: return task_created(table, event);
    case AQW_RUN_CREATED: return run_created(table, event);
    case AQW_RUN_STATE_CHANGED:
        return change_state_from(table, event->as.run_state_changed.run_id,
                                 event->as.run_state_changed.previous_state,
                                 event->as.run_state_changed.new_state, event->timestamp);
    case AQW_ATTEMPT_STARTED: return attempt_started(table, event);
    case AQW_ATTEMPT_FINISHED: return attempt_finished(table, event);
    case AQW_TASK_CANCELED: return task_canceled(table, event);
    case AQW_RUN_CANCELED: return run_canceled(table, event);
    case AQW_LEASE_ACQUIRED: return lease_acquired(table, event);
    case AQW_LEASE_HEARTBEAT: return lease_heartbeat(table, event);
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED: return lease_closed(table, event);
    case AQW_ENGINE_PAUSED:
    case AQW_ENGINE_RESUMED: return aqw_engine_apply(table, event);
    case AQW_RUN_SUSPENDED:
        return change_state_from(table, event->as.run_suspended.run_id, AQW_RUNNING, AQW_SUSPENDED,
                                 event->timestamp);
    case AQW_RUN_RESUMED:
        return change_state_from(table, event->as.run.run_id, AQW_SUSPENDED, AQW_READY,
                                 event->timestamp);
    case AQW_RUN_RESCHEDULED: return run_rescheduled(table, event);
    case AQW_RUNS_PURGED: return aqw_apply_purge(table, event);
    default: return apply_rare(table, event);
    }
}

aqw_status aqw_table_apply(aqw_table *table, const aqw_event *event) {
    if (!aqw_rule_sequence_rises(table->head.latest_sequence, event->sequence))
        return AQW_REFUSED_SEQUENCE;
    AQW_DEBUG(aqw_check_event(table));
    aqw_status status = apply(table, event);
    if (status == AQW_OK) {
        table->head.latest_sequence = event->sequence;
        if (table->orders.are_made) aqw_orders_change_ended(table);
    }
    AQW_ASSERT(aqw_table_check(table, event->kind == AQW_RUNS_PURGED ? AQW_CHECK_PURGE
                                                                     : AQW_CHECK_EVENT));
    return status;
}
