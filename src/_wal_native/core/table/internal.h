/* The state table, its rows of tasks, runs, attempts and dependencies, and what every file of
 * table/ does with rows. Private to table/. Rarer rows are in the files of their families
 * (table/family.h).
 *
 * What is purged stays where it is, with a flag; so do the rows that go with it: history and
 * attempts with a run; budgets, subscriptions and the child row with a task. Lookups and walks go
 * past all of them, counts leave them out (head.purged), and an image has nothing of them: making
 * the table again gives their memory back. No row that is not purged names a purged one, except by
 * `next` in the chains of a task's runs, a parent's children and dependencies.
 *
 * Sizes matter: a completed run with its task, history and attempt is to take less than 500 bytes
 * in all, so rows name each other by row number (4 bytes), history's first entry is implied, and
 * sizes share a word with flags. */
#ifndef AQW_TABLE_INTERNAL_H
#define AQW_TABLE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/rows.h"
#include "event/event.h"
#include "table/order_internal.h"
#include "table/table.h"

typedef struct aqw_task_row {
    uint8_t task_id[16];
    uint64_t created_at;
    uint64_t canceled_at;
    uint64_t runs_created;      /* ever, purged or not */
    uint64_t last_run_at;       /* the latest time that a run was created for */
    uint64_t last_end;          /* the latest end of a run, purged or not; 0 once none is left */
    const uint8_t *spec;        /* in the arena */
    uint32_t spec_size : 24;
    uint32_t is_canceled : 1;
    uint32_t is_purged : 1;
    uint32_t had_runs : 1;      /* it has a last_run_at */
    uint32_t completed_purged : 1;      /* a completed run of it was purged */
    uint32_t run_count;         /* of runs that are not purged */
    uint32_t open_runs;         /* of runs that have not ended, none of them purged */
    uint32_t first_run;         /* not a purged one */
    uint32_t last_run;          /* purged or not */
    uint32_t first_dependency;  /* on another task or on itself, and not purged */
    uint32_t first_dependent;   /* the newest on this task, its own too; none is purged */
} aqw_task_row;

/* A lease comes and goes, so it has a block of its own, freed with it. */
typedef struct aqw_lease {
    uint64_t expiry;
    uint64_t acquired_at;
    uint64_t updated_at;
    uint32_t owner_size;
    uint8_t owner[];
} aqw_lease;

typedef struct aqw_run_row {
    uint8_t run_id[16];
    uint64_t created_at;
    uint64_t scheduled_at;
    uint64_t last_state_change_at;
    aqw_lease *lease;           /* NULL without one */
    uint32_t task;
    int32_t effective_priority;
    uint32_t attempt_count;
    uint32_t first_history;
    uint32_t last_history;
    uint32_t first_attempt;
    uint32_t last_attempt;      /* the active one, if any */
    uint32_t next_in_task;      /* purged or not */
    uint32_t history_count;
    uint8_t state;
    uint8_t has_active_attempt;
    uint8_t is_purged;
} aqw_run_row;

typedef struct aqw_history_row {
    uint64_t timestamp;
    uint32_t next;
    uint8_t from_state;
    uint8_t to_state;
} aqw_history_row;

typedef struct aqw_attempt_row {
    uint8_t attempt_id[16];
    uint64_t started_at;
    uint64_t finished_at;
    const uint8_t *ending;      /* in the arena: header, then detail; NULL until finished */
    uint32_t run;
    uint32_t next;
} aqw_attempt_row;

/* An attempt's ending starts with a little-endian word: the detail's size << 8 | the result. */
#define AQW_ENDING_HEADER_SIZE 4

typedef struct aqw_dependency_row {
    uint32_t task;
    uint32_t depends_on;        /* a task's row */
    uint32_t next_in_task;      /* purged or not */
    uint32_t next_on_same;      /* dependency on the same task, not a purged one */
    uint32_t previous_on_same;
    uint8_t is_purged;
} aqw_dependency_row;

