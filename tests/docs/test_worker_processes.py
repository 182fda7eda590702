"""The program of docs/scheduling.md with worker processes: no job is lost where a job, a worker or
the parent goes wrong, and only what died is done again.

Each test gives the program a ``work`` of its own, which does the harm at the very moment that is
meant. So nothing here waits for a time.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support import places
from tests.support.command_line import SECONDS_MAX

EXAMPLE = places.ROOT / "examples" / "worker_processes.py"
JOBS = [f"job {number}" for number in range(40)]
WORK = re.compile(r"^def work\(.*?(?=\n\n\n)", re.MULTILINE | re.DOTALL)
JOURNAL = """
def work(payload: bytes) -> bytes:
    with open(os.path.join(HOME, "journal"), "ab", buffering=0) as journal:
        journal.write(payload + b"\\n")
    return do(payload)


def is_first(name: str) -> bool:
    try:
        open(os.path.join(HOME, name), "x").close()
    except FileExistsError:
        return False
    return True


def do(payload: bytes) -> bytes:
"""


class Program:
    """The program, with another ``work``, and a queue of its own."""

    def __init__(self, home: Path, do: str, **constants: int) -> None:
        text, count = WORK.subn(
            lambda _: f"HOME = {str(home)!r}\n{JOURNAL}{do}", EXAMPLE.read_text("utf-8")
        )
        assert count == 1
        for name, value in constants.items():
            text, count = re.subn(rf"^{name} = \d+$", f"{name} = {value}", text, flags=re.MULTILINE)
            assert count == 1
        self.home = home
        self.queue = home / "queue"
        self.path = home / "program.py"
        self.path.write_text(text, "utf-8")

    def run(self, *jobs: str) -> subprocess.CompletedProcess[str]:
        """Run it until it and each of its worker processes has ended: then the pipes end."""
        return subprocess.run(
            [sys.executable, "-W", "error", self.path, self.queue, *jobs],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=SECONDS_MAX,
            start_new_session=True,
        )

    def completes(self, *jobs: str) -> None:
        """Run it to a good end."""
        done = self.run(*jobs)
        assert (done.returncode, done.stderr) == (0, "")

    def begun(self) -> Counter[str]:
        """Return how often each job was begun."""
        return Counter((self.home / "journal").read_text("utf-8").splitlines())

    def ends(self) -> dict[str, tuple[str, int]]:
        """Return each job's state and how many attempts it had. A completed one has its output."""
        found = {}
        with aq.open(self.queue) as queue:
            for task in queue.projection.tasks():
                (run,) = queue.projection.runs_of_task(task.spec.id)
                payload = task.spec.payload.data
                if run.state is aq.RunState.COMPLETED:
                    *_, last = queue.projection.attempts(run.id) or ()
                    assert last.output == payload.upper()
                found[payload.decode()] = str(run.state), run.attempt_count
        return found


def test_the_document_shows_the_example() -> None:
    text = (places.ROOT / "docs" / "scheduling.md").read_text("utf-8")
    block = r"^```python\n# worker_processes\.py\n(.*?)^```"
    shown = re.findall(block, text, re.MULTILINE | re.DOTALL)
    assert shown == [EXAMPLE.read_text("utf-8")]
    assert len(shown[0].splitlines()) < 90


def test_without_a_death_each_job_is_done_once(tmp_path: Path) -> None:
    program = Program(tmp_path, "    return payload.upper()")
    program.completes(*JOBS)
    assert program.begun() == Counter(JOBS)
    assert program.ends() == dict.fromkeys(JOBS, ("completed", 1))


@pytest.mark.parametrize(
    "death",
    ["os._exit(0)", "os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))"],
    ids=["exit", "kill"],
)
def test_a_worker_that_dies_costs_its_own_job_an_attempt(tmp_path: Path, death: str) -> None:
    program = Program(
        tmp_path,
        "    if payload in (b'job 3', b'job 20') and is_first(payload.decode()):\n"
        f"        {death}\n"
        "    return payload.upper()",
    )
    program.completes(*JOBS)
    deadly = {"job 3": ("completed", 2), "job 20": ("completed", 2)}
    assert program.ends() == dict.fromkeys(JOBS, ("completed", 1)) | deadly
    assert program.begun() == Counter(JOBS) + Counter(deadly.keys())


def test_a_job_that_always_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    program = Program(
        tmp_path, "    if payload == b'job 3':\n        os._exit(3)\n    return payload.upper()"
    )
    program.completes(*JOBS)
    assert program.ends() == dict.fromkeys(JOBS, ("completed", 1)) | {"job 3": ("failed", 3)}


