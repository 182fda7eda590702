/* Mutexes, condition variables and threads over the system's, and a clock, for the core's own use (not part of its surface;
 * the including file defines _POSIX_C_SOURCE). */
#ifndef AQW_THREAD_H
#define AQW_THREAD_H

#if defined(_WIN32)
#error "the Windows port is not written yet"
#else

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

typedef pthread_mutex_t aqw_mutex;
typedef pthread_cond_t aqw_condition;
typedef pthread_t aqw_thread;

static inline int aqw_mutex_init(aqw_mutex *mutex) { return pthread_mutex_init(mutex, NULL); }
static inline void aqw_mutex_destroy(aqw_mutex *mutex) { (void)pthread_mutex_destroy(mutex); }
static inline void aqw_mutex_lock(aqw_mutex *mutex) { (void)pthread_mutex_lock(mutex); }
static inline void aqw_mutex_unlock(aqw_mutex *mutex) { (void)pthread_mutex_unlock(mutex); }
static inline int aqw_condition_init(aqw_condition *condition) { return pthread_cond_init(condition, NULL); }
static inline void aqw_condition_destroy(aqw_condition *condition) { (void)pthread_cond_destroy(condition); }
static inline void aqw_condition_wait(aqw_condition *condition, aqw_mutex *mutex) { (void)pthread_cond_wait(condition, mutex); }
static inline void aqw_condition_wake_all(aqw_condition *condition) { (void)pthread_cond_broadcast(condition); }

/* The new thread has every signal blocked: signals belong to the threads of the embedding program. */
static inline int aqw_thread_start(aqw_thread *thread, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return -1;
    int error = pthread_create(thread, NULL, run, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}
/* A number that tells the threads that run at this moment apart. */
static inline uint64_t aqw_thread_self(void) { return (uint64_t)(uintptr_t)pthread_self(); }
static inline void aqw_thread_join(aqw_thread thread) { (void)pthread_join(thread, NULL); }

/* Nanoseconds of a clock that nobody sets, for measuring. */
static inline uint64_t aqw_monotonic_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
#endif
