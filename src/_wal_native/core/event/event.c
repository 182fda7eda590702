/* Event payloads, read and written: a function a kind, made from the table in events.def, and below
 * it what each form of a field takes. The layouts are specified in payload.h.
 *
 * What a valid payload is, is decided by reading. A writer whose forms check all that their readers
 * check needs no second look; where a form checks less, what was encoded is read back before it is
 * handed out. So nothing is ever written that the reader would refuse. */
#include "event/cursor.h"
#include "event/payload.h"

/* For each kind the one whose fields it has: mostly itself; 0 for what is no kind. */
static const uint8_t like[256] = {
#define EVENT(code, name, member, fields) [AQW_##name] = AQW_##name,
#define AGAIN(code, name, other) [AQW_##name] = AQW_##other,
#include "event/events.def"
};

/* ---- Reading ---- */

static void read_states(cursor *from, uint8_t *previous_state, uint8_t *new_state) {
    unsigned states = read_u8(from);
    *previous_state = (uint8_t)(states >> 4);
    *new_state = (uint8_t)(states & 15);
    require(from, states >> 4 <= AQW_RUN_STATE_LAST && (states & 15) <= AQW_RUN_STATE_LAST);
}

static int has_error(uint8_t result) { return result == AQW_FAILURE || result == AQW_TIMEOUT; }

static aqw_bytes read_ending(cursor *from, uint8_t *result) {
    uint8_t code = read_code(from, AQW_FINISH_HAS_DETAIL | AQW_ATTEMPT_RESULT_LAST);
    int has_detail = (code & AQW_FINISH_HAS_DETAIL) != 0;
    *result = (uint8_t)(code & ~AQW_FINISH_HAS_DETAIL);
    require(from, *result <= AQW_ATTEMPT_RESULT_LAST && (has_detail || !has_error(*result)));
    if (has_error(*result)) return read_any_text(from);
    if (!has_detail) return (aqw_bytes){NULL, 0};
    aqw_bytes output = read_bytes(from);
    require(from, output.size > 0);
    return output;
}

static aqw_bytes read_maybe_text(cursor *from) {
    if (!read_code(from, 1)) return (aqw_bytes){NULL, 0};
    return read_any_text(from);
}

static uint8_t read_maybe_id(cursor *from, uint8_t *id) {
    uint8_t has = read_code(from, 1);
    if (has) read_id(from, id);
    return has;
}

static uint64_t read_maybe_difference(cursor *from, uint8_t *has, uint64_t base) {
    *has = read_code(from, 1);
    return *has ? read_difference(from, base) : 0;
}

/* A list of identifiers. `*in_all` counts those of the whole event, which `limit` bounds. */
static const uint8_t *read_ids(cursor *from, uint32_t *count, uint32_t *in_all, uint32_t limit) {
    *count = read_varint32(from);
    require(from, *count <= limit - *in_all && left(from) >= (size_t)*count * ID_SIZE);
    const uint8_t *ids = from->at;
    if (from->failed) return ids;
    from->at += (size_t)*count * ID_SIZE;
    *in_all += *count;
    return ids;
}

typedef enum part_form { SPEC, FILTER, REGISTRATION, ROLE, CAPABILITY } part_form;

static aqw_status check_part(part_form form, aqw_bytes bytes) {
    union {
        aqw_task_spec spec;
        aqw_filter filter;
        aqw_registration registration;
        aqw_named named;
    } part;
    switch (form) {
    case SPEC: return aqw_task_spec_decode(bytes.data, bytes.size, &part.spec);
    case FILTER: return aqw_filter_decode(bytes.data, bytes.size, &part.filter);
    case REGISTRATION: return aqw_registration_decode(bytes.data, bytes.size, &part.registration);
    case ROLE: return aqw_named_decode(bytes.data, bytes.size, AQW_ROLE_CUSTOM, &part.named);
    default: return aqw_named_decode(bytes.data, bytes.size, AQW_CAPABILITY_CUSTOM, &part.named);
    }
}

/* A nested part. It stays as it is, and is read once to know that it can be. */
static aqw_bytes read_part(cursor *from, part_form form) {
    aqw_bytes bytes = rest(from);
    require(from, check_part(form, bytes) == AQW_OK);
    from->at = from->end;
    return bytes;
}

