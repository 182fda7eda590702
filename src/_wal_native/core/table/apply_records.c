/* Dependencies, budgets, subscriptions, actors and the platform's records. Every function keeps the
 * order that table/apply.c describes: rules, memory, change. */
#include <string.h>

#include "base/limits.h"
#include "table/internal.h"

/* Takes the memory for setting an owned block in a row, which is the one given or,
 * where that is 0, a new one. */
static aqw_status reserve_owned(aqw_table *table, int kind, uint32_t row, aqw_bytes bytes,
                                aqw_owned **owned) {
    if (bytes.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    aqw_status status = row ? aqw_undo_keep_row(table, kind, row)
                            : aqw_index_reserve(table, kind, 1);
    if (status != AQW_OK) return status;
    if (aqw_undo_reserve_blocks(table) != AQW_OK) return AQW_NO_MEMORY;
    *owned = aqw_owned_copy(table, bytes);
    return *owned ? AQW_OK : AQW_NO_MEMORY;
}

static void set_owned(aqw_table *table, aqw_owned **place, aqw_owned *owned) {
    aqw_owned *replaced = *place;
    aqw_undo_taken(table, owned, sizeof *owned + owned->size);
    *place = owned;
    if (replaced) aqw_undo_replaced(table, replaced, sizeof *replaced + replaced->size);
}

/* Dependencies */

static void add_dependency(aqw_table *table, uint32_t task, uint32_t depends_on) {
    if (!aqw_index_find_dependency(table, task, depends_on))
        aqw_dependency_add(table, task, depends_on);
}

static aqw_status dependency_declared(aqw_table *table, const aqw_event *event) {
    const uint8_t *depends_on = event->as.dependency_declared.depends_on;
    uint32_t count = event->as.dependency_declared.count;
    if (count == 0) return AQW_REFUSED_NO_DEPENDENCIES;
    uint32_t task_row = aqw_table_find_task(table, event->as.dependency_declared.task_id);
    if (!task_row) return AQW_REFUSED_UNKNOWN_TASK;
    uint32_t added_max = 0;     /* a prerequisite given twice counts twice here */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t depends_on_row = aqw_table_find_task(table, depends_on + (size_t)i * 16);
        if (!depends_on_row) return AQW_REFUSED_UNKNOWN_TASK;
        if (aqw_index_find_dependency(table, task_row, depends_on_row)) continue;
        added_max++;
        if (aqw_undo_keep_row(table, AQW_ROW_TASK, depends_on_row) != AQW_OK) return AQW_NO_MEMORY;
        uint32_t newest = aqw_task_at(table, depends_on_row)->first_dependent;
        if (newest && aqw_undo_keep_row(table, AQW_ROW_DEPENDENCY, newest) != AQW_OK)
            return AQW_NO_MEMORY;
    }
    if (aqw_index_reserve(table, AQW_ROW_DEPENDENCY, added_max) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, task_row) != AQW_OK) return AQW_NO_MEMORY;

    for (uint32_t i = 0; i < count; i++) {
        add_dependency(table, task_row, aqw_table_find_task(table, depends_on + (size_t)i * 16));
    }
    return AQW_OK;
}

/* Budgets */

static aqw_status budget_allocated(aqw_table *table, const aqw_event *event, uint32_t row) {
    uint8_t dimension = event->as.budget.dimension;
    if (dimension > AQW_BUDGET_DIMENSION_LAST) return AQW_INVALID_ARGUMENT;
    aqw_status status = row ? aqw_undo_keep_row(table, AQW_ROW_BUDGET, row)
                            : aqw_index_reserve(table, AQW_ROW_BUDGET, 1);
    if (status != AQW_OK) return status;

    aqw_budget_row *budget = row ? aqw_row_at(table, AQW_ROW_BUDGET, row)
                                 : aqw_budget_add(table,
                                                  aqw_table_find_task(table,
                                                                      event->as.budget.task_id),
                                                  dimension);
    budget->limit = event->as.budget.value;
    budget->consumed = 0;
    budget->allocated_at = event->timestamp;
    budget->is_exhausted = 0;
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

    aqw_budget_row *budget = aqw_row_at(table, AQW_ROW_BUDGET, row);
    if (event->kind == AQW_BUDGET_CONSUMED) {
        consume(budget, event->as.budget.value);
    } else if (event->kind == AQW_BUDGET_REPLENISHED) {
        budget->limit = event->as.budget.value;
        budget->consumed = 0;
        budget->is_exhausted = 0;
    } else {
        budget->is_exhausted = 1;
    }
    return AQW_OK;
}

/* Subscriptions */

