/* Retention: the event that drops what is over, and the search for it. table/internal.h
 * says what a purged row is. */
#include <string.h>

#include "base/limits.h"
#include "event/rules.h"
#include "table/internal.h"

/* ---- The event ---- */

/* The kinds that an event names, in the order of its lists. */
enum part { PART_RUN, PART_TASK, PART_SUBSCRIPTION, PART_ACTOR, PART_COUNT };

static const int kinds[PART_COUNT] = {AQW_ROW_RUN, AQW_ROW_TASK, AQW_ROW_SUBSCRIPTION,
                                      AQW_ROW_ACTOR};

/* The rows that an event names. */
typedef struct purge {
    const uint8_t *ids[PART_COUNT];
    uint32_t counts[PART_COUNT];
    /* where each part begins in `rows`, and where the last one ends */
    uint32_t firsts[PART_COUNT + 1];
    uint32_t rows[AQW_PURGE_COUNT_MAX];
    uint32_t ledger_count;
    uint32_t tombstone_count;
} purge;

static aqw_status open_purge(purge *of, const aqw_event *event) {
    of->ids[PART_RUN] = event->as.runs_purged.run_ids;
    of->ids[PART_TASK] = event->as.runs_purged.task_ids;
    of->ids[PART_SUBSCRIPTION] = event->as.runs_purged.subscription_ids;
    of->ids[PART_ACTOR] = event->as.runs_purged.actor_ids;
    of->counts[PART_RUN] = event->as.runs_purged.run_count;
    of->counts[PART_TASK] = event->as.runs_purged.task_count;
    of->counts[PART_SUBSCRIPTION] = event->as.runs_purged.subscription_count;
    of->counts[PART_ACTOR] = event->as.runs_purged.actor_count;
    of->firsts[0] = 0;
    for (int part = 0; part < PART_COUNT; part++) {
        if (of->counts[part] > AQW_PURGE_COUNT_MAX - of->firsts[part]) return AQW_INVALID_ARGUMENT;
        of->firsts[part + 1] = of->firsts[part] + of->counts[part];
    }
    of->ledger_count = event->as.runs_purged.ledger_count;
    of->tombstone_count = event->as.runs_purged.tombstone_count;
    return of->firsts[PART_COUNT] || of->ledger_count || of->tombstone_count
               ? AQW_OK : AQW_INVALID_ARGUMENT;
}

static uint32_t purged_row(const purge *of, int part, uint32_t i) {
    return of->rows[of->firsts[part] + i];
}

static uint32_t find_row(const aqw_table *table, int part, const uint8_t *id) {
    switch (part) {
    case PART_RUN: return aqw_table_find_run(table, id);
    case PART_TASK: return aqw_table_find_task(table, id);
    case PART_SUBSCRIPTION: return aqw_table_find_subscription(table, id);
    default: return aqw_table_find_actor(table, id);
    }
}

static aqw_status unknown(int part) {
    switch (part) {
    case PART_RUN: return AQW_REFUSED_UNKNOWN_RUN;
    case PART_TASK: return AQW_REFUSED_UNKNOWN_TASK;
    case PART_SUBSCRIPTION: return AQW_REFUSED_UNKNOWN_SUBSCRIPTION;
    default: return AQW_REFUSED_UNKNOWN_ACTOR;
    }
}

/* Returns 1 where the row is at its end. What a task needs shows only once the rows are marked. */
static int is_over(const aqw_table *table, int part, uint32_t row) {
    switch (part) {
    case PART_RUN: return aqw_rule_state_is_terminal(aqw_run_at(table, row)->state);
    case PART_SUBSCRIPTION: return aqw_table_subscription_is_canceled(table, row);
    case PART_ACTOR:
        return ((const aqw_actor_row *)aqw_row_at(table, AQW_ROW_ACTOR, row))->is_deregistered;
    default: return 1;
    }
}

static uint32_t count_left(const aqw_table *table, int kind) {
    return table->rows[kind].count - table->head.purged[kind];
}

