/* A queue in use by everybody at once, for the thread and address sanitizers: appenders, a syncer, a thread that compacts without end, and
 * followers. A follower sees every event once and in order, or is told that the log begins later, and goes on there. Several rounds, with a
 * clean end each; then the queue is read back from its snapshot and counted. Arguments: a directory that does not exist yet, and the number
 * of events for each appender and round.
 *
 * Prints "ok" and returns 0, or says what is wrong and returns 1. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/compact.h"
#include "core/event.h"
#include "core/follow.h"
#include "core/log.h"
#include "core/recovery.h"
#include "core/table.h"

enum { APPENDERS = 2, FOLLOWERS = 2, THREADS = APPENDERS + FOLLOWERS + 2, ROUNDS = 3, COMPACTIONS_MIN = 3 };

typedef struct shared {
    const char *directory;
    aqw_log *log;
    atomic_int appending;
    atomic_int failed;
    atomic_int compactions;
    uint64_t events_each;
    uint64_t before;            /* events of earlier rounds */
    uint64_t target;            /* events when this round is over */
} shared;

static void fail(shared *all, const char *what, int status, const aqw_fault *fault) {
    fprintf(stderr, "%s: %s %s %s\n", what, aqw_status_name(status), fault == NULL ? "" : fault->path,
            fault == NULL ? "" : aqw_reason_name(fault->reason));
    atomic_store(&all->failed, 1);
}

static int is_over(shared *all) { return atomic_load(&all->failed) || atomic_load(&all->appending) == 0; }

/* --- Writing --------------------------------------------------------------------------------------------------------------------- */

static aqw_status add_entry(aqw_batch *batch, uint64_t sequence, const uint8_t *data, uint32_t size) {
    aqw_event event;
    memset(&event, 0, sizeof event);
    event.sequence = sequence;
    event.timestamp = 1700000000;
    event.kind = AQW_LEDGER_ENTRY_APPENDED;
    event.as.ledger_entry_appended.ledger_key.data = (const uint8_t *)"key";
    event.as.ledger_entry_appended.ledger_key.size = 3;
    event.as.ledger_entry_appended.payload.data = data;
    event.as.ledger_entry_appended.payload.size = size;
    return aqw_batch_add(batch, &event);
}

static void *run_appender(void *argument) {
    shared *all = argument;
    static const uint8_t data[4000] = {1};
    aqw_batch batch;
    aqw_fault fault;
    aqw_batch_init(&batch);
    for (uint64_t done = 0, turn = 0; (done < all->events_each || atomic_load(&all->compactions) < COMPACTIONS_MIN) && !atomic_load(&all->failed);) {
        uint32_t count = turn % 5 == 0 ? 3 : 1, size = (uint32_t)(turn * 337 % sizeof data);
        uint64_t first = aqw_log_last_sequence(all->log) + 1;
        aqw_status status = AQW_OK;
        aqw_batch_reset(&batch);
        for (uint32_t i = 0; i < count && status == AQW_OK; i++) status = add_entry(&batch, first + i, data, size);
        if (status == AQW_OK) status = aqw_log_append(all->log, &batch, &fault);
        if (status == AQW_REFUSED_SEQUENCE) continue;   /* overtaken */
        if (status != AQW_OK) fail(all, "append", status, &fault);
        done += count;
        turn++;
    }
    aqw_batch_free(&batch);
    atomic_fetch_sub(&all->appending, 1);
    return NULL;
}

static void *run_syncer(void *argument) {
    shared *all = argument;
    aqw_fault fault;
    do {
        aqw_status status = aqw_log_sync(all->log, UINT64_MAX, &fault);
        if (status != AQW_OK) fail(all, "sync", status, &fault);
    } while (!is_over(all));
    aqw_status status = aqw_log_sync(all->log, UINT64_MAX, &fault);
    if (status != AQW_OK) fail(all, "sync", status, &fault);
    return NULL;
}

/* --- Compacting and reading ------------------------------------------------------------------------------------------------------ */

