"""The floors of the package: what lies above may use what lies below, and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.support import places

TOP = places.ROOT
CORE = TOP / "src" / "_wal_native" / "core"
FLOORS = {
    "base": set[str](),
    "os": {"base"},
    "event": {"base"},
    "table": {"base", "event"},
    "files": {"base", "os", "event", "table"},
    "write": {"base", "os", "event", "table", "files"},
    "read": {"base", "os", "event", "table", "files"},
    "queue": {"base", "os", "event", "table", "files", "write", "read"},
}
"""What each folder of the core may include, besides itself. Writing and reading know nothing of
each other.
"""


def test_every_file_of_the_core_is_on_a_floor() -> None:
    assert {path.name for path in CORE.iterdir()} == set(FLOORS)
    assert all(path.is_file() for folder in CORE.iterdir() for path in folder.iterdir())


def test_every_source_of_the_core_has_a_name_of_its_own() -> None:
    """Compilers and archives name objects after them, whatever the folder."""
    names = [path.name for path in CORE.rglob("*.c")]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("floor", FLOORS)
def test_includes_go_down_only(floor: str) -> None:
    """By path from the core's root, so that a header is found in one place only, whatever stands in
    the file's own folder.
    """
    for path in (CORE / floor).iterdir():
        for included in re.findall(
            r'^\s*#\s*include\s+"([^"]+)"', path.read_text("utf-8"), re.MULTILINE
        ):
            assert (CORE / included).is_file(), f"{path.name}: {included}"
            assert included.split("/")[0] in {floor, *FLOORS[floor]}, f"{path.name}: {included}"


def test_what_all_rows_share_names_no_rarer_row() -> None:
    """All that is particular to a kind of rarer row is in its family's file, once."""
    table = CORE / "table"
    kinds = re.findall(r"    ROW\((\w+), \w+\)", (table / "table.h").read_text("utf-8"))
    rarer = kinds[kinds.index("DEPENDENCY") + 1 :]
    assert {"BUDGET", "TENANT", "LEDGER"} < set(rarer)
    for name in ["add", "apply", "check", "index", "kinds", "load", "purge", "query", "save"]:
        text = (table / f"{name}.c").read_text("utf-8")
        for kind in rarer:
            named = rf"AQW_(ROW|IMAGE)_{kind}|aqw_{kind.lower()}_(row|view|type)"
            assert not re.search(named, text), f"{name}.c: {kind}"
    for kind in rarer:
        homes = [
            path.name
            for path in table.glob("*.c")
            if f"const aqw_row_type aqw_{kind.lower()}_type = " in path.read_text("utf-8")
        ]
        assert len(homes) == 1, kind


def test_native_code_imports_nothing_of_the_package_above() -> None:
    """Its stubs do: they tell readers the types of what is handed down."""
    for path in (TOP / "src" / "_wal_native").iterdir():
        if path.suffix in {".py", ".pyx", ".pxd", ".pxi"}:
            assert not re.search(
                r"^\s*(from|import) +actionqueue", path.read_text("utf-8"), re.MULTILINE
            ), path.name
