#include "base/hash.h"

#include "base/bytes.h"

typedef struct sip_state {
    uint64_t v0, v1, v2, v3;
} sip_state;

static uint64_t rotate_left(uint64_t value, int bits) {
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(sip_state *s) {
    s->v0 += s->v1;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

static inline sip_state sip_start(const aqw_hash_key *key) {
    /* The constants are the algorithm's own. */
    sip_state s = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du,
                   key->k0 ^ 0x6c7967656e657261u, key->k1 ^ 0x7465646279746573u};
    return s;
}

static inline void sip_block(sip_state *s, uint64_t block) {
    s->v3 ^= block;
    sip_round(s);
    s->v0 ^= block;
}

static inline uint64_t sip_finish(sip_state *s) {
    s->v2 ^= 0xff;
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t aqw_hash_bytes(const aqw_hash_key *key, const uint8_t *data, size_t size) {
    sip_state s = sip_start(key);
    size_t at = 0;
    for (; at + 8 <= size; at += 8) sip_block(&s, aqw_load_u64(data + at));
    uint64_t last = (uint64_t)size << 56;
    for (int shift = 0; at < size; at++, shift += 8) last |= (uint64_t)data[at] << shift;
    sip_block(&s, last);
    return sip_finish(&s);
}

uint64_t aqw_hash_id(const aqw_hash_key *key, const uint8_t id[16]) {
    sip_state s = sip_start(key);
    sip_block(&s, aqw_load_u64(id));
    sip_block(&s, aqw_load_u64(id + 8));
    sip_block(&s, (uint64_t)16 << 56);
    return sip_finish(&s);
}
