/* The thread that syncs by the policy.
 *
 * It waits with the append lock, which covers all that it looks at, and holds no lock while it
 * syncs. So that an append costs no more than two comparisons, the log keeps the sequence and the
 * position whose append has to wake the thread. That append puts them out of reach, and the next
 * look, or the next sync that begins, sets them again. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "write/log_check.h"
#include "write/log_internal.h"

static uint64_t add_to_limit(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t byte_bound(const aqw_sync_policy *policy, uint64_t ring_size) {
    uint64_t bound = policy->bytes != 0 ? policy->bytes : UINT64_MAX;
    /* Every sync empties the ring. So the event that finds it full is the one that reaches this,
     * and what goes past it counts too. */
    return policy->when_ring_fills && ring_size < bound ? ring_size : bound;
}

int aqw_sync_policy_acts(const aqw_sync_policy *policy) {
    return policy->records != 0 || policy->bytes != 0 || policy->delay_ns != 0 ||
           policy->when_ring_fills;
}

uint64_t aqw_sync_policy_due(const aqw_sync_policy *policy, const aqw_sync_backlog *backlog) {
    if (backlog->records == 0) return AQW_SYNC_NEVER;
    if (policy->records != 0 && backlog->records >= policy->records) return 0;
    if (backlog->bytes >= byte_bound(policy, backlog->ring_size)) return 0;
    return policy->delay_ns == 0 ? AQW_SYNC_NEVER
                                 : add_to_limit(backlog->since_ns, policy->delay_ns);
}

/* Says which append has to wake the thread. Under the append lock. */
static void arm(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    const aqw_sync_policy *policy = &log->options.sync;
    uint64_t records = policy->records != 0 ? policy->records : UINT64_MAX;
    /* While it waits for no time, the thread must hear of the first event, whose time it takes. */
    if (policy->delay_ns != 0 && !log->policy_has_deadline) records = 1;
    log->wake_sequence = add_to_limit(log->begun_sequence, records);
    log->wake_tail = add_to_limit(log->begun_tail, byte_bound(policy, log->ring.size));
}

void aqw_log_policy_begun(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    if (!log->policy_acts) return;
    log->begun_sequence = log->last_sequence;
    log->begun_tail = log->tail;
    log->backlog_since_ns = aqw_monotonic_ns();
    arm(log);
}

void aqw_log_policy_wake(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    log->wake_sequence = log->wake_tail = UINT64_MAX;
    aqw_condition_wake_one(&log->policy_changed);
}

/* Under the append lock, as the next. */
static aqw_sync_backlog backlog_of(aqw_log *log) {
    aqw_sync_backlog backlog;
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    backlog.records = log->last_sequence - log->begun_sequence;
    backlog.bytes = log->tail - log->begun_tail;
    backlog.since_ns = log->backlog_since_ns;
    backlog.ring_size = log->ring.size;
    return backlog;
}

void aqw_log_policy_wait(aqw_log *log, uint64_t deadline_ns) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    while (!log->policy_stop && !log->ship_is_wanted) {
        aqw_sync_backlog backlog = backlog_of(log);
        uint64_t due = aqw_sync_policy_due(&log->options.sync, &backlog);
        log->policy_has_deadline = due != AQW_SYNC_NEVER;
        if (deadline_ns < due) due = deadline_ns;
        if (due == 0 || (due != AQW_SYNC_NEVER && due <= aqw_monotonic_ns())) break;
        arm(log);
        if (due != AQW_SYNC_NEVER)
            aqw_condition_wait_until(&log->policy_changed, &log->append_mutex, due);
        else aqw_condition_wait(&log->policy_changed, &log->append_mutex);
        /* Nothing was there before; what came has just come. */
        if (backlog.records == 0) log->backlog_since_ns = aqw_monotonic_ns();
    }
    log->policy_has_deadline = 0;
}

/* Returns 1 where the sync succeeded. The next call returns a failure that no call has returned
 * yet, at the latest the one that closes. */
static int sync_backlog(aqw_log *log) {
    aqw_fault fault;
    AQW_ASSERT(aqw_log_is_unlocked(log));
    atomic_store(&log->failure_is_untold, 1);
    aqw_status status = aqw_log_sync(log, UINT64_MAX, &fault);
    /* The failure was another caller's sync, which has returned it; the look at the state that
     * found it has noted that. */
    if (status == AQW_OK) atomic_store(&log->failure_is_untold, 0);
    return status == AQW_OK;
}

static void *policy_run(void *argument) {
    aqw_log *log = argument;
    aqw_mutex_lock(&log->append_mutex);
    for (;;) {
        aqw_log_policy_wait(log, AQW_SYNC_NEVER);
        if (log->policy_stop) break;
        aqw_mutex_unlock(&log->append_mutex);
        int is_well = sync_backlog(log);
        aqw_mutex_lock(&log->append_mutex);
        if (!is_well) break;
    }
    aqw_mutex_unlock(&log->append_mutex);
    return NULL;
}

int aqw_log_policy_start(aqw_log *log) {
    log->begun_sequence = log->last_sequence;
    log->begun_tail = log->tail;
    log->backlog_since_ns = aqw_monotonic_ns();
    log->wake_sequence = log->wake_tail = UINT64_MAX;
    log->policy_acts = log->options.has_store;  /* what ships to it does the thread's work */
    if (log->policy_acts || !aqw_sync_policy_acts(&log->options.sync)) return 0;
    int error = aqw_thread_start(&log->policy_thread, policy_run, log);
    aqw_mutex_lock(&log->append_mutex);
    log->policy_thread_runs = log->policy_acts = error == 0;
    aqw_mutex_unlock(&log->append_mutex);
    return error;
}

void aqw_log_policy_stop(aqw_log *log) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    aqw_mutex_lock(&log->append_mutex);
    int joins = log->policy_thread_runs && !log->policy_stop;
    log->policy_stop = 1;
    aqw_condition_wake_one(&log->policy_changed);
    aqw_mutex_unlock(&log->append_mutex);
    if (joins) aqw_thread_join(log->policy_thread);
}
