"""The supervisor's record of what the scheduler acknowledged, and the search for it in the log.

A fact is the name of a kind of event and the fields of one, as texts. The scheduler's process
states facts from what it asked for and what the call returned; the log's are read from its events.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import msgspec

from actionqueue.inspection import iterate_records

__all__ = ["Fact", "fact", "facts_in_log", "facts_in_record", "record_line"]

Fact: TypeAlias = tuple[str, ...]

FIELDS = {
    "task_created": ("task_spec",),
    "budget_allocated": ("limit",),
    "budget_consumed": ("amount",),
    "budget_replenished": ("new_limit",),
    "engine_paused": (),
    "engine_resumed": (),
    "lease_acquired": ("run_id", "owner", "expiry"),
    "lease_heartbeat": ("run_id", "owner", "expiry"),
    "lease_expired": ("run_id",),
    "attempt_started": ("run_id", "attempt_id"),
    "attempt_finished": ("run_id", "attempt_id", "result", "error", "output"),
    "run_state_changed": ("run_id", "new_state"),
}
"""The kinds of events that calls acknowledge, each with the fields that the caller knows."""


def fact(kind: str, *fields: object) -> Fact:
    """Return a fact. The fields stand in the order of ``FIELDS``; nothing is an empty text."""
    return kind, *(str(field or "") for field in fields)


def facts_in_log(directory: Path) -> Counter[Fact]:
    """Return the facts that the log has, and how often it has each."""
    facts: Counter[Fact] = Counter()
    for record in iterate_records(directory):
        if record.name in FIELDS:
            event = record.event()
            facts[fact(record.name, *(getattr(event, name) for name in FIELDS[record.name]))] += 1
    return facts


def record_line(facts: Iterable[Fact]) -> bytes:
    """Return the record's line for facts that were acknowledged together."""
    return msgspec.json.encode(list(facts)) + b"\n"


def facts_in_record(record: Path) -> Counter[Fact]:
    """Return the facts of the record, and how often it has each."""
    with record.open("rb") as lines:
        return Counter(tuple(entry) for line in lines for entry in json.loads(line))
