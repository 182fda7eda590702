/* Prepares segments and goes on in the next one; and the thread that prepares them, which also
 * drains a ring that fills, so that appends need not wait for either. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "files/format.h"
#include "write/log_check.h"
#include "write/log_internal.h"

/* Writes what the ring has to the segment. */
static void drain_ahead(aqw_log *log) {
    aqw_fault fault;
    aqw_mutex_lock(&log->drain_mutex);
    aqw_mutex_lock(&log->append_mutex);
    uint64_t tail = log->tail;
    log->drain_is_requested = 0;
    aqw_mutex_unlock(&log->append_mutex);
    /* First the note, as of a sync by the policy: the call that returns the failure
     * takes it away. */
    if (atomic_load(&log->state) == LOG_OPEN) {
        atomic_store(&log->drain_failure_is_untold, 1);
        if (aqw_log_drain_open(log, tail, &fault) == AQW_OK)
            atomic_store(&log->drain_failure_is_untold, 0);
    }
    aqw_mutex_unlock(&log->drain_mutex);
}

aqw_status aqw_log_check_place(aqw_log *log, aqw_fault *fault) {
    aqw_mutex_lock(&log->drain_mutex);      /* keeps the lock from being let go meanwhile */
    aqw_status status = log->lock.file < 0
                            ? aqw_fault_set(fault, AQW_CLOSED, log->directory)
                            : aqw_directory_check_held(&log->io, log->directory, &log->lock, fault);
    aqw_mutex_unlock(&log->drain_mutex);
    return status;
}

/* Another directory in the place of wal/ would get the next segment. What else stands there can't.
 * Under the drain lock. */
static aqw_status check_folder(aqw_log *log, aqw_fault *fault) {
    char wal[AQW_PATH_SIZE_MAX + 8];
    AQW_ASSERT(aqw_mutex_is_held(&log->drain_mutex));
    if (log->lock.folder < 0 || aqw_path_join(wal, sizeof wal, log->directory, "wal") != AQW_OK)
        return AQW_OK;
    int error = log->io.check_same(log->io.context, log->lock.folder, wal);
    if (error == 0 || error == ENOENT || error == ENOTDIR || error == ELOOP) return AQW_OK;
    if (error != ESTALE) return aqw_fault_io(fault, "check", wal, error);
    return log->io.check_directory(log->io.context, wal) == 0
               ? aqw_fault_set(fault, AQW_DISPLACED, log->directory)
               : AQW_OK;
}

/* In the log's own directory, and not in one that has taken its place. */
static aqw_status prepare(aqw_log *log, uint64_t file_size, aqw_prepared *prepared,
                          aqw_fault *fault) {
    aqw_status status = aqw_log_check_place(log, fault);
    return status == AQW_OK
               ? aqw_segment_prepare(&log->io, log->directory, file_size, prepared, fault)
               : status;
}

static void *prepare_run(void *argument) {
    aqw_log *log = argument;
    aqw_mutex_lock(&log->prepare_mutex);
    for (;;) {
        while (!log->prepare_stop && log->prepare_wanted == 0 && !log->drain_is_wanted)
            aqw_condition_wait(&log->prepare_changed, &log->prepare_mutex);
        if (log->prepare_stop) break;
        if (log->drain_is_wanted) {
            log->drain_is_wanted = 0;
            aqw_mutex_unlock(&log->prepare_mutex);
            drain_ahead(log);
            aqw_mutex_lock(&log->prepare_mutex);
            continue;
        }
        uint64_t file_size = log->prepare_wanted;
        log->prepare_wanted = 0;
        if (log->prepare_is_ready) continue;
        log->prepare_is_busy = 1;
        aqw_mutex_unlock(&log->prepare_mutex);
        aqw_prepared prepared;
        aqw_fault fault;
        aqw_status status = prepare(log, file_size, &prepared, &fault);
        aqw_mutex_lock(&log->prepare_mutex);
        log->prepare_is_busy = 0;
        /* The append that needs the segment meets a failure again, and reports it. */
        if (status == AQW_OK) {
            log->prepared = prepared;
            log->prepare_is_ready = 1;
        }
        aqw_condition_wake_all(&log->prepare_changed);
    }
    aqw_mutex_unlock(&log->prepare_mutex);
    return NULL;
}

/* Has the thread look for work. Under the prepare lock. Without a thread the append that
 * needs the work does it. */
