/* A log in use: snapshots of it, compaction behind them, and somebody who follows it. */
#include "selftest.h"

#include <stdio.h>

#include "queue/compact.h"
#include "read/follow.h"

static aqw_compact_report compact(const char *directory, int drops_segments) {
    const aqw_compact_options options = {NOW, drops_segments, NULL, NULL};
    aqw_compact_report report;
    aqw_fault fault;
    EXPECT_STATUS(aqw_compact(aqw_io_system(), directory, &options, &report, &fault), AQW_OK);
    return report;
}

void check_snapshots(const char *directory) {
    enum { COUNT = 120 };
    uint32_t sizes[COUNT];
    session s;
    aqw_compact_report report;
    session_open(&s, directory);
    for (uint32_t i = 0; i < COUNT; i++) sizes[i] = 3000 + i;
    for (uint32_t i = 0; i < COUNT; i++) {
        session_append_one(&s, sizes[i]);
        if (i + 1 == COUNT / 3) {
            session_sync(&s);
            report = compact(directory, 1);
            EXPECT_EQUAL(report.sequence, COUNT / 3);
        }
    }
    session_sync(&s);
    report = compact(directory, 1);
    EXPECT(report.is_new);
    EXPECT_EQUAL(report.sequence, COUNT);
    EXPECT_EQUAL(report.kept_sequence, COUNT / 3);
    EXPECT(report.dropped_segments > 0);
    EXPECT_EQUAL(directory_count(below(directory, "snapshots")), 2);
    session_close(&s);
    session_open(&s, directory);
    EXPECT_EQUAL(s.report.snapshot_sequence, COUNT);
    EXPECT_EQUAL(s.report.events, 0);
    session_expect_entries(&s, sizes, COUNT);
    session_close(&s);
}

static uint64_t follow(aqw_follower *follower, uint64_t last) {
    aqw_record record;
    aqw_fault fault;
    aqw_status status;
    while ((status = aqw_follower_next(follower, &record, &fault)) == AQW_OK) EXPECT_EQUAL(record.sequence, ++last);
    EXPECT_STATUS(status, AQW_END);
    return last;
}

void check_a_follower(const char *directory) {
    session s;
    aqw_follower *follower = NULL;
    aqw_fault fault;
    session_open(&s, directory);
    session_append_one(&s, 10);
    session_sync(&s);
    session_append_one(&s, 20);
    EXPECT_STATUS(aqw_follower_open(aqw_io_system(), directory, 0, &follower, &fault), AQW_OK);
    EXPECT_EQUAL(follow(follower, 0), 1);   /* what is durable, and no more */
    session_sync(&s);
    EXPECT_EQUAL(follow(follower, 1), 2);
    for (unsigned i = 0; i < 10; i++) session_append_one(&s, 30000);
    session_sync(&s);
    EXPECT_EQUAL(follow(follower, 2), 12);
    session_close(&s);
    session_open(&s, directory);   /* the ring is another file now */
    session_append_one(&s, 30);
    session_sync(&s);
    EXPECT_EQUAL(follow(follower, 12), 13);
    session_close(&s);
    aqw_follower_free(follower);
}
