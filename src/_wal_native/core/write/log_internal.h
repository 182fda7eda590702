/* The inside of a log, for log.c, log_sync.c and log_rotate.c. */
#ifndef AQW_LOG_INTERNAL_H
#define AQW_LOG_INTERNAL_H

#include <stdatomic.h>

#include "base/limits.h"
#include "os/thread.h"
#include "write/log.h"

enum { LOG_OPEN, LOG_POISONED, LOG_CLOSED };

struct aqw_log {
    aqw_io io;
    aqw_log_options options;
    uint64_t opened_ns;         /* on the monotonic clock: the moment of options.now */
    char directory[AQW_PATH_SIZE_MAX];
    aqw_lock lock;              /* let go under the drain and append locks */
    /* data: written under the append lock; slots: by the syncing thread */
    aqw_ring ring;
    int ring_is_mapped;         /* never changes */
    uint8_t *chunk;             /* ring.size bytes, for draining; under the drain lock */

    aqw_mutex append_mutex;
    aqw_segment_header segment; /* changed with all three locks held, so read under any */
    int64_t segment_handle;     /* likewise */
    char segment_path[AQW_PATH_SIZE_MAX + 64];  /* likewise */
    uint64_t tail;              /* under the append lock, as are the next six */
    uint32_t ordinal;
    uint64_t last_sequence;
    int ends_with_marker;
    int prepare_is_requested;
    int drain_is_requested;
    uint64_t ring_used_max;

    /* waited for with the append lock, which covers what follows, except the last */
    aqw_condition policy_changed;
    aqw_thread policy_thread;
    int policy_thread_runs;
    int policy_acts;            /* that thread runs, or there is a store */
    int policy_stop;
    int ship_is_wanted;         /* a caller waits for the store */
    int policy_has_deadline;    /* the thread waits for a time */
    uint64_t begun_sequence;    /* a sync has begun that covers the events up to this one, */
    uint64_t begun_tail;        /* which end here */
    uint64_t backlog_since_ns;  /* the events after it are no older */
    uint64_t wake_sequence;     /* the append that reaches one of these wakes the thread */
    uint64_t wake_tail;
    _Atomic int drain_failure_is_untold;    /* as below, of a drain ahead */
    /* the thread's sync failed, or is under way, and no call has returned a failure */
    _Atomic int failure_is_untold;

    aqw_mutex drain_mutex;
    /* the segment file holds every byte below; raised under the drain lock */
    _Atomic uint64_t drained;

    aqw_mutex sync_mutex;
    /* under the sync lock, as are those up to `durable`; the right to sync */
    int sync_in_flight;
    struct aqw_sync_waiter *first_waiter, *last_waiter;
    aqw_condition sync_ended;   /* for the few that wait in no row */
    uint32_t others_waiting;
#if !defined(NDEBUG)
    _Atomic uint64_t syncing_thread;    /* the number of the thread with that right, or 0 */
#endif
    aqw_condition gathered;     /* the leader waits for it, for callers expected back */
    uint32_t expected_back;     /* callers that the last sync covered, */
    uint32_t came_back;         /* and how many have come since */
    uint32_t gather_rests;      /* this number of syncs gather no callers, after it was in vain; */
    uint32_t gather_rest;       /* the next time that it is in vain, this number */
    uint64_t last_sync_ns;
    _Atomic uint64_t durable;   /* raised with that right; with a store, by what ships to it */
    /* of a log with a store */
    aqw_condition store_changed;        /* waited for with the sync lock */
    _Atomic int store_is_gone;  /* nothing ships to it any more */
    _Atomic uint64_t append_until_ns;   /* appends wait after this moment; 0: at none */

    aqw_mutex prepare_mutex;
    aqw_condition prepare_changed;
    aqw_thread prepare_thread;  /* the members below are under the prepare lock */
    int prepare_thread_runs;
    int prepare_stop;
    int drain_is_wanted;
    uint64_t prepare_wanted;    /* file size to prepare, 0: none */
    int prepare_is_busy;
    int prepare_is_ready;
    aqw_prepared prepared;

    _Atomic int is_frugal;
    _Atomic int is_short;
    _Atomic int state;
    int is_abandoned;           /* set in a forked child only, which has one thread */
    aqw_mutex poison_mutex;
    aqw_fault poison;

    _Atomic uint64_t appended_records, appended_bytes, taken_bytes, drains, drained_bytes,
        rotations;
    _Atomic uint64_t syncs, sync_ns_total, sync_ns_max, sync_groups, sync_events_total,
        sync_events_max;
    _Atomic uint64_t sync_ns_histogram[AQW_SYNC_HISTOGRAM_SIZE];
    _Atomic uint64_t sync_events_histogram[AQW_GROUP_HISTOGRAM_SIZE];
    _Atomic uint64_t stalls, stall_ns_total, stall_ns_max;
};

