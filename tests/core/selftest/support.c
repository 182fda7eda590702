/* Sessions and files for the checks. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "selftest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "write/log_internal.h"

const char *below(const char *directory, const char *name) {
    static char paths[4][PATH_SIZE];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    int size = snprintf(path, PATH_SIZE, "%s/%s", directory, name);
    EXPECT(size > 0 && size < PATH_SIZE);
    return path;
}

/* ---- Logs ---- */

/* The newest mapping, for session_abandon: a process that is killed has none any more. */
static void *mapping;
static size_t mapping_size;

static int watched_map(void *context, int64_t handle, size_t size, void **address) {
    int error = aqw_io_system()->map(context, handle, size, address);
    mapping = error == 0 ? *address : NULL;
    mapping_size = size;
    return error;
}

aqw_status session_try(session *s, const char *directory, const session_options *options) {
    static const uint8_t seed[16] = {1, 2, 3};
    aqw_recovery_options recovery = {
        .log = {.segment_size_max = 65536, .ring_size = 65536, .sector_size = options->sector_size, .now = NOW},
        .may_create = !options->must_exist,
        .holder = "pid=1\n",
    };
    memset(s, 0, sizeof *s);
    s->table = aqw_table_new(NULL, seed);
    EXPECT(s->table != NULL);
    aqw_io io = options->io != NULL ? *options->io : *aqw_io_system();
    if (options->io == NULL) io.map = watched_map;
    mapping = NULL;
    aqw_status status = aqw_recover(&io, directory, &recovery, s->table, &s->log, &s->report, &s->fault);
    s->mapping = mapping;
    s->mapping_size = mapping_size;
    if (status == AQW_OK) return status;
    aqw_table_free(s->table);
    s->table = NULL;
    return status;
}

void session_open(session *s, const char *directory) {
    const session_options plain = {NULL, 0, 0};
    aqw_status status = session_try(s, directory, &plain);
    if (status != AQW_OK)
        fprintf(stderr, "%s: %s (errno %d)\n", s->fault.path, s->fault.operation ? s->fault.operation : "", s->fault.system_error);
    EXPECT_STATUS(status, AQW_OK);
}

void session_close(session *s) {
    EXPECT_STATUS(aqw_log_close(s->log, &s->fault), AQW_OK);
    aqw_log_free(s->log);
    aqw_table_free(s->table);
}

/* The logs that were abandoned. Their memory is left, since the thread that prepares segments may still use it; here memcheck sees that it
 * is not lost. */
static aqw_log *volatile abandoned[16];   /* volatile: nobody reads it */
static unsigned abandoned_count;

void session_abandon(session *s) {
    const aqw_io *io = aqw_io_system();
    const int64_t handles[] = {s->log->ring.handle, s->log->segment_handle, s->log->lock.file, s->log->lock.folder};
    EXPECT(abandoned_count < sizeof abandoned / sizeof *abandoned);
    abandoned[abandoned_count++] = s->log;
    aqw_log_abandon(s->log);
    /* What the end of a process closes. */
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        if (handles[i] >= 0) EXPECT_EQUAL(io->close(io->context, handles[i]), 0);
    if (s->mapping != NULL) EXPECT_EQUAL(io->unmap(io->context, s->mapping, s->mapping_size), 0);
    aqw_table_free(s->table);
}

uint64_t session_events(const session *s) {
    aqw_table_counts counts;
    aqw_table_counts_get(s->table, &counts);
    return counts.ledger;
}

void entry_event(aqw_event *event, uint64_t sequence, const uint8_t *data, uint32_t size) {
    memset(event, 0, sizeof *event);
    event->sequence = sequence;
    event->timestamp = NOW;
    event->kind = AQW_LEDGER_ENTRY_APPENDED;
    memset(event->as.ledger_entry_appended.entry_id, 0x11, 16);
    memset(event->as.ledger_entry_appended.tenant_id, 0x22, 16);
    event->as.ledger_entry_appended.ledger_key.data = (const uint8_t *)"k";
    event->as.ledger_entry_appended.ledger_key.size = 1;
    event->as.ledger_entry_appended.payload.data = data;
    event->as.ledger_entry_appended.payload.size = size;
}

