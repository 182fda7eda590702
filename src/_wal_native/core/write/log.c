#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "write/log_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "files/format.h"
#include "write/log_check.h"
#include "write/log_store.h"

_Static_assert(AQW_SEGMENT_SIZE_FIRST >= AQW_SEGMENT_SIZE_MIN, "first segments must be legal");

static int is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

aqw_status aqw_log_options_check(const aqw_log_options *options, aqw_fault *fault) {
    const char *wrong = NULL;
    if (!is_power_of_two(options->segment_size_max) ||
        options->segment_size_max < AQW_SEGMENT_SIZE_MIN ||
        options->segment_size_max > AQW_SEGMENT_SIZE_MAX)
        wrong = "segment_size";
    if (options->ring_size < AQW_RING_SIZE_MIN || options->ring_size > AQW_RING_SIZE_MAX ||
        options->ring_size % AQW_RING_SIZE_MIN != 0)
        wrong = "ring_size";
    if (options->sector_size != 0 && options->sector_size != 512 && options->sector_size != 4096)
        wrong = "sector_size";
    if (options->sync.delay_ns > AQW_SYNC_DELAY_NS_MAX) wrong = "sync";
    if (wrong == NULL) return AQW_OK;
    aqw_fault_set(fault, AQW_INVALID_ARGUMENT, NULL);
    fault->operation = wrong;
    return AQW_INVALID_ARGUMENT;
}

static void close_files(aqw_log *log) {
    aqw_ring_close(&log->io, &log->ring);
    if (log->segment_handle >= 0) (void)log->io.close(log->io.context, log->segment_handle);
    log->segment_handle = -1;
    /* The lock file must not name a holder that has gone. */
    if (log->lock.file >= 0) (void)log->io.truncate(log->io.context, log->lock.file, 0);
    aqw_directory_unlock(&log->io, &log->lock);
}

static int init_locks(aqw_log *log) {
    int error = aqw_mutex_init(&log->append_mutex) | aqw_mutex_init(&log->drain_mutex) |
                aqw_mutex_init(&log->sync_mutex) | aqw_mutex_init(&log->prepare_mutex) |
                aqw_mutex_init(&log->poison_mutex);
    error |= aqw_condition_init_timed(&log->store_changed);
    return error | aqw_condition_init_timed(&log->gathered) | aqw_condition_init(&log->sync_ended) |
           aqw_condition_init(&log->prepare_changed) |
           aqw_condition_init_timed(&log->policy_changed);
}

static void destroy_locks(aqw_log *log) {
    aqw_mutex_destroy(&log->append_mutex);
    aqw_mutex_destroy(&log->drain_mutex);
    aqw_mutex_destroy(&log->sync_mutex);
    aqw_mutex_destroy(&log->prepare_mutex);
    aqw_mutex_destroy(&log->poison_mutex);
    aqw_condition_destroy(&log->store_changed);
    aqw_condition_destroy(&log->gathered);
    aqw_condition_destroy(&log->sync_ended);
    aqw_condition_destroy(&log->prepare_changed);
    aqw_condition_destroy(&log->policy_changed);
}

aqw_status aqw_log_new(const aqw_io *io, const aqw_log_options *options, const aqw_log_start *start,
                       aqw_log **out, aqw_fault *fault) {
    aqw_log *log = calloc(1, sizeof *log);
    uint8_t *chunk = malloc((size_t)start->ring.size);
    size_t directory_size = strlen(start->directory) + 1;
    if (log == NULL || chunk == NULL || directory_size > sizeof log->directory ||
        init_locks(log) != 0) {
        aqw_ring ring = start->ring;
        aqw_lock lock = start->lock;
        aqw_ring_close(io, &ring);
        (void)io->close(io->context, start->segment_handle);
        aqw_directory_unlock(io, &lock);
        free(chunk);
        free(log);
        return aqw_fault_set(fault, AQW_NO_MEMORY, start->directory);
    }
    log->io = *io;
    log->options = *options;
    log->options.ring_size = start->ring.size;
    atomic_store(&log->is_short, start->is_short);
    log->opened_ns = aqw_monotonic_ns();
    memcpy(log->directory, start->directory, directory_size);
    log->lock = start->lock;
    log->ring = start->ring;
    log->ring_is_mapped = start->ring.is_mapped;
    log->chunk = chunk;
    log->segment = start->segment;
    log->segment_handle = start->segment_handle;
    (void)aqw_segment_path(log->segment_path, sizeof log->segment_path, log->directory,
                           log->segment.place.segment_number, log->segment.place.first_sequence);
    log->tail = start->tail;
    log->ordinal = start->ordinal;
    log->last_sequence = start->last_sequence;
    log->ends_with_marker = start->ends_with_marker;
    atomic_store(&log->drained, start->tail);
    atomic_store(&log->durable, start->last_sequence);
    atomic_store(&log->state, LOG_OPEN);
    int error = aqw_log_policy_start(log);
    if (error != 0) {
        aqw_fault_io(fault, "start a thread", log->directory, error);
        close_files(log);
        atomic_store(&log->state, LOG_CLOSED);
        aqw_log_free(log);
        return AQW_IO_ERROR;
    }
    *out = log;
    return AQW_OK;
}

