/* Events: the kinds, their fields in memory, and their payload bytes in the log.
 *
 * An aqw_event is a decoded event. Its variable-length fields point into memory that the caller
 * owns: into the record it was decoded from, or into what it was built from; an event never owns
 * memory. The table of the kinds is events.def. The payload layouts are specified in payload.h, and
 * event.c with event/parts.c is the only code that reads or writes them.
 *
 * The table stores what replay never looks into (a task's spec, a filter, a registration, a
 * role, a capability) as the encoded bytes; the functions at the end of this file turn those
 * into fields and back. */
#ifndef AQW_EVENT_H
#define AQW_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The kinds' codes, from the table; what each kind holds is below. */
enum aqw_event_kind {
#define EVENT(code, name, member, fields) AQW_##name = code,
#define AGAIN(code, name, like) AQW_##name = code,
#include "event/events.def"
    AQW_EVENT_KIND_END,
    AQW_EVENT_KIND_LAST = AQW_EVENT_KIND_END - 1
};

/* Run states, in the order of the specification. AQW_STATE_NONE is the "from" of a run's first
 * history entry; it is never in an event. */
enum aqw_run_state {
    AQW_SCHEDULED = 0,
    AQW_READY = 1,
    AQW_LEASED = 2,
    AQW_RUNNING = 3,
    AQW_RETRY_WAIT = 4,
    AQW_SUSPENDED = 5,
    AQW_COMPLETED = 6,
    AQW_FAILED = 7,
    AQW_CANCELED = 8,
    AQW_RUN_STATE_LAST = 8,
    AQW_STATE_NONE = 255
};

enum aqw_attempt_result {
    AQW_SUCCESS = 0,
    AQW_FAILURE = 1,
    AQW_TIMEOUT = 2,
    AQW_RESULT_SUSPENDED = 3,
    AQW_ATTEMPT_RESULT_LAST = 3,
    AQW_RESULT_NONE = 255       /* an attempt that is not finished; never in an event */
};

enum aqw_budget_dimension {
    AQW_TOKEN = 0,
    AQW_COST_CENTS = 1,
    AQW_TIME_SECS = 2,
    AQW_BUDGET_DIMENSION_LAST = 2
};

enum aqw_run_policy_kind {
    AQW_POLICY_ONCE = 0,
    AQW_POLICY_REPEAT = 1,
    AQW_POLICY_CRON = 2,
    AQW_POLICY_LAST = 2
};

enum aqw_hold_policy {
    AQW_HOLD_DURING_RETRY = 0,
    AQW_RELEASE_ON_RETRY = 1,
    AQW_HOLD_POLICY_LAST = 1
};

enum aqw_safety_level {
    AQW_PURE = 0,
    AQW_IDEMPOTENT = 1,
    AQW_TRANSACTIONAL = 2,
    AQW_SAFETY_LEVEL_LAST = 2
};

enum aqw_filter_kind {
    AQW_FILTER_TASK_COMPLETED = 0,
    AQW_FILTER_RUN_STATE_CHANGED = 1,
    AQW_FILTER_BUDGET_THRESHOLD = 2,
    AQW_FILTER_CUSTOM = 3,
    AQW_FILTER_KIND_LAST = 3
};
/* operator 0, auditor 1, gatekeeper 2, custom 3 */
enum aqw_role_code { AQW_ROLE_CUSTOM = 3 };
/* can_submit 0, can_execute 1, can_review 2, can_approve 3, can_cancel 4, custom 5 */
enum aqw_capability_code { AQW_CAPABILITY_CUSTOM = 5 };

/* Bytes that the event does not own. data NULL means absent; an empty value has data and size 0. */
typedef struct aqw_bytes {
    const uint8_t *data;
    uint32_t size;
} aqw_bytes;

