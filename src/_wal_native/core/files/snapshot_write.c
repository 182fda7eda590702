/* Writes a snapshot: temporary name, sync, read back, rename, sync of the directory. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "files/segment.h"
#include "files/snapshot_internal.h"
#include "table/image.h"

_Static_assert(AQW_IMAGE_ITEM_SIZE_MAX < 1 << AQW_SNAPSHOT_ITEM_SIZE_BITS &&
                   AQW_IMAGE_TYPE_COUNT <= 1 << (32 - AQW_SNAPSHOT_ITEM_SIZE_BITS),
               "every item of a table has a header");

/* The writer hands written bytes to writeback in pieces of this size, so that the sync at the end
 * does not hold up the log's own syncs. */
enum { WRITEBACK_SIZE = 1 << 22, BLOCK_CAPACITY_FIRST = 2 * AQW_SNAPSHOT_BLOCK_TARGET };

typedef struct writer {
    const aqw_io *io;
    const char *path;
    int64_t handle;
    uint32_t seed;
    uint64_t offset;            /* of the block under construction */
    uint64_t handed_over;       /* it has asked for writeback below this offset */
    uint8_t *block;             /* header, then the items so far */
    size_t used;
    size_t capacity;
    uint32_t count;
    uint64_t items;
    aqw_progress *progress;
    aqw_fault *fault;
} writer;

static aqw_status io_failure(aqw_fault *fault, const char *operation, const char *path, int error) {
    aqw_fault_io(fault, operation, path, error);
    if (aqw_error_is_no_space(error)) fault->status = AQW_NO_SPACE;
    return (aqw_status)fault->status;
}

static aqw_status write_at(writer *to, uint64_t offset, const uint8_t *from, size_t size) {
    int error = aqw_io_write_all(to->io, to->handle, offset, from, size);
    return error == 0 ? AQW_OK : io_failure(to->fault, "write", to->path, error);
}

static aqw_status flush_block(writer *to) {
    aqw_store_u32(to->block + 4, (uint32_t)(to->used - AQW_SNAPSHOT_BLOCK_HEADER_SIZE));
    aqw_store_u32(to->block + 8, to->count);
    aqw_store_u32(to->block,
                  aqw_snapshot_block_checksum(to->seed, to->offset, to->block + 4, to->used - 4));
    aqw_status status = write_at(to, to->offset, to->block, to->used);
    if (status != AQW_OK) return status;
    aqw_progress_add(to->progress, to->used);
    to->offset += to->used;
    to->items += to->count;
    to->used = AQW_SNAPSHOT_BLOCK_HEADER_SIZE;
    to->count = 0;
    if (to->offset - to->handed_over >= WRITEBACK_SIZE) {
        (void)to->io->writeback(to->io->context, to->handle, to->handed_over,
                                to->offset - to->handed_over);
        to->handed_over = to->offset;
    }
    return aqw_progress_must_stop(to->progress) ? aqw_fault_set(to->fault, AQW_STOPPED, to->path)
                                                : AQW_OK;
}

static aqw_status add_item(void *context, uint8_t type, aqw_bytes fields, aqw_bytes bytes) {
    writer *to = context;
    uint32_t size = fields.size + bytes.size;
    size_t needed = AQW_SNAPSHOT_ITEM_HEADER_SIZE + (size_t)size;
    if (to->count > 0 && to->used + needed > AQW_SNAPSHOT_BLOCK_TARGET) {
        aqw_status status = flush_block(to);
        if (status != AQW_OK) return status;
    }
    if (to->used + needed > to->capacity) {
        uint8_t *grown = realloc(to->block, to->used + needed);
        if (grown == NULL) return aqw_fault_set(to->fault, AQW_NO_MEMORY, to->path);
        to->block = grown;
        to->capacity = to->used + needed;
    }
    uint8_t *item = to->block + to->used;
    aqw_store_u32(item, size | (uint32_t)type << AQW_SNAPSHOT_ITEM_SIZE_BITS);
    if (fields.size > 0) memcpy(item + AQW_SNAPSHOT_ITEM_HEADER_SIZE, fields.data, fields.size);
    if (bytes.size > 0)
        memcpy(item + AQW_SNAPSHOT_ITEM_HEADER_SIZE + fields.size, bytes.data, bytes.size);
    to->used += needed;
    to->count++;
    return AQW_OK;
}

/* The last block has no items, and says how many there were. */
static aqw_status write_end(writer *to) {
    aqw_status status = to->count > 0 ? flush_block(to) : AQW_OK;
    if (status != AQW_OK) return status;
    aqw_store_u64(to->block + AQW_SNAPSHOT_BLOCK_HEADER_SIZE, to->items);
    to->used = AQW_SNAPSHOT_BLOCK_HEADER_SIZE + AQW_SNAPSHOT_END_SIZE;
    return flush_block(to);
}

static aqw_status write_file(writer *to, aqw_snapshot_info *info, uint64_t salt,
                             const aqw_table *table) {
    uint8_t header[AQW_SNAPSHOT_HEADER_SIZE];
    aqw_snapshot_header_write(info, salt, header);
    aqw_status status = write_at(to, 0, header, sizeof header);
    if (status == AQW_OK) {
        aqw_fault_set(to->fault, AQW_OK, to->path);
        status = aqw_table_save(table, add_item, to);
        /* A failure of the table itself comes without a fault. */
        if (status != AQW_OK && to->fault->status != (int)status)
            aqw_fault_set(to->fault, status, to->path);
    }
    if (status == AQW_OK) status = write_end(to);
    if (status != AQW_OK) return status;
    info->items = to->items;
    info->file_size = to->offset;
    int error = aqw_io_sync(to->io, to->handle);
    return error == 0 ? AQW_OK : io_failure(to->fault, "sync", to->path, error);
}

