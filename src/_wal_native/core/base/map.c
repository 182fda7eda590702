/* Invariants:
 *  - An entry is in its home bucket (low bits of the hash) or, where that was full, in the first
 *    bucket after it that was not; every bucket passed on the way counts the entry in `overflow`.
 *    So a lookup stops at a bucket without overflow, and removing an entry loses no other.
 *  - While the map grows, `old` holds rows 1 to old_rows, `current` rows 1 to moved_rows and those
 *    after old_rows. A lookup looks into both, and finds a row that is in both in `current` first.
 *  - `current` has room for all rows. */
#include "base/map.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"

#define CACHE_LINE 64u
#define INSERTS_PER_MOVE 8u     /* one insert in this many also moves old rows, */
#define MOVED_AT_ONCE 32u       /* this many at once, whose buckets come from memory together */

_Static_assert(sizeof(aqw_map_bucket) == CACHE_LINE, "a bucket is a cache line");
_Static_assert(MOVED_AT_ONCE > INSERTS_PER_MOVE, "all rows are moved before the next growth");
_Static_assert(AQW_MAP_BUCKET_SLOTS == 12, "the tags are read as eight and four bytes");

#define LOW_BITS 0x7f7f7f7f7f7f7f7fu

static uint8_t tag_of(uint64_t hash) {
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag ? tag : 1;
}

/* Four fifths of the slots: few buckets overflow, and an entry costs 7 to 13 bytes. */
static uint64_t entries_max(uint32_t bucket_count) {
    return (uint64_t)bucket_count * AQW_MAP_BUCKET_SLOTS * 4 / 5;
}

static size_t block_size(uint32_t bucket_count) {
    return (size_t)bucket_count * sizeof(aqw_map_bucket) + CACHE_LINE;
}

static aqw_status store_take(aqw_map_store *store, aqw_heap *heap, uint32_t bucket_count) {
    void *block = aqw_heap_take(heap, block_size(bucket_count));
    if (!block) return AQW_NO_MEMORY;
    uintptr_t misaligned = (uintptr_t)block % CACHE_LINE;
    store->block = block;
    store->buckets = (aqw_map_bucket *)(void *)((uint8_t *)block +
                                                (misaligned ? CACHE_LINE - misaligned : 0));
    store->bucket_count = bucket_count;
    return AQW_OK;
}

static void store_return(aqw_map_store *store, aqw_heap *heap) {
    if (store->block) aqw_heap_return(heap, store->block, block_size(store->bucket_count));
    memset(store, 0, sizeof *store);
}

/* Returns the high bit of each byte that is zero. */
static uint64_t zero_bytes(uint64_t bytes) {
    return ~(((bytes & LOW_BITS) + LOW_BITS) | bytes | LOW_BITS);
}

/* Returns the place of the lowest of these bits' bytes; at least one bit is set. */
static int first_byte(uint64_t high_bits) {
#if defined(__GNUC__)
    return __builtin_ctzll(high_bits) / 8;
#else
    int place = 0;
    for (; (high_bits & 0xff) == 0; high_bits >>= 8) place++;
    return place;
#endif
}

/* Returns the first slot from `from` on with this tag, or -1. */
static int find_slot(const aqw_map_bucket *bucket, uint8_t tag, int from) {
    uint64_t pattern = tag * 0x0101010101010101u;
    if (from < 8) {
        uint64_t found = zero_bytes(aqw_load_u64(bucket->tags) ^ pattern) >> (8 * from);
        if (found) return from + first_byte(found);
        from = 8;
    }
    uint64_t rest = (aqw_load_u32(bucket->tags + 8) ^ (pattern & 0xffffffffu)) |
                    0xffffffff00000000u;
    uint64_t found = zero_bytes(rest) >> (8 * (from - 8));
    return found ? from + first_byte(found) : -1;
}

static void fetch(const void *address) {
#if defined(__GNUC__)
    __builtin_prefetch(address, 1);
#else
    (void)address;
#endif
}

static void store_insert(aqw_map_store *store, uint64_t hash, uint32_t row) {
    uint32_t mask = store->bucket_count - 1;
    for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
        aqw_map_bucket *bucket = &store->buckets[at];
        int slot = find_slot(bucket, 0, 0);
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
        AQW_ASSERT(bucket->overflow > 0);
        bucket->overflow--;
    }
}

static void move_some(aqw_map *map) {
    uint64_t hashes[MOVED_AT_ONCE];
    uint32_t left = map->old_rows - map->moved_rows;
    uint32_t count = left < MOVED_AT_ONCE ? left : MOVED_AT_ONCE,
             mask = map->current.bucket_count - 1;
    for (uint32_t i = 0; i < count; i++) {
        hashes[i] = map->hash_of(map->context, map->moved_rows + 1 + i);
        fetch(&map->current.buckets[(uint32_t)hashes[i] & mask]);
    }
    for (uint32_t i = 0; i < count; i++) store_insert(&map->current, hashes[i], ++map->moved_rows);
    if (map->moved_rows == map->old_rows) store_return(&map->old, map->heap);
}