static aqw_status find_rows(const aqw_table *table, purge *found) {
    for (int part = 0; part < PART_COUNT; part++) {
        for (uint32_t i = 0; i < found->counts[part]; i++) {
            uint32_t row = find_row(table, part, found->ids[part] + (size_t)i * 16);
            if (!row) return unknown(part);
            if (!is_over(table, part, row)) return AQW_REFUSED_NOT_FINISHED;
            found->rows[found->firsts[part] + i] = row;
        }
    }
    if (found->ledger_count > count_left(table, AQW_ROW_LEDGER))
        return AQW_REFUSED_UNKNOWN_LEDGER_ENTRY;
    return found->tombstone_count <= count_left(table, AQW_ROW_TOMBSTONE)
               ? AQW_OK : AQW_REFUSED_UNKNOWN_TOMBSTONE;
}

/* Returns the parent's row, or 0. */
static uint32_t parent_of(const aqw_table *table, const aqw_task_row *task) {
    aqw_task_spec fields;
    int has_parent = aqw_task_spec_decode(task->spec, task->spec_size, &fields) == AQW_OK &&
                     fields.has_parent;
    return has_parent ? aqw_index_find_parent(table, fields.parent_task_id) : 0;
}

static aqw_role_row *role_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_ROLE, row);
}

static aqw_capability_row *capability_at(const aqw_table *table, uint32_t row) {
    return aqw_row_at(table, AQW_ROW_CAPABILITY, row);
}

/* Returns what the actor was given, or NULL. */
static aqw_holder_row *holder_of(const aqw_table *table, uint32_t actor) {
    uint32_t row = aqw_index_find_holder(
        table, ((const aqw_actor_row *)aqw_row_at(table, AQW_ROW_ACTOR, actor))->actor_id);
    return row ? aqw_row_at(table, AQW_ROW_HOLDER, row) : NULL;
}

static aqw_subscriber_row *subscriber_of(const aqw_table *table, uint32_t subscription) {
    const aqw_subscription_row *of = aqw_row_at(table, AQW_ROW_SUBSCRIPTION, subscription);
    return aqw_row_at(table, AQW_ROW_SUBSCRIBER, aqw_index_find_subscriber(table, of->task));
}

static aqw_status keep_dependency(aqw_table *table, uint32_t row) {
    const aqw_dependency_row *dependency = aqw_dependency_at(table, row);
    if (dependency->is_purged) return AQW_OK;
    const uint32_t changed[] = {row, dependency->next_on_same, dependency->previous_on_same};
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        if (changed[i] && aqw_undo_keep_row(table, AQW_ROW_DEPENDENCY, changed[i]) != AQW_OK)
            return AQW_NO_MEMORY;
    }
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, dependency->task) != AQW_OK) return AQW_NO_MEMORY;
    return aqw_undo_keep_row(table, AQW_ROW_TASK, dependency->depends_on);
}

