/* Invariants:
 *  - `end` is where the segment ends if its successor was there at the last look, else UINT64_MAX.
 *  - `limit` is the durable sequence that was read before the look for the successor, or the
 *    trusted one if that is higher, and 0 until both were done in this segment. So a record below
 *    `end` of an event at or below `limit` is not superseded.
 *  - `position` is after the last record that the follower walked, and it walks records only up to
 *    the event `limit`.
 *  - The buffer is what the file held at some time: bytes that do not verify are read once more
 *    before the follower believes them.
 *  - Sequences say nothing of the history that they are counted in. So the follower compares the
 *    event that it stands after wherever it meets that event again, and the record that it took
 *    last wherever it reads the file again: where another stands there, the log was put back to an
 *    earlier state, or is another. */
#include "read/follow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "files/format.h"
#include "files/ring.h"
#include "files/segment.h"

/* A directory that changes between listing and opening is listed up to 100 times. */
enum { BUFFER_SIZE = 1 << 20, LOCATE_TRIES = 100 };

typedef struct open_segment {
    aqw_segment_header header;
    int64_t handle;             /* -1 while no file is open */
} open_segment;

struct aqw_follower {
    aqw_io io;
    char directory[AQW_PATH_SIZE_MAX];
    uint64_t sequence;          /* of the last event that was returned, or of where to begin */
    uint64_t met;               /* the same once the follower met that event, else 0 */
    uint32_t checksum;          /* of that event; where is_known */
    int is_known;
    int has_changed;            /* the follower met another history */
    int is_unnamed;             /* the current segment's file has lost its name */
    int must_find;              /* the follower went elsewhere, and must meet the event there */
    uint64_t durable;           /* the highest that it read */
    uint64_t trusted;
    uint64_t limit;
    open_segment current;
    open_segment next;
    uint64_t last_position;     /* of the last record taken from the current segment, or 0 */
    uint32_t last_checksum;
    uint64_t end;
    uint64_t position;
    uint32_t ordinal;
    uint8_t history[16];
    int knows_history;
    uint8_t *buffer;
    size_t capacity;
    uint64_t buffer_at;         /* position of its first byte */
    size_t buffered;
};

/* --- Segments --------------------------------------------------------------------------------- */

static void close_segment(aqw_follower *f, open_segment *segment) {
    if (segment->handle >= 0) (void)f->io.close(f->io.context, segment->handle);
    segment->handle = -1;
}

/* Returns AQW_END where the file is gone. */
static aqw_status load_segment(aqw_follower *f, uint64_t number, uint64_t first_sequence,
                               open_segment *segment, aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 64];
    if (aqw_segment_path(path, sizeof path, f->directory, number, first_sequence) != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, f->directory);
    int error = aqw_io_open(&f->io, path, AQW_OPEN_READ, &segment->handle);
    if (error != 0) segment->handle = -1;
    if (error == ENOENT) return AQW_END;
    if (error != 0) return aqw_fault_io(fault, "open", path, error);
    aqw_status status = aqw_segment_header_load(&f->io, segment->handle, path, number,
                                                first_sequence, &segment->header, fault);
    if (status != AQW_OK) close_segment(f, segment);
    return status;
}

/* What a walk over a listing looks for. */
typedef struct search {
    uint64_t wanted;            /* the sequence before the wanted one */
    uint64_t after;             /* a segment number */
    /* the newest segment that begins at most one after `wanted`, or 0 */
    uint64_t number, first_sequence;
    /* the oldest segment whose number is above `after` */
    uint64_t next_number, next_first_sequence;
    int is_empty;
    uint64_t oldest_sequence;
} search;

static void visit_name(void *to, const char *name) {
    search *found = to;
    uint64_t number = 0, first = 0;
    if (!aqw_segment_name_parse(name, &number, &first)) return;
    if (found->is_empty || first - 1 < found->oldest_sequence - 1) found->oldest_sequence = first;
    found->is_empty = 0;
    if (first - 1 <= found->wanted && number > found->number) {
        found->number = number;
        found->first_sequence = first;
    }
    if (number > found->after && (found->next_number == 0 || number < found->next_number)) {
        found->next_number = number;
        found->next_first_sequence = first;
    }
}

