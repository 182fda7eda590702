/* Reads what can still be read of a damaged log: for repair, and for a caller that
 * wants to see it. */
#ifndef AQW_SALVAGE_H
#define AQW_SALVAGE_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/record.h"
#include "os/io.h"
#include "os/progress.h"
#include "table/table.h"

/* Gets an event whose record verifies; it points into memory that lasts until the call returns.
 * Anything but AQW_OK, with its fault, ends the reading. */
typedef aqw_status (*aqw_salvage_visit)(void *to, const aqw_record *record, aqw_fault *fault);

typedef struct aqw_salvage {
    /* in: gets every event that verifies, in order of place, applied or not; may be NULL */
    aqw_salvage_visit visit;
    void *visit_to;
    /* in: the snapshot's; out without a snapshot: that of most of the files */
    uint8_t log_uuid[16];
    int has_log_uuid;
    uint64_t segment_number_max;    /* of all names and the ring, except absurd ones */
    uint64_t durable;           /* the highest sequence that anything says was durable */
    uint64_t last_seen;         /* the highest sequence of a record that verifies */
    /* events whose records verify, but that were not applied: after a gap or a
     * refusal, or in a broken batch */
    uint64_t unused_events;
} aqw_salvage;

/* Applies to the table, which holds a snapshot or nothing, every event that verifies and follows
 * without a gap, whole batches only. Takes them from the segments, past what does not verify or
 * can't be read, and from the ring. */
aqw_status aqw_salvage_events(const aqw_io *io, const char *directory, aqw_table *table,
                              aqw_salvage *salvage, aqw_progress *progress, aqw_fault *fault);

/* Only visits, from the oldest segment on. `moved` is NULL for the log as it is, or "repair-<id>-",
 * with which the names of the files begin that one repair has moved to quarantine/. Takes no lock
 * and writes nothing. */
aqw_status aqw_salvage_read(const aqw_io *io, const char *directory, const char *moved,
                            aqw_salvage_visit visit, void *to, aqw_progress *progress,
                            aqw_fault *fault);

#endif
