/* Mutexes, condition variables and threads over the system's, and a clock, for the core's own use
 * (not part of its surface; the including file defines _POSIX_C_SOURCE).
 *
 * In builds with assertions a mutex knows the thread that holds it. A function that needs a mutex
 * held says so in its first line, AQW_ASSERT(aqw_mutex_is_held(...)); one that takes it says
 * nothing, because locking asserts that it is not held. */
#ifndef AQW_THREAD_H
#define AQW_THREAD_H

#include "base/assert.h"

#if defined(_WIN32)

#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#if !defined(NOMINMAX)
#define NOMINMAX
#endif

#include <process.h>
#include <stdint.h>
#include <stdlib.h>
#include <windows.h>

typedef SRWLOCK aqw_system_mutex;
typedef CONDITION_VARIABLE aqw_condition;
typedef HANDLE aqw_thread;

#define AQW_SYSTEM_MUTEX_INITIALIZER SRWLOCK_INIT

static inline int aqw_system_mutex_init(aqw_system_mutex *mutex) {
    InitializeSRWLock(mutex);
    return 0;
}
static inline void aqw_system_mutex_destroy(aqw_system_mutex *mutex) { (void)mutex; }
static inline void aqw_system_mutex_lock(aqw_system_mutex *mutex) {
    AcquireSRWLockExclusive(mutex);
}
static inline int aqw_system_mutex_try_lock(aqw_system_mutex *mutex) {
    return TryAcquireSRWLockExclusive(mutex) != 0;
}
static inline void aqw_system_mutex_unlock(aqw_system_mutex *mutex) {
    ReleaseSRWLockExclusive(mutex);
}
static inline int aqw_condition_init(aqw_condition *condition) {
    InitializeConditionVariable(condition);
    return 0;
}
static inline void aqw_condition_destroy(aqw_condition *condition) { (void)condition; }
static inline void aqw_system_wait(aqw_condition *condition, aqw_system_mutex *mutex) {
    (void)SleepConditionVariableSRW(condition, mutex, INFINITE, 0);
}
static inline void aqw_condition_wake_all(aqw_condition *condition) {
    WakeAllConditionVariable(condition);
}
static inline void aqw_condition_wake_one(aqw_condition *condition) {
    WakeConditionVariable(condition);
}

/* Tells the calling thread from all other live ones. */
static inline uint64_t aqw_thread_number(void) { return GetCurrentThreadId(); }

/* Nanoseconds of a clock that no user or program sets. */
static inline uint64_t aqw_monotonic_ns(void) {
    LARGE_INTEGER ticks, each_second;
    if (!QueryPerformanceCounter(&ticks) || !QueryPerformanceFrequency(&each_second)) return 0;
    uint64_t count = (uint64_t)ticks.QuadPart, frequency = (uint64_t)each_second.QuadPart;
    return count / frequency * 1000000000u + count % frequency * 1000000000u / frequency;
}

/* For conditions whose waits have a time limit; the others serve as well. */
static inline int aqw_condition_init_timed(aqw_condition *condition) {
    return aqw_condition_init(condition);
}
/* At most some hours. */
static inline void aqw_system_wait_until(aqw_condition *condition, aqw_system_mutex *mutex,
                                        uint64_t deadline_ns) {
    uint64_t now = aqw_monotonic_ns();
    if (now >= deadline_ns) return;
    uint64_t left_ms = (deadline_ns - now - 1) / 1000000u + 1;
    (void)SleepConditionVariableSRW(condition, mutex,
                                    left_ms < 10000000u ? (DWORD)left_ms : 10000000u, 0);
}

/* What the new thread is to do, in memory that the thread frees: the system's entry has
 * another type than ours. */
typedef struct aqw_thread_entry {
    void *(*run)(void *);
    void *argument;
} aqw_thread_entry;

static inline unsigned __stdcall aqw_thread_enter(void *given) {
    aqw_thread_entry entry = *(aqw_thread_entry *)given;
    free(given);
    (void)entry.run(entry.argument);
    return 0;
}

