#include "queue.h"

#include <string.h>

#include "read/follow.h"
#include "files/format.h"
#include "read/replay.h"
#include "files/snapshot.h"
#include "read/stream.h"
#include "core_memory.h"
#include "fuzz.h"
#include "table_digest.h"

aqw_status queue_open(disk *d, const aqw_log_options *options, int may_create, queue *q) {
    static const uint8_t seed[16] = {3};
    aqw_recovery_options recovery = {.log = *options, .may_create = may_create, .holder = "fuzz\n"};
    uint64_t bound = disk_memory_bound(d);
    memset(q, 0, sizeof *q);
    memory_watch();
    q->table = aqw_table_new(NULL, seed);
    CHECK(q->table != NULL);
    aqw_status status = aqw_recover(&d->io, QUEUE, &recovery, q->table, &q->log, &q->report, &q->fault);
    CHECK(memory_peak() <= bound);
    CHECK(status == AQW_OK || ((int)status == q->fault.status && q->log == NULL));
    if (status == AQW_OK) return AQW_OK;
    CHECK(disk_open_handles(d) == 0);
    aqw_table_free(q->table);
    q->table = NULL;
    return status;
}

static void let_go(disk *d, queue *q) {
    aqw_log_free(q->log);
    aqw_table_free(q->table);
    disk_revive(d);
    memset(q, 0, sizeof *q);
}

void queue_kill(disk *d, queue *q) {
    aqw_fault fault;
    disk_kill(d);
    (void)aqw_log_close(q->log, &fault);
    let_go(d, q);
}

aqw_status queue_close(disk *d, queue *q) {
    aqw_status status = aqw_log_close(q->log, &q->fault);
    aqw_fault fault;
    CHECK(aqw_log_state(q->log, &fault) == AQW_CLOSED && aqw_log_close(q->log, &fault) == AQW_OK);
    CHECK(disk_open_handles(d) == 0);
    let_go(d, q);
    return status;
}

/* A record in its place: sequences without a gap, batches that are whole, bytes that can be read. */
static void check_record(const aqw_record *record, uint64_t *last, int *in_batch) {
    (void)digest_bytes(DIGEST_START, record->payload, record->payload_size);
    if (record->kind >= AQW_KIND_MARKER) {
        CHECK(!*in_batch && record->sequence == *last);
        return;
    }
    CHECK(record->sequence == ++*last);
    CHECK(*in_batch ? record->flags != 0 : record->flags != AQW_FLAG_BATCH_END);
    *in_batch = record->flags == AQW_FLAG_BATCH_OPEN;
}

static void check_summary(aqw_stream *stream) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    const aqw_segment_header *newest = aqw_stream_newest(stream);
    CHECK(summary->segments > 0 && summary->first_sequence >= 1 && summary->first_sequence <= summary->base_sequence + 1);
    CHECK(summary->durable_sequence <= summary->last_sequence && summary->durable_last_sequence <= summary->durable_sequence);
    CHECK(summary->base_sequence <= summary->last_sequence);
    CHECK(summary->end >= AQW_SEGMENT_DATA && summary->end <= newest->file_size && summary->durable_end <= summary->end);
    CHECK(summary->dropped_from == summary->end && summary->dropped_bytes <= newest->file_size - summary->dropped_from);
    CHECK(!summary->is_clean || (summary->dropped_bytes == 0 && !summary->ring_has_dropped && summary->drop_reason == AQW_REASON_NONE));
    CHECK((summary->dropped_bytes > 0 || summary->ring_has_dropped) == (summary->drop_reason != AQW_REASON_NONE));
    if (summary->dropped_bytes > 0) {
        const uint8_t *last = aqw_window_at(aqw_stream_segment_bytes(stream), summary->dropped_from + summary->dropped_bytes - 1, 1);
        CHECK(last != NULL && *last != 0);
    }
}

static aqw_status read_stream(aqw_stream *stream, aqw_table *table, reading *seen, aqw_fault *fault) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    uint64_t last = summary->first_sequence - 1;
    int in_batch = 0;
    aqw_record record;
    aqw_status status;
    check_summary(stream);
    while ((status = aqw_stream_next(stream, &record, fault)) == AQW_OK) {
        check_record(&record, &last, &in_batch);
        if (record.kind >= AQW_KIND_MARKER) continue;
        seen->events++;
        if (record.sequence > seen->base_sequence) status = aqw_replay_record(table, &record, fault);
        if (status != AQW_OK) return status;
    }
    if (status != AQW_END) return status;
    CHECK(!in_batch && last == summary->last_sequence && aqw_table_latest_sequence(table) == last);
    CHECK(aqw_stream_next(stream, &record, fault) == AQW_END);
    seen->last_sequence = last;
    seen->durable_sequence = summary->durable_sequence;
    seen->is_clean = summary->is_clean;
    seen->digest = table_digest(table);
    return AQW_OK;
}

aqw_status queue_read(disk *d, reading *seen, aqw_fault *fault) {
    static const uint8_t seed[16] = {4};
    memory_watch();
    aqw_table *table = aqw_table_new(NULL, seed);
    aqw_stream *stream = NULL;
    aqw_snapshot_choice snapshot;
    aqw_stream_base base;
    uint64_t writes = d->writes;
    CHECK(table != NULL);
    memset(seen, 0, sizeof *seen);
    aqw_status status = aqw_snapshot_load_newest(&d->io, QUEUE, table, NULL, &snapshot, fault);
    if (status == AQW_OK) {
        memcpy(base.log_uuid, snapshot.info.log_uuid, sizeof base.log_uuid);
        base.sequence = seen->base_sequence = snapshot.is_found ? snapshot.info.sequence : 0;
        CHECK(aqw_table_latest_sequence(table) == base.sequence);
        status = aqw_stream_open(&d->io, QUEUE, snapshot.is_found ? &base : NULL, NULL, &stream, fault);
    }
    if (status == AQW_OK) status = read_stream(stream, table, seen, fault);
    aqw_stream_free(stream);
    aqw_table_free(table);
    CHECK(memory_peak() <= disk_memory_bound(d));
    CHECK(status == AQW_OK || (int)status == fault->status);
    CHECK(d->writes == writes && disk_open_handles(d) == 0);
    return status;
}

aqw_status queue_follow(disk *d, uint64_t after, uint64_t *last, aqw_fault *fault) {
    aqw_follower *follower = NULL;
    aqw_record record;
    uint64_t writes = d->writes;
    *last = after;
    memory_watch();
    aqw_status status = aqw_follower_open(&d->io, QUEUE, after, &follower, fault);
    if (status == AQW_OK) {
        while ((status = aqw_follower_next(follower, &record, fault)) == AQW_OK) {
            CHECK(record.kind < AQW_KIND_MARKER && record.sequence == ++*last);
            (void)digest_bytes(DIGEST_START, record.payload, record.payload_size);
        }
        CHECK(aqw_follower_sequence(follower) == *last);
        aqw_follower_free(follower);
    }
    CHECK(memory_peak() <= disk_memory_bound(d));
    CHECK(status == AQW_END || (int)status == fault->status);
    CHECK(d->writes == writes);
    return status;
}
