/* Snapshots: a table's image as items, from a real table or from any bytes, whole or changed; and the file around it.
 *
 * Held: a table that was saved loads as the same, saves to the same items, and takes and refuses the same events ever after; any other
 * items are refused, or make a table that agrees with itself and saves to these very items; no head makes the loader, and no file the reader,
 * take much more memory than there are bytes, on the way or in the end; a changed file is refused unless its checksums were made right again. */
#include <stdlib.h>
#include <string.h>

#include "event/event.h"
#include "base/limits.h"
#include "files/snapshot.h"
#include "table/image.h"
#include "core_memory.h"
#include "disk.h"
#include "event_source.h"
#include "fuzz.h"
#include "queue.h"
#include "snapshot_seal.h"
#include "table_digest.h"

enum { ITEMS_MAX = 512, BYTES_MAX = 1 << 21, EVENTS_MAX = 40, LOAD_BASE = 1 << 20 };

/* Items one behind the other, as a file would hold them. */
typedef struct items {
    uint8_t *data;
    size_t size;
    uint32_t count;
    struct { uint8_t type; size_t at; size_t size; } list[ITEMS_MAX];
} items;

static void items_init(items *to) {
    memset(to, 0, sizeof *to);
    to->data = malloc(BYTES_MAX);
    if (to->data == NULL) abort();
}

static aqw_status add_item(void *to, uint8_t type, aqw_bytes fields, aqw_bytes bytes) {
    items *all = to;
    size_t size = (size_t)fields.size + bytes.size;
    CHECK(size <= AQW_IMAGE_ITEM_SIZE_MAX && fields.size <= AQW_IMAGE_FIELDS_SIZE_MAX);
    if (all->count == ITEMS_MAX || size > BYTES_MAX - all->size) return AQW_STOPPED;
    if (fields.size > 0) memcpy(all->data + all->size, fields.data, fields.size);
    if (bytes.size > 0) memcpy(all->data + all->size + fields.size, bytes.data, bytes.size);
    all->list[all->count].type = type;
    all->list[all->count].at = all->size;
    all->list[all->count++].size = size;
    all->size += size;
    return AQW_OK;
}

static int items_equal(const items *a, const items *b) {
    if (a->count != b->count || a->size != b->size) return 0;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->list[i].type != b->list[i].type || a->list[i].size != b->list[i].size) return 0;
    return memcmp(a->data, b->data, a->size) == 0;
}

static aqw_table *new_table(uint8_t number) {
    const uint8_t seed[16] = {number};
    aqw_table *table = aqw_table_new(NULL, seed);
    CHECK(table != NULL);
    return table;
}

static aqw_status load(const items *from, aqw_table *table) {
    aqw_table_loader loader;
    aqw_table_counts counts;
    memory_watch();
    aqw_status status = aqw_table_load_begin(&loader, table, from->size);
    for (uint32_t i = 0; status == AQW_OK && i < from->count; i++) {
        exact payload = copy_exactly(from->data + from->list[i].at, from->list[i].size, 0);
        status = aqw_table_load_item(&loader, from->list[i].type, payload.data, payload.size);
        free_exactly(&payload);
    }
    aqw_status ended = aqw_table_load_end(&loader);
    CHECK(status == AQW_OK || ended == status);
    CHECK(ended == AQW_OK || ended == AQW_MALFORMED_SNAPSHOT);
    aqw_table_counts_get(table, &counts);
    CHECK(counts.memory_bytes <= TABLE_FACTOR * from->size + LOAD_BASE);
    CHECK(memory_peak() <= TABLE_FACTOR * from->size + LOAD_BASE);
    return ended;
}

/* Loads any items; what loads is a table like any other. */
static void check_any(const items *all, input *in) {
    aqw_table *table = new_table(5);
    if (load(all, table) == AQW_OK) {
        items again;
        event_memory memory;
        aqw_event event;
        items_init(&again);
        (void)table_digest(table);
        CHECK(aqw_table_save(table, add_item, &again) == AQW_OK && items_equal(all, &again));
        free(again.data);
        for (int i = 0; i < 8 && in->size > 0; i++) {
            take_event(in, table, &memory, aqw_table_latest_sequence(table) + 1, &event);
            uint64_t before = table_digest(table);
            CHECK(aqw_table_apply(table, &event) == AQW_OK || table_digest(table) == before);
        }
    }
    aqw_table_clear(table);
    CHECK(aqw_table_latest_sequence(table) == 0);
    (void)table_digest(table);
    aqw_table_free(table);
}

/* Encoded and decoded, as a log would have it; 0 where it can't be. */
static int take_logged_event(input *in, const aqw_table *table, event_memory *memory, uint8_t *room, size_t capacity, aqw_event *event) {
    size_t size = 0;
    take_event(in, table, memory, aqw_table_latest_sequence(table) + 1, event);
    return aqw_event_encode(event, room, capacity, &size) == AQW_OK &&
           aqw_event_decode(event->kind, event->sequence, room, size, event) == AQW_OK;
}

static void fill(aqw_table *table, input *in, uint32_t count) {
    static uint8_t room[1 << 18];
    event_memory memory;
    aqw_event event;
    for (uint32_t i = 0; i < count && in->size > 0; i++)
        if (take_logged_event(in, table, &memory, room, sizeof room, &event)) (void)aqw_table_apply(table, &event);
}