static aqw_status subscription_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *subscription_id = event->as.subscription_created.subscription_id;
    aqw_bytes filter = event->as.subscription_created.filter;
    uint32_t task_row = aqw_table_find_task(table, event->as.subscription_created.task_id);
    if (!task_row) return AQW_REFUSED_UNKNOWN_TASK;
    if (aqw_table_find_subscription(table, subscription_id)) return AQW_REFUSED_SUBSCRIPTION_EXISTS;
    if (filter.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    if (aqw_subscription_reserve(table, task_row) != AQW_OK) return AQW_NO_MEMORY;
    const uint8_t *filter_copy = aqw_bytes_copy(table, filter);
    if (!filter_copy) return AQW_NO_MEMORY;

    aqw_subscription_row *subscription = aqw_subscription_add(table, subscription_id, task_row);
    subscription->filter = filter_copy;
    subscription->filter_size = filter.size;
    subscription->created_at = event->timestamp;
    return AQW_OK;
}

static aqw_status subscription_changed(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_subscription(table, event->as.subscription.subscription_id);
    int is_cancel = event->kind == AQW_SUBSCRIPTION_CANCELED;
    if (!row) return is_cancel ? AQW_REFUSED_UNKNOWN_SUBSCRIPTION : AQW_OK;
    aqw_subscription_row *subscription = aqw_row_at(table, AQW_ROW_SUBSCRIPTION, row);
    if (is_cancel && subscription->is_canceled) return AQW_REFUSED_SUBSCRIPTION_CANCELED;
    if (aqw_undo_keep_row(table, AQW_ROW_SUBSCRIPTION, row) != AQW_OK) return AQW_NO_MEMORY;

    if (is_cancel) {
        subscription->is_canceled = 1;
        subscription->canceled_at = event->timestamp;
    } else {
        subscription->is_triggered = 1;
        subscription->triggered_at = event->timestamp;
    }
    return AQW_OK;
}

/* Actors */

static aqw_status actor_registered(aqw_table *table, const aqw_event *event) {
    const uint8_t *actor_id = event->as.actor_registered.actor_id;
    uint32_t row = aqw_table_find_actor(table, actor_id);
    aqw_bytes bytes = event->as.actor_registered.registration;
    aqw_owned *registration;
    aqw_status status = reserve_owned(table, AQW_ROW_ACTOR, row, bytes, &registration);
    if (status != AQW_OK) return status;

    aqw_actor_row *actor = row ? aqw_row_at(table, AQW_ROW_ACTOR, row)
                               : aqw_actor_add(table, actor_id);
    set_owned(table, &actor->registration, registration);
    actor->registered_at = event->timestamp;
    actor->has_heartbeat = 0;
    actor->last_heartbeat_at = 0;
    actor->is_deregistered = 0;
    actor->deregistered_at = 0;
    return AQW_OK;
}

static aqw_status actor_changed(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_actor(table, event->as.actor.actor_id);
    if (!row) return AQW_OK;
    if (aqw_undo_keep_row(table, AQW_ROW_ACTOR, row) != AQW_OK) return AQW_NO_MEMORY;

    aqw_actor_row *actor = aqw_row_at(table, AQW_ROW_ACTOR, row);
    if (event->kind == AQW_ACTOR_HEARTBEAT) {
        actor->has_heartbeat = 1;
        actor->last_heartbeat_at = event->timestamp;
    } else {
        actor->is_deregistered = 1;
        actor->deregistered_at = event->timestamp;
    }
    return AQW_OK;
}

/* The platform */

static aqw_status tenant_created(aqw_table *table, const aqw_event *event) {
    const uint8_t *tenant_id = event->as.tenant_created.tenant_id;
    uint32_t row = aqw_table_find_tenant(table, tenant_id);
    aqw_owned *name;
    aqw_status status = reserve_owned(table, AQW_ROW_TENANT, row, event->as.tenant_created.name,
                                      &name);
    if (status != AQW_OK) return status;

    aqw_tenant_row *tenant = row ? aqw_row_at(table, AQW_ROW_TENANT, row)
                                 : aqw_tenant_add(table, tenant_id);
    set_owned(table, &tenant->name, name);
    tenant->created_at = event->timestamp;
    return AQW_OK;
}

static aqw_status role_assigned(aqw_table *table, const aqw_event *event) {
    const uint8_t *actor_id = event->as.role_assigned.actor_id;
    const uint8_t *tenant_id = event->as.role_assigned.tenant_id;
    uint32_t row = aqw_table_find_role(table, actor_id, tenant_id);
    aqw_owned *role_bytes;
    if (!row && aqw_role_reserve(table, actor_id) != AQW_OK) return AQW_NO_MEMORY;
    aqw_status status = reserve_owned(table, AQW_ROW_ROLE, row, event->as.role_assigned.role,
                                      &role_bytes);
    if (status != AQW_OK) return status;

    aqw_role_row *role = row ? aqw_row_at(table, AQW_ROW_ROLE, row)
                             : aqw_role_add(table, actor_id, tenant_id);
    set_owned(table, &role->role, role_bytes);
    role->assigned_at = event->timestamp;
    return AQW_OK;
}

