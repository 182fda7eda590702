/* The log, from its creation to its damage. */
#include "selftest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/format.h"
#include "read/stream.h"

static const char first_segment[] = "wal/00000000000000000001-00000000000000000001.log";

void check_a_log(const char *directory) {
    const session_options must_exist = {NULL, 0, 1};
    char queue[PATH_SIZE];
    session s;
    aqw_log_stats stats;
    (void)snprintf(queue, sizeof queue, "%s", below(directory, "queue"));
    EXPECT_STATUS(session_try(&s, queue, &must_exist), AQW_NOT_A_QUEUE);
    session_open(&s, queue);
    EXPECT(s.report.is_created);
    EXPECT_EQUAL(session_append_one(&s, 0), 1);
    EXPECT_EQUAL(session_append_one(&s, 1000), 2);
    session_sync(&s);
    EXPECT_EQUAL(session_append_one(&s, 3), 3);
    EXPECT_EQUAL(aqw_log_durable_sequence(s.log), 2);
    aqw_log_stats_get(s.log, &stats);
    EXPECT_EQUAL(stats.appended_records, 3);
    EXPECT_EQUAL(stats.syncs, 1);
    session_close(&s);
    session_open(&s, queue);
    EXPECT(s.report.is_clean);
    EXPECT_EQUAL(s.report.durable_sequence, 3);
    session_expect_entries(&s, (uint32_t[]){0, 1000, 3}, 3);
    EXPECT_EQUAL(session_append_one(&s, 70000), 4);   /* larger than the ring */
    session_close(&s);
    EXPECT_STATUS(session_try(&s, queue, &must_exist), AQW_OK);
    session_expect_entries(&s, (uint32_t[]){0, 1000, 3, 70000}, 4);
    session_close(&s);
}

void check_batches(const char *directory) {
    const uint32_t sizes[] = {10, 20, 30, 40, 50, 60};
    session s;
    session_open(&s, directory);
    EXPECT_EQUAL(session_append(&s, sizes, 3), 3);
    EXPECT_EQUAL(session_append(&s, sizes + 3, 3), 6);
    session_sync(&s);
    session_close(&s);
    session_open(&s, directory);
    session_expect_entries(&s, sizes, 6);
    session_close(&s);
}

void check_rotation(const char *directory) {
    enum { COUNT = 200 };
    uint32_t sizes[COUNT];
    session s;
    aqw_log_stats stats;
    session_open(&s, directory);
    for (uint32_t i = 0; i < COUNT; i++) {
        sizes[i] = i * 37 % 5000;
        session_append_one(&s, sizes[i]);
        if (i % 10 == 9) session_sync(&s);
    }
    aqw_log_stats_get(s.log, &stats);
    EXPECT(stats.rotations >= 5);
    session_close(&s);
    EXPECT_EQUAL(directory_count(below(directory, "wal")), stats.rotations + 1);
    session_open(&s, directory);
    EXPECT_EQUAL(s.report.segments, stats.rotations + 1);
    session_expect_entries(&s, sizes, COUNT);
    session_close(&s);
}

void check_an_abandoned_log(const char *directory) {
    const uint32_t sizes[] = {100, 200, 300, 400, 500};
    session s;
    aqw_log_stats stats;
    session_open(&s, directory);
    session_append_one(&s, sizes[0]);
    session_sync(&s);
    session_append_one(&s, sizes[1]);
    session_append(&s, sizes + 2, 2);
    aqw_log_stats_get(s.log, &stats);
    session_abandon(&s);
    session_open(&s, directory);
    session_expect_entries(&s, sizes, 4);
    EXPECT(!s.report.is_clean);
    EXPECT_EQUAL(s.report.durable_sequence, 1);
    EXPECT_EQUAL(s.report.ring_events, stats.is_ring_mapped ? 3 : 0);
    EXPECT_EQUAL(s.report.rewritten_events, 3);
    EXPECT_EQUAL(s.report.dropped_bytes, 0);
    EXPECT_EQUAL(session_append_one(&s, sizes[4]), 5);
    session_abandon(&s);
    session_open(&s, directory);
    session_expect_entries(&s, sizes, 5);
    session_close(&s);
}

