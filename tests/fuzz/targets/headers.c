/* Headers of segment files and of the ring: any bytes, as they are or with right checksums, in files of any size.
 *
 * Held: what is accepted obeys format.h, and a header that is written is read back. */
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "files/format.h"
#include "base/limits.h"
#include "files/ring.h"
#include "files/segment.h"
#include "disk.h"
#include "fuzz.h"

static const char directory[] = "/q";
static const char segment_path[] = "/q/segment";

/* Up to `size` bytes of the input at an offset, and a right checksum behind them where that is asked for. */
static void put_part(input *in, disk_file *file, size_t offset, size_t size, size_t checked, int is_sealed) {
    uint8_t part[128] = {0};
    size_t taken = 0;
    const uint8_t *bytes = take_bytes(in, size, &taken);
    if (taken > 0) memcpy(part, bytes, taken);
    if (is_sealed) aqw_store_u32(part + checked, aqw_crc32c(part, checked));
    disk_put(file, offset, part, size);
}

static void check_segment(disk *d, input *in, uint8_t choice) {
    aqw_segment_header header, again;
    aqw_fault fault;
    int64_t handle = -1;
    uint64_t number = take_number(in), first = take_number(in);
    disk_file *file = disk_file_at(d, segment_path);
    disk_resize(file, choice & 4 ? take_u32(in) % (1u << 20) : AQW_SEGMENT_SIZE_FIRST);
    put_part(in, file, 0, AQW_SEGMENT_HEADER_SIZE, 124, choice & 8);
    if (choice & 16) put_part(in, file, AQW_SEGMENT_HEADER_COPY, AQW_SEGMENT_HEADER_SIZE, 124, choice & 32);
    else disk_copy(file, 0, AQW_SEGMENT_HEADER_COPY, AQW_SEGMENT_HEADER_SIZE);
    if (choice & 64) {
        number = aqw_load_u64(file->data + 32);
        first = aqw_load_u64(file->data + 48);
    }
    CHECK(d->io.open(d, segment_path, AQW_OPEN_READ, &handle) == 0);
    aqw_status status = aqw_segment_header_load(&d->io, handle, segment_path, number, first, &header, &fault);
    CHECK(status == AQW_OK || (int)status == fault.status);
    CHECK(status == AQW_OK || status == AQW_CORRUPT || status == AQW_UNSUPPORTED_FORMAT);
    if (status == AQW_OK) {
        CHECK(header.format_version == AQW_FORMAT_VERSION && header.place.segment_number == number);
        CHECK(header.place.first_sequence == first && header.file_size == file->size && file->size % AQW_RECORD_ALIGNMENT == 0);
        CHECK(file->size >= AQW_SEGMENT_SIZE_MIN);
        uint8_t written[AQW_SEGMENT_HEADER_SIZE];
        aqw_segment_header_write(&header, written);
        disk_put(file, 0, written, sizeof written);
        disk_put(file, AQW_SEGMENT_HEADER_COPY, written, sizeof written);
        CHECK(aqw_segment_header_load(&d->io, handle, segment_path, number, first, &again, &fault) == AQW_OK);
        CHECK(memcmp(&header, &again, sizeof header) == 0);
    }
    CHECK(d->io.close(d, handle) == 0);
}

static void check_ring(disk *d, input *in, uint8_t choice) {
    aqw_ring_image image;
    aqw_fault fault;
    disk_file *file = disk_file_at(d, "/q/ring");
    disk_resize(file, choice & 4 ? take_u32(in) % (1u << 19) : AQW_RING_DATA + AQW_RING_SIZE_MIN);
    put_part(in, file, 0, AQW_RING_HEADER_SIZE, 60, choice & 8);
    put_part(in, file, AQW_RING_SLOT_FIRST, 16, 0, 0);
    put_part(in, file, AQW_RING_SLOT_SECOND, 16, 0, 0);
    aqw_status status = aqw_ring_load(&d->io, directory, &image, &fault);
    CHECK(status == AQW_OK || (int)status == fault.status);
    CHECK(status == AQW_OK || status == AQW_CORRUPT || status == AQW_UNSUPPORTED_FORMAT);
    CHECK(image.is_present == (status == AQW_OK) && (image.data != NULL) == (status == AQW_OK));
    if (status != AQW_OK) return;
    CHECK(file->size == AQW_RING_DATA + image.size && memcmp(image.data, file->data + AQW_RING_DATA, (size_t)image.size) == 0);
    aqw_ring_image_free(&image);
}

/* A new ring, and any bytes at any position: they come back, and the durable sequence is the highest that was noted. */
static void check_new_ring(disk *d, input *in) {
    static const uint8_t uuid[16] = {1, 2, 3};
    uint8_t in_bytes[64], out_bytes[64];
    aqw_ring ring;
    aqw_ring_image image;
    aqw_fault fault;
    uint64_t durable = take_number(in), position = take_number(in);
    CHECK(aqw_ring_create(&d->io, directory, uuid, AQW_RING_SIZE_MIN, durable, &ring, &fault) == AQW_OK);
    memset(in_bytes, take_u8(in), sizeof in_bytes);
    aqw_ring_put(&ring, position, in_bytes, sizeof in_bytes);
    aqw_ring_get(&ring, position, out_bytes, sizeof out_bytes);
    CHECK(memcmp(in_bytes, out_bytes, sizeof in_bytes) == 0);
    for (int i = take_u8(in) % 4; i > 0 && durable < UINT64_MAX; i--) aqw_ring_set_durable(&d->io, &ring, ++durable);
    aqw_ring_close(&d->io, &ring);
    CHECK(aqw_ring_load(&d->io, directory, &image, &fault) == AQW_OK);
    CHECK(image.durable_sequence == durable && memcmp(image.log_uuid, uuid, sizeof uuid) == 0);
    aqw_ring_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    disk d;
    uint8_t choice = take_u8(&in);
    disk_init(&d);
    disk_make_directory(&d, directory);
    d.can_map = choice >> 7;
    switch (choice & 3) {
    case 0: check_new_ring(&d, &in); break;
    case 1: check_ring(&d, &in, choice); break;
    default: check_segment(&d, &in, choice); break;
    }
    CHECK(disk_open_handles(&d) == 0);
    disk_free(&d);
    return 0;
}
