"""Files of an open queue are cut, removed or replaced from outside, and its process has odd
surroundings.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import PartialDurabilityError, PoisonedError
from actionqueue.texts import host_name
from tests.support.queues import task_create

pytestmark = pytest.mark.platform("open files", "shell")


def run(program: str, *arguments: object, before: str = "") -> str:
    command = f'exec "$PYTHON" -c "$PROGRAM" "$@" {before}'
    environment = {**os.environ, "PYTHON": sys.executable, "PROGRAM": program}
    ended = subprocess.run(
        ["sh", "-c", command, "sh", *map(str, arguments)],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


OPEN_NUMBERS = """
import os, sys, actionqueue as aq
queue = aq.open(sys.argv[1])
queue.submit(aq.EnginePauseCommand(None, 1))
held = []
for number in range(3):
    try: held.append(os.fstat(number).st_ino)
    except OSError: pass
paths = [os.path.join(at, name) for at, _, names in os.walk(sys.argv[1]) for name in names]
files = [os.stat(path).st_ino for path in paths]
with open(sys.argv[2], "w") as note: note.write(str(len(set(held) & set(files))))
queue.close()
"""


@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "0<&- 2>&-"])
def test_no_file_of_the_queue_has_the_number_of_a_standard_stream(
    tmp_path: Path, closed: str
) -> None:
    run(OPEN_NUMBERS, tmp_path / "queue", tmp_path / "note", before=closed)
    assert (tmp_path / "note").read_text("utf-8") == "0"


CUT_RING = """
import os, sys, actionqueue as aq
queue = aq.open(sys.argv[1])
for _ in range(5): queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x"), 1))
os.truncate(sys.argv[1] + "/ring", int(sys.argv[2]))
try:
    for _ in range(5): queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x"), 1))
    print("went on")
except aq.ActionQueueError as error: print(type(error).__name__)
try: queue.close()
except aq.ActionQueueError: pass
"""


def test_a_lost_ring_is_told_before_any_rule_is_asked(tmp_path: Path) -> None:
    """The rules answer by a projection that may be ahead of the log then."""
    queue = aq.open(tmp_path / "queue", durability="deferred")
    if not queue.stats()["is_ring_mapped"]:
        pytest.skip("this file system's files are not mapped")
    task = task_create()
    queue.submit(task)
    os.truncate(tmp_path / "queue" / "ring", 0)
    with pytest.raises(PoisonedError):
        queue.submit(task)  # refused with TaskAlreadyExists else
    with pytest.raises(PoisonedError):
        queue.submit_many([task])
    queue.close()  # the caller knows


@pytest.mark.parametrize("size", [0, 100, 4096])
def test_a_ring_that_is_cut_short_is_an_error_and_ends_no_process(
    tmp_path: Path, size: int
) -> None:
    with aq.open(tmp_path / "probe") as queue:
        if not queue.stats()["is_ring_mapped"]:
            pytest.skip("the ring is not mapped on this file system")
    assert run(CUT_RING, tmp_path / "queue", size).strip() in {
        "AppendError",
        "PartialDurabilityError",
        "PoisonedError",
    }


def segment_of(path: Path) -> Path:
    return max((path / "wal").glob("*.log"))


@pytest.mark.parametrize(
    ("harm", "operation"),
    [
        (lambda path: os.truncate(path, 0), "verify the size of the segment"),
        (lambda path: os.truncate(path, 8192), "verify the size of the segment"),
        (Path.unlink, "find the segment"),
        (lambda path: path.rename(path.with_suffix(".1")), "find the segment"),
    ],
    ids=["emptied", "cut", "removed", "renamed"],
)
def test_nothing_is_acknowledged_that_a_harmed_segment_would_hold(
    tmp_path: Path, harm: Callable[[Path], object], operation: str
) -> None:
    queue = aq.open(tmp_path / "queue")
    queue.submit(task_create())
    segment = segment_of(tmp_path / "queue")
    harm(segment)
    with pytest.raises(PartialDurabilityError, match=f"{operation} failed on .*{segment.name}"):
        queue.submit(task_create())
    assert queue.is_poisoned
    with pytest.raises(PoisonedError):
        queue.submit(task_create())
    queue.close()


def replace_by_copy(path: Path) -> None:
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    copy.rename(path)


@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.rename(path.with_suffix(".1")), replace_by_copy]
)
def test_nothing_is_acknowledged_beside_a_ring_that_was_removed_or_replaced(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    """Readers, snapshots and the next recovery go by the one that has the name."""
    path = tmp_path / "queue"
    queue = aq.open(path)
    for _ in range(5):
        queue.submit(task_create())
    harm(path / "ring")
    assert queue.snapshot().sequence == 5  # all that is durable, whatever lies there
    with pytest.raises(PartialDurabilityError, match="find the ring failed"):
        queue.submit(task_create())
    assert queue.is_poisoned
    queue.close()


@pytest.mark.parametrize(
    "name", [b"b\xfcro", "b\u00fcro".encode(), b"", b"two\nlines", b"x" * 64], ids=repr
)
def test_any_host_name_is_one_line_of_text(name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    system = os.uname()
    monkeypatch.setattr(
        os,
        "uname",
        lambda: os.uname_result((system.sysname, os.fsdecode(name), *tuple(system)[2:])),
    )
    text = host_name()
    assert text
    assert len(text.splitlines()) == 1
    text.encode()


def test_programs_that_freeze_others_are_told_of_every_extension() -> None:
    import _wal_native

    package = Path(_wal_native.__file__).parent
    extensions = {
        file.name.partition(".")[0]
        for suffix in (".so", ".pyd")
        for file in package.glob(f"*{suffix}")
    }
    named = set(
        re.findall(r"import _wal_native\.(\w+)", (package / "__init__.py").read_text("utf-8"))
    )
    assert named >= extensions
    assert len(extensions) == 1
