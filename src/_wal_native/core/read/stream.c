/* The chain of segments, and the walk along it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "files/format.h"
#include "files/snapshot.h"
#include "read/stream_internal.h"

typedef struct listing {
    aqw_stream *stream;
    aqw_status status;
} listing;

aqw_status aqw_stream_corrupt(const aqw_stream *stream, uint64_t index, aqw_reason reason,
                              uint64_t offset, uint64_t first_sequence, uint64_t last_sequence,
                              aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 64];
    const aqw_segment_header *segment = &stream->segments[index];
    (void)aqw_segment_path(path, sizeof path, stream->directory, segment->place.segment_number,
                           segment->place.first_sequence);
    aqw_fault_corrupt(fault, reason, path, segment->place.segment_number, offset);
    fault->first_sequence = first_sequence;
    fault->last_sequence = last_sequence;
    return AQW_CORRUPT;
}

static void visit_name(void *to, const char *name) {
    listing *list = to;
    aqw_stream *stream = list->stream;
    uint64_t number = 0, first_sequence = 0;
    if (list->status != AQW_OK || !aqw_segment_name_parse(name, &number, &first_sequence)) return;
    if (stream->segment_count == stream->segment_capacity) {
        uint64_t capacity = stream->segment_capacity == 0 ? 64 : 2 * stream->segment_capacity;
        aqw_segment_header *grown = capacity > 2 * (uint64_t)AQW_SEGMENT_COUNT_MAX
                                        ? NULL
                                        : realloc(stream->segments,
                                                  (size_t)capacity * sizeof *grown);
        if (grown == NULL) {
            list->status = AQW_NO_MEMORY;
            return;
        }
        stream->segments = grown;
        stream->segment_capacity = capacity;
    }
    aqw_segment_header *segment = &stream->segments[stream->segment_count++];
    memset(segment, 0, sizeof *segment);
    segment->place.segment_number = number;
    segment->place.first_sequence = first_sequence;
}

static int by_number(const void *a, const void *b) {
    const aqw_segment_header *left = a, *right = b;
    if (left->place.segment_number != right->place.segment_number)
        return left->place.segment_number < right->place.segment_number ? -1 : 1;
    return (left->place.first_sequence > right->place.first_sequence) -
           (left->place.first_sequence < right->place.first_sequence);
}

aqw_status aqw_stream_list(aqw_stream *stream, aqw_fault *fault) {
    char wal[AQW_PATH_SIZE_MAX + 8];
    listing list = {stream, AQW_OK};
    if (aqw_path_join(wal, sizeof wal, stream->directory, "wal") != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, stream->directory);
    int error = stream->io.check_directory(stream->io.context, wal);
    if (error == ENOENT) return AQW_OK;
    if (error == ENOTDIR) return aqw_fault_corrupt(fault, AQW_REASON_DIRECTORY, wal, 0, 0);
    if (error == 0) error = stream->io.list(stream->io.context, wal, visit_name, &list);
    if (error != 0) return aqw_fault_io(fault, "list", wal, error);
    if (list.status != AQW_OK) return aqw_fault_set(fault, list.status, wal);
    if (stream->segment_count > 0)
        qsort(stream->segments, (size_t)stream->segment_count, sizeof *stream->segments, by_number);
    return AQW_OK;
}

static aqw_status open_segment(aqw_stream *stream, uint64_t index, char *path, size_t capacity,
                               int64_t *handle, aqw_fault *fault) {
    const aqw_place *place = &stream->segments[index].place;
    if (aqw_segment_path(path, capacity, stream->directory, place->segment_number,
                         place->first_sequence) != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, stream->directory);
    int error = aqw_io_open(&stream->io, path, AQW_OPEN_READ, handle);
    return error == 0 ? AQW_OK : aqw_fault_io(fault, "open", path, error);
}

aqw_status aqw_stream_load_header(aqw_stream *stream, uint64_t index, aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 64];
    int64_t handle = -1;
    aqw_segment_header *segment = &stream->segments[index];
    aqw_status status = open_segment(stream, index, path, sizeof path, &handle, fault);
    if (status != AQW_OK) return status;
    aqw_segment_header header;
    status = aqw_segment_header_load(&stream->io, handle, path, segment->place.segment_number,
                                     segment->place.first_sequence, &header, fault);
    (void)stream->io.close(stream->io.context, handle);
    if (status == AQW_OK) *segment = header;
    return status;
}

/* Loads the header of segment `index`, and checks that it fits its predecessor. */
static aqw_status check_header(aqw_stream *stream, uint64_t index, aqw_fault *fault) {
    const aqw_segment_header *segment = &stream->segments[index];
    aqw_status status = aqw_stream_load_header(stream, index, fault);
    if (status != AQW_OK) return status;
    const aqw_segment_header *before = index > 0 ? segment - 1 : NULL;
    aqw_reason reason = AQW_REASON_NONE;
    uint64_t first = segment->place.first_sequence;
    if (before == NULL) {
        /* What the base covers may be gone; what its link says of that doesn't matter then. */
        if (first - 1 > stream->summary.base_sequence) reason = AQW_REASON_HISTORY_MISSING;
        else if (segment->place.segment_number == 1 &&
                 (segment->link_number != 0 || segment->link_last_sequence != 0 || first != 1))
            reason = AQW_REASON_LINK;
        else if (segment->place.segment_number != 1 && stream->summary.base_sequence == 0)
            reason = AQW_REASON_HISTORY_MISSING;
    } else if (memcmp(before->place.log_uuid, segment->place.log_uuid, 16) != 0) {
        reason = AQW_REASON_OTHER_LOG;
    } else if (segment->link_number != before->place.segment_number ||
               segment->link_salt != before->place.salt || segment->link_end < AQW_SEGMENT_DATA ||
               segment->link_end > before->file_size ||
               segment->link_end % AQW_RECORD_ALIGNMENT != 0 ||
               segment->link_last_sequence != first - 1 ||
               first - 1 < before->place.first_sequence - 1) {
        reason = AQW_REASON_LINK;
    }
    if (reason == AQW_REASON_NONE && segment->watermark < first - 1)
        reason = AQW_REASON_HEADER_INVALID;
    if (reason == AQW_REASON_NONE) return AQW_OK;
    uint64_t at_stake = before == NULL ? stream->summary.base_sequence + 1 : first;
    return aqw_stream_corrupt(stream, index, reason, 0, at_stake,
                              reason == AQW_REASON_HISTORY_MISSING ? first - 1 : segment->watermark,
                              fault);
}

