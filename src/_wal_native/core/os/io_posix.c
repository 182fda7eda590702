/* The I/O table over POSIX calls: Linux and macOS. */
#if !defined(_WIN32)

#if defined(__linux__)
#define _GNU_SOURCE
#else
#define _DARWIN_C_SOURCE
#endif

#include "os/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#elif defined(__APPLE__)
#include <mach/vm_inherit.h>
#include <sys/mount.h>
#include <sys/param.h>
#include <sys/random.h>
#endif

#include "base/bytes.h"
#include "base/crc32c.h"
#include "os/descriptors.h"
#include "os/mappings.h"

static int result(int returned) { return returned < 0 ? errno : 0; }

/* These flags open a directory only to pass through it, which needs no permission to read it. */
#if defined(O_PATH)
enum { PASS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
#elif defined(O_SEARCH)
enum { PASS = O_SEARCH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
#else
enum { PASS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
#endif

enum { COMPONENT_SIZE = 256, CREATE_TRIES = 100, LOCK_TRIES = 100 };

/* Returns what is wrong with a name whose opening failed. It reports a symlink as ELOOP, whatever
 * the system made of it. */
static int why(int parent, const char *name, int error) {
    struct stat status;
    if (error != ENOTDIR && error != ELOOP && error != EMLINK) return error;
    return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)
               ? ELOOP
               : ENOTDIR;
}

/* Opens the directory that the path's last component lies in, and finds that component. It goes
 * from directory to directory and follows no symlink on the way, so that a process that swaps one
 * in can't lead a call out of the queue. */
static int open_parent(const char *path, int *parent, const char **name) {
    int directory = aqw_descriptor_open(AT_FDCWD, *path == '/' ? "/" : ".", PASS);
    if (directory < 0) return errno;
    for (;;) {
        char component[COMPONENT_SIZE];
        while (*path == '/') path++;
        const char *slash = strchr(path, '/');
        if (slash == NULL) break;
        size_t size = (size_t)(slash - path);
        int next = -1, error = ENAMETOOLONG;
        if (size < sizeof component) {
            memcpy(component, path, size);
            component[size] = '\0';
            next = aqw_descriptor_open(directory, component, PASS);
            error = next < 0 ? why(directory, component, errno) : 0;
        }
        (void)aqw_descriptor_close(directory);
        if (error != 0) return error;
        directory = next;
        path = slash;
    }
    *parent = directory;
    *name = *path == '\0' ? "." : path;
    return 0;
}

/* Returns 0 where the name is a regular file's or free. The caller checks before it opens, because
 * opening a device can do something. */
static int check_regular(int parent, const char *name) {
    struct stat status;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
    if (S_ISREG(status.st_mode)) return 0;
    if (S_ISLNK(status.st_mode)) return ELOOP;
    return S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
}

/* Returns 0 where the open file is one that these flags may be used on. A file with a second name
 * may be another program's, so the core does not write to it. */
static int check_opened(int descriptor, int flags) {
    struct stat status;
    if (fstat(descriptor, &status) != 0) return errno;
    if (!S_ISREG(status.st_mode)) return EINVAL;
    if (flags != AQW_OPEN_READ && status.st_nlink > 1) return EMLINK;
    return 0;
}

/* Gives what root makes in another user's directory to that user: an operator's command
 * must not shut a service out of its own queue. A file system that keeps no owners
 * can't do it, which is fine. */
static void give_to_owner(int parent, int made) {
    struct stat above, status;
    if (geteuid() != 0 || fstat(parent, &above) != 0 || fstat(made, &status) != 0) return;
    if (above.st_uid != 0 && status.st_uid == 0 && fchown(made, above.st_uid, above.st_gid) != 0)
        errno = 0;
}

static int create_at(int parent, const char *name, int how, int *descriptor) {
    *descriptor = aqw_descriptor_open(parent, name, how | O_CREAT | O_EXCL);
    if (*descriptor < 0) return errno;
    /* A umask may have taken away even the owner's right to open the file again. */
    struct stat status;
    int error = result(fstat(*descriptor, &status));
    if (error == 0 && (status.st_mode & 0600) != 0600) error = result(fchmod(*descriptor, 0600));
    if (error == 0) {
        give_to_owner(parent, *descriptor);
        return 0;
    }
    (void)aqw_descriptor_close(*descriptor);
    (void)unlinkat(parent, name, 0);
    return error;
}

static int open_at(int parent, const char *name, int flags, int *descriptor) {
    /* Without O_NONBLOCK, opening a pipe that was put there since the check would wait for its
     * other end; regular files ignore the flag. */
    int how = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (flags == AQW_OPEN_READ ? O_RDONLY : O_RDWR);
    if (flags & AQW_OPEN_CREATE) return create_at(parent, name, how, descriptor);
    for (int tries = 0;; tries++) {
        int error = check_regular(parent, name);
        if (error != 0) return error;
        *descriptor = aqw_descriptor_open(parent, name, how);
        if (*descriptor >= 0) return 0;
        if (errno != ENOENT || !(flags & AQW_OPEN_EITHER)) return why(parent, name, errno);
        error = create_at(parent, name, how, descriptor);
        /* another process has just created it */
        if (error != EEXIST || tries == CREATE_TRIES) return error;
    }
}

static int posix_open(void *context, const char *path, int flags, int64_t *handle) {
    (void)context;
    int parent = -1, descriptor = -1;
    const char *name = NULL;
    int error = open_parent(path, &parent, &name);
    if (error != 0) return error;
    error = open_at(parent, name, flags, &descriptor);
    (void)aqw_descriptor_close(parent);
    if (error != 0) return error;
    error = check_opened(descriptor, flags);
    if (error == 0) *handle = descriptor;
    else (void)aqw_descriptor_close(descriptor);
    return error;
}

/* It is not called posix_close, because musl has a function of that name. */
static int posix_close_file(void *context, int64_t handle) {
    (void)context;
    return aqw_descriptor_close((int)handle);
}

static int posix_read(void *context, int64_t handle, uint64_t offset, void *to, size_t size,
                      size_t *done) {
    (void)context;
    ssize_t count = pread((int)handle, to, size, (off_t)offset);
    if (count < 0) return errno;
    *done = (size_t)count;
    return 0;
}

static int posix_write(void *context, int64_t handle, uint64_t offset, const void *from,
                       size_t size, size_t *done) {
    (void)context;
    ssize_t count = pwrite((int)handle, from, size, (off_t)offset);
    if (count < 0) return errno;
    *done = (size_t)count;
    return 0;
}

#if defined(__APPLE__)
/* fsync alone stops at the drive's cache on macOS. Where the file system has no full sync (a
 * network's), fsync is all there is: no sync has failed then, because none was begun. */
static int sync_fully(int descriptor) {
    if (fcntl(descriptor, F_FULLFSYNC) == 0) return 0;
    return errno == ENOTSUP || errno == EINVAL || errno == ENOTTY ? result(fsync(descriptor))
                                                                  : errno;
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
    int from_parent = -1, to_parent = -1;
    const char *from_name = NULL, *to_name = NULL;
    int error = open_parent(from, &from_parent, &from_name);
    if (error != 0) return error;
    error = open_parent(to, &to_parent, &to_name);
    if (error == 0) {
        error = result(renameat(from_parent, from_name, to_parent, to_name));
        (void)aqw_descriptor_close(to_parent);
    }
    (void)aqw_descriptor_close(from_parent);
    return error;
}

static int posix_unlink(void *context, const char *path) {
    (void)context;
    int parent = -1;
    const char *name = NULL;
    int error = open_parent(path, &parent, &name);
    if (error != 0) return error;
    error = result(unlinkat(parent, name, 0));
    (void)aqw_descriptor_close(parent);
    return error;
}

/* Gives the owner of a new directory back what a umask has taken. */
static int check_mode(int parent, const char *name) {
    struct stat status;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    if ((status.st_mode & 0700) == 0700 || !S_ISDIR(status.st_mode)) return 0;
    return result(fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW));
}

static int posix_make_directory(void *context, const char *path) {
    (void)context;
    int parent = -1;
    const char *name = NULL;
    int error = open_parent(path, &parent, &name);
    if (error != 0) return error;
    error = result(mkdirat(parent, name, 0700));
    if (error == 0) error = check_mode(parent, name);
    int made = error == 0 && geteuid() == 0
                   ? aqw_descriptor_open(parent, name,
                                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                   : -1;
    if (made >= 0) {
        give_to_owner(parent, made);
        (void)aqw_descriptor_close(made);
    }
    (void)aqw_descriptor_close(parent);
    return error;
}

static int posix_check_directory(void *context, const char *path) {
    (void)context;
    struct stat status;
    int parent = -1;
    const char *name = NULL;
    int error = open_parent(path, &parent, &name);
    if (error != 0) return error;
    error = result(fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW));
    (void)aqw_descriptor_close(parent);
    if (error != 0) return error;
    return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
}

static int open_directory(const char *path, int *descriptor) {
    int parent = -1;
    const char *name = NULL;
    int error = open_parent(path, &parent, &name);
    if (error != 0) return error;
    *descriptor = aqw_descriptor_open(parent, name,
                                      O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);
    if (*descriptor < 0) error = why(parent, name, errno);
    (void)aqw_descriptor_close(parent);
    return error;
}

static int posix_sync_directory(void *context, const char *path) {
    (void)context;
    int descriptor = -1;
    int error = open_directory(path, &descriptor);
    if (error != 0) return error;
#if defined(__APPLE__)
    error = sync_fully(descriptor);
#else
    error = result(fsync(descriptor));
#endif
    (void)aqw_descriptor_close(descriptor);
    return error;
}

static int posix_list(void *context, const char *path, aqw_list_visit visit, void *to) {
    (void)context;
    int descriptor = -1;
    int error = open_directory(path, &descriptor);
    if (error != 0) return error;
    DIR *directory = fdopendir(descriptor);
    if (directory == NULL) {
        error = errno;
        (void)aqw_descriptor_close(descriptor);
        return error;
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            error = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            visit(to, entry->d_name);
    }
    aqw_descriptor_close_stream(directory);
    return error;
}

#if defined(__linux__)
/* The request's type differs between C libraries. */
#if defined(__GLIBC__)
typedef unsigned long ioctl_request;
#else
typedef int ioctl_request;
#endif
#endif

/* The core maps files only where that was tested: elsewhere a mapped store may not survive the
 * process, or may raise SIGBUS when the disk is full. */
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
        return ioctl(descriptor, (ioctl_request)_IOR('f', 1, long), &flags) == 0 &&
               (flags & 0x00800000) != 0;
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
    int error = kept != 0 ? errno : aqw_mapping_register(mapped, size);
    if (error != 0) {
        munmap(mapped, size);
        return error;
    }
    (void)mlock(mapped, size);   /* keeps appends free of page faults; allowed to fail */
    *address = mapped;
    return 0;
}

