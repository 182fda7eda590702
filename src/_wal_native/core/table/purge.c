/* Retention: the event that drops what is over, and the search for it. table/internal.h
 * says what a purged row is. */
#include <string.h>

#include "base/limits.h"
#include "event/rules.h"
#include "table/family.h"

/* ---- What a purge does with a run or a task; other rows: the files of their families ---- */

static int run_is_over(const aqw_table *table, uint32_t row) {
    return aqw_rule_state_is_terminal(aqw_run_at(table, row)->state);
}

static aqw_status keep_run(aqw_table *table, uint32_t row) {
    return aqw_undo_keep_row(table, AQW_ROW_TASK, aqw_run_at(table, row)->task);
}

static int run_is_purged(const aqw_table *table, uint32_t row) {
    return aqw_run_at(table, row)->is_purged;
}

static void mark_run(aqw_table *table, uint32_t row, int is_purged) {
    aqw_run_row *run = aqw_run_at(table, row);
    aqw_task_row *task = aqw_task_at(table, run->task);
    run->is_purged = is_purged != 0;
    task->run_count = is_purged ? task->run_count - 1 : task->run_count + 1;
}

/* Takes a marked run out of the counts, and out of the head of its task's chain. */
static void drop_run(aqw_table *table, uint32_t row) {
    const aqw_run_row *run = aqw_run_at(table, row);
    aqw_table_head *head = &table->head;
    aqw_task_row *task = aqw_task_at(table, run->task);
    head->runs_by_state[run->state]--;
    head->purged[AQW_ROW_RUN]++;
    head->purged[AQW_ROW_HISTORY] += run->history_count;
    head->purged[AQW_ROW_ATTEMPT] += run->attempt_count;
    if (!task->run_count) task->last_end = 0;
    if (run->state == AQW_COMPLETED) task->completed_purged = 1;
    while (task->first_run && aqw_run_at(table, task->first_run)->is_purged) {
        task->first_run = aqw_run_at(table, task->first_run)->next_in_task;
    }
}

void aqw_table_take_completions(aqw_table *to, const aqw_table *from) {
    for (uint32_t row = 1; row <= to->rows[AQW_ROW_TASK].count; row++) {
        aqw_task_row *task = aqw_task_at(to, row);
        if (task->is_purged || task->runs_created == task->run_count) continue;
        uint32_t same = aqw_table_find_task(from, task->task_id);
        if (same && aqw_task_at(from, same)->completed_purged) task->completed_purged = 1;
    }
}

const aqw_row_purge aqw_run_purge = {
    .unknown = AQW_REFUSED_UNKNOWN_RUN,
    .ids_at = offsetof(aqw_event, as.runs_purged.run_ids),
    .count_at = offsetof(aqw_event, as.runs_purged.run_count),
    .found_ids_at = offsetof(aqw_finished, run_ids),
    .found_count_at = offsetof(aqw_finished, run_count),
    .find = aqw_table_find_run,
    .is_over = run_is_over,
    .keep = keep_run,
    .is_marked = run_is_purged,
    .mark = mark_run,
    .drop = drop_run,
};

/* What a task needs shows only once the rows are marked. */
static int task_is_over(const aqw_table *table, uint32_t row) {
    (void)table;
    (void)row;
    return 1;
}

/* Returns the parent's row, or 0. */
static uint32_t parent_of(const aqw_table *table, const aqw_task_row *task) {
    aqw_task_spec fields;
    int has_parent = aqw_task_spec_decode(task->spec, task->spec_size, &fields) == AQW_OK &&
                     fields.has_parent;
    return has_parent ? aqw_index_find_parent(table, fields.parent_task_id) : 0;
}

static aqw_status keep_task(aqw_table *table, uint32_t row) {
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        const aqw_row_type *type = aqw_row_types[kind];
        if (type->keep_with_task && type->keep_with_task(table, row) != AQW_OK)
            return AQW_NO_MEMORY;
    }
    uint32_t parent = parent_of(table, aqw_task_at(table, row));
    return parent ? aqw_undo_keep_row(table, AQW_ROW_PARENT, parent) : AQW_OK;
}

static int task_is_purged(const aqw_table *table, uint32_t row) {
    return aqw_task_at(table, row)->is_purged;
}

static void mark_task(aqw_table *table, uint32_t row, int is_purged) {
    aqw_task_at(table, row)->is_purged = is_purged != 0;
}