/* Bytes that every segment keeps free after its records: a pad and the close marker. */
uint64_t aqw_log_reserve(const aqw_log *log);

/* Stores the first failure and closes the log to everything but aqw_log_close. Returns
 * AQW_POISONED. */
aqw_status aqw_log_poison(aqw_log *log, const aqw_fault *fault);

/* Returns AQW_OK, or poisons the log where another process has cut its ring short. Under one of the
 * three locks, as the next. */
aqw_status aqw_log_check_ring(aqw_log *log, int has_append_lock, aqw_fault *fault);
/* Poisons the log because its ring was cut. */
aqw_status aqw_log_lose_ring(aqw_log *log, aqw_fault *fault);

/* Returns 1 where something is not in the segment's file yet, or not durable. Under the
 * drain and append locks. */
int aqw_log_needs_sync(aqw_log *log);

/* Writes the ring's bytes up to `tail` into the segment. Under the drain lock. */
aqw_status aqw_log_drain(aqw_log *log, uint64_t tail, aqw_fault *fault);

/* The same for a log that the caller knows to be open, and which must not return
 * another call's failure. */
aqw_status aqw_log_drain_open(aqw_log *log, uint64_t tail, aqw_fault *fault);

/* Takes the right to sync: waits for a sync in flight to end. Under no lock. */
void aqw_log_sync_acquire(aqw_log *log);
void aqw_log_sync_release(aqw_log *log);
/* Makes one sync of everything appended so far. With the right to sync, under no lock. */
aqw_status aqw_log_sync_once(aqw_log *log, aqw_fault *fault);
/* The segment is durable up to this sequence: raises the durable sequence and the ring's slot. With
 * the right to sync. */
void aqw_log_note_durable(aqw_log *log, uint64_t sequence);

/* Starts the policy's thread, if there is a policy; 0 or an errno value. */
int aqw_log_policy_start(aqw_log *log);
/* Ends and joins it. Under no lock. */
void aqw_log_policy_stop(aqw_log *log);
/* Has the thread look for work. Under the append lock, as the next. */
void aqw_log_policy_wake(aqw_log *log);
/* A sync begins that covers everything appended so far. */
void aqw_log_policy_begun(aqw_log *log);

/* Waits in the row of those that wait for a sync, until it is this caller's turn, or until the
 * deadline. Under the sync lock. */
void aqw_log_wait_in_row(aqw_log *log, uint64_t sequence, uint64_t deadline_ns);
/* Wakes the next of the waiters that have nothing more to wait for. Under the sync lock. */
void aqw_log_wake_some(aqw_log *log);

/* Waits until a sync by the policy is due, a caller wants one, the end, or the deadline. Under the
 * append lock. */
void aqw_log_policy_wait(aqw_log *log, uint64_t deadline_ns);

/* Waits for the store to have every event up to the sequence: AQW_END at the deadline. */
aqw_status aqw_log_store_wait(aqw_log *log, uint64_t sequence, uint64_t deadline_ns,
                              aqw_fault *fault);
/* Returns when the store has every event up to the sequence, or is gone: what a sync is to a log
 * with a store. Under no lock. */
aqw_status aqw_log_store_sync(aqw_log *log, uint64_t sequence, aqw_fault *fault);

/* Adds to a counter that other threads only read, without the cost of an atomic addition.
 * Under the append lock. */
void aqw_log_count(aqw_log *log, _Atomic uint64_t *counter, uint64_t more);
/* Raises a counter that holds a greatest value. */
void aqw_log_raise(_Atomic uint64_t *greatest, uint64_t value);

/* The log's thread drains a ring of at least this size when it is half full. A smaller one is full
 * again before the thread runs. */
#define AQW_LOG_DRAIN_AHEAD_RING_SIZE_MIN (512u * 1024u)

/* Goes on in a new segment with room for `needed` bytes. Under no lock. */
aqw_status aqw_log_rotate(aqw_log *log, uint64_t needed, aqw_fault *fault);
/* Asks for the successor of the current segment to be prepared. Under the append lock. */
void aqw_log_prepare_request(aqw_log *log);
/* Asks for the ring to be drained. Under the append lock. */
void aqw_log_drain_request(aqw_log *log);
/* Stops the preparing thread and removes what it prepared. Under no lock. */
void aqw_log_prepare_stop(aqw_log *log);

#endif
