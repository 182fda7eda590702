/* Where the newest segment ends: the durable bound W, the rule of segment and ring, torn tails (format.h, READING 3 to 5). */
#include <string.h>

#include "bytes.h"
#include "format.h"
#include "stream_internal.h"

/* Scanning behind the end looks for records at every fourth byte. Real remains cost one pass over the bytes; a file made to look
 * like overlapping records everywhere would cost their product, and is refused past this many times its size. */
enum { SCAN_COST_FACTOR = 4 };

/* `size` bytes of the ring at a segment position, in one piece; NULL past its size. */
static const uint8_t *ring_bytes(aqw_stream *stream, uint64_t position, uint64_t size) {
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
    const uint8_t *header = ring_bytes(stream, position, AQW_RECORD_HEADER_SIZE);
    if (header == NULL || !aqw_record_is_plausible(header, ordinal_min, ordinal_max)) return 0;
    uint32_t size = aqw_record_size(aqw_load_u32(header + 4) & 0xffffff);
    return size <= segment->file_size - position && size <= stream->ring.size ? size : 0;
}

static int ring_check(aqw_stream *stream, uint64_t position, uint32_t ordinal, aqw_record *record) {
    uint32_t size = ring_record_size(stream, position, ordinal, ordinal);
    const uint8_t *bytes = size == 0 ? NULL : ring_bytes(stream, position, size);
    return bytes != NULL && aqw_record_check(bytes, size, &aqw_stream_newest(stream)->place, position, ordinal, record);
}

static int segment_check(aqw_stream *stream, uint64_t position, uint32_t ordinal, aqw_record *record) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    return position < segment->file_size && aqw_record_check(stream->newest + position, (size_t)(segment->file_size - position),
                                                             &segment->place, position, ordinal, record);
}

aqw_source aqw_stream_choose(aqw_stream *stream, uint64_t position, uint32_t ordinal, uint64_t durable, aqw_record *record) {
    if (segment_check(stream, position, ordinal, record)) return SOURCE_SEGMENT;
    uint64_t next_sequence = aqw_stream_newest(stream)->place.first_sequence + ordinal;
    if (next_sequence > durable && ring_check(stream, position, ordinal, record)) return SOURCE_RING;
    return SOURCE_NONE;
}

int aqw_stream_ring_record(aqw_stream *stream, uint64_t position, uint32_t ordinal_min, uint32_t ordinal_max, uint64_t *cost,
                           aqw_record *record) {
    uint32_t size = ring_record_size(stream, position, ordinal_min, ordinal_max);
    if (size == 0) return 0;
    *cost += size;
    const uint8_t *bytes = ring_bytes(stream, position, size);
    return bytes != NULL && aqw_record_read(bytes, size, &aqw_stream_newest(stream)->place, position, record);
}

static void raise_to(uint64_t *value, uint64_t to) {
    if (to > *value) *value = to;
}

/* A scan behind the end: where it began, behind how many events, and what it has seen. */
typedef struct remains {
    uint64_t from;
    uint32_t ordinal_min;
    uint64_t watermark;
    uint64_t events;
    uint64_t cost;
    uint64_t cost_max;
} remains;

/* Behind the end lie at most as many more events as there is room for. */
static uint32_t ordinal_max_at(const remains *seen, uint64_t position) {
    uint64_t most = seen->ordinal_min + (position - seen->from) / AQW_RECORD_HEADER_SIZE;
    return most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}

/* A valid record of the segment at this position, whatever its ordinal within reason. Counts the bytes that it took to tell. */
static int segment_record(aqw_stream *stream, remains *seen, uint64_t position, aqw_record *record) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    const uint8_t *from = stream->newest + position;
    uint64_t available = segment->file_size - position;
    if (available < AQW_RECORD_HEADER_SIZE || !aqw_record_is_plausible(from, seen->ordinal_min, ordinal_max_at(seen, position))) return 0;
    uint32_t size = aqw_record_size(aqw_load_u32(from + 4) & 0xffffff);
    if (size > available) return 0;
    seen->cost += size;
    return aqw_record_read(from, (size_t)available, &segment->place, position, record);
}

