/* Remains: records behind the place where the stream ends. They are evidence of what was durable, never events that count.
 *
 * Where a writer can have put them. Behind the end a segment holds what a power loss or damage left of later records, each at its own
 * position. The ring holds bytes that were appended to the newest segment, the byte of position p at offset p mod size; an offset keeps
 * the bytes of an earlier position until the writer comes round again and does not write past the ring. So at an offset there are either
 * bytes of a position behind the end, or those of a position before it, which the stream has read and which say nothing more. What users
 * choose is in both, inside payloads: it may look like headers of records, but its checksum is right at one position only, which the
 * checksum itself tells (aqw_scan_position_of). So one look at each offset is enough, whatever stands there, however large the segment
 * is. */
#include <string.h>

#include "bytes.h"
#include "format.h"
#include "stream_internal.h"

/* Behind `from` lie at most as many more events as there is room for. */
static uint32_t ordinal_max_at(uint32_t ordinal_min, uint64_t from, uint64_t position) {
    uint64_t most = ordinal_min + (position - from) / AQW_RECORD_HEADER_SIZE;
    return most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}

aqw_status aqw_stream_segment_remains(aqw_stream *stream, uint64_t position, uint64_t end, uint32_t ordinal_min, uint64_t from,
                                      aqw_record *record, int *is_found) {
    const aqw_place *place = &aqw_stream_newest(stream)->place;
    const uint8_t *bytes = stream->newest + position;
    uint32_t sum = 0;
    *is_found = 0;
    if (end - position < AQW_RECORD_HEADER_SIZE ||
        !aqw_record_is_plausible(bytes, ordinal_min, ordinal_max_at(ordinal_min, from, position)))
        return AQW_OK;
    uint32_t size = aqw_record_size(aqw_load_u32(bytes + 4) & 0xffffff);
    if (size > end - position) return AQW_OK;
    if (aqw_scan_sum(&stream->segment_scan, position + 4, position + size, &sum) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_load_u32(bytes) == aqw_scan_seal_of(&stream->segment_scan, place, position, sum, size - 4))
        *is_found = aqw_record_parse(bytes, place, position, record);
    return AQW_OK;
}

/* The sum of `size` bytes of the ring from an offset on. */
static aqw_status ring_sum(aqw_stream *stream, uint64_t offset, uint64_t size, uint32_t *sum) {
    uint64_t left = stream->ring.size - offset;
    uint32_t second = 0;
    if (size <= left) return aqw_scan_sum(&stream->ring_scan, offset, offset + size, sum);
    if (aqw_scan_sum(&stream->ring_scan, offset, offset + left, sum) != AQW_OK ||
        aqw_scan_sum(&stream->ring_scan, 0, size - left, &second) != AQW_OK)
        return AQW_NO_MEMORY;
    *sum = aqw_scan_join(&stream->ring_scan, *sum, second, size - left);
    return AQW_OK;
}

/* 1 where these bytes of the ring are the ones that the stream has at a position before `end` which they can stand for: the segment holds the
 * same, or the stream was read from the ring there. Then they lie in a record that was read, and are no remains, even where they were made to
 * verify at a later position. Records that are written past the ring leave it as it was, so any earlier lap may be the one. There are as many
 * laps as the segment has times the ring: over all offsets the looks are as many as the segment has places. */
static int is_explained(const aqw_stream *stream, const uint8_t *bytes, uint32_t size, uint64_t position, uint64_t end) {
    uint64_t ring = stream->ring.size;
    if (position < end) return 1;
    uint64_t back = ((position - end) / ring + 1) * ring;
    if (back > position || position - back < AQW_SEGMENT_DATA) return 0;
    uint64_t earlier = position - back;
    if (earlier >= stream->ring_first) return 1;
    for (;; earlier -= ring) {
        if (size <= end - earlier && memcmp(bytes, stream->newest + earlier, AQW_RECORD_HEADER_SIZE) == 0 &&
            memcmp(bytes, stream->newest + earlier, size) == 0)
            return 1;
        if (earlier < AQW_SEGMENT_DATA + ring) return 0;
    }
}

