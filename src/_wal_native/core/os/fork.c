/* Holds the one variable of the core that lies in no handle: a process has one ancestry. */
#include "os/fork.h"

#include <stdatomic.h>

static _Atomic uint64_t generation;

uint64_t aqw_fork_generation(void) {
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

#if defined(_WIN32)

int aqw_fork_watch(void) { return 0; }   /* there is no fork */

#else

#include <pthread.h>

#include "os/mappings.h"

static void in_child(void) {
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
    aqw_mappings_forget_parents();
}

int aqw_fork_watch(void) { return pthread_atfork(NULL, NULL, in_child); }

#endif
