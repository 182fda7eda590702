/* Records: any bytes at any position and alignment; as they are, or sealed so that the checksum is right.
 *
 * Held: nothing outside the available bytes is read; what is read lies inside; what is sealed is read back as it was; a record that is
 * changed in any byte but its size, or moved, is refused; both checksum codes agree. */
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "event/event.h"
#include "files/format.h"
#include "base/limits.h"
#include "files/record.h"
#include "fuzz.h"

static void take_place(input *from, aqw_place *place) {
    memset(place, 0, sizeof *place);
    place->log_uuid[0] = take_u8(from);
    place->segment_number = take_number(from);
    place->salt = take_number(from);
    place->first_sequence = take_number(from);
    if (place->first_sequence == 0) place->first_sequence = 1;
    aqw_place_seed(place);
}

static void check_read(const uint8_t *from, size_t available, const aqw_place *place, uint64_t position) {
    aqw_record record, checked;
    int is_valid = aqw_record_read(from, available, place, position, &record);
    uint32_t ordinal = available >= AQW_RECORD_HEADER_SIZE ? aqw_load_u32(from + 8) : 0;
    CHECK(aqw_record_check(from, available, place, position, ordinal, &checked) == is_valid);
    CHECK(!aqw_record_check(from, available, place, position, ordinal + 1, &checked));
    if (!is_valid) return;
    CHECK(record.size <= available && record.size == aqw_record_size(record.payload_size));
    CHECK(record.payload == from + AQW_RECORD_HEADER_SIZE && record.payload_size <= AQW_PAYLOAD_SIZE_MAX);
    CHECK(record.position == position && record.ordinal == ordinal && record.watermark <= record.sequence);
    CHECK(record.sequence >= place->first_sequence - 1 && record.flags <= AQW_FLAG_BATCH_END);
    CHECK(aqw_record_is_plausible(from, 0, UINT32_MAX));
    CHECK(record.kind >= 1 && record.kind <= AQW_KIND_PAD);
}

/* Seals what is there, and breaks it again in one place. */
static void check_sealed(input *in, exact *bytes, const aqw_place *place, uint64_t position) {
    aqw_record record;
    uint32_t payload_size = (uint32_t)bytes->size - AQW_RECORD_HEADER_SIZE - 3;
    uint32_t ordinal = take_u32(in), lag = take_u32(in) & 0xffffff;
    uint8_t kind = take_u8(in), flags = take_u8(in);
    aqw_record_seal(bytes->data, place, position, ordinal, lag, kind, flags, payload_size);
    check_read(bytes->data, bytes->size, place, position);
    uint32_t size = aqw_record_size(payload_size);
    if (!aqw_record_read(bytes->data, bytes->size, place, position, &record)) return;
    CHECK(record.ordinal == ordinal && record.kind == kind && record.flags == flags && record.payload_size == payload_size);
    CHECK(!aqw_record_read(bytes->data, size - 1, place, position, &record));
    CHECK(!aqw_record_read(bytes->data, bytes->size, place, position ^ (1 + take_u16(in)), &record));

    uint32_t at = take_u32(in) % size;
    uint8_t change = take_u8(in);
    if (change == 0 || (at >= 4 && at < 7)) return;   /* another size is another record: only likely to be refused */
    bytes->data[at] ^= change;
    CHECK(!aqw_record_read(bytes->data, bytes->size, place, position, &record));
}

static void check_checksums(const uint8_t *data, size_t size, size_t cut) {
    uint32_t whole = aqw_crc32c_update(AQW_CRC32C_START, data, size);
    CHECK(whole == aqw_crc32c_update_portable(AQW_CRC32C_START, data, size));
    CHECK(whole == aqw_crc32c_update(aqw_crc32c_update_portable(AQW_CRC32C_START, data, cut), data + cut, size - cut));
    CHECK(aqw_crc32c(data, size) == aqw_crc32c_finish(whole));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    aqw_place place;
    take_place(&in, &place);
    uint64_t position = take_number(&in);
    uint8_t choice = take_u8(&in);
    size_t part = 0, half = in.size / 2;
    const uint8_t *record = take_bytes(&in, choice & 1 ? half : in.size, &part);
    exact bytes = copy_exactly(record, part, choice >> 1 & 15);
    check_checksums(bytes.data, bytes.size, half < part ? half : 0);
    check_read(bytes.data, bytes.size, &place, position);
    if (choice & 1 && bytes.size >= AQW_RECORD_HEADER_SIZE + 3) check_sealed(&in, &bytes, &place, position);
    free_exactly(&bytes);
    return 0;
}
