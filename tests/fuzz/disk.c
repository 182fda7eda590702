#define _POSIX_C_SOURCE 200809L

#include "disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_memory.h"
#include "fuzz.h"

/* ---- Files and names ---- */

static void let_go(disk_file *file) {
    if (--file->names > 0) return;
    free(file->data);
    free(file);
}

static int find_name(const disk *d, const char *path) {
    for (int i = 0; i < d->name_count; i++)
        if (strcmp(d->names[i].path, path) == 0) return i;
    return -1;
}

static int add_name(disk *d, const char *path, disk_file *file) {
    if (d->name_count == DISK_FILES_MAX || strlen(path) >= DISK_PATH_SIZE) return -1;
    strcpy(d->names[d->name_count].path, path);
    d->names[d->name_count].file = file;
    if (file != NULL) file->names++;
    return d->name_count++;
}

static void remove_name(disk *d, int index) {
    if (d->names[index].file != NULL) let_go(d->names[index].file);
    memmove(&d->names[index], &d->names[index + 1], (size_t)(d->name_count - index - 1) * sizeof d->names[0]);
    d->name_count--;
}

void disk_make_directory(disk *d, const char *path) {
    if (find_name(d, path) < 0) (void)add_name(d, path, NULL);
}

disk_file *disk_find(const disk *d, const char *path) {
    int index = find_name(d, path);
    return index < 0 ? NULL : d->names[index].file;
}

disk_file *disk_file_at(disk *d, const char *path) {
    int index = find_name(d, path);
    if (index >= 0) return d->names[index].file;
    disk_file *file = calloc(1, sizeof *file);
    if (file == NULL) abort();
    if (add_name(d, path, file) >= 0) return file;
    free(file);
    return NULL;
}

void disk_remove(disk *d, const char *path) {
    int index = find_name(d, path);
    if (index >= 0) remove_name(d, index);
}

void disk_resize(disk_file *file, size_t size) {
    if (size > DISK_FILE_SIZE_MAX) return;
    if (size > file->capacity) {
        CHECK(!file->is_mapped);
        size_t capacity = size < 2 * file->capacity ? 2 * file->capacity : size;
        uint8_t *grown = realloc(file->data, capacity);
        if (grown == NULL) abort();
        file->data = grown;
        file->capacity = capacity;
    }
    if (size > file->size) memset(file->data + file->size, 0, size - file->size);
    file->size = size;
}

void disk_put(disk_file *file, size_t offset, const void *from, size_t size) {
    if (offset > DISK_FILE_SIZE_MAX || size > DISK_FILE_SIZE_MAX - offset) return;
    if (offset + size > file->size) disk_resize(file, offset + size);
    if (size > 0) memcpy(file->data + offset, from, size);
}

void disk_copy(disk_file *file, size_t from, size_t to, size_t size) {
    if (from + size > file->size) return;
    if (to + size > file->size) disk_resize(file, to + size);
    memmove(file->data + to, file->data + from, size);
}

uint64_t disk_memory_bound(const disk *d) {
    uint64_t size = 0, used = 0;
    for (int i = 0; i < d->name_count; i++) {
        const disk_file *file = d->names[i].file;
        size_t end = file == NULL ? 0 : file->size;
        size += end;
        while (end > 0 && file->data[end - 1] == 0) end--;
        used += end;
    }
    return memory_bound(size, used);
}

uint64_t disk_digest(const disk *d, const char *prefix) {
    uint64_t digest = 0;
    for (int i = 0; i < d->name_count; i++) {
        const disk_name *name = &d->names[i];
        if (strncmp(name->path, prefix, strlen(prefix)) != 0) continue;
        uint64_t one = digest_bytes(DIGEST_START, name->path, strlen(name->path));
        if (name->file != NULL) one = digest_bytes(digest_number(one, name->file->size), name->file->data, name->file->size);
        digest += one;   /* in whatever order the names stand */
    }
    return digest;
}

/* ---- The calls ---- */

/* 0, or the error of a call that has no effect. */
static int refuse(disk *d) {
    if (!pthread_equal(pthread_self(), d->owner)) return ENOSPC;
    return d->is_dead ? EIO : 0;
}

/* Like refuse, for calls that may be made to fail: *size is halved where the transfer is to be short. */
static int refuse_or_fail(disk *d, size_t *size) {
    int error = refuse(d);
    if (error != 0 || d->fault.countdown == 0) return error;
    if (d->fault.countdown > 1) {
        d->fault.countdown--;
        return 0;
    }
    if (!d->fault.is_lasting) d->fault.countdown = 0;
    d->failures++;
    if (d->fault.is_short && size != NULL && *size > 1) {
        *size = (*size + 1) / 2;
        return 0;
    }
    return d->fault.error;
}

static disk_file *file_of(disk *d, int64_t handle) {
    CHECK(handle >= 0 && handle < DISK_HANDLES_MAX && d->handles[handle] != NULL);
    return d->handles[handle];
}

