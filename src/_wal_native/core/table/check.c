/* The table's invariants, compiled in builds with assertions only; those of rarer rows are in the
 * files of their families. Each function looks at one kind of row with all that it leads to; every
 * chain is walked once from its head, so all of them together take as many steps as there are rows.
 * Rows are added in the order of their numbers: a chain that rises, or falls, has an end. */
#include "table/check.h"

#include "base/check.h"
#include "event/rules.h"
#include "table/family.h"

#if defined(NDEBUG)

/* ISO C wants at least one declaration in a file. */
typedef int aqw_table_check_is_empty;

#else

/* ---- Runs, with their history and attempts ---- */

/* Returns 1 where a run that went to the first state may be in the second by its lease's end, which
 * has no row of history. */
static int may_have_become(uint8_t state, uint8_t later) {
    return later == state || (aqw_rule_lease_close_makes_ready(state) && later == AQW_READY);
}

static void check_history(const aqw_table *table, const aqw_run_row *run) {
    uint32_t count = 0, last = 0;
    uint8_t state = AQW_SCHEDULED;
    uint64_t changed_at = run->created_at;
    for (uint32_t row = run->first_history; row; count++) {
        const aqw_history_row *entry = aqw_row_at(table, AQW_ROW_HISTORY, row);
        AQW_ASSERT(row > last);
        AQW_ASSERT(may_have_become(state, entry->from_state));
        AQW_ASSERT(aqw_rule_transition_is_valid(entry->from_state, entry->to_state));
        AQW_ASSERT(entry->timestamp <= table->head.newest_change);
        state = entry->to_state;
        changed_at = entry->timestamp;
        last = row;
        row = entry->next;
    }
    AQW_ASSERT(count == run->history_count);
    AQW_ASSERT(last == run->last_history);
    AQW_ASSERT(may_have_become(state, run->state));
    AQW_ASSERT(run->last_state_change_at == changed_at);
}

/* All but the last attempt are finished; the last is active where it is not, unless its run was
 * canceled. */
static void check_attempts(const aqw_table *table, const aqw_run_row *run, uint32_t run_row) {
    uint32_t count = 0, last = 0;
    int is_unfinished = 0;
    for (uint32_t row = run->first_attempt; row; count++) {
        const aqw_attempt_row *attempt = aqw_attempt_at(table, row);
        AQW_ASSERT(row > last && attempt->run == run_row);
        AQW_ASSERT(!is_unfinished);
        is_unfinished = attempt->ending == NULL;
        last = row;
        row = attempt->next;
    }
    AQW_ASSERT(count == run->attempt_count);
    AQW_ASSERT(last == run->last_attempt);
    AQW_ASSERT(!run->has_active_attempt || aqw_rule_attempt_allowed(run->state));
    AQW_ASSERT(is_unfinished || !run->has_active_attempt);
    AQW_ASSERT(!is_unfinished || run->has_active_attempt || run->state == AQW_CANCELED);
}

static void check_run(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_run_row *run = aqw_run_at(table, row);
    AQW_ASSERT(run->state <= AQW_RUN_STATE_LAST);
    AQW_ASSERT(!run->lease || aqw_rule_lease_held_allowed(run->state));
    AQW_ASSERT(run->created_at <= table->head.newest_change);
    check_history(table, run);
    check_attempts(table, run, row);
    to->history += run->history_count;
    to->attempts += run->attempt_count;
    to->leases += run->lease != NULL;
    if (run->is_purged) {
        AQW_ASSERT(aqw_rule_state_is_terminal(run->state));
        to->purged[AQW_ROW_HISTORY] += run->history_count;
        to->purged[AQW_ROW_ATTEMPT] += run->attempt_count;
    } else {
        AQW_ASSERT(!aqw_task_at(table, run->task)->is_purged);
        to->runs_by_state[run->state]++;
    }
}

/* ---- Tasks, with the chains that begin at them ---- */

static void check_runs_of(const aqw_table *table, uint32_t task_row, aqw_tally *to) {
    const aqw_task_row *task = aqw_task_at(table, task_row);
    uint32_t count = 0, open = 0, last = 0;
    AQW_ASSERT(!task->first_run || !aqw_run_at(table, task->first_run)->is_purged);
    for (uint32_t row = task->first_run; row;) {
        const aqw_run_row *run = aqw_run_at(table, row);
        int is_open = !aqw_rule_state_is_terminal(run->state);
        AQW_ASSERT(row > last && run->task == task_row);
        AQW_ASSERT(run->is_purged || is_open || run->last_state_change_at <= task->last_end);
        count += !run->is_purged;
        if (is_open) open++;
        last = row;
        row = run->next_in_task;
    }
    AQW_ASSERT(count == task->run_count);
    AQW_ASSERT(open == task->open_runs);
    AQW_ASSERT(last == 0 || last == task->last_run);
    AQW_ASSERT(count > 0 || !task->last_run || aqw_run_at(table, task->last_run)->is_purged);
    AQW_ASSERT(count > 0 || task->last_end == 0);
    AQW_ASSERT(task->runs_created >= count && (task->runs_created > 0) == task->had_runs);
    AQW_ASSERT(task->runs_created > count || !task->completed_purged);
    to->runs += count;
}

