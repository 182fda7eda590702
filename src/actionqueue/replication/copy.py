"""The directory of a queue whose log is in a store: a copy of the log, and the outbox.

What the store has is the truth. A copy that is damaged, too old, or has events which another
writer's took the place of is made again from the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import structs

from _wal_native.events import decode_event
from _wal_native.group import records_of_group
from _wal_native.log import Log, open_log
from _wal_native.reader import LogFollower
from actionqueue.clock import now
from actionqueue.damage import repair
from actionqueue.directory import holder_text, lock_path
from actionqueue.errors import (
    AcknowledgedLostError,
    ActionQueueError,
    CompactedError,
    CorruptLogError,
    DamagedGroupError,
    LockedError,
    NotAQueueError,
    OpenIOError,
    OtherLogError,
    TrimmedError,
)
from actionqueue.json.commands import event_to_json
from actionqueue.opening import NOTE_NAME
from actionqueue.projection import Projection
from actionqueue.replication.alone import alone_in
from actionqueue.replication.groups import Chain
from actionqueue.replication.note import Note, Tail, read_note, sync_directory, write_note
from actionqueue.replication.snapshots import fetch
from actionqueue.stores.protocol import Head, LogStore

__all__ = ["Copy"]

GROUP_OVERHEAD = 64
"""Bytes of a group beside its events, which take less than records do."""
FILES = ("wal", "snapshots", "ring")


class Copy:
    """An open copy: the log and the projection of a directory."""

    def __init__(self, directory: str, store: LogStore, options: dict[str, Any]) -> None:
        self.directory = directory
        self._store = store
        self._options = options
        self.info = store.describe()
        """Asked once: a takeover has no time for nodes that do not answer."""
        self.log: Log
        self.projection: Projection
        self.report: dict[str, Any]
        self.note: Note
        self.has_rest = False
        """Whether events behind the log's end are in the outbox, and no term to ship them in."""
        self._rest_after = 0
        self._is_let_go = False
        """Whether a call that began to make the copy again has failed since."""

    # --- Opening ----------------------------------------------------------------------------------

    def open(self, head: Head) -> None:
        """Open the directory as a copy that goes on where the store can go on.

        Raises OtherLogError, AcknowledgedLostError where the store lacks events that it had, the
        OpenError family, and what the store raises.
        """
        if not self._options["may_create"] and not Path(self.directory, "wal").exists():
            raise NotAQueueError(self.directory)
        try:
            Path(self.directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OpenIOError("create", self.directory, error.errno or 0) from error
        with alone_in(self.directory):
            try:
                self._open_alone(head)
            except BaseException:
                self._let_go()  # the exception refers to the log, and must not keep it open
                raise

    def _let_go(self) -> None:
        log = getattr(self, "log", None)
        if log is not None:
            with contextlib.suppress(ActionQueueError):
                log.close()

    def _open_alone(self, head: Head) -> None:
        self._ensure_of(head)
        if self.note.begins_again:  # an opening that gave them up has not come to it
            self._drop()
            self._forget_term()
        self._begin_with_snapshot(head)
        try:
            self._open(head)
        except CorruptLogError:
            self._set_aside()
            self._begin_with_snapshot(head)
            self._open(head)
        known = self._known()
        if not self._agrees(min(known, head.watermark), head):
            self._give_up_what_others_wrote(self._begins_behind(head.trimmed_to))
        elif not self.may_resume(head):
            self._give_up_what_others_wrote(known, keeps_the_rest=True)
        if self.log.last_sequence < head.trimmed_to:
            self._begin_again(head)

    def may_resume(self, head: Head) -> bool:
        """Whether no other writer came since this directory's queue was the writer."""
        return self.note.term.epoch != 0 and self.note.term.epoch == head.epoch

    def _ensure_of(self, head: Head) -> None:
        note = read_note(self.directory)
        if note is None:
            if any(Path(self.directory, name).exists() for name in FILES):
                raise OtherLogError(
                    self.directory,
                    f"has a queue that is in no store, or whose {NOTE_NAME} is gone",
                )
            note = Note(head.log_id)
            write_note(self.directory, note)  # before the files that it is about
        if note.log_id != head.log_id:
            raise OtherLogError(
                self.directory, f"is of log {note.log_id}, and the store has {head.log_id}"
            )
        # A queue that is open here, or was until now, may have written the note after the head was
        # asked for.
        if head.next_sequence <= note.acknowledged:
            head = self._store.head()
        if head.next_sequence <= note.acknowledged:
            raise AcknowledgedLostError(head.next_sequence, note.acknowledged)
        self.note = note

    def _open(self, head: Head) -> None:
        self.projection = Projection()
        self.log, self.report = open_log(
            self.directory,
            self.projection,
            **self._options,
            now=now(),
            holder=holder_text(),
            store_log=head.log_id.bytes,
            batch_size_max=self.info.append_bytes_max - GROUP_OVERHEAD,
        )
        if self.log.log_uuid != head.log_id.bytes:
            raise OtherLogError(self.directory, "has the files of another log")
        # Again, now that no queue has the directory which writes it.
        self.note = read_note(self.directory) or self.note
        self.log.ship_from(self.log.last_sequence)

    @property
    def is_taken(self) -> bool:
        """Whether another queue has the directory, since this copy let go of it."""
        return self._is_let_go and Path(self.directory, "wal").exists()

    def begin_again(self) -> None:
        """Make an open copy again, from the store's newest snapshot. Raises what `open` raises."""
        with alone_in(self.directory, waits=not self._is_let_go):
            if self.is_taken:
                raise LockedError(lock_path(self.directory))
            self._begin_again(self._store.head())

    def _begin_again(self, head: Head) -> None:
        self.has_rest = False
        if not self._is_let_go:
            self.log.close()
            self._is_let_go = True
            self._drop()
            self._forget_term()
        self._begin_with_snapshot(head)
        self._open(head)
        self._is_let_go = False

    def _forget_term(self) -> None:
        note = self.note
        self.note = Note(note.log_id, acknowledged=note.acknowledged, lost=note.lost)
        write_note(self.directory, self.note)

    def _drop(self) -> None:
        try:
            for name in FILES:
                path = Path(self.directory, name)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            place = error.filename or self.directory
            raise OpenIOError("remove", place, error.errno or 0) from error

    def _set_aside(self) -> None:
        """Move damaged files to quarantine/.

        They take the place of those moved before, unless something may be in their outbox.
        """
        has_outbox = self.note.term.epoch != 0
        name = f"damaged-{time.time_ns()}" if has_outbox else "damaged"
        to = Path(self.directory, "quarantine", name)
        try:
            shutil.rmtree(to, ignore_errors=True)
            to.mkdir(parents=True)
            for name in FILES:
                path = Path(self.directory, name)
                if path.exists():
                    path.rename(to / name)
        except OSError as error:
            raise OpenIOError("rename", str(to), error.errno or 0) from error
        note = self.note
        lost = Tail(note.acknowledged + 1, None, str(to)) if has_outbox else note.lost
        self.note = Note(note.log_id, acknowledged=note.acknowledged, lost=lost)
        write_note(self.directory, self.note)

    # --- A snapshot of the store ------------------------------------------------------------------

    def _begin_with_snapshot(self, head: Head) -> None:
        """Begin a copy that has nothing with the store's newest snapshot that verifies.

        Without any it begins with the first event, where the log still has that.
        """
        if Path(self.directory, "wal").exists():
            return
        damage = None
        for info in self._store.snapshots():
            try:
                fetch(self._store, info, self.directory)
            except TrimmedError:
                continue  # dropped meanwhile: there is a newer one
            except CorruptLogError as error:
                damage = damage or error
                continue  # the log goes back to the one before it
            repair(self.directory, accept_data_loss=True)  # makes what a log goes on in
            return
        if damage is not None or head.trimmed_to:
            raise damage or TrimmedError(0, self._store.head().trimmed_to)

    # --- Events that are not in the log -----------------------------------------------------------

    def _known(self) -> int:
        """Return the event up to which the note says that the store has had all."""
        last = self.log.last_sequence
        if self.note.term.epoch == 0:
            return int(last)  # nothing was ever added here, or the store has it
        return int(min(last, max(self.note.acknowledged, self.report["snapshot_sequence"])))

    def _agrees(self, sequence: int, head: Head) -> bool:
        """Whether an event is the log's, as far as that can be seen.

        It is not where the files were put back from a backup, and the note was not.
        """
        if sequence <= head.trimmed_to:
            return True
        try:
            group = next(iter(self._store.read(sequence - 1)), None)
            if group is None:
                return True
            Chain(head.log_id, sequence - 1).add(group)
            theirs = records_of_group(group, sequence - 1)[0]
            mine = next(self._records(sequence - 1, sequence))
        except (TrimmedError, CompactedError, DamagedGroupError):
            return True
        return (theirs[3], theirs[7]) == (mine[3], mine[7])

    def _begins_behind(self, sequence: int) -> int:
        """Return the first sequence, from this one on, behind which the copy has all events."""
        sequence = min(sequence, self.log.last_sequence)
        try:
            LogFollower(self.directory, sequence)
        except CompactedError as error:
            return error.first_sequence - 1
        return sequence

    def compare_the_rest(self, end: int) -> None:
        """Compare once more, up to the log's end, where no other writer comes any more.

        Events behind it stay. Where the log has others in their place they go to quarantine/.
        """
        with alone_in(self.directory, waits=True):
            self._give_up_what_others_wrote(self._rest_after, upto=end, keeps_the_rest=True)

    def give_up_the_rest(self) -> None:
        """Give up what comes behind the log's end: another writer goes on there."""
        with alone_in(self.directory, waits=True):
            self._give_up_what_others_wrote(self._rest_after)

    def _give_up_what_others_wrote(
        self, known: int, *, upto: int | None = None, keeps_the_rest: bool = False
    ) -> None:
        """Make the copy again where its last events are not those of the log.

        They go to quarantine/ first. What comes behind the log's end has the place of no other
        writer's events, and may be kept.
        """
        last = self.log.last_sequence
        first, is_behind_the_end = self._first_difference(known, last, upto)
        self._rest_after, self.has_rest = known, keeps_the_rest and is_behind_the_end
        note = self.note
        if first is None:
            has = max(note.acknowledged, min(known, last))
            self.note = Note(note.log_id, acknowledged=has, lost=note.lost)
            if note.term.epoch:  # what comes from now on is not of that term
                write_note(self.directory, self.note)
        elif self.has_rest:
            self.note = Note(note.log_id, acknowledged=min(known, last), lost=note.lost)
        else:
            lost = Tail(first, last, self._quarantine(first, last))
            self.note = Note(note.log_id, acknowledged=min(known, last), lost=lost)
            # Also where the opening fails from here on: none may go on with what is lost.
            write_note(self.directory, structs.replace(self.note, begins_again=True))
            self._begin_again(self._store.head())

    def _first_difference(self, known: int, last: int, upto: int | None) -> tuple[int | None, bool]:
        """Return the first event that the log has not, or another in its place; and which it is.

        True says that the log ends before it.
        """
        if last <= known:
            return None, False
        sequence = known
        try:
            theirs = self._theirs(known, upto)
            for mine in self._records(known, last):
                record = next(theirs, None)
                if record is None:
                    return sequence + 1, True
                if (record[3], record[7]) != (mine[3], mine[7]):
                    return sequence + 1, False
                sequence += 1
        except TrimmedError:
            return sequence + 1, False
        return None, False

    def _theirs(self, after: int, upto: int | None) -> Iterator[Any]:
        chain = Chain(self.note.log_id, after)
        for group in self._store.read(after, upto=upto):
            chain.add(group)
            yield from records_of_group(group, after)

    def _records(self, after: int, last: int) -> Iterator[Any]:
        self.log.write_out()
        follower = LogFollower(self.directory, after)
        follower.trust(last)
        while follower.sequence < last:
            yield follower.next_record()

    def _quarantine(self, first: int, last: int) -> str:
        folder = Path(self.directory, "quarantine")
        path = folder / f"outbox-{first}-{last}-{time.time_ns()}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8") as file:
                _write_events(file, self._records(first - 1, last))
            sync_directory(str(folder))
        except OSError as error:
            raise OpenIOError("write", str(path), error.errno or 0) from error
        return str(path)


def _write_events(file: Any, records: Iterator[Any]) -> None:
    for record in records:
        event = decode_event(record[3], record[2], record[7])
        file.write(json.dumps(event_to_json(event)) + "\n")
    file.flush()
    os.fsync(file.fileno())
