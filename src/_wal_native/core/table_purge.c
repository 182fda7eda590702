/* Retention: the event that drops finished runs and tasks, and the search for them. See table_internal.h for what a purged
 * row is. */
#include <string.h>

#include "limits.h"
#include "rules.h"
#include "table_internal.h"

/* ---- The event ---- */

/* The rows that an event names. */
typedef struct purge {
    uint32_t run_count;
    uint32_t task_count;
    uint32_t rows[AQW_PURGE_COUNT_MAX];     /* the runs', then the tasks' */
} purge;

static aqw_run_row *purged_run(const aqw_table *table, const purge *of, uint32_t i) {
    return aqw_run_at(table, of->rows[i]);
}

static aqw_task_row *purged_task(const aqw_table *table, const purge *of, uint32_t i) {
    return aqw_task_at(table, of->rows[of->run_count + i]);
}

static aqw_status find_rows(const aqw_table *table, const aqw_event *event, purge *found) {
    for (uint32_t i = 0; i < found->run_count; i++) {
        uint32_t row = aqw_table_find_run(table, event->as.runs_purged.run_ids + (size_t)i * 16);
        if (!row) return AQW_REFUSED_UNKNOWN_RUN;
        if (!aqw_rule_state_is_terminal(aqw_run_at(table, row)->state)) return AQW_REFUSED_NOT_FINISHED;
        found->rows[i] = row;
    }
    for (uint32_t i = 0; i < found->task_count; i++) {
        uint32_t row = aqw_table_find_task(table, event->as.runs_purged.task_ids + (size_t)i * 16);
        if (!row) return AQW_REFUSED_UNKNOWN_TASK;
        found->rows[found->run_count + i] = row;
    }
    return AQW_OK;
}

/* The parent's row, or 0. */
static uint32_t parent_of(const aqw_table *table, const aqw_task_row *task) {
    aqw_task_spec fields;
    int has_parent = aqw_task_spec_decode(task->spec, task->spec_size, &fields) == AQW_OK && fields.has_parent;
    return has_parent ? aqw_index_find_parent(table, fields.parent_task_id) : 0;
}

static aqw_status keep_task(aqw_table *table, uint32_t row) {
    const aqw_task_row *task = aqw_task_at(table, row);
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, row) != AQW_OK) return AQW_NO_MEMORY;
    for (uint32_t at = task->first_dependency; at;) {
        const aqw_dependency_row *dependency = aqw_row_at(table, AQW_ROW_DEPENDENCY, at);
        if (aqw_undo_keep_row(table, AQW_ROW_TASK, dependency->depends_on) != AQW_OK) return AQW_NO_MEMORY;
        at = dependency->next_in_task;
    }
    uint32_t parent = parent_of(table, task);
    return parent ? aqw_undo_keep_row(table, AQW_ROW_PARENT, parent) : AQW_OK;
}

static aqw_status keep_rows(aqw_table *table, const purge *of) {
    if (!table->undo.is_open) return AQW_OK;
    for (uint32_t i = 0; i < of->run_count; i++) {
        if (aqw_undo_keep_row(table, AQW_ROW_RUN, of->rows[i]) != AQW_OK) return AQW_NO_MEMORY;
        if (aqw_undo_keep_row(table, AQW_ROW_TASK, purged_run(table, of, i)->task) != AQW_OK) return AQW_NO_MEMORY;
    }
    for (uint32_t i = 0; i < of->task_count; i++) {
        if (keep_task(table, of->rows[of->run_count + i]) != AQW_OK) return AQW_NO_MEMORY;
    }
    return AQW_OK;
}

static void mark_run(aqw_table *table, aqw_run_row *run, int is_purged) {
    aqw_task_row *task = aqw_task_at(table, run->task);
    run->is_purged = is_purged != 0;
    task->run_count = is_purged ? task->run_count - 1 : task->run_count + 1;
}

static void mark_task(aqw_table *table, aqw_task_row *task, int is_purged) {
    task->is_purged = is_purged != 0;
    for (uint32_t at = task->first_dependency; at;) {
        const aqw_dependency_row *dependency = aqw_row_at(table, AQW_ROW_DEPENDENCY, at);
        aqw_task_row *depends_on = aqw_task_at(table, dependency->depends_on);
        depends_on->dependent_count = is_purged ? depends_on->dependent_count - 1 : depends_on->dependent_count + 1;
        at = dependency->next_in_task;
    }
}

