"""What the tests of the command line share: running it as users do, and seeing what it leaves on
disk.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import actionqueue as aq
from tests.support.queues import killed

PROGRAM = [sys.executable, "-m", "actionqueue"]
SECONDS_MAX = 120
READING = ("due", "dump", "log", "runs", "verify", "stats")
"""The commands that write and create nothing. All but verify show a queue that is open
elsewhere.
"""


class Ended(NamedTuple):
    """How a run of the command line ended."""

    code: int
    output: str
    error: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The output's lines of JSON."""
        return [json.loads(line) for line in self.output.splitlines()]


def run(
    *arguments: object,
    stdin: bytes = b"",
    program: Iterable[str] = PROGRAM,
    encoding: str = "utf-8",
    **options: Any,
) -> Ended:
    """Run the command line to its end."""
    ended = subprocess.run(
        [*program, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
        **options,
    )
    output, error = (
        said.decode(encoding).replace(os.linesep, "\n") for said in (ended.stdout, ended.stderr)
    )
    return Ended(ended.returncode, output, error)


def shown_on_a_terminal(*arguments: object, columns: int, program: Iterable[str] = PROGRAM) -> str:
    """Run the command line to its end with a terminal so wide, and return what that was sent."""
    import fcntl  # Windows has none of the three
    import pty
    import termios

    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {
            "TERM": "xterm"
        }
        with subprocess.Popen(
            [*program, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
        ) as process:
            os.close(theirs)
            sent = b""
            with suppress(OSError):  # EIO: the last process that had the terminal has ended
                while piece := os.read(ours, 65536):
                    sent += piece
        assert process.returncode == 0, sent
    finally:
        os.close(ours)
    return sent.decode().replace("\r\n", "\n")


LISTENS = """
import os, signal, threading

def listen():
    while said := os.read(0, 100):
        signal.raise_signal(int(said))

threading.Thread(target=listen, daemon=True).start()
"""
"""Lets a program get signals through its standard input, as on Windows no process can send them."""


def started(*arguments: object, patch: str = "", **options: Any) -> subprocess.Popen[str]:
    """Start the command line, after the statements of a patch, for :func:`strike`. It leads a
    session of its own, and its outputs are pipes.
    """
    if sys.platform == "win32":
        patch += LISTENS
        options["stdin"] = subprocess.PIPE
    return subprocess.Popen(
        [*(patched(patch) if patch else PROGRAM), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        **options,
    )


def strike(process: subprocess.Popen[str], number: int) -> None:
    """Let a signal come in a program that was started with :func:`started`."""
    if sys.platform == "win32":
        assert process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
    else:
        process.send_signal(number)


def patched(patch: str) -> list[str]:
    """Return a program that is the command line after the statements of a patch."""
    return [sys.executable, "-c", f"{patch}\nfrom actionqueue.cli.entry import main\nmain()"]


def assert_fails(ended: Ended, code: int, *parts: str) -> None:
    """Assert an exit code, and one line of error that says certain things."""
    assert ended.code == code, ended
    assert ended.error.startswith("actionqueue: error: ")
    assert ended.error.count("\n") == 1
    assert ended.error.endswith("\n")
    for part in parts:
        assert part in ended.error


def lines(*objects: dict[str, Any]) -> bytes:
    """Return objects as lines of JSON."""
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in objects)


def pause_and_resume(times: int) -> list[dict[str, Any]]:
    """Return acceptable commands, two for each time."""
    return [
        {"type": name, "timestamp": time}
        for time in range(times)
        for name in ("engine_pause", "engine_resume")
    ]


def tree(directory: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Return everything in and about a directory that a reader must not change."""
    paths = [directory, *sorted(directory.rglob("*"))]
    return {
        str(path): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in paths
    }


def make_queue(directory: Path, events: int = 20) -> None:
    """Make a queue and close it."""
    with aq.open(directory) as queue:
        fill(queue, events)


def fill(queue: aq.ActionQueue, events: int) -> None:
    """Submit so many commands, DEFERRED."""
    for number in range(events):
        command = (
            aq.EnginePauseCommand(None, number)
            if number % 2 == 0
            else aq.EngineResumeCommand(None, number)
        )
        queue.submit(command, aq.DurabilityPolicy.DEFERRED)


def fill_more(queue: aq.ActionQueue, count: int) -> None:
    """Submit so many commands more, DEFERRED, whatever the engine's state is."""
    for _ in range(count):
        queue.submit(
            aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"more"), 1),
            aq.DurabilityPolicy.DEFERRED,
        )


def kill_a_writer(directory: Path, events: int = 20) -> None:
    """Make a queue whose writer dies with DEFERRED events in the ring."""
    code = (
        "import sys\n"
        "import actionqueue as aq\n"
        "queue = aq.open(sys.argv[1])\n"
        "for number in range(int(sys.argv[2])):\n"
        "    command = aq.EngineResumeCommand if number % 2 else aq.EnginePauseCommand\n"
        "    queue.submit(command(None, number), 'deferred')\n"
        "print('ready')\n"
        "sys.stdin.read()\n"
    )
    killed(code, directory, events)


def newest_segment(directory: Path) -> Path:
    """Return the segment that is written to."""
    return max((directory / "wal").glob("*.log"))
