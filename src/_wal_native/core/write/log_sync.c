/* Draining and syncing.
 *
 * A caller that wants an event durable and finds no sync under way leads one, which covers
 * everything appended so far; the others wait in a row. When a sync ends, it wakes the first
 * waiter that it has not covered, to lead the next, and then the waiters that it has covered,
 * each of which wakes another. The right to sync is not handed on: the first thread that runs
 * takes it, because its sync serves the whole row. Before it begins, it waits for callers that
 * are about to come (gather). */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include <errno.h>
#include <string.h>

#include "files/format.h"
#include "write/log_check.h"
#include "write/log_internal.h"

/* Chunks from this size on go to writeback early, so that a later sync finds little to do. */
enum { WRITEBACK_SIZE_MIN = 65536 };

/* How many waiters one thread wakes when it goes. With more, each would be awake sooner, and then
 * sleep again in front of the interpreter's lock. */
enum { WAKES = 1 };

/* How long the leader of a sync waits for the callers that the last one covered, and how many syncs
 * at most go without that wait after it was in vain. */
enum { GATHER_NS_MAX = 2000000, GATHER_REST_MAX = 255 };

/* Returns 1 where the chunk holds valid records only, up to its end. Memory under a mapped file
 * can change while the log uses it: a page whose writeback failed may come back as zeros.
 * Under the drain lock. */
static int chunk_is_whole(aqw_log *log, const uint8_t *chunk, uint64_t position, uint64_t size) {
    AQW_ASSERT(aqw_mutex_is_held(&log->drain_mutex));
    aqw_record record;
    uint64_t at = 0;
    while (at < size && aqw_record_read(chunk + at, (size_t)(size - at), &log->segment.place,
                                        position + at, &record))
        at += record.size;
    return at == size;
}

aqw_status aqw_log_check_ring(aqw_log *log, int has_append_lock, aqw_fault *fault) {
    AQW_ASSERT(!has_append_lock || aqw_mutex_is_held(&log->append_mutex));
    AQW_ASSERT(aqw_log_segment_is_held(log));
    return aqw_ring_is_lost(&log->ring, has_append_lock) ? aqw_log_lose_ring(log, fault) : AQW_OK;
}

aqw_status aqw_log_lose_ring(aqw_log *log, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_segment_is_held(log));
    aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, log->directory,
                      log->segment.place.segment_number, atomic_load(&log->drained));
    fault->operation = "verify the ring";
    return aqw_log_poison(log, fault);
}

aqw_status aqw_log_drain(aqw_log *log, uint64_t tail, aqw_fault *fault) {
    AQW_ASSERT(aqw_mutex_is_held(&log->drain_mutex));
    aqw_status status = aqw_log_state(log, fault);
    return status == AQW_OK ? aqw_log_drain_open(log, tail, fault) : status;
}

aqw_status aqw_log_drain_open(aqw_log *log, uint64_t tail, aqw_fault *fault) {
    AQW_ASSERT(aqw_mutex_is_held(&log->drain_mutex));
    uint64_t from = atomic_load(&log->drained);
    if (from >= tail) return AQW_OK;
    uint64_t size = tail - from;
    AQW_ASSERT(size <= log->ring.size && tail <= log->segment.file_size);
    aqw_ring_get(&log->ring, from, log->chunk, size);
    aqw_status status = aqw_log_check_ring(log, 0, fault);
    if (status != AQW_OK) return status;
    if (!chunk_is_whole(log, log->chunk, from, size)) {
        aqw_fault_corrupt(fault, AQW_REASON_RECORD_INVALID, log->directory,
                          log->segment.place.segment_number, from);
        fault->operation = "verify the ring";
        return aqw_log_poison(log, fault);
    }
    int error = aqw_io_write_all(&log->io, log->segment_handle, from, log->chunk, (size_t)size);
    if (error != 0) {
        aqw_fault_io(fault, "write", log->segment_path, error);
        return aqw_log_poison(log, fault);
    }
    if (size >= WRITEBACK_SIZE_MIN)
        (void)log->io.writeback(log->io.context, log->segment_handle, from, size);
    atomic_store(&log->drained, tail);
    atomic_fetch_add_explicit(&log->drains, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->drained_bytes, size, memory_order_relaxed);
    return AQW_OK;
}

