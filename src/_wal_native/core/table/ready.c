/* The ready runs, in the order in which they are to be started.
 *
 * A run enters `open` without a look at what blocks it. A question looks at the runs from the first
 * one on, and parks those that are blocked under the first thing that does; where that may have
 * gone, its group is woken, and its runs enter `open` again. So `open` has all runs that may be
 * started and some others, a question costs its answer and what it parks, and a run is parked once
 * for each thing that blocks it.
 *
 * Runs with a concurrency key enter `keyed` instead, and of each group there the first one stands
 * in `open` while no run holds the key: thousands that wait for one key cost a question nothing. A
 * run that holds its key itself, between two attempts, enters `open`.
 *
 * Keys and sets of capabilities are told apart by 64 bits of a keyed hash, and the sets of one key
 * by 32. Two that are the same there would wait for each other; nothing else comes of it. */
#include "table/ready.h"

#include <string.h>

#include "event/event.h"
#include "event/rules.h"
#include "table/internal.h"
#include "table/ready_internal.h"

#define WOKEN_MIN 16u
#define READ_AT_ONCE 32u

void aqw_ready_init(aqw_table *table) {
    aqw_ready *ready = &table->orders.ready;
    memset(ready, 0, sizeof *ready);
    aqw_ordered_init(&ready->open, &table->heap, 3);
    aqw_ordered_init(&ready->keyed, &table->heap, 3);
    aqw_ordered_init(&ready->parked, &table->heap, 3);
    aqw_ordered_init(&ready->held, &table->heap, 1);
}

void aqw_ready_free(aqw_table *table) {
    aqw_ready *ready = &table->orders.ready;
    aqw_ordered_free(&ready->open);
    aqw_ordered_free(&ready->keyed);
    aqw_ordered_free(&ready->parked);
    aqw_ordered_free(&ready->held);
    aqw_heap_return(&table->heap, ready->woken, ready->woken_capacity * sizeof *ready->woken);
}

/* ---- What a task says of its runs ---- */

static uint64_t hash(const aqw_table *table, const uint8_t *data, uint32_t size) {
    uint64_t of = aqw_hash_bytes(&table->hash_key, data, size);
    return of ? of : 1;
}

aqw_traits aqw_traits_of(const aqw_table *table, uint32_t task_row) {
    const aqw_task_row *task = aqw_task_at(table, task_row);
    aqw_task_spec spec;
    aqw_traits of = {0, 0, 0};
    aqw_status status = aqw_task_spec_decode(task->spec, task->spec_size, &spec);
    AQW_ASSERT(status == AQW_OK);
    if (status != AQW_OK) return of;
    const aqw_bytes *key = &spec.concurrency_key;
    const aqw_list *required = &spec.required_capabilities;
    if (key->data) of.key = hash(table, key->data, key->size);
    if (required->data && required->count)
        of.capabilities = hash(table, required->data, required->size);
    of.holds_during_retry = spec.hold_policy == AQW_HOLD_DURING_RETRY;
    return of;
}

static int holds_key(const aqw_noted_run *run, const aqw_traits *of) {
    if (!of->key) return 0;
    if (run->state == AQW_LEASED || run->state == AQW_RUNNING) return 1;
    if (run->state == AQW_READY && run->has_lease) return 1;
    if (!of->holds_during_retry) return 0;
    return run->state == AQW_RETRY_WAIT || (run->state == AQW_READY && run->is_between_attempts);
}

/* A ready run with a lease is its owner's. */
static int is_to_start(const aqw_noted_run *run) {
    return run->state == AQW_READY && !run->has_lease;
}

aqw_ready_place aqw_ready_place_of(const aqw_noted_run *run, const aqw_traits *of) {
    return (aqw_ready_place){
        .rank = aqw_ready_rank(run->effective_priority),
        .time = run->last_state_change_at,
        .row = run->row,
        .task = run->task,
        .is_keyed = of->key && !holds_key(run, of),
        .of = *of,
    };
}

static aqw_ordered_entry open_entry(const aqw_ready_place *at) {
    return (aqw_ordered_entry){{at->of.capabilities, at->rank, at->time}, at->row};
}

static uint64_t lane_word(const aqw_traits *of) { return of->capabilities << 32; }

