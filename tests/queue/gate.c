/* A disk behind a gate, preloaded: each call that may wait for one returns only after another thread of the interpreter has run meanwhile.
 * A call that holds the interpreter's lock, or that is made under a lock for which a thread waits that holds it, never gets that; it is
 * noted with its name, after a long wait, and the gate stays open from then on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 2, WAIT_NS = 200000, WAITS_MAX = 100000 };

_Atomic unsigned long gate_ticks;   /* the other thread counts */
_Atomic int gate_is_closed;
_Atomic unsigned long gate_calls;
char gate_found[64];

static void stand(const char *call) {
    if (!atomic_load(&gate_is_closed)) return;
    atomic_fetch_add(&gate_calls, 1);
    unsigned long begun = atomic_load(&gate_ticks);
    const struct timespec pause = {0, WAIT_NS};
    for (int waits = 0; waits < WAITS_MAX && atomic_load(&gate_is_closed); waits++) {
        if (atomic_load(&gate_ticks) >= begun + STEPS) return;
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    if (atomic_exchange(&gate_is_closed, 0)) (void)snprintf(gate_found, sizeof gate_found, "%s", call);
}

#define GATE(type, name, parameters, arguments)                       \
    type name parameters {                                            \
        static type (*next) parameters;                               \
        if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, #name);  \
        stand(#name);                                                 \
        return next arguments;                                        \
    }

GATE(ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
GATE(ssize_t, pread64, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
GATE(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
GATE(ssize_t, pwrite64, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
GATE(int, fsync, (int fd), (fd))
GATE(int, fdatasync, (int fd), (fd))
GATE(int, ftruncate, (int fd, off_t size), (fd, size))
GATE(int, ftruncate64, (int fd, off_t size), (fd, size))
GATE(int, renameat, (int from, const char *old, int to, const char *name), (from, old, to, name))
GATE(int, unlinkat, (int parent, const char *name, int flags), (parent, name, flags))
GATE(int, mkdirat, (int parent, const char *name, mode_t mode), (parent, name, mode))
GATE(int, flock, (int fd, int how), (fd, how))
GATE(int, fstatat, (int parent, const char *name, struct stat *status, int flags), (parent, name, status, flags))
GATE(int, sync_file_range, (int fd, off_t at, off_t size, unsigned int flags), (fd, at, size, flags))

static int open_with(const char *call, int parent, const char *name, int how, va_list more) {
    static int (*next)(int, const char *, int, ...);
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "openat");
    stand(call);
    return next(parent, name, how, (how & O_CREAT) != 0 ? va_arg(more, mode_t) : 0);
}

int openat(int parent, const char *name, int how, ...) {
    va_list more;
    va_start(more, how);
    int fd = open_with("openat", parent, name, how, more);
    va_end(more);
    return fd;
}

int openat64(int parent, const char *name, int how, ...) {
    va_list more;
    va_start(more, how);
    int fd = open_with("openat64", parent, name, how, more);
    va_end(more);
    return fd;
}