aqw_status aqw_log_state(aqw_log *log, aqw_fault *fault) {
    switch (atomic_load(&log->state)) {
    case LOG_OPEN:
        return AQW_OK;
    case LOG_POISONED:
        aqw_mutex_lock(&log->poison_mutex);
        *fault = log->poison;
        aqw_mutex_unlock(&log->poison_mutex);
        atomic_store(&log->failure_is_untold, 0);
        atomic_store(&log->drain_failure_is_untold, 0);
        fault->poison = fault->status;
        fault->status = AQW_POISONED;
        return AQW_POISONED;
    default:
        return aqw_fault_set(fault, AQW_CLOSED, log->directory);
    }
}

aqw_status aqw_log_poison(aqw_log *log, const aqw_fault *fault) {
    aqw_mutex_lock(&log->poison_mutex);
    int expected = LOG_OPEN;
    if (atomic_load(&log->state) == LOG_OPEN) {
        log->poison = *fault;
        atomic_compare_exchange_strong(&log->state, &expected, LOG_POISONED);
    }
    aqw_mutex_unlock(&log->poison_mutex);
    return AQW_POISONED;
}

uint64_t aqw_log_reserve(const aqw_log *log) {
    return AQW_RECORD_HEADER_SIZE +
           (log->options.sector_size != 0 ? log->options.sector_size + AQW_RECORD_HEADER_SIZE : 0);
}

int aqw_log_is_direct(const aqw_log *log, uint64_t size) {
    return !log->ring_is_mapped || size > log->options.ring_size;
}

/* Under the append lock, as the next two. */
static int fits_segment(aqw_log *log, uint64_t size) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    uint64_t end = log->segment.file_size - aqw_log_reserve(log),
             end_max = AQW_SEGMENT_SIZE_MAX - AQW_RECORD_HEADER_SIZE;
    if (end > end_max) end = end_max;
    return log->tail <= end && size <= end - log->tail;
}

static uint64_t ring_used(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    return log->tail - atomic_load(&log->drained);
}

static int fits_ring(aqw_log *log, uint64_t size) {
    return ring_used(log) + size <= log->ring.size;
}

/* Makes the checks that every append begins with. Under the append lock. */
static aqw_status append_check(aqw_log *log, const aqw_batch *batch, aqw_fault *fault) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    aqw_status status = aqw_log_state(log, fault);
    if (status != AQW_OK) return status;
    if (batch->count == 0) return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, NULL);
    if (log->last_sequence == AQW_SEQUENCE_MAX || batch->first_sequence != log->last_sequence + 1 ||
        batch->count - 1 > AQW_SEQUENCE_MAX - batch->first_sequence)
        return aqw_fault_set(fault, AQW_REFUSED_SEQUENCE, NULL);
    if (log->options.batch_size_max != 0 && batch->size > log->options.batch_size_max)
        return aqw_fault_set(fault, AQW_TOO_LARGE, NULL);
    return log->options.has_store && aqw_log_store_holds(log) ? AQW_NEEDS_ROOM : AQW_OK;
}

void aqw_log_count(aqw_log *log, _Atomic uint64_t *counter, uint64_t more) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* The records are where they belong: counts them. Under the append lock. */
static void append_finish(aqw_log *log, const aqw_batch *batch) {
    AQW_ASSERT(fits_segment(log, batch->size));
    log->tail += batch->size;
    log->ordinal += batch->count;
    log->last_sequence += batch->count;
    log->ends_with_marker = 0;
    aqw_log_count(log, &log->appended_records, batch->count);
    aqw_log_count(log, &log->appended_bytes, batch->size);
    aqw_log_count(log, &log->taken_bytes, batch->size);
    if (!log->prepare_is_requested && log->tail > log->segment.file_size / 2)
        aqw_log_prepare_request(log);
    if (log->last_sequence >= log->wake_sequence || log->tail >= log->wake_tail)
        aqw_log_policy_wake(log);
}

