"""``actionqueue bench``: that its files say what was measured. What the figures are is not for
tests.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from actionqueue.bench.modes import DEFAULT_CHOICE, modes_of
from actionqueue.bench.page import page_of
from actionqueue.bench.report import CSV_COLUMNS, Report
from tests.support.command_line import assert_fails, patched, run
from tests.support.queues import IN_MEMORY, knows_mount_of

QUICK = ("bench", "--rounds", 2, "--seconds", 60, "--commands", 20)
TITLES = [mode.title for mode in modes_of(DEFAULT_CHOICE)]
NAMES = [mode.name for mode in modes_of(DEFAULT_CHOICE)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Run it once, with everything that it can write."""
    directory = tmp_path_factory.mktemp("bench")
    (directory / "disk").mkdir()
    files = (
        "--json-file",
        directory / "found.json",
        "--csv",
        directory / "found.csv",
        "--html",
        directory / "found.html",
    )
    ended = run(*QUICK, "--directory", directory / "disk", "--json", *files)
    assert (ended.code, ended.error) == (0, "")
    assert list((directory / "disk").iterdir()) == []
    return json.loads(ended.output), directory


def test_json_has_every_mode_and_what_it_survives(made: tuple[dict[str, Any], Path]) -> None:
    found, _ = made
    report = msgspec.convert(found, Report)
    assert (report.kind, report.format, report.rounds, report.seconds_a_round) == (
        "actionqueue fsync policies",
        1,
        2,
        60,
    )
    assert [done.mode.name for done in report.modes] == NAMES
    assert json.loads((made[1] / "found.json").read_text("utf-8")) == found
    if not report.machine.is_in_memory:
        assert [done.mode for done in report.modes] == modes_of(DEFAULT_CHOICE)
    if knows_mount_of(made[1]):
        assert "unknown" not in (report.machine.file_system, report.machine.device)
    assert report.disk.latency.count == 2 * 20
    for done in report.modes:
        size = done.mode.group if done.mode.group > 1 else 20 * done.mode.threads
        assert [entry.commands for entry in done.rounds] == [size, size]
        assert done.rate.minimum <= done.rate.median <= done.rate.maximum
        assert done.rate.maximum == pytest.approx(
            max(entry.commands / entry.seconds for entry in done.rounds)
        )
        assert 50 < done.bytes_a_command < 150
        if done.mode.durability == "deferred":
            assert done.commands_a_sync is None
        else:
            assert done.commands_a_sync == pytest.approx(
                2 * size / sum(entry.syncs for entry in done.rounds)
            )


