/* The salvager passes over a record that does not verify in steps of the records' alignment; what
 * it finds after that counts only where its sequence is the next. So an event that a snapshot
 * covers may be unreadable without loss, and a gap is never bridged. It asks the medium twice
 * before bytes count as lost. */
#include "read/salvage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "files/format.h"
#include "read/replay.h"
#include "read/salvage_moved.h"
#include "read/stream_internal.h"

/* Bytes of a gap after which the salvager asks the progress whether to go on. */
enum { ASKED_SIZE = 1 << 16 };

/* No log comes that far; so no log has a greater number, and there is always a next one. */
static const uint64_t SEGMENT_NUMBER_MAX = UINT64_MAX / 2;

typedef struct salvager {
    aqw_table *table;           /* NULL: applies nothing */
    aqw_salvage *found;
    aqw_progress *progress;
    aqw_stream *stream;         /* its listing of the segments, and its bytes of the current one */
    uint8_t *usable;            /* for each segment: its header verifies */
    int in_batch;               /* a batch of the table is open */
    uint64_t batch_events;      /* of that batch, so far */
    int has_stopped;            /* at a gap, or at an event that the projection refuses */
    aqw_fault *fault;
} salvager;

/* --- Events ----------------------------------------------------------------------------------- */

static void break_batch(salvager *s) {
    if (!s->in_batch) return;
    aqw_table_rollback(s->table);
    s->found->unused_events += s->batch_events;
    s->in_batch = 0;
    s->batch_events = 0;
}

static aqw_status stop_at(salvager *s) {
    break_batch(s);
    s->found->unused_events++;
    s->has_stopped = 1;
    return AQW_OK;
}

static aqw_status begin_batch(salvager *s) {
    aqw_status status = aqw_table_begin(s->table);
    if (status != AQW_OK) return aqw_fault_set(s->fault, status, s->stream->directory);
    s->in_batch = 1;
    return AQW_OK;
}

static aqw_status take_event(salvager *s, const aqw_record *record) {
    aqw_fault refused;
    if (record->sequence > s->found->last_seen) s->found->last_seen = record->sequence;
    aqw_status status = s->found->visit == NULL
                            ? AQW_OK
                            : s->found->visit(s->found->visit_to, record, s->fault);
    if (status != AQW_OK || s->table == NULL) return status;
    if (record->flags == 0) break_batch(s);
    uint64_t latest = aqw_table_latest_sequence(s->table);
    if (record->sequence <= latest) return AQW_OK;
    int is_stray = record->flags == AQW_FLAG_BATCH_END && !s->in_batch;
    if (s->has_stopped || record->sequence != latest + 1 || is_stray) return stop_at(s);
    if (record->flags == AQW_FLAG_BATCH_OPEN && !s->in_batch) {
        status = begin_batch(s);
        if (status != AQW_OK) return status;
    }
    status = aqw_replay_record(s->table, record, &refused);
    if (status == AQW_NO_MEMORY) return aqw_fault_set(s->fault, status, s->stream->directory);
    if (status == AQW_UNSUPPORTED_FORMAT) {     /* a repair would give good events up */
        *s->fault = refused;
        aqw_fault_name(s->fault, s->stream->directory);
        return status;
    }
    if (status != AQW_OK) return stop_at(s);
    if (s->in_batch) s->batch_events++;
    if (record->flags == AQW_FLAG_BATCH_END) {
        aqw_table_commit(s->table);
        s->in_batch = 0;
        s->batch_events = 0;
    }
    return AQW_OK;
}

static aqw_status take_record(salvager *s, const aqw_record *record) {
    if (record->watermark > s->found->durable) s->found->durable = record->watermark;
    return record->kind < AQW_KIND_MARKER ? take_event(s, record) : AQW_OK;
}

/* --- Records of one segment ------------------------------------------------------------------- */

