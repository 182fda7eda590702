/* Replay: from verified records to the state table. */
#ifndef AQW_REPLAY_H
#define AQW_REPLAY_H

#include "base/fault.h"
#include "base/status.h"
#include "files/record.h"
#include "os/progress.h"
#include "read/stream.h"
#include "table/table.h"

typedef struct aqw_replay_counts {
    uint64_t records;           /* markers and pads included */
    uint64_t events;            /* applied ones */
    uint64_t bytes;             /* of records */
    uint64_t replayed_bytes;    /* of the records after what the table had before */
} aqw_replay_counts;

/* Decodes one event record and applies it. Returns AQW_UNSUPPORTED_FORMAT for a kind that this
 * library does not know, and AQW_CORRUPT with AQW_REASON_PAYLOAD or AQW_REASON_REFUSED_EVENT where
 * an event of a known kind fails: no library writes such a record. The fault has no path. */
aqw_status aqw_replay_record(aqw_table *table, const aqw_record *record, aqw_fault *fault);

/* Replays a stream from where it stands to its end, except the events that the table has already
 * (from a snapshot). Returns AQW_STOPPED where `progress` (may be NULL) says so. */
aqw_status aqw_replay_stream(aqw_stream *stream, aqw_table *table, aqw_replay_counts *counts,
                             aqw_progress *progress, aqw_fault *fault);

#endif
