"""The requests that an EtcdStore makes, and what their answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actionqueue.errors import (
    FencedError,
    OutcomeUnknownError,
    StoreFullError,
    StoreUnavailableError,
    UnknownLogError,
)
from actionqueue.stores.etcd.keys import Keys, Requests
from actionqueue.stores.etcd.nodes import CALL_SECONDS, Nodes

__all__ = ["KEYS_AT_ONCE", "Calls", "holder_in", "value_of"]

KEYS_AT_ONCE = 1000
PATIENCE_SECONDS = 5.0
"""How long an append is repeated at one node after the other before its outcome is unknown."""


class Calls:
    """The nodes, the keys of one log in them, and requests about these."""

    def __init__(self, endpoints: Sequence[str], log: str, credentials: Any) -> None:
        self._log = log
        self._nodes = Nodes(endpoints, credentials)
        self._keys = Keys(log)
        self._requests = Requests(self._nodes.rpc)

    def _call(self, stub: str, method: str, request: Any) -> Any:
        return self._nodes.call(stub, method, request, CALL_SECONDS)

    def _transaction(self, compare: list[Any], success: list[Any], failure: list[Any]) -> Any:
        return self._call("KVStub", "Txn", self._requests.transaction(compare, success, failure))

    def _changed(
        self,
        compare: list[Any],
        success: list[Any],
        failure: list[Any],
        written: tuple[bytes, bytes, int],
    ) -> tuple[Any, bool]:
        """Change something in a term, and go on until a node answers or patience ends.

        Return the answer, and whether it is that to the first request.

        The change that fills the engine up is carried out, and etcd says that there is no space
        all the same. And what refuses the second request, such as another writer, may have come
        after the first one was carried out. So this looks for the key and the value of ``written``
        then, and returns None for the answer where they are there since its epoch, and were before
        another one.
        """
        request = self._requests.transaction(compare, success, failure)
        try:
            answer, is_first = self._nodes.call_again("KVStub", "Txn", request, PATIENCE_SECONDS)
        except StoreUnavailableError as error:
            raise OutcomeUnknownError(error.cause) from error
        except StoreFullError:
            if self._is_written(*written):
                return None, True
            raise
        if not answer.succeeded and not is_first and self._is_written(*written):
            return None, False
        return answer, is_first

    def _is_written(self, key: bytes, value: bytes, epoch: int) -> bool:
        """Return whether a key has a value, from this epoch and not from the newest after it."""
        try:
            newest, found = self._get_some(self._keys.epoch, key)
        except StoreUnavailableError as error:
            raise OutcomeUnknownError(error.cause) from error
        if newest is None or found is None or found.value != value or found.mod_revision < epoch:
            return False
        return bool(newest.mod_revision == epoch or found.mod_revision < newest.mod_revision)

    def _get_some(self, *keys: bytes) -> list[Any]:
        """Return the keys of one moment with their values; None for what is not there."""
        answer = self._transaction([], [self._requests.get(key) for key in keys], [])
        found = [response.response_range.kvs for response in answer.responses]
        return [kvs[0] if kvs else None for kvs in found]

    def _get(self, *keys: bytes) -> list[Any]:
        """Return keys that every log has. Raises UnknownLogError."""
        found = self._get_some(*keys)
        if None in found:
            raise UnknownLogError(self._log)
        return found

    def _range_of(self, key: bytes) -> Any:
        return self._call("KVStub", "Range", self._nodes.rpc.RangeRequest(key=key))

    def _range(self, begin: bytes, end: bytes, limit: int, *, keys_only: bool = False) -> list[Any]:
        request = self._requests.range(begin, end, limit, keys_only=keys_only)
        return list(self._call("KVStub", "Range", request).kvs)

    def _all(self, begin: bytes, end: bytes) -> list[Any]:
        """Return all keys of a range, which may be more than one answer holds."""
        found: list[Any] = []
        while more := self._range(begin, end, KEYS_AT_ONCE):
            found += more
            begin = more[-1].key + b"\0"
        return found

    def _delete(self, begin: bytes, end: bytes) -> None:
        request = self._nodes.rpc.DeleteRangeRequest(key=begin, range_end=end)
        self._call("KVStub", "DeleteRange", request)

    def _ensure_newest(self, epoch: int) -> None:
        (newest,) = self._get(self._keys.epoch)
        if newest.mod_revision != epoch:
            raise FencedError(holder_in(newest.value), newest.mod_revision)

    def _ensure_of(self, answer: Any, epoch: int) -> None:
        """Raise FencedError where the first thing that a transaction got is another epoch."""
        found = answer.responses[0].response_range.kvs
        if not found:
            raise UnknownLogError(self._log)
        if found[0].mod_revision != epoch:
            raise FencedError(holder_in(found[0].value), found[0].mod_revision)


def value_of(answer: Any, number: int) -> bytes:
    """Return the value that a transaction got; no bytes where there is no such key."""
    found = answer.responses[number].response_range.kvs
    return bytes(found[0].value) if found else b""


def holder_in(epoch: bytes) -> str:
    """Return the holder in an epoch's value, behind the campaign's mark."""
    return epoch.partition(b" ")[2].decode()