static void wake_thread(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->prepare_mutex));
    if (!log->prepare_thread_runs)
        log->prepare_thread_runs = aqw_thread_start(&log->prepare_thread, prepare_run, log) == 0;
    aqw_condition_wake_all(&log->prepare_changed);
}

void aqw_log_prepare_request(aqw_log *log) {
    uint64_t file_size = 0;
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    log->prepare_is_requested = 1;
    if (aqw_segment_size_next(log->segment.file_size, 0, log->options.segment_size_max,
                              &file_size) != AQW_OK)
        return;
    aqw_mutex_lock(&log->prepare_mutex);
    if (!log->prepare_stop) {
        log->prepare_wanted = file_size;
        wake_thread(log);
    }
    aqw_mutex_unlock(&log->prepare_mutex);
}

void aqw_log_drain_request(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    log->drain_is_requested = 1;
    aqw_mutex_lock(&log->prepare_mutex);
    if (!log->prepare_stop) {
        log->drain_is_wanted = 1;
        wake_thread(log);
    }
    aqw_mutex_unlock(&log->prepare_mutex);
}

void aqw_log_prepare_stop(aqw_log *log) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    aqw_mutex_lock(&log->prepare_mutex);
    int joins = log->prepare_thread_runs && !log->prepare_stop;
    log->prepare_stop = 1;
    aqw_condition_wake_all(&log->prepare_changed);
    aqw_mutex_unlock(&log->prepare_mutex);
    if (joins) aqw_thread_join(log->prepare_thread);
    aqw_mutex_lock(&log->prepare_mutex);
    if (log->prepare_is_ready) aqw_segment_discard(&log->io, &log->prepared);
    log->prepare_is_ready = 0;
    aqw_mutex_unlock(&log->prepare_mutex);
}

/* Takes a prepared file of at least this size: the one made in the background if it
 * fits, else a new one. */
static aqw_status prepare_take(aqw_log *log, uint64_t file_size, aqw_prepared *prepared,
                               aqw_fault *fault) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    aqw_mutex_lock(&log->prepare_mutex);
    while (log->prepare_is_busy) aqw_condition_wait(&log->prepare_changed, &log->prepare_mutex);
    log->prepare_wanted = 0;
    int is_ready = log->prepare_is_ready;
    if (is_ready) *prepared = log->prepared;
    log->prepare_is_ready = 0;
    aqw_mutex_unlock(&log->prepare_mutex);
    if (is_ready && prepared->file_size >= file_size) return AQW_OK;
    if (is_ready) aqw_segment_discard(&log->io, prepared);
    return prepare(log, file_size, prepared, fault);
}

/* Publishes the prepared file as the successor and goes on in it. With all three locks, where
 * everything is durable. */
static aqw_status switch_segment(aqw_log *log, aqw_prepared *prepared, uint64_t salt,
                                 aqw_fault *fault) {
    int is_named = 0;
    AQW_ASSERT(aqw_log_is_held_whole(log));
    AQW_ASSERT(!aqw_log_needs_sync(log));
    aqw_segment_header next = log->segment;
    next.place.segment_number++;
    next.place.salt = salt;
    next.place.first_sequence = log->last_sequence + 1;
    next.file_size = prepared->file_size;
    next.watermark = log->last_sequence;
    next.link_number = log->segment.place.segment_number;
    next.link_salt = log->segment.place.salt;
    next.link_end = log->tail;
    next.link_last_sequence = log->last_sequence;
    next.created_at = log->options.now + (aqw_monotonic_ns() - log->opened_ns) / 1000000000u;
    aqw_place_seed(&next.place);
    aqw_status status = aqw_directory_check_held(&log->io, log->directory, &log->lock, fault);
    if (status == AQW_OK) status = check_folder(log, fault);
    if (status != AQW_OK) {
        aqw_segment_discard(&log->io, prepared);
        return status;
    }
    status = aqw_segment_publish(&log->io, log->directory, prepared, &next, &is_named, fault);
    if (status != AQW_OK && !is_named) return status;
    if (status != AQW_OK) {
        /* With the name out, the old segment's end is said; only a reopening can tell
         * whether the name lasts. */
        (void)log->io.close(log->io.context, prepared->handle);
        return aqw_log_poison(log, fault);
    }
    (void)log->io.close(log->io.context, log->segment_handle);
    aqw_log_count(log, &log->taken_bytes, log->segment.file_size - log->tail + AQW_SEGMENT_DATA);
    aqw_ring_set_segment(&log->io, &log->ring, next.place.segment_number);
    log->segment = next;
    log->segment_handle = prepared->handle;
    (void)aqw_segment_path(log->segment_path, sizeof log->segment_path, log->directory,
                           next.place.segment_number, next.place.first_sequence);
    log->tail = AQW_SEGMENT_DATA;
    log->ordinal = 0;
    log->ends_with_marker = 0;
    log->prepare_is_requested = 0;
    aqw_log_policy_begun(log);
    atomic_store(&log->drained, AQW_SEGMENT_DATA);
    atomic_fetch_add_explicit(&log->rotations, 1, memory_order_relaxed);
    AQW_ASSERT(aqw_log_check(log));
    return AQW_OK;
}

