/* Making snapshots of a log in use, and dropping what they cover.
 *
 * A snapshot is made from what the disk holds, not from the writer's table: the newest snapshot and the durable events behind it are
 * read into a table of its own. So nobody who appends is ever held up, nothing undurable can get into it, and what is relied on later
 * has been read back once. It costs the memory of a second table while it lasts. */
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
    aqw_log *log;               /* whose directory it must still be; NULL: it is not asked */
} aqw_compact_options;

typedef struct aqw_compact_report {
    int is_new;                 /* 0: there was nothing durable behind the newest snapshot */
    uint64_t sequence;          /* of the newest snapshot, 0 where there is neither snapshot nor event */
    uint64_t file_size;         /* its */
    uint64_t kept_sequence;     /* of the older one that is kept with it, 0 without one */
    uint64_t replayed_events;
    uint64_t dropped_segments;
    uint64_t dropped_bytes;     /* of segments and snapshots */
    uint64_t dropped_snapshots;
} aqw_compact_report;

/* Makes a snapshot of everything that is durable when it begins, keeps two, and drops the segments that the older of the two covers: so
 * that one damaged snapshot loses nothing. Where the disk is full (no room for the snapshot; or the log is short of room) and segments may
 * be dropped, it keeps one, which it has read back, and the log from behind that. To be called by who holds the queue's lock, one call at a time. On a failure whatever was
 * there still is, or has been dropped by the rule. AQW_STOPPED, AQW_CORRUPT, AQW_NO_SPACE, AQW_IO_ERROR, AQW_NO_MEMORY; AQW_DISPLACED. */
aqw_status aqw_compact(const aqw_io *io, const char *directory, const aqw_compact_options *options, aqw_compact_report *report,
                       aqw_fault *fault);

#endif