/* Leaves out the segments that the base covers: those before the last one that begins at or before
 * the first event after the base. */
static void ignore_covered(aqw_stream *stream) {
    uint64_t start = 0;
    if (stream->summary.base_sequence == 0) return;
    for (uint64_t i = 0; i < stream->segment_count; i++) {
        if (stream->segments[i].place.first_sequence - 1 <= stream->summary.base_sequence)
            start = i;
    }
    stream->summary.ignored_segments = start;
    stream->segment_count -= start;
    memmove(stream->segments, stream->segments + start,
            (size_t)stream->segment_count * sizeof *stream->segments);
}

static aqw_status check_numbers(const aqw_stream *stream, aqw_fault *fault) {
    char wal[AQW_PATH_SIZE_MAX + 8];
    for (uint64_t i = 1; i < stream->segment_count; i++) {
        const aqw_place *before = &stream->segments[i - 1].place,
                        *place = &stream->segments[i].place;
        if (place->segment_number == before->segment_number)
            return aqw_stream_corrupt(stream, i, AQW_REASON_SEGMENT_DUPLICATE, 0, 0, 0, fault);
        if (place->segment_number != before->segment_number + 1) {
            (void)aqw_path_join(wal, sizeof wal, stream->directory, "wal");
            aqw_fault_corrupt(fault, AQW_REASON_SEGMENT_MISSING, wal, before->segment_number + 1,
                              0);
            /* Only the records of its predecessor tell where it began, and those
             * were not read yet. */
            fault->first_sequence = before->first_sequence;
            fault->last_sequence = place->first_sequence - 1;
            return AQW_CORRUPT;
        }
    }
    return AQW_OK;
}

/* Opens a window on the first `size` bytes of segment `index`. */
static aqw_status open_window(aqw_stream *stream, uint64_t index, uint64_t size, uint64_t held,
                              aqw_window *window, aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 64];
    const aqw_place *place = &stream->segments[index].place;
    if (aqw_segment_path(path, sizeof path, stream->directory, place->segment_number,
                         place->first_sequence) != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, stream->directory);
    if (aqw_window_of_file(window, &stream->io, path, place->segment_number, size, held) != AQW_OK)
        return aqw_fault_set(fault, AQW_NO_MEMORY, stream->directory);
    return AQW_OK;
}

static aqw_status check_ring(aqw_stream *stream, aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 16];
    (void)aqw_path_join(path, sizeof path, stream->directory, "ring");
    if (stream->ring.is_present &&
        memcmp(stream->ring.log_uuid, stream->segments[0].place.log_uuid, 16) != 0)
        return aqw_fault_corrupt(fault, AQW_REASON_OTHER_LOG, path, 0, 16);
    return AQW_OK;
}