#define READ_ID(member) read_id(from, at->member);
#define READ_REAL_ID(member) read_real_id(from, at->member);
#define READ_MAYBE_ID(has, member) at->has = read_maybe_id(from, at->member);
#define READ_IDS(member, count, limit) at->member = read_ids(from, &at->count, &ids, limit);
#define READ_TIME(member) event->member = read_varint(from);
#define READ_NO_TIME(member) event->member = 0;
#define READ_NUMBER(member) at->member = read_varint(from);
#define READ_NUMBER_AS(member, name) at->member = read_varint(from);
#define READ_NUMBER32(member) at->member = read_varint32(from);
#define READ_NUMBER32_AS(member, name) at->member = read_varint32(from);
#define READ_ZERO(member) at->member = 0;
#define READ_OFFSET(member, base) at->member = read_difference(from, base);
#define READ_MAYBE_OFFSET(has, member, base) \
    at->member = read_maybe_difference(from, &at->has, base);
#define READ_ZIGZAG(member) at->member = read_zigzag(from);
#define READ_CODE(member, last) at->member = read_code(from, last);
#define READ_STATES(first, second) read_states(from, &at->first, &at->second);
#define READ_ENDING(result, detail) at->detail = read_ending(from, &at->result);
#define READ_TEXT(member) at->member = read_any_text(from);
#define READ_FILLED_TEXT(member) at->member = read_filled_text(from);
#define READ_MAYBE_TEXT(member) at->member = read_maybe_text(from);
#define READ_BYTES(member) at->member = read_bytes(from);
#define READ_SPEC(member) at->member = read_part(from, SPEC); event->spec_is_valid = !from->failed;
#define READ_FILTER(member) at->member = read_part(from, FILTER);
#define READ_REGISTRATION(member) at->member = read_part(from, REGISTRATION);
#define READ_ROLE(member) at->member = read_part(from, ROLE);
#define READ_CAPABILITY(member) at->member = read_part(from, CAPABILITY);
#define READ_MUST(...) require(from, __VA_ARGS__);

#define FIELD(form, ...) READ_##form(__VA_ARGS__)
#define EVENT(code, name, member, fields) \
    static void read_##name(cursor *from, aqw_event *event) { \
        aqw_event_##member *at = &event->as.member; \
        uint32_t ids = 0; \
        (void)at, (void)ids; \
        fields \
    }
#include "event/events.def"

static void read_event(cursor *from, aqw_event *event) {
    switch (like[event->kind]) {
#define EVENT(code, name, member, fields) \
    case AQW_##name: read_##name(from, event); break;
#include "event/events.def"
    default: fail(from); break;
    }
}

aqw_status aqw_event_decode(uint8_t kind, uint64_t sequence, const uint8_t *payload, size_t size,
                            aqw_event *event) {
    cursor from = open_cursor(payload, size);
    event->sequence = sequence;
    event->kind = kind;
    event->spec_is_valid = 0;
    read_event(&from, event);
    return finish(&from);
}

/* ---- Writing ---- */

static void put_states(writer *out, unsigned previous_state, unsigned new_state) {
    if (previous_state > AQW_RUN_STATE_LAST || new_state > AQW_RUN_STATE_LAST) {
        refuse(out, AQW_MALFORMED_EVENT);
    }
    put_u8(out, previous_state << 4 | new_state);
}

static void put_ending(writer *out, uint8_t result, aqw_bytes detail) {
    int is_absent = detail.data == NULL;
    check_code(out, result, AQW_ATTEMPT_RESULT_LAST);
    if (has_error(result) ? is_absent : !is_absent && detail.size == 0) {
        refuse(out, AQW_MALFORMED_EVENT);
    }
    put_u8(out, result | (is_absent ? 0u : AQW_FINISH_HAS_DETAIL));
    if (is_absent) return;
    if (has_error(result)) put_text(out, detail);
    else put_bytes(out, detail);
}

static void put_maybe_text(writer *out, aqw_bytes text) {
    put_u8(out, text.data != NULL);
    if (text.data != NULL) put_text(out, text);
}

