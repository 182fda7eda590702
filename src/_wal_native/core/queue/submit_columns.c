#include "queue/submit_columns.h"

#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "files/format.h"
#include "files/record.h"
#include "table/prefetch.h"

/* ---- Reading the arrays ---- */

static const uint8_t *value_at(aqw_column column, uint32_t row) {
    return column.data + (size_t)row * column.step;
}

static uint8_t code_at(aqw_column column, uint32_t row) { return *value_at(column, row); }

static uint64_t number_at(aqw_column column, uint32_t row) {
    uint64_t number;
    memcpy(&number, value_at(column, row), sizeof number);
    return number;
}

static int32_t priority_at(aqw_column column, uint32_t row) {
    int32_t priority;
    memcpy(&priority, value_at(column, row), sizeof priority);
    return priority;
}

static uint64_t offset_at(const aqw_byte_column *column, uint32_t row) {
    const uint8_t *from = column->offsets + (size_t)row * column->offset_size;
    if (column->offset_size == sizeof(uint32_t)) {
        uint32_t offset;
        memcpy(&offset, from, sizeof offset);
        return offset;
    }
    uint64_t offset;
    memcpy(&offset, from, sizeof offset);
    return offset;
}

/* Gives the row's bytes, which are absent where the column is. Returns 0 where the
 * offsets lead out of them. */
static int bytes_at(const aqw_byte_column *column, uint32_t row, aqw_bytes *bytes) {
    *bytes = (aqw_bytes){NULL, 0};
    if (column->data == NULL) return 1;
    uint64_t begin = column->offsets ? offset_at(column, row) : 0;
    uint64_t end = column->offsets ? offset_at(column, row + 1) : column->size;
    if (begin > end || end > column->size || end - begin > UINT32_MAX) return 0;
    *bytes = (aqw_bytes){column->data + begin, (uint32_t)(end - begin)};
    return 1;
}

static int result_has_error(uint8_t result) {
    return result == AQW_FAILURE || result == AQW_TIMEOUT;
}

/* ---- Checking ---- */

static aqw_status refuse(aqw_column_fault *fault, const char *column, uint32_t row, uint64_t value,
                         const char *reason) {
    *fault = (aqw_column_fault){column, reason, row, value};
    return AQW_INVALID_ARGUMENT;
}

static aqw_status check_codes(const aqw_columns *columns, aqw_column column, uint8_t last,
                              const char *name, const char *reason, aqw_column_fault *fault) {
    uint32_t rows = column.step ? columns->count : columns->count > 0;
    for (uint32_t row = 0; row < rows; row++) {
        if (code_at(column, row) > last)
            return refuse(fault, name, row, code_at(column, row), reason);
    }
    return AQW_OK;
}

/* Checks all offsets first; the caller looks at what they lead to afterwards. */
static aqw_status check_offsets(const aqw_columns *columns, const aqw_byte_column *column,
                                const char *name, aqw_column_fault *fault) {
    if (column->data == NULL || column->offsets == NULL) return AQW_OK;
    for (uint32_t row = 0; row < columns->count; row++) {
        if (offset_at(column, row) > offset_at(column, row + 1))
            return refuse(fault, name, row, offset_at(column, row + 1), "offsets must not fall");
        if (offset_at(column, row + 1) > column->size)
            return refuse(fault, name, row, offset_at(column, row + 1),
                          "offsets must not lead out of the data");
    }
    return AQW_OK;
}

static aqw_status check_text(aqw_bytes text, const char *name, uint32_t row,
                             aqw_column_fault *fault) {
    if (text.size > AQW_TEXT_SIZE_MAX)
        return refuse(fault, name, row, text.size, "the text takes more bytes than a text may");
    if (!aqw_utf8_is_valid(text.data, text.size))
        return refuse(fault, name, row, text.size, "the bytes are not valid UTF-8");
    return AQW_OK;
}

static aqw_status check_texts(const aqw_columns *columns, const aqw_byte_column *column,
                              const char *name, aqw_column_fault *fault) {
    aqw_status status = check_offsets(columns, column, name, fault);
    uint32_t rows = column->offsets ? columns->count : columns->count > 0;
    for (uint32_t row = 0; row < rows && status == AQW_OK; row++) {
        aqw_bytes text;
        if (!bytes_at(column, row, &text))
            return refuse(fault, name, row, 0, "the offsets lead to no bytes");
        if (text.data) status = check_text(text, name, row, fault);
    }
    return status;
}

