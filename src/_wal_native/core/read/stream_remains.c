/* Remains: records after the place where the stream ends. They are evidence of what was durable,
 * never events that count.
 *
 * Where a writer can have put them: after the end a segment holds what a power loss or damage left
 * of later records, each at its own position. The ring holds bytes that were appended to the newest
 * segment, the byte of position p at offset p mod size; an offset keeps the bytes of an earlier
 * position until the writer comes round again and does not write past the ring. So an offset holds
 * either bytes of a position after the end, or those of a position before it, which the stream has
 * read and which say nothing more. Both contain, inside payloads, what users choose: it may look
 * like headers of records, but its checksum is right at one position only, which the checksum
 * itself tells (aqw_scan_position_of). So one look at each offset is enough, whatever stands there,
 * however large the segment is. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "files/format.h"
#include "read/stream_internal.h"

/* After `from` lie at most as many more events as there is room for. */
static uint32_t ordinal_max_at(uint32_t ordinal_min, uint64_t from, uint64_t position) {
    uint64_t most = ordinal_min + (position - from) / AQW_RECORD_HEADER_SIZE;
    return most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}

aqw_status aqw_stream_segment_remains(aqw_stream *stream, uint64_t position, uint64_t end,
                                      uint32_t ordinal_min, uint64_t from, aqw_record *record,
                                      int *is_found) {
    const aqw_place *place = &aqw_stream_newest(stream)->place;
    uint32_t sum = 0;
    *is_found = 0;
    if (end - position < AQW_RECORD_HEADER_SIZE) return AQW_OK;
    const uint8_t *bytes = aqw_window_at(&stream->newest, position, AQW_RECORD_HEADER_SIZE);
    if (bytes == NULL ||
        !aqw_record_is_plausible(bytes, ordinal_min, ordinal_max_at(ordinal_min, from, position)))
        return stream->newest.status;
    uint32_t stored = aqw_load_u32(bytes),
             size = aqw_record_size(aqw_load_u32(bytes + 4) & 0xffffff);
    if (size > end - position) return AQW_OK;
    /* With the whole piece held, the sums of its two ends move nothing. */
    if (aqw_window_at(&stream->newest, position, size) == NULL) return stream->newest.status;
    aqw_status status = aqw_scan_sum(&stream->segment_scan, position + 4, position + size, &sum);
    if (status != AQW_OK ||
        stored != aqw_scan_seal_of(&stream->segment_scan, place, position, sum, size - 4))
        return status;
    bytes = aqw_window_at(&stream->newest, position, size);
    if (bytes == NULL) return stream->newest.status;
    *is_found = aqw_record_parse(bytes, place, position, record);
    return AQW_OK;
}

/* Sums `size` bytes of the ring from an offset on. */
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

/* Returns 1 where these bytes of the ring are those that the stream has at a position before `end`
 * which they can stand for: the segment holds the same, or the stream took that part from the ring.
 * Then they lie in a record that was read, and are no remains, even where they were made to verify
 * at a later position. Records that are written past the ring leave it as it was, so any earlier
 * lap may be the right one. There are as many laps as rings fit into the segment: over all offsets
 * the looks are as many as the segment has places. */
static int is_explained(aqw_stream *stream, const uint8_t *bytes, uint32_t size, uint64_t position,
                        uint64_t end) {
    uint64_t ring = stream->ring.size;
    if (position < end) return 1;
    uint64_t back = ((position - end) / ring + 1) * ring;
    if (back > position || position - back < AQW_SEGMENT_DATA) return 0;
    uint64_t earlier = position - back;
    if (earlier >= stream->ring_first) return 1;
    for (;; earlier -= ring) {
        if (size <= end - earlier && aqw_window_equals(&stream->newest, earlier, bytes, size))
            return 1;
        if (earlier < AQW_SEGMENT_DATA + ring) return 0;
    }
}

