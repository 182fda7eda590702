/* What the writer and the reader of snapshots share. */
#ifndef AQW_SNAPSHOT_INTERNAL_H
#define AQW_SNAPSHOT_INTERNAL_H

#include "files/snapshot.h"

#define AQW_SNAPSHOT_HEADER_SIZE 64
#define AQW_SNAPSHOT_BLOCK_HEADER_SIZE 12
#define AQW_SNAPSHOT_ITEM_HEADER_SIZE 4
/* An item's header: the payload's size in the lower bits, its type in the others. */
#define AQW_SNAPSHOT_ITEM_SIZE_BITS 26
#define AQW_SNAPSHOT_BLOCK_TARGET 262144
#define AQW_SNAPSHOT_END_SIZE 8

/* Returns the running checksum over what names a snapshot: every block's checksum
 * starts from it. */
uint32_t aqw_snapshot_seed(const uint8_t log_uuid[16], uint64_t sequence, uint64_t salt);
/* Returns the checksum of a block at an offset: of `size` bytes after its checksum field. */
uint32_t aqw_snapshot_block_checksum(uint32_t seed, uint64_t offset, const uint8_t *from,
                                     size_t size);

void aqw_snapshot_header_write(const aqw_snapshot_info *info, uint64_t salt, uint8_t to[64]);
/* Returns 1 where the bytes are a header of this format; else 0, and *version says which newer
 * version they are a header of, or 0. */
int aqw_snapshot_header_read(const uint8_t from[64], aqw_snapshot_info *info, uint64_t *salt,
                             uint32_t *version);

/* Does what aqw_snapshot_read does without a table, for a file that may have another name. */
aqw_status aqw_snapshot_verify_file(const aqw_io *io, const char *path, uint64_t sequence,
                                    aqw_progress *progress, aqw_fault *fault);

#endif
