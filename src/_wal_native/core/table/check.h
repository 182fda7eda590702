/* What the state table checks of itself in builds with assertions: the invariants of its
 * rows, chains and counts (table/internal.h), what was reserved, and that a rollback
 * brings everything back.
 *
 * A check looks at every row. So that tests stay usable, rows are paid for: an event, a batch,
 * a purge pays for a number of rows, and a check runs as soon as what was paid covers the
 * table. A small table is checked after every event, a large one every now and then, and an
 * event costs the same in both. */
#ifndef AQW_TABLE_CHECK_H
#define AQW_TABLE_CHECK_H

#include "base/assert.h"
#include "table/internal.h"

#define AQW_CHECK_EVENT 64u
#define AQW_CHECK_BATCH 1024u
#define AQW_CHECK_PURGE 65536u
#define AQW_CHECK_ROLLBACK 65536u
#define AQW_CHECK_LOAD UINT64_MAX   /* a load has looked at every row itself */

#if !defined(NDEBUG)
/* What the rows add up to; the checks compare it with what the table keeps of that. */
typedef struct aqw_tally {
    uint32_t runs_by_state[AQW_RUN_STATE_LAST + 1];
    uint32_t leases;
    uint32_t purged[AQW_ROW_KIND_COUNT];
    uint64_t history, attempts;         /* that runs lead to */
    /* rows that the chains of tasks and parents lead to, without purged ones */
    uint64_t runs, dependencies, dependents, children;
    uint64_t sums[AQW_ROW_KIND_COUNT];  /* for rarer kinds: each family's file says what it sums */
} aqw_tally;
#endif

/* Checks the table, if what was paid covers it; `paid` is one of the above. Returns 1: where
 * something is wrong, an assertion inside says what. */
int aqw_table_check(aqw_table *table, uint64_t paid);

/* An event begins: nothing that an earlier one reserved is its own. */
void aqw_check_event(aqw_table *table);
/* An entry of the undo record's lists of blocks is about to be made, for which there
 * must be promised room. */
void aqw_check_block(aqw_undo *undo);
/* A batch begins, and a rollback has ended one. */
void aqw_check_begin(aqw_table *table);
void aqw_check_rollback(aqw_table *table);

#endif
