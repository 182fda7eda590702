#if defined(__linux__)
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#endif

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(__linux__)
#define HUGE_BLOCK ((size_t)4 << 20)
#define PAGE ((uintptr_t)4096)

/* Lookups hit an index of millions of rows all over: with small pages the processor would spend
 * most of the time looking up addresses. The system may decline. */
static void prefer_huge_pages(void *block, size_t size) {
    uintptr_t begin = ((uintptr_t)block + PAGE - 1) & ~(PAGE - 1);
    if (size >= HUGE_BLOCK)
        (void)madvise((void *)begin, (size - PAGE) & ~(size_t)(PAGE - 1), MADV_HUGEPAGE);
}
#else
static void prefer_huge_pages(void *block, size_t size) { (void)block, (void)size; }
#endif

/* calloc rather than malloc: large zeroed blocks come from the system untouched, so that growing
 * an index does not write all of it at once. */
static void *system_allocate(void *context, size_t size) {
    (void)context;
    void *block = calloc(1, size);
    if (block) prefer_huge_pages(block, size);
    return block;
}

static void system_release(void *context, void *block) {
    (void)context;
    free(block);
}

void aqw_heap_init(aqw_heap *heap, const aqw_memory *memory) {
    static const aqw_memory system_memory = {system_allocate, system_release, NULL};
    heap->memory = memory ? *memory : system_memory;
    heap->taken_bytes = 0;
}

void *aqw_heap_take(aqw_heap *heap, size_t size) {
    void *block = heap->memory.allocate(heap->memory.context, size);
    if (block) heap->taken_bytes += size;
    return block;
}

void aqw_heap_return(aqw_heap *heap, void *block, size_t size) {
    if (!block) return;
    heap->taken_bytes -= size;
    heap->memory.release(heap->memory.context, block);
}
