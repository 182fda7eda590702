"""Files that another program keeps to itself, as a virus scanner or a backup may on Windows."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from tests.support.queues import SMALL, replayed, task_create

pytestmark = pytest.mark.platform("held files")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep a file from all others for a while: they can neither read nor write nor remove it."""
    assert sys.platform == "win32"
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = ctypes.c_void_p
    generic_read, shared_with_none, open_existing = 0x80000000, 0, 3
    handle = kernel.CreateFileW(
        str(path), generic_read, shared_with_none, None, open_existing, 0, None
    )
    assert handle not in (None, ctypes.c_void_p(-1).value), ctypes.get_last_error()
    try:
        yield
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


FILES: dict[str, Callable[[Path], Path]] = {
    "ring": lambda path: path / "ring",
    "segment": lambda path: max((path / "wal").glob("*.log")),
    "LOCK": lambda path: path / "LOCK",
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ring", {}),
        ("segment", {}),
        ("LOCK", {}),
        ("ring", {"readonly": True}),
        ("segment", {"readonly": True}),
    ],
)
def test_opening_says_so_and_succeeds_afterwards(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    with aq.open(tmp_path, **SMALL) as queue:
        queue.submit(task_create())
    with held(FILES[name](tmp_path)), pytest.raises(aq.OpenIOError) as failure:
        aq.open(tmp_path, **options)
    assert failure.value.errno == errno.EBUSY
    assert "let go of the file in the program that holds it" in str(failure.value)
    with aq.open(tmp_path, **options) as again:
        assert again.sequence == 1


def test_a_queue_that_is_open_goes_on_beside_a_program_that_reads_its_files(
    tmp_path: Path,
) -> None:
    """Such a program lets others read and write, as most do; removing waits until it has gone."""
    with aq.open(tmp_path, compaction=None, **SMALL) as queue:
        queue.submit(task_create())
        files = [file.open("rb") for file in tmp_path.rglob("*") if file.is_file()]
        try:
            for _ in range(30):
                queue.submit(task_create(b"x" * 9000))
            assert queue.stats()["rotations"] > 1
        finally:
            for file in files:
                file.close()
    assert replayed(tmp_path).latest_sequence == 31
