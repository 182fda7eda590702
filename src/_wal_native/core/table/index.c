/* The keys of every kind of row: how a row is hashed, and how it is found. */
#include <string.h>

#include "table/internal.h"

#define PAIR_SIZE 32            /* two identifiers */

static uint64_t hash_numbers(const aqw_table *table, uint32_t first, uint32_t second) {
    uint8_t key[8];
    aqw_store_u32(key, first);
    aqw_store_u32(key + 4, second);
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}

static uint64_t hash_pair(const aqw_table *table, const uint8_t *first_id,
                          const uint8_t *second_id) {
    uint8_t key[PAIR_SIZE];
    memcpy(key, first_id, 16);
    memcpy(key + 16, second_id, 16);
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}

static uint64_t hash_attempt(const aqw_table *table, uint32_t run, const uint8_t *attempt_id) {
    uint8_t key[20];
    memcpy(key, attempt_id, 16);
    aqw_store_u32(key + 16, run);
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}

static uint64_t hash_capability(const aqw_table *table, const uint8_t *actor_id,
                                const uint8_t *tenant_id, const uint8_t *capability,
                                uint32_t size) {
    uint8_t key[PAIR_SIZE + 8];
    memcpy(key, actor_id, 16);
    memcpy(key + 16, tenant_id, 16);
    aqw_store_u64(key + PAIR_SIZE, aqw_hash_bytes(&table->hash_key, capability, size));
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}

/* Rows whose key is one identifier, at their start. */
#define ID_IS_FIRST(type, field) _Static_assert(offsetof(type, field) == 0, "the key comes first")
ID_IS_FIRST(aqw_task_row, task_id);
ID_IS_FIRST(aqw_run_row, run_id);
ID_IS_FIRST(aqw_parent_row, parent_task_id);
ID_IS_FIRST(aqw_subscription_row, subscription_id);
ID_IS_FIRST(aqw_actor_row, actor_id);
ID_IS_FIRST(aqw_tenant_row, tenant_id);
ID_IS_FIRST(aqw_holder_row, actor_id);
ID_IS_FIRST(aqw_tombstone_row, task_id);

static uint64_t hash_id_row(const aqw_table *table, int kind, uint32_t row) {
    return aqw_hash_id(&table->hash_key, aqw_row_at(table, kind, row));
}

static uint64_t task_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_TASK, row);
}
static uint64_t run_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_RUN, row);
}
static uint64_t parent_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_PARENT, row);
}
static uint64_t actor_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_ACTOR, row);
}
static uint64_t tenant_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_TENANT, row);
}
static uint64_t holder_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_HOLDER, row);
}
static uint64_t tombstone_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_TOMBSTONE, row);
}
static uint64_t subscription_hash(const void *context, uint32_t row) {
    return hash_id_row(context, AQW_ROW_SUBSCRIPTION, row);
}

static uint64_t attempt_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_attempt_row *attempt = aqw_row_at(table, AQW_ROW_ATTEMPT, row);
    return hash_attempt(table, attempt->run, attempt->attempt_id);
}

static uint64_t dependency_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_dependency_row *dependency = aqw_row_at(table, AQW_ROW_DEPENDENCY, row);
    return hash_numbers(table, dependency->task, dependency->depends_on);
}

static uint64_t budget_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_budget_row *budget = aqw_row_at(table, AQW_ROW_BUDGET, row);
    return hash_numbers(table, budget->task, budget->dimension);
}

static uint64_t subscriber_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_subscriber_row *subscriber = aqw_row_at(table, AQW_ROW_SUBSCRIBER, row);
    return hash_numbers(table, subscriber->task, 0);
}

static uint64_t role_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_role_row *role = aqw_row_at(table, AQW_ROW_ROLE, row);
    return hash_pair(table, role->actor_id, role->tenant_id);
}

static uint64_t capability_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_capability_row *grant = aqw_row_at(table, AQW_ROW_CAPABILITY, row);
    return hash_capability(table, grant->actor_id, grant->tenant_id, grant->capability,
                           grant->capability_size);
}

aqw_map_hash aqw_index_hash_of(int kind) {
    switch (kind) {
    case AQW_ROW_TASK: return task_hash;
    case AQW_ROW_RUN: return run_hash;
    case AQW_ROW_ATTEMPT: return attempt_hash;
    case AQW_ROW_DEPENDENCY: return dependency_hash;
    case AQW_ROW_PARENT: return parent_hash;
    case AQW_ROW_BUDGET: return budget_hash;
    case AQW_ROW_SUBSCRIPTION: return subscription_hash;
    case AQW_ROW_ACTOR: return actor_hash;
    case AQW_ROW_TENANT: return tenant_hash;
    case AQW_ROW_ROLE: return role_hash;
    case AQW_ROW_CAPABILITY: return capability_hash;
    case AQW_ROW_SUBSCRIBER: return subscriber_hash;
    case AQW_ROW_HOLDER: return holder_hash;
    case AQW_ROW_TOMBSTONE: return tombstone_hash;
    default: return NULL;
    }
}

