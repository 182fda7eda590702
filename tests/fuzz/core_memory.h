/* The memory that the core takes, counted: bounded by what there is to read, whatever the bytes say of themselves. The core is compiled
 * with its allocation functions renamed to those here (programs.py); targets and harness have the C library's. */
#ifndef FUZZ_CORE_MEMORY_H
#define FUZZ_CORE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* What a call may take at once, by the sizes of the files:
 *
 * - FILE_FACTOR bytes for each of a file's: a segment is held as it is, and the one before it; the ring as it is and a part of it in order,
 *   and once more each by the log that goes on with it.
 * - TABLE_FACTOR bytes for each that is used, zeros at a file's end left out: the rows that records and items make, and their indexes, which
 *   grow by doubling. The least item with rows of its own takes a few bytes.
 * - MEMORY_BASE, however small the files are: a buffer of 1 MiB that copies go through; a block of a snapshot, of 256 KiB; the first chunks of
 *   the arena and the undo log, of 64 KiB each, and those of the rows; a new ring of 64 KiB and its buffer; paths. */
enum { FILE_FACTOR = 4, TABLE_FACTOR = 64, MEMORY_BASE = 2 << 20 };

/* From here on; what is already out does not count. */
void memory_watch(void);
/* The most that was out at once since, in bytes. */
uint64_t memory_peak(void);
/* How much that may be, for files of so many bytes together. */
uint64_t memory_bound(uint64_t size, uint64_t used);

#endif
