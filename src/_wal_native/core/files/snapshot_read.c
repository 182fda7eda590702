/* Reads a snapshot. It verifies every block before it believes anything in it, and every size
 * before it takes memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "files/snapshot_internal.h"
#include "table/image.h"

enum { ITEMS_AHEAD = 16 };     /* a fetch from memory takes about as long as loading 16 items */

typedef struct reader {
    const aqw_io *io;
    const char *path;
    int64_t handle;
    uint64_t file_size;
    uint32_t seed;
    uint64_t offset;            /* of the next block */
    uint8_t *block;
    size_t capacity;
    uint64_t items;
    aqw_table_loader loader;
    int is_loading;             /* 0: verify only */
    aqw_progress *progress;
    aqw_fault *fault;
} reader;

static aqw_status damaged(const reader *from, uint64_t offset) {
    return aqw_fault_corrupt(from->fault, AQW_REASON_SNAPSHOT, from->path, 0, offset);
}

static aqw_status read_at(const reader *from, uint64_t offset, uint8_t *to, size_t size) {
    size_t done = 0;
    int error = aqw_io_read_all(from->io, from->handle, offset, to, size, &done);
    if (error != 0) return aqw_fault_io(from->fault, "read", from->path, error);
    return done == size ? AQW_OK : damaged(from, offset);
}

static aqw_status read_header(reader *from, uint64_t sequence, aqw_snapshot_info *info) {
    uint8_t header[AQW_SNAPSHOT_HEADER_SIZE];
    uint64_t salt = 0;
    uint32_t version = 0;
    int error = from->io->size(from->io->context, from->handle, &from->file_size);
    if (error != 0) return aqw_fault_io(from->fault, "size", from->path, error);
    if (from->file_size < sizeof header) return damaged(from, from->file_size);
    aqw_status status = read_at(from, 0, header, sizeof header);
    if (status != AQW_OK) return status;
    if (!aqw_snapshot_header_read(header, info, &salt, &version)) {
        if (version == 0) return damaged(from, 0);
        aqw_fault_set(from->fault, AQW_UNSUPPORTED_FORMAT, from->path);
        from->fault->format_version = version;
        return AQW_UNSUPPORTED_FORMAT;
    }
    if (info->sequence != sequence) return damaged(from, 32);
    info->file_size = from->file_size;
    from->seed = aqw_snapshot_seed(info->log_uuid, info->sequence, salt);
    from->offset = AQW_SNAPSHOT_HEADER_SIZE;
    return AQW_OK;
}

/* Reads and verifies the next block; *size and *count are its own. */
static aqw_status read_block(reader *from, uint32_t *size, uint32_t *count) {
    uint8_t header[AQW_SNAPSHOT_BLOCK_HEADER_SIZE];
    if (from->file_size - from->offset < sizeof header) return damaged(from, from->offset);
    aqw_status status = read_at(from, from->offset, header, sizeof header);
    if (status != AQW_OK) return status;
    *size = aqw_load_u32(header + 4);
    *count = aqw_load_u32(header + 8);
    if (*size > AQW_SNAPSHOT_BLOCK_TARGET + AQW_IMAGE_ITEM_SIZE_MAX ||
        *size > from->file_size - from->offset - sizeof header)
        return damaged(from, from->offset);
    size_t whole = sizeof header + *size;
    if (whole > from->capacity) {
        uint8_t *grown = realloc(from->block, whole);
        if (grown == NULL) return aqw_fault_set(from->fault, AQW_NO_MEMORY, from->path);
        from->block = grown;
        from->capacity = whole;
    }
    memcpy(from->block, header, sizeof header);
    status = read_at(from, from->offset + sizeof header, from->block + sizeof header, *size);
    if (status != AQW_OK) return status;
    if (aqw_load_u32(header) !=
        aqw_snapshot_block_checksum(from->seed, from->offset, from->block + 4, whole - 4))
        return damaged(from, from->offset);
    return AQW_OK;
}

/* Says what a sink's or loader's status means for a file whose checksums are right. */
static aqw_status content_status(const reader *from, aqw_status status) {
    if (status == AQW_OK) return AQW_OK;
    if (status == AQW_NO_MEMORY || status == AQW_INVALID_ARGUMENT)
        return aqw_fault_set(from->fault, status, from->path);
    aqw_status corrupt = damaged(from, from->offset);
    from->fault->refusal = (int)status;
    return corrupt;
}

