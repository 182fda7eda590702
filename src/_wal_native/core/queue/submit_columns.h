/* Submits many events of one kind from arrays: checks them, then stages and applies them row by
 * row, without an allocation a row.
 *
 * The caller opens the table's undo record and resets the batch before the first row, and after the
 * last one appends the batch and commits, or rolls back: rows differ from single events only in
 * where they come from.
 *
 * The arrays may change while the core reads them (they are the caller's caller's). It reads each
 * number once, and applies what has bytes as it was staged, so log and table agree even then. */
#ifndef AQW_COLUMNS_H
#define AQW_COLUMNS_H

#include <stdint.h>

#include "base/status.h"
#include "event/event.h"
#include "table/table.h"
#include "write/batch.h"

/* One value a row, at any alignment, in the machine's byte order. */
typedef struct aqw_column {
    const uint8_t *data;
    uint32_t step;   /* bytes from one row's value to the next one's; 0 where all rows share one */
} aqw_column;

/* Bytes a row: row i has those from offset i up to offset i + 1. */
typedef struct aqw_byte_column {
    const uint8_t *data;        /* NULL: rows have no bytes */
    uint64_t size;              /* of data */
    /* one more than there are rows; NULL: each row that can have bytes has all of them */
    const uint8_t *offsets;
    uint32_t offset_size;       /* 4 or 8 */
} aqw_byte_column;

/* A kind's columns are those that its events have as fields; the core does not look
 * at the others. */
typedef struct aqw_columns {
    /* AQW_RUN_STATE_CHANGED, AQW_RUN_RESCHEDULED, AQW_LEASE_HEARTBEAT, AQW_ATTEMPT_STARTED or
     * AQW_ATTEMPT_FINISHED */
    uint8_t kind;
    uint32_t count;             /* rows, at most AQW_BATCH_COUNT_MAX */
    aqw_column run_ids;         /* 16 bytes */
    aqw_column timestamps;      /* 8 */
    aqw_column previous_states; /* 1 */
    aqw_column new_states;      /* 1 */
    aqw_column scheduled_times; /* 8 */
    aqw_column priorities;      /* 4, signed */
    aqw_column expiries;        /* 8 */
    aqw_column attempt_ids;     /* 16 */
    aqw_column results;         /* 1 */
    aqw_byte_column owners;
    aqw_byte_column outputs;    /* of the rows that succeed or suspend; no bytes mean no output */
    aqw_byte_column errors;     /* of the rows that fail or time out, which must have one */
} aqw_columns;

/* A value that no command could have. Names and reasons are literals. */
typedef struct aqw_column_fault {
    const char *column;
    const char *reason;
    uint32_t row;
    uint64_t value;
} aqw_column_fault;

/* Returns AQW_INVALID_ARGUMENT where a row has such a value: a code out of range, offsets
 * that fall or lead out of the data, text that is too long or not UTF-8, bytes that a row
 * with its result does not have. */
aqw_status aqw_columns_check(const aqw_columns *columns, aqw_column_fault *fault);

/* Says why a row was refused, with what the error for it says: the row's own
 * values, and the run's. */
typedef struct aqw_refused_row {
    uint32_t row;
    uint16_t status;            /* AQW_REFUSED_..., or AQW_TOO_LARGE */
    uint8_t state;              /* AQW_STATE_NONE where the run does not exist */
    uint8_t has_active_attempt;
    /* from here on: the row's, 0 where its kind has no such field; and the run's */
    uint8_t previous_state;
    uint8_t new_state;
    uint8_t has_lease;
    uint8_t run_id[16];
    uint8_t attempt_id[16];
    uint8_t active_attempt_id[16];
    uint64_t expiry;
    uint64_t lease_expiry;
    uint64_t payload_size;      /* AQW_TOO_LARGE: the size that the record would have held */
} aqw_refused_row;

/* How far a walk over the rows is. */
typedef struct aqw_columns_walk {
    uint32_t next;              /* the row to go on with */
    int stops;                  /* whether it ends after the first refused row */
    /* with room for as many rows as a call walks; for one where it stops */
    aqw_refused_row *refused;
    uint32_t refused_count;
    uint64_t batch_size;        /* AQW_TOO_LARGE: the size of the batch with row `next` */
} aqw_columns_walk;

/* Goes on with the rows before `end`: stages and applies each, or notes it as refused, which
 * changes nothing. After anything but AQW_OK the caller must roll the batch back: AQW_NO_MEMORY;
 * AQW_TOO_LARGE where row `next` does not fit into the batch any more; AQW_INVALID_ARGUMENT or
 * AQW_MALFORMED_EVENT where the arrays are no longer what was checked. */
aqw_status aqw_columns_add(const aqw_columns *columns, uint32_t end, aqw_table *table,
                           aqw_batch *batch, aqw_columns_walk *walk);

#endif
