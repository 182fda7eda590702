/* Invariants:
 *  - Entries are in leaves, all at the same depth. Child i > 0 of a node has the entries from the
 *    node's entry i on; child 0 has what is before entry 1, and entry 0 means nothing.
 *  - No node is empty. Two neighbours below the same node have more than WIDTH_LOW entries
 *    together: a node that falls below that is joined with one, unless they are too many. */
#include "base/ordered.h"

#include <string.h>

#include "base/assert.h"

#define WIDTH 64u
#define WIDTH_LOW (WIDTH / 2)
#define WIDTH_JOINED (WIDTH * 3 / 4)
#define HEIGHT_MAX 12u          /* nodes are a quarter full on average: enough for 2^32 entries */

/* After the words of all entries, first the first ones, come the children, of which leaves have
 * none. */
struct aqw_ordered_node {
    uint32_t count;
    uint32_t rows[WIDTH];
    uint64_t columns[];
};

_Static_assert(sizeof(aqw_ordered_node *) <= sizeof(uint64_t), "a child fits into a word");
_Static_assert(offsetof(aqw_ordered_node, columns) % sizeof(uint64_t) == 0, "words are aligned");

static size_t node_size(const aqw_ordered *set, uint32_t height) {
    size_t words = (size_t)set->words * WIDTH;
    size_t children = height ? WIDTH * sizeof(aqw_ordered_node *) : 0;
    return offsetof(aqw_ordered_node, columns) + words * sizeof(uint64_t) + children;
}

static aqw_ordered_node *take_node(aqw_ordered *set, uint32_t height) {
    return aqw_heap_take(set->heap, node_size(set, height));
}

static void return_node(aqw_ordered *set, aqw_ordered_node *node, uint32_t height) {
    aqw_heap_return(set->heap, node, node_size(set, height));
}

/* The words of a node's entries at one place. */
static uint64_t *column(aqw_ordered_node *node, uint32_t word) {
    return node->columns + (size_t)word * WIDTH;
}

static aqw_ordered_node **children_of(const aqw_ordered *set, const aqw_ordered_node *node) {
    return (aqw_ordered_node **)(void *)(uintptr_t)(node->columns + (size_t)set->words * WIDTH);
}

void aqw_ordered_init(aqw_ordered *set, aqw_heap *heap, uint32_t words) {
    AQW_ASSERT(words >= 1 && words <= AQW_ORDERED_WORDS_MAX);
    memset(set, 0, sizeof *set);
    set->heap = heap;
    set->words = words;
}

void aqw_ordered_free(aqw_ordered *set) {
    aqw_ordered_node *path[HEIGHT_MAX + 1];
    uint32_t height = set->height;
    path[height] = set->root;
    while (set->root) {
        aqw_ordered_node *node = path[height];
        if (height && node->count) {    /* down into the last child, which then is gone */
            path[height - 1] = children_of(set, node)[--node->count];
            height--;
            continue;
        }
        return_node(set, node, height);
        if (height++ == set->height) break;
    }
    aqw_ordered_init(set, set->heap, set->words);
}

/* ---- Inside a node ---- */

static aqw_ordered_entry entry_at(const aqw_ordered *set, const aqw_ordered_node *node,
                                  uint32_t at) {
    aqw_ordered_entry entry = {.row = node->rows[at]};
    for (uint32_t word = 0; word < set->words; word++)
        entry.words[word] = node->columns[(size_t)word * WIDTH + at];
    return entry;
}

static void set_entry(const aqw_ordered *set, aqw_ordered_node *node, uint32_t at,
                      const aqw_ordered_entry *entry) {
    node->rows[at] = entry->row;
    for (uint32_t word = 0; word < set->words; word++)
        column(node, word)[at] = entry->words[word];
}

/* Returns less than 0 where a node's entry is before the given one, 0 where it is that one. */
static int compare(const aqw_ordered *set, const aqw_ordered_node *node, uint32_t at,
                   const aqw_ordered_entry *entry) {
    for (uint32_t word = 0; word < set->words; word++) {
        uint64_t has = node->columns[(size_t)word * WIDTH + at];
        if (has != entry->words[word]) return has < entry->words[word] ? -1 : 1;
    }
    return node->rows[at] < entry->row ? -1 : node->rows[at] > entry->row;
}

/* Returns how many of a node's entries, from `from` on counted with those before it, are before the
 * given one. */
