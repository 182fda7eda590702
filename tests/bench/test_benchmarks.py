"""That the programs in benchmarks/ run, measure what they say, and tell what they could not: in
tiny sizes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import instructions
from benchmarks.measure import interleave, row
from tests.support import places
from tests.support.benchmarks import program, rows, run


def names(result: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in rows(result)]


def test_lifecycle(tmp_path: Path) -> None:
    result, _ = run(program("lifecycle"), tmp_path, "--runs", 100, "--immediate-runs", 2)
    assert {
        "Deferred, one by one",
        *(f"Deferred, batches of {size}" for size in ("10", "100", "1,000")),
    } < set(names(result))
    by_name = {entry["name"]: entry for entry in rows(result)}
    assert 50 < by_name["bytes a record"]["spread"]["median"] < 80
    assert by_name["Immediate, one thread, p50"]["ratio_to"] == "disk alone, p50"


def test_groups(tmp_path: Path) -> None:
    result, _ = run(program("groups"), tmp_path, "--seconds", 0.001)
    assert names(result) == [f"groups of {size:,}" for size in (1, 4, 16, 64, 256, 1024)]


def test_shared_syncs_tell_what_sharing_costs_and_whether_it_is_fair(tmp_path: Path) -> None:
    result, _ = run(program("shared_syncs"), tmp_path, "--seconds", 0.01, "--threads", 1, 3)
    by_name = {entry["name"]: entry for entry in rows(result)}
    for what in ("p99", "events a sync", "sleeps a command", "CPU time a command"):
        assert f"3 threads: {what}" in by_name
    assert by_name["1 thread: fewest by most"]["values"] == [1, 1]
    assert by_name["3 threads: fewest by most"]["spread"]["maximum"] <= 1


def test_a_lone_task_stands_beside_a_lone_thread_and_the_disk(tmp_path: Path) -> None:
    result, _ = run(program("asyncio_tasks"), tmp_path, "--seconds", 0.01, "--tasks", 1, 5)
    by_name = {entry["name"]: entry for entry in rows(result)}
    assert by_name["1 task, by the disk: p50"]["ratio_to"] == "disk alone: p50"
    assert by_name["1 thread without a loop, by the disk: p50"]["ratio_to"] == "disk alone: p50"
    assert "5 tasks: CPU time a command" in by_name
    # Too few times were measured for that.
    assert not any("p99.9" in name for name in by_name if name.startswith("1 t"))


def test_columns(tmp_path: Path) -> None:
    result, _ = run(program("columns"), tmp_path, "--rows", 50, "--rows-a-call", 20)
    assert {"transition: columns", "transition: read columns", "attempt finish: submit"} < set(
        names(result)
    )


def test_replay_and_scale(tmp_path: Path) -> None:
    replayed, _ = run(program("replay"), tmp_path, "--runs", 20)
    assert "20 runs: replay" in names(replayed)
    written = next(
        entry for entry in rows(replayed) if entry["name"] == "20 runs: write a snapshot"
    )
    assert len(written["values"]) == 2
    assert written["note"].endswith("bytes, from the log alone")
    scaled, _ = run(
        program("scale"), tmp_path, "--runs", 20, 40, "--transitions", 5, "--lifecycles", 2
    )
    by_name = {entry["name"]: entry for entry in rows(scaled)}
    assert by_name["40 runs: a transition of any run"]["ratio_to"] == "20 runs"
    # Two a run to make it, ten transitions, and two rounds of two whole lives.
    assert by_name["40 runs: open from the log"]["note"] == "130 events"


def test_orders(tmp_path: Path) -> None:
    result, _ = run(program("orders"), tmp_path, "--runs", 200, 400, "--changes", 5)
    by_name = {entry["name"]: entry for entry in rows(result)}
    assert by_name["400 runs: due, a hundred of them"]["ratio_to"] == "200 runs"
    assert 12 < by_name["400 runs: memory of the orders a run"]["values"][0] < 200


def test_peers_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    for module in ("lmdb", "rocksdict", "plyvel", "litequeue", "persistqueue", "diskcache"):
        (tmp_path / "absent" / f"{module}.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "disk").mkdir()
    result, shown = run(
        program("peers"), tmp_path / "disk", "--seconds", 0.01, path=tmp_path / "absent"
    )
    assert set(result["settings"]["missing"]) == {
        "lmdb",
        "rocksdict",
        "plyvel",
        "litequeue",
        "persist-queue",
        "diskcache",
    }
    assert "missing: persist-queue: not here" in shown
    modes = ("no sync, 1 thread", "sync each, 1 thread", "sync each, 8 threads")
    assert names(result) == [
        f"{mode}: {store}" for mode in modes for store in ("actionqueue", "plain file", "sqlite3")
    ]


DRIVER = """#!/bin/sh
case $1 in
replay) echo '{"events": 2200, "runs": 220, "seconds": 0.5, "resident_bytes": 2200}';;
*) echo '{"commands": 1000, "seconds": 0.5, "p50_ns": 1000, "p99_ns": 9000,' \
    '"bytes_a_record": 61.0}';;
