/* Whole directories of a queue: read, followed, opened, opened again, compacted, repaired.
 *
 * Held: reading writes nothing, and gives a gap-free row of whole batches or a typed refusal; opening succeeds exactly where reading and
 * replay do; a refused open leaves everything as it was; what an open leaves opens again and gives the same, after a kill, an append, a
 * compaction and a close; a follower sees nothing that a reader does not; what is refused as damaged can be repaired, then opens with what
 * the repair said, and every byte that was there still is; no call takes more memory than the files' sizes allow. */
#include <string.h>

#include "queue/compact.h"
#include "queue/repair.h"
#include "core_memory.h"
#include "fuzz.h"
#include "image.h"
#include "queue.h"
#include "table_digest.h"

/* ---- A queue that opens ---- */

static aqw_status append_one(queue *q) {
    aqw_batch batch;
    aqw_event event;
    aqw_fault fault;
    memset(&event, 0, sizeof event);
    event.kind = AQW_LEDGER_ENTRY_APPENDED;
    event.sequence = aqw_log_last_sequence(q->log) + 1;
    event.as.ledger_entry_appended.ledger_key = (aqw_bytes){(const uint8_t *)"k", 1};
    event.as.ledger_entry_appended.payload = (aqw_bytes){(const uint8_t *)"", 0};
    aqw_batch_init(&batch);
    CHECK(aqw_batch_add(&batch, &event) == AQW_OK);
    aqw_status status = aqw_log_append(q->log, &batch, &fault);
    if (status == AQW_OK) status = aqw_table_apply(q->table, &event);
    aqw_batch_free(&batch);
    return status;
}

/* Opens what an earlier open left; the projection must be the same. */
static void reopen(disk *d, const aqw_log_options *options, uint64_t digest, int is_clean, queue *q) {
    CHECK(queue_open(d, options, 0, q) == AQW_OK);
    CHECK(table_digest(q->table) == digest && q->report.is_clean == is_clean);
    CHECK(q->report.dropped_bytes == 0 && q->report.dropped_events == 0);
}

/* A snapshot of what the open queue has on disk, which is all of it. */
static void compact(disk *d, const queue *q, int drops_segments) {
    aqw_compact_options options = {.now = 1700000000, .drops_segments = drops_segments};
    aqw_compact_report report;
    aqw_fault fault;
    memory_watch();
    CHECK(aqw_compact(&d->io, QUEUE, &options, &report, &fault) == AQW_OK);
    CHECK(memory_peak() <= disk_memory_bound(d));
    CHECK(report.sequence == aqw_log_durable_sequence(q->log) && report.kept_sequence <= report.sequence);
}

static void check_opened(disk *d, const aqw_log_options *options, const reading *seen, queue *q, uint8_t choice) {
    uint64_t digest = seen->digest, last = 0;
    aqw_fault fault;
    CHECK(q->report.last_sequence == seen->last_sequence && q->report.snapshot_sequence == seen->base_sequence);
    CHECK(table_digest(q->table) == digest && aqw_log_last_sequence(q->log) == seen->last_sequence);
    CHECK(aqw_log_durable_sequence(q->log) == seen->last_sequence);
    CHECK(queue_follow(d, seen->last_sequence, &last, &fault) == AQW_END && last == seen->last_sequence);
    if (choice & 2) compact(d, q, choice & 4);
    if (choice & 1) {
        CHECK(append_one(q) == AQW_OK);
        digest = table_digest(q->table);
        queue_kill(d, q);
        reopen(d, options, digest, 0, q);
    }
    CHECK(queue_close(d, q) == AQW_OK);
    reopen(d, options, digest, 1, q);
    if (choice & 2) compact(d, q, choice & 4);
    CHECK(append_one(q) == AQW_OK);
    digest = table_digest(q->table);
    CHECK(queue_close(d, q) == AQW_OK);
    reopen(d, options, digest, 1, q);
    CHECK(queue_close(d, q) == AQW_OK);
}

/* ---- A queue that does not ---- */

typedef struct contents {
    uint64_t digests[DISK_FILES_MAX];
    int count;
} contents;

/* What lies in segments, snapshots and the ring. */
static void gather(const disk *d, const char *below, contents *found) {
    for (int i = 0; i < d->name_count; i++) {
        const disk_name *name = &d->names[i];
        size_t size = strlen(name->path);
        if (name->file == NULL || strncmp(name->path, below, strlen(below)) != 0 || strcmp(name->path, QUEUE "/LOCK") == 0) continue;
        if (size > 4 && strcmp(name->path + size - 4, ".tmp") == 0) continue;
        found->digests[found->count++] = digest_bytes(digest_number(DIGEST_START, name->file->size), name->file->data, name->file->size);
    }
}