/* What has been fetched ahead of the loader, within a block. */
typedef struct lookahead { const uint8_t *at; uint32_t items; } lookahead;

static void look_ahead(const reader *from, const uint8_t *end, lookahead *ahead) {
    while (ahead->items < ITEMS_AHEAD &&
           (size_t)(end - ahead->at) >= AQW_SNAPSHOT_ITEM_HEADER_SIZE) {
        uint32_t word = aqw_load_u32(ahead->at),
                 item_size = word & ((1u << AQW_SNAPSHOT_ITEM_SIZE_BITS) - 1);
        const uint8_t *payload = ahead->at + AQW_SNAPSHOT_ITEM_HEADER_SIZE;
        /* the loader reports it when it comes here */
        if (item_size > (size_t)(end - payload)) break;
        aqw_table_load_fetch(&from->loader, (uint8_t)(word >> AQW_SNAPSHOT_ITEM_SIZE_BITS), payload,
                             item_size);
        ahead->at = payload + item_size;
        ahead->items++;
    }
    if (ahead->items > 0) ahead->items--;
}

static aqw_status take_items(reader *from, uint32_t size, uint32_t count) {
    const uint8_t *at = from->block + AQW_SNAPSHOT_BLOCK_HEADER_SIZE, *end = at + size;
    lookahead ahead = {at, 0};
    for (uint32_t i = 0; i < count; i++) {
        if (from->is_loading) look_ahead(from, end, &ahead);
        if ((size_t)(end - at) < AQW_SNAPSHOT_ITEM_HEADER_SIZE) return damaged(from, from->offset);
        uint32_t word = aqw_load_u32(at),
                 item_size = word & ((1u << AQW_SNAPSHOT_ITEM_SIZE_BITS) - 1);
        at += AQW_SNAPSHOT_ITEM_HEADER_SIZE;
        if (item_size > (size_t)(end - at)) return damaged(from, from->offset);
        if (from->is_loading) {
            aqw_status status = content_status(
                from,
                aqw_table_load_item(&from->loader, (uint8_t)(word >> AQW_SNAPSHOT_ITEM_SIZE_BITS),
                                    at, item_size));
            if (status != AQW_OK) return status;
        }
        at += item_size;
    }
    from->items += count;
    return at == end ? AQW_OK : damaged(from, from->offset);
}

static aqw_status read_blocks(reader *from) {
    uint32_t size = 0, count = 0;
    for (;;) {
        aqw_status status = read_block(from, &size, &count);
        if (status == AQW_OK && count > 0) status = take_items(from, size, count);
        if (status != AQW_OK) return status;
        uint64_t block_size = AQW_SNAPSHOT_BLOCK_HEADER_SIZE + (uint64_t)size;
        aqw_progress_add(from->progress, block_size);
        if (aqw_progress_must_stop(from->progress))
            return aqw_fault_set(from->fault, AQW_STOPPED, from->path);
        if (count == 0) {
            int is_whole =
                size == AQW_SNAPSHOT_END_SIZE &&
                aqw_load_u64(from->block + AQW_SNAPSHOT_BLOCK_HEADER_SIZE) == from->items &&
                from->offset + block_size == from->file_size;
            return is_whole ? AQW_OK : damaged(from, from->offset);
        }
        from->offset += block_size;
    }
}

static aqw_status read_file(reader *from, uint64_t sequence, aqw_table *table,
                            aqw_snapshot_info *info) {
    aqw_status status = read_header(from, sequence, info);
    if (status != AQW_OK) return status;
    aqw_progress_expect(from->progress, from->file_size);
    aqw_progress_add(from->progress, from->offset);
    if (table != NULL) {
        status = content_status(from, aqw_table_load_begin(&from->loader, table, from->file_size));
        if (status != AQW_OK) return status;
        from->is_loading = 1;
    }
    status = read_blocks(from);
    info->items = from->items;
    if (status != AQW_OK || table == NULL) return status;
    status = content_status(from, aqw_table_load_end(&from->loader));
    if (status == AQW_OK && aqw_table_latest_sequence(table) != sequence)
        status = damaged(from, 32);
    return status;
}

static aqw_status open_file(reader *from, aqw_snapshot_info *info) {
    memset(info, 0, sizeof *info);
    int error = aqw_io_open(from->io, from->path, AQW_OPEN_READ, &from->handle);
    return error == 0 ? AQW_OK : aqw_fault_io(from->fault, "open", from->path, error);
}

