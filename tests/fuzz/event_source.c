#include "event_source.h"

#include <string.h>

#include "event/rules.h"

/* Bytes of a long payload or text: what they are does not matter. */
static const uint8_t long_bytes[EVENT_LONG_SIZE];

/* One in 256 is nil, and some are in no pool's usual part. */
void take_id(input *from, uint8_t pool, uint8_t id[16]) {
    uint8_t choice = take_u8(from);
    memset(id, 0, 16);
    if (choice == 255) return;
    id[0] = pool;
    id[15] = choice % 16;
    if (choice >= 128) id[7] = choice;
}

static aqw_bytes take_text(input *from, event_memory *memory) {
    uint8_t choice = take_u8(from);
    size_t taken = 0;
    if (choice == 255) return (aqw_bytes){NULL, 0};
    if (choice == 254) return (aqw_bytes){long_bytes, take_u32(from) % EVENT_LONG_SIZE};
    if (choice >= 64) return (aqw_bytes){(const uint8_t *)"abcdefgh\xc3\xa4\xf0\x9f\x90\x9c", choice % 9u};
    /* Any bytes, also such as are no UTF-8. */
    const uint8_t *bytes = take_bytes(from, choice % 32u, &taken);
    if (taken > 0) memcpy(memory->text, bytes, taken);
    return (aqw_bytes){memory->text, (uint32_t)taken};
}

static aqw_bytes take_payload(input *from) {
    static const uint32_t sizes[] = {0, 1, 3, 40, 300, 3000, 30000, 70000, 140000};
    uint8_t choice = take_u8(from);
    size_t taken = 0;
    if (choice < 9) return (aqw_bytes){long_bytes, sizes[choice]};
    const uint8_t *bytes = take_bytes(from, choice % 64u, &taken);
    return (aqw_bytes){taken > 0 ? bytes : long_bytes, (uint32_t)taken};
}

static aqw_list take_list(input *from, uint8_t *to, size_t capacity) {
    size_t size = 0;
    uint32_t count = 0;
    uint8_t choice = take_u8(from);
    if (choice >= 128) return (aqw_list){NULL, 0, 0};
    for (; count < choice % 5u; count++) {
        static const char *const words[] = {"gpu", "", "eu-west", "\xc3\xa4", "\xff", "x"};
        const char *word = words[take_below(from, 6)];
        if (aqw_list_put(to, capacity, &size, (const uint8_t *)word, (uint32_t)strlen(word)) != AQW_OK) break;
    }
    if (choice == 127) count++;   /* a count that the entries contradict */
    return (aqw_list){to, (uint32_t)size, count};
}

void take_spec(input *from, event_memory *memory, aqw_task_spec *spec) {
    static uint8_t lists[2][64];
    uint8_t flags = take_u8(from);
    memset(spec, 0, sizeof *spec);
    spec->payload = take_payload(from);
    spec->max_attempts = 1;
    if (flags & 1) spec->content_type = take_text(from, memory);
    if (flags & 2) spec->policy = (uint8_t)take_below(from, 4);
    if (spec->policy == AQW_POLICY_REPEAT) {
        spec->repeat_count = (uint32_t)take_number(from);
        spec->repeat_interval_secs = take_number(from);
    }
    if (spec->policy == AQW_POLICY_CRON) {
        spec->cron_expression = take_text(from, memory);
        spec->max_occurrences = (uint32_t)take_number(from);
    }
    if (flags & 4) {
        spec->max_attempts = (uint32_t)take_number(from);
        spec->has_timeout = take_u8(from) & 1;
        spec->timeout_secs = take_number(from);
    }
    if (flags & 8) {
        spec->concurrency_key = take_text(from, memory);
        spec->hold_policy = (uint8_t)take_below(from, 3);
        spec->safety_level = (uint8_t)take_below(from, 4);
    }
    if (flags & 16) spec->required_capabilities = take_list(from, lists[0], sizeof lists[0]);
    spec->tags = (aqw_list){lists[1], 0, 0};
    if (flags & 32) {
        spec->tags = take_list(from, lists[1], sizeof lists[1]);
        spec->priority = (int32_t)take_u32(from);
        spec->description = take_text(from, memory);
    }
    if (flags & 64) {
        spec->has_parent = 1;
        take_id(from, 't', spec->parent_task_id);
    }
    if (flags & 128) {
        spec->has_tenant = 1;
        take_id(from, 'n', spec->tenant_id);
    }
}

static aqw_bytes part_of(const event_memory *memory, aqw_status status, size_t size) {
    return status == AQW_OK && size > 0 ? (aqw_bytes){memory->part, (uint32_t)size} : (aqw_bytes){NULL, 0};
}

