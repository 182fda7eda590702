/* Where the newest segment ends: the durable bound W, the rule of segment and ring, and the facts
 * that end_cases.c decides on (format.h, READING 3 to 6). */
#include <string.h>

#include "base/bytes.h"
#include "files/format.h"
#include "read/end_cases.h"
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

/* Returns the size of the record that the 16 bytes at `position` announce, as far as the segment
 * and the ring have room; 0 where it can't be one with such an ordinal. The caller asks before it
 * copies anything: most bytes are no record's. */
static uint32_t ring_record_size(aqw_stream *stream, uint64_t position, uint32_t ordinal_min,
                                 uint32_t ordinal_max) {
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    if (position + AQW_RECORD_HEADER_SIZE > segment->file_size) return 0;
    const uint8_t *header = aqw_stream_ring_bytes(stream, position, AQW_RECORD_HEADER_SIZE);
    if (header == NULL || !aqw_record_is_plausible(header, ordinal_min, ordinal_max)) return 0;
    uint32_t size = aqw_record_size(aqw_load_u32(header + 4) & 0xffffff);
    return size <= segment->file_size - position && size <= stream->ring.size ? size : 0;
}

static int ring_check(aqw_stream *stream, uint64_t position, uint32_t ordinal,
                      aqw_record *record) {
    uint32_t size = ring_record_size(stream, position, ordinal, ordinal);
    const uint8_t *bytes = size == 0 ? NULL : aqw_stream_ring_bytes(stream, position, size);
    return bytes != NULL && aqw_record_check(bytes, size, &aqw_stream_newest(stream)->place,
                                             position, ordinal, record);
}

/* The window mostly holds the whole record: one look then, without a call. */
static int segment_check(aqw_stream *stream, uint64_t position, uint32_t ordinal,
                         aqw_record *record) {
    const aqw_window *held = &stream->newest;
    if (position >= held->begin && position < held->end &&
        aqw_record_check(held->bytes + (position - held->begin), (size_t)(held->end - position),
                         &aqw_stream_newest(stream)->place, position, ordinal, record))
        return 1;
    const uint8_t *bytes = aqw_window_at(&stream->newest, position, AQW_RECORD_HEADER_SIZE);
    if (bytes == NULL || !aqw_record_is_plausible(bytes, ordinal, ordinal)) return 0;
    uint32_t size = aqw_record_size(aqw_load_u32(bytes + 4) & 0xffffff);
    bytes = aqw_window_at(&stream->newest, position, size);
    return bytes != NULL && aqw_record_check(bytes, size, &aqw_stream_newest(stream)->place,
                                             position, ordinal, record);
}

aqw_source aqw_stream_choose(aqw_stream *stream, uint64_t position, uint32_t ordinal,
                             uint64_t durable, aqw_record *record) {
    if (segment_check(stream, position, ordinal, record)) return SOURCE_SEGMENT;
    uint64_t before = aqw_stream_newest(stream)->place.first_sequence + ordinal - 1;
    if (before < durable || !ring_check(stream, position, ordinal, record)) return SOURCE_NONE;
    if (position < stream->ring_first) stream->ring_first = position;
    return SOURCE_RING;
}

static void raise_to(uint64_t *value, uint64_t to) {
    if (to > *value) *value = to;
}

/* How far the records go. */
typedef struct walk {
    uint64_t position;          /* the end of all that was found */
    uint32_t ordinal;
    uint64_t whole_position;    /* the same, without an unfinished batch */
    uint32_t whole_ordinal;
    int breaks_batch;           /* a record can't stand here by its flags */
    int ends_with_marker;       /* with a close marker in the segment that covers all before it */
    uint64_t ring_events;
    uint64_t whole_ring_events;
} walk;

/* All that the facts come from. */
typedef struct findings {
    walk at;
    aqw_remains behind;         /* in the segment */
    aqw_remains ring_behind;
    uint64_t durable_by_log;    /* W without the base */
    uint64_t last_sequence;     /* of the last whole event */
    uint64_t used;              /* after the segment's last byte that is not zero, or its end */
} findings;

