"""Something else stands where a file or directory of the queue should: it is refused, and nothing
outside is touched.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import actionqueue as aq
from actionqueue.errors import (
    AppendError,
    CorruptLogError,
    LogSpaceError,
    OpenError,
    OpenIOError,
    SnapshotError,
    Written,
)
from actionqueue.inspection import verify
from tests.support import places
from tests.support.crash import ledger
from tests.support.queues import (
    SMALL,
    copy_of,
    in_child,
    replayed,
    state_of,
    task_create,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ROW = "symlinks, permissions"
SECRET = b"somebody else's"


class Outside:
    """A directory that is not the queue's, and what was in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file, self.directory, self.missing = (
            path / "file",
            path / "directory",
            path / "missing",
        )
        self.directory.mkdir(parents=True)
        self.file.write_bytes(SECRET)
        (self.directory / "file").write_bytes(SECRET)
        (self.directory / "prepare-0000000000000000.tmp").write_bytes(SECRET)
        (self.directory / "copy.tmp").write_bytes(SECRET)
        self.before = self.state()

    def state(self) -> dict[str, tuple[int, bytes]]:
        files = sorted(self.path.rglob("*"))
        return {
            str(file): (file.lstat().st_mode, file.read_bytes() if file.is_file() else b"")
            for file in files
        }

    def assert_untouched(self) -> None:
        assert self.state() == self.before


def to_file(path: Path, outside: Outside) -> None:
    path.symlink_to(outside.file)


def to_directory(path: Path, outside: Outside) -> None:
    path.symlink_to(outside.directory)


def to_nothing(path: Path, outside: Outside) -> None:
    path.symlink_to(outside.missing)


def to_itself(path: Path, _outside: Outside) -> None:
    path.symlink_to(path)


def to_a_device(path: Path, _outside: Outside) -> None:
    path.symlink_to("/dev/zero")


def hard_link(path: Path, outside: Outside) -> None:
    path.hardlink_to(outside.file)


def pipe(path: Path, _outside: Outside) -> None:
    os.mkfifo(path)


def unix_socket(path: Path, _outside: Outside) -> None:
    """Bind under a short name: that of a socket has a hundred bytes at most."""
    back = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(back)


def a_directory(path: Path, _outside: Outside) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"")


def a_file(path: Path, _outside: Outside) -> None:
    path.write_bytes(b"no directory")


KINDS: list[Callable[[Path, Outside], None]] = [
    to_file, to_directory, to_nothing, to_itself, to_a_device,
    hard_link, pipe, unix_socket, a_directory, a_file,
]  # fmt: skip

DIRECTORIES = ("wal", "quarantine", "snapshots")
LEFTOVERS = (
    "ring.tmp",
    "wal/prepare-00000000000000aa.tmp",
    "quarantine/copy.tmp",
    "snapshots/snapshot.tmp",
)
"""Remains of what was cut short: these are removed, whatever they are, and not what they lead
to.
"""
FILES = ("LOCK", "ring", "first segment", "newest segment", "newest snapshot")
VICTIMS = (*DIRECTORIES, *FILES, *LEFTOVERS)


def make_queue(path: Path, *, clean: bool) -> dict[str, object]:
    """Make a queue of some segments and snapshots; unclean, also with a torn tail and events that
    only its ring has.
    """
    living = path.with_name(path.name + "-living")
    with aq.open(living, **SMALL, durability="deferred") as queue:
        for _ in range(5):
            queue.submit(task_create(b"x" * 30_000))
        queue.snapshot()
        queue.submit(task_create())
        queue.snapshot()
        queue.submit(task_create())
        state = state_of(queue)
        position = queue.stats()["segment_used"]
        if clean:
            queue.close()
        shutil.copytree(living, path)
    if not clean:
        with max((path / "wal").glob("*.log")).open("r+b") as newest:
            newest.seek(position + 4096)
            newest.write(b"torn")
        (path / "quarantine").mkdir(mode=0o700)
    shutil.rmtree(living)
    return state


