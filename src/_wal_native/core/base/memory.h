/* Where the core's memory comes from: a pair of functions that tests can replace, and a
 * count of the bytes taken. */
#ifndef AQW_MEMORY_H
#define AQW_MEMORY_H

#include <stddef.h>
#include <stdint.h>

typedef struct aqw_memory {
    void *(*allocate)(void *context, size_t size);  /* zeroed, aligned for any type; or NULL */
    void (*release)(void *context, void *block);
    void *context;
} aqw_memory;

typedef struct aqw_heap {
    aqw_memory memory;
    uint64_t taken_bytes;       /* taken and not yet returned, by the size asked for */
} aqw_heap;

/* Copies `memory`; NULL means the C library's functions. */
void aqw_heap_init(aqw_heap *heap, const aqw_memory *memory);
/* Returns a zeroed block, or NULL. */
void *aqw_heap_take(aqw_heap *heap, size_t size);
/* Gives a block back, with the size that it was taken with; NULL is fine. */
void aqw_heap_return(aqw_heap *heap, void *block, size_t size);

#endif
