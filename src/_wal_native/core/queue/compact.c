#include "queue/compact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "files/format.h"
#include "files/segment.h"
#include "read/follow.h"
#include "read/replay.h"

/* Bytes of records between two reports to progress. */
enum { PROGRESS_SIZE = 1 << 16 };

typedef struct compaction {
    const aqw_io *io;
    const char *directory;
    const aqw_compact_options *options;
    aqw_compact_report *report;
    aqw_fault *fault;
    uint8_t log_uuid[16];
    /* of the first file that could not be removed; a status of AQW_OK where all could */
    aqw_fault undropped;
    /* of the snapshot that the new one is made from, read and verified; or 0 */
    uint64_t base_sequence;
} compaction;

/* Called before compaction reads anything that the snapshot is made from, and before it
 * gives or removes any name. */
static aqw_status check_place(compaction *c) {
    return c->options->log == NULL ? AQW_OK : aqw_log_check_place(c->options->log, c->fault);
}

/* The file in the making lies in a directory that was the log's own after the file was made. */
static aqw_status may_publish(void *context) { return check_place(context); }

/* --- The snapshot ----------------------------------------------------------------------------- */

/* Replays up to what is durable when it begins: a faster writer would never let it
 * come to an end. */
static aqw_status replay_durable(compaction *c, aqw_follower *follower, aqw_table *table) {
    aqw_record record;
    uint64_t bytes = 0, target = 0;
    if (c->options->log != NULL) {
        /* The log itself knows best; the ring that has the name may be another one. */
        target = aqw_log_durable_sequence(c->options->log);
        aqw_follower_trust(follower, target);
    }
    for (;;) {
        aqw_status status = aqw_follower_next(follower, &record, c->fault);
        if (status == AQW_OK) status = aqw_replay_record(table, &record, c->fault);
        if (status != AQW_OK) return status == AQW_END ? AQW_OK : status;
        c->report->replayed_events++;
        if (target == 0) target = aqw_follower_durable_sequence(follower);
        if (record.sequence >= target) return AQW_OK;
        bytes += record.size;
        if (bytes < PROGRESS_SIZE) continue;
        aqw_progress_add(c->options->progress, bytes);
        bytes = 0;
        if (aqw_progress_must_stop(c->options->progress))
            return aqw_fault_set(c->fault, AQW_STOPPED, c->directory);
    }
}

/* The log's own writer asks, so that nothing else replaces or restores it: a follower that does not
 * find again what it has read met a file that was cut or written over. */
static aqw_status as_damage(compaction *c, aqw_status status) {
    if (status != AQW_HISTORY_CHANGED) return status;
    uint64_t sequence = c->fault->last_sequence;
    aqw_fault_corrupt(c->fault, AQW_REASON_RECORD_INVALID, c->directory, 0, 0);
    c->fault->first_sequence = c->fault->last_sequence = sequence;
    return AQW_CORRUPT;
}

/* Applies what is durable after the snapshot that the table holds, or from the beginning. */
static aqw_status follow_log(compaction *c, aqw_table *table, const aqw_snapshot_choice *base) {
    aqw_follower *follower = NULL;
    aqw_status status = aqw_follower_open(c->io, c->directory, aqw_table_latest_sequence(table),
                                          &follower, c->fault);
    if (status == AQW_COMPACTED) {
        /* A compaction drops only what a whole snapshot covers, so that snapshot is
         * missing or damaged. */
        uint64_t first = c->fault->first_sequence;
        if (base->damaged > 0) {
            *c->fault = base->damage;
            return (aqw_status)c->fault->status;
        }
        aqw_fault_corrupt(c->fault, AQW_REASON_HISTORY_MISSING, c->directory, 0, 0);
        c->fault->first_sequence = aqw_table_latest_sequence(table) + 1;
        c->fault->last_sequence = first - 1;
        return AQW_CORRUPT;
    }
    if (status != AQW_OK) return as_damage(c, status);
    memcpy(c->log_uuid, aqw_follower_log_uuid(follower), sizeof c->log_uuid);
    status = base->is_found && memcmp(c->log_uuid, base->info.log_uuid, sizeof c->log_uuid) != 0
                 ? aqw_fault_corrupt(c->fault, AQW_REASON_OTHER_LOG, c->directory, 0, 0)
                 : replay_durable(c, follower, table);
    aqw_follower_free(follower);
    return as_damage(c, status);
}

/* Brings the table, which holds a snapshot or nothing, up to what is durable, and writes it. */
static aqw_status extend(compaction *c, aqw_table *table, const aqw_snapshot_choice *base) {
    aqw_snapshot_info made;
    uint64_t before = aqw_table_latest_sequence(table);
    aqw_status status = follow_log(c, table, base);
    if (status != AQW_OK) return status;
    c->report->sequence = before;
    c->report->file_size = base->info.file_size;
    if (aqw_table_latest_sequence(table) == before) return AQW_OK;
    status = aqw_snapshot_write_if(c->io, c->directory, c->log_uuid, table, c->options->now,
                                   may_publish, c, c->options->progress, &made, c->fault);
    if (status != AQW_OK) return status;
    c->report->is_new = 1;
    c->report->sequence = made.sequence;
    c->report->file_size = made.file_size;
    c->report->kept_sequence = before;
    return AQW_OK;
}

