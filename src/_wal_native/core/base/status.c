#include "base/status.h"

const char *aqw_status_name(int status) {
    switch (status) {
    case AQW_OK: return "ok";
    case AQW_END: return "end";
    case AQW_NEEDS_ROOM: return "needs_room";
    case AQW_INVALID_ARGUMENT: return "invalid_argument";
    case AQW_NO_MEMORY: return "no_memory";
    case AQW_TOO_LARGE: return "too_large";
    case AQW_MALFORMED_EVENT: return "malformed_event";
    case AQW_MALFORMED_SNAPSHOT: return "malformed_snapshot";
    case AQW_CLOSED: return "closed";
    case AQW_POISONED: return "poisoned";
    case AQW_FORKED: return "forked";
    case AQW_STOPPED: return "stopped";
    case AQW_IO_ERROR: return "io_error";
    case AQW_NO_SPACE: return "no_space";
    case AQW_LOCKED: return "locked";
    case AQW_CORRUPT: return "corrupt";
    case AQW_UNSUPPORTED_FORMAT: return "unsupported_format";
    case AQW_NOT_A_QUEUE: return "not_a_queue";
    case AQW_COMPACTED: return "compacted";
    case AQW_DISPLACED: return "displaced";
    case AQW_HISTORY_CHANGED: return "history_changed";
    case AQW_REFUSED_SEQUENCE: return "refused_sequence";
    case AQW_REFUSED_UNKNOWN_TASK: return "refused_unknown_task";
    case AQW_REFUSED_TASK_EXISTS: return "refused_task_exists";
    case AQW_REFUSED_TASK_CANCELED: return "refused_task_canceled";
    case AQW_REFUSED_UNKNOWN_RUN: return "refused_unknown_run";
    case AQW_REFUSED_RUN_EXISTS: return "refused_run_exists";
    case AQW_REFUSED_PREVIOUS_STATE: return "refused_previous_state";
    case AQW_REFUSED_TRANSITION: return "refused_transition";
    case AQW_REFUSED_ATTEMPT_ACTIVE: return "refused_attempt_active";
    case AQW_REFUSED_ATTEMPT_STATE: return "refused_attempt_state";
    case AQW_REFUSED_ATTEMPT_ALREADY_ACTIVE: return "refused_attempt_already_active";
    case AQW_REFUSED_ATTEMPT_REUSED: return "refused_attempt_reused";
    case AQW_REFUSED_ATTEMPT_COUNT: return "refused_attempt_count";
    case AQW_REFUSED_ATTEMPT_MISSING: return "refused_attempt_missing";
    case AQW_REFUSED_ATTEMPT_MISMATCH: return "refused_attempt_mismatch";
    case AQW_REFUSED_LEASE_STATE: return "refused_lease_state";
    case AQW_REFUSED_LEASE_ACTIVE: return "refused_lease_active";
    case AQW_REFUSED_LEASE_MISSING: return "refused_lease_missing";
    case AQW_REFUSED_LEASE_OWNER: return "refused_lease_owner";
    case AQW_REFUSED_LEASE_EXPIRY: return "refused_lease_expiry";
    case AQW_REFUSED_LEASE_REGRESSION: return "refused_lease_regression";
    case AQW_REFUSED_ENGINE_PAUSED: return "refused_engine_paused";
    case AQW_REFUSED_ENGINE_NOT_PAUSED: return "refused_engine_not_paused";
    case AQW_REFUSED_RESUME_BEFORE_PAUSE: return "refused_resume_before_pause";
    case AQW_REFUSED_NO_DEPENDENCIES: return "refused_no_dependencies";
    case AQW_REFUSED_BUDGET_NOT_ALLOCATED: return "refused_budget_not_allocated";
    case AQW_REFUSED_SUBSCRIPTION_EXISTS: return "refused_subscription_exists";
    case AQW_REFUSED_UNKNOWN_SUBSCRIPTION: return "refused_unknown_subscription";
    case AQW_REFUSED_SUBSCRIPTION_CANCELED: return "refused_subscription_canceled";
    case AQW_REFUSED_RUN_NOT_FRESH: return "refused_run_not_fresh";
    case AQW_REFUSED_NOT_FINISHED: return "refused_not_finished";
    case AQW_REFUSED_UNKNOWN_ACTOR: return "refused_unknown_actor";
    case AQW_REFUSED_UNKNOWN_LEDGER_ENTRY: return "refused_unknown_ledger_entry";
    case AQW_REFUSED_UNKNOWN_TOMBSTONE: return "refused_unknown_tombstone";
    case AQW_REFUSED_TASK_FORGOTTEN: return "refused_task_forgotten";
    default: return "unknown";
    }
}