/* Marks each row once, in their order. What is named twice is unknown the second time. */
static aqw_status mark_rows(aqw_table *table, const purge *of, uint32_t *marked) {
    for (uint32_t i = 0; i < of->run_count; i++, ++*marked) {
        if (purged_run(table, of, i)->is_purged) return AQW_REFUSED_UNKNOWN_RUN;
        mark_run(table, purged_run(table, of, i), 1);
    }
    for (uint32_t i = 0; i < of->task_count; i++, ++*marked) {
        if (purged_task(table, of, i)->is_purged) return AQW_REFUSED_UNKNOWN_TASK;
        mark_task(table, purged_task(table, of, i), 1);
    }
    for (uint32_t i = 0; i < of->task_count; i++) {
        const aqw_task_row *task = purged_task(table, of, i);
        if (task->run_count || task->dependent_count) return AQW_REFUSED_NOT_FINISHED;
    }
    return AQW_OK;
}

static void unmark_rows(aqw_table *table, const purge *of, uint32_t marked) {
    while (marked-- > 0) {
        if (marked < of->run_count) {
            mark_run(table, purged_run(table, of, marked), 0);
        } else {
            mark_task(table, purged_task(table, of, marked - of->run_count), 0);
        }
    }
}

/* Takes a marked run out of the counts, and out of the head of its task's chain. */
static void drop_run(aqw_table *table, const aqw_run_row *run) {
    aqw_table_head *head = &table->head;
    aqw_task_row *task = aqw_task_at(table, run->task);
    head->runs_by_state[run->state]--;
    head->purged[AQW_ROW_RUN]++;
    head->purged[AQW_ROW_HISTORY] += run->history_count;
    head->purged[AQW_ROW_ATTEMPT] += run->attempt_count;
    while (task->first_run && aqw_run_at(table, task->first_run)->is_purged) {
        task->first_run = aqw_run_at(table, task->first_run)->next_in_task;
    }
}

static void drop_child(aqw_table *table, uint32_t parent_row) {
    aqw_parent_row *parent = aqw_row_at(table, AQW_ROW_PARENT, parent_row);
    if (!parent->first_child) return;
    while (parent->first_child && aqw_task_at(table, aqw_child_at(table, parent->first_child)->task)->is_purged) {
        parent->first_child = aqw_child_at(table, parent->first_child)->next;
    }
    if (!parent->first_child) table->head.purged[AQW_ROW_PARENT]++;
}

/* Takes a marked task out of the counts, with what is its own. */
static void drop_task(aqw_table *table, uint32_t row) {
    aqw_table_head *head = &table->head;
    const aqw_task_row *task = aqw_task_at(table, row);
    uint32_t subscriber = aqw_index_find_subscriber(table, row);
    uint32_t parent = parent_of(table, task);
    head->purged[AQW_ROW_TASK]++;
    for (uint32_t at = task->first_dependency; at;) {
        head->purged[AQW_ROW_DEPENDENCY]++;
        at = ((const aqw_dependency_row *)aqw_row_at(table, AQW_ROW_DEPENDENCY, at))->next_in_task;
    }
    for (uint8_t dimension = 0; dimension <= AQW_BUDGET_DIMENSION_LAST; dimension++) {
        if (aqw_index_find_budget(table, row, dimension)) head->purged[AQW_ROW_BUDGET]++;
    }
    if (subscriber) {
        head->purged[AQW_ROW_SUBSCRIPTION] += ((aqw_subscriber_row *)aqw_row_at(table, AQW_ROW_SUBSCRIBER, subscriber))->count;
    }
    if (parent) drop_child(table, parent);
}

