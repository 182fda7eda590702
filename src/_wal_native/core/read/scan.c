/* A running checksum is a polynomial over GF(2) modulo the CRC's, its bits reflected: bit 31 is the
 * coefficient of x^0. Bytes of zeros multiply it by a power of x. x has an inverse, so a running
 * checksum can be taken back over bytes that are known. */
#include "read/scan.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define POLYNOMIAL 0x82f63b78u
#define ONE 0x80000000u

static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (; a != 0; a <<= 1) {
        if (a & ONE) product ^= b;
        b = b >> 1 ^ (POLYNOMIAL & (0 - (b & 1)));
    }
    return product;
}

static void fill_powers(uint32_t powers[4][256], uint32_t of_one_byte) {
    for (int i = 0; i < 4; i++) {
        powers[i][0] = ONE;
        for (int j = 1; j < 256; j++) powers[i][j] = multiply(powers[i][j - 1], of_one_byte);
        of_one_byte = multiply(powers[i][255], of_one_byte);
    }
}

static uint32_t move(const uint32_t powers[4][256], uint32_t running, uint64_t size) {
    for (int i = 0; i < 4; i++, size >>= 8) {
        if ((size & 255) != 0) running = multiply(powers[i][size & 255], running);
    }
    return running;
}

void aqw_scan_init(aqw_scan *scan, aqw_window *bytes) {
    scan->bytes = bytes;
    scan->marks = NULL;
}

void aqw_scan_free(aqw_scan *scan) {
    free(scan->marks);
    scan->marks = NULL;
}

static aqw_status make_marks(aqw_scan *scan) {
    uint64_t count = scan->bytes->size / AQW_SCAN_STEP + 1;
    uint32_t *marks = malloc((size_t)count * sizeof *marks);
    if (marks == NULL) return AQW_NO_MEMORY;
    marks[0] = 0;
    for (uint64_t i = 1; i < count; i++) {
        const uint8_t *bytes = aqw_window_at(scan->bytes, (i - 1) * AQW_SCAN_STEP, AQW_SCAN_STEP);
        if (bytes == NULL) {
            free(marks);
            return scan->bytes->status;
        }
        marks[i] = aqw_crc32c_update(marks[i - 1], bytes, AQW_SCAN_STEP);
    }
    scan->marks = marks;
    /* x^8 and its inverse: x is bit 30. */
    uint32_t inverse = (ONE ^ POLYNOMIAL) << 1 | 1, back = ONE;
    for (int i = 0; i < 8; i++) back = multiply(back, inverse);
    fill_powers(scan->forward, ONE >> 8);
    fill_powers(scan->backward, back);
    return AQW_OK;
}

/* Gives `running` after the bytes from `from` up to `to`. */
static aqw_status update(aqw_scan *scan, uint32_t running, uint64_t from, uint64_t to,
                         uint32_t *sum) {
    *sum = running;
    if (from == to) return AQW_OK;
    const uint8_t *bytes = aqw_window_at(scan->bytes, from, to - from);
    if (bytes == NULL) return scan->bytes->status;
    *sum = aqw_crc32c_update(running, bytes, (size_t)(to - from));
    return AQW_OK;
}

static aqw_status sum_before(aqw_scan *scan, uint64_t at, uint32_t *sum) {
    uint64_t mark = at / AQW_SCAN_STEP;
    return update(scan, scan->marks[mark], mark * AQW_SCAN_STEP, at, sum);
}

aqw_status aqw_scan_sum(aqw_scan *scan, uint64_t from, uint64_t to, uint32_t *sum) {
    uint32_t first = 0, second = 0;
    aqw_status status = scan->marks == NULL ? make_marks(scan) : AQW_OK;
    if (status == AQW_OK && to - from <= 2 * AQW_SCAN_STEP) return update(scan, 0, from, to, sum);
    if (status == AQW_OK) status = sum_before(scan, from, &first);
    if (status == AQW_OK) status = sum_before(scan, to, &second);
    if (status == AQW_OK) *sum = aqw_scan_join(scan, first, second, to - from);
    return status;
}

uint32_t aqw_scan_join(const aqw_scan *scan, uint32_t sum, uint32_t second, uint64_t size) {
    return move(scan->forward, sum, size) ^ second;
}

uint32_t aqw_scan_seal_of(const aqw_scan *scan, const aqw_place *place, uint64_t position,
                          uint32_t sum, uint64_t size) {
    uint8_t bytes[8];
    aqw_store_u64(bytes, position);
    return aqw_crc32c_finish(
        aqw_scan_join(scan, aqw_crc32c_update(place->seed, bytes, sizeof bytes), sum, size));
}

uint64_t aqw_scan_position_of(const aqw_scan *scan, const aqw_place *place, uint32_t stored,
                              uint32_t sum, uint64_t size) {
    /* The checksum's complement, without the bytes, is the seed with the position in its first four
     * of eight bytes, moved over all of them. */
    return move(scan->backward, ~stored ^ sum, size + 8) ^ place->seed;
}
