/* A queue on a disk in memory: opened, read, killed, closed; what the targets about whole logs share. */
#ifndef FUZZ_QUEUE_H
#define FUZZ_QUEUE_H

#include "write/log.h"
#include "queue/recovery.h"
#include "table/table.h"
#include "disk.h"

#define QUEUE "/q"

typedef struct queue {
    aqw_log *log;
    aqw_table *table;           /* what recovery replayed */
    aqw_recovery_report report;
    aqw_fault fault;
} queue;

/* Each call of these keeps to the memory that the files' sizes allow (core_memory.h).
 *
 * Opens for writing. On failure nothing is open, and the fault says why. */
aqw_status queue_open(disk *d, const aqw_log_options *options, int may_create, queue *q);
/* The process is killed: what the kernel has stays. */
void queue_kill(disk *d, queue *q);
aqw_status queue_close(disk *d, queue *q);

/* What a reader sees without opening for writing: the newest snapshot, and the stream behind it. */
typedef struct reading {
    uint64_t events;            /* of the stream, those that the snapshot has too included */
    uint64_t base_sequence;     /* of the snapshot, 0 without one */
    uint64_t last_sequence;
    uint64_t durable_sequence;
    uint64_t digest;            /* of the table that all of it makes */
    int is_clean;
} reading;

/* Reads and replays to the end. Ends the program where the stream breaks its own contract, or writes. */
aqw_status queue_read(disk *d, reading *seen, aqw_fault *fault);

/* Follows the log from behind a sequence to the end of what is durable; *last is the last sequence seen. Checks the order. */
aqw_status queue_follow(disk *d, uint64_t after, uint64_t *last, aqw_fault *fault);

#endif