static aqw_status list_segments(aqw_follower *f, search *found, aqw_fault *fault) {
    char wal[AQW_PATH_SIZE_MAX + 8];
    if (aqw_path_join(wal, sizeof wal, f->directory, "wal") != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, f->directory);
    int error = f->io.check_directory(f->io.context, wal);
    if (error == ENOENT) return aqw_fault_set(fault, AQW_NOT_A_QUEUE, f->directory);
    if (error == ENOTDIR) return aqw_fault_corrupt(fault, AQW_REASON_DIRECTORY, wal, 0, 0);
    if (error == 0) error = f->io.list(f->io.context, wal, visit_name, found);
    return error == 0 ? AQW_OK : aqw_fault_io(fault, "list", wal, error);
}

static void begin_segment(aqw_follower *f) {
    f->position = AQW_SEGMENT_DATA;
    f->last_position = 0;
    f->ordinal = 0;
    f->end = UINT64_MAX;
    f->limit = 0;
    f->buffered = 0;
}

static int links_to(const aqw_segment_header *next, const aqw_segment_header *before) {
    return next->link_number == before->place.segment_number &&
           next->link_salt == before->place.salt;
}

static aqw_status compacted(const aqw_follower *f, uint64_t first_sequence, aqw_fault *fault) {
    aqw_fault_set(fault, AQW_COMPACTED, f->directory);
    fault->first_sequence = first_sequence;
    return AQW_COMPACTED;
}

/* Goes to the segment that holds the event after `sequence`, and starts over there. */
static aqw_status locate_behind(aqw_follower *f, uint64_t sequence, aqw_fault *fault) {
    for (int tries = 0; tries < LOCATE_TRIES; tries++) {
        search found = {.wanted = sequence, .after = UINT64_MAX, .is_empty = 1};
        aqw_status status = list_segments(f, &found, fault);
        if (status != AQW_OK) return status;
        if (found.is_empty) return aqw_fault_set(fault, AQW_NOT_A_QUEUE, f->directory);
        if (found.number == 0) return compacted(f, found.oldest_sequence, fault);
        open_segment segment;
        status = load_segment(f, found.number, found.first_sequence, &segment, fault);
        if (status == AQW_END) continue;
        if (status != AQW_OK) return status;
        close_segment(f, &f->current);
        close_segment(f, &f->next);
        f->current = segment;
        f->durable = 0;         /* a repair may have gone back before it */
        begin_segment(f);
        return AQW_OK;
    }
    return aqw_fault_io(fault, "open", f->directory, EAGAIN);
}

/* Goes to the event that the follower stands after, in order to meet it; where only that event was
 * compacted away, to the next. */
static aqw_status locate(aqw_follower *f, aqw_fault *fault) {
    if (f->sequence == 0) return locate_behind(f, 0, fault);
    aqw_status status = locate_behind(f, f->sequence - 1, fault);
    return status == AQW_COMPACTED ? locate_behind(f, f->sequence, fault) : status;
}

/* Sets this for good: from now on the follower knows what it met of the other history. */
static aqw_status changed_history(aqw_follower *f, aqw_fault *fault) {
    f->has_changed = 1;
    aqw_fault_set(fault, AQW_HISTORY_CHANGED, f->directory);
    fault->last_sequence = f->sequence;
    return AQW_HISTORY_CHANGED;
}

/* A record is never written again, so a changed one is of another history. */
static aqw_status check_last_record(aqw_follower *f, aqw_fault *fault) {
    uint8_t bytes[4];
    size_t done = 0;
    if (f->last_position == 0) return AQW_OK;
    int error = aqw_io_read_all(&f->io, f->current.handle, f->last_position, bytes, sizeof bytes,
                                &done);
    if (error != 0) return aqw_fault_io(fault, "read", f->directory, error);
    return done == sizeof bytes && aqw_load_u32(bytes) == f->last_checksum
               ? AQW_OK
               : changed_history(f, fault);
}