static aqw_bytes take_encoded_spec(input *from, event_memory *memory) {
    aqw_task_spec spec;
    size_t size = 0;
    take_spec(from, memory, &spec);
    return part_of(memory, aqw_task_spec_encode(&spec, memory->part, sizeof memory->part, &size), size);
}

static aqw_bytes take_filter(input *from, event_memory *memory) {
    aqw_filter filter;
    size_t size = 0;
    memset(&filter, 0, sizeof filter);
    filter.kind = (uint8_t)take_below(from, 5);
    take_id(from, 't', filter.task_id);
    filter.state = (uint8_t)take_below(from, 10);
    filter.dimension = (uint8_t)take_below(from, 4);
    filter.threshold_pct = (uint8_t)take_below(from, 103);
    filter.key = take_text(from, memory);
    return part_of(memory, aqw_filter_encode(&filter, memory->part, sizeof memory->part, &size), size);
}

static aqw_bytes take_registration(input *from, event_memory *memory) {
    static uint8_t list[64];
    aqw_registration registration;
    size_t size = 0;
    uint8_t flags = take_u8(from);
    memset(&registration, 0, sizeof registration);
    registration.identity = take_text(from, memory);
    registration.capabilities = take_list(from, list, sizeof list);
    registration.heartbeat_interval_secs = take_number(from);
    if (flags & 1) registration.department = (aqw_bytes){(const uint8_t *)"research", flags % 9u};
    registration.has_tenant = flags >> 1 & 1;
    if (registration.has_tenant) take_id(from, 'n', registration.tenant_id);
    return part_of(memory, aqw_registration_encode(&registration, memory->part, sizeof memory->part, &size), size);
}

static aqw_bytes take_named(input *from, event_memory *memory, uint8_t custom_code) {
    aqw_named named = {(uint8_t)take_below(from, 7), {NULL, 0}};
    size_t size = 0;
    if (named.code == custom_code) named.custom = take_text(from, memory);
    return part_of(memory, aqw_named_encode(&named, custom_code, memory->part, sizeof memory->part, &size), size);
}

/* A run's id; *row is its row where the table is known and has it. */
static void take_run(input *from, const aqw_table *table, uint8_t id[16], uint32_t *row) {
    take_id(from, 'r', id);
    *row = table != NULL ? aqw_table_find_run(table, id) : 0;
}

static void take_state_change(input *from, const aqw_table *table, aqw_event *event) {
    uint32_t row = 0;
    take_run(from, table, event->as.run_state_changed.run_id, &row);
    uint8_t choice = take_u8(from);
    event->as.run_state_changed.previous_state = (uint8_t)(choice >> 4);
    event->as.run_state_changed.new_state = choice & 15;
    if (row == 0 || choice >> 4 >= 13) return;
    /* The run's state, and the next one that it may take. */
    uint8_t state = aqw_table_run_state(table, row);
    event->as.run_state_changed.previous_state = state;
    for (uint8_t i = 0; i <= AQW_RUN_STATE_LAST; i++) {
        uint8_t next = (uint8_t)((choice + i) % (AQW_RUN_STATE_LAST + 1));
        if (!aqw_rule_transition_is_valid(state, next)) continue;
        event->as.run_state_changed.new_state = next;
        return;
    }
}

static void take_attempt_finished(input *from, const aqw_table *table, event_memory *memory, aqw_event *event) {
    uint32_t row = 0;
    take_run(from, table, event->as.attempt_finished.run_id, &row);
    take_id(from, 'a', event->as.attempt_finished.attempt_id);
    const uint8_t *active = row != 0 ? aqw_table_run_active_attempt(table, row) : NULL;
    if (active != NULL && take_u8(from) < 240) memcpy(event->as.attempt_finished.attempt_id, active, 16);
    event->as.attempt_finished.result = (uint8_t)take_below(from, 5);
    event->as.attempt_finished.detail = take_u8(from) % 2 != 0 ? take_text(from, memory) : take_payload(from);
}

static void take_lease(input *from, const aqw_table *table, event_memory *memory, aqw_event *event) {
    uint32_t row = 0;
    aqw_lease_view lease;
    take_run(from, table, event->as.lease.run_id, &row);
    event->as.lease.expiry = take_number(from);
    event->as.lease.owner = take_text(from, memory);
    if (row == 0 || take_u8(from) >= 240 || !aqw_table_run_lease(table, row, &lease) || lease.owner.size > sizeof memory->ids) return;
    memcpy(memory->ids, lease.owner.data, lease.owner.size);
    event->as.lease.owner = (aqw_bytes){memory->ids, lease.owner.size};
    event->as.lease.expiry = lease.expiry;
    if (event->kind == AQW_LEASE_HEARTBEAT && lease.expiry < UINT64_MAX) event->as.lease.expiry++;
}