/* A thread that waits for its event to be durable, on that thread's stack; linked in the
 * order of the sequences. */
typedef struct aqw_sync_waiter {
    struct aqw_sync_waiter *previous, *next;
    uint64_t sequence;
    int is_woken;
    aqw_condition woken;
} aqw_sync_waiter;

#if !defined(NDEBUG)
/* Checks that the row is in order, and that its links lead back the way they came.
 * Under the sync lock. */
static void check_row(aqw_log *log) {
    const aqw_sync_waiter *before = NULL;
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    for (const aqw_sync_waiter *at = log->first_waiter; at != NULL; before = at, at = at->next)
        AQW_ASSERT(at->previous == before && (before == NULL || before->sequence <= at->sequence));
    AQW_ASSERT(log->last_waiter == before);
}
#endif

/* Under the sync lock, as the next. */
static void enter_row(aqw_log *log, aqw_sync_waiter *waiter) {
    AQW_DEBUG(check_row(log));
    aqw_sync_waiter *before = log->last_waiter;
    while (before != NULL && before->sequence > waiter->sequence) before = before->previous;
    aqw_sync_waiter *behind = before != NULL ? before->next : log->first_waiter;
    waiter->previous = before;
    waiter->next = behind;
    *(before != NULL ? &before->next : &log->first_waiter) = waiter;
    *(behind != NULL ? &behind->previous : &log->last_waiter) = waiter;
    AQW_DEBUG(check_row(log));
}

static void leave_row(aqw_log *log, aqw_sync_waiter *waiter) {
    AQW_DEBUG(check_row(log));
    *(waiter->previous != NULL ? &waiter->previous->next : &log->first_waiter) = waiter->next;
    *(waiter->next != NULL ? &waiter->next->previous : &log->last_waiter) = waiter->previous;
}

/* Under the sync lock, so that the waiter still exists. */
static void wake(aqw_log *log, aqw_sync_waiter *waiter) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    waiter->is_woken = 1;
    aqw_condition_wake_one(&waiter->woken);
}

static int is_over_for(const aqw_log *log, const aqw_sync_waiter *waiter) {
    return waiter->sequence <= atomic_load(&log->durable) || atomic_load(&log->state) != LOG_OPEN;
}

/* Wakes the next of the waiters that have nothing more to wait for; each of them does the same when
 * it goes, before it does anything else. All at once they would only meet again in front of one
 * lock: this one, and then the interpreter's. Under the sync lock. */
void aqw_log_wake_some(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    int count = 0;
    for (aqw_sync_waiter *waiter = log->first_waiter;
         waiter != NULL && count < WAKES && is_over_for(log, waiter); waiter = waiter->next) {
        if (waiter->is_woken) continue;
        wake(log, waiter);
        count++;
    }
}

/* Wakes the first waiter whose event is not durable yet: it leads the next sync, unless another
 * caller comes before it, whose sync then serves it too. Under the sync lock. */
static void wake_leader(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    aqw_sync_waiter *waiter = log->first_waiter;
    while (waiter != NULL && is_over_for(log, waiter)) waiter = waiter->next;
    if (waiter != NULL && !waiter->is_woken) wake(log, waiter);
}

void aqw_log_wait_in_row(aqw_log *log, uint64_t sequence, uint64_t deadline_ns) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    aqw_sync_waiter waiter;
    waiter.sequence = sequence;
    waiter.is_woken = 0;
    if (aqw_condition_init_timed(&waiter.woken) != 0) {
        log->others_waiting++;
        if (deadline_ns == AQW_SYNC_NEVER) aqw_condition_wait(&log->sync_ended, &log->sync_mutex);
        else aqw_condition_wait_until(&log->sync_ended, &log->sync_mutex, deadline_ns);
        log->others_waiting--;
        return;
    }
    enter_row(log, &waiter);
    while (!waiter.is_woken && (deadline_ns == AQW_SYNC_NEVER || aqw_monotonic_ns() < deadline_ns))
        if (deadline_ns == AQW_SYNC_NEVER) aqw_condition_wait(&waiter.woken, &log->sync_mutex);
        else aqw_condition_wait_until(&waiter.woken, &log->sync_mutex, deadline_ns);
    leave_row(log, &waiter);
    aqw_condition_destroy(&waiter.woken);
    aqw_log_wake_some(log);
}

