"""Every I/O call fails in its turn: what the caller is told, what the log still does, and what
comes back.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from tests.support.core.crash_images import Session, check_recovered, numbered
from tests.support.core.door import lib
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, check, entry, read_stream
from tests.support.core.memory_io import (
    RETRIED,
    Call,
    Disk,
    Fault,
    Loss,
    MemoryIo,
    NoLoss,
    RandomLoss,
    home,
)

IGNORED = frozenset({"close", "truncate", "unlock", "writeback", "unmap", "map"})
"""Calls whose failure changes nothing, or costs speed only."""


@dataclass
class Outcome:
    """Where a run stopped, and why."""

    session: Session
    step: str = ""
    error: CoreError | None = None
    failed: Call | None = None


class Script:
    """One process that creates, appends, syncs, rotates, appends a record larger than the ring and
    a batch, and closes.
    """

    steps: tuple[tuple[str, tuple[bytes, ...]], ...] = (
        ("open", ()),
        ("commit", (numbered(1),)),
        ("append", (numbered(2),)),
        ("commit", (numbered(3), numbered(4), numbered(5))),
        ("append", (numbered(6, 30_000),)),
        ("append", (numbered(7, 30_000),)),
        ("append", (numbered(8),)),
        ("sync", ()),
        ("append", (numbered(9, 70_000),)),
        ("commit", (numbered(10), numbered(11, 100))),
        ("close", ()),
    )

    def __init__(
        self, disk: Disk, fault: Fault | None, *, maps: bool = True, **options: Any
    ) -> None:
        self.session = Session(disk, maps=maps, **options)
        self.io = MemoryIo(disk, fault=fault, maps=maps)

    def run(self) -> Outcome:
        """Run up to the first step that fails; one that may be tried again is tried again."""
        for step, entries in self.steps:
            try:
                self.step(step, entries)
            except CoreError as error:
                outcome = Outcome(self.session, step, error, self.io.failed[0])
                is_refused = error.status in ("no_space", "io_error") and step not in (
                    "open",
                    "close",
                )
                if is_refused and self.io.fault is not None and self.io.fault.once:
                    self.step(step, entries)
                    self.finish(after=step)
                return outcome
        return Outcome(self.session, failed=self.io.failed[0] if self.io.failed else None)

    def step(self, step: str, entries: tuple[bytes, ...]) -> None:
        if step == "open":
            self.session.open(self.io)
        else:
            getattr(self.session, step)(*entries)

    def finish(self, after: str) -> None:
        """Show that the log still works: as ever, up to a clean end."""
        self.session.commit(numbered(99), numbered(100))
        assert self.session.log is not None
        assert self.session.log.state == "ok", after


def calls_of(**options: Any) -> list[Call]:
    script = Script(home(), None, **options)
    outcome = script.run()
    assert outcome.error is None
    script.session.check_io()
    assert not script.io.handles
    return script.io.calls


def expected(call: Call, step: str, fault: Fault) -> str:
    """What a failed call means to the caller: "ok", "refused" (nothing changed), "poisoned" or
    "failed" (an open or close).
    """
    if fault.error == 0 or (
        fault.error == errno.EINTR and fault.once and call.operation in RETRIED
    ):
        return "ok"
    if call.operation in IGNORED or (call.operation, call.path) == ("write", f"{DIRECTORY}/LOCK"):
        return "ok"
    if call.operation in ("check_same", "check_named") and call.path.endswith((".log", "/ring")):
        return "ok"  # what keeps a path from being looked at says nothing about the file
    if call.operation == "unlink" and call.path.endswith(("/snapshot.tmp", "/copy.tmp")):
        return "ok"
    if step in ("open", "close"):
        return "failed"
    if call.path.endswith("/ring"):
        return "ok"  # the bound that the ring notes is only lower then
    is_live = call.path.endswith(".log") and call.operation in ("write", "sync", "size")
    return "poisoned" if is_live or call.operation == "sync_directory" else "refused"


def check_told(outcome: Outcome, fault: Fault, step: str) -> None:
    """The caller was told what the failure means."""
    assert outcome.failed is not None
    meaning = expected(outcome.failed, step, fault)
    error = outcome.error
    if (
        step == "open"
        and error is None
        and fault.error == errno.ENOSPC
        and outcome.failed.path.endswith("/ring.tmp")
    ):
        return  # the old ring has given up its room
    if meaning == "ok":
        assert error is None or not fault.once, error
        return
    assert error is not None
    assert outcome.step == step
    assert error.fault.system_error == fault.error
    assert error.fault.operation
    if meaning == "poisoned":
        assert error.status == "poisoned"
        assert error.fault.status == "io_error"  # the call that met the failure tells it
        check_poisoned(outcome.session)
    elif meaning == "refused" or step == "open":
        assert error.status == (
            "no_space"
            if fault.error == errno.ENOSPC and error.fault.status == "no_space"
            else "io_error"
        )
    if meaning == "refused":
        assert outcome.session.log is not None
        assert outcome.session.log.state == "ok"


def check_poisoned(session: Session) -> None:
    """A poisoned log refuses everything, and writes nothing more."""
    log = session.log
    assert log is not None
    before, durable = session.disk.image(DIRECTORY), log.durable_sequence
    for act in (
        lambda: log.append(b"more"),
        lambda: log.append(b"m" * 70_000),
        log.sync,
        lambda: log.append(b"a", b"b"),
    ):
        with pytest.raises(CoreError) as caught:
            act()
        assert caught.value.status == "poisoned"
        assert caught.value.fault.status == "poisoned"
        assert caught.value.fault.system_error
    assert log.state == "poisoned"
    assert log.durable_sequence == durable
    assert {
        name: data for name, data in session.disk.image(DIRECTORY).items() if name != "ring"
    } == {name: data for name, data in before.items() if name != "ring"}
    log.sync(durable)  # what is durable stays so


def check_comes_back(session: Session, random: Random) -> None:
    """After the process has ended: everything acknowledged; after a power loss: everything
    durable.
    """
    disk, account = session.disk, session.account
    for loss in (Loss(), NoLoss(), RandomLoss(random)):
        lost = disk.after_power_loss(loss)
        with Log(MemoryIo(lost)) as log:
            check_recovered(log.recovered, account, account.durable)
    survivor = Session(disk, account)
    survivor.open()
    # What was found is durable now, and so is what comes next.
    check_power_loss(survivor)
    survivor.commit(b"after the failure")
    check_power_loss(survivor)
    survivor.close()
    survivor.check_io()
    assert survivor.io is not None
    assert not survivor.io.handles


def check_power_loss(session: Session) -> None:
    for loss in (Loss(), NoLoss()):
        lost = session.disk.after_power_loss(loss)
        with Log(MemoryIo(lost)) as log:
            check_recovered(log.recovered, session.account, session.account.durable)


FAULTS = {
    "no space": (errno.ENOSPC, False, True),
    "error": (errno.EIO, False, True),
    "errors for good": (errno.EIO, False, False),
    "no space for good": (errno.ENOSPC, False, False),
    "half a write, then an error": (errno.EIO, True, True),
    "half a transfer": (0, True, True),
    "interrupted": (errno.EINTR, False, True),
    "interrupted for good": (errno.EINTR, False, False),
}
MODES: dict[str, dict[str, Any]] = {
    "mapped": {},
    "not mapped": {"maps": False},
    "padded": {"sector_size": 512},
}


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("mapped", kind) for kind in FAULTS]
    + [(mode, kind) for mode in ("not mapped", "padded") for kind in ("error", "half a transfer")],
)
def test_every_call_fails_in_its_turn(mode: str, kind: str) -> None:
    error, short, once = FAULTS[kind]
    options = MODES[mode]
    calls = calls_of(**options)
    steps = steps_of_calls(**options)
    for call in calls:
        fault = Fault(call.index, error, short, once)
        script = Script(home(), fault, **options)
        outcome = script.run()
        assert outcome.failed == call
        check_told(outcome, fault, steps[call.index])
        script.session.check_io()
        script.session.kill()
        check_comes_back(script.session, Random(call.index))


def steps_of_calls(**options: Any) -> dict[int, str]:
    """Return for every call the step that makes it."""
    script, steps = Script(home(), None, **options), {}
    for step, entries in script.steps:
        before = len(script.io.calls)
        script.step(step, entries)
        steps.update(dict.fromkeys(range(before, len(script.io.calls)), step))
    return steps


def test_nothing_stays_open() -> None:
    """Whatever fails, closing lets go of every file and mapping."""
    for call in calls_of():
        script = Script(home(), Fault(call.index, errno.EIO))
        script.run()
        log = script.session.log
        if log is not None and log.log:
            try:
                log.close()
            except CoreError:
                assert script.io.failed
        assert not script.io.handles, (call, script.io.handles)
        assert not script.io.mappings, call
        assert not script.io.mistakes, (call, script.io.mistakes)


def test_every_call_of_a_reopening_fails_in_its_turn() -> None:
    """A recovery that fails anywhere leaves a state that the next one recovers as the first would
    have.
    """
    for image in unclean_disks():
        reference = image.copy()
        with Log(MemoryIo(reference)) as log:
            expected_events = log.recovered
        calls = opening_calls(image)
        for index in range(calls):
            for fault in (
                Fault(index, errno.EIO),
                Fault(index, errno.ENOSPC, once=False),
                Fault(index, errno.EIO, short=True),
            ):
                disk = image.copy()
                io = MemoryIo(disk, fault=fault)
                try:
                    log = Log(io)
                except CoreError as error:
                    assert error.status in ("io_error", "no_space"), error
                    assert not io.handles
                    io.kill()
                else:
                    log.kill()
                assert not io.mistakes
                for loss in (Loss(), NoLoss()):
                    with Log(MemoryIo(disk.after_power_loss(loss))) as log:
                        assert log.recovered == expected_events, io.failed
                with Log(MemoryIo(disk)) as log:
                    assert log.recovered == expected_events, io.failed


def opening_calls(image: Disk) -> int:
    io = MemoryIo(image.copy())
    Log(io).kill()
    return len(io.calls)


def unclean_disks() -> list[Disk]:
    """Disks of logs that were not closed: with events in the ring, a torn tail, an unfinished
    batch, and of one just created.
    """
    disks = []
    session = Session(home())
    session.open()
    disks.append(session.disk.copy())
    session.commit(numbered(1))
    session.append(numbered(2))
    session.append(numbered(3), numbered(4))
    disks.append(session.disk.copy())
    torn = session.disk.copy()
    ring = torn.files[f"{DIRECTORY}/ring"]
    end = 65536 + 8192 + 4 * 64
    for data in (ring.content, ring.stable):
        data[end - 8 : end + 40] = b"\xa5" * 48
    disks.append(torn)
    session.close()
    disks.append(session.disk.copy())
    return disks


def test_failures_of_a_long_run() -> None:
    """Failures in later sessions too: after a clean and an unclean end."""
    random = Random(4)
    disk = home()
    session = Session(disk)
    session.open()
    session.commit(numbered(1))
    session.close()
    for _ in range(60):
        io = MemoryIo(
            disk,
            fault=Fault(
                random.randrange(60),
                random.choice((errno.EIO, errno.ENOSPC)),
                random.random() < 0.3,
            ),
            seed=random.randrange(99),
        )
        try:
            session.open(io)
            session.commit(numbered(random.randrange(100), random.choice((8, 500, 30_000))))
            session.append(numbered(5))
            session.commit(numbered(5), numbered(6))
            session.close()
        except CoreError as error:
            assert io.failed, error
        assert not io.mistakes
        session.kill()


def test_a_failed_marker_sync_is_repaired_by_the_next_open() -> None:
    """The marker is in the page cache only, and looks written: the next open must not trust it."""
    calls = calls_of()
    last_sync = max(call.index for call in calls if call.operation == "sync")
    disk = home()
    outcome = Script(disk, Fault(last_sync, errno.EIO)).run()
    assert outcome.step == "close"
    assert read_stream(MemoryIo(disk)).is_clean
    session = Session(disk, outcome.session.account)
    session.open()
    assert session.log is not None
    assert session.log.report.is_clean
    session.commit(b"next")
    check_power_loss(session)
    session.close()


def test_a_refused_sequence_changes_nothing() -> None:
    disk = home()
    session = Session(disk)
    session.open()
    session.commit(numbered(1))
    log = session.log
    assert log is not None
    before = disk.image(DIRECTORY)
    for sequence in (0, 1, 3, 2**64 - 1):
        with pytest.raises(CoreError) as caught:
            append_at(log, sequence)
        assert caught.value.status == "refused_sequence"
    assert disk.image(DIRECTORY) == before
    assert log.last_sequence == 1
    session.commit(numbered(2))
    session.close()


def append_at(log: Log, sequence: int) -> None:
    check(
        lib.aqw_log_append(log.log, log.batch.fill(sequence, [entry(b"x")]), log.fault), log.fault
    )