/* A task that others name as their parent; it may itself be unknown. */
typedef struct aqw_parent_row {
    uint8_t parent_task_id[16];
    uint32_t first_child;       /* not a purged one; 0: as if the parent were not there */
    uint32_t last_child;        /* purged or not */
} aqw_parent_row;

typedef struct aqw_child_row {
    uint32_t task;
    uint32_t parent;
    uint32_t next;              /* purged or not */
} aqw_child_row;

/* Bytes that change while the table lives, and so are not in the arena. */
typedef struct aqw_owned {
    uint32_t size;
    uint8_t data[];
} aqw_owned;

/* What is not in rows; a batch keeps a copy of it. */
typedef struct aqw_table_head {
    uint64_t latest_sequence;
    /* the latest time at which a run was created or changed its state, purged or not */
    uint64_t newest_change;
    aqw_engine_view engine;
    uint32_t runs_by_state[AQW_RUN_STATE_LAST + 1];
    uint32_t lease_count;
    /* rows that are as if they were not there; of kinds that are purged by number, the first */
    uint32_t purged[AQW_ROW_KIND_COUNT];
} aqw_table_head;

/* Undo: bytes to put back at an address. The bytes follow the header. */
typedef struct aqw_undo_image {
    struct aqw_undo_image *previous;
    void *address;
    size_t size;
} aqw_undo_image;

/* Undo: a block that the batch took, or one that it replaced and that is freed only at commit. */
typedef struct aqw_undo_block {
    struct aqw_undo_block *previous;
    void *block;
    size_t size;
} aqw_undo_block;

typedef struct aqw_undo {
    int is_open;
    aqw_arena arena;            /* of the lists below */
    aqw_undo_image *images;     /* newest first */
    aqw_undo_block *taken;
    aqw_undo_block *replaced;
    aqw_table_head head;        /* from here on: as it was at begin */
    uint32_t row_counts[AQW_ROW_KIND_COUNT];
    aqw_arena_mark arena_mark;
#if !defined(NDEBUG)
    uint32_t blocks_reserved;   /* by this event: entries of `taken` and `replaced` */
    int has_digest;
    uint64_t digest;            /* of all rows at begin, which a rollback brings back */
#endif
} aqw_undo;

struct aqw_table {
    aqw_heap heap;
    aqw_hash_key hash_key;
    aqw_table_head head;
    aqw_rows rows[AQW_ROW_KIND_COUNT];
    aqw_map maps[AQW_ROW_KIND_COUNT];       /* unused for kinds without a key */
    aqw_arena arena;
    aqw_undo undo;
    aqw_orders orders;
    /* by an event's kind: the kind of rarer row that it is about; AQW_ROW_KIND_COUNT for others */
    uint8_t rare_kinds[UINT8_MAX + 1];
    /* the row that the next event likely needs: the last one, or what was fetched
     * (table/prefetch.h); or 0 */
    uint32_t expected_run;
#if !defined(NDEBUG)
    uint64_t check_credit;      /* see table/check.h */
    uint32_t reserved[AQW_ROW_KIND_COUNT];      /* no row is added beyond this number */
#endif
};

/* A run is about to change, in what an order may be of (table/order.c). */
static inline void aqw_note_run(aqw_table *table, uint32_t row) {
    if (table->orders.are_made) aqw_orders_note_run(table, row, 0);
}

/* table/check.c, in builds with assertions only. The table has promised room for `extra` more rows;
 * a row is about to be added, which must have such room. */
void aqw_check_reserved(aqw_table *table, int kind, uint32_t extra);
void aqw_check_added(const aqw_table *table, int kind);

