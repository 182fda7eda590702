#include "files/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "files/check.h"
#include "files/format.h"
#include "files/segment.h"
#include "os/fork.h"
#include "os/mappings.h"

static const uint8_t magic[8] = {'A', 'Q', 'W', 'A', 'L', 'R', 'N', 'G'};

typedef struct ring_names {
    char path[AQW_PATH_SIZE_MAX + 16];
    char temporary[AQW_PATH_SIZE_MAX + 16];
} ring_names;

/* Of a slot's value: a sequence, or a segment's number. */
static uint64_t slot_check(const uint8_t log_uuid[16], uint64_t value) {
    uint8_t bytes[24];
    memcpy(bytes, log_uuid, 16);
    aqw_store_u64(bytes + 16, value);
    uint32_t checksum = aqw_crc32c(bytes, sizeof bytes);
    return (uint64_t)checksum | (uint64_t)~checksum << 32;
}

static void slot_write(uint8_t to[16], const uint8_t log_uuid[16], uint64_t value) {
    aqw_store_u64(to, value);
    aqw_store_u64(to + 8, slot_check(log_uuid, value));
}

static uint64_t slot_read(const uint8_t from[16], const uint8_t log_uuid[16]) {
    uint64_t value = aqw_load_u64(from);
    return aqw_load_u64(from + 8) == slot_check(log_uuid, value) ? value : 0;
}

static int has_history(const aqw_ring *ring) {
    uint8_t bits = 0;
    for (size_t i = 0; i < sizeof ring->history; i++) bits |= ring->history[i];
    return bits != 0;
}

static int write_header(const aqw_io *io, aqw_ring *ring, const uint8_t log_uuid[16],
                        uint64_t durable_sequence) {
    int64_t handle = ring->handle;
    uint32_t identity = 0;
    int error = has_history(ring) ? 0
                                  : io->random(io->context, ring->history, sizeof ring->history);
    if (error == 0) error = io->identity(io->context, handle, &identity);
    if (error != 0) return error;
    uint8_t header[AQW_RING_HEADER_SIZE] = {0}, slot[16];
    memcpy(header, magic, sizeof magic);
    aqw_store_u32(header + 8, AQW_FORMAT_VERSION);
    aqw_store_u32(header + 12, AQW_RING_DATA);
    memcpy(header + 16, log_uuid, 16);
    aqw_store_u64(header + 32, ring->size);
    memcpy(header + 40, ring->history, sizeof ring->history);
    aqw_store_u32(header + 56, identity);
    aqw_store_u32(header + 60, aqw_crc32c(header, 60));
    slot_write(slot, log_uuid, durable_sequence);
    error = aqw_io_write_all(io, handle, 0, header, sizeof header);
    if (error == 0) error = aqw_io_write_all(io, handle, AQW_RING_SLOT_FIRST, slot, sizeof slot);
    if (error == 0 && ring->segment_number != 0) {
        slot_write(slot, log_uuid, ring->segment_number);
        error = aqw_io_write_all(io, handle, AQW_RING_SEGMENT_FIRST, slot, sizeof slot);
    }
    return error == 0 ? aqw_io_sync(io, handle) : error;
}

static aqw_status name_files(const char *directory, ring_names *names, aqw_fault *fault) {
    if (aqw_path_join(names->path, sizeof names->path, directory, "ring") == AQW_OK &&
        aqw_path_join(names->temporary, sizeof names->temporary, directory, "ring.tmp") == AQW_OK)
        return AQW_OK;
    return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, directory);
}

aqw_status aqw_ring_prepare(const aqw_io *io, const char *directory, uint64_t size, aqw_ring *ring,
                            aqw_fault *fault) {
    ring_names names;
    memset(ring, 0, sizeof *ring);
    ring->handle = -1;
    ring->generation = aqw_fork_generation();
    aqw_status status = name_files(directory, &names, fault);
    if (status != AQW_OK) return status;
    int error = io->unlink(io->context, names.temporary);
    if (error != 0 && error != ENOENT) return aqw_fault_io(fault, "unlink", names.temporary, error);
    error = aqw_io_open(io, names.temporary, AQW_OPEN_WRITE | AQW_OPEN_CREATE, &ring->handle);
    if (error != 0) return aqw_fault_io(fault, "create", names.temporary, error);
    ring->size = size;
    error = aqw_io_write_zeros(io, ring->handle, 0, AQW_RING_DATA + size);
    if (error == 0) return AQW_OK;
    aqw_ring_discard(io, directory, ring);
    return aqw_fault_io(fault, "write", names.temporary, error);
}

