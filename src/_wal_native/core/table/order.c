/* The orders of runs. A run that changes is noted with what it is entered under, before it changes
 * (aqw_orders_note_run); and when the orders are asked for, or many runs are noted, it is taken out
 * of where it was and entered where it belongs (enter_run). What a run is entered under does not
 * depend on how often it changed in between, nor on whether a batch was undone. */
#include "table/order.h"

#include <string.h>

#include "event/event.h"
#include "event/rules.h"
#include "table/internal.h"

/* From this many on, every change and every batch enters some: more than a change notes, and of a
 * batch as many as take about a millisecond, for which other threads may wait. */
#define NOTED_MAX 1024u
#define ENTERED_A_CHANGE 4u
#define ENTERED_A_BATCH 1024u
#define NOTED_MIN 64u
#define NOTED_KEPT (4 * NOTED_MAX)

void aqw_orders_init(aqw_table *table) {
    aqw_orders *orders = &table->orders;
    memset(orders, 0, sizeof *orders);
    for (int order = 0; order < AQW_ORDER_COUNT; order++)
        aqw_ordered_init(&orders->of_times[order], &table->heap, 1);
    for (int state = 0; state <= AQW_RUN_STATE_LAST; state++)
        aqw_bitset_init(&orders->of_states[state], &table->heap);
    aqw_bitset_init(&orders->noted_rows, &table->heap);
    aqw_ready_init(table);
}

void aqw_orders_drop(aqw_table *table) {
    aqw_orders *orders = &table->orders;
    for (int order = 0; order < AQW_ORDER_COUNT; order++)
        aqw_ordered_free(&orders->of_times[order]);
    for (int state = 0; state <= AQW_RUN_STATE_LAST; state++)
        aqw_bitset_free(&orders->of_states[state]);
    aqw_bitset_free(&orders->noted_rows);
    aqw_ready_free(table);
    aqw_heap_return(&table->heap, orders->noted, orders->noted_capacity * sizeof *orders->noted);
    aqw_orders_init(table);
}

/* ---- Where a run belongs ---- */

/* What a run is entered under: its state, and its time in each order where it has one. */
typedef struct aqw_run_places {
    uint8_t state;
    uint8_t has_time[AQW_ORDER_COUNT];
    uint64_t times[AQW_ORDER_COUNT];
} aqw_run_places;

/* Returns how the last attempt ended that counts: one that was suspended does not. */
static uint8_t last_result(const aqw_table *table, const aqw_run_row *run) {
    uint8_t result = AQW_RESULT_NONE;
    const uint8_t *ending = aqw_attempt_at(table, run->last_attempt)->ending;
    if (!ending || ending[0] != AQW_RESULT_SUSPENDED) return ending ? ending[0] : result;
    for (uint32_t row = run->first_attempt; row; row = aqw_attempt_at(table, row)->next) {
        ending = aqw_attempt_at(table, row)->ending;
        if (ending && ending[0] != AQW_RESULT_SUSPENDED) result = ending[0];
    }
    return result;
}

static int is_between_attempts(const aqw_table *table, const aqw_run_row *run) {
    uint8_t result = run->last_attempt ? last_result(table, run) : AQW_RESULT_NONE;
    return result == AQW_FAILURE || result == AQW_TIMEOUT;
}

aqw_noted_run aqw_orders_describe(const aqw_table *table, uint32_t row) {
    aqw_noted_run run = {.row = row, .state = AQW_STATE_NONE};
    if (row > table->rows[AQW_ROW_RUN].count) return run;   /* its batch was undone */
    const aqw_run_row *from = aqw_run_at(table, row);
    if (from->is_purged) return run;
    run.state = from->state;
    run.task = from->task;
    run.scheduled_at = from->scheduled_at;
    run.last_state_change_at = from->last_state_change_at;
    run.effective_priority = from->effective_priority;
    run.has_lease = from->lease != NULL;
    if (run.has_lease) run.lease_expiry = from->lease->expiry;
    run.has_attempt = from->has_active_attempt;
    if (run.has_attempt)
        run.attempt_started_at = aqw_attempt_at(table, from->last_attempt)->started_at;
    run.is_between_attempts = (uint8_t)is_between_attempts(table, from);
    return run;
}

