/* Reading what can still be read of a damaged log, for repair. Private to it. */
#ifndef AQW_SALVAGE_H
#define AQW_SALVAGE_H

#include <stdint.h>

#include "fault.h"
#include "io.h"
#include "progress.h"
#include "status.h"
#include "table.h"

typedef struct aqw_salvage {
    uint8_t log_uuid[16];       /* in: the snapshot's; out: the one that most of the files have, where there is no snapshot */
    int has_log_uuid;
    uint64_t segment_number_max;    /* of all names, but for absurd ones */
    uint64_t durable;           /* the highest sequence that anything says was durable */
    uint64_t last_seen;         /* the highest sequence of a record that verifies */
    uint64_t unused_events;     /* events whose records verify, but are not applied: behind a gap or a refusal, or in a broken batch */
} aqw_salvage;

/* Applies to the table, which holds a snapshot or nothing, every event that verifies and follows without a gap, whole batches only: from the
 * segments, past what does not verify or can't be read, and from the ring. */
aqw_status aqw_salvage_events(const aqw_io *io, const char *directory, aqw_table *table, aqw_salvage *salvage, aqw_progress *progress,
                              aqw_fault *fault);

#endif
