/* The order makes it safe to fail anywhere. First the repair writes a snapshot of what is saved,
 * then it moves the ring away, then a segment goes on after the snapshot, then it moves the rest
 * away, and makes the new ring last. A reader refuses an empty segment that follows no other
 * without a ring; so up to the last step the queue is refused, or it opens with just the events
 * that are kept, and the repair can be run again. */
#include "queue/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "files/directory.h"
#include "files/format.h"
#include "files/ring.h"
#include "files/segment.h"
#include "files/snapshot.h"
#include "read/replay.h"
#include "read/salvage.h"
#include "read/stream.h"

enum { NAME_MAX_SIZE = 192, PATH_CAPACITY = AQW_PATH_SIZE_MAX + NAME_MAX_SIZE };

typedef struct repair {
    const aqw_io *io;
    const char *directory;
    const aqw_repair_options *options;
    aqw_repair_report *report;
    aqw_fault *fault;
    aqw_table *table;
    aqw_snapshot_choice snapshot;
    aqw_salvage salvage;
    uint64_t id;                /* random: in the names of all files that one repair moves */
    uint64_t segment_number;    /* of the segment that goes on, 0 until it is there */
} repair;

static aqw_status join(repair *r, char path[PATH_CAPACITY], const char *name) {
    return aqw_path_join(path, PATH_CAPACITY, r->directory, name) == AQW_OK
               ? AQW_OK
               : aqw_fault_set(r->fault, AQW_INVALID_ARGUMENT, r->directory);
}

static aqw_status random_u64(repair *r, uint64_t *value) {
    uint8_t bytes[8];
    int error = r->io->random(r->io->context, bytes, sizeof bytes);
    if (error != 0) return aqw_fault_io(r->fault, "random", r->directory, error);
    *value = aqw_load_u64(bytes);
    return AQW_OK;
}

/* --- What is wrong ---------------------------------------------------------------------------- */

/* Asks the medium once more for what it does not give. */
static aqw_status load_snapshot(repair *r) {
    aqw_table_clear(r->table);
    aqw_status status = aqw_snapshot_load_newest(r->io, r->directory, r->table, NULL, &r->snapshot,
                                                 r->fault);
    if (status != AQW_OK || r->snapshot.damaged == 0 || r->snapshot.damage.status != AQW_IO_ERROR)
        return status;
    aqw_table_clear(r->table);
    return aqw_snapshot_load_newest(r->io, r->directory, r->table, NULL, &r->snapshot, r->fault);
}

/* Opens and replays it as the next writer would. */
static aqw_status try_open_once(repair *r) {
    aqw_stream *stream = NULL;
    aqw_stream_base base;
    aqw_replay_counts counts = {0, 0, 0, 0};
    aqw_status status = load_snapshot(r);
    if (status != AQW_OK) return status;
    memcpy(base.log_uuid, r->snapshot.info.log_uuid, sizeof base.log_uuid);
    base.sequence = r->snapshot.info.sequence;
    status = aqw_stream_open(r->io, r->directory, r->snapshot.is_found ? &base : NULL, NULL,
                             &stream, r->fault);
    if (status == AQW_OK)
        status = aqw_replay_stream(stream, r->table, &counts, r->options->progress, r->fault);
    aqw_stream_free(stream);
    return status;
}

static int is_unreadable(aqw_status status, const aqw_fault *fault) {
    return status == AQW_IO_ERROR && fault->system_error == EIO &&
           strcmp(fault->operation, "read") == 0;
}

/* Bytes that the medium has lost are damage, if they are still lost at the second attempt. */
static aqw_status try_open(repair *r) {
    aqw_status status = try_open_once(r);
    if (is_unreadable(status, r->fault)) status = try_open_once(r);
    if (!is_unreadable(status, r->fault)) return status;
    aqw_fault lost = *r->fault;
    aqw_fault_corrupt(r->fault, AQW_REASON_UNREADABLE, lost.path, lost.segment, lost.offset);
    r->fault->system_error = lost.system_error;
    return AQW_CORRUPT;
}

