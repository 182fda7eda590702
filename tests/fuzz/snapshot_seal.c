#include "snapshot_seal.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "files/snapshot_internal.h"

void seal_snapshot(uint8_t *data, size_t size) {
    if (size < AQW_SNAPSHOT_HEADER_SIZE) return;
    aqw_store_u32(data + 60, aqw_crc32c(data, 60));
    uint32_t seed = aqw_snapshot_seed(data + 16, aqw_load_u64(data + 32), aqw_load_u64(data + 40));
    for (size_t at = AQW_SNAPSHOT_HEADER_SIZE; size - at >= AQW_SNAPSHOT_BLOCK_HEADER_SIZE;) {
        uint32_t block = aqw_load_u32(data + at + 4);
        if (block > size - at - AQW_SNAPSHOT_BLOCK_HEADER_SIZE) return;
        size_t whole = AQW_SNAPSHOT_BLOCK_HEADER_SIZE + (size_t)block;
        aqw_store_u32(data + at, aqw_snapshot_block_checksum(seed, at, data + at + 4, whole - 4));
        at += whole;
    }
}
