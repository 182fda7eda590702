/* Event payloads, read and written, one case a kind. The layouts are specified in payload.h.
 *
 * What a valid payload is, is decided by reading: whatever was encoded is read back before it is handed out, so nothing is ever written
 * that the reader would refuse. But for the kinds that are written all day, whose writers check as much themselves (writer_decides);
 * tests hold them to it. */
#include "event/cursor.h"
#include "event/payload.h"

/* ---- Reading ---- */

static void read_run_created(cursor *from, aqw_event *event) {
    read_real_id(from, event->as.run_created.run_id);
    read_real_id(from, event->as.run_created.task_id);
    event->timestamp = 0;
    event->as.run_created.created_at = read_varint(from);
    event->as.run_created.scheduled_at = read_difference(from, event->as.run_created.created_at);
    event->as.run_created.effective_priority = read_zigzag(from);
}

static void read_run_state_changed(cursor *from, aqw_event *event) {
    read_id(from, event->as.run_state_changed.run_id);
    event->timestamp = read_varint(from);
    unsigned states = read_u8(from);
    event->as.run_state_changed.previous_state = (uint8_t)(states >> 4);
    event->as.run_state_changed.new_state = (uint8_t)(states & 15);
    require(from, states >> 4 <= AQW_RUN_STATE_LAST && (states & 15) <= AQW_RUN_STATE_LAST);
}

static void read_attempt_finished(cursor *from, aqw_event *event) {
    read_id(from, event->as.attempt_finished.run_id);
    read_id(from, event->as.attempt_finished.attempt_id);
    event->timestamp = read_varint(from);
    uint8_t code = read_code(from, AQW_FINISH_HAS_DETAIL | AQW_ATTEMPT_RESULT_LAST);
    uint8_t result = (uint8_t)(code & ~AQW_FINISH_HAS_DETAIL);
    int has_detail = (code & AQW_FINISH_HAS_DETAIL) != 0;
    int has_error = result == AQW_FAILURE || result == AQW_TIMEOUT;
    require(from, result <= AQW_ATTEMPT_RESULT_LAST && (has_detail || !has_error));
    event->as.attempt_finished.result = result;
    event->as.attempt_finished.detail = (aqw_bytes){NULL, 0};
    if (has_error) {
        event->as.attempt_finished.detail = read_any_text(from);
    } else if (has_detail) {
        event->as.attempt_finished.detail = read_bytes(from);
        require(from, event->as.attempt_finished.detail.size > 0);
    }
}

static void read_lease(cursor *from, aqw_event *event) {
    read_id(from, event->as.lease.run_id);
    event->timestamp = read_varint(from);
    event->as.lease.expiry = read_difference(from, event->timestamp);
    event->as.lease.owner = read_any_text(from);
}

static void read_dependency_declared(cursor *from, aqw_event *event) {
    read_id(from, event->as.dependency_declared.task_id);
    event->timestamp = read_varint(from);
    uint32_t count = read_varint32(from);
    require(from, count <= AQW_LIST_COUNT_MAX && left(from) == (size_t)count * ID_SIZE);
    event->as.dependency_declared.count = count;
    event->as.dependency_declared.depends_on = from->at;
    from->at = from->end;
}

static void read_run_suspended(cursor *from, aqw_event *event) {
    read_id(from, event->as.run_suspended.run_id);
    event->timestamp = read_varint(from);
    event->as.run_suspended.reason = (aqw_bytes){NULL, 0};
    if (read_code(from, AQW_SUSPEND_HAS_REASON)) event->as.run_suspended.reason = read_any_text(from);
}

static void read_budget(cursor *from, aqw_event *event) {
    read_id(from, event->as.budget.task_id);
    event->timestamp = read_varint(from);
    event->as.budget.dimension = read_code(from, AQW_BUDGET_DIMENSION_LAST);
    event->as.budget.value = event->kind == AQW_BUDGET_EXHAUSTED ? 0 : read_varint(from);
}

static void read_ledger_entry_appended(cursor *from, aqw_event *event) {
    read_id(from, event->as.ledger_entry_appended.entry_id);
    read_id(from, event->as.ledger_entry_appended.tenant_id);
    event->timestamp = read_varint(from);
    event->as.ledger_entry_appended.has_actor = read_code(from, AQW_LEDGER_HAS_ACTOR);
    if (event->as.ledger_entry_appended.has_actor) read_id(from, event->as.ledger_entry_appended.actor_id);
    event->as.ledger_entry_appended.ledger_key = read_filled_text(from);
    event->as.ledger_entry_appended.payload = read_bytes(from);
}

