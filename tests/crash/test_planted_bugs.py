"""The enumerator finds bugs: each one of ``planted/`` is built into a copy of the core, and the
search that is named must meet it.

The copies have no assertions, so that it is the search that finds the bug: some bugs would end the
process before. The core itself has them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import places
from tests.support.crash import hunt, ledger
from tests.support.crash.planted_bugs import Bug, bugs, changed_copy

if TYPE_CHECKING:
    import pytest

SHORT = (
    "checksum_without_header",
    "no_directory_sync",
    "ring_bound_ignored",
    "rotation_second_sync_skipped",
    "sync_ends_one_early",
    "two_syncs_in_flight",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    everything = metafunc.config.getoption("--long")
    chosen = [bug for bug in bugs() if everything or bug.name in SHORT]
    if "bug" in metafunc.fixturenames:
        metafunc.parametrize("bug", chosen, ids=lambda bug: bug.name)
    if "search" in metafunc.fixturenames:
        searches = {
            search for bug in chosen for search in bug.found_by[: None if everything else 1]
        }
        metafunc.parametrize("search", sorted(searches))


def run_hunt(
    searches: list[str], core: Path | None = None, cache: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = places.environment()
    if core is not None:
        environment |= {"ACTIONQUEUE_TEST_CORE": str(core), "ACTIONQUEUE_TEST_CACHE": str(cache)}
        environment["ACTIONQUEUE_DEBUG"] = "0"
    command = [sys.executable, "-m", "tests.support.crash.hunt", *searches]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_patch_fits_and_says_what_it_breaks(tmp_path: Path) -> None:
    found = bugs()
    assert len(found) >= 10
    known = hunt.searches()
    for bug in found:
        assert bug.breaks
        assert known.keys() >= set(bug.found_by), bug.name
        changed_copy(bug, tmp_path / bug.name)


def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path, long_form: bool) -> None:
    core = changed_copy(bug, tmp_path)
    for search in bug.found_by[: None if long_form else 1]:
        done = run_hunt([search], core, tmp_path / "cache")
        assert done.returncode == hunt.FOUND, (
            f"{bug.name} was not found:\n{done.stdout}\n{done.stderr}"
        )
        assert "session:" in done.stdout or "image:" in done.stdout, done.stdout
        print(f"{bug.breaks}:\n{done.stdout}")
    ledger.record("planted bugs", 1, note="each found by the search that its patch names")


def test_the_core_itself_passes_the_same_searches(search: str) -> None:
    done = run_hunt([search])
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
