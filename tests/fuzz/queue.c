#include "queue.h"

#include <string.h>

#include "core/format.h"
#include "core/stream.h"
#include "fuzz.h"

aqw_status queue_open(disk *d, const aqw_log_options *options, int may_create, queue *q) {
    static const uint8_t seed[16] = {3};
    aqw_recovery_options recovery = {.log = *options, .may_create = may_create, .holder = "fuzz\n"};
    memset(q, 0, sizeof *q);
    q->table = aqw_table_new(NULL, seed);
    CHECK(q->table != NULL);
    aqw_status status = aqw_recover(&d->io, QUEUE, &recovery, q->table, &q->log, &q->report, &q->fault);
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
static void check_record(const aqw_record *record, reading *seen, int *in_batch) {
    seen->records++;
    seen->digest = digest_number(seen->digest, record->kind);
    seen->digest = digest_bytes(seen->digest, record->payload, record->payload_size);
    if (record->kind >= AQW_KIND_MARKER) {
        CHECK(!*in_batch && record->sequence == seen->events);
        return;
    }
    CHECK(record->sequence == ++seen->events);
    CHECK(*in_batch ? record->flags != 0 : record->flags != AQW_FLAG_BATCH_END);
    *in_batch = record->flags == AQW_FLAG_BATCH_OPEN;
}

static void check_summary(const aqw_stream *stream) {
    const aqw_stream_summary *summary = aqw_stream_summary_of(stream);
    const aqw_segment_header *newest = aqw_stream_newest(stream);
    CHECK(summary->segments > 0 && summary->first_sequence == 1);
    CHECK(summary->durable_sequence <= summary->last_sequence && summary->durable_last_sequence <= summary->durable_sequence);
    CHECK(summary->end >= AQW_SEGMENT_DATA && summary->end <= newest->file_size && summary->durable_end <= summary->end);
    CHECK(summary->dropped_from == summary->end && summary->dropped_bytes <= newest->file_size - summary->dropped_from);
    CHECK(!summary->is_clean || (summary->dropped_bytes == 0 && !summary->ring_has_dropped && summary->drop_reason == AQW_REASON_NONE));
    CHECK((summary->dropped_bytes > 0 || summary->ring_has_dropped) == (summary->drop_reason != AQW_REASON_NONE));
    if (summary->dropped_bytes > 0) CHECK(aqw_stream_dropped(stream)[summary->dropped_bytes - 1] != 0);
}

aqw_status queue_read(disk *d, reading *seen, aqw_fault *fault) {
    aqw_stream *stream = NULL;
    aqw_record record;
    int in_batch = 0;
    uint64_t writes = d->writes;
    memset(seen, 0, sizeof *seen);
    seen->digest = DIGEST_START;
    aqw_status status = aqw_stream_open(&d->io, QUEUE, &stream, fault);
    if (status == AQW_OK) {
        check_summary(stream);
        while ((status = aqw_stream_next(stream, &record, fault)) == AQW_OK) check_record(&record, seen, &in_batch);
        seen->last_sequence = aqw_stream_summary_of(stream)->last_sequence;
        seen->durable_sequence = aqw_stream_summary_of(stream)->durable_sequence;
        seen->is_clean = aqw_stream_summary_of(stream)->is_clean;
        if (status == AQW_END) {
            CHECK(!in_batch && seen->events == seen->last_sequence);
            CHECK(aqw_stream_next(stream, &record, fault) == AQW_END);
            status = AQW_OK;
        }
        aqw_stream_free(stream);
    }
    CHECK(status == AQW_OK || (int)status == fault->status);
    CHECK(d->writes == writes && disk_open_handles(d) == 0);
    return status;
}
