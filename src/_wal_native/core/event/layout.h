/* What other languages see of the kinds: each kind's fields with their forms and their places in an
 * aqw_event. Everything here follows from the table in events.def. */
#ifndef AQW_LAYOUT_H
#define AQW_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

/* How a field is held in memory. Several forms of the table may look the same here: what tells them
 * apart in the payload does not matter to what fills or reads an aqw_event. */
enum aqw_field_form {
    AQW_FIELD_ID,           /* 16 bytes */
    AQW_FIELD_MAYBE_ID,     /* 16 bytes, there where the uint8_t at `second` is 1 */
    AQW_FIELD_IDS,          /* a pointer to 16 bytes each; the uint32_t at `second` counts them */
    AQW_FIELD_NUMBER,       /* uint64_t */
    AQW_FIELD_MAYBE_NUMBER, /* uint64_t, there where the uint8_t at `second` is 1 */
    AQW_FIELD_NUMBER32,     /* uint32_t */
    AQW_FIELD_SIGNED32,     /* int32_t */
    AQW_FIELD_CODE,         /* uint8_t, from 0 to `limit` */
    AQW_FIELD_STATE,        /* uint8_t, enum aqw_run_state */
    AQW_FIELD_TEXT,         /* aqw_bytes, UTF-8 */
    AQW_FIELD_MAYBE_TEXT,   /* aqw_bytes, UTF-8; data NULL where it is absent */
    AQW_FIELD_BYTES,        /* aqw_bytes */
    AQW_FIELD_DETAIL,       /* aqw_bytes, as enum aqw_attempt_result at `second` says */
    /* From here on, fields that other languages do not have as they are. */
    AQW_FIELD_ZERO,         /* uint64_t, always 0 */
    AQW_FIELD_SPEC,         /* aqw_bytes: an encoded aqw_task_spec */
    AQW_FIELD_FILTER,       /* an encoded aqw_filter */
    AQW_FIELD_REGISTRATION, /* an encoded aqw_registration */
    AQW_FIELD_ROLE,         /* an encoded aqw_named, whose custom code is `limit` */
    AQW_FIELD_CAPABILITY,   /* the same */
    AQW_FIELD_FORM_LAST = AQW_FIELD_CAPABILITY
};

typedef struct aqw_event_field {
    const char *name;
    uint16_t form;          /* enum aqw_field_form */
    uint16_t offset;        /* in aqw_event */
    uint16_t second;        /* in aqw_event: what the form says; 0 where it says nothing */
    uint32_t limit;         /* the largest code, or the most identifiers of the whole event */
} aqw_event_field;

typedef struct aqw_event_layout {
    uint32_t field_count;
    const aqw_event_field *fields;  /* in the order of their bytes */
} aqw_event_layout;

/* NULL where there is no such kind. */
const aqw_event_layout *aqw_event_layout_of(uint8_t kind);

#endif