void aqw_ring_discard(const aqw_io *io, const char *directory, aqw_ring *ring) {
    ring_names names;
    aqw_fault unused;
    aqw_ring_close(io, ring);
    if (ring->is_named || ring->generation != aqw_fork_generation()) return;
    if (name_files(directory, &names, &unused) == AQW_OK)
        (void)io->unlink(io->context, names.temporary);
}

aqw_status aqw_ring_reuse(const aqw_io *io, const char *directory, aqw_ring *ring,
                          aqw_fault *fault) {
    ring_names names;
    aqw_ring_image image;
    memset(ring, 0, sizeof *ring);
    ring->handle = -1;
    ring->generation = aqw_fork_generation();
    aqw_status status = name_files(directory, &names, fault);
    if (status == AQW_OK) status = aqw_ring_look(io, directory, &image, fault);
    if (status != AQW_OK) return status;
    if (!image.is_present) return aqw_fault_io(fault, "open", names.path, ENOENT);
    int error = aqw_io_open(io, names.path, AQW_OPEN_WRITE, &ring->handle);
    if (error != 0) return aqw_fault_io(fault, "open", names.path, error);
    ring->size = image.size;
    ring->is_named = 1;
    /* The slots too: what they said of what was durable is in the segments. */
    error = aqw_io_write_zeros(io, ring->handle, AQW_RING_HEADER_SIZE,
                               AQW_RING_DATA - AQW_RING_HEADER_SIZE + ring->size);
    if (error == 0) return AQW_OK;
    aqw_ring_discard(io, directory, ring);
    return aqw_fault_io(fault, "write", names.path, error);
}

/* Uses private memory where the file can't be mapped. */
static aqw_status map_data(const aqw_io *io, aqw_ring *ring, const char *path, aqw_fault *fault) {
    if (io->map(io->context, ring->handle, (size_t)(AQW_RING_DATA + ring->size),
                &ring->mapping) == 0) {
        ring->is_mapped = 1;
        ring->data = (uint8_t *)ring->mapping + AQW_RING_DATA;
        return AQW_OK;
    }
    ring->data = calloc(1, (size_t)ring->size);
    return ring->data != NULL ? AQW_OK : aqw_fault_set(fault, AQW_NO_MEMORY, path);
}

aqw_status aqw_ring_publish(const aqw_io *io, const char *directory, const uint8_t log_uuid[16],
                            uint64_t durable_sequence, aqw_ring *ring, aqw_fault *fault) {
    ring_names names;
    aqw_status status = name_files(directory, &names, fault);
    const char *operation = "write";
    int error = 0;
    if (status == AQW_OK) error = write_header(io, ring, log_uuid, durable_sequence);
    if (status == AQW_OK && error == 0) {
        memcpy(ring->log_uuid, log_uuid, 16);
        ring->slot = 1;
        ring->segment_slot = 1;
        /* Before it gets its name, so that a failure for lack of memory leaves
         * nothing half done. */
        status = map_data(io, ring, names.temporary, fault);
    }
    if (status == AQW_OK && error == 0 && !ring->is_named) {
        operation = "rename";
        error = io->rename(io->context, names.temporary, names.path);
    }
    if (status == AQW_OK && error == 0) {
        operation = "sync directory";
        error = aqw_io_sync_directory(io, directory);
    }
    if (status == AQW_OK && error == 0) {
        AQW_ASSERT(aqw_ring_check(ring));
        return AQW_OK;
    }
    aqw_ring_discard(io, directory, ring);
    return error == 0 ? status : aqw_fault_io(fault, operation, names.temporary, error);
}

aqw_status aqw_ring_create(const aqw_io *io, const char *directory, const uint8_t log_uuid[16],
                           uint64_t size, uint64_t durable_sequence, aqw_ring *ring,
                           aqw_fault *fault) {
    aqw_status status = aqw_ring_prepare(io, directory, size, ring, fault);
    return status == AQW_OK
               ? aqw_ring_publish(io, directory, log_uuid, durable_sequence, ring, fault)
               : status;
}

void aqw_ring_close(const aqw_io *io, aqw_ring *ring) {
    if (ring->is_mapped)
        (void)io->unmap(io->context, ring->mapping, (size_t)(AQW_RING_DATA + ring->size));
    else free(ring->data);
    if (ring->handle >= 0) (void)io->close(io->context, ring->handle);
    ring->data = NULL;
    ring->mapping = NULL;
    ring->is_mapped = 0;
    ring->handle = -1;
}

int aqw_ring_is_lost(const aqw_ring *ring, int has_append_lock) {
    if (!ring->is_mapped || ring->mapping == NULL) return 0;
    /* The header area's last byte is never written; the data's last one only under
     * the append lock. */
    (void)*(const volatile uint8_t *)(has_append_lock ? ring->data + ring->size - 1
                                                      : ring->data - 1);
    return aqw_mapping_is_lost(ring->mapping);
}

