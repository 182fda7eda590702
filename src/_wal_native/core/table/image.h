/* A table's image: the whole table as a series of items, for snapshots. Only table/ writes or reads
 * these bytes: save.c and load.c the whole, the head, and what belongs to tasks and runs; the files
 * of the families (table/family.h) their rows. The code that stores them keeps each item's type and
 * size, and protects all of them against damage.
 *
 * An item is a type and a payload of at most AQW_IMAGE_ITEM_SIZE_MAX bytes: its fields, at most
 * AQW_IMAGE_FIELDS_SIZE_MAX bytes, and then, for the types that say so, bytes up to the payload's
 * end. Forms are those of payload.h, and these:
 *
 *   number   varint32: the position of a task among the items of its type, from 1.
 *   after x  a 64-bit number as its difference to x, modulo 2^64, in zigzag form (as
 *            varint, up to 64 bits).
 *   ...      the rest of the payload.
 *
 * ITEMS, in the order of their types, except that items of types 3 to 6 stand
 * together for each run
 *
 *    1  head          sequence varint, u8 engine (0 never paused, 1 paused, 2 resumed), [paused_at
 *                     time], [resumed_at after paused_at], then counts, each a varint32: tasks,
 *                     runs, steps of history (closed leases not counted), attempts, leases,
 *                     dependencies, budgets, subscriptions, actors, tenants, roles, capabilities,
 *                     ledger entries, tombstones (at most AQW_TOMBSTONE_COUNT_MAX)
 *    2  task          task id, created_at time, u8 flags: AQW_IMAGE_HAS_FIRST canceled,
 *                     AQW_IMAGE_HAD_RUNS, AQW_IMAGE_RUNS_PURGED, AQW_IMAGE_COMPLETED_PURGED,
 *                     [canceled_at after created_at], [last_run_at after created_at],
 *                     [how many runs were purged: varint], task spec...
 *    3  run           run id, task number, created_at time, scheduled_at after created_at,
 *                     effective_priority zigzag, steps...
 *    4  history       further steps... of the same run
 *    5  attempt       of the same run: attempt id, started_at after the run's
 *                     created_at, u8: result, or AQW_IMAGE_UNFINISHED, [finished_at
 *                     after started_at], error or output...
 *    6  lease         of the same run: acquired_at after the run's created_at, updated_at after
 *                     acquired_at, expiry after acquired_at, owner...
 *    7  dependencies  pairs of two numbers...: task, prerequisite
 *    8  budget        task number, u8: dimension | AQW_IMAGE_EXHAUSTED, limit varint, consumed
 *                     varint, allocated_at time
 *    9  subscription  subscription id, task number, created_at time, u8 flags: AQW_IMAGE_HAS_FIRST
 *                     triggered, AQW_IMAGE_HAS_SECOND canceled, [triggered_at after created_at],
 *                     [canceled_at after created_at], filter...
 *   10  actor         actor id, registered_at time, u8 flags: AQW_IMAGE_HAS_FIRST heartbeat,
 *                     AQW_IMAGE_HAS_SECOND deregistered, [last_heartbeat_at after registered_at],
 *                     [deregistered_at after registered_at], registration...
 *   11  tenant        tenant id, created_at time, name...
 *   12  role          actor id, tenant id, assigned_at time, named (custom code 3)...
 *   13  capability    actor id, tenant id, granted_at time, u8 AQW_IMAGE_HAS_FIRST: revoked,
 *                     [revoked_at after granted_at], named (custom code 5)...
 *   14  ledger entry  entry id, tenant id, time, u8 AQW_IMAGE_HAS_FIRST: actor, [actor id], size of
 *                     the key varint32, key and payload...
 *   15  tombstone     task id, until time
 *
 *   step    u8: the state that the run went to, and when, after the step before (the
 *           first: after created_at); or AQW_IMAGE_LEASE_CLOSED alone: the run was
 *           leased, and closing the lease made it ready.
 *
 * What was purged is not in the image, and tasks are numbered without it. A task that ever had a
 * run has AQW_IMAGE_HAD_RUNS, with the latest time that one was created for; a task that lost
 * runs to purges has AQW_IMAGE_RUNS_PURGED, with their number, and AQW_IMAGE_COMPLETED_PURGED where
 * one of them was completed. An image of a version before that flag never has it, nor has what
 * was loaded from one and saved again.
 *
 * Within a type the order is that of the table's rows: of creation, of first declaration, of first
 * registration; a run's steps and attempts keep their own order. Steps and dependencies come in
 * groups of AQW_IMAGE_GROUP_COUNT_MAX. Each group is full except the last of a run's steps and the
 * last of all dependencies; a run's first group is in its own item and may be empty.
 *
 * What else a run is follows from these: its state and last_state_change_at from its steps, its
 * attempt count from its attempts; the last attempt is active where it is unfinished and the run is
 * running. Parents and children follow from the tasks' specs.
 *
 * VALID IF AND ONLY IF every item decodes by the rules of payload.h, and
 *   - counts in the head are those of the items; numbers name items that exist; the engine was not
 *     resumed before it was paused;
 *   - no key occurs twice: task, run, attempt in its run, pair of dependency, task and dimension,
 *     subscription, actor, tenant, actor and tenant of a role, actor and tenant and capability; ids
 *     of tasks and runs are not nil;
 *   - every step is a transition that rules.h allows;
 *   - a task has AQW_IMAGE_HAD_RUNS if and only if it has runs or
 *     AQW_IMAGE_RUNS_PURGED, whose number is not 0; without it, it has no
 *     AQW_IMAGE_COMPLETED_PURGED;
 *   - a run with attempts was running once; all but its last one are finished, and the last, where
 *     the run is running, or was canceled from there;
 *   - a lease is in a state in which rules.h lets it be held, and there is at most one;
 *   - a budget that is not exhausted has something left, or was not consumed from.
 * So a table has exactly one image: an image that loads saves to the same bytes again,
 * in any process. */
