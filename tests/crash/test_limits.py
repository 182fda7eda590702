"""A process at its limits: file size (real short writes, at every byte), descriptors, locked
memory, address space.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import OpenIOError
from tests.support.crash import ledger
from tests.support.crash.careful_user import CarefulUser, check_kept, failures, last_acknowledged
from tests.support.crash.children import Child, Line, run
from tests.support.crash.scenes import some
from tests.support.plans import Plan, Step, filling_plan
from tests.support.queues import in_memory, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NOBODY = 65534


def limit(which: int, value: int) -> None:
    """Lower a limit of this process, which may raise it again."""
    resource.setrlimit(which, (value, resource.getrlimit(which)[1]))


class Limited(CarefulUser):
    """Comes under a limit before one of his steps."""

    def __init__(
        self, *arguments: Any, at: int, come_under: Callable[[aq.ActionQueue], None]
    ) -> None:
        super().__init__(*arguments)
        self.at, self.come_under = self.plan.steps[at], come_under

    def _submits(self, queue: aq.ActionQueue, step: Step) -> bool:
        if step is self.at:
            self.come_under(queue)
        return super()._submits(queue, step)


# --- File size ------------------------------------------------------------------------------------


def plan_of_small_steps() -> Plan:
    return filling_plan(3, 12, large=2, size=3000)


def meets_file_size(
    path: Path, plan: Plan, at: int, more: int, *, is_signalled: bool
) -> list[tuple[Any, ...]]:
    """Let files grow by so many bytes only, from one step on. A signal ends the user, unless
    ignored as in Python.
    """

    def work(line: Line) -> None:
        if is_signalled:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        Limited(
            path,
            plan,
            line,
            at=at,
            come_under=lambda queue: come_under(queue.stats()["segment_used"] + more),
        ).live()

    def come_under(size: int) -> None:
        limit(resource.RLIMIT_FSIZE, size)

    child = Child(work)
    said = child.end(may_end_with=signal.SIGXFSZ if is_signalled else None)
    for what, name, number, _ in failures(said):
        assert (what == "open") == (name == "OpenIOError")
        assert number == errno.EFBIG
    check_kept(path, plan, last_acknowledged(said))
    return said


@pytest.mark.parametrize("is_signalled", [False, True])
def test_writes_cut_short_at_every_byte(is_signalled: bool, long_form: bool) -> None:
    plan = plan_of_small_steps()
    tried = struck = 0
    with in_memory() as made:
        for at in some(range(len(plan.steps)), 3, seed=1, all_of_them=long_form):
            for more in some(
                [*range(-8, 400, 1 if at == 4 else 16), 1000, 3000, 6000],
                5,
                seed=at,
                all_of_them=long_form,
            ):
                path = made / f"queue-{at}-{more}"
                said = meets_file_size(path, plan, at, more, is_signalled=is_signalled)
                tried += 1
                struck += bool(failures(said)) or ("finished",) not in said
    assert struck > tried // 2
    ledger.record(
        "ENOSPC / EIO / short write / EINTR on any call",
        struck,
        note=f"short writes at a file size limit, {is_signalled=}",
    )


# --- Descriptors ----------------------------------------------------------------------------------


def test_every_number_of_free_descriptors() -> None:
    plan = filling_plan(5, 6, large=12)

    def work(line: Line) -> None:
        with in_memory() as made:
            for free in range(20):  # the preparing thread has one for a moment
                for at in (None, 3):
                    line.say(*one_number(made / f"queue-{free}-{at}", plan, free, at))

    outcomes = run(work)
    assert ("open", errno.EMFILE) in outcomes
    assert ("submit", errno.EMFILE) in outcomes
    assert outcomes[-2:] == [("finished", 0), ("finished", 0)]
    ledger.record(
        "ENOSPC / EIO / short write / EINTR on any call",
        len(outcomes),
        note="numbers of free descriptors",
    )


def limit_that_leaves(free: int) -> int:
    """Return the limit below which so many numbers are free, some of them perhaps between others
    that the tests' own process holds.
    """
    taken = [os.dup(0) for _ in range(free + 1)]
    for number in taken:
        os.close(number)
    return taken[-1]


def test_free_numbers_are_counted_between_used_ones() -> None:
    held = fcntl.fcntl(0, fcntl.F_DUPFD, limit_that_leaves(2))
    try:
        for free in range(6):
            numbers = range(limit_that_leaves(free))
            assert sum(not is_open(number) for number in numbers) == free
    finally:
        os.close(held)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def one_number(path: Path, plan: Plan, free: int, at: int | None) -> tuple[str, int]:
    """Let a user live with few descriptors, from the beginning or from a step on. Returns what
    failed first.
    """

    def come_under(_queue: aq.ActionQueue | None = None) -> None:
        limit(resource.RLIMIT_NOFILE, limit_that_leaves(free))

    def live(line: Line) -> None:
        if at is None:
            come_under()
        Limited(
            path,
            plan,
            line,
            at=at or 0,
            come_under=come_under if at is not None else lambda _: None,
        ).live()

    said = run(live)
    for what, name, number, _ in failures(said):
        # The last one may go to the next segment; then its directory cannot be synced, which
        # poisons.
        assert name in (("OpenIOError",) if what == "open" else ("LogSpaceError", "LogWriteError"))
        assert number == errno.EMFILE
    check_kept(path, plan, last_acknowledged(said))
    what, _, number, _ = failures(said)[0] if failures(said) else ("finished", "", 0, "")
    return what, number


# --- Memory ---------------------------------------------------------------------------------------


@pytest.mark.system("root")
def test_without_the_right_to_lock_memory() -> None:
    """The ring's pages are then not locked, and that is all."""

    def work(line: Line) -> None:
        with in_memory() as made:
            os.chown(made, NOBODY, NOBODY)
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with aq.open(made / "queue") as queue:
                locked = [
                    text
                    for text in Path("/proc/self/status").read_text().splitlines()
                    if text.startswith("VmLck")
                ]
                queue.submit(task_create())
                line.say(queue.stats()["is_ring_mapped"], locked[0].split()[1])
            with aq.open(made / "queue") as queue:
                line.say(queue.sequence)

    assert run(work) == [(True, "0"), (1,)]
    ledger.record("memory exhaustion", 1, note="no memory may be locked")


