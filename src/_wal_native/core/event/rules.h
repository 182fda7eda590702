/* The rules that validation and replay share, each once, as predicates over plain values.
 *
 * The state table's apply (table/apply.c) and the Python checks (src/actionqueue/model/, through
 * rules.pyx) both call these and nothing else, so replay never refuses an accepted command.
 * States are enum aqw_run_state codes; any other number satisfies no predicate. */
#ifndef AQW_RULES_H
#define AQW_RULES_H

#include <stdint.h>

/* Returns 1 where a run may go from one state to the other: the 17 transitions. */
int aqw_rule_transition_is_valid(uint8_t from, uint8_t to);
/* Returns 1 for completed, failed and canceled. */
int aqw_rule_state_is_terminal(uint8_t state);
/* Returns 1 where an active attempt forbids the change: leaving running to anything
 * but canceled. */
int aqw_rule_attempt_blocks_change(uint8_t from, uint8_t to, int has_active_attempt);
/* Returns 1 where a run in this state takes an event of this kind: LEGAL_IN of events.def. For
 * kinds that have no such line it returns 0. */
int aqw_rule_state_allows(uint8_t kind, uint8_t state);
/* Returns 1 in the one state where attempts start and finish, and are active: running. */
int aqw_rule_attempt_allowed(uint8_t state);
/* Returns 1 where one more attempt would overflow the run's 32-bit count. */
int aqw_rule_attempt_count_is_full(uint32_t attempt_count);
/* Returns 1 in the states in which a run may hold a lease: it stays from the time it is acquired
 * until it is closed or the run is at its end. */
int aqw_rule_lease_held_allowed(uint8_t state);
/* Returns 1 where a heartbeat would lower the lease's expiry. Equal is fine. */
int aqw_rule_lease_expiry_regresses(uint64_t current, uint64_t proposed);
/* Returns 1 where closing a lease also takes the run from leased back to ready. */
int aqw_rule_lease_close_makes_ready(uint8_t state);
/* Returns 1 where the engine would resume before it paused. Equal is fine. */
int aqw_rule_resume_precedes_pause(uint64_t paused_at, uint64_t resumed_at);
/* Returns 1 for the only shape in which a run may be created. */
int aqw_rule_run_is_fresh(uint8_t state, int has_active_attempt, uint32_t attempt_count,
                          uint64_t created_at, uint64_t last_state_change_at);
/* Returns 1 where the projection may take this sequence: strictly above the latest. */
int aqw_rule_sequence_rises(uint64_t latest, uint64_t sequence);

#endif
