/* Reads a table's image; table/image.h specifies it. Every function goes in the same order: the
 * bytes, the rules, the memory, the row. Only what has passed the rules goes into the table,
 * through the functions that apply events. */
#include "table/image.h"

#include <string.h>

#include "base/limits.h"
#include "event/cursor.h"
#include "event/rules.h"
#include "table/check.h"
#include "table/internal.h"

/* The least payload bytes that one of each takes, and its rows. A lease has no row and
 * reserves none. */
static const struct { uint8_t size_min; uint8_t kind; } parts[AQW_IMAGE_TYPE_COUNT] = {
    [AQW_IMAGE_TASK] = {21, AQW_ROW_TASK},
    [AQW_IMAGE_RUN] = {20, AQW_ROW_RUN},
    [AQW_IMAGE_HISTORY] = {2, AQW_ROW_HISTORY},
    [AQW_IMAGE_ATTEMPT] = {18, AQW_ROW_ATTEMPT},
    [AQW_IMAGE_LEASE] = {3, AQW_ROW_KIND_COUNT},
    [AQW_IMAGE_DEPENDENCIES] = {2, AQW_ROW_DEPENDENCY},
    [AQW_IMAGE_BUDGET] = {5, AQW_ROW_BUDGET},
    [AQW_IMAGE_SUBSCRIPTION] = {21, AQW_ROW_SUBSCRIPTION},
    [AQW_IMAGE_ACTOR] = {25, AQW_ROW_ACTOR},
    [AQW_IMAGE_TENANT] = {18, AQW_ROW_TENANT},
    [AQW_IMAGE_ROLE] = {34, AQW_ROW_ROLE},
    [AQW_IMAGE_CAPABILITY] = {35, AQW_ROW_CAPABILITY},
    [AQW_IMAGE_LEDGER_ENTRY] = {36, AQW_ROW_LEDGER},
    [AQW_IMAGE_TOMBSTONE] = {17, AQW_ROW_TOMBSTONE},
};

/* The head was right, so there is room for as many as it promised. */
static void count_one(aqw_table_loader *load, cursor *from, uint8_t type) {
    require(from, load->loaded[type] < load->expected[type]);
    if (!from->failed) load->loaded[type]++;
}

static aqw_bytes read_rest(cursor *from) {
    aqw_bytes bytes = rest(from);
    require(from, bytes.size <= AQW_PAYLOAD_SIZE_MAX);
    if (!from->failed) from->at = from->end;
    return bytes;
}

static aqw_bytes read_rest_as_text(cursor *from, uint32_t size_min) {
    aqw_bytes text = read_rest(from);
    require(from, text.size >= size_min && text.size <= AQW_TEXT_SIZE_MAX &&
                      aqw_utf8_is_valid(text.data, text.size));
    return text;
}

/* Returns the row of a task's number: rows are in the order of their items. */
static uint32_t read_task(const aqw_table_loader *load, cursor *from) {
    uint32_t row = read_positive32(from);
    require(from, row <= load->loaded[AQW_IMAGE_TASK]);
    return row;
}

typedef struct times { uint8_t has_first, has_second; uint64_t first, second; } times;

static times read_times(cursor *from, uint64_t base, uint8_t flags_all) {
    times read = {0, 0, 0, 0};
    uint8_t flags = read_code(from, flags_all);
    read.has_first = (flags & AQW_IMAGE_HAS_FIRST) != 0;
    read.has_second = (flags & AQW_IMAGE_HAS_SECOND) != 0;
    if (read.has_first) read.first = read_difference(from, base);
    if (read.has_second) read.second = read_difference(from, base);
    return read;
}

/* ---- The head ---- */