static void drop_child(aqw_table *table, uint32_t parent_row) {
    aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, parent_row);
    if (!parent->first_child) return;
    while (parent->first_child &&
           aqw_task_at(table, aqw_child_at(table, parent->first_child)->task)->is_purged) {
        parent->first_child = aqw_child_at(table, parent->first_child)->next;
    }
    if (!parent->first_child) table->head.purged[AQW_ROW_PARENT]++;
}

/* Takes a marked task out of the counts, and out of the head of its parent's chain. */
static void drop_task(aqw_table *table, uint32_t row) {
    uint32_t parent = parent_of(table, aqw_task_at(table, row));
    aqw_orders_note_forgotten(table, row);
    table->head.purged[AQW_ROW_TASK]++;
    if (parent) drop_child(table, parent);
}

static int search_tasks(aqw_search *of);

const aqw_row_purge aqw_task_purge = {
    .unknown = AQW_REFUSED_UNKNOWN_TASK,
    .ids_at = offsetof(aqw_event, as.runs_purged.task_ids),
    .count_at = offsetof(aqw_event, as.runs_purged.task_count),
    .found_ids_at = offsetof(aqw_finished, task_ids),
    .found_count_at = offsetof(aqw_finished, task_count),
    .find = aqw_table_find_task,
    .is_over = task_is_over,
    .keep = keep_task,
    .is_marked = task_is_purged,
    .mark = mark_task,
    .drop = drop_task,
    .search = search_tasks,
};

/* ---- The event ---- */

/* What an event says of one kind. */
typedef struct part {
    int kind;
    const aqw_row_purge *rules;
    const uint8_t *ids;
    uint32_t count;             /* of identifiers, or of the first rows */
    uint32_t first;             /* where the rows of the identifiers begin in `rows` */
} part;

typedef struct purge {
    part parts[AQW_ROW_KIND_COUNT];
    int part_count;
    uint32_t row_count;
    uint32_t rows[AQW_PURGE_COUNT_MAX];         /* that identifiers name */
} purge;

/* Returns how many rows the event names one by one. */
static uint32_t named_count(const part *of) { return of->rules->ids_at ? of->count : 0; }

static part read_part(const aqw_event *event, int kind) {
    const aqw_row_purge *rules = aqw_row_types[kind]->purge;
    const uint8_t *from = (const uint8_t *)event;
    part read = {.kind = kind, .rules = rules};
    memcpy(&read.count, from + rules->count_at, sizeof read.count);
    if (rules->ids_at) memcpy(&read.ids, from + rules->ids_at, sizeof read.ids);
    return read;
}

static aqw_status open_purge(purge *of, const aqw_event *event) {
    int is_empty = 1;
    of->part_count = 0;
    of->row_count = 0;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        if (!aqw_row_types[kind]->purge) continue;
        part read = read_part(event, kind);
        if (named_count(&read) > AQW_PURGE_COUNT_MAX - of->row_count) return AQW_INVALID_ARGUMENT;
        read.first = of->row_count;
        of->row_count += named_count(&read);
        of->parts[of->part_count++] = read;
        if (read.count) is_empty = 0;
    }
    return is_empty ? AQW_INVALID_ARGUMENT : AQW_OK;
}

static const part *task_part(const purge *of) {
    const part *at = of->parts;
    while (at->kind != AQW_ROW_TASK) at++;
    return at;
}

static aqw_status find_rows(const aqw_table *table, purge *found) {
    for (int index = 0; index < found->part_count; index++) {
        const part *of = &found->parts[index];
        const aqw_row_purge *rules = of->rules;
        if (!rules->ids_at && of->count > aqw_count_left(table, of->kind)) return rules->unknown;
        for (uint32_t i = 0; i < named_count(of); i++) {
            uint32_t row = rules->find(table, of->ids + (size_t)i * 16);
            if (!row) return rules->unknown;
            if (!rules->is_over(table, row)) return AQW_REFUSED_NOT_FINISHED;
            found->rows[of->first + i] = row;
        }
    }
    return AQW_OK;
}

static aqw_status keep_rows(aqw_table *table, const purge *all) {
    if (!table->undo.is_open) return AQW_OK;
    for (int index = 0; index < all->part_count; index++) {
        const part *of = &all->parts[index];
        for (uint32_t i = 0; i < named_count(of); i++) {
            uint32_t row = all->rows[of->first + i];
            if (aqw_undo_keep_row(table, of->kind, row) != AQW_OK) return AQW_NO_MEMORY;
            if (of->rules->keep(table, row) != AQW_OK) return AQW_NO_MEMORY;
        }
    }
    return AQW_OK;
}

