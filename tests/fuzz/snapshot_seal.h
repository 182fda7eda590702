/* Right checksums for a snapshot file whose bytes were changed. */
#ifndef FUZZ_SNAPSHOT_SEAL_H
#define FUZZ_SNAPSHOT_SEAL_H

#include <stddef.h>
#include <stdint.h>

/* Seals the header, and block after block as their sizes say, as far as they lie in the file. */
void seal_snapshot(uint8_t *data, size_t size);

#endif
