/* When a log syncs by itself: nobody has to wait for the disk, and yet no more than so much is ever lost to a power loss.
 *
 * A log with such a policy has a thread for it, which begins a sync as soon as what waits for one reaches a bound. What a sync that is
 * under way covers no longer waits; so each bound says when the next sync begins, or is ready to begin behind the one under way. */
#ifndef AQW_LOG_POLICY_H
#define AQW_LOG_POLICY_H

#include <stdint.h>

typedef struct aqw_sync_policy {
    uint64_t records;           /* events that wait for a sync; 0: however many */
    uint64_t bytes;             /* bytes of their records; 0: however many */
    uint64_t delay_ns;          /* since the oldest of them was appended; 0: however long; at most AQW_SYNC_DELAY_NS_MAX */
    int when_ring_fills;        /* as many bytes as the ring has: a drain that makes room in it is followed by a sync */
} aqw_sync_policy;

/* What waits for a sync. */
typedef struct aqw_sync_backlog {
    uint64_t records;
    uint64_t bytes;
    uint64_t since_ns;          /* on the monotonic clock: the oldest of it is no older */
    uint64_t ring_size;
} aqw_sync_backlog;

/* A day. */
#define AQW_SYNC_DELAY_NS_MAX 86400000000000
/* No time of the monotonic clock. */
#define AQW_SYNC_NEVER 18446744073709551615u

/* 1 where the policy ever syncs. */
int aqw_sync_policy_acts(const aqw_sync_policy *policy);

/* When the policy wants a sync of the backlog, on the monotonic clock: 0 is at once, AQW_SYNC_NEVER is not as things are. */
uint64_t aqw_sync_policy_due(const aqw_sync_policy *policy, const aqw_sync_backlog *backlog);

#endif
