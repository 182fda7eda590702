/* A bump allocator for bytes that live as long as the table. It takes blocks one after the other
 * from large chunks, never moves them, and gives them back only all at once or back to a mark. */
#ifndef AQW_ARENA_H
#define AQW_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

typedef struct aqw_arena_chunk {
    struct aqw_arena_chunk *previous;
    size_t size;                /* of the bytes that follow this header */
    size_t used;
} aqw_arena_chunk;

typedef struct aqw_arena {
    aqw_heap *heap;
    size_t chunk_size;
    aqw_arena_chunk *newest;
    aqw_arena_chunk *current;   /* small blocks come from it; a large one gets its own chunk */
} aqw_arena;

typedef struct aqw_arena_mark {
    aqw_arena_chunk *newest;
    aqw_arena_chunk *current;
    size_t used;
} aqw_arena_mark;

void aqw_arena_init(aqw_arena *arena, aqw_heap *heap, size_t chunk_size);
void aqw_arena_free(aqw_arena *arena);

/* Makes sure that the next takes, of `size` bytes together with their alignment, can't fail. */
aqw_status aqw_arena_reserve(aqw_arena *arena, size_t size);
/* Takes `size` bytes at a multiple of `alignment` (a power of two, at most 8) and doesn't zero
 * them. Returns NULL without memory, and only then: not for size 0 either. */
uint8_t *aqw_arena_take(aqw_arena *arena, size_t size, size_t alignment);

/* A release gives back everything taken after the mark. */
aqw_arena_mark aqw_arena_mark_get(const aqw_arena *arena);
void aqw_arena_release(aqw_arena *arena, aqw_arena_mark mark);
/* Gives everything back, but keeps one chunk for what comes next. */
void aqw_arena_clear(aqw_arena *arena);

#endif
