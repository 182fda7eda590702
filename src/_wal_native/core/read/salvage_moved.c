#include "read/salvage_moved.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "files/segment.h"

enum { PATH_CAPACITY = AQW_PATH_SIZE_MAX + 2 * AQW_NAME_SIZE_MAX };

static int quarantine_path(const aqw_moved_files *files, char path[PATH_CAPACITY],
                           const char *prefix, const char *name) {
    int size = snprintf(path, PATH_CAPACITY, "%s/quarantine%s%s%s", files->directory,
                        *name == '\0' ? "" : "/", prefix, name);
    return size > 0 && size < PATH_CAPACITY ? 0 : ENAMETOOLONG;
}

static int open_moved(void *context, const char *path, int flags, int64_t *handle) {
    const aqw_moved_files *files = context;
    const char *slash = strrchr(path, '/');
    char moved[PATH_CAPACITY];
    int error = quarantine_path(files, moved, files->prefix, slash == NULL ? path : slash + 1);
    return error != 0 ? error : files->io->open(files->io->context, moved, flags, handle);
}

static int close_moved(void *context, int64_t handle) {
    const aqw_moved_files *files = context;
    return files->io->close(files->io->context, handle);
}

static int read_moved(void *context, int64_t handle, uint64_t offset, void *to, size_t size,
                      size_t *done) {
    const aqw_moved_files *files = context;
    return files->io->read(files->io->context, handle, offset, to, size, done);
}

static int size_moved(void *context, int64_t handle, uint64_t *size) {
    const aqw_moved_files *files = context;
    return files->io->size(files->io->context, handle, size);
}

static int identity_moved(void *context, int64_t handle, uint32_t *identity) {
    const aqw_moved_files *files = context;
    return files->io->identity(files->io->context, handle, identity);
}

/* A reader asks about and lists only one directory, wal/. */
static int check_moved(void *context, const char *path) {
    const aqw_moved_files *files = context;
    char moved[PATH_CAPACITY];
    (void)path;
    int error = quarantine_path(files, moved, "", "");
    return error != 0 ? error : files->io->check_directory(files->io->context, moved);
}

typedef struct listing {
    const char *prefix;
    aqw_list_visit visit;
    void *to;
} listing;

static void visit_moved(void *to, const char *name) {
    const listing *list = to;
    size_t size = strlen(list->prefix);
    if (strncmp(name, list->prefix, size) == 0) list->visit(list->to, name + size);
}

static int list_moved(void *context, const char *path, aqw_list_visit visit, void *to) {
    const aqw_moved_files *files = context;
    listing list = {files->prefix, visit, to};
    char moved[PATH_CAPACITY];
    (void)path;
    int error = quarantine_path(files, moved, "", "");
    return error != 0 ? error : files->io->list(files->io->context, moved, visit_moved, &list);
}

void aqw_moved_view(aqw_io *view, aqw_moved_files *files, const aqw_io *io, const char *directory,
                    const char *prefix) {
    memset(view, 0, sizeof *view);
    files->io = io;
    files->directory = directory;
    files->prefix = prefix;
    view->context = files;
    view->open = open_moved;
    view->close = close_moved;
    view->read = read_moved;
    view->size = size_moved;
    view->identity = identity_moved;
    view->check_directory = check_moved;
    view->list = list_moved;
}