/* A walk through the current segment: `gap` is the end of the last record that was found,
 * after `ordinal` events. */
typedef struct walk {
    uint64_t position;
    uint64_t end;
    uint64_t gap;
    uint32_t ordinal;
} walk;

/* Finds the record at a position. At its place in the order it takes it from the segment
 * or, in the newest, the ring; else, after a gap, any record that has as many events before
 * it as there is room for. */
static aqw_status find_record(salvager *s, const walk *at, aqw_record *record, int *is_found) {
    aqw_stream *stream = s->stream;
    *is_found = at->position == at->gap &&
                aqw_stream_choose(stream, at->position, at->ordinal, 0, record) != SOURCE_NONE;
    if (*is_found) return AQW_OK;
    aqw_status status = aqw_stream_segment_remains(stream, at->position, at->end, at->ordinal,
                                                   at->gap, record, is_found);
    if (status != AQW_OK || *is_found || !stream->ring.is_present) return status;
    /* Takes the ring's record of this position only: in a gap that spans many laps of the ring each
     * record would otherwise come up once a lap. */
    return aqw_stream_ring_remains(stream, at->position, at->ordinal, at->gap, record, is_found);
}

/* The stream's newest segment is the current one: the reader's rules for a single
 * record then apply to it. */
static aqw_status take_segment(salvager *s, uint64_t end) {
    walk at = {.position = AQW_SEGMENT_DATA, .end = end, .gap = AQW_SEGMENT_DATA};
    aqw_record record;
    int is_found = 0;
    while (at.position < end) {
        aqw_status status = find_record(s, &at, &record, &is_found);
        if (aqw_stream_failure(s->stream, s->fault) != AQW_OK) return s->stream->newest.status;
        if (status != AQW_OK) return aqw_fault_set(s->fault, status, s->stream->directory);
        if (!is_found) {
            at.position += AQW_RECORD_ALIGNMENT;
            if (at.position % ASKED_SIZE == 0 && aqw_progress_must_stop(s->progress)) break;
            continue;
        }
        at.position += record.size;
        at.gap = at.position;
        at.ordinal = record.ordinal + (record.kind < AQW_KIND_MARKER ? 1 : 0);
        status = take_record(s, &record);
        if (status != AQW_OK) return status;
    }
    break_batch(s);             /* a batch lies in one segment */
    aqw_progress_add(s->progress, end);
    return aqw_progress_is_canceled(s->progress)
               ? aqw_fault_set(s->fault, AQW_STOPPED, s->stream->directory)
               : AQW_OK;
}

/* --- Segments --------------------------------------------------------------------------------- */

static int is_unreadable(aqw_status status, const aqw_fault *fault) {
    return status == AQW_IO_ERROR && fault->system_error == EIO;
}

/* A compaction may drop a segment while a caller looks at a log that has a writer. */
static int is_gone(aqw_status status, const aqw_fault *fault) {
    return status == AQW_IO_ERROR && fault->system_error == ENOENT;
}

/* Passes over damage, and over what the medium has lost or what is gone; any other refusal of the
 * system is not damage. */
static aqw_status pass_damage(aqw_status status, const aqw_fault *fault) {
    return status == AQW_CORRUPT || is_unreadable(status, fault) || is_gone(status, fault) ? AQW_OK
                                                                                           : status;
}

static aqw_status open_segment(salvager *s, uint64_t index, char *path, size_t capacity,
                               int64_t *handle) {
    const aqw_place *place = &s->stream->segments[index].place;
    if (aqw_segment_path(path, capacity, s->stream->directory, place->segment_number,
                         place->first_sequence) != AQW_OK)
        return aqw_fault_set(s->fault, AQW_INVALID_ARGUMENT, s->stream->directory);
    int error = aqw_io_open(&s->stream->io, path, AQW_OPEN_READ, handle);
    return error == 0 ? AQW_OK : aqw_fault_io(s->fault, "open", path, error);
}