static aqw_status save_what_verifies(repair *r) {
    aqw_status status = load_snapshot(r);
    if (status != AQW_OK) return status;
    memset(&r->salvage, 0, sizeof r->salvage);
    r->salvage.visit = r->options->visit;
    r->salvage.visit_to = r->options->visit_to;
    memcpy(r->salvage.log_uuid, r->snapshot.info.log_uuid, sizeof r->salvage.log_uuid);
    r->salvage.has_log_uuid = r->snapshot.is_found;
    status = aqw_salvage_events(r->io, r->directory, r->table, &r->salvage, r->options->progress,
                                r->fault);
    if (status != AQW_OK) return status;
    uint64_t last = r->salvage.last_seen > r->salvage.durable ? r->salvage.last_seen
                                                              : r->salvage.durable;
    r->report->kept_sequence = aqw_table_latest_sequence(r->table);
    r->report->readable_events = r->salvage.unused_events;
    if (last <= r->report->kept_sequence) return AQW_OK;
    r->report->lost_first = r->report->kept_sequence + 1;
    r->report->lost_last = last;
    return AQW_OK;
}

/* --- Moving away ------------------------------------------------------------------------------ */

/* Moves `folder`/`name` (folder may be empty) to quarantine/. What is not there needs no moving. */
static aqw_status move_away(repair *r, const char *folder, const char *name) {
    char relative[NAME_MAX_SIZE], from[PATH_CAPACITY], to[PATH_CAPACITY];
    uint64_t size = 0;
    int64_t handle = -1;
    (void)snprintf(relative, sizeof relative, "%s%s", folder, name);
    aqw_status status = join(r, from, relative);
    (void)snprintf(relative, sizeof relative, "quarantine/repair-%016" PRIx64 "-%s", r->id, name);
    if (status == AQW_OK) status = join(r, to, relative);
    if (status != AQW_OK) return status;
    if (aqw_io_open(r->io, from, AQW_OPEN_READ, &handle) == 0) {
        if (r->io->size(r->io->context, handle, &size) != 0) size = 0;
        (void)r->io->close(r->io->context, handle);
    }
    int error = r->io->rename(r->io->context, from, to);
    if (error == ENOENT) return AQW_OK;
    if (error != 0) return aqw_fault_io(r->fault, "rename", from, error);
    r->report->quarantined_files++;
    r->report->quarantined_bytes += size;
    return AQW_OK;
}

typedef struct mover {
    repair *r;
    const char *folder;
    aqw_status status;
} mover;

static void move_segment(void *to, const char *name) {
    mover *m = to;
    uint64_t number = 0, first = 0;
    if (m->status != AQW_OK || !aqw_segment_name_parse(name, &number, &first) ||
        number == m->r->segment_number)
        return;
    m->status = move_away(m->r, m->folder, name);
}

/* Moves all but the snapshot that the log goes on from. */
static void move_snapshot(void *to, const char *name) {
    mover *m = to;
    uint64_t sequence = 0;
    if (m->status != AQW_OK || !aqw_snapshot_name_parse(name, &sequence) ||
        sequence == m->r->report->kept_sequence)
        return;
    m->status = move_away(m->r, m->folder, name);
}

static aqw_status sync_directory(repair *r, const char *path) {
    int error = aqw_io_sync_directory(r->io, path);
    return error == 0 ? AQW_OK : aqw_fault_io(r->fault, "sync directory", path, error);
}

/* The new names are durable before the old ones are gone. */
static aqw_status sync_moves(repair *r, const char *from) {
    char quarantine[PATH_CAPACITY];
    aqw_status status = join(r, quarantine, "quarantine");
    if (status == AQW_OK) status = sync_directory(r, quarantine);
    return status == AQW_OK ? sync_directory(r, from) : status;
}