static inline int aqw_thread_start(aqw_thread *thread, void *(*run)(void *), void *argument) {
    aqw_thread_entry *entry = malloc(sizeof *entry);
    if (entry == NULL) return -1;
    entry->run = run;
    entry->argument = argument;
    uintptr_t handle = _beginthreadex(NULL, 0, aqw_thread_enter, entry, 0, NULL);
    if (handle == 0) {
        free(entry);
        return -1;
    }
    *thread = (HANDLE)handle;
    return 0;
}
static inline void aqw_thread_join(aqw_thread thread) {
    (void)WaitForSingleObject(thread, INFINITE);
    (void)CloseHandle(thread);
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

typedef pthread_mutex_t aqw_system_mutex;
typedef pthread_cond_t aqw_condition;
typedef pthread_t aqw_thread;

#define AQW_SYSTEM_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER

static inline int aqw_system_mutex_init(aqw_system_mutex *mutex) {
    return pthread_mutex_init(mutex, NULL);
}
static inline void aqw_system_mutex_destroy(aqw_system_mutex *mutex) {
    (void)pthread_mutex_destroy(mutex);
}
static inline void aqw_system_mutex_lock(aqw_system_mutex *mutex) {
    (void)pthread_mutex_lock(mutex);
}
static inline int aqw_system_mutex_try_lock(aqw_system_mutex *mutex) {
    return pthread_mutex_trylock(mutex) == 0;
}
static inline void aqw_system_mutex_unlock(aqw_system_mutex *mutex) {
    (void)pthread_mutex_unlock(mutex);
}
static inline int aqw_condition_init(aqw_condition *condition) {
    return pthread_cond_init(condition, NULL);
}
static inline void aqw_condition_destroy(aqw_condition *condition) {
    (void)pthread_cond_destroy(condition);
}
static inline void aqw_system_wait(aqw_condition *condition, aqw_system_mutex *mutex) {
    (void)pthread_cond_wait(condition, mutex);
}
static inline void aqw_condition_wake_all(aqw_condition *condition) {
    (void)pthread_cond_broadcast(condition);
}
static inline void aqw_condition_wake_one(aqw_condition *condition) {
    (void)pthread_cond_signal(condition);
}

/* Tells the calling thread from all other live ones. A number or a pointer, by the system. */
static inline uint64_t aqw_thread_number(void) { return (uint64_t)(uintptr_t)pthread_self(); }

/* Nanoseconds of a clock that no user or program sets. */
static inline uint64_t aqw_monotonic_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct timespec aqw_timespec_of(uint64_t ns) {
    struct timespec time;
    time.tv_sec = (time_t)(ns / 1000000000u);
    time.tv_nsec = (long)(ns % 1000000000u);
    return time;
}

#if defined(__APPLE__)

/* The system's own; its headers hide it from code that asks for POSIX only. */
int pthread_cond_timedwait_relative_np(pthread_cond_t *, pthread_mutex_t *,
                                       const struct timespec *);

/* For conditions whose waits have a time limit. */
static inline int aqw_condition_init_timed(aqw_condition *condition) {
    return aqw_condition_init(condition);
}
static inline void aqw_system_wait_until(aqw_condition *condition, aqw_system_mutex *mutex,
                                        uint64_t deadline_ns) {
    uint64_t now = aqw_monotonic_ns();
    if (now >= deadline_ns) return;
    struct timespec left = aqw_timespec_of(deadline_ns - now);
    (void)pthread_cond_timedwait_relative_np(condition, mutex, &left);
}

#else

/* For conditions whose waits have a time limit: by the clock that no user or program sets. */
static inline int aqw_condition_init_timed(aqw_condition *condition) {
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error != 0) return error;
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0) error = pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return error;
}
static inline void aqw_system_wait_until(aqw_condition *condition, aqw_system_mutex *mutex,
                                        uint64_t deadline_ns) {
    struct timespec deadline = aqw_timespec_of(deadline_ns);
    (void)pthread_cond_timedwait(condition, mutex, &deadline);
}

