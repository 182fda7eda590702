/* The nested parts of payloads: texts, lists, task specs, filters, registrations, roles and
 * capabilities. Their layouts are specified in payload.h.
 *
 * What a valid part is, is decided by reading alone: whatever was encoded is read back before it is
 * handed out, so nothing is ever written that the reader would refuse. */
#include "event/cursor.h"
#include "event/payload.h"

/* ---- UTF-8 ---- */

/* The size of the character at `at`, which has `left` bytes; 0 where it is not valid. */
static size_t utf8_character_size(const uint8_t *at, size_t left) {
    uint8_t first = at[0], low = 0x80, high = 0xBF;
    size_t size;
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) size = 2;
    else if (first >= 0xE0 && first <= 0xEF) size = 3;
    else if (first >= 0xF0 && first <= 0xF4) size = 4;
    else return 0;
    if (left < size) return 0;
    /* The second byte's range excludes overlong forms, surrogates and what is past U+10FFFF. */
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
    if (at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
    }
    return size;
}

int aqw_utf8_is_valid(const uint8_t *data, size_t size) {
    size_t at = 0;
    while (at < size) {
        uint64_t word;
        if (size - at >= sizeof word) {
            memcpy(&word, data + at, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof word;
                continue;
            }
        }
        size_t step = utf8_character_size(data + at, size - at);
        if (step == 0) return 0;
        at += step;
    }
    return 1;
}

/* ---- Lists ---- */

aqw_status aqw_list_next(const aqw_list *list, uint32_t *offset, aqw_bytes *entry) {
    if (list->data == NULL || *offset >= list->size) return AQW_END;
    cursor from = {list->data + *offset, list->data + list->size, 0};
    *entry = read_bytes(&from);
    if (from.failed) return AQW_MALFORMED_EVENT;
    *offset = (uint32_t)(from.at - list->data);
    return AQW_OK;
}

aqw_status aqw_list_put(uint8_t *to, size_t capacity, size_t *size, const uint8_t *entry,
                        uint32_t entry_size) {
    if (entry_size > AQW_TEXT_SIZE_MAX || *size > capacity) return AQW_TOO_LARGE;
    writer out = open_writer(to + *size, capacity - *size);
    put_varint(&out, entry_size);
    put(&out, entry, entry_size);
    if (out.status == AQW_OK) *size += out.size;
    return out.status;
}

/* ---- Task specs ---- */

static void read_run_policy(cursor *from, aqw_task_spec *spec) {
    if (spec->policy == AQW_POLICY_REPEAT) {
        spec->repeat_count = read_positive32(from);
        spec->repeat_interval_secs = read_positive(from);
    } else if (spec->policy == AQW_POLICY_CRON) {
        spec->cron_expression = read_filled_text(from);
        spec->max_occurrences = read_varint32(from);
    }
}

static void read_task_spec(cursor *from, aqw_task_spec *spec) {
    memset(spec, 0, sizeof *spec);
    unsigned has = read_u8(from);
    unsigned codes = read_code(from, AQW_SPEC_CODES_ALL);
    spec->policy = (uint8_t)(codes >> AQW_SPEC_POLICY_SHIFT & 3);
    spec->hold_policy = (uint8_t)(codes >> AQW_SPEC_HOLD_SHIFT & 1);
    spec->safety_level = (uint8_t)(codes >> AQW_SPEC_SAFETY_SHIFT & 3);
    require(from, spec->policy <= AQW_POLICY_LAST && spec->safety_level <= AQW_SAFETY_LEVEL_LAST);
    spec->has_timeout = (has & AQW_SPEC_HAS_TIMEOUT) != 0;
    spec->has_parent = (codes & AQW_SPEC_HAS_PARENT) != 0;
    spec->has_tenant = (codes & AQW_SPEC_HAS_TENANT) != 0;
    spec->max_attempts = 1;

    spec->payload = read_bytes(from);
    if (has & AQW_SPEC_HAS_CONTENT_TYPE) spec->content_type = read_any_text(from);
    read_run_policy(from, spec);
    if (has & AQW_SPEC_HAS_MAX_ATTEMPTS) {
        spec->max_attempts = read_varint32(from);
        require(from, spec->max_attempts > 1);
    }
    if (spec->has_timeout) spec->timeout_secs = read_positive(from);
    if (has & AQW_SPEC_HAS_CONCURRENCY_KEY) spec->concurrency_key = read_filled_text(from);
    if (has & AQW_SPEC_HAS_REQUIRED_CAPABILITIES) spec->required_capabilities = read_list(from, 1);
    spec->tags.data = from->at;
    if (has & AQW_SPEC_HAS_TAGS) spec->tags = read_list(from, 0);
    if (has & AQW_SPEC_HAS_PRIORITY) {
        spec->priority = read_zigzag(from);
        require(from, spec->priority != 0);
    }
    if (has & AQW_SPEC_HAS_DESCRIPTION) spec->description = read_any_text(from);
    if (spec->has_parent) read_id(from, spec->parent_task_id);
    if (spec->has_tenant) read_id(from, spec->tenant_id);
}

