#include "files/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "files/format.h"
#include "os/fork.h"

enum { NAME_DIGITS = 20, NAME_SIZE = NAME_DIGITS + 1 + NAME_DIGITS + 4 };

static const uint8_t magic[8] = {'A', 'Q', 'W', 'A', 'L', 'S', 'E', 'G'};

aqw_status aqw_directory_check(const char *directory, aqw_fault *fault) {
    return strlen(directory) <= AQW_PATH_SIZE_MAX - AQW_NAME_SIZE_MAX
               ? AQW_OK
               : aqw_fault_io(fault, "open", directory, ENAMETOOLONG);
}

aqw_status aqw_path_join(char *to, size_t capacity, const char *directory, const char *name) {
    int size = snprintf(to, capacity, "%s/%s", directory, name);
    return size >= 0 && (size_t)size < capacity ? AQW_OK : AQW_INVALID_ARGUMENT;
}

aqw_status aqw_segment_path(char *to, size_t capacity, const char *directory, uint64_t number,
                            uint64_t first_sequence) {
    int size = snprintf(to, capacity, "%s/wal/%020" PRIu64 "-%020" PRIu64 ".log", directory, number,
                        first_sequence);
    return size >= 0 && (size_t)size < capacity ? AQW_OK : AQW_INVALID_ARGUMENT;
}

static int parse_digits(const char *from, uint64_t *value) {
    *value = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (from[i] < '0' || from[i] > '9') return 0;
        uint64_t digit = (uint64_t)(from[i] - '0');
        if (*value > (UINT64_MAX - digit) / 10) return 0;
        *value = *value * 10 + digit;
    }
    return 1;
}

int aqw_segment_name_parse(const char *name, uint64_t *number, uint64_t *first_sequence) {
    return strlen(name) == NAME_SIZE && parse_digits(name, number) && name[NAME_DIGITS] == '-' &&
           parse_digits(name + NAME_DIGITS + 1, first_sequence) &&
           strcmp(name + NAME_SIZE - 4, ".log") == 0 && *number > 0 &&
           (*first_sequence > 0 || *number > 1);
}

int aqw_segment_name_is_temporary(const char *name) {
    size_t size = strlen(name);
    return size > 12 && strncmp(name, "prepare-", 8) == 0 && strcmp(name + size - 4, ".tmp") == 0;
}

void aqw_segment_header_write(const aqw_segment_header *header, uint8_t to[128]) {
    memset(to, 0, AQW_SEGMENT_HEADER_SIZE);
    memcpy(to, magic, sizeof magic);
    aqw_store_u32(to + 8, header->format_version);
    aqw_store_u32(to + 12, AQW_SEGMENT_HEADER_SIZE);
    memcpy(to + 16, header->place.log_uuid, 16);
    aqw_store_u64(to + 32, header->place.segment_number);
    aqw_store_u64(to + 40, header->place.salt);
    aqw_store_u64(to + 48, header->place.first_sequence);
    aqw_store_u64(to + 56, header->file_size);
    aqw_store_u64(to + 64, header->watermark);
    aqw_store_u64(to + 72, header->link_number);
    aqw_store_u64(to + 80, header->link_salt);
    aqw_store_u64(to + 88, header->link_end);
    aqw_store_u64(to + 96, header->link_last_sequence);
    aqw_store_u64(to + 104, header->created_at);
    aqw_store_u32(to + 124, aqw_crc32c(to, 124));
}

static int header_parse(const uint8_t *from, aqw_segment_header *header) {
    if (memcmp(from, magic, sizeof magic) != 0 ||
        aqw_load_u32(from + 12) != AQW_SEGMENT_HEADER_SIZE)
        return 0;
    if (aqw_load_u32(from + 124) != aqw_crc32c(from, 124)) return 0;
    memset(header, 0, sizeof *header);
    header->format_version = aqw_load_u32(from + 8);
    memcpy(header->place.log_uuid, from + 16, 16);
    header->place.segment_number = aqw_load_u64(from + 32);
    header->place.salt = aqw_load_u64(from + 40);
    header->place.first_sequence = aqw_load_u64(from + 48);
    header->file_size = aqw_load_u64(from + 56);
    header->watermark = aqw_load_u64(from + 64);
    header->link_number = aqw_load_u64(from + 72);
    header->link_salt = aqw_load_u64(from + 80);
    header->link_end = aqw_load_u64(from + 88);
    header->link_last_sequence = aqw_load_u64(from + 96);
    header->created_at = aqw_load_u64(from + 104);
    aqw_place_seed(&header->place);
    return header->format_version == AQW_FORMAT_VERSION;
}

