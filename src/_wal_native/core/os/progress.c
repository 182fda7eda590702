#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "os/progress.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "os/thread.h"

struct aqw_progress {
    _Atomic uint64_t done;
    _Atomic uint64_t total;
    _Atomic int is_canceled;
    /* the thread to ask, 0: no thread; what follows is its own */
    _Atomic uint64_t thread;
    aqw_progress_question must_stop;
    void *context;
    uint64_t asked_at;
};

aqw_progress *aqw_progress_new(void) { return calloc(1, sizeof(aqw_progress)); }

void aqw_progress_free(aqw_progress *progress) { free(progress); }

void aqw_progress_add(aqw_progress *progress, uint64_t bytes) {
    if (progress != NULL) atomic_fetch_add_explicit(&progress->done, bytes, memory_order_relaxed);
}

void aqw_progress_expect(aqw_progress *progress, uint64_t bytes) {
    if (progress != NULL) atomic_fetch_add_explicit(&progress->total, bytes, memory_order_relaxed);
}

int aqw_progress_is_canceled(const aqw_progress *progress) {
    return progress != NULL && atomic_load_explicit(&progress->is_canceled, memory_order_relaxed);
}

/* Returns 1 in the thread to ask, which alone reads and changes what is its own. */
static int is_asked(const aqw_progress *progress) {
    return atomic_load_explicit(&progress->thread, memory_order_relaxed) == aqw_thread_number();
}

void aqw_progress_ask(aqw_progress *progress, aqw_progress_question must_stop, void *context) {
    if (progress == NULL || (must_stop == NULL && !is_asked(progress))) return;
    atomic_store(&progress->thread, must_stop != NULL ? aqw_thread_number() : 0);
    progress->must_stop = must_stop;
    progress->context = context;
    progress->asked_at = aqw_monotonic_ns();
}

/* Asks, unless it asked a moment ago. */
static int ask_again(aqw_progress *progress) {
    AQW_ASSERT(is_asked(progress) && progress->must_stop != NULL);
    uint64_t now = aqw_monotonic_ns();
    if (now - progress->asked_at < AQW_PROGRESS_ASK_NS) return 0;
    progress->asked_at = now;
    if (!progress->must_stop(progress->context)) return 0;
    aqw_progress_cancel(progress);
    return 1;
}

int aqw_progress_must_stop(aqw_progress *progress) {
    if (aqw_progress_is_canceled(progress)) return 1;
    /* Another thread may work with the same progress. */
    if (progress == NULL || !is_asked(progress) || progress->must_stop == NULL) return 0;
    return ask_again(progress);
}

uint64_t aqw_progress_done(const aqw_progress *progress) {
    return progress == NULL ? 0 : atomic_load_explicit(&progress->done, memory_order_relaxed);
}

uint64_t aqw_progress_total(const aqw_progress *progress) {
    return progress == NULL ? 0 : atomic_load_explicit(&progress->total, memory_order_relaxed);
}

void aqw_progress_cancel(aqw_progress *progress) {
    if (progress != NULL) atomic_store_explicit(&progress->is_canceled, 1, memory_order_relaxed);
}
