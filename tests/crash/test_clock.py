"""A clock that stands wrong, jumps back or runs years ahead changes nothing about order and
recovery.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import actionqueue as aq
from tests.support.crash import ledger
from tests.support.queues import SMALL, copy_of, replayed, state_of, task_create

if TYPE_CHECKING:
    import pytest

TIMES = (0.0, -1e9, 1.0, 1e9, 1.7e9, 4e9, 2.0**40, 2.0**62)
"""Seconds since 1970: before it, at it, about now, years ahead, absurd."""


def test_order_and_recovery_do_not_depend_on_the_clock(
    directory: Path, monkeypatch: pytest.MonkeyPatch, long_form: bool
) -> None:
    random = Random(1)
    monkeypatch.setattr(time, "time", lambda: random.choice(TIMES))
    tried = 200 if long_form else 20
    path = directory / "queue"
    expected = 0
    for number in range(tried):
        queue = aq.open(path, **SMALL)
        assert queue.sequence == expected
        for _ in range(random.randrange(5)):
            expected += 1
            assert (
                queue.submit(
                    aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x" * 20_000), aq.now())
                ).sequence
                == expected
            )
        if random.random() < 0.5:
            expected += 1
            queue.submit(task_create(), "deferred")
            killed = copy_of(path, directory / f"killed {number}")
            state = state_of(queue)
            queue.close()
            path = killed
        else:
            state = state_of(queue)
            queue.close()
        assert replayed(path).to_json() == state
    ledger.record("clock backwards, or years ahead", tried)


def test_now_is_a_time_that_commands_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in TIMES:
        monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
        assert aq.EnginePauseCommand(None, aq.now()).timestamp == max(int(seconds), 0)