static void note_record(remains *seen, const aqw_record *record) {
    raise_to(&seen->watermark, record->watermark);
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

/* The reverse: where the bytes end that are not zero, between `begin` and `end`. */
static uint64_t drop_zeros(const uint8_t *bytes, uint64_t begin, uint64_t end) {
    uint64_t word = 0;
    while (end - begin >= sizeof word) {
        memcpy(&word, bytes + end - sizeof word, sizeof word);
        if (word != 0) break;
        end -= sizeof word;
    }
    while (end > begin && bytes[end - 1] == 0) end--;
    return end;
}

static void scan_segment(aqw_stream *stream, remains *seen) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    aqw_record record;
    for (uint64_t at = seen->from; at < segment->file_size && seen->cost <= seen->cost_max;) {
        /* A record's kind, its eighth byte, is never zero: unused space is passed at once. */
        uint64_t used = skip_zeros(stream->newest, at, segment->file_size);
        if (used >= at + 2 * AQW_RECORD_ALIGNMENT) at = used - AQW_RECORD_ALIGNMENT;
        if (!segment_record(stream, seen, at, &record)) {
            at += AQW_RECORD_ALIGNMENT;
            continue;
        }
        note_record(seen, &record);
        at += record.size;
    }
}

/* The ring's bytes at one offset, at every position that they can stand for: records larger than the ring are not in it, so what follows
 * one may lie more than the ring's size behind the end. Returns the size of the record that was found, or 0. */
static uint32_t scan_ring_at(aqw_stream *stream, remains *seen, uint64_t first) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    /* Most bytes are no record's wherever they stand, and that is told once. */
    if (ring_record_size(stream, first, seen->ordinal_min, UINT32_MAX) == 0) return 0;
    aqw_record record;
    for (uint64_t at = first; at < segment->file_size && seen->cost <= seen->cost_max; at += stream->ring.size) {
        if (!aqw_stream_ring_record(stream, at, seen->ordinal_min, ordinal_max_at(seen, at), &seen->cost, &record)) continue;
        note_record(seen, &record);
        return record.size;
    }
    return 0;
}

static void scan_ring(aqw_stream *stream, remains *seen) {
    if (!stream->ring.is_present) return;
    uint64_t end = seen->from + stream->ring.size;
    for (uint64_t at = seen->from; at < end && seen->cost <= seen->cost_max;) {
        uint32_t size = scan_ring_at(stream, seen, at);
        at += size != 0 ? size : AQW_RECORD_ALIGNMENT;
    }
}

/* W: the highest sequence that anything in the log says was durable; the base is added by the caller. Taking it from both sources at
 * every position can only raise it, and every watermark was true when it was written. */
static aqw_status find_durable(aqw_stream *stream, remains *behind, remains *ring_behind, aqw_fault *fault) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
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
    memset(behind, 0, sizeof *behind);
    behind->from = position;
    behind->ordinal_min = ordinal;
    behind->cost_max = SCAN_COST_FACTOR * segment->file_size;
    *ring_behind = *behind;
    scan_segment(stream, behind);
    scan_ring(stream, ring_behind);
    if (behind->cost > behind->cost_max || ring_behind->cost > ring_behind->cost_max)
        return aqw_stream_corrupt(stream, stream->segment_count - 1, AQW_REASON_SCAN_BOUND, position,
                                  segment->place.first_sequence + ordinal, 0, fault);
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
    remains behind, ring_behind;
    walk at;
    aqw_status status = find_durable(stream, &behind, &ring_behind, fault);
    if (status != AQW_OK) return status;
    uint64_t durable_by_log = summary->durable_sequence;
    raise_to(&summary->durable_sequence, summary->base_sequence);
    walk_newest(stream, &at);

    uint64_t next_sequence = first + at.whole_ordinal;
    if (next_sequence > durable_by_log && next_sequence <= summary->base_sequence && !at.breaks_batch)
        return aqw_stream_corrupt(stream, newest, AQW_REASON_SNAPSHOT_AHEAD, at.position, next_sequence, summary->base_sequence, fault);
    /* Flags that contradict each other in verified records are no remains of a crash. */
    if (next_sequence <= summary->durable_sequence || at.breaks_batch)
        return aqw_stream_corrupt(stream, newest, at.whole_position != at.position || at.breaks_batch ? AQW_REASON_BATCH : AQW_REASON_RECORD_INVALID,
                                  at.position, first + at.ordinal, summary->durable_sequence, fault);
    uint64_t used = drop_zeros(stream->newest, at.whole_position, segment->file_size);
    int is_followed_by_zeros = used == at.whole_position;

    summary->segments = stream->segment_count;
    summary->first_sequence = stream->segments[0].place.first_sequence;
    summary->last_sequence = next_sequence - 1;
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
    if (!stream->ring.is_present && !summary->is_clean && (at.ordinal > 0 || first > 1))
        return aqw_stream_corrupt(stream, newest, AQW_REASON_RING_MISSING, at.position, next_sequence, 0, fault);
    return AQW_OK;
}
