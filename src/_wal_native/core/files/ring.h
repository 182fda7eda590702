/* The ring: a small file of its own, mapped, in front of the newest segment (format.h,
 * "RING"). An append is a copy into it; the kernel keeps the bytes when the process is killed.
 * Where mapping is not trusted the data is private memory and is_mapped is 0: the log then
 * writes every append through. */
#ifndef AQW_RING_H
#define AQW_RING_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/status.h"
#include "os/io.h"

typedef struct aqw_ring {
    uint8_t *data;              /* `size` bytes */
    uint64_t size;
    int is_mapped;
    void *mapping;              /* the whole file, where mapped */
    int64_t handle;
    int is_named;               /* the file is an old ring's, which has its name and keeps it */
    uint64_t generation;        /* of forks, at preparation: a child leaves these files alone */
    uint8_t log_uuid[16];
    uint8_t history[16];        /* zeros until it is published, which makes a new one */
    int slot;                   /* the slot that the next durable sequence goes to */
    uint64_t segment_number;    /* of the segment that the log goes on in; 0 until it is known */
    int segment_slot;           /* the slot that the next number goes to */
} aqw_ring;

/* What a ring file holds, read without mapping it. */
typedef struct aqw_ring_image {
    int is_present;
    uint8_t log_uuid[16];
    uint8_t history[16];
    int is_copy;                /* 1 where the file is not the one that the writer had */
    uint64_t durable_sequence;  /* the greatest valid slot, or 0 */
    uint64_t segment_number;    /* the same of the segments' numbers */
    uint64_t size;
    uint8_t *data;              /* `size` bytes, malloc'd; NULL without a ring */
} aqw_ring_image;

/* Makes a file for a ring under another name, with all the space that it takes. */
aqw_status aqw_ring_prepare(const aqw_io *io, const char *directory, uint64_t size, aqw_ring *ring,
                            aqw_fault *fault);
/* Takes the old ring's file instead, whatever its size, and empties it: for a disk without room
 * for a second one, where nothing rests on the old ring any more. What it says of the history
 * stays in it all the time. */
aqw_status aqw_ring_reuse(const aqw_io *io, const char *directory, aqw_ring *ring,
                          aqw_fault *fault);
/* Gives a prepared ring its contents, syncs and maps it, and puts it in the place of any old one.
 * Where this fails it discards the ring, and the old file is in its place unless the directory's
 * sync failed. A file that can't be mapped is no failure. */
aqw_status aqw_ring_publish(const aqw_io *io, const char *directory, const uint8_t log_uuid[16],
                            uint64_t durable_sequence, aqw_ring *ring, aqw_fault *fault);
/* Closes a prepared ring and removes its file, unless that is an old ring's. */
void aqw_ring_discard(const aqw_io *io, const char *directory, aqw_ring *ring);
/* Prepares and publishes. */
aqw_status aqw_ring_create(const aqw_io *io, const char *directory, const uint8_t log_uuid[16],
                           uint64_t size, uint64_t durable_sequence, aqw_ring *ring,
                           aqw_fault *fault);
void aqw_ring_close(const aqw_io *io, aqw_ring *ring);

/* Returns 1 where another program has cut the mapped file short: what goes into the ring since is
 * in no file. Touches the file's last byte, so that a cut shows here (mappings.h). */
int aqw_ring_is_lost(const aqw_ring *ring, int has_append_lock);
/* Returns 1 where a store or a look has met that already, without a look of its own. */
int aqw_ring_has_faulted(const aqw_ring *ring);

/* Has the system give the pages of `size` bytes at a segment position their own blocks,
 * without changing a byte: a disk without room for them shows now (aqw_ring_has_faulted), and
 * not at the next store there. */
void aqw_ring_touch(aqw_ring *ring, uint64_t position, uint64_t size);

/* Copies bytes in and out at a segment position; `size` is at most the ring's. */
void aqw_ring_put(aqw_ring *ring, uint64_t position, const uint8_t *from, uint64_t size);
void aqw_ring_get(const aqw_ring *ring, uint64_t position, uint8_t *to, uint64_t size);

/* Notes that all events up to this sequence are on stable storage. The kernel keeps the note if the
 * process is killed. */
void aqw_ring_set_durable(const aqw_io *io, aqw_ring *ring, uint64_t sequence);

/* Notes that the log goes on in this segment, whose name is durable: its file is missed from now
 * on, also while nothing in it is durable. */
void aqw_ring_set_segment(const aqw_io *io, aqw_ring *ring, uint64_t number);

/* Reads the ring file's header and durable sequence only; image->data stays NULL.
 * Otherwise as aqw_ring_load. */
aqw_status aqw_ring_look(const aqw_io *io, const char *directory, aqw_ring_image *image,
                         aqw_fault *fault);

/* Reads the ring file. Returns AQW_OK with is_present 0 for a missing one, AQW_CORRUPT
 * for a wrong header. */
aqw_status aqw_ring_load(const aqw_io *io, const char *directory, aqw_ring_image *image,
                         aqw_fault *fault);
void aqw_ring_image_free(aqw_ring_image *image);

#endif
