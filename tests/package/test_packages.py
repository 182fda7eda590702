"""What is installed is what is there."""

from __future__ import annotations

import tomllib

from tests.support.places import ROOT


def test_every_package_is_installed() -> None:
    """They are named one by one, so that what an earlier build has left is not among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = project["tool"]["setuptools"]["packages"]
    source = ROOT / "src"
    found = {
        ".".join(file.parent.relative_to(source).parts) for file in source.rglob("__init__.py")
    }
    assert set(named) == found
    assert len(named) == len(found)