int aqw_task_spec_has_parent(const uint8_t *data, size_t size) {
    return size >= 2 && (data[1] & AQW_SPEC_HAS_PARENT) != 0;
}

static unsigned task_spec_presence(const aqw_task_spec *spec) {
    return (spec->content_type.data != NULL ? AQW_SPEC_HAS_CONTENT_TYPE : 0u) |
           (spec->max_attempts != 1 ? AQW_SPEC_HAS_MAX_ATTEMPTS : 0u) |
           (spec->has_timeout ? AQW_SPEC_HAS_TIMEOUT : 0u) |
           (spec->concurrency_key.data != NULL ? AQW_SPEC_HAS_CONCURRENCY_KEY : 0u) |
           (spec->required_capabilities.data != NULL ? AQW_SPEC_HAS_REQUIRED_CAPABILITIES : 0u) |
           (spec->tags.count > 0 || spec->tags.size > 0 ? AQW_SPEC_HAS_TAGS : 0u) |
           (spec->priority != 0 ? AQW_SPEC_HAS_PRIORITY : 0u) |
           (spec->description.data != NULL ? AQW_SPEC_HAS_DESCRIPTION : 0u);
}

static unsigned task_spec_codes(const aqw_task_spec *spec) {
    return (unsigned)spec->policy << AQW_SPEC_POLICY_SHIFT |
           (unsigned)spec->hold_policy << AQW_SPEC_HOLD_SHIFT |
           (unsigned)spec->safety_level << AQW_SPEC_SAFETY_SHIFT |
           (spec->has_parent ? AQW_SPEC_HAS_PARENT : 0u) |
           (spec->has_tenant ? AQW_SPEC_HAS_TENANT : 0u);
}

static void put_run_policy(writer *out, const aqw_task_spec *spec) {
    if (spec->policy == AQW_POLICY_REPEAT) {
        put_varint(out, spec->repeat_count);
        put_varint(out, spec->repeat_interval_secs);
    } else if (spec->policy == AQW_POLICY_CRON) {
        put_text(out, spec->cron_expression);
        put_varint(out, spec->max_occurrences);
    }
}

static void put_task_spec(writer *out, const aqw_task_spec *spec) {
    unsigned has = task_spec_presence(spec);
    check_code(out, spec->policy, AQW_POLICY_LAST);
    check_code(out, spec->hold_policy, AQW_HOLD_POLICY_LAST);
    check_code(out, spec->safety_level, AQW_SAFETY_LEVEL_LAST);
    put_u8(out, has);
    put_u8(out, task_spec_codes(spec));
    put_bytes(out, spec->payload);
    if (has & AQW_SPEC_HAS_CONTENT_TYPE) put_text(out, spec->content_type);
    put_run_policy(out, spec);
    if (has & AQW_SPEC_HAS_MAX_ATTEMPTS) put_varint(out, spec->max_attempts);
    if (has & AQW_SPEC_HAS_TIMEOUT) put_varint(out, spec->timeout_secs);
    if (has & AQW_SPEC_HAS_CONCURRENCY_KEY) put_text(out, spec->concurrency_key);
    if (has & AQW_SPEC_HAS_REQUIRED_CAPABILITIES) put_list(out, spec->required_capabilities);
    if (has & AQW_SPEC_HAS_TAGS) put_list(out, spec->tags);
    if (has & AQW_SPEC_HAS_PRIORITY) put_zigzag(out, spec->priority);
    if (has & AQW_SPEC_HAS_DESCRIPTION) put_text(out, spec->description);
    if (spec->has_parent) put_id(out, spec->parent_task_id);
    if (spec->has_tenant) put_id(out, spec->tenant_id);
}

/* ---- Filters, registrations, roles and capabilities ---- */

static void read_filter(cursor *from, aqw_filter *filter) {
    memset(filter, 0, sizeof *filter);
    filter->kind = read_code(from, AQW_FILTER_KIND_LAST);
    if (filter->kind == AQW_FILTER_CUSTOM) {
        filter->key = read_any_text(from);
        return;
    }
    read_id(from, filter->task_id);
    if (filter->kind == AQW_FILTER_RUN_STATE_CHANGED) {
        filter->state = read_code(from, AQW_RUN_STATE_LAST);
    } else if (filter->kind == AQW_FILTER_BUDGET_THRESHOLD) {
        filter->dimension = read_code(from, AQW_BUDGET_DIMENSION_LAST);
        filter->threshold_pct = read_code(from, 100);
    }
}

