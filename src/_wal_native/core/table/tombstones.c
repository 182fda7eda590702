/* Tombstones: the identifiers of purged tasks, which no new task may have. The oldest go first,
 * and where there are more than the limit. */
#include "table/family.h"

typedef struct aqw_tombstone_row {
    uint8_t task_id[16];
    uint64_t until;             /* the earliest time at which it may be dropped */
} aqw_tombstone_row;

static aqw_tombstone_row *tombstone_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_TOMBSTONE, row);
}

/* ---- The key ---- */

AQW_KEY_IS_FIRST(aqw_tombstone_row, task_id);

static uint64_t tombstone_hash(const void *context, uint32_t row) {
    return aqw_hash_row_id(context, AQW_ROW_TOMBSTONE, row);
}

uint32_t aqw_table_find_tombstone(const aqw_table *table, const uint8_t task_id[16]) {
    return table->rows[AQW_ROW_TOMBSTONE].count
               ? aqw_index_find_id(table, AQW_ROW_TOMBSTONE, task_id) : 0;
}

/* ---- Their making ---- */

aqw_status aqw_tombstones_reserve(aqw_table *table, uint32_t count) {
    return aqw_index_reserve(table, AQW_ROW_TOMBSTONE, count);
}

void aqw_tombstone_add(aqw_table *table, const uint8_t task_id[16], uint64_t until) {
    ((aqw_tombstone_row *)aqw_row_new_keyed(table, AQW_ROW_TOMBSTONE, task_id))->until = until;
}

void aqw_tombstones_bound(aqw_table *table) {
    uint32_t count = aqw_count_left(table, AQW_ROW_TOMBSTONE);
    if (count > AQW_TOMBSTONE_COUNT_MAX)
        table->head.purged[AQW_ROW_TOMBSTONE] += count - AQW_TOMBSTONE_COUNT_MAX;
}

/* ---- The view ---- */

void aqw_table_tombstone(const aqw_table *table, uint32_t row, aqw_tombstone_view *view) {
    const aqw_tombstone_row *tombstone = tombstone_at(table, row);
    aqw_id_copy(view->task_id, tombstone->task_id);
    view->until = tombstone->until;
}

/* ---- The image ---- */

static aqw_status save_tombstone(aqw_saver *save, uint32_t row) {
    const aqw_tombstone_row *tombstone = tombstone_at(save->table, row);
    writer *out = start(save);
    put_id(out, tombstone->task_id);
    put_varint(out, tombstone->until);
    return emit(save, AQW_IMAGE_TOMBSTONE);
}

static aqw_status load_tombstone(aqw_table_loader *load, cursor *from) {
    uint8_t task_id[16];
    count_one(load, from, AQW_IMAGE_TOMBSTONE);
    read_real_id(from, task_id);
    uint64_t until = read_varint(from);
    if (finish(from) != AQW_OK || aqw_table_find_task(load->table, task_id) ||
        aqw_table_find_tombstone(load->table, task_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    aqw_tombstone_add(load->table, task_id, until);
    return AQW_OK;
}

static const aqw_row_item tombstone_item = {.type = AQW_IMAGE_TOMBSTONE,
                                            .size_min = 17,
                                            .count_max = AQW_TOMBSTONE_COUNT_MAX,
                                            .save = save_tombstone,
                                            .load = load_tombstone};

/* ---- The purge ---- */

static int tombstone_is_purged(const aqw_table *table, uint32_t row) {
    return aqw_row_is_behind(table, AQW_ROW_TOMBSTONE, row);
}

static int tombstone_may_go(const aqw_search *of, uint32_t row) {
    return tombstone_at(of->table, row)->until <= of->what->today;
}

static int search_tombstones(aqw_search *of) {
    return aqw_search_first_rows(of, AQW_ROW_TOMBSTONE, tombstone_may_go);
}

static const aqw_row_purge tombstone_purge = {
    .unknown = AQW_REFUSED_UNKNOWN_TOMBSTONE,
    .count_at = offsetof(aqw_event, as.runs_purged.tombstone_count),
    .found_count_at = offsetof(aqw_finished, tombstone_count),
    .search = search_tombstones,
};

/* ---- The kind ---- */

#if !defined(NDEBUG)
static void check_tombstones(const aqw_table *table, const aqw_tally *of) {
    (void)of;
    AQW_ASSERT(aqw_count_left(table, AQW_ROW_TOMBSTONE) <= AQW_TOMBSTONE_COUNT_MAX);
}
#endif

const aqw_row_type aqw_tombstone_type = {
    .size = sizeof(aqw_tombstone_row),
    .count_at = AQW_COUNTED_AS(tombstones),
    .hash_of = tombstone_hash,
    .is_purged = tombstone_is_purged,
    .item = &tombstone_item,
    .purge = &tombstone_purge,
    AQW_CHECKED_BY(NULL, check_tombstones)
};
