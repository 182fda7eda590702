#include "queue/recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "files/directory.h"
#include "files/format.h"
#include "read/replay.h"
#include "read/stream.h"

enum { COPY_SIZE = 1 << 20 };

typedef struct recovery {
    const aqw_io *io;
    const char *directory;
    const aqw_recovery_options *options;
    aqw_recovery_report *report;
    aqw_fault *fault;
    aqw_log_start start;        /* what the log will take over */
    uint8_t history[16];        /* zeros where no history goes on */
    char path[AQW_PATH_SIZE_MAX + AQW_NAME_SIZE_MAX];   /* of the current file */
} recovery;

static aqw_status name_path(recovery *r, const char *name) {
    if (aqw_path_join(r->path, sizeof r->path, r->directory, name) == AQW_OK) return AQW_OK;
    return aqw_fault_set(r->fault, AQW_INVALID_ARGUMENT, r->directory);
}

static aqw_status random_u64(recovery *r, uint64_t *value) {
    uint8_t bytes[8];
    int error = r->io->random(r->io->context, bytes, sizeof bytes);
    if (error != 0) return aqw_fault_io(r->fault, "random", r->directory, error);
    *value = aqw_load_u64(bytes);
    return AQW_OK;
}

static void remove_temporary(void *to, const char *name) {
    recovery *r = to;
    char path[AQW_PATH_SIZE_MAX + AQW_NAME_SIZE_MAX];
    if (!aqw_segment_name_is_temporary(name)) return;
    int size = snprintf(path, sizeof path, "%s/wal/%s", r->directory, name);
    if (size > 0 && (size_t)size < sizeof path) (void)r->io->unlink(r->io->context, path);
}

/* Makes the directories, and removes what is left of a preparation that was cut short. */
static aqw_status make_room(recovery *r) {
    aqw_status status = name_path(r, "wal");
    if (status == AQW_OK) status = aqw_directory_make(r->io, r->directory, r->path, r->fault);
    if (status != AQW_OK) return status;
    status = aqw_directory_lock_folder(r->io, r->directory, &r->start.lock, r->fault);
    if (status != AQW_OK) return status;
    int error = r->io->list(r->io->context, r->path, remove_temporary, r);
    if (error != 0) return aqw_fault_io(r->fault, "list", r->path, error);
    /* Removes the same of a snapshot and of a copy that were cut short. Where one can't be removed,
     * the writer of the next one meets the error. */
    if (name_path(r, "snapshots/snapshot.tmp") == AQW_OK)
        (void)r->io->unlink(r->io->context, r->path);
    if (name_path(r, "quarantine/copy.tmp") == AQW_OK) (void)r->io->unlink(r->io->context, r->path);
    return AQW_OK;
}

/* Publishes a prepared segment as the one that the log starts in. */
static aqw_status start_segment(recovery *r, aqw_prepared *prepared, aqw_segment_header *header,
                                uint64_t tail, uint32_t ordinal) {
    int is_named = 0;
    header->format_version = AQW_FORMAT_VERSION;
    header->file_size = prepared->file_size;
    header->created_at = r->options->log.now;
    aqw_status status = aqw_directory_check_held(r->io, r->directory, &r->start.lock, r->fault);
    if (status != AQW_OK) {
        aqw_segment_discard(r->io, prepared);
        return status;
    }
    status = aqw_segment_publish(r->io, r->directory, prepared, header, &is_named, r->fault);
    if (status != AQW_OK) {
        if (is_named) (void)r->io->close(r->io->context, prepared->handle);
        return status;
    }
    r->start.segment = *header;
    r->start.segment_handle = prepared->handle;
    r->start.tail = tail;
    r->start.ordinal = ordinal;
    r->start.last_sequence = header->place.first_sequence + ordinal - 1;
    return AQW_OK;
}

/* Makes the queue's own name durable. An attempt that was cut short may have made the directory
 * without this sync. A parent that the process may not read is another user's, which made it. */
static aqw_status sync_parent(recovery *r) {
    const char *slash = strrchr(r->directory, '/');
    if (slash == NULL) return AQW_OK;
    size_t size = slash == r->directory ? 1 : (size_t)(slash - r->directory);
    memcpy(r->path, r->directory, size);
    r->path[size] = '\0';
    int error = aqw_io_sync_directory(r->io, r->path);
    return error == 0 || error == EACCES ? AQW_OK
                                         : aqw_fault_io(r->fault, "sync directory", r->path, error);
}

