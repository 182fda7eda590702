"""Every crash of every session, on a simulated disk: see :mod:`tests.support.crash.enumerator`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.crash import (
    ledger,
    sessions_snapshots,  # noqa: F401  (adds its sessions)
    sessions_threads,  # noqa: F401  (adds its sessions)
)
from tests.support.crash.enumerator import LONG, SHORT, Enumeration
from tests.support.crash.sessions import MODES, SCENARIOS

if TYPE_CHECKING:
    import pytest

MODE_NAMES = list(MODES)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every session in every mode; in the short form each in one mode, half of them in the usual
    one.
    """
    everything = metafunc.config.getoption("--long")
    pairs = [
        (scenario, mode)
        for number, scenario in enumerate(SCENARIOS)
        for mode in MODES
        if everything or mode == (MODE_NAMES[1 + number // 2 % 3] if number % 2 else "mapped")
    ]
    metafunc.parametrize(("scenario", "mode"), pairs)


def test_every_crash_leaves_what_was_promised(scenario: str, mode: str, long_form: bool) -> None:
    tally = Enumeration(SCENARIOS[scenario], mode, LONG if long_form else SHORT).run()
    assert tally.images > 10
    assert tally.name_changes_lost == tally.name_changes
    ledger.record(
        "power loss and kills: disk images",
        tally.images,
        note="different images, each opened and judged",
    )
    ledger.record("power loss and kills: promises held against an image", tally.checks)
    ledger.record(
        "power loss and kills: moments with every state",
        tally.exhausted,
        note="every subset of what was pending, torn sectors apart; a sample at the others",
    )
    ledger.record("directory entries lost: images", tally.names_lost)
    ledger.record(
        "directory entries lost: metadata operations",
        len(tally.name_changes_lost),
        note="each one in turn",
    )
    ledger.record(
        "recovery cut short", tally.recoveries, note="recoveries of which every crash was tried"
    )
