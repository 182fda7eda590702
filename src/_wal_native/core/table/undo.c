/* Batches. The undo record keeps what a batch changes in place as images, which a rollback puts
 * back newest first; rows that the batch adds lie above the counts noted at begin, bytes that it
 * adds after the arena's mark. Images go by address, which is sound because rows never move and
 * replaced blocks are not freed before the batch ends. */
#include <string.h>

#include "table/check.h"
#include "table/internal.h"

/* Room in the undo arena for a header and its alignment. */
#define BLOCK_ENTRY_SIZE (sizeof(aqw_undo_block) + 8)

aqw_status aqw_undo_keep(aqw_table *table, void *address, size_t size) {
    aqw_undo *undo = &table->undo;
    if (!undo->is_open) return AQW_OK;
    aqw_undo_image *image =
        (aqw_undo_image *)(void *)aqw_arena_take(&undo->arena, sizeof *image + size, 8);
    if (!image) return AQW_NO_MEMORY;
    image->previous = undo->images;
    image->address = address;
    image->size = size;
    memcpy(image + 1, address, size);
    undo->images = image;
    return AQW_OK;
}

aqw_status aqw_undo_reserve_blocks(aqw_table *table) {
    AQW_DEBUG(table->undo.blocks_reserved = 2);
    if (!table->undo.is_open) return AQW_OK;
    return aqw_arena_reserve(&table->undo.arena, 2 * BLOCK_ENTRY_SIZE);
}

static void push(aqw_undo *undo, aqw_undo_block **list, void *block, size_t size) {
    AQW_DEBUG(aqw_check_block(undo));
    aqw_undo_block *entry =
        (aqw_undo_block *)(void *)aqw_arena_take(&undo->arena, sizeof *entry, 8);
    AQW_ASSERT(entry != NULL);
    entry->previous = *list;
    entry->block = block;
    entry->size = size;
    *list = entry;
}

void aqw_undo_taken(aqw_table *table, void *block, size_t size) {
    if (table->undo.is_open) push(&table->undo, &table->undo.taken, block, size);
}

void aqw_undo_replaced(aqw_table *table, void *block, size_t size) {
    if (!block) return;
    if (table->undo.is_open) {
        push(&table->undo, &table->undo.replaced, block, size);
    } else {
        aqw_heap_return(&table->heap, block, size);
    }
}

static void free_blocks(aqw_table *table, const aqw_undo_block *list) {
    for (; list; list = list->previous) aqw_heap_return(&table->heap, list->block, list->size);
}

static void close_undo(aqw_undo *undo) {
    aqw_arena_clear(&undo->arena);
    undo->images = NULL;
    undo->taken = NULL;
    undo->replaced = NULL;
    undo->is_open = 0;
}

aqw_status aqw_table_begin(aqw_table *table) {
    aqw_undo *undo = &table->undo;
    if (undo->is_open) return AQW_INVALID_ARGUMENT;
    undo->is_open = 1;
    undo->head = table->head;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++)
        undo->row_counts[kind] = table->rows[kind].count;
    undo->arena_mark = aqw_arena_mark_get(&table->arena);
    AQW_DEBUG(aqw_check_begin(table));
    return AQW_OK;
}

void aqw_table_commit(aqw_table *table) {
    if (!table->undo.is_open) return;
    free_blocks(table, table->undo.replaced);
    close_undo(&table->undo);
    aqw_orders_commit(table);
    AQW_ASSERT(aqw_table_check(table, AQW_CHECK_BATCH));
}

void aqw_table_rollback(aqw_table *table) {
    aqw_undo *undo = &table->undo;
    if (!undo->is_open) return;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        for (uint32_t row = table->rows[kind].count; row > undo->row_counts[kind]; row--) {
            aqw_index_remove(table, kind, row);
        }
    }
    for (const aqw_undo_image *image = undo->images; image; image = image->previous) {
        memcpy(image->address, image + 1, image->size);
    }
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++)
        aqw_rows_truncate(&table->rows[kind], undo->row_counts[kind]);
    aqw_arena_release(&table->arena, undo->arena_mark);
    table->head = undo->head;
    free_blocks(table, undo->taken);
    close_undo(undo);
    aqw_orders_rollback(table);
    AQW_DEBUG(aqw_check_rollback(table));
}