/* The callers that the last sync covered are about to come back with more, a few microseconds
 * each. The leader of the next sync waits for them: else half of all callers would always
 * just miss a sync and wait for two. It waits no longer than a sync takes, and not at all for
 * some time after they did not come: then they have something else to do. Under the sync
 * lock, with the right to sync. */
static void gather(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    AQW_ASSERT(aqw_log_may_sync(log));
    if (log->came_back >= log->expected_back) return;
    if (log->gather_rests > 0) {
        log->gather_rests--;
        return;
    }
    uint64_t limit = log->last_sync_ns < GATHER_NS_MAX ? log->last_sync_ns : GATHER_NS_MAX;
    uint64_t deadline = aqw_monotonic_ns() + limit;
    while (log->came_back < log->expected_back && aqw_monotonic_ns() < deadline)
        aqw_condition_wait_until(&log->gathered, &log->sync_mutex, deadline);
    if (log->came_back * 2 >= log->expected_back) {
        log->gather_rest = 0;
    } else {
        log->gather_rest = log->gather_rest < GATHER_REST_MAX ? log->gather_rest * 2 + 1
                                                              : log->gather_rest;
        log->gather_rests = log->gather_rest;
    }
}

/* Counts a caller that waits for a sync. Under the sync lock. */
static void come_back(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    if (++log->came_back == log->expected_back) aqw_condition_wake_one(&log->gathered);
}

/* Counts the waiters that have nothing more to wait for. Under the sync lock. */
static uint32_t count_covered(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    uint32_t count = 0;
    for (const aqw_sync_waiter *waiter = log->first_waiter;
         waiter != NULL && is_over_for(log, waiter); waiter = waiter->next)
        count++;
    return count;
}

void aqw_log_sync_acquire(aqw_log *log) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    aqw_mutex_lock(&log->sync_mutex);
    log->others_waiting++;
    while (log->sync_in_flight) aqw_condition_wait(&log->sync_ended, &log->sync_mutex);
    log->others_waiting--;
    log->sync_in_flight = 1;
    AQW_DEBUG(aqw_log_note_sync(log, 1));
    aqw_mutex_unlock(&log->sync_mutex);
}

void aqw_log_sync_release(aqw_log *log) {
    aqw_mutex_lock(&log->sync_mutex);
    AQW_DEBUG(aqw_log_note_sync(log, 0));
    log->sync_in_flight = 0;
    log->expected_back = count_covered(log) + 1;    /* and its leader */
    log->came_back = 0;
    /* First the leader of the next sync, so that the disk does not wait. */
    wake_leader(log);
    if (log->others_waiting > 0) aqw_condition_wake_all(&log->sync_ended);
    aqw_log_wake_some(log);
    aqw_mutex_unlock(&log->sync_mutex);
}

void aqw_log_note_durable(aqw_log *log, uint64_t sequence) {
    AQW_ASSERT(log->options.has_store || aqw_log_may_sync(log));
    if (sequence <= atomic_load(&log->durable)) return;
    /* The ring first: a reader of the ring may lag behind what callers know, never the
     * other way round. */
    aqw_ring_set_durable(&log->io, &log->ring, sequence);
    atomic_store(&log->durable, sequence);
}

/* Appends a pad up to the next sector's end. The segment has room for it after every event. Under
 * the drain and append locks. */
