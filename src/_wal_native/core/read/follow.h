/* Following a log that may have a writer: the events that are durable, in order, across rotation, restarts and compaction.
 * A follower takes no lock, creates and writes nothing, and keeps up with whatever the writer does (format.h, "FOLLOWING"). */
#ifndef AQW_FOLLOW_H
#define AQW_FOLLOW_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/record.h"
#include "os/io.h"

typedef struct aqw_follower aqw_follower;

/* Begins behind the event `after`. AQW_NOT_A_QUEUE, AQW_COMPACTED where the next event is no longer in the log (fault->first_sequence:
 * the oldest that is), AQW_HISTORY_CHANGED where no event `after` was ever appended, AQW_CORRUPT, AQW_IO_ERROR, AQW_NO_MEMORY, AQW_UNSUPPORTED_FORMAT. */
aqw_status aqw_follower_open(const aqw_io *io, const char *directory, uint64_t after, aqw_follower **follower, aqw_fault *fault);
/* The same, where the event `after` has this checksum (aqw_follower_checksum), as far as the log still has it: AQW_HISTORY_CHANGED where
 * another event has its place. */
aqw_status aqw_follower_open_behind(const aqw_io *io, const char *directory, uint64_t after, uint32_t checksum, aqw_follower **follower,
                                    aqw_fault *fault);
void aqw_follower_free(aqw_follower *follower);

/* The next event's record; its payload stays valid until the next call. AQW_END where no further event is durable yet: ask again later.
 * AQW_COMPACTED where the follower has fallen behind what the log keeps. AQW_HISTORY_CHANGED, from then on, where the log was replaced,
 * restored or repaired. After AQW_CORRUPT or AQW_IO_ERROR it may be asked again. */
aqw_status aqw_follower_next(aqw_follower *follower, aqw_record *record, aqw_fault *fault);

/* Where a follower stands, for going back to it: to the beginning of a batch, which is in one segment. */
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

/* From now on events up to this one are returned too, durable or not: for the log's own writer, which has written them to the segments. */
void aqw_follower_trust(aqw_follower *follower, uint64_t sequence);

/* Sequence of the last event that was returned, or where the follower began. */
uint64_t aqw_follower_sequence(const aqw_follower *follower);
/* Which history is followed (format.h, RING), 16 bytes; NULL while no ring has told it, or only a copy has. */
const uint8_t *aqw_follower_history(const aqw_follower *follower);
/* 1 with the checksum (aqw_record_event_checksum) of the event that the follower is behind; 0 where it has not met that. */
int aqw_follower_checksum(const aqw_follower *follower, uint32_t *checksum);
/* Events up to here are known to be durable. */
uint64_t aqw_follower_durable_sequence(const aqw_follower *follower);
/* The log's UUID. */
const uint8_t *aqw_follower_log_uuid(const aqw_follower *follower);

#endif