static aqw_ordered_entry keyed_entry(const aqw_ready_place *at) {
    return (aqw_ordered_entry){{at->of.key, lane_word(&at->of) | at->rank, at->time}, at->row};
}

aqw_ordered_entry aqw_parked_entry(const aqw_ready_place *at, uint64_t group) {
    return (aqw_ordered_entry){{group, at->rank, at->time}, at->row};
}

/* ---- Keys ---- */

static int key_is_held(const aqw_ready *ready, uint64_t key) {
    aqw_ordered_entry found, before = {{key, 0, 0}, 0};
    return aqw_ordered_read(&ready->held, &before, key, &found, 1) > 0;
}

/* Finds the first entry of a key at or after a second word; 0 without one. */
static int first_keyed(const aqw_ready *ready, uint64_t key, uint64_t word,
                       aqw_ordered_entry *first) {
    aqw_ordered_entry before = {{key, word, 0}, 0};
    return aqw_ordered_read(&ready->keyed, &before, key, first, 1) > 0;
}

/* The same, only where it has these required capabilities. */
static int first_in_lane(const aqw_ready *ready, const aqw_traits *of, aqw_ordered_entry *first) {
    return first_keyed(ready, of->key, lane_word(of), first) &&
           first->words[1] >> 32 == lane_word(of) >> 32;
}

static aqw_ordered_entry open_of_keyed(const aqw_ordered_entry *keyed, uint64_t capabilities) {
    return (aqw_ordered_entry){{capabilities, keyed->words[1] & UINT32_MAX, keyed->words[2]},
                               keyed->row};
}

/* Takes what stands in `open` for a lane out of it, or enters it. */
static void take_out(aqw_ready *ready, const aqw_ordered_entry *keyed, uint64_t capabilities) {
    (void)aqw_ordered_remove(&ready->open, open_of_keyed(keyed, capabilities));
}
static aqw_status let_stand(aqw_ready *ready, const aqw_ordered_entry *keyed,
                            uint64_t capabilities) {
    return aqw_ordered_add(&ready->open, open_of_keyed(keyed, capabilities));
}

static aqw_status add_keyed(aqw_ready *ready, const aqw_ready_place *at) {
    aqw_ordered_entry before, after, entry = keyed_entry(at);
    int had = first_in_lane(ready, &at->of, &before);
    if (aqw_ordered_add(&ready->keyed, entry) != AQW_OK) return AQW_NO_MEMORY;
    (void)first_in_lane(ready, &at->of, &after);
    if (after.row != entry.row || key_is_held(ready, at->of.key)) return AQW_OK;
    if (had) take_out(ready, &before, at->of.capabilities);
    return let_stand(ready, &after, at->of.capabilities);
}

static aqw_status remove_keyed(aqw_ready *ready, const aqw_ready_place *at, int *was_there) {
    aqw_ordered_entry before, after, entry = keyed_entry(at);
    int had = first_in_lane(ready, &at->of, &before);
    *was_there = aqw_ordered_remove(&ready->keyed, entry);
    if (!*was_there || !had || before.row != entry.row || key_is_held(ready, at->of.key))
        return AQW_OK;
    take_out(ready, &before, at->of.capabilities);
    return first_in_lane(ready, &at->of, &after)
               ? let_stand(ready, &after, at->of.capabilities)
               : AQW_OK;
}

/* A key was taken, or has become free: for each set of required capabilities the first run. */
static aqw_status turn_key(aqw_table *table, uint64_t key, int is_free) {
    aqw_ready *ready = &table->orders.ready;
    aqw_ordered_entry first;
    for (uint64_t word = 0; first_keyed(ready, key, word, &first);) {
        aqw_traits of = aqw_traits_of(table, aqw_run_at(table, first.row)->task);
        if (!is_free) {
            take_out(ready, &first, of.capabilities);
        } else if (let_stand(ready, &first, of.capabilities) != AQW_OK) {
            return AQW_NO_MEMORY;
        }
        word = (first.words[1] | UINT32_MAX) + 1;
        if (!word) break;
    }
    return AQW_OK;
}

static aqw_status hold(aqw_table *table, uint64_t key, uint32_t row) {
    aqw_ready *ready = &table->orders.ready;
    aqw_ordered_entry entry = {{key, 0, 0}, row};
    int was_held = key_is_held(ready, key);
    if (aqw_ordered_add(&ready->held, entry) != AQW_OK) return AQW_NO_MEMORY;
    return was_held ? AQW_OK : turn_key(table, key, 0);
}