#ifndef AQW_TABLE_IMAGE_H
#define AQW_TABLE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "event/event.h"
#include "table/table.h"

#define AQW_IMAGE_FIELDS_SIZE_MAX 1024
#define AQW_IMAGE_GROUP_COUNT_MAX 64

#define AQW_IMAGE_HEAD 1
#define AQW_IMAGE_TASK 2
#define AQW_IMAGE_RUN 3
#define AQW_IMAGE_HISTORY 4
#define AQW_IMAGE_ATTEMPT 5
#define AQW_IMAGE_LEASE 6
#define AQW_IMAGE_DEPENDENCIES 7
#define AQW_IMAGE_BUDGET 8
#define AQW_IMAGE_SUBSCRIPTION 9
#define AQW_IMAGE_ACTOR 10
#define AQW_IMAGE_TENANT 11
#define AQW_IMAGE_ROLE 12
#define AQW_IMAGE_CAPABILITY 13
#define AQW_IMAGE_LEDGER_ENTRY 14
#define AQW_IMAGE_TOMBSTONE 15
#define AQW_IMAGE_TYPE_COUNT 16

#define AQW_IMAGE_HAS_FIRST 1
#define AQW_IMAGE_HAS_SECOND 2
#define AQW_IMAGE_HAD_RUNS 2
#define AQW_IMAGE_RUNS_PURGED 4
#define AQW_IMAGE_COMPLETED_PURGED 8
#define AQW_IMAGE_EXHAUSTED 16
#define AQW_IMAGE_UNFINISHED 16
#define AQW_IMAGE_LEASE_CLOSED 16

/* Takes one item, whose payload is `fields` and then `bytes`. Anything but AQW_OK
 * ends the saving. */
typedef aqw_status (*aqw_image_sink)(void *to, uint8_t type, aqw_bytes fields, aqw_bytes bytes);

/* Gives all items of the table to the sink. Returns the sink's first failure; AQW_INVALID_ARGUMENT
 * for a table with an open batch; AQW_TOO_LARGE where the table was given larger bytes than any
 * decoder yields; AQW_NO_MEMORY. Takes no memory except 4 bytes for each task, and those only where
 * tasks were purged. */
aqw_status aqw_table_save(const aqw_table *table, aqw_image_sink sink, void *to);

/* A load under way; its fields are table/load.c's. */
typedef struct aqw_table_loader {
    aqw_table *table;
    uint64_t size_max;
    aqw_status status;                          /* the first failure: later calls repeat it */
    uint8_t type;                               /* of the last item */
    uint8_t kinds[AQW_IMAGE_TYPE_COUNT];        /* of rows, by type */
    /* by the head; of steps and dependencies, not of their items */
    uint32_t expected[AQW_IMAGE_TYPE_COUNT];
    uint32_t loaded[AQW_IMAGE_TYPE_COUNT];
    uint32_t awaited_tasks;                     /* with runs by their items, but none so far */
    /* of the run that items of types 4 to 6 belong to; its: */
    uint32_t run;
    uint32_t steps;
    uint64_t step_time;
    int was_running;
} aqw_table_loader;

/* Starts a load into a table, which must be new: AQW_INVALID_ARGUMENT for any other. `size_max` is
 * a bound of all payloads together, such as the file's size: the load refuses a head that promises
 * more than that can hold, before it takes memory, so that the head makes the table take at most
 * some 16 times `size_max`. */
aqw_status aqw_table_load_begin(aqw_table_loader *loader, aqw_table *table, uint64_t size_max);
/* Takes one item, and copies its bytes. Returns AQW_MALFORMED_SNAPSHOT for an item that is not
 * valid where it stands, or AQW_NO_MEMORY. */
aqw_status aqw_table_load_item(aqw_table_loader *loader, uint8_t type, const uint8_t *payload,
                               size_t size);
/* What the head says: it comes first, so a reader has it without the rest.
 * `size_max` is as above. */
typedef struct aqw_image_head {
    uint64_t sequence;
    aqw_engine_view engine;
    /* by type; of steps and dependencies, not of their items */
    uint32_t counts[AQW_IMAGE_TYPE_COUNT];
} aqw_image_head;
aqw_status aqw_image_head_read(uint8_t type, const uint8_t *payload, size_t size, uint64_t size_max,
                               aqw_image_head *head);

/* Has the memory that loading this item will look at fetched meanwhile. Changes nothing;
 * the bytes may be wrong. */
void aqw_table_load_fetch(const aqw_table_loader *loader, uint8_t type, const uint8_t *payload,
                          size_t size);
/* Ends the load. Returns AQW_OK where the image was whole. After any failure the caller
 * can only free the table. */
aqw_status aqw_table_load_end(aqw_table_loader *loader);

#endif