static void take_dependencies(input *from, event_memory *memory, aqw_event *event) {
    uint32_t count = take_below(from, 9);
    take_id(from, 't', event->as.dependency_declared.task_id);
    for (uint32_t i = 0; i < count; i++) take_id(from, 't', memory->ids + 16 * i);
    event->as.dependency_declared.depends_on = memory->ids;
    event->as.dependency_declared.count = count;
}

/* What to forget: what the table finds to be over, or any. */
static void take_purge(input *from, const aqw_table *table, event_memory *memory, aqw_event *event) {
    static aqw_finished finished;
    uint8_t choice = take_u8(from);
    uint32_t runs = choice & 3, tasks = choice >> 2 & 3, subscriptions = choice >> 4 & 1, actors = choice >> 5 & 1;
    for (uint32_t i = 0; i < runs; i++) take_id(from, 'r', memory->ids + 16 * i);
    for (uint32_t i = 0; i < tasks; i++) take_id(from, 't', memory->ids + 128 + 16 * i);
    if (subscriptions) take_id(from, 's', memory->ids + 256);
    if (actors) take_id(from, 'c', memory->ids + 272);
    uint8_t more = take_u8(from);
    event->as.runs_purged.ledger_count = more & 1;
    event->as.runs_purged.tombstone_count = more >> 1 & 1;
    event->as.runs_purged.keeps_ids = more >> 2 & 1;
    event->as.runs_purged.kept_until = more & 4 ? event->timestamp + (more >> 3) : 0;
    if (table != NULL && choice >= 64) {
        memset(&finished, 0, sizeof finished);
        uint64_t cutoff = choice & 128 ? UINT64_MAX : event->timestamp;
        const aqw_retention what = {.has_cutoff = 1, .cutoff = cutoff, .has_ledger_cutoff = 1, .ledger_cutoff = cutoff, .today = cutoff};
        aqw_table_find_finished(table, &what, 2u + take_u8(from), &finished);
        runs = finished.run_count < 8 ? finished.run_count : 8;
        tasks = runs < finished.run_count ? 0 : finished.task_count < 8 ? finished.task_count : 8;
        memcpy(memory->ids, finished.run_ids, (size_t)16 * runs);
        memcpy(memory->ids + 128, finished.task_ids, (size_t)16 * tasks);
        subscriptions = finished.subscription_count > 0;
        actors = finished.actor_count > 0;
        event->as.runs_purged.ledger_count = finished.ledger_count;
        event->as.runs_purged.tombstone_count = finished.tombstone_count;
        if (subscriptions) memcpy(memory->ids + 256, finished.subscription_ids, 16);
        if (actors) memcpy(memory->ids + 272, finished.actor_ids, 16);
    }
    event->as.runs_purged.run_ids = memory->ids;
    event->as.runs_purged.task_ids = memory->ids + 128;
    event->as.runs_purged.run_count = runs;
    event->as.runs_purged.task_count = tasks;
    event->as.runs_purged.subscription_ids = memory->ids + 256;
    event->as.runs_purged.actor_ids = memory->ids + 272;
    event->as.runs_purged.subscription_count = subscriptions;
    event->as.runs_purged.actor_count = actors;
}

static void take_ledger_entry(input *from, event_memory *memory, aqw_event *event) {
    take_id(from, 'l', event->as.ledger_entry_appended.entry_id);
    take_id(from, 'n', event->as.ledger_entry_appended.tenant_id);
    event->as.ledger_entry_appended.has_actor = take_u8(from) & 1;
    if (event->as.ledger_entry_appended.has_actor) take_id(from, 'c', event->as.ledger_entry_appended.actor_id);
    event->as.ledger_entry_appended.ledger_key = take_text(from, memory);
    event->as.ledger_entry_appended.payload = take_payload(from);
}