static aqw_status append_pad(aqw_log *log, aqw_fault *fault) {
    uint8_t pad[AQW_PAD_SIZE_MAX];
    AQW_ASSERT(aqw_mutex_is_held(&log->drain_mutex));
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    uint32_t size = aqw_pad_seal(pad, &log->segment.place, log->tail, log->ordinal,
                                 log->last_sequence - atomic_load(&log->durable),
                                 log->options.sector_size, log->segment.file_size - log->tail);
    if (size == 0) return AQW_OK;
    if (log->tail + size - atomic_load(&log->drained) > log->ring.size) {
        aqw_status status = aqw_log_drain(log, log->tail, fault);
        if (status != AQW_OK) return status;
    }
    AQW_ASSERT(log->tail + size - atomic_load(&log->drained) <= log->ring.size);
    aqw_ring_put(&log->ring, log->tail, pad, size);
    log->tail += size;
    log->ends_with_marker = 0;
    aqw_log_count(log, &log->taken_bytes, size);
    AQW_ASSERT(aqw_log_check(log));
    return AQW_OK;
}

/* Counts a value in a histogram by powers of two, whose last place also takes all larger values. */
static void count_by_size(_Atomic uint64_t *histogram, int size, uint64_t value) {
    int bits = 0;
    while (bits < size - 1 && value >> bits != 0) bits++;
    atomic_fetch_add_explicit(&histogram[bits], 1, memory_order_relaxed);
}

static void count_sync(aqw_log *log, uint64_t taken_ns, uint64_t events) {
    count_by_size(log->sync_ns_histogram, AQW_SYNC_HISTOGRAM_SIZE, taken_ns);
    atomic_fetch_add_explicit(&log->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->sync_ns_total, taken_ns, memory_order_relaxed);
    aqw_log_raise(&log->sync_ns_max, taken_ns);
    if (events == 0) return;
    atomic_fetch_add_explicit(&log->sync_groups, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->sync_events_total, events, memory_order_relaxed);
    aqw_log_raise(&log->sync_events_max, events);
    count_by_size(log->sync_events_histogram, AQW_GROUP_HISTOGRAM_SIZE, events);
}

/* Returns 0 where the newest segment has lost its name in the folder that the lock holds. What
 * keeps a name from being looked at (rights given up since) says nothing about the file. Windows
 * lets no process remove, rename or replace a file that is open here. */
static int is_segment_named(const aqw_log *log) {
    AQW_ASSERT(aqw_log_may_sync(log));
#if defined(_WIN32)
    (void)log;
    return 1;
#else
    const char *slash = strrchr(log->segment_path, '/');
    int error = log->lock.folder < 0
                    ? log->io.check_same(log->io.context, log->segment_handle, log->segment_path)
                    : log->io.check_named(log->io.context, log->segment_handle, log->lock.folder,
                                          slash == NULL ? log->segment_path : slash + 1);
    return error != ESTALE && error != ENOENT;
#endif
}

/* Does the same for the ring, which lies beside that folder, unless that was moved:
 * then its path says. */
static int is_ring_named(const aqw_log *log, const char *path) {
    AQW_ASSERT(aqw_log_may_sync(log));
#if defined(_WIN32)
    (void)log, (void)path;
    return 1;
#else
    int error = log->lock.folder < 0 ? ESTALE
                                     : log->io.check_named(log->io.context, log->ring.handle,
                                                           log->lock.folder, "../ring");
    if (error == ESTALE || error == ENOENT)
        error = log->io.check_same(log->io.context, log->ring.handle, path);
    return error != ESTALE && error != ENOENT;
#endif
}

static aqw_status missing(const aqw_log *log, aqw_reason reason, const char *path,
                          const char *operation, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_may_sync(log));
    if (aqw_directory_check_held(&log->io, log->directory, &log->lock, fault) == AQW_DISPLACED)
        return AQW_DISPLACED;
    aqw_fault_corrupt(fault, reason, path, log->segment.place.segment_number, 0);
    fault->operation = operation;
    return AQW_CORRUPT;
}

/* Checks that the segment just synced is whole and has its name. A segment that a clean-up or a
 * restore has cut short, removed or replaced meanwhile does not hold what the log is about to
 * acknowledge. Its file has its full size from the beginning, and a segment's reserve keeps the
 * last of its bytes unwritten; so a file that was cut is shorter, even if it was written to since.
 * With the right to sync. */