aqw_status aqw_log_try_append(aqw_log *log, aqw_batch *batch, aqw_before_append before,
                              void *context, aqw_fault *fault) {
    /* The caller holds the interpreter's lock, and this one may be held over I/O. */
    if (!aqw_mutex_try_lock(&log->append_mutex)) return AQW_NEEDS_ROOM;
    aqw_status status = append_check(log, batch, fault);
    if (status == AQW_OK && (aqw_log_is_direct(log, batch->size) ||
                             !fits_segment(log, batch->size) || !fits_ring(log, batch->size)))
        status = AQW_NEEDS_ROOM;
    /* Before the caller's table takes the event, which nothing undoes. */
    if (status == AQW_OK) status = aqw_log_check_ring(log, 1, fault);
    if (status == AQW_OK) {
        aqw_ring_touch(&log->ring, log->tail, batch->size);
        if (aqw_ring_has_faulted(&log->ring)) status = aqw_log_lose_ring(log, fault);
    }
    if (status == AQW_OK && before != NULL) {
        status = before(context);
        if (status != AQW_OK) aqw_fault_set(fault, status, NULL);
    }
    if (status == AQW_OK) {
        aqw_batch_seal(batch, &log->segment.place, log->tail, log->ordinal,
                       atomic_load(&log->durable));
        AQW_ASSERT(fits_ring(log, batch->size));
        aqw_ring_put(&log->ring, log->tail, batch->data, batch->size);
        /* The store itself may have met the end of the file, or a disk without room for a page of
         * its own: then it went to memory that belongs to no file. */
        if (aqw_ring_has_faulted(&log->ring)) {
            status = aqw_log_lose_ring(log, fault);
            aqw_mutex_unlock(&log->append_mutex);
            return status;
        }
        append_finish(log, batch);
        AQW_ASSERT(aqw_log_check(log));
        uint64_t used = ring_used(log);
        if (used > log->ring_used_max) log->ring_used_max = used;
        if (used > log->ring.size / 2 && !log->drain_is_requested &&
            log->ring.size >= AQW_LOG_DRAIN_AHEAD_RING_SIZE_MIN)
            aqw_log_drain_request(log);
    }
    aqw_mutex_unlock(&log->append_mutex);
    return status;
}

void aqw_log_raise(_Atomic uint64_t *greatest, uint64_t value) {
    uint64_t known = atomic_load_explicit(greatest, memory_order_relaxed);
    while (value > known &&
           !atomic_compare_exchange_weak_explicit(greatest, &known, value, memory_order_relaxed,
                                                  memory_order_relaxed)) {}
}

aqw_status aqw_log_write_out(aqw_log *log, uint64_t *sequence, aqw_fault *fault) {
    aqw_mutex_lock(&log->drain_mutex);
    aqw_mutex_lock(&log->append_mutex);
    uint64_t tail = log->tail;
    *sequence = log->last_sequence;
    aqw_mutex_unlock(&log->append_mutex);
    aqw_status status = aqw_log_drain(log, tail, fault);
    aqw_mutex_unlock(&log->drain_mutex);
    return status;
}

static aqw_status make_room(aqw_log *log, uint64_t size, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_is_unlocked(log));
    for (;;) {
        aqw_status status = aqw_log_state(log, fault);
        if (status != AQW_OK) return status;
        if (log->options.has_store && aqw_log_store_holds(log)) return aqw_log_store_hold(log, fault);
        aqw_mutex_lock(&log->append_mutex);
        int rotates = !fits_segment(log, size);
        int drains = !fits_ring(log, size < log->ring.size ? size : log->ring.size);
        aqw_mutex_unlock(&log->append_mutex);
        if (rotates) {
            status = aqw_log_rotate(log, size, fault);
        } else if (drains) {
            uint64_t written;
            status = aqw_log_write_out(log, &written, fault);
        } else {
            return AQW_OK;
        }
        if (status != AQW_OK) return status;
    }
}

