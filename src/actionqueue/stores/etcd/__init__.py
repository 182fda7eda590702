"""A log in etcd, 3.4 or newer. :mod:`~actionqueue.stores.etcd.keys` has its layout."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import msgspec

from actionqueue.errors import (
    AcknowledgedLostError,
    FencedError,
    InvalidFieldError,
    InvalidFieldTypeError,
    OutcomeUnknownError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TermHeldError,
    TrimmedError,
    UnknownLogError,
)
from actionqueue.stores.arguments import (
    GROUP_SIZE_MAX,
    deadline,
    digest_of,
    ensure_in_order,
    group_of,
    info_of,
    is_over,
    name_of,
    piece_of,
    sequence_of,
    sequences_of,
    term_of,
)
from actionqueue.stores.attempts import Attempts
from actionqueue.stores.canary import Canary
from actionqueue.stores.etcd.calls import KEYS_AT_ONCE, Calls, holder_in, value_of
from actionqueue.stores.etcd.check import check_nodes
from actionqueue.stores.etcd.keys import DIGITS, hexadecimal
from actionqueue.stores.heard import Heard
from actionqueue.stores.protocol import Head, SnapshotInfo, StoreInfo, Term

__all__ = ["EtcdStore"]

LEASE_SECONDS = 2
KEEP_SECONDS = 0.5
CAMPAIGN_LOOK_SECONDS = 0.05
TAIL_LOOK_SECONDS = 0.005
IDLE_LOOK_SECONDS = 0.05
COMPACTION_SECONDS = 30
SNAPSHOT_SIZE_MAX = 256 << 20
GROUPS_AT_ONCE = 16
PORT_MAX = 65535
_ENDPOINT = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]):([0-9]{1,5})")
"""What grpc would take otherwise, such as an address without a port, is never reached."""


class _Manifest(msgspec.Struct, array_like=True):
    epoch: int
    piece_count: int
    digest: bytes


class EtcdStore(Calls):
    """A :class:`~actionqueue.stores.LogStore` in etcd.

    Needs grpcio and aetcd (``pip install 'actionqueue[etcd]'``). The cluster is yours; never take
    that of a Kubernetes control plane. A log is to be trimmed every few minutes: etcd keeps some
    gigabytes at most. The store is not for children of a fork.
    """

    def __init__(
        self, endpoints: Sequence[str], *, log: str = "actionqueue", credentials: Any = None
    ) -> None:
        """Name the nodes and the log. No connection is made before the first call.

        Args:
            endpoints: The nodes, as ``["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"]``.
            log: The log's name. A cluster may have several.
            credentials: grpc's channel credentials, for TLS; None for none.

        Raises:
            InvalidFieldError: An argument does not fit.
            ImportError: grpcio or aetcd is missing.
        """
        name_of("EtcdStore", "log", log)
        super().__init__(_endpoints_of(endpoints), log, credentials)
        self._canary = Canary()
        self._lease = 0
        self._has_key = False
        """Whether the holder's key was put with the lease."""
        self._heard = Heard()
        self._marks = Attempts(_mark)
        self._holding = threading.RLock()
        """Of two threads at once, one would take the other's lease for its own, or end it."""
        self._putting = threading.RLock()
        self._compacted_at = 0.0
        self._closed = threading.Event()

    # --- What there is ----------------------------------------------------------------------------

    def initialize(self) -> bool:
        """Make the log. See :meth:`LogStore.initialize`."""
        keys, requests = self._keys, self._requests
        log_id = uuid4().hex.encode()
        made = self._transaction(
            [requests.is_new(keys.id)],
            [
                requests.put(keys.id, log_id),
                requests.put(keys.epoch, b"- "),
                requests.put(keys.end, hexadecimal(1)),
                requests.put(keys.trimmed, hexadecimal(0)),
            ],
            [requests.get(keys.id)],
        )
        # The request may have been sent twice, and then the first one has made it.
        return made.succeeded or value_of(made, 0) == log_id

    def describe(self) -> StoreInfo:
        """Ask all nodes. See :meth:`LogStore.describe`."""
        version, nodes, warnings = check_nodes(self._nodes)
        return StoreInfo(
            engine="etcd",
            version=version,
            nodes=nodes,
            append_bytes_max=GROUP_SIZE_MAX,
            snapshot_bytes_max=SNAPSHOT_SIZE_MAX,
            keep_seconds=KEEP_SECONDS,
            warnings=warnings,
        )

    def head(self) -> Head:
        """Say where the log stands. See :meth:`LogStore.head`."""
        keys = self._keys
        known = self._canary.known
        log_id, epoch, end, trimmed = self._get(keys.id, keys.epoch, keys.end, keys.trimmed)
        next_sequence = int(end.value, 16)
        self._canary.compare(next_sequence - 1, known)
        self._canary.know(next_sequence - 1)
        return Head(
            log_id=UUID(log_id.value.decode()),
            epoch=epoch.mod_revision,
            next_sequence=next_sequence,
            watermark=next_sequence - 1,  # a majority has whatever can be read
            trimmed_to=int(trimmed.value, 16),
            holder=holder_in(epoch.value) or None,
        )

    # --- Terms ------------------------------------------------------------------------------------

    def campaign(
        self, holder: str, *, resume: Term | None = None, timeout: float | None = None
    ) -> Term:
        """Take the log. See :meth:`LogStore.campaign`."""
        name_of("campaign", "holder", holder)
        if resume is not None:
            term_of("campaign", resume, "resume")
        until = deadline("campaign", timeout)
        with self._marks.resuming(None if resume is None else resume.epoch) as mark:
            return self._campaign(holder, mark, resume, until)

    def _campaign(self, holder: str, mark: bytes, resume: Term | None, until: float | None) -> Term:
        while True:
            failure: StoreError
            try:
                term = self._take(holder, mark, resume)
                if term is not None:
                    return term
                failure = TermHeldError(self.head().holder or "")
            except StoreUnavailableError as error:
                failure = error
            if is_over(until):
                raise failure
            self._closed.wait(CAMPAIGN_LOOK_SECONDS)

    def _take(self, holder: str, mark: bytes, resume: Term | None) -> Term | None:
        """Take the log if it is free; return None where another writer is alive."""
        self._ensure_resumable(mark, resume)
        with self._holding:
            asked_at = time.monotonic()
            if not self._hold(holder):
                return None
            try:
                term = self._raise_epoch(holder, mark, resume)
            except FencedError:
                self._let_go()
                raise
            if term is not None:
                self._heard.begin(term.epoch, asked_at)
            return term

    def _ensure_resumable(self, mark: bytes, resume: Term | None) -> Any:
        """Return the epoch's key. Raise FencedError where another term came after one to resume.

        A mark says that this campaign has put the key, although the answer to that was lost.
        """
        _, epoch = self._get(self._keys.id, self._keys.epoch)
        is_own = epoch.value.split(b" ")[0] == mark
        if resume is not None and not is_own and epoch.mod_revision != resume.epoch:
            raise FencedError(holder_in(epoch.value), epoch.mod_revision)
        return epoch

    def _hold(self, holder: str) -> bool:
        """Take the holder's key with a lease, or renew it; return whether this store has it."""
        keys, requests, rpc = self._keys, self._requests, self._nodes.rpc
        is_alive = bool(self._lease) and self._renew()
        if is_alive and self._has_key:
            return True
        self._has_key = False
        if not is_alive:
            request = rpc.LeaseGrantRequest(TTL=LEASE_SECONDS)
            self._lease = self._call("LeaseStub", "LeaseGrant", request).ID
        put = requests.put(keys.holder, holder.encode(), self._lease)
        answer = self._transaction(
            [requests.is_new(keys.holder)], [put], [requests.get(keys.holder)]
        )
        if not answer.succeeded:
            found = answer.responses[0].response_range.kvs
            if not found or found[0].lease != self._lease:
                return False
        self._has_key = True
        return True

    def _let_go(self) -> None:
        """End the lease, and with it the holder's key."""
        lease, self._lease, self._has_key = self._lease, 0, False
        if lease:
            self._call("LeaseStub", "LeaseRevoke", self._nodes.rpc.LeaseRevokeRequest(ID=lease))

    def _raise_epoch(self, holder: str, mark: bytes, resume: Term | None) -> Term | None:
        """Put the epoch's key; return None where another campaign came in between."""
        keys, requests = self._keys, self._requests
        before = self._ensure_resumable(mark, resume)
        if before.value.split(b" ")[0] != mark:
            self._transaction(
                [
                    requests.is_of(keys.epoch, before.mod_revision),
                    # The lease may have ended meanwhile, and another writer be alive.
                    requests.is_leased(keys.holder, self._lease),
                ],
                [requests.put(keys.epoch, mark + b" " + holder.encode())],
                [],
            )
        known = self._canary.known
        now, end = self._get(keys.epoch, keys.end)
        if now.value.split(b" ")[0] != mark:
            return None
        first_sequence = int(end.value, 16)
        self._canary.compare(first_sequence - 1, known)
        self._canary.know(first_sequence - 1)
        return Term(now.mod_revision, first_sequence, holder)

    def _renew(self) -> bool:
        """Renew the lease; return whether it was still there."""
        request = self._nodes.rpc.LeaseKeepAliveRequest(ID=self._lease)
        return bool(self._call("LeaseStub", "LeaseKeepAlive", request).TTL > 0)

    def keep(self, term: Term) -> None:
        """Say that the writer is alive. See :meth:`LogStore.keep`."""
        term_of("keep", term)
        try:
            self._ensure_newest(term.epoch)
            self._keep(term)
        except StoreUnavailableError as error:
            raise OutcomeUnknownError(error.cause) from error

    def _keep(self, term: Term) -> None:
        with self._holding:
            asked_at = time.monotonic()
            # Where another writer has the key, it will have the epoch: the next call says so.
            if self._hold(term.holder):
                # Another one may have come and gone before the key was held, but not since.
                self._ensure_newest(term.epoch)
                self._heard.hear(term.epoch, asked_at)

    def valid_until(self, term: Term) -> float:
        """Return until when no other writer takes the log. See :meth:`LogStore.valid_until`."""
        term_of("valid_until", term)
        return self._heard.until(term.epoch, LEASE_SECONDS)

    def resign(self, term: Term) -> None:
        """End a term. See :meth:`LogStore.resign`."""
        term_of("resign", term)
        keys, requests = self._keys, self._requests
        with self._holding:
            is_newest = self._heard.end(term.epoch)
            self._transaction(
                [requests.is_of(keys.epoch, term.epoch)],
                [requests.put(keys.epoch, b"- ")],
                [],
            )
            if is_newest:
                self._let_go()

    # --- Groups -----------------------------------------------------------------------------------

    def append(self, term: Term, first: int, last: int, group: bytes) -> None:
        """Append a group. See :meth:`LogStore.append`."""
        term_of("append", term)
        first, last = sequences_of(first, last)
        group_of("append", group)
        keys, requests = self._keys, self._requests
        value = hexadecimal(last) + group
        known = self._canary.known
        answer, is_first = self._changed(
            [
                requests.is_of(keys.epoch, term.epoch),
                requests.is_value(keys.end, hexadecimal(first)),
            ],
            [
                requests.put(keys.group(first), value),
                requests.put(keys.end, hexadecimal(last + 1)),
            ],
            [requests.get(keys.epoch), requests.get(keys.end), requests.get(keys.group(first))],
            (keys.group(first), value, term.epoch),
        )
        if answer is None or answer.succeeded:
            self._canary.know(last)
            return
        found = value_of(answer, 1)
        if not found:
            raise UnknownLogError(self._log)
        end = int(found, 16)
        if not is_first and first < end and not value_of(answer, 2):
            # Another writer came, and has trimmed what tells whether the first request did it.
            raise OutcomeUnknownError(None)
        self._ensure_of(answer, term.epoch)
        self._canary.compare(end - 1, known)
        if end != last + 1 or value_of(answer, 2) != value:  # else its answer was lost before
            reason = f"must be {end}, where the log goes on"
            raise InvalidFieldError("append", "first", first, reason)

    def outcome(self, term: Term, first: int, group: bytes) -> bool:
        """Return whether a group is in the log. See :meth:`LogStore.outcome`."""
        term_of("outcome", term)
        first = sequence_of("outcome", "first", first)
        group_of("outcome", group)
        keys, requests = self._keys, self._requests
        answer = self._transaction(
            [requests.is_of(keys.epoch, term.epoch)],
            [requests.get(keys.group(first))],
            [requests.get(keys.epoch)],
        )
        if not answer.succeeded:
            self._ensure_of(answer, term.epoch)
        return value_of(answer, 0)[DIGITS:] == group

    def read(self, after: int, *, upto: int | None = None) -> Iterator[bytes]:
        """Return groups. See :meth:`LogStore.read`."""
        after = sequence_of("read", "after", after)
        head = self.head()
        upto = head.watermark if upto is None else sequence_of("read", "upto", upto)
        if after < head.trimmed_to:
            raise TrimmedError(after, head.trimmed_to)
        return self._read(after, min(upto, head.watermark))

    def _read(self, after: int, upto: int) -> Iterator[bytes]:
        if after >= upto:
            return
        begin, end = self._begin_of_group_at(after + 1), self._keys.group(upto + 1)
        while begin <= upto:
            found = self._range(self._keys.group(begin), end, GROUPS_AT_ONCE)
            for each in found:
                first = self._first_of(each.key)
                if first != begin:
                    self._explain_hole(after, begin, first - 1)
                last = int(each.value[:DIGITS], 16)
                if last > upto:
                    return
                if last > after:
                    yield each.value[DIGITS:]
                begin = last + 1
            if not found:
                self._explain_hole(after, begin, upto)

    def _explain_hole(self, after: int, first: int, last: int) -> None:
        """Raise why groups are missing: a trim came in between, or the engine has lost them."""
        trimmed_to = self.head().trimmed_to
        before = self._range(self._keys.group(0), self._keys.group(first), 1, keys_only=True)
        first = max(first, after + 1)
        if not before:  # a full engine drops what comes before a snapshot without saying so
            newest = self.snapshots()[:1]
            trimmed_to = max(trimmed_to, newest[0].sequence if newest else 0)
        if first <= trimmed_to:
            raise TrimmedError(after, trimmed_to)
        raise AcknowledgedLostError(first, last)

    def _begin_of_group_at(self, sequence: int) -> int:
        """Return the first sequence of the group that holds one, or the first group's.

        The groups before it are looked through from nearer and nearer places on, in their order.
        """
        end = self._keys.group(sequence + 1)
        distance = 0
        while True:
            low = max(sequence - distance, 0)
            found = self._range(self._keys.group(low), end, KEYS_AT_ONCE, keys_only=True)
            while len(found) == KEYS_AT_ONCE:
                more = self._range(found[-1].key + b"\0", end, KEYS_AT_ONCE, keys_only=True)
                if not more:
                    break
                found = more
            if found:
                return self._first_of(found[-1].key)
            if low == 0:
                return sequence
            distance = distance * 4 + 1

    def _first_of(self, key: bytes) -> int:
        return int(key[len(self._keys.groups) :], 16)

    def tail(self, after: int, timeout: float | None) -> Iterator[bytes]:
        """Wait for groups. See :meth:`LogStore.tail`."""
        after = sequence_of("tail", "after", after)
        until = deadline("tail", timeout)
        look = TAIL_LOOK_SECONDS
        while self.head().watermark <= after:
            if is_over(until) or self._closed.is_set():
                return iter(())
            self._closed.wait(look)
            look = min(look * 2, IDLE_LOOK_SECONDS)
        return self.read(after)

    # --- Snapshots --------------------------------------------------------------------------------

    def put_snapshot(
        self, term: Term, sequence: int, pieces: Iterable[bytes], digest: bytes
    ) -> None:
        """Store a snapshot. See :meth:`LogStore.put_snapshot`."""
        term_of("put_snapshot", term)
        sequence = sequence_of("put_snapshot", "sequence", sequence)
        digest_of(digest)
        with self._putting:  # two would put their pieces into each other's place
            self._put_snapshot(term, sequence, pieces, digest)

    def _put_snapshot(
        self, term: Term, sequence: int, pieces: Iterable[bytes], digest: bytes
    ) -> None:
        self._ensure_newest(term.epoch)
        newest = self.snapshots()[:1]
        ensure_in_order(sequence, self.head().next_sequence, newest[0].sequence if newest else 0)
        if newest and (newest[0].sequence, newest[0].epoch) == (sequence, term.epoch):
            return  # it is visible, and stays as it is
        count = size = 0
        for piece in pieces:
            size += len(piece_of(piece))
            if size > SNAPSHOT_SIZE_MAX:
                reason = f"are together over {SNAPSHOT_SIZE_MAX} bytes, which etcd is not made for"
                raise InvalidFieldError("put_snapshot", "pieces", size, reason)
            self._put_in_term(term, self._keys.piece(sequence, term.epoch, count), piece)
            count += 1
        manifest = msgspec.msgpack.encode(_Manifest(term.epoch, count, digest))
        self._put_in_term(term, self._keys.manifest(sequence), manifest)
        self._drop_old_pieces(term)

    def _put_in_term(self, term: Term, key: bytes, value: bytes) -> None:
        requests = self._requests
        answer, _ = self._changed(
            [requests.is_of(self._keys.epoch, term.epoch)],
            [requests.put(key, value)],
            [requests.get(self._keys.epoch)],
            (key, value, term.epoch),
        )
        if answer is not None and not answer.succeeded:
            self._ensure_of(answer, term.epoch)

    def _drop_old_pieces(self, term: Term) -> None:
        """Delete what snapshots have left that were dropped, replaced, or never finished."""
        whole = {(info.sequence, info.epoch) for info in self.snapshots()}
        newest = max((sequence for sequence, _ in whole), default=0)
        begin, end = self._keys.pieces, self._keys.pieces + b"\xff"
        while found := self._range(begin, end, 1, keys_only=True):
            sequence, epoch = _snapshot_in(found[0].key[len(self._keys.pieces) :])
            prefix = self._keys.pieces_of(sequence, epoch)
            begin = prefix + b"\xff"
            if (sequence, epoch) not in whole and epoch <= term.epoch and sequence < newest:
                self._delete(prefix, begin)

    def snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots. See :meth:`LogStore.snapshots`."""
        self._get(self._keys.id)
        begin = self._keys.manifests
        infos = []
        for each in self._all(begin, begin + b"\xff"):
            manifest = msgspec.msgpack.decode(each.value, type=_Manifest)
            sequence = int(each.key[len(begin) :], 16)
            infos.append(
                SnapshotInfo(sequence, manifest.epoch, manifest.piece_count, manifest.digest)
            )
        return infos[::-1]

    def get_snapshot(self, info: SnapshotInfo) -> Iterator[bytes]:
        """Return a snapshot's pieces. See :meth:`LogStore.get_snapshot`."""
        return self._get_snapshot(info_of(info))

    def _get_snapshot(self, info: SnapshotInfo) -> Iterator[bytes]:
        for number in range(info.piece_count):
            (piece,) = self._get_some(self._keys.piece(info.sequence, info.epoch, number))
            if piece is None:
                raise TrimmedError(info.sequence, self.head().trimmed_to)
            yield piece.value

    def trim(self, term: Term, below: int) -> None:
        """Drop groups. See :meth:`LogStore.trim`."""
        term_of("trim", term)
        below = sequence_of("trim", "below", below)
        self._ensure_newest(term.epoch)
        newest = self.snapshots()[:1]
        if not newest or newest[0].sequence < below - 1:
            reason = "must be at most the sequence behind the newest snapshot"
            raise InvalidFieldError("trim", "below", below, reason)
        if below - 1 > self.head().trimmed_to:
            # A full engine deletes, and puts nothing. Readers see what is missing all the same.
            with suppress(StoreFullError):
                self._put_in_term(term, self._keys.trimmed, hexadecimal(below - 1))
        if below:
            self._delete(self._keys.group(0), self._keys.group(self._begin_of_group_at(below)))
            self._delete(self._keys.manifest(0), self._keys.manifest(below - 1))
        self._drop_old_pieces(term)
        self._compact()

    def _compact(self) -> None:
        """Have etcd forget what was deleted, once in a while."""
        now = time.monotonic()
        if now < self._compacted_at + COMPACTION_SECONDS and self._compacted_at:
            return
        revision = self._range_of(self._keys.id).header.revision
        try:
            self._call("KVStub", "Compact", self._nodes.rpc.CompactionRequest(revision=revision))
        except StoreUnavailableError:  # it was compacted meanwhile, which is as good
            return
        self._compacted_at = now

    def close(self) -> None:
        """Let go of the channels. See :meth:`LogStore.close`."""
        self._closed.set()
        self._nodes.close()


def _mark() -> bytes:
    return uuid4().hex.encode()


def _snapshot_in(rest: bytes) -> tuple[int, int]:
    sequence, epoch, _ = rest.split(b"/")
    return int(sequence, 16), int(epoch, 16)


def _endpoints_of(value: Any) -> tuple[str, ...]:
    reason = "must be several texts like '10.0.0.1:2379', a name or an address with its port"
    if isinstance(value, str):
        raise InvalidFieldTypeError("EtcdStore", "endpoints", value, reason)
    try:
        endpoints = tuple(value)
    except TypeError:
        raise InvalidFieldTypeError("EtcdStore", "endpoints", value, reason) from None
    for endpoint in endpoints:
        if type(endpoint) is not str:
            raise InvalidFieldTypeError("EtcdStore", "endpoints", endpoint, reason)
        port = _ENDPOINT.fullmatch(endpoint)
        if port is None or not 1 <= int(port[1]) <= PORT_MAX:
            raise InvalidFieldError("EtcdStore", "endpoints", endpoint, reason)
    if not endpoints:
        raise InvalidFieldError("EtcdStore", "endpoints", endpoints, reason)
    return endpoints
