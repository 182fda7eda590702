/* A plain C program that checks the core where Python's tests do not run: on other systems, other processors, other byte orders. */
#ifndef SELFTEST_H
#define SELFTEST_H

#include <stddef.h>
#include <stdint.h>

#include "write/batch.h"
#include "os/io.h"
#include "write/log.h"
#include "queue/recovery.h"
#include "table/table.h"

enum { PATH_SIZE = 1024, NOW = 1700000000 };

/* Ends the program with a message and exit code 1 unless it holds. */
#define EXPECT(condition) expect((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define EXPECT_EQUAL(found, wanted) expect_equal((uint64_t)(found), (uint64_t)(wanted), #found, __FILE__, __LINE__)
/* The call returns this aqw_status. */
#define EXPECT_STATUS(call, wanted) expect_status((int)(call), (int)(wanted), #call, __FILE__, __LINE__)
void expect(int condition, const char *text, const char *file, int line);
void expect_equal(uint64_t found, uint64_t wanted, const char *text, const char *file, int line);
void expect_status(int found, int wanted, const char *text, const char *file, int line);

/* Golden bytes, generated from tests/data by golden.py. */
typedef struct golden_payload {
    const char *name;
    uint8_t kind;
    uint64_t timestamp;
    const uint8_t *payload;
    uint32_t size;
} golden_payload;

typedef struct golden_part {
    uint64_t offset;
    const uint8_t *bytes;
    uint64_t size;
} golden_part;

typedef struct golden_file {
    const char *path;           /* below the queue's directory */
    uint64_t size;
    const golden_part *parts;   /* what is not zero */
    size_t part_count;
} golden_file;

typedef struct golden_log {
    const char *name;
    const golden_file *files;
    size_t file_count;
} golden_log;

/* One item of a saved table. */
typedef struct golden_item {
    uint8_t type;
    const uint8_t *payload;
    uint32_t size;
} golden_item;

extern const golden_payload golden_payloads[];
extern const size_t golden_payload_count;
extern const golden_log golden_logs[];
extern const size_t golden_log_count;
extern const golden_item golden_image[];
extern const size_t golden_image_count;
/* What the sessions that wrote the golden logs got for random bytes, one stream for each session. */
enum { GOLDEN_SESSIONS = 2, GOLDEN_RANDOM_SIZE = 256 };
extern const uint8_t golden_random[GOLDEN_SESSIONS][GOLDEN_RANDOM_SIZE];

/* ---- Logs ---- */

/* The path of a name below a directory, in memory that the next but three calls use again. */
const char *below(const char *directory, const char *name);

typedef struct session {
    aqw_log *log;
    aqw_table *table;           /* what was found when it was opened */
    aqw_recovery_report report;
    aqw_fault fault;
    void *mapping;              /* the ring's, where the system maps it */
    size_t mapping_size;
} session;

typedef struct session_options {
    const aqw_io *io;           /* NULL: the system's */
    uint32_t sector_size;
    int must_exist;
} session_options;

/* Opens with segments and ring of 64 KiB; the status says whether that worked. */
aqw_status session_try(session *s, const char *directory, const session_options *options);
void session_open(session *s, const char *directory);
void session_close(session *s);
/* Leaves everything as a killed process would: the files are closed, and nothing else is done. */
void session_abandon(session *s);
uint64_t session_events(const session *s);

/* Appends ledger entries of these sizes as one batch; their bytes say which they are. Returns the last one's sequence. */
uint64_t session_append(session *s, const uint32_t *sizes, uint32_t count);
uint64_t session_append_one(session *s, uint32_t size);
void session_sync(session *s);
/* The table holds entries of these sizes, in this order, with the bytes that session_append gave them. */
void session_expect_entries(const session *s, const uint32_t *sizes, uint32_t count);

/* A ledger entry around these bytes, with fixed identifiers. */
void entry_event(aqw_event *event, uint64_t sequence, const uint8_t *data, uint32_t size);

/* ---- Files, by the I/O table that is under test ---- */

uint64_t file_size(const char *path);
/* All bytes, malloc'd. */
uint8_t *file_bytes(const char *path, uint64_t *size);
void file_write(const char *path, uint64_t offset, const void *bytes, size_t size);
uint32_t directory_count(const char *path);
/* 1 where a file can be replaced while somebody reads it: everywhere but on Windows without POSIX semantics. */
int can_replace_open_files(const char *directory);

/* ---- The checks, each in a new directory of its own ---- */

void check_checksums(const char *directory);
void check_golden_payloads(const char *directory);
void check_golden_logs_are_read(const char *directory);
void check_golden_logs_are_written(const char *directory);
void check_files(const char *directory);
void check_names(const char *directory);
void check_paths(const char *directory);
void check_locks(const char *directory);
void check_threads(const char *directory);
void check_a_log(const char *directory);
void check_batches(const char *directory);
void check_rotation(const char *directory);
void check_an_abandoned_log(const char *directory);
void check_one_writer(const char *directory);
void check_a_torn_tail(const char *directory);
void check_damage(const char *directory);
void check_snapshots(const char *directory);
void check_a_follower(const char *directory);
void check_a_table(const char *directory);
void check_the_golden_image(const char *directory);

/* One turn of a log that is handed from machine to machine: reads what all turns before have written, and writes more. */
void relay(const char *directory, unsigned turn);

#endif
