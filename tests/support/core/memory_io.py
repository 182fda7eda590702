"""An I/O table in memory, for tests that must see, fail or lose every call that the core makes.

:class:`Disk` is what outlives a process: files and names, and for each of both what a power loss
may still take away. :class:`MemoryIo` is the table of one process over a disk: it records its
calls, fails the ones that a test names, and checks what the core must never do.
:meth:`MemoryIo.kill` ends the process; :meth:`Disk.after_power_loss` ends the machine.

The model of a disk is a strict one:

- bytes are stable once a sync of their file has returned 0; any sector of the others may be old,
  new or torn;
- stores into a mapping are like writes that nobody ever syncs;
- a failed sync loses the bytes for good: reads still see them, and a later sync reports success
  over them;
- a name (created, renamed, removed) is stable once its directory was synced, whatever happened to
  the file.
"""

from __future__ import annotations

import errno
import posixpath
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.core.door import ffi, lib

SECTOR = 512
OPERATIONS: dict[str, Any] = {
    name: member.type for name, member in ffi.typeof("aqw_io").fields if name != "context"
}
RETRIED = frozenset({"open", "read", "write", "sync", "sync_directory"})
"""What the core calls again after EINTR."""


def put(to: bytearray, offset: int, data: bytes) -> None:
    """Write into a file's bytes; a gap before them is zeros."""
    if len(to) < offset:
        to.extend(bytes(offset - len(to)))
    to[offset : offset + len(data)] = data


def overlap(one: tuple[int, bytes], other: tuple[int, bytes]) -> bool:
    return one[0] < other[0] + len(other[1]) and other[0] < one[0] + len(one[1])


