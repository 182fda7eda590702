"""The rules that validation and replay share. Times and expiries are Unix seconds.

A state that is not a ``RunState`` raises TypeError, a number out of range OverflowError.
"""

from actionqueue.model import RunState

def wrong_state(state: object) -> TypeError:
    """Return the error for what is no state of runs."""

def transition_is_valid(from_state: RunState, to_state: RunState, /) -> bool:
    """Whether a run may go from one state to the other, by one of the 17 transitions."""

def state_is_terminal(state: RunState, /) -> bool:
    """Whether a run never leaves this state: completed, failed and canceled."""

def attempt_blocks_change(
    from_state: RunState, to_state: RunState, has_active_attempt: bool, /
) -> bool:
    """Whether an active attempt forbids the change: from running to anything but canceled."""

def state_allows(kind: int, state: RunState, /) -> bool:
    """Whether a run in this state takes an event of this kind, where its state alone decides."""

def attempt_count_is_full(attempt_count: int, /) -> bool:
    """Whether one more attempt would overflow the run's 32-bit count."""

def lease_expiry_regresses(current: int, proposed: int, /) -> bool:
    """Whether a heartbeat would lower the lease's expiry. An equal expiry does not."""

def resume_precedes_pause(paused_at: int, resumed_at: int, /) -> bool:
    """Whether the engine would resume before it was paused. An equal time does not."""

def run_is_fresh(
    state: RunState,
    has_active_attempt: bool,
    attempt_count: int,
    created_at: int,
    last_state_change_at: int,
    /,
) -> bool:
    """Whether a run has the one shape in which runs are created."""
