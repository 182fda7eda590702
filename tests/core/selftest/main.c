/* selftest check DIRECTORY        every check, each in a new directory below; one line for each, exit code 0
 * selftest relay DIRECTORY TURN   see relay.c */
#include "selftest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

static const struct {
    const char *name;
    void (*run)(const char *directory);
} checks[] = {
    {"checksums: known values, both implementations", check_checksums},
    {"events: golden payloads, decoded and encoded", check_golden_payloads},
    {"format: golden logs are read", check_golden_logs_are_read},
    {"format: golden logs are written, byte by byte", check_golden_logs_are_written},
    {"files: read, write, size, truncate, map", check_files},
    {"names: create, rename, unlink, list", check_names},
    {"paths: not ASCII, longer than 260 characters, parents made", check_paths},
    {"locks: exclusive, probed, of the file that has the name", check_locks},
    {"threads: mutex, condition, clock", check_threads},
    {"log: create, append, sync, close, reopen", check_a_log},
    {"log: batches", check_batches},
    {"log: rotation", check_rotation},
    {"log: abandoned, recovered from the ring", check_an_abandoned_log},
    {"log: one writer", check_one_writer},
    {"log: a torn tail goes to quarantine", check_a_torn_tail},
    {"log: damage is refused", check_damage},
    {"log: snapshots, compaction", check_snapshots},
    {"log: followed while it is written", check_a_follower},
    {"table: apply, refuse, roll back, ask", check_a_table},
    {"table: the golden image is loaded and saved, byte by byte", check_the_golden_image},
};

void expect(int condition, const char *text, const char *file, int line) {
    if (condition) return;
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
    exit(1);
}

void expect_equal(uint64_t found, uint64_t wanted, const char *text, const char *file, int line) {
    if (found == wanted) return;
    fprintf(stderr, "%s:%d: %s is %" PRIu64 ", not %" PRIu64 "\n", file, line, text, found, wanted);
    exit(1);
}

void expect_status(int found, int wanted, const char *text, const char *file, int line) {
    if (found == wanted) return;
    fprintf(stderr, "%s:%d: %s is %s, not %s\n", file, line, text, aqw_status_name(found), aqw_status_name(wanted));
    exit(1);
}

static void print_machine(const char *directory) {
    const uint16_t word = 1;
    session s;
    aqw_log_stats stats;
    session_open(&s, below(directory, "machine"));
    aqw_log_stats_get(s.log, &stats);
    session_close(&s);
    printf("byte order: %s; checksum instruction: %s; ring: %s; open files: %s\n", *(const uint8_t *)&word == 1 ? "little" : "big",
           aqw_crc32c_is_hardware() ? "used" : "none", stats.is_ring_mapped ? "mapped" : "not mapped",
           can_replace_open_files(directory) ? "replaced" : "not replaced");
}

static void check_everything(const char *directory) {
    const aqw_io *io = aqw_io_system();
    char name[16];
    int error = io->make_directory(io->context, directory);
    EXPECT_EQUAL(error, 0);
    print_machine(directory);
    for (unsigned i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        (void)snprintf(name, sizeof name, "%u", i);
        const char *own = below(directory, name);
        EXPECT_EQUAL(io->make_directory(io->context, own), 0);
        char kept[PATH_SIZE];
        (void)snprintf(kept, sizeof kept, "%s", own);
        checks[i].run(kept);
        printf("ok  %s\n", checks[i].name);
        (void)fflush(stdout);
    }
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "check") == 0) {
        check_everything(arguments[2]);
    } else if (count == 4 && strcmp(arguments[1], "relay") == 0) {
        relay(arguments[2], (unsigned)strtoul(arguments[3], NULL, 10));
    } else {
        fprintf(stderr, "selftest check DIRECTORY | selftest relay DIRECTORY TURN\n");
        return 2;
    }
    return 0;
}
