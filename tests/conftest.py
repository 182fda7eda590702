"""The long forms of the tests, and those that need more of the system than Python and a C compiler
(:mod:`tests.support.system_needs`), or apply on some platforms only
(:mod:`tests.support.platform_needs`).

``pytest --long`` runs a test's long form where it has one: such a test takes the fixture
:func:`long_form`. The marker ``faults`` is set on every test that takes it, on every test below
``tests/crash``, and on those elsewhere that prove a part of the fault model
(:mod:`tests.support.crash.ledger`). ``make test-faults`` runs ``pytest --long -m faults`` and
prints what the tests noted with :func:`ledger.record`, and which of them failed.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import actionqueue  # noqa: F401 -- native modules take names from it, and tests import some of them first
from tests.support import platform_needs, system_needs
from tests.support.crash import ledger
from tests.support.queues import in_memory

CRASH = Path(__file__).parent / "crash"
LONG_TIMEOUT_S = 7200
LONGEST = (
    "tests/crash/test_strace.py",
    "tests/crash/test_disk.py",
    "tests/crash/test_crash_images.py",
    "tests/crash/test_damage.py",
)
"""Long forms that take minutes each, in the order in which they are begun."""

# Where users have groups of their own the mask is 002, and directories that tests make would be
# open to the group.
os.umask(0o022)

# On Windows, what goes through a pipe is in the system's old encoding by default. Tests of that ask
# for it; all others speak UTF-8 with the programs that they start, as on other systems.
if os.name == "nt":
    os.environ.setdefault("PYTHONUTF8", "1")

# What a shell starts in the background ignores SIGINT, and what nohup starts SIGHUP; so would the
# programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No test judges how long anything takes: machines differ, and are shared.
settings.register_profile("actionqueue", deadline=None)
settings.load_profile("actionqueue")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="run the long forms of the tests that have one"
    )
    parser.addoption(
        "--system",
        action="store_true",
        help="run the tests that are marked as the system's, and no others",
    )


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if platform_needs.ignores(collection_path) else None


def pytest_configure(config: pytest.Config) -> None:
    # Tests fork while threads run, their own or the runner's. CPython 3.12 and later warn of that,
    # and from 3.15 on the parent's call raises it where warnings are errors. The library itself
    # never forks.
    config.addinivalue_line("filterwarnings", "ignore:.*use of fork:DeprecationWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_long = config.getoption("--long")
    for item in items:
        if proves_a_fault(item):
            item.add_marker("faults")
            if is_long:
                item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))
    if is_long:
        items.sort(key=lambda item: place_of(item.nodeid))
    platform_needs.choose(config, items)
    system_needs.choose(config, items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    system_needs.check(item)
    # Hypothesis leaves a function for the collector to call, by which it judges deadlines. What a
    # signal's handler raises while that runs reaches no test.
    gc.callbacks[:] = [
        callback
        for callback in gc.callbacks
        if not getattr(callback, "__module__", "").startswith("hypothesis.")
    ]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    # The workers of a run in parallel choose; the process that prints asks one of them.
    for line in left_out() or getattr(config, "left_out", []):
        terminalreporter.write_line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Keep what a worker left out: all leave out the same."""
    node.config.left_out = getattr(node, "workeroutput", {}).get("left_out", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = left_out()


def left_out() -> list[str]:
    """Return the lines that say which tests were not run, and why."""
    return [*platform_needs.summary(), *system_needs.summary()]


def place_of(test: str) -> int:
    """The longest first, so that in the end no worker is left alone with one."""
    return next(
        (place for place, beginning in enumerate(LONGEST) if test.startswith(beginning)),
        len(LONGEST),
    )


def proves_a_fault(item: pytest.Item) -> bool:
    return (
        "long_form" in getattr(item, "fixturenames", ())
        or CRASH in item.path.parents
        or ledger.is_noted(item.nodeid)
    )


def pytest_runtest_call() -> None:
    ledger.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("faults") is not None:
        if report.failed:
            ledger.record_failure(item.nodeid)
        elif report.when == "call" and report.passed:
            ledger.record_pass(item.nodeid)
    return report


@pytest.fixture(scope="session")
def long_form(pytestconfig: pytest.Config) -> bool:
    """Whether this is the long run."""
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that costs no disk syncs."""
    with in_memory() as made:
        yield made
