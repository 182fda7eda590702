/* What the table knows of each kind of row, and what the file of a family is written with. Private
 * to table/.
 *
 * A family of rare rows (budgets.c, subscriptions.c, actors.c, platform.c and others) has all of
 * its own in one file: its rows, their keys, the events that change them, their views, their items
 * in an image, what a purge does with them, and what builds with assertions check. The rest of
 * table/ reaches all of that through the aqw_row_type of each kind and names no such row, so a new
 * kind touches its family's file, its line and its view in table/table.h, and its item in
 * table/image.h. What a scheduler writes all day (tasks, runs, history, attempts, leases) does not
 * go this way: straight-line code in the files of table/ knows it. */
#ifndef AQW_TABLE_FAMILY_H
#define AQW_TABLE_FAMILY_H

#include <stddef.h>

#include "event/cursor.h"
#include "table/check.h"
#include "table/image.h"
#include "table/image_internal.h"
#include "table/internal.h"

/* An event, and the function that applies it. It goes in the order that table/apply.c describes:
 * rules, memory, change. */
typedef struct aqw_row_event {
    uint8_t kind;
    aqw_status (*apply)(aqw_table *table, const aqw_event *event);
} aqw_row_event;

/* How rows of a kind are in an image; `save` and `load` are NULL where save.c and load.c do it. */
typedef struct aqw_row_item {
    uint8_t type;               /* AQW_IMAGE_... */
    uint8_t size_min;           /* the least bytes that a row takes there */
    uint32_t count_max;         /* 0: AQW_ROW_COUNT_MAX */
    aqw_status (*save)(aqw_saver *save, uint32_t row);
    aqw_status (*save_all)(aqw_saver *save);    /* in place of `save`: an item has several rows */
    aqw_status (*load)(aqw_table_loader *load, cursor *from);
} aqw_row_item;

/* A search for what may be purged. */
typedef struct aqw_search {
    const aqw_table *table;
    const aqw_retention *what;
    uint32_t rows_left;
    /* for the runs of the first task whose dependents take all rows that are left */
    uint32_t rows_spared;
    uint32_t found;             /* identifiers, of all kinds */
    aqw_finished *finished;
} aqw_search;

/* How rows of a kind go. Either the event names each by its identifier, or it says how many of the
 * first ones go: then `ids_at`, `found_ids_at` and all functions but `search` are 0 and unused. */
typedef struct aqw_row_purge {
    aqw_status unknown;         /* the refusal of a row that is not there */
    size_t ids_at;              /* where aqw_event has the identifiers, */
    size_t count_at;            /* and their number */
    size_t found_ids_at;        /* where aqw_finished has them */
    size_t found_count_at;
    uint32_t (*find)(const aqw_table *table, const uint8_t id[16]);
    /* Returns 1 where the row is at its end, so far as the row itself tells. */
    int (*is_over)(const aqw_table *table, uint32_t row);
    /* Keeps what the purge changes besides the row. */
    aqw_status (*keep)(aqw_table *table, uint32_t row);
    /* The mark of the row itself, and not of what it belongs to. */
    int (*is_marked)(const aqw_table *table, uint32_t row);
    void (*mark)(aqw_table *table, uint32_t row, int is_purged);
    /* Takes a marked row out of the counts, and out of the chains that must not lead to it. */
    void (*drop)(aqw_table *table, uint32_t row);
    /* Looks for such rows from finished->next_row on. Returns 0 where it had to stop before the
     * last. NULL where the search of another kind finds them. */
    int (*search)(aqw_search *of);
} aqw_row_purge;

/* Everything about a kind of row. What is 0 or NULL does not apply to it. */
typedef struct aqw_row_type {
    uint32_t size;              /* of a row */
    size_t count_at;            /* AQW_COUNTED_AS */
    size_t owned_at;            /* where a row has its aqw_owned, never at its start */
    aqw_map_hash hash_of;       /* of a row's key */
    int (*is_purged)(const aqw_table *table, uint32_t row);
    const aqw_row_event *events;        /* the last one has no function */
    const aqw_row_item *item;
    const aqw_row_purge *purge;
    /* What goes with a purged task: keeps what that changes, and takes it out of the counts. */
    aqw_status (*keep_with_task)(aqw_table *table, uint32_t task);
    void (*drop_with_task)(aqw_table *table, uint32_t task);
#if !defined(NDEBUG)
    void (*check)(const aqw_table *table, uint32_t row, aqw_tally *to);
    void (*check_sums)(const aqw_table *table, const aqw_tally *of);    /* after all rows */
#endif
} aqw_row_type;