static int posix_unmap(void *context, void *address, size_t size) {
    (void)context;
    aqw_mapping_forget(address);
    return result(munmap(address, size));
}

/* A reader that only asks whether there is a writer holds the lock shared for an instant, and may
 * lose the processor in that instant. So a lock that can't be shared either is a writer's; for a
 * shared one, the caller waits. */
static int posix_lock(void *context, int64_t handle) {
    (void)context;
    const struct timespec pause = {0, 1000000};
    for (int tries = 0;; tries++) {
        int error = result(flock((int)handle, LOCK_EX | LOCK_NB));
        if (error != EWOULDBLOCK) return error;
        error = result(flock((int)handle, LOCK_SH | LOCK_NB));
        if (error != 0) return error;
        (void)flock((int)handle, LOCK_UN);
        if (tries == LOCK_TRIES) return EWOULDBLOCK;
        (void)nanosleep(&pause, NULL);
    }
}

/* NFS locks only what is open for writing, which a directory never is (EBADF); other file systems
 * know no lock at all. */
static int posix_lock_directory(void *context, const char *path, int64_t *handle) {
    int descriptor = -1;
    int error = open_directory(path, &descriptor);
    if (error != 0) return error;
    error = posix_lock(context, descriptor);
    if (error == 0) *handle = descriptor;
    else (void)aqw_descriptor_close(descriptor);
    return error == EBADF || error == EINVAL || error == ENOLCK || error == ENOSYS ||
                   error == EOPNOTSUPP
               ? ENOTSUP
               : error;
}