static void *run_compactor(void *argument) {
    shared *all = argument;
    aqw_compact_options options = {.now = 1700000000, .drops_segments = 1};
    aqw_compact_report report;
    aqw_fault fault;
    uint64_t newest = 0;
    do {
        aqw_status status = aqw_compact(aqw_io_system(), all->directory, &options, &report, &fault);
        if (status != AQW_OK) fail(all, "compact", status, &fault);
        else if (report.sequence < newest || report.sequence > aqw_log_durable_sequence(all->log)) fail(all, "snapshot's sequence", 0, NULL);
        newest = report.sequence;
        atomic_fetch_add(&all->compactions, 1);
    } while (!is_over(all));
    return NULL;
}

/* Reads until it is told to begin later; the sequence to begin behind then, or 0 at the end. */
static uint64_t follow_from(shared *all, uint64_t after) {
    aqw_follower *follower = NULL;
    aqw_record record;
    aqw_fault fault;
    uint64_t expected = after + 1;
    aqw_status status = aqw_follower_open(aqw_io_system(), all->directory, after, &follower, &fault);
    while ((status == AQW_OK || status == AQW_END) && !atomic_load(&all->failed)) {
        int was_over = is_over(all);
        status = aqw_follower_next(follower, &record, &fault);
        if (status == AQW_OK && record.sequence != expected++) fail(all, "a follower's event", 0, NULL);
        if (status != AQW_END) continue;
        if (was_over && aqw_follower_durable_sequence(follower) == aqw_log_last_sequence(all->log)) break;
        sched_yield();
    }
    aqw_follower_free(follower);
    if (status == AQW_COMPACTED && fault.first_sequence > expected) return fault.first_sequence - 1;
    if (status != AQW_END) fail(all, "follow", status, &fault);
    return 0;
}

static void *run_follower(void *argument) {
    shared *all = argument;
    uint64_t after = all->before;
    do after = follow_from(all, after);
    while (after != 0 && !atomic_load(&all->failed));
    return NULL;
}

/* --- Rounds ---------------------------------------------------------------------------------------------------------------------- */

static aqw_status open_log(shared *all, uint64_t *events) {
    static const uint8_t seed[16] = {0};
    aqw_recovery_options options = {.log = {.segment_size_max = 65536, .ring_size = 65536, .now = 1700000000}, .may_create = 1, .holder = "stress\n"};
    aqw_recovery_report report;
    aqw_fault fault;
    aqw_table_counts counts;
    aqw_table *table = aqw_table_new(NULL, seed);
    if (table == NULL) return AQW_NO_MEMORY;
    aqw_status status = aqw_recover(aqw_io_system(), all->directory, &options, table, &all->log, &report, &fault);
    aqw_table_counts_get(table, &counts);
    *events = counts.ledger;
    aqw_table_free(table);
    if (status != AQW_OK) fail(all, "open", status, &fault);
    else if (report.snapshots_damaged != 0) fail(all, "a damaged snapshot", 0, &report.snapshot_damage);
    else if (report.last_sequence != *events) fail(all, "events and sequences", 0, NULL);
    return status;
}

static void run_round(shared *all) {
    static void *(*const work[THREADS])(void *) = {run_appender, run_appender, run_follower, run_follower, run_syncer, run_compactor};
    pthread_t threads[THREADS];
    aqw_fault fault;
    atomic_store(&all->appending, APPENDERS);
    atomic_store(&all->compactions, 0);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work[i], all) != 0) abort();
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    all->target = aqw_log_last_sequence(all->log);
    aqw_status status = aqw_log_close(all->log, &fault);
    if (status != AQW_OK) fail(all, "close", status, &fault);
    aqw_log_free(all->log);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    shared all = {.directory = arguments[1], .events_each = strtoull(arguments[2], NULL, 10)};
    uint64_t events = 0;
    for (int round = 0; round <= ROUNDS && !atomic_load(&all.failed); round++) {
        if (open_log(&all, &events) != AQW_OK) break;
        if (events != all.target) fail(&all, "events were lost", 0, NULL);
        all.before = events;
        run_round(&all);
    }
    if (atomic_load(&all.failed)) return 1;
    puts("ok");
    return 0;
}
