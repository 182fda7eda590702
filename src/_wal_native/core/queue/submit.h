/* One event into log and table: the short way of a submit, which takes memory only. */
#ifndef AQW_SUBMIT_H
#define AQW_SUBMIT_H

#include "base/fault.h"
#include "base/status.h"
#include "event/event.h"
#include "table/table.h"
#include "write/batch.h"
#include "write/log.h"

/* Encodes the event, decides by the table's rules, applies it and appends it, as one step that
 * no other append comes between. The batch is only room to work in: it is empty before and
 * after. Anything but AQW_OK has changed nothing. AQW_NEEDS_ROOM: the append takes I/O; call
 * aqw_log_make_room, or aqw_log_append where aqw_log_is_direct says so. AQW_TOO_LARGE: the
 * event is over a limit. AQW_REFUSED_*: the rule that the event breaks. AQW_POISONED,
 * AQW_CLOSED: the fault says why. */
aqw_status aqw_submit(aqw_log *log, aqw_table *table, aqw_batch *batch, const aqw_event *event,
                      aqw_fault *fault);

/* Applies the events of a batch to the table again, from which they were rolled back. */
aqw_status aqw_apply_again(aqw_table *table, const aqw_batch *batch);

#endif