/* A list of identifiers, of at most `*count_max`, from which their number is taken. */
static const uint8_t *read_ids(cursor *from, uint32_t *count, uint32_t *count_max) {
    *count = read_varint32(from);
    require(from, *count <= *count_max && left(from) >= (size_t)*count * ID_SIZE);
    const uint8_t *ids = from->at;
    if (from->failed) return ids;
    from->at += (size_t)*count * ID_SIZE;
    *count_max -= *count;
    return ids;
}

static void read_runs_purged(cursor *from, aqw_event *event) {
    uint32_t left = AQW_PURGE_COUNT_MAX;
    event->timestamp = read_varint(from);
    event->as.runs_purged.run_ids = read_ids(from, &event->as.runs_purged.run_count, &left);
    event->as.runs_purged.task_ids = read_ids(from, &event->as.runs_purged.task_count, &left);
    event->as.runs_purged.subscription_ids = read_ids(from, &event->as.runs_purged.subscription_count, &left);
    event->as.runs_purged.actor_ids = read_ids(from, &event->as.runs_purged.actor_count, &left);
    event->as.runs_purged.ledger_count = read_varint32(from);
    event->as.runs_purged.tombstone_count = read_varint32(from);
    event->as.runs_purged.keeps_ids = read_code(from, AQW_PURGE_KEEPS_IDS);
    event->as.runs_purged.kept_until = event->as.runs_purged.keeps_ids ? read_difference(from, event->timestamp) : 0;
    require(from, !event->as.runs_purged.keeps_ids || event->as.runs_purged.task_count > 0);
    require(from, left < AQW_PURGE_COUNT_MAX || event->as.runs_purged.ledger_count > 0 || event->as.runs_purged.tombstone_count > 0);
}

/* The kinds that end with a nested part: it stays as it is, and is read once to know that it can be. */
static void read_event_with_part(cursor *from, aqw_event *event) {
    union { aqw_task_spec spec; aqw_filter filter; aqw_registration registration; aqw_named named; } part;
    aqw_bytes bytes;
    aqw_status status;
    switch (event->kind) {
    case AQW_TASK_CREATED:
        read_real_id(from, event->as.task_created.task_id);
        event->timestamp = read_varint(from);
        event->as.task_created.spec = bytes = rest(from);
        status = aqw_task_spec_decode(bytes.data, bytes.size, &part.spec);
        event->spec_is_valid = status == AQW_OK;
        break;
    case AQW_SUBSCRIPTION_CREATED:
        read_id(from, event->as.subscription_created.subscription_id);
        read_id(from, event->as.subscription_created.task_id);
        event->timestamp = read_varint(from);
        event->as.subscription_created.filter = bytes = rest(from);
        status = aqw_filter_decode(bytes.data, bytes.size, &part.filter);
        break;
    case AQW_ACTOR_REGISTERED:
        read_id(from, event->as.actor_registered.actor_id);
        event->timestamp = read_varint(from);
        event->as.actor_registered.registration = bytes = rest(from);
        status = aqw_registration_decode(bytes.data, bytes.size, &part.registration);
        break;
    case AQW_ROLE_ASSIGNED:
        read_id(from, event->as.role_assigned.actor_id);
        read_id(from, event->as.role_assigned.tenant_id);
        event->timestamp = read_varint(from);
        event->as.role_assigned.role = bytes = rest(from);
        status = aqw_named_decode(bytes.data, bytes.size, AQW_ROLE_CUSTOM, &part.named);
        break;
    default: /* capability_granted, capability_revoked */
        read_id(from, event->as.capability.actor_id);
        read_id(from, event->as.capability.tenant_id);
        event->timestamp = read_varint(from);
        event->as.capability.capability = bytes = rest(from);
        status = aqw_named_decode(bytes.data, bytes.size, AQW_CAPABILITY_CUSTOM, &part.named);
        break;
    }
    require(from, !from->failed && status == AQW_OK);
    from->at = from->end;
}

