/* Invariant: every chunk is on the list from `newest`. `current` is one of them, or NULL while no
 * chunk takes small blocks. Chunks are added at the head only, so the chunks taken after a mark are
 * the list's head down to the mark's chunk. */
#include "base/arena.h"

#include "base/assert.h"

#define LARGE_SHARE 4   /* a larger block than chunk_size / LARGE_SHARE gets its own chunk */

_Static_assert(sizeof(aqw_arena_chunk) % 8 == 0, "the bytes after the header are aligned");

static uint8_t *chunk_bytes(aqw_arena_chunk *chunk) { return (uint8_t *)(chunk + 1); }

static aqw_arena_chunk *add_chunk(aqw_arena *arena, size_t size) {
    if (size > SIZE_MAX - sizeof(aqw_arena_chunk)) return NULL;
    aqw_arena_chunk *chunk = aqw_heap_take(arena->heap, sizeof(aqw_arena_chunk) + size);
    if (!chunk) return NULL;
    chunk->previous = arena->newest;
    chunk->size = size;
    chunk->used = 0;
    arena->newest = chunk;
    return chunk;
}

static void free_chunk(aqw_arena *arena, aqw_arena_chunk *chunk) {
    aqw_heap_return(arena->heap, chunk, sizeof(aqw_arena_chunk) + chunk->size);
}

/* Returns where the next block would start, or SIZE_MAX where the chunk has no room for it. */
static size_t place_in(const aqw_arena_chunk *chunk, size_t size, size_t alignment) {
    if (!chunk) return SIZE_MAX;
    size_t start = (chunk->used + alignment - 1) & ~(alignment - 1);
    return start <= chunk->size && size <= chunk->size - start ? start : SIZE_MAX;
}

void aqw_arena_init(aqw_arena *arena, aqw_heap *heap, size_t chunk_size) {
    arena->heap = heap;
    arena->chunk_size = chunk_size;
    arena->newest = NULL;
    arena->current = NULL;
}

void aqw_arena_free(aqw_arena *arena) {
    aqw_arena_mark empty = {NULL, NULL, 0};
    aqw_arena_release(arena, empty);
}

aqw_status aqw_arena_reserve(aqw_arena *arena, size_t size) {
    if (place_in(arena->current, size, 8) != SIZE_MAX) return AQW_OK;
    aqw_arena_chunk *chunk = add_chunk(arena, size > arena->chunk_size ? size : arena->chunk_size);
    if (!chunk) return AQW_NO_MEMORY;
    arena->current = chunk;
    AQW_ASSERT(place_in(arena->current, size, 8) != SIZE_MAX);
    return AQW_OK;
}

uint8_t *aqw_arena_take(aqw_arena *arena, size_t size, size_t alignment) {
    aqw_arena_chunk *chunk = arena->current;
    size_t start = place_in(chunk, size, alignment);
    if (start == SIZE_MAX) {
        int is_large = size > arena->chunk_size / LARGE_SHARE;
        chunk = add_chunk(arena, is_large ? size : arena->chunk_size);
        if (!chunk) return NULL;
        if (!is_large) arena->current = chunk;
        start = 0;
    }
    AQW_ASSERT(start <= chunk->size && size <= chunk->size - start);
    chunk->used = start + size;
    return chunk_bytes(chunk) + start;
}

aqw_arena_mark aqw_arena_mark_get(const aqw_arena *arena) {
    aqw_arena_mark mark = {arena->newest, arena->current,
                           arena->current ? arena->current->used : 0};
    return mark;
}

void aqw_arena_release(aqw_arena *arena, aqw_arena_mark mark) {
    while (arena->newest != mark.newest) {
        AQW_ASSERT(arena->newest != NULL);
        aqw_arena_chunk *chunk = arena->newest;
        arena->newest = chunk->previous;
        free_chunk(arena, chunk);
    }
    arena->current = mark.current;
    if (arena->current) arena->current->used = mark.used;
}

void aqw_arena_clear(aqw_arena *arena) {
    aqw_arena_chunk *kept = NULL;
    while (arena->newest) {
        aqw_arena_chunk *chunk = arena->newest;
        arena->newest = chunk->previous;
        if (!kept && chunk->size == arena->chunk_size) {
            kept = chunk;
        } else {
            free_chunk(arena, chunk);
        }
    }
    if (kept) {
        kept->previous = NULL;
        kept->used = 0;
    }
    arena->newest = kept;
    arena->current = kept;
}