/* The newest first, as in the next chain; purged ones stay in this one, but for its head. */
static void check_dependencies_of(const aqw_table *table, uint32_t task_row, aqw_tally *to) {
    uint32_t before = UINT32_MAX, first = aqw_task_at(table, task_row)->first_dependency;
    AQW_ASSERT(!first || !aqw_dependency_at(table, first)->is_purged);
    for (uint32_t row = first; row;) {
        const aqw_dependency_row *dependency = aqw_dependency_at(table, row);
        AQW_ASSERT(row < before && dependency->task == task_row);
        to->dependencies += !dependency->is_purged;
        before = row;
        row = dependency->next_in_task;
    }
}

static void check_dependents_of(const aqw_table *table, uint32_t task_row, aqw_tally *to) {
    uint32_t before = 0;
    for (uint32_t row = aqw_task_at(table, task_row)->first_dependent; row;) {
        const aqw_dependency_row *dependency = aqw_dependency_at(table, row);
        AQW_ASSERT(!before || row < before);
        AQW_ASSERT(dependency->depends_on == task_row && dependency->previous_on_same == before);
        AQW_ASSERT(!dependency->is_purged);
        to->dependents++;
        before = row;
        row = dependency->next_on_same;
    }
}

static void check_task(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_task_row *task = aqw_task_at(table, row);
    AQW_ASSERT(task->spec != NULL);
    AQW_ASSERT(!task->is_purged || task->run_count == 0);
    AQW_ASSERT(!task->is_purged || (!task->first_dependency && !task->first_dependent));
    check_runs_of(table, row, to);
    check_dependencies_of(table, row, to);
    check_dependents_of(table, row, to);
}

/* ---- Parents ---- */

static void check_parent(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, row);
    uint32_t last = 0;
    AQW_ASSERT(aqw_child_at(table, parent->last_child)->parent == row);
    to->purged[AQW_ROW_PARENT] += !parent->first_child;
    for (uint32_t at = parent->first_child; at;) {
        const aqw_child_row *child = aqw_child_at(table, at);
        int is_purged = aqw_task_at(table, child->task)->is_purged;
        AQW_ASSERT(at > last && child->parent == row);
        AQW_ASSERT(at != parent->first_child || !is_purged);
        to->children += !is_purged;
        last = at;
        at = child->next;
    }
    AQW_ASSERT(last == 0 || last == parent->last_child);
}

static uint64_t count_children_left(const aqw_table *table) {
    uint64_t count = 0;
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_CHILD].count; row++) {
        count += !aqw_task_at(table, aqw_child_at(table, row)->task)->is_purged;
    }
    return count;
}

/* ---- The whole ---- */

/* History, attempts and parents are counted with what leads to them. */
static void check_kind(const aqw_table *table, int kind, aqw_tally *to) {
    const aqw_row_type *type = aqw_row_types[kind];
    const aqw_rows *rows = &table->rows[kind];
    const aqw_map *map = &table->maps[kind];
    AQW_ASSERT(rows->count <= (uint64_t)rows->chunk_count * AQW_ROWS_PER_CHUNK);
    AQW_ASSERT(table->head.purged[kind] <= rows->count);
    AQW_ASSERT(map->count == (map->hash_of ? rows->count : 0));
    if (map->hash_of) AQW_ASSERT(aqw_map_check(map));
    for (uint32_t row = 1; row <= rows->count; row++) {
        to->purged[kind] += aqw_index_is_purged(table, kind, row) != 0;
        switch (kind) {
        case AQW_ROW_TASK: check_task(table, row, to); break;
        case AQW_ROW_RUN: check_run(table, row, to); break;
        case AQW_ROW_PARENT: check_parent(table, row, to); break;
        default:
            if (type->check) type->check(table, row, to);
            break;
        }
    }
}

static void check_head(const aqw_table *table, const aqw_tally *of) {
    const aqw_table_head *head = &table->head;
    AQW_ASSERT(memcmp(head->runs_by_state, of->runs_by_state, sizeof of->runs_by_state) == 0);
    AQW_ASSERT(head->lease_count == of->leases);
    AQW_ASSERT(memcmp(head->purged, of->purged, sizeof of->purged) == 0);
    AQW_ASSERT(aqw_engine_check(&head->engine));
}