static int posix_unlock(void *context, int64_t handle) {
    (void)context;
    return result(flock((int)handle, LOCK_UN));
}

static int posix_probe_lock(void *context, const char *path) {
    int64_t handle = -1;
    int error = posix_open(context, path, AQW_OPEN_READ, &handle);
    if (error != 0) return error;
    error = result(flock((int)handle, LOCK_SH | LOCK_NB));
    (void)aqw_descriptor_close((int)handle);
    return error;
}

static int posix_check_same(void *context, int64_t handle, const char *path) {
    (void)context;
    struct stat mine, named;
    int parent = -1;
    const char *name = NULL;
    if (fstat((int)handle, &mine) != 0) return errno;
    int error = open_parent(path, &parent, &name);
    if (error != 0) return error;
    error = result(fstatat(parent, name, &named, AT_SYMLINK_NOFOLLOW));
    (void)aqw_descriptor_close(parent);
    if (error != 0) return error == ENOENT ? ESTALE : error;
    return mine.st_dev == named.st_dev && mine.st_ino == named.st_ino ? 0 : ESTALE;
}

static int posix_check_named(void *context, int64_t handle, int64_t folder, const char *name) {
    (void)context;
    struct stat mine, named;
    if (fstat((int)handle, &mine) != 0) return errno;
    if (fstatat((int)folder, name, &named, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ESTALE : errno;
    return mine.st_dev == named.st_dev && mine.st_ino == named.st_ino ? 0 : ESTALE;
}

#if defined(FS_IOC_GETVERSION)
/* Returns the number that the file system gives each use of an inode, where it keeps no
 * time of birth (ext4 with inodes of 128 bytes). The request is named after a long, and
 * file systems write an int. */
static uint64_t generation_of(int handle) {
    unsigned long generation = 0;
    /* musl's macro computes the number in ints that can't hold it, and its ioctl takes an int. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
    if (ioctl(handle, FS_IOC_GETVERSION, &generation) != 0) return 0;
#pragma GCC diagnostic pop
    return generation;
}
#endif

/* The system gives the number of a removed file to another one, but not its time of birth. */
static int posix_identity(void *context, int64_t handle, uint32_t *identity) {
    (void)context;
    uint8_t bytes[20] = {0};
    struct stat status;
    if (fstat((int)handle, &status) != 0) return errno;
    aqw_store_u64(bytes, (uint64_t)status.st_ino);
#if defined(STATX_BTIME) && defined(SYS_statx)
    /* The call goes by its number: the C libraries that wheels are built for have no
     * function for it. */
    struct statx more;
    if (syscall(SYS_statx, (int)handle, "", AT_EMPTY_PATH, STATX_BTIME, &more) == 0 &&
        (more.stx_mask & STATX_BTIME) != 0) {
        aqw_store_u64(bytes + 8, (uint64_t)more.stx_btime.tv_sec);
        aqw_store_u32(bytes + 16, more.stx_btime.tv_nsec);
    } else {
        aqw_store_u64(bytes + 8, generation_of((int)handle));
    }
#elif defined(__APPLE__)
    aqw_store_u64(bytes + 8, (uint64_t)status.st_birthtimespec.tv_sec);
    aqw_store_u32(bytes + 16, (uint32_t)status.st_birthtimespec.tv_nsec);
#endif
    *identity = aqw_crc32c(bytes, sizeof bytes);
    return 0;
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
    .lock_directory = posix_lock_directory,
    .unlock = posix_unlock,
    .probe_lock = posix_probe_lock,
    .check_same = posix_check_same,
    .check_named = posix_check_named,
    .identity = posix_identity,
    .random = posix_random,
};

const aqw_io *aqw_io_system(void) { return &table; }

#else
/* ISO C wants at least one declaration in a file. */
typedef int aqw_io_posix_is_empty;
#endif
