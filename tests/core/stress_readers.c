/* One log and everybody around it, for the thread and address sanitizers and valgrind: threads append; one syncs; others ask for
 * statistics, states and sequences, follow the log, make snapshots and drop what they cover;
 * in the middle of it two threads close the log at once. Then it is opened again: every event that an append took is there.
 * Arguments: a directory that does not exist yet, and the number of events of a round.
 *
 * Prints "ok" and returns 0, or says what is wrong and returns 1. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/compact.h"
#include "event/event.h"
#include "read/follow.h"
#include "write/log.h"
#include "queue/recovery.h"
#include "table/table.h"
#include "os/thread.h"

enum { APPENDERS = 3, CLOSERS = 2, OTHERS = 5, THREADS = APPENDERS + OTHERS + CLOSERS, ROUNDS = 3, PAYLOAD_MAX = 900 };

typedef struct shared {
    const char *directory;
    aqw_log *log;
    atomic_int failed;
    atomic_int closed;              /* closers that have returned */
    _Atomic uint64_t taken;         /* events that an append took, in all rounds */
    uint64_t close_at;              /* taken events at which the log is closed */
} shared;

static void fail(shared *all, const char *what, aqw_status status) {
    fprintf(stderr, "%s: %s\n", what, aqw_status_name((int)status));
    atomic_store(&all->failed, 1);
}

static int goes_on(shared *all) { return atomic_load(&all->closed) < CLOSERS && !atomic_load(&all->failed); }

static void *run_appender(void *argument) {
    shared *all = argument;
    static const uint8_t payload[PAYLOAD_MAX];
    aqw_batch batch;
    aqw_fault fault;
    aqw_status status = AQW_OK;
    aqw_batch_init(&batch);
    while ((status == AQW_OK || status == AQW_REFUSED_SEQUENCE) && !atomic_load(&all->failed)) {
        aqw_event event;
        memset(&event, 0, sizeof event);
        event.kind = AQW_LEDGER_ENTRY_APPENDED;
        event.sequence = aqw_log_last_sequence(all->log) + 1;
        event.as.ledger_entry_appended.ledger_key = (aqw_bytes){payload, 3};
        event.as.ledger_entry_appended.payload = (aqw_bytes){payload, (uint32_t)(event.sequence * 37 % PAYLOAD_MAX)};
        aqw_batch_reset(&batch);
        status = aqw_batch_add(&batch, &event);
        if (status == AQW_OK) status = aqw_log_append(all->log, &batch, &fault);
        if (status == AQW_OK) atomic_fetch_add(&all->taken, 1);
    }
    if (status != AQW_CLOSED && !atomic_load(&all->failed)) fail(all, "append", status);
    aqw_batch_free(&batch);
    return NULL;
}

static void *run_syncer(void *argument) {
    shared *all = argument;
    aqw_fault fault;
    aqw_status status = AQW_OK;
    while (status == AQW_OK && goes_on(all)) status = aqw_log_sync(all->log, UINT64_MAX, &fault);
    if (status != AQW_OK && status != AQW_CLOSED) fail(all, "sync", status);
    return NULL;
}

/* What is told never goes back, and never promises more than there is. */
static void *run_asker(void *argument) {
    shared *all = argument;
    aqw_log_stats stats;
    aqw_fault fault;
    uint64_t durable = 0, last = 0;
    while (goes_on(all)) {
        uint64_t durable_now = aqw_log_durable_sequence(all->log), last_now = aqw_log_last_sequence(all->log);
        if (durable_now < durable || last_now < last || durable_now > last_now) fail(all, "sequences", AQW_OK);
        durable = durable_now;
        last = last_now;
        aqw_log_stats_get(all->log, &stats);
        if (stats.durable_sequence < durable || stats.last_sequence < last) fail(all, "statistics", AQW_OK);
        if (stats.segment_used > stats.segment_size || stats.ring_used > stats.ring_size) fail(all, "sizes", AQW_OK);
        aqw_status status = aqw_log_state(all->log, &fault);
        if (status != AQW_OK && status != AQW_CLOSED) fail(all, "state", status);
    }
    return NULL;
}

