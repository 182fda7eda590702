"""Lines of text, cron expressions and payloads that somebody made up: typed errors of one line, and
nothing written.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actionqueue.inspection import iterate_records
from tests.support.command_line import run
from tests.support.crash import ledger
from tests.support.fuzz.programs import CORPUS
from tests.support.fuzz.python_targets import TARGETS
from tests.support.vectors import STREAMS, stream

NUMBERS = [0, -1, 1.5, 2**31, -(2**31) - 1, 2**32, 2**63, 2**64 - 1, 2**64, 10**400]
STRINGS = [
    "",
    " ",
    "\0",
    "\ud800",
    "\u2028",
    "é",
    "x" * 5000,
    "0" * 32,
    "f" * 31,
    "@yearly",
    "* * * * * *",
    "zz",
    "6a6g",
]
HOSTILE_VALUES: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"": None},
    [0] * 100,
    *NUMBERS,
    *STRINGS,
]
SPECIALS = [
    b"\0",
    b"\r",
    b"\n",
    b"\x1b[31m",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b"1e999",
]
CRON_SIGNS = list("*?-/,|LW# \t")
CRON_WORDS = [
    *CRON_SIGNS,
    "0",
    "7",
    "59",
    "JAN",
    "sunday",
    "2099",
    "2100",
    "1970",
    "@daily",
    "00",
    "99999999999",
    "CRON_TZ=",
]


def commands() -> list[dict[str, Any]]:
    """One command of each type, from the recorded streams."""
    found: dict[str, dict[str, Any]] = {}
    for name in STREAMS:
        for line in stream(name):
            found.setdefault(line["command"]["type"], line["command"])
    return list(found.values())


COMMANDS = commands()


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key below a JSON value."""
    keys = (
        value.keys()
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def hostile_line(random: Random) -> bytes:
    """A valid line with something in it replaced, added, left out, or written over byte by byte."""
    command = json.loads(json.dumps(random.choice(COMMANDS)))
    for _ in range(random.randrange(3)):
        container, key = random.choice(places(command))
        action = random.randrange(4)
        if action == 0 and isinstance(container, dict):
            container.pop(key, None)
        elif action == 1 and isinstance(container, dict):
            container[random.choice(["", "type", "why", "\ud800", "sequence"])] = deepcopy(
                random.choice(HOSTILE_VALUES)
            )
        elif key in container if isinstance(container, dict) else key < len(container):
            container[key] = deepcopy(random.choice(HOSTILE_VALUES))
    line = bytearray(
        json.dumps(command, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    )
    for _ in range(random.choice((0, 0, 1, 3))):
        at = random.randrange(len(line) + 1)
        line[at : at + random.randrange(3)] = random.choice(SPECIALS)
    return bytes(line)


hostile_lines = st.builds(lambda seed: hostile_line(Random(seed)), st.integers(0, 2**32))
cron_texts = st.builds(
    str.__add__,
    st.sampled_from(["", "", "CRON_TZ=Europe/Zurich ", "CRON_TZ=Nowhere/Land "]),
    st.lists(st.sampled_from(CRON_WORDS), max_size=20).map("".join) | st.text(max_size=30),
)
payloads = [path.read_bytes() for path in sorted((CORPUS / "event").iterdir())]


@st.composite
def changed_payloads(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(payloads)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


INPUTS = {
    "submit_line": hostile_lines | st.binary(max_size=60),
    "cron_expression": cron_texts.map(lambda text: text.encode("utf-8", "replace")),
    "payload": changed_payloads(),
    "part": st.binary(min_size=1, max_size=40),
}


@pytest.mark.parametrize("target", TARGETS)
def test_hostile_bytes(target: str) -> None:
    tried = 0

    @settings(
        max_examples=400, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(INPUTS[target])
    def check(data: bytes) -> None:
        nonlocal tried
        tried += 1
        TARGETS[target](data)

    check()
    ledger.record("hostile bytes: texts and payloads in Python", tried, 0, f"target {target}")


@pytest.mark.parametrize("target", ["event", "parts"])
def test_corpora_of_the_core(target: str) -> None:
    """What the fuzzers of the C core have found means the same in Python."""
    for path in sorted((CORPUS / target).iterdir()):
        TARGETS["payload" if target == "event" else "part"](path.read_bytes())


def test_a_key_twice_behind_very_many_others() -> None:
    """Found in one pass: the square of their number would take hours."""
    keys = ",".join(f'"{number}":0' for number in [*range(400_000), 399_999])
    TARGETS["submit_line"](f"{{{keys}}}".encode())


@pytest.mark.parametrize(
    "text", ["@" + "x" * 100_000, "* " * 7 + "y" * 100_000, "1" * 100_000, "Ä" * 100_000]
)
def test_long_cron_expressions(text: str) -> None:
    TARGETS["cron_expression"](text.encode())


@pytest.mark.parametrize("key", ["k" * 100_000, "a\nb", "\x1b[31m", "", "a b"])
def test_a_key_that_can_not_be_shown_as_it_is(key: str) -> None:
    TARGETS["submit_line"](json.dumps({"type": "engine_pause", "timestamp": 1, key: 1}).encode())
    TARGETS["submit_line"](f"{{{json.dumps(key)}:1,{json.dumps(key)}:1}}".encode())


def test_a_stream_of_hostile_lines(tmp_path: Path) -> None:
    """Each line gets its verdict of one line, nothing is said on standard error, and only what was
    accepted is in the log.
    """
    random = Random(20)
    lines = [line for line in (hostile_line(random) for _ in range(1500)) if b"\n" not in line]
    ended = run("submit", tmp_path / "queue", stdin=b"\n".join(lines) + b"\n")
    verdicts = ended.objects
    assert (ended.code, ended.error) == (3, "")
    assert len(verdicts) == len(lines)
    accepted = [verdict["sequence"] for verdict in verdicts if verdict["ok"]]
    refused = [verdict for verdict in verdicts if not verdict["ok"]]
    assert {verdict["stage"] for verdict in refused} == {"input", "validation"}
    assert all(verdict["message"] for verdict in refused)
    assert accepted == list(range(1, len(accepted) + 1))
    assert [
        record.sequence for record in iterate_records(tmp_path / "queue") if record.is_event
    ] == accepted
    assert len(accepted) >= 5
    ledger.record("hostile bytes: lines of submit", len(lines), 0)
