#include "base/bitset.h"

#include <string.h>

#include "base/assert.h"

#define WORD_BITS 64u
#define CAPACITY_MIN 4096u

void aqw_bitset_init(aqw_bitset *set, aqw_heap *heap) {
    memset(set, 0, sizeof *set);
    set->heap = heap;
}

void aqw_bitset_free(aqw_bitset *set) {
    aqw_heap_return(set->heap, set->block, set->block_size);
    aqw_bitset_init(set, set->heap);
}

/* Returns the number of words in a level, for a capacity that is a power of two. */
static uint64_t words_in(uint64_t capacity, uint32_t level) {
    uint64_t words = capacity >> (6 * (level + 1));
    return words ? words : 1;
}

/* Fills in a level above the lowest from the one below. */
static void fill_level(aqw_bitset *set, uint32_t level) {
    uint64_t below = words_in(set->capacity, level - 1);
    for (uint64_t word = 0; word < below; word++) {
        if (set->levels[level - 1][word])
            set->levels[level][word / WORD_BITS] |= (uint64_t)1 << (word % WORD_BITS);
    }
}

aqw_status aqw_bitset_reserve(aqw_bitset *set, uint32_t number) {
    if (number < set->capacity) return AQW_OK;
    aqw_bitset grown;
    aqw_bitset_init(&grown, set->heap);
    grown.capacity = set->capacity ? set->capacity : CAPACITY_MIN;
    while (grown.capacity <= number) grown.capacity *= 2;

    uint64_t words[AQW_BITSET_LEVELS];
    uint64_t total = 0;
    do {
        AQW_ASSERT(grown.level_count < AQW_BITSET_LEVELS);
        words[grown.level_count] = words_in(grown.capacity, grown.level_count);
        total += words[grown.level_count];
    } while (words[grown.level_count++] > 1);
    if (total > SIZE_MAX / sizeof *grown.block) return AQW_NO_MEMORY;
    grown.block_size = (size_t)total * sizeof *grown.block;
    grown.block = aqw_heap_take(set->heap, grown.block_size);
    if (!grown.block) return AQW_NO_MEMORY;

    uint64_t *place = grown.block;
    for (uint32_t level = 0; level < grown.level_count; level++) {
        grown.levels[level] = place;
        place += words[level];
    }
    if (set->capacity) {
        memcpy(grown.levels[0], set->levels[0],
               (size_t)words_in(set->capacity, 0) * sizeof *grown.block);
        for (uint32_t level = 1; level < grown.level_count; level++) fill_level(&grown, level);
    }
    aqw_bitset_free(set);
    *set = grown;
    return AQW_OK;
}

int aqw_bitset_has(const aqw_bitset *set, uint32_t number) {
    if (number >= set->capacity) return 0;
    return (set->levels[0][number / WORD_BITS] >> (number % WORD_BITS)) & 1;
}

void aqw_bitset_add(aqw_bitset *set, uint32_t number) {
    AQW_ASSERT(number >= 1 && number < set->capacity);
    for (uint32_t level = 0; level < set->level_count; level++) {
        uint64_t *word = &set->levels[level][number / WORD_BITS];
        uint64_t before = *word;
        *word |= (uint64_t)1 << (number % WORD_BITS);
        if (before) return;     /* the levels above know this word */
        number /= WORD_BITS;
    }
}

void aqw_bitset_remove(aqw_bitset *set, uint32_t number) {
    if (!aqw_bitset_has(set, number)) return;
    for (uint32_t level = 0; level < set->level_count; level++) {
        uint64_t *word = &set->levels[level][number / WORD_BITS];
        *word &= ~((uint64_t)1 << (number % WORD_BITS));
        if (*word) return;
        number /= WORD_BITS;
    }
}

/* Returns the position of the lowest bit of a word that is not 0. */
static uint32_t lowest_bit(uint64_t word) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(word);
#else
    uint32_t position = 0;
    for (uint32_t step = 32; step; step /= 2) {
        if (!(word & (((uint64_t)1 << step) - 1))) {
            word >>= step;
            position += step;
        }
    }
    return position;
#endif
}

uint32_t aqw_bitset_next(const aqw_bitset *set, uint32_t number) {
    uint64_t from = (uint64_t)number + 1;   /* the least that may be returned, in the level */
    uint32_t level = 0;
    if (from >= set->capacity) return 0;
    /* Up, until a word has something from there on; */
    for (;; level++) {
        if (level == set->level_count) return 0;
        uint64_t at = from / WORD_BITS;
        if (at < words_in(set->capacity, level)) {
            uint64_t word = set->levels[level][at] & (UINT64_MAX << (from % WORD_BITS));
            if (word) {
                from = at * WORD_BITS + lowest_bit(word);
                break;
            }
        }
        from = at + 1;
    }
    /* and down again, each time to the first that the word has. */
    while (level--) from = from * WORD_BITS + lowest_bit(set->levels[level][from]);
    return (uint32_t)from;
}
