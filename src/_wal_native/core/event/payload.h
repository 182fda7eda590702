/* Event payloads: the bytes between a record's header and its end. events.def has
 * the kinds and their fields.
 *
 * BASIC FORMS
 *
 *   id       16 bytes, as they are.
 *   u8       one byte.
 *   varint   an unsigned number, seven bits a byte, the lowest first; every byte but the last has
 *            its high bit set. At most 64 bits (10 bytes); a "varint32" at most 32.
 *   zigzag   a signed 32-bit number n as the varint32 (n << 1) ^ (n >> 31): 0, -1, 1, -2 become
 *            0, 1, 2, 3.
 *   bytes    varint size, then that many bytes.
 *   text     bytes that are valid UTF-8, at most AQW_TEXT_SIZE_MAX of them.
 *   list     varint32 count, at most AQW_LIST_COUNT_MAX, then that many texts.
 *   time     varint, Unix seconds.
 *   offset   a number as its difference to a time before it, modulo 2^64: the difference n, taken
 *            as signed, as the varint (n << 1) ^ (n >> 63).
 *   [x]      x, only where a flag says so.
 *
 * The kind and the sequence are in the record's header. Codes are the enums of event.h, and
 * permanent.
 *
 * EVENTS
 *
 * A payload is the kind's fields in the order of events.def, without gaps. A field takes what its
 * form says:
 *
 *   ID, REAL_ID             id; a REAL_ID is not nil
 *   MAYBE_ID                u8: 1 where there is one, [id]
 *   IDS                     varint32 count, that many ids
 *   TIME                    time; NO_TIME and ZERO take nothing
 *   NUMBER, NUMBER32        varint; varint32
 *   OFFSET                  offset to the number that events.def names
 *   MAYBE_OFFSET            u8: 1 where there is one, [offset]
 *   ZIGZAG                  zigzag
 *   CODE                    u8
 *   STATES                  u8: the first state << 4 | the second
 *   ENDING                  u8: result | AQW_FINISH_HAS_DETAIL, [detail]
 *                             success, suspended: the detail is the output, bytes, there unless
 *                             empty
 *                             failure, timeout: the detail is the error, text, always there
 *   TEXT, FILLED_TEXT       text; a FILLED_TEXT is not empty
 *   MAYBE_TEXT              u8: 1 where there is one, [text]
 *   BYTES                   bytes
 *   SPEC, FILTER, REGISTRATION
 *                           the nested part
 *   ROLE, CAPABILITY        the nested part "named", with the custom code 3 or 5
 *
 * NESTED PARTS, each the last part of its event, up to the payload's end
 *
 *   task spec     u8 presence flags (AQW_SPEC_HAS_...), u8 codes, and then:
 *                   payload bytes
 *                   [content_type text]
 *                   repeat: count varint32, interval_secs varint
 *                   cron:   expression text, max_occurrences varint32 (0 = no bound)
 *                   [max_attempts varint32; 1 where left out]
 *                   [timeout_secs varint]
 *                   [concurrency_key text]
 *                   [required_capabilities list]
 *                   [tags list; empty where left out]
 *                   [priority zigzag; 0 where left out]
 *                   [description text]
 *                   [parent task id]
 *                   [tenant id]
 *                 the codes byte, from its lowest bit: 2 bits run policy, 1 bit hold policy, 2 bits
 *                 safety level, AQW_SPEC_HAS_PARENT, AQW_SPEC_HAS_TENANT, 1 bit always 0
 *   filter        u8 kind, and then:
 *                   task_completed     task id
 *                   run_state_changed  task id, u8 state
 *                   budget_threshold   task id, u8 dimension, u8 percentage
 *                   custom             key text
 *   registration  u8 flags (AQW_REGISTRATION_HAS_...), identity text, heartbeat_interval_secs
 *                   varint, capabilities list, [department text], [tenant id]
 *   named         u8 code, and for the custom code: text
 *
 * VALID IF AND ONLY IF
 *
 * A payload is valid if and only if it is read to its last byte, and
 *   - it is at most AQW_PAYLOAD_SIZE_MAX bytes, and every size, count and code is in range;
 *   - every number is in its shortest form, and no flag or code bit is set that is not named here;
 *   - what a flag announces differs from what its absence means: no empty output, no max_attempts
 *     of 1, no priority of 0, no empty tags;
 *   - these are not empty: content of required_capabilities and capabilities, and the list itself;
 *     concurrency key, cron expression, identity, department (and at most AQW_DEPARTMENT_SIZE_MAX
 *     bytes), tenant name, ledger key, custom role, custom capability;
 *   - these are not 0: repeat's count and interval, max_attempts, timeout_secs,
 *     heartbeat_interval_secs;
 *   - a percentage is at most 100;
 *   - the conditions of MUST in events.def hold.
 * So every event has exactly one encoding: whatever decodes, encodes to the same bytes again. Rules
 * that need the projection (which states follow each other, what must exist) are the state
 * table's. */
#ifndef AQW_PAYLOAD_H
#define AQW_PAYLOAD_H

#define AQW_FINISH_HAS_DETAIL 16

/* The task spec's presence flags. */
#define AQW_SPEC_HAS_CONTENT_TYPE 1
#define AQW_SPEC_HAS_MAX_ATTEMPTS 2
#define AQW_SPEC_HAS_TIMEOUT 4
#define AQW_SPEC_HAS_CONCURRENCY_KEY 8
#define AQW_SPEC_HAS_REQUIRED_CAPABILITIES 16
#define AQW_SPEC_HAS_TAGS 32
#define AQW_SPEC_HAS_PRIORITY 64
#define AQW_SPEC_HAS_DESCRIPTION 128
/* Its codes: where each starts, and the flags after them. */
#define AQW_SPEC_POLICY_SHIFT 0
#define AQW_SPEC_HOLD_SHIFT 2
#define AQW_SPEC_SAFETY_SHIFT 3
#define AQW_SPEC_HAS_PARENT 32
#define AQW_SPEC_HAS_TENANT 64
#define AQW_SPEC_CODES_ALL 127

#define AQW_REGISTRATION_HAS_DEPARTMENT 1
#define AQW_REGISTRATION_HAS_TENANT 2
#define AQW_REGISTRATION_FLAGS_ALL 3

#endif
