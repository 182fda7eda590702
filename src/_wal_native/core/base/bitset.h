/* A set of numbers from 1 on, a bit for each, that is walked in order. Above the bits are levels,
 * in which a bit says that a word of the level below is not empty, so that a walk goes past a
 * million absent numbers as fast as past one. */
#ifndef AQW_BITSET_H
#define AQW_BITSET_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

/* 64 to the power of this is more than any number. */
#define AQW_BITSET_LEVELS 6

typedef struct aqw_bitset {
    aqw_heap *heap;
    uint64_t *block;            /* all levels, one after the other */
    size_t block_size;
    uint64_t *levels[AQW_BITSET_LEVELS];
    uint32_t level_count;
    uint64_t capacity;          /* numbers below this have room */
} aqw_bitset;

void aqw_bitset_init(aqw_bitset *set, aqw_heap *heap);
/* Empties the set and gives its memory back. */
void aqw_bitset_free(aqw_bitset *set);
/* Makes room for a number and all below it. */
aqw_status aqw_bitset_reserve(aqw_bitset *set, uint32_t number);
int aqw_bitset_has(const aqw_bitset *set, uint32_t number);
/* Adds a number, for which there is room. Nothing happens where it is in the set already. */
void aqw_bitset_add(aqw_bitset *set, uint32_t number);
/* Removes a number. Nothing happens where it is not in the set. */
void aqw_bitset_remove(aqw_bitset *set, uint32_t number);
/* Returns the least number above the given one; 0 after the last. */
uint32_t aqw_bitset_next(const aqw_bitset *set, uint32_t number);

#endif
