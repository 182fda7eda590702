/* The golden logs, in both directions: put on the disk and recovered; written anew with the same random bytes and clock and
 * compared byte by byte. So what one machine writes, every other one reads. */
#include "selftest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/compact.h"
#include "files/format.h"

static const golden_log *log_named(const char *name) {
    for (size_t i = 0; i < golden_log_count; i++)
        if (strcmp(golden_logs[i].name, name) == 0) return &golden_logs[i];
    EXPECT(name == NULL);   /* there is no golden log of this name */
    return NULL;
}

/* ---- Reading ---- */

static void put_on_disk(const char *directory, const golden_log *log) {
    static const uint8_t zero;
    const aqw_io *io = aqw_io_system();
    EXPECT_EQUAL(io->make_directory(io->context, directory), 0);
    EXPECT_EQUAL(io->make_directory(io->context, below(directory, "wal")), 0);
    EXPECT_EQUAL(io->make_directory(io->context, below(directory, "quarantine")), 0);
    EXPECT_EQUAL(io->make_directory(io->context, below(directory, "snapshots")), 0);
    for (size_t i = 0; i < log->file_count; i++) {
        const golden_file *file = &log->files[i];
        const char *path = below(directory, file->path);
        if (file->size > 0) file_write(path, file->size - 1, &zero, 1);
        for (size_t part = 0; part < file->part_count; part++)
            file_write(path, file->parts[part].offset, file->parts[part].bytes, (size_t)file->parts[part].size);
    }
}

void check_golden_logs_are_read(const char *directory) {
    static const struct {
        const char *name;
        uint64_t events;
    } wanted[] = {{"simple", 5}, {"continued", 2}, {"rotated", 5}, {"padded", 3}, {"killed", 2}, {"compacted", 5}};
    EXPECT_EQUAL(golden_log_count, sizeof wanted / sizeof wanted[0]);
    for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char queue[PATH_SIZE];
        session s;
        (void)snprintf(queue, sizeof queue, "%s", below(directory, wanted[i].name));
        put_on_disk(queue, log_named(wanted[i].name));
        session_open(&s, queue);
        EXPECT_EQUAL(session_events(&s), wanted[i].events);
        EXPECT_EQUAL(s.report.last_sequence, wanted[i].events);
        EXPECT_EQUAL(s.report.dropped_bytes, 0);
        session_append_one(&s, 10);
        session_close(&s);
        session_open(&s, queue);
        EXPECT_EQUAL(session_events(&s), wanted[i].events + 1);
        EXPECT(s.report.is_clean);
        session_close(&s);
    }
}

/* ---- Writing ---- */

/* An I/O table like the system's, but for fixed random bytes and a ring in memory that is written to its file when asked to be, so
 * that it has the same bytes on every file system. */
static struct {
    aqw_io io;
    const char *queue;          /* its directory */
    unsigned session;
    size_t random_used;
    int64_t ring_handle;
    uint8_t *ring;
    size_t ring_size;
} fixed;

static _Thread_local int may_have_random;

/* The thread that prepares segments gets none: whoever appends prepares them then, and the bytes are used in one order. */
static int fixed_random(void *context, void *to, size_t size) {
    (void)context;
    if (!may_have_random || fixed.session >= GOLDEN_SESSIONS || size > GOLDEN_RANDOM_SIZE - fixed.random_used) return EIO;
    memcpy(to, golden_random[fixed.session] + fixed.random_used, size);
    fixed.random_used += size;
    return 0;
}

static int fixed_map(void *context, int64_t handle, size_t size, void **address) {
    size_t done = 0;
    (void)context;
    fixed.ring = malloc(size);
    EXPECT(fixed.ring != NULL);
    EXPECT_EQUAL(aqw_io_read_all(aqw_io_system(), handle, 0, fixed.ring, size, &done), 0);
    fixed.ring_handle = handle;
    fixed.ring_size = size;
    *address = fixed.ring;
    return 0;
}

static void write_ring(void) {
    EXPECT_EQUAL(aqw_io_write_all(aqw_io_system(), fixed.ring_handle, 0, fixed.ring, fixed.ring_size), 0);
}

static int fixed_unmap(void *context, void *address, size_t size) {
    (void)context, (void)size;
    write_ring();
    free(address);
    return 0;
}

static void fixed_open(session *s, const char *queue, uint32_t sector_size, unsigned number) {
    const session_options options = {&fixed.io, sector_size, 0};
    fixed.io = *aqw_io_system();
    fixed.io.random = fixed_random;
    fixed.io.map = fixed_map;
    fixed.io.unmap = fixed_unmap;
    fixed.queue = queue;
    fixed.session = number;
    fixed.random_used = 0;
    may_have_random = 1;
    EXPECT_STATUS(session_try(s, queue, &options), AQW_OK);
}

static void fixed_kill(session *s) {
    write_ring();
    session_abandon(s);
}

/* What an entry holds: a text where the size is 0, `size` zeros where the bytes are NULL. */
typedef struct piece {
    const char *bytes;
    uint32_t size;
} piece;

static void append_pieces(session *s, const piece *pieces, uint32_t count) {
    static const uint8_t zeros[100000];
    uint64_t first = aqw_log_last_sequence(s->log) + 1;
    aqw_batch batch;
    aqw_event event;
    aqw_batch_init(&batch);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *data = pieces[i].bytes != NULL ? (const uint8_t *)pieces[i].bytes : zeros;
        entry_event(&event, first + i, data, pieces[i].size == 0 ? (uint32_t)strlen(pieces[i].bytes) : pieces[i].size);
        EXPECT_STATUS(aqw_batch_add(&batch, &event), AQW_OK);
    }
    EXPECT_STATUS(aqw_log_append(s->log, &batch, &s->fault), AQW_OK);
    aqw_batch_free(&batch);
}

