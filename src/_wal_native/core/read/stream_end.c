/* Where the newest segment ends: the durable bound W, the rule of segment and ring, torn tails (format.h, READING 3 to 5). */
#include <string.h>

#include "base/bytes.h"
#include "files/format.h"
#include "read/stream_internal.h"

const uint8_t *aqw_stream_ring_bytes(aqw_stream *stream, uint64_t position, uint64_t size) {
    const aqw_ring_image *ring = &stream->ring;
    if (!ring->is_present || size > ring->size) return NULL;
    uint64_t at = position % ring->size;
    if (size <= ring->size - at) return ring->data + at;
    uint64_t first = ring->size - at;
    memcpy(stream->scratch, ring->data + at, (size_t)first);
    memcpy(stream->scratch + first, ring->data, (size_t)(size - first));
    return stream->scratch;
}

/* Size of the record that the 16 bytes at `position` announce, as far as the segment and the ring have room; 0 where it can't be one with
 * such an ordinal. Asked before anything is copied: most bytes are no record's. */
static uint32_t ring_record_size(aqw_stream *stream, uint64_t position, uint32_t ordinal_min, uint32_t ordinal_max) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    if (position + AQW_RECORD_HEADER_SIZE > segment->file_size) return 0;
    const uint8_t *header = aqw_stream_ring_bytes(stream, position, AQW_RECORD_HEADER_SIZE);
    if (header == NULL || !aqw_record_is_plausible(header, ordinal_min, ordinal_max)) return 0;
    uint32_t size = aqw_record_size(aqw_load_u32(header + 4) & 0xffffff);
    return size <= segment->file_size - position && size <= stream->ring.size ? size : 0;
}

static int ring_check(aqw_stream *stream, uint64_t position, uint32_t ordinal, aqw_record *record) {
    uint32_t size = ring_record_size(stream, position, ordinal, ordinal);
    const uint8_t *bytes = size == 0 ? NULL : aqw_stream_ring_bytes(stream, position, size);
    return bytes != NULL && aqw_record_check(bytes, size, &aqw_stream_newest(stream)->place, position, ordinal, record);
}

/* The whole record is held most of the time: one look then, without a call. */
static int segment_check(aqw_stream *stream, uint64_t position, uint32_t ordinal, aqw_record *record) {
    const aqw_window *held = &stream->newest;
    if (position >= held->begin && position < held->end &&
        aqw_record_check(held->bytes + (position - held->begin), (size_t)(held->end - position), &aqw_stream_newest(stream)->place, position,
                         ordinal, record))
        return 1;
    const uint8_t *bytes = aqw_window_at(&stream->newest, position, AQW_RECORD_HEADER_SIZE);
    if (bytes == NULL || !aqw_record_is_plausible(bytes, ordinal, ordinal)) return 0;
    uint32_t size = aqw_record_size(aqw_load_u32(bytes + 4) & 0xffffff);
    bytes = aqw_window_at(&stream->newest, position, size);
    return bytes != NULL && aqw_record_check(bytes, size, &aqw_stream_newest(stream)->place, position, ordinal, record);
}

aqw_source aqw_stream_choose(aqw_stream *stream, uint64_t position, uint32_t ordinal, uint64_t durable, aqw_record *record) {
    if (segment_check(stream, position, ordinal, record)) return SOURCE_SEGMENT;
    uint64_t before = aqw_stream_newest(stream)->place.first_sequence + ordinal - 1;
    if (before < durable || !ring_check(stream, position, ordinal, record)) return SOURCE_NONE;
    if (position < stream->ring_first) stream->ring_first = position;
    return SOURCE_RING;
}

static void raise_to(uint64_t *value, uint64_t to) {
    if (to > *value) *value = to;
}

/* W: the highest sequence that anything in the log says was durable; the base is added by the caller. Taking it from both sources at
 * every position can only raise it, and every watermark was true when it was written. */
static aqw_status find_durable(aqw_stream *stream, aqw_remains *behind, aqw_remains *ring_behind, aqw_fault *fault) {
    aqw_record record;
    uint64_t durable = 0;
    if (stream->ring.is_present) raise_to(&durable, stream->ring.durable_sequence);
    for (uint64_t i = 0; i < stream->segment_count; i++) raise_to(&durable, stream->segments[i].watermark);
    uint64_t position = AQW_SEGMENT_DATA;
    uint32_t ordinal = 0;
    while (aqw_stream_choose(stream, position, ordinal, 0, &record) != SOURCE_NONE) {
        raise_to(&durable, record.watermark);
        position += record.size;
        if (record.kind < AQW_KIND_MARKER) ordinal++;
    }
    aqw_status status = aqw_stream_find_remains(stream, position, ordinal, behind, ring_behind, fault);
    if (status != AQW_OK) return status;
    raise_to(&durable, behind->watermark);
    raise_to(&durable, ring_behind->watermark);
    stream->summary.durable_sequence = durable;
    return AQW_OK;
}

