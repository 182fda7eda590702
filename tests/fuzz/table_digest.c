#include "table_digest.h"

#include <string.h>

#include "fuzz.h"

static uint64_t add_id(uint64_t digest, const uint8_t id[16]) { return digest_bytes(digest, id, 16); }

static uint64_t add_bytes(uint64_t digest, aqw_bytes bytes) {
    digest = digest_number(digest, bytes.data == NULL ? UINT64_MAX : bytes.size);
    return bytes.data == NULL ? digest : digest_bytes(digest, bytes.data, bytes.size);
}

static uint64_t add_time(uint64_t digest, int is_there, uint64_t time) {
    return digest_number(digest_number(digest, (uint64_t)is_there), is_there ? time : 0);
}

/* What all tasks and runs together have, to be compared with the counts. */
typedef struct totals {
    uint32_t tasks, runs, runs_in_tasks, history, attempts, leases, dependencies, children;
    uint32_t runs_by_state[9];
} totals;

static uint64_t add_task(const aqw_table *table, uint64_t digest, uint32_t row, totals *all) {
    aqw_task_view task;
    aqw_task_spec spec;
    aqw_table_task(table, row, &task);
    CHECK(aqw_table_find_task(table, task.task_id) == row);
    CHECK(aqw_table_task_is_canceled(table, row) == task.is_canceled);
    CHECK(aqw_task_spec_decode(task.spec.data, task.spec.size, &spec) == AQW_OK);
    digest = digest_number(add_id(digest, task.task_id), task.created_at);
    digest = add_bytes(add_time(digest, task.is_canceled, task.canceled_at), task.spec);
    CHECK(task.has_last_run == (task.runs_created > 0) && task.runs_created >= task.run_count);
    digest = add_time(digest_number(digest, task.runs_created), task.has_last_run, task.last_run_at);

    uint32_t count = 0;
    for (uint32_t at = task.first_run; at != 0; count++) {
        aqw_run_view run;
        aqw_table_run(table, at, &run);
        CHECK(memcmp(run.task_id, task.task_id, 16) == 0);
        digest = add_id(digest, run.run_id);
        at = run.next_in_task;
    }
    CHECK(count == task.run_count);
    all->runs_in_tasks += count;
    for (uint32_t at = task.first_dependency; at != 0; all->dependencies++) {
        aqw_dependency_view dependency;
        aqw_table_dependency(table, at, &dependency);
        CHECK(memcmp(dependency.task_id, task.task_id, 16) == 0);
        digest = add_id(digest, dependency.depends_on);
        at = dependency.next_in_task;
    }
    return digest;
}

static uint64_t add_attempts(const aqw_table *table, uint64_t digest, uint32_t row, const aqw_run_view *run, totals *all) {
    uint32_t count = 0;
    aqw_attempt_view attempt;
    memset(&attempt, 0, sizeof attempt);
    for (uint32_t at = run->first_attempt; at != 0; count++) {
        aqw_table_attempt(table, at, &attempt);
        CHECK(aqw_table_run_had_attempt(table, row, attempt.attempt_id));
        CHECK(attempt.is_finished == (attempt.result != AQW_RESULT_NONE));
        digest = digest_number(add_id(digest, attempt.attempt_id), attempt.started_at);
        digest = digest_number(add_time(digest, attempt.is_finished, attempt.finished_at), attempt.result);
        digest = add_bytes(add_bytes(digest, attempt.error), attempt.output);
        at = attempt.next;
    }
    /* The active attempt is the last one, and only a running run has one. */
    CHECK(!run->has_active_attempt || (count > 0 && !attempt.is_finished && run->state == AQW_RUNNING));
    CHECK(!run->has_active_attempt || memcmp(run->active_attempt_id, attempt.attempt_id, 16) == 0);
    CHECK(count == run->attempt_count && aqw_table_run_attempt_count(table, row) == count);
    all->attempts += count;
    return digest;
}

