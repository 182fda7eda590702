"""What is traced, and struck by strace: sessions of a careful user.

The user's own thread from the creation of the queue, through commands of both durabilities,
batches, rotations, closing and opening again; the same from what a kill left behind; the same where
the ring cannot be mapped; the same with snapshots and compactions; and the thread that prepares
segments.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import actionqueue as aq
from tests.support.crash.careful_user import CarefulUser
from tests.support.crash.children import Child, Line
from tests.support.crash.kernel import calls_in, traced
from tests.support.plans import Plan, Step, filling_plan
from tests.support.queues import SMALL, copy_of, in_memory

T = TypeVar("T")


class Scene(NamedTuple):
    """What is traced: the plan, what lies in the directory before it, and whose thread's calls
    count.
    """

    name: str
    plan: Plan
    left_behind: Path | None
    of_preparing_thread: bool = False
    compacts_every: int = 0
    refuses_mapping: bool = False
    """The system does not say where it puts the directory, so that its ring is not mapped."""

    def traced(self, *calls: str) -> tuple[str, ...]:
        """Return strace's options that choose these calls, and those that make the scene: it
        changes none that it does not trace.
        """
        own = ["fstatfs"] if self.refuses_mapping else []
        return ("-e", f"trace={','.join(dict.fromkeys((*calls, *own)))}")


NAMES = ("from nothing", "after a kill", "ring not mapped", "with compactions", "preparing thread")


@contextmanager
def scenes() -> Iterator[list[Scene]]:
    with in_memory() as made:
        first = filling_plan(1, 6, large=5)
        left = made / "left"

        def be_killed(line: Line) -> None:
            queue = aq.open(left, compaction=None, **SMALL)
            for step in first.steps:
                step._replace(durability="deferred").submit(queue)
            os.kill(os.getpid(), signal.SIGKILL)

        child = Child(be_killed)
        child.end()
        yield [
            Scene("from nothing", filling_plan(2, 16, large=15), None),
            Scene("after a kill", filling_plan(3, 4, first.ends[max(first.ends)], large=5), left),
            Scene("ring not mapped", filling_plan(5, 10, large=10), None, refuses_mapping=True),
            Scene("with compactions", filling_plan(6, 6, large=18), None, compacts_every=6),
            Scene("preparing thread", filling_plan(4, 1, large=20), None, of_preparing_thread=True),
        ]


class Outcome(NamedTuple):
    said: list[tuple[Any, ...]]
    was_killed: bool
    calls: list[tuple[str, str]]


def preparing_threads() -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc/self/task").iterdir()
        if int(entry.name) != os.getpid()
    ]


def play(
    scene: Scene,
    path: Path,
    log: Path,
    *options: str,
    prepared: Callable[[], None] = lambda: None,
    may_end_with: signal.Signals | None = None,
) -> Outcome:
    """Let a careful user live the scene in a child that is traced.

    What is at the path is replaced by what the scene begins with. `prepared` is called when that is
    there.
    """
    shutil.rmtree(path, ignore_errors=True)
    if scene.left_behind is not None:
        copy_of(scene.left_behind, path)
        prepared()

    def live(line: Line) -> None:
        line.say("thread", os.getpid())
        if not scene.of_preparing_thread:
            line.wait()
        user = (PatientUser if scene.of_preparing_thread else CarefulUser)(path, scene.plan, line)
        user.compacts_every = scene.compacts_every
        user.live()

    child = Child(live)
    (thread,) = child.expect("thread")
    said: list[tuple[Any, ...]] = []
    if scene.of_preparing_thread:
        while (message := child.next()) is not None and message[0] != "thread":
            said.append(message)
        assert message is not None
        thread = message[1]
    always = ("-e", "inject=fstatfs:error=ENOSYS") if scene.refuses_mapping else ()
    with traced(thread, log, *always, *options):
        child.go()
        said += child.end(may_end_with)
    return Outcome(said, child.was_killed, calls_in(log))


class PatientUser(CarefulUser):
    """Lets the preparing thread do its work before he goes on, and lets his parent trace it as soon
    as it runs.
    """

    is_traced = False

    def _submits(self, queue: aq.ActionQueue, step: Step) -> bool:
        submits = super()._submits(queue, step)
        for thread in preparing_threads():
            while is_awake(thread):
                os.sched_yield()
            if not self.is_traced:
                self.is_traced = True
                self.line.say("thread", thread)
                self.line.wait()
        return submits


def is_awake(thread: int) -> bool:
    """Whether a thread of this process does anything but wait for more work."""
    try:
        return (
            Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[0] != "S"
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


def numbered(calls: list[tuple[str, str]]) -> list[tuple[str, int]]:
    """Number the calls of each name from 1, as strace counts them."""
    seen: Counter[str] = Counter()
    strikes = []
    for call, _ in calls:
        seen[call] += 1
        strikes.append((call, seen[call]))
    return strikes


def some(things: Sequence[T], wanted: int, seed: int, *, all_of_them: bool) -> list[T]:
    """Return all of the things, or so many that are chosen at random."""
    if all_of_them or len(things) <= wanted:
        return list(things)
    return Random(seed).sample(things, wanted)


def worth_it(strikes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Leave out most of the calls that walk along a path, name by name: they are many, with nothing
    between them.
    """
    return [
        (call, number)
        for call, number in strikes
        if call not in ("openat", "close") or number % 4 == 0
    ]
