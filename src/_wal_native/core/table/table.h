/* The state table: the projection of the log, in memory, indexed by run id and by the
 * other identifiers.
 *
 * Invariants:
 *  - An event is applied wholly or not at all: apply checks every rule and takes all the memory it
 *    needs before it changes anything.
 *  - Rows and bytes never move while the table lives, so a pointer from a query stays
 *    valid until the table changes (it may update rows in place) or is freed. Row
 *    numbers start at 1; 0 means no row.
 *  - Between aqw_table_begin and aqw_table_commit or aqw_table_rollback, the table records changes
 *    so that a rollback restores it exactly.
 *
 * The table knows nothing of threads: callers hold a lock of their own around every call. */
#ifndef AQW_TABLE_H
#define AQW_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/memory.h"
#include "base/status.h"
#include "event/event.h"

typedef struct aqw_table aqw_table;

/* Every kind of row, with its name in constants and in functions. The first ones come all day; each
 * of the others, from dependencies on, has all of its own in the file of its family
 * (table/family.h). A purge looks for what it names in this order. */
#define AQW_ROW_KINDS(ROW) \
    ROW(RUN, run) \
    ROW(TASK, task) \
    ROW(HISTORY, history) \
    ROW(ATTEMPT, attempt) \
    ROW(PARENT, parent) \
    ROW(CHILD, child) \
    ROW(DEPENDENCY, dependency) \
    ROW(BUDGET, budget) \
    ROW(SUBSCRIPTION, subscription) \
    ROW(SUBSCRIBER, subscriber) \
    ROW(ACTOR, actor) \
    ROW(TENANT, tenant) \
    ROW(HOLDER, holder) \
    ROW(ROLE, role) \
    ROW(CAPABILITY, capability) \
    ROW(LEDGER, ledger) \
    ROW(TOMBSTONE, tombstone)

#define AQW_ROW_CODE(NAME, name) AQW_ROW_##NAME,
enum aqw_row_kind { AQW_ROW_KINDS(AQW_ROW_CODE) AQW_ROW_KIND_COUNT };
#undef AQW_ROW_CODE

/* Makes a new, empty table; NULL without memory. The table takes all its memory from `memory`, NULL
 * for the C library's. `seed` keys the indexes: random bytes, secret from those that choose
 * identifiers. It affects speed only. */
aqw_table *aqw_table_new(const aqw_memory *memory, const uint8_t seed[16]);
/* Also frees a table with an open batch; NULL is fine. */
void aqw_table_free(aqw_table *table);
/* Empties the table, also where a load or an apply failed half way: it is as good as new. */
void aqw_table_clear(aqw_table *table);

/* Applies one event, and copies its bytes. Returns AQW_OK, AQW_NO_MEMORY or an AQW_REFUSED_ code;
 * for an event that no decoder yields also AQW_INVALID_ARGUMENT (a code out of range),
 * AQW_TOO_LARGE (bytes over AQW_PAYLOAD_SIZE_MAX) or AQW_MALFORMED_EVENT (a spec that does not
 * decode). Unless it returns AQW_OK the table is unchanged. */
aqw_status aqw_table_apply(aqw_table *table, const aqw_event *event);
/* Has the memory that applying an event of this kind will look at fetched meanwhile. `payload` is
 * the event's, and need not be valid. Changes nothing. */
void aqw_table_fetch(const aqw_table *table, uint8_t kind, const uint8_t *payload, uint32_t size);

/* The undo record of a batch. begin returns AQW_INVALID_ARGUMENT while one is open. commit and
 * rollback can't fail, and do nothing while none is open. The memory of what a batch replaced stays
 * taken until its commit. */
aqw_status aqw_table_begin(aqw_table *table);
void aqw_table_commit(aqw_table *table);
void aqw_table_rollback(aqw_table *table);

typedef struct aqw_task_view {
    uint8_t task_id[16];
    uint64_t created_at;
    uint64_t canceled_at;
    uint8_t is_canceled;
    aqw_bytes spec;             /* for aqw_task_spec_decode */
    uint64_t runs_created;      /* ever, also those that were purged */
    uint8_t has_last_run;       /* 1 where a run was ever created */
    uint64_t last_run_at;       /* the latest that a run was created for, purged or not */
    uint8_t completed_purged;   /* 1 where a completed run of it was purged */
    uint32_t run_count;
    uint32_t first_run;         /* row of the task's first run; then aqw_run_view.next_in_task */
    uint32_t first_dependency;  /* row; then aqw_dependency_view.next_in_task */
    uint32_t first_dependent;   /* row; then aqw_dependency_view.next_on_same */
} aqw_task_view;

