/* What the core relies on of the system: the I/O table's calls and the threads. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "selftest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

static const aqw_io *io;   /* the system's, for this file */

static int64_t open_file(const char *path, int flags) {
    int64_t handle = -1;
    EXPECT_EQUAL(io->open(io->context, path, flags, &handle), 0);
    EXPECT(handle >= 0);
    return handle;
}

static void close_file(int64_t handle) { EXPECT_EQUAL(io->close(io->context, handle), 0); }

void check_files(const char *directory) {
    uint8_t bytes[8] = {0};
    size_t done = 1;
    uint64_t size = 0;
    void *mapped = NULL;
    io = aqw_io_system();
    const char *path = below(directory, "file");
    int64_t handle = open_file(path, AQW_OPEN_WRITE | AQW_OPEN_CREATE);
    EXPECT_EQUAL(io->write(io->context, handle, 100000, "abcdef", 6, &done), 0);
    EXPECT_EQUAL(done, 6);
    EXPECT_EQUAL(io->read(io->context, handle, 100004, bytes, 8, &done), 0);
    EXPECT_EQUAL(done, 2);
    EXPECT(memcmp(bytes, "ef", 2) == 0);
    EXPECT_EQUAL(io->read(io->context, handle, 200000, bytes, 8, &done), 0);
    EXPECT_EQUAL(done, 0);
    EXPECT_EQUAL(io->sync(io->context, handle), 0);
    EXPECT_EQUAL(io->writeback(io->context, handle, 0, 65536), 0);
    EXPECT_EQUAL(io->size(io->context, handle, &size), 0);
    EXPECT_EQUAL(size, 100006);
    EXPECT_EQUAL(io->truncate(io->context, handle, 131072), 0);
    EXPECT_EQUAL(io->size(io->context, handle, &size), 0);
    EXPECT_EQUAL(size, 131072);

    EXPECT_EQUAL(aqw_io_write_zeros(io, handle, 0, 131072), 0);
    int error = io->map(io->context, handle, 131072, &mapped);
    EXPECT(error == 0 || error == ENOTSUP);
    if (error == 0) {   /* a store is seen by reads, and a write by the mapping */
        memcpy((uint8_t *)mapped + 70000, "stored", 6);
        EXPECT_EQUAL(io->read(io->context, handle, 70000, bytes, 6, &done), 0);
        EXPECT(done == 6 && memcmp(bytes, "stored", 6) == 0);
        EXPECT_EQUAL(io->write(io->context, handle, 70003, "XYZ", 3, &done), 0);
        EXPECT(memcmp((uint8_t *)mapped + 70000, "stoXYZ", 6) == 0);
        EXPECT_EQUAL(io->unmap(io->context, mapped, 131072), 0);
    }
    close_file(handle);

    handle = open_file(path, AQW_OPEN_READ);
    EXPECT(io->write(io->context, handle, 0, "no", 2, &done) != 0);
    close_file(handle);
    uint8_t a[16] = {0}, b[16] = {0};
    EXPECT_EQUAL(io->random(io->context, a, sizeof a), 0);
    EXPECT_EQUAL(io->random(io->context, b, sizeof b), 0);
    EXPECT(memcmp(a, b, sizeof a) != 0);
}

int can_replace_open_files(const char *directory) {
    char from[PATH_SIZE], to[PATH_SIZE];
    io = aqw_io_system();
    (void)snprintf(from, sizeof from, "%s", below(directory, "from"));
    (void)snprintf(to, sizeof to, "%s", below(directory, "to"));
    file_write(from, 0, "1", 1);
    file_write(to, 0, "2", 1);
    int64_t reader = open_file(to, AQW_OPEN_READ);
    int error = io->rename(io->context, from, to);
    close_file(reader);
    EXPECT(error == 0 || error == EACCES);
    EXPECT_EQUAL(io->unlink(io->context, from), error == 0 ? ENOENT : 0);
    EXPECT_EQUAL(io->unlink(io->context, to), 0);
    return error == 0;
}

