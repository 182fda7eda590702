"""The crash-image enumerator: for every moment of a session, the disks that a crash may leave, each
opened and judged.

Three kinds of crash are tried at each moment (before every I/O call, after every step):

- a power loss: the states of :mod:`disk_states`, all of them where there are at most so many
  (:class:`Effort`), else a sample; and a sample of those with torn sectors;
- a kill of the process, which leaves the page cache: everything acknowledged is there;
- a kill in the middle of what comes next, a store into the ring or a write: a part of its bytes is
  there.

A share of the disks found is recovered once more with every crash of that recovery enumerated in
turn, and so on to a depth: each must come to the same events as the recovery that nobody disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

from tests.support.core.crash_images import Account
from tests.support.core.log_driver import DIRECTORY, CoreError
from tests.support.core.memory_io import Disk
from tests.support.crash.disk_states import State, States
from tests.support.crash.judge import BrokenPromise, Judge
from tests.support.crash.sessions import MODES, Image, Moment, RecordedSession, Scenario

SECTOR = 512


@dataclass(frozen=True)
class Effort:
    """How much is tried."""

    states: int
    """Power losses at a moment that has more states than are all tried; and so many more with torn
    sectors.
    """
    cuts: int
    """Kills in the middle of a store or write."""
    all_up_to: int = 0
    """At a moment with at most so many states, all of them are tried."""
    every: int = 1
    """Only each so-many-th moment, with every name change all the same."""
    recoveries: int = 0
    """One disk of so many is recovered under crashes; 0 = none."""
    depth: int = 1
    """How deep recoveries of recoveries go."""


SHORT = Effort(states=2, cuts=1, every=7, recoveries=100)
LONG = Effort(states=4, cuts=2, all_up_to=64, recoveries=150, depth=2)
HUNT = Effort(states=8, cuts=2, recoveries=60)


@dataclass
class Tally:
    images: int = 0
    """Different disks that were opened."""
    checks: int = 0
    """Disks held against a promise; many are the same as one before."""
    moments: int = 0
    exhausted: int = 0
    """Moments at which every state was tried, torn sectors apart."""
    recoveries: int = 0
    names_lost: int = 0
    """Disks on which a change of names was lost."""
    name_changes: set[str] = field(default_factory=set)
    name_changes_lost: set[str] = field(default_factory=set)
    """Those that were lost while every other one at the time was kept."""


class Enumeration:
    """All that is tried with one session in one mode."""

    def __init__(self, scenario: Scenario, mode: str, effort: Effort) -> None:
        self.scenario = scenario
        self.mode = mode
        self.effort = effort
        self.options: dict[str, Any] = {**scenario.options, **MODES[mode]}
        self.judge = Judge(**self.options)
        self.random = Random(f"{scenario.name} {mode}")
        self.tally = Tally()
        self._fresh = 0

    def run(self) -> Tally:
        """Try everything. Raises BrokenPromise with a description of the first disk that breaks
        one.
        """
        try:
            moments = self.scenario.run(self.mode).moments
        except (AssertionError, CoreError) as broken:
            raise BrokenPromise(
                f"the session itself went wrong: {broken!r}\n"
                f"  session: {self.scenario.name} ({self.mode})"
            ) from broken
        names: set[int] = set()
        for number, (moment, following) in enumerate(pairwise([*moments, moments[-1]])):
            changed = {id(unit.change) for unit in moment.states.names} - names
            names |= changed
            if changed or number % self.effort.every == 0 or "call" not in moment.where:
                self.crash(moment, following)
        self.tally.images, self.tally.checks = self.judge.images, self.judge.checks
        return self.tally

    def crash(self, moment: Moment, following: Moment) -> None:
        self.tally.moments += 1
        for state in self.power_losses(moment.states):
            self.check(moment, state, state.disk(), moment.account, moment.account.durable)
        self.check(
            moment, "a kill", disk_of(moment.alive), moment.account, moment.account.acknowledged
        )
        if following.is_new_life:
            return
        for text, disk in self.partial(moment.alive, following.alive):
            self.check(moment, text, disk, following.account, moment.account.acknowledged)

    def power_losses(self, states: States) -> Iterator[State]:
        names = [f"{unit.change.removed} {unit.change.path}" for unit in states.names]
        self.tally.name_changes.update(names)
        self.tally.exhausted += states.count <= max(self.effort.states, self.effort.all_up_to)
        for state in states.choose(
            self.effort.states, self.random, all_up_to=self.effort.all_up_to
        ):
            lost = [
                name for name, outcome in zip(names, state.outcomes, strict=False) if outcome == 0
            ]
            self.tally.names_lost += bool(lost)
            if len(lost) == 1:
                self.tally.name_changes_lost.update(lost)
            yield state

    def partial(self, now: Image, then: Image) -> Iterator[tuple[str, Disk]]:
        """Yield disks on which the next change of a file's bytes was done in part."""
        for path, data in now.items():
            new = then.get(path, data)
            if data is new or len(data) != len(new) or data == new:
                continue
            first, last = differing(data, new)
            cuts = {self.random.randrange(first, last + 1) for _ in range(self.effort.cuts)}
            cuts |= set(
                self.random.sample(
                    inner := range(first - first % SECTOR + SECTOR, last, SECTOR),
                    min(len(inner), 2),
                )
            )
            for cut in sorted(cuts):
                yield (
                    f"a kill with {path} changed up to {cut} of {first} to {last}",
                    disk_of({**now, path: new[:cut] + data[cut:]}),
                )

    def check(
        self, moment: Moment, how: State | str, disk: Disk, account: Account, at_least: int
    ) -> None:
        is_chosen = self.effort.recoveries and (self._fresh + 1) % self.effort.recoveries == 0
        before = disk.copy() if is_chosen else None
        try:
            is_new = self.judge.check(disk, account, at_least)
            self._fresh += is_new
            if before is not None and is_new:
                self.crash_recovery(before, self.effort.depth)
        except BrokenPromise as broken:
            account_text = f"durable {account.durable}, acknowledged {account.acknowledged}"
            raise BrokenPromise(
                f"{broken}\n  session: {self.scenario.name} ({self.mode}), "
                f"{moment.where}; {account_text}"
                f"\n  image: {how}"
            ) from broken

    def crash_recovery(self, disk: Disk, depth: int) -> None:
        """Cut the recovery of a disk short at every moment: the next one finds what it would have
        found.
        """
        self.tally.recoveries += 1
        session = RecordedSession(disk, **self.options)
        session.next_seed = self.random.getrandbits(62)
        expected = self.judge.open(disk.copy(), seed=session.next_seed)
        recovered = expected.recovered
        expected.kill()
        session.account = Account([tuple(recovered)] if recovered else [], 0, 0)
        session.open()
        session.kill()
        inner = Random(self.random.getrandbits(32))
        for moment in session.moments:
            states = list(moment.states.choose(max(self.effort.states // 4, 2), inner))
            for how in [*states, "a kill"]:
                left = disk_of(moment.alive) if isinstance(how, str) else how.disk()
                again = left.copy() if depth > 1 and inner.random() < 0.01 else None
                try:
                    self.judge.check(left, session.account, len(recovered))
                    if again is not None:
                        self.crash_recovery(again, depth - 1)
                except BrokenPromise as broken:
                    raise BrokenPromise(
                        f"{broken}\n  in a recovery, {moment.where}: {how}"
                    ) from broken


def differing(one: bytes, other: bytes) -> tuple[int, int]:
    """Return the first and the last offset where two byte strings of the same length differ."""
    first = next(
        at for at in range(0, len(one), 4096) if one[at : at + 4096] != other[at : at + 4096]
    )
    first = next(at for at in range(first, len(one)) if one[at] != other[at])
    last = next(
        at
        for at in range(len(one), 0, -4096)
        if one[max(at - 4096, 0) : at] != other[max(at - 4096, 0) : at]
    )
    return first, next(at for at in range(last - 1, -1, -1) if one[at] != other[at])


def disk_of(alive: Image) -> Disk:
    """Return the disk that a kill leaves, with all of it stable."""
    return Disk(alive, ["/home", DIRECTORY, f"{DIRECTORY}/wal"] if alive else ["/home"])