/* A segment's file is never replaced: where another file has its name, the log was
 * replaced or restored. A file without a name may have been compacted away: the
 * segments that are there tell. */
static aqw_status check_history(aqw_follower *f, aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 64];
    const aqw_place *place = &f->current.header.place;
    open_segment named = {.handle = -1};
    f->is_unnamed = 0;
    if (aqw_segment_path(path, sizeof path, f->directory, place->segment_number,
                         place->first_sequence) != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, f->directory);
    int error = f->io.check_same(f->io.context, f->current.handle, path);
    if (error != 0 && error != ESTALE) return aqw_fault_io(fault, "check", path, error);
    if (error == ESTALE) {
        error = aqw_io_open(&f->io, path, AQW_OPEN_READ, &named.handle);
        if (error == 0) close_segment(f, &named);
        else named.handle = -1;
        if (error != 0 && error != ENOENT) return aqw_fault_io(fault, "open", path, error);
        f->is_unnamed = error != 0;
        return error == 0 ? changed_history(f, fault) : AQW_OK;
    }
    return check_last_record(f, fault);
}

/* Looks for the segment after the current one, which says where that ends. */
static aqw_status find_next(aqw_follower *f, aqw_fault *fault) {
    uint64_t missing = 0;
    for (int tries = 0; tries < LOCATE_TRIES; tries++) {
        search found = {.after = f->current.header.place.segment_number, .is_empty = 1};
        aqw_status status = list_segments(f, &found, fault);
        if (status != AQW_OK) return status;
        /* A compaction leaves the newest segment. */
        if (found.next_number == 0) return f->is_unnamed ? changed_history(f, fault) : AQW_OK;
        status = load_segment(f, found.next_number, found.next_first_sequence, &f->next, fault);
        if (status == AQW_END) continue;
        if (status != AQW_OK) return status;
        if (links_to(&f->next.header, &f->current.header)) {
            f->end = f->next.header.link_end;
            return AQW_OK;
        }
        /* Its successor was compacted away, or a repair began a new chain, perhaps before events
         * that were returned already. */
        close_segment(f, &f->next);
        if (found.next_first_sequence - 1 < (f->last_position != 0 ? f->sequence : f->met))
            return changed_history(f, fault);
        uint64_t number = f->current.header.place.segment_number;
        uint8_t log_uuid[16];
        memcpy(log_uuid, f->current.header.place.log_uuid, sizeof log_uuid);
        status = locate(f, fault);
        if (status != AQW_OK) return status;
        /* After a compaction the log goes on; a repair begins another chain, with a link of zeros,
         * and another log has another UUID. */
        if (memcmp(log_uuid, f->current.header.place.log_uuid, sizeof log_uuid) != 0 ||
            (f->current.header.place.segment_number > number && f->current.header.link_number == 0))
            return changed_history(f, fault);
        if (f->is_known) f->must_find = 1;
        f->is_unnamed = 0;
        /* A listing may miss what is made while it goes on; so once is no proof. */
        if (f->current.header.place.segment_number == number) missing = number + 1;
    }
    return missing != 0
               ? aqw_fault_corrupt(fault, AQW_REASON_SEGMENT_MISSING, f->directory, missing, 0)
               : aqw_fault_io(fault, "open", f->directory, EAGAIN);
}

/* A copy goes on as another history, which its next writer names. */
static int is_of_history(aqw_follower *f, const aqw_ring_image *ring) {
    if (!ring->is_present) return 1;
    if (f->knows_history)
        return !ring->is_copy && memcmp(f->history, ring->history, sizeof f->history) == 0;
    if (ring->is_copy) return 1;
    memcpy(f->history, ring->history, sizeof f->history);
    f->knows_history = 1;
    return 1;
}

