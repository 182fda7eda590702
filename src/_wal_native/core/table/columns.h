/* The table's tasks, runs and attempts as arrays of records: what of them has a fixed size, copied
 * in one pass, without purged ones. The order is that of creation. */
#ifndef AQW_TABLE_COLUMNS_H
#define AQW_TABLE_COLUMNS_H

#include <stdint.h>

#include "table/table.h"

typedef struct aqw_run_record {
    uint8_t run_id[16];
    uint8_t task_id[16];
    uint8_t active_attempt_id[16];      /* zeros without one */
    uint64_t created_at;
    uint64_t scheduled_at;
    uint64_t last_state_change_at;
    uint64_t lease_expiry;              /* 0 without a lease, as the next two */
    uint64_t lease_acquired_at;
    uint64_t lease_updated_at;
    int32_t effective_priority;
    uint32_t attempt_count;
    uint8_t state;
    uint8_t has_active_attempt;
    uint8_t has_lease;
    uint8_t padding[5];
} aqw_run_record;

typedef struct aqw_task_record {
    uint8_t task_id[16];
    uint64_t created_at;
    uint64_t canceled_at;               /* 0 where it was not canceled */
    uint32_t run_count;
    uint8_t is_canceled;
    uint8_t padding[3];
} aqw_task_record;

typedef struct aqw_attempt_record {
    uint8_t attempt_id[16];
    uint8_t run_id[16];
    uint64_t started_at;
    uint64_t finished_at;               /* 0 until finished */
    uint32_t detail_size;               /* bytes of the output or the error */
    uint8_t result;                     /* AQW_RESULT_NONE until finished */
    uint8_t is_finished;
    uint8_t padding[2];
} aqw_attempt_record;

/* Each fills `to` with at most `capacity` records, and returns their number; counts (table.h) tell
 * how many records the table has. */
uint32_t aqw_table_copy_runs(const aqw_table *table, aqw_run_record *to, uint32_t capacity);
uint32_t aqw_table_copy_tasks(const aqw_table *table, aqw_task_record *to, uint32_t capacity);
uint32_t aqw_table_copy_attempts(const aqw_table *table, aqw_attempt_record *to, uint32_t capacity);
/* Does the same for identifiers, 16 bytes each, of the runs in a state; AQW_STATE_NONE
 * for all runs. */
uint32_t aqw_table_copy_run_ids(const aqw_table *table, uint8_t state, uint8_t *to,
                                uint32_t capacity);

#endif
