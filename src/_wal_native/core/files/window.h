/* Bytes of a file that are looked at by position. A part of them is held, and moves to where it is needed: the largest segment is read
 * without that much memory. A file that is no larger than the part is held whole.
 *
 * A failure to read ends the window: it yields no bytes from then on and says why in `status` and `fault`. So code that looks for records
 * need not ask at each step, but asks before it concludes that there are none. */
#ifndef AQW_WINDOW_H
#define AQW_WINDOW_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "os/io.h"
#include "os/progress.h"

/* What is held of the newest segment, which is not only read from front to back, and of an older one. What is asked for in one piece is held
 * whole, however large it is. */
#define AQW_WINDOW_SIZE_NEWEST 67108864
#define AQW_WINDOW_SIZE_OLDER 4194304

typedef struct aqw_window {
    const aqw_io *io;       /* NULL: the bytes are memory of the caller's, all of them held */
    char *path;
    uint64_t segment;       /* number, for the fault */
    uint64_t size;          /* of the file, or the end of what is looked at */
    uint64_t held;          /* bytes that are held at a time */
    int passes_damage;      /* what the medium has lost, or the file does not have, reads as zeros */
    aqw_progress *progress; /* may end the reading, with AQW_STOPPED; may be NULL */
    int64_t handle;         /* -1: not opened yet */
    uint8_t *bytes;         /* the file's from `begin` to `end` */
    uint64_t begin, end;
    uint64_t capacity;      /* of `bytes` */
    aqw_status status;      /* AQW_OK until something fails */
    aqw_fault fault;
} aqw_window;

/* The first `size` bytes of the file at `path`, `held` of them at a time. Nothing is opened or read yet. AQW_NO_MEMORY. */
aqw_status aqw_window_of_file(aqw_window *window, const aqw_io *io, const char *path, uint64_t segment, uint64_t size, uint64_t held);
void aqw_window_of_memory(aqw_window *window, uint8_t *bytes, uint64_t size);
/* Closes the file and frees what is held. Of a window that is all zeros: nothing. */
void aqw_window_close(aqw_window *window);

/* `size` bytes from the position on, valid until the window is asked again; NULL past the end, or after a failure. */
const uint8_t *aqw_window_at(aqw_window *window, uint64_t position, uint64_t size);
/* 1 where these bytes are the file's at the position. Moves nothing: pointers stay valid. */
int aqw_window_equals(aqw_window *window, uint64_t position, const uint8_t *bytes, uint64_t size);
/* Where the next eight bytes that are not all zeros lie, in steps of eight from `at` on; `end`, or up to seven bytes before it, where there
 * are none. */
uint64_t aqw_window_skip_zeros(aqw_window *window, uint64_t at, uint64_t end);
/* Where the bytes between `begin` and `end` end that are not zero. */
uint64_t aqw_window_used_end(aqw_window *window, uint64_t begin, uint64_t end);

/* For tests, before a window is made: no window holds more than this at a time. 0: as much as it wants. */
void aqw_window_limit(uint64_t held);

#endif
