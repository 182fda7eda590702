"""The lanes that tests compare: one authority over the slow model and over the native projection,
and the queue itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import actionqueue as aq
from _wal_native.events import encode_event
from _wal_native.log import open_log
from actionqueue import DurabilityPolicy, Event, MutationCommand, MutationOutcome
from actionqueue.authority import MutationProjection, StorageMutationAuthority
from actionqueue.json.projection import projection_to_json
from actionqueue.projection import Projection
from tests.support.model import Model


class ListWriter:
    """A log in memory. Like the real one, it encodes each event first, and so refuses what is too
    large.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        encode_event(event)
        self.events.append(event)

    def flush(self) -> None:
        pass


class Lane:
    """A way of submitting commands, and the projection that it leads to."""

    def __init__(
        self,
        submit: Callable[[MutationCommand], MutationOutcome],
        projection: Any,
        to_json: Callable[[], dict[str, Any]],
    ) -> None:
        self.submit = submit
        self.projection = projection
        self.to_json = to_json


def lane_over(projection: MutationProjection, to_json: Callable[[Any], dict[str, Any]]) -> Lane:
    authority = StorageMutationAuthority(ListWriter(), projection)

    def submit(command: MutationCommand) -> MutationOutcome:
        return authority.submit_command(command, DurabilityPolicy.DEFERRED)

    return Lane(submit, projection, lambda: to_json(projection))


def lane_over_model() -> Lane:
    return lane_over(Model(), Model.to_json)


def lane_over_native_projection() -> Lane:
    return lane_over(Projection(), projection_to_json)


@contextmanager
def lane_over_native_log(directory: Path) -> Iterator[Lane]:
    """The strict authority over the queue's own log and projection."""
    sizes = {"segment_size": 65536, "ring_size": 65536, "sector_size": 0}
    projection = Projection()
    log, _report = open_log(
        str(directory), projection, may_create=True, now=1, holder="test", **sizes
    )
    authority = StorageMutationAuthority(log, projection)

    def submit(command: MutationCommand) -> MutationOutcome:
        return authority.submit_command(command, DurabilityPolicy.DEFERRED)

    yield Lane(submit, projection, lambda: projection_to_json(projection))
    log.close()


@contextmanager
def lane_over_queue(directory: Path) -> Iterator[Lane]:
    with aq.open(directory, segment_size=65536, ring_size=65536, durability="deferred") as queue:
        yield Lane(queue.submit, queue.projection, lambda: projection_to_json(queue.projection))


LANES: dict[str, Callable[[], Lane]] = {
    "model": lane_over_model,
    "native": lane_over_native_projection,
}
"""Every lane that must behave the same. A further one is added here, or below where it needs a
directory.
"""

LANES_ON_DISK: dict[str, Callable[[Path], AbstractContextManager[Lane]]] = {
    "log": lane_over_native_log,
    "queue": lane_over_queue,
}
