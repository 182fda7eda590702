/* Says what went wrong, for a message that a person can act on. Functions that can fail in more
 * than one way take an aqw_fault and fill it when they return anything but AQW_OK or AQW_END. */
#ifndef AQW_FAULT_H
#define AQW_FAULT_H

#include <stdint.h>

#include "base/status.h"

/* Says why a log is corrupt (AQW_CORRUPT), or why recovery dropped a tail. */
typedef enum aqw_reason {
    AQW_REASON_NONE = 0,
    AQW_REASON_HEADER_INVALID = 1,      /* a segment's or the ring's header does not verify */
    AQW_REASON_HEADER_COPIES = 2,       /* the two copies are valid and differ */
    AQW_REASON_FILE_SIZE = 3,           /* a file is not as long as its header says */
    AQW_REASON_OTHER_LOG = 4,           /* a file belongs to another log */
    AQW_REASON_SEGMENT_MISSING = 5,     /* the chain lacks segment numbers */
    AQW_REASON_SEGMENT_DUPLICATE = 6,   /* two files have one number */
    AQW_REASON_LINK = 7,                /* a link does not fit its predecessor */
    AQW_REASON_RING_MISSING = 8,
    AQW_REASON_RECORD_INVALID = 9,      /* a record up to the durable sequence does not verify */
    AQW_REASON_RECORD_COUNT = 10,       /* a segment holds other events than its successor says */
    AQW_REASON_BATCH = 11,              /* a batch is broken where it can't be torn */
    AQW_REASON_PAYLOAD = 12,            /* a verified record's payload does not decode */
    AQW_REASON_REFUSED_EVENT = 13,      /* a verified event breaks a rule of the projection */
    AQW_REASON_HISTORY_MISSING = 14,    /* the log does not begin at sequence 1 */
    AQW_REASON_DIRECTORY = 15,   /* a file or link stands where a directory of the queue should */
    AQW_REASON_TORN = 16,               /* no damage: an append that was cut short */
    AQW_REASON_SNAPSHOT = 17,           /* a snapshot that does not verify */
    AQW_REASON_SNAPSHOT_AHEAD = 18,     /* a snapshot of events that the log does not have */
    /* the medium answers with an error (repair reports this; an open gets the error itself) */
    AQW_REASON_UNREADABLE = 19
} aqw_reason;

typedef struct aqw_fault {
    int status;                 /* aqw_status */
    int reason;                 /* aqw_reason */
    int system_error;           /* errno, or 0 */
    int refusal;                /* with AQW_REASON_REFUSED_EVENT: the refusing status */
    int poison;                 /* with AQW_POISONED: the status of the first failure */
    const char *operation;      /* "open", "write", "sync" ... or NULL; static text */
    uint64_t segment;           /* number, or 0 */
    uint64_t offset;
    uint64_t first_sequence;    /* the sequences at stake, both 0 where unknown */
    uint64_t last_sequence;
    uint32_t format_version;    /* with AQW_UNSUPPORTED_FORMAT, */
    uint32_t event_kind;        /* or else the kind of an event that this library does not know */
    char path[512];             /* the file, cut if longer */
} aqw_fault;

/* Returns the reason's name in lower snake case. */
const char *aqw_reason_name(int reason);

/* Zeroes the fault and sets its status and path (NULL leaves the path empty). Returns the status,
 * so that callers can return it. */
aqw_status aqw_fault_set(aqw_fault *fault, aqw_status status, const char *path);
/* Sets the path of a fault that was filled without one. */
void aqw_fault_name(aqw_fault *fault, const char *path);
/* Records an I/O failure: `operation` on `path` gave the errno. Returns AQW_IO_ERROR. */
aqw_status aqw_fault_io(aqw_fault *fault, const char *operation, const char *path,
                        int system_error);
/* Records damage at a place. Returns AQW_CORRUPT. */
aqw_status aqw_fault_corrupt(aqw_fault *fault, aqw_reason reason, const char *path,
                             uint64_t segment, uint64_t offset);

#endif