/* A row has the bytes of its result, and no bytes of the other's. One value for all rows is for
 * those that can have it. */
static aqw_status check_detail(const aqw_columns *columns, uint32_t row, aqw_column_fault *fault) {
    int has_error = result_has_error(code_at(columns->results, row));
    aqw_bytes error, output;
    if (!bytes_at(&columns->errors, row, &error) || !bytes_at(&columns->outputs, row, &output))
        return refuse(fault, "results", row, code_at(columns->results, row),
                      "the offsets lead to no bytes");
    if (has_error && error.data == NULL)
        return refuse(fault, "errors", row, 0,
                      "a failure or timeout needs an error, though it may be empty");
    if (has_error && columns->outputs.offsets && output.size > 0)
        return refuse(fault, "outputs", row, output.size, "a failure or timeout carries no output");
    if (!has_error && columns->errors.offsets && error.size > 0)
        return refuse(fault, "errors", row, error.size, "a success or suspension carries no error");
    if (output.size > AQW_PAYLOAD_SIZE_MAX)
        return refuse(fault, "outputs", row, output.size,
                      "the output takes more bytes than a record may");
    return AQW_OK;
}

static aqw_status check_attempt_finishes(const aqw_columns *columns, aqw_column_fault *fault) {
    aqw_status status = check_codes(
        columns, columns->results, AQW_ATTEMPT_RESULT_LAST, "results",
        "a result's code is 0 for success, 1 failure, 2 timeout, 3 suspended", fault);
    if (status == AQW_OK) status = check_texts(columns, &columns->errors, "errors", fault);
    if (status == AQW_OK) status = check_offsets(columns, &columns->outputs, "outputs", fault);
    for (uint32_t row = 0; row < columns->count && status == AQW_OK; row++)
        status = check_detail(columns, row, fault);
    return status;
}

aqw_status aqw_columns_check(const aqw_columns *columns, aqw_column_fault *fault) {
    static const char state_reason[] =
        "a state's code is from 0 for scheduled to 8 for canceled, in the order of RunState";
    aqw_status status = AQW_OK;
    switch (columns->kind) {
    case AQW_RUN_STATE_CHANGED:
        status = check_codes(columns, columns->previous_states, AQW_RUN_STATE_LAST,
                             "previous_states", state_reason, fault);
        return status == AQW_OK ? check_codes(columns, columns->new_states, AQW_RUN_STATE_LAST,
                                              "new_states", state_reason, fault)
                                : status;
    case AQW_LEASE_HEARTBEAT: return check_texts(columns, &columns->owners, "owners", fault);
    case AQW_ATTEMPT_FINISHED: return check_attempt_finishes(columns, fault);
    default: return AQW_OK;
    }
}

/* ---- A row as an event ---- */

/* Returns AQW_INVALID_ARGUMENT where the row does not have bytes that the check would
 * have let pass. */