static aqw_status make_snapshot(compaction *c) {
    aqw_snapshot_choice base;
    memset(&base, 0, sizeof base);
    uint8_t seed[16];
    int error = c->io->random(c->io->context, seed, sizeof seed);
    if (error != 0) return aqw_fault_io(c->fault, "random", c->directory, error);
    aqw_table *table = aqw_table_new(NULL, seed);
    if (table == NULL) return aqw_fault_set(c->fault, AQW_NO_MEMORY, c->directory);
    aqw_status status = aqw_snapshot_load_newest(c->io, c->directory, table, c->options->progress,
                                                 &base, c->fault);
    if (status == AQW_OK) status = extend(c, table, &base);
    aqw_table_free(table);
    if (base.is_found) c->base_sequence = base.info.sequence;
    return status;
}

/* --- What is dropped -------------------------------------------------------------------------- */

/* Counts the file where it is gone. A file that can't be removed does not keep the others: the
 * failure waits until all were tried. */
static aqw_status drop_file(compaction *c, const char *path, uint64_t *count) {
    uint64_t size = 0;
    int64_t handle = -1;
    aqw_status status = check_place(c);
    if (status != AQW_OK) return status;
    if (aqw_io_open(c->io, path, AQW_OPEN_READ, &handle) == 0) {
        if (c->io->size(c->io->context, handle, &size) != 0) size = 0;
        (void)c->io->close(c->io->context, handle);
    }
    int error = c->io->unlink(c->io->context, path);
    if (error != 0 && error != ENOENT) {
        if (c->undropped.status == AQW_OK) aqw_fault_io(&c->undropped, "unlink", path, error);
        return AQW_OK;
    }
    c->report->dropped_bytes += size;
    ++*count;
    return AQW_OK;
}

static aqw_status sync_directory(compaction *c, const char *path) {
    int error = aqw_io_sync_directory(c->io, path);
    return error == 0 ? AQW_OK : aqw_fault_io(c->fault, "sync directory", path, error);
}

static aqw_status sync_folder(compaction *c, const char *name) {
    char path[AQW_PATH_SIZE_MAX + 16];
    if (aqw_path_join(path, sizeof path, c->directory, name) != AQW_OK)
        return aqw_fault_set(c->fault, AQW_INVALID_ARGUMENT, c->directory);
    return sync_directory(c, path);
}

/* Syncs the names that dropping relies on. */
static aqw_status sync_names(compaction *c) {
    aqw_status status = sync_folder(c, "snapshots");
    return status == AQW_OK ? sync_directory(c, c->directory) : status;
}

/* Finds the newest snapshot below the newest that verifies, where making a new one has
 * not just read it. */
static aqw_status find_kept(compaction *c, const uint64_t *sequences, uint32_t count) {
    aqw_snapshot_info info;
    for (uint32_t i = 0; i < count && c->report->kept_sequence == 0; i++) {
        if (sequences[i] >= c->report->sequence) continue;
        aqw_status status = aqw_snapshot_read(c->io, c->directory, sequences[i], NULL,
                                              c->options->progress, &info, c->fault);
        if (status == AQW_OK && memcmp(info.log_uuid, c->log_uuid, sizeof c->log_uuid) == 0)
            c->report->kept_sequence = sequences[i];
        else if (status != AQW_OK && !aqw_snapshot_is_damage(status, c->fault)) return status;
    }
    return AQW_OK;
}

static aqw_status drop_snapshots(compaction *c) {
    char path[AQW_PATH_SIZE_MAX + 64];
    uint64_t sequences[AQW_SNAPSHOT_COUNT_MAX];
    uint32_t count = 0;
    aqw_status status = aqw_snapshot_list(c->io, c->directory, sequences, AQW_SNAPSHOT_COUNT_MAX,
                                          &count, c->fault);
    if (status == AQW_OK && !c->report->is_new && c->report->kept_sequence == 0) {
        status = find_kept(c, sequences, count);
        /* The maker of the newest one may not have come to the sync of its name, and
         * dropping relies on it. */
        if (status == AQW_OK) status = sync_names(c);
    }
    for (uint32_t i = count; status == AQW_OK && i > 0; i--) {
        uint64_t sequence = sequences[i - 1];
        if (sequence == c->report->sequence || sequence == c->report->kept_sequence) continue;
        status = aqw_snapshot_path(path, sizeof path, c->directory, sequence);
        if (status == AQW_OK) status = drop_file(c, path, &c->report->dropped_snapshots);
    }
    if (status != AQW_OK || c->report->dropped_snapshots == 0) return status;
    return sync_folder(c, "snapshots");
}

typedef struct names {
    uint64_t (*segments)[2];    /* number, first sequence */
    size_t count;
    size_t capacity;
    int failed;
} names;

