#include "selftest.h"

#include <stdlib.h>
#include <string.h>

static void check_payload(const golden_payload *golden) {
    aqw_event event;
    size_t size = 0;
    uint8_t *bytes = malloc((size_t)golden->size + 1);
    EXPECT(bytes != NULL);
    EXPECT_STATUS(aqw_event_decode(golden->kind, 7, golden->payload, golden->size, &event), AQW_OK);
    EXPECT_EQUAL(event.kind, golden->kind);
    EXPECT_EQUAL(event.sequence, 7);
    EXPECT_EQUAL(event.timestamp, golden->timestamp);
    EXPECT_EQUAL(aqw_event_payload_size(&event), golden->size);
    EXPECT_STATUS(aqw_event_encode(&event, bytes, golden->size, &size), AQW_OK);
    EXPECT_EQUAL(size, golden->size);
    EXPECT(memcmp(bytes, golden->payload, size) == 0);
    EXPECT_STATUS(aqw_event_encode(&event, bytes, size - 1, &size), AQW_TOO_LARGE);
    bytes[golden->size] = 0;
    memcpy(bytes, golden->payload, golden->size);
    EXPECT_STATUS(aqw_event_decode(golden->kind, 7, bytes, (size_t)golden->size + 1, &event), AQW_MALFORMED_EVENT);
    free(bytes);
}

static const golden_payload *payload_named(const char *name) {
    for (size_t i = 0; i < golden_payload_count; i++)
        if (strcmp(golden_payloads[i].name, name) == 0) return &golden_payloads[i];
    EXPECT(name == NULL);   /* there is no golden payload of this name */
    return NULL;
}

/* Numbers of every width, one by one. */
static void check_fields(void) {
    aqw_event event;
    aqw_task_spec spec;
    const golden_payload *golden = payload_named("task_created-2");
    EXPECT_STATUS(aqw_event_decode(golden->kind, 1, golden->payload, golden->size, &event), AQW_OK);
    aqw_bytes part = event.as.task_created.spec;
    EXPECT_STATUS(aqw_task_spec_decode(part.data, part.size, &spec), AQW_OK);
    EXPECT_EQUAL(event.as.task_created.task_id[15], 0x1f);
    EXPECT_EQUAL(spec.policy, AQW_POLICY_REPEAT);
    EXPECT_EQUAL(spec.repeat_count, 3);
    EXPECT_EQUAL(spec.repeat_interval_secs, 3600);
    EXPECT_EQUAL(spec.max_attempts, 5);
    EXPECT_EQUAL(spec.timeout_secs, 300);
    EXPECT(spec.priority == -3);
    EXPECT_EQUAL(spec.safety_level, AQW_TRANSACTIONAL);
    EXPECT_EQUAL(spec.required_capabilities.count, 2);
    EXPECT_EQUAL(spec.parent_task_id[0], 0x20);
    EXPECT_EQUAL(spec.tenant_id[15], 0x3f);
    EXPECT(spec.content_type.size == 10 && memcmp(spec.content_type.data, "text/plain", 10) == 0);
}

void check_golden_payloads(const char *directory) {
    (void)directory;
    unsigned kinds = 0;
    uint8_t seen[AQW_EVENT_KIND_LAST + 1] = {0};
    for (size_t i = 0; i < golden_payload_count; i++) {
        check_payload(&golden_payloads[i]);
        kinds += !seen[golden_payloads[i].kind];
        seen[golden_payloads[i].kind] = 1;
    }
    EXPECT_EQUAL(kinds, AQW_EVENT_KIND_LAST);
    check_fields();
}