static void check_nothing_is_destroyed(const contents *before, const disk *d) {
    contents after = {.count = 0};
    gather(d, QUEUE, &after);
    for (int i = 0; i < before->count; i++) {
        int found = 0;
        for (int j = 0; j < after.count; j++) found |= before->digests[i] == after.digests[j];
        CHECK(found);
    }
}

static int has_obstacle(const disk *d) {
    return disk_find(d, QUEUE "/quarantine") != NULL || disk_find(d, QUEUE "/wal") != NULL || disk_find(d, QUEUE "/snapshots") != NULL;
}

static void check_repaired(disk *d, const aqw_log_options *options) {
    aqw_repair_options repair = {.now = 1700000000, .holder = "fuzz\n"};
    aqw_repair_report plan, report;
    aqw_fault fault;
    queue q;
    contents before = {.count = 0};
    gather(d, QUEUE, &before);
    uint64_t all = disk_digest(d, QUEUE "/wal") + disk_digest(d, QUEUE "/ring") + disk_digest(d, QUEUE "/snapshots");
    uint64_t bound = disk_memory_bound(d);
    memory_watch();
    aqw_status planned = aqw_repair(&d->io, QUEUE, &repair, &plan, &fault);
    CHECK(all == disk_digest(d, QUEUE "/wal") + disk_digest(d, QUEUE "/ring") + disk_digest(d, QUEUE "/snapshots"));
    CHECK(planned != AQW_OK || plan.is_damaged);
    repair.accepts_data_loss = 1;
    aqw_status status = aqw_repair(&d->io, QUEUE, &repair, &report, &fault);
    CHECK(memory_peak() <= bound);
    CHECK(status == AQW_OK || (int)status == fault.status);
    CHECK(disk_open_handles(d) == 0);
    check_nothing_is_destroyed(&before, d);
    CHECK(status == AQW_OK || status == AQW_UNSUPPORTED_FORMAT || status == AQW_CORRUPT || has_obstacle(d));
    if (status != AQW_OK) return;
    CHECK(planned == AQW_OK && report.kept_sequence == plan.kept_sequence && report.lost_last == plan.lost_last);
    CHECK(report.lost_last == 0 || report.lost_first == report.kept_sequence + 1);
    CHECK(queue_open(d, options, 1, &q) == AQW_OK);
    CHECK(q.report.last_sequence == report.kept_sequence && q.report.is_created == (report.kept_sequence == 0));
    CHECK(append_one(&q) == AQW_OK && queue_close(d, &q) == AQW_OK);
}

/* ---- Either ---- */

static int is_refusal_of_bytes(aqw_status status) {
    return status == AQW_CORRUPT || status == AQW_UNSUPPORTED_FORMAT || status == AQW_NOT_A_QUEUE;
}

static void check_follower(disk *d, const reading *seen, int is_readable, uint64_t after) {
    uint64_t last = 0;
    aqw_fault fault;
    aqw_status status = queue_follow(d, after, &last, &fault);
    CHECK(disk_open_handles(d) == 0);
    if (is_readable && status == AQW_END && after <= seen->last_sequence) CHECK(last <= seen->last_sequence);
}

/* Of the ring alone: a temporary one that an opening left behind is removed by the next. */
static uint64_t ring_digest(const disk *d) { return disk_digest(d, QUEUE "/ring") - disk_digest(d, QUEUE "/ring.tmp"); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    disk d;
    queue q;
    reading seen;
    aqw_fault fault;
    uint8_t choice = take_u8(&in);
    disk_init(&d);
    d.can_map = choice >> 7;
    aqw_log_options options = {.segment_size_max = 65536u << (choice >> 3 & 3), .ring_size = 65536, .now = 1700000000};
    image_build(&d, &in);
    uint64_t wal = disk_digest(&d, QUEUE "/wal/0"), ring = ring_digest(&d), snapshots = disk_digest(&d, QUEUE "/snap");

    aqw_status status = queue_read(&d, &seen, &fault);
    CHECK(status == AQW_OK || is_refusal_of_bytes(status) || has_obstacle(&d));
    check_follower(&d, &seen, status == AQW_OK, choice & 7);
    aqw_status opened = queue_open(&d, &options, choice >> 5 & 1, &q);
    if (status == AQW_OK) CHECK(opened == AQW_OK || has_obstacle(&d));
    else if (status != AQW_NOT_A_QUEUE) CHECK(opened != AQW_OK);
    if (opened == AQW_OK && status == AQW_OK) check_opened(&d, &options, &seen, &q, choice);
    else if (opened == AQW_OK) CHECK(q.report.is_created && queue_close(&d, &q) == AQW_OK);
    else {
        CHECK(disk_digest(&d, QUEUE "/wal/0") == wal && ring_digest(&d) == ring);
        CHECK(disk_digest(&d, QUEUE "/snap") == snapshots);
        if (opened == AQW_CORRUPT) check_repaired(&d, &options);
    }
    disk_free(&d);
    return 0;
}