static aqw_status name_log(recovery *r, uint8_t log_uuid[16]) {
    if (r->options->log_uuid != NULL) {
        memcpy(log_uuid, r->options->log_uuid, 16);
        return AQW_OK;
    }
    int error = r->io->random(r->io->context, log_uuid, 16);
    if (error != 0) return aqw_fault_io(r->fault, "random", r->directory, error);
    /* Makes it a version 4 UUID, as everywhere else. */
    log_uuid[6] = (uint8_t)((log_uuid[6] & 0x0f) | 0x40);
    log_uuid[8] = (uint8_t)((log_uuid[8] & 0x3f) | 0x80);
    return AQW_OK;
}

/* Makes the first segment of a new queue. */
static aqw_status create_first(recovery *r) {
    aqw_segment_header header;
    aqw_prepared prepared;
    uint64_t file_size = 0;
    memset(&header, 0, sizeof header);
    aqw_status status = sync_parent(r);
    if (status != AQW_OK) return status;
    status = name_log(r, header.place.log_uuid);
    if (status != AQW_OK) return status;
    status = random_u64(r, &header.place.salt);
    if (status == AQW_OK)
        status = aqw_segment_size_next(0, 0, r->options->log.segment_size_max, &file_size);
    if (status == AQW_OK)
        status = aqw_segment_prepare(r->io, r->directory, file_size, &prepared, r->fault);
    if (status != AQW_OK) return status;
    header.place.segment_number = 1;
    header.place.first_sequence = 1;
    aqw_place_seed(&header.place);
    r->report->is_created = 1;
    r->report->is_clean = 1;
    return start_segment(r, &prepared, &header, AQW_SEGMENT_DATA, 0);
}

static aqw_status quarantine_dropped(recovery *r, aqw_stream *stream) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    uint64_t segment = aqw_stream_newest(stream)->place.segment_number;
    aqw_status status = AQW_OK;
    r->report->dropped_bytes = summary->dropped_bytes;
    r->report->dropped_events = summary->dropped_events;
    r->report->drop_reason = summary->drop_reason;
    r->report->dropped_segment = segment;
    r->report->dropped_offset = summary->dropped_from;
    if (summary->dropped_bytes > 0)
        status = aqw_quarantine_copy(r->io, r->directory, "segment", segment, summary->dropped_from,
                                     aqw_stream_segment_bytes(stream), summary->dropped_from,
                                     summary->dropped_bytes, r->fault);
    aqw_window *ring = aqw_stream_ring_data(stream);
    if (status == AQW_OK && summary->ring_has_dropped)
        status = aqw_quarantine_copy(r->io, r->directory, "ring", segment, summary->end, ring, 0,
                                     ring->size, r->fault);
    return status;
}

/* The events above the durable sequence, on their way into a new segment. */
typedef struct copy {
    recovery *r;
    aqw_place place;
    uint64_t durable;
    uint64_t position;          /* where the next unit goes */
    uint32_t ordinal;
    aqw_batch unit;             /* one event, or one whole batch */
    uint8_t *buffer;            /* COPY_SIZE bytes waiting to be written before `position` */
    size_t buffered;
    int64_t handle;
    const char *path;
} copy;

static aqw_status copy_flush(copy *to) {
    int error = aqw_io_write_all(to->r->io, to->handle, to->position - to->buffered, to->buffer,
                                 to->buffered);
    to->buffered = 0;
    return error == 0 ? AQW_OK : aqw_fault_io(to->r->fault, "write", to->path, error);
}

static aqw_status copy_unit(copy *to) {
    aqw_status status = AQW_OK;
    aqw_batch_seal(&to->unit, &to->place, to->position, to->ordinal, to->durable);
    if (to->buffered + to->unit.size > COPY_SIZE) status = copy_flush(to);
    if (status == AQW_OK && to->unit.size > COPY_SIZE) {
        int error = aqw_io_write_all(to->r->io, to->handle, to->position, to->unit.data,
                                     to->unit.size);
        if (error != 0) status = aqw_fault_io(to->r->fault, "write", to->path, error);
    } else if (status == AQW_OK) {
        memcpy(to->buffer + to->buffered, to->unit.data, to->unit.size);
        to->buffered += to->unit.size;
    }
    to->position += to->unit.size;
    to->ordinal += to->unit.count;
    aqw_batch_reset(&to->unit);
    return status;
}

