/* The state table: a task's life, what it refuses, and its image. */
#include "selftest.h"

#include <string.h>

#include "table/image.h"

static const uint8_t task_id[16] = {1}, run_id[16] = {2}, attempt_id[16] = {3}, tenant_id[16] = {4}, unknown_id[16] = {9};

static aqw_event new_event(uint64_t sequence, uint8_t kind) {
    aqw_event event;
    memset(&event, 0, sizeof event);
    event.sequence = sequence;
    event.kind = kind;
    event.timestamp = kind == AQW_RUN_CREATED ? 0 : NOW + sequence;
    return event;
}

static aqw_status create_task(aqw_table *table, uint64_t sequence) {
    uint8_t bytes[256];
    size_t size = 0;
    aqw_task_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.payload = (aqw_bytes){(const uint8_t *)"work", 4};
    spec.max_attempts = 3;
    EXPECT_STATUS(aqw_task_spec_encode(&spec, bytes, sizeof bytes, &size), AQW_OK);
    aqw_event event = new_event(sequence, AQW_TASK_CREATED);
    memcpy(event.as.task_created.task_id, task_id, 16);
    event.as.task_created.spec = (aqw_bytes){bytes, (uint32_t)size};
    return aqw_table_apply(table, &event);
}

static aqw_status create_run(aqw_table *table, uint64_t sequence) {
    aqw_event event = new_event(sequence, AQW_RUN_CREATED);
    memcpy(event.as.run_created.run_id, run_id, 16);
    memcpy(event.as.run_created.task_id, task_id, 16);
    event.as.run_created.scheduled_at = UINT64_MAX - 1;
    event.as.run_created.created_at = 0x0102030405060708u;
    event.as.run_created.effective_priority = -7;
    return aqw_table_apply(table, &event);
}

static aqw_status change_state(aqw_table *table, uint64_t sequence, uint8_t from, uint8_t to) {
    aqw_event event = new_event(sequence, AQW_RUN_STATE_CHANGED);
    memcpy(event.as.run_state_changed.run_id, run_id, 16);
    event.as.run_state_changed.previous_state = from;
    event.as.run_state_changed.new_state = to;
    return aqw_table_apply(table, &event);
}

static aqw_status start_attempt(aqw_table *table, uint64_t sequence) {
    aqw_event event = new_event(sequence, AQW_ATTEMPT_STARTED);
    memcpy(event.as.attempt_started.run_id, run_id, 16);
    memcpy(event.as.attempt_started.attempt_id, attempt_id, 16);
    return aqw_table_apply(table, &event);
}

static aqw_status acquire_lease(aqw_table *table, uint64_t sequence) {
    aqw_event event = new_event(sequence, AQW_LEASE_ACQUIRED);
    memcpy(event.as.lease.run_id, run_id, 16);
    event.as.lease.owner = (aqw_bytes){(const uint8_t *)"worker", 6};
    event.as.lease.expiry = 0xfedcba9876543210u;
    return aqw_table_apply(table, &event);
}

static aqw_status allocate_budget(aqw_table *table, uint64_t sequence) {
    aqw_event event = new_event(sequence, AQW_BUDGET_ALLOCATED);
    memcpy(event.as.budget.task_id, task_id, 16);
    event.as.budget.dimension = AQW_COST_CENTS;
    event.as.budget.value = 0x8000000000000001u;
    return aqw_table_apply(table, &event);
}

static aqw_status create_tenant(aqw_table *table, uint64_t sequence) {
    aqw_event event = new_event(sequence, AQW_TENANT_CREATED);
    memcpy(event.as.tenant_created.tenant_id, tenant_id, 16);
    event.as.tenant_created.name = (aqw_bytes){(const uint8_t *)"tenant", 6};
    return aqw_table_apply(table, &event);
}

static void check_rows(const aqw_table *table) {
    aqw_task_view task;
    aqw_run_view run;
    aqw_attempt_view attempt;
    aqw_history_view history;
    aqw_budget_view budget;
    EXPECT_EQUAL(aqw_table_find_task(table, unknown_id), 0);
    EXPECT_EQUAL(aqw_table_find_run(table, task_id), 0);
    aqw_table_task(table, aqw_table_find_task(table, task_id), &task);
    EXPECT_EQUAL(task.created_at, NOW + 1);
    EXPECT_EQUAL(task.run_count, 1);
    aqw_table_run(table, aqw_table_find_run(table, run_id), &run);
    EXPECT(memcmp(run.task_id, task_id, 16) == 0);
    EXPECT_EQUAL(run.state, AQW_RUNNING);
    EXPECT_EQUAL(run.scheduled_at, UINT64_MAX - 1);
    EXPECT_EQUAL(run.created_at, 0x0102030405060708u);
    EXPECT(run.effective_priority == -7);
    EXPECT_EQUAL(run.attempt_count, 1);
    EXPECT(run.has_active_attempt && memcmp(run.active_attempt_id, attempt_id, 16) == 0);
    EXPECT(run.has_lease && run.lease.owner.size == 6);
    EXPECT_EQUAL(run.lease.expiry, 0xfedcba9876543210u);
    aqw_table_attempt(table, run.first_attempt, &attempt);
    EXPECT_EQUAL(attempt.started_at, NOW + 7);
    aqw_table_history(table, run.first_history, &history);
    EXPECT_EQUAL(history.from_state, AQW_SCHEDULED);
    EXPECT_EQUAL(history.to_state, AQW_READY);
    aqw_table_budget(table, aqw_table_find_budget(table, task_id, AQW_COST_CENTS), &budget);
    EXPECT_EQUAL(budget.limit, 0x8000000000000001u);
}