static int parent_exists(const disk *d, const char *path) {
    char parent[DISK_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    if (slash == path) return 1;
    if (slash == NULL || strlen(path) >= sizeof parent) return 0;
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = '\0';
    int index = find_name(d, parent);
    return index >= 0 && d->names[index].file == NULL;
}

static int disk_open(void *context, const char *path, int flags, int64_t *handle) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    if (!parent_exists(d, path)) return ENOENT;
    int index = find_name(d, path);
    if (index >= 0 && d->names[index].file == NULL) return EISDIR;
    if (index >= 0 && (flags & AQW_OPEN_CREATE)) return EEXIST;
    if (index < 0 && !(flags & (AQW_OPEN_CREATE | AQW_OPEN_EITHER))) return ENOENT;
    disk_file *file = disk_file_at(d, path);
    if (file == NULL) return ENOSPC;
    if (index < 0 && strstr(path, "/LOCK") == NULL) d->writes++;
    for (int64_t i = 0; i < DISK_HANDLES_MAX; i++) {
        if (d->handles[i] != NULL) continue;
        d->handles[i] = file;
        file->names++;
        *handle = i;
        return 0;
    }
    return EMFILE;
}

static int disk_close(void *context, int64_t handle) {
    disk *d = context;
    int error = refuse(d);
    if (error != 0) return error;
    disk_file *file = file_of(d, handle);
    file->is_locked = 0;
    d->handles[handle] = NULL;
    let_go(file);
    return 0;
}

static int disk_read(void *context, int64_t handle, uint64_t offset, void *to, size_t size, size_t *done) {
    disk *d = context;
    int error = refuse_or_fail(d, &size);
    if (error != 0) return error;
    const disk_file *file = file_of(d, handle);
    *done = offset >= file->size ? 0 : file->size - (size_t)offset;
    if (*done > size) *done = size;
    if (*done > 0) memcpy(to, file->data + offset, *done);
    return 0;
}

static int disk_write(void *context, int64_t handle, uint64_t offset, const void *from, size_t size, size_t *done) {
    disk *d = context;
    int error = refuse_or_fail(d, &size);
    if (error != 0) return error;
    disk_file *file = file_of(d, handle);
    if (offset > DISK_FILE_SIZE_MAX || size > DISK_FILE_SIZE_MAX - offset) return EFBIG;
    if (!file->is_locked) d->writes++;
    disk_put(file, (size_t)offset, from, size);
    *done = size;
    return 0;
}

static int disk_sync(void *context, int64_t handle) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error == 0) (void)file_of(d, handle);
    return error;
}

static int disk_writeback(void *context, int64_t handle, uint64_t offset, uint64_t size) {
    disk *d = context;
    (void)offset;
    (void)size;
    int error = refuse(d);
    if (error == 0) (void)file_of(d, handle);
    return error;
}

static int disk_truncate(void *context, int64_t handle, uint64_t size) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    disk_file *file = file_of(d, handle);
    if (!file->is_locked) d->writes++;
    disk_resize(file, (size_t)size);
    return 0;
}

static int disk_size(void *context, int64_t handle, uint64_t *size) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error == 0) *size = file_of(d, handle)->size;
    return error;
}

static void move_name(disk *d, const char *from, const char *to) {
    int source = find_name(d, from), target = find_name(d, to);
    if (source < 0 || source == target || strlen(to) >= DISK_PATH_SIZE) return;
    disk_file *file = d->names[source].file;
    if (target >= 0) {
        if (d->names[target].file != NULL) let_go(d->names[target].file);
        d->names[target].file = file;
        if (file != NULL) file->names++;
        remove_name(d, source);
    } else {
        strcpy(d->names[source].path, to);
    }
}

static int disk_rename(void *context, const char *from, const char *to) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    int source = find_name(d, from), target = find_name(d, to);
    if (source < 0) return ENOENT;
    if (target >= 0 && d->names[target].file == NULL) return EISDIR;
    d->writes++;
    move_name(d, from, to);
    return 0;
}

static int disk_unlink(void *context, const char *path) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    int index = find_name(d, path);
    if (index < 0) return ENOENT;
    if (d->names[index].file == NULL) return EISDIR;
    d->writes++;
    remove_name(d, index);
    return 0;
}

static int disk_make_directory_call(void *context, const char *path) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    if (find_name(d, path) >= 0) return EEXIST;
    if (!parent_exists(d, path)) return ENOENT;
    d->writes++;
    return add_name(d, path, NULL) < 0 ? ENOSPC : 0;
}

static int disk_check_directory(void *context, const char *path) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    if (strcmp(path, "/") == 0) return 0;
    int index = find_name(d, path);
    if (index < 0) return ENOENT;
    return d->names[index].file == NULL ? 0 : ENOTDIR;
}

static int disk_sync_directory(void *context, const char *path) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0 || strcmp(path, "/") == 0) return error;
    int index = find_name(d, path);
    return index < 0 || d->names[index].file != NULL ? ENOENT : 0;
}