static void set_deadline(const aqw_table *table, const aqw_noted_run *run, aqw_run_places *places) {
    const aqw_task_row *task = aqw_task_at(table, run->task);
    aqw_task_spec spec;
    aqw_status status = aqw_task_spec_decode(task->spec, task->spec_size, &spec);
    AQW_ASSERT(status == AQW_OK);
    if (status != AQW_OK || !spec.has_timeout) return;
    uint64_t left = UINT64_MAX - run->attempt_started_at;
    places->has_time[AQW_ORDER_DEADLINES] = 1;
    places->times[AQW_ORDER_DEADLINES] =
        spec.timeout_secs > left ? UINT64_MAX : run->attempt_started_at + spec.timeout_secs;
}

static aqw_run_places places_of(const aqw_table *table, const aqw_noted_run *run) {
    aqw_run_places places;
    memset(&places, 0, sizeof places);
    places.state = run->state;
    if (run->state != AQW_STATE_NONE && aqw_rule_state_is_terminal(run->state))
        places.state = AQW_STATE_NONE;
    places.has_time[AQW_ORDER_DUE] = run->state == AQW_SCHEDULED || run->state == AQW_RETRY_WAIT;
    places.times[AQW_ORDER_DUE] = run->scheduled_at;
    places.has_time[AQW_ORDER_LEASES] =
        run->has_lease && aqw_rule_state_allows(AQW_LEASE_EXPIRED, run->state);
    places.times[AQW_ORDER_LEASES] = run->lease_expiry;
    if (run->has_attempt) set_deadline(table, run, &places);
    return places;
}

/* ---- Entering ---- */

static aqw_status enter_state(aqw_orders *orders, uint32_t row, uint8_t was, uint8_t is) {
    if (was != AQW_STATE_NONE && was != is) aqw_bitset_remove(&orders->of_states[was], row);
    if (is == AQW_STATE_NONE) return AQW_OK;
    if (aqw_bitset_reserve(&orders->of_states[is], row) != AQW_OK) return AQW_NO_MEMORY;
    aqw_bitset_add(&orders->of_states[is], row);
    return AQW_OK;
}

/* Moves a run from where it was entered to where it belongs. */
static aqw_status enter_run(aqw_table *table, const aqw_noted_run *entered) {
    aqw_orders *orders = &table->orders;
    aqw_noted_run now = aqw_orders_describe(table, entered->row);
    aqw_run_places was = places_of(table, entered), is = places_of(table, &now);
    for (int order = 0; order < AQW_ORDER_COUNT; order++) {
        aqw_ordered *of = &orders->of_times[order];
        aqw_ordered_entry old = {{was.times[order], 0, 0}, entered->row};
        aqw_ordered_entry new = {{is.times[order], 0, 0}, entered->row};
        if (was.has_time[order] && is.has_time[order] && was.times[order] == is.times[order])
            continue;
        if (was.has_time[order]) (void)aqw_ordered_remove(of, old);
        if (is.has_time[order] && aqw_ordered_add(of, new) != AQW_OK) return AQW_NO_MEMORY;
    }
    if (aqw_ready_enter(table, entered, &now) != AQW_OK) return AQW_NO_MEMORY;
    return enter_state(orders, entered->row, was.state, is.state);
}

static void return_notes(aqw_table *table) {
    aqw_orders *orders = &table->orders;
    aqw_heap_return(&table->heap, orders->noted, orders->noted_capacity * sizeof *orders->noted);
    orders->noted = NULL;
    orders->noted_capacity = 0;
}

