/* A set of (time, row), in that order: a tree of nodes of 64 entries (a B+ tree). Changes and
 * lookups take a few nodes, however large the set. An entry takes 12 bytes, in nodes that are half
 * to wholly full, and about a quarter where most entries have gone. Entries that are added in their
 * order fill their nodes. */
#ifndef AQW_ORDERED_H
#define AQW_ORDERED_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

typedef struct aqw_ordered_entry {
    uint64_t time;
    uint32_t row;
} aqw_ordered_entry;

typedef struct aqw_ordered_node aqw_ordered_node;

typedef struct aqw_ordered {
    aqw_heap *heap;
    aqw_ordered_node *root;     /* NULL for an empty set */
    uint32_t height;            /* levels of nodes above the leaves */
    uint32_t count;
} aqw_ordered;

void aqw_ordered_init(aqw_ordered *set, aqw_heap *heap);
/* Empties the set and gives its memory back. */
void aqw_ordered_free(aqw_ordered *set);
/* Adds an entry. Nothing happens where it is in the set already. Returns AQW_NO_MEMORY, with the
 * set as it was, or AQW_OK. */
aqw_status aqw_ordered_add(aqw_ordered *set, aqw_ordered_entry entry);
/* Removes an entry. Nothing happens where it is not in the set. */
void aqw_ordered_remove(aqw_ordered *set, aqw_ordered_entry entry);
int aqw_ordered_has(const aqw_ordered *set, aqw_ordered_entry entry);
/* Copies up to `capacity` entries, the first ones after `after` (NULL: the first of all) whose time
 * is at most `until`; returns their number. */
uint32_t aqw_ordered_read(const aqw_ordered *set, const aqw_ordered_entry *after, uint64_t until,
                          aqw_ordered_entry *to, uint32_t capacity);

#endif
