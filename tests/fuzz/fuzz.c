#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
    abort();
}

uint8_t take_u8(input *from) {
    if (from->size == 0) return 0;
    from->size--;
    return *from->data++;
}

uint16_t take_u16(input *from) {
    uint32_t low = take_u8(from);
    return (uint16_t)(low | (uint32_t)take_u8(from) << 8);
}

uint32_t take_u32(input *from) {
    uint32_t low = take_u16(from);
    return low | (uint32_t)take_u16(from) << 16;
}

uint64_t take_u64(input *from) {
    uint64_t low = take_u32(from);
    return low | (uint64_t)take_u32(from) << 32;
}

uint32_t take_below(input *from, uint32_t below) {
    return (below > 256 ? (uint32_t)take_u16(from) : (uint32_t)take_u8(from)) % below;
}

uint64_t take_number(input *from) {
    uint8_t kind = take_u8(from);
    switch (kind) {
    case 255: return UINT64_MAX - take_u8(from);
    case 254: return take_u64(from);
    case 253: return take_u32(from);
    case 252: return UINT32_MAX - take_u8(from);
    case 251: return (uint64_t)UINT32_MAX + take_u8(from);
    case 250: return take_u16(from);
    default: return kind;
    }
}

const uint8_t *take_bytes(input *from, size_t size, size_t *taken) {
    const uint8_t *data = from->data;
    *taken = size < from->size ? size : from->size;
    from->data += *taken;
    from->size -= *taken;
    return data;
}

exact copy_exactly(const uint8_t *data, size_t size, size_t misalignment) {
    exact copy = {malloc(size + misalignment + (size + misalignment == 0)), NULL, size};
    if (copy.block == NULL) abort();
    copy.data = copy.block + misalignment;
    if (size > 0) memcpy(copy.data, data, size);
    return copy;
}

void free_exactly(exact *copy) {
    free(copy->block);
    copy->block = copy->data = NULL;
}

uint64_t digest_bytes(uint64_t digest, const void *data, size_t size) {
    const uint8_t *bytes = data;
    while (size > 0) {
        uint64_t word = 0;
        size_t part = size < sizeof word ? size : sizeof word;
        memcpy(&word, bytes, part);
        digest = digest_number(digest, word);
        bytes += part;
        size -= part;
    }
    return digest;
}

uint64_t digest_number(uint64_t digest, uint64_t value) {
    digest ^= value + 0x9e3779b97f4a7c15u + (digest << 6) + (digest >> 2);
    digest *= 0xbf58476d1ce4e5b9u;
    return digest ^ digest >> 29;
}