static aqw_status go_to_next(aqw_follower *f, aqw_fault *fault) {
    const aqw_place *place = &f->current.header.place, *next = &f->next.header.place;
    aqw_status status = check_last_record(f, fault);
    if (status != AQW_OK) return status;
    if (next->first_sequence != place->first_sequence + f->ordinal ||
        memcmp(next->log_uuid, place->log_uuid, 16) != 0)
        return aqw_fault_corrupt(fault, AQW_REASON_LINK, f->directory, next->segment_number, 0);
    close_segment(f, &f->current);
    f->current = f->next;
    f->next.handle = -1;
    begin_segment(f);
    return AQW_OK;
}

/* --- Records ---------------------------------------------------------------------------------- */

static uint64_t readable_end(const aqw_follower *f) {
    return f->end < f->current.header.file_size ? f->end : f->current.header.file_size;
}

/* Makes `size` bytes at `position` available. Returns NULL where the segment has fewer, or on a
 * failure, which *status gives. */
static const uint8_t *bytes_at(aqw_follower *f, size_t size, aqw_status *status, aqw_fault *fault) {
    uint64_t left = readable_end(f) - f->position;
    if (size > left) return NULL;
    if (f->position < f->buffer_at || f->position + size > f->buffer_at + f->buffered) {
        size_t wanted = size > BUFFER_SIZE ? size : BUFFER_SIZE;
        if (wanted > left) wanted = (size_t)left;
        if (wanted > f->capacity) {
            uint8_t *grown = realloc(f->buffer, wanted);
            if (grown == NULL) {
                *status = aqw_fault_set(fault, AQW_NO_MEMORY, f->directory);
                return NULL;
            }
            f->buffer = grown;
            f->capacity = wanted;
        }
        size_t done = 0;
        f->buffer_at = f->position;
        f->buffered = 0;
        int error = aqw_io_read_all(&f->io, f->current.handle, f->position, f->buffer, wanted,
                                    &done);
        if (error != 0) {
            *status = aqw_fault_io(fault, "read", f->directory, error);
            return NULL;
        }
        /* after the read, because a restore writes files from their beginning */
        *status = check_last_record(f, fault);
        if (*status != AQW_OK) return NULL;
        f->buffered = done;
        if (done < size) return NULL;
    }
    return f->buffer + (size_t)(f->position - f->buffer_at);
}

/* Returns AQW_END where there is no valid record. */
static aqw_status record_at(aqw_follower *f, aqw_record *record, aqw_fault *fault) {
    aqw_status status = AQW_OK;
    const uint8_t *bytes = bytes_at(f, AQW_RECORD_HEADER_SIZE, &status, fault);
    if (bytes == NULL) return status == AQW_OK ? AQW_END : status;
    uint32_t size = aqw_record_size(aqw_load_u32(bytes + 4) & 0xffffff);
    bytes = bytes_at(f, size, &status, fault);
    if (bytes == NULL) return status == AQW_OK ? AQW_END : status;
    return aqw_record_check(bytes, size, &f->current.header.place, f->position, f->ordinal, record)
               ? AQW_OK
               : AQW_END;
}

/* Makes the next call look for a successor first: a repair may have made one. */
static aqw_status damaged(aqw_follower *f, aqw_fault *fault) {
    f->limit = 0;
    char path[AQW_PATH_SIZE_MAX + 64];
    const aqw_place *place = &f->current.header.place;
    (void)aqw_segment_path(path, sizeof path, f->directory, place->segment_number,
                           place->first_sequence);
    aqw_fault_corrupt(fault, AQW_REASON_RECORD_INVALID, path, place->segment_number, f->position);
    fault->first_sequence = place->first_sequence + f->ordinal;
    fault->last_sequence = f->durable > f->trusted ? f->durable : f->trusted;
    return AQW_CORRUPT;
}

/* Gives the record of a durable event, or one before it. */
static aqw_status durable_record(aqw_follower *f, aqw_record *record, aqw_fault *fault) {
    aqw_status status = record_at(f, record, fault);
    if (status != AQW_END) return status;
    f->buffered = 0;
    status = record_at(f, record, fault);
    if (status != AQW_END) return status;
    return damaged(f, fault);
}