/* What was copied is durable from now on, so a pad protects it. */
static aqw_status copy_pad(copy *to) {
    uint8_t pad[AQW_PAD_SIZE_MAX];
    uint64_t last = to->place.first_sequence + to->ordinal - 1;
    uint32_t size = aqw_pad_seal(pad, &to->place, to->position, to->ordinal, last - to->durable,
                                 to->r->options->log.sector_size, UINT64_MAX);
    aqw_status status = to->buffered + size > COPY_SIZE ? copy_flush(to) : AQW_OK;
    if (status != AQW_OK) return status;
    memcpy(to->buffer + to->buffered, pad, size);
    to->buffered += size;
    to->position += size;
    return to->buffered > 0 ? copy_flush(to) : AQW_OK;
}

static aqw_status copy_events(copy *to, aqw_stream *stream) {
    aqw_record record;
    aqw_stream_seek_durable_end(stream);
    for (;;) {
        aqw_status status = aqw_stream_next(stream, &record, to->r->fault);
        if (status == AQW_END) return copy_pad(to);
        if (status != AQW_OK) return status;
        if (record.kind >= AQW_KIND_MARKER) continue;
        status = aqw_batch_add_payload(&to->unit, record.sequence, record.kind, record.payload,
                                       record.payload_size);
        if (status != AQW_OK) return aqw_fault_set(to->r->fault, status, to->path);
        if (record.flags != AQW_FLAG_BATCH_OPEN) status = copy_unit(to);
        if (status != AQW_OK) return status;
    }
}

static aqw_status size_of_events(aqw_stream *stream, uint64_t *size, aqw_fault *fault) {
    aqw_record record;
    *size = 0;
    aqw_stream_seek_durable_end(stream);
    for (;;) {
        aqw_status status = aqw_stream_next(stream, &record, fault);
        if (status == AQW_END) return AQW_OK;
        if (status != AQW_OK) return status;
        if (record.kind < AQW_KIND_MARKER) *size += record.size;
    }
}

/* Continues after anything but a clean close: in a new segment that holds what is
 * above the durable sequence. */
static aqw_status continue_in_new_segment(recovery *r, aqw_stream *stream) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    const aqw_segment_header *newest = aqw_stream_newest(stream);
    aqw_segment_header header = *newest;
    aqw_prepared prepared;
    uint64_t needed = 0, file_size = 0;
    aqw_status status = size_of_events(stream, &needed, r->fault);
    if (status == AQW_OK) status = random_u64(r, &header.place.salt);
    if (status != AQW_OK) return status;
    /* After the records stays what every segment keeps for a pad and a marker: the limit of a file
     * has room for them. */
    status = aqw_segment_size_next(summary->durable_end, needed + AQW_SEGMENT_RESERVE_MAX,
                                   r->options->log.segment_size_max, &file_size);
    if (status != AQW_OK) return aqw_fault_set(r->fault, status, r->directory);
    status = aqw_segment_prepare(r->io, r->directory, file_size, &prepared, r->fault);
    if (status == AQW_NO_SPACE) {
        r->start.is_short = 1;
        file_size = aqw_segment_size_least(needed + AQW_SEGMENT_RESERVE_MAX);
        status = aqw_segment_prepare(r->io, r->directory, file_size, &prepared, r->fault);
    }
    if (status != AQW_OK) return status;
    header.place.segment_number++;
    header.place.first_sequence = summary->durable_last_sequence + 1;
    header.watermark = summary->last_sequence;
    header.link_number = newest->place.segment_number;
    header.link_salt = newest->place.salt;
    header.link_end = summary->durable_end;
    header.link_last_sequence = summary->durable_last_sequence;
    aqw_place_seed(&header.place);

    copy to = {.r = r,
               .place = header.place,
               .durable = summary->durable_last_sequence,
               .position = AQW_SEGMENT_DATA,
               .handle = prepared.handle,
               .path = prepared.path,
               .buffer = malloc(COPY_SIZE)};
    aqw_batch_init(&to.unit);
    status = to.buffer == NULL ? aqw_fault_set(r->fault, AQW_NO_MEMORY, r->directory)
                               : copy_events(&to, stream);
    aqw_batch_free(&to.unit);
    free(to.buffer);
    if (status != AQW_OK) {
        aqw_segment_discard(r->io, &prepared);
        return status;
    }
    r->report->rewritten_events = to.ordinal;
    return start_segment(r, &prepared, &header, to.position, to.ordinal);
}

