/* An array of fixed-size rows, numbered from 1, that grows without moving them: rows lie in chunks
 * of AQW_ROWS_PER_CHUNK, and only the list of chunks is ever copied. Chunks are taken from the heap
 * in slabs, which grow with the array. */
#ifndef AQW_ROWS_H
#define AQW_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

#define AQW_ROWS_PER_CHUNK 1024

typedef struct aqw_rows {
    aqw_heap *heap;
    uint8_t **chunks;
    uint32_t chunk_count;
    uint32_t chunk_capacity;    /* of the list */
    uint32_t row_size;
    uint32_t count;
} aqw_rows;

void aqw_rows_init(aqw_rows *rows, aqw_heap *heap, uint32_t row_size);
void aqw_rows_free(aqw_rows *rows);
/* Makes sure that the next `extra` adds can't fail. Returns AQW_NO_MEMORY also where the rows would
 * pass AQW_ROW_COUNT_MAX. */
aqw_status aqw_rows_reserve(aqw_rows *rows, uint32_t extra);
/* Adds a zeroed row, for which there must be room, and returns its number. */
uint32_t aqw_rows_add(aqw_rows *rows);
/* Returns the row of a number from 1 to count. */
void *aqw_rows_at(const aqw_rows *rows, uint32_t row);
/* Drops the rows above `count`; their chunks stay for later rows. */
void aqw_rows_truncate(aqw_rows *rows, uint32_t count);

#endif
