/* How the table keeps its orders; private to table/. */
#ifndef AQW_TABLE_ORDER_INTERNAL_H
#define AQW_TABLE_ORDER_INTERNAL_H

#include <stdint.h>

#include "base/bitset.h"
#include "event/event.h"
#include "table/order.h"
#include "table/ready.h"

/* A run that has changed since the orders were brought up to date: what it is entered under.
 * There is one of them a run at most, however often it changes. */
typedef struct aqw_noted_run {
    uint64_t scheduled_at;
    uint64_t lease_expiry;
    uint64_t attempt_started_at;
    uint64_t last_state_change_at;
    uint32_t row;
    uint32_t task;
    int32_t effective_priority;
    uint8_t state;              /* AQW_STATE_NONE: it was not there */
    uint8_t has_lease;
    uint8_t has_attempt;        /* an active one */
    uint8_t is_between_attempts;    /* the last one that counts ended without success */
} aqw_noted_run;

/* The ready runs, and the concurrency keys (table/ready.c). Words that begin with a group keep the
 * groups apart; a rank is lower the higher the priority; a time is that since which a run waits. */
typedef struct aqw_ready {
    /* (required capabilities, rank, time): runs that may be started, as far as was looked. */
    aqw_ordered open;
    /* (key, required capabilities and rank, time): ready runs with a concurrency key that are not
     * parked. Where the key is free, the first one of each group is in `open`, too. */
    aqw_ordered keyed;
    /* (what blocks them, rank, time): ready runs that were found blocked. */
    aqw_ordered parked;
    aqw_ordered held;           /* (key): the runs that hold it */
    /* Groups of `parked` whose runs are to be looked at again. */
    uint64_t *woken;
    uint32_t woken_count;
    uint32_t woken_capacity;
} aqw_ready;

typedef struct aqw_orders {
    uint8_t are_made;           /* or being made: from now on changes are noted */
    uint8_t are_whole;          /* all runs that were there are entered, */
    uint32_t made_rows;         /* or those up to this row */
    /* An open batch was entered: undoing it undoes the orders, too. */
    uint8_t have_open_batch;
    aqw_ordered of_times[AQW_ORDER_COUNT];
    aqw_bitset of_states[AQW_RUN_STATE_LAST + 1];   /* those of terminal states stay empty */
    /* Which rows are noted. A rollback leaves it, and what is noted, alone: what a row is entered
     * under is then still what was noted first. */
    aqw_bitset noted_rows;
    aqw_noted_run *noted;
    uint32_t noted_count;
    uint32_t noted_capacity;
    aqw_ready ready;
} aqw_orders;

void aqw_orders_init(aqw_table *table);
/* Gives up the orders, until they are asked for again. */
void aqw_orders_drop(aqw_table *table);
/* A run is about to change; or, with `is_new`, was just added. Can't fail: without memory the
 * orders are given up. */
void aqw_orders_note_run(aqw_table *table, uint32_t row, int is_new);
/* A change outside a batch, a batch, and the undoing of one have ended: the rows are whole. */
void aqw_orders_change_ended(aqw_table *table);
void aqw_orders_commit(aqw_table *table);
void aqw_orders_rollback(aqw_table *table);
/* A budget of a task has changed: what blocked its runs, and those of tasks below it, may have
 * gone. So it may where a task is being purged, which is marked already. Can't fail, as above. */
void aqw_orders_note_budget(aqw_table *table, uint32_t task);
void aqw_orders_note_forgotten(aqw_table *table, uint32_t task);

/* Fills in what the rows say of a run now. */
aqw_noted_run aqw_orders_describe(const aqw_table *table, uint32_t row);

/* table/ready.c. These return AQW_OK, or AQW_NO_MEMORY, after which the orders are to be given up.
 * enter moves a run from where it was to where it is; wake looks again at up to `*left` runs, and
 * takes those from `*left`. */
void aqw_ready_init(aqw_table *table);
void aqw_ready_free(aqw_table *table);
aqw_status aqw_ready_enter(aqw_table *table, const aqw_noted_run *was, const aqw_noted_run *is);
aqw_status aqw_ready_wake(aqw_table *table, uint32_t *left);
/* Goes to the next run, after the one in `blocker`, that holds a run's concurrency key, unless it
 * is the run itself. */
int aqw_ready_next_holder(const aqw_table *table, uint32_t run, aqw_blocker *blocker);

/* table/blockers.c. */
enum aqw_blocker_group { AQW_GROUP_PREREQUISITE, AQW_GROUP_BUDGET };
/* Fills in the group of `parked` in which a run blocked by this waits; returns 0 where nothing can
 * end that. */
int aqw_blocker_group_of(const aqw_blocker *blocker, uint64_t *group);
/* Returns the row of the task that a task names as its parent; 0 without one that is known, and
 * where the way up leads into a circle. It begins with the first task as the mark, and 1 step. */
uint32_t aqw_go_up(const aqw_table *table, uint32_t task, uint32_t *mark, uint32_t *steps);
static inline uint64_t aqw_blocker_group(enum aqw_blocker_group kind, uint32_t task) {
    return (uint64_t)kind << 32 | task;
}
/* Returns 1 where a task has a completed run, and none that is still to end. */
int aqw_prerequisite_is_met(const aqw_table *table, uint32_t task);

/* In builds with assertions: compares the orders with the rows. */
void aqw_orders_check(const aqw_table *table);
/* For each run once, with what it is entered under; the second at the end. */
void aqw_ready_check(const aqw_table *table, const aqw_noted_run *run, int is_noted,
                     uint64_t counts[4]);
void aqw_ready_check_counts(const aqw_table *table, const uint64_t counts[4]);

#endif