static void free_newest(aqw_stream *stream) {
    aqw_scan_free(&stream->segment_scan);
    aqw_scan_free(&stream->ring_scan);
    aqw_window_close(&stream->newest);
    free(stream->scratch);
    stream->scratch = NULL;
}

aqw_status aqw_stream_failure(const aqw_stream *stream, aqw_fault *fault) {
    if (stream->newest.status != AQW_OK) *fault = stream->newest.fault;
    return stream->newest.status;
}

aqw_status aqw_stream_load_newest(aqw_stream *stream, aqw_fault *fault) {
    uint64_t index = stream->segment_count - 1;
    free_newest(stream);
    stream->scratch = stream->ring.is_present ? malloc((size_t)stream->ring.size) : NULL;
    if (stream->ring.is_present && stream->scratch == NULL)
        return aqw_fault_set(fault, AQW_NO_MEMORY, stream->directory);
    aqw_status status = open_window(stream, index, stream->segments[index].file_size,
                                    AQW_WINDOW_SIZE_NEWEST, &stream->newest, fault);
    if (status != AQW_OK) return status;
    stream->newest.passes_damage = stream->passes_damage;
    stream->newest.progress = stream->progress;
    aqw_window_of_memory(&stream->ring_data, stream->ring.data,
                         stream->ring.is_present ? stream->ring.size : 0);
    stream->ring_first = UINT64_MAX;
    aqw_scan_init(&stream->segment_scan, &stream->newest);
    aqw_scan_init(&stream->ring_scan, &stream->ring_data);
    (void)aqw_window_at(&stream->newest, 0, AQW_SEGMENT_DATA);
    return aqw_stream_failure(stream, fault);
}

/* Does all that comes before the decision where the newest segment ends. */
static aqw_status prepare(aqw_stream *stream, const aqw_stream_base *base, aqw_fault *fault) {
    aqw_status status = aqw_stream_list(stream, fault);
    if (status == AQW_OK)
        status = aqw_ring_load(&stream->io, stream->directory, &stream->ring, fault);
    if (status != AQW_OK) return status;
    if (stream->segment_count == 0) {
        uint64_t durable = stream->ring.is_present ? stream->ring.durable_sequence : 0;
        uint64_t snapshot = 0;
        uint32_t snapshots = 0;
        status = aqw_snapshot_list(&stream->io, stream->directory, &snapshot, 1, &snapshots, fault);
        if (status != AQW_OK) return status;
        /* A queue is where there is a segment, a ring or a snapshot, even a damaged one. */
        if (!stream->ring.is_present && snapshots == 0)
            return aqw_fault_set(fault, AQW_NOT_A_QUEUE, stream->directory);
        aqw_fault_corrupt(fault, AQW_REASON_SEGMENT_MISSING, stream->directory, 1, 0);
        fault->first_sequence = stream->summary.base_sequence + 1;
        fault->last_sequence = durable > snapshot ? durable : snapshot;
        return AQW_CORRUPT;
    }
    ignore_covered(stream);
    status = check_numbers(stream, fault);
    for (uint64_t i = 0; status == AQW_OK && i < stream->segment_count; i++)
        status = check_header(stream, i, fault);
    if (status == AQW_OK && base != NULL &&
        memcmp(base->log_uuid, stream->segments[0].place.log_uuid, 16) != 0)
        status = aqw_stream_corrupt(stream, 0, AQW_REASON_OTHER_LOG, 16, 0, 0, fault);
    if (status == AQW_OK) status = check_ring(stream, fault);
    return status == AQW_OK ? aqw_stream_load_newest(stream, fault) : status;
}

aqw_status aqw_stream_new(const aqw_io *io, const char *directory, aqw_stream **out,
                          aqw_fault *fault) {
    aqw_status status = aqw_directory_check(directory, fault);
    if (status != AQW_OK) return status;
    aqw_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return aqw_fault_set(fault, AQW_NO_MEMORY, directory);
    stream->io = *io;
    memcpy(stream->directory, directory, strlen(directory) + 1);
    stream->position = AQW_SEGMENT_DATA;
    *out = stream;
    return AQW_OK;
}

