"""What the log proves, and what another process's own record proves.

"Completed exactly once" is a statement about the log, and only the log counts. Workers may parse a
file twice, if the worker or the scheduler dies before it records the result; but the log records
exactly one attempt as a success, and the run enters the state completed exactly once.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from actionqueue import model
from actionqueue.demo.messages import Trouble
from actionqueue.demo.record import facts_in_log, facts_in_record
from actionqueue.demo.tasks import ATTEMPTS_MAX, SWEEP
from actionqueue.demo.worker import measure
from actionqueue.inspection import iterate_records, read_projection
from actionqueue.json.projection import projection_to_json
from actionqueue.model import AttemptResultKind, RunId, RunState, TaskId
from actionqueue.projection import Projection

__all__ = ["Journal", "Statement", "fingerprint", "prove", "survival"]

UNSUCCESSFUL = {AttemptResultKind.FAILURE, AttemptResultKind.TIMEOUT}


class Statement(NamedTuple):
    """A sentence, and whether the log proves it."""

    text: str
    holds: bool
    evidence: str


def fingerprint(projection: Projection) -> str:
    """Return a hash of everything in a projection."""
    return hashlib.sha256(
        msgspec.json.encode(projection_to_json(projection), order="sorted")
    ).hexdigest()


# --- What the log says of each run ----------------------------------------------------------------


class RunStory(msgspec.Struct):
    """What the log says of a run."""

    task_id: TaskId
    results: list[AttemptResultKind]
    ends: list[RunState]
    owners: list[str]
    expired: list[str]
    """Owners whose lease expired."""


class Journal:
    """Reads the log once from the beginning to the end, and keeps what the statements need."""

    def __init__(self, directory: Path) -> None:
        self.paths: dict[TaskId, str] = {}
        self.runs: dict[RunId, RunStory] = {}
        self.sequences: list[int] = []
        self.pauses = 0
        self.leases_while_paused = 0
        self.budgets: list[int] = []
        self.leases_without_budget = 0
        self.replayed = Projection()
        self._is_paused = False
        self._spent = 0
        for event in (record.event() for record in iterate_records(directory) if record.is_event):
            self.sequences.append(event.sequence)
            self.replayed.apply_event(event)
            self._read(event)

    def _read(self, event: model.Event) -> None:
        match event:
            case model.TaskCreated(task_spec=spec) if spec.id != SWEEP:
                self.paths[spec.id] = os.fsdecode(spec.payload.data)
            case model.RunCreated(run_instance=run):
                self.runs[run.id] = RunStory(run.task_id, [], [], [], [])
            case model.RunStateChanged(run_id=run_id, new_state=state) if state.is_terminal:
                self.runs[run_id].ends.append(state)
            case model.AttemptFinished(run_id=run_id, result=result):
                self.runs[run_id].results.append(result)
            case model.LeaseAcquired(run_id=run_id, owner=owner):
                self.runs[run_id].owners.append(owner)
                self.leases_while_paused += self._is_paused
                self.leases_without_budget += self._spent >= self.budgets[-1]
            case model.LeaseExpired(run_id=run_id, owner=owner):
                self.runs[run_id].expired.append(owner)
            case model.EnginePaused() | model.EngineResumed():
                self._is_paused = isinstance(event, model.EnginePaused)
                self.pauses += self._is_paused
            case model.BudgetAllocated(limit=limit) | model.BudgetReplenished(new_limit=limit):
                self.budgets.append(limit)
                self._spent = 0
            case model.BudgetConsumed(amount=amount):
                self._spent += amount

    def in_state(self, state: RunState) -> list[RunStory]:
        """Return the runs that ended in a state, and in no other."""
        return [run for run in self.runs.values() if run.ends == [state]]


# --- The statements -------------------------------------------------------------------------------


def prove(
    directory: Path, record: Path, paths: Sequence[str], trouble: Trouble, live: str
) -> list[Statement]:
    """Return the statements. ``live`` is the fingerprint of the scheduler's own projection."""
    journal = Journal(directory)
    return [
        _planned_once(journal, paths),
        _completed_once(journal),
        _failures_accounted_for(journal, trouble),
        survival(directory, record),
        _without_gap(journal),
        _replay(journal, directory, live),
        _expired_lease(journal, trouble),
        Statement(
            "Nothing was leased while paused",
            _held(journal.pauses, journal.leases_while_paused),
            f"{_times(journal.pauses)} paused",
        ),
        Statement(
            "Nothing was leased without budget",
            _held(len(journal.budgets) - 1, journal.leases_without_budget),
            f"{_times(len(journal.budgets) - 1)} used up and replenished",
        ),
    ]


