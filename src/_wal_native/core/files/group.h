/* Groups: events on their way into a replicated engine, and out of it. A group holds whole batches,
 * one after the other, and is the same bytes in every engine. This is the one place that writes and
 * checks it.
 *
 *   offset  size
 *        0     8  magic "AQWGROUP"
 *        8     4  format version, 1
 *       12     4  checksum of bytes 16 to the end
 *       16    16  log UUID
 *       32     8  epoch of the writer's term
 *       40     8  sequence of the first event
 *       48     8  watermark: every event up to it was on stable storage of a majority
 *       56     4  count of events, from 1
 *       60     4  link: the checksum of the group before; 0 where the writer does not know it
 *       64        events, one after the other, up to the end
 *   An event:
 *        0     3  payload size
 *        3     1  kind (events.def)
 *        4     1  flags, as of a record (format.h): 1 = the batch goes on with the next event, 2 =
 *                 last of a batch
 *        5        payload (payload.h)
 *   A group is valid if and only if magic, version, checksum and count are right, its events end
 *   where it ends, each has a kind below the marker's and flags of 0, 1 or 2, and no batch is open
 *   at its end. */
#ifndef AQW_GROUP_H
#define AQW_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "files/record.h"

#define AQW_GROUP_VERSION 1
#define AQW_GROUP_HEADER_SIZE 64
#define AQW_GROUP_EVENT_HEADER_SIZE 5

typedef struct aqw_group_header {
    uint8_t log_uuid[16];
    uint64_t epoch;
    uint64_t first_sequence;
    uint64_t watermark;
    uint32_t count;
    uint32_t link;
    uint32_t checksum;          /* this group's own */
} aqw_group_header;

/* A group under construction, or one that is read. */
typedef struct aqw_group {
    uint8_t *data;
    size_t size;
    size_t capacity;
    uint32_t count;
} aqw_group;

/* Begins a group without events. Returns AQW_NO_MEMORY. */
aqw_status aqw_group_begin(aqw_group *group);
/* Adds an event. Returns AQW_NO_MEMORY, or AQW_TOO_LARGE where the group would exceed 4 GiB; the
 * group is unchanged then. */
aqw_status aqw_group_add(aqw_group *group, const aqw_record *record);
/* Takes the last events out again: `size` and `count` are the group's from before them. */
void aqw_group_take_back(aqw_group *group, size_t size, uint32_t count);
/* Writes the header, whose count and checksum it fills in. */
void aqw_group_seal(aqw_group *group, aqw_group_header *header);
void aqw_group_free(aqw_group *group);

/* Reads the header, and checks the whole group. Returns AQW_UNSUPPORTED_FORMAT for a newer version,
 * which is believed only where the checksum is right, or AQW_CORRUPT. */
aqw_status aqw_group_read(const uint8_t *data, size_t size, aqw_group_header *header);

/* Where a reader stands in a group that is valid. */
typedef struct aqw_group_cursor {
    const uint8_t *data;
    size_t size;
    size_t at;
    uint64_t sequence;          /* the next event's */
} aqw_group_cursor;

void aqw_group_first(aqw_group_cursor *cursor, const uint8_t *data, size_t size,
                     const aqw_group_header *header);
/* Gives the next event as a record without a place; its payload points into the group. Returns 0 at
 * the end. */
int aqw_group_next(aqw_group_cursor *cursor, aqw_record *record);

#endif