int aqw_ring_has_faulted(const aqw_ring *ring) {
    return ring->is_mapped && aqw_mapping_is_lost(ring->mapping);
}

/* The smallest of any system. */
enum { PAGE = 4096 };

static void touch(uint8_t *at) {
    volatile uint8_t *byte = at;
    *byte = *byte;
}

void aqw_ring_touch(aqw_ring *ring, uint64_t position, uint64_t size) {
    AQW_ASSERT(aqw_ring_check(ring) && size <= ring->size);
    if (!ring->is_mapped || size == 0) return;
    uint64_t first = position % ring->size, last = (position + size - 1) % ring->size;
    for (uint64_t at = 0; at < size; at += PAGE)
        touch(ring->data + (first + at < ring->size ? first + at : first + at - ring->size));
    touch(ring->data + last);
}

void aqw_ring_put(aqw_ring *ring, uint64_t position, const uint8_t *from, uint64_t size) {
    AQW_ASSERT(aqw_ring_check(ring) && size <= ring->size);
    uint64_t at = position % ring->size;
    uint64_t first = size < ring->size - at ? size : ring->size - at;
    memcpy(ring->data + at, from, (size_t)first);
    memcpy(ring->data, from + first, (size_t)(size - first));
}

void aqw_ring_get(const aqw_ring *ring, uint64_t position, uint8_t *to, uint64_t size) {
    AQW_ASSERT(ring->data != NULL && size <= ring->size);   /* a reader's ring has no more */
    uint64_t at = position % ring->size;
    uint64_t first = size < ring->size - at ? size : ring->size - at;
    memcpy(to, ring->data + at, (size_t)first);
    memcpy(to + first, ring->data, (size_t)(size - first));
}

/* Without the note the bound or the number is only lower, which is still true; so a failure needs
 * no answer. */
static void put_slot(const aqw_io *io, aqw_ring *ring, uint64_t at, uint64_t value) {
    uint8_t slot[16];
    slot_write(slot, ring->log_uuid, value);
    if (ring->is_mapped) memcpy((uint8_t *)ring->mapping + at, slot, sizeof slot);
    else (void)aqw_io_write_all(io, ring->handle, at, slot, sizeof slot);
}

void aqw_ring_set_durable(const aqw_io *io, aqw_ring *ring, uint64_t sequence) {
    AQW_ASSERT(aqw_ring_check(ring) && (ring->slot == 0 || ring->slot == 1));
    put_slot(io, ring, ring->slot == 0 ? AQW_RING_SLOT_FIRST : AQW_RING_SLOT_SECOND, sequence);
    ring->slot = !ring->slot;
}

void aqw_ring_set_segment(const aqw_io *io, aqw_ring *ring, uint64_t number) {
    AQW_ASSERT(aqw_ring_check(ring) && (ring->segment_slot == 0 || ring->segment_slot == 1));
    put_slot(io, ring, ring->segment_slot == 0 ? AQW_RING_SEGMENT_FIRST : AQW_RING_SEGMENT_SECOND,
             number);
    ring->segment_number = number;
    ring->segment_slot = !ring->segment_slot;
}