@dataclass(eq=False)
class File:
    """Bytes as a process reads them, as they are stable, and the writes between the two."""

    content: bytearray = field(default_factory=bytearray)
    stable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    doubtful: list[tuple[int, bytes]] = field(default_factory=list)
    """Writes that a failed sync has lost; some of them may be on the disk all the same."""
    mapping: Any = None
    locked_by: tuple[int, int] | None = None
    """Process and handle."""
    name: str = ""
    """The last one that it had, for messages."""
    identity: int = 0
    """What a copy has not."""

    def write(self, offset: int, data: bytes) -> None:
        put(self.content, offset, data)
        self.pending.append((offset, data))

    def pull(self) -> None:
        """Note what was stored into the mapping since the last time, by sector."""
        if self.mapping is None:
            return
        now = bytes(ffi.buffer(self.mapping))
        if now == self.content:
            return
        for offset in range(0, len(now), SECTOR):
            if (data := now[offset : offset + SECTOR]) != self.content[offset : offset + SECTOR]:
                self.write(offset, data)

    def sync(self) -> None:
        """Make what is pending stable. Not all of the content: what a failed sync has lost is
        written no more.
        """
        self.pull()
        for offset, data in self.pending:
            put(self.stable, offset, data)
            self.doubtful = [part for part in self.doubtful if not overlap(part, (offset, data))]
        self.pending.clear()

    def lose(self) -> None:
        """What a failed sync does to the bytes that it was to write."""
        self.pull()
        self.doubtful += self.pending
        self.pending.clear()

    def after_power_loss(self, loss: Loss) -> bytes:
        """Return the bytes that a power loss leaves."""
        self.pull()
        writes: dict[int, list[tuple[int, bytes]]] = {}
        for offset, data in self.pending:
            at = offset
            while at < offset + len(data):
                end = min(at - at % SECTOR + SECTOR, offset + len(data))
                writes.setdefault(at // SECTOR, []).append((at, data[at - offset : end - offset]))
                at = end
        left = bytearray(self.stable)
        for parts in writes.values():
            for at, data in loss.sector(parts):
                put(left, at, data)
        return bytes(left)


class Loss:
    """What a power loss takes: everything that is not stable."""

    def keeps_name(self) -> bool:
        return False

    def sector(self, writes: list[tuple[int, bytes]]) -> Iterable[tuple[int, bytes]]:
        """Return what of a sector's writes, in their order, has reached the disk."""
        return ()


class NoLoss(Loss):
    """A power loss that takes nothing."""

    def keeps_name(self) -> bool:
        return True

    def sector(self, writes: list[tuple[int, bytes]]) -> Iterable[tuple[int, bytes]]:
        return writes


class RandomLoss(Loss):
    """Keeps every name, and every sector up to any of its writes, with the given odds; some sectors
    are torn.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.odds = random.choice((0.1, 0.5, 0.9))
        self.torn = random.choice((0.0, 0.0, 0.3))

    def keeps_name(self) -> bool:
        return self.random.random() < self.odds

    def sector(self, writes: list[tuple[int, bytes]]) -> Iterable[tuple[int, bytes]]:
        if self.random.random() >= self.odds:
            return
        count = (
            len(writes) if self.random.random() < 0.5 else self.random.randrange(len(writes) + 1)
        )
        yield from writes[:count]
        if count < len(writes) and self.random.random() < self.torn:
            at, data = writes[count]
            yield at, data[: self.random.randrange(len(data) + 1)]


@dataclass(frozen=True)
class NameChange:
    """A change of names that its directory's sync has not made stable yet. `file` None: a
    directory, or no file any more.
    """

    path: str
    file: File | None = None
    is_directory: bool = False
    removed: str | None = None


class Disk:
    """Files, directories and symlinks under absolute paths."""

    def __init__(
        self, files: dict[str, bytes] | None = None, directories: Iterable[str] = ("/",)
    ) -> None:
        self.files = {
            path: File(bytearray(data), bytearray(data), name=path)
            for path, data in (files or {}).items()
        }
        self.directories = set(directories)
        self.symlinks: set[str] = set()
        self.folders: dict[str, File] = {}
        """What stands for a directory that was opened for its lock."""
        for path in [*self.files, *self.directories]:
            self.directories.update(parents(path))
        self.stable_files = dict(self.files)
        self.stable_directories = set(self.directories)
        self.pending: list[NameChange] = []

    def bytes_of(self, path: str) -> bytes:
        self.files[path].pull()
        return bytes(self.files[path].content)

    def image(self, below: str) -> dict[str, bytes]:
        """Return all files below a directory, by their relative paths."""
        prefix = below.rstrip("/") + "/"
        return {
            path.removeprefix(prefix): self.bytes_of(path)
            for path in sorted(self.files)
            if path.startswith(prefix)
        }

    def change(self, change: NameChange) -> None:
        self.pending.append(change)
        apply_change(change, self.files, self.directories)

    def sync_directory(self, path: str) -> None:
        for change in [change for change in self.pending if parent_of(change.path) == path]:
            self.pending.remove(change)
            apply_change(change, self.stable_files, self.stable_directories)

    def after_power_loss(self, loss: Loss) -> Disk:
        """Return what is found after a power loss at this moment. This disk is left as it is."""
        files, directories = dict(self.stable_files), set(self.stable_directories)
        for change in self.pending:
            if loss.keeps_name():
                apply_change(change, files, directories)
        reachable = {
            path for path in directories if all(above in directories for above in parents(path))
        }
        return Disk(
            {
                path: file.after_power_loss(loss)
                for path, file in files.items()
                if parent_of(path) in reachable
            },
            reachable,
        )

    def copy(self) -> Disk:
        """Return a disk with the same files, all of them stable."""
        copy = Disk({path: self.bytes_of(path) for path in self.files}, self.directories)
        copy.symlinks = set(self.symlinks)
        return copy


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def parents(path: str) -> Iterable[str]:
    while path != "/":
        path = parent_of(path)
        yield path


def apply_change(change: NameChange, files: dict[str, File], directories: set[str]) -> None:
    if change.removed is not None:
        files.pop(change.removed, None)
    if change.is_directory:
        directories.add(change.path)
    elif change.file is not None:
        files[change.path] = change.file


@dataclass(frozen=True)
class Call:
    index: int
    operation: str
    path: str


@dataclass(frozen=True)
class Fault:
    """Fails a call: the one with this index, and every later one too unless `once`."""

    index: int
    error: int = 0
    """The errno value that it gives; 0 with `short`."""
    short: bool = False
    """A write first writes half of its bytes, a read reads half."""
    once: bool = True

    def hits(self, index: int) -> bool:
        return index == self.index or (index > self.index and not self.once)


class MemoryIo:
    """The I/O table of one process.

    The core prepares segments in a thread of its own. Unless `background`, that thread's calls get
    ENOSPC and are not counted: the appending thread then prepares its segments itself, and the
    sequence of calls is always the same.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        fault: Fault | None = None,
        maps: bool = True,
        locks_directories: bool = True,
        background: bool = False,
        seed: int = 0,
    ) -> None:
        self.disk = disk
        self.fault = fault
        self.maps = maps
        self.locks_directories = locks_directories
        self.background = background
        self.randomness = Random(seed)
        self.calls: list[Call] = []
        self.failed: list[Call] = []
        self.mistakes: list[str] = []
        """What the core did that it must never do."""
        self.handles: dict[int, tuple[str, File]] = {}
        self.mappings: dict[int, tuple[Any, File]] = {}
        self.before_call: Callable[[Call], None] | None = None
        self.after_call: Callable[[Call], None] | None = None
        self.drops_segments = False
        """Whether the core may remove segments and snapshots now: while it compacts the log."""
        self.is_dead = False
        self._next_handle = 3
        self._owner = threading.get_ident()
        self._mutex = threading.RLock()
        self._failed_syncs: set[File] = set()
        self._callbacks = {name: self._callback(name, kind) for name, kind in OPERATIONS.items()}
        self.table = ffi.new("aqw_io *", self._callbacks)

    def _callback(self, name: str, kind: Any) -> Any:
        # Without references back, a table and its disk go when the last user does: tests make
        # hundreds of thousands of them.
        io = weakref.ref(self)

        def entry(_context: Any, *arguments: Any) -> int:
            table = io()
            assert table is not None, "the core has outlived its I/O table"
            return table._enter(name, arguments)

        def note(kind: Any, value: Any, traceback: Any) -> None:
            table = io()
            assert table is not None
            table._note_exception(kind, value, traceback)

        return ffi.callback(kind, entry, error=errno.EIO, onerror=note)

    def _enter(self, name: str, arguments: tuple[Any, ...]) -> int:
        with self._mutex:
            if self.is_dead:
                return errno.EIO
            if not self.background and threading.get_ident() != self._owner:
                return errno.ENOSPC
            call = Call(len(self.calls), name, self._path_of(arguments[0]))
            for _, file in self.mappings.values():
                file.pull()
            if self.before_call is not None:
                self.before_call(call)
            self.calls.append(call)
            result = self._act(call, getattr(self, "_" + name), arguments)
            if self.after_call is not None:
                self.after_call(call)
            return result

    def _note_exception(self, kind: Any, value: Any, _traceback: Any) -> None:
        self.mistakes.append(f"{kind.__name__}: {value}")

    def _act(self, call: Call, act: Callable[..., int], arguments: tuple[Any, ...]) -> int:
        fault = self.fault
        if fault is None or not fault.hits(call.index):
            return int(act(*arguments))
        self.failed.append(call)
        return self._fail(call, fault, act, arguments)

    def _fail(
        self, call: Call, fault: Fault, act: Callable[..., int], arguments: tuple[Any, ...]
    ) -> int:
        if fault.short and call.operation in ("read", "write"):
            handle, offset, data, size, done = arguments
            error = int(act(handle, offset, data, (size + 1) // 2, done))
            return fault.error or error
        if fault.error == 0:
            return int(act(*arguments))
        if call.operation == "sync" and fault.error != errno.EINTR:
            file = self.handles[arguments[0]][1]
            file.lose()
            self._failed_syncs.add(file)
        if call.operation in ("close", "unmap"):
            act(*arguments)  # it is gone, whatever the call reports
        return fault.error

    def _path_of(self, first: Any) -> str:
        if isinstance(first, int):
            return self.handles[first][0] if first in self.handles else ""
        if ffi.typeof(first) is ffi.typeof("char *"):
            return text(first)
        return ""

    def fail(self, index: int, error: int) -> None:
        """Fail one call, or the one that is about to be made."""
        self.fault = Fault(index, error)

    def kill(self) -> None:
        """End the process: nothing that it does from now on has an effect. The disk goes on."""
        with self._mutex:
            self.is_dead = True
            for file in self.disk.files.values():
                file.pull()
                file.mapping = None
                file.locked_by = None
            for folder in self.disk.folders.values():
                folder.locked_by = None

    # --- The calls --------------------------------------------------------------------------------

    def _open(self, path: Any, flags: int, handle: Any) -> int:
        name = text(path)
        if name in self.disk.symlinks:
            return errno.ELOOP
        if name in self.disk.directories:
            return errno.EINVAL
        if parent_of(name) not in self.disk.directories:
            return errno.ENOENT
        exists = name in self.disk.files
        if exists and flags & lib.AQW_OPEN_CREATE:
            return errno.EEXIST
        if not exists:
            if not flags & (lib.AQW_OPEN_CREATE | lib.AQW_OPEN_EITHER):
                return errno.ENOENT
            self.disk.change(NameChange(name, File(name=name)))
        handle[0] = self._next_handle
        self.handles[self._next_handle] = (name, self.disk.files[name])
        self._next_handle += 1
        return 0

    def _close(self, handle: int) -> int:
        if handle not in self.handles:
            self.mistakes.append(f"close of {handle}, which is not open")
            return errno.EBADF
        _, file = self.handles.pop(handle)
        if file.locked_by == (id(self), handle):
            file.locked_by = None
        return 0

    def _file(self, handle: int) -> File:
        if handle not in self.handles:
            self.mistakes.append(f"use of {handle}, which is not open")
        return self.handles[handle][1]

    def _read(self, handle: int, offset: int, to: Any, size: int, done: Any) -> int:
        file = self._file(handle)
        file.pull()
        data = file.content[offset : offset + size]
        ffi.buffer(to, len(data))[:] = data
        done[0] = len(data)
        return 0

    def _write(self, handle: int, offset: int, data: Any, size: int, done: Any) -> int:
        file = self._file(handle)
        name = self.handles[handle][0]
        if name.endswith(".log") and file in self._failed_syncs:
            self.mistakes.append(f"write to {name} after its sync failed")
        if name.endswith(".log") and offset + size > len(file.content):
            self.mistakes.append(f"write to {name} past its end")
        file.write(offset, bytes(ffi.buffer(data, size)))
        done[0] = size
        return 0

    def _sync(self, handle: int) -> int:
        file = self._file(handle)
        if file in self._failed_syncs:
            self.mistakes.append(f"another sync of {self.handles[handle][0]} after one failed")
        file.sync()
        return 0

    def _writeback(self, handle: int, _offset: int, _size: int) -> int:
        self._file(handle)
        return 0

    def _truncate(self, handle: int, size: int) -> int:
        file = self._file(handle)
        for data in (file.content, file.stable):
            del data[size:]
        file.pending.clear()
        return 0

    def _size(self, handle: int, size: Any) -> int:
        size[0] = len(self._file(handle).content)
        return 0

    def _rename(self, source: Any, target: Any) -> int:
        old, new = text(source), text(target)
        if old not in self.disk.files:
            return errno.ENOENT
        if new in self.disk.directories:
            return errno.EISDIR
        file = self.disk.files[old]
        file.pull()
        if file.pending:
            self.mistakes.append(f"{old} gets the name {new} before it was synced")
        file.name = new
        self.disk.change(NameChange(new, file, removed=old))
        for handle in [
            handle for handle, (_, open_file) in self.handles.items() if open_file is file
        ]:
            self.handles[handle] = (new, file)
        return 0

    def _unlink(self, path: Any) -> int:
        name = text(path)
        if name in self.disk.directories:
            return errno.EISDIR
        if name not in self.disk.files:
            return errno.ENOENT
        is_full = any(
            call.operation in ("open", "write") and call.path.endswith("/ring.tmp")
            for call in self.failed
        )
        is_ring_kept = name.endswith("/ring") and not is_full
        is_kept = name.endswith((".log", ".snap")) and not self.drops_segments
        if name.endswith(("/LOCK", ".bin")) or is_ring_kept or is_kept:
            self.mistakes.append(f"unlink of {name}")
        self.disk.change(NameChange(name, removed=name))
        return 0

    def _make_directory(self, path: Any) -> int:
        name = text(path)
        if name in self.disk.directories or name in self.disk.files:
            return errno.EEXIST
        self.disk.change(NameChange(name, is_directory=True))
        return 0

    def _check_directory(self, path: Any) -> int:
        name = text(path)
        if name in self.disk.symlinks or name in self.disk.files:
            return errno.ENOTDIR
        return 0 if name in self.disk.directories else errno.ENOENT

    def _sync_directory(self, path: Any) -> int:
        if text(path) not in self.disk.directories:
            return errno.ENOENT
        self.disk.sync_directory(text(path))
        return 0

    def _list(self, path: Any, visit: Any, to: Any) -> int:
        name = text(path)
        if name not in self.disk.directories:
            return errno.ENOENT
        for entry in sorted(self.disk.files.keys() | self.disk.directories | self.disk.symlinks):
            if entry != name and parent_of(entry) == name:
                visit(to, ffi.new("char[]", entry.removeprefix(name).lstrip("/").encode()))
        return 0

    def _map(self, handle: int, size: int, address: Any) -> int:
        if not self.maps:
            return errno.ENOTSUP
        file = self._file(handle)
        if len(file.content) != size:
            self.mistakes.append(f"map of {size} bytes of a file of {len(file.content)}")
        file.mapping = ffi.new("uint8_t[]", size)
        ffi.buffer(file.mapping)[:] = file.content
        address[0] = file.mapping
        self.mappings[int(ffi.cast("uintptr_t", file.mapping))] = (file.mapping, file)
        return 0

    def _unmap(self, address: Any, _size: int) -> int:
        _, file = self.mappings.pop(int(ffi.cast("uintptr_t", address)))
        file.pull()
        file.mapping = None
        return 0

    def _lock(self, handle: int) -> int:
        file = self._file(handle)
        if file.locked_by is not None:
            return errno.EWOULDBLOCK
        file.locked_by = (id(self), handle)
        return 0

    def _unlock(self, handle: int) -> int:
        self._file(handle).locked_by = None
        return 0

    def _lock_directory(self, path: Any, handle: Any) -> int:
        if not self.locks_directories:
            return errno.ENOTSUP
        name = text(path)
        if (error := self._check_directory(path)) != 0:
            return error
        folder = self.disk.folders.setdefault(name, File(name=name))
        if folder.locked_by is not None:
            return errno.EWOULDBLOCK
        folder.locked_by = (id(self), self._next_handle)
        handle[0] = self._next_handle
        self.handles[self._next_handle] = (name, folder)
        self._next_handle += 1
        return 0

    def _probe_lock(self, path: Any) -> int:
        file = self.disk.files.get(text(path))
        if file is None:
            return errno.ENOENT
        return 0 if file.locked_by is None else errno.EWOULDBLOCK

    def _check_same(self, handle: int, path: Any) -> int:
        name = text(path)
        return (
            0
            if self._file(handle) in (self.disk.files.get(name), self.disk.folders.get(name))
            else errno.ESTALE
        )

    def _check_named(self, handle: int, folder: int, name: Any) -> int:
        held = self._file(folder)
        found = [path for path, file in self.disk.folders.items() if file is held]
        named = [self.disk.files.get(posixpath.normpath(f"{path}/{text(name)}")) for path in found]
        return 0 if self._file(handle) in named else errno.ESTALE

    def _identity(self, handle: int, identity: Any) -> int:
        identity[0] = self._file(handle).identity
        return 0

    def _random(self, to: Any, size: int) -> int:
        ffi.buffer(to, size)[:] = self.randomness.randbytes(size)
        return 0


def text(path: Any) -> str:
    raw: bytes = ffi.string(path)
    return raw.decode()


def home() -> Disk:
    """Return a disk with nothing but the directory in which queues are made."""
    return Disk(directories=["/home"])
