/* What every fuzz target uses: the input as a stream of choices, and the check that ends the program.
 *
 * A target is one C file with LLVMFuzzerTestOneInput. libFuzzer drives it where clang is at hand (make fuzz); runner.c
 * feeds it files, with any compiler. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Says where and what, and aborts: a finding. */
void fuzz_fail(const char *file, int line, const char *what);
#define CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

/* The bytes that are left to choose from. Behind the end every choice is 0. */
typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

uint8_t take_u8(input *from);
uint16_t take_u16(input *from);
uint32_t take_u32(input *from);
uint64_t take_u64(input *from);
/* A number from 0 to below - 1; `below` is at most 65536. */
uint32_t take_below(input *from, uint32_t below);
/* A number whose size is chosen too: small ones are likely, those around the greatest are there. */
uint64_t take_number(input *from);
/* At most `size` bytes, as many as there are; they point into the input. */
const uint8_t *take_bytes(input *from, size_t size, size_t *taken);

/* A copy of exactly this size on the heap, so that a read past it is noticed. Ends at a multiple of `alignment` plus
 * the size. Free with free_exactly. */
typedef struct exact {
    uint8_t *block;
    uint8_t *data;
    size_t size;
} exact;
exact copy_exactly(const uint8_t *data, size_t size, size_t misalignment);
void free_exactly(exact *copy);

/* A running 64-bit digest of anything, for comparing. */
#define DIGEST_START 1469598103
uint64_t digest_bytes(uint64_t digest, const void *data, size_t size);
uint64_t digest_number(uint64_t digest, uint64_t value);

#endif
