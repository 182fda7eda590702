from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.inspection import read_projection
from tests.support.command_line import (
    PROGRAM,
    SECONDS_MAX,
    assert_fails,
    lines,
    patched,
    pause_and_resume,
    run,
)
from tests.support.vectors import STREAMS, projection_of, stream

BAD_LINES = {
    "blank": b"",
    "only whitespace": b" \t ",
    "no JSON": b"engine_pause",
    "no object": b"[]",
    "half an object": b'{"type": "engine_pause"',
    "two objects": b'{"type": "engine_pause", "timestamp": 1} {}',
    "trailing comma": b'{"type": "engine_pause", "timestamp": 1,}',
    "a key twice": b'{"type": "engine_pause", "timestamp": 1, "timestamp": 2}',
    "a nested key twice": b'{"type": "run_create", "run": {"id": 1, "id": 1}}',
    "unknown command": b'{"type": "engine_stop", "timestamp": 1}',
    "no type": b'{"timestamp": 1}',
    "no timestamp": b'{"type": "engine_pause"}',
    "unknown key": b'{"type": "engine_pause", "timestamp": 1, "why": 2}',
    "unknown durability": b'{"type": "engine_pause", "timestamp": 1, "durability": "never"}',
    "durability of another type": b'{"type": "engine_pause", "timestamp": 1, "durability": {}}',
    "a float": b'{"type": "engine_pause", "timestamp": 1.0}',
    "an exponent": b'{"type": "engine_pause", "timestamp": 1e2}',
    "a bool": b'{"type": "engine_pause", "timestamp": true}',
    "a text": b'{"type": "engine_pause", "timestamp": "1"}',
    "negative": b'{"type": "engine_pause", "timestamp": -1}',
    "one too large": b'{"type": "engine_pause", "timestamp": 18446744073709551616}',
    "thousands of digits": b'{"type": "engine_pause", "timestamp": ' + b"1" * 5000 + b"}",
    "NaN": b'{"type": "engine_pause", "timestamp": NaN}',
    "no UTF-8": b'{"type": "engine_pause", "timestamp": 1, "\xff": 1}',
    "UTF-16": '{"type": "engine_pause", "timestamp": 1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"type": "engine_pause", "timestamp": 1}',
    "lone surrogate in a value": rb'{"type": "run_suspend", "run_id": "'
    + b"1" * 32
    + rb'", "reason": "\ud800", "timestamp": 1}',
    "lone surrogate in a key": rb'{"type": "engine_pause", "timestamp": 1, "\udfff": 1}',
    "control character in a text": b'{"type": "engine_\x00pause", "timestamp": 1}',
    "nested deeply": b"[" * 100_000,
}


def without_message(verdict: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in verdict.items() if key != "message"}


@pytest.mark.parametrize("name", STREAMS)
def test_every_recorded_verdict_and_the_projection(tmp_path: Path, name: str) -> None:
    recorded = stream(name)
    ended = run("submit", tmp_path / "queue", stdin=lines(*(line["command"] for line in recorded)))
    assert (ended.code, ended.error) == (0, "")
    assert [without_message(verdict) for verdict in ended.objects] == [
        line["verdict"] for line in recorded
    ]
    dumped = run("dump", tmp_path / "queue", "--json")
    assert dumped.output.count("\n") == 1
    assert json.loads(dumped.output) == projection_of(name)


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_is_no_command_is_told_and_the_stream_goes_on(
    tmp_path: Path, line: bytes
) -> None:
    before, after = pause_and_resume(1)
    ended = run("submit", tmp_path / "queue", stdin=lines(before) + line + b"\n" + lines(after))
    assert (ended.code, ended.error) == (3, "")
    first, bad, last = ended.objects
    assert (first["ok"], bad["ok"], last["ok"]) == (True, False, True)
    assert list(bad) == ["ok", "stage", "error", "message", "latest"]
    assert (bad["stage"], bad["latest"]) == ("input", 1)
    assert bad["error"] in {"InvalidLineError", "InvalidFieldError", "InvalidFieldTypeError"}
    assert read_projection(tmp_path / "queue").latest_sequence == 2


