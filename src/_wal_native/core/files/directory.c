#include "files/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "files/segment.h"

/* A tool that asks for the lock's holder takes the lock shared for an instant; so one refusal is
 * not yet an answer. */
enum {
    LOCK_TRIES = 100,
    COPY_SIZE = 1 << 20,
    PATH_CAPACITY = AQW_PATH_SIZE_MAX + AQW_NAME_SIZE_MAX
};

static aqw_status name_path(char path[PATH_CAPACITY], const char *root, const char *name,
                            aqw_fault *fault) {
    return aqw_path_join(path, PATH_CAPACITY, root, name) == AQW_OK
               ? AQW_OK
               : aqw_fault_set(fault, AQW_INVALID_ARGUMENT, root);
}

aqw_status aqw_directory_make(const aqw_io *io, const char *root, const char *path,
                              aqw_fault *fault) {
    char parent[PATH_CAPACITY];
    int error = io->check_directory(io->context, path);
    if (error == 0) return AQW_OK;
    /* Inside the queue a file in a directory's place is damage; where the queue should be, it is
     * another program's. */
    if (error == ENOTDIR && strlen(path) > strlen(root))
        return aqw_fault_corrupt(fault, AQW_REASON_DIRECTORY, path, 0, 0);
    if (error != ENOENT) return aqw_fault_io(fault, "open", path, error);
    const char *slash = strrchr(path, '/');
    if (slash == NULL || strlen(path) >= sizeof parent)
        return aqw_fault_io(fault, "create directory", path, ENOENT);
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    memcpy(parent, path, size);
    parent[size] = '\0';
    if (strcmp(parent, path) == 0) return aqw_fault_io(fault, "create directory", path, ENOENT);
    aqw_status status = aqw_directory_make(io, root, parent, fault);
    if (status != AQW_OK) return status;
    error = io->make_directory(io->context, path);
    if (error != 0 && error != EEXIST) return aqw_fault_io(fault, "create directory", path, error);
    error = aqw_io_sync_directory(io, parent);
    return error == 0 ? AQW_OK : aqw_fault_io(fault, "sync directory", parent, error);
}

static int is_taken(int error) {
    return error == EWOULDBLOCK || error == EAGAIN || error == ESTALE;
}

/* Locks the file under the name LOCK, and not one that was unlinked after it was opened. */
static aqw_status lock_file(const aqw_io *io, const char *root, aqw_lock *lock, aqw_fault *fault) {
    char path[PATH_CAPACITY];
    aqw_status status = name_path(path, root, "LOCK", fault);
    if (status != AQW_OK) return status;
    int error = aqw_io_open(io, path, AQW_OPEN_WRITE | AQW_OPEN_EITHER, &lock->file);
    if (error != 0) return aqw_fault_io(fault, "open", path, error);
    error = io->lock(io->context, lock->file);
    if (error == 0) error = io->check_same(io->context, lock->file, path);
    if (error == 0) return AQW_OK;
    (void)io->close(io->context, lock->file);
    lock->file = -1;
    return is_taken(error) ? aqw_fault_set(fault, AQW_LOCKED, path)
                           : aqw_fault_io(fault, "lock", path, error);
}

aqw_status aqw_directory_lock_folder(const aqw_io *io, const char *root, aqw_lock *lock,
                                     aqw_fault *fault) {
    char path[PATH_CAPACITY];
    if (lock->folder >= 0) return AQW_OK;
    aqw_status status = name_path(path, root, "wal", fault);
    if (status != AQW_OK) return status;
    int error = io->lock_directory(io->context, path, &lock->folder);
    /* The calls that use the directory report what stands there instead of one. */
    if (error == 0 || error == ENOTSUP || error == ENOENT || error == ENOTDIR || error == ELOOP)
        return AQW_OK;
    return is_taken(error) ? aqw_fault_set(fault, AQW_LOCKED, path)
                           : aqw_fault_io(fault, "lock", path, error);
}

aqw_status aqw_directory_lock(const aqw_io *io, const char *root, const char *holder,
                              aqw_lock *lock, aqw_fault *fault) {
    aqw_status status = AQW_LOCKED;
    lock->file = lock->folder = -1;
    for (int tries = 0; tries < LOCK_TRIES && status == AQW_LOCKED; tries++) {
        status = lock_file(io, root, lock, fault);
        if (status == AQW_OK) status = aqw_directory_lock_folder(io, root, lock, fault);
        if (status != AQW_OK) aqw_directory_unlock(io, lock);
    }
    if (status != AQW_OK) return status;
    /* The text is only information for people: a failure to write it is no reason to refuse. */
    if (io->truncate(io->context, lock->file, 0) == 0)
        (void)aqw_io_write_all(io, lock->file, 0, holder, strlen(holder));
    return AQW_OK;
}

static void let_go(const aqw_io *io, int64_t *handle) {
    if (*handle < 0) return;
    /* A child that was just forked may not have closed its copy yet. */
    (void)io->unlock(io->context, *handle);
    (void)io->close(io->context, *handle);
    *handle = -1;
}

void aqw_directory_unlock(const aqw_io *io, aqw_lock *lock) {
    let_go(io, &lock->folder);
    let_go(io, &lock->file);
}

static int is_elsewhere(int error) {
    return error == ESTALE || error == ENOENT || error == ENOTDIR || error == ELOOP;
}

/* One of the two is enough. While the folder's lock is held, a removed LOCK lets no writer in; and
 * the calls that use a folder meet and report one that was swapped. */
