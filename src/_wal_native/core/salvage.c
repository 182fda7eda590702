/* A record that does not verify is passed over in steps of the records' alignment; what is found behind it counts only where its
 * sequence is the next. So an event that a snapshot covers may be unreadable without loss, and a gap is never bridged. */
#include "salvage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "replay.h"
#include "stream_internal.h"

typedef struct salvager {
    aqw_table *table;
    aqw_salvage *found;
    aqw_progress *progress;
    aqw_stream *stream;         /* its listing of the segments, and its bytes of the one at hand */
    uint8_t *usable;            /* for each segment: its header verifies */
    int in_batch;               /* of the table */
    int has_stopped;            /* at a gap, or at an event that the projection refuses */
    aqw_fault *fault;
} salvager;

static void break_batch(salvager *s) {
    if (s->in_batch) aqw_table_rollback(s->table);
    s->in_batch = 0;
}

static aqw_status stop_at(salvager *s) {
    break_batch(s);
    s->has_stopped = 1;
    return AQW_OK;
}

static aqw_status take_event(salvager *s, const aqw_record *record) {
    aqw_fault refused;
    if (record->sequence > s->found->last_seen) s->found->last_seen = record->sequence;
    if (s->in_batch && record->flags == 0) break_batch(s);
    uint64_t latest = aqw_table_latest_sequence(s->table);
    if (record->sequence <= latest) return AQW_OK;
    int starts = record->flags == AQW_FLAG_BATCH_OPEN && !s->in_batch;
    int follows = record->sequence == latest + 1 && (record->flags != AQW_FLAG_BATCH_END || s->in_batch);
    if (s->has_stopped || !follows) {
        s->found->unused_events++;
        return s->has_stopped ? AQW_OK : stop_at(s);
    }
    if (starts) {
        aqw_status status = aqw_table_begin(s->table);
        if (status != AQW_OK) return aqw_fault_set(s->fault, status, s->stream->directory);
        s->in_batch = 1;
    }
    aqw_status status = aqw_replay_record(s->table, record, &refused);
    if (status == AQW_NO_MEMORY) return aqw_fault_set(s->fault, status, s->stream->directory);
    if (status != AQW_OK) {
        s->found->unused_events++;
        return stop_at(s);
    }
    if (record->flags == AQW_FLAG_BATCH_END) {
        aqw_table_commit(s->table);
        s->in_batch = 0;
    }
    return AQW_OK;
}

static aqw_status take_record(salvager *s, const aqw_record *record) {
    if (record->watermark > s->found->durable) s->found->durable = record->watermark;
    return record->kind < AQW_KIND_MARKER ? take_event(s, record) : AQW_OK;
}

/* The record at a position of the segment at hand: at its place in the order from the segment or, in the newest, the ring; else any. */
static int find_record(const salvager *s, uint64_t position, uint64_t end, uint32_t ordinal, aqw_record *record) {
    const aqw_segment_header *segment = aqw_stream_newest(s->stream);
    return aqw_stream_choose(s->stream, position, ordinal, 0, record) != SOURCE_NONE ||
           aqw_record_read(s->stream->newest + position, (size_t)(end - position), &segment->place, position, record);
}

/* The stream's newest segment is the one at hand: the reader's rules for a single record then apply to it. */
static aqw_status take_segment(salvager *s, uint64_t end) {
    uint64_t position = AQW_SEGMENT_DATA;
    uint32_t ordinal = 0;
    aqw_record record;
    while (position < end) {
        if (!find_record(s, position, end, ordinal, &record)) {
            position += AQW_RECORD_ALIGNMENT;
            continue;
        }
        position += record.size;
        ordinal = record.ordinal + (record.kind < AQW_KIND_MARKER ? 1 : 0);
        aqw_status status = take_record(s, &record);
        if (status != AQW_OK) return status;
    }
    break_batch(s);             /* it would have to lie in one segment */
    aqw_progress_add(s->progress, end);
    return aqw_progress_is_canceled(s->progress) ? aqw_fault_set(s->fault, AQW_STOPPED, s->stream->directory) : AQW_OK;
}