#endif

/* The new thread has every signal blocked: signals belong to the threads of the
 * embedding program. */
static inline int aqw_thread_start(aqw_thread *thread, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return -1;
    int error = pthread_create(thread, NULL, run, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}
static inline void aqw_thread_join(aqw_thread thread) { (void)pthread_join(thread, NULL); }

#endif

#if !defined(NDEBUG)
#include <stdatomic.h>
#endif

typedef struct aqw_mutex {
    aqw_system_mutex system;
#if !defined(NDEBUG)
    _Atomic uint64_t holder;    /* the number of the thread that holds it; 0 while no thread does */
#endif
} aqw_mutex;

#define AQW_MUTEX_INITIALIZER {.system = AQW_SYSTEM_MUTEX_INITIALIZER}

#if defined(NDEBUG)
int aqw_mutex_is_held(aqw_mutex *mutex);    /* only for AQW_ASSERT, which does not call it here */
#else
/* Returns 1 where the calling thread holds it. Only that thread ever notes its own number, so no
 * order of memory is needed. */
static inline int aqw_mutex_is_held(aqw_mutex *mutex) {
    return atomic_load_explicit(&mutex->holder, memory_order_relaxed) == aqw_thread_number();
}
static inline void aqw_mutex_note(aqw_mutex *mutex, uint64_t holder) {
    atomic_store_explicit(&mutex->holder, holder, memory_order_relaxed);
}
#endif

/* Returns 0 or an errno value. Also works over a mutex that a thread of the parent held when this
 * process was forked. */
static inline int aqw_mutex_init(aqw_mutex *mutex) {
    AQW_DEBUG(aqw_mutex_note(mutex, 0));
    return aqw_system_mutex_init(&mutex->system);
}
static inline void aqw_mutex_destroy(aqw_mutex *mutex) {
    AQW_ASSERT(!aqw_mutex_is_held(mutex));
    aqw_system_mutex_destroy(&mutex->system);
}
static inline void aqw_mutex_lock(aqw_mutex *mutex) {
    AQW_ASSERT(!aqw_mutex_is_held(mutex));
    aqw_system_mutex_lock(&mutex->system);
    AQW_DEBUG(aqw_mutex_note(mutex, aqw_thread_number()));
}
/* Returns 1 where the caller holds it now. */
static inline int aqw_mutex_try_lock(aqw_mutex *mutex) {
    AQW_ASSERT(!aqw_mutex_is_held(mutex));
    int is_taken = aqw_system_mutex_try_lock(&mutex->system);
    if (is_taken) AQW_DEBUG(aqw_mutex_note(mutex, aqw_thread_number()));
    return is_taken;
}
static inline void aqw_mutex_unlock(aqw_mutex *mutex) {
    AQW_ASSERT(aqw_mutex_is_held(mutex));
    AQW_DEBUG(aqw_mutex_note(mutex, 0));
    aqw_system_mutex_unlock(&mutex->system);
}

/* Waits until the condition is woken, or for no reason; gives the mutex up meanwhile. */
static inline void aqw_condition_wait(aqw_condition *condition, aqw_mutex *mutex) {
    AQW_ASSERT(aqw_mutex_is_held(mutex));
    AQW_DEBUG(aqw_mutex_note(mutex, 0));
    aqw_system_wait(condition, &mutex->system);
    AQW_DEBUG(aqw_mutex_note(mutex, aqw_thread_number()));
}
/* Does the same, but no longer than until the monotonic clock reaches the deadline. */
static inline void aqw_condition_wait_until(aqw_condition *condition, aqw_mutex *mutex,
                                            uint64_t deadline_ns) {
    AQW_ASSERT(aqw_mutex_is_held(mutex));
    AQW_DEBUG(aqw_mutex_note(mutex, 0));
    aqw_system_wait_until(condition, &mutex->system, deadline_ns);
    AQW_DEBUG(aqw_mutex_note(mutex, aqw_thread_number()));
}

#endif
