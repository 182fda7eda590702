/* Looks for records in bytes that may hold anything: gives the checksum of any piece at a cost that
 * does not depend on its size.
 *
 * Users choose what payloads hold, so bytes that are no record may look like headers that announce
 * megabytes, one every few bytes. A scan that computed a checksum over each announced size would
 * cost their product. CRC-32C is linear: the checksum of a piece follows from those of two
 * beginnings of the bytes. The scan keeps these at every AQW_SCAN_STEP bytes, so that a candidate
 * costs two pieces of at most that size, and a scan is linear in the bytes that it passes. */
#ifndef AQW_SCAN_H
#define AQW_SCAN_H

#include <stdint.h>

#include "base/status.h"
#include "files/record.h"
#include "files/window.h"

#define AQW_SCAN_STEP 1024

typedef struct aqw_scan {
    aqw_window *bytes;
    /* running checksums, begun with 0, of the bytes before each multiple of the step;
     * made when first needed */
    uint32_t *marks;
    /* powers of x: what 256^i * j bytes of zeros multiply a running checksum by */
    uint32_t forward[4][256];
    uint32_t backward[4][256];  /* their inverses */
} aqw_scan;

/* Takes no memory; the bytes stay the caller's and must not change before aqw_scan_free. */
void aqw_scan_init(aqw_scan *scan, aqw_window *bytes);
void aqw_scan_free(aqw_scan *scan);

/* Gives the running checksum, begun with 0, of the bytes from `from` up to `to`. May move the
 * window. Returns AQW_NO_MEMORY where it can't make the marks, or what ended the window. */
aqw_status aqw_scan_sum(aqw_scan *scan, uint64_t from, uint64_t to, uint32_t *sum);

/* Gives the same for two pieces, one after the other: `sum` is that of the first, `second` that of
 * the second, of `size` bytes. */
uint32_t aqw_scan_join(const aqw_scan *scan, uint32_t sum, uint32_t second, uint64_t size);

/* Returns the checksum that a record's header must hold at this position, whose bytes after the
 * checksum have this sum and size. */
uint32_t aqw_scan_seal_of(const aqw_scan *scan, const aqw_place *place, uint64_t position,
                          uint32_t sum, uint64_t size);

/* Returns the one position below 2^32 at which a record with this checksum in its header, and these
 * bytes after it, is valid. */
uint64_t aqw_scan_position_of(const aqw_scan *scan, const aqw_place *place, uint32_t stored,
                              uint32_t sum, uint64_t size);

#endif
