/* SipHash-1-3, keyed: a caller that chooses identifiers without knowing the key can't
 * choose collisions. */
#ifndef AQW_HASH_H
#define AQW_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct aqw_hash_key {
    uint64_t k0;
    uint64_t k1;
} aqw_hash_key;

uint64_t aqw_hash_bytes(const aqw_hash_key *key, const uint8_t *data, size_t size);
/* Returns the same value as aqw_hash_bytes over the identifier's 16 bytes, faster. */
uint64_t aqw_hash_id(const aqw_hash_key *key, const uint8_t id[16]);

#endif