def place_of(path: Path, victim: str) -> Path:
    segments = sorted((path / "wal").glob("*.log"))
    snapshots = sorted((path / "snapshots").glob("*.snap"))
    newest = {"newest segment": segments, "newest snapshot": snapshots}
    return (
        newest[victim][-1]
        if victim in newest
        else segments[0]
        if victim == "first segment"
        else path / victim
    )


def refusal_of(path: Path) -> OpenError | None:
    try:
        aq.open(path, **SMALL).close()
    except OpenError as error:
        return error
    return None


def removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_opening_a_queue_with_something_else_in_its_files_place(
    directory: Path, victim: str, clean: bool
) -> None:
    template, outside = directory / "template", Outside(directory / "outside")
    state = make_queue(template, clean=clean)
    for kind in KINDS:
        if kind is (a_directory if victim in DIRECTORIES else a_file):
            continue  # that is what should stand there
        path = copy_of(template, directory / kind.__name__)
        place, aside = place_of(path, victim), directory / "aside"
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            place.rename(aside)
        kind(place, outside)
        names = sorted(path.rglob("*"))
        error = refusal_of(path)
        outside.assert_untouched()
        if error is None:
            assert is_harmless(victim, kind, clean=clean), kind
            with aq.open(path, **SMALL) as queue:
                assert state_of(queue) == state
                for _ in range(5):
                    queue.submit(task_create(b"x" * 30_000))
            outside.assert_untouched()
        else:
            assert isinstance(error, (OpenIOError, CorruptLogError))
            assert str(place.relative_to(path)) in error.path or victim in error.path
            assert "not opened" in str(error) or "nothing was changed" in str(error)
            assert error.written is Written.NO
            # A recovery may have come to its last step; but it has taken nothing away.
            kept = {name for name in names if not name.name.startswith("prepare-")}
            assert kept <= set(path.rglob("*"))
        removed(place)
        if aside.exists():
            aside.rename(place)
        if error is not None:
            with aq.open(path, **SMALL) as queue:
                assert state_of(queue) == state
        shutil.rmtree(path)
        outside.assert_untouched()
    ledger.record(ROW, len(KINDS))


def is_harmless(victim: str, kind: Callable[[Path, Outside], None], *, clean: bool) -> bool:
    """Whether this may be opened: what stands there is not used, or may be read, or is removed as
    itself.
    """
    if victim == "first segment":
        return True  # a snapshot covers it
    if victim == "newest snapshot":
        return True  # as a damaged one: an older one is taken, or the whole log
    if victim == "snapshots/snapshot.tmp":
        return True  # until the next snapshot is made
    if victim == "quarantine":
        return clean
    if victim == "quarantine/copy.tmp":
        return clean or kind is not a_directory
    return (
        victim in LEFTOVERS and kind is not a_directory
    ) or victim == "wal/prepare-00000000000000aa.tmp"


@pytest.mark.parametrize(
    "kind", [to_directory, to_nothing, to_itself], ids=lambda kind: kind.__name__
)
def test_a_path_of_the_queue_itself_may_be_a_link(
    directory: Path, kind: Callable[[Path, Outside], None]
) -> None:
    """It is resolved once, when the queue is opened; where that leads is up to who gives the
    path.
    """
    outside = directory / "outside"
    made = Outside(outside)
    kind(directory / "link", made)
    if kind is not to_directory:
        for path in (directory / "link", directory / "link" / "queue"):
            with pytest.raises(OpenIOError) as refusal:
                aq.open(path)
            assert refusal.value.path == str(directory / "link")
            assert (kind is to_nothing) == ("leads nowhere" in str(refusal.value))
        made.assert_untouched()
        return
    with aq.open(directory / "link", **SMALL) as queue:
        assert queue.path == str(made.directory)
        (directory / "link").unlink()
        (directory / "link").symlink_to(directory)
        for _ in range(5):
            queue.submit(task_create(b"x" * 30_000))
    assert replayed(queue.path).latest_sequence == 5
    assert sorted(place.name for place in directory.iterdir()) == ["link", "outside"]


