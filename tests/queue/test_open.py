"""Opening: paths, options, who holds the lock, damage, and what recovery reports."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

import actionqueue as aq
from actionqueue import aio, directory, inspection
from actionqueue.errors import (
    CorruptLogError,
    LockedError,
    NotAQueueError,
    OpenError,
    OpenIOError,
    UnsafeDirectoryWarning,
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

# --- Paths ----------------------------------------------------------------------------------------


class ItsPath:
    """A path-like of somebody else's."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path


@pytest.mark.parametrize("kind", [str, Path, ItsPath])
def test_a_path_is_a_string_or_path_like(tmp_path: Path, kind: Callable[[str], Any]) -> None:
    with aq.open(kind(str(tmp_path / "queue"))) as queue:
        assert queue.path == real(tmp_path / "queue")


@pytest.mark.parametrize(
    "name",
    [
        "queue one",
        " ",
        pytest.param("new\nline", marks=pytest.mark.platform("names")),
        "日本",
        pytest.param("\udcff\udc80", marks=pytest.mark.platform("names")),
        "-rf",
        "%s%n",
        pytest.param("a" * 255, marks=pytest.mark.platform("long names")),
        "queue.log",
        pytest.param("'\"\\", marks=pytest.mark.platform("names")),
    ],
)
def test_names_of_every_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with aq.open(path) as queue:
        queue.submit(task_create())
        with pytest.raises(LockedError) as refusal:
            aq.open(path)
        assert refusal.value.path == real(path / "LOCK")
    with aq.open(path) as queue:
        assert queue.sequence == 1


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with aq.open(tmp_path / "a" / "b" / "queue") as queue:
        assert queue.recovery.is_created
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "a" / "b" / "queue" / "wal").stat().st_mode) == 0o700


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with aq.open("queue", **SMALL) as queue:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        for _ in range(10):
            queue.submit(task_create(b"x" * 30_000))
        assert queue.stats()["rotations"] >= 3
    assert not list((tmp_path / "elsewhere").iterdir())


OPENERS: dict[str, Callable[[Any], object]] = {
    "open": aq.open,
    "readonly": lambda path: aq.open(path, readonly=True),
    "create=False": lambda path: aq.open(path, create=False),
    "follow": aq.follow,
    "repair": lambda path: aq.repair(path, accept_data_loss=False),
    "open_async": lambda path: asyncio.run(opened_async(path)),
    "iterate_records": lambda path: next(inspection.iterate_records(path)),
    "follow_records": lambda path: next(inspection.follow_records(path)),
    "moved_logs": inspection.moved_logs,
    "salvage": lambda path: inspection.salvage(path, print),
    "read_projection": inspection.read_projection,
    "ensure_unlocked": inspection.ensure_unlocked,
    "verify": inspection.verify,
    "statistics": inspection.statistics,
}


async def opened_async(path: Any) -> None:
    async with aio.open_async(path):
        pass


