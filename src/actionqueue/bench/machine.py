"""The machine of a measurement, as far as the system describes it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import msgspec

import actionqueue

__all__ = ["IN_MEMORY", "Machine", "machine_of"]

UNKNOWN = "unknown"
FILE_SYSTEMS_IN_MEMORY = {"tmpfs", "ramfs"}
IN_MEMORY = (
    "This file system is in memory: no sync reaches a disk, and a power loss takes everything. "
    "Measure on the queue's disk."
)
"""A report's warning on such a file system."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine, its software, and the disk of one directory."""

    processor: str
    cores: int
    """Cores that this process may use."""
    memory_bytes: int
    """0 if the system does not say."""
    system: str
    python: str
    actionqueue: str
    file_system: str
    """Type and mount options."""
    device: str
    """The block device, with what the system says of it."""
    is_in_memory: bool = False
    """Whether the directory's file system is in memory, so that a power loss takes all of it."""
    load: float
    """The mean number of processes that ran or waited to run in the minute before the measurement;
    0 if the system does not say."""


def machine_of(directory: Path) -> Machine:
    """Describe this machine, and the disk of the directory."""
    file_system, device = _mount(directory)
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.python_compiler()}",
        actionqueue=actionqueue.__version__,
        file_system=file_system,
        is_in_memory=file_system.partition(" ")[0] in FILE_SYSTEMS_IN_MEMORY,
        device=device,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def _text(path: str | Path) -> str:
    """Return a small file's text, empty if it can't be read: a system need not tell any fact."""
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _processor() -> str:
    for line in _text("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or UNKNOWN


def _memory_bytes() -> int:
    if sys.platform == "win32":
        return 0
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0


def _mount(directory: Path) -> tuple[str, str]:
    """Return the file system and the device that the directory lies on."""
    number = directory.stat().st_dev
    if not hasattr(os, "major"):
        return UNKNOWN, UNKNOWN
    name = f"{os.major(number)}:{os.minor(number)}"
    for line in _text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == name:
            kind, source = after.split()[:2]
            return f"{kind} ({before.split()[5]})", _device(name, source)
    return UNKNOWN, name


def _device(name: str, source: str) -> str:
    """Return a block device's name, with what its queue says of itself."""
    block = Path("/sys/dev/block") / name
    queue = next(
        (path / "queue" for path in (block, block.resolve().parent) if (path / "queue").is_dir()),
        None,
    )
    if queue is None:
        return source
    facts = [source, _text(queue.parent / "device" / "model")]
    facts.append({"0": "not rotating", "1": "rotating"}.get(_text(queue / "rotational"), ""))
    cache = _text(queue / "write_cache")
    facts.append(f"{cache} cache" if cache else "")
    return ", ".join(filter(None, facts))
