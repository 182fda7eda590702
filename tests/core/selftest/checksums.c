#include "selftest.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

/* The known values of RFC 3720, appendix B.4, and of the digits. */
void check_checksums(const char *directory) {
    (void)directory;
    uint8_t bytes[256], rising[32], falling[32];
    memset(bytes, 0, sizeof bytes);
    EXPECT_EQUAL(aqw_crc32c("", 0), 0);
    EXPECT_EQUAL(aqw_crc32c("123456789", 9), 0xe3069283u);
    EXPECT_EQUAL(aqw_crc32c(bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, 32);
    EXPECT_EQUAL(aqw_crc32c(bytes, 32), 0x62a8ab43u);
    for (unsigned i = 0; i < 32; i++) {
        rising[i] = (uint8_t)i;
        falling[i] = (uint8_t)(31 - i);
    }
    EXPECT_EQUAL(aqw_crc32c(rising, 32), 0x46dd794eu);
    EXPECT_EQUAL(aqw_crc32c(falling, 32), 0x113fdb5cu);

    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 167 + 13);
    for (size_t from = 0; from < 16; from++)
        for (size_t size = 0; size <= sizeof bytes - from; size++)
            EXPECT_EQUAL(aqw_crc32c_update(42, bytes + from, size), aqw_crc32c_update_portable(42, bytes + from, size));

    uint8_t stored[8];
    aqw_store_u64(stored, 0x0102030405060708u);
    for (unsigned i = 0; i < 8; i++) EXPECT_EQUAL(stored[i], 8 - i);
    EXPECT_EQUAL(aqw_load_u64(stored), 0x0102030405060708u);
    EXPECT_EQUAL(aqw_load_u32(stored), 0x05060708u);
    EXPECT_EQUAL(aqw_load_u16(stored), 0x0708u);
}
