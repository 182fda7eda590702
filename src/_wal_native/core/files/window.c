#include "files/window.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PART_SIZE = 4 << 20,        /* bytes that one read takes */
    PIECE_SIZE = 4096,          /* read at once around what the medium has lost */
    ZEROS_SIZE = 4096,          /* fill skips zeros of this size: a page of most systems */
    COMPARED_SIZE = 512         /* bytes compared at once where they are not held */
};

static _Atomic uint64_t held_max;

void aqw_window_limit(uint64_t held) { atomic_store(&held_max, held); }

aqw_status aqw_window_of_file(aqw_window *window, const aqw_io *io, const char *path,
                              uint64_t segment, uint64_t size, uint64_t held) {
    uint64_t limit = atomic_load(&held_max);
    memset(window, 0, sizeof *window);
    size_t path_size = strlen(path) + 1;
    window->path = malloc(path_size);
    if (window->path == NULL) return AQW_NO_MEMORY;
    memcpy(window->path, path, path_size);
    window->io = io;
    window->segment = segment;
    window->size = size;
    window->held = limit != 0 && limit < held ? limit : held;
    window->handle = -1;
    return AQW_OK;
}

void aqw_window_of_memory(aqw_window *window, uint8_t *bytes, uint64_t size) {
    memset(window, 0, sizeof *window);
    window->bytes = bytes;
    window->size = window->end = size;
}

static void drop(aqw_window *window) {
    free(window->bytes);
    window->bytes = NULL;
    window->begin = window->end = window->capacity = 0;
}

/* Returns 1 where there is memory for `size` bytes. The memory is all zeros, unless the window
 * reads into it in one piece. */
static int has_memory(aqw_window *window, uint64_t size) {
    window->begin = window->end = 0;
    if (size <= window->capacity && size <= PART_SIZE) return 1;
    drop(window);
    window->bytes = calloc((size_t)size, 1);
    window->capacity = window->bytes != NULL ? size : 0;
    if (window->bytes == NULL)
        window->status = aqw_fault_set(&window->fault, AQW_NO_MEMORY, window->path);
    return window->bytes != NULL;
}

void aqw_window_close(aqw_window *window) {
    if (window->io != NULL) {
        if (window->handle >= 0) (void)window->io->close(window->io->context, window->handle);
        drop(window);
        free(window->path);
    }
    memset(window, 0, sizeof *window);
}

static int fail_io(aqw_window *window, const char *operation, int error) {
    window->status = aqw_fault_io(&window->fault, operation, window->path, error);
    return 0;
}

/* Returns 1 where the file is open. Asks the medium twice for what it does not give. */
static int is_open(aqw_window *window) {
    if (window->handle >= 0) return 1;
    int error = aqw_io_open(window->io, window->path, AQW_OPEN_READ, &window->handle);
    if (error == EIO && window->passes_damage)
        error = aqw_io_open(window->io, window->path, AQW_OPEN_READ, &window->handle);
    if (error == 0) return 1;
    window->handle = -1;
    return fail_io(window, "open", error);
}

/* Reads piece by piece, and puts zeros for what is lost. */
static int read_pieces(aqw_window *window, uint64_t position, uint8_t *to, size_t size) {
    for (size_t at = 0; at < size; at += PIECE_SIZE) {
        size_t piece = size - at < PIECE_SIZE ? size - at : PIECE_SIZE, done = 0;
        int error = aqw_io_read_all(window->io, window->handle, position + at, to + at, piece,
                                    &done);
        if (error != 0 && error != EIO) return fail_io(window, "read", error);
        if (error == EIO) done = 0;
        memset(to + at + done, 0, piece - done);
    }
    return 1;
}

static int read_part(aqw_window *window, uint64_t position, uint8_t *to, size_t size) {
    size_t done = 0;
    if (aqw_progress_must_stop(window->progress)) {
        window->status = aqw_fault_set(&window->fault, AQW_STOPPED, window->path);
        return 0;
    }
    int error = aqw_io_read_all(window->io, window->handle, position, to, size, &done);
    if (error == 0 && done == size) return 1;
    if (window->passes_damage && (error == 0 || error == EIO))
        return read_pieces(window, position, to, size);
    if (error != 0) return fail_io(window, "read", error);
    window->status = aqw_fault_corrupt(&window->fault, AQW_REASON_FILE_SIZE, window->path,
                                       window->segment, position + done);
    return 0;
}

