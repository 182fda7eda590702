"""The temporary directories of demo and bench are gone in the end, whichever way the process was
asked to end.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actionqueue import temporary
from actionqueue.temporary import temporary_directory
from tests.support.command_line import SECONDS_MAX, started, strike

OTHER = signal.SIGBREAK if sys.platform == "win32" else signal.SIGHUP
"""What a process gets whose console, or terminal, is closed; Ctrl-Break is the same for it."""
SIGNALS = [signal.SIGTERM, OTHER]
CODES = {number: 128 + (signal.SIGTERM if os.name == "nt" else number) for number in SIGNALS}
TEMPORARY = "TEMP" if os.name == "nt" else "TMPDIR"
HOURS = "100000"
DEMO = ["demo", "--files", "60"]
BENCH = ["bench", "--seconds", HOURS, "--rounds", "1", "--threads", "3", "--only"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the system's temporary files go, and bench's current directory."""
    made = tmp_path / "place"
    made.mkdir()
    return made


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(process.communicate())


def wait_for_queue(place: Path, process: subprocess.Popen[str]) -> None:
    pause = threading.Event()
    while not list(place.glob("actionqueue-bench-*/queue-*/wal/*.log")):
        assert process.poll() is None
        pause.wait(0.01)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_demos(place: Path, number: signal.Signals) -> None:
    environment = os.environ | {TEMPORARY: str(place), "PYTHONUNBUFFERED": "1"}
    with started(*DEMO, cwd=place, env=environment) as process:
        wait_for_line(process, "kill -9")
        assert [made.name.startswith("actionqueue-demo-") for made in place.iterdir()] == [True]
        strike(process, number)
        # This ends when the last process that has the pipes has ended.
        _, error = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, error) == (CODES[number], "")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("mode", ["immediate-3", "group-64", "system"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_benchmarks(place: Path, mode: str, number: signal.Signals) -> None:
    """Also where a round would take a day, in the main thread or in others."""
    shortened = "import actionqueue.bench.disk as d, actionqueue.bench.rounds as r\n"
    shortened += "d.Floor.commit_many = lambda self, times, **_: times.append(1)\nr.WARM_UP = 0\n"
    with started(*BENCH, mode, patch=shortened, cwd=place) as process:
        wait_for_queue(place, process)
        strike(process, number)
        output, error = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, output, error) == (CODES[number], "", "")
    assert list(place.iterdir()) == []


HANGS_UP = """
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.executable, [sys.executable, "-m", "actionqueue", "demo", "--files", "60"])
seen = b""
while b"kill -9" not in seen:
    seen += os.read(terminal, 65536)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.platform("terminals")
def test_a_terminal_that_is_closed(place: Path) -> None:
    environment = os.environ | {"TMPDIR": str(place), "TERM": "xterm", "COLUMNS": "80"}
    program = [sys.executable, "-c", HANGS_UP]
    done = subprocess.run(
        program,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done
    assert int(done.stdout) != 0
    assert list(place.iterdir()) == []


# --- The directory itself -------------------------------------------------------------------------


@pytest.fixture
def untouched() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_in_the_block_ends_the_process_behind_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with pytest.raises(SystemExit) as end, temporary_directory("made-", tmp_path) as made:
        (made / "deep").mkdir()
        (made / "deep" / "file").touch()
        signal.raise_signal(number)
        pytest.fail("the signal was not looked at")
    assert end.value.code == CODES[number]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("step", ["mkdtemp", "rmtree"])
def test_a_signal_while_the_directory_is_made_or_removed_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def strike(do: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            signal.raise_signal(signal.SIGTERM)
            result = do(*arguments, **options)
            signal.raise_signal(OTHER)
            return result

        return call

    real = {"mkdtemp": tempfile.mkdtemp, "rmtree": shutil.rmtree}[step]
    monkeypatch.setattr(
        temporary.tempfile if step == "mkdtemp" else temporary.shutil, step, strike(real)
    )
    with pytest.raises(SystemExit) as end, temporary_directory("made-", tmp_path):
        pass
    assert end.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untouched")
def test_only_the_first_signal_is_raised(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), temporary_directory("made-", tmp_path):
        try:
            signal.raise_signal(OTHER)
        finally:
            signal.raise_signal(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "handled"])
def test_what_the_program_does_with_a_signal_stays(
    tmp_path: Path, before: Callable[..., None]
) -> None:
    """As with nohup."""
    default = signal.signal(OTHER, before)
    try:
        with temporary_directory("made-", tmp_path) as made:
            signal.raise_signal(OTHER)
            assert made.is_dir()
        assert signal.getsignal(OTHER) is before
    finally:
        signal.signal(OTHER, default)


@pytest.mark.usefixtures("untouched")
def test_an_exception_removes_it_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError), temporary_directory("made-", tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_another_thread_may_have_one(tmp_path: Path) -> None:
    seen = []

    def work() -> None:
        with temporary_directory("made-", tmp_path) as made:
            seen.append(made.is_dir())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
    assert list(tmp_path.iterdir()) == []
