/* Views: rows as the contract shows them, with identifiers in place of row numbers. */
#include <string.h>

#include "table/internal.h"

static void copy_id(uint8_t to[16], const uint8_t from[16]) { memcpy(to, from, 16); }

static aqw_bytes bytes_of(const uint8_t *data, uint32_t size) {
    aqw_bytes bytes = {data, size};
    return bytes;
}

static aqw_bytes owned_bytes(const aqw_owned *owned) { return bytes_of(owned->data, owned->size); }

static void copy_task_id(const aqw_table *table, uint8_t to[16], uint32_t task) {
    const aqw_task_row *task_row = aqw_row_at(table, AQW_ROW_TASK, task);
    copy_id(to, task_row->task_id);
}

uint64_t aqw_table_latest_sequence(const aqw_table *table) { return table->head.latest_sequence; }

uint64_t aqw_table_newest_change(const aqw_table *table) { return table->head.newest_change; }

void aqw_table_engine(const aqw_table *table, aqw_engine_view *view) { *view = table->head.engine; }

static uint32_t count_of(const aqw_table *table, int kind) {
    return table->rows[kind].count - table->head.purged[kind];
}

void aqw_table_counts_get(const aqw_table *table, aqw_table_counts *counts) {
    counts->tasks = count_of(table, AQW_ROW_TASK);
    counts->runs = count_of(table, AQW_ROW_RUN);
    memcpy(counts->runs_by_state, table->head.runs_by_state, sizeof counts->runs_by_state);
    counts->history = count_of(table, AQW_ROW_HISTORY);
    counts->attempts = count_of(table, AQW_ROW_ATTEMPT);
    counts->leases = table->head.lease_count;
    counts->dependencies = count_of(table, AQW_ROW_DEPENDENCY);
    counts->parents = count_of(table, AQW_ROW_PARENT);
    counts->budgets = count_of(table, AQW_ROW_BUDGET);
    counts->subscriptions = count_of(table, AQW_ROW_SUBSCRIPTION);
    counts->actors = count_of(table, AQW_ROW_ACTOR);
    counts->tenants = count_of(table, AQW_ROW_TENANT);
    counts->roles = count_of(table, AQW_ROW_ROLE);
    counts->capabilities = count_of(table, AQW_ROW_CAPABILITY);
    counts->ledger = count_of(table, AQW_ROW_LEDGER);
    counts->tombstones = count_of(table, AQW_ROW_TOMBSTONE);
    counts->memory_bytes = table->heap.taken_bytes;
}

uint32_t aqw_table_next_task(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_TASK, row);
}

uint32_t aqw_table_next_run(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_RUN, row);
}

uint32_t aqw_table_next_dependency(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_DEPENDENCY, row);
}

uint32_t aqw_table_next_budget(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_BUDGET, row);
}

uint32_t aqw_table_next_subscription(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_SUBSCRIPTION, row);
}

uint32_t aqw_table_next_actor(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_ACTOR, row);
}

uint32_t aqw_table_next_role(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_ROLE, row);
}

uint32_t aqw_table_next_ledger(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_LEDGER, row);
}

uint32_t aqw_table_next_tombstone(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_TOMBSTONE, row);
}

uint32_t aqw_table_next_capability(const aqw_table *table, uint32_t row) {
    return aqw_index_next(table, AQW_ROW_CAPABILITY, row);
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
    copy_id(view->task_id, task->task_id);
    view->created_at = task->created_at;
    view->canceled_at = task->canceled_at;
    view->is_canceled = task->is_canceled;
    view->spec = bytes_of(task->spec, task->spec_size);
    view->runs_created = task->runs_created;
    view->has_last_run = task->had_runs;
    view->last_run_at = task->last_run_at;
    view->run_count = task->run_count;
    view->first_run = task->first_run;
    view->first_dependency = task->first_dependency;
}

static void fill_lease(const aqw_lease *lease, aqw_lease_view *view) {
    view->owner = bytes_of(lease->owner, lease->owner_size);
    view->expiry = lease->expiry;
    view->acquired_at = lease->acquired_at;
    view->updated_at = lease->updated_at;
}

void aqw_table_run(const aqw_table *table, uint32_t row, aqw_run_view *view) {
    const aqw_run_row *run = aqw_row_at(table, AQW_ROW_RUN, row);
    memset(view, 0, sizeof *view);
    copy_id(view->run_id, run->run_id);
    copy_task_id(table, view->task_id, run->task);
    view->state = run->state;
    view->has_active_attempt = run->has_active_attempt;
    if (run->has_active_attempt)
        copy_id(view->active_attempt_id, aqw_table_run_active_attempt(table, row));
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
    copy_id(view->attempt_id, attempt->attempt_id);
    view->started_at = attempt->started_at;
    view->next = attempt->next;
    view->result = AQW_RESULT_NONE;
    if (!attempt->ending) return;
    uint32_t header = aqw_load_u32(attempt->ending);
    aqw_bytes detail = bytes_of(attempt->ending + AQW_ENDING_HEADER_SIZE, header >> 8);
    view->is_finished = 1;
    view->finished_at = attempt->finished_at;
    view->result = (uint8_t)header;
    if (view->result == AQW_FAILURE || view->result == AQW_TIMEOUT) {
        view->error = detail;
    } else if (detail.size) {
        view->output = detail;
    }
}

