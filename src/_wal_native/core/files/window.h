/* Gives bytes of a file by position. The window holds a part of the file, and moves it to where it
 * is needed: so reading the largest segment does not take that much memory. It holds a file that is
 * no larger than the part whole.
 *
 * A failure to read ends the window: it yields no bytes from then on and says why in `status` and
 * `fault`. So code that looks for records need not ask at each step, but asks before it concludes
 * that there are no more. */
#ifndef AQW_WINDOW_H
#define AQW_WINDOW_H

#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "os/io.h"
#include "os/progress.h"

/* How much a window holds of the newest segment, which is not only read from front to back, and of
 * an older one. It holds a piece that is asked for at once whole, however large that is. */
#define AQW_WINDOW_SIZE_NEWEST 67108864
#define AQW_WINDOW_SIZE_OLDER 4194304

typedef struct aqw_window {
    const aqw_io *io;       /* NULL: the bytes are the caller's memory, held as a whole */
    char *path;
    uint64_t segment;       /* number, for the fault */
    uint64_t size;          /* of the file, or the end of the part to read */
    uint64_t held;          /* how many bytes it holds at a time */
    int passes_damage;   /* bytes that the medium has lost, or that the file lacks, read as zeros */
    aqw_progress *progress; /* may end the reading, with AQW_STOPPED; may be NULL */
    int64_t handle;         /* -1 until the file is opened */
    uint8_t *bytes;         /* the file's from `begin` to `end` */
    uint64_t begin, end;
    uint64_t capacity;      /* of `bytes` */
    aqw_status status;      /* AQW_OK until something fails */
    aqw_fault fault;
} aqw_window;

/* Gives the first `size` bytes of the file at `path`, holding `held` of them at a time. Opens and
 * reads nothing yet. Returns AQW_NO_MEMORY without memory. */
aqw_status aqw_window_of_file(aqw_window *window, const aqw_io *io, const char *path,
                              uint64_t segment, uint64_t size, uint64_t held);
void aqw_window_of_memory(aqw_window *window, uint8_t *bytes, uint64_t size);
/* Closes the file and frees the held bytes. Does nothing for a window that is all zeros. */
void aqw_window_close(aqw_window *window);

/* Returns `size` bytes from the position on, valid until the next call on the window; NULL past the
 * end, or after a failure. */
const uint8_t *aqw_window_at(aqw_window *window, uint64_t position, uint64_t size);
/* Returns 1 where these bytes are the file's at the position. Moves nothing:
 * pointers stay valid. */
int aqw_window_equals(aqw_window *window, uint64_t position, const uint8_t *bytes, uint64_t size);
/* Returns where the next eight bytes that are not all zeros lie, in steps of eight from `at` on.
 * Where only zeros follow, it returns `end`, or up to seven bytes before it. */
uint64_t aqw_window_skip_zeros(aqw_window *window, uint64_t at, uint64_t end);
/* Returns where the last byte between `begin` and `end` that is not zero ends. */
uint64_t aqw_window_used_end(aqw_window *window, uint64_t begin, uint64_t end);

/* For tests, before a window is made: no window holds more than this at a time. 0
 * lifts the limit. */
void aqw_window_limit(uint64_t held);

#endif
