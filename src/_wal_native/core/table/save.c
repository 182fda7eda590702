/* Writes a table's image; table/image.h specifies it. */
#include "table/image.h"

#include "base/limits.h"
#include "event/cursor.h"
#include "table/internal.h"

/* The largest fields: those of a run with a full group of steps, or of a full group of
 * dependencies. */
_Static_assert(16 + 5 + 10 + 10 + 5 + AQW_IMAGE_GROUP_COUNT_MAX * (1 + VARINT_SIZE_MAX) <=
                   AQW_IMAGE_FIELDS_SIZE_MAX,
               "a run fits");
_Static_assert(AQW_IMAGE_GROUP_COUNT_MAX * 2 * 5 <= AQW_IMAGE_FIELDS_SIZE_MAX, "dependencies fit");
_Static_assert(AQW_IMAGE_ITEM_SIZE_MAX == AQW_PAYLOAD_SIZE_MAX + AQW_IMAGE_FIELDS_SIZE_MAX,
               "an item's limit");

typedef struct saver {
    const aqw_table *table;
    aqw_image_sink sink;
    void *to;
    /* of the tasks in the image, by row; NULL where a row's number is its own */
    uint32_t *numbers;
    writer out;                 /* the fields of the item in the making */
    uint8_t fields[AQW_IMAGE_FIELDS_SIZE_MAX];
} saver;

static writer *start(saver *save) {
    save->out = open_writer(save->fields, sizeof save->fields);
    return &save->out;
}