/* All rules but the last can be checked only once the rows are marked, so the marks are taken back where one is broken. */
aqw_status aqw_apply_purge(aqw_table *table, const aqw_event *event) {
    uint32_t runs = event->as.runs_purged.run_count, tasks = event->as.runs_purged.task_count, marked = 0;
    if (runs > AQW_PURGE_COUNT_MAX || tasks > AQW_PURGE_COUNT_MAX - runs || runs + tasks == 0) return AQW_INVALID_ARGUMENT;
    purge of;
    of.run_count = runs;
    of.task_count = tasks;
    aqw_status status = find_rows(table, event, &of);
    if (status == AQW_OK) status = keep_rows(table, &of);
    if (status == AQW_OK) status = mark_rows(table, &of, &marked);
    if (status != AQW_OK) {
        unmark_rows(table, &of, marked);
        return status;
    }
    for (uint32_t i = 0; i < runs; i++) drop_run(table, purged_run(table, &of, i));
    for (uint32_t i = 0; i < tasks; i++) drop_task(table, of.rows[runs + i]);
    return AQW_OK;
}

/* ---- The search ---- */

/* 1 where another task depends on this one: how its runs ended is then still of interest. */
static int has_dependents(const aqw_table *table, uint32_t row) {
    uint32_t own = aqw_index_find_dependency(table, row, row) ? 1 : 0;
    return aqw_task_at(table, row)->dependent_count > own;
}

/* 1 where the task, which nothing depends on, may go once it has no run. */
static int is_finished(const aqw_table *table, uint32_t row, uint64_t cutoff) {
    const aqw_task_row *task = aqw_task_at(table, row);
    aqw_task_spec fields;
    if (task->is_canceled) return task->canceled_at <= cutoff;
    return task->had_runs && aqw_task_spec_decode(task->spec, task->spec_size, &fields) == AQW_OK &&
           fields.policy == AQW_POLICY_ONCE;
}

static int is_full(const aqw_finished *finished) {
    return finished->run_count + finished->task_count == AQW_PURGE_COUNT_MAX;
}

/* Looks at a task's runs from `next_run` on. Returns 0 where it had to stop before the last. */
static int find_in_runs(const aqw_table *table, uint64_t cutoff, uint32_t *rows_left, aqw_finished *finished) {
    while (finished->next_run) {
        const aqw_run_row *run = aqw_run_at(table, finished->next_run);
        if (*rows_left == 0 || is_full(finished)) return 0;
        --*rows_left;
        if (!run->is_purged && aqw_rule_state_is_terminal(run->state) && run->last_state_change_at <= cutoff) {
            memcpy(finished->run_ids[finished->run_count++], run->run_id, 16);
        }
        finished->next_run = run->next_in_task;
    }
    return 1;
}

/* The struct's place as one that is there: rows may have gone in a rollback since. 0 after the last task. */
static int enter_task(const aqw_table *table, aqw_finished *finished) {
    uint32_t task_count = table->rows[AQW_ROW_TASK].count, run_count = table->rows[AQW_ROW_RUN].count;
    if (finished->next_task == 0) finished->next_task = 1;
    if (finished->next_task > task_count) return 0;
    uint32_t run = finished->next_run;
    int is_there = run && run <= run_count && aqw_run_at(table, run)->task == finished->next_task;
    if (!is_there) finished->next_run = aqw_task_at(table, finished->next_task)->first_run;
    return 1;
}

void aqw_table_find_finished(const aqw_table *table, uint64_t cutoff, uint32_t rows_max, aqw_finished *finished) {
    uint32_t rows_left = rows_max;
    finished->run_count = 0;
    finished->task_count = 0;
    while (enter_task(table, finished)) {
        const aqw_task_row *task = aqw_task_at(table, finished->next_task);
        uint32_t found_before = finished->run_count;
        if (rows_left == 0) return;
        rows_left--;
        if (!task->is_purged && !has_dependents(table, finished->next_task)) {
            if (!find_in_runs(table, cutoff, &rows_left, finished)) return;
            int is_empty = task->run_count == finished->run_count - found_before;
            if (is_empty && is_finished(table, finished->next_task, cutoff)) {
                if (is_full(finished)) return;
                memcpy(finished->task_ids[finished->task_count++], task->task_id, 16);
            }
        }
        finished->next_task++;
        finished->next_run = 0;
    }
    finished->next_task = 0;
    finished->next_run = 0;
}
