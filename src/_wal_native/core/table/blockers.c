/* What keeps a ready run from being started (table/ready.h). Each kind has a function that searches
 * on from where the blocker stands, and returns 1 where it found one. */
#include <string.h>

#include "event/event.h"
#include "event/rules.h"
#include "table/internal.h"

static aqw_task_spec spec_of(const aqw_table *table, uint32_t task_row) {
    const aqw_task_row *task = aqw_task_at(table, task_row);
    aqw_task_spec spec;
    aqw_status status = aqw_task_spec_decode(task->spec, task->spec_size, &spec);
    AQW_ASSERT(status == AQW_OK);
    if (status != AQW_OK) memset(&spec, 0, sizeof spec);
    return spec;
}

/* ---- Cancel, attempts and lease: at most one of each ---- */

static int next_cancel(const aqw_table *table, uint32_t row, aqw_blocker *at) {
    at->row = aqw_run_at(table, row)->task;
    return !at->steps++ && aqw_task_at(table, at->row)->is_canceled;
}

/* Only an attempt that has ended can have been suspended. */
static int counts(const aqw_attempt_row *attempt) {
    return !attempt->ending || attempt->ending[0] != AQW_RESULT_SUSPENDED;
}

uint32_t aqw_table_counted_attempts(const aqw_table *table, uint32_t run) {
    uint32_t counted = 0;
    for (uint32_t row = aqw_run_at(table, run)->first_attempt; row;) {
        const aqw_attempt_row *attempt = aqw_attempt_at(table, row);
        counted += (uint32_t)counts(attempt);
        row = attempt->next;
    }
    return counted;
}

static int next_attempts(const aqw_table *table, uint32_t row, aqw_blocker *at) {
    const aqw_run_row *run = aqw_run_at(table, row);
    at->row = run->task;
    if (at->steps++ || !run->attempt_count) return 0;
    uint32_t most = spec_of(table, run->task).max_attempts;
    return run->attempt_count >= most && aqw_table_counted_attempts(table, row) >= most;
}

static int next_lease(const aqw_table *table, uint32_t row, aqw_blocker *at) {
    at->row = row;
    return !at->steps++ && aqw_run_at(table, row)->lease != NULL;
}

/* ---- Prerequisites ---- */

int aqw_prerequisite_is_met(const aqw_table *table, uint32_t task_row) {
    const aqw_task_row *task = aqw_task_at(table, task_row);
    if (task->open_runs || task->completed_purged) return !task->open_runs;
    for (uint32_t row = task->first_run; row; row = aqw_run_at(table, row)->next_in_task) {
        const aqw_run_row *run = aqw_run_at(table, row);
        if (!run->is_purged && run->state == AQW_COMPLETED) return 1;
    }
    return 0;
}

static int next_prerequisite(const aqw_table *table, uint32_t row, aqw_blocker *at) {
    uint32_t task = aqw_run_at(table, row)->task;
    uint32_t next = at->steps++ ? aqw_dependency_at(table, at->place)->next_in_task
                                : aqw_task_at(table, task)->first_dependency;
    for (; next; next = aqw_dependency_at(table, next)->next_in_task) {
        const aqw_dependency_row *dependency = aqw_dependency_at(table, next);
        if (dependency->is_purged || aqw_prerequisite_is_met(table, dependency->depends_on))
            continue;
        at->place = next;
        at->row = dependency->depends_on;
        return 1;
    }
    return 0;
}

/* ---- Budgets, of the task and of those above it ---- */

static uint32_t parent_task(const aqw_table *table, uint32_t task_row) {
    const aqw_task_row *task = aqw_task_at(table, task_row);
    if (!aqw_task_spec_has_parent(task->spec, task->spec_size)) return 0;
    aqw_task_spec spec = spec_of(table, task_row);
    return aqw_table_find_task(table, spec.parent_task_id);
}

/* In a circle, the mark stays behind and is met again (Brent's algorithm). */
uint32_t aqw_go_up(const aqw_table *table, uint32_t task, uint32_t *mark, uint32_t *steps) {
    uint32_t parent = parent_task(table, task);
    ++*steps;
    if (parent == *mark) return 0;
    if ((*steps & (*steps - 1)) == 0) *mark = parent;
    return parent;
}

static int is_exhausted(const aqw_table *table, uint32_t task_row, uint8_t dimension) {
    uint32_t row = aqw_table_find_budget(table, aqw_task_at(table, task_row)->task_id, dimension);
    if (!row) return 0;
    aqw_budget_view budget;
    aqw_table_budget(table, row, &budget);
    return budget.is_exhausted;
}

static int next_budget(const aqw_table *table, uint32_t row, aqw_blocker *at) {
    uint8_t dimension = 0;
    if (!aqw_count_left(table, AQW_ROW_BUDGET)) return 0;
    if (at->steps) {
        dimension = (uint8_t)(at->dimension + 1);
    } else {
        at->place = at->mark = aqw_run_at(table, row)->task;
        at->steps = 1;
    }
    for (; at->place; at->place = aqw_go_up(table, at->place, &at->mark, &at->steps)) {
        for (; dimension <= AQW_BUDGET_DIMENSION_LAST; dimension++) {
            if (!is_exhausted(table, at->place, dimension)) continue;
            at->row = at->place;
            at->dimension = dimension;
            return 1;
        }
        dimension = 0;
    }
    return 0;
}

/* ---- The next one ---- */

typedef int (*search)(const aqw_table *table, uint32_t run, aqw_blocker *at);

static const search searches[] = {
    [AQW_BLOCKED_BY_CANCEL] = next_cancel,
    [AQW_BLOCKED_BY_ATTEMPTS] = next_attempts,
    [AQW_BLOCKED_BY_LEASE] = next_lease,
    [AQW_BLOCKED_BY_PREREQUISITE] = next_prerequisite,
    [AQW_BLOCKED_BY_BUDGET] = next_budget,
};

int aqw_table_next_blocker(const aqw_table *table, uint32_t row, aqw_blocker *blocker) {
    while (blocker->kind < AQW_BLOCKED_BY_KEY) {
        if (searches[blocker->kind](table, row, blocker)) return 1;
        blocker->kind++;
        blocker->place = blocker->steps = blocker->mark = 0;
    }
    return aqw_ready_next_holder(table, row, blocker);
}

int aqw_blocker_group_of(const aqw_blocker *blocker, uint64_t *group) {
    if (blocker->kind == AQW_BLOCKED_BY_PREREQUISITE) {
        *group = aqw_blocker_group(AQW_GROUP_PREREQUISITE, blocker->row);
    } else if (blocker->kind == AQW_BLOCKED_BY_BUDGET) {
        *group = aqw_blocker_group(AQW_GROUP_BUDGET, blocker->row);
    } else {
        return 0;
    }
    return 1;
}
