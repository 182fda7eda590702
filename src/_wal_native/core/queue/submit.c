#include "queue/submit.h"

#include "base/bytes.h"
#include "files/format.h"

typedef struct decision {
    aqw_table *table;
    const aqw_event *event;
} decision;

static aqw_status apply(void *context) {
    const decision *of = context;
    return aqw_table_apply(of->table, of->event);
}

aqw_status aqw_submit(aqw_log *log, aqw_table *table, aqw_batch *batch, const aqw_event *event,
                      aqw_fault *fault) {
    decision of = {table, event};
    aqw_batch_reset(batch);
    aqw_status status = aqw_batch_add(batch, event);
    if (status != AQW_OK)
        aqw_fault_set(fault, status, NULL);
    else if (aqw_log_is_direct(log, batch->size))
        status = aqw_fault_set(fault, AQW_NEEDS_ROOM, NULL);
    else
        status = aqw_log_try_append(log, batch, apply, &of, fault);
    aqw_batch_reset(batch);     /* at once: a large one gives its memory back */
    return status;
}

aqw_status aqw_apply_again(aqw_table *table, const aqw_batch *batch) {
    aqw_event event;
    size_t at = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const uint8_t *record = batch->data + at;
        uint32_t shape = aqw_load_u32(record + 4), payload_size = shape & 0xffffff;
        aqw_status status = aqw_event_decode((uint8_t)(shape >> 24), batch->first_sequence + i,
                                             record + AQW_RECORD_HEADER_SIZE, payload_size, &event);
        if (status == AQW_OK) status = aqw_table_apply(table, &event);
        if (status != AQW_OK) return status;
        at += aqw_record_size(payload_size);
    }
    return AQW_OK;
}