/* Finds a record of the ring of a position from `from` on, whether or not it is explained. */
static aqw_status ring_candidate(aqw_stream *stream, uint64_t offset, uint64_t wanted,
                                 uint32_t ordinal_min, uint64_t from, aqw_record *record,
                                 int *is_found) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    uint32_t sum = 0;
    *is_found = 0;
    const uint8_t *header = aqw_stream_ring_bytes(stream, offset, AQW_RECORD_HEADER_SIZE);
    if (header == NULL || !aqw_record_is_plausible(header, ordinal_min, UINT32_MAX)) return AQW_OK;
    uint32_t size = aqw_record_size(aqw_load_u32(header + 4) & 0xffffff),
             stored = aqw_load_u32(header), ordinal = aqw_load_u32(header + 8);
    if (size > stream->ring.size) return AQW_OK;
    if (ring_sum(stream, (offset + 4) % stream->ring.size, size - 4, &sum) != AQW_OK)
        return AQW_NO_MEMORY;
    uint64_t position = aqw_scan_position_of(&stream->ring_scan, &segment->place, stored, sum,
                                             size - 4);
    if (wanted != 0 && position != wanted) return AQW_OK;
    if (position % AQW_RECORD_ALIGNMENT != 0 || position % stream->ring.size != offset ||
        position < from || position > segment->file_size || size > segment->file_size - position ||
        ordinal > ordinal_max_at(ordinal_min, from, position))
        return AQW_OK;
    const uint8_t *bytes = aqw_stream_ring_bytes(stream, offset, size);
    *is_found = bytes != NULL && aqw_record_parse(bytes, &segment->place, position, record);
    return AQW_OK;
}

aqw_status aqw_stream_ring_remains(aqw_stream *stream, uint64_t wanted, uint32_t ordinal_min,
                                   uint64_t from, aqw_record *record, int *is_found) {
    uint64_t offset = wanted % stream->ring.size;
    aqw_status status = ring_candidate(stream, offset, wanted, ordinal_min, from, record, is_found);
    if (*is_found &&
        is_explained(stream, record->payload - AQW_RECORD_HEADER_SIZE, record->size, wanted, from))
        *is_found = 0;
    return status;
}

static void note_record(aqw_remains *seen, const aqw_record *record) {
    if (record->watermark > seen->watermark) seen->watermark = record->watermark;
    if (record->kind < AQW_KIND_MARKER) seen->events++;
}

/* Bytes between two questions to progress: a look at each offset may cost a microsecond where users
 * have chosen the bytes. */
enum { ASKED_SIZE = 1 << 16 };

static aqw_status scan_segment(aqw_stream *stream, uint64_t from, uint32_t ordinal,
                               aqw_remains *seen) {
    uint64_t end = aqw_stream_newest(stream)->file_size, asked = from;
    aqw_record record;
    int is_found = 0;
    for (uint64_t at = from; at < end; at += is_found ? record.size : AQW_RECORD_ALIGNMENT) {
        /* A record's kind, its eighth byte, is never zero: the scan passes unused space at once. */
        uint64_t used = aqw_window_skip_zeros(&stream->newest, at, end);
        if (used >= at + 2 * AQW_RECORD_ALIGNMENT) at = used - AQW_RECORD_ALIGNMENT;
        if (at - asked >= ASKED_SIZE) {
            if (aqw_progress_must_stop(stream->progress)) return AQW_STOPPED;
            asked = at;
        }
        aqw_status status = aqw_stream_segment_remains(stream, at, end, ordinal, from, &record,
                                                       &is_found);
        if (status != AQW_OK) return status;
        if (is_found) note_record(seen, &record);
    }
    return AQW_OK;
}

/* A bit for each place of the ring where a record may begin. */
typedef struct places {
    uint8_t *bits;
    uint64_t count;             /* of bits that are set */
} places;

/* Eight of the ring's places share a byte. */
enum { BYTE_COVERS = 8 * AQW_RECORD_ALIGNMENT };

static int has_place(const places *set, uint64_t offset) {
    return set->bits[offset / BYTE_COVERS] >> offset / AQW_RECORD_ALIGNMENT % 8 & 1;
}

static void change_place(places *set, uint64_t offset) {
    set->bits[offset / BYTE_COVERS] ^= (uint8_t)(1u << offset / AQW_RECORD_ALIGNMENT % 8);
    set->count += has_place(set, offset) ? 1 : UINT64_MAX;
}