@pytest.mark.platform("signals")
def test_a_worker_that_dies_without_a_job_costs_no_attempt(tmp_path: Path) -> None:
    """A job of one worker kills the process of the other one, which has done its own and waits."""
    program = Program(
        tmp_path,
        "    path = os.path.join(HOME, 'process')\n"
        "    if payload == b'die later':\n"
        "        with open(path, 'w') as process:\n"
        "            process.write(str(os.getpid()))\n"
        "    if payload == b'kill':\n"
        "        for event in aq.follow(os.path.join(HOME, 'queue'), after=0):\n"
        "            if getattr(event, 'new_state', None) == aq.RunState.COMPLETED:\n"
        "                break\n"
        "        with open(path) as process, suppress(ProcessLookupError):\n"
        "            process_id = int(process.read())\n"
        "            os.kill(process_id, signal.SIGKILL)\n"
        "            while True:  # until the parent has noticed it\n"
        "                os.kill(process_id, 0)\n"
        "    return payload.upper()",
    )
    with aq.open(program.queue) as queue:
        scheduler = aq.Scheduler(queue)
        _, kill = scheduler.add_many([b"die later", b"kill"])
        scheduler.add_many([b"one", b"another"], depends_on=[kill])
    program.completes()
    jobs = ("die later", "kill", "one", "another")
    assert program.ends() == dict.fromkeys(jobs, ("completed", 1))


@pytest.mark.parametrize(
    "harm",
    [
        "raise ValueError(chr(0xd800) * 2_000_000)",
        "return 'no bytes'",
        "return bytes(2**24)",
        "raise type('Local', (Exception,), {})('cannot be sent')",
    ],
)
def test_a_result_that_cannot_be_taken_fails_its_job_alone(tmp_path: Path, harm: str) -> None:
    program = Program(
        tmp_path, f"    if payload == b'job 3':\n        {harm}\n    return payload.upper()"
    )
    program.completes(*JOBS)
    assert program.ends() == dict.fromkeys(JOBS, ("completed", 1)) | {"job 3": ("failed", 3)}


def test_a_killed_parent_takes_its_workers_along_and_loses_nothing(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        "    if payload == b'job 20' and is_first('the kill'):\n"
        "        os.kill(os.getppid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
        "        threading.Event().wait()\n"
        "    return payload.upper()",
        LEASE_SECONDS=3,
    )
    assert program.run(*JOBS).returncode != 0
    before = program.begun()
    assert program.ends()["job 20"] == ("running", 1)
    program.completes()
    ends = program.ends()
    assert ends.keys() == set(JOBS)
    assert {state for state, _ in ends.values()} == {"completed"}
    # The other worker may have been in the middle of a job, too, or of its result's way back.
    again = {job for job, (_, attempts) in ends.items() if attempts > 1}
    assert again >= {"job 20"}
    assert len(again) <= 2
    assert program.begun() == Counter(JOBS) + Counter(again & before.keys())


def test_a_job_that_outlasts_its_lease_keeps_it(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        "    if payload == b'long':\n"
        "        for event in aq.follow(os.path.join(HOME, 'queue'), after=0):\n"
        "            if event.kind is aq.EventKind.LEASE_HEARTBEAT:\n"
        "                break\n"
        "    return payload.upper()",
        LEASE_SECONDS=4,
    )
    program.completes("long", *JOBS)
    assert program.ends() == dict.fromkeys(["long", *JOBS], ("completed", 1))


def test_a_job_that_is_overdue_is_ended(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        "    if payload == b'hangs':\n        threading.Event().wait()\n    return payload.upper()",
        LEASE_SECONDS=4,
    )
    with aq.open(program.queue) as queue:
        aq.Scheduler(queue).add(b"hangs", timeout_secs=1, priority=1)
    program.completes(*JOBS)
    ends = dict.fromkeys(JOBS, ("completed", 1)) | {"hangs": ("failed", 1)}
    assert program.ends() == ends


def test_a_result_that_comes_too_late_costs_no_other(tmp_path: Path) -> None:
    """Both jobs end when the attempt of one has been ended for it."""
    program = Program(
        tmp_path,
        "    for event in aq.follow(os.path.join(HOME, 'queue'), after=0):\n"
        "        if event.kind is aq.EventKind.ATTEMPT_FINISHED:\n"
        "            return payload.upper()",
    )
    with aq.open(program.queue) as queue:
        aq.Scheduler(queue).add(b"late", timeout_secs=1)
    program.completes("in time")
    assert program.ends() == {"late": ("failed", 1), "in time": ("completed", 1)}


@pytest.mark.platform("signals")
def test_an_interrupt_lets_the_job_in_hand_end(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        "    if payload == b'job 20':\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "    return payload.upper()",
        WORKERS=1,
    )
    program.completes(*JOBS)
    place = JOBS.index("job 20") + 1
    assert program.ends() == dict.fromkeys(JOBS[:place], ("completed", 1)) | dict.fromkeys(
        JOBS[place:], ("ready", 0)
    )
    program.completes()
    assert program.begun() == Counter(JOBS)
    assert program.ends() == dict.fromkeys(JOBS, ("completed", 1))
