/* Reads a table's image; table/image.h specifies it. Every function goes in the same order: the
 * bytes, the rules, the memory, the row. Only what has passed the rules goes into the table,
 * through the functions that apply events. */
#include "table/image.h"

#include <string.h>

#include "base/limits.h"
#include "event/cursor.h"
#include "event/rules.h"
#include "table/check.h"
#include "table/family.h"

/* ---- The head ---- */

/* Returns the least bytes that one takes; 3 for a lease, which has no row. */
static uint64_t size_min_of(uint8_t kind) {
    return kind == AQW_ROW_KIND_COUNT ? 3 : aqw_row_types[kind]->item->size_min;
}

static uint32_t count_max_of(uint8_t kind) {
    uint32_t count_max = kind == AQW_ROW_KIND_COUNT ? 0 : aqw_row_types[kind]->item->count_max;
    return count_max ? count_max : AQW_ROW_COUNT_MAX;
}

/* `size_max` is the size of all items. */
static aqw_status read_head(cursor *from, uint64_t size_max, const uint8_t *kinds,
                            aqw_image_head *head) {
    uint64_t size_min = 0;
    memset(head, 0, sizeof *head);
    head->sequence = read_varint(from);
    aqw_engine_read(from, &head->engine);
    for (int type = AQW_IMAGE_TASK; type < AQW_IMAGE_TYPE_COUNT; type++) {
        head->counts[type] = read_varint32(from);
        require(from, head->counts[type] <= count_max_of(kinds[type]));
        size_min += (uint64_t)head->counts[type] * size_min_of(kinds[type]);
    }
    require(from, size_min <= size_max);
    return finish(from) == AQW_OK ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

aqw_status aqw_image_head_read(uint8_t type, const uint8_t *payload, size_t size, uint64_t size_max,
                               aqw_image_head *head) {
    if (type != AQW_IMAGE_HEAD) return AQW_MALFORMED_SNAPSHOT;
    uint8_t kinds[AQW_IMAGE_TYPE_COUNT];
    cursor from = {payload, payload + size, 0};
    aqw_kinds_by_item(kinds);
    return read_head(&from, size_max, kinds, head);
}

static aqw_status load_head(aqw_table_loader *load, cursor *from) {
    aqw_image_head head;
    if (read_head(from, load->size_max, load->kinds, &head) != AQW_OK)
        return AQW_MALFORMED_SNAPSHOT;
    load->table->head.latest_sequence = head.sequence;
    load->table->head.engine = head.engine;
    memcpy(load->expected, head.counts, sizeof load->expected);
    for (int type = AQW_IMAGE_TASK; type < AQW_IMAGE_TYPE_COUNT; type++) {
        uint8_t kind = load->kinds[type];
        if (kind == AQW_ROW_KIND_COUNT) continue;
        if (aqw_index_reserve(load->table, kind, load->expected[type]) != AQW_OK)
            return AQW_NO_MEMORY;
    }
    return AQW_OK;
}

/* ---- Tasks and runs ---- */

static aqw_status load_task(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    uint8_t task_id[16];
    aqw_task_spec fields;
    count_one(load, from, AQW_IMAGE_TASK);
    read_real_id(from, task_id);
    uint64_t created_at = read_varint(from);
    uint8_t flags = read_code(from,
                              AQW_IMAGE_HAS_FIRST | AQW_IMAGE_HAD_RUNS | AQW_IMAGE_RUNS_PURGED |
                                  AQW_IMAGE_COMPLETED_PURGED);
    uint64_t canceled_at = flags & AQW_IMAGE_HAS_FIRST ? read_difference(from, created_at) : 0;
    uint64_t last_run_at = flags & AQW_IMAGE_HAD_RUNS ? read_difference(from, created_at) : 0;
    uint64_t runs_purged = flags & AQW_IMAGE_RUNS_PURGED ? read_positive(from) : 0;
    require(from, !runs_purged || (flags & AQW_IMAGE_HAD_RUNS) != 0);
    require(from, runs_purged || (flags & AQW_IMAGE_COMPLETED_PURGED) == 0);
    aqw_bytes spec = read_rest(from);
    if (finish(from) != AQW_OK || aqw_task_spec_decode(spec.data, spec.size, &fields) != AQW_OK ||
        aqw_table_find_task(table, task_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    if (fields.has_parent && aqw_child_reserve(table, fields.parent_task_id) != AQW_OK)
        return AQW_NO_MEMORY;
    const uint8_t *spec_copy = aqw_bytes_copy(table, spec);
    if (!spec_copy) return AQW_NO_MEMORY;

    uint32_t row = aqw_task_add(table, task_id);
    aqw_task_row *task = aqw_task_at(table, row);
    task->created_at = created_at;
    task->is_canceled = (flags & AQW_IMAGE_HAS_FIRST) != 0;
    task->canceled_at = canceled_at;
    task->had_runs = (flags & AQW_IMAGE_HAD_RUNS) != 0;
    task->completed_purged = (flags & AQW_IMAGE_COMPLETED_PURGED) != 0;
    task->last_run_at = last_run_at;
    task->runs_created = runs_purged;
    if (task->had_runs && !runs_purged) load->awaited_tasks++;
    task->spec = spec_copy;
    task->spec_size = spec.size & AQW_PAYLOAD_SIZE_MAX;
    if (fields.has_parent) aqw_child_add(table, fields.parent_task_id, row);
    return AQW_OK;
}

static void load_step(aqw_table_loader *load, cursor *from) {
    aqw_run_row *run = aqw_run_at(load->table, load->run);
    uint8_t step = read_u8(from);
    load->steps++;
    if (step == AQW_IMAGE_LEASE_CLOSED) {
        require(from, aqw_rule_lease_close_makes_ready(run->state));
        if (!from->failed) aqw_run_set_state(load->table, run, AQW_READY);
        return;
    }
    uint64_t time = read_difference(from, load->step_time);
    require(from, aqw_rule_transition_is_valid(run->state, step));
    count_one(load, from, AQW_IMAGE_HISTORY);
    if (from->failed) return;
    aqw_run_change_state(load->table, run, step, time);
    load->step_time = time;
    if (aqw_rule_attempt_allowed(step)) load->was_running = 1;
}

static aqw_status load_steps(aqw_table_loader *load, cursor *from) {
    for (int i = 0; i < AQW_IMAGE_GROUP_COUNT_MAX && left(from) > 0; i++) load_step(load, from);
    return finish(from) == AQW_OK ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

static aqw_status load_run(aqw_table_loader *load, cursor *from) {
    uint8_t run_id[16];
    count_one(load, from, AQW_IMAGE_RUN);
    read_real_id(from, run_id);
    uint32_t task = read_task(load, from);
    uint64_t created_at = read_varint(from);
    uint64_t scheduled_at = read_difference(from, created_at);
    int32_t effective_priority = read_zigzag(from);
    if (from->failed || aqw_table_find_run(load->table, run_id)) return AQW_MALFORMED_SNAPSHOT;
    if (!aqw_task_at(load->table, task)->had_runs) return AQW_MALFORMED_SNAPSHOT;

    if (!aqw_task_at(load->table, task)->runs_created) load->awaited_tasks--;
    load->run = aqw_run_add(load->table, task, run_id, created_at);
    load->steps = 0;
    load->step_time = created_at;
    load->was_running = 0;
    aqw_run_row *run = aqw_run_at(load->table, load->run);
    run->scheduled_at = scheduled_at;
    run->effective_priority = effective_priority;
    return load_steps(load, from);
}

/* Goes on only where the group before was full, and left something to say. */
static aqw_status load_history(aqw_table_loader *load, cursor *from) {
    require(from,
            left(from) > 0 && load->steps > 0 && load->steps % AQW_IMAGE_GROUP_COUNT_MAX == 0);
    return from->failed ? AQW_MALFORMED_SNAPSHOT : load_steps(load, from);
}

static aqw_status load_attempt(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    aqw_run_row *run = aqw_run_at(table, load->run);
    uint8_t attempt_id[16];
    uint64_t finished_at = 0;
    aqw_bytes detail = {NULL, 0};
    count_one(load, from, AQW_IMAGE_ATTEMPT);
    read_id(from, attempt_id);
    uint64_t started_at = read_difference(from, run->created_at);
    uint8_t result = read_u8(from);
    if (result != AQW_IMAGE_UNFINISHED) {
        require(from, result <= AQW_ATTEMPT_RESULT_LAST);
        finished_at = read_difference(from, started_at);
        detail = result == AQW_FAILURE || result == AQW_TIMEOUT ? read_rest_as_text(from, 0)
                                                                : read_rest(from);
    }
    /* An attempt that is not finished is active until end_run looks at it. */
    if (finish(from) != AQW_OK || !load->was_running || run->has_active_attempt ||
        aqw_rule_attempt_count_is_full(run->attempt_count) ||
        aqw_table_run_had_attempt(table, load->run, attempt_id)) {
        return AQW_MALFORMED_SNAPSHOT;
    }
    const uint8_t *ending = NULL;
    if (result != AQW_IMAGE_UNFINISHED && !(ending = aqw_ending_take(table, result, detail)))
        return AQW_NO_MEMORY;

    aqw_attempt_add(table, load->run, attempt_id, started_at);
    if (ending) aqw_attempt_end(table, run, finished_at, ending);
    return AQW_OK;
}

static aqw_status load_lease(aqw_table_loader *load, cursor *from) {
    aqw_table *table = load->table;
    aqw_run_row *run = aqw_run_at(table, load->run);
    count_one(load, from, AQW_IMAGE_LEASE);
    uint64_t acquired_at = read_difference(from, run->created_at);
    uint64_t updated_at = read_difference(from, acquired_at);
    uint64_t expiry = read_difference(from, acquired_at);
    aqw_bytes owner = read_rest_as_text(from, 0);
    if (finish(from) != AQW_OK || run->lease || !aqw_rule_lease_held_allowed(run->state))
        return AQW_MALFORMED_SNAPSHOT;
    aqw_lease *lease = aqw_lease_take(table, owner);
    if (!lease) return AQW_NO_MEMORY;

    lease->acquired_at = acquired_at;
    lease->updated_at = updated_at;
    lease->expiry = expiry;
    run->lease = lease;
    table->head.lease_count++;
    return AQW_OK;
}

/* After a run's last item: an unfinished attempt is active, or was when the run was canceled. */
static aqw_status end_run(aqw_table_loader *load) {
    if (!load->run) return AQW_OK;
    aqw_run_row *run = aqw_run_at(load->table, load->run);
    load->run = 0;
    if (!run->has_active_attempt || aqw_rule_attempt_allowed(run->state)) return AQW_OK;
    const aqw_history_row *last = aqw_row_at(load->table, AQW_ROW_HISTORY, run->last_history);
    run->has_active_attempt = 0;
    int was_active = aqw_rule_attempt_allowed(last->from_state) &&
                     !aqw_rule_attempt_blocks_change(last->from_state, run->state, 1);
    return was_active ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

/* ---- The whole ---- */

static aqw_status load_rare(aqw_table_loader *load, uint8_t type, cursor *from) {
    if (type == 0 || type >= AQW_IMAGE_TYPE_COUNT) return AQW_MALFORMED_SNAPSHOT;
    AQW_ASSERT(load->kinds[type] < AQW_ROW_KIND_COUNT);
    return aqw_row_types[load->kinds[type]]->item->load(load, from);
}

static aqw_status load_item(aqw_table_loader *load, uint8_t type, cursor *from) {
    switch (type) {
    case AQW_IMAGE_HEAD: return load_head(load, from);
    case AQW_IMAGE_TASK: return load_task(load, from);
    case AQW_IMAGE_RUN: return load_run(load, from);
    case AQW_IMAGE_HISTORY: return load_history(load, from);
    case AQW_IMAGE_ATTEMPT: return load_attempt(load, from);
    case AQW_IMAGE_LEASE: return load_lease(load, from);
    default: return load_rare(load, type, from);
    }
}

static int is_of_run(uint8_t type) { return type >= AQW_IMAGE_HISTORY && type <= AQW_IMAGE_LEASE; }

/* The one head comes first; types rise, except that a run may follow what belongs to the run
 * before; and what belongs to a run follows one. */
static int may_follow(uint8_t last, uint8_t type) {
    if (last == 0 || type == AQW_IMAGE_HEAD) return last == 0 && type == AQW_IMAGE_HEAD;
    if (is_of_run(type)) return last <= type && (last == AQW_IMAGE_RUN || is_of_run(last));
    return last <= type || (type == AQW_IMAGE_RUN && is_of_run(last));
}

aqw_status aqw_table_load_begin(aqw_table_loader *loader, aqw_table *table, uint64_t size_max) {
    memset(loader, 0, sizeof *loader);
    loader->table = table;
    loader->size_max = size_max;
    aqw_kinds_by_item(loader->kinds);
    if (table->undo.is_open || table->head.latest_sequence) loader->status = AQW_INVALID_ARGUMENT;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        if (table->rows[kind].count) loader->status = AQW_INVALID_ARGUMENT;
    }
    if (loader->status == AQW_OK) aqw_orders_drop(table);   /* those of no runs */
    return loader->status;
}

void aqw_table_load_fetch(const aqw_table_loader *loader, uint8_t type, const uint8_t *payload,
                          size_t size) {
    if (loader->status != AQW_OK || size < 16) return;
    if (type == AQW_IMAGE_TASK) aqw_index_fetch_id(loader->table, AQW_ROW_TASK, payload);
    if (type == AQW_IMAGE_RUN) aqw_index_fetch_id(loader->table, AQW_ROW_RUN, payload);
}

aqw_status aqw_table_load_item(aqw_table_loader *loader, uint8_t type, const uint8_t *payload,
                               size_t size) {
    if (loader->status != AQW_OK) return loader->status;
    if (!payload || size > AQW_IMAGE_ITEM_SIZE_MAX || !may_follow(loader->type, type)) {
        return loader->status = AQW_MALFORMED_SNAPSHOT;
    }
    cursor from = {payload, payload + size, 0};
    loader->type = type;
    if (!is_of_run(type)) loader->status = end_run(loader);
    if (loader->status == AQW_OK) loader->status = load_item(loader, type, &from);
    return loader->status;
}

aqw_status aqw_table_load_end(aqw_table_loader *loader) {
    if (loader->status == AQW_OK) loader->status = end_run(loader);
    int is_whole = loader->type && !loader->awaited_tasks &&
                   memcmp(loader->loaded, loader->expected, sizeof loader->loaded) == 0;
    if (loader->status == AQW_OK && !is_whole) loader->status = AQW_MALFORMED_SNAPSHOT;
    AQW_ASSERT(loader->status != AQW_OK || aqw_table_check(loader->table, AQW_CHECK_LOAD));
    return loader->status;
}
