#include "queue/take_in.h"

#include "files/format.h"
#include "read/replay.h"
#include "write/log_store.h"

/* Applies one batch, which begins where the cursor stands, and stages its records. */
static aqw_status apply_batch(aqw_table *table, aqw_batch *batch, aqw_group_cursor *cursor,
                              aqw_fault *fault) {
    aqw_record record;
    aqw_status status = AQW_OK;
    do {
        if (!aqw_group_next(cursor, &record)) return AQW_OK;
        status = aqw_replay_record(table, &record, fault);
        if (status != AQW_OK) return status;
        status = aqw_batch_add_payload(batch, record.sequence, record.kind, record.payload,
                                       record.payload_size);
        if (status != AQW_OK) return aqw_fault_set(fault, status, NULL);
    } while (record.flags == AQW_FLAG_BATCH_OPEN);
    return AQW_OK;
}

/* The store has the events already, and nothing ships them: the log, which waits for the store before
 * it leaves a segment, has to know that. */
static aqw_status append(aqw_log *log, aqw_batch *batch, aqw_fault *fault) {
    if (aqw_log_leaves_segment(log, batch->size)) {
        uint64_t written = 0;
        aqw_status status = aqw_log_write_out(log, &written, fault);
        if (status != AQW_OK) return status;
        aqw_log_ship_end(log, written);
    }
    return aqw_log_append(log, batch, fault);
}

static aqw_status take_batch(aqw_log *log, aqw_table *table, aqw_batch *batch,
                             aqw_group_cursor *cursor, aqw_fault *fault) {
    aqw_status status = aqw_table_begin(table);
    if (status != AQW_OK) return aqw_fault_set(fault, status, NULL);
    aqw_batch_reset(batch);
    status = apply_batch(table, batch, cursor, fault);
    if (status == AQW_OK && log != NULL) status = append(log, batch, fault);
    if (status == AQW_OK) aqw_table_commit(table);
    else aqw_table_rollback(table);
    aqw_batch_reset(batch);
    return status;
}

aqw_status aqw_take_in(aqw_log *log, aqw_table *table, aqw_batch *batch, const uint8_t *data,
                       size_t size, const aqw_group_header *header, aqw_fault *fault) {
    aqw_group_cursor cursor;
    aqw_record known;
    uint64_t last = aqw_table_latest_sequence(table);
    aqw_group_first(&cursor, data, size, header);
    if (header->first_sequence > last + 1) return aqw_fault_set(fault, AQW_REFUSED_SEQUENCE, NULL);
    while (cursor.sequence <= last && aqw_group_next(&cursor, &known)) {}
    while (cursor.at < size) {
        aqw_status status = take_batch(log, table, batch, &cursor, fault);
        if (status != AQW_OK) return status;
    }
    return AQW_OK;
}