void check_names(const char *directory) {
    char first[PATH_SIZE], second[PATH_SIZE];
    int64_t handle = -1;
    uint64_t size = 0;
    io = aqw_io_system();
    (void)snprintf(first, sizeof first, "%s", below(directory, "first"));
    (void)snprintf(second, sizeof second, "%s", below(directory, "second"));
    EXPECT_EQUAL(io->open(io->context, first, AQW_OPEN_READ, &handle), ENOENT);
    EXPECT_EQUAL(io->unlink(io->context, first), ENOENT);
    EXPECT_EQUAL(io->rename(io->context, first, second), ENOENT);
    EXPECT_EQUAL(io->check_directory(io->context, first), ENOENT);
    EXPECT_EQUAL(io->list(io->context, first, NULL, NULL), ENOENT);
    file_write(first, 0, "1", 1);
    EXPECT_EQUAL(io->open(io->context, first, AQW_OPEN_WRITE | AQW_OPEN_CREATE, &handle), EEXIST);
    EXPECT(io->open(io->context, directory, AQW_OPEN_READ, &handle) != 0);
    EXPECT_EQUAL(io->check_directory(io->context, first), ENOTDIR);
    EXPECT_EQUAL(io->check_directory(io->context, directory), 0);
    EXPECT_EQUAL(io->make_directory(io->context, directory), EEXIST);
    EXPECT_EQUAL(directory_count(directory), 1);

    /* A new file takes the place of an old one, and no longer is what the old handle is about. */
    file_write(second, 0, "22", 2);
    int64_t reader = open_file(second, AQW_OPEN_READ);
    EXPECT_EQUAL(io->check_same(io->context, reader, second), 0);
    int replaces_open_files = can_replace_open_files(directory);
    if (!replaces_open_files) close_file(reader);
    EXPECT_EQUAL(io->rename(io->context, first, second), 0);
    EXPECT_EQUAL(io->sync_directory(io->context, directory), 0);
    int64_t writer = open_file(second, AQW_OPEN_WRITE);
    EXPECT_EQUAL(io->check_same(io->context, writer, second), 0);
    EXPECT_EQUAL(io->check_same(io->context, writer, first), ESTALE);
    if (replaces_open_files) {
        EXPECT_EQUAL(io->check_same(io->context, reader, second), ESTALE);
        EXPECT_EQUAL(io->size(io->context, reader, &size), 0);
        EXPECT_EQUAL(size, 2);
        close_file(reader);
    }
    EXPECT_EQUAL(file_size(second), 1);

    /* A removed name is free at once, while the file is still open. */
    EXPECT_EQUAL(io->unlink(io->context, second), 0);
    EXPECT_EQUAL(io->open(io->context, second, AQW_OPEN_READ, &handle), ENOENT);
    close_file(open_file(second, AQW_OPEN_WRITE | AQW_OPEN_CREATE));
    EXPECT_EQUAL(io->size(io->context, writer, &size), 0);
    EXPECT_EQUAL(size, 1);
    close_file(writer);
    EXPECT_EQUAL(directory_count(directory), 1);
}

void check_paths(const char *directory) {
    static const char part[] = "/gr\xc3\xb6\xc3\x9f""e-\xe6\x97\xa5\xe6\x9c\xac-\xf0\x9f\x8c\xb1-and-some-more-letters";
    char queue[PATH_SIZE];
    session s;
    (void)snprintf(queue, sizeof queue, "%s", directory);
    while (strlen(queue) < 400) strcat(queue, part);
    session_open(&s, queue);
    EXPECT(s.report.is_created);
    session_append_one(&s, 100);
    session_close(&s);
    session_open(&s, queue);
    EXPECT_EQUAL(session_events(&s), 1);
    session_close(&s);
    EXPECT_EQUAL(directory_count(directory), 1);
    EXPECT_EQUAL(directory_count(queue), 3);
}