static aqw_status load_header(const aqw_io *io, int64_t handle, const char *path,
                              aqw_ring_image *image, aqw_fault *fault) {
    static const uint64_t places[4] = {AQW_RING_SLOT_FIRST, AQW_RING_SLOT_SECOND,
                                       AQW_RING_SEGMENT_FIRST, AQW_RING_SEGMENT_SECOND};
    uint8_t header[AQW_RING_HEADER_SIZE], slots[4][16];
    size_t done = 0, read[4] = {0, 0, 0, 0};
    uint64_t file_size = 0;
    int error = io->size(io->context, handle, &file_size);
    if (error != 0) return aqw_fault_io(fault, "size", path, error);
    if (file_size < AQW_RING_DATA)
        return aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, path, 0, file_size);
    error = aqw_io_read_all(io, handle, 0, header, sizeof header, &done);
    for (int i = 0; error == 0 && i < 4; i++)
        error = aqw_io_read_all(io, handle, places[i], slots[i], sizeof slots[i], &read[i]);
    if (error != 0) return aqw_fault_io(fault, "read", path, error);
    /* The file had that size a moment ago. */
    int is_cut = done != sizeof header;
    for (int i = 0; i < 4; i++) is_cut |= read[i] != sizeof slots[i];
    if (is_cut)
        return aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, path, 0, 0);
    /* Magic, version and checksum have the same place in every version; so a damaged version number
     * is damage and no newer version. */
    if (memcmp(header, magic, sizeof magic) != 0 ||
        aqw_load_u32(header + 60) != aqw_crc32c(header, 60))
        return aqw_fault_corrupt(fault, AQW_REASON_HEADER_INVALID, path, 0, 0);
    if (aqw_load_u32(header + 8) > AQW_FORMAT_VERSION) {
        aqw_fault_set(fault, AQW_UNSUPPORTED_FORMAT, path);
        fault->format_version = aqw_load_u32(header + 8);
        return AQW_UNSUPPORTED_FORMAT;
    }
    if (aqw_load_u32(header + 8) != AQW_FORMAT_VERSION ||
        aqw_load_u32(header + 12) != AQW_RING_DATA)
        return aqw_fault_corrupt(fault, AQW_REASON_HEADER_INVALID, path, 0, 0);
    image->size = aqw_load_u64(header + 32);
    if (image->size < AQW_RING_SIZE_MIN || image->size > AQW_RING_SIZE_MAX ||
        image->size % AQW_RING_SIZE_MIN != 0 || file_size != AQW_RING_DATA + image->size)
        return aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, path, 0, 32);
    memcpy(image->log_uuid, header + 16, 16);
    memcpy(image->history, header + 40, 16);
    uint32_t identity = 0;
    error = io->identity(io->context, handle, &identity);
    if (error != 0) return aqw_fault_io(fault, "identify", path, error);
    image->is_copy = identity != aqw_load_u32(header + 56);
    uint64_t values[4];
    for (int i = 0; i < 4; i++) values[i] = slot_read(slots[i], image->log_uuid);
    image->durable_sequence = values[0] > values[1] ? values[0] : values[1];
    image->segment_number = values[2] > values[3] ? values[2] : values[3];
    return AQW_OK;
}

static aqw_status load_data(const aqw_io *io, int64_t handle, const char *path,
                            aqw_ring_image *image, aqw_fault *fault) {
    size_t done = 0;
    image->data = malloc((size_t)image->size);
    if (image->data == NULL) return aqw_fault_set(fault, AQW_NO_MEMORY, path);
    int error = aqw_io_read_all(io, handle, AQW_RING_DATA, image->data, (size_t)image->size, &done);
    if (error != 0) return aqw_fault_io(fault, "read", path, error);
    return done == image->size ? AQW_OK
                               : aqw_fault_corrupt(fault, AQW_REASON_FILE_SIZE, path, 0, done);
}

static aqw_status load(const aqw_io *io, const char *directory, int with_data,
                       aqw_ring_image *image, aqw_fault *fault) {
    char path[AQW_PATH_SIZE_MAX + 16];
    int64_t handle = -1;
    memset(image, 0, sizeof *image);
    if (aqw_path_join(path, sizeof path, directory, "ring") != AQW_OK)
        return aqw_fault_set(fault, AQW_INVALID_ARGUMENT, directory);
    int error = aqw_io_open(io, path, AQW_OPEN_READ, &handle);
    if (error == ENOENT) return AQW_OK;
    if (error != 0) return aqw_fault_io(fault, "open", path, error);
    aqw_status status = load_header(io, handle, path, image, fault);
    if (status == AQW_OK && with_data) status = load_data(io, handle, path, image, fault);
    image->is_present = status == AQW_OK;
    (void)io->close(io->context, handle);
    if (status != AQW_OK) aqw_ring_image_free(image);
    return status;
}

aqw_status aqw_ring_look(const aqw_io *io, const char *directory, aqw_ring_image *image,
                         aqw_fault *fault) {
    return load(io, directory, 0, image, fault);
}

aqw_status aqw_ring_load(const aqw_io *io, const char *directory, aqw_ring_image *image,
                         aqw_fault *fault) {
    return load(io, directory, 1, image, fault);
}

void aqw_ring_image_free(aqw_ring_image *image) {
    free(image->data);
    image->data = NULL;
    image->is_present = 0;
}

#if !defined(NDEBUG)

int aqw_ring_check(const aqw_ring *ring) {
    AQW_ASSERT(ring->size >= AQW_RING_SIZE_MIN && ring->size <= AQW_RING_SIZE_MAX);
    AQW_ASSERT(ring->size % AQW_RING_SIZE_MIN == 0);
    AQW_ASSERT(ring->data != NULL && ring->handle >= 0);
    AQW_ASSERT(!ring->is_mapped == (ring->mapping == NULL));
    AQW_ASSERT(!ring->is_mapped || ring->data == (uint8_t *)ring->mapping + AQW_RING_DATA);
    AQW_ASSERT(has_history(ring));
    return 1;
}

#endif
