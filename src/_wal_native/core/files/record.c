#include "files/record.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "event/event.h"
#include "files/format.h"

_Static_assert(AQW_PAYLOAD_SIZE_MAX == (1 << 24) - 1, "the payload size has 24 bits");
_Static_assert(AQW_RECORD_LAG_UNKNOWN == (1 << 24) - 1, "the lag has 24 bits");
_Static_assert(AQW_EVENT_KIND_LAST < AQW_KIND_MARKER, "event kinds and markers must not meet");

void aqw_place_seed(aqw_place *place) {
    uint8_t bytes[32];
    memcpy(bytes, place->log_uuid, 16);
    aqw_store_u64(bytes + 16, place->segment_number);
    aqw_store_u64(bytes + 24, place->salt);
    place->seed = aqw_crc32c_update((uint32_t)AQW_CRC32C_START, bytes, sizeof bytes);
}

uint32_t aqw_record_size(uint32_t payload_size) {
    uint32_t size = AQW_RECORD_HEADER_SIZE + payload_size;
    return (size + AQW_RECORD_ALIGNMENT - 1) & ~(uint32_t)(AQW_RECORD_ALIGNMENT - 1);
}

static uint32_t checksum(const uint8_t *record, uint32_t size, const aqw_place *place,
                         uint64_t position) {
    uint8_t bytes[8];
    aqw_store_u64(bytes, position);
    uint32_t running = aqw_crc32c_update(place->seed, bytes, sizeof bytes);
    return aqw_crc32c_finish(aqw_crc32c_update(running, record + 4, size - 4));
}

void aqw_record_seal(uint8_t *to, const aqw_place *place, uint64_t position, uint32_t ordinal,
                     uint32_t lag, uint8_t kind, uint8_t flags, uint32_t payload_size) {
    uint32_t size = aqw_record_size(payload_size);
    aqw_store_u32(to + 4, payload_size | (uint32_t)kind << 24);
    aqw_store_u32(to + 8, ordinal);
    aqw_store_u32(to + 12, lag | (uint32_t)flags << 24);
    for (uint32_t i = AQW_RECORD_HEADER_SIZE + payload_size; i < size; i++) to[i] = 0;
    aqw_store_u32(to, checksum(to, size, place, position));
}

uint32_t aqw_pad_seal(uint8_t *to, const aqw_place *place, uint64_t position, uint32_t ordinal,
                      uint64_t lag, uint32_t sector_size, uint64_t room) {
    uint32_t over = sector_size == 0 ? 0 : (uint32_t)(position % sector_size);
    uint32_t size = over == 0 ? 0 : sector_size - over;
    if (size > 0 && size < AQW_RECORD_HEADER_SIZE) size += sector_size;
    if (size == 0 || size + AQW_RECORD_HEADER_SIZE > room) return 0;
    memset(to, 0, size);
    aqw_record_seal(to, place, position, ordinal,
                    lag < AQW_RECORD_LAG_UNKNOWN ? (uint32_t)lag : AQW_RECORD_LAG_UNKNOWN,
                    AQW_KIND_PAD, 0, size - AQW_RECORD_HEADER_SIZE);
    return size;
}

/* A newer library may have kinds of events that this one does not know. Their records are as valid
 * as all others, and aqw_replay_record refuses them. Else recovery would take what such a library
 * has acknowledged for a torn tail, or for damage. */
static int is_event_kind(uint8_t kind) { return kind >= 1 && kind < AQW_KIND_MARKER; }

static int shape_is_known(uint8_t kind, uint8_t flags) {
    if (is_event_kind(kind)) return flags <= AQW_FLAG_BATCH_END;
    return flags == 0 && (kind == AQW_KIND_MARKER || kind == AQW_KIND_PAD);
}

int aqw_record_is_plausible(const uint8_t *from, uint32_t ordinal_min, uint32_t ordinal_max) {
    uint32_t ordinal = aqw_load_u32(from + 8);
    return ordinal >= ordinal_min && ordinal <= ordinal_max && shape_is_known(from[7], from[15]);
}

int aqw_record_parse(const uint8_t *from, const aqw_place *place, uint64_t position,
                     aqw_record *record) {
    uint8_t kind = from[7], flags = from[15];
    uint32_t payload_size = aqw_load_u32(from + 4) & 0xffffff;
    uint32_t ordinal = aqw_load_u32(from + 8);
    uint32_t lag = aqw_load_u32(from + 12) & 0xffffff;
    int is_event = is_event_kind(kind);
    /* A marker or pad stands after `ordinal` events: the last of them has the
     * sequence one lower. */
    uint64_t sequence = place->first_sequence + ordinal - (is_event ? 0 : 1);
    if (sequence < place->first_sequence - 1) return 0;   /* past the last possible sequence */
    record->segment_number = place->segment_number;
    record->position = position;
    record->sequence = sequence;
    record->watermark = lag == AQW_RECORD_LAG_UNKNOWN || lag > sequence ? 0 : sequence - lag;
    record->ordinal = ordinal;
    record->payload_size = payload_size;
    record->size = aqw_record_size(payload_size);
    record->kind = kind;
    record->flags = flags;
    record->payload = from + AQW_RECORD_HEADER_SIZE;
    return 1;
}

int aqw_record_read(const uint8_t *from, size_t available, const aqw_place *place,
                    uint64_t position, aqw_record *record) {
    if (available < AQW_RECORD_HEADER_SIZE || !shape_is_known(from[7], from[15])) return 0;
    uint32_t size = aqw_record_size(aqw_load_u32(from + 4) & 0xffffff);
    if (size > available || aqw_load_u32(from) != checksum(from, size, place, position)) return 0;
    return aqw_record_parse(from, place, position, record);
}

uint32_t aqw_record_event_checksum(const aqw_record *record) {
    uint8_t head[9];
    aqw_store_u64(head, record->sequence);
    head[8] = record->kind;
    return aqw_crc32c_finish(
        aqw_crc32c_update(aqw_crc32c_update(AQW_CRC32C_START, head, sizeof head), record->payload,
                          record->payload_size));
}

int aqw_record_check(const uint8_t *from, size_t available, const aqw_place *place,
                     uint64_t position, uint32_t ordinal, aqw_record *record) {
    /* The ordinal comes first: it is the cheapest way to tell that these bytes are
     * another record. */
    return available >= AQW_RECORD_HEADER_SIZE && aqw_load_u32(from + 8) == ordinal &&
           aqw_record_read(from, available, place, position, record);
}
