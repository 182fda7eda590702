"""Giving claims back: one by its worker, or all that a worker which is gone has left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn, TypeAlias

from actionqueue.errors import ActionQueueError, ClaimLost
from actionqueue.limits import ROW_COUNT_MAX, U64_MAX
from actionqueue.model import (
    AttemptFinishCommand,
    AttemptId,
    AttemptOutcome,
    AttemptResultKind,
    LeaseReleaseCommand,
    MutationCommand,
    RunId,
    RunResumeCommand,
    RunState,
    RunSuspendCommand,
)
from actionqueue.scheduler.arguments import claim_of, owner_of
from actionqueue.scheduler.claims import Claim
from actionqueue.scheduler.core import Core, Plan

READY = RunState.READY
LEASED = RunState.LEASED
RUNNING = RunState.RUNNING
NOTHING_DONE = AttemptOutcome(AttemptResultKind.SUSPENDED)
AT_ONCE = 500
"""The runs that one batch gives back."""
OWNERS_SIZE_MAX = 2**26
"""The bytes of owners' names that one batch has at most: where names are long, it has less runs."""

Held: TypeAlias = tuple[RunId, AttemptId | None]
"""A run that an owner has a lease on, and its active attempt."""


def held_by(claims: Iterable[Claim]) -> list[Held]:
    """Return what claims hold."""
    return [(claim.run_id, claim.attempt_id) for claim in claims]


def _parts(owner: str, held: Sequence[Held]) -> list[Sequence[Held]]:
    """Return runs that one owner has as the parts of which each goes into one batch."""
    size = len(owner.encode(errors="surrogatepass"))
    at_once = max(min(AT_ONCE, OWNERS_SIZE_MAX // max(size, 1)), 1)
    return [held[begin : begin + at_once] for begin in range(0, len(held), at_once)]


class Releasing(Core):
    """Takes claims back, and says which are held."""

    def release(self, claim: Claim) -> None:
        """Give a run back as if it had not been claimed.

        It is ready, and the attempt does not count.

        Raises:
            ClaimLost: The claim is no longer held. Nothing was written.
            InvalidFieldTypeError: It is no claim.
        """
        self._step(self._plan_release, claim_of("release", claim))

    def _plan_release(self, now: int, claim: Claim) -> Plan[None]:
        return [
            *self._end_attempt(claim, NOTHING_DONE, now),
            *_ready_again(claim.run_id, now),
        ], None

    def release_all(self, owner: str) -> int:
        """Give back every run on which an owner has a lease, and return how many these are.

        A worker's host calls it when it starts, before it claims: what the process before it held
        need not wait until the leases expire. Each run is given back as :meth:`release` does it: it
        is ready, and the attempt does not count. So a run that ends its process each time comes
        back without end; let leases expire where that may be. A worker of that name which is still
        at work loses its claims.

        The call looks at every lease that is held, of all owners, and takes a step for each 500
        runs that it gives back.

        Args:
            owner: The name under which the runs were claimed, not empty.

        Raises:
            InvalidFieldError, InvalidFieldTypeError: The name does not fit.
        """
        owner_of("release_all", owner)
        self._ensure_usable()
        return self._release_held(owner, self._held_by(owner))

    def _held_by(self, owner: str) -> list[Held]:
        projection = self._projection
        held: list[Held] = []
        for _, run_id in projection.expiring_leases(U64_MAX, ROW_COUNT_MAX):
            lease = projection.active_lease(run_id)
            if lease is not None and lease[0] == owner:
                held.append((run_id, projection.active_attempt_id(run_id)))
        return held

    def _release_held(self, owner: str, held: Sequence[Held]) -> int:
        """Give back those of the runs that are held still, and return how many they are."""
        count = last = 0
        try:
            for some in _parts(owner, held):
                released, sequence = self._turn.run(
                    self._attempt, self._plan_release_held, self._now(), (owner, some)
                )
                count += released
                last = sequence or last
        finally:
            if last:
                self._settle(last)
        return count

    def _plan_release_held(self, now: int, owner: str, held: Sequence[Held]) -> Plan[int]:
        projection = self._projection
        commands: list[MutationCommand] = []
        count = 0
        for run_id, attempt_id in held:
            lease = projection.active_lease(run_id)
            if (
                lease is None
                or lease[0] != owner
                or projection.active_attempt_id(run_id) != attempt_id
            ):
                continue
            state = projection.run_state(run_id)
            if state not in {READY, LEASED, RUNNING}:  # a command may not drop the lease now
                continue
            count += 1
            if attempt_id is not None:
                commands.append(AttemptFinishCommand(None, run_id, attempt_id, NOTHING_DONE, now))
            commands.append(LeaseReleaseCommand(None, run_id, *lease, now))
            if state is RUNNING:
                commands += _ready_again(run_id, now)
        return commands, count

    def _give_back(self, owner: str, held: Sequence[Held], now: int) -> None:
        """Give back claims that did not reach their worker, as far as the queue takes it.

        It waits for no disk. What the log has of it is durable with the next step that is. The time
        is the claim's: the scheduler's clock is the user's code, which might raise.
        """
        for some in _parts(owner, held):
            with suppress(ActionQueueError):  # a poisoned queue takes nothing
                self._turn.run(self._attempt, self._plan_release_held, now, (owner, some))

    # --- What becomes of claims -------------------------------------------------------------------

    def _end_attempt(
        self, claim: Claim, outcome: AttemptOutcome, now: int
    ) -> list[MutationCommand]:
        """Return the commands that end a claim's attempt and its lease."""
        lease = self._lease_of(claim)
        commands: list[MutationCommand] = [
            AttemptFinishCommand(None, claim.run_id, claim.attempt_id, outcome, now)
        ]
        if lease is not None:
            commands.append(LeaseReleaseCommand(None, claim.run_id, *lease, now))
        return commands

    def _lease_of(self, claim: Claim) -> tuple[str, int] | None:
        """Return the lease of a claim that is held, None where a raw command has dropped it."""
        projection = self._projection
        lease = projection.active_lease(claim.run_id)
        if projection.active_attempt_id(claim.run_id) != claim.attempt_id or (
            lease is not None and lease[0] != claim.owner
        ):
            self._raise_lost(claim)
        return lease

    def _raise_lost(self, claim: Claim) -> NoReturn:
        self._ensure_usable()
        state = self._projection.run_state(claim.run_id)
        raise ClaimLost(claim.run_id, claim.attempt_id, state)


def _ready_again(run_id: RunId, now: int) -> list[MutationCommand]:
    return [RunSuspendCommand(None, run_id, "released", now), RunResumeCommand(None, run_id, now)]
