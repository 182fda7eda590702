/* A queue's directory: makes it, locks it, and keeps copies in it of what no longer counts. */
#ifndef AQW_DIRECTORY_H
#define AQW_DIRECTORY_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/window.h"
#include "os/io.h"

/* Makes `path`, which is the queue's directory `root` or lies in it, and its missing parents, and
 * syncs each into the one above. */
aqw_status aqw_directory_make(const aqw_io *io, const char *root, const char *path,
                              aqw_fault *fault);

/* The locks that a writer holds. The folder's lock remains where another program removes the file
 * LOCK under a writer. */
typedef struct aqw_lock {
    int64_t file;               /* LOCK; -1 while it is not held */
    int64_t folder;   /* wal/; -1 while it is missing, or where directories have no locks */
} aqw_lock;

/* Takes the lock of the queue, and writes `holder` into its file. Returns AQW_LOCKED where
 * another handle has it. */
aqw_status aqw_directory_lock(const aqw_io *io, const char *root, const char *holder,
                              aqw_lock *lock, aqw_fault *fault);
/* Takes the folder's lock too. The caller must hold the file's lock, and calls it again when it has
 * made a missing folder. */
aqw_status aqw_directory_lock_folder(const aqw_io *io, const char *root, aqw_lock *lock,
                                     aqw_fault *fault);
void aqw_directory_unlock(const aqw_io *io, aqw_lock *lock);
/* The caller asks this before it renames or removes anything by its path. Returns AQW_DISPLACED
 * where neither LOCK nor wal/ is at its path any more, because the directory was moved, removed or
 * replaced, and AQW_IO_ERROR where that can't be told. */
aqw_status aqw_directory_check_held(const aqw_io *io, const char *root, const aqw_lock *lock,
                                    aqw_fault *fault);

/* Writes a copy of the window's bytes from `begin` on to quarantine/, under a name that says where
 * they lay and what they are, and syncs it. */
aqw_status aqw_quarantine_copy(const aqw_io *io, const char *root, const char *kind,
                               uint64_t segment, uint64_t offset, aqw_window *bytes, uint64_t begin,
                               uint64_t size, aqw_fault *fault);

#endif
