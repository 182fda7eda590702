/* Names and headers of snapshots, and the choice among them. */
#include "files/snapshot_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "files/format.h"
#include "files/segment.h"

enum { NAME_DIGITS = 20, NAME_SIZE = NAME_DIGITS + 5 };

static const uint8_t magic[8] = {'A', 'Q', 'W', 'A', 'L', 'S', 'N', 'P'};

int aqw_snapshot_name_parse(const char *name, uint64_t *sequence) {
    if (strlen(name) != NAME_SIZE || strcmp(name + NAME_DIGITS, ".snap") != 0) return 0;
    *sequence = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') return 0;
        uint64_t digit = (uint64_t)(name[i] - '0');
        if (*sequence > (UINT64_MAX - digit) / 10) return 0;
        *sequence = *sequence * 10 + digit;
    }
    return *sequence > 0;
}

aqw_status aqw_snapshot_path(char *to, size_t capacity, const char *directory, uint64_t sequence) {
    int size = snprintf(to, capacity, "%s/snapshots/%020" PRIu64 ".snap", directory, sequence);
    return size >= 0 && (size_t)size < capacity ? AQW_OK : AQW_INVALID_ARGUMENT;
}

typedef struct listing {
    uint64_t *sequences;
    uint32_t capacity;
    uint32_t count;
} listing;

/* Keeps the greatest, in falling order. */
static void visit_name(void *to, const char *name) {
    listing *list = to;
    uint64_t sequence = 0;
    if (!aqw_snapshot_name_parse(name, &sequence)) return;
    uint32_t at = list->count;
    while (at > 0 && list->sequences[at - 1] < sequence) at--;
    if (at == list->capacity) return;
    if (list->count < list->capacity) list->count++;
    for (uint32_t i = list->count - 1; i > at; i--) list->sequences[i] = list->sequences[i - 1];
    list->sequences[at] = sequence;
}

aqw_status aqw_snapshot_list(const aqw_io *io, const char *directory, uint64_t *sequences,
                             uint32_t capacity, uint32_t *count, aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 16];
    listing list = {sequences, capacity, 0};
    *count = 0;
    if (aqw_path_join(path, sizeof path, directory, "snapshots") != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, directory);
    int error = io->check_directory(io->context, path);
    if (error == ENOENT) return AQW_OK;
    if (error == ENOTDIR) return aqw_fault_corrupt(fault, AQW_REASON_DIRECTORY, path, 0, 0);
    if (error == 0) error = io->list(io->context, path, visit_name, &list);
    if (error != 0) return aqw_fault_io(fault, "list", path, error);
    *count = list.count;
    return AQW_OK;
}

uint32_t aqw_snapshot_seed(const uint8_t log_uuid[16], uint64_t sequence, uint64_t salt) {
    uint8_t bytes[32];
    memcpy(bytes, log_uuid, 16);
    aqw_store_u64(bytes + 16, sequence);
    aqw_store_u64(bytes + 24, salt);
    return aqw_crc32c_update(AQW_CRC32C_START, bytes, sizeof bytes);
}

uint32_t aqw_snapshot_block_checksum(uint32_t seed, uint64_t offset, const uint8_t *from,
                                     size_t size) {
    uint8_t bytes[8];
    aqw_store_u64(bytes, offset);
    return aqw_crc32c_finish(
        aqw_crc32c_update(aqw_crc32c_update(seed, bytes, sizeof bytes), from, size));
}

void aqw_snapshot_header_write(const aqw_snapshot_info *info, uint64_t salt, uint8_t to[64]) {
    memset(to, 0, AQW_SNAPSHOT_HEADER_SIZE);
    memcpy(to, magic, sizeof magic);
    aqw_store_u32(to + 8, AQW_FORMAT_VERSION);
    aqw_store_u32(to + 12, AQW_SNAPSHOT_HEADER_SIZE);
    memcpy(to + 16, info->log_uuid, 16);
    aqw_store_u64(to + 32, info->sequence);
    aqw_store_u64(to + 40, salt);
    aqw_store_u64(to + 48, info->created_at);
    aqw_store_u32(to + 60, aqw_crc32c(to, 60));
}

int aqw_snapshot_header_read(const uint8_t from[64], aqw_snapshot_info *info, uint64_t *salt,
                             uint32_t *version) {
    *version = 0;
    /* Magic, version and checksum stand in the same place in every version; so a damaged version
     * number is damage and no newer version. */
    if (memcmp(from, magic, sizeof magic) != 0 || aqw_load_u32(from + 60) != aqw_crc32c(from, 60))
        return 0;
    uint32_t found = aqw_load_u32(from + 8);
    if (found > AQW_FORMAT_VERSION) *version = found;
    if (found != AQW_FORMAT_VERSION || aqw_load_u32(from + 12) != AQW_SNAPSHOT_HEADER_SIZE)
        return 0;
    memcpy(info->log_uuid, from + 16, 16);
    info->sequence = aqw_load_u64(from + 32);
    info->created_at = aqw_load_u64(from + 48);
    *salt = aqw_load_u64(from + 40);
    return 1;
}

int aqw_snapshot_is_damage(aqw_status status, const aqw_fault *fault) {
    return status == AQW_CORRUPT || (status == AQW_IO_ERROR && fault->system_error == EIO);
}

aqw_status aqw_snapshot_load_newest(const aqw_io *io, const char *directory, aqw_table *table,
                                    aqw_progress *progress, aqw_snapshot_choice *choice,
                                    aqw_fault *fault) {
    uint64_t sequences[AQW_SNAPSHOT_COUNT_MAX];
    uint32_t count = 0;
    memset(choice, 0, sizeof *choice);
    aqw_status status = aqw_snapshot_list(io, directory, sequences, AQW_SNAPSHOT_COUNT_MAX, &count,
                                          fault);
    for (uint32_t i = 0; status == AQW_OK && i < count; i++) {
        status = aqw_snapshot_read(io, directory, sequences[i], table, progress, &choice->info,
                                   fault);
        if (status == AQW_OK) {
            choice->is_found = 1;
            return AQW_OK;
        }
        if (!aqw_snapshot_is_damage(status, fault)) return status;
        if (choice->damaged++ == 0) choice->damage = *fault;
        memset(&choice->info, 0, sizeof choice->info);
        aqw_table_clear(table);
        status = AQW_OK;
    }
    return status;
}
