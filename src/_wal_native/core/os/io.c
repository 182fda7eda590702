#include "os/io.h"

#include <errno.h>
#include <string.h>

/* One large write per call keeps the page cache in large folios; a larger one gains nothing. */
static const uint8_t zeros[1 << 16];

/* An interrupted call is tried again up to 1000 times, so that a broken table can't
 * hang the core. */
enum { INTERRUPTS_MAX = 1000 };

int aqw_io_read_all(const aqw_io *io, int64_t handle, uint64_t offset, void *to, size_t size,
                    size_t *done) {
    size_t total = 0;
    int interrupts = 0;
    while (total < size) {
        size_t part = 0;
        int error = io->read(io->context, handle, offset + total, (uint8_t *)to + total,
                             size - total, &part);
        if (error == EINTR && interrupts++ < INTERRUPTS_MAX) continue;
        if (error != 0) return error;
        if (part == 0) break;
        if (part > size - total) return EIO;
        total += part;
    }
    *done = total;
    return 0;
}

int aqw_io_write_all(const aqw_io *io, int64_t handle, uint64_t offset, const void *from,
                     size_t size) {
    size_t total = 0;
    int interrupts = 0;
    while (total < size) {
        size_t part = 0;
        int error = io->write(io->context, handle, offset + total, (const uint8_t *)from + total,
                              size - total, &part);
        if (error == EINTR && interrupts++ < INTERRUPTS_MAX) continue;
        if (error != 0) return error;
        if (part == 0 || part > size - total) return EIO;
        total += part;
    }
    return 0;
}

/* An interrupted sync has reported nothing yet, so calling again does not retry a failed one. */
int aqw_io_sync(const aqw_io *io, int64_t handle) {
    for (int interrupts = 0;; interrupts++) {
        int error = io->sync(io->context, handle);
        if (error != EINTR || interrupts >= INTERRUPTS_MAX) return error;
    }
}

int aqw_io_sync_directory(const aqw_io *io, const char *path) {
    for (int interrupts = 0;; interrupts++) {
        int error = io->sync_directory(io->context, path);
        if (error != EINTR || interrupts >= INTERRUPTS_MAX) return error;
    }
}

int aqw_io_open(const aqw_io *io, const char *path, int flags, int64_t *handle) {
    for (int interrupts = 0;; interrupts++) {
        int error = io->open(io->context, path, flags, handle);
        if (error != EINTR || interrupts >= INTERRUPTS_MAX) return error;
    }
}

int aqw_io_write_zeros(const aqw_io *io, int64_t handle, uint64_t offset, uint64_t size) {
    while (size > 0) {
        size_t part = size < sizeof zeros ? (size_t)size : sizeof zeros;
        int error = aqw_io_write_all(io, handle, offset, zeros, part);
        if (error != 0) return error;
        offset += part;
        size -= part;
    }
    return 0;
}

int aqw_error_is_no_space(int error) {
#if defined(EDQUOT)
    if (error == EDQUOT) return 1;
#endif
    return error == ENOSPC;
}
