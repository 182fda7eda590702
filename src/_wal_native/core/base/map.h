/* An index over rows 1 to `count`, by hash. The map keeps no keys: a lookup yields the rows whose
 * hash may match, and the caller, which owns the rows, compares them. Rows are added in the order
 * of their numbers, and removed in the opposite order.
 *
 * Growth is incremental: a map that grows takes a store of twice the size, and every insert that
 * follows enters a few of the old rows there, so that no single insert pays for all. It enters them
 * in the order of their numbers, which reads the rows as they lie in memory. */
#ifndef AQW_MAP_H
#define AQW_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

#define AQW_MAP_BUCKET_SLOTS 12

/* One cache line. */
typedef struct aqw_map_bucket {
    uint8_t tags[AQW_MAP_BUCKET_SLOTS];     /* eight bits of the hash, 0 for an empty slot */
    uint32_t overflow;                      /* entries that found this bucket full and went on */
    uint32_t rows[AQW_MAP_BUCKET_SLOTS];
} aqw_map_bucket;

typedef struct aqw_map_store {
    aqw_map_bucket *buckets;
    uint32_t bucket_count;      /* a power of two, or 0 */
    void *block;                /* what `buckets` was aligned in */
} aqw_map_store;

/* Computes the hash of a row that is in the map. */
typedef uint64_t (*aqw_map_hash)(const void *context, uint32_t row);

typedef struct aqw_map {
    aqw_heap *heap;
    aqw_map_hash hash_of;
    const void *context;
    aqw_map_store current;
    aqw_map_store old;          /* until all of its rows are in `current` */
    uint32_t moved_rows;        /* rows 1 to this one are in both */
    uint32_t old_rows;          /* rows 1 to this one are in `old` */
    uint32_t count;
    uint64_t count_max;         /* rows that `current` has room for */
} aqw_map;

/* A lookup under way. */
typedef struct aqw_map_probe {
    uint32_t bucket;
    uint32_t buckets_left;
    uint32_t home;              /* low bits of the hash */
    uint8_t slot;
    uint8_t tag;
    uint8_t is_in_old;
} aqw_map_probe;

void aqw_map_init(aqw_map *map, aqw_heap *heap, aqw_map_hash hash_of, const void *context);
void aqw_map_free(aqw_map *map);

/* Starts a lookup; then next yields one candidate row after the other, and 0 after the last. The
 * map must not change in between. */
void aqw_map_find(const aqw_map *map, uint64_t hash, aqw_map_probe *probe);
uint32_t aqw_map_next(const aqw_map *map, aqw_map_probe *probe);

/* Asks the processor to fetch the memory that a lookup or an insert of this hash will
 * look at. Changes nothing. */
void aqw_map_fetch(const aqw_map *map, uint64_t hash);

/* Makes sure that the next `extra` inserts can't fail. */
aqw_status aqw_map_reserve(aqw_map *map, uint32_t extra);
/* Adds row count + 1, for which there is room. */
void aqw_map_insert(aqw_map *map, uint64_t hash);
/* Removes row `count`, which was inserted with this hash. */
void aqw_map_remove(aqw_map *map, uint64_t hash);

#endif