/* W: the highest sequence that anything in the log says was durable; the caller adds the base.
 * Taking it from both sources at every position can only raise it, and every watermark was true
 * when it was written. */
static aqw_status find_durable(aqw_stream *stream, findings *found, aqw_fault *fault) {
    aqw_record record;
    uint64_t durable = 0;
    if (stream->ring.is_present) raise_to(&durable, stream->ring.durable_sequence);
    for (uint64_t i = 0; i < stream->segment_count; i++)
        raise_to(&durable, stream->segments[i].watermark);
    uint64_t position = AQW_SEGMENT_DATA;
    uint32_t ordinal = 0;
    while (aqw_stream_choose(stream, position, ordinal, 0, &record) != SOURCE_NONE) {
        raise_to(&durable, record.watermark);
        position += record.size;
        if (record.kind < AQW_KIND_MARKER) ordinal++;
    }
    aqw_status status = aqw_stream_find_remains(stream, position, ordinal, &found->behind,
                                                &found->ring_behind, fault);
    if (status != AQW_OK) return status;
    raise_to(&durable, found->behind.watermark);
    raise_to(&durable, found->ring_behind.watermark);
    found->durable_by_log = durable;
    return AQW_OK;
}

/* Walks the newest segment under the rule, and notes the last place outside a batch, as the end and
 * as the durable end. */
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
        aqw_source source = aqw_stream_choose(stream, at->position, at->ordinal, durable,
                                              &record);
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
        at->ends_with_marker = record.kind == AQW_KIND_MARKER && source == SOURCE_SEGMENT &&
                               record.watermark == record.sequence;
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

static aqw_status look(aqw_stream *stream, findings *found, aqw_fault *fault) {
    aqw_stream_summary *summary = &stream->summary;
    const aqw_segment_header *segment = aqw_stream_newest(stream);
    aqw_status status = find_durable(stream, found, fault);
    if (status != AQW_OK) return status;
    summary->durable_sequence = found->durable_by_log;
    raise_to(&summary->durable_sequence, summary->base_sequence);
    walk_newest(stream, &found->at);
    status = aqw_stream_failure(stream, fault);
    if (status != AQW_OK) return status;
    found->last_sequence = segment->place.first_sequence + found->at.whole_ordinal - 1;
    found->used = aqw_window_used_end(&stream->newest, found->at.whole_position,
                                      segment->file_size);
    return aqw_stream_failure(stream, fault);
}

static int bound_of(const aqw_stream *stream, const findings *found) {
    if (found->last_sequence < found->durable_by_log) return AQW_BOUND_LOST;
    if (found->last_sequence < stream->summary.base_sequence) return AQW_BOUND_AHEAD;
    return AQW_BOUND_HELD;
}

static int last_of(const aqw_stream *stream, const findings *found) {
    if (found->at.whole_position != found->at.position) return AQW_LAST_IN_BATCH;
    int covers_all = found->last_sequence == stream->summary.durable_sequence;
    return found->at.ends_with_marker && covers_all ? AQW_LAST_CLOSE : AQW_LAST_WHOLE;
}

static int ring_of(const aqw_stream *stream, const findings *found) {
    const walk *at = &found->at;
    int had_event = at->ordinal > 0 || aqw_stream_newest(stream)->place.first_sequence != 1;
    if (!stream->ring.is_present) return had_event ? AQW_RING_MISSING : AQW_RING_NOT_MADE;
    if (stream->ring.segment_number > aqw_stream_newest(stream)->place.segment_number)
        return AQW_RING_AHEAD;
    int has_more = found->ring_behind.events > 0 || at->ring_events > at->whole_ring_events;
    return has_more ? AQW_RING_MORE : AQW_RING_NO_MORE;
}