/* Walks the newest segment under the rule, and notes the last place outside a batch, as the end and as the durable end. */
typedef struct walk {
    uint64_t position;          /* the end of all that was found */
    uint32_t ordinal;
    uint64_t whole_position;    /* the same, without an unfinished batch */
    uint32_t whole_ordinal;
    int breaks_batch;           /* a record can't stand here by its flags */
    int ends_with_marker;       /* the last record is a close marker from the segment that covers everything */
    uint64_t ring_events;
    uint64_t whole_ring_events;
} walk;

static void walk_newest(aqw_stream *stream, walk *at) {
    aqw_stream_summary *summary = &stream->summary;
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    uint64_t durable = summary->durable_sequence, first = segment->place.first_sequence;
    aqw_record record;
    memset(at, 0, sizeof *at);
    at->position = at->whole_position = AQW_SEGMENT_DATA;
    summary->durable_end = AQW_SEGMENT_DATA;
    summary->durable_last_sequence = first - 1;
    int in_batch = 0, all_in_segment = 1;
    for (;;) {
        aqw_source source = aqw_stream_choose(stream, at->position, at->ordinal, durable, &record);
        if (source == SOURCE_NONE) return;
        if (in_batch ? record.flags == 0 : record.flags == AQW_FLAG_BATCH_END) {
            at->breaks_batch = 1;
            return;
        }
        int is_event = record.kind < AQW_KIND_MARKER;
        if (source == SOURCE_RING) {
            all_in_segment = 0;
            if (is_event) at->ring_events++;
        }
        at->position += record.size;
        if (is_event) at->ordinal++;
        in_batch = record.flags == AQW_FLAG_BATCH_OPEN;
        at->ends_with_marker = record.kind == AQW_KIND_MARKER && source == SOURCE_SEGMENT && record.watermark == record.sequence;
        if (in_batch) continue;
        at->whole_position = at->position;
        at->whole_ordinal = at->ordinal;
        at->whole_ring_events = at->ring_events;
        uint64_t last = first + at->ordinal - 1;
        if (is_event && all_in_segment && last <= durable) {
            summary->durable_end = at->position;
            summary->durable_last_sequence = last;
        }
    }
}

aqw_status aqw_stream_find_end(aqw_stream *stream, aqw_fault *fault) {
    aqw_stream_summary *summary = &stream->summary;
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    uint64_t first = segment->place.first_sequence, newest = stream->segment_count - 1;
    aqw_remains behind, ring_behind;
    walk at;
    aqw_status status = find_durable(stream, &behind, &ring_behind, fault);
    if (status != AQW_OK) return status;
    uint64_t durable_by_log = summary->durable_sequence;
    raise_to(&summary->durable_sequence, summary->base_sequence);
    walk_newest(stream, &at);
    status = aqw_stream_failure(stream, fault);
    if (status != AQW_OK) return status;

    uint64_t last_sequence = first + at.whole_ordinal - 1;
    if (last_sequence >= durable_by_log && last_sequence < summary->base_sequence && !at.breaks_batch)
        return aqw_stream_corrupt(stream, newest, AQW_REASON_SNAPSHOT_AHEAD, at.position, last_sequence + 1, summary->base_sequence, fault);
    /* Flags that contradict each other in verified records are no remains of a crash. */
    if (last_sequence < summary->durable_sequence || at.breaks_batch)
        return aqw_stream_corrupt(stream, newest, at.whole_position != at.position || at.breaks_batch ? AQW_REASON_BATCH : AQW_REASON_RECORD_INVALID,
                                  at.position, first + at.ordinal, summary->durable_sequence, fault);
    uint64_t used = aqw_window_used_end(&stream->newest, at.whole_position, segment->file_size);
    status = aqw_stream_failure(stream, fault);
    if (status != AQW_OK) return status;
    int is_followed_by_zeros = used == at.whole_position;

    summary->segments = stream->segment_count;
    summary->first_sequence = stream->segments[0].place.first_sequence;
    summary->last_sequence = last_sequence;
    summary->end = at.whole_position;
    summary->ordinal = at.whole_ordinal;
    summary->ring_events = at.whole_ring_events;
    summary->dropped_from = at.whole_position;
    summary->dropped_bytes = used - at.whole_position;
    /* The same event may lie in both: the greater of the two is what was certainly there. */
    summary->dropped_events = (at.ordinal - at.whole_ordinal) + (behind.events > ring_behind.events ? behind.events : ring_behind.events);
    summary->ring_has_dropped = ring_behind.events > 0 || at.ring_events > at.whole_ring_events;
    summary->is_clean = at.ends_with_marker && at.whole_position == at.position && is_followed_by_zeros && !summary->ring_has_dropped &&
                        summary->durable_sequence == summary->last_sequence;
    if (at.whole_position != at.position) summary->drop_reason = AQW_REASON_BATCH;
    else if (summary->dropped_bytes > 0 || summary->ring_has_dropped) summary->drop_reason = AQW_REASON_TORN;

    /* Without a ring, events that were acknowledged but not synced may be gone without a trace. A creation that was cut short, even
     * more than once, has none yet; but it has no event either. */
    if (!stream->ring.is_present && !summary->is_clean && (at.ordinal > 0 || first != 1))
        return aqw_stream_corrupt(stream, newest, AQW_REASON_RING_MISSING, at.position, last_sequence + 1, 0, fault);
    return AQW_OK;
}
