"""Rules: what an application asks for."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from actionqueue.errors import (
    InvalidTransition,
    NotWaitingForTime,
    PreviousStateMismatch,
    RunResumeRequiresSuspended,
)
from tests.support.scheduler_machine.base import (
    Base,
    any_number,
    at_work,
    has_runs,
    has_runs_in,
    seldom,
)


class ControlRules(Base):
    @seldom
    @has_runs_in("ready")
    @rule(reopens=st.booleans(), seconds=st.integers(0, 3))
    def pause_and_resume(self, reopens: bool, seconds: int) -> None:
        """Hand out nothing for a while, also in another process, while time goes on."""
        self.scheduler.pause()
        self.model.is_paused = True
        if reopens:
            self.queue.close()
            self.open()
        self.clock.advance(seconds)
        self.scheduler.tick()
        self.model.tick(self.now)
        assert self.scheduler.claim("one") == []
        assert not self.scheduler.wait(timeout=0)
        self.ask_why_runs_wait()
        self.scheduler.resume()
        self.model.is_paused = False

    @seldom
    @has_runs_in("suspended")
    @rule(number=any_number, is_suspended=st.booleans())
    def resume_run(self, number: int, is_suspended: bool) -> None:
        run = self.some_run_in({"suspended"} if is_suspended else (), number)
        if run.state == "suspended":
            self.scheduler.resume_run(run.id)
            self.model.make_ready(run, self.now)
        else:
            with pytest.raises(RunResumeRequiresSuspended):
                self.scheduler.resume_run(run.id)

    @at_work
    @has_runs_in("retry_wait")
    @rule(number=any_number, is_waiting=st.booleans())
    def retry(self, number: int, is_waiting: bool) -> None:
        run = self.some_run_in({"retry_wait"} if is_waiting else (), number)
        if run.state == "retry_wait":
            self.scheduler.retry(run.id)
            self.model.make_ready(run, self.now)
        else:
            with pytest.raises(PreviousStateMismatch):
                self.scheduler.retry(run.id)

    @seldom
    @has_runs
    @rule(
        number=any_number,
        what=st.tuples(st.none() | st.integers(-3, 9), st.integers(-2, 2))
        | st.tuples(st.integers(-3, 9), st.none()),
    )
    def reschedule(self, number: int, what: tuple[int | None, int | None]) -> None:
        run = self.some_run(number)
        offset, priority = what
        allowed = {"scheduled", "retry_wait"} | (
            {"ready", "suspended"} if offset is None else set()
        )
        at = None if offset is None else self.now + offset
        if run.state in allowed:
            self.scheduler.reschedule(run.id, at=at, priority=priority)
            run.at = run.at if at is None else at
            run.priority = run.priority if priority is None else priority
        else:
            with pytest.raises(InvalidTransition if at is None else NotWaitingForTime):
                self.scheduler.reschedule(run.id, at=at, priority=priority)