static void read_event(cursor *from, aqw_event *event) {
    switch (event->kind) {
    case AQW_RUN_CREATED: read_run_created(from, event); break;
    case AQW_RUN_STATE_CHANGED: read_run_state_changed(from, event); break;
    case AQW_ATTEMPT_STARTED:
        read_id(from, event->as.attempt_started.run_id);
        read_id(from, event->as.attempt_started.attempt_id);
        event->timestamp = read_varint(from);
        break;
    case AQW_ATTEMPT_FINISHED: read_attempt_finished(from, event); break;
    case AQW_LEASE_ACQUIRED:
    case AQW_LEASE_HEARTBEAT:
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED: read_lease(from, event); break;
    case AQW_ENGINE_PAUSED:
    case AQW_ENGINE_RESUMED: event->timestamp = read_varint(from); break;
    case AQW_DEPENDENCY_DECLARED: read_dependency_declared(from, event); break;
    case AQW_RUN_SUSPENDED: read_run_suspended(from, event); break;
    case AQW_BUDGET_ALLOCATED:
    case AQW_BUDGET_CONSUMED:
    case AQW_BUDGET_EXHAUSTED:
    case AQW_BUDGET_REPLENISHED: read_budget(from, event); break;
    case AQW_TENANT_CREATED:
        read_id(from, event->as.tenant_created.tenant_id);
        event->timestamp = read_varint(from);
        event->as.tenant_created.name = read_filled_text(from);
        break;
    case AQW_LEDGER_ENTRY_APPENDED: read_ledger_entry_appended(from, event); break;
    case AQW_RUNS_PURGED: read_runs_purged(from, event); break;
    case AQW_TASK_CANCELED:
        read_id(from, event->as.task_canceled.task_id);
        event->timestamp = read_varint(from);
        break;
    case AQW_RUN_CANCELED:
    case AQW_RUN_RESUMED:
        read_id(from, event->as.run.run_id);
        event->timestamp = read_varint(from);
        break;
    case AQW_SUBSCRIPTION_TRIGGERED:
    case AQW_SUBSCRIPTION_CANCELED:
        read_id(from, event->as.subscription.subscription_id);
        event->timestamp = read_varint(from);
        break;
    case AQW_ACTOR_DEREGISTERED:
    case AQW_ACTOR_HEARTBEAT:
        read_id(from, event->as.actor.actor_id);
        event->timestamp = read_varint(from);
        break;
    case AQW_TASK_CREATED:
    case AQW_SUBSCRIPTION_CREATED:
    case AQW_ACTOR_REGISTERED:
    case AQW_ROLE_ASSIGNED:
    case AQW_CAPABILITY_GRANTED:
    case AQW_CAPABILITY_REVOKED: read_event_with_part(from, event); break;
    default: fail(from); break;
    }
}

aqw_status aqw_event_decode(uint8_t kind, uint64_t sequence, const uint8_t *payload, size_t size, aqw_event *event) {
    cursor from = open_cursor(payload, size);
    event->sequence = sequence;
    event->kind = kind;
    event->spec_is_valid = 0;
    read_event(&from, event);
    return finish(&from);
}

/* ---- Writing ---- */

static void put_id_and_time(writer *out, const uint8_t *id, const aqw_event *event) {
    put_id(out, id);
    put_varint(out, event->timestamp);
}

static void put_ids_and_time(writer *out, const uint8_t *first, const uint8_t *second, const aqw_event *event) {
    put_id(out, first);
    put_id_and_time(out, second, event);
}

static void put_run_created(writer *out, const aqw_event *event) {
    if (event->timestamp != 0) refuse(out, AQW_MALFORMED_EVENT);
    put_real_id(out, event->as.run_created.run_id);
    put_real_id(out, event->as.run_created.task_id);
    put_varint(out, event->as.run_created.created_at);
    put_difference(out, event->as.run_created.scheduled_at, event->as.run_created.created_at);
    put_zigzag(out, event->as.run_created.effective_priority);
}

static void put_run_state_changed(writer *out, const aqw_event *event) {
    unsigned previous = event->as.run_state_changed.previous_state, new_state = event->as.run_state_changed.new_state;
    if (previous > AQW_RUN_STATE_LAST || new_state > AQW_RUN_STATE_LAST) refuse(out, AQW_MALFORMED_EVENT);
    put_id_and_time(out, event->as.run_state_changed.run_id, event);
    put_u8(out, previous << 4 | new_state);
}

