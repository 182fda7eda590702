"""What stores are made of, without an engine: marks of campaigns, what was heard, and threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from actionqueue.stores.line import Line
from tests.support.stores.servers import wait_for


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