def test_a_refused_command_has_its_message_and_does_not_change_the_exit_code(
    tmp_path: Path,
) -> None:
    ended = run(
        "submit", tmp_path / "queue", stdin=lines({"type": "engine_resume", "timestamp": 1})
    )
    assert ended.code == 0
    (verdict,) = ended.objects
    message = str(aq.EngineNotPaused())
    assert verdict == {
        "ok": False,
        "stage": "validation",
        "error": "EngineNotPaused",
        "message": message,
        "latest": 0,
    }


def test_whitespace_windows_line_ends_and_a_missing_last_line_end_are_accepted(
    tmp_path: Path,
) -> None:
    first, second = pause_and_resume(1)
    stdin = (
        b" \t" + json.dumps(first).encode() + b" \r\n" + json.dumps(second, indent=None).encode()
    )
    ended = run("submit", tmp_path / "queue", stdin=stdin)
    assert ended.code == 0
    assert [verdict["sequence"] for verdict in ended.objects] == [1, 2]


def test_the_largest_integer_is_exact(tmp_path: Path) -> None:
    largest = 2**64 - 1
    assert (
        run(
            "submit",
            tmp_path / "queue",
            stdin=lines({"type": "engine_pause", "timestamp": largest}),
        ).code
        == 0
    )
    assert run("dump", tmp_path / "queue", "--json").objects[0]["engine"]["paused_at"] == largest


def test_an_empty_stream_makes_an_empty_queue(tmp_path: Path) -> None:
    assert run("submit", tmp_path / "queue") == (0, "", "")
    assert read_projection(tmp_path / "queue").latest_sequence == 0


def test_explicit_sequences_are_checked(tmp_path: Path) -> None:
    pause, resume = pause_and_resume(1)
    stdin = lines(pause | {"sequence": 1}, resume | {"sequence": 3}, resume | {"sequence": None})
    first, second, third = run("submit", tmp_path / "queue", stdin=stdin).objects
    assert (first["sequence"], second["error"], third["sequence"]) == (1, "NonMonotonicSequence", 2)


def test_a_second_stream_goes_on(tmp_path: Path) -> None:
    for turn in range(2):
        ended = run("submit", tmp_path / "queue", stdin=lines(*pause_and_resume(3)))
        assert [verdict["sequence"] for verdict in ended.objects] == list(
            range(turn * 6 + 1, turn * 6 + 7)
        )


