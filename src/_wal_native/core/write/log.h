/* The log of an open queue: append, sync, rotation, close. Recovery (recovery.h) makes one.
 *
 * An append copies records into the ring and returns; draining writes the ring's bytes to the
 * newest segment; a sync drains, then makes the segment durable; a log with a policy (log_policy.h)
 * also syncs by itself. The first failed write or sync of record bytes poisons the log for good.
 *
 * Any thread may call every function. Locks are taken in this order: the right to sync (one sync in
 * flight), drain, append. The append lock is held for memory copies only, except in a rotation, a
 * direct append, and a pad that finds the ring full. */
#ifndef AQW_LOG_H
#define AQW_LOG_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/directory.h"
#include "files/ring.h"
#include "files/segment.h"
#include "os/io.h"
#include "write/batch.h"
#include "write/log_policy.h"

typedef struct aqw_log aqw_log;

typedef struct aqw_log_options {
    /* file size that segments grow to; a power-of-two multiple of AQW_SEGMENT_SIZE_MIN */
    uint64_t segment_size_max;
    uint64_t ring_size;         /* a multiple of AQW_RING_SIZE_MIN */
    uint32_t sector_size;       /* 0, or pad each synced write to 512 or 4096 bytes */
    uint64_t now;               /* Unix seconds for segment headers */
    aqw_sync_policy sync;       /* all 0: the log syncs only where a caller asks, or it must */
    int has_store;              /* 1: an event is durable when a store has it (log_store.h) */
    uint64_t batch_size_max;    /* bytes of a batch's records; 0: as limits.h says */
} aqw_log_options;

/* What recovery hands over: the state that appends go on from. */
typedef struct aqw_log_start {
    const char *directory;      /* copied */
    aqw_lock lock;              /* the log's from then on, as the segment's handle and the ring */
    aqw_segment_header segment;
    int64_t segment_handle;
    uint64_t tail;              /* position for the next record */
    uint32_t ordinal;           /* events in the segment */
    uint64_t last_sequence;     /* everything up to it is durable */
    int ends_with_marker;       /* the last record is a close marker */
    int is_short;               /* the disk had no room for what the opening would have liked */
    aqw_ring ring;              /* may be smaller than the options say */
} aqw_log_start;

/* How long syncs took, counted by powers of two: [i] counts those of 2^(i-1) to 2^i - 1
 * nanoseconds, the last all longer ones too. */
#define AQW_SYNC_HISTOGRAM_SIZE 40
/* How many events a sync made durable, counted in the same way: [i] counts syncs of
 * 2^(i-1) to 2^i - 1 events. */
#define AQW_GROUP_HISTOGRAM_SIZE 32

typedef struct aqw_log_stats {
    uint64_t last_sequence;
    uint64_t durable_sequence;
    uint64_t segment_number;
    uint64_t segment_size;
    uint64_t segment_used;
    uint64_t ring_size;
    uint64_t ring_used;         /* bytes that are only in the ring */
    uint64_t ring_used_max;     /* the most that an append has found or left there */
    uint64_t appended_records;
    uint64_t appended_bytes;
    /* what the log's segments grew by: these bytes, pads, and of segments that it has left their
     * ends and their successors' headers */
    uint64_t taken_bytes;
    uint64_t syncs;
    uint64_t sync_ns_total;
    uint64_t sync_ns_max;
    uint64_t sync_ns_histogram[AQW_SYNC_HISTOGRAM_SIZE];
    uint64_t sync_groups;       /* syncs that made events durable */
    uint64_t sync_events_total; /* in all groups */
    uint64_t sync_events_max;   /* in one group */
    uint64_t sync_events_histogram[AQW_GROUP_HISTOGRAM_SIZE];
    uint64_t stalls;            /* appends that had to wait for room in the ring or segment */
    uint64_t stall_ns_total;
    uint64_t stall_ns_max;
    uint64_t drains;
    uint64_t drained_bytes;
    uint64_t rotations;
    int is_ring_mapped;
} aqw_log_stats;

/* Returns AQW_INVALID_ARGUMENT where an option is out of range; fault->operation names it. */
aqw_status aqw_log_options_check(const aqw_log_options *options, aqw_fault *fault);

/* Takes over what `start` holds, also on failure (AQW_NO_MEMORY; AQW_IO_ERROR where the system
 * gives no thread for the policy). */