/* Continues after a clean close, in the same segment. It writes the marker's bytes again and syncs
 * them: if their last sync had failed, they would be in the page cache only and look the same. */
static aqw_status continue_in_same_segment(recovery *r, const aqw_stream *stream) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    const aqw_segment_header *newest = aqw_stream_newest(stream);
    uint8_t marker[AQW_RECORD_HEADER_SIZE] = {0};
    int64_t handle = -1;
    aqw_status status = aqw_segment_path(r->path, sizeof r->path, r->directory,
                                         newest->place.segment_number,
                                         newest->place.first_sequence);
    if (status != AQW_OK) return aqw_fault_set(r->fault, status, r->directory);
    int error = aqw_io_open(r->io, r->path, AQW_OPEN_WRITE, &handle);
    if (error != 0) return aqw_fault_io(r->fault, "open", r->path, error);
    uint64_t position = summary->end - AQW_RECORD_HEADER_SIZE;
    aqw_record_seal(marker, &newest->place, position, summary->ordinal, 0, AQW_KIND_MARKER, 0, 0);
    const char *operation = "write";
    error = aqw_io_write_all(r->io, handle, position, marker, sizeof marker);
    if (error == 0) {
        operation = "sync";
        error = aqw_io_sync(r->io, handle);
    }
    if (error != 0) {
        (void)r->io->close(r->io->context, handle);
        return aqw_fault_io(r->fault, operation, r->path, error);
    }
    r->start.segment = *newest;
    r->start.segment_handle = handle;
    r->start.tail = summary->end;
    r->start.ordinal = summary->ordinal;
    r->start.last_sequence = summary->last_sequence;
    r->start.ends_with_marker = 1;
    return AQW_OK;
}

/* Returns 1 where every byte of the newest segment that is not zero is known to be on stable
 * storage, and the ring has nothing for it. */
static int newest_is_settled(const aqw_stream_summary *summary) {
    return summary->end == summary->durable_end &&
           summary->last_sequence == summary->durable_last_sequence &&
           summary->dropped_bytes == 0 && summary->ring_events == 0 && !summary->ring_has_dropped;
}

/* Continues in the same segment after an unclean end that left it settled. A new segment each time
 * would fill the disk where a process is killed and started again and again, and needs room on a
 * disk that may have none. An attempt that was cut short may have left out the sync of its name. */
static aqw_status continue_in_settled_segment(recovery *r, const aqw_stream *stream) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    const aqw_segment_header *newest = aqw_stream_newest(stream);
    int64_t handle = -1;
    aqw_status status = aqw_segment_path(r->path, sizeof r->path, r->directory,
                                         newest->place.segment_number,
                                         newest->place.first_sequence);
    if (status != AQW_OK) return aqw_fault_set(r->fault, status, r->directory);
    int error = aqw_io_open(r->io, r->path, AQW_OPEN_WRITE, &handle);
    if (error != 0) return aqw_fault_io(r->fault, "open", r->path, error);
    error = aqw_io_sync(r->io, handle);
    if (error != 0) status = aqw_fault_io(r->fault, "sync", r->path, error);
    if (status == AQW_OK) status = name_path(r, "wal");
    if (status == AQW_OK) {
        error = aqw_io_sync_directory(r->io, r->path);
        if (error != 0) status = aqw_fault_io(r->fault, "sync directory", r->path, error);
    }
    if (status != AQW_OK) {
        (void)r->io->close(r->io->context, handle);
        return status;
    }
    r->start.segment = *newest;
    r->start.segment_handle = handle;
    r->start.tail = summary->end;
    r->start.ordinal = summary->ordinal;
    r->start.last_sequence = summary->last_sequence;
    return AQW_OK;
}

/* Returns the bytes of records in the segments to read, as the links and the newest
 * one's end say. */