@pytest.mark.platform("open files")
@pytest.mark.parametrize("opener", OPENERS)
def test_a_relative_path_where_the_working_directory_was_removed(
    opener: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for path in ("queue", Path("deep/queue"), "."):
        with pytest.raises(
            OpenIOError, match="the working directory was removed; go to another one"
        ) as refusal:
            OPENERS[opener](path)
        assert refusal.value == OpenIOError("resolve", str(path), errno.ENOENT)
        assert f"failed on {path}: " in str(refusal.value)
    aq.open(tmp_path / "queue").close()  # needs none


@pytest.mark.platform("modes")
def test_a_symbolic_link_leads_to_the_same_queue(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with aq.open(tmp_path / "link" / "queue") as queue:
        queue.submit(task_create())
        assert queue.path == real(tmp_path / "real" / "queue")
        with pytest.raises(LockedError):
            aq.open(tmp_path / "real" / "queue")
    (tmp_path / "direct").symlink_to(tmp_path / "real" / "queue")
    with aq.open(tmp_path / "direct") as queue:
        assert queue.sequence == 1


class Accounts:
    """What the system says of a directory's owner and group: each by its own number unless a test
    says otherwise.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if os.geteuid() == 0:
            os.chown(directory, -1, 54321)  # not root's
        status = directory.stat()
        self.owner = SimpleNamespace(pw_name="worker", pw_gid=status.st_gid)
        self.group = SimpleNamespace(gr_name="worker", gr_mem=[])
        self.owners, self.groups = {status.st_uid: self.owner}, {status.st_gid: self.group}
        monkeypatch.setattr("pwd.getpwuid", lambda number: self.owners[number])
        monkeypatch.setattr("grp.getgrgid", lambda number: self.groups[number])


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    return Accounts(tmp_path, monkeypatch)


@pytest.mark.platform("modes")
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o2775])
def test_a_directory_that_others_may_write_to_is_warned_of(
    tmp_path: Path, mode: int, accounts: Accounts
) -> None:
    accounts.group.gr_mem = ["another"]
    tmp_path.chmod(mode)
    with (
        pytest.warns(UnsafeDirectoryWarning, match="writable by others") as warned,
        aq.open(tmp_path) as queue,
    ):
        queue.submit(task_create())
    assert [warning.filename for warning in warned] == [__file__]
    assert f"{mode:04o}" in str(warned[0].message)
    with pytest.raises(UnsafeDirectoryWarning):  # as an error, it leaves the queue closed
        aq.open(tmp_path)
    tmp_path.chmod(0o700)
    aq.open(tmp_path).close()


@pytest.mark.platform("modes")
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777])
def test_a_directory_that_others_may_not_take_from_is_not_warned_of(
    tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(mode)
    aq.open(tmp_path).close()
    aq.open(tmp_path / "made").close()


@pytest.mark.platform("modes")
@pytest.mark.parametrize("members", [[], ["worker"]], ids=["none", "the owner"])
@pytest.mark.parametrize("mode", [0o770, 0o775, 0o2775])
def test_a_directory_of_its_owners_own_group_is_not_warned_of(
    tmp_path: Path, mode: int, members: list[str], accounts: Accounts
) -> None:
    """As it is with the umask 002, where each user has a group alone."""
    accounts.group.gr_mem = members
    tmp_path.chmod(mode)
    aq.open(tmp_path).close()


@pytest.mark.platform("modes")
@pytest.mark.parametrize("mode", [0o772, 0o777])
def test_a_directory_of_its_owners_own_group_that_all_may_write_to_is_warned_of(
    tmp_path: Path, mode: int, accounts: Accounts
) -> None:
    tmp_path.chmod(mode)
    with pytest.warns(UnsafeDirectoryWarning, match="writable by others"):
        aq.open(tmp_path).close()


SHARED: dict[str, Callable[[Accounts], object]] = {
    "another member": lambda accounts: accounts.group.gr_mem.append("another"),
    "the owner and another": lambda accounts: accounts.group.gr_mem.extend(["worker", "another"]),
    "another name": lambda accounts: setattr(accounts.group, "gr_name", "workers"),
    "another primary group": lambda accounts: setattr(
        accounts.owner, "pw_gid", accounts.owner.pw_gid + 1
    ),
    "an unknown owner": lambda accounts: accounts.owners.clear(),
    "an unknown group": lambda accounts: accounts.groups.clear(),
}


@pytest.mark.platform("modes")
@pytest.mark.parametrize("case", SHARED)
def test_a_group_that_may_have_others_in_it_is_warned_of(
    tmp_path: Path, case: str, accounts: Accounts
) -> None:
    SHARED[case](accounts)
    tmp_path.chmod(0o770)
    with pytest.warns(UnsafeDirectoryWarning, match="writable by others"):
        aq.open(tmp_path).close()


@pytest.mark.platform("modes")
def test_roots_group_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run other users in it."""
    root = os.stat_result([0o40770, 0, 0, 1, os.geteuid(), 0, 0, 0, 0, 0])
    monkeypatch.setattr("pwd.getpwuid", lambda _number: SimpleNamespace(pw_name="root", pw_gid=0))
    monkeypatch.setattr("grp.getgrgid", lambda _number: SimpleNamespace(gr_name="root", gr_mem=[]))
    assert directory._others_may_write(str(tmp_path), root)


@pytest.mark.platform("modes")
@pytest.mark.parametrize("error", [None, errno.EIO], ids=["there", "unknown"])
def test_a_directory_with_an_access_list_is_warned_of(
    tmp_path: Path, error: int | None, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mode's bits for the group are then those of all that the list names."""

    def getxattr(_path: str, name: str) -> bytes:
        assert name == "system.posix_acl_access"
        if error is not None:
            raise OSError(error, os.strerror(error))
        return b"a list"

    tmp_path.chmod(0o770)
    aq.open(tmp_path).close()
    monkeypatch.setattr(os, "getxattr", getxattr, raising=False)
    with pytest.warns(UnsafeDirectoryWarning, match="writable by others"):
        aq.open(tmp_path).close()


REFUSED_BY_WINDOWS = ["a\nb", "a|b", "ab:c", "a/b?", "\udcff", 'a"', "<a", "*"]


@pytest.mark.parametrize(
    "path", ["", "\0", "a\0b", *(REFUSED_BY_WINDOWS if os.name == "nt" else [])]
)
def test_a_path_that_is_none(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):
        aq.open(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, 5, b"queue", object()])
def test_a_path_of_the_wrong_type(
    path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError):
        aq.open(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", [".", "queue", "deep/queue"])
def test_a_file_in_the_way_is_no_damaged_log(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OpenError) as refusal:
        aq.open(tmp_path / "file" / below)
    assert not isinstance(refusal.value, CorruptLogError)
    assert (tmp_path / "file").read_text("utf-8") == "mine"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OpenIOError) as refusal:
        aq.open(tmp_path / ("x" * 256))
    assert refusal.value.written is Written.NO
    with pytest.raises((OpenIOError, ValueError)):
        aq.open(tmp_path.joinpath(*["y" * 200] * 21))


def test_a_queue_is_not_created_unasked(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty", "missing/below"):
        with pytest.raises(NotAQueueError) as refusal:
            aq.open(tmp_path / name, create=False)
        assert refusal.value == NotAQueueError(real(tmp_path / name))
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    aq.open(tmp_path / "queue").close()
    aq.open(tmp_path / "queue", create=False).close()


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("mine")
    (tmp_path / "sub").mkdir()
    with aq.open(tmp_path):
        pass
    assert (tmp_path / "README").read_text("utf-8") == "mine"
    assert (tmp_path / "sub").is_dir()


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