/* A second handle does not get it, also where the first one's directory has another name by then. */
static void check_directory_lock(const char *directory) {
    char path[PATH_SIZE], moved[PATH_SIZE];
    int64_t mine = -1;
    (void)snprintf(path, sizeof path, "%s", below(directory, "folder"));
    (void)snprintf(moved, sizeof moved, "%s", below(directory, "moved"));
#if defined(_WIN32)
    EXPECT_EQUAL(io->make_directory(io->context, path), 0);
    EXPECT_EQUAL(io->lock_directory(io->context, path, &mine), ENOTSUP);
#else
    int64_t other = -1;
    EXPECT_EQUAL(io->lock_directory(io->context, path, &mine), ENOENT);
    EXPECT_EQUAL(io->make_directory(io->context, path), 0);
    EXPECT_EQUAL(io->lock_directory(io->context, path, &mine), 0);
    EXPECT_EQUAL(io->lock_directory(io->context, path, &other), EAGAIN);
    EXPECT_EQUAL(io->check_same(io->context, mine, path), 0);
    EXPECT_EQUAL(io->rename(io->context, path, moved), 0);
    EXPECT_EQUAL(io->check_same(io->context, mine, path), ESTALE);
    EXPECT_EQUAL(io->lock_directory(io->context, moved, &other), EAGAIN);
    EXPECT_EQUAL(io->unlock(io->context, mine), 0);
    EXPECT_EQUAL(io->lock_directory(io->context, moved, &other), 0);
    close_file(mine);
    close_file(other);
#endif
}

void check_locks(const char *directory) {
    char path[PATH_SIZE];
    uint8_t text[4];
    size_t done = 0;
    io = aqw_io_system();
    (void)snprintf(path, sizeof path, "%s", below(directory, "LOCK"));
    EXPECT_EQUAL(io->probe_lock(io->context, path), ENOENT);
    int64_t mine = open_file(path, AQW_OPEN_WRITE | AQW_OPEN_EITHER), other = open_file(path, AQW_OPEN_WRITE | AQW_OPEN_EITHER);
    EXPECT_EQUAL(io->probe_lock(io->context, path), 0);
    EXPECT_EQUAL(io->lock(io->context, mine), 0);
    EXPECT_EQUAL(io->lock(io->context, other), EAGAIN);
    EXPECT_EQUAL(io->probe_lock(io->context, path), EAGAIN);
    /* The text is for everybody to read. */
    EXPECT_EQUAL(aqw_io_write_all(io, mine, 0, "text", 4), 0);
    EXPECT_EQUAL(aqw_io_read_all(io, other, 0, text, 4, &done), 0);
    EXPECT(done == 4 && memcmp(text, "text", 4) == 0);
    EXPECT_EQUAL(io->unlock(io->context, mine), 0);
    EXPECT_EQUAL(io->lock(io->context, other), 0);
    EXPECT_EQUAL(io->lock(io->context, mine), EAGAIN);
    close_file(other);   /* which ends its lock */
    EXPECT_EQUAL(io->lock(io->context, mine), 0);
    /* Removed and made again, it is another file; Windows does not let it be removed. */
    int error = io->unlink(io->context, path);
#if defined(_WIN32)
    EXPECT_EQUAL(error, EBUSY);
#else
    EXPECT_EQUAL(error, 0);
    EXPECT_EQUAL(io->check_same(io->context, mine, path), ESTALE);
#endif
    close_file(mine);
    if (error != 0) EXPECT_EQUAL(io->probe_lock(io->context, path), 0);
    check_directory_lock(directory);
}

typedef struct meeting {
    aqw_mutex mutex;
    aqw_condition changed;
    unsigned arrived;
} meeting;

enum { GUESTS = 8 };

static void *meet(void *argument) {
    meeting *m = argument;
    aqw_mutex_lock(&m->mutex);
    m->arrived++;
    aqw_condition_wake_all(&m->changed);
    while (m->arrived < GUESTS) aqw_condition_wait(&m->changed, &m->mutex);
    aqw_mutex_unlock(&m->mutex);
    return NULL;
}

void check_threads(const char *directory) {
    (void)directory;
    meeting m = {.arrived = 0};
    aqw_thread threads[GUESTS];
    uint64_t before = aqw_monotonic_ns();
    EXPECT(before > 0);
    EXPECT_EQUAL(aqw_mutex_init(&m.mutex), 0);
    EXPECT_EQUAL(aqw_condition_init(&m.changed), 0);
    for (unsigned i = 0; i < GUESTS; i++) EXPECT_EQUAL(aqw_thread_start(&threads[i], meet, &m), 0);
    for (unsigned i = 0; i < GUESTS; i++) aqw_thread_join(threads[i]);
    EXPECT_EQUAL(m.arrived, GUESTS);
    aqw_condition_destroy(&m.changed);
    aqw_mutex_destroy(&m.mutex);
    EXPECT(aqw_monotonic_ns() >= before);
}
