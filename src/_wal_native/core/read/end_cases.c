/* The table of format.h, READING 4 to 6. Each pattern of the facts meets exactly one case, so the
 * order of the rows decides nothing. */
#include "read/end_cases.h"

#include "base/fault.h"

#define ANY AQW_FACT_ANY
#define RING_OF_NEWEST \
    (AQW_RING_NOT_MADE | AQW_RING_MISSING | AQW_RING_NO_MORE | AQW_RING_MORE)

static const aqw_end_case cases[] = {
    /* Verified records with flags that contradict each other are no remains of a crash. */
    {"batch_broken", AQW_VERDICT_REFUSED, AQW_REASON_BATCH,
     {ANY, AQW_STOP_CONTRADICTION, ANY, ANY, ANY}},

    /* What was durable once can't be torn. */
    {"batch_lost", AQW_VERDICT_REFUSED, AQW_REASON_BATCH,
     {AQW_BOUND_LOST, AQW_STOP_NO_RECORD, AQW_LAST_IN_BATCH, ANY, RING_OF_NEWEST}},
    {"event_lost", AQW_VERDICT_REFUSED, AQW_REASON_RECORD_INVALID,
     {AQW_BOUND_LOST, AQW_STOP_NO_RECORD, AQW_LAST_WHOLE | AQW_LAST_CLOSE, ANY,
      RING_OF_NEWEST}},

    /* A snapshot holds only what was durable, so the log lost events, and every trace of them. */
    {"snapshot_ahead", AQW_VERDICT_REFUSED, AQW_REASON_SNAPSHOT_AHEAD,
     {AQW_BOUND_AHEAD, AQW_STOP_NO_RECORD, ANY, ANY, RING_OF_NEWEST}},

    /* A close marker says that nothing is in the ring only, so the ring may be gone. */
    {"closed", AQW_VERDICT_CLEAN, AQW_REASON_NONE,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_CLOSE, AQW_TAIL_ZEROS,
      AQW_RING_NOT_MADE | AQW_RING_MISSING | AQW_RING_NO_MORE}},

    /* The writer did not close the log, and nothing stands after its last record. A creation that
     * was cut short, even more than once, has no ring yet; but it has no event either. */
    {"unclosed", AQW_VERDICT_UNCLEAN, AQW_REASON_NONE,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_WHOLE, AQW_TAIL_ZEROS,
      AQW_RING_NOT_MADE | AQW_RING_NO_MORE}},

    /* Without the ring, events that were acknowledged but not synced may have left no trace. */
    {"ring_missing", AQW_VERDICT_REFUSED, AQW_REASON_RING_MISSING,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_WHOLE | AQW_LAST_IN_BATCH, ANY,
      AQW_RING_MISSING}},
    {"ring_missing_behind_close", AQW_VERDICT_REFUSED, AQW_REASON_RING_MISSING,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_CLOSE, AQW_TAIL_BYTES, AQW_RING_MISSING}},

    /* The ring says that the log went on. What it holds, and what was durable behind the records,
     * is of a segment that is not there: no record that is there is wrong. */
    {"segment_missing", AQW_VERDICT_REFUSED, AQW_REASON_SEGMENT_MISSING,
     {ANY, AQW_STOP_NO_RECORD, ANY, ANY, AQW_RING_AHEAD}},

    /* A batch counts whole or not at all. */
    {"batch_torn", AQW_VERDICT_UNCLEAN, AQW_REASON_BATCH,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_IN_BATCH, ANY,
      AQW_RING_NOT_MADE | AQW_RING_NO_MORE | AQW_RING_MORE}},

    /* An append that a crash cut short. After a close marker it is one of the next writer, which
     * goes on in the same segment. */
    {"torn", AQW_VERDICT_UNCLEAN, AQW_REASON_TORN,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_WHOLE | AQW_LAST_CLOSE, AQW_TAIL_BYTES,
      AQW_RING_NOT_MADE | AQW_RING_NO_MORE | AQW_RING_MORE}},
    {"torn_in_ring", AQW_VERDICT_UNCLEAN, AQW_REASON_TORN,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_WHOLE, AQW_TAIL_ZEROS, AQW_RING_MORE}},
    {"torn_in_ring_behind_close", AQW_VERDICT_UNCLEAN, AQW_REASON_TORN,
     {AQW_BOUND_HELD, AQW_STOP_NO_RECORD, AQW_LAST_CLOSE, AQW_TAIL_ZEROS, AQW_RING_MORE}},
};

/* What no case covers must not open: this is a mistake in the table, which a test excludes. */
static const aqw_end_case undecided = {
    "undecided", AQW_VERDICT_REFUSED, AQW_REASON_RECORD_INVALID, {ANY, ANY, ANY, ANY, ANY}};

static int covers(const aqw_end_facts *set, const aqw_end_facts *facts) {
    return (set->bound & facts->bound) != 0 && (set->stop & facts->stop) != 0 &&
           (set->last & facts->last) != 0 && (set->tail & facts->tail) != 0 &&
           (set->ring & facts->ring) != 0;
}

const aqw_end_case *aqw_end_cases(size_t *count) {
    *count = sizeof cases / sizeof *cases;
    return cases;
}

const aqw_end_case *aqw_end_decide(const aqw_end_facts *facts) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (covers(&cases[i].covers, facts)) return &cases[i];
    }
    return &undecided;
}
