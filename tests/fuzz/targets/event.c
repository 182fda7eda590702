/* Payloads of every kind, from any bytes.
 *
 * Held: what decodes encodes to the same bytes, and into no smaller room; its nested parts decode; the table takes it or refuses it
 * without a trace, and takes the same from the encoded bytes. */
#include <string.h>

#include "event/event.h"
#include "base/limits.h"
#include "fuzz.h"
#include "table_digest.h"

static aqw_bytes part_of(const aqw_event *event) {
    switch (event->kind) {
    case AQW_SUBSCRIPTION_CREATED: return event->as.subscription_created.filter;
    case AQW_ACTOR_REGISTERED: return event->as.actor_registered.registration;
    case AQW_ROLE_ASSIGNED: return event->as.role_assigned.role;
    case AQW_CAPABILITY_GRANTED:
    case AQW_CAPABILITY_REVOKED: return event->as.capability.capability;
    case AQW_TASK_CREATED: return event->as.task_created.spec;
    default: return (aqw_bytes){NULL, 0};
    }
}

static void check_part(const aqw_event *event) {
    aqw_bytes part = part_of(event);
    aqw_task_spec spec;
    aqw_filter filter;
    aqw_registration registration;
    aqw_named named;
    switch (event->kind) {
    case AQW_TASK_CREATED: CHECK(aqw_task_spec_decode(part.data, part.size, &spec) == AQW_OK); break;
    case AQW_SUBSCRIPTION_CREATED: CHECK(aqw_filter_decode(part.data, part.size, &filter) == AQW_OK); break;
    case AQW_ACTOR_REGISTERED: CHECK(aqw_registration_decode(part.data, part.size, &registration) == AQW_OK); break;
    case AQW_ROLE_ASSIGNED: CHECK(aqw_named_decode(part.data, part.size, AQW_ROLE_CUSTOM, &named) == AQW_OK); break;
    case AQW_CAPABILITY_GRANTED:
    case AQW_CAPABILITY_REVOKED: CHECK(aqw_named_decode(part.data, part.size, AQW_CAPABILITY_CUSTOM, &named) == AQW_OK); break;
    default: break;
    }
}

static void check_encoding(const aqw_event *event, const uint8_t *payload, size_t size) {
    size_t used = 0;
    exact room = copy_exactly(payload, size, 0);
    if (size > 0) memset(room.data, 0xA5, size);
    CHECK(aqw_event_payload_size(event) == size);
    CHECK(aqw_event_encode(event, NULL, 0, &used) == AQW_OK && used == size);
    CHECK(aqw_event_encode(event, room.data, size, &used) == AQW_OK && used == size);
    CHECK(memcmp(room.data, payload, size) == 0);
    for (size_t less = 1; less <= size && less <= 3; less++) {
        exact smaller = copy_exactly(payload, size - less, 0);
        CHECK(aqw_event_encode(event, smaller.data, size - less, &used) == AQW_TOO_LARGE);
        free_exactly(&smaller);
    }
    free_exactly(&room);
}

static void check_apply(const aqw_event *event) {
    static const uint8_t seed[16] = {7};
    aqw_table *table = aqw_table_new(NULL, seed);
    CHECK(table != NULL);
    uint64_t before = table_digest(table);
    CHECK(aqw_table_begin(table) == AQW_OK);
    aqw_status status = aqw_table_apply(table, event);
    CHECK(status == AQW_OK || status >= AQW_REFUSED_SEQUENCE);
    uint64_t after = table_digest(table);
    CHECK((status == AQW_OK) == (before != after));
    aqw_table_rollback(table);
    CHECK(table_digest(table) == before);
    CHECK(aqw_table_apply(table, event) == status && table_digest(table) == after);
    aqw_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    aqw_event event, again;
    if (size < 1) return 0;
    exact payload = copy_exactly(data + 1, size - 1, 0);
    aqw_status status = aqw_event_decode(data[0], 5, payload.data, payload.size, &event);
    CHECK(status == AQW_OK || status == AQW_MALFORMED_EVENT);
    if (status == AQW_OK) {
        CHECK(event.kind == data[0] && event.sequence == 5);
        check_part(&event);
        check_encoding(&event, payload.data, payload.size);
        CHECK(payload.size == 0 || aqw_event_decode(data[0], 5, payload.data, payload.size - 1, &again) == AQW_MALFORMED_EVENT);
        check_apply(&event);
    }
    free_exactly(&payload);
    return 0;
}
