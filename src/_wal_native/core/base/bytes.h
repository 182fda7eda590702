/* Little-endian loads and stores, and small helpers on bytes, for every file of the core.
 * All fields on disk are little-endian on every machine. */
#ifndef AQW_BYTES_H
#define AQW_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Turns a number into the one whose bytes in memory are little-endian, and back. Compilers don't
 * see through a loop over the bytes. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define AQW_LITTLE_16(value) __builtin_bswap16(value)
#define AQW_LITTLE_32(value) __builtin_bswap32(value)
#define AQW_LITTLE_64(value) __builtin_bswap64(value)
#else /* gcc and clang define __BYTE_ORDER__; the other compilers build for Windows */
#define AQW_LITTLE_16(value) (value)
#define AQW_LITTLE_32(value) (value)
#define AQW_LITTLE_64(value) (value)
#endif

static inline void aqw_store_u16(uint8_t *to, uint16_t value) {
    value = AQW_LITTLE_16(value);
    memcpy(to, &value, sizeof value);
}

static inline void aqw_store_u32(uint8_t *to, uint32_t value) {
    value = AQW_LITTLE_32(value);
    memcpy(to, &value, sizeof value);
}

static inline void aqw_store_u64(uint8_t *to, uint64_t value) {
    value = AQW_LITTLE_64(value);
    memcpy(to, &value, sizeof value);
}

static inline uint16_t aqw_load_u16(const uint8_t *from) {
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return AQW_LITTLE_16(value);
}

static inline uint32_t aqw_load_u32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return AQW_LITTLE_32(value);
}

static inline uint64_t aqw_load_u64(const uint8_t *from) {
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return AQW_LITTLE_64(value);
}

/* Compares two 16-byte identifiers, without a call. */
static inline int aqw_id_equal(const uint8_t *a, const uint8_t *b) {
    uint64_t a0, a1, b0, b1;
    memcpy(&a0, a, 8);
    memcpy(&a1, a + 8, 8);
    memcpy(&b0, b, 8);
    memcpy(&b1, b + 8, 8);
    return ((a0 ^ b0) | (a1 ^ b1)) == 0;
}

#endif
