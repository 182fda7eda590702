"""Runs searches for broken promises by name, in a process of its own: ``python -m
tests.support.crash.hunt NAME ...``.

Prints the first broken promise, with the image that shows it, and exits with 3; with 0 where there
is none. Without names it runs them all. The core is the one that the door builds:
``ACTIONQUEUE_TEST_CORE`` names another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tests.support.core.log_images import newest
from tests.support.crash import (
    damage,
    sessions_snapshots,  # noqa: F401  (adds its sessions)
    sessions_threads,  # noqa: F401  (adds its sessions)
)
from tests.support.crash.enumerator import HUNT, Enumeration
from tests.support.crash.judge import BrokenPromise
from tests.support.crash.sessions import MODES, SCENARIOS

FOUND = 3


def flips() -> int:
    return sum(
        damage.flips(log, damage.used_places(log)[::3])
        for log in (make() for make in damage.LOGS.values())
    )


def cuts() -> int:
    logs = [damage.LOGS[name]() for name in ("immediate", "deferred")]
    count = sum(damage.cuts(log, newest(log.image), step=9) for log in logs)
    return count + damage.cuts(damage.mixed_log(), "ring", step=9)


def misplaced() -> int:
    count = 0
    for make in damage.LOGS.values():
        log = make()
        for what, image in damage.misplaced(log):
            damage.check_misplaced(log, image, what)
            count += 1
    return count


def files() -> int:
    stale = damage.stale_files(SCENARIOS["unclean ends"].run("mapped"), step=7)
    return damage.missing_files(damage.mixed_log()) + stale


def searches() -> dict[str, Callable[[], int]]:
    found: dict[str, Callable[[], int]] = {
        "flipped bits": flips,
        "cuts": cuts,
        "misplaced records": misplaced,
        "missing and stale files": files,
        "snapshot damage": lambda: damage.flipped_snapshots(damage.compacted_log(), every=3_001),
    }
    for name, scenario in SCENARIOS.items():
        for mode in MODES:
            found[f"{name} / {mode}"] = lambda scenario=scenario, mode=mode: (
                Enumeration(scenario, mode, HUNT).run().images
            )  # type: ignore[misc]
    return found


def main(names: list[str]) -> int:
    known = searches()
    for name in names or known:
        try:
            print(f"{name}: {known[name]()} images, all as promised", flush=True)
        except BrokenPromise as broken:
            print(f"{name}: {broken}")
            return FOUND
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # A core with a planted bug may have left a lock taken, for which a log's finalizer would wait.
    os._exit(code)
