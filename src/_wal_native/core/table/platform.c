/* The roles and capabilities that actors, registered or not, have in tenants. They go with their
 * actor. */
#include "table/family.h"

typedef struct aqw_role_row {
    uint8_t actor_id[16];
    uint8_t tenant_id[16];
    uint64_t assigned_at;
    aqw_owned *role;
    uint32_t next_of_holder;
    uint8_t is_purged;
} aqw_role_row;

typedef struct aqw_capability_row {
    uint8_t actor_id[16];
    uint8_t tenant_id[16];
    uint64_t granted_at;
    uint64_t revoked_at;
    const uint8_t *capability;  /* in the arena: part of the key, never replaced */
    uint32_t capability_size;
    uint32_t next_of_holder;
    uint8_t is_revoked;
    uint8_t is_purged;
} aqw_capability_row;

/* What an actor, registered or not, was given: its roles and capabilities, the newest first,
 * without purged ones. */
typedef struct aqw_holder_row {
    uint8_t actor_id[16];
    uint32_t first_role;
    uint32_t first_capability;
    uint32_t count;
} aqw_holder_row;

static aqw_role_row *role_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_ROLE, row);
}

static aqw_capability_row *capability_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_CAPABILITY, row);
}

/* ---- What an actor was given, as a whole ---- */

AQW_KEY_IS_FIRST(aqw_holder_row, actor_id);

static uint64_t holder_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_HOLDER, row);
}

/* Returns the actor's holder, or NULL. */
static aqw_holder_row *find_holder(const aqw_table *table, const uint8_t actor_id[16]) {
    uint32_t row = aqw_index_find_id(table, AQW_ROW_HOLDER, actor_id);
    return row ? aqw_row_at(table, AQW_ROW_HOLDER, row) : NULL;
}

/* Makes room for a role or a capability of this actor: in the rows, in the indexes, and in the undo
 * record. */
static aqw_status reserve_held(aqw_table *table, int kind, const uint8_t actor_id[16]) {
    uint32_t holder = aqw_index_find_id(table, AQW_ROW_HOLDER, actor_id);
    if (aqw_index_reserve(table, kind, 1) != AQW_OK) return AQW_NO_MEMORY;
    return holder ? aqw_undo_keep_row(table, AQW_ROW_HOLDER, holder)
                  : aqw_index_reserve(table, AQW_ROW_HOLDER, 1);
}

/* Returns the actor's holder, which has one more from now on. */
static aqw_holder_row *hold_one(aqw_table *table, const uint8_t actor_id[16]) {
    aqw_holder_row *holder = find_holder(table, actor_id);
    if (!holder) holder = aqw_row_new_keyed(table, AQW_ROW_HOLDER, actor_id);
    holder->count++;
    return holder;
}

