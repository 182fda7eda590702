/* The parts that the table keeps encoded (specs, filters, registrations, roles, capabilities), lists and texts: from any bytes, and
 * from any fields.
 *
 * Held: what decodes encodes to the same bytes; what encodes decodes, and encodes to the same bytes again; lists are walked to their
 * end inside their bytes. */
#include <string.h>

#include "event/event.h"
#include "base/limits.h"
#include "event_source.h"
#include "fuzz.h"

enum { ROOM = 1 << 18 };

static uint8_t first_room[ROOM], second_room[ROOM];

typedef union part {
    aqw_task_spec spec;
    aqw_filter filter;
    aqw_registration registration;
    aqw_named named;
} part;

enum { SPEC, FILTER, REGISTRATION, ROLE, CAPABILITY, PARTS };

static aqw_status decode(uint8_t kind, const uint8_t *from, size_t size, part *to) {
    switch (kind) {
    case SPEC: return aqw_task_spec_decode(from, size, &to->spec);
    case FILTER: return aqw_filter_decode(from, size, &to->filter);
    case REGISTRATION: return aqw_registration_decode(from, size, &to->registration);
    default: return aqw_named_decode(from, size, kind == ROLE ? AQW_ROLE_CUSTOM : AQW_CAPABILITY_CUSTOM, &to->named);
    }
}

static aqw_status encode(uint8_t kind, const part *from, uint8_t *to, size_t capacity, size_t *size) {
    switch (kind) {
    case SPEC: return aqw_task_spec_encode(&from->spec, to, capacity, size);
    case FILTER: return aqw_filter_encode(&from->filter, to, capacity, size);
    case REGISTRATION: return aqw_registration_encode(&from->registration, to, capacity, size);
    default: return aqw_named_encode(&from->named, kind == ROLE ? AQW_ROLE_CUSTOM : AQW_CAPABILITY_CUSTOM, to, capacity, size);
    }
}

static void check_list(const aqw_list *list) {
    uint32_t offset = 0, count = 0;
    aqw_bytes entry;
    aqw_status status;
    while ((status = aqw_list_next(list, &offset, &entry)) == AQW_OK) {
        CHECK(entry.data >= list->data && entry.data + entry.size <= list->data + list->size);
        CHECK(aqw_utf8_is_valid(entry.data, entry.size));
        count++;
    }
    CHECK(status == AQW_END && count == list->count && offset == list->size);
}

static void check_lists(uint8_t kind, const part *decoded) {
    if (kind == REGISTRATION) check_list(&decoded->registration.capabilities);
    if (kind != SPEC) return;
    check_list(&decoded->spec.tags);
    if (decoded->spec.required_capabilities.data != NULL) check_list(&decoded->spec.required_capabilities);
}

static void check_bytes(uint8_t kind, const uint8_t *data, size_t size) {
    part decoded;
    size_t used = 0, counted = 0;
    exact from = copy_exactly(data, size, 0);
    memset(&decoded, 0, sizeof decoded);
    aqw_status status = decode(kind, from.data, size, &decoded);
    CHECK(status == AQW_OK || status == AQW_MALFORMED_EVENT);
    if (status == AQW_OK) {
        check_lists(kind, &decoded);
        CHECK(encode(kind, &decoded, NULL, 0, &counted) == AQW_OK && counted == size);
        CHECK(encode(kind, &decoded, first_room, sizeof first_room, &used) == AQW_OK && used == size);
        CHECK(memcmp(first_room, data, size) == 0);
        CHECK(size == 0 || encode(kind, &decoded, first_room, size - 1, &used) == AQW_TOO_LARGE);
    }
    free_exactly(&from);
}

static void check_fields(input *in) {
    event_memory memory;
    part made, read;
    size_t first = 0, second = 0;
    memset(&made, 0, sizeof made);
    take_spec(in, &memory, &made.spec);
    aqw_status status = encode(SPEC, &made, first_room, sizeof first_room, &first);
    CHECK(status == AQW_OK || status == AQW_MALFORMED_EVENT || status == AQW_TOO_LARGE);
    if (status != AQW_OK) return;
    CHECK(decode(SPEC, first_room, first, &read) == AQW_OK);
    CHECK(encode(SPEC, &read, second_room, sizeof second_room, &second) == AQW_OK);
    CHECK(first == second && memcmp(first_room, second_room, first) == 0);
    CHECK(read.spec.max_attempts == made.spec.max_attempts && read.spec.priority == made.spec.priority);
}

/* An event of any fields: refused, or read back and the same. */
static void check_event(input *in) {
    event_memory memory;
    aqw_event made, read;
    size_t first = 0, second = 0, counted = 0;
    take_event(in, NULL, &memory, 9, &made);
    aqw_status status = aqw_event_encode(&made, first_room, sizeof first_room, &first);
    CHECK(status == AQW_OK || status == AQW_MALFORMED_EVENT || status == AQW_TOO_LARGE);
    if (status != AQW_OK) return;
    CHECK(aqw_event_encode(&made, NULL, 0, &counted) == AQW_OK && counted == first);
    CHECK(aqw_event_decode(made.kind, made.sequence, first_room, first, &read) == AQW_OK && read.timestamp == made.timestamp);
    CHECK(aqw_event_encode(&read, second_room, sizeof second_room, &second) == AQW_OK);
    CHECK(first == second && memcmp(first_room, second_room, first) == 0);
}

/* A list whose bytes and count are anything. */
static void check_any_list(const uint8_t *data, size_t size, uint32_t count) {
    aqw_bytes entry;
    uint32_t offset = 0, entries = 0;
    exact copy = copy_exactly(data, size, 0);
    aqw_list list = {copy.data, (uint32_t)size, count};
    while (aqw_list_next(&list, &offset, &entry) == AQW_OK) {
        CHECK(offset <= size && entry.size <= size);
        entries++;
    }
    CHECK(entries <= size);
    (void)aqw_utf8_is_valid(copy.data, size);
    free_exactly(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    uint8_t choice = take_u8(&in) % (PARTS + 3);
    if (choice < PARTS) check_bytes(choice, in.data, in.size);
    else if (choice == PARTS) check_fields(&in);
    else if (choice == PARTS + 1) check_event(&in);
    else if (in.size > 0) check_any_list(in.data + 1, in.size - 1, in.data[0]);
    return 0;
}
