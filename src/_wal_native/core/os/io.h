/* Every system call of the core goes through one table of functions, so that tests can record,
 * delay, shorten and fail each of them. aqw_io_system is the real one.
 *
 * Each function returns 0 or an errno value, and retries nothing. The core calls the aqw_io_
 * functions below the table, which do the retrying (short transfers, EINTR) in one place. Handles
 * are the table's own numbers, never negative. Paths are UTF-8. Files are created with mode 0600,
 * directories with 0700, whatever the umask. No function follows a symlink, in any component of a
 * path: ELOOP. Open takes only regular files (EISDIR, EINVAL), and opens one with a second name (a
 * hard link) for reading only (EMLINK). */
#ifndef AQW_IO_H
#define AQW_IO_H

#include <stddef.h>
#include <stdint.h>

/* Windows has no such errno value; this is its sockets' number for it. */
#if defined(_WIN32)
#define ESTALE 10070
#endif

/* Flags of open. Without CREATE the file must exist; with it, it must not. */
#define AQW_OPEN_READ 0
#define AQW_OPEN_WRITE 1
#define AQW_OPEN_CREATE 2
/* Opens the file if it exists, else creates it (the lock file). Where a system can keep the name
 * from being removed while the file is open, it does. */
#define AQW_OPEN_EITHER 4

typedef void (*aqw_list_visit)(void *to, const char *name);

typedef struct aqw_io {
    void *context;              /* first argument of every function */
    int (*open)(void *context, const char *path, int flags, int64_t *handle);
    int (*close)(void *context, int64_t handle);
    /* Reads up to `size` bytes at `offset`; *done 0 means the end of the file. */
    int (*read)(void *context, int64_t handle, uint64_t offset, void *to, size_t size,
                size_t *done);
    int (*write)(void *context, int64_t handle, uint64_t offset, const void *from, size_t size,
                 size_t *done);
    /* Returns when the file's bytes are on stable storage. */
    int (*sync)(void *context, int64_t handle);
    /* Asks the system to begin writing these bytes back. It is a hint without a promise, and the
     * caller ignores its failure. */
    int (*writeback)(void *context, int64_t handle, uint64_t offset, uint64_t size);
    int (*truncate)(void *context, int64_t handle, uint64_t size);
    int (*size)(void *context, int64_t handle, uint64_t *size);
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *path);
    /* Returns EEXIST where the name is taken. */
    int (*make_directory)(void *context, const char *path);
    /* Returns 0 where the path is a directory and no symlink, else ENOENT or ENOTDIR. */
    int (*check_directory)(void *context, const char *path);
    /* Makes the names in a directory durable. */
    int (*sync_directory)(void *context, const char *path);
    /* Calls visit with every name but "." and "..". */
    int (*list)(void *context, const char *path, aqw_list_visit visit, void *to);
    /* Maps the whole file shared and writable. Returns ENOTSUP on a file system where the core does
     * not trust mapping. */
    int (*map)(void *context, int64_t handle, size_t size, void **address);
    int (*unmap)(void *context, void *address, size_t size);
    /* Takes the exclusive lock of an open file at once, or returns EAGAIN. The lock ends
     * with the last copy of the handle, and a forked child may hold one for a moment; unlock
     * ends it for all copies. */
    int (*lock)(void *context, int64_t handle);
    int (*unlock)(void *context, int64_t handle);
    /* Opens a directory and takes its exclusive lock at once, or returns EAGAIN. Lock, unlock
     * and check_same then treat it like a file. Returns ENOTSUP where the system or the file
     * system has no such lock. */
    int (*lock_directory)(void *context, const char *path, int64_t *handle);
    /* Returns 0 where the exclusive lock of the file at `path` is free, EAGAIN where a process
     * holds it. Creates nothing. */
    int (*probe_lock)(void *context, const char *path);
    /* Returns 0 where the open file is still the one at `path`, else ESTALE or what is
     * wrong with the path. */
    int (*check_same)(void *context, int64_t handle, const char *path);
    /* Checks the same for a name in a directory that lock_directory has opened, without
     * a walk along the path. */
    int (*check_named)(void *context, int64_t handle, int64_t folder, const char *name);
    /* Gives as one number what the system keeps for this file and for no copy of it; a rename does
     * not change it. 0 means that the system keeps nothing of the kind. */
    int (*identity)(void *context, int64_t handle, uint32_t *identity);
    int (*random)(void *context, void *to, size_t size);
} aqw_io;

/* The system's own calls. */
const aqw_io *aqw_io_system(void);

/* Move all bytes, or return an errno value. Reading returns in *done how many bytes came
 * before the file's end. */
int aqw_io_read_all(const aqw_io *io, int64_t handle, uint64_t offset, void *to, size_t size,
                    size_t *done);
int aqw_io_write_all(const aqw_io *io, int64_t handle, uint64_t offset, const void *from,
                     size_t size);
int aqw_io_sync(const aqw_io *io, int64_t handle);
int aqw_io_sync_directory(const aqw_io *io, const char *path);
int aqw_io_open(const aqw_io *io, const char *path, int flags, int64_t *handle);
/* Returns 1 where the errno value says that there is no room, on the disk or in the
 * user's share of it. */
int aqw_error_is_no_space(int error);

/* Writes `size` zero bytes at `offset`. */
int aqw_io_write_zeros(const aqw_io *io, int64_t handle, uint64_t offset, uint64_t size);

#endif
