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

struct aqw_ordered_node {
    uint32_t count;
    uint32_t rows[WIDTH];
    uint64_t times[WIDTH];
    aqw_ordered_node *children[WIDTH];  /* leaves end before this */
};

static size_t node_size(uint32_t height) {
    return height ? sizeof(aqw_ordered_node) : offsetof(aqw_ordered_node, children);
}

static aqw_ordered_node *take_node(aqw_ordered *set, uint32_t height) {
    return aqw_heap_take(set->heap, node_size(height));
}

static void return_node(aqw_ordered *set, aqw_ordered_node *node, uint32_t height) {
    aqw_heap_return(set->heap, node, node_size(height));
}

void aqw_ordered_init(aqw_ordered *set, aqw_heap *heap) {
    memset(set, 0, sizeof *set);
    set->heap = heap;
}

void aqw_ordered_free(aqw_ordered *set) {
    aqw_ordered_node *path[HEIGHT_MAX + 1];
    uint32_t height = set->height;
    path[height] = set->root;
    while (set->root) {
        aqw_ordered_node *node = path[height];
        if (height && node->count) {    /* down into the last child, which then is gone */
            path[height - 1] = node->children[--node->count];
            height--;
            continue;
        }
        return_node(set, node, height);
        if (height++ == set->height) break;
    }
    aqw_ordered_init(set, set->heap);
}

/* ---- Inside a node ---- */

static int is_before(uint64_t time, uint32_t row, aqw_ordered_entry entry) {
    return time < entry.time || (time == entry.time && row < entry.row);
}

/* Returns how many of a node's entries, from `from` on counted with those before it, are before the
 * given one. */
static uint32_t count_before(const aqw_ordered_node *node, uint32_t from, aqw_ordered_entry entry) {
    uint32_t to = node->count;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (is_before(node->times[middle], node->rows[middle], entry)) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static int is_at(const aqw_ordered_node *node, uint32_t at, aqw_ordered_entry entry) {
    return at < node->count && node->times[at] == entry.time && node->rows[at] == entry.row;
}

/* Returns the child that has an entry, or would have it. */
static uint32_t child_for(const aqw_ordered_node *node, aqw_ordered_entry entry) {
    uint32_t at = count_before(node, 1, entry);
    return is_at(node, at, entry) ? at : at - 1;
}

static void move_entries(aqw_ordered_node *to, uint32_t to_at, const aqw_ordered_node *from,
                         uint32_t from_at, uint32_t count, uint32_t height) {
    memmove(&to->times[to_at], &from->times[from_at], count * sizeof *to->times);
    memmove(&to->rows[to_at], &from->rows[from_at], count * sizeof *to->rows);
    if (height) {
        memmove(&to->children[to_at], &from->children[from_at], count * sizeof *to->children);
    }
}

static void insert_at(aqw_ordered_node *node, uint32_t at, aqw_ordered_entry entry,
                      aqw_ordered_node *child, uint32_t height) {
    AQW_ASSERT(node->count < WIDTH && at <= node->count);
    move_entries(node, at + 1, node, at, node->count - at, height);
    node->times[at] = entry.time;
    node->rows[at] = entry.row;
    if (height) node->children[at] = child;
    node->count++;
}

static void remove_at(aqw_ordered_node *node, uint32_t at, uint32_t height) {
    move_entries(node, at, node, at + 1, node->count - at - 1, height);
    node->count--;
}

/* ---- Adding ---- */

/* Splits the full child of a node that is not full. An entry that comes after all others of the set
 * leaves the child as full as it can be. */
static aqw_status split_child(aqw_ordered *set, aqw_ordered_node *parent, uint32_t at,
                              uint32_t height, int comes_last) {
    aqw_ordered_node *left = parent->children[at];
    aqw_ordered_node *right = take_node(set, height);
    if (!right) return AQW_NO_MEMORY;
    uint32_t kept = comes_last ? WIDTH - 1 : WIDTH / 2;
    right->count = WIDTH - kept;
    move_entries(right, 0, left, kept, right->count, height);
    left->count = kept;
    aqw_ordered_entry first = {right->times[0], right->rows[0]};
    insert_at(parent, at + 1, first, right, height + 1);
    return AQW_OK;
}

static aqw_status grow_root(aqw_ordered *set) {
    aqw_ordered_node *root = take_node(set, set->height + 1);
    if (!root) return AQW_NO_MEMORY;
    AQW_ASSERT(set->height < HEIGHT_MAX);
    root->count = 1;
    root->children[0] = set->root;
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
        uint32_t at = child_for(node, entry);
        const aqw_ordered_node *child = node->children[at];
        is_last = is_last && at == node->count - 1;
        if (child->count == WIDTH) {
            int comes_last = is_last && is_before(child->times[WIDTH - 1], child->rows[WIDTH - 1],
                                                  entry);
            if (split_child(set, node, at, height - 1, comes_last) != AQW_OK) return AQW_NO_MEMORY;
            at = child_for(node, entry);
            is_last = is_last && at == node->count - 1;
        }
        node = node->children[at];
    }
    uint32_t at = count_before(node, 0, entry);
    if (is_at(node, at, entry)) return AQW_OK;
    insert_at(node, at, entry, NULL, 0);
    set->count++;
    return AQW_OK;
}