static uint32_t count_before(const aqw_ordered *set, const aqw_ordered_node *node, uint32_t from,
                             const aqw_ordered_entry *entry) {
    uint32_t to = node->count;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (compare(set, node, middle, entry) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static int is_at(const aqw_ordered *set, const aqw_ordered_node *node, uint32_t at,
                 const aqw_ordered_entry *entry) {
    return at < node->count && compare(set, node, at, entry) == 0;
}

/* Returns the child that has an entry, or would have it. */
static uint32_t child_for(const aqw_ordered *set, const aqw_ordered_node *node,
                          const aqw_ordered_entry *entry) {
    uint32_t at = count_before(set, node, 1, entry);
    return is_at(set, node, at, entry) ? at : at - 1;
}

static void move_entries(const aqw_ordered *set, aqw_ordered_node *to, uint32_t to_at,
                         aqw_ordered_node *from, uint32_t from_at, uint32_t count,
                         uint32_t height) {
    for (uint32_t word = 0; word < set->words; word++) {
        memmove(column(to, word) + to_at, column(from, word) + from_at,
                count * sizeof(uint64_t));
    }
    memmove(&to->rows[to_at], &from->rows[from_at], count * sizeof *to->rows);
    if (height) {
        memmove(children_of(set, to) + to_at, children_of(set, from) + from_at,
                count * sizeof(aqw_ordered_node *));
    }
}

static void insert_at(const aqw_ordered *set, aqw_ordered_node *node, uint32_t at,
                      const aqw_ordered_entry *entry, aqw_ordered_node *child, uint32_t height) {
    AQW_ASSERT(node->count < WIDTH && at <= node->count);
    move_entries(set, node, at + 1, node, at, node->count - at, height);
    set_entry(set, node, at, entry);
    if (height) children_of(set, node)[at] = child;
    node->count++;
}

static void remove_at(const aqw_ordered *set, aqw_ordered_node *node, uint32_t at,
                      uint32_t height) {
    move_entries(set, node, at, node, at + 1, node->count - at - 1, height);
    node->count--;
}

/* ---- Adding ---- */

/* Splits the full child of a node that is not full. An entry that comes after all others of the set
 * leaves the child as full as it can be. */
static aqw_status split_child(aqw_ordered *set, aqw_ordered_node *parent, uint32_t at,
                              uint32_t height, int comes_last) {
    aqw_ordered_node *left = children_of(set, parent)[at];
    aqw_ordered_node *right = take_node(set, height);
    if (!right) return AQW_NO_MEMORY;
    uint32_t kept = comes_last ? WIDTH - 1 : WIDTH / 2;
    right->count = WIDTH - kept;
    move_entries(set, right, 0, left, kept, right->count, height);
    left->count = kept;
    aqw_ordered_entry first = entry_at(set, right, 0);
    insert_at(set, parent, at + 1, &first, right, height + 1);
    return AQW_OK;
}

static aqw_status grow_root(aqw_ordered *set) {
    aqw_ordered_node *root = take_node(set, set->height + 1);
    if (!root) return AQW_NO_MEMORY;
    AQW_ASSERT(set->height < HEIGHT_MAX);
    root->count = 1;
    children_of(set, root)[0] = set->root;
    set->root = root;
    set->height++;
    return AQW_OK;
}

aqw_status aqw_ordered_add(aqw_ordered *set, aqw_ordered_entry entry) {
    if (!set->root && !(set->root = take_node(set, 0))) return AQW_NO_MEMORY;
    if (set->root->count == WIDTH && grow_root(set) != AQW_OK) return AQW_NO_MEMORY;
    /* Every node is split before the descent enters it, so that its parent has room. */
    aqw_ordered_node *node = set->root;
    int is_last = 1;                /* the node has the last entries of the set */
    for (uint32_t height = set->height; height; height--) {
        uint32_t at = child_for(set, node, &entry);
        const aqw_ordered_node *child = children_of(set, node)[at];
        is_last = is_last && at == node->count - 1;
        if (child->count == WIDTH) {
            int comes_last = is_last && compare(set, child, WIDTH - 1, &entry) < 0;
            if (split_child(set, node, at, height - 1, comes_last) != AQW_OK) return AQW_NO_MEMORY;
            at = child_for(set, node, &entry);
            is_last = is_last && at == node->count - 1;
        }
        node = children_of(set, node)[at];
    }
    uint32_t at = count_before(set, node, 0, &entry);
    if (is_at(set, node, at, &entry)) return AQW_OK;
    insert_at(set, node, at, &entry, NULL, 0);
    set->count++;
    return AQW_OK;
}

/* ---- Removing ---- */

/* Joins child `at` of a node with the next one where they fit. Returns 1 where it did. */
static int join_children(aqw_ordered *set, aqw_ordered_node *parent, uint32_t at, uint32_t height) {
    if (at + 1 >= parent->count) return 0;
    aqw_ordered_node *left = children_of(set, parent)[at],
                     *right = children_of(set, parent)[at + 1];
    uint32_t together = left->count + right->count;
    if (together > WIDTH_JOINED && left->count && right->count) return 0;
    if (height && right->count) {   /* its entry 0 gets a meaning */
        aqw_ordered_entry first = entry_at(set, parent, at + 1);
        set_entry(set, right, 0, &first);
    }
    move_entries(set, left, left->count, right, 0, right->count, height);
    left->count = together;
    return_node(set, right, height);
    remove_at(set, parent, at + 1, height + 1);
    return 1;
}

int aqw_ordered_remove(aqw_ordered *set, aqw_ordered_entry entry) {
    aqw_ordered_node *path[HEIGHT_MAX + 1];
    uint32_t places[HEIGHT_MAX + 1];
    aqw_ordered_node *node = set->root;
    if (!node) return 0;
    for (uint32_t height = set->height; height; height--) {
        path[height] = node;
        places[height] = child_for(set, node, &entry);
        node = children_of(set, node)[places[height]];
    }
    uint32_t at = count_before(set, node, 0, &entry);
    if (!is_at(set, node, at, &entry)) return 0;
    remove_at(set, node, at, 0);
    set->count--;

    for (uint32_t height = 0; height < set->height && node->count < WIDTH_LOW; height++) {
        aqw_ordered_node *parent = path[height + 1];
        uint32_t place = places[height + 1];
        if (!join_children(set, parent, place, height) && place)
            join_children(set, parent, place - 1, height);
        if (parent->count == 1 && children_of(set, parent)[0]->count == 0) {
            return_node(set, children_of(set, parent)[0], height);
            parent->count = 0;
        }
        node = parent;
    }
    while (set->root && (set->root->count == 0 || (set->height && set->root->count == 1))) {
        aqw_ordered_node *root = set->root;
        set->root = root->count ? children_of(set, root)[0] : NULL;
        return_node(set, root, set->height);
        set->height = set->root ? set->height - 1 : 0;
    }
    return 1;
}

/* ---- Reading ---- */

int aqw_ordered_has(const aqw_ordered *set, aqw_ordered_entry entry) {
    const aqw_ordered_node *node = set->root;
    if (!node) return 0;
    for (uint32_t height = set->height; height; height--)
        node = children_of(set, node)[child_for(set, node, &entry)];
    return is_at(set, node, count_before(set, node, 0, &entry), &entry);
}

uint32_t aqw_ordered_read(const aqw_ordered *set, const aqw_ordered_entry *after, uint64_t until,
                          aqw_ordered_entry *to, uint32_t capacity) {
    const aqw_ordered_node *path[HEIGHT_MAX + 1];
    uint32_t places[HEIGHT_MAX + 1];
    uint32_t copied = 0, height = set->height;
    const aqw_ordered_node *node = set->root;
    if (!node) return 0;
    for (; height; height--) {
        path[height] = node;
        places[height] = after ? child_for(set, node, after) : 0;
        node = children_of(set, node)[places[height]];
    }
    uint32_t at = after ? count_before(set, node, 0, after) : 0;
    if (after && is_at(set, node, at, after)) at++;
    for (;;) {
        for (; at < node->count; at++) {
            if (copied == capacity || node->columns[at] > until) return copied;
            to[copied++] = entry_at(set, node, at);
        }
        /* The next leaf: up until a node has another child, and down along the first ones. */
        for (height = 1; height <= set->height; height++) {
            if (++places[height] < path[height]->count) break;
        }
        if (height > set->height) return copied;
        for (node = children_of(set, path[height])[places[height]]; --height;) {
            path[height] = node;
            places[height] = 0;
            node = children_of(set, node)[0];
        }
        at = 0;
    }
}
