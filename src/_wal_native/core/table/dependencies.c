/* Dependencies: which tasks a task waits for. Each is in two chains, that of its task and that of
 * the task on which it is; tasks keep the heads of both (table/internal.h). A dependency goes with
 * either of its tasks. */
#include "table/family.h"

/* ---- The key ---- */

static uint64_t dependency_hash(const void *context, uint32_t row) {
    const aqw_table *table = context;
    const aqw_dependency_row *dependency = aqw_dependency_at(table, row);
    return aqw_hash_numbers(table, dependency->task, dependency->depends_on);
}

static uint32_t find_dependency(const aqw_table *table, uint32_t task, uint32_t depends_on) {
    const aqw_map *map = &table->maps[AQW_ROW_DEPENDENCY];
    aqw_map_probe probe;
    aqw_map_find(map, aqw_hash_numbers(table, task, depends_on), &probe);
    for (uint32_t row = aqw_map_next(map, &probe); row; row = aqw_map_next(map, &probe)) {
        const aqw_dependency_row *dependency = aqw_dependency_at(table, row);
        if (dependency->task == task && dependency->depends_on == depends_on) return row;
    }
    return 0;
}

/* Adds a dependency that is not there, at the head of both chains. */
static void add_dependency(aqw_table *table, uint32_t task_row, uint32_t depends_on_row) {
    aqw_task_row *task = aqw_task_at(table, task_row);
    uint32_t row = aqw_row_new(table, AQW_ROW_DEPENDENCY);
    aqw_dependency_row *dependency = aqw_dependency_at(table, row);
    dependency->task = task_row;
    dependency->depends_on = depends_on_row;
    dependency->next_in_task = task->first_dependency;
    task->first_dependency = row;
    aqw_task_row *depends_on = aqw_task_at(table, depends_on_row);
    dependency->next_on_same = depends_on->first_dependent;
    if (depends_on->first_dependent)
        aqw_dependency_at(table, depends_on->first_dependent)->previous_on_same = row;
    depends_on->first_dependent = row;
    aqw_index_insert(table, AQW_ROW_DEPENDENCY, row);
}

/* ---- The event ---- */

static aqw_status dependency_declared(aqw_table *table, const aqw_event *event) {
    const uint8_t *depends_on = event->as.dependency_declared.depends_on;
    uint32_t count = event->as.dependency_declared.count;
    if (count == 0) return AQW_REFUSED_NO_DEPENDENCIES;
    uint32_t task_row = aqw_table_find_task(table, event->as.dependency_declared.task_id);
    if (!task_row) return AQW_REFUSED_UNKNOWN_TASK;
    uint32_t added_max = 0;     /* a prerequisite given twice counts twice here */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t depends_on_row = aqw_table_find_task(table, depends_on + (size_t)i * 16);
        if (!depends_on_row) return AQW_REFUSED_UNKNOWN_TASK;
        if (find_dependency(table, task_row, depends_on_row)) continue;
        added_max++;
        if (aqw_undo_keep_row(table, AQW_ROW_TASK, depends_on_row) != AQW_OK) return AQW_NO_MEMORY;
        uint32_t newest = aqw_task_at(table, depends_on_row)->first_dependent;
        if (newest && aqw_undo_keep_row(table, AQW_ROW_DEPENDENCY, newest) != AQW_OK)
            return AQW_NO_MEMORY;
    }
    if (aqw_index_reserve(table, AQW_ROW_DEPENDENCY, added_max) != AQW_OK) return AQW_NO_MEMORY;
    if (aqw_undo_keep_row(table, AQW_ROW_TASK, task_row) != AQW_OK) return AQW_NO_MEMORY;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t depends_on_row = aqw_table_find_task(table, depends_on + (size_t)i * 16);
        if (!find_dependency(table, task_row, depends_on_row))
            add_dependency(table, task_row, depends_on_row);
    }
    return AQW_OK;
}

static const aqw_row_event dependency_events[] = {
    {AQW_DEPENDENCY_DECLARED, dependency_declared},
    {0, NULL},
};

/* ---- The view ---- */

void aqw_table_dependency(const aqw_table *table, uint32_t row, aqw_dependency_view *view) {
    const aqw_dependency_row *dependency = aqw_dependency_at(table, row);
    aqw_task_id_copy(table, view->task_id, dependency->task);
    aqw_task_id_copy(table, view->depends_on, dependency->depends_on);
    view->next_in_task = dependency->next_in_task;
    view->next_on_same = dependency->next_on_same;
    while (view->next_in_task && aqw_dependency_at(table, view->next_in_task)->is_purged) {
        view->next_in_task = aqw_dependency_at(table, view->next_in_task)->next_in_task;
    }
}