def test_every_amount_of_address_space(long_form: bool) -> None:
    """Opening with little room for mappings fails with an error that says so, or works, with the
    ring mapped or not.
    """
    plan = filling_plan(6, 6, large=4)

    def one_amount(path: Path, pages: int) -> str:
        def live(line: Line) -> None:
            used = int(Path("/proc/self/statm").read_text().split()[0])
            limit(resource.RLIMIT_AS, (used + pages) * resource.getpagesize())
            try:
                queue = aq.open(path, segment_size=65536, ring_size=2**20, compaction=None)
            except OpenIOError as error:
                assert error.errno == errno.ENOMEM
                line.say("refused")
                return
            except MemoryError:
                line.say("no memory")
                return
            line.say("mapped" if queue.stats()["is_ring_mapped"] else "not mapped")
            try:
                for step in plan.steps:
                    line.say("acknowledged", step.submit(queue), step.durability)
            except MemoryError:
                pass

        said = run(live)
        check_kept(path, plan, last_acknowledged(said))
        return str(said[0][0])

    with in_memory() as made:
        amounts = range(0, 1200, 20 if long_form else 150)
        outcomes = [one_amount(made / f"queue-{pages}", pages) for pages in amounts]
    assert outcomes[0] != "mapped"
    assert outcomes[-1] == "mapped"
    notes = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
    ledger.record("memory exhaustion", len(outcomes), note=f"limits of address space: {notes}")
