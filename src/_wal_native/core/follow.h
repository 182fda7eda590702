/* Following a log that may have a writer: the events that are durable, in order, across rotation, restarts and compaction.
 * A follower takes no lock, creates and writes nothing, and keeps up with whatever the writer does (format.h, "FOLLOWING"). */
#ifndef AQW_FOLLOW_H
#define AQW_FOLLOW_H

#include <stdint.h>

#include "fault.h"
#include "io.h"
#include "record.h"
#include "status.h"

typedef struct aqw_follower aqw_follower;

/* Begins behind the event `after`. AQW_NOT_A_QUEUE, AQW_COMPACTED where the next event is no longer in the log (fault->first_sequence:
 * the oldest that is), AQW_HISTORY_CHANGED where no event `after` was ever appended, AQW_CORRUPT, AQW_IO_ERROR, AQW_NO_MEMORY, AQW_UNSUPPORTED_FORMAT. */
aqw_status aqw_follower_open(const aqw_io *io, const char *directory, uint64_t after, aqw_follower **follower, aqw_fault *fault);
void aqw_follower_free(aqw_follower *follower);

/* The next event's record; its payload stays valid until the next call. AQW_END where no further event is durable yet: ask again later.
 * AQW_COMPACTED where the follower has fallen behind what the log keeps, or a repair has given up events that were returned. After
 * AQW_CORRUPT or AQW_IO_ERROR it may be asked again. */
aqw_status aqw_follower_next(aqw_follower *follower, aqw_record *record, aqw_fault *fault);

/* From now on events up to this one are returned too, durable or not: for the log's own writer, which has written them to the segments. */
void aqw_follower_trust(aqw_follower *follower, uint64_t sequence);

/* Sequence of the last event that was returned, or where the follower began. */
uint64_t aqw_follower_sequence(const aqw_follower *follower);
/* Which history is followed (format.h, RING), 16 bytes; NULL while no ring has told it, or only a copy has. */
const uint8_t *aqw_follower_history(const aqw_follower *follower);
/* 1 with the checksum of the last event's record that was returned, which no other event has in another history of the log; 0 before the
 * first. */
int aqw_follower_checksum(const aqw_follower *follower, uint32_t *checksum);
/* Events up to here are known to be durable. */
uint64_t aqw_follower_durable_sequence(const aqw_follower *follower);
/* The log's UUID. */
const uint8_t *aqw_follower_log_uuid(const aqw_follower *follower);

#endif