def survival(
    directory: Path, record: Path, text: str = "Everything acknowledged is in the log"
) -> Statement:
    """State that the log has all that the scheduler's calls acknowledged, with every field."""
    expected = facts_in_record(record)
    total, found = expected.total(), (expected & facts_in_log(directory)).total()
    return Statement(text, 0 < total == found, f"{found:,} of {total:,}, field by field")


def _held(times: int, breaches: int) -> bool:
    return times >= 1 and breaches == 0


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _planned_once(journal: Journal, paths: Sequence[str]) -> Statement:
    tasks_of_runs = sorted(journal.paths[run.task_id] for run in journal.runs.values())
    holds = tasks_of_runs == sorted(paths) and len(journal.paths) == len(paths)
    return Statement(
        "One task and one run for every file",
        holds,
        f"{len(journal.runs):,} runs, {len(paths):,} files",
    )


def _completed_once(journal: Journal) -> Statement:
    completed = journal.in_state(RunState.COMPLETED)
    exact = sum(run.results.count(AttemptResultKind.SUCCESS) == 1 for run in completed)
    failed = len(journal.in_state(RunState.FAILED))
    holds = exact == len(completed) == len(journal.runs) - failed
    return Statement(
        "Every sound file completed exactly once",
        holds,
        f"{exact:,} of {len(completed):,}: one success each",
    )


def _failures_accounted_for(journal: Journal, trouble: Trouble) -> Statement:
    """State that a run failed only if its file could not succeed, and after all its attempts."""
    failed = journal.in_state(RunState.FAILED)
    exhausted = all(
        len(run.results) == ATTEMPTS_MAX and set(run.results) <= UNSUCCESSFUL for run in failed
    )
    impossible = all(
        path == trouble.fails_always or _cannot_be_parsed(path)
        for path in (journal.paths[run.task_id] for run in failed)
    )
    retried = sum(
        run.results.count(AttemptResultKind.FAILURE)
        for run in journal.runs.values()
        if run.ends != [RunState.FAILED]
    )
    evidence = f"{len(failed)} failed; {retried} others were retried"
    return Statement(
        "Every other file failed, with a reason",
        exhausted and impossible and len(failed) > 0,
        evidence,
    )


def _cannot_be_parsed(path: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            measure(Path(path).read_bytes())
        except Exception:  # noqa: BLE001 -- the worker judges alike
            return True
    return False


def _without_gap(journal: Journal) -> Statement:
    holds = journal.sequences == list(range(1, len(journal.sequences) + 1))
    return Statement("The log has no gap", holds, f"sequences 1 to {len(journal.sequences):,}")


def _replay(journal: Journal, directory: Path, live: str) -> Statement:
    prints = {live, fingerprint(journal.replayed), fingerprint(read_projection(directory))}
    text = "Replaying gives the same projection"
    return Statement(
        text,
        len(prints) == 1,
        f"in 3 ways, fingerprint {live[:8]}" if len(prints) == 1 else "they differ",
    )


def _expired_lease(journal: Journal, trouble: Trouble) -> Statement:
    """State that another worker finished the killed one's run, and each expired run ended once.

    On a busy machine leases of merely slow workers expire too, and these may take the same run
    again.
    """
    hung = next(run for run in journal.runs.values() if journal.paths[run.task_id] == trouble.hangs)
    expired = [run for run in journal.runs.values() if run.expired]
    moved_on = hung.owners[0] in hung.expired and hung.owners[-1] != hung.owners[0]
    ended = all(len(run.ends) == 1 for run in expired)
    text = "What the killed had begun was finished"
    leases = sum(len(run.expired) for run in expired)
    return Statement(
        text, moved_on and ended, f"{leases} {'lease' if leases == 1 else 'leases'} expired first"
    )