/* Gives the record that the ring holds for the position; AQW_END where the ring has no
 * record for it. */
static aqw_status ring_record_at(const aqw_follower *f, const aqw_ring_image *image,
                                 uint8_t *scratch, aqw_record *record) {
    const aqw_ring ring = {.data = image->data, .size = image->size};
    uint64_t left = f->current.header.file_size - f->position;
    if (left > image->size) left = image->size;
    if (left < AQW_RECORD_HEADER_SIZE) return AQW_END;
    aqw_ring_get(&ring, f->position, scratch, AQW_RECORD_HEADER_SIZE);
    uint32_t size = aqw_record_size(aqw_load_u32(scratch + 4) & 0xffffff);
    if (size > left) return AQW_END;
    aqw_ring_get(&ring, f->position, scratch, size);
    return aqw_record_check(scratch, size, &f->current.header.place, f->position, f->ordinal,
                            record)
               ? AQW_OK
               : AQW_END;
}

/* Returns 1 where this is not the event that the follower stands after, although it
 * has its sequence. */
static int is_another(const aqw_follower *f, const aqw_record *record) {
    return f->is_known && record->sequence == f->sequence &&
           aqw_record_event_checksum(record) != f->checksum;
}

/* Looks on from here for the event that the follower stands after, durable or not: what said that
 * it is durable may have been lost with the power. Returns AQW_END where neither this segment nor
 * the ring has it; where another event has its place, the history is another. */
static aqw_status find_event(aqw_follower *f, aqw_fault *fault) {
    aqw_ring_image ring;
    aqw_record record;
    int is_changed = 0;
    const uint64_t position = f->position;
    const uint32_t ordinal = f->ordinal;
    aqw_status status = aqw_ring_load(&f->io, f->directory, &ring, fault);
    if (status != AQW_OK) return status;
    uint8_t *scratch = ring.is_present ? malloc((size_t)ring.size) : NULL;
    if (ring.is_present && scratch == NULL)
        status = aqw_fault_set(fault, AQW_NO_MEMORY, f->directory);
    /* reads the segment after the ring: what leaves the ring is in the segment */
    f->buffered = 0;
    while (status == AQW_OK && !is_changed) {
        status = record_at(f, &record, fault);
        if (status == AQW_END && ring.is_present)
            status = ring_record_at(f, &ring, scratch, &record);
        if (status != AQW_OK) break;
        f->position += record.size;
        if (record.kind >= AQW_KIND_MARKER) continue;
        f->ordinal++;
        is_changed = is_another(f, &record);
    }
    int is_there = f->current.header.place.first_sequence + f->ordinal - 1 >= f->sequence;
    f->position = position;
    f->ordinal = ordinal;
    f->buffered = 0;
    free(scratch);
    aqw_ring_image_free(&ring);
    if (status != AQW_OK && status != AQW_END) return status;
    if (is_changed) return changed_history(f, fault);
    return is_there ? AQW_OK : AQW_END;
}

/* --- How far it goes -------------------------------------------------------------------------- */

/* Reads the durable sequence first, then looks for the successor: in the other order a segment
 * could seem to have no end although it is superseded. A failure in between changes no limit. */
static aqw_status look_how_far(aqw_follower *f, aqw_fault *fault) {
    aqw_ring_image ring;
    aqw_status status = check_history(f, fault);
    if (status != AQW_OK) return status;
    status = aqw_ring_look(&f->io, f->directory, &ring, fault);
    if (status != AQW_OK) return status;
    if (ring.is_present && memcmp(ring.log_uuid, f->current.header.place.log_uuid, 16) != 0)
        return f->last_position != 0
                   ? changed_history(f, fault)
                   : aqw_fault_corrupt(fault, AQW_REASON_OTHER_LOG, f->directory, 0, 16);
    if (!is_of_history(f, &ring)) return changed_history(f, fault);
    uint64_t durable = ring.is_present ? ring.durable_sequence : 0;
    status = f->next.handle < 0 ? find_next(f, fault) : AQW_OK;
    if (status != AQW_OK) return status;
    if (f->next.handle >= 0 && f->next.header.watermark > durable)
        durable = f->next.header.watermark;
    if (durable > f->durable) f->durable = durable;
    f->limit = f->durable > f->trusted ? f->durable : f->trusted;
    return AQW_OK;
}