/* Damage is passed over; what the system refuses is not damage. */
static aqw_status pass_damage(aqw_status status, const aqw_fault *fault) {
    return status == AQW_CORRUPT || (status == AQW_IO_ERROR && fault->system_error == EIO) ? AQW_OK : status;
}

static aqw_status load_headers(salvager *s) {
    aqw_stream *all = s->stream;
    for (uint64_t i = 0; i < all->segment_count; i++) {
        if (all->segments[i].place.segment_number > s->found->segment_number_max)
            s->found->segment_number_max = all->segments[i].place.segment_number;
        aqw_status status = aqw_stream_load_header(all, i, s->fault);
        s->usable[i] = status == AQW_OK;
        status = pass_damage(status, s->fault);
        if (status != AQW_OK) return status;
        const aqw_segment_header *segment = &all->segments[i];
        if (!s->usable[i]) continue;
        if (!s->found->has_log_uuid) memcpy(s->found->log_uuid, segment->place.log_uuid, 16);
        s->found->has_log_uuid = 1;
        s->usable[i] = memcmp(s->found->log_uuid, segment->place.log_uuid, 16) == 0;
        if (s->usable[i] && segment->watermark > s->found->durable) s->found->durable = segment->watermark;
    }
    return AQW_OK;
}

static int links_to(const aqw_segment_header *next, const aqw_segment_header *before) {
    return next->link_number == before->place.segment_number && next->link_salt == before->place.salt &&
           next->link_end >= AQW_SEGMENT_DATA && next->link_end <= before->file_size;
}

static aqw_status take_segments(salvager *s) {
    aqw_stream *all = s->stream;
    uint64_t count = all->segment_count;
    int ring_is_present = all->ring.is_present && memcmp(all->ring.log_uuid, s->found->log_uuid, 16) == 0;
    if (ring_is_present && all->ring.durable_sequence > s->found->durable) s->found->durable = all->ring.durable_sequence;
    for (uint64_t i = 0; i < count; i++) {
        if (!s->usable[i]) continue;
        uint64_t end = all->segments[i].file_size;
        if (i + 1 < count && s->usable[i + 1] && links_to(&all->segments[i + 1], &all->segments[i])) end = all->segments[i + 1].link_end;
        /* The ring's bytes belong to the newest; their checksums would tell, but so it need not be asked. */
        all->ring.is_present = ring_is_present && i + 1 == count;
        all->segment_count = i + 1;
        aqw_status status = aqw_stream_load_newest(all, s->fault);
        if (status == AQW_OK) status = take_segment(s, end);
        all->segment_count = count;
        status = pass_damage(status, s->fault);
        if (status != AQW_OK) return status;
    }
    return AQW_OK;
}

aqw_status aqw_salvage_events(const aqw_io *io, const char *directory, aqw_table *table, aqw_salvage *found, aqw_progress *progress,
                              aqw_fault *fault) {
    salvager s = {.table = table, .found = found, .progress = progress, .fault = fault};
    aqw_status status = aqw_stream_new(io, directory, &s.stream, fault);
    if (status == AQW_OK) status = aqw_stream_list(s.stream, fault);
    if (status == AQW_OK) status = pass_damage(aqw_ring_load(io, directory, &s.stream->ring, fault), fault);
    if (status == AQW_OK && s.stream->segment_count > 0) {
        s.usable = calloc((size_t)s.stream->segment_count, 1);
        if (s.usable == NULL) status = aqw_fault_set(fault, AQW_NO_MEMORY, directory);
        if (status == AQW_OK) status = load_headers(&s);
        if (status == AQW_OK) status = take_segments(&s);
    }
    if (s.stream != NULL) s.stream->ring.is_present = s.stream->ring.data != NULL;
    free(s.usable);
    aqw_stream_free(s.stream);
    return status;
}