typedef struct aqw_lease_view {
    aqw_bytes owner;
    uint64_t expiry;
    uint64_t acquired_at;
    uint64_t updated_at;
} aqw_lease_view;

typedef struct aqw_run_view {
    uint8_t run_id[16];
    uint8_t task_id[16];
    uint8_t state;
    uint8_t has_active_attempt;
    uint8_t active_attempt_id[16];
    uint8_t has_lease;
    aqw_lease_view lease;
    int32_t effective_priority;
    uint32_t attempt_count;
    uint64_t created_at;
    uint64_t scheduled_at;
    uint64_t last_state_change_at;
    uint32_t first_history;     /* the second; the first is (none, scheduled, created_at) */
    uint32_t first_attempt;
    uint32_t next_in_task;
} aqw_run_view;

typedef struct aqw_history_view {
    uint8_t from_state;
    uint8_t to_state;
    uint64_t timestamp;
    uint32_t next;
} aqw_history_view;

typedef struct aqw_attempt_view {
    uint8_t attempt_id[16];
    uint64_t started_at;
    uint8_t is_finished;
    uint64_t finished_at;
    uint8_t result;             /* AQW_RESULT_NONE until finished */
    aqw_bytes error;
    aqw_bytes output;
    uint32_t next;
} aqw_attempt_view;

typedef struct aqw_engine_view {
    uint8_t is_paused;
    uint8_t has_paused_at;
    uint64_t paused_at;
    uint8_t has_resumed_at;
    uint64_t resumed_at;
} aqw_engine_view;

typedef struct aqw_dependency_view {
    uint8_t task_id[16];
    uint8_t depends_on[16];
    uint32_t next_in_task;
    uint32_t next_on_same;      /* the one declared before it on the same task */
} aqw_dependency_view;

/* A task that others name as their parent, whether it is known or not. */
typedef struct aqw_parent_view {
    uint8_t parent_task_id[16];
    uint32_t first_child;       /* row; then aqw_child_view.next */
} aqw_parent_view;

typedef struct aqw_child_view {
    uint8_t task_id[16];
    uint32_t next;              /* in the order in which the children were created */
} aqw_child_view;

typedef struct aqw_budget_view {
    uint8_t task_id[16];
    uint8_t dimension;
    uint64_t limit;
    uint64_t consumed;
    uint64_t allocated_at;
    uint8_t is_exhausted;
} aqw_budget_view;

typedef struct aqw_subscription_view {
    uint8_t subscription_id[16];
    uint8_t task_id[16];
    aqw_bytes filter;           /* for aqw_filter_decode */
    uint64_t created_at;
    uint8_t is_triggered;
    uint64_t triggered_at;
    uint8_t is_canceled;
    uint64_t canceled_at;
} aqw_subscription_view;

typedef struct aqw_actor_view {
    uint8_t actor_id[16];
    aqw_bytes registration;     /* for aqw_registration_decode */
    uint64_t registered_at;
    uint8_t has_heartbeat;
    uint64_t last_heartbeat_at;
    uint8_t is_deregistered;
    uint64_t deregistered_at;
} aqw_actor_view;

typedef struct aqw_tenant_view {
    uint8_t tenant_id[16];
    aqw_bytes name;
    uint64_t created_at;
} aqw_tenant_view;

typedef struct aqw_role_view {
    uint8_t actor_id[16];
    uint8_t tenant_id[16];
    aqw_bytes role;             /* for aqw_named_decode */
    uint64_t assigned_at;
} aqw_role_view;

typedef struct aqw_capability_view {
    uint8_t actor_id[16];
    uint8_t tenant_id[16];
    aqw_bytes capability;       /* for aqw_named_decode */
    uint64_t granted_at;
    uint8_t is_revoked;
    uint64_t revoked_at;
} aqw_capability_view;

