/* The cursor that payloads are read with, and the writer that they are written with; private to
 * event.c, event/parts.c and the files of table/ with items in them, which use the basic forms
 * (payload.h) through these functions and nothing else.
 *
 * Invariants:
 *  - A cursor goes forward once and fails for good at the first thing that is wrong: after a
 *    failure every read yields nothing, so callers check once, at the end (finish).
 *  - A writer without a destination only counts, so a layout's size and its bytes come from the
 *    same function. It keeps its first failure.
 *  - Nothing is read or written out of bounds, whatever the bytes are. */
#ifndef AQW_CURSOR_H
#define AQW_CURSOR_H

#include "base/bytes.h"
#include "base/limits.h"
#include "event/event.h"

#define ID_SIZE 16
#define VARINT_SIZE_MAX 10

/* ---- Reading ---- */

typedef struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    int failed;
} cursor;

static inline size_t left(const cursor *from) { return (size_t)(from->end - from->at); }

static inline void fail(cursor *from) {
    from->at = from->end;
    from->failed = 1;
}

static inline void require(cursor *from, int condition) {
    if (!condition) fail(from);
}

static inline uint8_t read_u8(cursor *from) {
    if (left(from) < 1) {
        fail(from);
        return 0;
    }
    return *from->at++;
}

static inline uint8_t read_code(cursor *from, uint8_t last) {
    uint8_t code = read_u8(from);
    require(from, code <= last);
    return code;
}

static inline uint64_t read_long_varint(cursor *from) {
    size_t limit = left(from) < VARINT_SIZE_MAX ? left(from) : VARINT_SIZE_MAX;
    uint64_t value = 0;
    for (size_t i = 0; i < limit; i++) {
        uint8_t byte = from->at[i];
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte >= 0x80) continue;
        if ((byte == 0 && i > 0) || (i == VARINT_SIZE_MAX - 1 && byte > 1)) break;
        from->at += i + 1;
        return value;
    }
    fail(from);
    return 0;
}

static inline uint64_t read_varint(cursor *from) {
    if (left(from) > 0 && *from->at < 0x80) return *from->at++;
    return read_long_varint(from);
}

static inline uint32_t read_varint32(cursor *from) {
    uint64_t value = read_varint(from);
    require(from, value <= UINT32_MAX);
    return (uint32_t)value;
}

static inline uint32_t read_positive32(cursor *from) {
    uint32_t value = read_varint32(from);
    require(from, value > 0);
    return value;
}

static inline uint64_t read_positive(cursor *from) {
    uint64_t value = read_varint(from);
    require(from, value > 0);
    return value;
}

static inline int32_t read_zigzag(cursor *from) {
    uint32_t value = read_varint32(from);
    return value & 1 ? -(int32_t)(value >> 1) - 1 : (int32_t)(value >> 1);
}

/* A number as its difference to another, modulo 2^64, in zigzag form. */
static inline uint64_t read_difference(cursor *from, uint64_t base) {
    uint64_t value = read_varint(from);
    return base + (value >> 1 ^ (value & 1 ? UINT64_MAX : 0));
}

static inline void read_id(cursor *from, uint8_t *id) {
    if (left(from) < ID_SIZE) {
        memset(id, 0, ID_SIZE);
        fail(from);
        return;
    }
    memcpy(id, from->at, ID_SIZE);
    from->at += ID_SIZE;
}

/* An identifier that must not be nil. */
static inline void read_real_id(cursor *from, uint8_t *id) {
    static const uint8_t nil[ID_SIZE];
    read_id(from, id);
    if (!from->failed && aqw_id_equal(id, nil)) fail(from);
}

static inline aqw_bytes read_bytes(cursor *from) {
    uint64_t size = read_varint(from);
    if (from->failed || size > left(from)) {
        fail(from);
        return (aqw_bytes){NULL, 0};
    }
    aqw_bytes value = {from->at, (uint32_t)size};
    from->at += size;
    return value;
}

static inline aqw_bytes read_text(cursor *from, uint32_t size_min, uint32_t size_max) {
    aqw_bytes text = read_bytes(from);
    require(from, !from->failed && text.size >= size_min && text.size <= size_max &&
                      aqw_utf8_is_valid(text.data, text.size));
    return text;
}

static inline aqw_bytes read_any_text(cursor *from) {
    return read_text(from, 0, AQW_TEXT_SIZE_MAX);
}

static inline aqw_bytes read_filled_text(cursor *from) {
    return read_text(from, 1, AQW_TEXT_SIZE_MAX);
}

/* A list of at least one text, each at least `size_min` bytes. */
static inline aqw_list read_list(cursor *from, uint32_t size_min) {
    uint32_t count = read_varint32(from);
    require(from, count >= 1 && count <= AQW_LIST_COUNT_MAX);
    const uint8_t *data = from->at;
    for (uint32_t i = 0; i < count && !from->failed; i++)
        read_text(from, size_min, AQW_TEXT_SIZE_MAX);
    return (aqw_list){data, (uint32_t)(from->at - data), count};
}

/* What is left, without moving past it. */
static inline aqw_bytes rest(const cursor *from) {
    return (aqw_bytes){from->at, (uint32_t)left(from)};
}

