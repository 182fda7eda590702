"""Opening: paths, options, who holds the lock, damage, and what recovery reports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

import actionqueue as aq
from actionqueue.errors import (
    CorruptLogError,
    LockedError,
    UnsupportedFormatError,
    Written,
)
from actionqueue.inspection import iterate_records, verify
from tests.support.queues import (
    IN_MEMORY,
    SMALL,
    copy_of,
    log_bytes,
    real,
    segment_of_version,
    state_of,
    task_create,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

KNOWN_TO_THE_SYSTEM = os.getpid() if sys.platform == "linux" else None
"""Who is named as the holder where LOCK names nobody, and this process holds it."""


# --- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("segment_size", (0, -1, 65535, 65537, 3 * 65536, 2**31, 2**64, -(2**70))),
        ("ring_size", (0, -1, 65535, 65537, 2**29, 2**64)),
        ("sector_size", (1, -1, 511, 1024, 8192, 2**32, 2**64)),
    ],
)
def test_an_option_out_of_range(tmp_path: Path, option: str, wrong: tuple[int, ...]) -> None:
    for value in wrong:
        with pytest.raises(ValueError, match=option):
            aq.open(tmp_path / "queue", **{option: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["segment_size", "ring_size", "sector_size"])
def test_an_option_of_the_wrong_type(tmp_path: Path, option: str) -> None:
    for value in (65536.0, 65536.5, "65536", None, b"65536", [65536]):
        with pytest.raises(TypeError):
            aq.open(tmp_path / "queue", **{option: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ring_size", [65536, 3 * 65536, 2**20])
@pytest.mark.parametrize("segment_size", [65536, 2**18, 2**26])
@pytest.mark.parametrize("sector_size", [0, 512, 4096])
def test_options_at_work(
    tmp_path: Path, segment_size: int, ring_size: int, sector_size: int
) -> None:
    with aq.open(
        tmp_path, segment_size=segment_size, ring_size=ring_size, sector_size=sector_size
    ) as queue:
        for number in range(12):
            queue.submit(task_create(b"x" * 10_000), "immediate" if number % 3 == 0 else "deferred")
        before = state_of(queue)
        assert queue.stats()["ring_size"] == ring_size
        assert queue.stats()["segment_size"] <= segment_size
        if sector_size:
            queue.sync()
            assert queue.stats()["segment_used"] % sector_size == 0
    with aq.open(tmp_path) as queue:
        assert state_of(queue) == before


# --- Who holds the queue --------------------------------------------------------------------------


def assert_is_held_by(error: LockedError, path: Path, pid: int) -> None:
    assert error.path == real(path / "LOCK")
    assert (error.pid, error.host) == (pid, socket.gethostname())
    assert error.started is not None
    assert 0 <= aq.now() - error.started < 3600
    assert error.written is Written.NO
    for part in (str(pid), socket.gethostname(), error.path):
        assert part in str(error)


def test_a_second_opener_is_told_who_holds_the_queue(tmp_path: Path) -> None:
    def error_of_opening() -> LockedError:
        with pytest.raises(LockedError) as refusal:
            aq.open(tmp_path)
        return refusal.value

    with aq.open(tmp_path) as queue:
        assert_is_held_by(error_of_opening(), tmp_path, os.getpid())
        with Opener() as second:
            assert second.opens(tmp_path) == str(os.getpid())
            second.lets_go()
        queue.submit(task_create())
        with pytest.raises(LockedError) as refusal:
            verify(tmp_path)
        assert_is_held_by(refusal.value, tmp_path, os.getpid())
    with aq.open(tmp_path) as queue:
        assert queue.sequence == 1


def test_the_holder_in_another_process(tmp_path: Path) -> None:
    with Opener() as holder:
        assert holder.opens(tmp_path) == "won"
        with pytest.raises(LockedError) as refusal:
            aq.open(tmp_path)
        assert_is_held_by(refusal.value, tmp_path, holder.pid)
        holder.lets_go()
        aq.open(tmp_path).close()


def test_a_lock_file_that_says_nothing_useful(tmp_path: Path) -> None:
    with aq.open(tmp_path):
        for text in (
            b"",
            b"\xff\xfe\x00",
            b"pid=\nhost=\nstarted=",
            b"pid=many\nstarted=-1",
            b"=" * 5000,
        ):
            (tmp_path / "LOCK").write_bytes(text)
            with pytest.raises(LockedError) as refusal:
                aq.open(tmp_path)
            assert refusal.value == LockedError(real(tmp_path / "LOCK"), pid=KNOWN_TO_THE_SYSTEM)
            assert "is held by" in str(refusal.value)


def test_nobody_is_named_as_the_holder_who_is_gone(tmp_path: Path) -> None:
    aq.open(tmp_path).close()
    assert (tmp_path / "LOCK").read_bytes() == b""

    with Opener() as holder:
        child = holder.pid
        assert holder.opens(tmp_path) == "won"
        holder.is_killed()
    left = (tmp_path / "LOCK").read_bytes()
    assert f"pid={child}\n".encode() in left
    with aq.open(tmp_path):
        (tmp_path / "LOCK").write_bytes(left)  # as before the new holder has written who it is
        with pytest.raises(LockedError) as refusal:
            aq.open(tmp_path)
        if os.name == "posix":  # Windows is not asked which processes there are
            assert (refusal.value.pid, refusal.value.host, refusal.value.started) == (
                KNOWN_TO_THE_SYSTEM,
                None,
                None,
            )
        elsewhere = left.replace(socket.gethostname().encode(), b"elsewhere")
        (tmp_path / "LOCK").write_bytes(elsewhere)  # of whose processes nothing is known here
        with pytest.raises(LockedError) as refusal:
            aq.open(tmp_path)
        assert (refusal.value.pid, refusal.value.host) == (child, "elsewhere")


OPENER = """
import sys
import actionqueue as aq

