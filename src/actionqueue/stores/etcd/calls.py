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

__all__ = ["Calls", "holder_in", "value_of"]

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
        written: tuple[bytes, bytes],
    ) -> Any:
        """Change something in a term, and go on until a node answers or patience ends.

        The change that fills the engine up is carried out, and etcd says that there is no space
        all the same. So this looks for the key and the value of ``written``, and returns None where
        they are there.
        """
        request = self._requests.transaction(compare, success, failure)
        try:
            return self._nodes.call("KVStub", "Txn", request, PATIENCE_SECONDS)
        except StoreUnavailableError as error:
            raise OutcomeUnknownError(error.cause) from error
        except StoreFullError:
            key, value = written
            try:
                (found,) = self._get_some(key)
            except StoreUnavailableError as error:
                raise OutcomeUnknownError(error.cause) from error
            if found is None or found.value != value:
                raise
            return None

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
