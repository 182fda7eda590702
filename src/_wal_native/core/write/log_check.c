/* What is true of a log between two changes; compiled in builds with assertions only. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "write/log_check.h"

#include "files/check.h"
#include "files/format.h"

#if defined(NDEBUG)

/* ISO C wants at least one declaration in a file. */
typedef int aqw_log_check_is_empty;

#else

int aqw_log_may_sync(const aqw_log *log) {
    return atomic_load_explicit(&log->syncing_thread, memory_order_relaxed) == aqw_thread_number();
}

void aqw_log_note_sync(aqw_log *log, int begins) {
    AQW_ASSERT(aqw_mutex_is_held(&log->sync_mutex));
    AQW_ASSERT(begins ? atomic_load(&log->syncing_thread) == 0 : aqw_log_may_sync(log));
    atomic_store(&log->syncing_thread, begins ? aqw_thread_number() : 0);
}

int aqw_log_segment_is_held(aqw_log *log) {
    return aqw_log_may_sync(log) || aqw_mutex_is_held(&log->drain_mutex) ||
           aqw_mutex_is_held(&log->append_mutex);
}

int aqw_log_is_held_whole(aqw_log *log) {
    return aqw_log_may_sync(log) && aqw_mutex_is_held(&log->drain_mutex) &&
           aqw_mutex_is_held(&log->append_mutex);
}

int aqw_log_is_unlocked(aqw_log *log) {
    return !aqw_mutex_is_held(&log->append_mutex) && !aqw_mutex_is_held(&log->drain_mutex) &&
           !aqw_mutex_is_held(&log->sync_mutex) && !aqw_mutex_is_held(&log->prepare_mutex) &&
           !aqw_mutex_is_held(&log->poison_mutex);
}

/* What is drained was appended, and the ring still holds the rest. */
static void check_positions(aqw_log *log) {
    uint64_t drained = atomic_load(&log->drained);
    AQW_ASSERT(drained >= AQW_SEGMENT_DATA && drained <= log->tail);
    AQW_ASSERT(log->tail - drained <= log->ring.size);
    AQW_ASSERT(log->tail <= log->segment.file_size);
    AQW_ASSERT(log->tail % AQW_RECORD_ALIGNMENT == 0);
}

/* What is durable was appended, and the segment's events are those since its first. The first
 * sequence of a segment after the last possible event is 0, so the differences are modulo 2^64. */
static void check_sequences(aqw_log *log) {
    AQW_ASSERT(atomic_load(&log->durable) <= log->last_sequence);
    AQW_ASSERT(log->last_sequence - log->segment.place.first_sequence + 1 == log->ordinal);
}

/* A sync that has begun covers what was appended then, and no event is durable without one. */
static void check_policy(aqw_log *log) {
    if (!log->policy_acts) return;
    AQW_ASSERT(log->begun_sequence <= log->last_sequence && log->begun_tail <= log->tail);
    AQW_ASSERT(atomic_load(&log->durable) <= log->begun_sequence);
}

int aqw_log_check(aqw_log *log) {
    AQW_ASSERT(aqw_mutex_is_held(&log->append_mutex));
    AQW_ASSERT(aqw_ring_check(&log->ring));
    check_positions(log);
    check_sequences(log);
    check_policy(log);
    return 1;
}

#endif
