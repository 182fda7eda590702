/* Where a ready run is entered; private to table/ready.c and table/ready_read.c. */
#ifndef AQW_TABLE_READY_INTERNAL_H
#define AQW_TABLE_READY_INTERNAL_H

#include <stdint.h>

#include "table/order_internal.h"

/* What a task says of its runs. */
typedef struct aqw_traits {
    uint64_t key;               /* 0 without one */
    uint64_t capabilities;      /* 0 where none are required */
    uint8_t holds_during_retry;
} aqw_traits;

/* A ready run's place. Whether it is in `keyed` follows from what its task and the run say. */
typedef struct aqw_ready_place {
    uint64_t rank;
    uint64_t time;
    uint32_t row;
    uint32_t task;
    uint8_t is_keyed;
    aqw_traits of;
} aqw_ready_place;

aqw_traits aqw_traits_of(const aqw_table *table, uint32_t task_row);
aqw_ready_place aqw_ready_place_of(const aqw_noted_run *run, const aqw_traits *of);
aqw_ordered_entry aqw_parked_entry(const aqw_ready_place *at, uint64_t group);
/* Takes a run out of `keyed` and `open`. */
aqw_status aqw_ready_leave_open(aqw_table *table, const aqw_ready_place *at, int *was_there);

#endif