/* Under the right to sync, so that the sync and the switch see the same end. */
static aqw_status rotate_synced(aqw_log *log, aqw_prepared *prepared, uint64_t salt,
                                aqw_fault *fault) {
    AQW_ASSERT(aqw_log_may_sync(log));
    aqw_status status = aqw_log_sync_once(log, fault);
    aqw_mutex_lock(&log->drain_mutex);
    aqw_mutex_lock(&log->append_mutex);
    while (status == AQW_OK && aqw_log_needs_sync(log)) {
        /* Another thread appended in between. */
        aqw_mutex_unlock(&log->append_mutex);
        aqw_mutex_unlock(&log->drain_mutex);
        status = aqw_log_sync_once(log, fault);
        aqw_mutex_lock(&log->drain_mutex);
        aqw_mutex_lock(&log->append_mutex);
    }
    if (status == AQW_OK) status = switch_segment(log, prepared, salt, fault);
    else aqw_segment_discard(&log->io, prepared);
    aqw_mutex_unlock(&log->append_mutex);
    aqw_mutex_unlock(&log->drain_mutex);
    return status;
}

void aqw_log_set_frugal(aqw_log *log, int is_frugal) { atomic_store(&log->is_frugal, is_frugal); }

int aqw_log_is_short(const aqw_log *log) { return atomic_load(&log->is_short); }

static aqw_status rotate(aqw_log *log, uint64_t needed, aqw_fault *fault) {
    aqw_prepared prepared;
    uint8_t salt[8];
    uint64_t file_size = 0;
    aqw_mutex_lock(&log->append_mutex);
    uint64_t end = log->segment.file_size, number = log->segment.place.segment_number;
    aqw_mutex_unlock(&log->append_mutex);
    if (aqw_segment_size_next(end, needed + aqw_log_reserve(log), log->options.segment_size_max,
                              &file_size) != AQW_OK)
        return aqw_fault_set(fault, AQW_TOO_LARGE, log->directory);
    int error = log->io.random(log->io.context, salt, sizeof salt);
    if (error != 0) return aqw_fault_io(fault, "random", log->directory, error);
    aqw_status status = prepare_take(log, file_size, &prepared, fault);
    int is_frugal = atomic_load(&log->is_frugal);
    if (status == AQW_NO_SPACE) atomic_store(&log->is_short, 1);
    else if (status == AQW_OK && !is_frugal) atomic_store(&log->is_short, 0);
    if (status == AQW_NO_SPACE && is_frugal)
        status = prepare(log, aqw_segment_size_least(needed + aqw_log_reserve(log)), &prepared,
                         fault);
    if (status != AQW_OK) return status;

    aqw_log_sync_acquire(log);
    status = aqw_log_state(log, fault);
    if (status != AQW_OK || log->segment.place.segment_number != number) {
        /* Closed, poisoned, or another thread has rotated: the caller looks again. */
        aqw_segment_discard(&log->io, &prepared);
    } else {
        status = rotate_synced(log, &prepared, aqw_load_u64(salt), fault);
    }
    aqw_log_sync_release(log);
    return status;
}

/* A log ends with a directory that is not its own any more: what it could still acknowledge would
 * lie where no reader looks for it. */
aqw_status aqw_log_rotate(aqw_log *log, uint64_t needed, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    aqw_status status = rotate(log, needed, fault);
    return status == AQW_DISPLACED ? aqw_log_poison(log, fault) : status;
}
