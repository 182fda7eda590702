"""What stores are made of, without an engine: marks of campaigns, what was heard, and threads."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

import pytest

from actionqueue.errors import AcknowledgedLostError, FencedError
from actionqueue.stores.attempts import Attempts
from actionqueue.stores.canary import Canary
from actionqueue.stores.heard import Heard
from actionqueue.stores.line import Line
from tests.support.stores.servers import wait_for


def _fail(attempts: Attempts[int], epoch: int | None) -> int:
    with pytest.raises(FencedError), attempts.resuming(epoch) as mark:
        raise FencedError("", 1)
    return mark


def test_a_campaign_that_failed_hands_its_mark_to_the_next_that_resumes_the_term() -> None:
    attempts = Attempts(count(1).__next__)
    first = _fail(attempts, 7)
    assert _fail(attempts, 7) == first
    with attempts.resuming(7) as again, attempts.resuming(7) as beside:
        assert (again, beside) == (first, first + 1)
    with attempts.resuming(7) as other:
        assert other == first + 2  # the one before succeeded, and this is another campaign


def test_marks_are_only_of_campaigns_that_resume_the_same_term() -> None:
    attempts = Attempts(count(1).__next__)
    assert len({_fail(attempts, epoch) for epoch in (None, None, 7, 8)}) == 4


def test_what_was_heard_of_an_older_term_says_nothing_of_the_newest() -> None:
    heard = Heard()
    heard.begin(1, 10.0)
    heard.hear(1, 12.0)
    heard.hear(1, 11.0)  # a thread that was slower
    assert heard.until(1, 3.0) == 15.0
    heard.begin(2, 13.0)
    heard.hear(1, 14.0)
    assert (heard.until(1, 3.0), heard.until(2, 3.0)) == (0.0, 16.0)
    assert not heard.end(1)
    assert heard.end(2)
    heard.hear(2, 15.0)
    assert (heard.until(2, 3.0), heard.until(0, 3.0)) == (0.0, 0.0)


def test_what_was_appended_after_the_engine_was_asked_is_not_missed() -> None:
    canary = Canary()
    canary.know(5)
    known = canary.known
    canary.know(6)
    canary.compare(5, known)
    with pytest.raises(AcknowledgedLostError, match="6 to 6"):
        canary.compare(5, canary.known)


def test_an_interrupt_of_the_first_call_leaves_a_line_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two would run two calls of one connection at once, and mix up what the server says."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        start(thread)
        raise KeyboardInterrupt

    line = Line("a line that was interrupted")
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        line.run(int)
    used: set[Any] = {line.run(threading.get_ident) for _ in range(3)}
    assert len(used) == 1
    wait_for(lambda: len(_threads_of("a line that was interrupted")) == 1, "one is left")
    line.close(int)


def _threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]
