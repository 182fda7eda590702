#include "event/rules.h"

#include "event/event.h"

#define BIT(state) (1u << (state))

/* Row: the state that the run leaves. Bits: the states that it may enter. */
static const uint16_t transitions[AQW_RUN_STATE_LAST + 1] = {
    [AQW_SCHEDULED] = BIT(AQW_READY) | BIT(AQW_CANCELED),
    [AQW_READY] = BIT(AQW_LEASED) | BIT(AQW_CANCELED),
    [AQW_LEASED] = BIT(AQW_RUNNING) | BIT(AQW_READY) | BIT(AQW_CANCELED),
    [AQW_RUNNING] = BIT(AQW_RETRY_WAIT) | BIT(AQW_SUSPENDED) | BIT(AQW_COMPLETED) |
                    BIT(AQW_FAILED) | BIT(AQW_CANCELED),
    [AQW_RETRY_WAIT] = BIT(AQW_READY) | BIT(AQW_FAILED) | BIT(AQW_CANCELED),
    [AQW_SUSPENDED] = BIT(AQW_READY) | BIT(AQW_CANCELED),
};

/* By kind, the states in which a run takes such an event. */
static const uint16_t legal[AQW_EVENT_KIND_LAST + 1] = {
#define STATE(name) BIT(AQW_##name)
#define LEGAL_IN(kind, states) [AQW_##kind] = states,
#define EVENT(code, name, member, fields)
#include "event/events.def"
};

static int is_state(uint8_t state) { return state <= AQW_RUN_STATE_LAST; }

static int is_one_of(uint8_t state, unsigned states) {
    return is_state(state) && (states >> state & 1u);
}

int aqw_rule_transition_is_valid(uint8_t from, uint8_t to) {
    return is_state(from) && is_one_of(to, transitions[from]);
}

int aqw_rule_state_is_terminal(uint8_t state) { return is_state(state) && transitions[state] == 0; }

int aqw_rule_attempt_blocks_change(uint8_t from, uint8_t to, int has_active_attempt) {
    return has_active_attempt && from == AQW_RUNNING && to != AQW_CANCELED;
}

int aqw_rule_state_allows(uint8_t kind, uint8_t state) {
    return kind <= AQW_EVENT_KIND_LAST && is_one_of(state, legal[kind]);
}

int aqw_rule_attempt_allowed(uint8_t state) {
    return aqw_rule_state_allows(AQW_ATTEMPT_STARTED, state);
}

int aqw_rule_attempt_count_is_full(uint32_t attempt_count) { return attempt_count == UINT32_MAX; }

int aqw_rule_lease_held_allowed(uint8_t state) {
    return is_state(state) && state != AQW_SCHEDULED && !aqw_rule_state_is_terminal(state);
}

int aqw_rule_lease_expiry_regresses(uint64_t current, uint64_t proposed) {
    return proposed < current;
}

int aqw_rule_lease_close_makes_ready(uint8_t state) { return state == AQW_LEASED; }

int aqw_rule_resume_precedes_pause(uint64_t paused_at, uint64_t resumed_at) {
    return resumed_at < paused_at;
}

int aqw_rule_run_is_fresh(uint8_t state, int has_active_attempt, uint32_t attempt_count,
                          uint64_t created_at, uint64_t last_state_change_at) {
    return state == AQW_SCHEDULED && !has_active_attempt && attempt_count == 0 &&
           created_at == last_state_change_at;
}

int aqw_rule_sequence_rises(uint64_t latest, uint64_t sequence) { return sequence > latest; }
