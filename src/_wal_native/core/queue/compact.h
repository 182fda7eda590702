/* Makes snapshots of a log in use, and drops what they cover.
 *
 * A snapshot is made from what the disk holds, not from the writer's table: compaction reads the
 * newest snapshot and the durable events after it into a table of its own. So it never holds up a
 * caller that appends, nothing that is not durable can get into the snapshot, and what is relied on
 * later has been read back once. It costs the memory of a second table while it lasts. */
#ifndef AQW_COMPACT_H
#define AQW_COMPACT_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/snapshot.h"
#include "os/io.h"
#include "os/progress.h"
#include "write/log.h"

typedef struct aqw_compact_options {
    uint64_t now;               /* Unix seconds for the header */
    int drops_segments;         /* 0: only make the snapshot, and keep two */
    aqw_progress *progress;     /* may be NULL */
    aqw_log *log;               /* checks that the directory is still this log's; NULL: no check */
} aqw_compact_options;

typedef struct aqw_compact_report {
    int is_new;                 /* 0: nothing after the newest snapshot was durable */
    uint64_t sequence;   /* of the newest snapshot, 0 where there is neither snapshot nor event */
    uint64_t file_size;         /* of the newest snapshot */
    uint64_t kept_sequence;     /* of the older one kept with it, 0 without an older one */
    uint64_t replayed_events;
    uint64_t dropped_segments;
    uint64_t dropped_bytes;     /* of segments and snapshots */
    uint64_t dropped_snapshots;
} aqw_compact_report;

/* Makes a snapshot of everything that is durable when it begins, keeps two, and drops the
 * segments that the older of the two covers: so one damaged snapshot loses nothing. Where the
 * disk is full (no room for the snapshot; or the log is short of room) and segments may be
 * dropped, it keeps one snapshot, which it has read back, and the log after that. The holder of
 * the queue's lock calls it, one call at a time. On a failure whatever was there still is, or has
 * been dropped by the rule. Returns AQW_STOPPED, AQW_CORRUPT, AQW_NO_SPACE, AQW_IO_ERROR,
 * AQW_NO_MEMORY or AQW_DISPLACED. */
aqw_status aqw_compact(const aqw_io *io, const char *directory, const aqw_compact_options *options,
                       aqw_compact_report *report, aqw_fault *fault);

#endif
