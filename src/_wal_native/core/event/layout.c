#include "event/layout.h"

#include "base/limits.h"
#include "event/event.h"

/* Where a member is in an aqw_event. All members of `as` begin where it does. `held` is the
 * member's type, in the function of its kind. */
#define PLACE(member) (offsetof(aqw_event, as) + offsetof(held, member))

#define LAYOUT_ID(member) {#member, AQW_FIELD_ID, PLACE(member), 0, 0},
#define LAYOUT_REAL_ID(member) LAYOUT_ID(member)
#define LAYOUT_MAYBE_ID(has, member) {#member, AQW_FIELD_MAYBE_ID, PLACE(member), PLACE(has), 0},
#define LAYOUT_IDS(member, count, limit) \
    {#member, AQW_FIELD_IDS, PLACE(member), PLACE(count), limit},
#define LAYOUT_TIME(member) {#member, AQW_FIELD_NUMBER, offsetof(aqw_event, member), 0, 0},
#define LAYOUT_NO_TIME(member) {#member, AQW_FIELD_ZERO, offsetof(aqw_event, member), 0, 0},
#define LAYOUT_NUMBER(member) LAYOUT_NUMBER_AS(member, member)
#define LAYOUT_NUMBER_AS(member, name) {#name, AQW_FIELD_NUMBER, PLACE(member), 0, 0},
#define LAYOUT_NUMBER32(member) LAYOUT_NUMBER32_AS(member, member)
#define LAYOUT_NUMBER32_AS(member, name) {#name, AQW_FIELD_NUMBER32, PLACE(member), 0, 0},
#define LAYOUT_ZERO(member) {#member, AQW_FIELD_ZERO, PLACE(member), 0, 0},
#define LAYOUT_OFFSET(member, base) LAYOUT_NUMBER(member)
#define LAYOUT_MAYBE_OFFSET(has, member, base) \
    {#member, AQW_FIELD_MAYBE_NUMBER, PLACE(member), PLACE(has), 0},
#define LAYOUT_ZIGZAG(member) {#member, AQW_FIELD_SIGNED32, PLACE(member), 0, 0},
#define LAYOUT_CODE(member, last) {#member, AQW_FIELD_CODE, PLACE(member), 0, last},
#define LAYOUT_STATE(member) {#member, AQW_FIELD_STATE, PLACE(member), 0, AQW_RUN_STATE_LAST},
#define LAYOUT_STATES(first, second) LAYOUT_STATE(first) LAYOUT_STATE(second)
#define LAYOUT_ENDING(result, detail) LAYOUT_CODE(result, AQW_ATTEMPT_RESULT_LAST) \
    {#detail, AQW_FIELD_DETAIL, PLACE(detail), PLACE(result), 0},
#define LAYOUT_TEXT(member) {#member, AQW_FIELD_TEXT, PLACE(member), 0, 0},
#define LAYOUT_FILLED_TEXT(member) LAYOUT_TEXT(member)
#define LAYOUT_MAYBE_TEXT(member) {#member, AQW_FIELD_MAYBE_TEXT, PLACE(member), 0, 0},
#define LAYOUT_BYTES(member) {#member, AQW_FIELD_BYTES, PLACE(member), 0, 0},
#define LAYOUT_SPEC(member) {#member, AQW_FIELD_SPEC, PLACE(member), 0, 0},
#define LAYOUT_FILTER(member) {#member, AQW_FIELD_FILTER, PLACE(member), 0, 0},
#define LAYOUT_REGISTRATION(member) {#member, AQW_FIELD_REGISTRATION, PLACE(member), 0, 0},
#define LAYOUT_ROLE(member) {#member, AQW_FIELD_ROLE, PLACE(member), 0, AQW_ROLE_CUSTOM},
#define LAYOUT_CAPABILITY(member) \
    {#member, AQW_FIELD_CAPABILITY, PLACE(member), 0, AQW_CAPABILITY_CUSTOM},
#define LAYOUT_MUST(...)

#define FIELD(form, ...) LAYOUT_##form(__VA_ARGS__)
#define EVENT(code, kind, member, all) \
    static const aqw_event_layout *layout_of_##kind(void) { \
        typedef aqw_event_##member held; \
        static const aqw_event_field fields[] = {all}; \
        static const aqw_event_layout layout = {sizeof fields / sizeof fields[0], fields}; \
        (void)sizeof(held); \
        return &layout; \
    }
#include "event/events.def"

const aqw_event_layout *aqw_event_layout_of(uint8_t kind) {
    switch (kind) {
#define EVENT(code, name, member, fields) \
    case AQW_##name: return layout_of_##name();
#define AGAIN(code, name, like) \
    case AQW_##name: return layout_of_##like();
#include "event/events.def"
    default: return NULL;
    }
}
