"""What workers call: claims and their ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import CALENDAR_SECONDS_MAX, TEXT_SIZE_MAX
from actionqueue.model import (
    AttemptOutcome,
    AttemptResultKind,
    LeaseHeartbeatCommand,
    MutationCommand,
    RunId,
    RunState,
    RunStateTransitionCommand,
    RunSuspendCommand,
)
from actionqueue.scheduler.arguments import (
    CLAIM_COUNT_MAX,
    claim_of,
    claims_of,
    number_from_1,
    owner_of,
    texts_or_none,
    time_or_none,
)
from actionqueue.scheduler.attempts import retry_or_fail
from actionqueue.scheduler.claims import Claim
from actionqueue.scheduler.core import Plan
from actionqueue.scheduler.ending import Ending
from actionqueue.scheduler.prerequisites import part_of
from actionqueue.scheduler.releasing import Releasing, held_by

READY = RunState.READY
LEASED = RunState.LEASED
RUNNING = RunState.RUNNING
COMPLETED = RunState.COMPLETED
FAILED = RunState.FAILED
SUCCESS = AttemptResultKind.SUCCESS
NO_OUTPUT = b""
OUTPUT_SIZE_UNCHECKED = 65536
"""Bytes that any attempt may have as its output."""
NOTHING_DONE = AttemptOutcome(AttemptResultKind.SUSPENDED)
ANY_RUN = RunId(b"any run, no run.")


def begun(claims: list[Claim], now: int) -> list[MutationCommand]:
    """Return what happens to the runs of new claims, as commands."""
    return [
        RunStateTransitionCommand(None, claim.run_id, previous, state, now)
        for claim in claims
        for previous, state in ((READY, LEASED), (LEASED, RUNNING))
    ]


def completed(claims: list[Claim], now: int) -> list[MutationCommand]:
    """Return what happens to the runs of claims that are completed, as commands."""
    return [
        RunStateTransitionCommand(None, claim.run_id, RUNNING, COMPLETED, now) for claim in claims
    ]


def kept_of(error: str) -> str:
    """Return what the log can keep of a text; anything else as it is.

    An error's text is often not the worker's own, and a failure that can't be told would leave the
    run to its lease.
    """
    if not isinstance(error, str):
        return error
    encoded = error.encode(errors="backslashreplace")
    return encoded[:TEXT_SIZE_MAX].decode(errors="ignore")


def output_of(output: Any) -> bytes:
    """Return an attempt's output as bytes. Raises InvalidFieldError where it can have no such."""
    if type(output) is bytes and len(output) <= OUTPUT_SIZE_UNCHECKED:
        return output
    return AttemptOutcome(SUCCESS, None, output).output or NO_OUTPUT


def results_of(results: Any) -> tuple[list[Claim], list[bytes]]:
    """Return claims, and as many outputs, of what may be pairs of both."""
    if type(results) is Claim or not isinstance(results, Iterable):
        reason = "must be several claims, or pairs of a claim and its output"
        raise InvalidFieldTypeError("complete_many", "results", results, reason)
    claims: list[Claim] = []
    outputs: list[bytes] = []
    for result in results:
        is_pair = type(result) is tuple and len(result) == len(("claim", "output"))
        claim, output = result if is_pair else (result, None)
        claims.append(claim_of("complete_many", claim))
        outputs.append(NO_OUTPUT if output is None else output_of(output))
    return claims, outputs