/* How a field of each form of the table is held in memory. */
#define AQW_MEMBER_ID(member) uint8_t member[16];
#define AQW_MEMBER_REAL_ID(member) uint8_t member[16];
#define AQW_MEMBER_MAYBE_ID(has, member) uint8_t has; uint8_t member[16];
#define AQW_MEMBER_IDS(member, count, limit) const uint8_t *member; uint32_t count;
#define AQW_MEMBER_TIME(member)
#define AQW_MEMBER_NO_TIME(member)
#define AQW_MEMBER_NUMBER(member) uint64_t member;
#define AQW_MEMBER_NUMBER_AS(member, name) uint64_t member;
#define AQW_MEMBER_NUMBER32(member) uint32_t member;
#define AQW_MEMBER_NUMBER32_AS(member, name) uint32_t member;
#define AQW_MEMBER_ZERO(member) uint64_t member;
#define AQW_MEMBER_OFFSET(member, base) uint64_t member;
#define AQW_MEMBER_MAYBE_OFFSET(has, member, base) uint8_t has; uint64_t member;
#define AQW_MEMBER_ZIGZAG(member) int32_t member;
#define AQW_MEMBER_CODE(member, last) uint8_t member;
#define AQW_MEMBER_STATES(first, second) uint8_t first; uint8_t second;
#define AQW_MEMBER_ENDING(result, detail) uint8_t result; aqw_bytes detail;
#define AQW_MEMBER_TEXT(member) aqw_bytes member;
#define AQW_MEMBER_FILLED_TEXT(member) aqw_bytes member;
#define AQW_MEMBER_MAYBE_TEXT(member) aqw_bytes member;
#define AQW_MEMBER_BYTES(member) aqw_bytes member;
#define AQW_MEMBER_SPEC(member) aqw_bytes member;
#define AQW_MEMBER_FILTER(member) aqw_bytes member;
#define AQW_MEMBER_REGISTRATION(member) aqw_bytes member;
#define AQW_MEMBER_ROLE(member) aqw_bytes member;
#define AQW_MEMBER_CAPABILITY(member) aqw_bytes member;
#define AQW_MEMBER_MUST(condition)

/* What the kinds hold that have nothing but a time: C wants a member. */
typedef struct aqw_event_nothing { uint8_t unused; } aqw_event_nothing;

#define FIELD(form, ...) AQW_MEMBER_##form(__VA_ARGS__)
#define EVENT(code, name, member, fields) \
    typedef struct aqw_event_##member { fields } aqw_event_##member;
#define ALSO(code, name, member, fields)
#include "event/events.def"

/* What is absent has data NULL, but for these:
 *  - attempt_finished: the detail of a failure or a timeout is the error; of a success or a
 *    suspended attempt it is the output, absent where there is none;
 *  - budget: the value of an exhausted budget is 0;
 *  - runs_purged: the entries of the ledger and the tombstones are the oldest ones. Where keeps_ids
 *    is 1 the tasks' identifiers become tombstones, which may be dropped at kept_until at the
 *    earliest. */
typedef struct aqw_event {
    uint64_t sequence;
    uint64_t timestamp;         /* Unix seconds; 0 for run_created, which has none */
    uint8_t kind;               /* enum aqw_event_kind; says which member of `as` holds */
    uint8_t spec_is_valid;      /* task_created: 1 where all of the spec was decoded or encoded */
    union {
        aqw_event_nothing nothing;
#define EVENT(code, name, member, fields) aqw_event_##member member;
#define ALSO(code, name, member, fields)
#include "event/events.def"
    } as;
} aqw_event;

/* The parts of an event that the table keeps encoded, as fields. Lists are encoded: `count`
 * entries, each a varint length and that many bytes. */
typedef struct aqw_list {
    const uint8_t *data;        /* the encoded entries; NULL means the list is absent */
    uint32_t size;              /* their bytes */
    uint32_t count;
} aqw_list;

typedef struct aqw_task_spec {
    aqw_bytes payload;
    aqw_bytes content_type;     /* absent allowed */
    uint8_t policy;             /* enum aqw_run_policy_kind */
    uint32_t repeat_count;      /* repeat only */
    uint64_t repeat_interval_secs;
    aqw_bytes cron_expression;  /* cron only */
    uint32_t max_occurrences;   /* cron only; 0 = no bound */
    uint32_t max_attempts;
    uint8_t has_timeout;
    uint64_t timeout_secs;
    aqw_bytes concurrency_key;  /* absent allowed */
    uint8_t hold_policy;
    uint8_t safety_level;
    aqw_list required_capabilities; /* absent allowed */
    aqw_list tags;
    int32_t priority;
    aqw_bytes description;      /* absent allowed */
    uint8_t has_parent;
    uint8_t parent_task_id[16];
    uint8_t has_tenant;
    uint8_t tenant_id[16];
} aqw_task_spec;