static aqw_end_facts facts_of(const aqw_stream *stream, const findings *found) {
    aqw_end_facts facts;
    facts.bound = bound_of(stream, found);
    facts.stop = found->at.breaks_batch ? AQW_STOP_CONTRADICTION : AQW_STOP_NO_RECORD;
    facts.last = last_of(stream, found);
    facts.tail = found->used == found->at.whole_position ? AQW_TAIL_ZEROS : AQW_TAIL_BYTES;
    facts.ring = ring_of(stream, found);
    return facts;
}

/* A later segment than the newest is missing. How many events it and the ring had is not known. */
static aqw_status refuse_missing_segment(const aqw_stream *stream, const findings *found,
                                         aqw_fault *fault) {
    char wal[AQW_PATH_SIZE_MAX + 8];
    (void)aqw_path_join(wal, sizeof wal, stream->directory, "wal");
    aqw_fault_corrupt(fault, AQW_REASON_SEGMENT_MISSING, wal,
                      aqw_stream_newest(stream)->place.segment_number + 1, 0);
    fault->first_sequence = found->last_sequence + 1;
    return AQW_CORRUPT;
}

/* The sequences at stake begin after the last whole event where the log as a whole stops too early,
 * else at the record that is wrong. How many events a missing ring held is not known. */
static aqw_status refuse(const aqw_stream *stream, const findings *found, aqw_reason reason,
                         aqw_fault *fault) {
    if (reason == AQW_REASON_SEGMENT_MISSING) return refuse_missing_segment(stream, found, fault);
    uint64_t first = aqw_stream_newest(stream)->place.first_sequence + found->at.ordinal;
    uint64_t last = reason == AQW_REASON_RING_MISSING ? 0 : stream->summary.durable_sequence;
    if (reason == AQW_REASON_RING_MISSING || reason == AQW_REASON_SNAPSHOT_AHEAD)
        first = found->last_sequence + 1;
    return aqw_stream_corrupt(stream, stream->segment_count - 1, reason, found->at.position, first,
                              last, fault);
}

/* Drops all that stands after the end: the caller copies and reports it. */
static void accept(aqw_stream *stream, const findings *found, const aqw_end_facts *facts,
                   const aqw_end_case *met) {
    aqw_stream_summary *summary = &stream->summary;
    const walk *at = &found->at;
    uint64_t in_segment = found->behind.events, in_ring = found->ring_behind.events;
    summary->segments = stream->segment_count;
    summary->first_sequence = stream->segments[0].place.first_sequence;
    summary->last_sequence = found->last_sequence;
    summary->end = at->whole_position;
    summary->ordinal = at->whole_ordinal;
    summary->ring_events = at->whole_ring_events;
    summary->is_clean = met->verdict == AQW_VERDICT_CLEAN;
    summary->drop_reason = met->reason;
    summary->dropped_from = at->whole_position;
    summary->dropped_bytes = found->used - at->whole_position;
    summary->ring_has_dropped = facts->ring == AQW_RING_MORE;
    /* The same event may lie in both: the greater of the two is what was certainly there. */
    summary->dropped_events = (at->ordinal - at->whole_ordinal) +
                              (in_segment > in_ring ? in_segment : in_ring);
}

aqw_status aqw_stream_find_facts(aqw_stream *stream, aqw_end_facts *facts, aqw_fault *fault) {
    findings found;
    aqw_status status = look(stream, &found, fault);
    if (status == AQW_OK) *facts = facts_of(stream, &found);
    return status;
}

aqw_status aqw_stream_find_end(aqw_stream *stream, aqw_fault *fault) {
    findings found;
    aqw_status status = look(stream, &found, fault);
    if (status != AQW_OK) return status;
    aqw_end_facts facts = facts_of(stream, &found);
    const aqw_end_case *met = aqw_end_decide(&facts);
    if (met->verdict == AQW_VERDICT_REFUSED)
        return refuse(stream, &found, (aqw_reason)met->reason, fault);
    accept(stream, &found, &facts, met);
    return AQW_OK;
}
