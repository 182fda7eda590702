/* The log in use: appends, batches, syncs, rotations, snapshots, followers, kills, closes and failing calls, as the bytes choose.
 *
 * Held: what an append acknowledged is there after a kill, wholly and in order; what it refused is not; a failed write or sync of
 * records ends the log, and nothing else does; no sequence becomes less durable; a clean close reads as one; every queue that this
 * code wrote opens again. */
#include <errno.h>
#include <string.h>

#include "write/batch.h"
#include "queue/compact.h"
#include "files/format.h"
#include "fuzz.h"
#include "queue.h"
#include "table_digest.h"

enum { STEPS_MAX = 60, EVENTS_MAX = 600, PAYLOAD_MAX = 150000 };

static const uint8_t payload[PAYLOAD_MAX];

typedef struct session {
    disk d;
    queue q;
    aqw_log_options options;
    aqw_batch batch;
    uint64_t acknowledged;      /* events that an append took */
    uint64_t uncertain;         /* events of an append that poisoned the log */
    uint32_t sizes[EVENTS_MAX + 64];
    uint64_t durable;
    int is_poisoned;
} session;

/* What was recovered is what was appended, by number and size of the entries. */
static void check_recovered(session *s) {
    aqw_table_counts counts;
    aqw_table_counts_get(s->q.table, &counts);
    (void)table_digest(s->q.table);
    CHECK(counts.ledger == s->acknowledged || counts.ledger == s->acknowledged + s->uncertain);
    for (uint32_t row = 1; row <= counts.ledger; row++) {
        aqw_ledger_view entry;
        aqw_table_ledger(s->q.table, row, &entry);
        CHECK(entry.payload.size == s->sizes[row] && entry.timestamp == row);
    }
    s->acknowledged = counts.ledger;
    s->uncertain = 0;
    s->is_poisoned = 0;
    s->durable = aqw_log_durable_sequence(s->q.log);
    CHECK(s->durable == s->acknowledged && aqw_log_last_sequence(s->q.log) == s->acknowledged);
}

/* Opens, whatever it takes: a call that fails may stop one attempt, but the next has none. */
static void open_again(session *s) {
    aqw_status status = queue_open(&s->d, &s->options, 1, &s->q);
    if (status != AQW_OK) {
        CHECK(s->d.failures > 0 && status != AQW_CORRUPT && status != AQW_UNSUPPORTED_FORMAT && status != AQW_NO_MEMORY);
        s->d.fault.countdown = 0;
        CHECK(queue_open(&s->d, &s->options, 1, &s->q) == AQW_OK);
    }
    check_recovered(s);
}

static void fill_batch(session *s, input *in) {
    static const uint32_t sizes[] = {0, 1, 7, 100, 1000, 9000, 40000, 66000, 140000};
    uint32_t count = 1 + take_below(in, 4);
    aqw_batch_reset(&s->batch);
    for (uint32_t i = 0; i < count; i++) {
        aqw_event event;
        uint8_t choice = take_u8(in);
        uint64_t sequence = s->acknowledged + i + 1;
        uint32_t size = choice < 200 ? choice : sizes[choice % 9];
        memset(&event, 0, sizeof event);
        event.kind = AQW_LEDGER_ENTRY_APPENDED;
        event.sequence = event.timestamp = sequence;
        event.as.ledger_entry_appended.ledger_key = (aqw_bytes){payload, 1};
        event.as.ledger_entry_appended.payload = (aqw_bytes){payload, size};
        if (!s->is_poisoned) s->sizes[sequence] = size;   /* else this batch goes nowhere, and an earlier one may be there */
        CHECK(aqw_batch_add(&s->batch, &event) == AQW_OK);
        CHECK(aqw_batch_add(&s->batch, &event) == AQW_REFUSED_SEQUENCE);
    }
}

static void append(session *s, input *in) {
    aqw_fault fault;
    fill_batch(s, in);
    uint64_t failures = s->d.failures;
    aqw_status status = aqw_log_append(s->q.log, &s->batch, &fault);
    CHECK(status == AQW_OK || status == AQW_POISONED || (int)status == fault.status);
    if (s->is_poisoned) {
        CHECK(status == AQW_POISONED);
        return;
    }
    if (status == AQW_OK) {
        s->acknowledged += s->batch.count;
    } else {
        CHECK(s->d.failures > failures && (status == AQW_POISONED || status == AQW_NO_SPACE || status == AQW_IO_ERROR));
        s->is_poisoned = status == AQW_POISONED;
        if (s->is_poisoned) s->uncertain = s->batch.count;
    }
    CHECK(aqw_log_last_sequence(s->q.log) == s->acknowledged);
    CHECK((aqw_log_state(s->q.log, &fault) == AQW_POISONED) == s->is_poisoned);
}

/* Whoever names another sequence than the next is refused, and changes nothing. */
static void append_elsewhere(session *s, input *in) {
    aqw_fault fault;
    fill_batch(s, in);
    uint64_t before = s->batch.first_sequence;
    s->batch.first_sequence = take_number(in);
    if (s->batch.first_sequence == before) return;
    aqw_status status = aqw_log_append(s->q.log, &s->batch, &fault);
    CHECK(status == (s->is_poisoned ? AQW_POISONED : AQW_REFUSED_SEQUENCE));
    CHECK(aqw_log_last_sequence(s->q.log) == s->acknowledged);
}

