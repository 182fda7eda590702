/* A queue's directory: making it, locking it, and keeping copies in it of what no longer counts. */
#ifndef AQW_DIRECTORY_H
#define AQW_DIRECTORY_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "files/window.h"
#include "os/io.h"

/* Makes `path`, which is the queue's directory `root` or lies in it, and its missing parents, each synced into the one above. */
aqw_status aqw_directory_make(const aqw_io *io, const char *root, const char *path, aqw_fault *fault);

/* What a writer holds. The folder's lock is what is left where somebody removes the file LOCK under a writer. */
typedef struct aqw_lock {
    int64_t file;               /* LOCK; -1: not held */
    int64_t folder;             /* wal/; -1 where it is not there yet, or where directories have no locks */
} aqw_lock;

/* Takes the lock of the queue, and writes `holder` into its file. AQW_LOCKED where somebody else has it. */
aqw_status aqw_directory_lock(const aqw_io *io, const char *root, const char *holder, aqw_lock *lock, aqw_fault *fault);
/* Takes the folder's lock too, by who holds the file's; to be called again when a missing folder was made. */
aqw_status aqw_directory_lock_folder(const aqw_io *io, const char *root, aqw_lock *lock, aqw_fault *fault);
void aqw_directory_unlock(const aqw_io *io, aqw_lock *lock);
/* To be asked before anything is renamed or removed by its path: AQW_DISPLACED where neither LOCK nor wal/ is at its path any more, because
 * the directory was moved, removed or replaced. AQW_IO_ERROR where that can't be told. */
aqw_status aqw_directory_check_held(const aqw_io *io, const char *root, const aqw_lock *lock, aqw_fault *fault);

/* Writes a copy of the window's bytes from `begin` on to quarantine/, under a name that says where they lay and what they are, and syncs it. */
aqw_status aqw_quarantine_copy(const aqw_io *io, const char *root, const char *kind, uint64_t segment, uint64_t offset, aqw_window *bytes,
                               uint64_t begin, uint64_t size, aqw_fault *fault);

#endif
