/* The state table: sequences of events, batches and failing allocations, as the bytes choose.
 *
 * Held, after every step: the table agrees with itself (table_digest.c); what is refused, or has no memory, leaves no trace; a rollback
 * restores; what was committed, encoded, decoded and applied to a new table with another seed gives the same; no memory is kept. */
#include <stdlib.h>
#include <string.h>

#include "event/event.h"
#include "table/table.h"
#include "event_source.h"
#include "fuzz.h"
#include "table_digest.h"

enum { STEPS_MAX = 160, HISTORY_SIZE = 1 << 20 };

/* An allocator that fails once, at a countdown, and counts what is out. */
typedef struct counted {
    uint32_t countdown;
    uint64_t blocks;
} counted;

static void *allocate(void *context, size_t size) {
    counted *memory = context;
    if (memory->countdown > 0 && --memory->countdown == 0) return NULL;
    void *block = calloc(1, size);
    if (block == NULL) abort();
    memory->blocks++;
    return block;
}

static void release(void *context, void *block) {
    counted *memory = context;
    memory->blocks--;
    free(block);
}

/* What was applied, as kind, sequence, size and payload, one after the other. */
typedef struct history {
    uint8_t *data;
    size_t size;
} history;

typedef struct subject {
    counted memory;
    aqw_table *table;
    history applied;
    uint64_t sequence;
    int in_batch;
    uint64_t digest_at_begin, sequence_at_begin;
    size_t history_at_begin;
} subject;

static int note(history *applied, const aqw_event *event) {
    size_t used = 0;
    uint8_t *to = applied->data + applied->size;
    if (HISTORY_SIZE - applied->size < 64) return 0;
    if (aqw_event_encode(event, to + 13, HISTORY_SIZE - applied->size - 13, &used) != AQW_OK) return 0;
    uint32_t size = (uint32_t)used;
    to[0] = event->kind;
    memcpy(to + 1, &event->sequence, 8);
    memcpy(to + 9, &size, 4);
    applied->size += 13 + used;
    return 1;
}

static void end_batch(subject *s, int commits) {
    if (!s->in_batch) return;
    s->in_batch = 0;
    uint64_t before = table_digest(s->table);
    if (commits) {
        aqw_table_commit(s->table);
        CHECK(table_digest(s->table) == before);
        return;
    }
    aqw_table_rollback(s->table);
    CHECK(table_digest(s->table) == s->digest_at_begin);
    s->sequence = s->sequence_at_begin;
    s->applied.size = s->history_at_begin;
}

static void begin_batch(subject *s) {
    aqw_status status = aqw_table_begin(s->table);
    CHECK(status == (s->in_batch ? AQW_INVALID_ARGUMENT : AQW_OK) || status == AQW_NO_MEMORY);
    if (status != AQW_OK) return;
    s->in_batch = 1;
    s->digest_at_begin = table_digest(s->table);
    s->sequence_at_begin = s->sequence;
    s->history_at_begin = s->applied.size;
}

/* An event that no writer could have logged must do no harm either; its effects are taken back. */
static void apply_unwritable(subject *s, const aqw_event *event) {
    if (s->in_batch || aqw_table_begin(s->table) != AQW_OK) return;
    uint64_t before = table_digest(s->table);
    (void)aqw_table_apply(s->table, event);
    aqw_table_rollback(s->table);
    CHECK(table_digest(s->table) == before);
}

static void apply_next(subject *s, input *in) {
    event_memory memory;
    aqw_event event;
    uint8_t step = take_u8(in);
    uint64_t sequence = step == 255 ? take_number(in) : s->sequence + 1 + (step > 250);
    take_event(in, s->table, &memory, sequence, &event);
    size_t mark = s->applied.size;
    if (!note(&s->applied, &event)) {
        apply_unwritable(s, &event);
        return;
    }
    uint64_t before = table_digest(s->table);
    aqw_status status = aqw_table_apply(s->table, &event);
    CHECK(status == AQW_OK || status == AQW_NO_MEMORY || status >= AQW_REFUSED_SEQUENCE);
    CHECK(status == AQW_OK || table_digest(s->table) == before);
    if (status == AQW_OK) s->sequence = sequence;
    else s->applied.size = mark;
}