/* The kinds whose members are a run, an actor, a subscription or a task and little else. */
static void take_small(input *from, const aqw_table *table, event_memory *memory, aqw_event *event) {
    uint32_t row = 0;
    switch (event->kind) {
    case AQW_TASK_CANCELED: take_id(from, 't', event->as.task_canceled.task_id); break;
    case AQW_RUN_CANCELED:
    case AQW_RUN_RESUMED: take_run(from, table, event->as.run.run_id, &row); break;
    case AQW_RUN_SUSPENDED:
        take_run(from, table, event->as.run_suspended.run_id, &row);
        event->as.run_suspended.reason = take_text(from, memory);
        break;
    case AQW_RUN_RESCHEDULED:
        take_run(from, table, event->as.run_rescheduled.run_id, &row);
        event->as.run_rescheduled.scheduled_at = take_number(from);
        event->as.run_rescheduled.effective_priority = (int32_t)take_u8(from) - 128;
        break;
    case AQW_ATTEMPT_STARTED:
        take_run(from, table, event->as.attempt_started.run_id, &row);
        take_id(from, 'a', event->as.attempt_started.attempt_id);
        break;
    case AQW_BUDGET_ALLOCATED:
    case AQW_BUDGET_CONSUMED:
    case AQW_BUDGET_EXHAUSTED:
    case AQW_BUDGET_REPLENISHED:
        take_id(from, 't', event->as.budget.task_id);
        event->as.budget.dimension = (uint8_t)take_below(from, 4);
        event->as.budget.value = event->kind == AQW_BUDGET_EXHAUSTED ? 0 : take_number(from);
        break;
    case AQW_SUBSCRIPTION_TRIGGERED:
    case AQW_SUBSCRIPTION_CANCELED: take_id(from, 's', event->as.subscription.subscription_id); break;
    case AQW_ACTOR_DEREGISTERED:
    case AQW_ACTOR_HEARTBEAT: take_id(from, 'c', event->as.actor.actor_id); break;
    case AQW_TENANT_CREATED:
        take_id(from, 'n', event->as.tenant_created.tenant_id);
        event->as.tenant_created.name = take_text(from, memory);
        break;
    default: break;   /* the engine's events, and kinds that there are not */
    }
}

static void take_record_event(input *from, event_memory *memory, aqw_event *event) {
    switch (event->kind) {
    case AQW_SUBSCRIPTION_CREATED:
        take_id(from, 's', event->as.subscription_created.subscription_id);
        take_id(from, 't', event->as.subscription_created.task_id);
        event->as.subscription_created.filter = take_filter(from, memory);
        break;
    case AQW_ACTOR_REGISTERED:
        take_id(from, 'c', event->as.actor_registered.actor_id);
        event->as.actor_registered.registration = take_registration(from, memory);
        break;
    case AQW_ROLE_ASSIGNED:
        take_id(from, 'c', event->as.role_assigned.actor_id);
        take_id(from, 'n', event->as.role_assigned.tenant_id);
        event->as.role_assigned.role = take_named(from, memory, AQW_ROLE_CUSTOM);
        break;
    case AQW_CAPABILITY_GRANTED:
    case AQW_CAPABILITY_REVOKED:
        take_id(from, 'c', event->as.capability.actor_id);
        take_id(from, 'n', event->as.capability.tenant_id);
        event->as.capability.capability = take_named(from, memory, AQW_CAPABILITY_CUSTOM);
        break;
    default: take_ledger_entry(from, memory, event); break;
    }
}

void take_event(input *from, const aqw_table *table, event_memory *memory, uint64_t sequence, aqw_event *event) {
    memset(event, 0, sizeof *event);
    event->sequence = sequence;
    event->kind = take_u8(from) % (AQW_EVENT_KIND_LAST + 2);
    if (event->kind != AQW_RUN_CREATED) event->timestamp = take_number(from);
    switch (event->kind) {
    case AQW_TASK_CREATED:
        take_id(from, 't', event->as.task_created.task_id);
        event->as.task_created.spec = take_encoded_spec(from, memory);
        break;
    case AQW_RUN_CREATED:
        take_id(from, 'r', event->as.run_created.run_id);
        take_id(from, 't', event->as.run_created.task_id);
        event->as.run_created.scheduled_at = take_number(from);
        event->as.run_created.created_at = take_number(from);
        event->as.run_created.effective_priority = (int32_t)take_u8(from) - 128;
        break;
    case AQW_RUN_STATE_CHANGED: take_state_change(from, table, event); break;
    case AQW_ATTEMPT_FINISHED: take_attempt_finished(from, table, memory, event); break;
    case AQW_LEASE_ACQUIRED:
    case AQW_LEASE_HEARTBEAT:
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED: take_lease(from, table, memory, event); break;
    case AQW_DEPENDENCY_DECLARED: take_dependencies(from, memory, event); break;
    case AQW_RUNS_PURGED: take_purge(from, table, memory, event); break;
    case AQW_SUBSCRIPTION_CREATED:
    case AQW_ACTOR_REGISTERED:
    case AQW_ROLE_ASSIGNED:
    case AQW_CAPABILITY_GRANTED:
    case AQW_CAPABILITY_REVOKED:
    case AQW_LEDGER_ENTRY_APPENDED: take_record_event(from, memory, event); break;
    default: take_small(from, table, memory, event); break;
    }
}