int aqw_log_leaves_segment(aqw_log *log, uint64_t size) {
    aqw_mutex_lock(&log->append_mutex);
    int leaves = !fits_segment(log, size);
    aqw_mutex_unlock(&log->append_mutex);
    return leaves;
}

aqw_status aqw_log_make_room(aqw_log *log, uint64_t size, aqw_fault *fault) {
    uint64_t started = aqw_monotonic_ns();
    aqw_status status = make_room(log, size, fault);
    uint64_t ended = aqw_monotonic_ns(), taken = ended > started ? ended - started : 0;
    atomic_fetch_add_explicit(&log->stalls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->stall_ns_total, taken, memory_order_relaxed);
    aqw_log_raise(&log->stall_ns_max, taken);
    return status;
}

/* Writes the batch into the segment itself. Returns AQW_NEEDS_ROOM where it does not fit, and has
 * changed nothing then. */
static aqw_status append_direct(aqw_log *log, aqw_batch *batch, aqw_fault *fault) {
    aqw_mutex_lock(&log->drain_mutex);
    aqw_mutex_lock(&log->append_mutex);
    aqw_status status = append_check(log, batch, fault);
    if (status == AQW_OK && !fits_segment(log, batch->size)) status = AQW_NEEDS_ROOM;
    if (status == AQW_OK) status = aqw_log_drain(log, log->tail, fault);
    if (status == AQW_OK) {
        aqw_batch_seal(batch, &log->segment.place, log->tail, log->ordinal,
                       atomic_load(&log->durable));
        int error = aqw_io_write_all(&log->io, log->segment_handle, log->tail, batch->data,
                                     batch->size);
        if (error != 0) {
            aqw_fault_io(fault, "write", log->segment_path, error);
            status = aqw_log_poison(log, fault);
        } else {
            append_finish(log, batch);
            atomic_store(&log->drained, log->tail);
            atomic_fetch_add_explicit(&log->drained_bytes, batch->size, memory_order_relaxed);
            AQW_ASSERT(aqw_log_check(log));
        }
    }
    aqw_mutex_unlock(&log->append_mutex);
    aqw_mutex_unlock(&log->drain_mutex);
    return status;
}

aqw_status aqw_log_append(aqw_log *log, aqw_batch *batch, aqw_fault *fault) {
    for (;;) {
        aqw_status status = aqw_log_is_direct(log, batch->size)
                                ? append_direct(log, batch, fault)
                                : aqw_log_try_append(log, batch, NULL, NULL, fault);
        if (status != AQW_NEEDS_ROOM) return status;
        status = aqw_log_make_room(log, batch->size, fault);
        if (status != AQW_OK) return status;
    }
}

uint64_t aqw_log_last_sequence(aqw_log *log) {
    aqw_mutex_lock(&log->append_mutex);
    uint64_t sequence = log->last_sequence;
    aqw_mutex_unlock(&log->append_mutex);
    return sequence;
}

const uint8_t *aqw_log_uuid(const aqw_log *log) { return log->segment.place.log_uuid; }

uint64_t aqw_log_durable_sequence(const aqw_log *log) { return atomic_load(&log->durable); }

void aqw_log_stats_get(aqw_log *log, aqw_log_stats *stats) {
    aqw_mutex_lock(&log->append_mutex);
    stats->last_sequence = log->last_sequence;
    stats->durable_sequence = atomic_load(&log->durable);
    stats->segment_number = log->segment.place.segment_number;
    stats->segment_size = log->segment.file_size;
    stats->segment_used = log->tail;
    stats->ring_size = log->ring.size;
    stats->ring_used = ring_used(log);
    stats->ring_used_max = log->ring_used_max;
    stats->is_ring_mapped = log->ring_is_mapped;
    aqw_mutex_unlock(&log->append_mutex);
    stats->appended_records = atomic_load(&log->appended_records);
    stats->appended_bytes = atomic_load(&log->appended_bytes);
    stats->taken_bytes = atomic_load(&log->taken_bytes);
    stats->syncs = atomic_load(&log->syncs);
    stats->sync_ns_total = atomic_load(&log->sync_ns_total);
    stats->sync_ns_max = atomic_load(&log->sync_ns_max);
    for (int i = 0; i < AQW_SYNC_HISTOGRAM_SIZE; i++)
        stats->sync_ns_histogram[i] = atomic_load(&log->sync_ns_histogram[i]);
    stats->sync_groups = atomic_load(&log->sync_groups);
    stats->sync_events_total = atomic_load(&log->sync_events_total);
    stats->sync_events_max = atomic_load(&log->sync_events_max);
    for (int i = 0; i < AQW_GROUP_HISTOGRAM_SIZE; i++)
        stats->sync_events_histogram[i] = atomic_load(&log->sync_events_histogram[i]);
    stats->stalls = atomic_load(&log->stalls);
    stats->stall_ns_total = atomic_load(&log->stall_ns_total);
    stats->stall_ns_max = atomic_load(&log->stall_ns_max);
    stats->drains = atomic_load(&log->drains);
    stats->drained_bytes = atomic_load(&log->drained_bytes);
    stats->rotations = atomic_load(&log->rotations);
}