/* The first time: enters all runs, one after the other. Those that are still to come are not noted,
 * for they are entered as they are then. */
static aqw_status enter_old(aqw_table *table, uint32_t *left) {
    aqw_orders *orders = &table->orders;
    for (; orders->made_rows < table->rows[AQW_ROW_RUN].count && *left; (*left)--) {
        uint32_t row = ++orders->made_rows;
        const aqw_run_row *run = aqw_run_at(table, row);
        if (run->is_purged || aqw_rule_state_is_terminal(run->state)) continue;
        aqw_noted_run absent = {.row = row, .state = AQW_STATE_NONE};
        if (enter_run(table, &absent) != AQW_OK) return AQW_NO_MEMORY;
    }
    if (*left) orders->are_whole = 1;
    return AQW_OK;
}

static aqw_status enter_noted(aqw_table *table, uint32_t *left) {
    aqw_orders *orders = &table->orders;
    for (; orders->noted_count && *left; (*left)--) {
        const aqw_noted_run *noted = &orders->noted[--orders->noted_count];
        aqw_bitset_remove(&orders->noted_rows, noted->row);
        if (enter_run(table, noted) != AQW_OK) return AQW_NO_MEMORY;
    }
    if (!orders->noted_count && orders->noted_capacity > NOTED_KEPT) return_notes(table);
    return AQW_OK;
}

aqw_status aqw_table_order(aqw_table *table, uint32_t runs_max, uint8_t *is_done) {
    aqw_orders *orders = &table->orders;
    uint32_t left = runs_max;
    AQW_ASSERT(runs_max > 0);
    *is_done = 0;
    orders->are_made = 1;
    if (table->undo.is_open) orders->have_open_batch = 1;
    /* What is woken comes first, because it needs the rows that a run depended on; and last,
     * because runs that have ended wake others. */
    if ((!orders->are_whole && enter_old(table, &left) != AQW_OK) ||
        aqw_ready_wake(table, &left) != AQW_OK || enter_noted(table, &left) != AQW_OK ||
        aqw_ready_wake(table, &left) != AQW_OK) {
        aqw_orders_drop(table);
        return AQW_NO_MEMORY;
    }
    *is_done = orders->are_whole && !orders->noted_count && !orders->ready.woken_count;
    return AQW_OK;
}

/* ---- Noting ---- */

static aqw_status reserve_note(aqw_table *table, uint32_t row) {
    aqw_orders *orders = &table->orders;
    if (aqw_bitset_reserve(&orders->noted_rows, row) != AQW_OK) return AQW_NO_MEMORY;
    if (orders->noted_count < orders->noted_capacity) return AQW_OK;
    if (orders->noted_capacity > UINT32_MAX / 2) return AQW_NO_MEMORY;
    uint32_t capacity = orders->noted_capacity ? orders->noted_capacity * 2 : NOTED_MIN;
    aqw_noted_run *noted = aqw_heap_take(&table->heap, (size_t)capacity * sizeof *noted);
    if (!noted) return AQW_NO_MEMORY;
    if (orders->noted_count)
        memcpy(noted, orders->noted, orders->noted_count * sizeof *noted);
    aqw_heap_return(&table->heap, orders->noted, orders->noted_capacity * sizeof *noted);
    orders->noted = noted;
    orders->noted_capacity = capacity;
    return AQW_OK;
}

void aqw_orders_note_run(aqw_table *table, uint32_t row, int is_new) {
    aqw_orders *orders = &table->orders;
    if (!orders->are_made || (!orders->are_whole && row > orders->made_rows)) return;
    if (aqw_bitset_has(&orders->noted_rows, row)) return;
    if (reserve_note(table, row) != AQW_OK) {
        aqw_orders_drop(table);
        return;
    }
    aqw_noted_run gone = {.row = row, .state = AQW_STATE_NONE};
    orders->noted[orders->noted_count++] = is_new ? gone : aqw_orders_describe(table, row);
    aqw_bitset_add(&orders->noted_rows, row);
}

