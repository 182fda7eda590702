#if !defined(_WIN32)

#if defined(__linux__)
#define _GNU_SOURCE
#else
#define _DARWIN_C_SOURCE
#endif

#include "os/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "os/thread.h"

enum { COUNT_MAX = 1 << 20, WORD_BITS = 64, STANDARD_COUNT = 3 };

static pthread_once_t watching = PTHREAD_ONCE_INIT;
static int watch_error;

/* The members below are under the mutex. */
static aqw_mutex mutex = AQW_MUTEX_INITIALIZER;
static uint64_t known[COUNT_MAX / WORD_BITS];   /* one bit for each descriptor */
static size_t words_used;

static void lock(void) { aqw_mutex_lock(&mutex); }

static void unlock(void) { aqw_mutex_unlock(&mutex); }

static void close_all(void) {
    AQW_ASSERT(aqw_mutex_is_held(&mutex));
    for (size_t word = 0; word < words_used; word++) {
        for (int bit = 0; known[word] != 0; bit++) {
            if ((known[word] >> bit & 1) == 0) continue;
            known[word] &= ~((uint64_t)1 << bit);
            (void)close((int)word * WORD_BITS + bit);
        }
    }
}

/* The child's only thread is the one that forked, and holds the mutex. */
static void in_child(void) {
    close_all();
    unlock();
}

static void watch(void) { watch_error = pthread_atfork(lock, unlock, in_child); }

static int is_known(int descriptor) {
    AQW_ASSERT(aqw_mutex_is_held(&mutex));
    return descriptor >= 0 && descriptor < COUNT_MAX &&
           (known[descriptor / WORD_BITS] >> (descriptor % WORD_BITS) & 1) != 0;
}

static void forget(int descriptor) {
    AQW_ASSERT(is_known(descriptor));
    known[descriptor / WORD_BITS] &= ~((uint64_t)1 << (descriptor % WORD_BITS));
}

static void note(int descriptor) {
    AQW_ASSERT(descriptor >= 0 && descriptor < COUNT_MAX);
    AQW_ASSERT(aqw_mutex_is_held(&mutex));
    size_t word = (size_t)descriptor / WORD_BITS;
    known[word] |= (uint64_t)1 << (descriptor % WORD_BITS);
    if (word >= words_used) words_used = word + 1;
}

/* Opens a file under a number that belongs to no standard stream. Where a process was started with
 * a stream closed, a directory holds its number meanwhile, which takes no writes; so what goes to
 * standard error never lands in a file of the queue. */
static int open_above(int parent, const char *name, int how) {
    int held[STANDARD_COUNT], count = 0;
    for (int standard = 0; standard < STANDARD_COUNT; standard++) {
        if (fcntl(standard, F_GETFD) >= 0 || errno != EBADF) continue;
        int placeholder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (placeholder < 0) break;
        if (placeholder < STANDARD_COUNT) held[count++] = placeholder;
        else (void)close(placeholder);
    }
    int descriptor = openat(parent, name, how, 0600);
    int error = errno;
    /* another thread has closed a stream just now */
    if (descriptor >= 0 && descriptor < STANDARD_COUNT) {
        int above = fcntl(descriptor, F_DUPFD_CLOEXEC, STANDARD_COUNT);
        error = errno;
        (void)close(descriptor);
        descriptor = above;
    }
    while (count > 0) (void)close(held[--count]);
    errno = error;
    return descriptor;
}

int aqw_descriptor_open(int parent, const char *name, int how) {
    int error = pthread_once(&watching, watch);
    if (error == 0) error = watch_error;
    if (error != 0) {
        errno = error;
        return -1;
    }
    lock();
    int descriptor = open_above(parent, name, how);
    error = errno;
    if (descriptor >= COUNT_MAX) {
        (void)close(descriptor);
        descriptor = -1;
        error = EMFILE;
    } else if (descriptor >= 0) {
        note(descriptor);
    }
    unlock();
    errno = error;
    return descriptor;
}

int aqw_descriptor_close(int descriptor) {
    int error = EBADF;
    lock();
    if (is_known(descriptor)) {
        forget(descriptor);
        error = close(descriptor) == 0 ? 0 : errno;
    }
    unlock();
    return error;
}

void aqw_descriptor_close_stream(DIR *stream) {
    lock();
    int descriptor = dirfd(stream);
    if (is_known(descriptor)) forget(descriptor);
    (void)closedir(stream);
    unlock();
}

#else
/* ISO C wants at least one declaration in a file. */
typedef int aqw_descriptors_is_empty;
#endif