static void put_attempt_finished(writer *out, const aqw_event *event) {
    aqw_bytes detail = event->as.attempt_finished.detail;
    uint8_t result = event->as.attempt_finished.result;
    int has_error = result == AQW_FAILURE || result == AQW_TIMEOUT;
    check_code(out, result, AQW_ATTEMPT_RESULT_LAST);
    if (has_error ? detail.data == NULL : detail.data != NULL && detail.size == 0) refuse(out, AQW_MALFORMED_EVENT);
    put_ids_and_time(out, event->as.attempt_finished.run_id, event->as.attempt_finished.attempt_id, event);
    put_u8(out, result | (detail.data != NULL ? AQW_FINISH_HAS_DETAIL : 0u));
    if (detail.data == NULL) return;
    if (has_error) put_text(out, detail);
    else put_bytes(out, detail);
}

static void put_dependency_declared(writer *out, const aqw_event *event) {
    uint32_t count = event->as.dependency_declared.count;
    if (count > AQW_LIST_COUNT_MAX) refuse(out, AQW_TOO_LARGE);
    if (count > 0 && event->as.dependency_declared.depends_on == NULL) {
        refuse(out, AQW_MALFORMED_EVENT);
        return;
    }
    put_id_and_time(out, event->as.dependency_declared.task_id, event);
    put_varint(out, count);
    put(out, event->as.dependency_declared.depends_on, (size_t)count * ID_SIZE);
}

static void put_run_suspended(writer *out, const aqw_event *event) {
    int has_reason = event->as.run_suspended.reason.data != NULL;
    put_id_and_time(out, event->as.run_suspended.run_id, event);
    put_u8(out, has_reason ? AQW_SUSPEND_HAS_REASON : 0);
    if (has_reason) put_text(out, event->as.run_suspended.reason);
}

static void put_budget(writer *out, const aqw_event *event) {
    put_id_and_time(out, event->as.budget.task_id, event);
    put_code(out, event->as.budget.dimension, AQW_BUDGET_DIMENSION_LAST);
    if (event->kind != AQW_BUDGET_EXHAUSTED) put_varint(out, event->as.budget.value);
    else if (event->as.budget.value != 0) refuse(out, AQW_MALFORMED_EVENT);
}

static void put_ledger_entry_appended(writer *out, const aqw_event *event) {
    int has_actor = event->as.ledger_entry_appended.has_actor;
    put_ids_and_time(out, event->as.ledger_entry_appended.entry_id, event->as.ledger_entry_appended.tenant_id, event);
    put_u8(out, has_actor ? AQW_LEDGER_HAS_ACTOR : 0);
    if (has_actor) put_id(out, event->as.ledger_entry_appended.actor_id);
    put_text(out, event->as.ledger_entry_appended.ledger_key);
    put_bytes(out, event->as.ledger_entry_appended.payload);
}

/* Takes from `*count_max` what is put. */
static void put_ids(writer *out, const uint8_t *ids, uint32_t count, uint32_t *count_max) {
    if (count > *count_max) refuse(out, AQW_TOO_LARGE);
    else if (count > 0 && !ids) refuse(out, AQW_MALFORMED_EVENT);
    if (out->status != AQW_OK) return;
    *count_max -= count;
    put_varint(out, count);
    put(out, ids, (size_t)count * ID_SIZE);
}

static void put_runs_purged(writer *out, const aqw_event *event) {
    uint32_t left = AQW_PURGE_COUNT_MAX;
    put_varint(out, event->timestamp);
    put_ids(out, event->as.runs_purged.run_ids, event->as.runs_purged.run_count, &left);
    put_ids(out, event->as.runs_purged.task_ids, event->as.runs_purged.task_count, &left);
    put_ids(out, event->as.runs_purged.subscription_ids, event->as.runs_purged.subscription_count, &left);
    put_ids(out, event->as.runs_purged.actor_ids, event->as.runs_purged.actor_count, &left);
    put_varint(out, event->as.runs_purged.ledger_count);
    put_varint(out, event->as.runs_purged.tombstone_count);
    put_u8(out, event->as.runs_purged.keeps_ids ? AQW_PURGE_KEEPS_IDS : 0);
    if (event->as.runs_purged.keeps_ids) put_difference(out, event->as.runs_purged.kept_until, event->timestamp);
    int is_empty = left == AQW_PURGE_COUNT_MAX && !event->as.runs_purged.ledger_count && !event->as.runs_purged.tombstone_count;
    if (is_empty) refuse(out, AQW_MALFORMED_EVENT);
}