/* Moves until a listing shows nothing more: what moves during one may make it miss others. */
static aqw_status move_all(repair *r, const char *folder, aqw_list_visit visit) {
    char path[PATH_CAPACITY], slashed[16];
    mover m = {r, slashed, AQW_OK};
    uint64_t before = 0;
    (void)snprintf(slashed, sizeof slashed, "%s/", folder);
    aqw_status status = join(r, path, folder);
    if (status != AQW_OK) return status;
    int error = r->io->check_directory(r->io->context, path);
    if (error == ENOENT) return AQW_OK;
    if (error != 0) return aqw_fault_io(r->fault, "list", path, error);
    do {
        before = r->report->quarantined_files;
        error = r->io->list(r->io->context, path, visit, &m);
        if (error != 0) return aqw_fault_io(r->fault, "list", path, error);
    } while (m.status == AQW_OK && r->report->quarantined_files > before);
    return m.status == AQW_OK ? sync_moves(r, path) : m.status;
}

static aqw_status move_ring(repair *r) {
    aqw_status status = move_away(r, "", "ring");
    return status == AQW_OK ? sync_moves(r, r->directory) : status;
}

/* --- Going on --------------------------------------------------------------------------------- */

/* Keeps the loaded snapshot, if nothing was saved after it. Else it first moves a damaged one away
 * that has the new one's name. */
static aqw_status write_snapshot(repair *r) {
    aqw_snapshot_info info;
    char path[PATH_CAPACITY], name[32];
    aqw_status status = join(r, path, "snapshots");
    if (status != AQW_OK) return status;
    if (r->snapshot.is_found && r->snapshot.info.sequence == r->report->kept_sequence)
        return sync_directory(r, path);
    (void)snprintf(name, sizeof name, "%020" PRIu64 ".snap", r->report->kept_sequence);
    status = move_away(r, "snapshots/", name);
    if (status == AQW_OK && r->report->quarantined_files > 0) status = sync_moves(r, path);
    if (status != AQW_OK) return status;
    return aqw_snapshot_write(r->io, r->directory, r->salvage.log_uuid, r->table, r->options->now,
                              r->options->progress, &info, r->fault);
}

/* Makes an empty segment that follows no other: what comes before it is in the snapshot. */
static aqw_status begin_segment(repair *r) {
    aqw_segment_header header;
    aqw_prepared prepared;
    int is_named = 0;
    memset(&header, 0, sizeof header);
    memcpy(header.place.log_uuid, r->salvage.log_uuid, sizeof header.place.log_uuid);
    aqw_status status = random_u64(r, &header.place.salt);
    if (status == AQW_OK)
        status = aqw_segment_prepare(r->io, r->directory, AQW_SEGMENT_SIZE_FIRST, &prepared,
                                     r->fault);
    if (status != AQW_OK) return status;
    header.format_version = AQW_FORMAT_VERSION;
    /* number 1 begins at sequence 1 */
    header.place.segment_number =
        (r->salvage.segment_number_max > 0 ? r->salvage.segment_number_max : 1) + 1;
    header.place.first_sequence = r->report->kept_sequence + 1;
    header.file_size = prepared.file_size;
    header.watermark = r->report->kept_sequence;
    header.created_at = r->options->now;
    aqw_place_seed(&header.place);
    status = aqw_segment_publish(r->io, r->directory, &prepared, &header, &is_named, r->fault);
    if (status == AQW_OK || is_named) (void)r->io->close(r->io->context, prepared.handle);
    r->segment_number = header.place.segment_number;
    return status;
}

static aqw_status make_ring(repair *r) {
    aqw_ring ring;
    aqw_status status = aqw_ring_create(r->io, r->directory, r->salvage.log_uuid,
                                        AQW_RING_SIZE_DEFAULT, r->report->kept_sequence, &ring,
                                        r->fault);
    if (status == AQW_OK) aqw_ring_close(r->io, &ring);
    return status;
}

static aqw_status make_directory(repair *r, const char *name) {
    char path[PATH_CAPACITY];
    aqw_status status = join(r, path, name);
    return status == AQW_OK ? aqw_directory_make(r->io, r->directory, path, r->fault) : status;
}

