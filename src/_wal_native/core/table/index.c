/* The indexes: how a row is entered, found by its key, and walked to. */
#include <string.h>

#include "table/family.h"

aqw_status aqw_index_grow(aqw_table *table, int kind, uint32_t extra) {
    aqw_status status = aqw_rows_reserve(&table->rows[kind], extra);
    if (status != AQW_OK || !table->maps[kind].hash_of) return status;
    return aqw_map_reserve(&table->maps[kind], extra);
}

void aqw_index_insert(aqw_table *table, int kind, uint32_t row) {
    aqw_map *map = &table->maps[kind];
    aqw_map_insert(map, map->hash_of(table, row));
}

void aqw_index_remove(aqw_table *table, int kind, uint32_t row) {
    aqw_map *map = &table->maps[kind];
    if (map->hash_of) aqw_map_remove(map, map->hash_of(table, row));
}

int aqw_index_is_purged(const aqw_table *table, int kind, uint32_t row) {
    switch (kind) {
    case AQW_ROW_TASK: return aqw_task_at(table, row)->is_purged;
    case AQW_ROW_RUN: return aqw_run_at(table, row)->is_purged;
    default: break;
    }
    const aqw_row_type *type = aqw_row_types[kind];
    return type->is_purged && type->is_purged(table, row);
}

uint32_t aqw_table_next(const aqw_table *table, int kind, uint32_t row) {
    while (row < table->rows[kind].count) {
        if (!aqw_index_is_purged(table, kind, ++row)) return row;
    }
    return 0;
}

uint32_t aqw_index_find_id(const aqw_table *table, int kind, const uint8_t id[16]) {
    const aqw_map *map = &table->maps[kind];
    aqw_map_probe probe;
    aqw_map_find(map, aqw_hash_id(&table->hash_key, id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        if (aqw_id_equal(aqw_row_at(table, kind, row), id) &&
            !aqw_index_is_purged(table, kind, row))
            return row;
    }
    return 0;
}

void aqw_index_fetch_id(const aqw_table *table, int kind, const uint8_t *id) {
    aqw_map_fetch(&table->maps[kind], aqw_hash_id(&table->hash_key, id));
}

void aqw_table_fetch(const aqw_table *table, uint8_t kind, const uint8_t *payload, uint32_t size) {
    if (size < 16) return;
    switch (kind) {
    case AQW_TASK_CREATED:
    case AQW_TASK_CANCELED: aqw_index_fetch_id(table, AQW_ROW_TASK, payload); break;
    case AQW_RUN_CREATED:
        aqw_index_fetch_id(table, AQW_ROW_RUN, payload);
        if (size >= 32) aqw_index_fetch_id(table, AQW_ROW_TASK, payload + 16);
        break;
    case AQW_RUN_STATE_CHANGED:
    case AQW_ATTEMPT_STARTED:
    case AQW_ATTEMPT_FINISHED:
    case AQW_LEASE_ACQUIRED:
    case AQW_LEASE_HEARTBEAT:
    case AQW_LEASE_EXPIRED:
    case AQW_LEASE_RELEASED:
    case AQW_RUN_SUSPENDED:
    case AQW_RUN_RESUMED:
    case AQW_RUN_CANCELED: aqw_index_fetch_id(table, AQW_ROW_RUN, payload); break;
    default: break;
    }
}

/* aqw_index_find_id for tasks and for runs, without a question to their kinds. */

static int is_task(const aqw_table *table, uint32_t row, const uint8_t *task_id) {
    const aqw_task_row *task = aqw_task_at(table, row);
    return aqw_id_equal(task->task_id, task_id) && !task->is_purged;
}

static int is_run(const aqw_table *table, uint32_t row, const uint8_t *run_id) {
    const aqw_run_row *run = aqw_run_at(table, row);
    return aqw_id_equal(run->run_id, run_id) && !run->is_purged;
}

/* Runs are mostly created for the task that was created last: the lookup tries it first. */
uint32_t aqw_table_find_task(const aqw_table *table, const uint8_t task_id[16]) {
    const aqw_map *map = &table->maps[AQW_ROW_TASK];
    uint32_t newest = table->rows[AQW_ROW_TASK].count;
    aqw_map_probe probe;
    if (newest && is_task(table, newest, task_id)) return newest;
    aqw_map_find(map, aqw_hash_id(&table->hash_key, task_id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        if (is_task(table, row, task_id)) return row;
    }
    return 0;
}

/* Returns 1 where the expected run is this one; it may have been dropped or purged since. */
static int is_expected_run(const aqw_table *table, const uint8_t run_id[16]) {
    uint32_t row = table->expected_run;
    return row && row <= table->rows[AQW_ROW_RUN].count && is_run(table, row, run_id);
}

uint32_t aqw_table_find_run(const aqw_table *table, const uint8_t run_id[16]) {
    const aqw_map *map = &table->maps[AQW_ROW_RUN];
    aqw_map_probe probe;
    if (is_expected_run(table, run_id)) return table->expected_run;
    aqw_map_find(map, aqw_hash_id(&table->hash_key, run_id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        if (is_run(table, row, run_id)) return row;
    }
    return 0;
}

uint32_t aqw_index_find_parent(const aqw_table *table, const uint8_t parent_task_id[16]) {
    return aqw_index_find_id(table, AQW_ROW_PARENT, parent_task_id);
}

uint32_t aqw_table_find_parent(const aqw_table *table, const uint8_t parent_task_id[16]) {
    uint32_t row = aqw_index_find_parent(table, parent_task_id);
    return row && ((const aqw_parent_row *)aqw_row_at(table, AQW_ROW_PARENT, row))->first_child
               ? row
               : 0;
}

uint32_t aqw_index_find_attempt(const aqw_table *table, uint32_t run,
                                const uint8_t attempt_id[16]) {
    const aqw_map *map = &table->maps[AQW_ROW_ATTEMPT];
    aqw_map_probe probe;
    aqw_map_find(map, aqw_hash_attempt(table, run, attempt_id), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_attempt_row *attempt = aqw_row_at(table, AQW_ROW_ATTEMPT, row);
        if (attempt->run == run && aqw_id_equal(attempt->attempt_id, attempt_id)) return row;
    }
    return 0;
}
