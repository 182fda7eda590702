/* The I/O table over POSIX calls: Linux and macOS. */
#if !defined(_WIN32)

#if defined(__linux__)
#define _GNU_SOURCE
#else
#define _DARWIN_C_SOURCE
#endif

#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/vfs.h>
#elif defined(__APPLE__)
#include <mach/vm_inherit.h>
#include <sys/mount.h>
#include <sys/param.h>
#include <sys/random.h>
#endif

static int result(int returned) { return returned < 0 ? errno : 0; }

static int posix_open(void *context, const char *path, int flags, int64_t *handle) {
    (void)context;
    /* Without O_NONBLOCK, opening a pipe under one of our names would wait for its other end; regular files ignore it. */
    int how = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (flags == AQW_OPEN_READ ? O_RDONLY : O_RDWR);
    if (flags & AQW_OPEN_CREATE) how |= O_CREAT | O_EXCL;
    if (flags & AQW_OPEN_EITHER) how |= O_CREAT;
    int descriptor = open(path, how, 0600);
    if (descriptor < 0) return errno;
    struct stat status;
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(descriptor);
        return EINVAL;   /* a directory, device or pipe under one of our names */
    }
    *handle = descriptor;
    return 0;
}

/* Not posix_close: musl has a function of that name. */
static int posix_close_file(void *context, int64_t handle) {
    (void)context;
    return result(close((int)handle));
}

static int posix_read(void *context, int64_t handle, uint64_t offset, void *to, size_t size, size_t *done) {
    (void)context;
    ssize_t count = pread((int)handle, to, size, (off_t)offset);
    if (count < 0) return errno;
    *done = (size_t)count;
    return 0;
}

static int posix_write(void *context, int64_t handle, uint64_t offset, const void *from, size_t size, size_t *done) {
    (void)context;
    ssize_t count = pwrite((int)handle, from, size, (off_t)offset);
    if (count < 0) return errno;
    *done = (size_t)count;
    return 0;
}

#if defined(__APPLE__)
/* fsync alone stops at the drive's cache there. Where the file system has no more to offer (a network's), that is what there is: no
 * sync has failed then, none was begun. */
static int sync_fully(int descriptor) {
    if (fcntl(descriptor, F_FULLFSYNC) == 0) return 0;
    return errno == ENOTSUP || errno == EINVAL || errno == ENOTTY ? result(fsync(descriptor)) : errno;
}
#endif

static int posix_sync(void *context, int64_t handle) {
    (void)context;
#if defined(__APPLE__)
    return sync_fully((int)handle);
#else
    return result(fdatasync((int)handle));
#endif
}

static int posix_writeback(void *context, int64_t handle, uint64_t offset, uint64_t size) {
    (void)context;
#if defined(__linux__)
    return result(sync_file_range((int)handle, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE));
#else
    (void)handle, (void)offset, (void)size;
    return 0;
#endif
}

static int posix_truncate(void *context, int64_t handle, uint64_t size) {
    (void)context;
    return result(ftruncate((int)handle, (off_t)size));
}

static int posix_size(void *context, int64_t handle, uint64_t *size) {
    (void)context;
    struct stat status;
    if (fstat((int)handle, &status) != 0) return errno;
    *size = (uint64_t)status.st_size;
    return 0;
}

static int posix_rename(void *context, const char *from, const char *to) {
    (void)context;
    return result(rename(from, to));
}

static int posix_unlink(void *context, const char *path) {
    (void)context;
    return result(unlink(path));
}

static int posix_make_directory(void *context, const char *path) {
    (void)context;
    return result(mkdir(path, 0700));
}

static int posix_check_directory(void *context, const char *path) {
    (void)context;
    struct stat status;
    if (lstat(path, &status) != 0) return errno;
    return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
}

static int posix_sync_directory(void *context, const char *path) {
    (void)context;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (descriptor < 0) return errno;
#if defined(__APPLE__)
    int error = sync_fully(descriptor);
#else
    int error = result(fsync(descriptor));
#endif
    close(descriptor);
    return error;
}