def until_refused(queue: aq.ActionQueue) -> AppendError:
    with pytest.raises(AppendError) as failure:
        for _ in range(1000):
            queue.submit(task_create(b"x" * 3000))
    return failure.value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_directory_of_segments_is_swapped_under_an_open_queue(
    directory: Path, kind: Callable[[Path, Outside], None]
) -> None:
    path, outside = directory / "queue", Outside(directory / "outside")
    with aq.open(path, **SMALL) as queue:
        queue.submit(task_create())
        (path / "wal").rename(directory / "aside")
        kind(path / "wal", outside)
        error = until_refused(queue)
        assert error.written is Written.NO
        if kind is a_directory:  # it would take the next segment
            assert isinstance(error.cause, aq.DisplacedError)
            assert queue.is_poisoned
        else:
            assert isinstance(error.cause, LogSpaceError)
            assert str(path / "wal") in error.cause.path
            queue.submit(task_create())  # there is room for it
        outside.assert_untouched()
        removed(path / "wal")
        (directory / "aside").rename(path / "wal")
        for _ in range(0 if kind is a_directory else 30):
            queue.submit(task_create(b"x" * 3000))
        sequence = queue.sequence
    outside.assert_untouched()
    assert replayed(path).latest_sequence == sequence
    ledger.record(ROW, 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("victim", ["newest segment", "ring"])
def test_the_files_of_the_log_are_swapped_under_an_open_queue(
    directory: Path, victim: str, kind: Callable[[Path, Outside], None]
) -> None:
    """A sync would make durable what no reopening finds: it says so, and what was acknowledged
    before is in the file that was put back.
    """
    path, outside = directory / "queue", Outside(directory / "outside")
    queue = aq.open(path, **SMALL)
    queue.submit(task_create())
    place = place_of(path, victim)
    place.rename(directory / "aside")
    kind(place, outside)
    with pytest.raises(aq.PartialDurabilityError) as refusal:
        queue.submit(task_create())
    assert str(place) in str(refusal.value)
    with pytest.raises(aq.PoisonedError):
        queue.submit(task_create())
    queue.close()
    outside.assert_untouched()
    removed(place)
    (directory / "aside").rename(place)
    with aq.open(path, **SMALL) as queue:
        assert queue.sequence in (1, 2)
    ledger.record(ROW, 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_lock_file_is_swapped_under_an_open_queue(
    directory: Path, kind: Callable[[Path, Outside], None]
) -> None:
    """The queue goes on in the file that it opened. Put back, it is as if nothing had happened."""
    path, outside = directory / "queue", Outside(directory / "outside")
    with aq.open(path, **SMALL) as queue:
        queue.submit(task_create())
        place = place_of(path, "LOCK")
        place.rename(directory / "aside")
        kind(place, outside)
        for _ in range(50):
            queue.submit(task_create(b"x" * 3000))
        assert queue.stats()["rotations"] > 1
        state = state_of(queue)
    outside.assert_untouched()
    removed(place)
    (directory / "aside").rename(place)
    with aq.open(path, **SMALL) as queue:
        assert state_of(queue) == state
    ledger.record(ROW, 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("victim", ["snapshots", "snapshots/snapshot.tmp", "newest snapshot"])
def test_snapshots_are_swapped_under_an_open_queue(
    directory: Path, victim: str, kind: Callable[[Path, Outside], None]
) -> None:
    path, outside = directory / "queue", Outside(directory / "outside")
    with aq.open(path, **SMALL) as queue:
        queue.submit(task_create(b"x" * 30_000))
        queue.snapshot()
        place = place_of(path, victim)
        if place.exists():
            place.rename(directory / "aside")
        kind(place, outside)
        queue.submit(task_create(b"x" * 30_000))
        try:
            queue.compact()
        except (SnapshotError, CorruptLogError) as error:
            assert str(place) in str(error)
        outside.assert_untouched()
        queue.submit(task_create())
        state = state_of(queue)
        removed(place)
        if (directory / "aside").exists():
            (directory / "aside").rename(place)
        queue.compact()
    outside.assert_untouched()
    with aq.open(path) as queue:
        assert state_of(queue) == state
    ledger.record(ROW, 1)


@pytest.mark.parametrize(
    "kind", [to_file, to_nothing, hard_link, a_file], ids=lambda kind: kind.__name__
)
def test_a_segment_in_preparation_is_swapped(
    directory: Path, kind: Callable[[Path, Outside], None]
) -> None:
    """Only the file that the queue itself has written gets the next segment's name."""
    path, outside = directory / "queue", Outside(directory / "outside")
    with aq.open(path, **SMALL) as queue:
        while not (prepared := list((path / "wal").glob("prepare-*.tmp"))):
            if queue.stats()["segment_used"] < 60_000:
                queue.submit(task_create(b"x" * 500))
        prepared[0].rename(directory / "aside")
        kind(prepared[0], outside)
        error = until_refused(queue)
        assert error.written is Written.NO
        assert isinstance(error.cause, LogSpaceError)
        assert not queue.is_poisoned
        for _ in range(50):
            queue.submit(task_create(b"x" * 3000))
        state = state_of(queue)
    outside.assert_untouched()
    with aq.open(path) as queue:
        assert state_of(queue) == state
    ledger.record(ROW, 1)


def test_a_directory_that_keeps_being_swapped_while_the_queue_rotates(
    directory: Path, long_form: bool
) -> None:
    """Whatever instant the swap falls into, no file is made, renamed or removed where the link
    leads.
    """
    path, outside = directory / "queue", Outside(directory / "outside")
    wal, aside, link = path / "wal", directory / "aside", directory / "link"
    link.symlink_to(outside.directory)
    is_done = threading.Event()
    swaps = refusals = 0

    def swap() -> None:
        nonlocal swaps
        random = Random(1)
        while not is_done.is_set():
            wal.rename(aside)
            link.rename(wal)
            is_done.wait(random.random() / 2000)
            wal.rename(link)
            aside.rename(wal)
            is_done.wait(random.random() / 2000)
            swaps += 1

    with aq.open(path, **SMALL, durability="deferred") as queue:
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            rotations = 400 if long_form else 60
            for _ in range(100 * rotations):
                if queue.stats()["rotations"] >= rotations or queue.is_poisoned:
                    break
                try:
                    queue.submit(task_create(b"x" * 20_000))
                except AppendError as error:
                    # Unknown where the swap came between the rename and the sync of the directory.
                    refusals += 1
                    assert error.written is Written.NO or queue.is_poisoned
        finally:
            is_done.set()
            thread.join()
        outside.assert_untouched()
        sequence = queue.sequence
    assert swaps > 0
    assert replayed(path).latest_sequence == sequence
    ledger.record(ROW, swaps, note=f"{refusals} rotations refused")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177, 0o777])
def test_modes_do_not_depend_on_the_umask(directory: Path, umask: int) -> None:
    path = directory / "made" / "too" / "queue"

    def work() -> None:
        os.umask(umask)
        with aq.open(path, **SMALL) as queue:
            for _ in range(5):
                queue.submit(task_create(b"x" * 30_000))
            position = queue.stats()["segment_used"]
        with max((path / "wal").glob("*.log")).open("r+b") as newest:
            newest.seek(position + 4096)
            newest.write(b"torn")
        with aq.open(path, **SMALL) as queue:
            assert queue.recovery.dropped_bytes > 0

    in_child(work)
    made = [path.parent.parent, path.parent, path, *path.rglob("*")]
    assert {place.name for place in made} >= {"LOCK", "ring", "wal", "quarantine"}
    for place in made:
        expected = 0o700 if place.is_dir() else 0o600
        assert stat.S_IMODE(place.lstat().st_mode) == expected, place
    ledger.record(ROW, len(made))


@pytest.mark.filterwarnings("ignore::actionqueue.UnsafeDirectoryWarning")
def test_files_of_another_user_are_refused_and_left_alone(directory: Path) -> None:
    """Whoever may not change a file of the queue is told which, and has changed none."""
    path = directory / "queue"
    make_queue(path, clean=True)
    nobody = 65534
    # What opening reads: of snapshots and the segments that they cover only the newest.
    newest = [
        max(folder.iterdir()) for folder in (path / "wal", path / "snapshots") if folder.exists()
    ]
    owners = [path, path / "wal", path / "LOCK", path / "ring", *newest]
    if os.geteuid() == 0:
        directory.chmod(0o755)
        for place in [path, *path.rglob("*")]:
            os.chown(place, nobody, nobody)
    for victim in owners:
        mode = stat.S_IMODE(victim.stat().st_mode)
        if os.geteuid() == 0:
            os.chown(victim, 0, 0)
        victim.chmod(0o500 if victim == path / "wal" else 0)
        names = sorted(path.rglob("*"))

        def work() -> tuple[str, str, str]:
            if os.geteuid() == 0:
                os.setgid(nobody)
                os.setuid(nobody)
            error = refusal_of(path)
            assert isinstance(error, OpenIOError)
            return error.path, os.strerror(error.errno), str(error)

        # What may be read is not needed for writing before the next segment is made.
        if victim != path / "wal":
            where, why, _text = in_child(work)
            assert where.startswith(str(victim))
            assert why == "Permission denied"
        assert sorted(path.rglob("*")) == names
        victim.chmod(mode)
        if os.geteuid() == 0:
            os.chown(victim, nobody, nobody)
    assert verify(path)["is_clean"]
    ledger.record(ROW, len(owners))


def test_a_parent_that_everybody_may_write_to(directory: Path) -> None:
    """The queue's own modes do not come from there."""
    parent = directory / "shared"
    parent.mkdir()
    parent.chmod(0o1777)
    with aq.open(parent / "queue") as queue:
        queue.submit(task_create())
    assert stat.S_IMODE((parent / "queue").stat().st_mode) == 0o700


def test_reading_tools_follow_no_link_and_change_nothing(directory: Path) -> None:
    template, outside = directory / "template", Outside(directory / "outside")
    make_queue(template, clean=True)
    for victim in ("wal", "ring", "first segment", "newest segment", "LOCK"):
        for kind in (to_file, to_directory, to_nothing, pipe):
            path = copy_of(template, directory / "copy")
            place = place_of(path, victim)
            removed(place)
            kind(place, outside)
            names = sorted(path.rglob("*"))
            with pytest.raises((OpenError, OSError)):
                verify(path)
            assert sorted(path.rglob("*")) == names
            outside.assert_untouched()
            shutil.rmtree(path)


def test_nothing_near_the_disk_is_unpickled() -> None:
    """Bytes in a queue's directory can never become code."""
    sources = [
        file
        for file in (places.ROOT / "src").rglob("*")
        if file.suffix in {".py", ".pyx", ".pxd", ".pyi"}
    ]
    assert len(sources) > 50
    for source in sources:
        for line in source.read_text("utf-8").splitlines():
            words = line.replace(".", " ").replace(",", " ").split()
            if words[:1] in (["import"], ["from"], ["cimport"]):
                assert not {
                    "pickle",
                    "cPickle",
                    "marshal",
                    "shelve",
                    "copyreg",
                    "dill",
                    "jsonpickle",
                } & set(words), (
                    source,
                    line,
                )
            assert " eval(" not in line or "re." in line, (source, line)