static int is_zero(const uint8_t *bytes, size_t size) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Fills memory that is all zeros by way of `part`. It leaves pages of zeros, the unused space of
 * most segments, as they are: the system gives them no memory until a write. */
static int fill_by_parts(aqw_window *window, uint64_t begin, uint64_t size, uint8_t *part) {
    for (uint64_t at = 0; at < size; at += PART_SIZE) {
        size_t of_part = size - at < PART_SIZE ? (size_t)(size - at) : PART_SIZE;
        if (!read_part(window, begin + at, part, of_part)) return 0;
        for (size_t page = 0; page < of_part; page += ZEROS_SIZE) {
            size_t of_page = of_part - page < ZEROS_SIZE ? of_part - page : ZEROS_SIZE;
            if (!is_zero(part + page, of_page))
                memcpy(window->bytes + at + page, part + page, of_page);
        }
    }
    return 1;
}

static int fill(aqw_window *window, uint64_t begin, uint64_t size) {
    if (size <= PART_SIZE) return read_part(window, begin, window->bytes, (size_t)size);
    uint8_t *part = malloc(PART_SIZE);
    if (part == NULL) {
        window->status = aqw_fault_set(&window->fault, AQW_NO_MEMORY, window->path);
        return 0;
    }
    int is_filled = fill_by_parts(window, begin, size, part);
    free(part);
    return is_filled;
}

/* Holds `size` bytes from the position on, and what follows them as far as the window goes. The
 * part begins at a multiple of a page, so that it also holds a little before the position. */
static int move(aqw_window *window, uint64_t position, uint64_t size) {
    uint64_t held = window->held,
             begin = window->size <= held ? 0 : position - position % PIECE_SIZE;
    uint64_t wanted = position - begin + size;
    if (held < wanted) held = wanted;
    if (held > window->size - begin) held = window->size - begin;
    if (!is_open(window) || !has_memory(window, held) || !fill(window, begin, held)) return 0;
    window->begin = begin;
    window->end = begin + held;
    return 1;
}

const uint8_t *aqw_window_at(aqw_window *window, uint64_t position, uint64_t size) {
    if (window->status != AQW_OK || position >= window->size || size > window->size - position)
        return NULL;
    int is_held = position >= window->begin && position <= window->end &&
                  size <= window->end - position;
    return is_held || move(window, position, size) ? window->bytes + (position - window->begin)
                                                   : NULL;
}

int aqw_window_equals(aqw_window *window, uint64_t position, const uint8_t *bytes, uint64_t size) {
    uint8_t read[COMPARED_SIZE];
    if (window->status != AQW_OK || position >= window->size || size > window->size - position)
        return 0;
    if (position >= window->begin && position <= window->end && size <= window->end - position)
        return memcmp(bytes, window->bytes + (position - window->begin), (size_t)size) == 0;
    if (!is_open(window)) return 0;
    for (uint64_t at = 0; at < size; at += sizeof read) {
        size_t part = size - at < sizeof read ? (size_t)(size - at) : sizeof read;
        if (!read_part(window, position + at, read, part) || memcmp(bytes + at, read, part) != 0)
            return 0;
    }
    return 1;
}

uint64_t aqw_window_skip_zeros(aqw_window *window, uint64_t at, uint64_t end) {
    uint64_t word = 0;
    while (end - at >= sizeof word) {
        const uint8_t *bytes = aqw_window_at(window, at, sizeof word);
        if (bytes == NULL) return end;
        uint64_t held = window->end < end ? window->end : end;
        for (; held - at >= sizeof word; at += sizeof word, bytes += sizeof word) {
            memcpy(&word, bytes, sizeof word);
            if (word != 0) return at;
        }
    }
    return at;
}

uint64_t aqw_window_used_end(aqw_window *window, uint64_t begin, uint64_t end) {
    uint64_t used = begin, held = begin;
    for (uint64_t at = begin; at < end; at = held) {
        const uint8_t *bytes = aqw_window_at(window, at, 1);
        if (bytes == NULL) return used;
        held = window->end < end ? window->end : end;
        uint64_t size = held - at, word = 0;
        while (size >= sizeof word) {
            memcpy(&word, bytes + size - sizeof word, sizeof word);
            if (word != 0) break;
            size -= sizeof word;
        }
        while (size > 0 && bytes[size - 1] == 0) size--;
        if (size > 0) used = at + size;
    }
    return used;
}