/* Does the same. Where the follower came here for the event that it stands after, that event
 * must also be in this segment or the ring, unless the successor has it. A writer that
 * recovers meanwhile writes it into a new segment before it replaces the ring: so the follower
 * misses it once at most. */
static aqw_status refresh(aqw_follower *f, aqw_fault *fault) {
    for (int tries = 0;; tries++) {
        aqw_status status = look_how_far(f, fault);
        if (status != AQW_OK || !f->must_find) return status;
        int is_in_next = f->next.handle >= 0 &&
                         f->next.header.place.first_sequence - 1 < f->sequence;
        if (is_in_next) return AQW_OK;
        status = f->limit < f->sequence ? find_event(f, fault) : AQW_OK;
        if (status == AQW_OK) f->must_find = 0;
        if (status != AQW_END) return status;
        if (tries > 0) return changed_history(f, fault);
    }
}

static int is_behind_limit(const aqw_follower *f) {
    return f->current.header.place.first_sequence + f->ordinal - 1 >= f->limit;
}

/* Gives the next record, of whatever kind, up to the last durable event, and AQW_END there. */
static aqw_status step(aqw_follower *f, aqw_record *record, aqw_fault *fault) {
    for (;;) {
        aqw_status status = AQW_OK;
        if (f->position > f->end) return damaged(f, fault);
        if (f->position == f->end) {
            status = go_to_next(f, fault);
            if (status != AQW_OK) return status;
            continue;
        }
        if (is_behind_limit(f)) {
            uint64_t number = f->current.header.place.segment_number;
            status = refresh(f, fault);
            if (status != AQW_OK) return status;
            if (f->position >= f->end || f->current.header.place.segment_number != number) continue;
            if (is_behind_limit(f)) return AQW_END;
        }
        status = durable_record(f, record, fault);
        if (status != AQW_OK) return status;
        f->last_position = f->position;
        f->last_checksum = aqw_load_u32(record->payload - AQW_RECORD_HEADER_SIZE);
        f->position += record->size;
        if (record->kind < AQW_KIND_MARKER) f->ordinal++;
        return AQW_OK;
    }
}

/* From now on the follower stands after this record's event, if it is one. It passes over events
 * before the one where it began. */
static aqw_status pass(aqw_follower *f, const aqw_record *record, aqw_fault *fault) {
    if (record->kind >= AQW_KIND_MARKER || record->sequence < f->sequence) return AQW_OK;
    if (is_another(f, record)) return changed_history(f, fault);
    f->sequence = f->met = record->sequence;
    f->checksum = aqw_record_event_checksum(record);
    f->is_known = 1;
    return AQW_OK;
}

aqw_status aqw_follower_next(aqw_follower *f, aqw_record *record, aqw_fault *fault) {
    const uint64_t before = f->sequence;
    aqw_status status = f->has_changed ? changed_history(f, fault) : AQW_OK;
    while (status == AQW_OK && f->sequence == before) {
        status = step(f, record, fault);
        if (status == AQW_OK) status = pass(f, record, fault);
    }
    return status;
}

/* --- Where to begin --------------------------------------------------------------------------- */

/* Nothing comes after an event that never existed: such a position is of another history, or of
 * another log. The follower reports damage where it meets it later. */