/* What the table finds to be finished, it lets go. */
static void check_finished(subject *s, uint32_t rows) {
    static aqw_finished finished;
    aqw_event event;
    memset(&finished, 0, sizeof finished);
    memset(&event, 0, sizeof event);
    const aqw_retention what = {.has_cutoff = 1, .cutoff = UINT64_MAX, .has_ledger_cutoff = 1, .ledger_cutoff = UINT64_MAX,
                                .today = UINT64_MAX};
    aqw_table_find_finished(s->table, &what, 2 + rows, &finished);
    uint32_t count = finished.run_count + finished.task_count + finished.subscription_count + finished.actor_count;
    CHECK(count <= AQW_PURGE_COUNT_MAX);
    if (count + finished.ledger_count + finished.tombstone_count == 0 || s->in_batch || s->sequence == UINT64_MAX) return;
    if (aqw_table_begin(s->table) != AQW_OK) return;
    event.kind = AQW_RUNS_PURGED;
    event.sequence = s->sequence + 1;
    event.as.runs_purged.run_ids = finished.run_ids[0];
    event.as.runs_purged.task_ids = finished.task_ids[0];
    event.as.runs_purged.run_count = finished.run_count;
    event.as.runs_purged.task_count = finished.task_count;
    event.as.runs_purged.subscription_ids = finished.subscription_ids[0];
    event.as.runs_purged.actor_ids = finished.actor_ids[0];
    event.as.runs_purged.subscription_count = finished.subscription_count;
    event.as.runs_purged.actor_count = finished.actor_count;
    event.as.runs_purged.ledger_count = finished.ledger_count;
    event.as.runs_purged.tombstone_count = finished.tombstone_count;
    uint64_t before = table_digest(s->table);
    aqw_status status = aqw_table_apply(s->table, &event);
    CHECK(status == AQW_OK || status == AQW_NO_MEMORY);
    (void)table_digest(s->table);
    aqw_table_rollback(s->table);
    CHECK(table_digest(s->table) == before);
}

static void check_replay(const subject *s) {
    static const uint8_t seed[16] = {99};
    aqw_table *table = aqw_table_new(NULL, seed);
    aqw_event event;
    CHECK(table != NULL);
    for (size_t at = 0; at < s->applied.size;) {
        const uint8_t *from = s->applied.data + at;
        uint64_t sequence;
        uint32_t size;
        memcpy(&sequence, from + 1, 8);
        memcpy(&size, from + 9, 4);
        CHECK(aqw_event_decode(from[0], sequence, from + 13, size, &event) == AQW_OK);
        CHECK(aqw_table_apply(table, &event) == AQW_OK);
        at += 13 + size;
    }
    CHECK(table_digest(table) == table_digest(s->table));
    aqw_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t seed[16] = {1};
    input in = {data, size};
    subject s;
    memset(&s, 0, sizeof s);
    aqw_memory functions = {allocate, release, &s.memory};
    s.table = aqw_table_new(&functions, seed);
    s.applied.data = malloc(HISTORY_SIZE);
    CHECK(s.table != NULL && s.applied.data != NULL);
    for (int i = 0; i < STEPS_MAX && in.size > 0; i++) {
        uint8_t step = take_u8(&in);
        if (step < 200) apply_next(&s, &in);
        else if (step < 220) begin_batch(&s);
        else if (step < 232) end_batch(&s, 1);
        else if (step < 240) end_batch(&s, 0);
        else if (step < 244) check_finished(&s, take_u8(&in));
        else s.memory.countdown = 1u + step - 244u;
    }
    s.memory.countdown = 0;
    end_batch(&s, size % 2 != 0);
    check_replay(&s);
    aqw_table_free(s.table);
    CHECK(s.memory.blocks == 0);
    free(s.applied.data);
    return 0;
}
