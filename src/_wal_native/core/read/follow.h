/* Follows a log that may have a writer: gives the events that are durable, in order, across
 * rotation, restarts and compaction. A follower takes no lock, creates and writes nothing, and
 * keeps up with whatever the writer does (format.h, "FOLLOWING"). */
#ifndef AQW_FOLLOW_H
#define AQW_FOLLOW_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/record.h"
#include "os/io.h"

typedef struct aqw_follower aqw_follower;

/* Begins after the event `after`. Returns AQW_NOT_A_QUEUE, AQW_COMPACTED where the next event is no
 * longer in the log (fault->first_sequence: the oldest event that is), AQW_HISTORY_CHANGED where no
 * event `after` was ever appended, AQW_CORRUPT, AQW_IO_ERROR, AQW_NO_MEMORY or
 * AQW_UNSUPPORTED_FORMAT. */
aqw_status aqw_follower_open(const aqw_io *io, const char *directory, uint64_t after,
                             aqw_follower **follower, aqw_fault *fault);
/* Does the same, and expects the event `after` to have this checksum
 * (aqw_follower_checksum), as far as the log still has that event: returns
 * AQW_HISTORY_CHANGED where another event has its place. */
aqw_status aqw_follower_open_behind(const aqw_io *io, const char *directory, uint64_t after,
                                    uint32_t checksum, aqw_follower **follower, aqw_fault *fault);
void aqw_follower_free(aqw_follower *follower);

/* Gives the next event's record; its payload stays valid until the next call. Returns AQW_END where
 * no further event is durable yet: ask again later. Returns AQW_COMPACTED where the log no longer
 * keeps the next event, and AQW_HISTORY_CHANGED, from then on, where the log was replaced, restored
 * or repaired. After AQW_CORRUPT or AQW_IO_ERROR the caller may ask again. */
aqw_status aqw_follower_next(aqw_follower *follower, aqw_record *record, aqw_fault *fault);

/* Where a follower stands, for going back to it: the beginning of a batch, which lies
 * in one segment. */
typedef struct aqw_follower_place {
    uint64_t segment_number;
    uint64_t position;
    uint64_t last_position;
    uint64_t sequence;
    uint64_t met;
    uint32_t ordinal;
    uint32_t last_checksum;
    uint32_t checksum;
    int is_known;
} aqw_follower_place;

void aqw_follower_where(const aqw_follower *follower, aqw_follower_place *place);
void aqw_follower_go_back(aqw_follower *follower, const aqw_follower_place *place);

/* From now on the follower also returns events up to this one, durable or not. The log's own writer
 * calls it: it has written them to the segments. */
void aqw_follower_trust(aqw_follower *follower, uint64_t sequence);

/* Returns the sequence of the last event that was returned, or of where the follower began. */
uint64_t aqw_follower_sequence(const aqw_follower *follower);
/* Says which history the follower reads (format.h, RING), in 16 bytes; NULL until a ring has named
 * it: a copied ring does not. */
const uint8_t *aqw_follower_history(const aqw_follower *follower);
/* Returns 1 with the checksum (aqw_record_event_checksum) of the event that the follower stands
 * after; 0 where it has not met that event. */
int aqw_follower_checksum(const aqw_follower *follower, uint32_t *checksum);
/* Returns the sequence up to which events are known to be durable. */
uint64_t aqw_follower_durable_sequence(const aqw_follower *follower);
/* Returns the log's UUID. */
const uint8_t *aqw_follower_log_uuid(const aqw_follower *follower);

#endif
