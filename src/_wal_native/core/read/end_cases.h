/* Where a log ends, as one decision: the facts that it rests on, and the table of its cases.
 * stream_end.c finds the facts and does what the case says; docs/format.md shows the table. */
#ifndef AQW_END_CASES_H
#define AQW_END_CASES_H

#include <stddef.h>

/* The values of a fact are bits, so that a case can name a set of them. */

/* The last whole event of the newest segment, against what was durable. */
enum {
    AQW_BOUND_HELD = 1,             /* the log has all that was durable: it is at or above W */
    AQW_BOUND_LOST = 2,             /* below what a header, the ring or a record says was durable */
    AQW_BOUND_AHEAD = 4             /* below the snapshot's last event only */
};

/* What stands at the position after the last record. */
enum {
    AQW_STOP_NO_RECORD = 1,         /* nothing that verifies and counts there */
    AQW_STOP_CONTRADICTION = 2      /* a record that verifies, with flags that don't fit */
};

/* The last record. */
enum {
    AQW_LAST_WHOLE = 1,             /* no batch is open after it; also where there is no record */
    AQW_LAST_IN_BATCH = 2,          /* it belongs to a batch whose end is missing */
    AQW_LAST_CLOSE = 4              /* a close marker in the segment, up to which W reaches */
};

/* The segment after the last whole record or batch. */
enum {
    AQW_TAIL_ZEROS = 1,
    AQW_TAIL_BYTES = 2              /* at least one byte is not zero */
};

/* The ring, after the last whole record or batch. */
enum {
    AQW_RING_NOT_MADE = 1,          /* there is no ring, and the log never had an event */
    AQW_RING_MISSING = 2,           /* there is no ring, and the log had an event */
    AQW_RING_NO_MORE = 4,           /* it holds no event there */
    AQW_RING_MORE = 8,              /* it holds an event there, which does not count */
    AQW_RING_AHEAD = 16             /* it was used for a later segment, which is missing */
};

enum { AQW_FACT_ANY = 31 };         /* all values of any fact */

/* Of a log: one value for each fact. Of a case: the values that it covers. */
typedef struct aqw_end_facts {
    int bound;
    int stop;
    int last;
    int tail;
    int ring;
} aqw_end_facts;

typedef enum aqw_end_verdict {
    AQW_VERDICT_CLEAN = 1,          /* the log ends here, and the last writer closed it */
    AQW_VERDICT_UNCLEAN = 2,        /* the log ends here; the caller copies what is after it */
    AQW_VERDICT_REFUSED = 3         /* the log is damaged */
} aqw_end_verdict;

typedef struct aqw_end_case {
    const char *label;
    int verdict;                    /* aqw_end_verdict */
    int reason;                     /* aqw_reason: of the refusal, or of what is dropped */
    aqw_end_facts covers;
} aqw_end_case;

/* The one case that covers the facts. */
const aqw_end_case *aqw_end_decide(const aqw_end_facts *facts);

/* The whole table. */
const aqw_end_case *aqw_end_cases(size_t *count);

#endif