static void sync_some(session *s, input *in) {
    aqw_fault fault;
    uint8_t choice = take_u8(in);
    uint64_t sequence = choice % 2 != 0 ? UINT64_MAX : s->acknowledged - (choice < s->acknowledged ? choice : 0);
    uint64_t failures = s->d.failures;
    aqw_status status = aqw_log_sync(s->q.log, sequence, &fault);
    uint64_t durable = aqw_log_durable_sequence(s->q.log);
    if (status == AQW_OK) {
        CHECK(durable >= (sequence > s->acknowledged ? s->acknowledged : sequence));
    } else {
        CHECK(status == AQW_POISONED && (s->is_poisoned || s->d.failures > failures));
        s->is_poisoned = 1;
    }
    CHECK(durable >= s->durable && durable <= s->acknowledged);
    s->durable = durable;
}

static void ask(session *s) {
    aqw_log_stats stats;
    aqw_log_stats_get(s->q.log, &stats);
    CHECK(stats.last_sequence == s->acknowledged && stats.durable_sequence == aqw_log_durable_sequence(s->q.log));
    CHECK(stats.segment_used <= stats.segment_size && stats.ring_used <= stats.ring_size && stats.durable_sequence >= s->durable);
}

static int is_failed_call(aqw_status status) {
    return status == AQW_IO_ERROR || status == AQW_NO_SPACE;
}

/* A snapshot of what is durable, while the log is in use; the segments that it covers may go. */
static void compact(session *s, input *in) {
    aqw_compact_options options = {.now = 1700000000, .drops_segments = take_u8(in) & 1};
    aqw_compact_report report;
    aqw_fault fault;
    uint64_t failures = s->d.failures;
    aqw_status status = aqw_compact(&s->d.io, QUEUE, &options, &report, &fault);
    CHECK(status == AQW_OK || (s->d.failures > failures && is_failed_call(status)));
    CHECK(status != AQW_OK || (report.sequence <= s->acknowledged && report.kept_sequence <= report.sequence));
}

/* Whoever follows sees what is durable, from anywhere that the log still has. */
static void follow(session *s, input *in) {
    uint64_t after = take_number(in) % (s->acknowledged + 2), last = 0;
    aqw_fault fault;
    uint64_t failures = s->d.failures;
    aqw_status status = queue_follow(&s->d, after, &last, &fault);
    CHECK(status == AQW_END || status == AQW_COMPACTED || (status == AQW_HISTORY_CHANGED && after > s->acknowledged) ||
          (s->d.failures > failures && is_failed_call(status)));
    CHECK(last <= s->acknowledged || last == after);
    CHECK(status != AQW_COMPACTED || fault.first_sequence > after + 1);
}

static void close_and_reopen(session *s) {
    reading seen;
    uint64_t failures = s->d.failures, acknowledged = s->acknowledged;
    aqw_status status = queue_close(&s->d, &s->q);
    CHECK(status == AQW_OK || s->d.failures > failures || s->is_poisoned);
    s->d.fault.countdown = 0;
    CHECK(queue_read(&s->d, &seen, &s->q.fault) == AQW_OK);
    CHECK(seen.last_sequence >= acknowledged);
    if (status == AQW_OK && !s->is_poisoned) CHECK(seen.is_clean && seen.durable_sequence == acknowledged);
    open_again(s);
}

/* The next calls of the system to fail: not while a queue is being killed or read to compare. */
static void plan_fault(session *s, input *in) {
    static const int errors[] = {EIO, ENOSPC, EINTR, EDQUOT, EFBIG};
    uint8_t choice = take_u8(in);
    s->d.fault = (disk_fault){.countdown = 1u + take_u8(in) % 64u, .error = errors[choice % 5], .is_short = choice >> 3 & 1,
                              .is_lasting = choice >> 4 & 1};
}

static void step(session *s, input *in) {
    uint8_t choice = take_u8(in);
    if (choice < 120) append(s, in);
    else if (choice < 160) sync_some(s, in);
    else if (choice < 170) append_elsewhere(s, in);
    else if (choice < 180) ask(s);
    else if (choice < 200) plan_fault(s, in);
    else if (choice < 208) compact(s, in);
    else if (choice < 214) follow(s, in);
    else if (choice < 230) {
        queue_kill(&s->d, &s->q);
        if (choice % 4 == 0) plan_fault(s, in);
        open_again(s);
    } else close_and_reopen(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static session s;
    input in = {data, size};
    static const uint32_t sectors[] = {0, 512, 4096, 0};
    uint8_t choice = take_u8(&in);
    memset(&s, 0, sizeof s);
    disk_init(&s.d);
    aqw_batch_init(&s.batch);
    s.d.can_map = choice & 1;
    s.options = (aqw_log_options){.segment_size_max = 65536u << (choice >> 1 & 3), .ring_size = 65536u << (choice >> 3 & 1),
                                  .sector_size = sectors[choice >> 4 & 3], .now = 1700000000};
    if (choice & 64) plan_fault(&s, &in);
    open_again(&s);
    for (int i = 0; i < STEPS_MAX && in.size > 0 && s.acknowledged < EVENTS_MAX; i++) step(&s, &in);
    s.d.fault.countdown = 0;
    queue_kill(&s.d, &s.q);
    open_again(&s);
    close_and_reopen(&s);
    CHECK(queue_close(&s.d, &s.q) == AQW_OK);
    aqw_batch_free(&s.batch);
    disk_free(&s.d);
    return 0;
}
