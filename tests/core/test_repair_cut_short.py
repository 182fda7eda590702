"""Repair, cut short: the queue is refused still or opens with just what is kept, and it can be run
again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import pytest

from tests.support.core.crash_images import numbered
from tests.support.core.damaged_queues import (
    RING,
    SIZE,
    check_nothing_destroyed,
    flip,
    log_of,
    lose,
    remove,
    replace_file,
    segment_paths,
    singles,
)
from tests.support.core.log_driver import DIRECTORY, CoreError
from tests.support.core.memory_io import (
    RETRIED,
    Disk,
    Fault,
    Loss,
    MemoryIo,
    NoLoss,
    RandomLoss,
    home,
)
from tests.support.core.snapshot_driver import (
    data_up_to,
    opened_log,
    reopened,
    repair,
    snapshot_path,
)


@dataclass(frozen=True)
class Case:
    """A damaged disk, and what a repair keeps of it."""

    disk: Disk
    kept: list[bytes]


def damaged_in_the_middle() -> Case:
    disk = log_of(*singles(6, SIZE), compactions=(3,))
    lose(disk, numbered(5, SIZE))
    return Case(disk, data_up_to(4, SIZE))


def damaged_at_its_end_with_events_in_the_ring() -> Case:
    disk = home()
    log = opened_log(disk)
    log.commit(numbered(1))
    log.append(numbered(2))
    log.append(numbered(3), numbered(4))
    log.kill()
    disk = disk.copy()
    replace_file(disk, segment_paths(disk)[0].replace("1-0", "2-0"), b"junk")
    return Case(disk, data_up_to(4))


def damaged_below_a_snapshot() -> Case:
    disk = log_of(*singles(6), compactions=(6,))
    lose(disk, numbered(5))
    return Case(disk, data_up_to(6))


def damaged_with_its_snapshot() -> Case:
    disk = log_of(*singles(6), compactions=(5,))
    flip(disk, snapshot_path(5), 80)
    lose(disk, numbered(6))
    return Case(disk, data_up_to(5))


def without_a_ring() -> Case:
    disk = log_of(*singles(4, SIZE))
    remove(disk, RING)
    return Case(disk, data_up_to(4, SIZE))


def damaged_from_its_beginning() -> Case:
    disk = log_of(*singles(4, SIZE))
    lose(disk, numbered(1, SIZE))
    return Case(disk, [])


CASES = [
    damaged_in_the_middle,
    damaged_at_its_end_with_events_in_the_ring,
    damaged_below_a_snapshot,
    damaged_with_its_snapshot,
    without_a_ring,
    damaged_from_its_beginning,
]


def check_half_done(case: Case, disk: Disk) -> None:
    """It is refused still, or it opens with just what a repair keeps; and a repair comes to its
    end.
    """
    before = disk.copy()
    try:
        with opened_log(disk.copy(), seed=60) as log:
            assert log.recovered == case.kept
    except CoreError as error:
        assert error.status == "corrupt"
        repair(MemoryIo(disk, seed=61))
    check_nothing_destroyed(case.disk, disk)
    check_nothing_destroyed(before, disk)
    with opened_log(disk, seed=62) as log:
        assert log.recovered == case.kept
        check_nothing_destroyed(case.disk, disk)
        log.commit(b"on")
    assert reopened(disk).recovered == [*case.kept, b"on"]


@pytest.mark.parametrize("make", CASES)
def test_every_call_fails(make: Callable[[], Case], long_form: bool) -> None:
    case = make()
    io = MemoryIo(case.disk.copy())
    repair(io)
    faults = [
        Fault(0, errno.EIO),
        Fault(0, errno.ENOSPC, once=False),
        Fault(0, errno.EINTR),
        Fault(0, 0, short=True),
    ]
    for call in io.calls:
        for fault in (
            faults
            if long_form
            else [faults[call.index % 4], *faults[: call.operation in ("rename", "sync")]]
        ):
            disk = case.disk.copy()
            failing = MemoryIo(disk, fault=replace(fault, index=call.index))
            try:
                repair(failing)
            except CoreError as error:
                assert fault.error in (error.fault.system_error, errno.EIO)
                assert fault.error != errno.EINTR or call.operation not in RETRIED
            assert not failing.handles
            assert not failing.mistakes
            check_half_done(case, disk)


@pytest.mark.parametrize("make", CASES)
def test_power_loss_at_every_call(make: Callable[[], Case], long_form: bool) -> None:
    case = make()
    disk = case.disk.copy()
    random = Random(3)
    images: list[Disk] = []
    io = MemoryIo(disk)
    io.before_call = lambda _call: images.extend(
        disk.after_power_loss(loss)
        for loss in [
            Loss(),
            NoLoss(),
            *(RandomLoss(Random(random.random())) for _ in range(8 if long_form else 0)),
        ]
    )
    repair(io)
    images += [disk.after_power_loss(Loss()), disk.copy()]
    seen = set()
    for image in images:
        key = hash(
            tuple((name, data) for name, data in image.image(DIRECTORY).items() if name != "LOCK")
        )
        if key not in seen:
            seen.add(key)
            check_half_done(case, image)
    assert len(seen) > 3