/* Returns a version that this code does not know, or 0. Magic, version and checksum stand in
 * the same place in every version; so a damaged version number is damage, which a repair may
 * pass, and no newer version. */
static uint32_t newer_version(const uint8_t *from) {
    uint32_t version = aqw_load_u32(from + 8);
    if (memcmp(from, magic, sizeof magic) != 0 || aqw_load_u32(from + 124) != aqw_crc32c(from, 124))
        return 0;
    return version > AQW_FORMAT_VERSION ? version : 0;
}

aqw_status aqw_segment_header_load(const aqw_io *io, int64_t handle, const char *path,
                                   uint64_t number, uint64_t first_sequence,
                                   aqw_segment_header *header, aqw_fault *fault) {
    uint8_t bytes[AQW_SEGMENT_DATA];
    size_t done = 0;
    uint64_t file_size = 0;
    int error = aqw_io_read_all(io, handle, 0, bytes, sizeof bytes, &done);
    if (error != 0) return aqw_fault_io(fault, "read", path, error);
    error = io->size(io->context, handle, &file_size);
    if (error != 0) return aqw_fault_io(fault, "size", path, error);
    if (done < sizeof bytes)
        return aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, path, number, done);

    const uint8_t *first = bytes, *second = bytes + AQW_SEGMENT_HEADER_COPY;
    aqw_segment_header other;
    int first_valid = header_parse(first, header);
    int second_valid = header_parse(second, first_valid ? &other : header);
    uint32_t version = newer_version(first) != 0 ? newer_version(first) : newer_version(second);
    if (!first_valid && !second_valid && version != 0) {
        aqw_fault_set(fault, AQW_UNSUPPORTED_FORMAT, path);
        fault->format_version = version;
        return AQW_UNSUPPORTED_FORMAT;
    }
    if (!first_valid && !second_valid)
        return aqw_fault_corrupt(fault, AQW_REASON_HEADER_INVALID, path, number, 0);
    if (first_valid && second_valid && memcmp(first, second, AQW_SEGMENT_HEADER_SIZE) != 0)
        return aqw_fault_corrupt(fault, AQW_REASON_HEADER_COPIES, path, number,
                                 AQW_SEGMENT_HEADER_COPY);
    if (header->place.segment_number != number || header->place.first_sequence != first_sequence)
        return aqw_fault_corrupt(fault, AQW_REASON_HEADER_INVALID, path, number, 32);
    if (header->file_size != file_size || file_size < AQW_SEGMENT_SIZE_MIN ||
        file_size > AQW_SEGMENT_FILE_SIZE_MAX || file_size % AQW_RECORD_ALIGNMENT != 0)
        return aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, path, number,
                                 AQW_SEGMENT_OFFSET_FILE_SIZE);
    return AQW_OK;
}

aqw_status aqw_segment_size_next(uint64_t end, uint64_t needed, uint64_t size_max, uint64_t *size) {
    uint64_t least = AQW_SEGMENT_DATA + needed;
    if (needed > AQW_SEGMENT_FILE_SIZE_MAX || least > AQW_SEGMENT_FILE_SIZE_MAX)
        return AQW_TOO_LARGE;
    uint64_t chosen = AQW_SEGMENT_SIZE_FIRST;
    while (chosen < 2 * end && chosen < size_max) chosen *= 2;
    if (chosen > size_max) chosen = size_max;
    if (chosen < least) chosen = aqw_segment_size_least(needed);
    *size = chosen;
    return AQW_OK;
}