static void visit_name(void *to, const char *name) {
    names *list = to;
    uint64_t number = 0, first = 0;
    if (list->failed || !aqw_segment_name_parse(name, &number, &first)) return;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        uint64_t (*grown)[2] = capacity > 2 * (size_t)AQW_SEGMENT_COUNT_MAX
                                   ? NULL
                                   : realloc(list->segments, capacity * sizeof *grown);
        list->failed = grown == NULL;
        if (list->failed) return;
        list->segments = grown;
        list->capacity = capacity;
    }
    list->segments[list->count][0] = number;
    list->segments[list->count][1] = first;
    list->count++;
}

static int by_number(const void *a, const void *b) {
    const uint64_t *left = a, *right = b;
    return (left[0] > right[0]) - (left[0] < right[0]);
}

/* Drops the oldest first, so that a crash leaves the newer end. */
static aqw_status drop_listed(compaction *c, const names *list) {
    char path[AQW_PATH_SIZE_MAX + 64];
    size_t start = 0;
    const uint64_t before = c->report->dropped_segments;
    aqw_status status = AQW_OK;
    for (size_t i = 0; i < list->count; i++) {
        if (list->segments[i][1] - 1 <= c->report->kept_sequence) start = i;
    }
    /* Drops nothing after a segment that stays: the log is to have no gap. */
    for (size_t i = 0; status == AQW_OK && i < start && c->report->dropped_segments == before + i;
         i++) {
        status = aqw_segment_path(path, sizeof path, c->directory, list->segments[i][0],
                                  list->segments[i][1]);
        if (status == AQW_OK) status = drop_file(c, path, &c->report->dropped_segments);
    }
    return status == AQW_OK && start > 0 ? sync_folder(c, "wal") : status;
}

/* Drops the segments that no recovery from the older snapshot reads. */
static aqw_status drop_segments(compaction *c) {
    char wal[AQW_PATH_SIZE_MAX + 16];
    names list = {NULL, 0, 0, 0};
    if (aqw_path_join(wal, sizeof wal, c->directory, "wal") != AQW_OK)
        return aqw_fault_set(c->fault, AQW_INVALID_ARGUMENT, c->directory);
    int error = c->io->list(c->io->context, wal, visit_name, &list);
    aqw_status status = AQW_OK;
    if (error != 0) status = aqw_fault_io(c->fault, "list", wal, error);
    else if (list.failed) status = aqw_fault_set(c->fault, AQW_NO_MEMORY, wal);
    if (status == AQW_OK && list.count > 1) {
        qsort(list.segments, list.count, sizeof *list.segments, by_number);
        status = drop_listed(c, &list);
    }
    free(list.segments);
    return status;
}

/* Keeps the newest snapshot alone, which was read back and verified, and the log after it. */
static aqw_status keep_one(compaction *c, uint64_t sequence) {
    c->report->sequence = c->report->kept_sequence = sequence;
    aqw_status status = sync_names(c);
    if (status == AQW_OK) status = drop_snapshots(c);
    return status == AQW_OK ? drop_segments(c) : status;
}

/* Makes room for the new snapshot: drops what the snapshot covers that was just read.
 * There may be enough then. */
static aqw_status make_snapshot_in_need(compaction *c) {
    aqw_fault first = *c->fault;
    aqw_status status = keep_one(c, c->base_sequence);
    if (status != AQW_OK) return status;
    if (c->report->dropped_bytes == 0) {
        *c->fault = first;
        return AQW_NO_SPACE;
    }
    c->report->replayed_events = 0;
    return make_snapshot(c);
}

static aqw_status run(compaction *c) {
    aqw_compact_report *report = c->report;
    const aqw_compact_options *options = c->options;
    aqw_status status = check_place(c);
    if (status == AQW_OK) status = make_snapshot(c);
    if (status == AQW_NO_SPACE && options->drops_segments && c->base_sequence > 0)
        status = make_snapshot_in_need(c);
    /* A full disk has no room for a second snapshot: the next compaction after it has
     * room keeps two again. */
    int is_short = options->log != NULL && options->drops_segments &&
                   aqw_log_is_short(options->log);
    if (status == AQW_OK && is_short && report->sequence > 0) return keep_one(c, report->sequence);
    if (status == AQW_OK && report->sequence > 0) status = drop_snapshots(c);
    if (status == AQW_OK && options->drops_segments && report->kept_sequence > 0)
        status = drop_segments(c);
    return status;
}

aqw_status aqw_compact(const aqw_io *io, const char *directory, const aqw_compact_options *options,
                       aqw_compact_report *report, aqw_fault *fault) {
    compaction c = {
        .io = io, .directory = directory, .options = options, .report = report, .fault = fault};
    memset(report, 0, sizeof *report);
    aqw_status status = run(&c);
    if (status != AQW_OK || c.undropped.status == AQW_OK) return status;
    *fault = c.undropped;
    return (aqw_status)fault->status;
}
