"""The long forms of the tests.

``pytest --long`` runs a test's long form where it has one: such a test takes the fixture :func:`long_form`. The marker ``faults``
is set on every test that takes it and on every test below ``tests/crash``; ``make test-faults`` runs ``pytest --long -m faults``
and prints what the tests noted with :func:`ledger.record`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

import ledger

CRASH = Path(__file__).parent / "crash"
LONG_TIMEOUT_S = 7200

settings.register_profile("actionqueue", deadline=None)  # no test judges how long anything takes: machines differ, and are shared
settings.load_profile("actionqueue")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long forms of the tests that have one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_long = config.getoption("--long")
    for item in items:
        if "long_form" in getattr(item, "fixturenames", ()) or CRASH in item.path.parents:
            item.add_marker("faults")
            if is_long:
                item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))


def pytest_runtest_call() -> None:
    ledger.begin()


@pytest.fixture(scope="session")
def long_form(pytestconfig: pytest.Config) -> bool:
    """Whether this is the long run."""
    return bool(pytestconfig.getoption("--long"))
