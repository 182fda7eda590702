/* Whole directories of a queue: read, opened, opened again.
 *
 * Held: reading writes nothing, and gives a gap-free row of whole batches or a typed refusal; opening succeeds exactly where reading and
 * replay do; a refused open leaves segments and ring as they were; what an open leaves opens again and gives the same, after a kill, after an
 * append and after a close. */
#include <string.h>

#include "core/replay.h"
#include "core/stream.h"
#include "fuzz.h"
#include "image.h"
#include "queue.h"
#include "table_digest.h"

static int is_refusal_of_bytes(aqw_status status) {
    return status == AQW_CORRUPT || status == AQW_UNSUPPORTED_FORMAT || status == AQW_NOT_A_QUEUE;
}

/* 1 where every event decodes and is accepted. */
static int replays(disk *d, uint64_t *digest) {
    static const uint8_t seed[16] = {4};
    aqw_table *table = aqw_table_new(NULL, seed);
    aqw_stream *stream = NULL;
    aqw_replay_counts counts = {0, 0, 0};
    aqw_fault fault;
    CHECK(table != NULL && aqw_stream_open(&d->io, QUEUE, &stream, &fault) == AQW_OK);
    aqw_status status = aqw_replay_stream(stream, table, &counts, &fault);
    CHECK(status == AQW_OK || (status == AQW_CORRUPT && fault.reason != AQW_REASON_NONE));
    *digest = table_digest(table);
    aqw_stream_free(stream);
    aqw_table_free(table);
    return status == AQW_OK;
}

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

static void check_opened(disk *d, const aqw_log_options *options, uint64_t digest, const reading *seen, queue *q, uint8_t choice) {
    CHECK(q->report.events == seen->events && q->report.last_sequence == seen->last_sequence);
    CHECK(table_digest(q->table) == digest && aqw_log_last_sequence(q->log) == seen->last_sequence);
    CHECK(aqw_log_durable_sequence(q->log) == seen->last_sequence);
    if (choice & 1) {
        CHECK(append_one(q) == AQW_OK);
        digest = table_digest(q->table);
    }
    if (choice & 2) {
        queue_kill(d, q);
        reopen(d, options, digest, seen->is_clean && !(choice & 1), q);
    }
    CHECK(queue_close(d, q) == AQW_OK);
    reopen(d, options, digest, 1, q);
    CHECK(append_one(q) == AQW_OK);
    digest = table_digest(q->table);
    CHECK(queue_close(d, q) == AQW_OK);
    reopen(d, options, digest, 1, q);
    CHECK(queue_close(d, q) == AQW_OK);
}

/* A file in a directory's place is another error than damage, and stops the open too. */
static int has_obstacle(const disk *d) {
    return disk_find(d, QUEUE "/quarantine") != NULL || disk_find(d, QUEUE "/wal") != NULL || disk_find(d, QUEUE "/snapshots") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    disk d;
    queue q;
    reading seen;
    aqw_fault fault;
    uint64_t digest = 0;
    uint8_t choice = take_u8(&in);
    disk_init(&d);
    d.can_map = choice >> 7;
    aqw_log_options options = {.segment_size_max = 65536u << (choice >> 2 & 3), .ring_size = 65536u << (choice >> 4 & 1), .now = 1700000000};
    image_build(&d, &in);
    uint64_t wal = disk_digest(&d, QUEUE "/wal/0"), ring = disk_digest(&d, QUEUE "/ring");

    aqw_status status = queue_read(&d, &seen, &fault);
    CHECK(status == AQW_OK || is_refusal_of_bytes(status) || has_obstacle(&d));
    int replays_well = status == AQW_OK && replays(&d, &digest);
    aqw_status opened = queue_open(&d, &options, choice >> 5 & 1, &q);
    if (replays_well) CHECK(opened == AQW_OK || has_obstacle(&d));
    else if (status != AQW_NOT_A_QUEUE) CHECK(opened != AQW_OK);
    if (opened == AQW_OK && replays_well) check_opened(&d, &options, digest, &seen, &q, choice);
    else if (opened == AQW_OK) CHECK(q.report.is_created && queue_close(&d, &q) == AQW_OK);
    else CHECK(disk_digest(&d, QUEUE "/wal/0") == wal && disk_digest(&d, QUEUE "/ring") == ring);
    disk_free(&d);
    return 0;
}
