/* The runs that are not at their end, in the orders in which a scheduler asks for them. The table
 * makes the orders when they are first asked for; from then on a change of a run notes the run, and
 * the next question enters what was noted. So a table that is never asked pays nothing, and a batch
 * that is undone needs no undo here.
 *
 * An order is of what the rows say, and of nothing else: it is no part of an image, and a loaded
 * table makes its own. */
#ifndef AQW_TABLE_ORDER_H
#define AQW_TABLE_ORDER_H

#include <stdint.h>

#include "base/ordered.h"
#include "base/status.h"
#include "table/table.h"

/* What the times of an order are:
 *  - due: scheduled_at, of runs that are scheduled or wait for a retry;
 *  - leases: the expiry, of leases of runs in a state in which they can be closed;
 *  - deadlines: the start of the active attempt + timeout_secs, of runs of tasks with such a
 *    limit; 2^64 - 1 where the sum would pass that. */
enum aqw_order { AQW_ORDER_DUE, AQW_ORDER_LEASES, AQW_ORDER_DEADLINES, AQW_ORDER_COUNT };

/* Brings the orders to what the rows say, or nearer to it: looks at no more than `runs_max` runs (1
 * or more), so that the caller can let other threads run in between. Returns AQW_OK, or
 * AQW_NO_MEMORY: the table is as it was, and has no orders. The functions that follow are for a
 * table that has not changed since `is_done` was 1. */
aqw_status aqw_table_order(aqw_table *table, uint32_t runs_max, uint8_t *is_done);
/* Copies up to `capacity` pairs of a time and a run's row, those with the earliest time and of
 * these the oldest run first, which come after a pair (NULL: from the first on) and whose time is
 * at most `until`. Returns their number. */
uint32_t aqw_table_read_order(const aqw_table *table, int order, const aqw_ordered_entry *after,
                              uint64_t until, aqw_ordered_entry *to, uint32_t capacity);
/* Returns the row of the first run after a row, or after 0, in a state that is not terminal; 0
 * after the last. */
uint32_t aqw_table_next_in_state(const aqw_table *table, uint8_t state, uint32_t row);

#endif
