/* The state table: its making and its end. The rest is in table/apply.c and table/purge.c (events),
 * table/add.c (rows), table/undo.c (batches), table/index.c (keys), table/order.c (orders of runs),
 * table/query.c (views), table/save.c and table/load.c (images), and, for rarer rows, in the files
 * of their families (table/family.h). */
#include "table/table.h"

#include <string.h>

#include "base/bytes.h"
#include "table/check.h"
#include "table/family.h"

#define ARENA_CHUNK_SIZE 65536u
#define UNDO_CHUNK_SIZE 65536u       /* a batch of many rows takes about 150 bytes a row */

_Static_assert(sizeof(aqw_task_row) <= 96, "task row");
_Static_assert(sizeof(aqw_run_row) <= 88, "run row");
_Static_assert(sizeof(aqw_history_row) <= 16, "history row");
_Static_assert(sizeof(aqw_attempt_row) <= 48, "attempt row");

static void note_events(aqw_table *table) {
    memset(table->rare_kinds, AQW_ROW_KIND_COUNT, sizeof table->rare_kinds);
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        const aqw_row_event *of = aqw_row_types[kind]->events;
        for (; of && of->apply; of++) {
            AQW_ASSERT(table->rare_kinds[of->kind] == AQW_ROW_KIND_COUNT);
            table->rare_kinds[of->kind] = (uint8_t)kind;
        }
    }
}

aqw_table *aqw_table_new(const aqw_memory *memory, const uint8_t seed[16]) {
    aqw_heap heap;
    aqw_heap_init(&heap, memory);
    aqw_table *table = aqw_heap_take(&heap, sizeof *table);
    if (!table) return NULL;
    table->heap = heap;
    table->hash_key.k0 = aqw_load_u64(seed);
    table->hash_key.k1 = aqw_load_u64(seed + 8);
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        const aqw_row_type *type = aqw_row_types[kind];
        aqw_rows_init(&table->rows[kind], &table->heap, type->size);
        aqw_map_init(&table->maps[kind], &table->heap, type->hash_of, table);
    }
    note_events(table);
    aqw_orders_init(table);
    aqw_arena_init(&table->arena, &table->heap, ARENA_CHUNK_SIZE);
    aqw_arena_init(&table->undo.arena, &table->heap, UNDO_CHUNK_SIZE);
    return table;
}

static void free_leases(aqw_table *table) {
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_RUN].count; row++) {
        aqw_lease *lease = ((aqw_run_row *)aqw_rows_at(&table->rows[AQW_ROW_RUN], row))->lease;
        if (lease) aqw_heap_return(&table->heap, lease, sizeof *lease + lease->owner_size);
    }
}

static void free_owned(aqw_table *table, int kind) {
    size_t owned_at = aqw_row_types[kind]->owned_at;
    for (uint32_t row = 1; owned_at && row <= table->rows[kind].count; row++) {
        const uint8_t *bytes = aqw_rows_at(&table->rows[kind], row);
        aqw_owned *owned;
        memcpy(&owned, bytes + owned_at, sizeof owned);
        if (owned) aqw_heap_return(&table->heap, owned, sizeof *owned + owned->size);
    }
}

/* The blocks that rows own, which are neither in chunks nor in the arena. */
static void free_blocks(aqw_table *table) {
    free_leases(table);
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) free_owned(table, kind);
}

void aqw_table_clear(aqw_table *table) {
    aqw_table_rollback(table);
    aqw_orders_drop(table);
    free_blocks(table);
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        aqw_map_free(&table->maps[kind]);
        aqw_rows_free(&table->rows[kind]);
    }
    aqw_arena_free(&table->arena);
    aqw_arena_free(&table->undo.arena);
    memset(&table->head, 0, sizeof table->head);
    AQW_DEBUG(aqw_check_event(table));
}

void aqw_table_free(aqw_table *table) {
    if (!table) return;
    aqw_table_clear(table);
    aqw_heap heap = table->heap;
    aqw_heap_return(&heap, table, sizeof *table);
}