/* ---- Removing ---- */

/* Joins child `at` of a node with the next one where they fit. Returns 1 where it did. */
static int join_children(aqw_ordered *set, aqw_ordered_node *parent, uint32_t at, uint32_t height) {
    if (at + 1 >= parent->count) return 0;
    aqw_ordered_node *left = parent->children[at], *right = parent->children[at + 1];
    uint32_t together = left->count + right->count;
    if (together > WIDTH_JOINED && left->count && right->count) return 0;
    if (height && right->count) {   /* its entry 0 gets a meaning */
        right->times[0] = parent->times[at + 1];
        right->rows[0] = parent->rows[at + 1];
    }
    move_entries(left, left->count, right, 0, right->count, height);
    left->count = together;
    return_node(set, right, height);
    remove_at(parent, at + 1, height + 1);
    return 1;
}

void aqw_ordered_remove(aqw_ordered *set, aqw_ordered_entry entry) {
    aqw_ordered_node *path[HEIGHT_MAX + 1];
    uint32_t places[HEIGHT_MAX + 1];
    aqw_ordered_node *node = set->root;
    if (!node) return;
    for (uint32_t height = set->height; height; height--) {
        path[height] = node;
        places[height] = child_for(node, entry);
        node = node->children[places[height]];
    }
    uint32_t at = count_before(node, 0, entry);
    if (!is_at(node, at, entry)) return;
    remove_at(node, at, 0);
    set->count--;

    for (uint32_t height = 0; height < set->height && node->count < WIDTH_LOW; height++) {
        aqw_ordered_node *parent = path[height + 1];
        uint32_t place = places[height + 1];
        if (!join_children(set, parent, place, height) && place)
            join_children(set, parent, place - 1, height);
        if (parent->count == 1 && parent->children[0]->count == 0) {
            return_node(set, parent->children[0], height);
            parent->count = 0;
        }
        node = parent;
    }
    while (set->root && (set->root->count == 0 || (set->height && set->root->count == 1))) {
        aqw_ordered_node *root = set->root;
        set->root = root->count ? root->children[0] : NULL;
        return_node(set, root, set->height);
        set->height = set->root ? set->height - 1 : 0;
    }
}

/* ---- Reading ---- */

int aqw_ordered_has(const aqw_ordered *set, aqw_ordered_entry entry) {
    const aqw_ordered_node *node = set->root;
    if (!node) return 0;
    for (uint32_t height = set->height; height; height--)
        node = node->children[child_for(node, entry)];
    return is_at(node, count_before(node, 0, entry), entry);
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
        places[height] = after ? child_for(node, *after) : 0;
        node = node->children[places[height]];
    }
    uint32_t at = after ? count_before(node, 0, *after) : 0;
    if (after && is_at(node, at, *after)) at++;
    for (;;) {
        for (; at < node->count; at++) {
            if (copied == capacity || node->times[at] > until) return copied;
            to[copied++] = (aqw_ordered_entry){node->times[at], node->rows[at]};
        }
        /* The next leaf: up until a node has another child, and down along the first ones. */
        for (height = 1; height <= set->height; height++) {
            if (++places[height] < path[height]->count) break;
        }
        if (height > set->height) return copied;
        for (node = path[height]->children[places[height]]; --height;) {
            path[height] = node;
            places[height] = 0;
            node = node->children[0];
        }
        at = 0;
    }
}