static void put_filter(writer *out, const aqw_filter *filter) {
    put_code(out, filter->kind, AQW_FILTER_KIND_LAST);
    if (filter->kind == AQW_FILTER_CUSTOM) {
        put_text(out, filter->key);
        return;
    }
    put_id(out, filter->task_id);
    if (filter->kind == AQW_FILTER_RUN_STATE_CHANGED) {
        put_code(out, filter->state, AQW_RUN_STATE_LAST);
    } else if (filter->kind == AQW_FILTER_BUDGET_THRESHOLD) {
        put_code(out, filter->dimension, AQW_BUDGET_DIMENSION_LAST);
        put_code(out, filter->threshold_pct, 100);
    }
}

static void read_registration(cursor *from, aqw_registration *registration) {
    memset(registration, 0, sizeof *registration);
    unsigned has = read_code(from, AQW_REGISTRATION_FLAGS_ALL);
    registration->identity = read_filled_text(from);
    registration->heartbeat_interval_secs = read_positive(from);
    registration->capabilities = read_list(from, 1);
    if (has & AQW_REGISTRATION_HAS_DEPARTMENT)
        registration->department = read_text(from, 1, AQW_DEPARTMENT_SIZE_MAX);
    registration->has_tenant = (has & AQW_REGISTRATION_HAS_TENANT) != 0;
    if (registration->has_tenant) read_id(from, registration->tenant_id);
}

static void put_registration(writer *out, const aqw_registration *registration) {
    int has_department = registration->department.data != NULL;
    put_u8(out, (has_department ? AQW_REGISTRATION_HAS_DEPARTMENT : 0u) |
                    (registration->has_tenant ? AQW_REGISTRATION_HAS_TENANT : 0u));
    put_text(out, registration->identity);
    put_varint(out, registration->heartbeat_interval_secs);
    put_list(out, registration->capabilities);
    if (registration->department.size > AQW_DEPARTMENT_SIZE_MAX) refuse(out, AQW_TOO_LARGE);
    if (has_department) put_text(out, registration->department);
    if (registration->has_tenant) put_id(out, registration->tenant_id);
}

static void read_named(cursor *from, uint8_t custom_code, aqw_named *named) {
    named->code = read_code(from, custom_code);
    named->custom = (aqw_bytes){NULL, 0};
    if (named->code == custom_code) named->custom = read_filled_text(from);
}

static void put_named(writer *out, const aqw_named *named, uint8_t custom_code) {
    put_code(out, named->code, custom_code);
    if (named->code == custom_code) put_text(out, named->custom);
    else if (named->custom.data != NULL) refuse(out, AQW_MALFORMED_EVENT);
}

/* The public pairs. Each encoding is read back before it is handed out. */

aqw_status aqw_task_spec_decode(const uint8_t *data, size_t size, aqw_task_spec *spec) {
    cursor from = open_cursor(data, size);
    read_task_spec(&from, spec);
    return finish(&from);
}

aqw_status aqw_task_spec_encode(const aqw_task_spec *spec, uint8_t *to, size_t capacity,
                                size_t *size) {
    writer out = open_writer(to, capacity);
    aqw_task_spec check;
    put_task_spec(&out, spec);
    *size = out.size;
    if (out.status != AQW_OK || to == NULL) return out.status;
    return aqw_task_spec_decode(to, out.size, &check);
}

aqw_status aqw_filter_decode(const uint8_t *data, size_t size, aqw_filter *filter) {
    cursor from = open_cursor(data, size);
    read_filter(&from, filter);
    return finish(&from);
}

aqw_status aqw_filter_encode(const aqw_filter *filter, uint8_t *to, size_t capacity, size_t *size) {
    writer out = open_writer(to, capacity);
    aqw_filter check;
    put_filter(&out, filter);
    *size = out.size;
    if (out.status != AQW_OK || to == NULL) return out.status;
    return aqw_filter_decode(to, out.size, &check);
}

aqw_status aqw_registration_decode(const uint8_t *data, size_t size,
                                   aqw_registration *registration) {
    cursor from = open_cursor(data, size);
    read_registration(&from, registration);
    return finish(&from);
}

aqw_status aqw_registration_encode(const aqw_registration *registration, uint8_t *to,
                                   size_t capacity, size_t *size) {
    writer out = open_writer(to, capacity);
    aqw_registration check;
    put_registration(&out, registration);
    *size = out.size;
    if (out.status != AQW_OK || to == NULL) return out.status;
    return aqw_registration_decode(to, out.size, &check);
}

aqw_status aqw_named_decode(const uint8_t *data, size_t size, uint8_t custom_code,
                            aqw_named *named) {
    cursor from = open_cursor(data, size);
    read_named(&from, custom_code, named);
    return finish(&from);
}

aqw_status aqw_named_encode(const aqw_named *named, uint8_t custom_code, uint8_t *to,
                            size_t capacity, size_t *size) {
    writer out = open_writer(to, capacity);
    aqw_named check;
    put_named(&out, named, custom_code);
    *size = out.size;
    if (out.status != AQW_OK || to == NULL) return out.status;
    return aqw_named_decode(to, out.size, custom_code, &check);
}