/* Enters some of what is noted where it has become much, so that the next to ask need not. */
static void enter_some(aqw_table *table, uint32_t runs_max) {
    uint8_t is_done;
    const aqw_orders *orders = &table->orders;
    if (orders->noted_count >= NOTED_MAX || orders->ready.woken_count >= NOTED_MAX)
        (void)aqw_table_order(table, runs_max, &is_done);
}

void aqw_orders_change_ended(aqw_table *table) {
    if (!table->undo.is_open) enter_some(table, ENTERED_A_CHANGE);
}

void aqw_orders_commit(aqw_table *table) {
    table->orders.have_open_batch = 0;
    enter_some(table, ENTERED_A_BATCH);
}

void aqw_orders_rollback(aqw_table *table) {
    if (table->orders.have_open_batch) aqw_orders_drop(table);
}

/* ---- Reading ---- */

uint32_t aqw_table_read_order(const aqw_table *table, int order, const aqw_ordered_entry *after,
                              uint64_t until, aqw_ordered_entry *to, uint32_t capacity) {
    AQW_ASSERT(table->orders.are_whole && table->orders.noted_count == 0);
    return aqw_ordered_read(&table->orders.of_times[order], after, until, to, capacity);
}

uint32_t aqw_table_next_in_state(const aqw_table *table, uint8_t state, uint32_t row) {
    AQW_ASSERT(table->orders.are_whole && table->orders.noted_count == 0);
    AQW_ASSERT(!aqw_rule_state_is_terminal(state));
    return aqw_bitset_next(&table->orders.of_states[state], row);
}

/* ---- Checks ---- */

#if !defined(NDEBUG)
/* A run is in the orders where these places say; the times are counted. */
static void check_times(const aqw_table *table, const aqw_noted_run *run,
                        uint64_t counts[AQW_ORDER_COUNT]) {
    aqw_run_places places = places_of(table, run);
    for (int order = 0; order < AQW_ORDER_COUNT; order++) {
        aqw_ordered_entry entry = {{places.times[order], 0, 0}, run->row};
        counts[order] += places.has_time[order];
        AQW_ASSERT(!places.has_time[order] ||
                   aqw_ordered_has(&table->orders.of_times[order], entry));
    }
    for (uint8_t state = 0; state <= AQW_RUN_STATE_LAST; state++) {
        AQW_ASSERT(aqw_bitset_has(&table->orders.of_states[state], run->row) ==
                   (state == places.state));
    }
}

/* Every run is where its row says, or, if it is noted, where the note says; a run whose turn has
 * not come is nowhere; and there is nothing else. After a rollback a note may be of a run that is
 * no more. */
void aqw_orders_check(const aqw_table *table) {
    const aqw_orders *orders = &table->orders;
    uint64_t counts[AQW_ORDER_COUNT] = {0}, ready_counts[4] = {0};
    if (!orders->are_made) return;
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_RUN].count; row++) {
        aqw_noted_run absent = {.row = row, .state = AQW_STATE_NONE};
        if (aqw_bitset_has(&orders->noted_rows, row)) continue;
        aqw_noted_run run = aqw_orders_describe(table, row);
        int is_entered = orders->are_whole || row <= orders->made_rows;
        check_times(table, is_entered ? &run : &absent, counts);
        aqw_ready_check(table, is_entered ? &run : &absent, 0, ready_counts);
    }
    for (uint32_t at = 0; at < orders->noted_count; at++) {
        check_times(table, &orders->noted[at], counts);
        aqw_ready_check(table, &orders->noted[at], 1, ready_counts);
    }
    aqw_ready_check_counts(table, ready_counts);
    for (int order = 0; order < AQW_ORDER_COUNT; order++)
        AQW_ASSERT(counts[order] == orders->of_times[order].count);
}
#endif