aqw_status aqw_index_grow(aqw_table *table, int kind, uint32_t extra) {
    aqw_status status = aqw_rows_reserve(&table->rows[kind], extra);
    if (status != AQW_OK || !table->maps[kind].hash_of) return status;
    return aqw_map_reserve(&table->maps[kind], extra);
}

void aqw_index_insert(aqw_table *table, int kind, uint32_t row) {
    aqw_map *map = &table->maps[kind];
    aqw_map_insert(map, map->hash_of(table, row));
}

void aqw_index_remove(aqw_table *table, int kind, uint32_t row) {
    aqw_map *map = &table->maps[kind];
    if (map->hash_of) aqw_map_remove(map, map->hash_of(table, row));
}

int aqw_index_is_purged(const aqw_table *table, int kind, uint32_t row) {
    switch (kind) {
    case AQW_ROW_TASK: return aqw_task_at(table, row)->is_purged;
    case AQW_ROW_RUN: return aqw_run_at(table, row)->is_purged;
    case AQW_ROW_DEPENDENCY: return aqw_dependency_at(table, row)->is_purged;
    case AQW_ROW_BUDGET: {
        const aqw_budget_row *budget = aqw_row_at(table, kind, row);
        return aqw_task_at(table, budget->task)->is_purged;
    }
    case AQW_ROW_SUBSCRIPTION: {
        const aqw_subscription_row *subscription = aqw_row_at(table, kind, row);
        return subscription->is_purged || aqw_task_at(table, subscription->task)->is_purged;
    }
    case AQW_ROW_LEDGER:
    case AQW_ROW_TOMBSTONE: return row <= table->head.purged[kind];
    case AQW_ROW_ACTOR: return ((const aqw_actor_row *)aqw_row_at(table, kind, row))->is_purged;
    case AQW_ROW_ROLE: return ((const aqw_role_row *)aqw_row_at(table, kind, row))->is_purged;
    case AQW_ROW_CAPABILITY:
        return ((const aqw_capability_row *)aqw_row_at(table, kind, row))->is_purged;
    default: return 0;
    }
}

uint32_t aqw_index_next(const aqw_table *table, int kind, uint32_t row) {
    while (row < table->rows[kind].count) {
        if (!aqw_index_is_purged(table, kind, ++row)) return row;
    }
    return 0;
}

