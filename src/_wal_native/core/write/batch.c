#include "write/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "files/format.h"

enum { CAPACITY_FIRST = 16384, CAPACITY_KEPT = 1 << 20 };

void aqw_batch_init(aqw_batch *batch) { memset(batch, 0, sizeof *batch); }

void aqw_batch_free(aqw_batch *batch) {
    free(batch->data);
    aqw_batch_init(batch);
}

void aqw_batch_reset(aqw_batch *batch) {
    if (batch->capacity > CAPACITY_KEPT) aqw_batch_free(batch);
    batch->size = 0;
    batch->count = 0;
}

static aqw_status make_space(aqw_batch *batch, size_t more) {
    if (batch->capacity - batch->size >= more) return AQW_OK;
    size_t capacity = batch->capacity < CAPACITY_FIRST ? CAPACITY_FIRST : batch->capacity;
    while (capacity - batch->size < more) capacity *= 2;
    uint8_t *data = realloc(batch->data, capacity);
    if (data == NULL) return AQW_NO_MEMORY;
    batch->data = data;
    batch->capacity = capacity;
    AQW_ASSERT(batch->capacity - batch->size >= more);
    return AQW_OK;
}

/* Notes kind and size of the record whose payload stands at the end, and counts it in. */
static aqw_status finish(aqw_batch *batch, uint64_t sequence, uint8_t kind, size_t payload_size) {
    uint32_t size = aqw_record_size((uint32_t)payload_size);
    if (batch->count >= AQW_BATCH_COUNT_MAX || batch->size + size > AQW_BATCH_SIZE_MAX)
        return AQW_TOO_LARGE;
    AQW_ASSERT(batch->size <= batch->capacity && size <= batch->capacity - batch->size);
    aqw_store_u32(batch->data + batch->size + 4, (uint32_t)payload_size | (uint32_t)kind << 24);
    if (batch->count == 0) batch->first_sequence = sequence;
    batch->size += size;
    batch->count++;
    return AQW_OK;
}

static int is_next(const aqw_batch *batch, uint64_t sequence) {
    return batch->count == 0 ||
           (sequence > batch->first_sequence && sequence - batch->first_sequence == batch->count);
}

aqw_status aqw_batch_add(aqw_batch *batch, const aqw_event *event) {
    enum { ROOM = 1024 };   /* most events fit at once; the function measures the others first */
    if (!is_next(batch, event->sequence)) return AQW_REFUSED_SEQUENCE;
    size_t used = 0;
    aqw_status status = make_space(batch, ROOM);
    if (status != AQW_OK) return status;
    status = aqw_event_encode(
        event, batch->data + batch->size + AQW_RECORD_HEADER_SIZE,
        batch->capacity - batch->size - AQW_RECORD_HEADER_SIZE - AQW_RECORD_ALIGNMENT, &used);
    if (status == AQW_TOO_LARGE) {
        size_t payload_size = aqw_event_payload_size(event);
        if (payload_size == 0 || payload_size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
        status = make_space(batch, AQW_RECORD_HEADER_SIZE + payload_size + AQW_RECORD_ALIGNMENT);
        if (status != AQW_OK) return status;
        status = aqw_event_encode(event, batch->data + batch->size + AQW_RECORD_HEADER_SIZE,
                                  payload_size, &used);
    }
    if (status != AQW_OK) return status;
    if (used > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    return finish(batch, event->sequence, event->kind, used);
}

static int has_bytes(const aqw_event *event) {
    return event->kind == AQW_LEASE_HEARTBEAT ||
           (event->kind == AQW_ATTEMPT_FINISHED && event->as.attempt_finished.detail.data != NULL);
}

aqw_status aqw_batch_add_own(aqw_batch *batch, aqw_event *event) {
    size_t at = batch->size;
    aqw_status status = aqw_batch_add(batch, event);
    if (status != AQW_OK || !has_bytes(event)) return status;
    const uint8_t *record = batch->data + at;
    return aqw_event_decode(event->kind, event->sequence, record + AQW_RECORD_HEADER_SIZE,
                            aqw_load_u32(record + 4) & 0xffffff, event);
}

void aqw_batch_take_back(aqw_batch *batch, size_t size) {
    AQW_ASSERT(batch->count > 0 && size < batch->size);
    batch->size = size;
    batch->count--;
}

aqw_status aqw_batch_add_payload(aqw_batch *batch, uint64_t sequence, uint8_t kind,
                                 const uint8_t *payload, uint32_t size) {
    if (!is_next(batch, sequence)) return AQW_REFUSED_SEQUENCE;
    if (size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    aqw_status status = make_space(batch,
                                   AQW_RECORD_HEADER_SIZE + (size_t)size + AQW_RECORD_ALIGNMENT);
    if (status != AQW_OK) return status;
    if (size > 0) memcpy(batch->data + batch->size + AQW_RECORD_HEADER_SIZE, payload, size);
    return finish(batch, sequence, kind, size);
}

void aqw_batch_seal(aqw_batch *batch, const aqw_place *place, uint64_t position, uint32_t ordinal,
                    uint64_t durable) {
    size_t at = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint8_t *record = batch->data + at;
        uint32_t shape = aqw_load_u32(record + 4);
        uint32_t payload_size = shape & 0xffffff;
        uint64_t lag = batch->first_sequence + i - durable;
        uint8_t flags = 0;
        if (batch->count > 1)
            flags = i + 1 < batch->count ? AQW_FLAG_BATCH_OPEN : AQW_FLAG_BATCH_END;
        aqw_record_seal(record, place, position + at, ordinal + i,
                        lag < AQW_RECORD_LAG_UNKNOWN ? (uint32_t)lag : AQW_RECORD_LAG_UNKNOWN,
                        (uint8_t)(shape >> 24), flags, payload_size);
        at += aqw_record_size(payload_size);
    }
    AQW_ASSERT(at == batch->size);
}
