/* Makes a damaged queue open again, at the price of what can't be read. It destroys nothing: it
 * moves what does not go on to quarantine/, and a log that goes on from the last event that could
 * be saved begins after a snapshot of it. */
#ifndef AQW_REPAIR_H
#define AQW_REPAIR_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "os/io.h"
#include "os/progress.h"
#include "read/salvage.h"

typedef struct aqw_repair_options {
    /* 0: only finds out what a repair would do, and writes nothing but the lock file */
    int accepts_data_loss;
    uint64_t now;               /* Unix seconds for headers */
    const char *holder;         /* text for the lock file */
    aqw_progress *progress;     /* may be NULL */
    /* where there is damage: gets every event after the snapshot's that verifies; may be NULL */
    aqw_salvage_visit visit;
    void *visit_to;
} aqw_repair_options;

typedef struct aqw_repair_report {
    int is_damaged;             /* 0: the queue opens as it is, and nothing was done */
    aqw_fault damage;           /* the first that the repair met */
    uint64_t kept_sequence;     /* everything up to here stays */
    uint64_t lost_first;        /* lost sequences; both 0 where no loss is known */
    uint64_t lost_last;
    uint64_t readable_events;   /* lost ones whose records still verify; they are in quarantine */
    uint64_t quarantined_files;
    uint64_t quarantined_bytes;
} aqw_repair_report;

/* Finds out what a repair would do, for a caller that only looks: takes no lock, writes nothing,
 * and so wants no writer meanwhile. */
aqw_status aqw_repair_look(const aqw_io *io, const char *directory,
                           const aqw_repair_options *options, aqw_repair_report *report,
                           aqw_fault *fault);

/* Takes the lock. Returns AQW_LOCKED, AQW_NOT_A_QUEUE, AQW_UNSUPPORTED_FORMAT, AQW_IO_ERROR,
 * AQW_NO_SPACE, AQW_NO_MEMORY or AQW_STOPPED; AQW_CORRUPT where a file stands in the place of one
 * of the queue's directories. Where no event could be saved everything is moved away, and the next
 * writer begins a new log. A repair that fails half way can be run again; what it then reports as
 * lost is what it finds lost by then. */
aqw_status aqw_repair(const aqw_io *io, const char *directory, const aqw_repair_options *options,
                      aqw_repair_report *report, aqw_fault *fault);

#endif
