"""The fsync policies that bench compares: how each is used, and what it survives."""

from __future__ import annotations

import msgspec

from actionqueue.sync_policy import SyncPolicy

__all__ = ["DEFAULT_CHOICE", "NOTHING_IN_MEMORY", "Choice", "Mode", "modes_of"]

ALL = "everything"
NOTHING_IN_MEMORY = "nothing: this file system is in memory, whatever is synced"
"""What every mode leaves after a power loss without a disk."""


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """A way to submit commands and to make them durable."""

    name: str
    """For options and files."""
    title: str
    """For people."""
    family: str
    """immediate, group or deferred."""
    threads: int = 1
    group: int = 1
    """Commands in one submit and one sync."""
    sync: SyncPolicy = SyncPolicy()
    """When the queue syncs by itself."""
    survives_kill: str = ALL
    """Which acknowledged commands are there after a kill of the process."""
    survives_power_loss: str

    @property
    def durability(self) -> str:
        """The durability of the commands."""
        return "deferred" if self.family == "deferred" else "immediate"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the modes."""

    threads: tuple[int, ...] = (1, 8)
    groups: tuple[int, ...] = (64, 1024)
    records: tuple[int, ...] = (1000,)
    bytes: tuple[int, ...] = (256 * 1024,)
    milliseconds: tuple[int, ...] = (10,)


DEFAULT_CHOICE = Choice()


def _size(number: int) -> str:
    return f"{number // 1024:,} KiB" if number % 1024 == 0 else _plural(number, "byte")


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def modes_of(choice: Choice) -> list[Mode]:
    """Return the modes, the safest first."""
    return [
        *(
            Mode(
                name=f"immediate-{threads}",
                title=f"Immediate, {_plural(threads, 'thread')}",
                family="immediate",
                threads=threads,
                survives_power_loss=ALL,
            )
            for threads in choice.threads
        ),
        *(
            Mode(
                name=f"group-{group}",
                title=f"Immediate, groups of {group:,}",
                family="group",
                group=group,
                survives_power_loss=ALL,
            )
            for group in choice.groups
        ),
        *(
            Mode(
                name=f"records-{records}",
                title=f"Deferred, sync every {_plural(records, 'record')}",
                family="deferred",
                sync=SyncPolicy(records=records),
                survives_power_loss=f"all but about the last {_plural(records, 'record')}, and "
                "what came during the last sync",
            )
            for records in choice.records
        ),
        *(
            Mode(
                name=f"bytes-{size}",
                title=f"Deferred, sync every {_size(size)}",
                family="deferred",
                sync=SyncPolicy(bytes=size),
                survives_power_loss=f"all but about the last {_size(size)} of records, and what "
                "came during the last sync",
            )
            for size in choice.bytes
        ),
        *(
            Mode(
                name=f"milliseconds-{time}",
                title=f"Deferred, sync every {_plural(time, 'millisecond')}",
                family="deferred",
                sync=SyncPolicy(milliseconds=time),
                survives_power_loss=f"all but about the last {_plural(time, 'millisecond')}, and "
                "what came during the last sync",
            )
            for time in choice.milliseconds
        ),
        Mode(
            name="ring",
            title="Deferred, sync as the ring fills",
            family="deferred",
            sync=SyncPolicy(when_ring_fills=True),
            survives_power_loss="all but about the last ring of records, and what came during the "
            "last sync",
        ),
        Mode(
            name="system",
            title="Deferred, left to the system",
            family="deferred",
            survives_power_loss="what the system happened to have written: at worst nothing since "
            "the last rotation or explicit sync",
        ),
    ]