typedef struct aqw_ledger_view {
    uint8_t entry_id[16];
    uint8_t tenant_id[16];
    uint8_t has_actor;
    uint8_t actor_id[16];
    aqw_bytes ledger_key;
    aqw_bytes payload;
    uint64_t timestamp;
} aqw_ledger_view;

/* The identifier of a purged task. No new task may have it. */
typedef struct aqw_tombstone_view {
    uint8_t task_id[16];
    uint64_t until;             /* the earliest time at which it may be dropped */
} aqw_tombstone_view;

/* How many of each kind the table has. What was purged does not count. */
typedef struct aqw_table_counts {
    uint32_t tasks;
    uint32_t runs;
    uint32_t runs_by_state[9];
    uint32_t history;           /* without the implied first entries */
    uint32_t attempts;
    uint32_t leases;            /* held now; not rows */
    uint32_t dependencies;
    uint32_t parents;
    uint32_t budgets;
    uint32_t subscriptions;
    uint32_t actors;
    uint32_t tenants;
    uint32_t roles;
    uint32_t capabilities;
    uint32_t ledger;
    uint32_t tombstones;
    uint64_t memory_bytes;      /* taken from the system */
} aqw_table_counts;

uint64_t aqw_table_latest_sequence(const aqw_table *table);
/* Returns the latest time at which a run was created or changed its state, by the events: of
 * the runs in the table, and of those that were purged since the table was made or loaded. 0
 * where there was no run. */
uint64_t aqw_table_newest_change(const aqw_table *table);
void aqw_table_engine(const aqw_table *table, aqw_engine_view *view);
void aqw_table_counts_get(const aqw_table *table, aqw_table_counts *counts);

/* Has `to` know which forgotten runs were completed where `from` does: what a version before the one
 * that keeps this (image.h) has saved does not say so. */
void aqw_table_take_completions(aqw_table *to, const aqw_table *from);

/* Find a row by key: return its number, or 0. */
uint32_t aqw_table_find_task(const aqw_table *table, const uint8_t task_id[16]);
uint32_t aqw_table_find_run(const aqw_table *table, const uint8_t run_id[16]);
uint32_t aqw_table_find_parent(const aqw_table *table, const uint8_t parent_task_id[16]);
uint32_t aqw_table_find_budget(const aqw_table *table, const uint8_t task_id[16],
                               uint8_t dimension);
uint32_t aqw_table_find_subscription(const aqw_table *table, const uint8_t subscription_id[16]);
uint32_t aqw_table_find_actor(const aqw_table *table, const uint8_t actor_id[16]);
uint32_t aqw_table_find_tombstone(const aqw_table *table, const uint8_t task_id[16]);
uint32_t aqw_table_find_tenant(const aqw_table *table, const uint8_t tenant_id[16]);
uint32_t aqw_table_find_role(const aqw_table *table, const uint8_t actor_id[16],
                             const uint8_t tenant_id[16]);
uint32_t aqw_table_find_capability(const aqw_table *table, const uint8_t actor_id[16],
                                   const uint8_t tenant_id[16], aqw_bytes capability);

/* Walks the rows of a kind (AQW_ROW_...) in their order, without those that are purged: returns the
 * one after a row, the first after 0, and 0 after the last. Parents are walked by the second. */
uint32_t aqw_table_next(const aqw_table *table, int kind, uint32_t row);
uint32_t aqw_table_next_parent(const aqw_table *table, uint32_t row);

/* Read a row. The number must be one that the table gave out. */
void aqw_table_task(const aqw_table *table, uint32_t row, aqw_task_view *view);
void aqw_table_run(const aqw_table *table, uint32_t row, aqw_run_view *view);
void aqw_table_history(const aqw_table *table, uint32_t row, aqw_history_view *view);
void aqw_table_attempt(const aqw_table *table, uint32_t row, aqw_attempt_view *view);
void aqw_table_dependency(const aqw_table *table, uint32_t row, aqw_dependency_view *view);
void aqw_table_parent(const aqw_table *table, uint32_t row, aqw_parent_view *view);
void aqw_table_child(const aqw_table *table, uint32_t row, aqw_child_view *view);
void aqw_table_budget(const aqw_table *table, uint32_t row, aqw_budget_view *view);
void aqw_table_subscription(const aqw_table *table, uint32_t row, aqw_subscription_view *view);
void aqw_table_actor(const aqw_table *table, uint32_t row, aqw_actor_view *view);
void aqw_table_tenant(const aqw_table *table, uint32_t row, aqw_tenant_view *view);
void aqw_table_role(const aqw_table *table, uint32_t row, aqw_role_view *view);
void aqw_table_capability(const aqw_table *table, uint32_t row, aqw_capability_view *view);
void aqw_table_ledger(const aqw_table *table, uint32_t row, aqw_ledger_view *view);
void aqw_table_tombstone(const aqw_table *table, uint32_t row, aqw_tombstone_view *view);