class Working(Releasing, Ending):
    """Hands runs out to workers, and takes what they bring back."""

    _checked_owner: str | None = None

    # --- Claims -----------------------------------------------------------------------------------

    def claim(
        self, owner: str, limit: int = 1, capabilities: Iterable[str] | None = None
    ) -> list[Claim]:
        """Give up to ``limit`` ready runs to a worker, the most urgent first.

        Each gets a lease and an attempt, all in one step. Left out are runs that something blocks:
        a canceled task, a prerequisite that is not met, a concurrency key that another run holds,
        an exhausted budget of the task or of an ancestor. A claim takes one run of each key at
        most. While the engine is paused there is nothing to claim.

        Where Ctrl-C, or an error, ends the call, the runs are given back.

        Args:
            owner: The worker's name, not empty.
            limit: From 1 to 65,536.
            capabilities: What the worker can do: it gets runs that require nothing else. None for
                everything.

        Raises:
            InvalidFieldError: An argument does not fit.
            RecordTooLarge: A long name for so many leases does not fit into one batch.
        """
        limit, able, expiry, now = self._claiming("claim", owner, limit, capabilities)
        claims: list[Claim] = []
        try:
            sequence = self._work.claim(owner, limit, able, expiry, now, begun, claims)
            if sequence:
                self._settle(sequence)
        except BaseException:  # the caller gets no claim
            self._give_back(owner, held_by(claims), now)
            raise
        return claims

    def _claiming(
        self, call: str, owner: str, limit: int, capabilities: Iterable[str] | None
    ) -> tuple[int, frozenset[str] | None, int, int]:
        """Check what a claim takes; return it with the time at which its leases end, and now."""
        if owner is not self._checked_owner:
            self._checked_owner = owner_of(call, owner)
        if type(limit) is not int or not 1 <= limit <= CLAIM_COUNT_MAX:
            limit = number_from_1(call, "limit", limit, CLAIM_COUNT_MAX)
        able = None if capabilities is None else texts_or_none(call, "capabilities", capabilities)
        now = self._now()
        expiry = now + self._lease_seconds
        if expiry > CALENDAR_SECONDS_MAX:  # noqa: PLR1730 -- min() is slower
            expiry = CALENDAR_SECONDS_MAX
        return limit, able, expiry, now

    # --- While the work goes on -------------------------------------------------------------------

    def heartbeat(self, claims: Claim | Iterable[Claim]) -> None:
        """Extend the leases of one claim or of several, all or none.

        Each lease ends ``lease_seconds`` from now, if it would end before; the claim's
        ``lease_expiry`` says so.

        Raises:
            ClaimLost: One of the claims is no longer held: the error says which. No lease was
                extended.
            InvalidFieldTypeError: An argument is no claim.
        """
        several = claims_of("heartbeat", claims)
        for claim, expiry in self._step(self._plan_heartbeat, several):
            claim.lease_expiry = expiry

    def _plan_heartbeat(self, now: int, claims: list[Claim]) -> Plan[list[tuple[Claim, int]]]:
        proposed = min(now + self._lease_seconds, CALENDAR_SECONDS_MAX)
        commands: list[MutationCommand] = []
        expiries: list[tuple[Claim, int]] = []
        for claim in dict.fromkeys(claims):
            lease = self._lease_of(claim)
            if lease is None:
                self._raise_lost(claim)
            expiry = max(lease[1], proposed)
            expiries.append((claim, expiry))
            if expiry > lease[1]:
                commands.append(LeaseHeartbeatCommand(None, claim.run_id, claim.owner, expiry, now))
        return commands, expiries

    # --- The ends ---------------------------------------------------------------------------------

    def complete(self, claim: Claim, output: bytes = NO_OUTPUT) -> None:
        """Take the result of an attempt that did its work: the run is completed.

        Args:
            claim: The claim.
            output: What the attempt gave; no bytes are no output.

        Raises:
            ClaimLost: The claim is no longer held. Nothing was written.
            InvalidFieldError: An argument does not fit.
        """
        if type(claim) is not Claim:
            claim_of("complete", claim)
        outputs = None if output is NO_OUTPUT else [output_of(output)]
        self._settle(self._work.complete([claim], outputs, self._now(), completed))

    def complete_many(self, results: Iterable[Claim | tuple[Claim, bytes]]) -> None:
        """Take the results of several attempts as one step: all or none.

        Args:
            results: Claims; or pairs of a claim and its output, as :meth:`complete` takes it.

        Raises:
            ClaimLost: One of the claims is no longer held, or comes twice: the error says which.
                Nothing was written.
            InvalidFieldError, InvalidFieldTypeError: An argument does not fit.
            RecordTooLarge: So much does not fit into one batch.
        """
        claims, outputs = results_of(results)
        if not claims:
            self._ensure_usable()
            return
        self._settle(self._work.complete(claims, outputs, self._now(), completed))

    def fail(
        self, claim: Claim, error: str, *, retry_at: int | None = None, retry: bool = True
    ) -> RunState:
        """Take the failure of an attempt, and return the run's new state.

        While the task has attempts left the run waits for its retry; else it has failed, and what
        depends on it is dealt with as the scheduler was told.

        Args:
            claim: The claim.
            error: What went wrong. The log keeps what it can of any text: the first 1 MiB of its
                UTF-8 form, and lone surrogates as escapes.
            retry_at: The time of the next attempt, in Unix seconds; None leaves it to the backoff.
                It gives the run no attempt more.
            retry: False fails the run for good, although it may have attempts left: for what no
                further attempt can mend. Where that cancels so much that it takes several steps,
                the run fails with the last one, and a process that ends in between leaves it to its
                lease.

        Raises:
            ClaimLost: The claim is no longer held. Nothing was written.
            InvalidFieldError: An argument does not fit.
        """
        claim_of("fail", claim)
        outcome = AttemptOutcome.failure(kept_of(error))
        retry_at = time_or_none("fail", "retry_at", retry_at)
        if type(retry) is not bool:
            raise InvalidFieldTypeError("fail", "retry", retry, "must be True or False")
        if not retry:
            if retry_at is not None:
                reason = "must not be given where there is no retry"
                raise InvalidFieldError("fail", "retry_at", retry_at, reason)
            while not self._step(self._plan_fail_for_good, claim, outcome):
                pass
            return FAILED
        state = self._step(self._plan_fail, claim, outcome, retry_at)
        if state is None:
            _, sequence = self._end_now([claim.run_id], self._now())
            if sequence:
                self._settle(sequence)
            return FAILED
        return state

    def _plan_fail(
        self, now: int, claim: Claim, outcome: AttemptOutcome, retry_at: int | None
    ) -> Plan[RunState | None]:
        """Plan the failure. The state is None where the run's end is left to further batches."""
        commands = self._end_attempt(claim, outcome, now)
        run = self._projection.run(claim.run_id)
        if run is None:
            self._raise_lost(claim)
        max_attempts = claim.spec.constraints.max_attempts
        onwards, state = retry_or_fail(
            self._projection, run, max_attempts, self._retry, now, retry_at
        )
        if state is FAILED:
            cascade = self._cascade([claim.task_id], {claim.run_id: FAILED}, now)
            if cascade.is_too_large:
                return commands + self._end_later(run, now), None
            onwards += cascade.commands
        return commands + onwards, state

    def _plan_fail_for_good(self, now: int, claim: Claim, outcome: AttemptOutcome) -> Plan[bool]:
        """Plan it, or the first part of what it cancels; return whether that is all."""
        commands = self._end_attempt(claim, outcome, now)
        cascade = self._cascade([claim.task_id], {claim.run_id: FAILED}, now)
        if cascade.is_too_large:
            return part_of(cascade.commands), False
        commands.append(RunStateTransitionCommand(None, claim.run_id, RUNNING, FAILED, now))
        return commands + cascade.commands, True

    def suspend(self, claim: Claim, reason: str | None = None, *, output: bytes = b"") -> None:
        """Lay a run aside until :meth:`resume_run` or a subscription of its task resumes it.

        The attempt does not count. A suspended run holds neither lease nor concurrency key.

        Args:
            claim: The claim.
            reason: Why, if there is something to say.
            output: What the attempt has so far, for the next one to read.

        Raises:
            ClaimLost: The claim is no longer held. Nothing was written.
            InvalidFieldError: An argument does not fit.
        """
        claim_of("suspend", claim)
        RunSuspendCommand(None, ANY_RUN, reason, 0)  # raises where the reason does not fit
        outcome = AttemptOutcome.suspended(output)
        self._step(self._plan_suspend, claim, reason, outcome)

    def _plan_suspend(
        self, now: int, claim: Claim, reason: str | None, outcome: AttemptOutcome
    ) -> Plan[None]:
        commands = self._end_attempt(claim, outcome, now)
        commands.append(RunSuspendCommand(None, claim.run_id, reason, now))
        return commands, None