static int disk_list(void *context, const char *path, aqw_list_visit visit, void *to) {
    disk *d = context;
    size_t size = strlen(path);
    char found[DISK_FILES_MAX][DISK_PATH_SIZE];
    int count = 0;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    int index = find_name(d, path);
    if (index < 0) return ENOENT;
    if (d->names[index].file != NULL) return ENOTDIR;
    /* The visitor may remove files: names are gathered first. */
    for (int i = 0; i < d->name_count; i++) {
        const char *name = d->names[i].path;
        if (strncmp(name, path, size) == 0 && name[size] == '/' && strchr(name + size + 1, '/') == NULL)
            strcpy(found[count++], name + size + 1);
    }
    for (int i = 0; i < count; i++) visit(to, found[i]);
    return 0;
}

static int disk_map(void *context, int64_t handle, size_t size, void **address) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    if (!d->can_map) return ENOTSUP;
    disk_file *file = file_of(d, handle);
    CHECK(file->size == size);
    file->is_mapped = 1;
    *address = file->data;
    return 0;
}

static int disk_unmap(void *context, void *address, size_t size) {
    disk *d = context;
    int error = refuse(d);
    if (error != 0) return error;
    for (int i = 0; i < DISK_HANDLES_MAX; i++) {
        disk_file *file = d->handles[i];
        if (file == NULL || file->data != address) continue;
        CHECK(file->is_mapped && file->size == size);
        file->is_mapped = 0;
        return 0;
    }
    fuzz_fail(__FILE__, __LINE__, "an address that is mapped");
    return EINVAL;
}

static int disk_lock(void *context, int64_t handle) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    disk_file *file = file_of(d, handle);
    if (file->is_locked) return EWOULDBLOCK;
    file->is_locked = 1;
    return 0;
}

/* A directory has no handle here: what a system without such locks says. */
static int disk_lock_directory(void *context, const char *path, int64_t *handle) {
    (void)path, (void)handle;
    int error = refuse_or_fail(context, NULL);
    return error == 0 ? ENOTSUP : error;
}

static int disk_unlock(void *context, int64_t handle) {
    disk *d = context;
    int error = refuse(d);
    if (error == 0) file_of(d, handle)->is_locked = 0;
    return error;
}

static int disk_probe_lock(void *context, const char *path) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    const disk_file *file = disk_find(d, path);
    if (file == NULL) return ENOENT;
    return file->is_locked ? EWOULDBLOCK : 0;
}

static int disk_check_same(void *context, int64_t handle, const char *path) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    return disk_find(d, path) == file_of(d, handle) ? 0 : ESTALE;
}

/* The one folder that is ever locked is the log's; the ring beside it is "../ring". */
static int disk_check_named(void *context, int64_t handle, int64_t folder, const char *name) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    (void)folder;
    const disk_file *file = file_of(d, handle);
    const char *last = strrchr(name, '/');
    if (last != NULL) name = last + 1;
    for (int i = 0; i < d->name_count; i++) {
        const char *slash = strrchr(d->names[i].path, '/');
        if (d->names[i].file == file && slash != NULL && strcmp(slash + 1, name) == 0) return 0;
    }
    return ESTALE;
}

static int disk_identity(void *context, int64_t handle, uint32_t *identity) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    (void)handle;
    *identity = 0;
    return 0;
}

static int disk_random(void *context, void *to, size_t size) {
    disk *d = context;
    int error = refuse_or_fail(d, NULL);
    if (error != 0) return error;
    for (size_t i = 0; i < size; i++) {
        d->random = digest_number(d->random, i);
        ((uint8_t *)to)[i] = (uint8_t)d->random;
    }
    return 0;
}

void disk_init(disk *d) {
    memset(d, 0, sizeof *d);
    d->io = (aqw_io){.context = d, .open = disk_open, .close = disk_close, .read = disk_read, .write = disk_write, .sync = disk_sync,
                     .writeback = disk_writeback, .truncate = disk_truncate, .size = disk_size, .rename = disk_rename,
                     .unlink = disk_unlink, .make_directory = disk_make_directory_call, .check_directory = disk_check_directory,
                     .sync_directory = disk_sync_directory, .list = disk_list, .map = disk_map, .unmap = disk_unmap,
                     .lock = disk_lock, .lock_directory = disk_lock_directory, .unlock = disk_unlock, .probe_lock = disk_probe_lock, .check_same = disk_check_same,
                     .check_named = disk_check_named,
                     .identity = disk_identity, .random = disk_random};
    d->can_map = 1;
    d->owner = pthread_self();
}

void disk_kill(disk *d) { d->is_dead = 1; }

void disk_revive(disk *d) {
    for (int i = 0; i < DISK_HANDLES_MAX; i++) {
        disk_file *file = d->handles[i];
        if (file == NULL) continue;
        file->is_locked = file->is_mapped = 0;
        d->handles[i] = NULL;
        let_go(file);
    }
    d->is_dead = 0;
    d->fault.countdown = 0;
}

int disk_open_handles(const disk *d) {
    int count = 0;
    for (int i = 0; i < DISK_HANDLES_MAX; i++) count += d->handles[i] != NULL;
    return count;
}

void disk_free(disk *d) {
    disk_revive(d);
    while (d->name_count > 0) remove_name(d, d->name_count - 1);
}
