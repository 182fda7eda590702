"""Rules: time, retention, and ends of the process."""

from __future__ import annotations

from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import rule

from actionqueue import clock
from tests.support.queues import copy_of
from tests.support.scheduler_machine.base import Base, at_work, seldom


class TimeRules(Base):
    @at_work
    @rule(seconds=st.integers(0, 12), is_told=st.sampled_from([True, True, False]))
    def pass_time(self, seconds: int, is_told: bool) -> None:
        """Some time passes, and a tick tells the scheduler, or none does yet."""
        self.clock.advance(seconds)
        if not is_told:
            return
        wakeup = self.scheduler.next_wakeup()
        did = bool(self.scheduler.tick())
        assert did == (wakeup is not None and wakeup <= self.now)
        self.model.tick(self.now)
        # Nothing is late by more than a tick.
        wakeup = self.scheduler.next_wakeup()
        assert wakeup is None or wakeup > self.now
        assert self.scheduler.wait(timeout=0) == bool(self.model.claim(1, None))

    @seldom
    @rule(
        end=st.sampled_from(["close", "kill", "none"]),
        retention_seconds=st.none() | st.integers(0, 20),
    )
    def forget_and_reopen(self, end: str, retention_seconds: int | None) -> None:
        """Forget what is over, and go on in another process, or do one of the two.

        A killed process leaves its files, of which that takes a copy.
        """
        if retention_seconds is not None:
            self.forget(retention_seconds)
        if end == "none":
            return
        path = self.path
        if end == "kill":
            self.kills += 1
            path = copy_of(self.path, self.directory / f"queue-{self.kills}")
        self.queue.close()
        self.path = path
        self.open()

    def forget(self, seconds: int) -> None:
        with mock.patch.object(clock, "now", self.clock):
            report = self.queue.compact(retention_seconds=seconds)
        were = len(self.model.tasks), len(self.model.runs)
        self.model.forget(self.now - seconds)
        are = len(self.model.tasks), len(self.model.runs)
        forgotten = report.purged_tasks, report.purged_runs
        assert forgotten == (were[0] - are[0], were[1] - are[1])
