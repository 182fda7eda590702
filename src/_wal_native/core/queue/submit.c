#include "queue/submit.h"

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