static aqw_status keep_task(aqw_table *table, uint32_t row) {
    const aqw_task_row *task = aqw_task_at(table, row);
    for (uint32_t at = task->first_dependency; at;
         at = aqw_dependency_at(table, at)->next_in_task) {
        if (keep_dependency(table, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    for (uint32_t at = task->first_dependent; at; at = aqw_dependency_at(table, at)->next_on_same) {
        if (keep_dependency(table, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    uint32_t parent = parent_of(table, task);
    return parent ? aqw_undo_keep_row(table, AQW_ROW_PARENT, parent) : AQW_OK;
}

static aqw_status keep_actor(aqw_table *table, uint32_t row) {
    aqw_holder_row *holder = holder_of(table, row);
    if (!holder) return AQW_OK;
    for (uint32_t at = holder->first_role; at; at = role_at(table, at)->next_of_holder) {
        if (aqw_undo_keep_row(table, AQW_ROW_ROLE, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    for (uint32_t at = holder->first_capability; at;
         at = capability_at(table, at)->next_of_holder) {
        if (aqw_undo_keep_row(table, AQW_ROW_CAPABILITY, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    return aqw_undo_keep(table, holder, sizeof *holder);
}

/* Keeps what the purge of a row changes besides the row. */
static aqw_status keep_beside(aqw_table *table, int part, uint32_t row) {
    switch (part) {
    case PART_RUN: return aqw_undo_keep_row(table, AQW_ROW_TASK, aqw_run_at(table, row)->task);
    case PART_TASK: return keep_task(table, row);
    case PART_SUBSCRIPTION:
        return aqw_undo_keep(table, subscriber_of(table, row), sizeof(aqw_subscriber_row));
    default: return keep_actor(table, row);
    }
}

static aqw_status keep_rows(aqw_table *table, const purge *of) {
    if (!table->undo.is_open) return AQW_OK;
    for (int part = 0; part < PART_COUNT; part++) {
        for (uint32_t i = 0; i < of->counts[part]; i++) {
            uint32_t row = purged_row(of, part, i);
            if (aqw_undo_keep_row(table, kinds[part], row) != AQW_OK) return AQW_NO_MEMORY;
            if (keep_beside(table, part, row) != AQW_OK) return AQW_NO_MEMORY;
        }
    }
    return AQW_OK;
}

static void mark_run(aqw_table *table, aqw_run_row *run, int is_purged) {
    aqw_task_row *task = aqw_task_at(table, run->task);
    run->is_purged = is_purged != 0;
    task->run_count = is_purged ? task->run_count - 1 : task->run_count + 1;
}

static void mark(aqw_table *table, int part, uint32_t row, int is_purged) {
    switch (part) {
    case PART_RUN: mark_run(table, aqw_run_at(table, row), is_purged); break;
    case PART_TASK: aqw_task_at(table, row)->is_purged = is_purged != 0; break;
    case PART_SUBSCRIPTION:
        ((aqw_subscription_row *)aqw_row_at(table, AQW_ROW_SUBSCRIPTION, row))->is_purged =
            is_purged != 0;
        break;
    default:
        ((aqw_actor_row *)aqw_row_at(table, AQW_ROW_ACTOR, row))->is_purged = is_purged != 0;
        break;
    }
}

/* Returns 1 where the row itself is marked: an event may name a subscription as
 * well as its task. */
static int is_marked(const aqw_table *table, int part, uint32_t row) {
    if (part != PART_SUBSCRIPTION) return aqw_index_is_purged(table, kinds[part], row);
    return ((const aqw_subscription_row *)aqw_row_at(table, AQW_ROW_SUBSCRIPTION, row))->is_purged;
}

static void unmark_rows(aqw_table *table, const purge *of, uint32_t marked) {
    for (int part = PART_COUNT - 1; part >= 0; part--) {
        while (marked > of->firsts[part]) mark(table, part, of->rows[--marked], 0);
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
static aqw_status mark_rows(aqw_table *table, const purge *of) {
    for (int part = 0; part < PART_COUNT; part++) {
        for (uint32_t i = 0; i < of->counts[part]; i++) {
            uint32_t row = purged_row(of, part, i);
            if (is_marked(table, part, row)) {
                unmark_rows(table, of, of->firsts[part] + i);
                return unknown(part);
            }
            mark(table, part, row, 1);
        }
    }
    for (uint32_t i = 0; i < of->counts[PART_TASK]; i++) {
        if (!is_needed(table, aqw_task_at(table, purged_row(of, PART_TASK, i)))) continue;
        unmark_rows(table, of, of->firsts[PART_COUNT]);
        return AQW_REFUSED_NOT_FINISHED;
    }
    return AQW_OK;
}

/* Takes a marked run out of the counts, and out of the head of its task's chain. */
static void drop_run(aqw_table *table, const aqw_run_row *run) {
    aqw_table_head *head = &table->head;
    aqw_task_row *task = aqw_task_at(table, run->task);
    head->runs_by_state[run->state]--;
    head->purged[AQW_ROW_RUN]++;
    head->purged[AQW_ROW_HISTORY] += run->history_count;
    head->purged[AQW_ROW_ATTEMPT] += run->attempt_count;
    if (!task->run_count) task->last_end = 0;
    while (task->first_run && aqw_run_at(table, task->first_run)->is_purged) {
        task->first_run = aqw_run_at(table, task->first_run)->next_in_task;
    }
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

/* Takes a dependency that a marked task has, or that others have on it, out of the counts, out of
 * the head of its task's chain, and out of the other chain. The dependency keeps its own links,
 * because the caller may be walking the chain. */
static void drop_dependency(aqw_table *table, aqw_dependency_row *dependency) {
    aqw_task_row *task = aqw_task_at(table, dependency->task),
                 *depends_on = aqw_task_at(table, dependency->depends_on);
    if (dependency->is_purged) return;
    dependency->is_purged = 1;
    table->head.purged[AQW_ROW_DEPENDENCY]++;
    while (task->first_dependency && aqw_dependency_at(table, task->first_dependency)->is_purged) {
        task->first_dependency = aqw_dependency_at(table, task->first_dependency)->next_in_task;
    }
    uint32_t next = dependency->next_on_same, previous = dependency->previous_on_same;
    if (next) aqw_dependency_at(table, next)->previous_on_same = previous;
    if (previous) {
        aqw_dependency_at(table, previous)->next_on_same = next;
    } else {
        depends_on->first_dependent = next;
    }
}

/* Takes a marked task out of the counts, with what belongs to it alone and was not
 * dropped before. */
static void drop_task(aqw_table *table, uint32_t row) {
    aqw_table_head *head = &table->head;
    const aqw_task_row *task = aqw_task_at(table, row);
    uint32_t subscriber = aqw_index_find_subscriber(table, row);
    uint32_t parent = parent_of(table, task);
    head->purged[AQW_ROW_TASK]++;
    for (uint32_t at = task->first_dependency; at;
         at = aqw_dependency_at(table, at)->next_in_task) {
        drop_dependency(table, aqw_dependency_at(table, at));
    }
    for (uint32_t at = task->first_dependent; at; at = aqw_dependency_at(table, at)->next_on_same) {
        drop_dependency(table, aqw_dependency_at(table, at));
    }
    for (uint8_t dimension = 0; dimension <= AQW_BUDGET_DIMENSION_LAST; dimension++) {
        if (aqw_index_find_budget(table, row, dimension)) head->purged[AQW_ROW_BUDGET]++;
    }
    if (subscriber) {
        head->purged[AQW_ROW_SUBSCRIPTION] +=
            ((aqw_subscriber_row *)aqw_row_at(table, AQW_ROW_SUBSCRIBER, subscriber))->count;
    }
    if (parent) drop_child(table, parent);
}

static void drop_subscription(aqw_table *table, uint32_t row) {
    subscriber_of(table, row)->count--;
    table->head.purged[AQW_ROW_SUBSCRIPTION]++;
}

/* Takes a marked actor out of the counts, with all that it was given. */
static void drop_actor(aqw_table *table, uint32_t row) {
    aqw_table_head *head = &table->head;
    aqw_holder_row *holder = holder_of(table, row);
    head->purged[AQW_ROW_ACTOR]++;
    if (!holder) return;
    for (uint32_t at = holder->first_role; at; at = role_at(table, at)->next_of_holder) {
        role_at(table, at)->is_purged = 1;
        head->purged[AQW_ROW_ROLE]++;
    }
    for (uint32_t at = holder->first_capability; at;
         at = capability_at(table, at)->next_of_holder) {
        capability_at(table, at)->is_purged = 1;
        head->purged[AQW_ROW_CAPABILITY]++;
    }
    holder->first_role = 0;
    holder->first_capability = 0;
    holder->count = 0;
}

/* Makes tombstones of the tasks, and drops the oldest where there are more than the limit. */
static void bury(aqw_table *table, const purge *of, uint64_t until) {
    for (uint32_t i = 0; i < of->counts[PART_TASK]; i++) {
        aqw_tombstone_add(table, aqw_task_at(table, purged_row(of, PART_TASK, i))->task_id, until);
    }
    uint32_t count = count_left(table, AQW_ROW_TOMBSTONE);
    if (count > AQW_TOMBSTONE_COUNT_MAX)
        table->head.purged[AQW_ROW_TOMBSTONE] += count - AQW_TOMBSTONE_COUNT_MAX;
}

aqw_status aqw_apply_purge(aqw_table *table, const aqw_event *event) {
    purge of;
    aqw_status status = open_purge(&of, event);
    int keeps_ids = event->as.runs_purged.keeps_ids;
    if (status == AQW_OK) status = find_rows(table, &of);
    if (status == AQW_OK && keeps_ids)
        status = aqw_index_reserve(table, AQW_ROW_TOMBSTONE, of.counts[PART_TASK]);
    if (status == AQW_OK) status = keep_rows(table, &of);
    if (status == AQW_OK) status = mark_rows(table, &of);
    if (status != AQW_OK) return status;
    for (uint32_t i = 0; i < of.counts[PART_RUN]; i++)
        drop_run(table, aqw_run_at(table, purged_row(&of, PART_RUN, i)));
    for (uint32_t i = 0; i < of.counts[PART_SUBSCRIPTION]; i++)
        drop_subscription(table, purged_row(&of, PART_SUBSCRIPTION, i));
    for (uint32_t i = 0; i < of.counts[PART_TASK]; i++)
        drop_task(table, purged_row(&of, PART_TASK, i));
    for (uint32_t i = 0; i < of.counts[PART_ACTOR]; i++)
        drop_actor(table, purged_row(&of, PART_ACTOR, i));
    table->head.purged[AQW_ROW_LEDGER] += of.ledger_count;
    table->head.purged[AQW_ROW_TOMBSTONE] += of.tombstone_count;
    if (keeps_ids) bury(table, &of, event->as.runs_purged.kept_until);
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

/* One search under way. */
typedef struct search {
    const aqw_table *table;
    const aqw_retention *what;
    uint32_t rows_left;
    /* for the runs of the first task whose dependents take all rows that are left */
    uint32_t rows_spared;
    aqw_finished *finished;
} search;

static int is_full(const aqw_finished *finished) {
    return finished->run_count + finished->task_count + finished->subscription_count +
           finished->actor_count == AQW_PURGE_COUNT_MAX;
}

/* Takes these from the rows that the search may look at; the last look may take more
 * than there are. */
static void look_at(search *of, uint32_t rows) {
    of->rows_left = rows < of->rows_left ? of->rows_left - rows : 0;
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
static int schedule_ended(search *of, const aqw_task_row *task, const aqw_task_spec *spec) {
    if (spec->policy != AQW_POLICY_CRON || !of->what->schedule_ended ||
        task->created_at > of->what->cutoff)
        return 0;
    look_at(of, ROWS_FOR_AN_EXPRESSION + spec->cron_expression.size / BYTES_FOR_A_ROW);
    return of->what->schedule_ended(of->what->context, spec->cron_expression, of->what->cutoff);
}

/* Returns 1 where the task will have no more runs: it may go once it has none and
 * nothing needs it. */
static int is_finished(search *of, const aqw_task_row *task) {
    aqw_task_spec spec;
    if (task->is_canceled) return task->canceled_at <= of->what->cutoff;
    if (aqw_task_spec_decode(task->spec, task->spec_size, &spec) != AQW_OK) return 0;
    uint32_t wanted = runs_wanted(&spec);
    return (wanted && task->runs_created >= wanted) || schedule_ended(of, task, &spec);
}

/* Returns 1 where the search may look at another row, and has room for what it finds. */
static int may_go_on(const search *of) { return of->rows_left > 0 && !is_full(of->finished); }

/* Returns 1 where each run that is left ended at or before the cutoff. The latest end tells that,
 * unless it may be the end of a run that was purged: then the search looks at the runs, as far as
 * there are rows left for that. Beyond them it answers 0, which only puts off the task until the
 * cutoff has come to the latest end. */
static int is_ended(search *of, const aqw_task_row *task) {
    if (task->open_runs) return 0;
    if (task->last_end <= of->what->cutoff) return 1;
    if (task->run_count == task->runs_created) return 0;
    for (uint32_t at = task->first_run; at; at = aqw_run_at(of->table, at)->next_in_task) {
        const aqw_run_row *run = aqw_run_at(of->table, at);
        if (!of->rows_left || (!run->is_purged && run->last_state_change_at > of->what->cutoff))
            return 0;
        look_at(of, 1);
    }
    return 1;
}

/* Returns 1 where the task is over: it will have no more runs, and those that it has ended at or
 * before the cutoff. */
static int is_task_over(search *of, const aqw_task_row *task) {
    return is_ended(of, task) && is_finished(of, task);
}

/* Returns 1 where a task that is not over depends on this one: how its runs ended still matters
 * then. A circle of tasks that are over keeps none of them. Takes the rows that it looked at from
 * those that are left, except one, so that the search goes on; for the first task that takes all of
 * them, except half of a search's rows, so that its runs do not go one by one. */
static int has_dependents(search *of, const aqw_task_row *task) {
    search own = *of;
    int is_needed = 0;
    own.rows_left = ROWS_FOR_DEPENDENTS + 1;
    for (uint32_t at = task->first_dependent; at && !is_needed;
         at = aqw_dependency_at(of->table, at)->next_on_same) {
        const aqw_dependency_row *dependency = aqw_dependency_at(of->table, at);
        const aqw_task_row *dependent = aqw_task_at(of->table, dependency->task);
        look_at(&own, 1);
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
static void look_at_dependencies(search *of, const aqw_task_row *task) {
    for (uint32_t at = task->first_dependency; at;
         at = aqw_dependency_at(of->table, at)->next_in_task)
        look_at(of, 1);
}

/* Looks at a task's runs from `next_run` on. Returns 0 where it had to stop before the last. */
static int find_in_runs(search *of) {
    aqw_finished *finished = of->finished;
    while (finished->next_run) {
        const aqw_run_row *run = aqw_run_at(of->table, finished->next_run);
        if (!may_go_on(of)) return 0;
        look_at(of, 1);
        if (!run->is_purged && aqw_rule_state_is_terminal(run->state) &&
            run->last_state_change_at <= of->what->cutoff) {
            memcpy(finished->run_ids[finished->run_count++], run->run_id, 16);
        }
        finished->next_run = run->next_in_task;
    }
    return 1;
}

/* Makes the place in the struct one that exists: rows may have gone in a rollback since. Returns 0
 * after the last row of the kind. */
static int enter_row(const search *of, int kind) {
    aqw_finished *finished = of->finished;
    if (finished->next_row == 0) finished->next_row = 1;
    return finished->next_row <= of->table->rows[kind].count;
}

static int enter_task(const search *of) {
    aqw_finished *finished = of->finished;
    if (!enter_row(of, AQW_ROW_TASK)) return 0;
    uint32_t run = finished->next_run, run_count = of->table->rows[AQW_ROW_RUN].count;
    int is_there = run && run <= run_count &&
                   aqw_run_at(of->table, run)->task == finished->next_row;
    if (!is_there) finished->next_run = aqw_task_at(of->table, finished->next_row)->first_run;
    return 1;
}

/* Each of these returns 0 where it had to stop before the end of its kind. */

static int find_in_tasks(search *of) {
    aqw_finished *finished = of->finished;
    while (enter_task(of)) {
        const aqw_task_row *task = aqw_task_at(of->table, finished->next_row);
        uint32_t found_before = finished->run_count;
        if (of->rows_left == 0) return 0;
        look_at(of, 1);
        if (!task->is_purged && !has_dependents(of, task)) {
            if (!find_in_runs(of)) return 0;
            int is_empty = task->run_count == finished->run_count - found_before;
            if (is_empty && is_finished(of, task)) {
                if (is_full(finished)) return 0;
                memcpy(finished->task_ids[finished->task_count++], task->task_id, 16);
                look_at_dependencies(of, task);
            }
        }
        finished->next_row++;
        finished->next_run = 0;
    }
    return 1;
}

static int find_in_subscriptions(search *of) {
    aqw_finished *finished = of->finished;
    for (; enter_row(of, AQW_ROW_SUBSCRIPTION); finished->next_row++) {
        const aqw_subscription_row *subscription = aqw_row_at(of->table, AQW_ROW_SUBSCRIPTION,
                                                              finished->next_row);
        if (!may_go_on(of)) return 0;
        look_at(of, 1);
        if (aqw_index_is_purged(of->table, AQW_ROW_SUBSCRIPTION, finished->next_row)) continue;
        if (!subscription->is_canceled || subscription->canceled_at > of->what->cutoff) continue;
        memcpy(finished->subscription_ids[finished->subscription_count++],
               subscription->subscription_id, 16);
    }
    return 1;
}

static int find_in_actors(search *of) {
    aqw_finished *finished = of->finished;
    for (; enter_row(of, AQW_ROW_ACTOR); finished->next_row++) {
        const aqw_actor_row *actor = aqw_row_at(of->table, AQW_ROW_ACTOR, finished->next_row);
        if (!may_go_on(of)) return 0;
        look_at(of, 1);
        if (actor->is_purged || !actor->is_deregistered ||
            actor->deregistered_at > of->what->cutoff)
            continue;
        memcpy(finished->actor_ids[finished->actor_count++], actor->actor_id, 16);
        const aqw_holder_row *holder = holder_of(of->table, finished->next_row);
        if (holder) look_at(of, holder->count);
    }
    return 1;
}

/* The ledger and the tombstones are purged from their beginning: what is found here is
 * gone at the next look. */

static int find_in_ledger(search *of) {
    uint32_t *found = &of->finished->ledger_count;
    for (; *found < count_left(of->table, AQW_ROW_LEDGER); ++*found) {
        const aqw_ledger_row *entry = aqw_row_at(
            of->table, AQW_ROW_LEDGER, of->table->head.purged[AQW_ROW_LEDGER] + 1 + *found);
        if (entry->timestamp > of->what->ledger_cutoff) return 1;
        if (of->rows_left == 0) return 0;
        look_at(of, 1);
    }
    return 1;
}

static int find_in_tombstones(search *of) {
    uint32_t *found = &of->finished->tombstone_count;
    for (; *found < count_left(of->table, AQW_ROW_TOMBSTONE); ++*found) {
        const aqw_tombstone_row *tombstone = aqw_row_at(
            of->table, AQW_ROW_TOMBSTONE, of->table->head.purged[AQW_ROW_TOMBSTONE] + 1 + *found);
        if (tombstone->until > of->what->today) return 1;
        if (of->rows_left == 0) return 0;
        look_at(of, 1);
    }
    return 1;
}

void aqw_table_find_finished(const aqw_table *table, const aqw_retention *what, uint32_t rows_max,
                             aqw_finished *finished) {
    static int (*const finders[])(search *) = {find_in_tasks, find_in_subscriptions, find_in_actors,
                                               find_in_ledger, find_in_tombstones};
    const int is_wanted[] = {what->has_cutoff, what->has_cutoff, what->has_cutoff,
                             what->has_ledger_cutoff, 1};
    search of = {table, what, rows_max, rows_max / 2, finished};
    finished->run_count = 0;
    finished->task_count = 0;
    finished->subscription_count = 0;
    finished->actor_count = 0;
    finished->ledger_count = 0;
    finished->tombstone_count = 0;
    finished->has_put_off = 0;
    while (finished->next_part < sizeof finders / sizeof *finders) {
        if (is_wanted[finished->next_part] && !finders[finished->next_part](&of)) return;
        finished->next_part++;
        finished->next_row = 0;
        finished->next_run = 0;
    }
    finished->next_part = 0;
    finished->next_row = 0;
    finished->next_run = 0;
}