static aqw_status fill(const aqw_columns *columns, uint32_t row, aqw_event *event) {
    const uint8_t *run_id = value_at(columns->run_ids, row);
    event->kind = columns->kind;
    event->timestamp = number_at(columns->timestamps, row);
    switch (columns->kind) {
    case AQW_RUN_STATE_CHANGED:
        memcpy(event->as.run_state_changed.run_id, run_id, 16);
        event->as.run_state_changed.previous_state = code_at(columns->previous_states, row);
        event->as.run_state_changed.new_state = code_at(columns->new_states, row);
        return AQW_OK;
    case AQW_RUN_RESCHEDULED:
        memcpy(event->as.run_rescheduled.run_id, run_id, 16);
        event->as.run_rescheduled.scheduled_at = number_at(columns->scheduled_times, row);
        event->as.run_rescheduled.effective_priority = priority_at(columns->priorities, row);
        return AQW_OK;
    case AQW_LEASE_HEARTBEAT:
        memcpy(event->as.lease.run_id, run_id, 16);
        event->as.lease.expiry = number_at(columns->expiries, row);
        return bytes_at(&columns->owners, row, &event->as.lease.owner) ? AQW_OK
                                                                       : AQW_INVALID_ARGUMENT;
    case AQW_ATTEMPT_STARTED:
        memcpy(event->as.attempt_started.run_id, run_id, 16);
        memcpy(event->as.attempt_started.attempt_id, value_at(columns->attempt_ids, row), 16);
        return AQW_OK;
    case AQW_ATTEMPT_FINISHED: {
        memcpy(event->as.attempt_finished.run_id, run_id, 16);
        memcpy(event->as.attempt_finished.attempt_id, value_at(columns->attempt_ids, row), 16);
        uint8_t result = event->as.attempt_finished.result = code_at(columns->results, row);
        aqw_bytes *detail = &event->as.attempt_finished.detail;
        if (!bytes_at(result_has_error(result) ? &columns->errors : &columns->outputs, row, detail))
            return AQW_INVALID_ARGUMENT;
        if (!result_has_error(result) && detail->size == 0) detail->data = NULL;
        return AQW_OK;
    }
    default: return AQW_INVALID_ARGUMENT;
    }
}

/* Returns what the rules say of an event whose record is too large: they come first, in
 * validation as in apply. */
static aqw_status judge_too_large(aqw_table *table, const aqw_event *event) {
    aqw_event judged = *event;
    /* no other kind can be too large */
    if (event->kind != AQW_ATTEMPT_FINISHED) return AQW_TOO_LARGE;
    /* so that apply has nothing to apply */
    judged.as.attempt_finished.detail.size = AQW_PAYLOAD_SIZE_MAX + 1;
    return aqw_table_apply(table, &judged);
}

/* Stages and applies one event as the next one. AQW_TOO_LARGE with *payload_size set is a refusal;
 * without it the batch is full. */
static aqw_status add_event(aqw_table *table, aqw_batch *batch, aqw_event *event,
                            uint64_t *payload_size) {
    size_t size = batch->size, needed;
    if (aqw_table_latest_sequence(table) == AQW_SEQUENCE_MAX) return AQW_REFUSED_SEQUENCE;
    event->sequence = aqw_table_latest_sequence(table) + 1;
    aqw_status status = aqw_batch_add_own(batch, event);
    if (status == AQW_TOO_LARGE && aqw_event_encode(event, NULL, 0, &needed) == AQW_TOO_LARGE) {
        *payload_size = needed;
        return judge_too_large(table, event);
    }
    if (status != AQW_OK) return status;
    status = aqw_table_apply(table, event);
    if (status != AQW_OK) aqw_batch_take_back(batch, size);
    return status;
}

/* ---- The walk ---- */

static void note_refusal(const aqw_columns *columns, uint32_t row, const aqw_table *table,
                         const aqw_event *event, aqw_status status, uint64_t payload_size,
                         aqw_refused_row *refused) {
    memset(refused, 0, sizeof *refused);
    refused->row = row;
    refused->status = (uint16_t)status;
    refused->state = AQW_STATE_NONE;
    refused->payload_size = payload_size;
    /* The identifier of the run comes first in every kind's fields. */
    memcpy(refused->run_id, event->as.run.run_id, 16);
    if (columns->kind == AQW_RUN_STATE_CHANGED) {
        refused->previous_state = event->as.run_state_changed.previous_state;
        refused->new_state = event->as.run_state_changed.new_state;
    } else if (columns->kind == AQW_LEASE_HEARTBEAT) {
        refused->expiry = event->as.lease.expiry;
    } else if (columns->kind != AQW_RUN_RESCHEDULED) {
        memcpy(refused->attempt_id, event->as.attempt_started.attempt_id, 16);
    }
    uint32_t run = aqw_table_find_run(table, refused->run_id);
    if (!run) return;
    aqw_lease_view lease;
    const uint8_t *active = aqw_table_run_active_attempt(table, run);
    refused->state = aqw_table_run_state(table, run);
    refused->has_active_attempt = active != NULL;
    if (active) memcpy(refused->active_attempt_id, active, 16);
    refused->has_lease = aqw_table_run_lease(table, run, &lease) != 0;
    if (refused->has_lease) refused->lease_expiry = lease.expiry;
}