static aqw_status new_prepared(const aqw_io *io, const char *directory, const aqw_stream_base *base,
                               aqw_progress *progress, aqw_stream **out, aqw_fault *fault) {
    aqw_stream *stream = NULL;
    aqw_status status = aqw_stream_new(io, directory, &stream, fault);
    if (status != AQW_OK) return status;
    stream->progress = progress;
    stream->summary.base_sequence = base == NULL ? 0 : base->sequence;
    status = prepare(stream, base, fault);
    if (status == AQW_OK) *out = stream;
    else aqw_stream_free(stream);
    return status;
}

aqw_status aqw_stream_open(const aqw_io *io, const char *directory, const aqw_stream_base *base,
                           aqw_progress *progress, aqw_stream **out, aqw_fault *fault) {
    aqw_stream *stream = NULL;
    aqw_status status = new_prepared(io, directory, base, progress, &stream, fault);
    if (status != AQW_OK) return status;
    status = aqw_stream_find_end(stream, fault);
    if (status == AQW_OK) *out = stream;
    else aqw_stream_free(stream);
    return status;
}

aqw_status aqw_stream_end_facts(const aqw_io *io, const char *directory,
                                const aqw_stream_base *base, aqw_end_facts *facts,
                                aqw_fault *fault) {
    aqw_stream *stream = NULL;
    aqw_status status = new_prepared(io, directory, base, NULL, &stream, fault);
    if (status != AQW_OK) return status;
    status = aqw_stream_find_facts(stream, facts, fault);
    aqw_stream_free(stream);
    return status;
}

void aqw_stream_free(aqw_stream *stream) {
    if (stream == NULL) return;
    aqw_ring_image_free(&stream->ring);
    free(stream->segments);
    free_newest(stream);
    aqw_window_close(&stream->older);
    free(stream);
}

const aqw_stream_summary *aqw_stream_summary_of(const aqw_stream *stream) {
    return &stream->summary;
}

const aqw_segment_header *aqw_stream_newest(const aqw_stream *stream) {
    return &stream->segments[stream->segment_count - 1];
}

const aqw_segment_header *aqw_stream_segment(const aqw_stream *stream, uint64_t index) {
    return index < stream->segment_count ? &stream->segments[index] : NULL;
}

aqw_window *aqw_stream_segment_bytes(aqw_stream *stream) { return &stream->newest; }

aqw_window *aqw_stream_ring_data(aqw_stream *stream) { return &stream->ring_data; }

const uint8_t *aqw_stream_history(const aqw_stream *stream) {
    return stream->ring.is_present && !stream->ring.is_copy ? stream->ring.history : NULL;
}

/* Returns the next record of an older segment, or what is there of it up to the end that the
 * successor's link gives: `size` bytes. NULL after a failure. */
static const uint8_t *next_older(aqw_stream *stream, size_t *size, aqw_fault *fault) {
    aqw_window *window = &stream->older;
    uint64_t end = stream->segments[stream->index + 1].link_end, left = end - stream->position;
    if (window->io == NULL &&
        open_window(stream, stream->index, end, AQW_WINDOW_SIZE_OLDER, window, fault) != AQW_OK)
        return NULL;
    /* The window mostly holds the whole record: one look then, without a call. */
    if (stream->position >= window->begin && stream->position < window->end &&
        window->end - stream->position >= AQW_RECORD_HEADER_SIZE) {
        const uint8_t *held = window->bytes + (stream->position - window->begin);
        *size = aqw_record_size(aqw_load_u32(held + 4) & 0xffffff);
        if (*size <= window->end - stream->position) return held;
    }
    *size = left < AQW_RECORD_HEADER_SIZE ? (size_t)left : AQW_RECORD_HEADER_SIZE;
    const uint8_t *bytes = aqw_window_at(window, stream->position, *size);
    if (bytes != NULL && *size == AQW_RECORD_HEADER_SIZE) {
        uint32_t of_record = aqw_record_size(aqw_load_u32(bytes + 4) & 0xffffff);
        *size = of_record < left ? of_record : (size_t)left;
        bytes = aqw_window_at(window, stream->position, *size);
    }
    if (bytes == NULL) *fault = window->fault;
    return bytes;
}

/* Returns 1 where a record's flags fit the batch that it stands in. */
static int batch_fits(int in_batch, const aqw_record *record) {
    return in_batch ? record->flags != 0 : record->flags != AQW_FLAG_BATCH_END;
}

static void step(aqw_stream *stream, const aqw_record *record) {
    stream->position += record->size;
    if (record->kind < AQW_KIND_MARKER) stream->ordinal++;
    stream->in_batch = record->flags == AQW_FLAG_BATCH_OPEN;
}