static aqw_status check_segment(aqw_log *log, aqw_fault *fault) {
    uint64_t size = 0;
    AQW_ASSERT(aqw_log_may_sync(log));
    int error = log->io.size(log->io.context, log->segment_handle, &size);
    if (error != 0) return aqw_fault_io(fault, "size", log->segment_path, error);
    if (size < log->segment.file_size) {
        aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, log->segment_path,
                          log->segment.place.segment_number, size);
        fault->operation = "verify the size of the segment";
        return AQW_CORRUPT;
    }
    if (!is_segment_named(log))
        return missing(log, AQW_REASON_SEGMENT_MISSING, log->segment_path, "find the segment",
                       fault);
    /* The next recovery, readers and snapshots go by what is in the ring that has the name. */
    char ring[AQW_PATH_SIZE_MAX + 16];
    if (aqw_path_join(ring, sizeof ring, log->directory, "ring") != AQW_OK ||
        is_ring_named(log, ring))
        return AQW_OK;
    return missing(log, AQW_REASON_RING_MISSING, ring, "find the ring", fault);
}

aqw_status aqw_log_sync_once(aqw_log *log, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_may_sync(log));
    AQW_ASSERT(aqw_log_is_unlocked(log));
    aqw_mutex_lock(&log->drain_mutex);
    aqw_mutex_lock(&log->append_mutex);
    aqw_status status = aqw_log_state(log, fault);
    if (status == AQW_OK && !log->options.has_store) status = append_pad(log, fault);
    if (status == AQW_OK) aqw_log_policy_begun(log);
    uint64_t tail = log->tail, sequence = log->last_sequence;
    aqw_mutex_unlock(&log->append_mutex);
    if (status == AQW_OK) status = aqw_log_drain(log, tail, fault);
    aqw_mutex_unlock(&log->drain_mutex);
    if (status != AQW_OK) return status;

    uint64_t started = aqw_monotonic_ns();
    int error = aqw_io_sync(&log->io, log->segment_handle);
    if (error != 0) {
        /* Never again: a second sync would report success over pages that the first one lost. */
        aqw_fault_io(fault, "sync", log->segment_path, error);
        return aqw_log_poison(log, fault);
    }
    uint64_t ended = aqw_monotonic_ns();
    status = aqw_log_check_ring(log, 0, fault);
    if (status != AQW_OK) return status;
    status = check_segment(log, fault);
    if (status != AQW_OK) return aqw_log_poison(log, fault);
    if (log->options.has_store) return aqw_log_store_sync(log, sequence, fault);
    log->last_sync_ns = ended > started ? ended - started : 0;
    count_sync(log, ended > started ? ended - started : 0, sequence - atomic_load(&log->durable));
    aqw_log_note_durable(log, sequence);
    return AQW_OK;
}

aqw_status aqw_log_sync(aqw_log *log, uint64_t sequence, aqw_fault *fault) {
    return aqw_log_sync_until(log, sequence, AQW_SYNC_NEVER, fault);
}

aqw_status aqw_log_sync_until(aqw_log *log, uint64_t sequence, uint64_t deadline_ns,
                              aqw_fault *fault) {
    uint64_t last = aqw_log_last_sequence(log);
    if (sequence > last) {
        /* The question is not about one event, which may long be durable, but about the log. */
        aqw_status state = aqw_log_state(log, fault);
        if (state != AQW_OK) return state;
        sequence = last;
    }
    if (log->options.has_store) return aqw_log_store_wait(log, sequence, deadline_ns, fault);
    aqw_mutex_lock(&log->sync_mutex);
    come_back(log);
    for (;;) {
        aqw_status status = AQW_OK;
        int is_durable = atomic_load(&log->durable) >= sequence;
        if (!is_durable) status = aqw_log_state(log, fault);
        if (is_durable || status != AQW_OK) {
            aqw_mutex_unlock(&log->sync_mutex);
            return status;
        }
        if (!log->sync_in_flight) break;
        aqw_log_wait_in_row(log, sequence, AQW_SYNC_NEVER);
    }
    log->sync_in_flight = 1;
    AQW_DEBUG(aqw_log_note_sync(log, 1));
    gather(log);
    aqw_mutex_unlock(&log->sync_mutex);
    aqw_status status = aqw_log_sync_once(log, fault);
    aqw_log_sync_release(log);
    return status;
}