static aqw_status mend(repair *r) {
    aqw_status status = random_u64(r, &r->id);
    if (status == AQW_OK) status = make_directory(r, "quarantine");
    if (status == AQW_OK) status = make_directory(r, "wal");
    if (status == AQW_OK) status = sync_directory(r, r->directory);
    /* Without any event there is nothing to go on from: the next writer begins a new log. */
    int goes_on = r->report->kept_sequence > 0;
    if (status == AQW_OK && goes_on) status = write_snapshot(r);
    if (status == AQW_OK) status = move_ring(r);
    if (status == AQW_OK && goes_on) status = begin_segment(r);
    if (status == AQW_OK) status = move_all(r, "wal", move_segment);
    if (status == AQW_OK) status = move_all(r, "snapshots", move_snapshot);
    return status == AQW_OK && goes_on ? make_ring(r) : status;
}

/* --- The whole -------------------------------------------------------------------------------- */

static aqw_status look(repair *r) {
    aqw_status status = try_open(r);
    if (status != AQW_CORRUPT) return status;
    r->report->is_damaged = 1;
    r->report->damage = *r->fault;
    return save_what_verifies(r);
}

static aqw_status run(repair *r) {
    aqw_status status = look(r);
    return status == AQW_OK && r->report->is_damaged && r->options->accepts_data_loss ? mend(r)
                                                                                      : status;
}

/* Runs the work with a table to replay into. */
static aqw_status run_with_table(repair *r, aqw_status (*work)(repair *)) {
    uint8_t seed[16] = {0};
    int error = r->io->random(r->io->context, seed, sizeof seed);
    if (error != 0) return aqw_fault_io(r->fault, "random", r->directory, error);
    r->table = aqw_table_new(NULL, seed);
    if (r->table == NULL) return aqw_fault_set(r->fault, AQW_NO_MEMORY, r->directory);
    aqw_status status = work(r);
    aqw_table_free(r->table);
    return status;
}

static aqw_status new_repair(const aqw_io *io, const char *directory,
                             const aqw_repair_options *options, aqw_repair_report *report,
                             aqw_fault *fault, repair **made) {
    memset(report, 0, sizeof *report);
    *made = calloc(1, sizeof **made);
    if (*made == NULL) return aqw_fault_set(fault, AQW_NO_MEMORY, directory);
    **made = (repair){
        .io = io, .directory = directory, .options = options, .report = report, .fault = fault};
    return AQW_OK;
}

aqw_status aqw_repair_look(const aqw_io *io, const char *directory,
                           const aqw_repair_options *options, aqw_repair_report *report,
                           aqw_fault *fault) {
    repair *r = NULL;
    aqw_status status = new_repair(io, directory, options, report, fault, &r);
    if (status == AQW_OK) status = run_with_table(r, look);
    free(r);
    return status;
}

/* The lock makes a file: so repair takes it only where something of a queue is there. */
static aqw_status check_there(repair *r) {
    static const char *const names[] = {"wal", "snapshots", "ring"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_CAPACITY];
        aqw_status status = join(r, path, names[i]);
        if (status != AQW_OK) return status;
        if (r->io->check_directory(r->io->context, path) != ENOENT) return AQW_OK;
    }
    return aqw_fault_set(r->fault, AQW_NOT_A_QUEUE, r->directory);
}

aqw_status aqw_repair(const aqw_io *io, const char *directory, const aqw_repair_options *options,
                      aqw_repair_report *report, aqw_fault *fault) {
    repair *r = NULL;
    aqw_lock lock;
    aqw_status status = new_repair(io, directory, options, report, fault, &r);
    if (status == AQW_OK) status = check_there(r);
    if (status == AQW_OK) status = aqw_directory_lock(io, directory, options->holder, &lock, fault);
    if (status == AQW_OK) {
        status = run_with_table(r, run);
        aqw_directory_unlock(io, &lock);
    }
    free(r);
    return status;
}
