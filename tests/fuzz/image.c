#include "image.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "files/format.h"
#include "base/limits.h"
#include "files/record.h"
#include "files/ring.h"
#include "files/segment.h"
#include "files/snapshot.h"
#include "table/table.h"
#include "event_source.h"
#include "queue.h"
#include "snapshot_seal.h"

enum { STEPS_MAX = 120, RECORD_ROOM = 1 << 18, SEGMENTS_MAX = 24 };

typedef struct image {
    disk *d;
    aqw_table *shadow;          /* what the events so far make, so that the next ones mostly fit */
    aqw_segment_header header;  /* of the newest segment */
    char path[DISK_PATH_SIZE];  /* its file */
    uint64_t position;          /* where its next record goes */
    uint32_t ordinal;
    uint64_t segments;
    int in_batch;
    uint8_t record[RECORD_ROOM];
} image;

/* The file of this name, in a directory that is there; NULL where there is no name, or a file stands in the directory's place. */
static disk_file *file_at(image *i, const char *path) {
    char parent[DISK_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return NULL;   /* no segment has begun */
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = '\0';
    if (disk_find(i->d, parent) != NULL) return NULL;
    disk_make_directory(i->d, parent);
    return disk_file_at(i->d, path);
}

/* ---- Segments and the ring ---- */

static void write_header(image *i, uint8_t copies) {
    uint8_t bytes[AQW_SEGMENT_HEADER_SIZE];
    disk_file *file = file_at(i, i->path);
    if (file == NULL) return;
    aqw_segment_header_write(&i->header, bytes);
    if (copies & 1) disk_put(file, 0, bytes, sizeof bytes);
    if (copies & 2) disk_put(file, AQW_SEGMENT_HEADER_COPY, bytes, sizeof bytes);
}

/* The next segment, linked as it should be; some of its fields may be others. */
static void begin_segment(image *i, input *in) {
    static const uint32_t sizes[] = {65536, 65536, 131072, 262144, 65540, 69632, 65532, 1 << 20};
    uint8_t choice = take_u8(in);
    if (i->segments == SEGMENTS_MAX) return;
    aqw_segment_header next = i->header;
    next.format_version = AQW_FORMAT_VERSION;
    next.file_size = sizes[choice & 7];
    next.place.segment_number++;
    next.place.salt = digest_number(i->header.place.salt, choice);
    next.place.first_sequence += i->ordinal;
    next.link_number = i->header.place.segment_number;
    next.link_salt = i->header.place.salt;
    next.link_end = i->segments == 0 ? 0 : i->position;
    next.link_last_sequence = next.place.first_sequence - 1;
    next.watermark = next.link_last_sequence + (choice >> 3 & 3);
    if (choice & 32) next.created_at = take_number(in);
    if (i->segments == 0) next.link_salt = 0;
    aqw_place_seed(&next.place);
    i->header = next;
    i->position = AQW_SEGMENT_DATA;
    i->ordinal = 0;
    i->segments++;
    i->in_batch = 0;
    (void)aqw_segment_path(i->path, sizeof i->path, QUEUE, next.place.segment_number, next.place.first_sequence);
    disk_file *file = file_at(i, i->path);
    if (file != NULL) disk_resize(file, (size_t)next.file_size);
    write_header(i, choice & 64 ? 1 : 3);
}

/* Another value for one field of the newest header, with a right checksum. */
static void change_header(image *i, input *in) {
    uint8_t choice = take_u8(in);
    uint64_t value = take_number(in);
    aqw_segment_header kept = i->header;
    switch (choice & 15) {
    case 0: i->header.watermark = value; break;
    case 1: i->header.watermark += value; break;
    case 2: i->header.link_end += value; break;
    case 3: i->header.link_end -= value; break;
    case 4: i->header.link_salt ^= value; break;
    case 5: i->header.link_number = value; break;
    case 6: i->header.link_last_sequence = value; break;
    case 7: i->header.place.log_uuid[0] ^= (uint8_t)value; break;
    case 8: i->header.place.salt = value; break;
    case 9: i->header.place.segment_number = value; break;
    case 10: i->header.place.first_sequence = value; break;
    case 11: i->header.file_size = value; break;
    case 12: i->header.format_version = (uint32_t)value; break;
    default: break;
    }
    write_header(i, choice >> 4 & 3);
    if (choice & 64) i->header = kept;
    else aqw_place_seed(&i->header.place);
}

static void put_ring(image *i, input *in) {
    uint8_t choice = take_u8(in), header[AQW_RING_HEADER_SIZE] = {0}, slot[24];
    uint64_t size = 65536u << (choice & 1), durable = take_number(in);
    disk_file *file = file_at(i, QUEUE "/ring");
    if (file == NULL) return;
    disk_resize(file, (size_t)(AQW_RING_DATA + size));
    memcpy(header, "AQWALRNG", 8);
    aqw_store_u32(header + 8, AQW_FORMAT_VERSION + (choice >> 1 & 127) / 120u);
    aqw_store_u32(header + 12, AQW_RING_DATA);
    memcpy(header + 16, i->header.place.log_uuid, 16);
    aqw_store_u64(header + 32, size);
    aqw_store_u32(header + 60, aqw_crc32c(header, 60));
    disk_put(file, 0, header, sizeof header);
    /* A slot: the sequence and its check, over the log's UUID and the sequence. */
    memcpy(slot, i->header.place.log_uuid, 16);
    aqw_store_u64(slot + 16, durable);
    uint32_t checksum = aqw_crc32c(slot, sizeof slot);
    aqw_store_u64(slot, durable);
    aqw_store_u64(slot + 8, (uint64_t)checksum | (uint64_t)~checksum << 32);
    disk_put(file, choice & 128 ? AQW_RING_SLOT_SECOND : AQW_RING_SLOT_FIRST, slot, 16);
}

/* ---- Records ---- */

/* Copies a sealed record to the segment, the ring, or both. */
static void put_record(image *i, uint64_t position, uint32_t size, uint8_t where) {
    disk_file *segment = file_at(i, i->path), *ring = disk_find(i->d, QUEUE "/ring");
    if (where & 1 && segment != NULL && position + size <= segment->size) disk_put(segment, (size_t)position, i->record, size);
    if (!(where & 2) || ring == NULL || ring->size <= AQW_RING_DATA) return;
    uint64_t ring_size = ring->size - AQW_RING_DATA;
    for (uint32_t at = 0; at < size; at++) ring->data[AQW_RING_DATA + (position + at) % ring_size] = i->record[at];
}

/* Seals what stands in i->record and puts it at the end. The choice says what of it is not as it should be. */
static void seal_and_put(image *i, input *in, uint8_t kind, uint8_t flags, uint32_t payload_size) {
    uint8_t choice = take_u8(in), spoils = take_u8(in);
    uint64_t position = i->position, sequence = i->header.place.first_sequence + i->ordinal;
    uint32_t ordinal = i->ordinal, lag = choice >> 2 & 7;
    if (lag == 7) lag = take_u32(in) & 0xffffff;
    if (lag > sequence) lag = AQW_RECORD_LAG_UNKNOWN;
    if (spoils >= 248) ordinal += spoils - 251u;
    if (spoils == 247) position = take_u32(in) % AQW_SEGMENT_SIZE_MIN & ~3u;
    uint32_t size = aqw_record_size(payload_size);
    aqw_record_seal(i->record, &i->header.place, position, ordinal, lag, kind, flags, payload_size);
    if (spoils == 246) {
        uint8_t *byte = &i->record[take_u32(in) % size];
        *byte = (uint8_t)(*byte ^ 1u << (take_u8(in) & 7));
    }
    put_record(i, i->position, size, (choice & 3) == 0 ? 1 : choice & 3);
    if (spoils == 245) return;   /* the next one overwrites it */
    i->position += size;
    if (kind < AQW_KIND_MARKER) i->ordinal++;
}

static uint8_t flags_for(image *i, uint8_t choice) {
    if (choice >= 250) return choice & 3;
    if (choice < 128 && !i->in_batch) return 0;
    i->in_batch = choice >= 180;
    return i->in_batch ? AQW_FLAG_BATCH_OPEN : AQW_FLAG_BATCH_END;
}

/* An event that fits, mostly: what the shadow refuses is left out unless the choice wants it in. */
static void put_event(image *i, input *in) {
    event_memory memory;
    aqw_event event;
    size_t size = 0;
    uint8_t choice = take_u8(in);
    take_event(in, i->shadow, &memory, i->header.place.first_sequence + i->ordinal, &event);
    if (aqw_event_encode(&event, i->record + AQW_RECORD_HEADER_SIZE, RECORD_ROOM - 64, &size) != AQW_OK) return;
    if (aqw_table_apply(i->shadow, &event) != AQW_OK && choice != 249) return;
    seal_and_put(i, in, event.kind, flags_for(i, choice), (uint32_t)size);
}

static void put_any_record(image *i, input *in) {
    size_t taken = 0;
    uint8_t kind = take_u8(in), flags = take_u8(in);
    const uint8_t *payload = take_bytes(in, take_u8(in), &taken);
    if (taken > 0) memcpy(i->record + AQW_RECORD_HEADER_SIZE, payload, taken);
    seal_and_put(i, in, kind, flags & 4 ? flags & 3 : 0, (uint32_t)taken);
}

static void put_marker_or_pad(image *i, input *in) {
    uint8_t choice = take_u8(in);
    uint32_t size = choice < 128 ? 0 : (uint32_t)(choice - 128) * 40;
    memset(i->record + AQW_RECORD_HEADER_SIZE, 0, size);
    seal_and_put(i, in, choice < 128 ? AQW_KIND_MARKER : AQW_KIND_PAD, 0, size);
}

/* ---- Snapshots ---- */

static disk_name *choose_name(image *i, input *in) {
    return i->d->name_count == 0 ? NULL : &i->d->names[take_u8(in) % i->d->name_count];
}

/* A snapshot of all events so far, by the library's own writer; of another log, sometimes. */
static void put_snapshot(image *i, input *in) {
    aqw_snapshot_info info;
    aqw_fault fault;
    uint8_t choice = take_u8(in), uuid[16];
    if (aqw_table_latest_sequence(i->shadow) == 0) return;
    memcpy(uuid, i->header.place.log_uuid, 16);
    if (choice == 255) uuid[3] ^= 1;
    (void)aqw_snapshot_write(&i->d->io, QUEUE, uuid, i->shadow, choice, NULL, &info, &fault);
}

/* Changes bytes of a snapshot, and makes the checksums of its header and blocks right again. */
static void change_snapshot(image *i, input *in) {
    disk_name *name = choose_name(i, in);
    uint32_t at = take_u32(in);
    uint8_t change = take_u8(in);
    if (name == NULL || name->file == NULL || strstr(name->path, ".snap") == NULL) return;
    if (name->file->size > 0) name->file->data[at % name->file->size] ^= change;
    seal_snapshot(name->file->data, name->file->size);
}

/* ---- Damage, and files that do not belong ---- */

static void spoil_bytes(image *i, input *in) {
    disk_name *name = choose_name(i, in);
    uint8_t choice = take_u8(in), size = take_u8(in);
    uint32_t at = choice & 1 ? take_u32(in) : (uint32_t)i->position - take_u16(in);
    if (name == NULL || name->file == NULL || name->file->size == 0) return;
    at %= (uint32_t)name->file->size;
    for (uint32_t end = at + size; at < end && at < name->file->size; at++)
        name->file->data[at] = choice & 2 ? 0 : (uint8_t)(name->file->data[at] ^ take_u8(in));
}

static void resize_file(image *i, input *in) {
    disk_name *name = choose_name(i, in);
    uint32_t size = take_u32(in);
    if (name == NULL || name->file == NULL) return;
    disk_resize(name->file, size >= 1u << 31 ? name->file->size + (size & 8191) - 4096 : size % (1u << 21));
}

static void path_for(image *i, input *in, char to[DISK_PATH_SIZE]) {
    static const char *const names[] = {"LOCK", "ring", "ring.tmp", "wal/prepare-0000000000000001.tmp", "wal/notes.txt", "quarantine",
                                        "quarantine/copy.tmp", "snapshots", "snapshots/00000000000000000001.snap", "wal", "wal/x"};
    uint8_t choice = take_u8(in);
    if (choice < 128) {
        (void)snprintf(to, DISK_PATH_SIZE, QUEUE "/%s", names[choice % 11]);
        return;
    }
    uint64_t number = i->header.place.segment_number + take_u8(in) - 128u;
    uint64_t first = choice & 1 ? take_number(in) : i->header.place.first_sequence;
    (void)aqw_segment_path(to, DISK_PATH_SIZE, QUEUE, number, first);
}

/* Moves, copies, removes or makes a file. */
static void rearrange(image *i, input *in) {
    char path[DISK_PATH_SIZE];
    uint8_t choice = take_u8(in) & 3;
    disk_name *name = choose_name(i, in);
    path_for(i, in, path);
    if (name == NULL || name->file == NULL) return;
    if (choice == 1) disk_remove(i->d, name->path);
    else {
        disk_file *from = name->file, *to = file_at(i, path);
        if (to == NULL || to == from) return;
        disk_resize(to, 0);
        if (choice != 3) disk_put(to, 0, from->data, from->size);
        if (choice == 0) disk_remove(i->d, name->path);
    }
}

/* Any bytes at any place of any file: a real log can be given in such pieces. */
static void put_bytes(image *i, input *in) {
    char path[DISK_PATH_SIZE];
    size_t taken = 0;
    path_for(i, in, path);
    uint32_t offset = take_u32(in) % (1u << 21);
    size_t size = take_u16(in);
    const uint8_t *bytes = take_bytes(in, size, &taken);
    disk_file *file = file_at(i, path);
    if (file != NULL) disk_put(file, offset, bytes, taken);
}

/* Gives right checksums to a file that has the shape of a segment: its headers, and record after record as their sizes say. */
static void seal_file(image *i, input *in) {
    disk_name *name = choose_name(i, in);
    aqw_place place;
    if (name == NULL || name->file == NULL || name->file->size < AQW_SEGMENT_SIZE_MIN) return;
    uint8_t *data = name->file->data;
    aqw_store_u32(data + 124, aqw_crc32c(data, 124));
    if (take_u8(in) & 1) memcpy(data + AQW_SEGMENT_HEADER_COPY, data, AQW_SEGMENT_HEADER_SIZE);
    memcpy(place.log_uuid, data + 16, 16);
    place.segment_number = aqw_load_u64(data + 32);
    place.salt = aqw_load_u64(data + 40);
    aqw_place_seed(&place);
    for (size_t at = AQW_SEGMENT_DATA; at + AQW_RECORD_HEADER_SIZE <= name->file->size;) {
        uint32_t payload_size = aqw_load_u32(data + at + 4) & 0xffffff, size = aqw_record_size(payload_size);
        if (aqw_load_u64(data + at) == 0 || size > name->file->size - at) break;
        aqw_record_seal(data + at, &place, at, aqw_load_u32(data + at + 8), aqw_load_u32(data + at + 12) & 0xffffff, data[at + 7],
                        data[at + 15], payload_size);
        at += size;
    }
}

/* ---- All of it ---- */

static void step(image *i, input *in) {
    uint8_t choice = take_u8(in);
    if (choice < 150) put_event(i, in);
    else if (choice < 165) put_marker_or_pad(i, in);
    else if (choice < 180) begin_segment(i, in);
    else if (choice < 186) put_any_record(i, in);
    else if (choice < 190) put_snapshot(i, in);
    else if (choice < 202) put_ring(i, in);
    else if (choice < 214) spoil_bytes(i, in);
    else if (choice < 222) change_header(i, in);
    else if (choice < 224) change_snapshot(i, in);
    else if (choice < 230) resize_file(i, in);
    else if (choice < 240) rearrange(i, in);
    else if (choice < 250) put_bytes(i, in);
    else seal_file(i, in);
}

void image_build(disk *d, input *in) {
    static const uint8_t seed[16] = {2};
    static image i;
    memset(&i, 0, sizeof i);
    i.d = d;
    i.shadow = aqw_table_new(NULL, seed);
    CHECK(i.shadow != NULL);
    i.header.place.first_sequence = 1;
    i.header.place.log_uuid[0] = 0xAA;
    uint8_t choice = take_u8(in);
    disk_make_directory(d, QUEUE);
    if (choice & 1) disk_make_directory(d, QUEUE "/wal");
    if (choice & 2) begin_segment(&i, in);
    if (choice & 4) put_ring(&i, in);
    for (int steps = 0; steps < STEPS_MAX && in->size > 0; steps++) step(&i, in);
    aqw_table_free(i.shadow);
}