esac
"""


def against_rust(driver: Path) -> list[str]:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from benchmarks import against_rust\n"
        f"against_rust.DRIVER = Path({str(driver)!r})\n"
        "sys.argv[0] = 'against_rust'\n"
        "sys.exit(against_rust.main())\n"
    )
    return ["-c", code]


def test_against_a_driver(tmp_path: Path) -> None:
    driver, disk = tmp_path / "driver", tmp_path / "disk"
    driver.write_text(DRIVER)
    driver.chmod(0o755)
    disk.mkdir()
    result, _ = run(against_rust(driver), disk, "--runs", 20, "--immediate-runs", 2)
    by_name = {entry["name"]: entry for entry in rows(result)}
    assert by_name["Deferred: the Rust crates"]["values"] == [2000, 2000]
    assert by_name["replay: the Rust crates"]["values"] == [4400, 4400]
    ours = by_name["Immediate p50: actionqueue"]
    # The figures agree to one microsecond.
    assert ours["ratio"]["maximum"] == pytest.approx(ours["spread"]["maximum"])


def test_a_driver_that_was_not_built(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *against_rust(tmp_path / "none")],
        env=places.environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "make bench-rust" in done.stderr


# --- What they share ------------------------------------------------------------------------------


def test_candidates_take_turns_and_none_is_always_first() -> None:
    order: list[str] = []

    def run(name: str) -> int:
        order.append(name)
        return len(order)

    found = interleave(3, {name: partial(run, name) for name in "abc"})
    assert "".join(order) == "abcbcacab"
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_ratios_are_of_the_same_rounds() -> None:
    made = row("ours", "x", [10.0, 40.0], to=("theirs", [10.0, 20.0]))
    assert made.ratio is not None
    assert (made.ratio.minimum, made.ratio.median, made.ratio.maximum) == (1.0, 1.5, 2.0)


@pytest.mark.parametrize(("found", "code"), [(104, 0), (106, 1), (50, 0)])
def test_more_instructions_than_allowed_are_a_failure(
    found: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {"compiler": "GCC 1", "instructions_a_command": {"deferred": 100}}
    assert instructions.compare({"deferred": found}, kept) == code
    shown = capsys.readouterr().out
    assert ("+6.0%" in shown) == (code == 1)
    assert ("--update" in shown) == (found == 50)


def test_a_workload_without_a_count_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        instructions.compare({"new": 1}, {"compiler": "GCC 1", "instructions_a_command": {}}) == 1
    )
    assert "new: the file has no count" in capsys.readouterr().out


def test_every_workload_has_a_count() -> None:
    kept = json.loads(instructions.COUNTS.read_text("utf-8"))
    for counts in kept.values():
        assert set(counts["instructions_a_command"]) == set(instructions.WORKLOADS)


@pytest.mark.parametrize("name", instructions.WORKLOADS)
def test_every_workload_works(tmp_path: Path, name: str) -> None:
    workload = instructions.WORKLOADS[name]
    if workload.prepare is not None:
        workload.prepare(tmp_path / "queue", 20)
    workload.work(tmp_path / "queue", 20)
