/* Status codes: what a core function returns. Each names a different fix for the caller, and the
 * Python side turns each into one exception, in one table (src/_wal_native/status.pyx).
 *
 * The codes from AQW_REFUSED_SEQUENCE on are refusals of the projection: the event breaks a rule
 * and the table is exactly as it was. */
#ifndef AQW_STATUS_H
#define AQW_STATUS_H

typedef enum aqw_status {
    AQW_OK = 0,
    AQW_END = 1,                /* an iteration is over; not an error */
    AQW_NEEDS_ROOM = 2,         /* I/O has to come first (aqw_log_make_room); not an error */

    AQW_INVALID_ARGUMENT = 10,  /* a caller's mistake: an option or size out of range */
    AQW_NO_MEMORY = 11,         /* nothing changed; free memory and try again */
    AQW_TOO_LARGE = 12,         /* over a limit of limits.h; nothing was written */
    AQW_MALFORMED_EVENT = 13,   /* the payload does not decode */
    AQW_MALFORMED_SNAPSHOT = 14,/* the items are not what saving a table writes */

    AQW_CLOSED = 20,            /* the handle was closed; open the queue again */
    AQW_POISONED = 21,          /* an earlier write or sync failed; reopen to recover */
    AQW_FORKED = 22,            /* the handle belongs to the parent process */
    AQW_STOPPED = 23,           /* stopped on request; nothing has appeared */

    AQW_IO_ERROR = 30,          /* the system refused a call; errno says why */
    AQW_NO_SPACE = 31,          /* no room for a new segment; nothing was written, try again */

    AQW_LOCKED = 40,            /* another process or handle holds the queue */
    AQW_CORRUPT = 41,           /* the log is damaged where that cannot be a torn tail */
    AQW_UNSUPPORTED_FORMAT = 42,/* a newer library wrote it */
    AQW_NOT_A_QUEUE = 43,       /* there is no queue here */
    AQW_COMPACTED = 44,   /* the log no longer goes back that far; read the projection instead */
    AQW_DISPLACED = 45,   /* the path now leads to another directory; nothing was written there */
    AQW_HISTORY_CHANGED = 46,   /* the position was taken in another log or history */

    AQW_REFUSED_SEQUENCE = 60,
    AQW_REFUSED_UNKNOWN_TASK = 61,
    AQW_REFUSED_TASK_EXISTS = 62,
    AQW_REFUSED_TASK_CANCELED = 63,
    AQW_REFUSED_UNKNOWN_RUN = 64,
    AQW_REFUSED_RUN_EXISTS = 65,
    AQW_REFUSED_PREVIOUS_STATE = 66,
    AQW_REFUSED_TRANSITION = 67,
    AQW_REFUSED_ATTEMPT_ACTIVE = 68,      /* the run leaves running while an attempt is active */
    AQW_REFUSED_ATTEMPT_STATE = 69,       /* an attempt command for a run that is not running */
    AQW_REFUSED_ATTEMPT_ALREADY_ACTIVE = 70,
    AQW_REFUSED_ATTEMPT_REUSED = 71,
    AQW_REFUSED_ATTEMPT_COUNT = 72,
    AQW_REFUSED_ATTEMPT_MISSING = 73,
    AQW_REFUSED_ATTEMPT_MISMATCH = 74,
    AQW_REFUSED_LEASE_STATE = 75,
    AQW_REFUSED_LEASE_ACTIVE = 76,
    AQW_REFUSED_LEASE_MISSING = 77,
    AQW_REFUSED_LEASE_OWNER = 78,
    AQW_REFUSED_LEASE_EXPIRY = 79,
    AQW_REFUSED_LEASE_REGRESSION = 80,
    AQW_REFUSED_ENGINE_PAUSED = 81,
    AQW_REFUSED_ENGINE_NOT_PAUSED = 82,
    AQW_REFUSED_RESUME_BEFORE_PAUSE = 83,
    AQW_REFUSED_NO_DEPENDENCIES = 84,
    AQW_REFUSED_BUDGET_NOT_ALLOCATED = 85,
    AQW_REFUSED_SUBSCRIPTION_EXISTS = 86,
    AQW_REFUSED_UNKNOWN_SUBSCRIPTION = 87,
    AQW_REFUSED_SUBSCRIPTION_CANCELED = 88,
    AQW_REFUSED_RUN_NOT_FRESH = 89,       /* a new run does not stand at its start */
    AQW_REFUSED_NOT_FINISHED = 90,        /* the queue still needs what the event purges */
    AQW_REFUSED_UNKNOWN_ACTOR = 91,       /* the event purges an actor that does not exist */
    AQW_REFUSED_UNKNOWN_LEDGER_ENTRY = 92,/* the event purges more of the ledger than there is */
    AQW_REFUSED_UNKNOWN_TOMBSTONE = 93,   /* the event drops more tombstones than there are */
    AQW_REFUSED_TASK_FORGOTTEN = 94,      /* the new task's identifier is a tombstone */
    AQW_REFUSED_LAST = 94
} aqw_status;

/* Returns the code's name in lower snake case, without the prefix; "unknown" for
 * any other number. */
const char *aqw_status_name(int status);

#endif