uint64_t aqw_segment_size_least(uint64_t needed) {
    uint64_t least = (AQW_SEGMENT_DATA + needed + 4095) / 4096 * 4096;
    return least < AQW_SEGMENT_SIZE_MIN ? AQW_SEGMENT_SIZE_MIN : least;
}

static aqw_status space_or_io(aqw_fault *fault, const char *operation, const char *path,
                              int error) {
    aqw_fault_io(fault, operation, path, error);
    if (aqw_error_is_no_space(error)) fault->status = AQW_NO_SPACE;
    return (aqw_status)fault->status;
}

aqw_status aqw_segment_prepare(const aqw_io *io, const char *directory, uint64_t file_size,
                               aqw_prepared *prepared, aqw_fault *fault) {
    uint8_t random[8];
    int error = io->random(io->context, random, sizeof random);
    if (error != 0) return aqw_fault_io(fault, "random", directory, error);
    int size = snprintf(prepared->path, sizeof prepared->path, "%s/wal/prepare-%016" PRIx64 ".tmp",
                        directory, aqw_load_u64(random));
    if (size < 0 || (size_t)size >= sizeof prepared->path)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, directory);
    prepared->file_size = file_size;
    prepared->generation = aqw_fork_generation();
    error = aqw_io_open(io, prepared->path, AQW_OPEN_WRITE | AQW_OPEN_CREATE, &prepared->handle);
    if (error != 0) return space_or_io(fault, "create", prepared->path, error);
    const char *operation = "write";
    error = aqw_io_write_zeros(io, prepared->handle, 0, file_size);
    if (error == 0) {
        operation = "sync";
        error = aqw_io_sync(io, prepared->handle);
    }
    if (error == 0) return AQW_OK;
    aqw_segment_discard(io, prepared);
    return space_or_io(fault, operation, prepared->path, error);
}

void aqw_segment_discard(const aqw_io *io, aqw_prepared *prepared) {
    (void)io->close(io->context, prepared->handle);
    /* The next writer removes a leftover. */
    if (prepared->generation == aqw_fork_generation())
        (void)io->unlink(io->context, prepared->path);
    prepared->handle = -1;
}

aqw_status aqw_segment_publish(const aqw_io *io, const char *directory, aqw_prepared *prepared,
                               const aqw_segment_header *header, int *is_named, aqw_fault *fault) {
    uint8_t bytes[AQW_SEGMENT_HEADER_SIZE];
    char path[AQW_PATH_SIZE_MAX + 64], wal[AQW_PATH_SIZE_MAX + 8];
    *is_named = 0;
    aqw_status status = aqw_segment_path(path, sizeof path, directory, header->place.segment_number,
                                         header->place.first_sequence);
    if (status == AQW_OK) status = aqw_path_join(wal, sizeof wal, directory, "wal");
    if (status != AQW_OK) {
        aqw_segment_discard(io, prepared);
        return aqw_fault_set(fault, status, directory);
    }
    aqw_segment_header_write(header, bytes);
    const char *operation = "write";
    int error = aqw_io_write_all(io, prepared->handle, 0, bytes, sizeof bytes);
    if (error == 0)
        error = aqw_io_write_all(io, prepared->handle, AQW_SEGMENT_HEADER_COPY, bytes,
                                 sizeof bytes);
    if (error == 0) {
        operation = "sync";
        error = aqw_io_sync(io, prepared->handle);
    }
    if (error == 0) {
        /* Only the file that was written gets the segment's name, not another that was
         * put in its place. */
        operation = "check";
        error = io->check_same(io->context, prepared->handle, prepared->path);
    }
    if (error == 0) {
        operation = "rename";
        error = io->rename(io->context, prepared->path, path);
    }
    if (error != 0) {
        aqw_segment_discard(io, prepared);
        return space_or_io(fault, operation, prepared->path, error);
    }
    *is_named = 1;
    error = aqw_io_sync_directory(io, wal);
    return error == 0 ? AQW_OK : aqw_fault_io(fault, "sync directory", wal, error);
}
