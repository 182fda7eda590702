"""The path that open takes: names, links, owners, what stands there already."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
    Written,
)
from tests.support.queues import (
    SMALL,
    real,
    task_create,
)


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