/* The number of the rows that are not purged is this member of aqw_table_counts. */
#define AQW_COUNTED_AS(member) (offsetof(aqw_table_counts, member) + 1)

/* The last two members, which exist in builds with assertions only. */
#if defined(NDEBUG)
#define AQW_CHECKED_BY(row_check, sums_check)
#else
#define AQW_CHECKED_BY(row_check, sums_check) .check = row_check, .check_sums = sums_check,
#endif

/* table/kinds.c: all of them. Each is aqw_<name>_type, in its family's file. */
extern const aqw_row_type *const aqw_row_types[AQW_ROW_KIND_COUNT];
#define AQW_ROW_TYPE(NAME, name) extern const aqw_row_type aqw_##name##_type;
AQW_ROW_KINDS(AQW_ROW_TYPE)
#undef AQW_ROW_TYPE

/* table/purge.c */
extern const aqw_row_purge aqw_run_purge, aqw_task_purge;

/* Fills in the kind of row that each type of item has; AQW_ROW_KIND_COUNT where it has none. */
void aqw_kinds_by_item(uint8_t kinds[AQW_IMAGE_TYPE_COUNT]);

/* Returns 1 where a row is one of the first that were purged from the beginning. */
static inline int aqw_row_is_behind(const aqw_table *table, int kind, uint32_t row) {
    return row <= table->head.purged[kind];
}

/* ---- Keys ---- */

#define AQW_KEY_IS_FIRST(type, field) \
    _Static_assert(offsetof(type, field) == 0, "the key comes first")

/* The hash of a row whose key is one identifier, at its start. */
static inline uint64_t aqw_hash_row_id(const aqw_table *table, int kind, uint32_t row) {
    return aqw_hash_id(&table->hash_key, aqw_row_at(table, kind, row));
}
static inline uint64_t aqw_hash_attempt(const aqw_table *table, uint32_t run,
                                        const uint8_t *attempt_id) {
    uint8_t key[20];
    memcpy(key, attempt_id, 16);
    aqw_store_u32(key + 16, run);
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}
static inline uint64_t aqw_hash_numbers(const aqw_table *table, uint32_t first, uint32_t second) {
    uint8_t key[8];
    aqw_store_u32(key, first);
    aqw_store_u32(key + 4, second);
    return aqw_hash_bytes(&table->hash_key, key, sizeof key);
}

/* ---- Views ---- */

static inline void aqw_id_copy(uint8_t to[16], const uint8_t from[16]) { memcpy(to, from, 16); }

static inline aqw_bytes aqw_bytes_of(const uint8_t *data, uint32_t size) {
    aqw_bytes bytes = {data, size};
    return bytes;
}
static inline aqw_bytes aqw_owned_bytes(const aqw_owned *owned) {
    return aqw_bytes_of(owned->data, owned->size);
}
static inline void aqw_task_id_copy(const aqw_table *table, uint8_t to[16], uint32_t task) {
    aqw_id_copy(to, aqw_task_at(table, task)->task_id);
}

/* ---- The search, in table/purge.c ---- */

/* Returns 1 where the search may look at another row, and has room for what it finds. */
static inline int aqw_search_may_go_on(const aqw_search *of) {
    return of->rows_left > 0 && of->found < AQW_PURGE_COUNT_MAX;
}
/* Takes these from the rows that the search may look at; the last look may take more than there
 * are. */
static inline void aqw_search_look_at(aqw_search *of, uint32_t rows) {
    of->rows_left = rows < of->rows_left ? of->rows_left - rows : 0;
}
/* Makes the place in the struct one that exists: rows may have gone in a rollback since. Returns 0
 * after the last row of the kind. */
int aqw_search_enter_row(const aqw_search *of, int kind);
/* Notes a row's identifier. */
void aqw_search_add(aqw_search *of, const aqw_row_purge *rules, const uint8_t id[16]);
/* Looks for the first rows of a kind, as long as `may_go` returns 1. They are gone at the next
 * look. Returns what aqw_row_purge.search does. */
int aqw_search_first_rows(aqw_search *of, int kind,
                          int (*may_go)(const aqw_search *of, uint32_t row));

#endif