aqw_status aqw_log_new(const aqw_io *io, const aqw_log_options *options, const aqw_log_start *start,
                       aqw_log **log, aqw_fault *fault);

/* Runs under the append lock when it is certain that the append will succeed. Anything but AQW_OK
 * calls the append off. */
typedef aqw_status (*aqw_before_append)(void *context);

/* Appends the batch if that takes no I/O; the batch's first sequence must be the next
 * (AQW_REFUSED_SEQUENCE). `before` may be NULL. AQW_NEEDS_ROOM: call aqw_log_make_room and try
 * again. AQW_POISONED, AQW_CLOSED: the fault says why. */
aqw_status aqw_log_try_append(aqw_log *log, aqw_batch *batch, aqw_before_append before,
                              void *context, aqw_fault *fault);
/* Drains or rotates until `size` bytes of records have room. AQW_NO_SPACE and AQW_IO_ERROR leave
 * the log usable, AQW_POISONED does not. */
aqw_status aqw_log_make_room(aqw_log *log, uint64_t size, aqw_fault *fault);
/* Returns 1 where so many bytes go into the next segment. A log with a store waits for that before it
 * leaves a segment. */
int aqw_log_leaves_segment(aqw_log *log, uint64_t size);
/* While 1, an append that needs a new segment takes the smallest one that it fits in where the disk
 * has no room for the usual one: for events that make room. The log refuses other events then,
 * which leaves these that room. */
void aqw_log_set_frugal(aqw_log *log, int is_frugal);
/* Returns 1 where the disk had no room for a ring or a segment of the usual size, the last time
 * that the log made one. */
int aqw_log_is_short(const aqw_log *log);
/* Writes what was appended so far to the segment's file, without a sync; *sequence is the last
 * event's. Returns AQW_POISONED or AQW_CLOSED on failure. */
aqw_status aqw_log_write_out(aqw_log *log, uint64_t *sequence, aqw_fault *fault);
/* Returns 1 where an append of a batch of this size writes it to the segment before it returns: the
 * batch exceeds the ring, or the ring is not mapped. */
int aqw_log_is_direct(const aqw_log *log, uint64_t size);
/* Appends with whatever I/O it takes. Where this fails with AQW_POISONED, bytes may
 * have reached the file. */
aqw_status aqw_log_append(aqw_log *log, aqw_batch *batch, aqw_fault *fault);

/* Returns when every event up to the sequence is on stable storage; callers share syncs.
 * UINT64_MAX: every event so far. */
aqw_status aqw_log_sync(aqw_log *log, uint64_t sequence, aqw_fault *fault);
/* Does the same, and returns AQW_END where a log with a store has not got there by the deadline, on
 * the monotonic clock; AQW_CLOSED where its store has gone. */
aqw_status aqw_log_sync_until(aqw_log *log, uint64_t sequence, uint64_t deadline_ns,
                              aqw_fault *fault);

uint64_t aqw_log_last_sequence(aqw_log *log);
/* Returns the log's UUID, 16 bytes. */
const uint8_t *aqw_log_uuid(const aqw_log *log);
uint64_t aqw_log_durable_sequence(const aqw_log *log);
void aqw_log_stats_get(aqw_log *log, aqw_log_stats *stats);
/* Returns AQW_DISPLACED where the directory at the log's path is no longer its own;
 * AQW_CLOSED, AQW_IO_ERROR. */
aqw_status aqw_log_check_place(aqw_log *log, aqw_fault *fault);
/* Returns AQW_OK, AQW_POISONED (fault: the first failure) or AQW_CLOSED. */
aqw_status aqw_log_state(aqw_log *log, aqw_fault *fault);

/* Syncs, writes the close marker, syncs and lets go of the files and the lock. A log that has taken
 * nothing since the last marker writes none, so that opening and closing never fills a segment. A
 * poisoned log only lets go, and returns AQW_POISONED where it syncs by a policy and no call has
 * returned the failure yet. The log answers AQW_CLOSED afterwards. Closing again is AQW_OK. */
aqw_status aqw_log_close(aqw_log *log, aqw_fault *fault);
/* In a forked child, which has closed its copies of the descriptors: makes the log answer
 * AQW_CLOSED and forget what is not its own. */
void aqw_log_abandon(aqw_log *log);
/* After close or abandon. */
void aqw_log_free(aqw_log *log);

#endif