static int posix_list(void *context, const char *path, aqw_list_visit visit, void *to) {
    (void)context;
    DIR *directory = opendir(path);
    if (directory == NULL) return errno;
    int error = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            error = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) visit(to, entry->d_name);
    }
    closedir(directory);
    return error;
}

#if defined(__linux__)
/* The number of the call has another type in each C library. */
#if defined(__GLIBC__)
typedef unsigned long ioctl_request;
#else
typedef int ioctl_request;
#endif
#endif

/* Mapping is used only where it was tested: elsewhere a mapped store may not survive the process, or may raise
 * SIGBUS when the disk is full. */
static int mapping_is_trusted(int descriptor) {
    struct statfs status;
    if (fstatfs(descriptor, &status) != 0) return 0;
#if defined(__linux__)
    switch ((unsigned long)status.f_type) {
    case 0xEF53:       /* ext4 */
    case 0x58465342:   /* xfs */
    case 0x01021994:   /* tmpfs */
        return 1;
    case 0x9123683E: { /* btrfs: only without copy on write */
        int flags = 0;
        return ioctl(descriptor, (ioctl_request)_IOR('f', 1, long), &flags) == 0 && (flags & 0x00800000) != 0;
    }
    default:
        return 0;
    }
#elif defined(__APPLE__)
    return strcmp(status.f_fstypename, "apfs") == 0;
#else
    return 0;
#endif
}

static int posix_map(void *context, int64_t handle, size_t size, void **address) {
    (void)context;
    if (!mapping_is_trusted((int)handle)) return ENOTSUP;
    int flags = MAP_SHARED;
#if defined(__linux__)
    flags |= MAP_POPULATE;
#endif
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, (int)handle, 0);
    if (mapped == MAP_FAILED) return errno;
    /* A forked child must not be able to write into the parent's ring. */
#if defined(__linux__)
    int kept = madvise(mapped, size, MADV_DONTFORK);
#elif defined(__APPLE__)
    int kept = minherit(mapped, size, VM_INHERIT_NONE);
#else
    int kept = 0;
#endif
    if (kept != 0) {
        int error = errno;
        munmap(mapped, size);
        return error;
    }
    (void)mlock(mapped, size);   /* keeps appends free of page faults; allowed to fail */
    *address = mapped;
    return 0;
}

static int posix_unmap(void *context, void *address, size_t size) {
    (void)context;
    return result(munmap(address, size));
}

static int posix_lock(void *context, int64_t handle) {
    (void)context;
    return result(flock((int)handle, LOCK_EX | LOCK_NB));
}

static int posix_unlock(void *context, int64_t handle) {
    (void)context;
    return result(flock((int)handle, LOCK_UN));
}

static int posix_probe_lock(void *context, const char *path) {
    (void)context;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) return errno;
    int error = result(flock(descriptor, LOCK_SH | LOCK_NB));
    close(descriptor);
    return error;
}

static int posix_check_same(void *context, int64_t handle, const char *path) {
    (void)context;
    struct stat mine, named;
    if (fstat((int)handle, &mine) != 0) return errno;
    if (lstat(path, &named) != 0) return errno == ENOENT ? ESTALE : errno;
    return mine.st_dev == named.st_dev && mine.st_ino == named.st_ino ? 0 : ESTALE;
}

static int posix_random(void *context, void *to, size_t size) {
    (void)context;
    return result(getentropy(to, size));
}

static const aqw_io table = {
    .context = NULL,
    .open = posix_open,
    .close = posix_close_file,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .writeback = posix_writeback,
    .truncate = posix_truncate,
    .size = posix_size,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .make_directory = posix_make_directory,
    .check_directory = posix_check_directory,
    .sync_directory = posix_sync_directory,
    .list = posix_list,
    .map = posix_map,
    .unmap = posix_unmap,
    .lock = posix_lock,
    .unlock = posix_unlock,
    .probe_lock = posix_probe_lock,
    .check_same = posix_check_same,
    .random = posix_random,
};

const aqw_io *aqw_io_system(void) { return &table; }

#else
/* ISO C wants at least one declaration in a file. */
typedef int aqw_io_posix_is_empty;
#endif