aqw_status aqw_stream_ring_remains(aqw_stream *stream, uint64_t offset, uint32_t ordinal_min, uint64_t from, aqw_record *record,
                                   int *is_found) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    uint32_t sum = 0;
    *is_found = 0;
    const uint8_t *header = aqw_stream_ring_bytes(stream, offset, AQW_RECORD_HEADER_SIZE);
    if (header == NULL || !aqw_record_is_plausible(header, ordinal_min, UINT32_MAX)) return AQW_OK;
    uint32_t size = aqw_record_size(aqw_load_u32(header + 4) & 0xffffff), stored = aqw_load_u32(header), ordinal = aqw_load_u32(header + 8);
    if (size > stream->ring.size) return AQW_OK;
    if (ring_sum(stream, (offset + 4) % stream->ring.size, size - 4, &sum) != AQW_OK) return AQW_NO_MEMORY;
    uint64_t position = aqw_scan_position_of(&stream->ring_scan, &segment->place, stored, sum, size - 4);
    if (position % AQW_RECORD_ALIGNMENT != 0 || position % stream->ring.size != offset || position < from ||
        position > segment->file_size || size > segment->file_size - position || ordinal > ordinal_max_at(ordinal_min, from, position))
        return AQW_OK;
    const uint8_t *bytes = aqw_stream_ring_bytes(stream, offset, size);
    if (bytes != NULL && !is_explained(stream, bytes, size, position, from))
        *is_found = aqw_record_parse(bytes, &segment->place, position, record);
    return AQW_OK;
}

static void note_record(aqw_remains *seen, const aqw_record *record) {
    if (record->watermark > seen->watermark) seen->watermark = record->watermark;
    if (record->kind < AQW_KIND_MARKER) seen->events++;
}

/* Where the next byte that is not zero lies, rounded down to eight bytes from `at` on; `end` where there is none. */
static uint64_t skip_zeros(const uint8_t *bytes, uint64_t at, uint64_t end) {
    uint64_t word = 0;
    while (end - at >= sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        if (word != 0) return at;
        at += sizeof word;
    }
    return at;
}

static aqw_status scan_segment(aqw_stream *stream, uint64_t from, uint32_t ordinal, aqw_remains *seen) {
    uint64_t end = aqw_stream_newest(stream)->file_size;
    aqw_record record;
    int is_found = 0;
    for (uint64_t at = from; at < end; at += is_found ? record.size : AQW_RECORD_ALIGNMENT) {
        /* A record's kind, its eighth byte, is never zero: unused space is passed at once. */
        uint64_t used = skip_zeros(stream->newest, at, end);
        if (used >= at + 2 * AQW_RECORD_ALIGNMENT) at = used - AQW_RECORD_ALIGNMENT;
        if (aqw_stream_segment_remains(stream, at, end, ordinal, from, &record, &is_found) != AQW_OK) return AQW_NO_MEMORY;
        if (is_found) note_record(seen, &record);
    }
    return AQW_OK;
}

static aqw_status scan_ring(aqw_stream *stream, uint64_t from, uint32_t ordinal, aqw_remains *seen) {
    uint64_t size = stream->ring.size;
    aqw_record record;
    int is_found = 0;
    if (!stream->ring.is_present) return AQW_OK;
    for (uint64_t at = from; at < from + size; at += is_found ? record.size : AQW_RECORD_ALIGNMENT) {
        if (aqw_stream_ring_remains(stream, at % size, ordinal, from, &record, &is_found) != AQW_OK) return AQW_NO_MEMORY;
        if (is_found) note_record(seen, &record);
    }
    return AQW_OK;
}

aqw_status aqw_stream_find_remains(aqw_stream *stream, uint64_t from, uint32_t ordinal, aqw_remains *segment, aqw_remains *ring) {
    memset(segment, 0, sizeof *segment);
    memset(ring, 0, sizeof *ring);
    aqw_status status = scan_segment(stream, from, ordinal, segment);
    return status == AQW_OK ? scan_ring(stream, from, ordinal, ring) : status;
}