/* The walk has come to the end of an older segment, which must hold what its successor says. */
static aqw_status finish_older(aqw_stream *stream, aqw_fault *fault) {
    const aqw_segment_header *segment = &stream->segments[stream->index], *next = segment + 1;
    uint64_t events = next->place.first_sequence - segment->place.first_sequence;
    if (stream->in_batch)
        return aqw_stream_corrupt(stream, stream->index, AQW_REASON_BATCH, stream->position,
                                  segment->place.first_sequence + stream->ordinal,
                                  next->place.first_sequence - 1, fault);
    if (stream->ordinal != events)
        return aqw_stream_corrupt(stream, stream->index, AQW_REASON_RECORD_COUNT, stream->position,
                                  segment->place.first_sequence + stream->ordinal,
                                  next->place.first_sequence - 1, fault);
    stream->index++;
    aqw_window_close(&stream->older);
    stream->position = AQW_SEGMENT_DATA;
    stream->ordinal = 0;
    return AQW_OK;
}

static aqw_status next_newest(aqw_stream *stream, aqw_record *record, aqw_fault *fault) {
    if (stream->position >= stream->summary.end) return AQW_END;
    if (aqw_stream_choose(stream, stream->position, stream->ordinal,
                          stream->summary.durable_sequence, record) != SOURCE_NONE) {
        step(stream, record);
        return AQW_OK;
    }
    /* find_end has been here, and found it: a second read may fail, or meet
     * another's bytes by now. */
    aqw_status status = aqw_stream_failure(stream, fault);
    return status != AQW_OK
               ? status
               : aqw_stream_corrupt(
                     stream, stream->segment_count - 1, AQW_REASON_RECORD_INVALID, stream->position,
                     aqw_stream_newest(stream)->place.first_sequence + stream->ordinal,
                     stream->summary.last_sequence, fault);
}

aqw_status aqw_stream_next(aqw_stream *stream, aqw_record *record, aqw_fault *fault) {
    while (stream->index + 1 < stream->segment_count) {
        const aqw_segment_header *segment = &stream->segments[stream->index], *next = segment + 1;
        if (stream->position == next->link_end) {
            aqw_status status = finish_older(stream, fault);
            if (status != AQW_OK) return status;
            continue;
        }
        uint64_t expected = segment->place.first_sequence + stream->ordinal;
        size_t size = 0;
        const uint8_t *bytes = next_older(stream, &size, fault);
        if (bytes == NULL) return (aqw_status)fault->status;
        if (!aqw_record_check(bytes, size, &segment->place, stream->position, stream->ordinal,
                              record))
            return aqw_stream_corrupt(stream, stream->index, AQW_REASON_RECORD_INVALID,
                                      stream->position, expected, next->place.first_sequence - 1,
                                      fault);
        if (!batch_fits(stream->in_batch, record))
            return aqw_stream_corrupt(stream, stream->index, AQW_REASON_BATCH, stream->position,
                                      expected, next->place.first_sequence - 1, fault);
        step(stream, record);
        return AQW_OK;
    }
    return next_newest(stream, record, fault);
}

int aqw_stream_peek(const aqw_stream *stream, aqw_stream_ahead *ahead, uint8_t *kind,
                    const uint8_t **payload, uint32_t *size) {
    int is_newest = stream->index + 1 >= stream->segment_count;
    const aqw_window *window = is_newest ? &stream->newest : &stream->older;
    uint64_t end = is_newest && window->end > stream->summary.end ? stream->summary.end
                                                                  : window->end;
    if (ahead->index != stream->index || ahead->position < stream->position) {
        ahead->index = stream->index;
        ahead->position = stream->position;
    }
    if (ahead->position < window->begin || end < AQW_RECORD_HEADER_SIZE ||
        ahead->position > end - AQW_RECORD_HEADER_SIZE)
        return 0;
    const uint8_t *record = window->bytes + (ahead->position - window->begin);
    *kind = record[7];
    *size = aqw_load_u32(record + 4) & 0xffffff;
    uint32_t record_size = aqw_record_size(*size);
    if (record_size > end - ahead->position) return 0;
    *payload = record + AQW_RECORD_HEADER_SIZE;
    ahead->position += record_size;
    return 1;
}

void aqw_stream_seek_durable_end(aqw_stream *stream) {
    aqw_window_close(&stream->older);
    stream->index = stream->segment_count - 1;
    stream->position = stream->summary.durable_end;
    stream->ordinal = (uint32_t)(stream->summary.durable_last_sequence + 1 -
                                 aqw_stream_newest(stream)->place.first_sequence);
    stream->in_batch = 0;
}
