/* Threads on one log, for the thread and address sanitizers: several append single events and batches, of which some are larger than
 * the ring, others sync, one asks for statistics. Then everything is closed, read back and counted; several rounds, each with
 * another policy and another ending. Arguments: a directory that does not exist yet, and the number of events for each thread and round.
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

#include "event/event.h"
#include "write/log.h"
#include "queue/recovery.h"
#include "table/table.h"
#include "os/thread.h"

enum { APPENDERS = 4, SYNCERS = 2, ROUNDS = 4, LARGE = 70000 };

typedef struct shared {
    aqw_log *log;
    atomic_int appending;
    atomic_int failed;
    uint64_t events_each;
} shared;

typedef struct appender {
    shared *all;
    unsigned number;
} appender;

static void fail(shared *all, const char *what, aqw_status status) {
    fprintf(stderr, "%s: %s\n", what, aqw_status_name((int)status));
    atomic_store(&all->failed, 1);
}

/* A ledger entry whose payload has this many bytes: the one event that no rule refuses. */
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

/* One append; the sequence of its last event, or 0. Whoever was overtaken is refused, and tries the next sequence. */
static uint64_t append_some(shared *all, aqw_batch *batch, const uint8_t *data, uint32_t size, uint32_t count) {
    aqw_fault fault;
    for (;;) {
        uint64_t first = aqw_log_last_sequence(all->log) + 1;
        aqw_batch_reset(batch);
        aqw_status status = AQW_OK;
        for (uint32_t i = 0; i < count && status == AQW_OK; i++) status = add_entry(batch, first + i, data, size);
        if (status == AQW_OK) status = aqw_log_append(all->log, batch, &fault);
        if (status == AQW_OK) return first + count - 1;
        if (status == AQW_REFUSED_SEQUENCE) continue;
        fail(all, "append", status);
        return 0;
    }
}

static void *run_appender(void *argument) {
    appender *self = argument;
    shared *all = self->all;
    uint8_t *data = malloc(LARGE);
    aqw_batch batch;
    aqw_fault fault;
    aqw_batch_init(&batch);
    if (data == NULL) abort();
    memset(data, (int)('a' + self->number), LARGE);
    uint64_t done = 0, turn = self->number;
    while (done < all->events_each && !atomic_load(&all->failed)) {
        turn++;
        uint32_t count = turn % 5 == 0 ? 3 : 1;
        uint32_t size = turn % 97 == 0 ? LARGE : (uint32_t)(turn * 37 % 600);
        if (count > all->events_each - done) count = (uint32_t)(all->events_each - done);
        uint64_t last = append_some(all, &batch, data, size, count);
        if (last == 0) break;
        done += count;
        if (turn % 7 != 0) continue;
        aqw_status status = aqw_log_sync(all->log, last, &fault);
        if (status != AQW_OK) fail(all, "sync", status);
        else if (aqw_log_durable_sequence(all->log) < last) fail(all, "a sync that returned too early", status);
    }
    aqw_batch_free(&batch);
    free(data);
    atomic_fetch_sub(&all->appending, 1);
    return NULL;
}

static void *run_syncer(void *argument) {
    shared *all = argument;
    aqw_fault fault;
    aqw_log_stats stats;
    uint64_t before = 0;
    while (atomic_load(&all->appending) > 0 && !atomic_load(&all->failed)) {
        aqw_status status = aqw_log_sync(all->log, UINT64_MAX, &fault);
        if (status != AQW_OK) fail(all, "sync", status);
        aqw_log_stats_get(all->log, &stats);
        if (stats.durable_sequence < before || stats.durable_sequence > stats.last_sequence) fail(all, "durable sequence", AQW_OK);
        before = stats.durable_sequence;
    }
    return NULL;
}

static const aqw_sync_policy policies[ROUNDS + 1] = {
    {0, 0, 0, 0}, {.records = 5}, {.bytes = 5000, .when_ring_fills = 1}, {.delay_ns = 200000}, {.records = 1, .delay_ns = 1000000},
};

static aqw_status open_log(const char *directory, uint32_t sector_size, const aqw_sync_policy *policy, aqw_log **log, uint64_t *events) {
    static const uint8_t seed[16] = {0};
    aqw_recovery_options options = {.log = {.segment_size_max = 262144, .ring_size = 65536, .sector_size = sector_size, .now = 1700000000,
                                            .sync = *policy},
                                    .may_create = 1, .holder = "stress\n"};
    aqw_recovery_report report;
    aqw_fault fault;
    aqw_table *table = aqw_table_new(NULL, seed);
    aqw_table_counts counts;
    if (table == NULL) return AQW_NO_MEMORY;
    aqw_status status = aqw_recover(aqw_io_system(), directory, &options, table, log, &report, &fault);
    aqw_table_counts_get(table, &counts);
    *events = counts.ledger;
    aqw_table_free(table);
    if (status != AQW_OK) fprintf(stderr, "%s: %s %s\n", fault.path, aqw_reason_name(fault.reason), fault.operation ? fault.operation : "");
    return status;
}

/* Appends and syncs in all threads; 0 where something failed. */
static int run_round(shared *all) {
    aqw_thread threads[APPENDERS + SYNCERS];
    appender appenders[APPENDERS];
    atomic_store(&all->appending, APPENDERS);
    for (unsigned i = 0; i < APPENDERS; i++) {
        appenders[i] = (appender){all, i};
        if (aqw_thread_start(&threads[i], run_appender, &appenders[i]) != 0) abort();
    }
    for (unsigned i = APPENDERS; i < APPENDERS + SYNCERS; i++)
        if (aqw_thread_start(&threads[i], run_syncer, all) != 0) abort();
    for (unsigned i = 0; i < APPENDERS + SYNCERS; i++) aqw_thread_join(threads[i]);
    return !atomic_load(&all->failed);
}

/* A close while another thread still syncs: that one is served or told that the log is closed. */
static void *sync_until_closed(void *argument) {
    shared *all = argument;
    aqw_fault fault;
    aqw_status status = AQW_OK;
    while (status == AQW_OK) status = aqw_log_sync(all->log, UINT64_MAX, &fault);
    if (status != AQW_CLOSED) fail(all, "sync while closing", status);
    return NULL;
}

static int close_under_load(shared *all) {
    aqw_thread thread;
    aqw_fault fault;
    if (aqw_thread_start(&thread, sync_until_closed, all) != 0) abort();
    aqw_status status = aqw_log_close(all->log, &fault);
    if (status != AQW_OK) fail(all, "close", status);
    aqw_thread_join(thread);
    aqw_log_free(all->log);
    return !atomic_load(&all->failed);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    shared all = {.events_each = strtoull(arguments[2], NULL, 10)};
    uint64_t expected = 0, events = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        aqw_status status = open_log(arguments[1], round % 2 == 0 ? 0 : 512, &policies[round], &all.log, &events);
        if (status != AQW_OK) fail(&all, "open", status);
        else if (events != expected) fail(&all, "events were lost", status);
        if (atomic_load(&all.failed)) return 1;
        if (round < ROUNDS && !run_round(&all)) return 1;
        expected += round < ROUNDS ? APPENDERS * all.events_each : 0;
        if (!close_under_load(&all)) return 1;
    }
    puts("ok");
    return 0;
}