static void put_event(writer *out, const aqw_event *event) {
    switch (event->kind) {
    case AQW_TASK_CREATED:
        put_real_id(out, event->as.task_created.task_id);
        put_varint(out, event->timestamp);
        put_part(out, event->as.task_created.spec);
        break;
    case AQW_RUN_CREATED: put_run_created(out, event); break;
    case AQW_RUN_STATE_CHANGED: put_run_state_changed(out, event); break;
    case AQW_ATTEMPT_STARTED:
        put_ids_and_time(out, event->as.attempt_started.run_id, event->as.attempt_started.attempt_id, event);
        break;
    case AQW_ATTEMPT_FINISHED: put_attempt_finished(out, event); break;
    case AQW_TASK_CANCELED: put_id_and_time(out, event->as.task_canceled.task_id, event); break;
    case AQW_RUN_CANCELED:
    case AQW_RUN_RESUMED: put_id_and_time(out, event->as.run.run_id, event); break;
    case AQW_LEASE_ACQUIRED:
    case AQW_LEASE_HEARTBEAT:
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED:
        put_id_and_time(out, event->as.lease.run_id, event);
        put_difference(out, event->as.lease.expiry, event->timestamp);
        put_text(out, event->as.lease.owner);
        break;
    case AQW_ENGINE_PAUSED:
    case AQW_ENGINE_RESUMED: put_varint(out, event->timestamp); break;
    case AQW_DEPENDENCY_DECLARED: put_dependency_declared(out, event); break;
    case AQW_RUN_SUSPENDED: put_run_suspended(out, event); break;
    case AQW_BUDGET_ALLOCATED:
    case AQW_BUDGET_CONSUMED:
    case AQW_BUDGET_EXHAUSTED:
    case AQW_BUDGET_REPLENISHED: put_budget(out, event); break;
    case AQW_SUBSCRIPTION_CREATED:
        put_ids_and_time(out, event->as.subscription_created.subscription_id, event->as.subscription_created.task_id,
                         event);
        put_part(out, event->as.subscription_created.filter);
        break;
    case AQW_SUBSCRIPTION_TRIGGERED:
    case AQW_SUBSCRIPTION_CANCELED: put_id_and_time(out, event->as.subscription.subscription_id, event); break;
    case AQW_ACTOR_REGISTERED:
        put_id_and_time(out, event->as.actor_registered.actor_id, event);
        put_part(out, event->as.actor_registered.registration);
        break;
    case AQW_ACTOR_DEREGISTERED:
    case AQW_ACTOR_HEARTBEAT: put_id_and_time(out, event->as.actor.actor_id, event); break;
    case AQW_TENANT_CREATED:
        put_id_and_time(out, event->as.tenant_created.tenant_id, event);
        put_text(out, event->as.tenant_created.name);
        break;
    case AQW_ROLE_ASSIGNED:
        put_ids_and_time(out, event->as.role_assigned.actor_id, event->as.role_assigned.tenant_id, event);
        put_part(out, event->as.role_assigned.role);
        break;
    case AQW_CAPABILITY_GRANTED:
    case AQW_CAPABILITY_REVOKED:
        put_ids_and_time(out, event->as.capability.actor_id, event->as.capability.tenant_id, event);
        put_part(out, event->as.capability.capability);
        break;
    case AQW_LEDGER_ENTRY_APPENDED: put_ledger_entry_appended(out, event); break;
    case AQW_RUNS_PURGED: put_runs_purged(out, event); break;
    default: refuse(out, AQW_MALFORMED_EVENT); break;
    }
}

/* 1 for the events of which a writer without a failure has written what the reader takes. */
static int writer_decides(const aqw_event *event) {
    switch (event->kind) {
    case AQW_TASK_CREATED: return event->spec_is_valid;
    case AQW_RUN_CREATED:
    case AQW_RUN_STATE_CHANGED:
    case AQW_ATTEMPT_STARTED:
    case AQW_ATTEMPT_FINISHED:
    case AQW_LEASE_ACQUIRED:
    case AQW_LEASE_HEARTBEAT:
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED: return 1;
    default: return 0;
    }
}

size_t aqw_event_payload_size(const aqw_event *event) {
    writer out = open_writer(NULL, 0);
    put_event(&out, event);
    return out.status == AQW_OK ? out.size : 0;
}

aqw_status aqw_event_encode(const aqw_event *event, uint8_t *to, size_t capacity, size_t *size) {
    writer out = open_writer(to, capacity);
    aqw_event check;
    put_event(&out, event);
    *size = out.size;
    if (out.status != AQW_OK || to == NULL || writer_decides(event)) return out.status;
    return aqw_event_decode(event->kind, event->sequence, to, out.size, &check);
}