/* ---- The image: dependencies are in groups ---- */

_Static_assert(AQW_IMAGE_GROUP_COUNT_MAX * 2 * 5 <= AQW_IMAGE_FIELDS_SIZE_MAX, "a group fits");

static aqw_status save_dependencies(aqw_saver *save) {
    uint32_t count = 0;
    start(save);
    for (uint32_t row = 0; (row = aqw_table_next(save->table, AQW_ROW_DEPENDENCY, row)) != 0;) {
        const aqw_dependency_row *dependency = aqw_dependency_at(save->table, row);
        if (count == AQW_IMAGE_GROUP_COUNT_MAX) {
            aqw_status status = emit(save, AQW_IMAGE_DEPENDENCIES);
            if (status != AQW_OK) return status;
            start(save);
            count = 0;
        }
        put_task(save, dependency->task);
        put_task(save, dependency->depends_on);
        count++;
    }
    return count ? emit(save, AQW_IMAGE_DEPENDENCIES) : AQW_OK;
}

static void load_dependency(aqw_table_loader *load, cursor *from) {
    uint32_t task = read_task(load, from);
    uint32_t depends_on = read_task(load, from);
    count_one(load, from, AQW_IMAGE_DEPENDENCIES);
    if (from->failed) return;
    require(from, !find_dependency(load->table, task, depends_on));
    if (!from->failed) add_dependency(load->table, task, depends_on);
}

static aqw_status load_dependencies(aqw_table_loader *load, cursor *from) {
    require(from, left(from) > 0 &&
                      load->loaded[AQW_IMAGE_DEPENDENCIES] % AQW_IMAGE_GROUP_COUNT_MAX == 0);
    for (int i = 0; i < AQW_IMAGE_GROUP_COUNT_MAX && left(from) > 0; i++)
        load_dependency(load, from);
    return finish(from) == AQW_OK ? AQW_OK : AQW_MALFORMED_SNAPSHOT;
}

static const aqw_row_item dependency_item = {.type = AQW_IMAGE_DEPENDENCIES,
                                             .size_min = 2,
                                             .save_all = save_dependencies,
                                             .load = load_dependencies};

/* ---- The purge of a task ---- */

static int dependency_is_purged(const aqw_table *table, uint32_t row) {
    return aqw_dependency_at(table, row)->is_purged;
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

static aqw_status keep_with_task(aqw_table *table, uint32_t task_row) {
    const aqw_task_row *task = aqw_task_at(table, task_row);
    for (uint32_t at = task->first_dependency; at;
         at = aqw_dependency_at(table, at)->next_in_task) {
        if (keep_dependency(table, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    for (uint32_t at = task->first_dependent; at; at = aqw_dependency_at(table, at)->next_on_same) {
        if (keep_dependency(table, at) != AQW_OK) return AQW_NO_MEMORY;
    }
    return AQW_OK;
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

static void drop_with_task(aqw_table *table, uint32_t task_row) {
    const aqw_task_row *task = aqw_task_at(table, task_row);
    for (uint32_t at = task->first_dependency; at;
         at = aqw_dependency_at(table, at)->next_in_task) {
        drop_dependency(table, aqw_dependency_at(table, at));
    }
    for (uint32_t at = task->first_dependent; at; at = aqw_dependency_at(table, at)->next_on_same) {
        drop_dependency(table, aqw_dependency_at(table, at));
    }
}

/* ---- The kind ---- */

#if !defined(NDEBUG)
static void check_dependency(const aqw_table *table, uint32_t row, aqw_tally *to) {
    const aqw_dependency_row *dependency = aqw_dependency_at(table, row);
    const aqw_task_row *task = aqw_task_at(table, dependency->task);
    const aqw_task_row *depends_on = aqw_task_at(table, dependency->depends_on);
    (void)to;
    AQW_ASSERT(dependency->is_purged == (task->is_purged || depends_on->is_purged));
}
#endif

const aqw_row_type aqw_dependency_type = {
    .size = sizeof(aqw_dependency_row),
    .count_at = AQW_COUNTED_AS(dependencies),
    .hash_of = dependency_hash,
    .is_purged = dependency_is_purged,
    .events = dependency_events,
    .item = &dependency_item,
    .keep_with_task = keep_with_task,
    .drop_with_task = drop_with_task,
    AQW_CHECKED_BY(check_dependency, NULL)
};