/* Takes the marks of the first rows back. */
static void unmark_rows(aqw_table *table, const purge *all, uint32_t marked) {
    for (int index = all->part_count - 1; index >= 0; index--) {
        const part *of = &all->parts[index];
        while (marked > of->first) of->rules->mark(table, all->rows[--marked], 0);
    }
}

/* Returns 1 where a task may still wait for what it depends on: it has a run that has not ended, or
 * is to get its first one. */
static int is_waiting(const aqw_task_row *task) {
    if (task->open_runs) return 1;
    aqw_task_spec spec;
    if (task->is_canceled || task->had_runs) return 0;
    return aqw_task_spec_decode(task->spec, task->spec_size, &spec) != AQW_OK ||
           spec.policy != AQW_POLICY_CRON;
}

/* Returns 1 where a marked task is still needed: it has a run, or another task that
 * waits depends on it. */
static int is_needed(const aqw_table *table, const aqw_task_row *task) {
    if (task->run_count) return 1;
    for (uint32_t at = task->first_dependent; at; at = aqw_dependency_at(table, at)->next_on_same) {
        const aqw_dependency_row *dependency = aqw_dependency_at(table, at);
        const aqw_task_row *dependent = aqw_task_at(table, dependency->task);
        if (!dependent->is_purged && is_waiting(dependent)) return 1;
    }
    return 0;
}

/* Marks each row once, in their order: a row that is named twice is unknown the second time. Takes
 * the marks back where a rule is broken. */
static aqw_status mark_rows(aqw_table *table, const purge *all) {
    for (int index = 0; index < all->part_count; index++) {
        const part *of = &all->parts[index];
        for (uint32_t i = 0; i < named_count(of); i++) {
            uint32_t row = all->rows[of->first + i];
            if (of->rules->is_marked(table, row)) {
                unmark_rows(table, all, of->first + i);
                return of->rules->unknown;
            }
            of->rules->mark(table, row, 1);
        }
    }
    const part *tasks = task_part(all);
    for (uint32_t i = 0; i < tasks->count; i++) {
        if (!is_needed(table, aqw_task_at(table, all->rows[tasks->first + i]))) continue;
        unmark_rows(table, all, all->row_count);
        return AQW_REFUSED_NOT_FINISHED;
    }
    return AQW_OK;
}

static void drop_rows(aqw_table *table, const purge *all, const part *of) {
    for (uint32_t i = 0; i < named_count(of); i++)
        of->rules->drop(table, all->rows[of->first + i]);
    if (!of->rules->ids_at) table->head.purged[of->kind] += of->count;
}

/* Drops what belongs to tasks alone and was not dropped before. */
static void drop_with_tasks(aqw_table *table, const purge *all, const part *tasks) {
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        const aqw_row_type *type = aqw_row_types[kind];
        for (uint32_t i = 0; type->drop_with_task && i < tasks->count; i++)
            type->drop_with_task(table, all->rows[tasks->first + i]);
    }
}

/* Tasks are the last: what belongs to one and is named itself is out of the counts by then. */
static void drop_all(aqw_table *table, const purge *all) {
    const part *tasks = task_part(all);
    for (int index = 0; index < all->part_count; index++) {
        if (&all->parts[index] != tasks) drop_rows(table, all, &all->parts[index]);
    }
    drop_with_tasks(table, all, tasks);
    drop_rows(table, all, tasks);
}

/* Makes tombstones of the tasks. */
static void bury(aqw_table *table, const purge *all, uint64_t until) {
    const part *tasks = task_part(all);
    for (uint32_t i = 0; i < tasks->count; i++) {
        uint32_t row = all->rows[tasks->first + i];
        aqw_tombstone_add(table, aqw_task_at(table, row)->task_id, until);
    }
    aqw_tombstones_bound(table);
}

aqw_status aqw_apply_purge(aqw_table *table, const aqw_event *event) {
    purge all;
    aqw_status status = open_purge(&all, event);
    int keeps_ids = event->as.runs_purged.keeps_ids;
    if (status == AQW_OK) status = find_rows(table, &all);
    if (status == AQW_OK && keeps_ids)
        status = aqw_tombstones_reserve(table, task_part(&all)->count);
    if (status == AQW_OK) status = keep_rows(table, &all);
    if (status == AQW_OK) status = mark_rows(table, &all);
    if (status != AQW_OK) return status;
    drop_all(table, &all);
    if (keeps_ids) bury(table, &all, event->as.runs_purged.kept_until);
    return AQW_OK;
}

/* ---- The search ---- */

/* How many rows the search could look at in the time that a question about a cron expression takes,
 * and how many bytes of the expression add the time of one more row. */
