/* Rows with their links and index entries: what applying an event and loading an image share. */
#include <string.h>

#include "event/rules.h"
#include "table/internal.h"

/* aqw_row_add for the rarer kinds. */
static uint32_t add_row(aqw_table *table, int kind) {
    AQW_DEBUG(aqw_check_added(table, kind));
    return aqw_rows_add(&table->rows[kind]);
}

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

static uint32_t add_parent(aqw_table *table, const uint8_t parent_task_id[16]) {
    uint32_t row = add_row(table, AQW_ROW_PARENT);
    aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, row);
    memcpy(parent->parent_task_id, parent_task_id, 16);
    aqw_index_insert(table, AQW_ROW_PARENT, row);
    return row;
}

void aqw_child_add(aqw_table *table, const uint8_t parent_task_id[16], uint32_t task) {
    uint32_t parent_row = aqw_index_find_parent(table, parent_task_id);
    int is_new = parent_row == 0;
    if (is_new) parent_row = add_parent(table, parent_task_id);
    uint32_t child_row = add_row(table, AQW_ROW_CHILD);
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

/* The rest */

void aqw_dependency_add(aqw_table *table, uint32_t task_row, uint32_t depends_on_row) {
    aqw_task_row *task = aqw_task_at(table, task_row);
    uint32_t row = add_row(table, AQW_ROW_DEPENDENCY);
    aqw_dependency_row *dependency = aqw_row_at(table, AQW_ROW_DEPENDENCY, row);
    dependency->task = task_row;
    dependency->depends_on = depends_on_row;
    dependency->next_in_task = task->first_dependency;
    task->first_dependency = row;
    aqw_task_row *depends_on = aqw_task_at(table, depends_on_row);
    dependency->next_on_same = depends_on->first_dependent;
    if (depends_on->first_dependent)
        aqw_dependency_at(table, depends_on->first_dependent)->previous_on_same = row;
    depends_on->first_dependent = row;
    aqw_index_insert(table, AQW_ROW_DEPENDENCY, row);
}

aqw_budget_row *aqw_budget_add(aqw_table *table, uint32_t task, uint8_t dimension) {
    uint32_t row = add_row(table, AQW_ROW_BUDGET);
    aqw_budget_row *budget = aqw_row_at(table, AQW_ROW_BUDGET, row);
    budget->task = task;
    budget->dimension = dimension;
    aqw_index_insert(table, AQW_ROW_BUDGET, row);
    return budget;
}

aqw_status aqw_subscription_reserve(aqw_table *table, uint32_t task) {
    uint32_t subscriber = aqw_index_find_subscriber(table, task);
    if (aqw_index_reserve(table, AQW_ROW_SUBSCRIPTION, 1) != AQW_OK) return AQW_NO_MEMORY;
    return subscriber ? aqw_undo_keep_row(table, AQW_ROW_SUBSCRIBER, subscriber)
                      : aqw_index_reserve(table, AQW_ROW_SUBSCRIBER, 1);
}

static void count_subscription(aqw_table *table, uint32_t task) {
    uint32_t row = aqw_index_find_subscriber(table, task);
    if (!row) {
        row = add_row(table, AQW_ROW_SUBSCRIBER);
        ((aqw_subscriber_row *)aqw_row_at(table, AQW_ROW_SUBSCRIBER, row))->task = task;
        aqw_index_insert(table, AQW_ROW_SUBSCRIBER, row);
    }
    ((aqw_subscriber_row *)aqw_row_at(table, AQW_ROW_SUBSCRIBER, row))->count++;
}

aqw_subscription_row *aqw_subscription_add(aqw_table *table, const uint8_t subscription_id[16],
                                           uint32_t task) {
    uint32_t row = add_row(table, AQW_ROW_SUBSCRIPTION);
    aqw_subscription_row *subscription = aqw_row_at(table, AQW_ROW_SUBSCRIPTION, row);
    memcpy(subscription->subscription_id, subscription_id, 16);
    subscription->task = task;
    aqw_index_insert(table, AQW_ROW_SUBSCRIPTION, row);
    count_subscription(table, task);
    return subscription;
}

/* Adds a row whose key is one identifier, its first bytes. */
static void *add_keyed(aqw_table *table, int kind, const uint8_t id[16]) {
    uint32_t row = add_row(table, kind);
    uint8_t *added = aqw_row_at(table, kind, row);
    memcpy(added, id, 16);
    aqw_index_insert(table, kind, row);
    return added;
}

_Static_assert(offsetof(aqw_actor_row, actor_id) == 0 && offsetof(aqw_tenant_row, tenant_id) == 0,
               "the key comes first");
_Static_assert(offsetof(aqw_holder_row, actor_id) == 0, "the key comes first");

aqw_actor_row *aqw_actor_add(aqw_table *table, const uint8_t actor_id[16]) {
    return add_keyed(table, AQW_ROW_ACTOR, actor_id);
}

aqw_tenant_row *aqw_tenant_add(aqw_table *table, const uint8_t tenant_id[16]) {
    return add_keyed(table, AQW_ROW_TENANT, tenant_id);
}

static aqw_status reserve_held(aqw_table *table, int kind, const uint8_t actor_id[16]) {
    uint32_t holder = aqw_index_find_holder(table, actor_id);
    if (aqw_index_reserve(table, kind, 1) != AQW_OK) return AQW_NO_MEMORY;
    return holder ? aqw_undo_keep_row(table, AQW_ROW_HOLDER, holder)
                  : aqw_index_reserve(table, AQW_ROW_HOLDER, 1);
}

aqw_status aqw_role_reserve(aqw_table *table, const uint8_t actor_id[16]) {
    return reserve_held(table, AQW_ROW_ROLE, actor_id);
}

aqw_status aqw_capability_reserve(aqw_table *table, const uint8_t actor_id[16]) {
    return reserve_held(table, AQW_ROW_CAPABILITY, actor_id);
}

/* Returns the actor's holder, which has one more from now on. */
static aqw_holder_row *holder_of(aqw_table *table, const uint8_t actor_id[16]) {
    uint32_t row = aqw_index_find_holder(table, actor_id);
    aqw_holder_row *holder = row ? aqw_row_at(table, AQW_ROW_HOLDER, row)
                                 : add_keyed(table, AQW_ROW_HOLDER, actor_id);
    holder->count++;
    return holder;
}

aqw_role_row *aqw_role_add(aqw_table *table, const uint8_t actor_id[16],
                           const uint8_t tenant_id[16]) {
    aqw_holder_row *holder = holder_of(table, actor_id);
    uint32_t row = add_row(table, AQW_ROW_ROLE);
    aqw_role_row *role = aqw_row_at(table, AQW_ROW_ROLE, row);
    memcpy(role->actor_id, actor_id, 16);
    memcpy(role->tenant_id, tenant_id, 16);
    role->next_of_holder = holder->first_role;
    holder->first_role = row;
    aqw_index_insert(table, AQW_ROW_ROLE, row);
    return role;
}

uint32_t aqw_capability_add(aqw_table *table, const uint8_t actor_id[16],
                            const uint8_t tenant_id[16], const uint8_t *capability, uint32_t size) {
    aqw_holder_row *holder = holder_of(table, actor_id);
    uint32_t row = add_row(table, AQW_ROW_CAPABILITY);
    aqw_capability_row *grant = aqw_row_at(table, AQW_ROW_CAPABILITY, row);
    memcpy(grant->actor_id, actor_id, 16);
    memcpy(grant->tenant_id, tenant_id, 16);
    grant->capability = capability;
    grant->capability_size = size;
    grant->next_of_holder = holder->first_capability;
    holder->first_capability = row;
    aqw_index_insert(table, AQW_ROW_CAPABILITY, row);
    return row;
}

void aqw_tombstone_add(aqw_table *table, const uint8_t task_id[16], uint64_t until) {
    ((aqw_tombstone_row *)add_keyed(table, AQW_ROW_TOMBSTONE, task_id))->until = until;
}

aqw_ledger_row *aqw_ledger_add(aqw_table *table, const uint8_t *bytes, uint32_t key_size,
                               uint32_t payload_size) {
    aqw_ledger_row *entry = aqw_row_at(table, AQW_ROW_LEDGER, add_row(table, AQW_ROW_LEDGER));
    entry->bytes = bytes;
    entry->key_size = key_size;
    entry->payload_size = payload_size;
    return entry;
}
