/* A queue's directory: making it, locking it, and keeping copies in it of what no longer counts. */
#ifndef AQW_DIRECTORY_H
#define AQW_DIRECTORY_H

#include <stdint.h>

#include "fault.h"
#include "io.h"
#include "status.h"

/* Makes `path`, which is the queue's directory `root` or lies in it, and its missing parents, each synced into the one above. */
aqw_status aqw_directory_make(const aqw_io *io, const char *root, const char *path, aqw_fault *fault);

/* Takes the lock of the queue, and writes `holder` into its file. AQW_LOCKED where somebody else has it. */
aqw_status aqw_directory_lock(const aqw_io *io, const char *root, const char *holder, int64_t *handle, aqw_fault *fault);
void aqw_directory_unlock(const aqw_io *io, int64_t handle);

/* Writes a copy of bytes to quarantine/, under a name that says where they lay and what they are, and syncs it. */
aqw_status aqw_quarantine_copy(const aqw_io *io, const char *root, const char *kind, uint64_t segment, uint64_t offset, const uint8_t *bytes,
                               uint64_t size, aqw_fault *fault);

#endif
