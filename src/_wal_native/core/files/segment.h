/* Segment files: names, headers, preparation and publication (format.h, "SEGMENT"). */
#ifndef AQW_SEGMENT_H
#define AQW_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/record.h"
#include "os/io.h"

#define AQW_SEGMENT_OFFSET_FILE_SIZE 56

typedef struct aqw_segment_header {
    aqw_place place;            /* log UUID, number, salt, first sequence; seeded */
    uint32_t format_version;
    uint64_t file_size;
    uint64_t watermark;
    uint64_t link_number;       /* 0 without a predecessor */
    uint64_t link_salt;
    uint64_t link_end;
    uint64_t link_last_sequence;
    uint64_t created_at;
} aqw_segment_header;

/* A segment without a name yet: zeros on stable storage under a temporary name. */
typedef struct aqw_prepared {
    int64_t handle;
    uint64_t generation;        /* of forks, as in ring.h */
    uint64_t file_size;
    char path[4160];
} aqw_prepared;

/* Returns AQW_OK where every name of a queue in this directory fits AQW_PATH_SIZE_MAX, else
 * AQW_IO_ERROR (ENAMETOOLONG). */
aqw_status aqw_directory_check(const char *directory, aqw_fault *fault);
/* Joins a directory and a name. Returns AQW_INVALID_ARGUMENT where the path does not fit. */
aqw_status aqw_path_join(char *to, size_t capacity, const char *directory, const char *name);
/* Gives the path of a segment in a queue's directory. */
aqw_status aqw_segment_path(char *to, size_t capacity, const char *directory, uint64_t number,
                            uint64_t first_sequence);
/* Returns 1 where the name is a segment's, and then gives its numbers. */
int aqw_segment_name_parse(const char *name, uint64_t *number, uint64_t *first_sequence);
/* Returns 1 for the temporary names that this library makes in wal/. */
int aqw_segment_name_is_temporary(const char *name);

void aqw_segment_header_write(const aqw_segment_header *header, uint8_t to[128]);
/* Reads and checks both copies, and the file's size. Returns AQW_OK, AQW_CORRUPT,
 * AQW_UNSUPPORTED_FORMAT or AQW_IO_ERROR. With AQW_REASON_FILE_SIZE at AQW_SEGMENT_OFFSET_FILE_SIZE
 * everything but the size is right, and *header is filled. */
aqw_status aqw_segment_header_load(const aqw_io *io, int64_t handle, const char *path,
                                   uint64_t number, uint64_t first_sequence,
                                   aqw_segment_header *header, aqw_fault *fault);

/* Gives the size for a successor of a segment that was filled up to `end`: twice that within the
 * limits, and at least what `needed` bytes of records take. Returns AQW_TOO_LARGE where that is
 * over the greatest size. */
aqw_status aqw_segment_size_next(uint64_t end, uint64_t needed, uint64_t size_max, uint64_t *size);
/* Returns the smallest size with room for `needed` bytes of records, which a full disk
 * may still have. */
uint64_t aqw_segment_size_least(uint64_t needed);

/* Creates a file of zeros under a temporary name in wal/ and syncs it. On AQW_NO_SPACE or
 * AQW_IO_ERROR it leaves no file. */
aqw_status aqw_segment_prepare(const aqw_io *io, const char *directory, uint64_t file_size,
                               aqw_prepared *prepared, aqw_fault *fault);
/* Closes and removes a prepared file. */
void aqw_segment_discard(const aqw_io *io, aqw_prepared *prepared);
/* Writes the header, syncs, renames and syncs the directory: the segment then exists, and
 * prepared->handle is open on it. On failure *is_named says whether the name may exist: if 0, the
 * file was removed and nothing has changed. */
aqw_status aqw_segment_publish(const aqw_io *io, const char *directory, aqw_prepared *prepared,
                               const aqw_segment_header *header, int *is_named, aqw_fault *fault);

#endif
