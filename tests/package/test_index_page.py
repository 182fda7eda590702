"""What the package index shows: a page whose links and picture lead somewhere, the versions and
systems that the tests run on, and extras under the names that messages tell.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import metadata
from typing import Any

import actionqueue as aq
from tests.support.places import ROOT as TOP

LINK = re.compile(r"(!?)\[[^]]*\]\(([^)\s]+)\)")


def page() -> str:
    """The text of the installed package, which is what an index gets."""
    installed = metadata("actionqueue")
    assert installed["Description-Content-Type"] == "text/markdown"
    # Texts of one line stand in the header, all others below it.
    return installed["Description"] or str(installed.get_payload())  # type: ignore[attr-defined]


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def test_every_link_of_the_page_is_one_of_the_readme_at_the_releases_tag() -> None:
    home = project()["urls"]["Source"]
    found = LINK.findall(page())
    for picture, target in found:
        form = "raw" if picture else "blob"
        beginning = f"{home}/{form}/v{aq.__version__}/"
        if target.startswith(home):
            assert target.startswith(beginning)
            assert (TOP / target.removeprefix(beginning).partition("#")[0]).exists(), target
        else:
            assert target.startswith("https://"), target
    assert any(picture for picture, _ in found)
    back = re.sub(rf"{re.escape(home)}/(raw|blob)/v{re.escape(aq.__version__)}/", "", page())
    assert back.strip() == (TOP / "README.md").read_text("utf-8").strip()


def test_addresses_of_the_project_name_files_that_are_there() -> None:
    """No other home of the project is named, either."""
    urls = project()["urls"]
    home = urls["Source"]
    assert set(urls) >= {"Source", "Documentation", "Changelog", "Issues"}
    for url in urls.values():
        assert url.startswith(home)
        if "/blob/main/" in url:
            assert (TOP / url.removeprefix(f"{home}/blob/main/")).is_file(), url


def texts() -> Iterator[tuple[str, str]]:
    """Every file in which a user reads what to install."""
    for pattern in (
        "src/**/*.py", "src/**/*.py[xi]", "src/**/*.pxi", "docs/*.md", "*.md", "examples/**/*.*",
        "benchmarks/**/*.py", "benchmarks/*.md",
    ):  # fmt: skip
        for path in sorted(TOP.glob(pattern)):
            yield path.relative_to(TOP).as_posix(), path.read_text("utf-8")


def test_every_extra_that_is_named_exists() -> None:
    extras = set(metadata("actionqueue").get_all("Provides-Extra") or [])
    named = set()
    for name, text in texts():
        # Also of a checkout: '.[cli]'.
        for listed in re.findall(r"(?:\bactionqueue|'\.)\[([\w, -]+)\]", text):
            for extra in listed.split(","):
                assert extra.strip() in extras, f"{name}: {extra}"
                named.add(extra.strip())
    assert named == extras, "an extra of which no user reads"