static aqw_status let_go(aqw_table *table, uint64_t key, uint32_t row) {
    aqw_ready *ready = &table->orders.ready;
    aqw_ordered_entry entry = {{key, 0, 0}, row};
    (void)aqw_ordered_remove(&ready->held, entry);
    return key_is_held(ready, key) ? AQW_OK : turn_key(table, key, 1);
}

/* Tells whether a run that holds its key while it is ready comes after another such run. Of those
 * the first one may be started; otherwise each would wait for the other. */
static int comes_after(const aqw_table *table, uint32_t run, uint32_t other) {
    aqw_noted_run one = aqw_orders_describe(table, run), two = aqw_orders_describe(table, other);
    uint64_t first = aqw_ready_rank(one.effective_priority);
    uint64_t second = aqw_ready_rank(two.effective_priority);
    if (!is_to_start(&one) || !is_to_start(&two) || !one.is_between_attempts) return 1;
    if (first != second) return first > second;
    if (one.last_state_change_at != two.last_state_change_at)
        return one.last_state_change_at > two.last_state_change_at;
    return run > other;
}

int aqw_ready_next_holder(const aqw_table *table, uint32_t run, aqw_blocker *blocker) {
    const aqw_ready *ready = &table->orders.ready;
    aqw_traits of = aqw_traits_of(table, aqw_run_at(table, run)->task);
    for (;;) {
        aqw_ordered_entry found, after = {{of.key, 0, 0}, blocker->place};
        if (!of.key || !aqw_ordered_read(&ready->held, &after, of.key, &found, 1)) return 0;
        blocker->place = blocker->row = found.row;
        if (found.row != run && (!of.holds_during_retry || comes_after(table, run, found.row)))
            return 1;
    }
}

/* ---- Places ---- */

static aqw_status enter(aqw_table *table, const aqw_ready_place *at) {
    aqw_ready *ready = &table->orders.ready;
    return at->is_keyed ? add_keyed(ready, at) : aqw_ordered_add(&ready->open, open_entry(at));
}

aqw_status aqw_ready_leave_open(aqw_table *table, const aqw_ready_place *at, int *was_there) {
    aqw_ready *ready = &table->orders.ready;
    if (at->is_keyed) return remove_keyed(ready, at, was_there);
    *was_there = aqw_ordered_remove(&ready->open, open_entry(at));
    return AQW_OK;
}

typedef int (*visit)(const aqw_ready *ready, const aqw_ready_place *at, uint64_t group);

/* Calls `found` for each group in which a run may be parked, until it returns 1. */
static int visit_groups(const aqw_table *table, const aqw_ready_place *at, visit found) {
    const aqw_ready *ready = &table->orders.ready;
    uint32_t row = aqw_task_at(table, at->task)->first_dependency;
    for (; row; row = aqw_dependency_at(table, row)->next_in_task) {
        uint32_t task = aqw_dependency_at(table, row)->depends_on;
        if (found(ready, at, aqw_blocker_group(AQW_GROUP_PREREQUISITE, task))) return 1;
    }
    uint32_t mark = at->task, steps = 1;
    for (uint32_t task = at->task; task; task = aqw_go_up(table, task, &mark, &steps)) {
        if (found(ready, at, aqw_blocker_group(AQW_GROUP_BUDGET, task))) return 1;
    }
    return 0;
}

static int take_from(const aqw_ready *ready, const aqw_ready_place *at, uint64_t group) {
    aqw_ready *changed = (aqw_ready *)(uintptr_t)ready;
    return aqw_ordered_remove(&changed->parked, aqw_parked_entry(at, group));
}

static aqw_status leave(aqw_table *table, const aqw_ready_place *at) {
    int was_there;
    aqw_status status = aqw_ready_leave_open(table, at, &was_there);
    if (status == AQW_OK && !was_there && table->orders.ready.parked.count)
        (void)visit_groups(table, at, take_from);
    return status;
}

/* ---- Waking ---- */