static aqw_status find_candidates(aqw_stream *stream, uint64_t from, uint32_t ordinal,
                                  places *found) {
    aqw_record record;
    int is_found = 0;
    for (uint64_t offset = 0; offset < stream->ring.size; offset += AQW_RECORD_ALIGNMENT) {
        aqw_status status = ring_candidate(stream, offset, 0, ordinal, from, &record, &is_found);
        if (status != AQW_OK) return status;
        if (is_found) change_place(found, offset);
    }
    return AQW_OK;
}

/* Returns 1 where the ring's record at the offset is what the stream has at a position before
 * `end`: as is_explained, for one lap. */
static int is_explained_at(aqw_stream *stream, uint64_t offset, uint64_t position, uint64_t end) {
    if (position >= stream->ring_first) return 1;
    const uint8_t *header = aqw_stream_ring_bytes(stream, offset, AQW_RECORD_HEADER_SIZE);
    uint32_t size = aqw_record_size(aqw_load_u32(header + 4) & 0xffffff);
    if (size > end - position) return 0;
    const uint8_t *bytes = aqw_window_at(&stream->newest, position, AQW_RECORD_HEADER_SIZE);
    if (bytes == NULL || memcmp(bytes, header, AQW_RECORD_HEADER_SIZE) != 0) return 0;
    bytes = aqw_window_at(&stream->newest, position, size);
    return bytes != NULL && memcmp(bytes, aqw_stream_ring_bytes(stream, offset, size), size) == 0;
}

/* Makes one pass over the records, in place of a look at each lap for each candidate. */
static aqw_status drop_explained(aqw_stream *stream, uint64_t end, places *found) {
    uint64_t offset = AQW_SEGMENT_DATA % stream->ring.size, asked = 0;
    for (uint64_t position = AQW_SEGMENT_DATA; position < end && found->count > 0;
         position += AQW_RECORD_ALIGNMENT) {
        if (position - asked >= ASKED_SIZE) {
            if (aqw_progress_must_stop(stream->progress)) return AQW_STOPPED;
            asked = position;
        }
        if (has_place(found, offset) && is_explained_at(stream, offset, position, end))
            change_place(found, offset);
        if (stream->newest.status != AQW_OK) return stream->newest.status;
        offset = offset + AQW_RECORD_ALIGNMENT < stream->ring.size ? offset + AQW_RECORD_ALIGNMENT
                                                                   : 0;
    }
    return AQW_OK;
}

static aqw_status note_places(aqw_stream *stream, uint64_t from, uint32_t ordinal,
                              const places *found, aqw_remains *seen) {
    uint64_t size = stream->ring.size;
    aqw_record record;
    int is_found = 0;
    for (uint64_t at = from; at < from + size && found->count > 0;
         at += is_found ? record.size : AQW_RECORD_ALIGNMENT) {
        is_found = 0;
        if (!has_place(found, at % size)) continue;
        aqw_status status = ring_candidate(stream, at % size, 0, ordinal, from, &record, &is_found);
        if (status != AQW_OK) return status;
        if (is_found) note_record(seen, &record);
    }
    return AQW_OK;
}

static aqw_status scan_ring(aqw_stream *stream, uint64_t from, uint32_t ordinal,
                            aqw_remains *seen) {
    if (!stream->ring.is_present) return AQW_OK;
    places found = {calloc((size_t)(stream->ring.size / BYTE_COVERS), 1), 0};
    if (found.bits == NULL) return AQW_NO_MEMORY;
    aqw_status status = find_candidates(stream, from, ordinal, &found);
    if (status == AQW_OK) status = drop_explained(stream, from, &found);
    if (status == AQW_OK) status = note_places(stream, from, ordinal, &found, seen);
    free(found.bits);
    return status;
}

aqw_status aqw_stream_find_remains(aqw_stream *stream, uint64_t from, uint32_t ordinal,
                                   aqw_remains *segment, aqw_remains *ring, aqw_fault *fault) {
    memset(segment, 0, sizeof *segment);
    memset(ring, 0, sizeof *ring);
    aqw_status status = scan_segment(stream, from, ordinal, segment);
    if (status == AQW_OK) status = scan_ring(stream, from, ordinal, ring);
    /* What could not be read ended the scan, or hid an explanation. */
    aqw_status failure = aqw_stream_failure(stream, fault);
    if (failure != AQW_OK) return failure;
    return status == AQW_OK ? AQW_OK : aqw_fault_set(fault, status, stream->directory);
}