static void append_text(session *s, const char *text) { append_pieces(s, &(piece){text, 0}, 1); }

/* An entry of zeros whose payload has this many bytes; `width` of them tell its size. */
static void append_zeros(session *s, uint32_t payload_size, uint32_t width) {
    append_pieces(s, &(piece){NULL, payload_size - 40 - width}, 1);
}

static void write_simple(const char *queue) {
    session s;
    fixed_open(&s, queue, 0, 0);
    append_text(&s, "one");
    session_sync(&s);
    append_text(&s, "two");
    append_pieces(&s, (piece[]){{"three", 0}, {"", 0}, {"five5", 0}}, 3);
    session_sync(&s);
    session_close(&s);
}

static void write_continued(const char *queue) {
    session s;
    fixed_open(&s, queue, 0, 0);
    append_text(&s, "one");
    session_close(&s);
    fixed_open(&s, queue, 0, 1);
    append_text(&s, "two");
    session_sync(&s);
    fixed_kill(&s);
}

static void write_rotated(const char *queue) {
    session s;
    fixed_open(&s, queue, 0, 0);
    append_text(&s, "one");
    session_sync(&s);
    append_zeros(&s, 40000, 3);
    append_zeros(&s, 30000, 3);
    append_zeros(&s, 80000, 3);
    append_text(&s, "five");
    session_close(&s);
}

static void write_padded(const char *queue) {
    session s;
    fixed_open(&s, queue, 512, 0);
    append_text(&s, "one");
    session_sync(&s);
    append_zeros(&s, 512 - 16 - 8, 2);
    session_sync(&s);
    append_text(&s, "three");
    session_close(&s);
}

/* Events in the ring only; one byte of the batch among them goes bad, so only what lies before it is recovered. */
static void write_killed(const char *queue) {
    session s;
    fixed_open(&s, queue, 0, 0);
    append_text(&s, "one");
    session_sync(&s);
    append_text(&s, "two");
    append_pieces(&s, (piece[]){{"three", 0}, {"four", 0}}, 2);
    append_text(&s, "five");
    fixed.ring[AQW_RING_DATA + AQW_SEGMENT_DATA + 60 + 60 + 20] ^= 0xff;
    fixed_kill(&s);
    fixed_open(&s, queue, 0, 1);
    EXPECT_EQUAL(s.report.ring_events, 1);
    EXPECT_EQUAL(s.report.rewritten_events, 1);
    fixed_kill(&s);
}

static void make_snapshot(void) {
    const aqw_compact_options options = {NOW, 1, NULL, NULL};
    aqw_compact_report report;
    aqw_fault fault;
    write_ring();
    EXPECT_STATUS(aqw_compact(&fixed.io, fixed.queue, &options, &report, &fault), AQW_OK);
    EXPECT(report.is_new);
}

/* Two snapshots, and an event behind them. */
static void write_compacted(const char *queue) {
    session s;
    char bytes[1024];
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (char)(uint8_t)i;
    fixed_open(&s, queue, 0, 0);
    append_text(&s, "one");
    session_sync(&s);
    make_snapshot();
    append_pieces(&s, (piece[]){{"two", 0}, {"three", 0}}, 2);
    session_sync(&s);
    append_pieces(&s, &(piece){bytes, sizeof bytes}, 1);
    session_sync(&s);
    make_snapshot();
    append_text(&s, "five");
    session_close(&s);
}

static void compare_file(const char *path, const golden_file *file) {
    uint64_t size = 0;
    uint8_t *found = file_bytes(path, &size), *wanted = calloc(1, (size_t)file->size + 1);
    EXPECT(wanted != NULL);
    EXPECT_EQUAL(size, file->size);
    for (size_t i = 0; i < file->part_count; i++) memcpy(wanted + file->parts[i].offset, file->parts[i].bytes, (size_t)file->parts[i].size);
    for (uint64_t at = 0; at < size; at++) {
        /* What the system keeps for the ring's own file, and the checksum over it. */
        if (at >= 56 && at < AQW_RING_HEADER_SIZE && strcmp(path + strlen(path) - 5, "/ring") == 0) continue;
        if (found[at] != wanted[at]) fprintf(stderr, "%s differs at byte %llu\n", path, (unsigned long long)at);
        EXPECT_EQUAL(found[at], wanted[at]);
    }
    free(found);
    free(wanted);
}

void check_golden_logs_are_written(const char *directory) {
    static const struct {
        const char *name;
        void (*write)(const char *queue);
    } histories[] = {{"simple", write_simple}, {"continued", write_continued}, {"rotated", write_rotated},
                     {"padded", write_padded}, {"killed", write_killed}, {"compacted", write_compacted}};
    for (unsigned i = 0; i < sizeof histories / sizeof histories[0]; i++) {
        const golden_log *log = log_named(histories[i].name);
        char queue[PATH_SIZE];
        uint32_t segments = 0;
        (void)snprintf(queue, sizeof queue, "%s", below(directory, log->name));
        histories[i].write(queue);
        for (size_t file = 0; file < log->file_count; file++) {
            segments += strncmp(log->files[file].path, "wal/", 4) == 0;
            compare_file(below(queue, log->files[file].path), &log->files[file]);
        }
        EXPECT_EQUAL(directory_count(below(queue, "wal")), segments);
    }
}