static aqw_status emit_with(saver *save, uint8_t type, const uint8_t *data, uint32_t size) {
    if (save->out.status != AQW_OK) return save->out.status;
    if (size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    return save->sink(save->to, type, (aqw_bytes){save->fields, (uint32_t)save->out.size},
                      (aqw_bytes){data, size});
}

static aqw_status emit(saver *save, uint8_t type) { return emit_with(save, type, save->fields, 0); }

static void put_task(saver *save, uint32_t task) {
    put_varint(&save->out, save->numbers ? save->numbers[task - 1] : task);
}

/* Puts up to two optional times, and the flags that say which are there. */
static void put_times(writer *out, uint64_t base, int has_first, uint64_t first, int has_second,
                      uint64_t second) {
    put_u8(out, (has_first ? AQW_IMAGE_HAS_FIRST : 0u) | (has_second ? AQW_IMAGE_HAS_SECOND : 0u));
    if (has_first) put_difference(out, first, base);
    if (has_second) put_difference(out, second, base);
}

static aqw_status save_head(saver *save) {
    const aqw_table_head *head = &save->table->head;
    const aqw_engine_view *engine = &head->engine;
    aqw_table_counts counts;
    aqw_table_counts_get(save->table, &counts);
    const uint32_t numbers[] = {
        counts.tasks, counts.runs, counts.history, counts.attempts, counts.leases,
        counts.dependencies, counts.budgets, counts.subscriptions, counts.actors, counts.tenants,
        counts.roles, counts.capabilities, counts.ledger, counts.tombstones};
    writer *out = start(save);
    put_varint(out, head->latest_sequence);
    put_u8(out, engine->is_paused ? 1 : engine->has_paused_at ? 2 : 0);
    if (engine->has_paused_at) put_varint(out, engine->paused_at);
    if (engine->has_resumed_at) put_difference(out, engine->resumed_at, engine->paused_at);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_varint(out, numbers[i]);
    return emit(save, AQW_IMAGE_HEAD);
}

static aqw_status save_task(saver *save, uint32_t row) {
    const aqw_task_row *task = aqw_task_at(save->table, row);
    uint64_t purged = task->runs_created - task->run_count;
    writer *out = start(save);
    put_id(out, task->task_id);
    put_varint(out, task->created_at);
    put_u8(out, (task->is_canceled ? AQW_IMAGE_HAS_FIRST : 0u) |
                    (task->had_runs ? AQW_IMAGE_HAD_RUNS : 0u) |
                    (purged ? AQW_IMAGE_RUNS_PURGED : 0u));
    if (task->is_canceled) put_difference(out, task->canceled_at, task->created_at);
    if (task->had_runs) put_difference(out, task->last_run_at, task->created_at);
    if (purged) put_varint(out, purged);
    return emit_with(save, AQW_IMAGE_TASK, task->spec, task->spec_size);
}

/* ---- Runs ---- */

/* The group of steps in the making: in the run's own item, or in one of its history. */
typedef struct step_group {
    uint8_t type;
    uint32_t count;
    uint8_t state;
    uint64_t time;
} step_group;

/* Makes room for one more step. */
static aqw_status next_step(saver *save, step_group *group) {
    if (group->count < AQW_IMAGE_GROUP_COUNT_MAX) {
        group->count++;
        return AQW_OK;
    }
    aqw_status status = emit(save, group->type);
    start(save);
    group->type = AQW_IMAGE_HISTORY;
    group->count = 1;
    return status;
}

/* Saves the step that leaves no row: a lease was closed where the run's state says
 * that it came another way. */
static aqw_status save_way_to(saver *save, step_group *group, uint8_t state) {
    if (group->state == state) return AQW_OK;
    aqw_status status = next_step(save, group);
    put_u8(&save->out, AQW_IMAGE_LEASE_CLOSED);
    group->state = state;
    return status;
}

static aqw_status save_step(saver *save, step_group *group, const aqw_history_row *entry) {
    aqw_status status = save_way_to(save, group, entry->from_state);
    if (status == AQW_OK) status = next_step(save, group);
    if (status != AQW_OK) return status;
    put_u8(&save->out, entry->to_state);
    put_difference(&save->out, entry->timestamp, group->time);
    group->state = entry->to_state;
    group->time = entry->timestamp;
    return AQW_OK;
}

static aqw_status save_steps(saver *save, const aqw_run_row *run) {
    step_group group = {AQW_IMAGE_RUN, 0, AQW_SCHEDULED, run->created_at};
    for (uint32_t row = run->first_history; row;) {
        const aqw_history_row *entry = aqw_row_at(save->table, AQW_ROW_HISTORY, row);
        aqw_status status = save_step(save, &group, entry);
        if (status != AQW_OK) return status;
        row = entry->next;
    }
    aqw_status status = save_way_to(save, &group, run->state);
    return status == AQW_OK ? emit(save, group.type) : status;
}

static aqw_status save_attempt(saver *save, const aqw_run_row *run,
                               const aqw_attempt_row *attempt) {
    writer *out = start(save);
    put_id(out, attempt->attempt_id);
    put_difference(out, attempt->started_at, run->created_at);
    if (!attempt->ending) {
        put_u8(out, AQW_IMAGE_UNFINISHED);
        return emit(save, AQW_IMAGE_ATTEMPT);
    }
    uint32_t ending = aqw_load_u32(attempt->ending);
    put_u8(out, ending & 0xFF);
    put_difference(out, attempt->finished_at, attempt->started_at);
    return emit_with(save, AQW_IMAGE_ATTEMPT, attempt->ending + AQW_ENDING_HEADER_SIZE,
                     ending >> 8);
}

static aqw_status save_lease(saver *save, const aqw_run_row *run) {
    const aqw_lease *lease = run->lease;
    writer *out = start(save);
    put_difference(out, lease->acquired_at, run->created_at);
    put_difference(out, lease->updated_at, lease->acquired_at);
    put_difference(out, lease->expiry, lease->acquired_at);
    return emit_with(save, AQW_IMAGE_LEASE, lease->owner, lease->owner_size);
}

static aqw_status save_run(saver *save, uint32_t row) {
    const aqw_run_row *run = aqw_run_at(save->table, row);
    writer *out = start(save);
    put_id(out, run->run_id);
    put_task(save, run->task);
    put_varint(out, run->created_at);
    put_difference(out, run->scheduled_at, run->created_at);
    put_zigzag(out, run->effective_priority);
    aqw_status status = save_steps(save, run);
    for (uint32_t at = run->first_attempt; at && status == AQW_OK;
         at = aqw_attempt_at(save->table, at)->next) {
        status = save_attempt(save, run, aqw_attempt_at(save->table, at));
    }
    return status == AQW_OK && run->lease ? save_lease(save, run) : status;
}

/* ---- The rest ---- */

static aqw_status save_dependencies(saver *save) {
    uint32_t count = 0;
    start(save);
    for (uint32_t row = 0; (row = aqw_index_next(save->table, AQW_ROW_DEPENDENCY, row)) != 0;) {
        const aqw_dependency_row *dependency = aqw_row_at(save->table, AQW_ROW_DEPENDENCY, row);
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

static aqw_status save_budget(saver *save, uint32_t row) {
    const aqw_budget_row *budget = aqw_row_at(save->table, AQW_ROW_BUDGET, row);
    writer *out = start(save);
    put_task(save, budget->task);
    put_u8(out, budget->dimension | (budget->is_exhausted ? AQW_IMAGE_EXHAUSTED : 0u));
    put_varint(out, budget->limit);
    put_varint(out, budget->consumed);
    put_varint(out, budget->allocated_at);
    return emit(save, AQW_IMAGE_BUDGET);
}

static aqw_status save_subscription(saver *save, uint32_t row) {
    const aqw_subscription_row *subscription = aqw_row_at(save->table, AQW_ROW_SUBSCRIPTION, row);
    writer *out = start(save);
    put_id(out, subscription->subscription_id);
    put_task(save, subscription->task);
    put_varint(out, subscription->created_at);
    put_times(out, subscription->created_at, subscription->is_triggered, subscription->triggered_at,
              subscription->is_canceled, subscription->canceled_at);
    return emit_with(save, AQW_IMAGE_SUBSCRIPTION, subscription->filter, subscription->filter_size);
}

static aqw_status save_actor(saver *save, uint32_t row) {
    const aqw_actor_row *actor = aqw_row_at(save->table, AQW_ROW_ACTOR, row);
    writer *out = start(save);
    put_id(out, actor->actor_id);
    put_varint(out, actor->registered_at);
    put_times(out, actor->registered_at, actor->has_heartbeat, actor->last_heartbeat_at,
              actor->is_deregistered, actor->deregistered_at);
    return emit_with(save, AQW_IMAGE_ACTOR, actor->registration->data, actor->registration->size);
}

static aqw_status save_tenant(saver *save, uint32_t row) {
    const aqw_tenant_row *tenant = aqw_row_at(save->table, AQW_ROW_TENANT, row);
    writer *out = start(save);
    put_id(out, tenant->tenant_id);
    put_varint(out, tenant->created_at);
    return emit_with(save, AQW_IMAGE_TENANT, tenant->name->data, tenant->name->size);
}

static aqw_status save_role(saver *save, uint32_t row) {
    const aqw_role_row *role = aqw_row_at(save->table, AQW_ROW_ROLE, row);
    writer *out = start(save);
    put_id(out, role->actor_id);
    put_id(out, role->tenant_id);
    put_varint(out, role->assigned_at);
    return emit_with(save, AQW_IMAGE_ROLE, role->role->data, role->role->size);
}

static aqw_status save_capability(saver *save, uint32_t row) {
    const aqw_capability_row *grant = aqw_row_at(save->table, AQW_ROW_CAPABILITY, row);
    writer *out = start(save);
    put_id(out, grant->actor_id);
    put_id(out, grant->tenant_id);
    put_varint(out, grant->granted_at);
    put_times(out, grant->granted_at, grant->is_revoked, grant->revoked_at, 0, 0);
    return emit_with(save, AQW_IMAGE_CAPABILITY, grant->capability, grant->capability_size);
}

static aqw_status save_ledger_entry(saver *save, uint32_t row) {
    const aqw_ledger_row *entry = aqw_row_at(save->table, AQW_ROW_LEDGER, row);
    if (entry->payload_size > AQW_PAYLOAD_SIZE_MAX - entry->key_size) return AQW_TOO_LARGE;
    writer *out = start(save);
    put_id(out, entry->entry_id);
    put_id(out, entry->tenant_id);
    put_varint(out, entry->timestamp);
    put_u8(out, entry->has_actor ? AQW_IMAGE_HAS_FIRST : 0);
    if (entry->has_actor) put_id(out, entry->actor_id);
    put_varint(out, entry->key_size);
    return emit_with(save, AQW_IMAGE_LEDGER_ENTRY, entry->bytes,
                     entry->key_size + entry->payload_size);
}

static aqw_status save_tombstone(saver *save, uint32_t row) {
    const aqw_tombstone_row *tombstone = aqw_row_at(save->table, AQW_ROW_TOMBSTONE, row);
    writer *out = start(save);
    put_id(out, tombstone->task_id);
    put_varint(out, tombstone->until);
    return emit(save, AQW_IMAGE_TOMBSTONE);
}

typedef aqw_status (*row_saver)(saver *save, uint32_t row);

static aqw_status save_rows(saver *save, int kind, row_saver save_row) {
    aqw_status status = AQW_OK;
    for (uint32_t row = 0;
         status == AQW_OK && (row = aqw_index_next(save->table, kind, row)) != 0;) {
        status = save_row(save, row);
    }
    return status;
}

/* Numbers the tasks that are left. */
static aqw_status number_tasks(saver *save, aqw_heap *heap) {
    const aqw_table *table = save->table;
    uint32_t number = 0;
    if (!table->head.purged[AQW_ROW_TASK]) return AQW_OK;
    save->numbers =
        aqw_heap_take(heap, sizeof *save->numbers * (size_t)table->rows[AQW_ROW_TASK].count);
    if (!save->numbers) return AQW_NO_MEMORY;
    for (uint32_t row = 0; (row = aqw_index_next(table, AQW_ROW_TASK, row)) != 0;)
        save->numbers[row - 1] = ++number;
    return AQW_OK;
}

aqw_status aqw_table_save(const aqw_table *table, aqw_image_sink sink, void *to) {
    static const struct { int kind; row_saver save_row; } sections[] = {
        {AQW_ROW_TASK, save_task},
        {AQW_ROW_RUN, save_run},
        {AQW_ROW_DEPENDENCY, NULL},     /* in groups */
        {AQW_ROW_BUDGET, save_budget},
        {AQW_ROW_SUBSCRIPTION, save_subscription},
        {AQW_ROW_ACTOR, save_actor},
        {AQW_ROW_TENANT, save_tenant},
        {AQW_ROW_ROLE, save_role},
        {AQW_ROW_CAPABILITY, save_capability},
        {AQW_ROW_LEDGER, save_ledger_entry},
        {AQW_ROW_TOMBSTONE, save_tombstone},
    };
    if (table->undo.is_open) return AQW_INVALID_ARGUMENT;
    saver save = {.table = table, .sink = sink, .to = to};
    aqw_heap heap;              /* not the table's own, which must not change */
    aqw_heap_init(&heap, &table->heap.memory);
    aqw_status status = number_tasks(&save, &heap);
    if (status == AQW_OK) status = save_head(&save);
    for (size_t i = 0; i < sizeof sections / sizeof *sections && status == AQW_OK; i++) {
        status = sections[i].save_row ? save_rows(&save, sections[i].kind, sections[i].save_row)
                                      : save_dependencies(&save);
    }
    aqw_heap_return(&heap, save.numbers,
                    sizeof *save.numbers * (size_t)table->rows[AQW_ROW_TASK].count);
    return status;
}
