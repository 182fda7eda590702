/* Snapshot files: the whole state table as of one sequence (format.h, "SNAPSHOT"; for the items
 * see table/image.h). A snapshot rests on a log that is durable up to its sequence, and is whole
 * before it gets its name. */
#ifndef AQW_SNAPSHOT_H
#define AQW_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "os/io.h"
#include "os/progress.h"
#include "table/table.h"

typedef struct aqw_snapshot_info {
    uint8_t log_uuid[16];
    uint64_t sequence;          /* of the last event in it */
    uint64_t created_at;        /* Unix seconds; for people */
    uint64_t file_size;
    uint64_t items;
} aqw_snapshot_info;

/* What loading a directory's snapshots found. */
typedef struct aqw_snapshot_choice {
    int is_found;
    aqw_snapshot_info info;     /* of the loaded one */
    uint32_t damaged;           /* newer ones that do not verify */
    aqw_fault damage;           /* what is wrong with the newest of those */
} aqw_snapshot_choice;

/* Returns 1 where the name is a snapshot's, and then gives its sequence. */
int aqw_snapshot_name_parse(const char *name, uint64_t *sequence);
aqw_status aqw_snapshot_path(char *to, size_t capacity, const char *directory, uint64_t sequence);
/* Lists the sequences of the snapshots in a queue's directory, newest first, at most `capacity` of
 * them. A missing directory holds no snapshot. */
aqw_status aqw_snapshot_list(const aqw_io *io, const char *directory, uint64_t *sequences,
                             uint32_t capacity, uint32_t *count, aqw_fault *fault);

/* Writes the table, whose latest sequence must be durable in the log, under a temporary
 * name, syncs it, reads it back and verifies it, and gives it its name. After a failure no
 * snapshot has appeared, and nothing else has changed; only where the sync of the directory
 * failed at the very end may a whole one be there. Returns AQW_STOPPED, AQW_NO_SPACE,
 * AQW_IO_ERROR or AQW_NO_MEMORY. */
aqw_status aqw_snapshot_write(const aqw_io *io, const char *directory, const uint8_t log_uuid[16],
                              const aqw_table *table, uint64_t created_at, aqw_progress *progress,
                              aqw_snapshot_info *info, aqw_fault *fault);
/* Does the same, if `may_publish` (NULL: always) returns AQW_OK when the file is written and about
 * to get its name; otherwise `may_publish` has filled the fault. */
typedef aqw_status (*aqw_snapshot_may_publish)(void *context);
aqw_status aqw_snapshot_write_if(const aqw_io *io, const char *directory,
                                 const uint8_t log_uuid[16], const aqw_table *table,
                                 uint64_t created_at, aqw_snapshot_may_publish may_publish,
                                 void *context, aqw_progress *progress, aqw_snapshot_info *info,
                                 aqw_fault *fault);

/* Verifies one snapshot, and loads it into the empty table unless that is NULL. Returns
 * AQW_CORRUPT (AQW_REASON_SNAPSHOT) where it does not verify or its content contradicts itself;
 * the table is then of no use. */
aqw_status aqw_snapshot_read(const aqw_io *io, const char *directory, uint64_t sequence,
                             aqw_table *table, aqw_progress *progress, aqw_snapshot_info *info,
                             aqw_fault *fault);

/* Verifies the snapshot's header and first block, and gives the count of each kind: all but
 * parents, runs by state and memory, which are 0. Returns AQW_CORRUPT as above. */
aqw_status aqw_snapshot_read_counts(const aqw_io *io, const char *directory, uint64_t sequence,
                                    aqw_table_counts *counts, aqw_snapshot_info *info,
                                    aqw_fault *fault);

/* Returns 1 where a snapshot that could not be read counts as damaged: its bytes are wrong, or the
 * medium has lost them. */
int aqw_snapshot_is_damage(aqw_status status, const aqw_fault *fault);

/* Loads the newest snapshot that verifies into the empty table, which stays empty where no snapshot
 * does. Passes over a damaged one, because the log and an older one may make up for it. */
aqw_status aqw_snapshot_load_newest(const aqw_io *io, const char *directory, aqw_table *table,
                                    aqw_progress *progress, aqw_snapshot_choice *choice,
                                    aqw_fault *fault);

#endif
