"""The keys of a log in etcd, and the requests about them.

Under ``/aq/<log>/``:

=================================  ===============================================================
id                                 the log's UUID; it is there as long as the log
holder                             the writer that is alive: a key of its lease
epoch                              each campaign puts it; the revision of that is the term's epoch,
                                   and every append compares it
end                                the next sequence; every append compares it and moves it on, so
                                   there is no hole
trimmed                            the last sequence that may be missing
log/<first>                        a group, by its first sequence: its last one, and its bytes
manifest/<sequence>                a snapshot that is whole: epoch, number of pieces, digest
snap/<sequence>/<epoch>/<number>   a piece of a snapshot
=================================  ===============================================================

Sequences, epochs and numbers have 16 hexadecimal digits. No request asks for keys in descending
order: etcd reads the whole range with its values for that.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DIGITS", "Keys", "Requests", "hexadecimal"]

DIGITS = 16


def hexadecimal(number: int) -> bytes:
    """Return a number as it stands in keys and values."""
    return b"%016x" % number


class Keys:
    """The keys of one log."""

    def __init__(self, log: str) -> None:
        self.prefix = b"/aq/" + log.encode() + b"/"
        self.id = self.prefix + b"id"
        self.holder = self.prefix + b"holder"
        self.epoch = self.prefix + b"epoch"
        self.end = self.prefix + b"end"
        self.trimmed = self.prefix + b"trimmed"
        self.groups = self.prefix + b"log/"
        self.manifests = self.prefix + b"manifest/"
        self.pieces = self.prefix + b"snap/"

    def group(self, first: int) -> bytes:
        """Return the key of a group."""
        return self.groups + hexadecimal(first)

    def manifest(self, sequence: int) -> bytes:
        """Return the key of a snapshot."""
        return self.manifests + hexadecimal(sequence)

    def piece(self, sequence: int, epoch: int, number: int) -> bytes:
        """Return the key of a piece of a snapshot."""
        return self.pieces_of(sequence, epoch) + hexadecimal(number)

    def pieces_of(self, sequence: int, epoch: int) -> bytes:
        """Return what the keys of a snapshot's pieces begin with."""
        return self.pieces + hexadecimal(sequence) + b"/" + hexadecimal(epoch) + b"/"


class Requests:
    """Makes the messages."""

    def __init__(self, rpc: Any) -> None:
        self.rpc = rpc

    def is_new(self, key: bytes) -> Any:
        """Compare: there is no such key."""
        compare = self.rpc.Compare
        return compare(result=compare.EQUAL, target=compare.CREATE, key=key, create_revision=0)

    def is_there(self, key: bytes) -> Any:
        """Compare: there is such a key."""
        compare = self.rpc.Compare
        return compare(result=compare.GREATER, target=compare.CREATE, key=key, create_revision=0)

    def is_of(self, key: bytes, revision: int) -> Any:
        """Compare: the key was put last in this revision."""
        compare = self.rpc.Compare
        return compare(result=compare.EQUAL, target=compare.MOD, key=key, mod_revision=revision)

    def is_leased(self, key: bytes, lease: int) -> Any:
        """Compare: the key is there, with this lease."""
        compare = self.rpc.Compare
        return compare(result=compare.EQUAL, target=compare.LEASE, key=key, lease=lease)

    def is_value(self, key: bytes, value: bytes) -> Any:
        """Compare: the key has this value."""
        compare = self.rpc.Compare
        return compare(result=compare.EQUAL, target=compare.VALUE, key=key, value=value)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> Any:
        """Put a key, in a transaction."""
        return self.rpc.RequestOp(
            request_put=self.rpc.PutRequest(key=key, value=value, lease=lease)
        )

    def get(self, key: bytes) -> Any:
        """Get a key, in a transaction."""
        return self.rpc.RequestOp(request_range=self.rpc.RangeRequest(key=key))

    def delete(self, key: bytes) -> Any:
        """Delete a key, in a transaction."""
        return self.rpc.RequestOp(request_delete_range=self.rpc.DeleteRangeRequest(key=key))

    def transaction(self, compare: list[Any], success: list[Any], failure: list[Any]) -> Any:
        """Compare, and then do the one or the other, in one revision."""
        return self.rpc.TxnRequest(compare=compare, success=success, failure=failure)

    def range(self, begin: bytes, end: bytes, limit: int, *, keys_only: bool = False) -> Any:
        """Get keys in ascending order."""
        return self.rpc.RangeRequest(key=begin, range_end=end, limit=limit, keys_only=keys_only)
