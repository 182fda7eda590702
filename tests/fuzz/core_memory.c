#include "core_memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

void *core_malloc(size_t size);
void *core_calloc(size_t count, size_t size);
void *core_realloc(void *block, size_t size);
void core_free(void *block);

/* Of all threads: the core's may give back what the caller's took. */
static _Atomic uint64_t taken, peak, taken_before;

static void *take(void *block) {
    if (block == NULL) return NULL;
    uint64_t now = atomic_fetch_add(&taken, malloc_usable_size(block)) + malloc_usable_size(block), most = atomic_load(&peak);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {}
    return block;
}

void *core_malloc(size_t size) { return take(malloc(size)); }

void *core_calloc(size_t count, size_t size) { return take(calloc(count, size)); }

/* The old block and the new one may be there together for a moment; that they are is the C library's choice, and not counted. */
void *core_realloc(void *block, size_t size) {
    size_t before = block == NULL ? 0 : malloc_usable_size(block);
    void *grown = realloc(block, size);
    if (grown != NULL) atomic_fetch_sub(&taken, before);
    return take(grown);
}

void core_free(void *block) {
    if (block != NULL) atomic_fetch_sub(&taken, malloc_usable_size(block));
    free(block);
}

void memory_watch(void) {
    atomic_store(&taken_before, atomic_load(&taken));
    atomic_store(&peak, atomic_load(&taken));
}

uint64_t memory_peak(void) { return atomic_load(&peak) - atomic_load(&taken_before); }

uint64_t memory_bound(uint64_t size, uint64_t used) { return FILE_FACTOR * size + TABLE_FACTOR * used + MEMORY_BASE; }
