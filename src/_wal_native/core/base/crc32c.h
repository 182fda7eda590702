/* CRC-32C (Castagnoli): polynomial 0x1EDC6F41, reflected. At run time it uses the processor's
 * instruction where there is one, and a table otherwise; both give the same values.
 *
 * A running value is not inverted: start from AQW_CRC32C_START, update with any
 * pieces, then finish. */
#ifndef AQW_CRC32C_H
#define AQW_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#define AQW_CRC32C_START 4294967295

uint32_t aqw_crc32c_update(uint32_t running, const void *data, size_t size);
uint32_t aqw_crc32c_finish(uint32_t running);

/* Returns the checksum of one piece: finish(update(start, ...)). */
uint32_t aqw_crc32c(const void *data, size_t size);

/* Runs the table-driven code, for tests that compare the two. */
uint32_t aqw_crc32c_update_portable(uint32_t running, const void *data, size_t size);

/* Returns 1 where the core uses the processor's instruction. */
int aqw_crc32c_is_hardware(void);

#endif
