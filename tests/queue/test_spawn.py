"""A queue and the processes that multiprocessing spawns, which is the only way on Windows: a queue
is not sent, its path is; and the parent's module is imported again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import actionqueue as aq
from tests.support.places import environment

SECONDS_MAX = 120


def run(program: str, tmp_path: Path) -> tuple[int, str, str]:
    """Run a program from a file, as a spawned process must be able to import it again."""
    script = tmp_path / "script.py"
    script.write_text(program, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "queue")],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS_MAX,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


GUARDED = """
import multiprocessing, os, sys
import actionqueue as aq


def work(path, answers):
    try:
        queue = aq.open(path)
    except aq.LockedError as error:
        answers.put(("locked", error.pid))
        return
    with queue:
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1))
        answers.put(("open", queue.sequence))


def child(context, path):
    answers = context.SimpleQueue()
    process = context.Process(target=work, args=(path, answers))
    process.start()
    answer = answers.get()
    process.join()
    assert process.exitcode == 0
    return answer


def main():
    path = sys.argv[1]
    context = multiprocessing.get_context("spawn")
    with aq.open(path) as queue:
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1))
        try:
            context.Process(target=print, args=(queue,)).start()
        except TypeError as error:
            assert "open it by its path" in str(error), error
        else:
            raise AssertionError("a queue was sent")
        assert child(context, path) == ("locked", os.getpid())
        assert queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1)).sequence == 2
    assert child(context, path) == ("open", 3)
    print("done")


if __name__ == "__main__":
    main()
"""


def test_a_queue_is_not_sent_and_its_path_is(tmp_path: Path) -> None:
    code, output, error = run(GUARDED, tmp_path)
    assert (code, output) == (0, "done\n"), error
    with aq.open(tmp_path / "queue") as queue:
        assert queue.sequence == 3


UNGUARDED = """
import multiprocessing, sys
import actionqueue as aq

path = sys.argv[1]
queue = aq.open(path)
process = multiprocessing.get_context("spawn").Process(target=print)
process.start()
process.join()
queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1))
queue.close()
print(process.exitcode)
"""


def test_a_module_without_a_guard_opens_the_queue_again_and_is_told(tmp_path: Path) -> None:
    """The child fails, with the name of its parent as the holder; the parent goes on."""
    code, output, error = run(UNGUARDED, tmp_path)
    assert (code, output) == (0, "1\n"), error
    assert "LockedError" in error
    with aq.open(tmp_path / "queue") as queue:
        assert queue.sequence == 1
