"""That the benchmark of whole jobs measures all of them, compares like with like, and says which
queues it could not measure.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import job_servers, jobs
from benchmarks.job_queues import OURS, PAYLOAD, How, Jobs, Queue, in_threads, perform
from tests.support import places
from tests.support.benchmarks import program, rows, run

TINY = ("--jobs", 200, "--durable-jobs", 16, "--peer-jobs", 16)
SMALL = ("--few", 30, "--many", 60, "--claims", 5, "--ticks", 1)
OTHERS = [queue for queue in jobs.QUEUES.values() if queue is not OURS]


def absent(directory: Path, *modules: str) -> Path:
    """Make a directory of modules that can't be imported."""
    directory.mkdir()
    for module in modules:
        (directory / f"{module}.py").write_text("raise ImportError('not here')\n")
    return directory


def test_jobs_name_the_queues_that_are_missing_in_their_rows(tmp_path: Path) -> None:
    without = absent(tmp_path / "absent", *(queue.module for queue in OTHERS))
    (tmp_path / "disk").mkdir()
    result, shown = run(program("jobs"), tmp_path / "disk", *TINY, *SMALL, path=without)
    rates = [entry for entry in rows(result) if entry["unit"] == "jobs/s"]
    assert [entry["name"] for entry in rates] == [
        f"{mode.title}: actionqueue" for mode in jobs.MODES.values()
    ]
    assert [entry["name"] for entry in result["missing"]] == [
        f"{mode.title}: {queue.name}" for mode in jobs.MODES.values() for queue in OTHERS
    ]
    assert {entry["reason"] for entry in result["missing"]} == {"not here"}
    assert jobs.HOW_TO_INSTALL in result["notes"]
    assert " ".join(shown.split()).count("not measured") == len(result["missing"])
    by_name = {entry["name"]: entry for entry in rows(result)}
    assert by_name["claim(limit=1): 60 runs ready"]["ratio_to"] == "30 runs ready"
    assert by_name["tick, 100 due: 60 runs scheduled"]["ratio_to"] == "30 runs scheduled"
    for source in ("the log", "a snapshot"):
        claiming = by_name[f"60 ready runs: open {source} and claim"]
        assert claiming["ratio_to"] == f"open {source}"


def test_jobs_without_a_server_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(job_servers, "POSTGRES_FOLDERS", f"{tmp_path}/*/bin")
    # The clients need not be there for this.
    reasons = [
        jobs.missing_of(queue._replace(module="os"), tmp_path) for queue in job_servers.OVER_SERVERS
    ]
    assert reasons == [
        "there is no redis-server on the path",
        f"there is no initdb on the path or in {tmp_path}/*/bin",
    ]


@pytest.mark.parametrize("queue", OTHERS, ids=[queue.module for queue in OTHERS])
def test_jobs_of_each_peer_that_is_installed(tmp_path: Path, queue: Queue) -> None:
    for name in ("trial", "disk"):
        (tmp_path / name).mkdir()
    if reason := jobs.missing_of(queue, tmp_path / "trial"):
        pytest.skip(reason)
    chosen = ("--only", *jobs.MODES, "--queues", "actionqueue", queue.module)
    result, shown = run(program("jobs"), tmp_path / "disk", *TINY, *chosen)
    assert [(entry["name"], entry["ratio_to"]) for entry in rows(result)] == [
        (f"{mode.title}: {name}", to)
        for mode in jobs.MODES.values()
        for name, to in (("actionqueue", queue.name), (queue.name, "actionqueue"))
    ]
    assert f"{queue.name}, Immediate: {queue.immediate}" in " ".join(shown.split())


def made_up(name: str, seconds: float, lost: int = 0) -> Queue:
    """Return a queue that takes so many seconds for all of its jobs, and loses some."""

    def work(count: int) -> float:
        for _ in range(count - lost):
            perform(PAYLOAD)
        return seconds

    def opened(directory: Path, how: How) -> Jobs:
        return Jobs(lambda: lambda count: None, work, lambda: None)

    return Queue(name, "os", opened, deferred="", immediate="")


def test_a_queue_that_loses_a_job_has_no_figure(tmp_path: Path) -> None:
    how = How(is_synced=False, group=1, threads=1)
    assert 9 < jobs.rate(made_up("whole", 1.0), tmp_path, how, 10) <= 10
    with pytest.raises(LookupError, match="forgetful did 9 of 10 jobs"):
        jobs.rate(made_up("forgetful", 1.0, lost=1), tmp_path, how, 10)


def test_ours_is_compared_with_the_best_peer_of_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, slow, fast = made_up("actionqueue", 1.0), made_up("slow", 50.0), made_up("fast", 5.0)
    monkeypatch.setattr(jobs, "OURS", ours)
    monkeypatch.setattr(jobs, "QUEUES", {queue.name: queue for queue in (ours, slow, fast)})
    options = argparse.Namespace(rounds=1, jobs=10, durable_jobs=10, peer_jobs=10)
    found = jobs.rates_of(jobs.MODES["deferred"], [ours, slow, fast], tmp_path, options)
    assert [row.ratio_to for row in found] == ["fast", "actionqueue", "actionqueue"]
    assert found[0].ratio is not None
    assert found[0].ratio.median == pytest.approx(5, rel=0.1)


def test_threads_that_fail_raise(tmp_path: Path) -> None:
    def fail(count: int) -> None:
        raise KeyError(count)

    with pytest.raises(KeyError, match="3"):
        in_threads([lambda count: None, fail], 6)


def test_jobs_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "disk").mkdir()
    plot = tmp_path / "jobs.svg"
    chosen = ("--only", "deferred", "--queues", "actionqueue", "--plot", plot)
    run(program("jobs"), tmp_path / "disk", *TINY, *chosen)
    drawn = plot.read_text("utf-8")
    assert "Deferred, one by one: jobs a second" in drawn
    assert ">actionqueue<" in drawn


def test_jobs_are_drawn_with_matplotlib_only(tmp_path: Path) -> None:
    environment = places.environment()
    without = absent(tmp_path / "absent", "matplotlib")
    environment["PYTHONPATH"] = os.pathsep.join([str(without), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, *program("jobs"), "--plot", str(tmp_path / "jobs.svg")],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "--plot: not here; pip install --group bench" in done.stderr