_Static_assert(offsetof(aqw_event, as.attempt_started.attempt_id) ==
                   offsetof(aqw_event, as.attempt_finished.attempt_id),
               "attempts' events begin alike");

/* How many rows before its turn a row gets each step of prefetching, and the slots for
 * what the steps found. */
enum { ENTRY_AHEAD = 24, RUN_AHEAD = 16, LINKS_AHEAD = 8, AHEAD_SLOTS = 32 };

typedef struct lookahead {
    uint64_t hashes[AHEAD_SLOTS];
    uint32_t runs[AHEAD_SLOTS];
} lookahead;

static void fetch_entry(lookahead *ahead, const aqw_columns *columns, const aqw_table *table,
                        uint32_t row, uint32_t end) {
    if (row < end)
        ahead->hashes[row % AHEAD_SLOTS] =
            aqw_table_prefetch_entry(table, value_at(columns->run_ids, row));
}

static void fetch_run(lookahead *ahead, const aqw_table *table, uint32_t row, uint32_t end) {
    if (row < end)
        ahead->runs[row % AHEAD_SLOTS] =
            aqw_table_prefetch_run(table, ahead->hashes[row % AHEAD_SLOTS]);
}

static void fetch_links(const lookahead *ahead, const aqw_columns *columns, const aqw_table *table,
                        uint32_t row, uint32_t end) {
    if (row < end) aqw_table_prefetch_links(table, ahead->runs[row % AHEAD_SLOTS], columns->kind);
}

static void look_ahead_first(lookahead *ahead, const aqw_columns *columns, const aqw_table *table,
                             uint32_t begin, uint32_t end) {
    for (uint32_t i = 0; i < ENTRY_AHEAD; i++) fetch_entry(ahead, columns, table, begin + i, end);
    for (uint32_t i = 0; i < RUN_AHEAD; i++) fetch_run(ahead, table, begin + i, end);
    for (uint32_t i = 0; i < LINKS_AHEAD; i++) fetch_links(ahead, columns, table, begin + i, end);
}

static void look_ahead(lookahead *ahead, const aqw_columns *columns, const aqw_table *table,
                       uint32_t row, uint32_t end) {
    fetch_entry(ahead, columns, table, row + ENTRY_AHEAD, end);
    fetch_run(ahead, table, row + RUN_AHEAD, end);
    fetch_links(ahead, columns, table, row + LINKS_AHEAD, end);
}

static uint64_t record_size(const aqw_event *event) {
    return aqw_record_size((uint32_t)aqw_event_payload_size(event));
}

static int is_refusal(aqw_status status, uint64_t payload_size) {
    return (status >= AQW_REFUSED_SEQUENCE && status <= AQW_REFUSED_LAST) ||
           (status == AQW_TOO_LARGE && payload_size > 0);
}

static aqw_status add_rows(const aqw_columns *columns, uint32_t end, aqw_table *table,
                           aqw_batch *batch, aqw_columns_walk *walk) {
    lookahead ahead;
    aqw_event event;
    look_ahead_first(&ahead, columns, table, walk->next, end);
    while (walk->next < end) {
        uint32_t row = walk->next;
        uint64_t payload_size = 0;
        look_ahead(&ahead, columns, table, row, end);
        aqw_table_expect_run(table, ahead.runs[row % AHEAD_SLOTS]);
        aqw_status status = fill(columns, row, &event);
        if (status != AQW_OK) return status;
        status = add_event(table, batch, &event, &payload_size);
        if (status == AQW_TOO_LARGE && !payload_size)
            walk->batch_size = batch->size + record_size(&event);
        if (status != AQW_OK && !is_refusal(status, payload_size)) return status;
        walk->next = row + 1;
        if (status == AQW_OK) continue;
        note_refusal(columns, row, table, &event, status, payload_size,
                     &walk->refused[walk->refused_count++]);
        if (walk->stops) break;
    }
    return AQW_OK;
}

aqw_status aqw_columns_add(const aqw_columns *columns, uint32_t end, aqw_table *table,
                           aqw_batch *batch, aqw_columns_walk *walk) {
    aqw_status status = add_rows(columns, end, table, batch, walk);
    aqw_table_expect_run(table, 0);
    return status;
}
