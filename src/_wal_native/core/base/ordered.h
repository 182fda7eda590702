/* A set of entries (words, row), in the order of their words, the first one first, and then of their
 * rows: a tree of nodes of 64 entries (a B+ tree). Changes and lookups take a few nodes, however
 * large the set. An entry takes 8 bytes for each word of the set and 4 for the row, in nodes that
 * are half to wholly full, and about a quarter where most entries have gone. Entries that are added
 * in their order fill their nodes. */
#ifndef AQW_ORDERED_H
#define AQW_ORDERED_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

#define AQW_ORDERED_WORDS_MAX 3

/* Words beyond those of the set mean nothing. */
typedef struct aqw_ordered_entry {
    uint64_t words[AQW_ORDERED_WORDS_MAX];
    uint32_t row;
} aqw_ordered_entry;

typedef struct aqw_ordered_node aqw_ordered_node;

typedef struct aqw_ordered {
    aqw_heap *heap;
    aqw_ordered_node *root;     /* NULL for an empty set */
    uint32_t words;             /* that an entry has, from 1 on */
    uint32_t height;            /* levels of nodes above the leaves */
    uint32_t count;
} aqw_ordered;

void aqw_ordered_init(aqw_ordered *set, aqw_heap *heap, uint32_t words);
/* Empties the set and gives its memory back. */
void aqw_ordered_free(aqw_ordered *set);
/* Adds an entry. Nothing happens where it is in the set already. Returns AQW_NO_MEMORY, with the
 * set as it was, or AQW_OK. */
aqw_status aqw_ordered_add(aqw_ordered *set, aqw_ordered_entry entry);
/* Removes an entry. Returns 0, and does nothing, where it is not in the set. */
int aqw_ordered_remove(aqw_ordered *set, aqw_ordered_entry entry);
int aqw_ordered_has(const aqw_ordered *set, aqw_ordered_entry entry);
/* Copies up to `capacity` entries, the first ones after `after` (NULL: the first of all) whose
 * first word is at most `until`; returns their number. Where no entry has the row 0, one with it is
 * before all others with its words. */
uint32_t aqw_ordered_read(const aqw_ordered *set, const aqw_ordered_entry *after, uint64_t until,
                          aqw_ordered_entry *to, uint32_t capacity);

#endif
