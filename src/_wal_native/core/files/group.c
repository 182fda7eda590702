#include "files/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "files/format.h"

static const uint8_t MAGIC[8] = {'A', 'Q', 'W', 'G', 'R', 'O', 'U', 'P'};

enum { CHECKED_FROM = 16, CAPACITY_FIRST = 65536 };

static aqw_status reserve(aqw_group *group, size_t size) {
    if (size <= group->capacity) return AQW_OK;
    size_t capacity = group->capacity != 0 ? group->capacity : CAPACITY_FIRST;
    while (capacity < size) capacity *= 2;
    uint8_t *data = realloc(group->data, capacity);
    if (data == NULL) return AQW_NO_MEMORY;
    group->data = data;
    group->capacity = capacity;
    return AQW_OK;
}

aqw_status aqw_group_begin(aqw_group *group) {
    aqw_status status = reserve(group, AQW_GROUP_HEADER_SIZE);
    group->size = status == AQW_OK ? AQW_GROUP_HEADER_SIZE : 0;
    group->count = 0;
    return status;
}

aqw_status aqw_group_add(aqw_group *group, const aqw_record *record) {
    uint64_t needed = (uint64_t)group->size + AQW_GROUP_EVENT_HEADER_SIZE + record->payload_size;
    if (needed > UINT32_MAX || group->count == UINT32_MAX) return AQW_TOO_LARGE;
    aqw_status status = reserve(group, (size_t)needed);
    if (status != AQW_OK) return status;
    uint8_t *to = group->data + group->size;
    aqw_store_u32(to, record->payload_size | (uint32_t)record->kind << 24);
    to[4] = record->flags;
    if (record->payload_size > 0)
        memcpy(to + AQW_GROUP_EVENT_HEADER_SIZE, record->payload, record->payload_size);
    group->size = (size_t)needed;
    group->count++;
    return AQW_OK;
}

void aqw_group_take_back(aqw_group *group, size_t size, uint32_t count) {
    group->size = size;
    group->count = count;
}

void aqw_group_seal(aqw_group *group, aqw_group_header *header) {
    uint8_t *to = group->data;
    header->count = group->count;
    memcpy(to, MAGIC, sizeof MAGIC);
    aqw_store_u32(to + 8, AQW_GROUP_VERSION);
    memcpy(to + 16, header->log_uuid, sizeof header->log_uuid);
    aqw_store_u64(to + 32, header->epoch);
    aqw_store_u64(to + 40, header->first_sequence);
    aqw_store_u64(to + 48, header->watermark);
    aqw_store_u32(to + 56, header->count);
    aqw_store_u32(to + 60, header->link);
    header->checksum = aqw_crc32c(to + CHECKED_FROM, group->size - CHECKED_FROM);
    aqw_store_u32(to + 12, header->checksum);
}

void aqw_group_free(aqw_group *group) {
    free(group->data);
    memset(group, 0, sizeof *group);
}

void aqw_group_first(aqw_group_cursor *cursor, const uint8_t *data, size_t size,
                     const aqw_group_header *header) {
    *cursor = (aqw_group_cursor){.data = data,
                                 .size = size,
                                 .at = AQW_GROUP_HEADER_SIZE,
                                 .sequence = header->first_sequence};
}

int aqw_group_next(aqw_group_cursor *cursor, aqw_record *record) {
    size_t left = cursor->size - cursor->at;
    if (left < AQW_GROUP_EVENT_HEADER_SIZE) return 0;
    const uint8_t *from = cursor->data + cursor->at;
    uint32_t head = aqw_load_u32(from), payload_size = head & 0xffffff;
    if (payload_size > left - AQW_GROUP_EVENT_HEADER_SIZE) return 0;
    memset(record, 0, sizeof *record);
    record->sequence = cursor->sequence;
    record->payload_size = payload_size;
    record->size = aqw_record_size(payload_size);
    record->kind = (uint8_t)(head >> 24);
    record->flags = from[4];
    record->payload = from + AQW_GROUP_EVENT_HEADER_SIZE;
    cursor->at += AQW_GROUP_EVENT_HEADER_SIZE + payload_size;
    cursor->sequence++;
    return 1;
}

/* Returns 1 where the events are as many as the header says, end where the group ends, and leave no
 * batch open. */
static int events_are_whole(const uint8_t *data, size_t size, const aqw_group_header *header) {
    aqw_group_cursor cursor;
    aqw_record record;
    uint32_t count = 0;
    int in_batch = 0;
    aqw_group_first(&cursor, data, size, header);
    while (aqw_group_next(&cursor, &record)) {
        count++;
        if (record.kind == 0 || record.kind >= AQW_KIND_MARKER) return 0;
        if (record.flags > AQW_FLAG_BATCH_END) return 0;
        if (in_batch && record.flags == 0) return 0;
        if (!in_batch && record.flags == AQW_FLAG_BATCH_END) return 0;
        in_batch = record.flags == AQW_FLAG_BATCH_OPEN;
    }
    return cursor.at == size && count == header->count && !in_batch;
}

aqw_status aqw_group_read(const uint8_t *data, size_t size, aqw_group_header *header) {
    if (size < AQW_GROUP_HEADER_SIZE || size > UINT32_MAX || memcmp(data, MAGIC, sizeof MAGIC) != 0)
        return AQW_CORRUPT;
    header->checksum = aqw_load_u32(data + 12);
    if (header->checksum != aqw_crc32c(data + CHECKED_FROM, size - CHECKED_FROM))
        return AQW_CORRUPT;
    uint32_t version = aqw_load_u32(data + 8);
    if (version > AQW_GROUP_VERSION) return AQW_UNSUPPORTED_FORMAT;
    if (version != AQW_GROUP_VERSION) return AQW_CORRUPT;
    memcpy(header->log_uuid, data + 16, sizeof header->log_uuid);
    header->epoch = aqw_load_u64(data + 32);
    header->first_sequence = aqw_load_u64(data + 40);
    header->watermark = aqw_load_u64(data + 48);
    header->count = aqw_load_u32(data + 56);
    header->link = aqw_load_u32(data + 60);
    if (header->count == 0 || header->first_sequence == 0 ||
        header->count - 1 > AQW_SEQUENCE_MAX - header->first_sequence)
        return AQW_CORRUPT;
    return events_are_whole(data, size, header) ? AQW_OK : AQW_CORRUPT;
}
