/* Events of other writers, which come in groups from a store: into table and log. */
#ifndef AQW_TAKE_IN_H
#define AQW_TAKE_IN_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/group.h"
#include "table/table.h"
#include "write/batch.h"
#include "write/log.h"

/* Applies the events of a valid group that come after the table's last one, a batch as one, and
 * appends them to the log, if there is one, which has as many. The batch is only room to work in.
 * Returns AQW_REFUSED_SEQUENCE where the group does not go on where the table ends,
 * AQW_UNSUPPORTED_FORMAT and AQW_CORRUPT as replay.h says, and what an append returns; the batches
 * before that are taken in. */
aqw_status aqw_take_in(aqw_log *log, aqw_table *table, aqw_batch *batch, const uint8_t *data,
                       size_t size, const aqw_group_header *header, aqw_fault *fault);

#endif
