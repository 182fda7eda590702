"""The workflows use what is pinned, and say nothing twice that the project says elsewhere: which
Python versions, which of Debian's packages, which commands.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.support.places import ROOT as TOP

WORKFLOWS = sorted((TOP / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (TOP / "Makefile").read_text("utf-8")
EACH = pytest.mark.parametrize(
    "text", [path.read_text("utf-8") for path in WORKFLOWS], ids=[path.name for path in WORKFLOWS]
)


def configuration() -> dict[str, Any]:
    return tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))


def supported() -> list[str]:
    """The versions of Python that the index shows."""
    versions = [
        classifier.rpartition(" ")[2]
        for classifier in configuration()["project"]["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", classifier)
    ]
    assert len(versions) > 1
    return versions


def test_both_workflows_are_there() -> None:
    assert {path.name for path in WORKFLOWS} >= {"ci.yml", "release.yml"}


@EACH
def test_every_action_is_pinned_by_its_commit(text: str) -> None:
    """A tag can be moved; the comment tells readers and updaters which one it was."""
    used = re.findall(r"uses: *(.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_has_one_version() -> None:
    texts = [path.read_text("utf-8") for path in WORKFLOWS]
    used = {action for text in texts for action in re.findall(r"uses: *(.*)", text)}
    assert len({action.partition("@")[0] for action in used}) == len(used)


@EACH
def test_jobs_get_no_rights_but_their_own(text: str) -> None:
    assert "\npermissions: {}\n" in text
    jobs = text.partition("\njobs:\n")[2]
    assert len(re.findall(r"^  \w[\w-]*:$", jobs, re.MULTILINE)) == jobs.count("    permissions:\n")


def test_only_the_job_behind_the_environment_publishes() -> None:
    text = (TOP / ".github" / "workflows" / "release.yml").read_text("utf-8")
    (publishing,) = [job for job in re.split(r"\n(?=  \w)", text) if "pypi-publish@" in job]
    assert "    environment: pypi\n" in publishing
    assert "    if: github.event_name == 'push' && github.ref_type == 'tag'\n" in publishing
    assert not re.search(r"password|secrets\.", text)


@EACH
def test_every_target_that_is_made_exists(text: str) -> None:
    targets = re.findall(r"\bmake ([\w-]+)", "\n".join(re.findall(r"- run: (.*)", text)))
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


@EACH
def test_packages_are_named_by_the_makefile_only(text: str) -> None:
    lists = set(re.findall(r"^(\w+)_PACKAGES := ", MAKEFILE, re.MULTILINE))
    assert lists >= {"BUILD", "TEST", "FUZZ", "PORTS"}
    for needs in re.findall(r'NEEDS="?([\w ]+)', text):
        assert set(needs.split()) <= lists, needs
    assert "SYSTEM_PACKAGES" not in text
    # An image without make cannot ask the Makefile.
    installed = re.findall(r"apt-get install (.*)", text)
    assert {words.split()[-1] for words in installed} <= {"make"}
    assert all(word.startswith("-") for words in installed for word in words.split()[:-1])


def test_all_that_runs_on_every_python_names_the_versions_of_the_index() -> None:
    versions = supported()
    text = (TOP / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    listed = [re.findall(r'"([\d.]+)"', line) for line in re.findall(r"python: \[(.*)\]", text)]
    assert listed[0] == versions, "every test"
    assert all([found[0], found[-1]] == [versions[0], versions[-1]] for found in listed)
    check = (TOP / ".ci" / "run").read_text("utf-8")
    assert re.findall(r"OLDEST=(.*)", check) == [versions[0]]
    assert re.findall(r"cp(\d+)-manylinux", check) == [versions[-1].replace(".", "")]
    wheels = configuration()["tool"]["cibuildwheel"]["build"]
    assert wheels == [f"cp{version.replace('.', '')}-*" for version in versions]
    assert configuration()["project"]["requires-python"] == f">={versions[0]}"
    for document in ("README.md", "docs/platforms.md"):
        told = (TOP / document).read_text("utf-8")
        assert f"CPython {versions[0]} to {versions[-1]}" in told, document
