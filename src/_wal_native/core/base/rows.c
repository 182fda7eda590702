#include "base/rows.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"

#define FIRST_CHUNK_CAPACITY 8u
#define SLAB_SHARE 8u   /* a slab has at most this part of the chunks there are, */
#define SLAB_SIZE_MAX ((size_t)8 << 20)         /* and at most this many bytes */

static uint64_t capacity_of(const aqw_rows *rows) {
    return (uint64_t)rows->chunk_count * AQW_ROWS_PER_CHUNK;
}

static size_t chunk_size(const aqw_rows *rows) {
    return (size_t)rows->row_size * AQW_ROWS_PER_CHUNK;
}

/* Returns how many chunks the rows take at once, as one block, after `chunk_count` of them:
 * memory.c asks for huge pages for large blocks. It depends on that number alone, so that freeing
 * finds the blocks again. */
static uint32_t slab_chunks(const aqw_rows *rows, uint32_t chunk_count) {
    size_t most = SLAB_SIZE_MAX / chunk_size(rows), chunks = chunk_count / SLAB_SHARE;
    if (chunks > most) chunks = most;
    return chunks > 0 ? (uint32_t)chunks : 1;
}

void aqw_rows_init(aqw_rows *rows, aqw_heap *heap, uint32_t row_size) {
    memset(rows, 0, sizeof *rows);
    rows->heap = heap;
    rows->row_size = row_size;
}

void aqw_rows_free(aqw_rows *rows) {
    for (uint32_t at = 0, size; at < rows->chunk_count; at += size) {
        size = slab_chunks(rows, at);
        aqw_heap_return(rows->heap, rows->chunks[at], size * chunk_size(rows));
    }
    aqw_heap_return(rows->heap, rows->chunks, rows->chunk_capacity * sizeof(uint8_t *));
    aqw_rows_init(rows, rows->heap, rows->row_size);
}

/* A slab never has more chunks than there were before it, so a list of twice the size
 * has room for it. */
static aqw_status grow_list(aqw_rows *rows) {
    uint32_t capacity = rows->chunk_capacity ? rows->chunk_capacity * 2 : FIRST_CHUNK_CAPACITY;
    uint8_t **chunks = aqw_heap_take(rows->heap, capacity * sizeof(uint8_t *));
    if (!chunks) return AQW_NO_MEMORY;
    if (rows->chunk_count) memcpy(chunks, rows->chunks, rows->chunk_count * sizeof(uint8_t *));
    aqw_heap_return(rows->heap, rows->chunks, rows->chunk_capacity * sizeof(uint8_t *));
    rows->chunks = chunks;
    rows->chunk_capacity = capacity;
    return AQW_OK;
}

aqw_status aqw_rows_reserve(aqw_rows *rows, uint32_t extra) {
    if (extra > AQW_ROW_COUNT_MAX - rows->count) return AQW_NO_MEMORY;
    uint64_t needed = (uint64_t)rows->count + extra;
    while (capacity_of(rows) < needed) {
        uint32_t slab = slab_chunks(rows, rows->chunk_count);
        if (rows->chunk_count + slab > rows->chunk_capacity && grow_list(rows) != AQW_OK)
            return AQW_NO_MEMORY;
        uint8_t *block = aqw_heap_take(rows->heap, slab * chunk_size(rows));
        if (!block) return AQW_NO_MEMORY;
        for (uint32_t i = 0; i < slab; i++)
            rows->chunks[rows->chunk_count++] = block + i * chunk_size(rows);
    }
    AQW_ASSERT(capacity_of(rows) - rows->count >= extra);
    AQW_ASSERT(rows->chunk_count <= rows->chunk_capacity);
    return AQW_OK;
}

uint32_t aqw_rows_add(aqw_rows *rows) {
    uint32_t row = ++rows->count;
    AQW_ASSERT(capacity_of(rows) >= row);
    memset(aqw_rows_at(rows, row), 0, rows->row_size);
    return row;
}

void *aqw_rows_at(const aqw_rows *rows, uint32_t row) {
    AQW_ASSERT(row >= 1 && row <= rows->count);
    uint32_t index = row - 1;
    return rows->chunks[index / AQW_ROWS_PER_CHUNK] +
           (size_t)(index % AQW_ROWS_PER_CHUNK) * rows->row_size;
}

void aqw_rows_truncate(aqw_rows *rows, uint32_t count) {
    AQW_ASSERT(count <= rows->count);
    rows->count = count;
}
