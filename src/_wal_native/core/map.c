/* Invariants:
 *  - An entry is in its home bucket (low bits of the hash) or, where that was full, in the first one after it that
 *    was not; every bucket passed on the way counts it in `overflow`. So a lookup stops at a bucket without overflow,
 *    and removing an entry loses no other.
 *  - While the map grows, `old` holds rows 1 to old_rows, `current` rows 1 to moved_rows and those after old_rows. A
 *    lookup looks into both, and a row that is in both is found in `current` first.
 *  - `current` has room for all rows. */
#include "map.h"

#include <assert.h>
#include <string.h>

#include "limits.h"

#define CACHE_LINE 64u
#define MOVED_AT_ONCE 4u        /* old rows entered with each insert; at least 1, to be done before the next growth */

_Static_assert(sizeof(aqw_map_bucket) == CACHE_LINE, "a bucket is a cache line");

static uint8_t tag_of(uint64_t hash) {
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag ? tag : 1;
}

/* Four fifths: few buckets overflow, and an entry costs 7 to 13 bytes. */
static uint64_t entries_max(uint32_t bucket_count) { return (uint64_t)bucket_count * AQW_MAP_BUCKET_SLOTS * 4 / 5; }

static size_t block_size(uint32_t bucket_count) { return (size_t)bucket_count * sizeof(aqw_map_bucket) + CACHE_LINE; }

static aqw_status store_take(aqw_map_store *store, aqw_heap *heap, uint32_t bucket_count) {
    void *block = aqw_heap_take(heap, block_size(bucket_count));
    if (!block) return AQW_NO_MEMORY;
    uintptr_t misaligned = (uintptr_t)block % CACHE_LINE;
    store->block = block;
    store->buckets = (aqw_map_bucket *)(void *)((uint8_t *)block + (misaligned ? CACHE_LINE - misaligned : 0));
    store->bucket_count = bucket_count;
    return AQW_OK;
}

static void store_return(aqw_map_store *store, aqw_heap *heap) {
    if (store->block) aqw_heap_return(heap, store->block, block_size(store->bucket_count));
    memset(store, 0, sizeof *store);
}

static int empty_slot(const aqw_map_bucket *bucket) {
    for (int slot = 0; slot < AQW_MAP_BUCKET_SLOTS; slot++) {
        if (bucket->tags[slot] == 0) return slot;
    }
    return -1;
}

static void store_insert(aqw_map_store *store, uint64_t hash, uint32_t row) {
    uint32_t mask = store->bucket_count - 1;
    for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
        aqw_map_bucket *bucket = &store->buckets[at];
        int slot = empty_slot(bucket);
        if (slot >= 0) {
            bucket->tags[slot] = tag_of(hash);
            bucket->rows[slot] = row;
            return;
        }
        bucket->overflow++;
    }
}

static void store_remove(aqw_map_store *store, uint64_t hash, uint32_t row) {
    uint32_t mask = store->bucket_count - 1;
    for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
        aqw_map_bucket *bucket = &store->buckets[at];
        for (int slot = 0; slot < AQW_MAP_BUCKET_SLOTS; slot++) {
            if (bucket->tags[slot] == 0 || bucket->rows[slot] != row) continue;
            bucket->tags[slot] = 0;
            return;
        }
        assert(bucket->overflow > 0);
        bucket->overflow--;
    }
}

static void move_rows(aqw_map *map, uint32_t count) {
    for (uint32_t i = 0; i < count && map->moved_rows < map->old_rows; i++) {
        uint32_t row = ++map->moved_rows;
        store_insert(&map->current, map->hash_of(map->context, row), row);
    }
    if (map->moved_rows == map->old_rows) store_return(&map->old, map->heap);
}

void aqw_map_init(aqw_map *map, aqw_heap *heap, aqw_map_hash hash_of, const void *context) {
    memset(map, 0, sizeof *map);
    map->heap = heap;
    map->hash_of = hash_of;
    map->context = context;
}

void aqw_map_free(aqw_map *map) {
    store_return(&map->current, map->heap);
    store_return(&map->old, map->heap);
    map->moved_rows = 0;
    map->old_rows = 0;
    map->count = 0;
}

static void probe_store(aqw_map_probe *probe, const aqw_map_store *store) {
    probe->buckets_left = store->bucket_count;
    probe->bucket = store->bucket_count ? probe->home & (store->bucket_count - 1) : 0;
    probe->slot = 0;
}

void aqw_map_find(const aqw_map *map, uint64_t hash, aqw_map_probe *probe) {
    probe->home = (uint32_t)hash;
    probe->tag = tag_of(hash);
    probe->is_in_old = 0;
    probe_store(probe, &map->current);
}

static uint32_t next_in_store(const aqw_map_store *store, aqw_map_probe *probe) {
    while (probe->buckets_left) {
        const aqw_map_bucket *bucket = &store->buckets[probe->bucket];
        while (probe->slot < AQW_MAP_BUCKET_SLOTS) {
            uint8_t slot = probe->slot++;
            if (bucket->tags[slot] == probe->tag) return bucket->rows[slot];
        }
        if (bucket->overflow == 0) break;
        probe->buckets_left--;
        probe->bucket = (probe->bucket + 1) & (store->bucket_count - 1);
        probe->slot = 0;
    }
    probe->buckets_left = 0;
    return 0;
}

uint32_t aqw_map_next(const aqw_map *map, aqw_map_probe *probe) {
    if (!probe->is_in_old) {
        uint32_t row = next_in_store(&map->current, probe);
        if (row || map->old.bucket_count == 0) return row;
        probe->is_in_old = 1;
        probe_store(probe, &map->old);
    }
    return next_in_store(&map->old, probe);
}

aqw_status aqw_map_reserve(aqw_map *map, uint32_t extra) {
    uint64_t needed = (uint64_t)map->count + extra;
    if (needed <= entries_max(map->current.bucket_count)) return AQW_OK;
    if (needed > AQW_ROW_COUNT_MAX) return AQW_NO_MEMORY;
    uint32_t bucket_count = map->current.bucket_count ? map->current.bucket_count : 1;
    while (entries_max(bucket_count) < needed) bucket_count *= 2;

    aqw_map_store grown;
    if (store_take(&grown, map->heap, bucket_count) != AQW_OK) return AQW_NO_MEMORY;
    move_rows(map, UINT32_MAX);
    map->old = map->current;
    map->old_rows = map->count;
    map->moved_rows = 0;
    map->current = grown;
    return AQW_OK;
}

void aqw_map_insert(aqw_map *map, uint64_t hash) {
    assert(map->count < entries_max(map->current.bucket_count));
    if (map->old.bucket_count) move_rows(map, MOVED_AT_ONCE);
    store_insert(&map->current, hash, ++map->count);
}

void aqw_map_remove(aqw_map *map, uint64_t hash) {
    uint32_t row = map->count--;
    if (row <= map->moved_rows || row > map->old_rows) store_remove(&map->current, hash, row);
    if (row > map->old_rows) return;
    if (map->old.bucket_count) store_remove(&map->old, hash, row);
    map->old_rows = row - 1;
    if (map->moved_rows > map->old_rows) map->moved_rows = map->old_rows;
}