static void move_all(aqw_map *map) {
    while (map->old.bucket_count) move_some(map);
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
    map->count_max = 0;
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
        if (probe->slot < AQW_MAP_BUCKET_SLOTS) {
            int slot = find_slot(bucket, probe->tag, probe->slot);
            if (slot >= 0) {
                probe->slot = (uint8_t)(slot + 1);
                return bucket->rows[slot];
            }
        }
        if (bucket->overflow == 0) break;
        probe->buckets_left--;
        probe->bucket = (probe->bucket + 1) & (store->bucket_count - 1);
        probe->slot = 0;
    }
    probe->buckets_left = 0;
    return 0;
}

void aqw_map_fetch(const aqw_map *map, uint64_t hash) {
    if (map->current.bucket_count)
        fetch(&map->current.buckets[(uint32_t)hash & (map->current.bucket_count - 1)]);
    if (map->old.bucket_count)
        fetch(&map->old.buckets[(uint32_t)hash & (map->old.bucket_count - 1)]);
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
    if (needed <= map->count_max) return AQW_OK;
    if (needed > AQW_ROW_COUNT_MAX) return AQW_NO_MEMORY;
    uint32_t bucket_count = map->current.bucket_count ? map->current.bucket_count : 1;
    while (entries_max(bucket_count) < needed) bucket_count *= 2;

    aqw_map_store grown;
    if (store_take(&grown, map->heap, bucket_count) != AQW_OK) return AQW_NO_MEMORY;
    move_all(map);
    map->old = map->current;
    map->old_rows = map->count;
    map->moved_rows = 0;
    map->current = grown;
    map->count_max = entries_max(bucket_count);
    AQW_ASSERT(map->count + (uint64_t)extra <= map->count_max);
    return AQW_OK;
}

void aqw_map_insert(aqw_map *map, uint64_t hash) {
    AQW_ASSERT(map->count < map->count_max);
    if (map->old.bucket_count && map->count % INSERTS_PER_MOVE == 0) move_some(map);
    store_insert(&map->current, hash, ++map->count);
}

void aqw_map_remove(aqw_map *map, uint64_t hash) {
    AQW_ASSERT(map->count > 0);
    uint32_t row = map->count--;
    if (row <= map->moved_rows || row > map->old_rows) store_remove(&map->current, hash, row);
    if (row > map->old_rows) return;
    if (map->old.bucket_count) store_remove(&map->old, hash, row);
    map->old_rows = row - 1;
    if (map->moved_rows > map->old_rows) map->moved_rows = map->old_rows;
}

#if !defined(NDEBUG)

/* What a store holds, and what it should: how many rows, and the sum of their numbers. The two
 * together tell a row that is missing or there twice. */
typedef struct tally {
    uint64_t count, sum;
} tally;

static void add_range(tally *to, uint32_t first, uint32_t last) {
    if (last < first) return;
    to->count += (uint64_t)last - first + 1;
    to->sum += ((uint64_t)first + last) * ((uint64_t)last - first + 1) / 2;
}

/* Every passed bucket counts the entry that went on: so there are as many steps as overflows. */
static void check_store(const aqw_map *map, const aqw_map_store *store, const tally *expected) {
    tally found = {0, 0};
    uint64_t steps = 0, overflows = 0;
    for (uint32_t at = 0; at < store->bucket_count; at++) {
        const aqw_map_bucket *bucket = &store->buckets[at];
        overflows += bucket->overflow;
        for (int slot = 0; slot < AQW_MAP_BUCKET_SLOTS; slot++) {
            if (bucket->tags[slot] == 0) continue;
            AQW_ASSERT(bucket->rows[slot] >= 1 && bucket->rows[slot] <= map->count);
            uint64_t hash = map->hash_of(map->context, bucket->rows[slot]);
            AQW_ASSERT(bucket->tags[slot] == tag_of(hash));
            steps += (at - (uint32_t)hash) & (store->bucket_count - 1);
            add_range(&found, bucket->rows[slot], bucket->rows[slot]);
        }
    }
    AQW_ASSERT(steps == overflows);
    AQW_ASSERT(found.count == expected->count && found.sum == expected->sum);
}

int aqw_map_check(const aqw_map *map) {
    tally in_current = {0, 0}, in_old = {0, 0};
    AQW_ASSERT(map->count <= map->count_max);
    if (map->old.bucket_count) {
        AQW_ASSERT(map->moved_rows <= map->old_rows && map->old_rows <= map->count);
        add_range(&in_old, 1, map->old_rows);
        add_range(&in_current, 1, map->moved_rows);
        add_range(&in_current, map->old_rows + 1, map->count);
    } else {
        add_range(&in_current, 1, map->count);
    }
    check_store(map, &map->current, &in_current);
    check_store(map, &map->old, &in_old);
    return 1;
}

#endif