def test_a_verdict_is_there_before_the_next_command_is_sent(tmp_path: Path) -> None:
    command = [*PROGRAM, "submit", str(tmp_path / "queue")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, entry in enumerate(pause_and_resume(5), 1):
            process.stdin.write(lines(entry))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["sequence"] == number
        process.stdin.close()
        assert process.wait(SECONDS_MAX) == 0


@pytest.mark.parametrize(
    ("option", "key", "expected"),
    [
        (None, None, "deferred"),
        ("deferred", None, "deferred"),
        ("immediate", None, "immediate"),
        (None, "immediate", "immediate"),
        ("immediate", "deferred", "deferred"),
        ("immediate", "immediate", "immediate"),
    ],
)
def test_durability(tmp_path: Path, option: str | None, key: str | None, expected: str) -> None:
    """An immediate command is durable when its verdict is printed; a deferred one is not."""
    told = "import sys, actionqueue.json.verdict as v, actionqueue.store as s\n"
    told += "old = s.ActionQueue.close\n"
    told += "def close(self): sys.stderr.write(str(self.durable_sequence)); old(self)\n"
    told += "s.ActionQueue.close = close\n"
    entry = {"type": "engine_pause", "timestamp": 1} | ({} if key is None else {"durability": key})
    options = [] if option is None else ["--durability", option]
    ended = run("submit", tmp_path / "queue", *options, stdin=lines(entry), program=patched(told))
    assert (ended.code, ended.error) == (0, "1" if expected == "immediate" else "0")
    assert run("verify", tmp_path / "queue", "--json").objects[0]["durable_sequence"] == 1


@pytest.mark.platform("limits")
def test_a_command_that_cannot_be_appended_ends_the_stream_after_its_verdict(
    tmp_path: Path,
) -> None:
    """No file may grow beyond what the first segments take, as on a disk with no room."""
    payload = "00" * 100_000
    entry = {
        "type": "ledger_append",
        "tenant_id": "1" * 32,
        "ledger_key": "key",
        "payload": payload,
        "timestamp": 1,
    }
    entries = [entry | {"entry_id": f"{number:032x}"} for number in range(100)]

    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, 1_200_000))"
    ended = run("submit", tmp_path / "queue", stdin=lines(*entries), program=patched(limit))
    *accepted, last = ended.objects
    assert ended.code == 8
    assert all(verdict["ok"] for verdict in accepted)
    assert accepted
    assert without_message(last) == {
        "ok": False,
        "stage": "append",
        "error": "LogSpaceError",
        "latest": len(accepted),
    }
    assert read_projection(tmp_path / "queue").latest_sequence == len(accepted)


def test_a_command_that_is_not_durable_ends_the_stream_after_its_verdict(tmp_path: Path) -> None:
    patch = (
        "import actionqueue as aq, actionqueue.store as s\n"
        "def fail(self, sequence):\n"
        "    raise aq.PartialDurabilityError(sequence, aq.LogWriteError('fdatasync', 'log', 5))\n"
        "s.ActionQueue._wait_durable = fail\n"
    )
    entries = pause_and_resume(2)
    ended = run(
        "submit",
        tmp_path / "queue",
        "--durability",
        "immediate",
        stdin=lines(*entries),
        program=patched(patch),
    )
    assert (ended.code, ended.error) == (8, "")
    (verdict,) = ended.objects
    expected = {
        "ok": False,
        "stage": "partial_durability",
        "sequence": 1,
        "error": "PartialDurabilityError",
        "latest": 1,
    }
    assert without_message(verdict) == expected
    assert "fdatasync" in verdict["message"]


def test_a_last_sync_that_fails_is_told(tmp_path: Path) -> None:
    patch = (
        "import actionqueue as aq, actionqueue.store as s\n"
        "def fail(self):\n"
        "    raise aq.PartialDurabilityError(2, aq.LogWriteError('fdatasync', 'log', 5))\n"
        "s.ActionQueue.close = fail\n"
    )
    ended = run(
        "submit", tmp_path / "queue", stdin=lines(*pause_and_resume(1)), program=patched(patch)
    )
    assert [verdict["ok"] for verdict in ended.objects] == [True, True]
    assert_fails(ended, 8, "event 2", "fdatasync")


@pytest.mark.platform("signals")
def test_an_interrupt_closes_the_queue(tmp_path: Path) -> None:
    command = [*PROGRAM, "submit", str(tmp_path / "queue")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines(*pause_and_resume(1)))
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=SECONDS_MAX)
        assert (process.returncode, error) == (130, b"")
    assert run("verify", tmp_path / "queue", "--json").objects[0]["is_clean"]


def test_a_reader_that_goes_away_ends_the_stream_quietly(tmp_path: Path) -> None:
    source = tmp_path / "commands"
    source.write_bytes(lines(*pause_and_resume(20_000)))
    command = [*PROGRAM, "submit", str(tmp_path / "queue")]
    with (
        source.open("rb") as stdin,
        subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(SECONDS_MAX) == 141
        assert process.stderr.read() == b""
    found = run("verify", tmp_path / "queue", "--json").objects[0]
    assert found["is_clean"]
    assert found["events"] < 40_000
