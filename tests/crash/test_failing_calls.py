"""Every I/O call of every session fails in its turn, once and for good; then the process ends, or
the machine.

What is promised: the caller is told; a failed write or sync of records ends the log for good,
anything before that leaves it as it was and in use; nothing forbidden is done; and what was
acknowledged comes back. (What each failure means to the caller, call by call, is tested in
``tests/core/test_faults.py``.) That is the long form; the two modes that pad share the calls out
between them.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from tests.support.core.log_driver import CoreError, Log
from tests.support.core.memory_io import Call, Fault
from tests.support.crash import (
    ledger,
    sessions_snapshots,  # noqa: F401  (adds its sessions)
)
from tests.support.crash.disk_states import States
from tests.support.crash.enumerator import disk_of
from tests.support.crash.judge import BrokenPromise, Judge
from tests.support.crash.sessions import MODES, SCENARIOS, RecordedSession

if TYPE_CHECKING:
    import pytest

KINDS: dict[str, tuple[int, bool, bool]] = {
    "an error": (errno.EIO, False, True),
    "no space": (errno.ENOSPC, False, True),
    "errors for good": (errno.EIO, False, False),
    "no space for good": (errno.ENOSPC, False, False),
    "half a transfer, then an error": (errno.EIO, True, True),
    "half a transfer": (0, True, True),
    "an interruption": (errno.EINTR, False, True),
}
"""The errno value, whether half is done before it, and whether only one call fails."""
WITH_FAILURES = (
    "a failed ",
    "a sync beside ",
    "a full disk",
    "snapshots whose names were not synced",
)
TRANSFERS = ("read", "write")
"""The calls that can be done in half."""
OF_THE_CALLS = {"padded": slice(0, None, 2), "large sectors": slice(1, None, 2)}
"""Which calls fail in the long form: every one where nothing is padded; the two modes that pad
share them.
"""
NAMES = [name for name in SCENARIOS if not name.startswith(WITH_FAILURES)]


class FailingSession(RecordedSession):
    """A session in which one call fails, counted over all of its processes. It notes no moments."""

    def __init__(self, index: int, kind: str, **options: Any) -> None:
        super().__init__(**options)
        self.index = index
        self.kind = KINDS[kind]
        self.calls = 0
        self.operations: list[str] = []
        self.failed: Call | None = None

    def note(self, where: str, *, is_new_life: bool = False) -> None:
        pass

    def before_call(self, call: Call) -> None:
        if self.calls == self.index:
            error, short, once = self.kind
            self.failed = call
            self.process.fault = Fault(call.index, error, short, once)
        self.calls += 1
        self.operations.append(call.operation)
        self.append_during(call)

    def append_during(self, call: Call) -> None:
        try:
            super().append_during(call)
        except CoreError as error:
            if self.failed is None:  # else it is the other thread that is told
                raise AssertionError from error


@dataclass
class Outcome:
    session: FailingSession
    error: CoreError | None


def attempt(scenario: str, mode: str, index: int, kind: str) -> Outcome:
    found = SCENARIOS[scenario]
    session = FailingSession(index, kind, **{**found.options, **MODES[mode]})
    try:
        found.script(session)
    except CoreError as error:
        return Outcome(session, error)
    return Outcome(session, None)


def operations_of(scenario: str, mode: str) -> list[str]:
    session = attempt(scenario, mode, -1, "an error").session
    session.kill()
    return session.operations


def check_told(outcome: Outcome) -> None:
    session, error = outcome.session, outcome.error
    if error is None:
        return
    if error.status not in ("io_error", "no_space", "poisoned"):
        raise BrokenPromise(f"the caller is told {error}")
    log = session.log
    if log is None or not log.log:
        return
    if log.state == "poisoned":
        check_poisoned(log)
    elif session.kind[2]:
        session.process.fault = None
        session.commit(b"it goes on")


def check_poisoned(log: Log) -> None:
    """Nothing is taken any more, and nothing more becomes durable."""
    durable = log.durable_sequence
    for step in (lambda: log.append(b"more"), lambda: log.append(b"m" * 70_000), log.sync):
        try:
            step()
        except CoreError as error:
            if error.status == "poisoned" and log.durable_sequence == durable:
                continue
        raise BrokenPromise("a log that had failed went on")


def check_outcome(outcome: Outcome, judge: Judge, random: Random) -> None:
    session = outcome.session
    check_told(outcome)
    if session.process.mistakes:
        raise BrokenPromise(f"forbidden calls: {session.process.mistakes}")
    session.kill()
    alive = {path: bytes(file.content) for path, file in session.disk.files.items()}
    judge.check(disk_of(alive), session.account, session.account.acknowledged)
    for state in States.of(session.disk, session.padding).choose(2, random):
        judge.check(state.disk(), session.account, session.account.durable)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every session in every mode; in the short form in one mode each."""
    everything = metafunc.config.getoption("--long")
    pairs = [
        (scenario, mode)
        for number, scenario in enumerate(NAMES)
        for place, mode in enumerate(MODES)
        if everything or place == number % len(MODES)
    ]
    metafunc.parametrize(("scenario", "mode"), pairs)


def test_every_call_fails_in_its_turn(scenario: str, mode: str, long_form: bool) -> None:
    random = Random(f"{scenario} {mode}")
    judge = Judge(**{**SCENARIOS[scenario].options, **MODES[mode]})
    count, operations = 0, list(enumerate(operations_of(scenario, mode)))
    for kind, (_, is_half, _) in KINDS.items():
        calls = [index for index, operation in operations if operation in TRANSFERS or not is_half]
        for index in (
            calls[OF_THE_CALLS.get(mode, slice(None))] if long_form else random.sample(calls, 2)
        ):
            outcome = attempt(scenario, mode, index, kind)
            failed = outcome.session.failed
            # A run makes fewer calls where the preparing thread was not asked in time.
            if failed is None:
                outcome.session.kill()
                continue
            count += 1
            try:
                check_outcome(outcome, judge, random)
            except (BrokenPromise, AssertionError, CoreError) as broken:
                raise BrokenPromise(
                    f"{broken!r}\n  session: {scenario} ({mode}); {kind} at call {index}, "
                    f"{failed.operation} {failed.path}; it told {outcome.error}"
                ) from broken
    assert count > 0
    ledger.record(
        "ENOSPC, EIO, short transfers, EINTR on any call", count, note="once and for good"
    )
