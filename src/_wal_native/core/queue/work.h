/* The events of what a scheduler does all day: new tasks with their first run, claims, completions.
 *
 * Each function encodes its events after those of the batch and applies them, one after the other.
 * The caller opens the table's undo record and resets the batch before the first call, and after
 * the last one appends the batch and commits. After anything but AQW_OK it must roll the batch
 * back. The events are those that commands for the same would become; only the way is shorter. An
 * output may change meanwhile: log and table get the same bytes. */
#ifndef AQW_WORK_H
#define AQW_WORK_H

#include <stdint.h>

#include "base/status.h"
#include "event/event.h"
#include "table/table.h"
#include "write/batch.h"

typedef struct aqw_work {
    aqw_table *table;
    aqw_batch *batch;
    uint64_t now;               /* when the events happen, in Unix seconds */
    aqw_event event;            /* the last one that was tried: after a failure, the one refused */
} aqw_work;

typedef struct aqw_new_task {
    uint8_t task_id[16];
    uint8_t run_id[16];         /* of the first run */
    aqw_bytes spec;             /* encoded (aqw_task_spec_encode) */
    int32_t priority;           /* the spec's */
    uint64_t scheduled_at;
} aqw_new_task;

/* Creates a task with its first run, which is ready at once where its time has come. */
aqw_status aqw_work_add(aqw_work *work, const aqw_new_task *task);

/* A run as a worker holds it. */
typedef struct aqw_held {
    uint8_t run_id[16];
    uint8_t attempt_id[16];
    aqw_bytes owner;
} aqw_held;

/* Takes a ready run that nothing blocks to running, with a lease and an attempt. */
aqw_status aqw_work_claim(aqw_work *work, const aqw_held *held, uint64_t expiry);

/* Returns 1 where the attempt is the run's active one, and the run's lease, if it has one, is the
 * owner's. */
int aqw_work_is_held(const aqw_table *table, const aqw_held *held);

/* Ends the attempt of a run that is held with success, and the run as completed. Output without
 * bytes is none. */
aqw_status aqw_work_complete(aqw_work *work, const aqw_held *held, aqw_bytes output);

#endif
