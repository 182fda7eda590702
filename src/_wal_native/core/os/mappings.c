#if defined(__linux__)
#define _GNU_SOURCE
#elif !defined(_WIN32)
#define _DARWIN_C_SOURCE
#endif

#include "os/mappings.h"

#if !defined(_WIN32)

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/limits.h"
#include "os/thread.h"

typedef struct mapping {
    /* 0: free. Set last and cleared first, because the handler reads it at any moment */
    _Atomic uintptr_t start;
    _Atomic size_t size;
    _Atomic int is_lost;
} mapping;

static mapping mappings[AQW_MAPPING_COUNT_MAX];
static _Atomic int any_lost;
/* Over every change of the list, and over the two members after it. */
static aqw_mutex mutex = AQW_MUTEX_INITIALIZER;
static struct sigaction previous;   /* written before the handler is installed */
static int was_installed;

/* Gives a fault that is not ours to the handler that was there before; without one the process
 * ends as it would have. */
static void pass_on(int number, siginfo_t *info, void *context) {
    if (((unsigned long)previous.sa_flags & (unsigned long)SA_SIGINFO) != 0) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else {
        struct sigaction end = {0};
        end.sa_handler = SIG_DFL;
        (void)sigaction(number, &end, NULL);
        /* The faulting instruction is met again; a signal that was sent is not. */
        if (info->si_code <= 0) (void)raise(number);
    }
}

static void handle(int number, siginfo_t *info, void *context) {
    int error = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    for (int i = 0; info->si_code > 0 && i < AQW_MAPPING_COUNT_MAX; i++) {
        uintptr_t start = atomic_load(&mappings[i].start);
        size_t size = atomic_load(&mappings[i].size);
        if (start == 0 || at < start || at - start >= size) continue;
        void *wanted = info->si_addr;
        wanted = (char *)wanted - (at - start);
        if (mmap(wanted, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                 -1, 0) == MAP_FAILED)
            break;
        atomic_store(&mappings[i].is_lost, 1);
        atomic_store(&any_lost, 1);
        errno = error;
        return;
    }
    pass_on(number, info, context);
    errno = error;
}

/* Installs the handler once, and again only where nothing is in its place: a handler that came
 * later leads to this one, and a circle of the two would never end. Under the mutex. */
static int install(void) {
    AQW_ASSERT(aqw_mutex_is_held(&mutex));
    struct sigaction current, ours = {0};
    if (sigaction(SIGBUS, NULL, &current) != 0) return errno;
    int is_empty = ((unsigned long)current.sa_flags & (unsigned long)SA_SIGINFO) == 0 &&
                   (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN);
    if (was_installed && !is_empty) return 0;
    previous = current;
    ours.sa_sigaction = handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    (void)sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, &ours, NULL) != 0) return errno;
    was_installed = 1;
    return 0;
}

int aqw_mapping_register(void *address, size_t size) {
    aqw_mutex_lock(&mutex);
    int error = install();
    int place = 0;
    /* A mapping that lay here before went without a word. */
    for (int i = 0; i < AQW_MAPPING_COUNT_MAX; i++) {
        uintptr_t start = atomic_load(&mappings[i].start);
        if (start < (uintptr_t)address + size &&
            (uintptr_t)address < start + atomic_load(&mappings[i].size))
            atomic_store(&mappings[i].start, 0);
    }
    while (place < AQW_MAPPING_COUNT_MAX && atomic_load(&mappings[place].start) != 0) place++;
    if (error == 0 && place == AQW_MAPPING_COUNT_MAX) error = ENOTSUP;
    if (error == 0) {
        atomic_store(&mappings[place].is_lost, 0);
        atomic_store(&mappings[place].size, size);
        atomic_store(&mappings[place].start, (uintptr_t)address);
    }
    aqw_mutex_unlock(&mutex);
    return error;
}

void aqw_mappings_forget_parents(void) {
    for (int i = 0; i < AQW_MAPPING_COUNT_MAX; i++) atomic_store(&mappings[i].start, 0);
    (void)aqw_mutex_init(&mutex);       /* a thread that does not exist here may have held it */
}

static mapping *find(const void *address) {
    for (int i = 0; i < AQW_MAPPING_COUNT_MAX; i++) {
        if (atomic_load(&mappings[i].start) == (uintptr_t)address) return &mappings[i];
    }
    return NULL;
}

void aqw_mapping_forget(const void *address) {
    aqw_mutex_lock(&mutex);
    mapping *found = address != NULL ? find(address) : NULL;
    if (found != NULL) atomic_store(&found->start, 0);
    aqw_mutex_unlock(&mutex);
}

int aqw_mapping_is_lost(const void *address) {
    if (!atomic_load_explicit(&any_lost, memory_order_relaxed) || address == NULL) return 0;
    const mapping *found = find(address);
    return found != NULL && atomic_load(&found->is_lost);
}

#else

void aqw_mappings_forget_parents(void) {}

int aqw_mapping_register(void *address, size_t size) {
    (void)address, (void)size;
    return 0;
}

void aqw_mapping_forget(const void *address) { (void)address; }

int aqw_mapping_is_lost(const void *address) {
    (void)address;
    return 0;
}

#endif