/* What may be purged: runs that ended up to a time, tasks of which then nothing is left, and
 * subscriptions and actors that are over. */
typedef struct aqw_finished {
    uint32_t next_part;         /* where the search goes on: zeros at first, and again at its end */
    uint32_t next_row;
    uint32_t next_run;
    uint32_t run_count;
    uint32_t task_count;
    uint32_t subscription_count;
    uint32_t actor_count;       /* all four counts together are at most AQW_PURGE_COUNT_MAX */
    uint32_t ledger_count;      /* entries of the ledger, the oldest */
    uint32_t tombstone_count;   /* tombstones, the oldest */
    /* 1 where a task has too many dependents to tell whether one needs it */
    uint8_t has_put_off;
    uint8_t run_ids[AQW_PURGE_COUNT_MAX][16];
    uint8_t task_ids[AQW_PURGE_COUNT_MAX][16];
    uint8_t subscription_ids[AQW_PURGE_COUNT_MAX][16];
    uint8_t actor_ids[AQW_PURGE_COUNT_MAX][16];
} aqw_finished;

/* Returns 1 where a cron expression has no time left after this one, and nothing is late either. */
typedef int (*aqw_schedule_ended)(void *context, aqw_bytes expression, uint64_t time);

/* What a purge may take. */
typedef struct aqw_retention {
    uint8_t has_cutoff;
    uint64_t cutoff;                    /* what ended at or before this time */
    uint8_t has_ledger_cutoff;
    uint64_t ledger_cutoff;             /* the ledger's first entries, appended up to this time */
    uint64_t today;                     /* the oldest tombstones, kept until this time or earlier */
    aqw_schedule_ended schedule_ended;  /* NULL: no cron expression ever ends */
    void *context;
} aqw_retention;

/* Looks at about `rows_max` (at least 2) more rows, first of tasks and runs, then of subscriptions,
 * actors, the ledger and tombstones, from where the struct says, and fills in what it finds. The
 * table accepts an event runs_purged of just that as long as nothing else was applied. It finds
 *   - runs in a terminal state, whose last change was at or before the cutoff, of tasks on which no
 *     other tasks depend except tasks that are over, as follows;
 *   - of these tasks those that are over: without other runs, and canceled at or before the cutoff,
 *     or not canceled and without runs to come: as many were created as the policy wants (one;
 *     repeat's count; cron's max_occurrences), or a cron expression has ended;
 *   - subscriptions that were canceled, and actors that were deregistered, at or before the cutoff.
 * A task with more than 4,096 dependents that are not purged waits until there are fewer: those
 * that are over and not needed themselves go first. */
void aqw_table_find_finished(const aqw_table *table, const aqw_retention *what, uint32_t rows_max,
                             aqw_finished *finished);

/* The hot questions of validation, without filling a view. `row` is a run's row. */
uint32_t aqw_table_run_attempt_count(const aqw_table *table, uint32_t row);
/* Returns 1 where the run has a lease; fills the view only then. */
int aqw_table_run_lease(const aqw_table *table, uint32_t row, aqw_lease_view *view);
uint8_t aqw_table_run_state(const aqw_table *table, uint32_t row);
/* Returns the active attempt's 16 bytes, or NULL. */
const uint8_t *aqw_table_run_active_attempt(const aqw_table *table, uint32_t row);
/* Returns 1 where the run already had this attempt. Constant time. */
int aqw_table_run_had_attempt(const aqw_table *table, uint32_t row, const uint8_t attempt_id[16]);
/* `row` is a task's row, or a subscription's. */
int aqw_table_task_is_canceled(const aqw_table *table, uint32_t row);
int aqw_table_subscription_is_canceled(const aqw_table *table, uint32_t row);

#endif