static void read_engine(cursor *from, aqw_engine_view *engine) {
    uint8_t state = read_code(from, 2);
    engine->is_paused = state == 1;
    engine->has_paused_at = state != 0;
    engine->has_resumed_at = state == 2;
    if (engine->has_paused_at) engine->paused_at = read_varint(from);
    if (engine->has_resumed_at) engine->resumed_at = read_difference(from, engine->paused_at);
    require(from, !engine->has_resumed_at ||
                      !aqw_rule_resume_precedes_pause(engine->paused_at, engine->resumed_at));
}

/* `size_max` is the size of all items. */
static aqw_status read_head(cursor *from, uint64_t size_max, aqw_image_head *head) {
    uint64_t size_min = 0;
    memset(head, 0, sizeof *head);
    head->sequence = read_varint(from);
    read_engine(from, &head->engine);
    for (int type = AQW_IMAGE_TASK; type < AQW_IMAGE_TYPE_COUNT; type++) {
        head->counts[type] = read_varint32(from);
        require(from, head->counts[type] <= AQW_ROW_COUNT_MAX);
        size_min += (uint64_t)head->counts[type] * parts[type].size_min;
    }
    require(from,
            size_min <= size_max && head->counts[AQW_IMAGE_TOMBSTONE] <= AQW_TOMBSTONE_COUNT_MAX);
    return finish(from) == AQW_OK ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

aqw_status aqw_image_head_read(uint8_t type, const uint8_t *payload, size_t size, uint64_t size_max,
                               aqw_image_head *head) {
    if (type != AQW_IMAGE_HEAD) return AQW_MALFORMED_SNAPSHOT;
    cursor from = {payload, payload + size, 0};
    return read_head(&from, size_max, head);
}

static aqw_status load_head(aqw_table_loader *load, cursor *from) {
    aqw_image_head head;
    if (read_head(from, load->size_max, &head) != AQW_OK) return AQW_MALFORMED_SNAPSHOT;
    load->table->head.latest_sequence = head.sequence;
    load->table->head.engine = head.engine;
    memcpy(load->expected, head.counts, sizeof load->expected);
    for (int type = AQW_IMAGE_TASK; type < AQW_IMAGE_TYPE_COUNT; type++) {
        if (parts[type].kind == AQW_ROW_KIND_COUNT) continue;
        if (aqw_index_reserve(load->table, parts[type].kind, load->expected[type]) != AQW_OK)
            return AQW_NO_MEMORY;
    }
    return AQW_OK;
}

/* ---- Tasks and runs ---- */

static aqw_status load_task(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    uint8_t task_id[16];
    aqw_task_spec fields;
    count_one(load, from, AQW_IMAGE_TASK);
    read_real_id(from, task_id);
    uint64_t created_at = read_varint(from);
    uint8_t flags = read_code(from,
                              AQW_IMAGE_HAS_FIRST | AQW_IMAGE_HAD_RUNS | AQW_IMAGE_RUNS_PURGED);
    uint64_t canceled_at = flags & AQW_IMAGE_HAS_FIRST ? read_difference(from, created_at) : 0;
    uint64_t last_run_at = flags & AQW_IMAGE_HAD_RUNS ? read_difference(from, created_at) : 0;
    uint64_t runs_purged = flags & AQW_IMAGE_RUNS_PURGED ? read_positive(from) : 0;
    require(from, !runs_purged || (flags & AQW_IMAGE_HAD_RUNS) != 0);
    aqw_bytes spec = read_rest(from);
    if (finish(from) != AQW_OK || aqw_task_spec_decode(spec.data, spec.size, &fields) != AQW_OK ||
        aqw_table_find_task(table, task_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    if (fields.has_parent && aqw_child_reserve(table, fields.parent_task_id) != AQW_OK)
        return AQW_NO_MEMORY;
    const uint8_t *spec_copy = aqw_bytes_copy(table, spec);
    if (!spec_copy) return AQW_NO_MEMORY;

    uint32_t row = aqw_task_add(table, task_id);
    aqw_task_row *task = aqw_task_at(table, row);
    task->created_at = created_at;
    task->is_canceled = (flags & AQW_IMAGE_HAS_FIRST) != 0;
    task->canceled_at = canceled_at;
    task->had_runs = (flags & AQW_IMAGE_HAD_RUNS) != 0;
    task->last_run_at = last_run_at;
    task->runs_created = runs_purged;
    if (task->had_runs && !runs_purged) load->awaited_tasks++;
    task->spec = spec_copy;
    task->spec_size = spec.size & AQW_PAYLOAD_SIZE_MAX;
    if (fields.has_parent) aqw_child_add(table, fields.parent_task_id, row);
    return AQW_OK;
}

static void load_step(aqw_table_loader *load, cursor *from) {
    aqw_run_row *run = aqw_run_at(load->table, load->run);
    uint8_t step = read_u8(from);
    load->steps++;
    if (step == AQW_IMAGE_LEASE_CLOSED) {
        require(from, aqw_rule_lease_close_makes_ready(run->state));
        if (!from->failed) aqw_run_set_state(load->table, run, AQW_READY);
        return;
    }
    uint64_t time = read_difference(from, load->step_time);
    require(from, aqw_rule_transition_is_valid(run->state, step));
    count_one(load, from, AQW_IMAGE_HISTORY);
    if (from->failed) return;
    aqw_run_change_state(load->table, run, step, time);
    load->step_time = time;
    if (aqw_rule_attempt_allowed(step)) load->was_running = 1;
}

static aqw_status load_steps(aqw_table_loader *load, cursor *from) {
    for (int i = 0; i < AQW_IMAGE_GROUP_COUNT_MAX && left(from) > 0; i++) load_step(load, from);
    return finish(from) == AQW_OK ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

static aqw_status load_run(aqw_table_loader *load, cursor *from) {
    uint8_t run_id[16];
    count_one(load, from, AQW_IMAGE_RUN);
    read_real_id(from, run_id);
    uint32_t task = read_task(load, from);
    uint64_t created_at = read_varint(from);
    uint64_t scheduled_at = read_difference(from, created_at);
    int32_t effective_priority = read_zigzag(from);
    if (from->failed || aqw_table_find_run(load->table, run_id)) return AQW_MALFORMED_SNAPSHOT;
    if (!aqw_task_at(load->table, task)->had_runs) return AQW_MALFORMED_SNAPSHOT;

    if (!aqw_task_at(load->table, task)->runs_created) load->awaited_tasks--;
    load->run = aqw_run_add(load->table, task, run_id, created_at);
    load->steps = 0;
    load->step_time = created_at;
    load->was_running = 0;
    aqw_run_row *run = aqw_run_at(load->table, load->run);
    run->scheduled_at = scheduled_at;
    run->effective_priority = effective_priority;
    return load_steps(load, from);
}

/* Goes on only where the group before was full, and left something to say. */
static aqw_status load_history(aqw_table_loader *load, cursor *from) {
    require(from,
            left(from) > 0 && load->steps > 0 && load->steps % AQW_IMAGE_GROUP_COUNT_MAX == 0);
    return from->failed ? AQW_MALFORMED_SNAPSHOT : load_steps(load, from);
}

static aqw_status load_attempt(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    aqw_run_row *run = aqw_run_at(table, load->run);
    uint8_t attempt_id[16];
    uint64_t finished_at = 0;
    aqw_bytes detail = {NULL, 0};
    count_one(load, from, AQW_IMAGE_ATTEMPT);
    read_id(from, attempt_id);
    uint64_t started_at = read_difference(from, run->created_at);
    uint8_t result = read_u8(from);
    if (result != AQW_IMAGE_UNFINISHED) {
        require(from, result <= AQW_ATTEMPT_RESULT_LAST);
        finished_at = read_difference(from, started_at);
        detail = result == AQW_FAILURE || result == AQW_TIMEOUT ? read_rest_as_text(from, 0)
                                                                : read_rest(from);
    }
    /* An attempt that is not finished is active until end_run looks at it. */
    if (finish(from) != AQW_OK || !load->was_running || run->has_active_attempt ||
        aqw_rule_attempt_count_is_full(run->attempt_count) ||
        aqw_table_run_had_attempt(table, load->run, attempt_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    const uint8_t *ending = NULL;
    if (result != AQW_IMAGE_UNFINISHED && !(ending = aqw_ending_take(table, result, detail)))
        return AQW_NO_MEMORY;

    aqw_attempt_add(table, load->run, attempt_id, started_at);
    if (ending) aqw_attempt_end(table, run, finished_at, ending);
    return AQW_OK;
}

static aqw_status load_lease(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    aqw_run_row *run = aqw_run_at(table, load->run);
    count_one(load, from, AQW_IMAGE_LEASE);
    uint64_t acquired_at = read_difference(from, run->created_at);
    uint64_t updated_at = read_difference(from, acquired_at);
    uint64_t expiry = read_difference(from, acquired_at);
    aqw_bytes owner = read_rest_as_text(from, 0);
    if (finish(from) != AQW_OK || run->lease || !aqw_rule_lease_held_allowed(run->state))
        return AQW_MALFORMED_SNAPSHOT;
    aqw_lease *lease = aqw_lease_take(table, owner);
    if (!lease) return AQW_NO_MEMORY;

    lease->acquired_at = acquired_at;
    lease->updated_at = updated_at;
    lease->expiry = expiry;
    run->lease = lease;
    table->head.lease_count++;
    return AQW_OK;
}

/* After a run's last item: an unfinished attempt is active, or was when the run was canceled. */
static aqw_status end_run(aqw_table_loader *load) {
    if (!load->run) return AQW_OK;
    aqw_run_row *run = aqw_run_at(load->table, load->run);
    load->run = 0;
    if (!run->has_active_attempt || aqw_rule_attempt_allowed(run->state)) return AQW_OK;
    const aqw_history_row *last = aqw_row_at(load->table, AQW_ROW_HISTORY, run->last_history);
    run->has_active_attempt = 0;
    int was_active = aqw_rule_attempt_allowed(last->from_state) &&
                     !aqw_rule_attempt_blocks_change(last->from_state, run->state, 1);
    return was_active ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

/* ---- The rest ---- */

static void load_dependency(aqw_table_loader *load, cursor *from) {
    uint32_t task = read_task(load, from);
    uint32_t depends_on = read_task(load, from);
    count_one(load, from, AQW_IMAGE_DEPENDENCIES);
    if (from->failed) return;
    require(from, !aqw_index_find_dependency(load->table, task, depends_on));
    if (!from->failed) aqw_dependency_add(load->table, task, depends_on);
}

static aqw_status load_dependencies(aqw_table_loader *load, cursor *from) {
    require(from, left(from) > 0 &&
                      load->loaded[AQW_IMAGE_DEPENDENCIES] % AQW_IMAGE_GROUP_COUNT_MAX == 0);
    for (int i = 0; i < AQW_IMAGE_GROUP_COUNT_MAX && left(from) > 0; i++)
        load_dependency(load, from);
    return finish(from) == AQW_OK ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

static aqw_status load_budget(aqw_table_loader *load, cursor *from) {
    count_one(load, from, AQW_IMAGE_BUDGET);
    uint32_t task = read_task(load, from);
    uint8_t code = read_code(from, AQW_IMAGE_EXHAUSTED | AQW_BUDGET_DIMENSION_LAST);
    uint8_t dimension = (uint8_t)(code & ~AQW_IMAGE_EXHAUSTED);
    uint8_t is_exhausted = (code & AQW_IMAGE_EXHAUSTED) != 0;
    uint64_t limit = read_varint(from);
    uint64_t consumed = read_varint(from);
    uint64_t allocated_at = read_varint(from);
    require(from, dimension <= AQW_BUDGET_DIMENSION_LAST &&
                      (is_exhausted || consumed < limit || consumed == 0));
    if (finish(from) != AQW_OK || aqw_index_find_budget(load->table, task, dimension))
        return AQW_MALFORMED_SNAPSHOT;

    aqw_budget_row *budget = aqw_budget_add(load->table, task, dimension);
    budget->limit = limit;
    budget->consumed = consumed;
    budget->allocated_at = allocated_at;
    budget->is_exhausted = is_exhausted;
    return AQW_OK;
}

static aqw_status load_subscription(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    uint8_t subscription_id[16];
    aqw_filter fields;
    count_one(load, from, AQW_IMAGE_SUBSCRIPTION);
    read_id(from, subscription_id);
    uint32_t task = read_task(load, from);
    uint64_t created_at = read_varint(from);
    times happened = read_times(from, created_at, AQW_IMAGE_HAS_FIRST | AQW_IMAGE_HAS_SECOND);
    aqw_bytes filter = read_rest(from);
    if (finish(from) != AQW_OK || aqw_filter_decode(filter.data, filter.size, &fields) != AQW_OK ||
        aqw_table_find_subscription(table, subscription_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    if (aqw_subscription_reserve(table, task) != AQW_OK) return AQW_NO_MEMORY;
    const uint8_t *filter_copy = aqw_bytes_copy(table, filter);
    if (!filter_copy) return AQW_NO_MEMORY;

    aqw_subscription_row *subscription = aqw_subscription_add(table, subscription_id, task);
    subscription->filter = filter_copy;
    subscription->filter_size = filter.size;
    subscription->created_at = created_at;
    subscription->is_triggered = happened.has_first;
    subscription->triggered_at = happened.first;
    subscription->is_canceled = happened.has_second;
    subscription->canceled_at = happened.second;
    return AQW_OK;
}

static aqw_status load_actor(aqw_table_loader *load, cursor *from) {
    uint8_t actor_id[16];
    aqw_registration fields;
    count_one(load, from, AQW_IMAGE_ACTOR);
    read_id(from, actor_id);
    uint64_t registered_at = read_varint(from);
    times happened = read_times(from, registered_at, AQW_IMAGE_HAS_FIRST | AQW_IMAGE_HAS_SECOND);
    aqw_bytes bytes = read_rest(from);
    if (finish(from) != AQW_OK ||
        aqw_registration_decode(bytes.data, bytes.size, &fields) != AQW_OK ||
        aqw_table_find_actor(load->table, actor_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    aqw_owned *registration = aqw_owned_copy(load->table, bytes);
    if (!registration) return AQW_NO_MEMORY;

    aqw_actor_row *actor = aqw_actor_add(load->table, actor_id);
    actor->registration = registration;
    actor->registered_at = registered_at;
    actor->has_heartbeat = happened.has_first;
    actor->last_heartbeat_at = happened.first;
    actor->is_deregistered = happened.has_second;
    actor->deregistered_at = happened.second;
    return AQW_OK;
}

static aqw_status load_tenant(aqw_table_loader *load, cursor *from) {
    uint8_t tenant_id[16];
    count_one(load, from, AQW_IMAGE_TENANT);
    read_id(from, tenant_id);
    uint64_t created_at = read_varint(from);
    aqw_bytes text = read_rest_as_text(from, 1);
    if (finish(from) != AQW_OK || aqw_table_find_tenant(load->table, tenant_id))
        return AQW_MALFORMED_SNAPSHOT;
    aqw_owned *name = aqw_owned_copy(load->table, text);
    if (!name) return AQW_NO_MEMORY;

    aqw_tenant_row *tenant = aqw_tenant_add(load->table, tenant_id);
    tenant->name = name;
    tenant->created_at = created_at;
    return AQW_OK;
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
    if (aqw_role_reserve(load->table, actor_id) != AQW_OK) return AQW_NO_MEMORY;
    aqw_owned *owned = aqw_owned_copy(load->table, bytes);
    if (!owned) return AQW_NO_MEMORY;

    aqw_role_row *role = aqw_role_add(load->table, actor_id, tenant_id);
    role->role = owned;
    role->assigned_at = assigned_at;
    return AQW_OK;
}

static aqw_status load_capability(aqw_table_loader *load, cursor *from) {
    uint8_t actor_id[16], tenant_id[16];
    aqw_named fields;
    count_one(load, from, AQW_IMAGE_CAPABILITY);
    read_id(from, actor_id);
    read_id(from, tenant_id);
    uint64_t granted_at = read_varint(from);
    times revoked = read_times(from, granted_at, AQW_IMAGE_HAS_FIRST);
    aqw_bytes bytes = read_rest(from);
    if (finish(from) != AQW_OK ||
        aqw_named_decode(bytes.data, bytes.size, AQW_CAPABILITY_CUSTOM, &fields) != AQW_OK ||
        aqw_table_find_capability(load->table, actor_id, tenant_id, bytes)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    if (aqw_capability_reserve(load->table, actor_id) != AQW_OK) return AQW_NO_MEMORY;
    const uint8_t *capability = aqw_bytes_copy(load->table, bytes);
    if (!capability) return AQW_NO_MEMORY;

    uint32_t row = aqw_capability_add(load->table, actor_id, tenant_id, capability, bytes.size);
    aqw_capability_row *grant = aqw_row_at(load->table, AQW_ROW_CAPABILITY, row);
    grant->granted_at = granted_at;
    grant->is_revoked = revoked.has_first;
    grant->revoked_at = revoked.first;
    return AQW_OK;
}

static aqw_status load_ledger_entry(aqw_table_loader *load, cursor *from) {
    uint8_t entry_id[16], tenant_id[16], actor_id[16] = {0};
    count_one(load, from, AQW_IMAGE_LEDGER_ENTRY);
    read_id(from, entry_id);
    read_id(from, tenant_id);
    uint64_t timestamp = read_varint(from);
    uint8_t has_actor = read_code(from, AQW_IMAGE_HAS_FIRST);
    if (has_actor) read_id(from, actor_id);
    uint32_t key_size = read_positive32(from);
    aqw_bytes bytes = read_rest(from);
    if (finish(from) != AQW_OK || key_size > bytes.size || key_size > AQW_TEXT_SIZE_MAX ||
        !aqw_utf8_is_valid(bytes.data, key_size)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    const uint8_t *copy = aqw_bytes_copy(load->table, bytes);
    if (!copy) return AQW_NO_MEMORY;

    aqw_ledger_row *entry = aqw_ledger_add(load->table, copy, key_size, bytes.size - key_size);
    memcpy(entry->entry_id, entry_id, 16);
    memcpy(entry->tenant_id, tenant_id, 16);
    memcpy(entry->actor_id, actor_id, 16);
    entry->has_actor = has_actor;
    entry->timestamp = timestamp;
    return AQW_OK;
}

static aqw_status load_tombstone(aqw_table_loader *load, cursor *from) {
    uint8_t task_id[16];
    count_one(load, from, AQW_IMAGE_TOMBSTONE);
    read_real_id(from, task_id);
    uint64_t until = read_varint(from);
    if (finish(from) != AQW_OK || aqw_table_find_task(load->table, task_id) ||
        aqw_table_find_tombstone(load->table, task_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    aqw_tombstone_add(load->table, task_id, until);
    return AQW_OK;
}

/* ---- The whole ---- */

static aqw_status load_item(aqw_table_loader *load, uint8_t type, cursor *from) {
    switch (type) {
    case AQW_IMAGE_HEAD: return load_head(load, from);
    case AQW_IMAGE_TASK: return load_task(load, from);
    case AQW_IMAGE_RUN: return load_run(load, from);
    case AQW_IMAGE_HISTORY: return load_history(load, from);
    case AQW_IMAGE_ATTEMPT: return load_attempt(load, from);
    case AQW_IMAGE_LEASE: return load_lease(load, from);
    case AQW_IMAGE_DEPENDENCIES: return load_dependencies(load, from);
    case AQW_IMAGE_BUDGET: return load_budget(load, from);
    case AQW_IMAGE_SUBSCRIPTION: return load_subscription(load, from);
    case AQW_IMAGE_ACTOR: return load_actor(load, from);
    case AQW_IMAGE_TENANT: return load_tenant(load, from);
    case AQW_IMAGE_ROLE: return load_role(load, from);
    case AQW_IMAGE_CAPABILITY: return load_capability(load, from);
    case AQW_IMAGE_LEDGER_ENTRY: return load_ledger_entry(load, from);
    case AQW_IMAGE_TOMBSTONE: return load_tombstone(load, from);
    default: return AQW_MALFORMED_SNAPSHOT;
    }
}

static int is_of_run(uint8_t type) { return type >= AQW_IMAGE_HISTORY && type <= AQW_IMAGE_LEASE; }

/* The one head comes first; types rise, except that a run may follow what belongs to the run
 * before; and what belongs to a run follows one. */
static int may_follow(uint8_t last, uint8_t type) {
    if (last == 0 || type == AQW_IMAGE_HEAD) return last == 0 && type == AQW_IMAGE_HEAD;
    if (is_of_run(type)) return last <= type && (last == AQW_IMAGE_RUN || is_of_run(last));
    return last <= type || (type == AQW_IMAGE_RUN && is_of_run(last));
}

aqw_status aqw_table_load_begin(aqw_table_loader *loader, aqw_table *table, uint64_t size_max) {
    memset(loader, 0, sizeof *loader);
    loader->table = table;
    loader->size_max = size_max;
    if (table->undo.is_open || table->head.latest_sequence) loader->status = AQW_INVALID_ARGUMENT;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        if (table->rows[kind].count) loader->status = AQW_INVALID_ARGUMENT;
    }
    return loader->status;
}

void aqw_table_load_fetch(const aqw_table_loader *loader, uint8_t type, const uint8_t *payload,
                          size_t size) {
    if (loader->status != AQW_OK || size < 16) return;
    if (type == AQW_IMAGE_TASK) aqw_index_fetch_id(loader->table, AQW_ROW_TASK, payload);
    if (type == AQW_IMAGE_RUN) aqw_index_fetch_id(loader->table, AQW_ROW_RUN, payload);
}

aqw_status aqw_table_load_item(aqw_table_loader *loader, uint8_t type, const uint8_t *payload,
                               size_t size) {
    if (loader->status != AQW_OK) return loader->status;
    if (!payload || size > AQW_IMAGE_ITEM_SIZE_MAX || !may_follow(loader->type, type)) {
        return loader->status = AQW_MALFORMED_SNAPSHOT;
    }
    cursor from = {payload, payload + size, 0};
    loader->type = type;
    if (!is_of_run(type)) loader->status = end_run(loader);
    if (loader->status == AQW_OK) loader->status = load_item(loader, type, &from);
    return loader->status;
}

aqw_status aqw_table_load_end(aqw_table_loader *loader) {
    if (loader->status == AQW_OK) loader->status = end_run(loader);
    int is_whole = loader->type && !loader->awaited_tasks &&
                   memcmp(loader->loaded, loader->expected, sizeof loader->loaded) == 0;
    if (loader->status == AQW_OK && !is_whole) loader->status = AQW_MALFORMED_SNAPSHOT;
    AQW_ASSERT(loader->status != AQW_OK || aqw_table_check(loader->table, AQW_CHECK_LOAD));
    return loader->status;
}