#define ROWS_FOR_AN_EXPRESSION 32
#define BYTES_FOR_A_ROW 2
/* The search looks at a task's dependents in one go, and at their runs where the latest end does
 * not tell enough, up to this number of rows. A task with more waits until there are fewer: an
 * event that purges it goes through all of them in one go, too. */
#define ROWS_FOR_DEPENDENTS 4096u

static uint32_t *found_count(aqw_finished *finished, const aqw_row_purge *rules) {
    return (uint32_t *)(void *)((uint8_t *)finished + rules->found_count_at);
}

void aqw_search_add(aqw_search *of, const aqw_row_purge *rules, const uint8_t id[16]) {
    uint32_t *count = found_count(of->finished, rules);
    memcpy((uint8_t *)of->finished + rules->found_ids_at + (size_t)*count * 16, id, 16);
    ++*count;
    of->found++;
}

/* Returns how many runs a task has by its policy, in all; 0 where they have no bound. */
static uint32_t runs_wanted(const aqw_task_spec *spec) {
    switch (spec->policy) {
    case AQW_POLICY_ONCE: return 1;
    case AQW_POLICY_REPEAT: return spec->repeat_count;
    default: return spec->max_occurrences;
    }
}

/* Returns 1 where the task has a cron expression and that has ended. A task that is younger than
 * the cutoff may only be about to get its first run. */
static int schedule_ended(aqw_search *of, const aqw_task_row *task, const aqw_task_spec *spec) {
    if (spec->policy != AQW_POLICY_CRON || !of->what->schedule_ended ||
        task->created_at > of->what->cutoff)
        return 0;
    aqw_search_look_at(of, ROWS_FOR_AN_EXPRESSION + spec->cron_expression.size / BYTES_FOR_A_ROW);
    return of->what->schedule_ended(of->what->context, spec->cron_expression, of->what->cutoff);
}

/* Returns 1 where the task will have no more runs: it may go once it has none and
 * nothing needs it. */
static int is_finished(aqw_search *of, const aqw_task_row *task) {
    aqw_task_spec spec;
    if (task->is_canceled) return task->canceled_at <= of->what->cutoff;
    if (aqw_task_spec_decode(task->spec, task->spec_size, &spec) != AQW_OK) return 0;
    uint32_t wanted = runs_wanted(&spec);
    return (wanted && task->runs_created >= wanted) || schedule_ended(of, task, &spec);
}

/* Returns 1 where each run that is left ended at or before the cutoff. The latest end tells that,
 * unless it may be the end of a run that was purged: then the search looks at the runs, as far as
 * there are rows left for that. Beyond them it answers 0, which only puts off the task until the
 * cutoff has come to the latest end. */
static int is_ended(aqw_search *of, const aqw_task_row *task) {
    if (task->open_runs) return 0;
    if (task->last_end <= of->what->cutoff) return 1;
    if (task->run_count == task->runs_created) return 0;
    for (uint32_t at = task->first_run; at; at = aqw_run_at(of->table, at)->next_in_task) {
        const aqw_run_row *run = aqw_run_at(of->table, at);
        if (!of->rows_left || (!run->is_purged && run->last_state_change_at > of->what->cutoff))
            return 0;
        aqw_search_look_at(of, 1);
    }
    return 1;
}

/* Returns 1 where the task is over: it will have no more runs, and those that it has ended at or
 * before the cutoff. */
static int is_task_over(aqw_search *of, const aqw_task_row *task) {
    return is_ended(of, task) && is_finished(of, task);
}

/* Returns 1 where a task that is not over depends on this one: how its runs ended still matters
 * then. A circle of tasks that are over keeps none of them. Takes the rows that it looked at from
 * those that are left, except one, so that the search goes on; for the first task that takes all of
 * them, except half of a search's rows, so that its runs do not go one by one. */
static int has_dependents(aqw_search *of, const aqw_task_row *task) {
    aqw_search own = *of;
    int is_needed = 0;
    own.rows_left = ROWS_FOR_DEPENDENTS + 1;
    for (uint32_t at = task->first_dependent; at && !is_needed;
         at = aqw_dependency_at(of->table, at)->next_on_same) {
        const aqw_dependency_row *dependency = aqw_dependency_at(of->table, at);
        const aqw_task_row *dependent = aqw_task_at(of->table, dependency->task);
        aqw_search_look_at(&own, 1);
        is_needed = dependent != task && !is_task_over(&own, dependent);
        if (own.rows_left) continue;
        is_needed = 1;
        of->finished->has_put_off = 1;
    }
    uint32_t rows = ROWS_FOR_DEPENDENTS + 1 - own.rows_left;
    if (rows < of->rows_left) {
        of->rows_left -= rows;
    } else if (of->rows_left) {
        of->rows_left = of->rows_spared;
        of->rows_spared = 1;
    }
    return is_needed;
}

