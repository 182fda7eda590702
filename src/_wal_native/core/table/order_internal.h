/* How the table keeps its orders; private to table/. */
#ifndef AQW_TABLE_ORDER_INTERNAL_H
#define AQW_TABLE_ORDER_INTERNAL_H

#include <stdint.h>

#include "base/bitset.h"
#include "event/event.h"
#include "table/order.h"

/* A run that has changed since the orders were brought up to date: what it is entered under.
 * There is one of them a run at most, however often it changes. */
typedef struct aqw_noted_run {
    uint64_t scheduled_at;
    uint64_t lease_expiry;
    uint64_t attempt_started_at;
    uint32_t row;
    uint32_t task;
    uint8_t state;              /* AQW_STATE_NONE: it was not there */
    uint8_t has_lease;
    uint8_t has_attempt;        /* an active one */
} aqw_noted_run;

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
/* In builds with assertions: compares the orders with the rows. */
void aqw_orders_check(const aqw_table *table);

#endif
