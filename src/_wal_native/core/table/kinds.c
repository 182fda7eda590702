/* The list of all kinds of rows, and the types of those that come all day, which the other files of
 * table/ know by name. */
#include "table/family.h"

AQW_KEY_IS_FIRST(aqw_task_row, task_id);
AQW_KEY_IS_FIRST(aqw_run_row, run_id);
AQW_KEY_IS_FIRST(aqw_parent_row, parent_task_id);

static uint64_t task_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_TASK, row);
}

static uint64_t run_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_RUN, row);
}

static uint64_t parent_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_PARENT, row);
}

static uint64_t attempt_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_attempt_row *attempt = aqw_attempt_at(table, row);
    return aqw_hash_attempt(table, attempt->run, attempt->attempt_id);
}

static const aqw_row_item task_item = {.type = AQW_IMAGE_TASK, .size_min = 21};
static const aqw_row_item run_item = {.type = AQW_IMAGE_RUN, .size_min = 20};
static const aqw_row_item history_item = {.type = AQW_IMAGE_HISTORY, .size_min = 2};
static const aqw_row_item attempt_item = {.type = AQW_IMAGE_ATTEMPT, .size_min = 18};

const aqw_row_type aqw_run_type = {
    .size = sizeof(aqw_run_row),
    .count_at = AQW_COUNTED_AS(runs),
    .hash_of = run_hash,
    .item = &run_item,
    .purge = &aqw_run_purge,
};

const aqw_row_type aqw_task_type = {
    .size = sizeof(aqw_task_row),
    .count_at = AQW_COUNTED_AS(tasks),
    .hash_of = task_hash,
    .item = &task_item,
    .purge = &aqw_task_purge,
};

const aqw_row_type aqw_history_type = {
    .size = sizeof(aqw_history_row),
    .count_at = AQW_COUNTED_AS(history),
    .item = &history_item,
};

const aqw_row_type aqw_attempt_type = {
    .size = sizeof(aqw_attempt_row),
    .count_at = AQW_COUNTED_AS(attempts),
    .hash_of = attempt_hash,
    .item = &attempt_item,
};

const aqw_row_type aqw_parent_type = {
    .size = sizeof(aqw_parent_row),
    .count_at = AQW_COUNTED_AS(parents),
    .hash_of = parent_hash,
};

const aqw_row_type aqw_child_type = {.size = sizeof(aqw_child_row)};

#define LISTED(NAME, name) [AQW_ROW_##NAME] = &aqw_##name##_type,
const aqw_row_type *const aqw_row_types[AQW_ROW_KIND_COUNT] = {AQW_ROW_KINDS(LISTED)};

void aqw_kinds_by_item(uint8_t kinds[AQW_IMAGE_TYPE_COUNT]) {
    memset(kinds, AQW_ROW_KIND_COUNT, AQW_IMAGE_TYPE_COUNT);
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        const aqw_row_item *item = aqw_row_types[kind]->item;
        if (item) kinds[item->type] = (uint8_t)kind;
    }
}