/* What a task depends on goes with the task, and takes time. */
static void look_at_dependencies(aqw_search *of, const aqw_task_row *task) {
    for (uint32_t at = task->first_dependency; at;
         at = aqw_dependency_at(of->table, at)->next_in_task)
        aqw_search_look_at(of, 1);
}

/* Looks at a task's runs from `next_run` on. Returns 0 where it had to stop before the last. */
static int find_in_runs(aqw_search *of) {
    aqw_finished *finished = of->finished;
    while (finished->next_run) {
        const aqw_run_row *run = aqw_run_at(of->table, finished->next_run);
        if (!aqw_search_may_go_on(of)) return 0;
        aqw_search_look_at(of, 1);
        if (!run->is_purged && aqw_rule_state_is_terminal(run->state) &&
            run->last_state_change_at <= of->what->cutoff) {
            aqw_search_add(of, &aqw_run_purge, run->run_id);
        }
        finished->next_run = run->next_in_task;
    }
    return 1;
}

int aqw_search_enter_row(const aqw_search *of, int kind) {
    aqw_finished *finished = of->finished;
    if (finished->next_row == 0) finished->next_row = 1;
    return finished->next_row <= of->table->rows[kind].count;
}

static int enter_task(const aqw_search *of) {
    aqw_finished *finished = of->finished;
    if (!aqw_search_enter_row(of, AQW_ROW_TASK)) return 0;
    uint32_t run = finished->next_run, run_count = of->table->rows[AQW_ROW_RUN].count;
    int is_there = run && run <= run_count &&
                   aqw_run_at(of->table, run)->task == finished->next_row;
    if (!is_there) finished->next_run = aqw_task_at(of->table, finished->next_row)->first_run;
    return 1;
}

static int search_tasks(aqw_search *of) {
    aqw_finished *finished = of->finished;
    if (!of->what->has_cutoff) return 1;
    while (enter_task(of)) {
        const aqw_task_row *task = aqw_task_at(of->table, finished->next_row);
        uint32_t found_before = finished->run_count;
        if (of->rows_left == 0) return 0;
        aqw_search_look_at(of, 1);
        if (!task->is_purged && !has_dependents(of, task)) {
            if (!find_in_runs(of)) return 0;
            int is_empty = task->run_count == finished->run_count - found_before;
            if (is_empty && is_finished(of, task)) {
                if (of->found == AQW_PURGE_COUNT_MAX) return 0;
                aqw_search_add(of, &aqw_task_purge, task->task_id);
                look_at_dependencies(of, task);
            }
        }
        finished->next_row++;
        finished->next_run = 0;
    }
    return 1;
}

int aqw_search_first_rows(aqw_search *of, int kind,
                          int (*may_go)(const aqw_search *of, uint32_t row)) {
    uint32_t *found = found_count(of->finished, aqw_row_types[kind]->purge);
    for (; *found < aqw_count_left(of->table, kind); ++*found) {
        if (!may_go(of, of->table->head.purged[kind] + 1 + *found)) return 1;
        if (of->rows_left == 0) return 0;
        aqw_search_look_at(of, 1);
    }
    return 1;
}

/* Collects the searches that there are, in the order of the kinds, and starts their counts. */
static uint32_t start_searches(aqw_finished *finished, const aqw_row_purge **with_search) {
    uint32_t count = 0;
    for (int kind = 0; kind < AQW_ROW_KIND_COUNT; kind++) {
        const aqw_row_purge *rules = aqw_row_types[kind]->purge;
        if (!rules) continue;
        *found_count(finished, rules) = 0;
        if (rules->search) with_search[count++] = rules;
    }
    return count;
}

void aqw_table_find_finished(const aqw_table *table, const aqw_retention *what, uint32_t rows_max,
                             aqw_finished *finished) {
    const aqw_row_purge *with_search[AQW_ROW_KIND_COUNT];
    aqw_search of = {table, what, rows_max, rows_max / 2, 0, finished};
    uint32_t part_count = start_searches(finished, with_search);
    finished->has_put_off = 0;
    while (finished->next_part < part_count) {
        if (!with_search[finished->next_part]->search(&of)) return;
        finished->next_part++;
        finished->next_row = 0;
        finished->next_run = 0;
    }
    finished->next_part = 0;
    finished->next_row = 0;
    finished->next_run = 0;
}
