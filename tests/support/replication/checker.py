"""Compares what writers have noted with the log: as it grows, and once all are quiet.

What is compared is the order in the log, not clocks: a writer that was stopped may read an
acknowledgement that the engine had sent long before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import actionqueue as aq
from _wal_native.events import decode_event
from _wal_native.group import records_of_group, take_in
from actionqueue.projection import Projection
from actionqueue.replication.groups import Chain
from tests.support.replication import notes
from tests.support.replication.notes import NoteReader, digest_of, hash_of

PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.05


class Checker:
    """One log, all the writers' notes, and what was found to be wrong."""

    def __init__(self, open_store: Callable[[], Any], readers: Iterable[NoteReader]) -> None:
        self._open_store = open_store
        self._readers = list(readers)
        self._compared = dict.fromkeys((each.writer for each in self._readers), (0, 0))
        self._store = open_store()
        self._chain = Chain(self._store.head().log_id, 0)
        self._projection = Projection()
        self._digests: dict[int, str] = {}
        """Of the projection, at the ends of terms."""
        self._position: str | int = 0
        self.epoch = 0
        self.epochs = 0
        self._first_of: dict[int, int] = {}
        """The sequence with which a term begins."""
        self._writer_of_epoch = ""
        self.payloads: list[str] = []
        """The hash of each event's payload, in the order of the log."""
        self._hashes: set[str] = set()
        self.wrong: list[str] = []

    # --- The log ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Read what is new in the log and in the notes, and compare. Fails where that is wrong."""
        for each in self._readers:
            each.look()
        begin = len(self.payloads)
        acknowledged = max(
            (each.acknowledged[-1].sequence for each in self._readers if each.acknowledged),
            default=0,
        )
        until = time.monotonic() + PATIENCE_SECONDS
        # Readers see an event with the next one, or when its writer says that it is alive.
        while not self._read(time.monotonic() > until) or len(self.payloads) < acknowledged:
            if time.monotonic() > until:
                break
            time.sleep(LOOK_SECONDS)
        self._note_digest()
        self._follow(begin)
        for reader in self._readers:
            self._compare(reader)
        assert not self.wrong, "\n".join(self.wrong[:20])

    def _read(self, is_last: bool) -> bool:
        """Read what is new; return False where the engine is not there for now."""
        try:
            for group in self._store.read(self._chain.last):
                self._read_group(group)
        except aq.StoreUnavailableError:
            if is_last:
                raise
            return False
        return True

    def _read_group(self, group: bytes) -> None:
        before = self._chain.last
        header = self._chain.add(group)  # no hole, the group before is the one that it says
        if header.first != before + 1:
            self.wrong.append(f"a group begins with {header.first} behind {before}")
        if header.epoch < self.epoch:
            self.wrong.append(f"a group of epoch {header.epoch} is behind one of {self.epoch}")
        if header.epoch != self.epoch:
            self._note_digest()
            self.epoch, self._writer_of_epoch = header.epoch, ""
            self._first_of[header.epoch] = header.first
            self.epochs += 1
        for record in records_of_group(group, before):
            if record[2] != len(self.payloads) + 1:
                self.wrong.append(f"event {record[2]} is behind event {len(self.payloads)}")
            payload = payload_of(decode_event(record[3], record[2], record[7]))
            self._see(payload)
        reason = take_in(self._projection, group)
        if reason:
            self.wrong.append(f"group of {header.first}: {reason}")

    def _see(self, payload: bytes) -> None:
        writer = payload.split(b" ")[0].decode()
        if self._writer_of_epoch not in {"", writer}:
            self.wrong.append(f"epoch {self.epoch} is of {self._writer_of_epoch} and {writer}")
        self._writer_of_epoch = writer
        text = hash_of(payload)
        if text in self._hashes:
            self.wrong.append(f"event {len(self.payloads) + 1} is there twice")
        self._hashes.add(text)
        self.payloads.append(text)

    def _note_digest(self) -> None:
        sequence = self._projection.latest_sequence
        if sequence not in self._digests:
            self._digests[sequence] = digest_of(self._projection)

    def _follow(self, begin: int) -> None:
        """Read the same events as users do."""
        with_store = self._open_store()
        stream = _patiently(lambda: aq.follow(store=with_store, after=self._position, timeout=0))
        for at in range(begin, len(self.payloads)):
            event = _patiently(stream.__next__)
            if event.sequence != at + 1 or hash_of(payload_of(event)) != self.payloads[at]:
                self.wrong.append(f"a follower has another event in the place of {at + 1}")
        self._position = stream.position
        stream.close()
        with_store.close()

    # --- The notes --------------------------------------------------------------------------------

    def _compare(self, reader: NoteReader) -> None:
        notes_before, acknowledged_before = self._compared[reader.writer]
        for each in reader.acknowledged[acknowledged_before:]:
            found = self.payloads[each.sequence - 1 : each.sequence]
            if found != [each.payload]:
                state = "another event" if found else "nothing"
                self.wrong.append(f"{each} was acknowledged, and the log has {state} there")
        for note in reader.notes[notes_before:]:
            self._compare_note(reader.writer, note)
        self._compared[reader.writer] = (len(reader.notes), len(reader.acknowledged))

    def _compare_note(self, writer: str, note: notes.Note) -> None:
        if note.kind == notes.REFUSED:
            payload, written, *_ = note.words
            if written == "no" and payload in self._hashes:
                self.wrong.append(f"{writer}: {note} was refused, and is in the log")
        elif note.kind == notes.ACTIVE:
            epoch, sequence, digest = note.words
            expected = self._digests.get(int(sequence))
            if self._first_of.get(int(epoch), int(sequence) + 1) <= int(sequence):
                pass  # it has shipped its outbox first
            elif expected is None:
                self.wrong.append(f"{writer} began at {sequence}, where no term ends")
            elif digest != expected:
                self.wrong.append(f"{writer} began at {sequence} with another projection")

    def look_at_quiet(self) -> None:
        """Compare the projections of writers that submit nothing any more with a new reader's."""
        self.look()
        reader = aq.open(store=self._open_store(), readonly=True)
        sequence, digest = reader.sequence, digest_of(reader.projection)
        reader.close()
        assert sequence == len(self.payloads)
        assert digest == digest_of(self._projection)
        for each in self._readers:
            note = each.last(notes.PROJECTION)
            assert note is not None, each.writer
            assert note.words == (str(sequence), digest), (each.writer, note, sequence)

    def close(self) -> None:
        self._store.close()


def _patiently(call: Callable[[], Any]) -> Any:
    """Call again where the engine is not there for now, as after a cut."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except aq.StoreUnavailableError:
            if time.monotonic() > until:
                raise
        time.sleep(LOOK_SECONDS)


def payload_of(event: Any) -> bytes:
    return bytes(event.task_spec.payload.data)
