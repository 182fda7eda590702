/* A log that goes from machine to machine. Every turn finds exactly what the turns before it have written, the last events of a
 * process that ended without closing the log included, and writes as many again: some synced, some not, more than a segment. Every
 * second turn makes a snapshot and drops what that covers; every third one closes the log, the others just end. */
#include "selftest.h"

#include <stdio.h>
#include <stdlib.h>

#include "queue/compact.h"

enum { EVENTS_EACH = 60, TURNS_MAX = 50 };

static uint32_t size_of(uint32_t index) {
    if (index % EVENTS_EACH == 41) return 66000;   /* larger than the ring */
    return index * 131 % 2900;
}

void relay(const char *directory, unsigned turn) {
    static uint32_t sizes[EVENTS_EACH * (TURNS_MAX + 1)];
    session s;
    EXPECT(turn < TURNS_MAX);
    for (uint32_t i = 0; i < EVENTS_EACH * (turn + 1); i++) sizes[i] = size_of(i);
    session_open(&s, directory);
    session_expect_entries(&s, sizes, EVENTS_EACH * turn);
    EXPECT_EQUAL(s.report.is_created, turn == 0);
    EXPECT_EQUAL(s.report.is_clean, turn % 3 == 0);
    EXPECT_EQUAL(s.report.snapshot_sequence != 0, turn >= 2);
    for (uint32_t i = EVENTS_EACH * turn; i < EVENTS_EACH * (turn + 1);) {
        uint32_t count = i % 7 == 0 && i + 3 <= EVENTS_EACH * (turn + 1) ? 3 : 1;
        session_append(&s, sizes + i, count);
        if (i % EVENTS_EACH < EVENTS_EACH / 2) session_sync(&s);
        i += count;
    }
    if (turn % 2 == 1) {
        const aqw_compact_options options = {NOW, 1, NULL, NULL};
        aqw_compact_report report;
        EXPECT_STATUS(aqw_compact(aqw_io_system(), directory, &options, &report, &s.fault), AQW_OK);
        EXPECT(report.is_new);
    }
    printf("ok  turn %u: %u events found, %u more written, %s\n", turn, EVENTS_EACH * turn, EVENTS_EACH, turn % 3 == 2 ? "closed" : "left open");
    (void)fflush(stdout);
    if (turn % 3 == 2) session_close(&s);
    else _Exit(0);
}