/* Without memory it returns 0. */
static int add_woken(aqw_table *table, uint64_t group) {
    aqw_ready *ready = &table->orders.ready;
    if (ready->woken_count == ready->woken_capacity) {
        if (ready->woken_capacity > UINT32_MAX / 2) return 0;
        uint32_t capacity = ready->woken_capacity ? ready->woken_capacity * 2 : WOKEN_MIN;
        uint64_t *woken = aqw_heap_take(&table->heap, (size_t)capacity * sizeof *woken);
        if (!woken) return 0;
        if (ready->woken_count)
            memcpy(woken, ready->woken, ready->woken_count * sizeof *woken);
        aqw_heap_return(&table->heap, ready->woken, ready->woken_capacity * sizeof *woken);
        ready->woken = woken;
        ready->woken_capacity = capacity;
    }
    ready->woken[ready->woken_count++] = group;
    return 1;
}

static uint32_t read_parked(const aqw_ready *ready, uint64_t group, aqw_ordered_entry *to,
                            uint32_t capacity) {
    aqw_ordered_entry before = {{group, 0, 0}, 0};
    return aqw_ordered_read(&ready->parked, &before, group, to, capacity);
}

static aqw_status wake_group(aqw_table *table, enum aqw_blocker_group kind, uint32_t task) {
    aqw_ordered_entry first;
    uint64_t group = aqw_blocker_group(kind, task);
    if (!read_parked(&table->orders.ready, group, &first, 1)) return AQW_OK;
    return add_woken(table, group) ? AQW_OK : AQW_NO_MEMORY;
}

void aqw_orders_note_budget(aqw_table *table, uint32_t task) {
    if (table->orders.are_made && wake_group(table, AQW_GROUP_BUDGET, task) != AQW_OK)
        aqw_orders_drop(table);
}

/* The tasks above it are no longer above those that are below it. */
void aqw_orders_note_forgotten(aqw_table *table, uint32_t task) {
    if (!table->orders.are_made || !table->orders.ready.parked.count) return;
    if (wake_group(table, AQW_GROUP_PREREQUISITE, task) != AQW_OK) {
        aqw_orders_drop(table);
        return;
    }
    int has_children = aqw_index_find_parent(table, aqw_task_at(table, task)->task_id) != 0;
    uint32_t mark = task, steps = 1;
    for (uint32_t at = task; at && table->orders.are_made;) {
        aqw_orders_note_budget(table, at);
        at = has_children ? aqw_go_up(table, at, &mark, &steps) : 0;
    }
}

/* Enters a run of a woken group. One that has changed since is entered as it is now, later. One
 * that is purged may have stayed behind: its place could not be found, for the dependencies of its
 * task are gone. */
static aqw_status reenter(aqw_table *table, const aqw_ordered_entry *parked) {
    aqw_orders *orders = &table->orders;
    (void)aqw_ordered_remove(&orders->ready.parked, *parked);
    if (aqw_bitset_has(&orders->noted_rows, parked->row)) return AQW_OK;
    aqw_noted_run run = aqw_orders_describe(table, parked->row);
    if (run.state == AQW_STATE_NONE) return AQW_OK;
    aqw_traits of = aqw_traits_of(table, run.task);
    aqw_ready_place at = aqw_ready_place_of(&run, &of);
    AQW_ASSERT(is_to_start(&run) && at.rank == parked->words[1] &&
               at.time == parked->words[2]);
    return enter(table, &at);
}

aqw_status aqw_ready_wake(aqw_table *table, uint32_t *left) {
    aqw_ready *ready = &table->orders.ready;
    aqw_ordered_entry parked[READ_AT_ONCE];
    while (ready->woken_count && *left) {
        uint32_t count = read_parked(ready, ready->woken[ready->woken_count - 1], parked,
                                     *left < READ_AT_ONCE ? *left : READ_AT_ONCE);
        if (!count) ready->woken_count--;
        for (uint32_t i = 0; i < count; i++) {
            if (reenter(table, &parked[i]) != AQW_OK) return AQW_NO_MEMORY;
        }
        *left -= count;
    }
    return AQW_OK;
}

/* ---- A run has changed ---- */

static int is_of_interest(uint8_t state) {
    return state == AQW_READY || state == AQW_LEASED || state == AQW_RUNNING ||
           state == AQW_RETRY_WAIT;
}

