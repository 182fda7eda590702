"""Rules: claims and their ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import actionqueue as aq
from actionqueue.columns import id_array
from actionqueue.errors import ClaimLost
from tests.support.scheduler_machine.base import Base, any_number, at_work, has_runs_in, seldom
from tests.support.scheduler_model import ModelRun

ABLE = {None: None, "nothing": frozenset[str](), "gpu": frozenset({"gpu"})}
has_claims = precondition(lambda self: self.claims)
ends = st.sampled_from(["complete", "complete", "fail", "fail", "give up", "release", "suspend"])
retry_times = st.none() | st.integers(-2, 5)
some_numbers = st.lists(any_number, min_size=1, max_size=4)


def columns_of(claims: list[aq.Claim]) -> aq.ClaimColumns:
    """Return claims of one owner as arrays, as far as a completion reads them."""
    nothing = id_array([])
    run_ids = id_array([claim.run_id for claim in claims])
    attempt_ids = id_array([claim.attempt_id for claim in claims])
    rest: list[Any] = [nothing] * 6
    return aq.ClaimColumns(claims[0].owner, 0, 0, nothing, run_ids, attempt_ids, *rest)


class ClaimRules(Base):
    @at_work
    @has_runs_in("ready")
    @rule(
        owner=st.sampled_from(["one", "two"]),
        limit=st.integers(1, 4),
        able=st.sampled_from(list(ABLE.values())),
        in_columns=st.booleans(),
        asks=st.booleans(),
        then=st.lists(st.tuples(ends, retry_times), max_size=4),
    )
    def claim(
        self,
        owner: str,
        limit: int,
        able: frozenset[str] | None,
        in_columns: bool,
        asks: bool,
        then: list[tuple[str, int | None]],
    ) -> None:
        """Claim, and end some of the claims at once."""
        if asks:
            self.ask_why_runs_wait()
        expected = self.model.claim(limit, able)
        if in_columns:
            columns = self.scheduler.claim_columns(owner, limit, able)
            claims = [columns.claim(row) for row in range(len(columns))]
        else:
            claims = self.scheduler.claim(owner, limit, able)
        if able is None:
            assert [claim.run_id for claim in claims] == [run.id for run in expected]
        else:
            # Of several runs with one key the queue may look at another one first.
            assert len(claims) == len(expected)
        by_id = {run.id: run for run in self.model.runs}
        claimed = [(by_id[claim.run_id], claim) for claim in claims]
        assert {run for run, _ in claimed} <= set(self.model.ready(able))
        was_begun = [(run.attempts + 1, self.now + self.model.lease) for run, _ in claimed]
        self.model.claimed(claimed, self.now)
        assert was_begun == [(claim.attempt, claim.lease_expiry) for claim in claims]
        for run, claim in claimed:
            is_timed = run.task.timeout is not None
            assert claim.deadline == (self.model.deadline(run) if is_timed else None)
        self.claims += claims
        for one, (end, retry_in) in zip(claims, then, strict=False):
            self.end_claim(one, end, retry_in)

    @at_work
    @has_claims
    @rule(
        number=any_number,
        end=ends,
        retry_in=retry_times,
        is_held=st.sampled_from([True, True, True, False]),
    )
    def end(self, number: int, end: str, retry_in: int | None, is_held: bool) -> None:
        self.end_claim(self.some_claims([number], is_held)[0], end, retry_in)

    def end_claim(self, claim: aq.Claim, end: str, retry_in: int | None) -> None:
        retry_at = None if retry_in is None else self.now + retry_in
        calls = {
            "complete": lambda: self.scheduler.complete(claim, b"out"),
            "fail": lambda: self.scheduler.fail(claim, "why", retry_at=retry_at),
            "give up": lambda: self.scheduler.fail(claim, "why", retry=False),
            "release": lambda: self.scheduler.release(claim),
            "suspend": lambda: self.scheduler.suspend(claim, "later"),
        }
        held = self.held_after(calls[end], [claim])
        if held is None:
            return
        (run,) = held
        if end == "complete":
            self.model.complete([run], self.now)
        elif end == "fail":
            self.model.fail(run, self.now, retry_at)
        elif end == "give up":
            self.model.fail_for_good(run, self.now)
        else:
            getattr(self.model, end)(run, self.now)

    @at_work
    @has_claims
    @rule(numbers=some_numbers, in_columns=st.booleans(), are_held=st.booleans())
    def complete_many(self, numbers: list[int], in_columns: bool, are_held: bool) -> None:
        claims = self.some_claims(numbers, are_held)

        def complete() -> None:
            if in_columns and len({claim.owner for claim in claims}) == 1:
                self.scheduler.complete_columns(columns_of(claims), b"out")
            else:
                self.scheduler.complete_many([(claim, b"out") for claim in claims])

        held = self.held_after(complete, claims, are_lost_if_twice=True)
        if held is not None:
            self.model.complete(held, self.now)

    @seldom
    @has_claims
    @rule(numbers=some_numbers, are_held=st.booleans())
    def heartbeat(self, numbers: list[int], are_held: bool) -> None:
        claims = self.some_claims(numbers, are_held)
        before = [claim.lease_expiry for claim in claims]
        held = self.held_after(lambda: self.scheduler.heartbeat(claims), claims)
        if held is None:
            assert [claim.lease_expiry for claim in claims] == before
            return
        self.model.heartbeat(held, self.now)
        assert [claim.lease_expiry for claim in claims] == [run.expiry for run in held]

    def some_claims(self, numbers: list[int], are_held: bool) -> list[aq.Claim]:
        """Some claims; where there are such, some that are held still."""
        held = [claim for claim in self.claims if self.model.is_held(claim) is not None]
        several = held if are_held and held else self.claims
        return [several[-1 - number % len(several)] for number in numbers]

    def held_after(
        self, call: Callable[[], object], claims: list[aq.Claim], *, are_lost_if_twice: bool = False
    ) -> list[ModelRun] | None:
        """Do something with claims; return their runs, or None where one is lost and it did
        nothing.
        """
        runs = [run for claim in claims if (run := self.model.is_held(claim)) is not None]
        if len(runs) == len(claims) and not (are_lost_if_twice and len(set(runs)) < len(runs)):
            call()
            return runs
        sequence = self.queue.sequence
        with pytest.raises(ClaimLost):
            call()
        assert self.queue.sequence == sequence
        return None

    @seldom
    @has_claims
    @rule(owner=st.sampled_from(["one", "two"]))
    def release_all(self, owner: str) -> None:
        assert self.scheduler.release_all(owner) == self.model.release_all(owner, self.now)