static aqw_status read_path(const aqw_io *io, const char *path, uint64_t sequence, aqw_table *table,
                            aqw_progress *progress, aqw_snapshot_info *info, aqw_fault *fault) {
    reader from = {.io = io, .path = path, .handle = -1, .progress = progress, .fault = fault};
    aqw_status status = open_file(&from, info);
    if (status != AQW_OK) return status;
    status = read_file(&from, sequence, table, info);
    (void)io->close(io->context, from.handle);
    free(from.block);
    return status;
}

aqw_status aqw_snapshot_verify_file(const aqw_io *io, const char *path, uint64_t sequence,
                                    aqw_progress *progress, aqw_fault *fault) {
    aqw_snapshot_info info;
    return read_path(io, path, sequence, NULL, progress, &info, fault);
}

static aqw_status read_counts(reader *from, uint64_t sequence, aqw_table_counts *counts,
                              aqw_snapshot_info *info) {
    uint32_t size = 0, count = 0;
    aqw_image_head head;
    aqw_status status = read_header(from, sequence, info);
    if (status == AQW_OK) status = read_block(from, &size, &count);
    if (status != AQW_OK) return status;
    if (count == 0 || size < AQW_SNAPSHOT_ITEM_HEADER_SIZE) return damaged(from, from->offset);
    const uint8_t *item = from->block + AQW_SNAPSHOT_BLOCK_HEADER_SIZE;
    uint32_t word = aqw_load_u32(item),
             item_size = word & ((1u << AQW_SNAPSHOT_ITEM_SIZE_BITS) - 1);
    if (item_size > size - AQW_SNAPSHOT_ITEM_HEADER_SIZE) return damaged(from, from->offset);
    status = content_status(from,
                            aqw_image_head_read((uint8_t)(word >> AQW_SNAPSHOT_ITEM_SIZE_BITS),
                                                item + AQW_SNAPSHOT_ITEM_HEADER_SIZE, item_size,
                                                from->file_size, &head));
    if (status != AQW_OK) return status;
    if (head.sequence != sequence) return damaged(from, 32);
    *counts = (aqw_table_counts){
        .tasks = head.counts[AQW_IMAGE_TASK],
        .runs = head.counts[AQW_IMAGE_RUN],
        .history = head.counts[AQW_IMAGE_HISTORY],
        .attempts = head.counts[AQW_IMAGE_ATTEMPT],
        .leases = head.counts[AQW_IMAGE_LEASE],
        .dependencies = head.counts[AQW_IMAGE_DEPENDENCIES],
        .budgets = head.counts[AQW_IMAGE_BUDGET],
        .subscriptions = head.counts[AQW_IMAGE_SUBSCRIPTION],
        .actors = head.counts[AQW_IMAGE_ACTOR],
        .tenants = head.counts[AQW_IMAGE_TENANT],
        .roles = head.counts[AQW_IMAGE_ROLE],
        .capabilities = head.counts[AQW_IMAGE_CAPABILITY],
        .ledger = head.counts[AQW_IMAGE_LEDGER_ENTRY],
        .tombstones = head.counts[AQW_IMAGE_TOMBSTONE],
    };
    return AQW_OK;
}

aqw_status aqw_snapshot_read_counts(const aqw_io *io, const char *directory, uint64_t sequence,
                                    aqw_table_counts *counts, aqw_snapshot_info *info,
                                    aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 64];
    reader from = {.io = io, .path = path, .handle = -1, .fault = fault};
    aqw_status status = aqw_snapshot_path(path, sizeof path, directory, sequence);
    if (status != AQW_OK) return aqw_fault_set(fault, status, directory);
    status = open_file(&from, info);
    if (status != AQW_OK) return status;
    status = read_counts(&from, sequence, counts, info);
    (void)io->close(io->context, from.handle);
    free(from.block);
    return status;
}

aqw_status aqw_snapshot_read(const aqw_io *io, const char *directory, uint64_t sequence,
                             aqw_table *table, aqw_progress *progress, aqw_snapshot_info *info,
                             aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 64];
    aqw_status status = aqw_snapshot_path(path, sizeof path, directory, sequence);
    return status == AQW_OK ? read_path(io, path, sequence, table, progress, info, fault)
                            : aqw_fault_set(fault, status, directory);
}