for line in sys.stdin:
    try:
        queue = aq.open(line.rstrip("\\n"), segment_size=65536, ring_size=65536)
    except aq.LockedError as error:
        print(error.pid or 0, flush=True)
        sys.stdin.readline()
    else:
        print("won", flush=True)
        sys.stdin.readline()
        queue.close()
    print("done", flush=True)
"""


class Opener:
    """A process of its own that opens queues when it is told to, and holds them until it is told to
    let go.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", OPENER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONUTF8": "1"},
            encoding="utf-8",
        )
        self.pid = self._process.pid

    def ask(self, path: Path | str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, "the opener failed"
        return said.strip()

    def opens(self, path: Path) -> str:
        self.ask(path)
        return self.answer()

    def lets_go(self) -> None:
        self.ask("")
        assert self.answer() == "done"

    def is_killed(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        yield Path(made)


def test_of_two_processes_exactly_one_wins(base: Path) -> None:
    with Opener() as first, Opener() as second:
        for race in range(200 if os.name == "posix" else 40):
            path = base / str(race // 2)  # new in half of the races
            first.ask(path)
            second.ask(path)
            answers = {first.pid: first.answer(), second.pid: second.answer()}
            winners = [pid for pid, answer in answers.items() if answer == "won"]
            assert len(winners) == 1
            if race % 2 == 0:
                assert set(answers.values()) - {"won"} <= {str(winners[0]), "0"}
            first.lets_go()
            second.lets_go()


def test_of_many_threads_exactly_one_wins(base: Path) -> None:
    count = 4
    for race in range(100 if os.name == "posix" else 20):  # a refusal takes longer on Windows
        won: list[aq.ActionQueue] = []
        lost: list[LockedError] = []
        others: list[BaseException] = []
        barrier = threading.Barrier(count)

        def run(
            path: Path,
            barrier: threading.Barrier,
            won: list[Any],
            lost: list[Any],
            others: list[Any],
        ) -> None:
            barrier.wait()
            try:
                won.append(aq.open(path, **SMALL))
            except LockedError as error:
                lost.append(error)
            except BaseException as error:
                others.append(error)

        arguments = (base / str(race // 2), barrier, won, lost, others)
        threads = [threading.Thread(target=run, args=arguments) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost), others) == (1, count - 1, [])
        won[0].submit(task_create(), "deferred")
        won[0].close()


# --- Damage ---------------------------------------------------------------------------------------


def damaged(path: Path, segment: int, offset: int) -> None:
    """Turn around the bits of one byte."""
    file = sorted((path / "wal").glob("*.log"))[segment - 1]
    content = bytearray(file.read_bytes())
    content[offset] ^= 0xFF
    file.write_bytes(content)


def test_damage_is_refused_and_says_where_and_what_is_at_stake(tmp_path: Path) -> None:
    with aq.open(tmp_path, **SMALL) as queue:
        for _ in range(30):
            queue.submit(task_create(b"x" * 5000), "deferred")
    records = list(iterate_records(tmp_path))
    victim = next(record for record in records if record.sequence == 4)
    damaged(tmp_path, victim.segment, victim.offset + 40)
    before = log_bytes(tmp_path)
    before.pop("LOCK")
    for _ in range(2):
        with pytest.raises(CorruptLogError) as refusal:
            aq.open(tmp_path)
        error = refusal.value
        assert (error.segment, error.offset) == (victim.segment, victim.offset)
        assert "record_invalid" in error.reason
        assert error.first_sequence == 4
        assert error.last_sequence is not None
        assert error.last_sequence >= 4
        assert error.written is Written.NO
        for part in (tmp_path.as_posix(), str(victim.offset), "4"):
            assert part in str(error)
    after = log_bytes(tmp_path)
    after.pop("LOCK")
    assert after == before


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    aq.open(tmp_path).close()
    [segment] = (tmp_path / "wal").glob("*.log")
    content = segment_of_version(segment.read_bytes(), 99)
    segment.write_bytes(content)
    with pytest.raises(UnsupportedFormatError) as refusal:
        aq.open(tmp_path)
    assert refusal.value.version == 99
    assert segment.read_bytes() == content


def test_a_queue_whose_segments_are_gone_is_not_begun_anew(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        queue.submit(task_create())
    for segment in (tmp_path / "wal").iterdir():
        segment.unlink()
    with pytest.raises(CorruptLogError):
        aq.open(tmp_path)


# --- Recovery -------------------------------------------------------------------------------------


def test_the_report_of_a_new_queue(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        report = queue.recovery
    assert report.is_created
    assert (report.segments, report.records, report.events, report.bytes) == (0, 0, 0, 0)
    assert (report.last_sequence, report.durable_sequence) == (0, 0)
    assert report.drop_reason is None
    assert report.seconds > 0
    assert str(report) == "created a new queue"


def test_the_report_after_a_clean_close(tmp_path: Path) -> None:
    with aq.open(tmp_path, **SMALL) as queue:
        for _ in range(20):
            queue.submit(task_create(b"x" * 9000), "deferred")
        segments = queue.stats()["segment_number"]
    records = list(iterate_records(tmp_path))
    with aq.open(tmp_path) as queue:
        report = queue.recovery
    assert not report.is_created
    assert report.is_clean
    assert report.segments == segments > 1
    assert report.records == len(records) == 21  # the close marker too
    assert report.events == report.last_sequence == report.durable_sequence == 20
    assert report.bytes == sum(record.size for record in records)
    assert (
        report.ring_events,
        report.rewritten_events,
        report.dropped_bytes,
        report.dropped_events,
    ) == (0, 0, 0, 0)
    assert "clean close" in str(report)


def test_the_report_after_a_kill(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        is_mapped = queue.stats()["is_ring_mapped"]
        for _ in range(3):
            queue.submit(task_create())
        for _ in range(2):
            queue.submit(task_create(), "deferred")
        killed = copy_of(tmp_path / "queue", tmp_path / "killed")
    with aq.open(killed) as queue:
        report = queue.recovery
        assert queue.durable_sequence == 5
    assert not report.is_clean
    assert (report.events, report.last_sequence, report.durable_sequence) == (5, 5, 3)
    assert report.ring_events == (2 if is_mapped else 0)
    assert report.rewritten_events == 2
    assert report.drop_reason is None
    assert "unclean end" in str(report)


def test_the_report_of_a_torn_tail(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        for _ in range(3):
            queue.submit(task_create())
        for _ in range(3):
            queue.submit(task_create(b"torn"), "deferred")
        killed = copy_of(tmp_path / "queue", tmp_path / "killed")
    # The fifth record is damaged wherever it is: in the ring or, where that is not mapped, in the
    # segment.
    for file in [killed / "ring", *(killed / "wal").glob("*.log")]:
        content = bytearray(file.read_bytes())
        places = [at for at in range(len(content)) if content.startswith(b"torn", at)]
        for at in places[1:2]:
            content[at] ^= 0xFF
        file.write_bytes(content)
    with aq.open(killed) as queue:
        report = queue.recovery
        assert queue.sequence == queue.durable_sequence == 4
        assert queue.submit(task_create()).sequence == 5
    assert report.drop_reason == "torn"
    assert (report.last_sequence, report.durable_sequence) == (4, 3)
    assert report.dropped_events == 1  # the sixth; the fifth is no whole event
    assert report.dropped_segment == 1
    assert report.dropped_offset > 8192
    assert list((killed / "quarantine").iterdir())
    assert "quarantine" in str(report)
    with aq.open(killed) as queue:
        assert queue.sequence == 5
        assert queue.recovery.drop_reason is None
