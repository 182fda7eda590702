/* Which ready runs may be started, in what order, and what keeps the others from it. The orders
 * must be up to date for all of this (table/order.h). */
#ifndef AQW_TABLE_READY_H
#define AQW_TABLE_READY_H

#include <stdint.h>

#include "base/ordered.h"
#include "base/status.h"
#include "table/table.h"

/* What keeps a ready run from being started:
 *  - its task is canceled;
 *  - it has had all attempts that its task gives it; one that was suspended does not count;
 *  - there is a lease on it;
 *  - its task depends on one that is not met: without a completed run, or with one to end;
 *  - a budget of its task, or of one above it, is exhausted;
 *  - another run holds its task's concurrency key. A run holds it while it is leased or running, or
 *    ready with a lease; under AQW_HOLD_DURING_RETRY also in retry_wait, and in ready between two
 *    attempts. */
enum aqw_blocker_kind {
    AQW_BLOCKED_BY_CANCEL,
    AQW_BLOCKED_BY_ATTEMPTS,
    AQW_BLOCKED_BY_LEASE,
    AQW_BLOCKED_BY_PREREQUISITE,
    AQW_BLOCKED_BY_BUDGET,
    AQW_BLOCKED_BY_KEY,
    AQW_BLOCKER_KIND_COUNT
};

/* Zeros before the first one. */
typedef struct aqw_blocker {
    uint8_t kind;               /* enum aqw_blocker_kind */
    uint8_t dimension;          /* of the budget */
    uint32_t row;               /* the task's; of a key, that of the run that holds it; of a
                                 * lease, that of the run itself */
    uint32_t place;             /* where the search stands; the next ones are its own, too */
    uint32_t steps;
    uint32_t mark;
} aqw_blocker;

/* Goes to the next thing that blocks a run, which is taken as ready whatever its state. Returns 0
 * after the last one. Where tasks are above each other in a circle, some come twice. */
int aqw_table_next_blocker(const aqw_table *table, uint32_t run, aqw_blocker *blocker);

/* Returns the number of a run's attempts that did not end as suspended. */
uint32_t aqw_table_counted_attempts(const aqw_table *table, uint32_t run);

/* Ready runs with the same required capabilities, in the same order, and that may be started. */
typedef struct aqw_ready_group {
    uint64_t id;                /* 0: none required */
    uint32_t run;               /* the row of one */
} aqw_ready_group;

/* Goes to the group after `id`, or to the first one of all where `is_first`. Returns 0 after the
 * last. */
int aqw_table_next_ready_group(const aqw_table *table, int is_first, aqw_ready_group *group);

/* Copies up to `capacity` entries of runs of these groups that nothing blocks: those with the
 * highest priority first, of these the ones that wait longest, and of these the oldest. Of runs
 * with the same concurrency key and the same required capabilities only the first one comes. The
 * list begins after `place` (zeros: at the first), which follows the runs that were looked at: no
 * more than `*looks`, 1 or more, which counts down. Those that are blocked are parked. Where it
 * returns with `*looks` at 0, there may be more after the place. AQW_NO_MEMORY: the table is as it
 * was, and has no orders. */
aqw_status aqw_table_read_ready(aqw_table *table, const uint64_t *groups, uint32_t group_count,
                                aqw_ordered_entry *place, aqw_ordered_entry *to,
                                uint32_t capacity, uint32_t *looks, uint32_t *copied);
/* Goes to the next capability that a run's task requires; 0 after the last one. Begins with zeros,
 * and keeps its place in `offset`. */
int aqw_table_next_required(const aqw_table *table, uint32_t run, uint32_t *offset,
                            aqw_bytes *capability);
/* The entry's second word for a priority, and back. */
uint64_t aqw_ready_rank(int32_t priority);
int32_t aqw_ready_priority(uint64_t rank);

#endif