void aqw_table_dependency(const aqw_table *table, uint32_t row, aqw_dependency_view *view) {
    const aqw_dependency_row *dependency = aqw_row_at(table, AQW_ROW_DEPENDENCY, row);
    copy_task_id(table, view->task_id, dependency->task);
    copy_task_id(table, view->depends_on, dependency->depends_on);
    view->next_in_task = dependency->next_in_task;
    while (view->next_in_task && aqw_dependency_at(table, view->next_in_task)->is_purged) {
        view->next_in_task = aqw_dependency_at(table, view->next_in_task)->next_in_task;
    }
}

void aqw_table_parent(const aqw_table *table, uint32_t row, aqw_parent_view *view) {
    const aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, row);
    copy_id(view->parent_task_id, parent->parent_task_id);
    view->first_child = parent->first_child;
}

void aqw_table_child(const aqw_table *table, uint32_t row, aqw_child_view *view) {
    const aqw_child_row *child = aqw_child_at(table, row);
    copy_task_id(table, view->task_id, child->task);
    view->next = child->next;
    while (view->next && aqw_task_at(table, aqw_child_at(table, view->next)->task)->is_purged) {
        view->next = aqw_child_at(table, view->next)->next;
    }
}

void aqw_table_budget(const aqw_table *table, uint32_t row, aqw_budget_view *view) {
    const aqw_budget_row *budget = aqw_row_at(table, AQW_ROW_BUDGET, row);
    copy_task_id(table, view->task_id, budget->task);
    view->dimension = budget->dimension;
    view->limit = budget->limit;
    view->consumed = budget->consumed;
    view->allocated_at = budget->allocated_at;
    view->is_exhausted = budget->is_exhausted;
}

void aqw_table_subscription(const aqw_table *table, uint32_t row, aqw_subscription_view *view) {
    const aqw_subscription_row *subscription = aqw_row_at(table, AQW_ROW_SUBSCRIPTION, row);
    copy_id(view->subscription_id, subscription->subscription_id);
    copy_task_id(table, view->task_id, subscription->task);
    view->filter = bytes_of(subscription->filter, subscription->filter_size);
    view->created_at = subscription->created_at;
    view->is_triggered = subscription->is_triggered;
    view->triggered_at = subscription->triggered_at;
    view->is_canceled = subscription->is_canceled;
    view->canceled_at = subscription->canceled_at;
}

void aqw_table_actor(const aqw_table *table, uint32_t row, aqw_actor_view *view) {
    const aqw_actor_row *actor = aqw_row_at(table, AQW_ROW_ACTOR, row);
    copy_id(view->actor_id, actor->actor_id);
    view->registration = owned_bytes(actor->registration);
    view->registered_at = actor->registered_at;
    view->has_heartbeat = actor->has_heartbeat;
    view->last_heartbeat_at = actor->last_heartbeat_at;
    view->is_deregistered = actor->is_deregistered;
    view->deregistered_at = actor->deregistered_at;
}

void aqw_table_tenant(const aqw_table *table, uint32_t row, aqw_tenant_view *view) {
    const aqw_tenant_row *tenant = aqw_row_at(table, AQW_ROW_TENANT, row);
    copy_id(view->tenant_id, tenant->tenant_id);
    view->name = owned_bytes(tenant->name);
    view->created_at = tenant->created_at;
}

void aqw_table_role(const aqw_table *table, uint32_t row, aqw_role_view *view) {
    const aqw_role_row *role = aqw_row_at(table, AQW_ROW_ROLE, row);
    copy_id(view->actor_id, role->actor_id);
    copy_id(view->tenant_id, role->tenant_id);
    view->role = owned_bytes(role->role);
    view->assigned_at = role->assigned_at;
}

void aqw_table_capability(const aqw_table *table, uint32_t row, aqw_capability_view *view) {
    const aqw_capability_row *grant = aqw_row_at(table, AQW_ROW_CAPABILITY, row);
    copy_id(view->actor_id, grant->actor_id);
    copy_id(view->tenant_id, grant->tenant_id);
    view->capability = bytes_of(grant->capability, grant->capability_size);
    view->granted_at = grant->granted_at;
    view->is_revoked = grant->is_revoked;
    view->revoked_at = grant->revoked_at;
}

void aqw_table_ledger(const aqw_table *table, uint32_t row, aqw_ledger_view *view) {
    const aqw_ledger_row *entry = aqw_row_at(table, AQW_ROW_LEDGER, row);
    copy_id(view->entry_id, entry->entry_id);
    copy_id(view->tenant_id, entry->tenant_id);
    view->has_actor = entry->has_actor;
    copy_id(view->actor_id, entry->actor_id);
    view->ledger_key = bytes_of(entry->bytes, entry->key_size);
    view->payload = bytes_of(entry->bytes + entry->key_size, entry->payload_size);
    view->timestamp = entry->timestamp;
}

void aqw_table_tombstone(const aqw_table *table, uint32_t row, aqw_tombstone_view *view) {
    const aqw_tombstone_row *tombstone = aqw_row_at(table, AQW_ROW_TOMBSTONE, row);
    copy_id(view->task_id, tombstone->task_id);
    view->until = tombstone->until;
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

int aqw_table_subscription_is_canceled(const aqw_table *table, uint32_t row) {
    return ((const aqw_subscription_row *)aqw_row_at(table, AQW_ROW_SUBSCRIPTION, row))
        ->is_canceled;
}