/* aqw_rows_at and aqw_rows_add without a call, because every event looks at several rows. */
static inline void *aqw_row_at(const aqw_table *table, int kind, uint32_t row) {
    const aqw_rows *rows = &table->rows[kind];
    AQW_ASSERT(row >= 1 && row <= rows->count);
    return rows->chunks[(row - 1) / AQW_ROWS_PER_CHUNK] +
           (size_t)((row - 1) % AQW_ROWS_PER_CHUNK) * rows->row_size;
}
static inline uint32_t aqw_row_add(aqw_table *table, int kind, size_t row_size) {
    AQW_ASSERT(table->rows[kind].row_size == row_size);
    AQW_DEBUG(aqw_check_added(table, kind));
    uint32_t row = ++table->rows[kind].count;
    memset(aqw_row_at(table, kind, row), 0, row_size);
    return row;
}
static inline aqw_task_row *aqw_task_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_TASK, row);
}
static inline aqw_run_row *aqw_run_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_RUN, row);
}
static inline const aqw_child_row *aqw_child_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_CHILD, row);
}
static inline aqw_dependency_row *aqw_dependency_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_DEPENDENCY, row);
}
static inline aqw_attempt_row *aqw_attempt_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_ATTEMPT, row);
}

/* The number of rows that are not purged. */
static inline uint32_t aqw_count_left(const aqw_table *table, int kind) {
    return table->rows[kind].count - table->head.purged[kind];
}

/* table/index.c: lookups by key. aqw_index_find_id is for rows whose key is one identifier, at
 * their start. aqw_index_find_parent also finds a parent without children. */
uint32_t aqw_index_find_id(const aqw_table *table, int kind, const uint8_t id[16]);
uint32_t aqw_index_find_parent(const aqw_table *table, const uint8_t parent_task_id[16]);
uint32_t aqw_index_find_attempt(const aqw_table *table, uint32_t run, const uint8_t attempt_id[16]);
/* Returns 1 where a row is as if it were not there. */
int aqw_index_is_purged(const aqw_table *table, int kind, uint32_t row);
/* Makes room for `extra` more rows of a kind, in the rows and in the index; mostly it is there. */
aqw_status aqw_index_grow(aqw_table *table, int kind, uint32_t extra);
static inline aqw_status aqw_index_reserve(aqw_table *table, int kind, uint32_t extra) {
    const aqw_rows *rows = &table->rows[kind];
    const aqw_map *map = &table->maps[kind];
    int has_room = (uint64_t)rows->chunk_count * AQW_ROWS_PER_CHUNK >=
                       (uint64_t)rows->count + extra &&
                   (!map->hash_of || (uint64_t)map->count + extra <= map->count_max);
    aqw_status status = has_room ? AQW_OK : aqw_index_grow(table, kind, extra);
    if (status == AQW_OK) AQW_DEBUG(aqw_check_reserved(table, kind, extra));
    return status;
}
/* Has fetched what a lookup of this identifier will read first. */
void aqw_index_fetch_id(const aqw_table *table, int kind, const uint8_t *id);
/* Puts a row, whose key is filled in, into its index. */
void aqw_index_insert(aqw_table *table, int kind, uint32_t row);
void aqw_index_remove(aqw_table *table, int kind, uint32_t row);

/* table/undo.c. All of these do nothing while no batch is open, except that a replaced block is
 * then freed at once. */
/* Notes what is at an address, before it changes. Harmless where the change is then not made. */
aqw_status aqw_undo_keep(aqw_table *table, void *address, size_t size);
/* Does the same for a row. A row that the batch has added needs no image: a rollback drops it. */
static inline aqw_status aqw_undo_keep_row(aqw_table *table, int kind, uint32_t row) {
    if (!table->undo.is_open || row > table->undo.row_counts[kind]) return AQW_OK;
    return aqw_undo_keep(table, aqw_row_at(table, kind, row), table->rows[kind].row_size);
}
/* Makes sure that one aqw_undo_taken and one aqw_undo_replaced can't fail. The caller calls it
 * after the last keep. */