static uint64_t size_of_records(const aqw_stream *stream) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    uint64_t size = summary->end - AQW_SEGMENT_DATA;
    for (uint64_t i = 1; i < summary->segments; i++)
        size += aqw_stream_segment(stream, i)->link_end - AQW_SEGMENT_DATA;
    return size;
}

static aqw_status replay_and_continue(recovery *r, aqw_stream *stream, aqw_table *table) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    aqw_replay_counts counts = {0, 0, 0, 0};
    aqw_progress_expect(r->options->progress, size_of_records(stream));
    aqw_status status = aqw_replay_stream(stream, table, &counts, r->options->progress, r->fault);
    r->report->segments = summary->segments;
    r->report->records = counts.records;
    r->report->events = counts.events;
    r->report->bytes = counts.bytes;
    r->report->replayed_bytes = counts.replayed_bytes;
    r->report->last_sequence = summary->last_sequence;
    r->report->durable_sequence = summary->durable_sequence;
    r->report->ring_events = summary->ring_events;
    r->report->is_clean = summary->is_clean;
    const uint8_t *history = aqw_stream_history(stream);
    if (history != NULL) memcpy(r->history, history, sizeof r->history);
    if (status != AQW_OK) return status;
    if (summary->is_clean) return continue_in_same_segment(r, stream);
    if (newest_is_settled(summary)) return continue_in_settled_segment(r, stream);
    status = quarantine_dropped(r, stream);
    return status == AQW_OK ? continue_in_new_segment(r, stream) : status;
}

static aqw_status open_segments(recovery *r, aqw_table *table) {
    aqw_stream *stream = NULL;
    aqw_snapshot_choice snapshot;
    aqw_stream_base base;
    aqw_status status = aqw_snapshot_load_newest(r->io, r->directory, table, r->options->progress,
                                                 &snapshot, r->fault);
    if (status != AQW_OK) return status;
    r->report->snapshot_sequence = snapshot.is_found ? snapshot.info.sequence : 0;
    r->report->snapshots_damaged = snapshot.damaged;
    r->report->snapshot_damage = snapshot.damage;
    memcpy(base.log_uuid, snapshot.info.log_uuid, sizeof base.log_uuid);
    base.sequence = snapshot.info.sequence;
    status = aqw_stream_open(r->io, r->directory, snapshot.is_found ? &base : NULL,
                             r->options->progress, &stream, r->fault);
    if (status == AQW_NOT_A_QUEUE && r->options->may_create) return create_first(r);
    if (status != AQW_OK) return status;
    status = replay_and_continue(r, stream, table);
    aqw_stream_free(stream);
    return status;
}

static int is_no_space(const recovery *r) { return aqw_error_is_no_space(r->fault->system_error); }

/* --- A full disk ------------------------------------------------------------------------------ */

/* Ends what the log goes on from with a close marker, so that the log does without a ring. */
static aqw_status mark_end(recovery *r) {
    uint8_t marker[AQW_RECORD_HEADER_SIZE] = {0};
    if (r->start.ends_with_marker) return AQW_OK;
    if (r->start.tail > r->start.segment.file_size - sizeof marker)
        return aqw_fault_io(r->fault, "write", r->directory, ENOSPC);
    aqw_record_seal(marker, &r->start.segment.place, r->start.tail, r->start.ordinal, 0,
                    AQW_KIND_MARKER, 0, 0);
    const char *operation = "write";
    int error = aqw_io_write_all(r->io, r->start.segment_handle, r->start.tail, marker,
                                 sizeof marker);
    if (error == 0) {
        operation = "sync";
        error = aqw_io_sync(r->io, r->start.segment_handle);
    }
    if (error != 0) return aqw_fault_io(r->fault, operation, r->directory, error);
    r->start.tail += sizeof marker;
    r->start.ends_with_marker = 1;
    return AQW_OK;
}

/* Where there is no room for a second ring, uses the first one again. Nothing rests on it any
 * more except the history, since everything is durable in the segments and they end with a
 * marker; so a stop in between leaves a queue that was closed. Where its file can't be written
 * either (a copy shares its blocks), it gives up its room, and a new one, which may be smaller,
 * begins another history. */