void check_a_table(const char *directory) {
    (void)directory;
    static const uint8_t seed[16] = {7};
    aqw_table_counts counts;
    aqw_table *table = aqw_table_new(NULL, seed);
    EXPECT(table != NULL);
    EXPECT_STATUS(create_run(table, 1), AQW_REFUSED_UNKNOWN_TASK);
    EXPECT_STATUS(create_task(table, 1), AQW_OK);
    EXPECT_STATUS(create_task(table, 2), AQW_REFUSED_TASK_EXISTS);
    EXPECT_STATUS(create_run(table, 1), AQW_REFUSED_SEQUENCE);
    EXPECT_STATUS(create_run(table, 2), AQW_OK);
    EXPECT_STATUS(change_state(table, 3, AQW_READY, AQW_LEASED), AQW_REFUSED_PREVIOUS_STATE);
    EXPECT_STATUS(change_state(table, 3, AQW_SCHEDULED, AQW_RUNNING), AQW_REFUSED_TRANSITION);
    EXPECT_STATUS(change_state(table, 3, AQW_SCHEDULED, AQW_READY), AQW_OK);
    EXPECT_STATUS(acquire_lease(table, 4), AQW_OK);
    EXPECT_STATUS(change_state(table, 5, AQW_READY, AQW_LEASED), AQW_OK);
    EXPECT_STATUS(start_attempt(table, 6), AQW_REFUSED_ATTEMPT_STATE);
    EXPECT_STATUS(change_state(table, 6, AQW_LEASED, AQW_RUNNING), AQW_OK);
    EXPECT_STATUS(start_attempt(table, 7), AQW_OK);
    EXPECT_STATUS(change_state(table, 8, AQW_RUNNING, AQW_COMPLETED), AQW_REFUSED_ATTEMPT_ACTIVE);
    EXPECT_STATUS(allocate_budget(table, 8), AQW_OK);
    check_rows(table);

    EXPECT_STATUS(aqw_table_begin(table), AQW_OK);
    EXPECT_STATUS(create_tenant(table, 9), AQW_OK);
    EXPECT_STATUS(change_state(table, 10, AQW_RUNNING, AQW_CANCELED), AQW_OK);
    EXPECT(aqw_table_find_tenant(table, tenant_id) != 0);
    aqw_table_rollback(table);
    EXPECT_EQUAL(aqw_table_find_tenant(table, tenant_id), 0);
    EXPECT_EQUAL(aqw_table_latest_sequence(table), 8);
    check_rows(table);

    EXPECT_STATUS(aqw_table_begin(table), AQW_OK);
    EXPECT_STATUS(create_tenant(table, 9), AQW_OK);
    aqw_table_commit(table);
    aqw_table_counts_get(table, &counts);
    EXPECT_EQUAL(counts.tasks + counts.runs + counts.attempts + counts.leases + counts.budgets + counts.tenants, 6);
    EXPECT_EQUAL(counts.runs_by_state[AQW_RUNNING], 1);
    EXPECT_EQUAL(counts.history, 3);
    aqw_table_free(table);
}

/* Compares what is saved with the golden items, one after the other. */
static aqw_status compare_item(void *to, uint8_t type, aqw_bytes fields, aqw_bytes bytes) {
    size_t *next = to;
    EXPECT(*next < golden_image_count);
    const golden_item *golden = &golden_image[(*next)++];
    EXPECT_EQUAL(type, golden->type);
    EXPECT_EQUAL((uint64_t)fields.size + bytes.size, golden->size);
    EXPECT(memcmp(fields.data, golden->payload, fields.size) == 0);
    EXPECT(bytes.size == 0 || memcmp(bytes.data, golden->payload + fields.size, bytes.size) == 0);
    return AQW_OK;
}

void check_the_golden_image(const char *directory) {
    (void)directory;
    static const uint8_t seed[16] = {7};
    aqw_table_loader loader;
    size_t saved = 0;
    aqw_table *table = aqw_table_new(NULL, seed);
    EXPECT(table != NULL);
    EXPECT_STATUS(aqw_table_load_begin(&loader, table, 1 << 20), AQW_OK);
    for (size_t i = 0; i < golden_image_count; i++)
        EXPECT_STATUS(aqw_table_load_item(&loader, golden_image[i].type, golden_image[i].payload, golden_image[i].size), AQW_OK);
    EXPECT_STATUS(aqw_table_load_end(&loader), AQW_OK);
    EXPECT_STATUS(aqw_table_save(table, compare_item, &saved), AQW_OK);
    EXPECT_EQUAL(saved, golden_image_count);
    aqw_table_free(table);
}
