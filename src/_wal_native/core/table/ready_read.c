/* How the ready runs are read (table/ready.c says what they are entered in). */
#include <string.h>

#include "table/internal.h"
#include "table/ready_internal.h"

uint64_t aqw_ready_rank(int32_t priority) { return (uint64_t)((int64_t)INT32_MAX - priority); }

int32_t aqw_ready_priority(uint64_t rank) { return (int32_t)((int64_t)INT32_MAX - (int64_t)rank); }

int aqw_table_next_ready_group(const aqw_table *table, int is_first, aqw_ready_group *group) {
    aqw_ordered_entry found, last = {{group->id, UINT64_MAX, UINT64_MAX}, UINT32_MAX};
    AQW_ASSERT(table->orders.are_whole && table->orders.noted_count == 0);
    const aqw_ordered *open = &table->orders.ready.open;
    if (!aqw_ordered_read(open, is_first ? NULL : &last, UINT64_MAX, &found, 1)) return 0;
    group->id = found.words[0];
    group->run = found.row;
    return 1;
}

int aqw_table_next_required(const aqw_table *table, uint32_t run, uint32_t *offset,
                            aqw_bytes *capability) {
    const aqw_task_row *task = aqw_task_at(table, aqw_run_at(table, run)->task);
    aqw_task_spec spec;
    if (aqw_task_spec_decode(task->spec, task->spec_size, &spec) != AQW_OK) return 0;
    const aqw_list *required = &spec.required_capabilities;
    return required->data && aqw_list_next(required, offset, capability) == AQW_OK;
}

/* Parks a run under what blocks it. Where that never ends, it is in no order until it changes. */
static aqw_status park(aqw_table *table, uint32_t row, const aqw_blocker *blocker) {
    aqw_noted_run run = aqw_orders_describe(table, row);
    aqw_traits of = aqw_traits_of(table, run.task);
    aqw_ready_place at = aqw_ready_place_of(&run, &of);
    uint64_t group;
    int was_there;
    aqw_status status = aqw_ready_leave_open(table, &at, &was_there);
    AQW_ASSERT(was_there);
    if (status != AQW_OK || !aqw_blocker_group_of(blocker, &group)) return status;
    return aqw_ordered_add(&table->orders.ready.parked, aqw_parked_entry(&at, group));
}

/* Finds the next entry of a group after a place; its row is 0 where there is none. */
static void read_head(const aqw_table *table, uint64_t group, const aqw_ordered_entry *after,
                      aqw_ordered_entry *head) {
    aqw_ordered_entry from = {{group, after->words[1], after->words[2]}, after->row};
    head->row = 0;
    (void)aqw_ordered_read(&table->orders.ready.open, &from, group, head, 1);
}

static int is_before(const aqw_ordered_entry *a, const aqw_ordered_entry *b) {
    for (int word = 1; word < AQW_ORDERED_WORDS_MAX; word++) {
        if (a->words[word] != b->words[word]) return a->words[word] < b->words[word];
    }
    return a->row < b->row;
}

/* Reads with the heads of all groups, of which the first one is always the next. */
static aqw_status read_merged(aqw_table *table, const uint64_t *groups, uint32_t group_count,
                              aqw_ordered_entry *heads, aqw_ordered_entry *place,
                              aqw_ordered_entry *to, uint32_t capacity, uint32_t *looks,
                              uint32_t *copied) {
    for (uint32_t i = 0; i < group_count; i++) read_head(table, groups[i], place, &heads[i]);
    while (*copied < capacity && *looks) {
        uint32_t first = group_count;
        for (uint32_t i = 0; i < group_count; i++) {
            if (heads[i].row && (first == group_count || is_before(&heads[i], &heads[first])))
                first = i;
        }
        if (first == group_count) return AQW_OK;
        aqw_blocker blocker = {0};
        *place = heads[first];
        (*looks)--;
        if (!aqw_table_next_blocker(table, place->row, &blocker)) {
            to[(*copied)++] = *place;
        } else if (blocker.kind != AQW_BLOCKED_BY_KEY) {
            if (park(table, place->row, &blocker) != AQW_OK) return AQW_NO_MEMORY;
        }
        read_head(table, groups[first], place, &heads[first]);
    }
    return AQW_OK;
}

aqw_status aqw_table_read_ready(aqw_table *table, const uint64_t *groups, uint32_t group_count,
                                aqw_ordered_entry *place, aqw_ordered_entry *to,
                                uint32_t capacity, uint32_t *looks, uint32_t *copied) {
    AQW_ASSERT(table->orders.are_whole && table->orders.noted_count == 0 && *looks > 0);
    *copied = 0;
    if (!group_count) return AQW_OK;
    size_t size = group_count * sizeof(aqw_ordered_entry);
    aqw_ordered_entry *heads = aqw_heap_take(&table->heap, size);
    aqw_status status = AQW_NO_MEMORY;
    if (heads) {
        status = read_merged(table, groups, group_count, heads, place, to, capacity, looks,
                             copied);
    }
    aqw_heap_return(&table->heap, heads, size);
    if (status != AQW_OK) aqw_orders_drop(table);
    return status;
}
