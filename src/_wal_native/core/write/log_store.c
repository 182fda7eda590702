#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "write/log_store.h"

#include "write/log_check.h"
#include "write/log_internal.h"

/* Waits look again as often: what ends a log knows nothing of these. */
enum { LOOK_NS = 100000000 };

/* Has the thread that ships begin at once. */
static void want(aqw_log *log) {
    aqw_mutex_lock(&log->append_mutex);
    log->ship_is_wanted = 1;
    aqw_log_policy_wake(log);
    aqw_mutex_unlock(&log->append_mutex);
}

static void wake_all(aqw_log *log) {
    aqw_mutex_lock(&log->sync_mutex);
    aqw_condition_wake_all(&log->store_changed);
    aqw_condition_wake_all(&log->sync_ended);
    aqw_log_wake_some(log);
    aqw_mutex_unlock(&log->sync_mutex);
}

void aqw_log_ship_from(aqw_log *log, uint64_t sequence) {
    aqw_mutex_lock(&log->append_mutex);
    AQW_ASSERT(sequence <= log->last_sequence);
    log->begun_sequence = sequence;
    atomic_store(&log->durable, sequence);
    aqw_mutex_unlock(&log->append_mutex);
}

aqw_status aqw_log_ship_begin(aqw_log *log, uint64_t deadline_ns, uint64_t *sequence,
                              aqw_fault *fault) {
    aqw_mutex_lock(&log->append_mutex);
    aqw_log_policy_wait(log, deadline_ns);
    int is_over = log->policy_stop, waits = log->last_sequence > atomic_load(&log->durable);
    log->ship_is_wanted = 0;
    aqw_mutex_unlock(&log->append_mutex);
    if (is_over) return aqw_fault_set(fault, AQW_CLOSED, log->directory);
    if (!waits) return aqw_log_state(log, fault) == AQW_OK ? AQW_END : AQW_POISONED;

    aqw_mutex_lock(&log->drain_mutex);
    aqw_mutex_lock(&log->append_mutex);
    aqw_log_policy_begun(log);
    uint64_t tail = log->tail;
    *sequence = log->last_sequence;
    aqw_mutex_unlock(&log->append_mutex);
    aqw_status status = aqw_log_drain(log, tail, fault);
    aqw_mutex_unlock(&log->drain_mutex);
    if (status != AQW_OK) wake_all(log);
    return status;
}

void aqw_log_ship_end(aqw_log *log, uint64_t sequence) {
    aqw_mutex_lock(&log->append_mutex);
    AQW_ASSERT(sequence <= log->last_sequence);
    if (atomic_load(&log->state) != LOG_CLOSED) {
        if (log->begun_sequence < sequence) aqw_log_policy_begun(log);
        aqw_log_note_durable(log, sequence);
    }
    aqw_mutex_unlock(&log->append_mutex);
    wake_all(log);
}

void aqw_log_ship_fail(aqw_log *log) {
    aqw_fault fault;
    aqw_fault_set(&fault, AQW_CLOSED, log->directory);
    fault.operation = "ship";
    (void)aqw_log_poison(log, &fault);
    wake_all(log);
}

void aqw_log_ship_stop(aqw_log *log) {
    atomic_store(&log->store_is_gone, 1);
    aqw_log_policy_stop(log);
    wake_all(log);
}

aqw_status aqw_log_store_wait(aqw_log *log, uint64_t sequence, uint64_t deadline_ns,
                              aqw_fault *fault) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    if (atomic_load(&log->durable) < sequence) want(log);
    aqw_status status = AQW_OK;
    aqw_mutex_lock(&log->sync_mutex);
    while (atomic_load(&log->durable) < sequence) {
        status = aqw_log_state(log, fault);
        if (status == AQW_OK && atomic_load(&log->store_is_gone))
            status = aqw_fault_set(fault, AQW_CLOSED, log->directory);
        uint64_t now = aqw_monotonic_ns();
        if (status == AQW_OK && now >= deadline_ns) status = AQW_END;
        if (status != AQW_OK) break;
        uint64_t look = deadline_ns < now + LOOK_NS ? deadline_ns : now + LOOK_NS;
        aqw_log_wait_in_row(log, sequence, look);
    }
    aqw_mutex_unlock(&log->sync_mutex);
    return status;
}

aqw_status aqw_log_store_sync(aqw_log *log, uint64_t sequence, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_may_sync(log));
    AQW_ASSERT(aqw_log_is_unlocked(log));
    aqw_status status = AQW_OK;
    if (atomic_load(&log->durable) < sequence) want(log);
    aqw_mutex_lock(&log->sync_mutex);
    while (status == AQW_OK && atomic_load(&log->durable) < sequence &&
           !atomic_load(&log->store_is_gone)) {
        status = aqw_log_state(log, fault);
        if (status == AQW_OK)
            aqw_condition_wait_until(&log->store_changed, &log->sync_mutex,
                                     aqw_monotonic_ns() + LOOK_NS);
    }
    aqw_mutex_unlock(&log->sync_mutex);
    return status;
}

uint64_t aqw_log_moment_after(uint64_t nanoseconds) {
    uint64_t now = aqw_monotonic_ns();
    return nanoseconds < UINT64_MAX - now ? now + nanoseconds : UINT64_MAX;
}

void aqw_log_append_until(aqw_log *log, uint64_t moment_ns) {
    atomic_store(&log->append_until_ns, moment_ns);
    wake_all(log);
}

int aqw_log_store_holds(const aqw_log *log) {
    uint64_t until = atomic_load_explicit(&log->append_until_ns, memory_order_relaxed);
    return until != 0 && aqw_monotonic_ns() > until;
}

aqw_status aqw_log_store_hold(aqw_log *log, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    uint64_t until = aqw_monotonic_ns() + LOOK_NS;
    aqw_status status = AQW_OK;
    aqw_mutex_lock(&log->sync_mutex);
    while (status == AQW_OK && aqw_log_store_holds(log) && aqw_monotonic_ns() < until) {
        status = aqw_log_state(log, fault);
        if (status == AQW_OK && atomic_load(&log->store_is_gone))
            status = aqw_fault_set(fault, AQW_CLOSED, log->directory);
        if (status == AQW_OK)
            aqw_condition_wait_until(&log->store_changed, &log->sync_mutex, until);
    }
    aqw_mutex_unlock(&log->sync_mutex);
    return status;
}