aqw_status aqw_held_keep(aqw_table *table, const uint8_t actor_id[16]) {
    aqw_holder_row *holder = find_holder(table, actor_id);
    if (!holder) return AQW_OK;
    for (uint32_t at = holder->first_role; at; at = role_at(table, at)->next_of_holder) {
        if (aqw_undo_keep_row(table, AQW_ROW_ROLE, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    for (uint32_t at = holder->first_capability; at;
         at = capability_at(table, at)->next_of_holder) {
        if (aqw_undo_keep_row(table, AQW_ROW_CAPABILITY, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    return aqw_undo_keep(table, holder, sizeof *holder);
}

void aqw_held_drop(aqw_table *table, const uint8_t actor_id[16]) {
    aqw_table_head *head = &table->head;
    aqw_holder_row *holder = find_holder(table, actor_id);
    if (!holder) return;
    for (uint32_t at = holder->first_role; at; at = role_at(table, at)->next_of_holder) {
        role_at(table, at)->is_purged = 1;
        head->purged[AQW_ROW_ROLE]++;
    }
    for (uint32_t at = holder->first_capability; at;
         at = capability_at(table, at)->next_of_holder) {
        capability_at(table, at)->is_purged = 1;
        head->purged[AQW_ROW_CAPABILITY]++;
    }
    holder->first_role = 0;
    holder->first_capability = 0;
    holder->count = 0;
}

uint32_t aqw_held_count(const aqw_table *table, const uint8_t actor_id[16]) {
    const aqw_holder_row *holder = find_holder(table, actor_id);
    return holder ? holder->count : 0;
}

#if !defined(NDEBUG)
static void check_holder(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_holder_row *holder = aqw_row_at(table, AQW_ROW_HOLDER, row);
    uint32_t roles = 0, capabilities = 0, before = UINT32_MAX;
    for (uint32_t at = holder->first_role; at; roles++) {
        const aqw_role_row *role = role_at(table, at);
        AQW_ASSERT(at < before && !role->is_purged && role->role != NULL);
        AQW_ASSERT(aqw_id_equal(role->actor_id, holder->actor_id));
        before = at;
        at = role->next_of_holder;
    }
    before = UINT32_MAX;
    for (uint32_t at = holder->first_capability; at; capabilities++) {
        const aqw_capability_row *grant = capability_at(table, at);
        AQW_ASSERT(at < before && !grant->is_purged && grant->capability != NULL);
        AQW_ASSERT(aqw_id_equal(grant->actor_id, holder->actor_id));
        before = at;
        at = grant->next_of_holder;
    }
    AQW_ASSERT(roles + capabilities == holder->count);
    to->sums[AQW_ROW_ROLE] += roles;
    to->sums[AQW_ROW_CAPABILITY] += capabilities;
}

static void check_held(const aqw_table *table, const aqw_tally *of) {
    AQW_ASSERT(of->sums[AQW_ROW_ROLE] == aqw_count_left(table, AQW_ROW_ROLE));
    AQW_ASSERT(of->sums[AQW_ROW_CAPABILITY] == aqw_count_left(table, AQW_ROW_CAPABILITY));
}
#endif

const aqw_row_type aqw_holder_type = {
    .size = sizeof(aqw_holder_row),
    .hash_of = holder_hash,
    AQW_CHECKED_BY(check_holder, check_held)
};

/* ---- Roles ---- */

#define PAIR_SIZE 32            /* two identifiers */

static uint64_t hash_pair(const aqw_table *table, const uint8_t *first_id,
                          const uint8_t *second_id) {
    uint8_t key[PAIR_SIZE];
    memcpy(key, first_id, 16);
    memcpy(key + 16, second_id, 16);
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}

static uint64_t role_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_role_row *role = role_at(table, row);
    return hash_pair(table, role->actor_id, role->tenant_id);
}

uint32_t aqw_table_find_role(const aqw_table *table, const uint8_t actor_id[16],
                             const uint8_t tenant_id[16]) {
    const aqw_map *map = &table->maps[AQW_ROW_ROLE];
    aqw_map_probe probe;
    aqw_map_find(map, hash_pair(table, actor_id, tenant_id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_role_row *role = role_at(table, row);
        if (!role->is_purged && aqw_id_equal(role->actor_id, actor_id) &&
            aqw_id_equal(role->tenant_id, tenant_id))
            return row;
    }
    return 0;
}

static aqw_role_row *add_role(aqw_table *table, const uint8_t actor_id[16],
                              const uint8_t tenant_id[16]) {
    aqw_holder_row *holder = hold_one(table, actor_id);
    uint32_t row = aqw_row_new(table, AQW_ROW_ROLE);
    aqw_role_row *role = role_at(table, row);
    memcpy(role->actor_id, actor_id, 16);
    memcpy(role->tenant_id, tenant_id, 16);
    role->next_of_holder = holder->first_role;
    holder->first_role = row;
    aqw_index_insert(table, AQW_ROW_ROLE, row);
    return role;
}

static aqw_status role_assigned(aqw_table *table, const aqw_event *event) {
    const uint8_t *actor_id = event->as.role_assigned.actor_id;
    const uint8_t *tenant_id = event->as.role_assigned.tenant_id;
    uint32_t row = aqw_table_find_role(table, actor_id, tenant_id);
    aqw_owned *role_bytes;
    if (!row && reserve_held(table, AQW_ROW_ROLE, actor_id) != AQW_OK) return AQW_NO_MEMORY;
    aqw_status status = aqw_owned_reserve(table, AQW_ROW_ROLE, row, event->as.role_assigned.role,
                                          &role_bytes);
    if (status != AQW_OK) return status;

    aqw_role_row *role = row ? role_at(table, row) : add_role(table, actor_id, tenant_id);
    aqw_owned_set(table, &role->role, role_bytes);
    role->assigned_at = event->timestamp;
    return AQW_OK;
}

void aqw_table_role(const aqw_table *table, uint32_t row, aqw_role_view *view) {
    const aqw_role_row *role = role_at(table, row);
    aqw_id_copy(view->actor_id, role->actor_id);
    aqw_id_copy(view->tenant_id, role->tenant_id);
    view->role = aqw_owned_bytes(role->role);
    view->assigned_at = role->assigned_at;
}

static aqw_status save_role(aqw_saver *save, uint32_t row) {
    const aqw_role_row *role = role_at(save->table, row);
    writer *out = start(save);
    put_id(out, role->actor_id);
    put_id(out, role->tenant_id);
    put_varint(out, role->assigned_at);
    return emit_with(save, AQW_IMAGE_ROLE, role->role->data, role->role->size);
}

static aqw_status load_role(aqw_table_loader *load, cursor *from) {
    uint8_t actor_id[16], tenant_id[16];
    aqw_named fields;
    count_one(load, from, AQW_IMAGE_ROLE);
    read_id(from, actor_id);
    read_id(from, tenant_id);
    uint64_t assigned_at = read_varint(from);
    aqw_bytes bytes = read_rest(from);
    if (finish(from) != AQW_OK ||
        aqw_named_decode(bytes.data, bytes.size, AQW_ROLE_CUSTOM, &fields) != AQW_OK ||
        aqw_table_find_role(load->table, actor_id, tenant_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    if (reserve_held(load->table, AQW_ROW_ROLE, actor_id) != AQW_OK) return AQW_NO_MEMORY;
    aqw_owned *owned = aqw_owned_copy(load->table, bytes);
    if (!owned) return AQW_NO_MEMORY;

    aqw_role_row *role = add_role(load->table, actor_id, tenant_id);
    role->role = owned;
    role->assigned_at = assigned_at;
    return AQW_OK;
}

static int role_is_purged(const aqw_table *table, uint32_t row) {
    return role_at(table, row)->is_purged;
}

static const aqw_row_event role_events[] = {
    {AQW_ROLE_ASSIGNED, role_assigned},
    {0, NULL},
};

static const aqw_row_item role_item = {
    .type = AQW_IMAGE_ROLE, .size_min = 34, .save = save_role, .load = load_role};

const aqw_row_type aqw_role_type = {
    .size = sizeof(aqw_role_row),
    .count_at = AQW_COUNTED_AS(roles),
    .owned_at = offsetof(aqw_role_row, role),
    .hash_of = role_hash,
    .is_purged = role_is_purged,
    .events = role_events,
    .item = &role_item,
};

/* ---- Capabilities ---- */

static uint64_t hash_capability(const aqw_table *table, const uint8_t *actor_id,
                                const uint8_t *tenant_id, const uint8_t *capability,
                                uint32_t size) {
    uint8_t key[PAIR_SIZE + 8];
    memcpy(key, actor_id, 16);
    memcpy(key + 16, tenant_id, 16);
    aqw_store_u64(key + PAIR_SIZE, aqw_hash_bytes(&table->hash_key, capability, size));
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}

static uint64_t capability_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_capability_row *grant = capability_at(table, row);
    return hash_capability(table, grant->actor_id, grant->tenant_id, grant->capability,
                           grant->capability_size);
}

uint32_t aqw_table_find_capability(const aqw_table *table, const uint8_t actor_id[16],
                                   const uint8_t tenant_id[16], aqw_bytes capability) {
    const aqw_map *map = &table->maps[AQW_ROW_CAPABILITY];
    aqw_map_probe probe;
    aqw_map_find(map, hash_capability(table, actor_id, tenant_id, capability.data, capability.size),
                 &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_capability_row *grant = capability_at(table, row);
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

/* `capability` is a copy in the arena. */
static uint32_t add_capability(aqw_table *table, const uint8_t actor_id[16],
                               const uint8_t tenant_id[16], const uint8_t *capability,
                               uint32_t size) {
    aqw_holder_row *holder = hold_one(table, actor_id);
    uint32_t row = aqw_row_new(table, AQW_ROW_CAPABILITY);
    aqw_capability_row *grant = capability_at(table, row);
    memcpy(grant->actor_id, actor_id, 16);
    memcpy(grant->tenant_id, tenant_id, 16);
    grant->capability = capability;
    grant->capability_size = size;
    grant->next_of_holder = holder->first_capability;
    holder->first_capability = row;
    aqw_index_insert(table, AQW_ROW_CAPABILITY, row);
    return row;
}

static aqw_status grant_new(aqw_table *table, const aqw_event *event, uint32_t *row) {
    aqw_bytes capability = event->as.capability.capability;
    if (capability.size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    if (reserve_held(table, AQW_ROW_CAPABILITY, event->as.capability.actor_id) != AQW_OK)
        return AQW_NO_MEMORY;
    const uint8_t *capability_copy = aqw_bytes_copy(table, capability);
    if (!capability_copy) return AQW_NO_MEMORY;

    *row = add_capability(table, event->as.capability.actor_id, event->as.capability.tenant_id,
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
                            : grant_new(table, event, &row);
    if (status != AQW_OK) return status;

    aqw_capability_row *grant = capability_at(table, row);
    if (is_grant) grant->granted_at = event->timestamp;
    grant->is_revoked = !is_grant;
    grant->revoked_at = is_grant ? 0 : event->timestamp;
    return AQW_OK;
}

void aqw_table_capability(const aqw_table *table, uint32_t row, aqw_capability_view *view) {
    const aqw_capability_row *grant = capability_at(table, row);
    aqw_id_copy(view->actor_id, grant->actor_id);
    aqw_id_copy(view->tenant_id, grant->tenant_id);
    view->capability = aqw_bytes_of(grant->capability, grant->capability_size);
    view->granted_at = grant->granted_at;
    view->is_revoked = grant->is_revoked;
    view->revoked_at = grant->revoked_at;
}

static aqw_status save_capability(aqw_saver *save, uint32_t row) {
    const aqw_capability_row *grant = capability_at(save->table, row);
    writer *out = start(save);
    put_id(out, grant->actor_id);
    put_id(out, grant->tenant_id);
    put_varint(out, grant->granted_at);
    put_times(out, grant->granted_at, grant->is_revoked, grant->revoked_at, 0, 0);
    return emit_with(save, AQW_IMAGE_CAPABILITY, grant->capability, grant->capability_size);
}

static aqw_status load_capability(aqw_table_loader *load, cursor *from) {
    uint8_t actor_id[16], tenant_id[16];
    aqw_named fields;
    count_one(load, from, AQW_IMAGE_CAPABILITY);
    read_id(from, actor_id);
    read_id(from, tenant_id);
    uint64_t granted_at = read_varint(from);
    aqw_image_times revoked = read_times(from, granted_at, AQW_IMAGE_HAS_FIRST);
    aqw_bytes bytes = read_rest(from);
    if (finish(from) != AQW_OK ||
        aqw_named_decode(bytes.data, bytes.size, AQW_CAPABILITY_CUSTOM, &fields) != AQW_OK ||
        aqw_table_find_capability(load->table, actor_id, tenant_id, bytes)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    if (reserve_held(load->table, AQW_ROW_CAPABILITY, actor_id) != AQW_OK) return AQW_NO_MEMORY;
    const uint8_t *capability = aqw_bytes_copy(load->table, bytes);
    if (!capability) return AQW_NO_MEMORY;

    uint32_t row = add_capability(load->table, actor_id, tenant_id, capability, bytes.size);
    aqw_capability_row *grant = capability_at(load->table, row);
    grant->granted_at = granted_at;
    grant->is_revoked = revoked.has_first;
    grant->revoked_at = revoked.first;
    return AQW_OK;
}

static int capability_is_purged(const aqw_table *table, uint32_t row) {
    return capability_at(table, row)->is_purged;
}

static const aqw_row_event capability_events[] = {
    {AQW_CAPABILITY_GRANTED, capability_changed},
    {AQW_CAPABILITY_REVOKED, capability_changed},
    {0, NULL},
};

static const aqw_row_item capability_item = {.type = AQW_IMAGE_CAPABILITY,
                                             .size_min = 35,
                                             .save = save_capability,
                                             .load = load_capability};

const aqw_row_type aqw_capability_type = {
    .size = sizeof(aqw_capability_row),
    .count_at = AQW_COUNTED_AS(capabilities),
    .hash_of = capability_hash,
    .is_purged = capability_is_purged,
    .events = capability_events,
    .item = &capability_item,
};