static uint64_t add_run(const aqw_table *table, uint64_t digest, uint32_t row, totals *all) {
    aqw_run_view run;
    aqw_lease_view lease;
    aqw_table_run(table, row, &run);
    CHECK(aqw_table_find_run(table, run.run_id) == row && aqw_table_find_task(table, run.task_id) != 0);
    CHECK(run.state <= AQW_RUN_STATE_LAST && aqw_table_run_state(table, row) == run.state);
    CHECK((aqw_table_run_active_attempt(table, row) != NULL) == run.has_active_attempt);
    CHECK(aqw_table_run_lease(table, row, &lease) == run.has_lease);
    all->runs_by_state[run.state]++;
    digest = digest_number(add_id(add_id(digest, run.run_id), run.task_id), run.state);
    digest = digest_number(digest_number(digest, run.created_at), run.scheduled_at);
    digest = digest_number(digest_number(digest, run.last_state_change_at), (uint64_t)run.effective_priority);
    digest = digest_number(digest, run.has_lease);
    if (run.has_lease) {
        all->leases++;
        digest = digest_number(add_bytes(digest, run.lease.owner), run.lease.expiry);
        digest = digest_number(digest_number(digest, run.lease.acquired_at), run.lease.updated_at);
    }
    for (uint32_t at = run.first_history; at != 0; all->history++) {
        aqw_history_view entry;
        aqw_table_history(table, at, &entry);
        CHECK(entry.from_state <= AQW_RUN_STATE_LAST && entry.to_state <= AQW_RUN_STATE_LAST);
        digest = digest_number(digest_number(digest, entry.from_state * 16u + entry.to_state), entry.timestamp);
        at = entry.next;
    }
    return add_attempts(table, digest_number(digest, run.has_active_attempt), row, &run, all);
}

static uint64_t add_parents(const aqw_table *table, uint64_t digest, uint32_t count, totals *all) {
    uint32_t found = 0;
    for (uint32_t row = 0; (row = aqw_table_next_parent(table, row)) != 0; found++) {
        aqw_parent_view parent;
        aqw_table_parent(table, row, &parent);
        CHECK(aqw_table_find_parent(table, parent.parent_task_id) == row && parent.first_child != 0);
        digest = add_id(digest, parent.parent_task_id);
        for (uint32_t at = parent.first_child; at != 0; all->children++) {
            aqw_child_view child;
            aqw_table_child(table, at, &child);
            CHECK(aqw_table_find_task(table, child.task_id) != 0);
            digest = add_id(digest, child.task_id);
            at = child.next;
        }
    }
    CHECK(found == count);
    return digest;
}

static uint64_t add_budgets_and_subscriptions(const aqw_table *table, uint64_t digest, const aqw_table_counts *counts) {
    uint32_t found = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_BUDGET, row)) != 0; found++) {
        aqw_budget_view budget;
        aqw_table_budget(table, row, &budget);
        CHECK(aqw_table_find_budget(table, budget.task_id, budget.dimension) == row);
        digest = digest_number(digest_number(add_id(digest, budget.task_id), budget.dimension), budget.limit);
        digest = digest_number(digest_number(digest, budget.consumed), budget.allocated_at * 2 + budget.is_exhausted);
    }
    CHECK(found == counts->budgets);
    found = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_SUBSCRIPTION, row)) != 0; found++) {
        aqw_subscription_view view;
        aqw_filter filter;
        aqw_table_subscription(table, row, &view);
        CHECK(aqw_table_find_subscription(table, view.subscription_id) == row);
        CHECK(aqw_table_subscription_is_canceled(table, row) == view.is_canceled);
        CHECK(view.filter.data == NULL || aqw_filter_decode(view.filter.data, view.filter.size, &filter) == AQW_OK);
        digest = digest_number(add_bytes(add_id(add_id(digest, view.subscription_id), view.task_id), view.filter), view.created_at);
        digest = add_time(add_time(digest, view.is_triggered, view.triggered_at), view.is_canceled, view.canceled_at);
    }
    CHECK(found == counts->subscriptions);
    return digest;
}