/* A task's run has ended: tasks that depend on it may go on. */
static aqw_status wake_dependents(aqw_table *table, const aqw_noted_run *is) {
    if (is->state == AQW_STATE_NONE || !aqw_rule_state_is_terminal(is->state)) return AQW_OK;
    if (!aqw_task_at(table, is->task)->first_dependent) return AQW_OK;
    if (!aqw_prerequisite_is_met(table, is->task)) return AQW_OK;
    return wake_group(table, AQW_GROUP_PREREQUISITE, is->task);
}

aqw_status aqw_ready_enter(aqw_table *table, const aqw_noted_run *was, const aqw_noted_run *is) {
    if (wake_dependents(table, is) != AQW_OK) return AQW_NO_MEMORY;
    if (!is_of_interest(was->state) && !is_of_interest(is->state)) return AQW_OK;
    aqw_traits of = aqw_traits_of(table, is->state == AQW_STATE_NONE ? was->task : is->task);
    aqw_ready_place from = aqw_ready_place_of(was, &of), to = aqw_ready_place_of(is, &of);
    int held = holds_key(was, &of), holds = holds_key(is, &of);
    aqw_status status = holds && !held ? hold(table, of.key, is->row) : AQW_OK;
    if (status == AQW_OK && is_to_start(was)) status = leave(table, &from);
    if (status == AQW_OK && is_to_start(is)) status = enter(table, &to);
    if (status == AQW_OK && held && !holds) status = let_go(table, of.key, is->row);
    return status;
}

/* ---- Checks ---- */

#if !defined(NDEBUG)
enum { COUNT_OPEN, COUNT_KEYED, COUNT_PARKED, COUNT_HELD };

static int is_parked_in(const aqw_ready *ready, const aqw_ready_place *at, uint64_t group) {
    return aqw_ordered_has(&ready->parked, aqw_parked_entry(at, group));
}

static int is_out_for_good(const aqw_table *table, uint32_t row) {
    aqw_blocker blocker = {0};
    uint64_t group;
    return aqw_table_next_blocker(table, row, &blocker) && !aqw_blocker_group_of(&blocker, &group);
}

/* A ready run is in one place: in `open`, which follows from `keyed` for those that are there;
 * parked; or, while nothing can let it start any more, nowhere. */
void aqw_ready_check(const aqw_table *table, const aqw_noted_run *run, int is_noted,
                     uint64_t counts[4]) {
    const aqw_ready *ready = &table->orders.ready;
    if (!is_of_interest(run->state)) return;
    aqw_traits of = aqw_traits_of(table, run->task);
    aqw_ready_place at = aqw_ready_place_of(run, &of);
    if (holds_key(run, &of)) {
        aqw_ordered_entry holder = {{of.key, 0, 0}, run->row};
        AQW_ASSERT(aqw_ordered_has(&ready->held, holder));
        counts[COUNT_HELD]++;
    }
    if (!is_to_start(run)) return;
    aqw_ordered_entry first;
    int is_open = aqw_ordered_has(&ready->open, open_entry(&at));
    int is_keyed = at.is_keyed && aqw_ordered_has(&ready->keyed, keyed_entry(&at));
    if (at.is_keyed) {
        int stands = is_keyed && first_in_lane(ready, &of, &first) && first.row == run->row &&
                     !key_is_held(ready, of.key);
        AQW_ASSERT(is_open == stands);
    }
    int is_parked = visit_groups(table, &at, is_parked_in);
    int is_in = at.is_keyed ? is_keyed : is_open;
    AQW_ASSERT(!is_in || !is_parked);
    /* What blocks a run may be purged, until its group was woken. */
    AQW_ASSERT(is_in || is_parked || is_noted || ready->woken_count ||
               is_out_for_good(table, run->row));
    counts[COUNT_OPEN] += (uint64_t)is_open;
    counts[COUNT_KEYED] += (uint64_t)is_keyed;
    counts[COUNT_PARKED] += (uint64_t)is_parked;
}

void aqw_ready_check_counts(const aqw_table *table, const uint64_t counts[4]) {
    const aqw_ready *ready = &table->orders.ready;
    AQW_ASSERT(counts[COUNT_OPEN] == ready->open.count);
    AQW_ASSERT(counts[COUNT_KEYED] == ready->keyed.count);
    AQW_ASSERT(counts[COUNT_HELD] == ready->held.count);
    AQW_ASSERT(counts[COUNT_PARKED] == ready->parked.count || ready->woken_count ||
               table->head.purged[AQW_ROW_RUN]);
}
#endif