/* Follows from the beginning, and again from where the log still begins. */
static void *run_follower(void *argument) {
    shared *all = argument;
    aqw_fault fault;
    uint64_t after = 0;
    while (goes_on(all)) {
        aqw_follower *follower = NULL;
        aqw_record record;
        aqw_status status = aqw_follower_open(aqw_io_system(), all->directory, after, &follower, &fault);
        while ((status == AQW_OK || status == AQW_END) && follower != NULL && goes_on(all)) {
            status = aqw_follower_next(follower, &record, &fault);
            if (status == AQW_OK && record.sequence != ++after) fail(all, "the order of what is followed", status);
        }
        if (after > aqw_log_durable_sequence(all->log)) fail(all, "an event was followed before it was durable", status);
        aqw_follower_free(follower);
        if (status == AQW_COMPACTED) after = fault.first_sequence - 1;
        else if (status != AQW_OK && status != AQW_END) fail(all, "follow", status);
    }
    return NULL;
}

static void *run_compactor(void *argument) {
    shared *all = argument;
    while (goes_on(all)) {
        aqw_compact_options options = {.now = 1700000000, .drops_segments = 1};
        aqw_compact_report report;
        aqw_fault fault;
        aqw_status status = aqw_compact(aqw_io_system(), all->directory, &options, &report, &fault);
        if (status != AQW_OK) fail(all, fault.path, status);
        else if (report.sequence > aqw_log_durable_sequence(all->log)) fail(all, "a snapshot of what is not durable", status);
    }
    return NULL;
}

static void *run_closer(void *argument) {
    shared *all = argument;
    aqw_fault fault;
    while (atomic_load(&all->taken) < all->close_at && !atomic_load(&all->failed)) {
    }
    aqw_status status = aqw_log_close(all->log, &fault);
    if (status != AQW_OK) fail(all, "close", status);
    atomic_fetch_add(&all->closed, 1);
    return NULL;
}

static aqw_status open_log(shared *all) {
    static const uint8_t seed[16] = {0};
    aqw_recovery_options options = {.log = {.segment_size_max = 65536, .ring_size = 65536, .now = 1700000000},
                                    .may_create = 1, .holder = "stress\n"};
    aqw_recovery_report report;
    aqw_fault fault;
    aqw_table_counts counts;
    aqw_table *table = aqw_table_new(NULL, seed);
    if (table == NULL) return AQW_NO_MEMORY;
    aqw_status status = aqw_recover(aqw_io_system(), all->directory, &options, table, &all->log, &report, &fault);
    aqw_table_counts_get(table, &counts);
    aqw_table_free(table);
    if (status != AQW_OK) return status;
    if (counts.ledger != atomic_load(&all->taken)) fail(all, "events were lost, or came from nowhere", AQW_OK);
    if (!report.is_clean) fail(all, "the close was not clean", AQW_OK);
    return AQW_OK;
}

static void run_round(shared *all, uint64_t events) {
    void *(*const others[OTHERS])(void *) = {run_syncer, run_asker, run_asker, run_follower, run_compactor};
    aqw_thread threads[THREADS];
    all->close_at = atomic_load(&all->taken) + events;
    atomic_store(&all->closed, 0);
    for (int i = 0; i < THREADS; i++) {
        void *(*run)(void *) = i < APPENDERS ? run_appender : i < APPENDERS + OTHERS ? others[i - APPENDERS] : run_closer;
        if (aqw_thread_start(&threads[i], run, all) != 0) abort();
    }
    for (int i = 0; i < THREADS; i++) aqw_thread_join(threads[i]);
    aqw_log_free(all->log);
}

int main(int count, char **arguments) {
    static shared all;
    if (count != 3) return 2;
    all.directory = arguments[1];
    for (int round = 0; round <= ROUNDS && !atomic_load(&all.failed); round++) {
        aqw_fault fault;
        aqw_status status = open_log(&all);
        if (status != AQW_OK) {
            fail(&all, "open", status);
            return 1;
        }
        if (round < ROUNDS) {
            run_round(&all, strtoull(arguments[2], NULL, 10));
            continue;
        }
        (void)aqw_log_close(all.log, &fault);
        aqw_log_free(all.log);
    }
    if (atomic_load(&all.failed)) return 1;
    puts("ok");
    return 0;
}
