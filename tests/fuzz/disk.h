/* Files in memory behind the core's table of I/O functions, for targets that read and write whole queues.
 *
 * One process at a time uses a disk. Calls of other threads than the one that began it get ENOSPC and have no effect: the core then
 * prepares its segments in the appending thread, and a run is the same every time. A killed process has no effect any more. */
#ifndef FUZZ_DISK_H
#define FUZZ_DISK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "os/io.h"

enum { DISK_FILES_MAX = 96, DISK_HANDLES_MAX = 32, DISK_PATH_SIZE = 192, DISK_FILE_SIZE_MAX = 1 << 25 };

typedef struct disk_file {
    uint8_t *data;
    size_t size;
    size_t capacity;
    int names;                  /* how many names and handles hold it */
    int is_mapped;
    int is_locked;
} disk_file;

typedef struct disk_name {
    char path[DISK_PATH_SIZE];
    disk_file *file;            /* NULL: a directory */
} disk_name;

/* A call that is to fail. */
typedef struct disk_fault {
    uint32_t countdown;         /* of calls that can fail; 0 = none fails */
    int error;
    int is_short;               /* transfers are halved first; with error 0 that is all */
    int is_lasting;             /* all later calls too */
} disk_fault;

typedef struct disk {
    aqw_io io;
    disk_name names[DISK_FILES_MAX];
    int name_count;
    disk_file *handles[DISK_HANDLES_MAX];
    uint64_t random;
    uint64_t writes;            /* calls that changed something, the lock file's apart */
    uint64_t failures;
    int can_map;
    int is_dead;
    disk_fault fault;
    pthread_t owner;
} disk;

void disk_init(disk *d);
void disk_free(disk *d);

/* The process ends: its handles, locks and mappings are gone. Call disk_kill, then let the core close what it has, then disk_revive
 * for the next process. */
void disk_kill(disk *d);
void disk_revive(disk *d);
int disk_open_handles(const disk *d);

void disk_make_directory(disk *d, const char *path);
/* The file of this name, made where it is missing; NULL where there is no room for one more. */
disk_file *disk_file_at(disk *d, const char *path);
disk_file *disk_find(const disk *d, const char *path);
void disk_remove(disk *d, const char *path);
/* Sets the size; what is new is zero. */
void disk_resize(disk_file *file, size_t size);
/* Writes bytes, growing the file; past the greatest size nothing happens. */
void disk_put(disk_file *file, size_t offset, const void *from, size_t size);
/* Copies bytes inside a file. */
void disk_copy(disk_file *file, size_t from, size_t to, size_t size);
/* The most memory that the core may take for the files as they are (core_memory.h). */
uint64_t disk_memory_bound(const disk *d);
/* Names and bytes of the files whose path begins so. */
uint64_t disk_digest(const disk *d, const char *prefix);

#endif