typedef struct aqw_filter {
    uint8_t kind;               /* enum aqw_filter_kind */
    uint8_t task_id[16];        /* all but custom */
    uint8_t state;              /* run_state_changed */
    uint8_t dimension;          /* budget_threshold */
    uint8_t threshold_pct;      /* budget_threshold, 0 to 100 */
    aqw_bytes key;              /* custom */
} aqw_filter;

typedef struct aqw_registration {
    aqw_bytes identity;
    aqw_list capabilities;
    aqw_bytes department;       /* absent allowed */
    uint64_t heartbeat_interval_secs;
    uint8_t has_tenant;
    uint8_t tenant_id[16];
} aqw_registration;

/* A role or a capability: one of the fixed names by code, or custom with a text. */
typedef struct aqw_named {
    uint8_t code;
    aqw_bytes custom;           /* absent unless the code is the custom one */
} aqw_named;

/* Bytes that the event's payload takes, or 0 where a field is over a limit of limits.h or the kind
 * or a code is unknown (aqw_event_encode tells which). */
size_t aqw_event_payload_size(const aqw_event *event);

/* Writes the payload to `to`, which has `capacity` bytes; `*size` is what it took. AQW_TOO_LARGE
 * where a field or the whole is over its limit or capacity; AQW_MALFORMED_EVENT where a field has
 * no valid encoding (an unknown kind or code, or anything else that payload.h refuses): what
 * encodes here decodes. Nothing outside `to` is touched. */
aqw_status aqw_event_encode(const aqw_event *event, uint8_t *to, size_t capacity, size_t *size);

/* Reads a payload of `size` bytes of the given kind. The event points into `payload`. Every count,
 * code, length and text (valid UTF-8) is checked, the nested parts included, and the payload must
 * be used up exactly: what decodes here can be read in full later. AQW_MALFORMED_EVENT otherwise,
 * and *event is then undefined. */
aqw_status aqw_event_decode(uint8_t kind, uint64_t sequence, const uint8_t *payload, size_t size,
                            aqw_event *event);

/* The nested parts. Encoding writes to `to` and sets *size, with the statuses of aqw_event_encode;
 * called with to NULL (as aqw_event_encode may be too) it only counts: *size is then what the whole
 * would take, also where that is AQW_TOO_LARGE. Decoding expects all `size` bytes to be used. */
aqw_status aqw_task_spec_encode(const aqw_task_spec *spec, uint8_t *to, size_t capacity,
                                size_t *size);
aqw_status aqw_task_spec_decode(const uint8_t *from, size_t size, aqw_task_spec *spec);
aqw_status aqw_filter_encode(const aqw_filter *filter, uint8_t *to, size_t capacity, size_t *size);
aqw_status aqw_filter_decode(const uint8_t *from, size_t size, aqw_filter *filter);
aqw_status aqw_registration_encode(const aqw_registration *registration, uint8_t *to,
                                   size_t capacity, size_t *size);
aqw_status aqw_registration_decode(const uint8_t *from, size_t size,
                                   aqw_registration *registration);
aqw_status aqw_named_encode(const aqw_named *named, uint8_t custom_code, uint8_t *to,
                            size_t capacity, size_t *size);
aqw_status aqw_named_decode(const uint8_t *from, size_t size, uint8_t custom_code,
                            aqw_named *named);

/* Walks an encoded list: the entry at *offset, which then moves past it. AQW_END after the last. */
aqw_status aqw_list_next(const aqw_list *list, uint32_t *offset, aqw_bytes *entry);
/* Appends one entry to an encoded list under construction at to[*size]; AQW_TOO_LARGE past
 * `capacity`. */
aqw_status aqw_list_put(uint8_t *to, size_t capacity, size_t *size, const uint8_t *entry,
                        uint32_t entry_size);

/* 1 where the bytes are valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
int aqw_utf8_is_valid(const uint8_t *data, size_t size);
/* 1 where an encoded task spec names a parent task. */
int aqw_task_spec_has_parent(const uint8_t *data, size_t size);

#endif