aqw_status aqw_directory_check_held(const aqw_io *io, const char *root, const aqw_lock *lock,
                                    aqw_fault *fault) {
    char path[PATH_CAPACITY];
    aqw_status status = name_path(path, root, "LOCK", fault);
    if (status != AQW_OK) return status;
    int error = io->check_same(io->context, lock->file, path);
    if (is_elsewhere(error) && lock->folder >= 0) {
        status = name_path(path, root, "wal", fault);
        if (status != AQW_OK) return status;
        error = io->check_same(io->context, lock->folder, path);
    }
    if (error == 0) return AQW_OK;
    return is_elsewhere(error) ? aqw_fault_set(fault, AQW_DISPLACED, root)
                               : aqw_fault_io(fault, "check", path, error);
}

/* The copies of one kind. Their names begin with the segment's number, so the first
 * name is the oldest copy's. */
typedef struct copies {
    const char *kind;
    uint64_t count;
    char first[AQW_NAME_SIZE_MAX];
} copies;

static void visit_copy(void *to, const char *name) {
    copies *found = to;
    size_t size = strlen(found->kind);
    if (strncmp(name, found->kind, size) != 0 || name[size] != '-' ||
        strlen(name) >= sizeof found->first)
        return;
    if (found->count++ == 0 || strcmp(name, found->first) < 0)
        memcpy(found->first, name, strlen(name) + 1);
}

/* Makes room for one more copy. A copy that can't be removed stays: that is no reason
 * to refuse a recovery. */
static void drop_oldest_copies(const aqw_io *io, const char *quarantine, const char *kind) {
    char path[PATH_CAPACITY];
    for (;;) {
        copies found = {.kind = kind};
        if (io->list(io->context, quarantine, visit_copy, &found) != 0 ||
            found.count < AQW_QUARANTINE_COPIES_MAX)
            return;
        if (aqw_path_join(path, sizeof path, quarantine, found.first) != AQW_OK ||
            io->unlink(io->context, path) != 0)
            return;
    }
}

/* What was read of a copy's bytes: a running checksum. The bytes also go to a file
 * where one is open. */
typedef struct copied {
    uint32_t checksum;
    int error;                  /* of writing */
} copied;

static aqw_status copy_bytes(const aqw_io *io, int64_t handle, aqw_window *bytes, uint64_t begin,
                             uint64_t size, copied *to) {
    uint64_t part = 0;
    *to = (copied){AQW_CRC32C_START, 0};
    for (uint64_t at = 0; at < size && to->error == 0; at += part) {
        part = size - at < COPY_SIZE ? size - at : COPY_SIZE;
        const uint8_t *from = aqw_window_at(bytes, begin + at, part);
        if (from == NULL) return bytes->status;
        to->checksum = aqw_crc32c_update(to->checksum, from, (size_t)part);
        if (handle >= 0) to->error = aqw_io_write_all(io, handle, at, from, (size_t)part);
    }
    return AQW_OK;
}

aqw_status aqw_quarantine_copy(const aqw_io *io, const char *root, const char *kind,
                               uint64_t segment, uint64_t offset, aqw_window *bytes, uint64_t begin,
                               uint64_t size, aqw_fault *fault) {
    char name[AQW_NAME_SIZE_MAX], quarantine[PATH_CAPACITY], temporary[PATH_CAPACITY],
        path[PATH_CAPACITY];
    copied to;
    aqw_status status = copy_bytes(io, -1, bytes, begin, size, &to);
    if (status != AQW_OK) {
        *fault = bytes->fault;
        return status;
    }
    (void)snprintf(name, sizeof name,
                   "quarantine/%s-%020" PRIu64 "-%020" PRIu64 "-%08" PRIx32 ".bin", kind, segment,
                   offset, aqw_crc32c_finish(to.checksum));
    status = name_path(quarantine, root, "quarantine", fault);
    if (status == AQW_OK) status = name_path(temporary, root, "quarantine/copy.tmp", fault);
    if (status == AQW_OK) status = name_path(path, root, name, fault);
    if (status == AQW_OK) status = aqw_directory_make(io, root, quarantine, fault);
    if (status != AQW_OK) return status;
    drop_oldest_copies(io, quarantine, kind);
    int64_t handle = -1;
    int error = io->unlink(io->context, temporary);
    if (error != 0 && error != ENOENT) return aqw_fault_io(fault, "unlink", temporary, error);
    const char *operation = "create";
    error = aqw_io_open(io, temporary, AQW_OPEN_WRITE | AQW_OPEN_CREATE, &handle);
    if (error == 0) {
        operation = "write";
        status = copy_bytes(io, handle, bytes, begin, size, &to);
        error = status == AQW_OK ? to.error : 0;
        if (status == AQW_OK && error == 0) error = aqw_io_sync(io, handle);
        (void)io->close(io->context, handle);
    }
    if (status != AQW_OK) {
        *fault = bytes->fault;
        return status;
    }
    if (error == 0) {
        operation = "rename";
        error = io->rename(io->context, temporary, path);
    }
    if (error != 0) return aqw_fault_io(fault, operation, path, error);
    error = aqw_io_sync_directory(io, quarantine);
    /* Syncs its own name too: an attempt that was cut short may have made it. */
    if (error == 0) error = aqw_io_sync_directory(io, root);
    return error == 0 ? AQW_OK : aqw_fault_io(fault, "sync directory", quarantine, error);
}
