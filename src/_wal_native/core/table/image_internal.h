/* What an image is saved and loaded with; private to table/. image.h specifies the bytes. */
#ifndef AQW_TABLE_IMAGE_INTERNAL_H
#define AQW_TABLE_IMAGE_INTERNAL_H

#include "base/limits.h"
#include "event/cursor.h"
#include "table/image.h"
#include "table/internal.h"

/* ---- Saving: an item's fields are put into `out`, and then the item is emitted ---- */

typedef struct aqw_saver {
    const aqw_table *table;
    aqw_image_sink sink;
    void *to;
    /* of the tasks in the image, by row; NULL where a row's number is its own */
    uint32_t *numbers;
    writer out;                 /* the fields of the item in the making */
    uint8_t fields[AQW_IMAGE_FIELDS_SIZE_MAX];
} aqw_saver;

static inline writer *start(aqw_saver *save) {
    save->out = open_writer(save->fields, sizeof save->fields);
    return &save->out;
}

static inline aqw_status emit_with(aqw_saver *save, uint8_t type, const uint8_t *data,
                                   uint32_t size) {
    if (save->out.status != AQW_OK) return save->out.status;
    if (size > AQW_PAYLOAD_SIZE_MAX) return AQW_TOO_LARGE;
    return save->sink(save->to, type, (aqw_bytes){save->fields, (uint32_t)save->out.size},
                      (aqw_bytes){data, size});
}

static inline aqw_status emit(aqw_saver *save, uint8_t type) {
    return emit_with(save, type, save->fields, 0);
}

static inline void put_task(aqw_saver *save, uint32_t task) {
    put_varint(&save->out, save->numbers ? save->numbers[task - 1] : task);
}

/* Puts up to two optional times, and the flags that say which are there. */
static inline void put_times(writer *out, uint64_t base, int has_first, uint64_t first,
                             int has_second, uint64_t second) {
    put_u8(out, (has_first ? AQW_IMAGE_HAS_FIRST : 0u) | (has_second ? AQW_IMAGE_HAS_SECOND : 0u));
    if (has_first) put_difference(out, first, base);
    if (has_second) put_difference(out, second, base);
}

/* ---- Loading: the bytes, the rules, the memory, the row ---- */

/* The head was right, so there is room for as many as it promised. */
static inline void count_one(aqw_table_loader *load, cursor *from, uint8_t type) {
    require(from, load->loaded[type] < load->expected[type]);
    if (!from->failed) load->loaded[type]++;
}

static inline aqw_bytes read_rest(cursor *from) {
    aqw_bytes bytes = rest(from);
    require(from, bytes.size <= AQW_PAYLOAD_SIZE_MAX);
    if (!from->failed) from->at = from->end;
    return bytes;
}

static inline aqw_bytes read_rest_as_text(cursor *from, uint32_t size_min) {
    aqw_bytes text = read_rest(from);
    require(from, text.size >= size_min && text.size <= AQW_TEXT_SIZE_MAX &&
                      aqw_utf8_is_valid(text.data, text.size));
    return text;
}

/* Returns the row of a task's number: rows are in the order of their items. */
static inline uint32_t read_task(const aqw_table_loader *load, cursor *from) {
    uint32_t row = read_positive32(from);
    require(from, row <= load->loaded[AQW_IMAGE_TASK]);
    return row;
}

typedef struct aqw_image_times {
    uint8_t has_first, has_second;
    uint64_t first, second;
} aqw_image_times;

static inline aqw_image_times read_times(cursor *from, uint64_t base, uint8_t flags_all) {
    aqw_image_times read = {0, 0, 0, 0};
    uint8_t flags = read_code(from, flags_all);
    read.has_first = (flags & AQW_IMAGE_HAS_FIRST) != 0;
    read.has_second = (flags & AQW_IMAGE_HAS_SECOND) != 0;
    if (read.has_first) read.first = read_difference(from, base);
    if (read.has_second) read.second = read_difference(from, base);
    return read;
}

/* ---- The engine, which is in the head: table/engine.c ---- */

void aqw_engine_put(writer *out, const aqw_engine_view *engine);
void aqw_engine_read(cursor *from, aqw_engine_view *engine);

#endif