/* Every row is in the chain of what it belongs to. */
static void check_chains(const aqw_table *table, const aqw_tally *of) {
    AQW_ASSERT(of->runs == aqw_count_left(table, AQW_ROW_RUN));
    AQW_ASSERT(of->history == table->rows[AQW_ROW_HISTORY].count);
    AQW_ASSERT(of->attempts == table->rows[AQW_ROW_ATTEMPT].count);
    AQW_ASSERT(of->dependencies == aqw_count_left(table, AQW_ROW_DEPENDENCY));
    AQW_ASSERT(of->dependents == aqw_count_left(table, AQW_ROW_DEPENDENCY));
    AQW_ASSERT(of->children == count_children_left(table));
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        if (aqw_row_types[kind]->check_sums) aqw_row_types[kind]->check_sums(table, of);
    }
}

static void check_undo(const aqw_table *table) {
    const aqw_undo *undo = &table->undo;
    AQW_ASSERT(undo->is_open || (!undo->images && !undo->taken && !undo->replaced));
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT && undo->is_open; kind++) {
        AQW_ASSERT(undo->row_counts[kind] <= table->rows[kind].count);
    }
}

/* Returns how many rows there are to look at: those of the table, and the places of its indexes. */
static uint64_t size_of(const aqw_table *table) {
    uint64_t size = 0;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        const aqw_map *map = &table->maps[kind];
        size += table->rows[kind].count;
        size += (uint64_t)map->current.bucket_count + map->old.bucket_count;
    }
    return size;
}

/* Returns 1 where what was paid, this included, covers the table; it is spent then. */
static int is_due(aqw_table *table, uint64_t paid) {
    if (paid < size_of(table) && (table->check_credit += paid) < size_of(table)) return 0;
    table->check_credit = 0;
    return 1;
}

int aqw_table_check(aqw_table *table, uint64_t paid) {
    aqw_tally of;
    if (!is_due(table, paid)) return 1;
    memset(&of, 0, sizeof of);
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) check_kind(table, kind, &of);
    check_head(table, &of);
    check_chains(table, &of);
    check_undo(table);
    aqw_orders_check(table);
    return 1;
}

/* ---- What was reserved ---- */

void aqw_check_event(aqw_table *table) {
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        table->reserved[kind] = table->rows[kind].count;
    }
    table->undo.blocks_reserved = 0;
}

void aqw_check_reserved(aqw_table *table, int kind, uint32_t extra) {
    const aqw_rows *rows = &table->rows[kind];
    const aqw_map *map = &table->maps[kind];
    uint64_t needed = (uint64_t)rows->count + extra;
    AQW_ASSERT(needed <= (uint64_t)rows->chunk_count * AQW_ROWS_PER_CHUNK);
    AQW_ASSERT(needed <= AQW_ROW_COUNT_MAX);
    AQW_ASSERT(!map->hash_of || needed <= map->count_max);
    if (needed > table->reserved[kind]) table->reserved[kind] = (uint32_t)needed;
}

void aqw_check_added(const aqw_table *table, int kind) {
    AQW_ASSERT(table->rows[kind].count < table->reserved[kind]);
}

void aqw_check_block(aqw_undo *undo) {
    AQW_ASSERT(undo->blocks_reserved > 0);
    undo->blocks_reserved--;
}

/* ---- What a rollback brings back ---- */

#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

static uint64_t digest_bytes(uint64_t digest, const void *from, size_t size) {
    const uint8_t *bytes = from;
    for (; size >= 4; size -= 4, bytes += 4) digest = (digest ^ aqw_load_u32(bytes)) * FNV_PRIME;
    for (; size > 0; size--, bytes++) digest = (digest ^ *bytes) * FNV_PRIME;
    return digest;
}

/* All rows, and the leases, which change in place; other blocks are replaced, and rows name them by
 * address. */
static uint64_t digest_of(const aqw_table *table) {
    uint64_t digest = FNV_BASIS;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        for (uint32_t row = 1; row <= table->rows[kind].count; row++) {
            digest = digest_bytes(digest, aqw_row_at(table, kind, row), table->rows[kind].row_size);
        }
    }
    for (uint32_t row = 1; row <= table->rows[AQW_ROW_RUN].count; row++) {
        const aqw_lease *lease = aqw_run_at(table, row)->lease;
        if (lease) digest = digest_bytes(digest, lease, sizeof *lease + lease->owner_size);
    }
    return digest;
}

void aqw_check_begin(aqw_table *table) {
    table->undo.has_digest = is_due(table, AQW_CHECK_BATCH);
    if (table->undo.has_digest) table->undo.digest = digest_of(table);
}

void aqw_check_rollback(aqw_table *table) {
    AQW_ASSERT(!table->undo.has_digest || table->undo.digest == digest_of(table));
    table->undo.has_digest = 0;
    aqw_check_event(table);
    AQW_ASSERT(aqw_table_check(table, AQW_CHECK_ROLLBACK));
}

#endif