/* The copy behaves like the table it was made from. */
static void check_same_future(aqw_table *table, aqw_table *copy, input *in) {
    static uint8_t room[1 << 18];
    event_memory memory;
    aqw_event event;
    for (int i = 0; i < EVENTS_MAX && in->size > 0; i++) {
        if (!take_logged_event(in, table, &memory, room, sizeof room, &event)) continue;
        CHECK(aqw_table_apply(table, &event) == aqw_table_apply(copy, &event));
    }
    CHECK(table_digest(table) == table_digest(copy));
}

static void change_items(items *all, input *in) {
    for (int i = take_u8(in) % 4; i > 0 && all->count > 0; i--) {
        uint32_t at = take_below(in, all->count), other = take_below(in, all->count);
        uint8_t choice = take_u8(in), change = take_u8(in);
        switch (choice & 7) {
        case 0: all->list[at] = all->list[other]; break;
        case 1: all->list[at].type = change % 17; break;
        case 2: if (all->list[at].size > change) all->list[at].size -= change; break;
        case 3:
            memmove(&all->list[at], &all->list[at + 1], (all->count - at - 1) * sizeof all->list[0]);
            all->count--;
            break;
        default:
            if (all->list[at].size > 0) all->data[all->list[at].at + take_u16(in) % all->list[at].size] ^= change;
            break;
        }
    }
}

/* Puts the items' bytes into the order of the list, so that they can be compared. */
static void lay_out(items *all) {
    items made;
    items_init(&made);
    for (uint32_t i = 0; i < all->count; i++) {
        aqw_bytes bytes = {all->data + all->list[i].at, (uint32_t)all->list[i].size};
        if (add_item(&made, all->list[i].type, (aqw_bytes){NULL, 0}, bytes) != AQW_OK) break;
    }
    free(all->data);
    *all = made;
}

static void check_table(input *in) {
    items saved, again;
    items_init(&saved);
    items_init(&again);
    aqw_table *table = new_table(1), *copy = new_table(2);
    fill(table, in, take_below(in, EVENTS_MAX));
    aqw_status status = aqw_table_save(table, add_item, &saved);
    CHECK(status == AQW_OK || status == AQW_STOPPED);
    if (status == AQW_OK) {
        CHECK(load(&saved, copy) == AQW_OK && table_digest(copy) == table_digest(table));
        CHECK(aqw_table_save(copy, add_item, &again) == AQW_OK && items_equal(&saved, &again));
        check_same_future(table, copy, in);
        change_items(&saved, in);
        lay_out(&saved);
        check_any(&saved, in);
    }
    aqw_table_free(table);
    aqw_table_free(copy);
    free(saved.data);
    free(again.data);
}

static void check_items(input *in) {
    items all;
    items_init(&all);
    while (in->size > 0 && all.count < ITEMS_MAX) {
        size_t taken = 0;
        uint8_t type = take_u8(in);
        const uint8_t *bytes = take_bytes(in, take_u8(in), &taken);
        (void)add_item(&all, type, (aqw_bytes){NULL, 0}, (aqw_bytes){bytes, (uint32_t)taken});
    }
    check_any(&all, in);
    free(all.data);
}

static void check_file(input *in) {
    disk d;
    aqw_snapshot_info written, read;
    aqw_snapshot_choice chosen;
    aqw_fault fault;
    char path[128];
    static const uint8_t uuid[16] = {9};
    disk_init(&d);
    disk_make_directory(&d, QUEUE);
    aqw_table *table = new_table(1), *copy = new_table(2);
    fill(table, in, take_below(in, 12));
    uint64_t sequence = aqw_table_latest_sequence(table);
    if (sequence > 0) {
        CHECK(aqw_snapshot_write(&d.io, QUEUE, uuid, table, 1, NULL, &written, &fault) == AQW_OK && written.sequence == sequence);
        CHECK(aqw_snapshot_read(&d.io, QUEUE, sequence, copy, NULL, &read, &fault) == AQW_OK);
        CHECK(memcmp(&written, &read, sizeof read) == 0 && table_digest(copy) == table_digest(table));
        CHECK(aqw_snapshot_path(path, sizeof path, QUEUE, sequence) == AQW_OK);
        disk_file *file = disk_find(&d, path);
        uint8_t choice = take_u8(in), change = take_u8(in);
        if (change != 0) file->data[take_u32(in) % file->size] ^= change;
        if (choice & 1) disk_resize(file, file->size - 1u - take_u16(in) % file->size);
        if (choice & 2) seal_snapshot(file->data, file->size);
        aqw_table_clear(copy);
        memory_watch();
        aqw_status status = aqw_snapshot_read(&d.io, QUEUE, sequence, copy, NULL, &read, &fault);
        CHECK(status == AQW_OK || status == AQW_CORRUPT || status == AQW_UNSUPPORTED_FORMAT);
        if (!(choice & 2) && (change != 0 || choice & 1)) CHECK(status != AQW_OK);
        if (status == AQW_OK) (void)table_digest(copy);
        aqw_table_clear(copy);
        CHECK((aqw_snapshot_load_newest(&d.io, QUEUE, copy, NULL, &chosen, &fault) == AQW_OK) == (status != AQW_UNSUPPORTED_FORMAT));
        CHECK(memory_peak() <= disk_memory_bound(&d));
    }
    CHECK(disk_open_handles(&d) == 0);
    aqw_table_free(table);
    aqw_table_free(copy);
    disk_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    switch (take_u8(&in) % 4) {
    case 0: check_items(&in); break;
    case 1: check_file(&in); break;
    default: check_table(&in); break;
    }
    return 0;
}