def test_csv_has_a_line_a_mode(made: tuple[dict[str, Any], Path]) -> None:
    found, directory = made
    with (directory / "found.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["mode"] for row in rows] == ["disk", *NAMES]
    for row, done in zip(rows[1:], found["modes"], strict=True):
        assert float(row["commands_per_second_median"]) == pytest.approx(
            done["rate"]["median"], abs=0.1
        )
        assert int(row["submit_p99_ns"]) == done["latency"]["p99_ns"]
        assert row["survives_power_loss"] == done["mode"]["survives_power_loss"]
        assert row["submit_p999_ns"] == ""  # of fewer than a thousand


def texts(page: str) -> str:
    """Return what is shown, without styles."""
    root = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 -- our own page
    (style,) = root.iter("style")
    style.text = ""
    return " ".join(" ".join(root.itertext()).split())


def test_html_is_well_formed_and_has_every_mode(made: tuple[dict[str, Any], Path]) -> None:
    _, directory = made
    page = (directory / "found.html").read_text("utf-8")
    shown = texts(page)
    for title in TITLES:
        assert shown.count(title) >= 4, title  # bar, curve, legend, table
    for word in (
        "Throughput",
        "Latency",
        "What each survives",
        "Measured on",
        "The disk alone",
        "prefers-color-scheme",
    ):
        assert word in (page if word.startswith("prefers") else shown)
    # The disk has a line in each of three panels, too.
    assert len(re.findall("<polyline ", page)) == len(TITLES) + 3


def test_many_modes_of_a_family_can_be_told_apart(made: tuple[dict[str, Any], Path]) -> None:
    report = msgspec.convert(made[0], Report)
    for family in ("immediate", "group", "deferred"):
        (first, *_) = (done for done in report.modes if done.mode.family == family)
        many = [
            msgspec.structs.replace(
                first,
                mode=msgspec.structs.replace(first.mode, name=str(number), title=f"mode {number}"),
            )
            for number in range(12)
        ]
        page = page_of(msgspec.structs.replace(report, modes=many))
        strokes = r"\.(?:curve\.)?{} {{ stroke(?:-dasharray)?: ([^;]+);"
        curves = re.findall(r'<polyline class="curve ([^"]+)"', page)
        styles = [(curve, *re.findall(strokes.format(curve), page)) for curve in curves]
        assert len(styles) == len({style[0] for style in styles}) == 13
        assert len({style[1] for style in styles}) == 13  # colours
        assert len({style[-1] for style in styles}) >= 8  # dashes


@pytest.mark.platform("memory")
def test_a_disk_that_is_none_keeps_nothing(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
        html = tmp_path / "found.html"
        ended = run(*QUICK, "--directory", directory, "--only", "immediate-1", "--html", html)
    assert (ended.code, ended.error) == (0, "")
    for shown in (" ".join(ended.output.split()), texts(html.read_text("utf-8"))):
        assert "a power loss takes everything" in shown
        assert "nothing: this file system is in memory" in shown


def test_html_needs_nothing_from_elsewhere(made: tuple[dict[str, Any], Path]) -> None:
    class References(HTMLParser):
        found: list[str] = []  # noqa: RUF012 -- one parser, used once

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"script", "link", "img", "iframe", "object", "embed"}
            self.found += [
                f"{name}={value}"
                for name, value in attrs
                if name in {"src", "href", "xlink:href", "data", "srcset"}
            ]

    page = (made[1] / "found.html").read_text("utf-8")
    parser = References()
    parser.feed(page)
    assert parser.found == []
    assert not re.search(r"https?:|//|url\(|@import", page)


def test_html_escapes_what_comes_from_the_system(made: tuple[dict[str, Any], Path]) -> None:
    report = msgspec.convert(made[0], Report)
    hostile = msgspec.structs.replace(
        report.machine, processor="<script>alert(1)</script>", device='"&<b>'
    )
    shown = texts(page_of(msgspec.structs.replace(report, machine=hostile)))
    assert "<script>alert(1)</script>" in shown
    assert '"&<b>' in shown


def test_a_table_for_people_with_the_modes_that_were_chosen(tmp_path: Path) -> None:
    numbers = ("--threads", 2, "--records", 10, "--records", 20)
    ended = run(
        *QUICK, "--directory", tmp_path, *numbers, "--only", "immediate-2", "--only", "records-20"
    )
    assert (ended.code, ended.error) == (0, "")
    for text in (
        "disk alone",
        "immediate-2",
        "records-20",
        "Deferred, sync every 20 records",
        "Measured on",
    ):
        assert text in ended.output
    assert "records-10" not in ended.output
    assert max(map(len, ended.output.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_one_round_is_not_several(tmp_path: Path) -> None:
    ended = run(
        "bench",
        "--rounds",
        1,
        "--seconds",
        60,
        "--commands",
        10,
        "--directory",
        tmp_path,
        "--only",
        "system",
    )
    assert "1 round of 60 s" in ended.output


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1"])
def test_times_that_are_none(tmp_path: Path, seconds: str) -> None:
    assert_fails(run("bench", "--directory", tmp_path, "--seconds", seconds), 2, "--seconds")


@pytest.mark.parametrize("option", ["--json-file", "--csv", "--html"])
def test_a_file_that_cannot_be_written_is_told_of_before_anything_is_measured(
    tmp_path: Path, option: str
) -> None:
    target = tmp_path / "none" / "file"
    program = patched(
        "from actionqueue.bench import rounds\n"
        "def fail(*_): raise SystemExit(99)\n"
        "rounds._measure = fail"
    )
    assert_fails(
        run(*QUICK, "--directory", tmp_path, option, target, program=program), 7, str(target)
    )
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    target = tmp_path / "file-system"
    target.mkdir()
    program = "import os, tempfile; from pathlib import Path\n"
    program += (
        "def refuse(*_, **options):\n"
        "    raise PermissionError(13, 'Permission denied', str(options['dir']))\n"
    )
    program += "tempfile.mkdtemp = refuse"
    assert_fails(
        run(*QUICK, "--directory", target, program=patched(program)),
        7,
        str(target),
        "Permission denied",
    )
