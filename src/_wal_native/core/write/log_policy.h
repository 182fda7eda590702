/* When a log syncs by itself: no caller has to wait for the disk, and yet a power loss loses no
 * more than the bounds allow.
 *
 * A log with such a policy has a thread for it, which begins a sync as soon as what waits for one
 * reaches a bound. What a sync under way covers no longer waits; so each bound says when the next
 * sync begins, or is ready to begin after the one under way. */
#ifndef AQW_LOG_POLICY_H
#define AQW_LOG_POLICY_H

#include <stdint.h>

typedef struct aqw_sync_policy {
    uint64_t records;           /* events that wait for a sync; 0: any number */
    uint64_t bytes;             /* bytes of their records; 0: any number */
    /* since the oldest was appended, up to AQW_SYNC_DELAY_NS_MAX; 0: any time */
    uint64_t delay_ns;
    /* as many bytes as the ring has: a sync follows a drain that makes room in it */
    int when_ring_fills;
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

/* Returns 1 where the policy ever syncs. */
int aqw_sync_policy_acts(const aqw_sync_policy *policy);

/* Returns when the policy wants a sync of the backlog, on the monotonic clock: 0 is at once,
 * AQW_SYNC_NEVER is not as things are. */
uint64_t aqw_sync_policy_due(const aqw_sync_policy *policy, const aqw_sync_backlog *backlog);

#endif
