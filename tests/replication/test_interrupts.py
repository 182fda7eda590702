"""What a signal's handler raises ends waits for a store, and leaves readers where they were."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.replication import reading
from tests.replication.conftest import Site
from tests.replication.test_queue import new_task
from tests.support.stores import memory


class Interrupt(Exception):
    """What the handler raises."""


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEASE_SECONDS", 1000.0)  # so that no command waits for a lease


def interrupted(call: Callable[[], object]) -> None:
    """Have a signal come every tenth of a second until the call raises."""
    over = threading.Event()

    def handler(*_arguments: Any) -> None:
        raise Interrupt

    def send() -> None:
        if not over.wait(0.3):
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(Interrupt):
            call()
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGINT, before)


def submit_for_ever(queue: Any) -> None:
    while True:
        queue.submit(new_task(b"x" * 1000), "deferred")


def submit_batches_for_ever(queue: Any) -> None:
    while True:
        queue.submit_many([new_task(b"x" * 1000) for _ in range(100)], "deferred")


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("submit", [submit_for_ever, submit_batches_for_ever])
def test_a_segment_that_cannot_be_left(site: Site, submit: Callable[[Any], None]) -> None:
    queue = site.open("a", outbox_seconds=3600, segment_size=65536, compaction=None)
    site.cut(queue)
    interrupted(lambda: submit(queue))
    said = queue.sequence
    site.cut(queue, is_cut=False)
    queue.sync()
    assert site.log.next_sequence == said + 1


@pytest.mark.usefixtures("_patient")
def test_a_close_that_cannot_ship(site: Site) -> None:
    queue = site.open("a", outbox_seconds=3600)
    site.cut(queue)
    queue.submit(new_task(), "deferred")
    interrupted(queue.close)
    site.cut(queue, is_cut=False)
    queue.close()
    assert site.log.next_sequence == 2


def fails_once(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    calls = iter(range(10**6))

    def failing(*arguments: Any) -> Any:
        if next(calls) == at:
            raise Interrupt
        return call(*arguments)

    return failing


@pytest.mark.parametrize("name", ["records_of_group", "decode_event", "event_checksum"])
def test_a_stream_loses_and_repeats_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    queue = site.open("a")
    for _ in range(5):
        queue.submit_many([new_task(), new_task()])
    queue.close()
    stream = aq.follow(store=site.store(), timeout=0)
    monkeypatch.setattr(reading, name, fails_once(getattr(reading, name), 2))
    found = []
    with pytest.raises(Interrupt):
        found.extend(iter(lambda: next(stream).sequence, None))
    found = [stream.position.split("-")[0]]
    rest = [event.sequence for event in stream]
    assert rest == list(range(int(found[0]) + 1, 11))


def test_a_reader_goes_on_after_an_interrupt(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = site.open("a")
    reader = site.read()
    for _ in range(5):
        queue.submit(new_task())
    queue.close()
    monkeypatch.setattr(reading, "take_in", fails_once(reading.take_in, 2))
    with pytest.raises(Interrupt):
        reader.refresh()
    assert reader.sequence == 2
    assert reader.refresh() == 3
