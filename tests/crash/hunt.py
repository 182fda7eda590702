"""Runs searches for broken promises by name, in a process of its own: ``python hunt.py "rotation / mapped" damage``.

Prints the first broken promise, with the image that shows it, and exits with 1; with 0 where there is none. Without names it
runs them all. The core is the one that the door builds: ``ACTIONQUEUE_TEST_CORE`` names another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import damage
from enumerator import HUNT, Enumeration
from judge import BrokenPromise
from log_images import newest
from sessions import MODES, SCENARIOS

FOUND = 1


def search_damage() -> int:
    """Damage a part of the bytes of small logs: flips, cuts, records and rings in wrong places."""
    count = 0
    for make in damage.LOGS.values():
        log = make()
        count += damage.flips(log, damage.used_places(log)[::3])
        for what, image in damage.misplaced(log):
            damage.check_misplaced(log, image, what)
            count += 1
    for name in ("immediate", "deferred"):
        log = damage.LOGS[name]()
        count += damage.cuts(log, newest(log.image), step=9)
    count += damage.cuts(damage.mixed_log(), "ring", step=9)
    return (
        count
        + damage.missing_files(damage.mixed_log())
        + damage.stale_files(SCENARIOS["unclean ends"].run("mapped"), step=5)
    )


def searches() -> dict[str, Callable[[], int]]:
    found: dict[str, Callable[[], int]] = {
        "damage": search_damage,
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
    sys.exit(main(sys.argv[1:]))