/* Loads the header of a file that was cut short, or grew: what is there of its records counts. */
static aqw_status load_header_of_other_size(salvager *s, uint64_t index) {
    char path[AQW_PATH_SIZE_MAX + 64];
    aqw_segment_header *segment = &s->stream->segments[index], header;
    const aqw_io *io = &s->stream->io;
    int64_t handle = -1;
    uint64_t size = 0;
    aqw_status status = open_segment(s, index, path, sizeof path, &handle);
    if (status != AQW_OK) return status;
    status = aqw_segment_header_load(io, handle, path, segment->place.segment_number,
                                     segment->place.first_sequence, &header, s->fault);
    int is_right = status == AQW_CORRUPT && s->fault->offset == AQW_SEGMENT_OFFSET_FILE_SIZE &&
                   header.file_size <= AQW_SEGMENT_FILE_SIZE_MAX;
    if (is_right && io->size(io->context, handle, &size) == 0) {
        *segment = header;
        if (size < segment->file_size) segment->file_size = size - size % AQW_RECORD_ALIGNMENT;
        status = AQW_OK;
    }
    (void)io->close(io->context, handle);
    return status;
}

static void note_number(salvager *s, uint64_t number) {
    if (number > s->found->segment_number_max && number <= SEGMENT_NUMBER_MAX)
        s->found->segment_number_max = number;
}

static aqw_status load_headers(salvager *s) {
    aqw_stream *all = s->stream;
    for (uint64_t i = 0; i < all->segment_count; i++) {
        note_number(s, all->segments[i].place.segment_number);
        aqw_status status = aqw_stream_load_header(all, i, s->fault);
        if (is_unreadable(status, s->fault)) status = aqw_stream_load_header(all, i, s->fault);
        if (status == AQW_CORRUPT && s->fault->reason == AQW_REASON_FILE_SIZE)
            status = load_header_of_other_size(s, i);
        s->usable[i] = status == AQW_OK;
        status = pass_damage(status, s->fault);
        if (status != AQW_OK) return status;
    }
    return AQW_OK;
}

/* Without a snapshot the log is the one that more than half of the files belong to, if there is
 * such a log, else any of them: a vote in one pass. */
static void choose_log(salvager *s) {
    const aqw_stream *all = s->stream;
    uint64_t votes = 0;
    if (s->found->has_log_uuid) return;
    for (uint64_t i = 0; i <= all->segment_count; i++) {
        int is_ring = i == all->segment_count;
        if (is_ring ? !all->ring.is_present : !s->usable[i]) continue;
        const uint8_t *uuid = is_ring ? all->ring.log_uuid : all->segments[i].place.log_uuid;
        if (!s->found->has_log_uuid || (votes == 0 && !is_ring))
            memcpy(s->found->log_uuid, uuid, 16);
        s->found->has_log_uuid = 1;
        if (memcmp(s->found->log_uuid, uuid, 16) == 0) votes++;
        else if (votes > 0) votes--;
    }
}

/* Takes what the headers say was durable, and from here on counts only the log's own files. */
static void keep_own(salvager *s) {
    const aqw_stream *all = s->stream;
    for (uint64_t i = 0; i < all->segment_count; i++) {
        const aqw_segment_header *segment = &all->segments[i];
        s->usable[i] = s->usable[i] && memcmp(s->found->log_uuid, segment->place.log_uuid, 16) == 0;
        if (s->usable[i] && segment->watermark > s->found->durable)
            s->found->durable = segment->watermark;
    }
}

static aqw_status load_ring(salvager *s) {
    aqw_stream *all = s->stream;
    aqw_status status = aqw_ring_load(&all->io, all->directory, &all->ring, s->fault);
    if (is_unreadable(status, s->fault))
        status = aqw_ring_load(&all->io, all->directory, &all->ring, s->fault);
    return pass_damage(status, s->fault);
}