static inline aqw_status finish(const cursor *from) {
    return from->failed || from->at != from->end ? AQW_MALFORMED_EVENT : AQW_OK;
}

/* A cursor over `size` bytes, failed from the start where no payload may have that size. */
static inline cursor open_cursor(const uint8_t *data, size_t size) {
    static const uint8_t nothing[1];
    if (data == NULL || size > AQW_PAYLOAD_SIZE_MAX) return (cursor){nothing, nothing, 1};
    return (cursor){data, data + size, 0};
}

/* ---- Writing ---- */

typedef struct writer {
    uint8_t *to;            /* NULL: only count */
    size_t capacity;
    size_t size;
    aqw_status status;      /* the first failure */
    int is_to_be_read;      /* 1 where a form was written that only its reader checks in full */
} writer;

static inline writer open_writer(uint8_t *to, size_t capacity) {
    int is_bounded = to != NULL && capacity < AQW_PAYLOAD_SIZE_MAX;
    return (writer){to, is_bounded ? capacity : AQW_PAYLOAD_SIZE_MAX, 0, AQW_OK, 0};
}

static inline void refuse(writer *out, aqw_status status) {
    if (out->status == AQW_OK) out->status = status;
}

static inline void put(writer *out, const uint8_t *data, size_t size) {
    int fits = out->size <= out->capacity && size <= out->capacity - out->size;
    if (!fits) refuse(out, AQW_TOO_LARGE);
    else if (out->to != NULL && size > 0) memcpy(out->to + out->size, data, size);
    /* Counting goes on past the limit, to tell by how much. */
    if (fits || out->to == NULL) out->size += size;
}

/* 1 where the next `size` bytes have room, so that they can be stored without another look. */
static inline int has_room(const writer *out, size_t size) {
    return out->to != NULL && out->capacity >= size && out->size <= out->capacity - size;
}

static inline void put_u8(writer *out, unsigned value) {
    uint8_t byte = (uint8_t)value;
    put(out, &byte, 1);
}

static inline void check_code(writer *out, uint8_t code, uint8_t last) {
    if (code > last) refuse(out, AQW_MALFORMED_EVENT);
}

static inline void put_code(writer *out, uint8_t code, uint8_t last) {
    check_code(out, code, last);
    put_u8(out, code);
}

static inline size_t store_varint(uint8_t *to, uint64_t value) {
    size_t size = 0;
    for (; value >= 0x80; value >>= 7) to[size++] = (uint8_t)(value | 0x80);
    to[size++] = (uint8_t)value;
    return size;
}

static inline void put_varint(writer *out, uint64_t value) {
    if (has_room(out, VARINT_SIZE_MAX)) {
        out->size += store_varint(out->to + out->size, value);
        return;
    }
    uint8_t bytes[VARINT_SIZE_MAX];
    put(out, bytes, store_varint(bytes, value));
}

static inline void put_zigzag(writer *out, int32_t value) {
    put_varint(out, (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0));
}

static inline void put_difference(writer *out, uint64_t value, uint64_t base) {
    uint64_t difference = value - base;
    put_varint(out, difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0));
}

static inline void put_id(writer *out, const uint8_t *id) {
    if (!has_room(out, ID_SIZE)) {
        put(out, id, ID_SIZE);
        return;
    }
    memcpy(out->to + out->size, id, ID_SIZE);
    out->size += ID_SIZE;
}

static inline void put_real_id(writer *out, const uint8_t *id) {
    static const uint8_t nil[ID_SIZE];
    if (aqw_id_equal(id, nil)) refuse(out, AQW_MALFORMED_EVENT);
    put_id(out, id);
}

static inline void put_bytes(writer *out, aqw_bytes value) {
    if (value.data == NULL) {
        refuse(out, AQW_MALFORMED_EVENT);
        return;
    }
    put_varint(out, value.size);
    put(out, value.data, value.size);
}

static inline void put_text(writer *out, aqw_bytes text) {
    if (text.size > AQW_TEXT_SIZE_MAX) refuse(out, AQW_TOO_LARGE);
    else if (text.data != NULL && !aqw_utf8_is_valid(text.data, text.size))
        refuse(out, AQW_MALFORMED_EVENT);
    put_bytes(out, text);
}

/* The count must be that of the entries: a reader could not tell what follows them from one entry
 * more. */
static inline void put_list(writer *out, aqw_list list) {
    uint32_t offset = 0, count = 0;
    aqw_bytes entry;
    for (; aqw_list_next(&list, &offset, &entry) == AQW_OK; count++) {
        if (entry.size > AQW_TEXT_SIZE_MAX) refuse(out, AQW_TOO_LARGE);
    }
    if (list.count > AQW_LIST_COUNT_MAX) refuse(out, AQW_TOO_LARGE);
    if (list.data == NULL || offset != list.size || count != list.count) {
        refuse(out, AQW_MALFORMED_EVENT);
        return;
    }
    put_varint(out, list.count);
    put(out, list.data, list.size);
}

/* An already encoded part, up to the payload's end. */
static inline void put_part(writer *out, aqw_bytes part) {
    if (part.data == NULL) refuse(out, AQW_MALFORMED_EVENT);
    else put(out, part.data, part.size);
}

#endif