static void put_filled_text(writer *out, aqw_bytes text) {
    put_text(out, text);
    out->is_to_be_read = 1;
}

static void put_maybe_id(writer *out, int has, const uint8_t *id) {
    put_u8(out, has != 0);
    if (has) put_id(out, id);
}

static void put_maybe_difference(writer *out, int has, uint64_t value, uint64_t base) {
    put_u8(out, has != 0);
    if (has) put_difference(out, value, base);
}

static void put_zero(writer *out, uint64_t value) {
    if (value != 0) refuse(out, AQW_MALFORMED_EVENT);
}

/* A list of identifiers. `*in_all` counts those of the whole event, which `limit` bounds. */
static void put_ids(writer *out, const uint8_t *ids, uint32_t count, uint32_t *in_all,
                    uint32_t limit) {
    if (count > limit - *in_all) refuse(out, AQW_TOO_LARGE);
    else *in_all += count;
    if (count > 0 && ids == NULL) {
        refuse(out, AQW_MALFORMED_EVENT);
        return;
    }
    put_varint(out, count);
    put(out, ids, (size_t)count * ID_SIZE);
}

static void put_unread_part(writer *out, aqw_bytes part) {
    put_part(out, part);
    out->is_to_be_read = 1;
}

#define PUT_ID(member) put_id(out, at->member);
#define PUT_REAL_ID(member) put_real_id(out, at->member);
#define PUT_MAYBE_ID(has, member) put_maybe_id(out, at->has, at->member);
#define PUT_IDS(member, count, limit) put_ids(out, at->member, at->count, &ids, limit);
#define PUT_TIME(member) put_varint(out, event->member);
#define PUT_NO_TIME(member) put_zero(out, event->member);
#define PUT_NUMBER(member) put_varint(out, at->member);
#define PUT_NUMBER_AS(member, name) put_varint(out, at->member);
#define PUT_NUMBER32(member) put_varint(out, at->member);
#define PUT_NUMBER32_AS(member, name) put_varint(out, at->member);
#define PUT_ZERO(member) put_zero(out, at->member);
#define PUT_OFFSET(member, base) put_difference(out, at->member, base);
#define PUT_MAYBE_OFFSET(has, member, base) put_maybe_difference(out, at->has, at->member, base);
#define PUT_ZIGZAG(member) put_zigzag(out, at->member);
#define PUT_CODE(member, last) put_code(out, at->member, last);
#define PUT_STATES(first, second) put_states(out, at->first, at->second);
#define PUT_ENDING(result, detail) put_ending(out, at->result, at->detail);
#define PUT_TEXT(member) put_text(out, at->member);
#define PUT_FILLED_TEXT(member) put_filled_text(out, at->member);
#define PUT_MAYBE_TEXT(member) put_maybe_text(out, at->member);
#define PUT_BYTES(member) put_bytes(out, at->member);
#define PUT_SPEC(member) put_part(out, at->member); out->is_to_be_read = !event->spec_is_valid;
#define PUT_FILTER(member) put_unread_part(out, at->member);
#define PUT_REGISTRATION(member) put_unread_part(out, at->member);
#define PUT_ROLE(member) put_unread_part(out, at->member);
#define PUT_CAPABILITY(member) put_unread_part(out, at->member);
#define PUT_MUST(...) if (!(__VA_ARGS__)) refuse(out, AQW_MALFORMED_EVENT);

#define FIELD(form, ...) PUT_##form(__VA_ARGS__)
#define EVENT(code, name, member, fields) \
    static void put_##name(writer *out, const aqw_event *event) { \
        const aqw_event_##member *at = &event->as.member; \
        uint32_t ids = 0; \
        (void)at, (void)ids; \
        fields \
    }
#include "event/events.def"

static void put_event(writer *out, const aqw_event *event) {
    switch (like[event->kind]) {
#define EVENT(code, name, member, fields) \
    case AQW_##name: put_##name(out, event); break;
#include "event/events.def"
    default: refuse(out, AQW_MALFORMED_EVENT); break;
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
    if (out.status != AQW_OK || to == NULL || !out.is_to_be_read) return out.status;
    return aqw_event_decode(event->kind, event->sequence, to, out.size, &check);
}