static int links_to(const aqw_segment_header *next, const aqw_segment_header *before) {
    return next->link_number == before->place.segment_number &&
           next->link_salt == before->place.salt && next->link_end >= AQW_SEGMENT_DATA &&
           next->link_end <= before->file_size;
}

/* Takes the segments from the one on that holds the event after the snapshot; what lies before it
 * is in the snapshot, or is no longer part of the log. Where it applies nothing, it takes all. */
static aqw_status take_segments(salvager *s) {
    aqw_stream *all = s->stream;
    uint64_t count = all->segment_count, first = 0, last = 0,
             base = s->table == NULL ? 0 : aqw_table_latest_sequence(s->table);
    int ring_is_present = all->ring.is_present &&
                          memcmp(all->ring.log_uuid, s->found->log_uuid, 16) == 0;
    if (ring_is_present && all->ring.durable_sequence > s->found->durable)
        s->found->durable = all->ring.durable_sequence;
    /* Of a segment that is gone, maybe: its number, and so its name, must not come again. */
    if (ring_is_present) note_number(s, all->ring.segment_number);
    for (uint64_t i = 0; i < count; i++) {
        if (s->usable[i]) last = i;
        if (s->usable[i] && s->table != NULL && all->segments[i].place.first_sequence - 1 <= base)
            first = i;
    }
    for (uint64_t i = first; i < count; i++) {
        if (!s->usable[i]) continue;
        uint64_t end = all->segments[i].file_size;
        if (i + 1 < count && s->usable[i + 1] && links_to(&all->segments[i + 1], &all->segments[i]))
            end = all->segments[i + 1].link_end;
        /* The ring's bytes belong to the newest; their checksums would show that too, but
         * need not be computed then. */
        all->ring.is_present = ring_is_present && i == last;
        all->segment_count = i + 1;
        aqw_status status = aqw_stream_load_newest(all, s->fault);
        if (status == AQW_OK) status = take_segment(s, end);
        else if (is_gone(status, s->fault)) status = AQW_OK;
        all->segment_count = count;
        if (status != AQW_OK) return status;
    }
    return AQW_OK;
}

aqw_status aqw_salvage_events(const aqw_io *io, const char *directory, aqw_table *table,
                              aqw_salvage *found, aqw_progress *progress, aqw_fault *fault) {
    salvager s = {.table = table, .found = found, .progress = progress, .fault = fault};
    aqw_status status = aqw_stream_new(io, directory, &s.stream, fault);
    if (status == AQW_OK) {
        s.stream->passes_damage = 1;
        s.stream->progress = progress;
    }
    if (status == AQW_OK) status = aqw_stream_list(s.stream, fault);
    if (status == AQW_OK) status = load_ring(&s);
    if (status == AQW_OK) {
        s.usable = calloc((size_t)s.stream->segment_count + 1, 1);
        if (s.usable == NULL) status = aqw_fault_set(fault, AQW_NO_MEMORY, directory);
        if (status == AQW_OK) status = load_headers(&s);
        if (status == AQW_OK) {
            choose_log(&s);
            keep_own(&s);
            status = take_segments(&s);
        }
    }
    if (s.stream != NULL) s.stream->ring.is_present = s.stream->ring.data != NULL;
    free(s.usable);
    aqw_stream_free(s.stream);
    return status;
}

aqw_status aqw_salvage_read(const aqw_io *io, const char *directory, const char *moved,
                            aqw_salvage_visit visit, void *to, aqw_progress *progress,
                            aqw_fault *fault) {
    aqw_salvage found = {.visit = visit, .visit_to = to};
    aqw_moved_files files;
    aqw_io view;
    if (moved == NULL) return aqw_salvage_events(io, directory, NULL, &found, progress, fault);
    aqw_moved_view(&view, &files, io, directory, moved);
    return aqw_salvage_events(&view, directory, NULL, &found, progress, fault);
}
