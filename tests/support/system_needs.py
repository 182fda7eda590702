"""Tests that need more than Python, a C compiler and make.

``@pytest.mark.system("root", "mount")`` names what a test needs: ``root``, or programs. ``make
test`` leaves these tests out and says at its end how many, and why; ``make test-system`` runs them
alone, after ``make system-packages``. Where a need is missing then, the test fails and names it:
none is ever skipped.

``terminal`` is a need that nearly every system meets: ``make test`` runs these tests too, unless
the system has no pseudo-terminals (a change root without ``/dev/pts``).
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PATH = os.pathsep.join(
    [
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
        "/sbin",
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin"))),
    ]
)
"""Debian has PostgreSQL's programs in folders of their own."""

left_out: Counter[tuple[str, ...]] = Counter()
"""How many tests were left out, by what they need."""


def needs_of(item: pytest.Item) -> tuple[str, ...]:
    """Return what a test needs of the system: nothing but Python, a C compiler and make, unless it
    is marked.
    """
    needs = {str(need) for mark in item.iter_markers("system") for need in mark.args}
    return tuple(sorted(needs - {"terminal"} if has_terminals() else needs))


@cache
def has_terminals() -> bool:
    """Whether the system gives pseudo-terminals."""
    try:
        for descriptor in os.openpty():
            os.close(descriptor)
    except (AttributeError, OSError):
        return False
    return True


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that need nothing; with ``--system`` the others; with ``--long`` both."""
    if config.getoption("--long"):
        return
    wants_system = config.getoption("--system")
    chosen = [item for item in items if bool(needs_of(item)) == wants_system]
    others = [item for item in items if bool(needs_of(item)) != wants_system]
    left_out.clear()
    if not wants_system:
        left_out.update(needs_of(item) for item in others)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = chosen


def check(item: pytest.Item) -> None:
    """Fail a test whose needs are not met, and say what to do."""
    for need in needs_of(item):
        if need == "terminal":
            pytest.fail(
                "this test needs a pseudo-terminal, and the system gives none: mount /dev/pts"
            )
        elif need == "root":
            if os.geteuid() != 0:
                pytest.fail(
                    "this test mounts file systems or changes its user: "
                    "run `make test-system` as root"
                )
        elif shutil.which(need, path=PATH) is None:
            pytest.fail(f"this test needs the program {need}; run `make system-packages` as root")


def summary() -> list[str]:
    """Return the lines that say which tests were not run, and why."""
    if not left_out:
        return []
    total = sum(left_out.values())
    told = f"{total} tests of the system were not run: `make system-packages` and then "
    lines = [told + "`make test-system`, as root, run them."]
    lines += [f"  {count:4} need {', '.join(needs)}" for needs, count in sorted(left_out.items())]
    return lines