/* Bytes that tell one entry from every other. */
static uint8_t *entry_bytes(uint64_t sequence, uint32_t size) {
    uint8_t *bytes = malloc((size_t)size + 1);
    EXPECT(bytes != NULL);
    uint64_t state = sequence * 0x9e3779b97f4a7c15u + size;
    for (uint32_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(state >> 56);
    }
    return bytes;
}

uint64_t session_append(session *s, const uint32_t *sizes, uint32_t count) {
    uint64_t first = aqw_log_last_sequence(s->log) + 1;
    aqw_batch batch;
    aqw_event event;
    aqw_batch_init(&batch);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *bytes = entry_bytes(first + i, sizes[i]);
        entry_event(&event, first + i, bytes, sizes[i]);
        EXPECT_STATUS(aqw_batch_add(&batch, &event), AQW_OK);
        free(bytes);
    }
    EXPECT_STATUS(aqw_log_append(s->log, &batch, &s->fault), AQW_OK);
    aqw_batch_free(&batch);
    EXPECT_EQUAL(aqw_log_last_sequence(s->log), first + count - 1);
    return first + count - 1;
}

uint64_t session_append_one(session *s, uint32_t size) { return session_append(s, &size, 1); }

void session_sync(session *s) {
    EXPECT_STATUS(aqw_log_sync(s->log, UINT64_MAX, &s->fault), AQW_OK);
    EXPECT_EQUAL(aqw_log_durable_sequence(s->log), aqw_log_last_sequence(s->log));
}

void session_expect_entries(const session *s, const uint32_t *sizes, uint32_t count) {
    aqw_ledger_view view;
    EXPECT_EQUAL(session_events(s), count);
    EXPECT_EQUAL(aqw_table_latest_sequence(s->table), count);
    for (uint32_t i = 0; i < count; i++) {
        aqw_table_ledger(s->table, i + 1, &view);
        EXPECT_EQUAL(view.payload.size, sizes[i]);
        EXPECT_EQUAL(view.timestamp, NOW);
        uint8_t *bytes = entry_bytes(i + 1, sizes[i]);
        EXPECT(sizes[i] == 0 || memcmp(view.payload.data, bytes, sizes[i]) == 0);
        free(bytes);
    }
}

/* ---- Files ---- */

static int64_t file_open(const char *path, int flags) {
    int64_t handle = -1;
    EXPECT_EQUAL(aqw_io_open(aqw_io_system(), path, flags, &handle), 0);
    return handle;
}

uint64_t file_size(const char *path) {
    const aqw_io *io = aqw_io_system();
    uint64_t size = 0;
    int64_t handle = file_open(path, AQW_OPEN_READ);
    EXPECT_EQUAL(io->size(io->context, handle, &size), 0);
    EXPECT_EQUAL(io->close(io->context, handle), 0);
    return size;
}

uint8_t *file_bytes(const char *path, uint64_t *size) {
    const aqw_io *io = aqw_io_system();
    size_t done = 0;
    *size = file_size(path);
    uint8_t *bytes = malloc((size_t)*size + 1);
    EXPECT(bytes != NULL);
    int64_t handle = file_open(path, AQW_OPEN_READ);
    EXPECT_EQUAL(aqw_io_read_all(io, handle, 0, bytes, (size_t)*size, &done), 0);
    EXPECT_EQUAL(io->close(io->context, handle), 0);
    EXPECT_EQUAL(done, *size);
    return bytes;
}

void file_write(const char *path, uint64_t offset, const void *bytes, size_t size) {
    const aqw_io *io = aqw_io_system();
    int64_t handle = file_open(path, AQW_OPEN_WRITE | AQW_OPEN_EITHER);
    EXPECT_EQUAL(aqw_io_write_all(io, handle, offset, bytes, size), 0);
    EXPECT_EQUAL(io->close(io->context, handle), 0);
}

static void count_name(void *to, const char *name) {
    (void)name;
    ++*(uint32_t *)to;
}

uint32_t directory_count(const char *path) {
    const aqw_io *io = aqw_io_system();
    uint32_t count = 0;
    EXPECT_EQUAL(io->list(io->context, path, count_name, &count), 0);
    return count;
}