/* Writes the marker straight to the segment: it must never be found in the ring. With
 * all three locks. */
static aqw_status write_marker(aqw_log *log, aqw_fault *fault) {
    AQW_ASSERT(aqw_log_is_held_whole(log));
    uint8_t marker[AQW_RECORD_HEADER_SIZE] = {0};
    aqw_record_seal(marker, &log->segment.place, log->tail, log->ordinal, 0, AQW_KIND_MARKER, 0, 0);
    int error = aqw_io_write_all(&log->io, log->segment_handle, log->tail, marker, sizeof marker);
    if (error != 0) return aqw_fault_io(fault, "write", log->segment_path, error);
    error = aqw_io_sync(&log->io, log->segment_handle);
    return error == 0 ? AQW_OK : aqw_fault_io(fault, "sync", log->segment_path, error);
}

static int is_open(const aqw_log *log) { return atomic_load(&log->state) == LOG_OPEN; }

int aqw_log_needs_sync(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->drain_mutex));
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    if (atomic_load(&log->drained) != log->tail) return 1;
    return atomic_load(&log->durable) != log->last_sequence && !atomic_load(&log->store_is_gone);
}

aqw_status aqw_log_close(aqw_log *log, aqw_fault *fault) {
    aqw_status status = AQW_OK;
    if (atomic_load(&log->state) == LOG_CLOSED) return AQW_OK;
    if (log->options.has_store) aqw_log_ship_stop(log);
    aqw_log_policy_stop(log);
    aqw_log_prepare_stop(log);
    aqw_log_sync_acquire(log);
    aqw_mutex_lock(&log->drain_mutex);
    aqw_mutex_lock(&log->append_mutex);
    /* No append may come between the last sync and the marker that vouches for it. */
    while (status == AQW_OK && is_open(log) && aqw_log_needs_sync(log)) {
        aqw_mutex_unlock(&log->append_mutex);
        aqw_mutex_unlock(&log->drain_mutex);
        status = aqw_log_sync_once(log, fault);
        aqw_mutex_lock(&log->drain_mutex);
        aqw_mutex_lock(&log->append_mutex);
    }
    if (status == AQW_OK && is_open(log) && !log->ends_with_marker)
        status = write_marker(log, fault);
    int is_untold = atomic_exchange(&log->failure_is_untold, 0) |
                    atomic_exchange(&log->drain_failure_is_untold, 0);
    if (status == AQW_OK && is_untold) status = aqw_log_state(log, fault);
    AQW_ASSERT(aqw_log_is_held_whole(log));
    if (atomic_load(&log->state) != LOG_CLOSED) close_files(log);
    atomic_store(&log->state, LOG_CLOSED);
    aqw_mutex_unlock(&log->append_mutex);
    aqw_mutex_unlock(&log->drain_mutex);
    aqw_log_sync_release(log);
    return status;
}

void aqw_log_abandon(aqw_log *log) {
    if (atomic_load(&log->state) == LOG_CLOSED) return;
    atomic_store(&log->state, LOG_CLOSED);
    log->is_abandoned = 1;
    /* The child has not inherited the mapping, and the preparing thread does not exist here. */
    if (log->ring.is_mapped) log->ring.mapping = NULL;
    log->ring.handle = log->segment_handle = log->lock.file = log->lock.folder = -1;
}

void aqw_log_free(aqw_log *log) {
    if (log == NULL) return;
    /* In a forked child the parent's threads hold locks and wait for conditions forever: destroying
     * those would wait with them. */
    if (!log->is_abandoned) destroy_locks(log);
    free(log->chunk);
    free(log);
}