aqw_status aqw_undo_reserve_blocks(aqw_table *table);
void aqw_undo_taken(aqw_table *table, void *block, size_t size);
void aqw_undo_replaced(aqw_table *table, void *block, size_t size);

/* table/add.c. Copies of bytes; NULL without memory. The caller sets a lease's times. */
const uint8_t *aqw_bytes_copy(aqw_table *table, aqw_bytes bytes);          /* in the arena */
aqw_owned *aqw_owned_copy(aqw_table *table, aqw_bytes bytes);
aqw_lease *aqw_lease_take(aqw_table *table, aqw_bytes owner);
const uint8_t *aqw_ending_take(aqw_table *table, uint8_t result, aqw_bytes detail);
/* Takes the memory for setting an owned block in a row, which is the one given or, where that is 0,
 * a new one; and sets it there. */
aqw_status aqw_owned_reserve(aqw_table *table, int kind, uint32_t row, aqw_bytes bytes,
                             aqw_owned **owned);
void aqw_owned_set(aqw_table *table, aqw_owned **place, aqw_owned *owned);
/* Adds a row of one of the rarer kinds, for which the caller has made room (aqw_index_reserve). The
 * second is for rows whose key is one identifier, at their start: it fills in the key, enters the
 * row into its index, and returns it. */
uint32_t aqw_row_new(aqw_table *table, int kind);
void *aqw_row_new_keyed(aqw_table *table, int kind, const uint8_t id[16]);
/* Makes room for a child of this parent: in the rows, in the index, and in the undo record. */
aqw_status aqw_child_reserve(aqw_table *table, const uint8_t parent_task_id[16]);
/* Adds a row, links it and enters it into its index. The caller has made room, the key is new, and
 * the caller sets what is not an argument. */
uint32_t aqw_task_add(aqw_table *table, const uint8_t task_id[16]);
void aqw_child_add(aqw_table *table, const uint8_t parent_task_id[16], uint32_t task);
uint32_t aqw_run_add(aqw_table *table, uint32_t task, const uint8_t run_id[16],
                     uint64_t created_at);
/* Sets the run's state without, and with, a new history row. Where the second ends the run, its
 * task's row changes too. */
void aqw_run_set_state(aqw_table *table, aqw_run_row *run, uint8_t state);
void aqw_run_change_state(aqw_table *table, aqw_run_row *run, uint8_t state, uint64_t timestamp);
/* The new attempt is the run's active one until it ends. */
uint32_t aqw_attempt_add(aqw_table *table, uint32_t run, const uint8_t attempt_id[16],
                         uint64_t started_at);
void aqw_attempt_end(aqw_table *table, aqw_run_row *run, uint64_t finished_at,
                     const uint8_t *ending);

/* table/purge.c: the event that drops what is over. */
aqw_status aqw_apply_purge(aqw_table *table, const aqw_event *event);

/* table/tombstones.c: the identifiers of tasks that are purged. Makes room for this many; adds one;
 * drops the oldest where there are more than the limit. */
aqw_status aqw_tombstones_reserve(aqw_table *table, uint32_t count);
void aqw_tombstone_add(aqw_table *table, const uint8_t task_id[16], uint64_t until);
void aqw_tombstones_bound(aqw_table *table);

/* table/platform.c: the roles and capabilities of an actor that is purged. Keeps what the purge
 * changes; takes them out of the counts; returns how many there are. */
aqw_status aqw_held_keep(aqw_table *table, const uint8_t actor_id[16]);
void aqw_held_drop(aqw_table *table, const uint8_t actor_id[16]);
uint32_t aqw_held_count(const aqw_table *table, const uint8_t actor_id[16]);

/* table/engine.c: the events of the engine. The second is for builds with assertions only, and
 * returns 1. */
aqw_status aqw_engine_apply(aqw_table *table, const aqw_event *event);
int aqw_engine_check(const aqw_engine_view *engine);

#endif