static uint32_t find_id(const aqw_table *table, int kind, const uint8_t *id) {
    const aqw_map *map = &table->maps[kind];
    aqw_map_probe probe;
    aqw_map_find(map, aqw_hash_id(&table->hash_key, id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        if (aqw_id_equal(aqw_row_at(table, kind, row), id) &&
            !aqw_index_is_purged(table, kind, row))
            return row;
    }
    return 0;
}

void aqw_index_fetch_id(const aqw_table *table, int kind, const uint8_t *id) {
    aqw_map_fetch(&table->maps[kind], aqw_hash_id(&table->hash_key, id));
}

void aqw_table_fetch(const aqw_table *table, uint8_t kind, const uint8_t *payload, uint32_t size) {
    if (size < 16) return;
    switch (kind) {
    case AQW_TASK_CREATED:
    case AQW_TASK_CANCELED: aqw_index_fetch_id(table, AQW_ROW_TASK, payload); break;
    case AQW_RUN_CREATED:
        aqw_index_fetch_id(table, AQW_ROW_RUN, payload);
        if (size >= 32) aqw_index_fetch_id(table, AQW_ROW_TASK, payload + 16);
        break;
    case AQW_RUN_STATE_CHANGED:
    case AQW_ATTEMPT_STARTED:
    case AQW_ATTEMPT_FINISHED:
    case AQW_LEASE_ACQUIRED:
    case AQW_LEASE_HEARTBEAT:
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED:
    case AQW_RUN_SUSPENDED:
    case AQW_RUN_RESUMED:
    case AQW_RUN_CANCELED: aqw_index_fetch_id(table, AQW_ROW_RUN, payload); break;
    default: break;
    }
}

/* Runs are mostly created for the task that was created last: the lookup tries it first. */
uint32_t aqw_table_find_task(const aqw_table *table, const uint8_t task_id[16]) {
    uint32_t newest = table->rows[AQW_ROW_TASK].count;
    if (newest && aqw_id_equal(aqw_task_at(table, newest)->task_id, task_id) &&
        !aqw_task_at(table, newest)->is_purged)
        return newest;
    return find_id(table, AQW_ROW_TASK, task_id);
}

/* Returns 1 where the expected run is this one; it may have been dropped or purged since. */
static int is_expected_run(const aqw_table *table, const uint8_t run_id[16]) {
    uint32_t row = table->expected_run;
    if (!row || row > table->rows[AQW_ROW_RUN].count) return 0;
    return aqw_id_equal(aqw_run_at(table, row)->run_id, run_id) &&
           !aqw_run_at(table, row)->is_purged;
}

uint32_t aqw_table_find_run(const aqw_table *table, const uint8_t run_id[16]) {
    if (is_expected_run(table, run_id)) return table->expected_run;
    return find_id(table, AQW_ROW_RUN, run_id);
}

uint32_t aqw_index_find_parent(const aqw_table *table, const uint8_t parent_task_id[16]) {
    return find_id(table, AQW_ROW_PARENT, parent_task_id);
}

uint32_t aqw_table_find_parent(const aqw_table *table, const uint8_t parent_task_id[16]) {
    uint32_t row = aqw_index_find_parent(table, parent_task_id);
    return row && ((const aqw_parent_row *)aqw_row_at(table, AQW_ROW_PARENT, row))->first_child
               ? row
               : 0;
}

uint32_t aqw_table_find_subscription(const aqw_table *table, const uint8_t subscription_id[16]) {
    return find_id(table, AQW_ROW_SUBSCRIPTION, subscription_id);
}

uint32_t aqw_table_find_actor(const aqw_table *table, const uint8_t actor_id[16]) {
    return find_id(table, AQW_ROW_ACTOR, actor_id);
}

uint32_t aqw_table_find_tombstone(const aqw_table *table, const uint8_t task_id[16]) {
    return table->rows[AQW_ROW_TOMBSTONE].count ? find_id(table, AQW_ROW_TOMBSTONE, task_id) : 0;
}

uint32_t aqw_table_find_tenant(const aqw_table *table, const uint8_t tenant_id[16]) {
    return find_id(table, AQW_ROW_TENANT, tenant_id);
}

uint32_t aqw_index_find_holder(const aqw_table *table, const uint8_t actor_id[16]) {
    return find_id(table, AQW_ROW_HOLDER, actor_id);
}

uint32_t aqw_index_find_attempt(const aqw_table *table, uint32_t run,
                                const uint8_t attempt_id[16]) {
    const aqw_map *map = &table->maps[AQW_ROW_ATTEMPT];
    aqw_map_probe probe;
    aqw_map_find(map, hash_attempt(table, run, attempt_id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_attempt_row *attempt = aqw_row_at(table, AQW_ROW_ATTEMPT, row);
        if (attempt->run == run && aqw_id_equal(attempt->attempt_id, attempt_id)) return row;
    }
    return 0;
}

uint32_t aqw_index_find_dependency(const aqw_table *table, uint32_t task, uint32_t depends_on) {
    const aqw_map *map = &table->maps[AQW_ROW_DEPENDENCY];
    aqw_map_probe probe;
    aqw_map_find(map, hash_numbers(table, task, depends_on), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_dependency_row *dependency = aqw_row_at(table, AQW_ROW_DEPENDENCY, row);
        if (dependency->task == task && dependency->depends_on == depends_on) return row;
    }
    return 0;
}

uint32_t aqw_index_find_subscriber(const aqw_table *table, uint32_t task) {
    const aqw_map *map = &table->maps[AQW_ROW_SUBSCRIBER];
    aqw_map_probe probe;
    aqw_map_find(map, hash_numbers(table, task, 0), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        if (((const aqw_subscriber_row *)aqw_row_at(table, AQW_ROW_SUBSCRIBER, row))->task == task)
            return row;
    }
    return 0;
}

uint32_t aqw_index_find_budget(const aqw_table *table, uint32_t task, uint8_t dimension) {
    const aqw_map *map = &table->maps[AQW_ROW_BUDGET];
    aqw_map_probe probe;
    aqw_map_find(map, hash_numbers(table, task, dimension), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_budget_row *budget = aqw_row_at(table, AQW_ROW_BUDGET, row);
        if (budget->task == task && budget->dimension == dimension) return row;
    }
    return 0;
}

uint32_t aqw_table_find_budget(const aqw_table *table, const uint8_t task_id[16],
                               uint8_t dimension) {
    uint32_t task = aqw_table_find_task(table, task_id);
    return task ? aqw_index_find_budget(table, task, dimension) : 0;
}

uint32_t aqw_table_find_role(const aqw_table *table, const uint8_t actor_id[16],
                             const uint8_t tenant_id[16]) {
    const aqw_map *map = &table->maps[AQW_ROW_ROLE];
    aqw_map_probe probe;
    aqw_map_find(map, hash_pair(table, actor_id, tenant_id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_role_row *role = aqw_row_at(table, AQW_ROW_ROLE, row);
        if (!role->is_purged && aqw_id_equal(role->actor_id, actor_id) &&
            aqw_id_equal(role->tenant_id, tenant_id))
            return row;
    }
    return 0;
}

uint32_t aqw_table_find_capability(const aqw_table *table, const uint8_t actor_id[16],
                                   const uint8_t tenant_id[16], aqw_bytes capability) {
    const aqw_map *map = &table->maps[AQW_ROW_CAPABILITY];
    aqw_map_probe probe;
    aqw_map_find(map, hash_capability(table, actor_id, tenant_id, capability.data, capability.size),
                 &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_capability_row *grant = aqw_row_at(table, AQW_ROW_CAPABILITY, row);
        if (!grant->is_purged && aqw_id_equal(grant->actor_id, actor_id) &&
            aqw_id_equal(grant->tenant_id, tenant_id) &&
            grant->capability_size == capability.size &&
            (capability.size == 0 ||
             memcmp(grant->capability, capability.data, capability.size) == 0)) {
            return row;
        }
    }
    return 0;
}
