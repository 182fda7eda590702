/* Opens a queue for writing: lock, read, set aside what is dropped, go on in a durable state.
 *
 * The order makes it safe to fail anywhere: until the last step nothing that was there before
 * changes, so the next open starts from the same state (format.h, "WRITING ON"). */
#ifndef AQW_RECOVERY_H
#define AQW_RECOVERY_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/snapshot.h"
#include "os/io.h"
#include "os/progress.h"
#include "table/table.h"
#include "write/log.h"

typedef struct aqw_recovery_report {
    int is_created;             /* there was no queue; this call made it */
    int is_clean;               /* the last writer closed it */
    uint8_t history[16];        /* the history that the log goes on with (format.h, RING) */
    uint64_t segments;
    uint64_t records;
    uint64_t events;            /* that were replayed after the snapshot */
    uint64_t bytes;             /* of records */
    uint64_t replayed_bytes;    /* of the records after the snapshot, if there is one */
    uint64_t last_sequence;
    uint64_t durable_sequence;  /* what the log itself proved to be durable before this open */
    uint64_t ring_events;       /* events that a killed process left in the ring */
    uint64_t rewritten_events;  /* events above the durable sequence, written again */
    uint64_t dropped_bytes;
    uint64_t dropped_events;
    int drop_reason;            /* aqw_reason */
    uint64_t dropped_segment;   /* where the dropped bytes lay */
    uint64_t dropped_offset;
    uint64_t snapshot_sequence; /* of the snapshot that replay began from, 0 without a snapshot */
    uint32_t snapshots_damaged; /* newer ones that did not verify, which were passed over */
    aqw_fault snapshot_damage;  /* what is wrong with the newest of those */
} aqw_recovery_report;

typedef struct aqw_recovery_options {
    aqw_log_options log;
    int may_create;             /* 0: return AQW_NOT_A_QUEUE where there is no queue */
    /* 16 bytes, which a new queue gets, and which are its history whatever happens to its files: it
     * is a copy of a log in a store. NULL: random ones */
    const uint8_t *log_uuid;
    const char *holder;         /* text for the lock file, which names the holder */
    aqw_progress *progress;     /* may be NULL */
} aqw_recovery_options;

/* Opens or creates the queue in `directory` (a real path: no symlink at its end), replays it into
 * the empty `table`, and returns a log that is ready for appends. Returns AQW_LOCKED where another
 * handle holds the queue. On any failure everything is closed again; the table may be partly filled
 * and is then of no use. */
aqw_status aqw_recover(const aqw_io *io, const char *directory, const aqw_recovery_options *options,
                       aqw_table *table, aqw_log **log, aqw_recovery_report *report,
                       aqw_fault *fault);

#endif