static aqw_status add_capability(aqw_table *table, const aqw_event *event, uint32_t *row) {
    aqw_bytes capability = event->as.capability.capability;
    if (capability.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    if (aqw_capability_reserve(table, event->as.capability.actor_id) != AQW_OK)
        return AQW_NO_MEMORY;
    const uint8_t *capability_copy = aqw_bytes_copy(table, capability);
    if (!capability_copy) return AQW_NO_MEMORY;

    *row = aqw_capability_add(table, event->as.capability.actor_id, event->as.capability.tenant_id,
                              capability_copy, capability.size);
    return AQW_OK;
}

static aqw_status capability_changed(aqw_table *table, const aqw_event *event) {
    uint32_t row = aqw_table_find_capability(table, event->as.capability.actor_id,
                                             event->as.capability.tenant_id,
                                             event->as.capability.capability);
    int is_grant = event->kind == AQW_CAPABILITY_GRANTED;
    if (!row && !is_grant) return AQW_OK;
    aqw_status status = row ? aqw_undo_keep_row(table, AQW_ROW_CAPABILITY, row)
                            : add_capability(table, event, &row);
    if (status != AQW_OK) return status;

    aqw_capability_row *grant = aqw_row_at(table, AQW_ROW_CAPABILITY, row);
    if (is_grant) grant->granted_at = event->timestamp;
    grant->is_revoked = !is_grant;
    grant->revoked_at = is_grant ? 0 : event->timestamp;
    return AQW_OK;
}

static aqw_status ledger_entry_appended(aqw_table *table, const aqw_event *event) {
    aqw_bytes key = event->as.ledger_entry_appended.ledger_key;
    aqw_bytes payload = event->as.ledger_entry_appended.payload;
    if (key.size > AQW_PAYLOAD_SIZE_MAX || payload.size > AQW_PAYLOAD_SIZE_MAX)
        return AQW_TOO_LARGE;
    if (aqw_index_reserve(table, AQW_ROW_LEDGER, 1) != AQW_OK) return AQW_NO_MEMORY;
    uint8_t *bytes = aqw_arena_take(&table->arena, (size_t)key.size + payload.size, 1);
    if (!bytes) return AQW_NO_MEMORY;

    if (key.size) memcpy(bytes, key.data, key.size);
    if (payload.size) memcpy(bytes + key.size, payload.data, payload.size);
    aqw_ledger_row *entry = aqw_ledger_add(table, bytes, key.size, payload.size);
    memcpy(entry->entry_id, event->as.ledger_entry_appended.entry_id, 16);
    memcpy(entry->tenant_id, event->as.ledger_entry_appended.tenant_id, 16);
    entry->has_actor = event->as.ledger_entry_appended.has_actor != 0;
    if (entry->has_actor) memcpy(entry->actor_id, event->as.ledger_entry_appended.actor_id, 16);
    entry->timestamp = event->timestamp;
    return AQW_OK;
}

aqw_status aqw_apply_record(aqw_table *table, const aqw_event *event) {
    switch (event->kind) {
    case AQW_DEPENDENCY_DECLARED: return dependency_declared(table, event);
    case AQW_BUDGET_ALLOCATED:
    case AQW_BUDGET_CONSUMED:
    case AQW_BUDGET_EXHAUSTED:
    case AQW_BUDGET_REPLENISHED: return budget_changed(table, event);
    case AQW_SUBSCRIPTION_CREATED: return subscription_created(table, event);
    case AQW_SUBSCRIPTION_TRIGGERED:
    case AQW_SUBSCRIPTION_CANCELED: return subscription_changed(table, event);
    case AQW_ACTOR_REGISTERED: return actor_registered(table, event);
    case AQW_ACTOR_DEREGISTERED:
    case AQW_ACTOR_HEARTBEAT: return actor_changed(table, event);
    case AQW_TENANT_CREATED: return tenant_created(table, event);
    case AQW_ROLE_ASSIGNED: return role_assigned(table, event);
    case AQW_CAPABILITY_GRANTED:
    case AQW_CAPABILITY_REVOKED: return capability_changed(table, event);
    case AQW_LEDGER_ENTRY_APPENDED: return ledger_entry_appended(table, event);
    default: return AQW_INVALID_ARGUMENT;
    }
}
