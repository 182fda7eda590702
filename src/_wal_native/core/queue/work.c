#include "queue/work.h"

#include <string.h>

/* Begins the next event. */
static aqw_event *begin(aqw_work *work, uint8_t kind) {
    aqw_event *event = &work->event;
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->sequence = aqw_table_latest_sequence(work->table) + 1;
    event->timestamp = work->now;
    return event;
}

/* Encodes the event after those of the batch, and applies it. */
static aqw_status put(aqw_work *work) {
    if (work->event.sequence == 0) return AQW_REFUSED_SEQUENCE;     /* the last one is taken */
    aqw_status status = aqw_batch_add_own(work->batch, &work->event);
    return status == AQW_OK ? aqw_table_apply(work->table, &work->event) : status;
}

static aqw_status change_state(aqw_work *work, const uint8_t run_id[16], uint8_t from, uint8_t to) {
    aqw_event *event = begin(work, AQW_RUN_STATE_CHANGED);
    memcpy(event->as.run_state_changed.run_id, run_id, 16);
    event->as.run_state_changed.previous_state = from;
    event->as.run_state_changed.new_state = to;
    return put(work);
}

static aqw_status create_task(aqw_work *work, const aqw_new_task *task) {
    aqw_event *event = begin(work, AQW_TASK_CREATED);
    memcpy(event->as.task_created.task_id, task->task_id, 16);
    event->as.task_created.spec = task->spec;
    event->spec_is_valid = 1;
    return put(work);
}

static aqw_status create_run(aqw_work *work, const aqw_new_task *task) {
    aqw_event *event = begin(work, AQW_RUN_CREATED);
    event->timestamp = 0;               /* this kind has its time as a field */
    memcpy(event->as.run_created.run_id, task->run_id, 16);
    memcpy(event->as.run_created.task_id, task->task_id, 16);
    event->as.run_created.created_at = work->now;
    event->as.run_created.scheduled_at = task->scheduled_at;
    event->as.run_created.effective_priority = task->priority;
    return put(work);
}

aqw_status aqw_work_add(aqw_work *work, const aqw_new_task *task) {
    aqw_status status = create_task(work, task);
    if (status == AQW_OK) status = create_run(work, task);
    if (status != AQW_OK || task->scheduled_at > work->now) return status;
    return change_state(work, task->run_id, AQW_SCHEDULED, AQW_READY);
}

static aqw_status acquire_lease(aqw_work *work, const aqw_held *held, uint64_t expiry) {
    aqw_event *event = begin(work, AQW_LEASE_ACQUIRED);
    memcpy(event->as.lease.run_id, held->run_id, 16);
    event->as.lease.owner = held->owner;
    event->as.lease.expiry = expiry;
    return put(work);
}

static aqw_status start_attempt(aqw_work *work, const aqw_held *held) {
    aqw_event *event = begin(work, AQW_ATTEMPT_STARTED);
    memcpy(event->as.attempt_started.run_id, held->run_id, 16);
    memcpy(event->as.attempt_started.attempt_id, held->attempt_id, 16);
    return put(work);
}

aqw_status aqw_work_claim(aqw_work *work, const aqw_held *held, uint64_t expiry) {
    aqw_status status = change_state(work, held->run_id, AQW_READY, AQW_LEASED);
    if (status == AQW_OK) status = acquire_lease(work, held, expiry);
    if (status == AQW_OK) status = change_state(work, held->run_id, AQW_LEASED, AQW_RUNNING);
    return status == AQW_OK ? start_attempt(work, held) : status;
}

int aqw_work_is_held(const aqw_table *table, const aqw_held *held) {
    uint32_t row = aqw_table_find_run(table, held->run_id);
    const uint8_t *active = row ? aqw_table_run_active_attempt(table, row) : NULL;
    if (!active || memcmp(active, held->attempt_id, 16) != 0) return 0;
    aqw_lease_view lease;
    if (!aqw_table_run_lease(table, row, &lease)) return 1;
    return lease.owner.size == held->owner.size &&
           memcmp(lease.owner.data, held->owner.data, lease.owner.size) == 0;
}

aqw_status aqw_work_complete(aqw_work *work, const aqw_held *held, aqw_bytes output) {
    aqw_event *event = begin(work, AQW_ATTEMPT_FINISHED);
    memcpy(event->as.attempt_finished.run_id, held->run_id, 16);
    memcpy(event->as.attempt_finished.attempt_id, held->attempt_id, 16);
    event->as.attempt_finished.result = AQW_SUCCESS;
    if (output.size > 0) event->as.attempt_finished.detail = output;
    aqw_status status = put(work);
    if (status != AQW_OK) return status;
    return change_state(work, held->run_id, AQW_RUNNING, AQW_COMPLETED);
}