static aqw_status check_begin(aqw_follower *f, aqw_fault *fault) {
    aqw_status status;
    if (f->sequence == 0) {
        aqw_ring_image ring;
        status = aqw_ring_look(&f->io, f->directory, &ring, fault);
        if (status == AQW_OK) (void)is_of_history(f, &ring);
        return status == AQW_IO_ERROR ? status : AQW_OK;
    }
    aqw_record record;
    f->must_find = 1;
    status = refresh(f, fault);
    if (status != AQW_OK) return status;
    while (status == AQW_OK &&
           f->current.header.place.first_sequence + f->ordinal - 1 < f->sequence) {
        status = step(f, &record, fault);
        if (status == AQW_OK) status = pass(f, &record, fault);
    }
    /* the event is not durable yet, or was not */
    return status == AQW_END || status == AQW_CORRUPT ? AQW_OK : status;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static aqw_status open_follower(const aqw_io *io, const char *directory, uint64_t after,
                                const uint32_t *checksum, aqw_follower **out, aqw_fault *fault) {
    size_t size = strlen(directory) + 1;
    aqw_follower *f = calloc(1, sizeof *f);
    if (f == NULL) return aqw_fault_set(fault, AQW_NO_MEMORY, directory);
    f->io = *io;
    f->current.handle = f->next.handle = -1;
    f->sequence = after;
    if (checksum != NULL && after != 0) {
        f->checksum = *checksum;
        f->is_known = 1;
    }
    aqw_status status = size > sizeof f->directory
                            ? aqw_fault_set(fault, AQW_INVALID_ARGUMENT, directory)
                            : AQW_OK;
    if (status == AQW_OK) {
        memcpy(f->directory, directory, size);
        status = locate(f, fault);
    }
    if (status == AQW_OK) status = check_begin(f, fault);
    if (status == AQW_OK) *out = f;
    else aqw_follower_free(f);
    return status;
}

aqw_status aqw_follower_open(const aqw_io *io, const char *directory, uint64_t after,
                             aqw_follower **follower, aqw_fault *fault) {
    return open_follower(io, directory, after, NULL, follower, fault);
}

aqw_status aqw_follower_open_behind(const aqw_io *io, const char *directory, uint64_t after,
                                    uint32_t checksum, aqw_follower **follower, aqw_fault *fault) {
    return open_follower(io, directory, after, &checksum, follower, fault);
}

void aqw_follower_free(aqw_follower *f) {
    if (f == NULL) return;
    close_segment(f, &f->current);
    close_segment(f, &f->next);
    free(f->buffer);
    free(f);
}

void aqw_follower_trust(aqw_follower *f, uint64_t sequence) {
    if (sequence > f->trusted) f->trusted = sequence;
}

void aqw_follower_where(const aqw_follower *f, aqw_follower_place *place) {
    place->segment_number = f->current.header.place.segment_number;
    place->position = f->position;
    place->last_position = f->last_position;
    place->sequence = f->sequence;
    place->met = f->met;
    place->ordinal = f->ordinal;
    place->last_checksum = f->last_checksum;
    place->checksum = f->checksum;
    place->is_known = f->is_known;
}

void aqw_follower_go_back(aqw_follower *f, const aqw_follower_place *place) {
    /* Where a compaction has moved the follower to another segment since, it starts from the
     * beginning of that one. */
    int is_there = f->current.header.place.segment_number == place->segment_number;
    f->position = is_there ? place->position : AQW_SEGMENT_DATA;
    f->ordinal = is_there ? place->ordinal : 0;
    f->last_position = is_there ? place->last_position : 0;
    f->last_checksum = place->last_checksum;
    f->sequence = place->sequence;
    f->met = place->met;
    f->checksum = place->checksum;
    f->is_known = place->is_known;
    f->buffered = 0;
}

uint64_t aqw_follower_sequence(const aqw_follower *f) { return f->sequence; }

uint64_t aqw_follower_durable_sequence(const aqw_follower *f) { return f->durable; }

const uint8_t *aqw_follower_history(const aqw_follower *f) {
    return f->knows_history ? f->history : NULL;
}

int aqw_follower_checksum(const aqw_follower *f, uint32_t *checksum) {
    *checksum = f->checksum;
    return f->is_known;
}

const uint8_t *aqw_follower_log_uuid(const aqw_follower *f) {
    return f->current.header.place.log_uuid;
}
