#include "memory.h"

#include <stdlib.h>

/* calloc rather than malloc: large zeroed blocks come from the system untouched, so that growing
 * an index does not write all of it at once. */
static void *system_allocate(void *context, size_t size) {
    (void)context;
    return calloc(1, size);
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