static aqw_status replace_ring(recovery *r) {
    uint64_t size = r->options->log.ring_size;
    aqw_status status = aqw_directory_check_held(r->io, r->directory, &r->start.lock, r->fault);
    if (status == AQW_OK) status = mark_end(r);
    if (status != AQW_OK) return status;
    status = aqw_ring_reuse(r->io, r->directory, &r->start.ring, r->fault);
    int is_of_no_use = status == AQW_CORRUPT ||
                       (status == AQW_IO_ERROR && r->fault->system_error == ENOENT) ||
                       is_no_space(r);
    if (status == AQW_OK || !is_of_no_use) return status;
    status = name_path(r, "ring");
    if (status != AQW_OK) return status;
    int error = r->io->unlink(r->io->context, r->path);
    if (error != 0 && error != ENOENT) return aqw_fault_io(r->fault, "unlink", r->path, error);
    for (;;) {
        status = aqw_ring_prepare(r->io, r->directory, size, &r->start.ring, r->fault);
        if (status == AQW_OK || !is_no_space(r) || size == AQW_RING_SIZE_MIN) return status;
        size = size / AQW_RING_SIZE_MIN / 2 * AQW_RING_SIZE_MIN;
    }
}

static aqw_status open_log(recovery *r, aqw_table *table, aqw_log **log) {
    aqw_status status = aqw_directory_lock(r->io, r->directory, r->options->holder, &r->start.lock,
                                           r->fault);
    if (status == AQW_OK) status = make_room(r);
    /* The ring comes before a segment gets a name, so that repeated opens on a full disk leave
     * nothing there each time. */
    if (status == AQW_OK) {
        status = aqw_ring_prepare(r->io, r->directory, r->options->log.ring_size, &r->start.ring,
                                  r->fault);
        r->start.is_short = status != AQW_OK && is_no_space(r);
        if (r->start.is_short) status = AQW_OK;
    }
    if (status == AQW_OK) {
        status = open_segments(r, table);
        if (status == AQW_OK && r->start.ring.handle < 0) status = replace_ring(r);
        if (status == AQW_OK)
            status = aqw_directory_check_held(r->io, r->directory, &r->start.lock, r->fault);
        if (status != AQW_OK) aqw_ring_discard(r->io, r->directory, &r->start.ring);
    }
    /* The last step: only now does anything replace what was there before. */
    const uint8_t *history = r->options->log_uuid != NULL ? r->options->log_uuid : r->history;
    memcpy(r->start.ring.history, history, sizeof r->history);
    r->start.ring.segment_number = r->start.segment.place.segment_number;
    if (status == AQW_OK)
        status = aqw_ring_publish(r->io, r->directory, r->start.segment.place.log_uuid,
                                  r->start.last_sequence, &r->start.ring, r->fault);
    if (status != AQW_OK) {
        if (r->start.segment_handle >= 0)
            (void)r->io->close(r->io->context, r->start.segment_handle);
        aqw_directory_unlock(r->io, &r->start.lock);
        return status;
    }
    memcpy(r->report->history, r->start.ring.history, sizeof r->report->history);
    return aqw_log_new(r->io, &r->options->log, &r->start, log, r->fault);
}

aqw_status aqw_recover(const aqw_io *io, const char *directory, const aqw_recovery_options *options,
                       aqw_table *table, aqw_log **log, aqw_recovery_report *report,
                       aqw_fault *fault) {
    memset(report, 0, sizeof *report);
    recovery *r = calloc(1, sizeof *r);
    if (r == NULL) return aqw_fault_set(fault, AQW_NO_MEMORY, directory);
    r->io = io;
    r->directory = directory;
    r->options = options;
    r->report = report;
    r->fault = fault;
    r->start.directory = directory;
    r->start.lock.file = r->start.lock.folder = r->start.segment_handle = -1;
    aqw_status status = aqw_log_options_check(&options->log, fault);
    if (status == AQW_OK) status = aqw_directory_check(directory, fault);
    if (status == AQW_OK) status = name_path(r, "wal");
    if (status == AQW_OK && !options->may_create &&
        io->check_directory(io->context, r->path) == ENOENT)
        status = aqw_fault_set(fault, AQW_NOT_A_QUEUE, directory);
    if (status == AQW_OK) status = aqw_directory_make(io, directory, directory, fault);
    if (status == AQW_OK) status = open_log(r, table, log);
    free(r);
    return status;
}