static uint64_t add_actors_and_tenants(const aqw_table *table, uint64_t digest, const aqw_table_counts *counts) {
    uint32_t found = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_ACTOR, row)) != 0; found++) {
        aqw_actor_view actor;
        aqw_table_actor(table, row, &actor);
        CHECK(aqw_table_find_actor(table, actor.actor_id) == row);
        digest = digest_number(add_bytes(add_id(digest, actor.actor_id), actor.registration), actor.registered_at);
        digest = add_time(add_time(digest, actor.has_heartbeat, actor.last_heartbeat_at), actor.is_deregistered, actor.deregistered_at);
    }
    CHECK(found == counts->actors);
    for (uint32_t row = 1; row <= counts->tenants; row++) {
        aqw_tenant_view tenant;
        aqw_table_tenant(table, row, &tenant);
        CHECK(aqw_table_find_tenant(table, tenant.tenant_id) == row);
        digest = digest_number(add_bytes(add_id(digest, tenant.tenant_id), tenant.name), tenant.created_at);
    }
    return digest;
}

static uint64_t add_rights_and_ledger(const aqw_table *table, uint64_t digest, const aqw_table_counts *counts) {
    uint32_t found = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_ROLE, row)) != 0; found++) {
        aqw_role_view role;
        aqw_table_role(table, row, &role);
        CHECK(aqw_table_find_role(table, role.actor_id, role.tenant_id) == row);
        digest = digest_number(add_bytes(add_id(add_id(digest, role.actor_id), role.tenant_id), role.role), role.assigned_at);
    }
    CHECK(found == counts->roles);
    found = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_CAPABILITY, row)) != 0; found++) {
        aqw_capability_view view;
        aqw_table_capability(table, row, &view);
        CHECK(aqw_table_find_capability(table, view.actor_id, view.tenant_id, view.capability) == row);
        digest = add_bytes(add_id(add_id(digest, view.actor_id), view.tenant_id), view.capability);
        digest = add_time(digest_number(digest, view.granted_at), view.is_revoked, view.revoked_at);
    }
    CHECK(found == counts->capabilities);
    found = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_LEDGER, row)) != 0; found++) {
        aqw_ledger_view entry;
        aqw_table_ledger(table, row, &entry);
        digest = add_id(add_id(digest, entry.entry_id), entry.tenant_id);
        digest = digest_number(digest, entry.has_actor);
        if (entry.has_actor) digest = add_id(digest, entry.actor_id);
        digest = digest_number(add_bytes(add_bytes(digest, entry.ledger_key), entry.payload), entry.timestamp);
    }
    CHECK(found == counts->ledger);
    found = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_TOMBSTONE, row)) != 0; found++) {
        aqw_tombstone_view tombstone;
        aqw_table_tombstone(table, row, &tombstone);
        CHECK(aqw_table_find_tombstone(table, tombstone.task_id) == row && aqw_table_find_task(table, tombstone.task_id) == 0);
        digest = digest_number(add_id(digest, tombstone.task_id), tombstone.until);
    }
    CHECK(found == counts->tombstones);
    return digest;
}

uint64_t table_digest(const aqw_table *table) {
    aqw_table_counts counts;
    aqw_engine_view engine;
    totals all;
    memset(&all, 0, sizeof all);
    aqw_table_counts_get(table, &counts);
    aqw_table_engine(table, &engine);
    uint64_t digest = digest_number(DIGEST_START, aqw_table_latest_sequence(table));
    digest = add_time(digest_number(digest, engine.is_paused), engine.has_paused_at, engine.paused_at);
    digest = add_time(digest, engine.has_resumed_at, engine.resumed_at);
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_TASK, row)) != 0; all.tasks++) digest = add_task(table, digest, row, &all);
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_RUN, row)) != 0; all.runs++) digest = add_run(table, digest, row, &all);
    CHECK(all.tasks == counts.tasks && all.runs == counts.runs);
    CHECK(all.runs_in_tasks == counts.runs && all.history == counts.history && all.attempts == counts.attempts);
    uint32_t dependencies = 0;
    for (uint32_t row = 0; (row = aqw_table_next(table, AQW_ROW_DEPENDENCY, row)) != 0;) dependencies++;
    CHECK(dependencies == counts.dependencies);
    CHECK(all.leases == counts.leases && all.dependencies == counts.dependencies);
    CHECK(memcmp(all.runs_by_state, counts.runs_by_state, sizeof all.runs_by_state) == 0);
    digest = add_parents(table, digest, counts.parents, &all);
    digest = add_budgets_and_subscriptions(table, digest, &counts);
    digest = add_actors_and_tenants(table, digest, &counts);
    return add_rights_and_ledger(table, digest, &counts);
}