static aqw_status random_u64(const aqw_io *io, const char *path, uint64_t *value,
                             aqw_fault *fault) {
    uint8_t bytes[8];
    int error = io->random(io->context, bytes, sizeof bytes);
    if (error != 0) return aqw_fault_io(fault, "random", path, error);
    *value = aqw_load_u64(bytes);
    return AQW_OK;
}

static aqw_status make_directory(const aqw_io *io, const char *directory, const char *path,
                                 aqw_fault *fault) {
    int error = io->check_directory(io->context, path);
    if (error == 0) return AQW_OK;
    if (error == ENOTDIR) return aqw_fault_corrupt(fault, AQW_REASON_DIRECTORY, path, 0, 0);
    const char *operation = "create directory";
    if (error == ENOENT) error = io->make_directory(io->context, path);
    if (error == 0) {
        operation = "sync directory";
        error = aqw_io_sync_directory(io, directory);
    }
    return error == 0 ? AQW_OK : io_failure(fault, operation, path, error);
}

/* Writes and syncs the file under the temporary name. It stays open, also after a
 * failure where it was opened. */
static aqw_status write_temporary(const aqw_io *io, const char *temporary, const aqw_table *table,
                                  aqw_snapshot_info *info, aqw_progress *progress, int64_t *handle,
                                  aqw_fault *fault) {
    uint64_t salt = 0;
    writer to = {.io = io,
                 .path = temporary,
                 .handle = -1,
                 .offset = AQW_SNAPSHOT_HEADER_SIZE,
                 .progress = progress,
                 .fault = fault,
                 .used = AQW_SNAPSHOT_BLOCK_HEADER_SIZE,
                 .capacity = BLOCK_CAPACITY_FIRST};
    aqw_status status = random_u64(io, temporary, &salt, fault);
    if (status != AQW_OK) return status;
    to.seed = aqw_snapshot_seed(info->log_uuid, info->sequence, salt);
    int error = aqw_io_open(io, temporary, AQW_OPEN_WRITE | AQW_OPEN_CREATE, &to.handle);
    if (error != 0) return io_failure(fault, "create", temporary, error);
    *handle = to.handle;
    to.block = malloc(BLOCK_CAPACITY_FIRST);
    status = to.block == NULL ? aqw_fault_set(fault, AQW_NO_MEMORY, temporary)
                              : write_file(&to, info, salt, table);
    free(to.block);
    return status;
}

aqw_status aqw_snapshot_write(const aqw_io *io, const char *directory, const uint8_t log_uuid[16],
                              const aqw_table *table, uint64_t created_at, aqw_progress *progress,
                              aqw_snapshot_info *info, aqw_fault *fault) {
    return aqw_snapshot_write_if(io, directory, log_uuid, table, created_at, NULL, NULL, progress,
                                 info, fault);
}

aqw_status aqw_snapshot_write_if(const aqw_io *io, const char *directory,
                                 const uint8_t log_uuid[16], const aqw_table *table,
                                 uint64_t created_at, aqw_snapshot_may_publish may_publish,
                                 void *context, aqw_progress *progress, aqw_snapshot_info *info,
                                 aqw_fault *fault) {
    char snapshots[AQW_PATH_SIZE_MAX + 16], temporary[AQW_PATH_SIZE_MAX + 64],
        path[AQW_PATH_SIZE_MAX + 64];
    memset(info, 0, sizeof *info);
    memcpy(info->log_uuid, log_uuid, 16);
    info->sequence = aqw_table_latest_sequence(table);
    info->created_at = created_at;
    aqw_status status = aqw_path_join(snapshots, sizeof snapshots, directory, "snapshots");
    if (status == AQW_OK)
        status = aqw_path_join(temporary, sizeof temporary, directory, "snapshots/snapshot.tmp");
    if (status == AQW_OK) status = aqw_snapshot_path(path, sizeof path, directory, info->sequence);
    if (status != AQW_OK) return aqw_fault_set(fault, status, directory);
    status = make_directory(io, directory, snapshots, fault);
    if (status != AQW_OK) return status;
    int error = io->unlink(io->context, temporary);
    if (error != 0 && error != ENOENT) return aqw_fault_io(fault, "unlink", temporary, error);

    int64_t handle = -1;
    status = write_temporary(io, temporary, table, info, progress, &handle, fault);
    if (status == AQW_OK)
        status = aqw_snapshot_verify_file(io, temporary, info->sequence, progress, fault);
    if (status == AQW_OK && may_publish != NULL) status = may_publish(context);
    if (status == AQW_OK) {
        /* Only the file that was written gets the snapshot's name, not another that
         * was put in its place. */
        const char *operation = "check";
        error = io->check_same(io->context, handle, temporary);
        if (error == 0) {
            operation = "rename";
            error = io->rename(io->context, temporary, path);
        }
        if (error == 0) {
            operation = "sync directory";
            error = aqw_io_sync_directory(io, snapshots);
            /* The directory's own name too: an attempt that was cut short may have
             * made it without this sync. */
            if (error == 0) error = aqw_io_sync_directory(io, directory);
        }
        if (error != 0) status = io_failure(fault, operation, path, error);
    }
    if (handle >= 0) (void)io->close(io->context, handle);
    if (status != AQW_OK) (void)io->unlink(io->context, temporary);
    return status;
}
