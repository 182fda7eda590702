/* The core's memory in tests: counted, and failing when told to. The core is compiled with its allocation functions renamed to these;
 * this file is not. */
#include <stdatomic.h>
#include <stdlib.h>

void *aqw_test_malloc(size_t size);
void *aqw_test_calloc(size_t count, size_t size);
void *aqw_test_realloc(void *block, size_t size);
void aqw_test_free(void *block);
void aqw_test_memory_fail(long number, int for_good);
long aqw_test_memory_failures(void);
long aqw_test_memory_blocks(void);
long aqw_test_memory_largest(int begins_again);

static atomic_long until_failure = -1, failures, blocks;
static atomic_int fails_for_good;

/* Fails allocation `number` from now on, 1 being the next, and with `for_good` all behind it; -1: none. */
void aqw_test_memory_fail(long number, int for_good) {
    atomic_store(&failures, 0);
    atomic_store(&fails_for_good, for_good);
    atomic_store(&until_failure, number);
}

/* How many have failed since. */
long aqw_test_memory_failures(void) { return atomic_load(&failures); }

/* Blocks taken and not given back. */
long aqw_test_memory_blocks(void) { return atomic_load(&blocks); }

static atomic_long largest;

/* The size of the largest block that was taken, since the last call that begins again. */
long aqw_test_memory_largest(int begins_again) { return begins_again ? atomic_exchange(&largest, 0) : atomic_load(&largest); }

static void note(size_t size) {
    long before = atomic_load(&largest);
    while ((long)size > before && !atomic_compare_exchange_weak(&largest, &before, (long)size)) continue;
}

static int fails(void) {
    if (atomic_load(&until_failure) < 0) return 0;
    long left = atomic_fetch_sub(&until_failure, 1) - 1;
    if (left > 0) return 0;
    atomic_store(&until_failure, atomic_load(&fails_for_good) ? 0 : -1);
    if (left < 0 && !atomic_load(&fails_for_good)) return 0;
    atomic_fetch_add(&failures, 1);
    return 1;
}

static void *counted(void *block) {
    if (block != NULL) atomic_fetch_add(&blocks, 1);
    return block;
}

void *aqw_test_malloc(size_t size) {
    if (fails()) return NULL;
    note(size);
    return counted(malloc(size));
}

void *aqw_test_calloc(size_t count, size_t size) {
    if (fails()) return NULL;
    note(count * size);
    return counted(calloc(count, size));
}

/* A failing one leaves the block as it is, as the standard says. */
void *aqw_test_realloc(void *block, size_t size) {
    if (fails()) return NULL;
    note(size);
    void *grown = realloc(block, size);
    return block == NULL ? counted(grown) : grown;
}

void aqw_test_free(void *block) {
    if (block != NULL) atomic_fetch_sub(&blocks, 1);
    free(block);
}