void check_one_writer(const char *directory) {
    const session_options plain = {NULL, 0, 0};
    const aqw_io *io = aqw_io_system();
    session s, other;
    uint64_t size = 0;
    session_open(&s, directory);
    EXPECT_STATUS(session_try(&other, directory, &plain), AQW_LOCKED);
    EXPECT_EQUAL(io->probe_lock(io->context, below(directory, "LOCK")), EAGAIN);
    uint8_t *text = file_bytes(below(directory, "LOCK"), &size);
    EXPECT(size == 6 && memcmp(text, "pid=1\n", 6) == 0);
    free(text);
    session_append_one(&s, 10);
    session_close(&s);
    EXPECT_EQUAL(io->probe_lock(io->context, below(directory, "LOCK")), 0);
    session_open(&other, directory);
    EXPECT_EQUAL(session_events(&other), 1);
    session_close(&other);
}

static void find_one(void *to, const char *name) { (void)snprintf(to, PATH_SIZE, "%s", name); }

void check_a_torn_tail(const char *directory) {
    const aqw_io *io = aqw_io_system();
    const uint32_t sizes[] = {100, 200};
    char name[PATH_SIZE] = "";
    session s;
    aqw_log_stats stats;
    uint64_t size = 0;
    session_open(&s, directory);
    session_append(&s, sizes, 2);
    session_sync(&s);
    aqw_log_stats_get(s.log, &stats);
    session_abandon(&s);
    file_write(below(directory, first_segment), stats.segment_used + 8, "not a record", 12);
    session_open(&s, directory);
    session_expect_entries(&s, sizes, 2);
    EXPECT_EQUAL(s.report.dropped_offset, stats.segment_used);
    EXPECT_EQUAL(s.report.dropped_bytes, 20);
    session_close(&s);
    EXPECT_EQUAL(io->list(io->context, below(directory, "quarantine"), find_one, name), 0);
    uint8_t *kept = file_bytes(below(below(directory, "quarantine"), name), &size);
    EXPECT_EQUAL(size, 20);
    EXPECT(memcmp(kept + 8, "not a record", 12) == 0);
    free(kept);
}

static aqw_status read_stream(const char *directory, uint64_t *events, aqw_fault *fault) {
    aqw_stream *stream = NULL;
    aqw_record record;
    *events = 0;
    aqw_status status = aqw_stream_open(aqw_io_system(), directory, NULL, NULL, &stream, fault);
    if (status != AQW_OK) return status;
    while ((status = aqw_stream_next(stream, &record, fault)) == AQW_OK) *events += record.kind < AQW_KIND_MARKER;
    aqw_stream_free(stream);
    return status;
}

void check_damage(const char *directory) {
    const session_options plain = {NULL, 0, 0};
    session s;
    aqw_fault fault;
    uint64_t size = 0, events = 0;
    session_open(&s, directory);
    session_append(&s, (uint32_t[]){100, 200, 300}, 3);
    session_close(&s);
    EXPECT_STATUS(read_stream(directory, &events, &fault), AQW_END);
    EXPECT_EQUAL(events, 3);

    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s", below(directory, first_segment));
    uint8_t *bytes = file_bytes(path, &size);
    const uint64_t at = AQW_SEGMENT_DATA + 50;
    const uint8_t flipped = bytes[at] ^ 1;
    file_write(path, at, &flipped, 1);
    EXPECT_STATUS(session_try(&s, directory, &plain), AQW_CORRUPT);
    EXPECT_EQUAL(s.fault.reason, AQW_REASON_RECORD_INVALID);
    EXPECT_EQUAL(s.fault.segment, 1);
    EXPECT_EQUAL(s.fault.offset, AQW_SEGMENT_DATA);
    EXPECT_STATUS(read_stream(directory, &events, &fault), AQW_CORRUPT);
    file_write(path, at, bytes + at, 1);
    free(bytes);
    session_open(&s, directory);
    EXPECT_EQUAL(session_events(&s), 3);
    session_close(&s);
}
