"""Calls to etcd's nodes: one node after the other, until one of them answers.

Every request that goes through here may be sent twice, since an answer that is lost does not say
whether the request was carried out.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from actionqueue.errors import (
    ActionQueueError,
    ClosedError,
    ForkedError,
    StoreFullError,
    StoreUnavailableError,
)

__all__ = ["CALL_SECONDS", "Nodes", "rpc_module"]

CALL_SECONDS = 1.0
"""How long a node has to answer a request."""
PAUSE_SECONDS = 0.03
CHANNEL_OPTIONS = [
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.max_receive_message_length", 64 << 20),
]
REPEATED = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "CANCELLED"}
FULL = "database space exceeded"


def rpc_module() -> Any:
    """Import etcd's messages and return them, or raise an ImportError that says what to install."""
    return _imported("aetcd.rpc")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {"grpc", "aetcd"}:
            raise
        reason = "an EtcdStore needs grpcio and aetcd: pip install 'actionqueue[etcd]'"
        raise ModuleNotFoundError(reason, name=error.name) from error


class Nodes:
    """The channels to the nodes, and which of them answered last."""

    def __init__(self, endpoints: Sequence[str], credentials: Any) -> None:
        self.rpc = rpc_module()
        self._grpc = _imported("grpc")
        self.endpoints = tuple(endpoints)
        self._credentials = credentials
        self._channels: list[Any] = []
        self._stubs: dict[tuple[int, str], Any] = {}
        self._lock = threading.Lock()
        self._at = 0
        self._process = os.getpid()
        self._is_closed = False

    def call(self, stub: str, method: str, request: Any, patience: float) -> Any:
        """Send a request to one node after the other, for ``patience`` seconds at least.

        Each node is asked once at least: one that says nothing takes all of a short patience.
        Raises StoreUnavailableError where none has answered then, StoreFullError.
        """
        return self.call_again(stub, method, request, patience)[0]

    def call_again(self, stub: str, method: str, request: Any, patience: float) -> tuple[Any, bool]:
        """Do what :meth:`call` does; return whether the answer is that to the first request, too.

        Where it is not, one before may have been carried out.
        """
        until = time.monotonic() + patience
        is_first = True
        unasked = len(self.endpoints)
        while True:
            at = self._at
            unasked -= 1
            try:
                return self._send(self._stub(at, stub), method, request), is_first
            except ClosedError as error:
                if is_first:
                    raise
                # What was sent before may still be carried out.
                raise StoreUnavailableError(error) from error
            except self._grpc.RpcError as error:
                failure = self._failure_of(error)
                if isinstance(failure, StoreFullError) and not is_first:
                    # What was sent before may still be carried out.
                    raise StoreUnavailableError(failure) from error
                if not isinstance(failure, StoreUnavailableError) or not _is_repeated(error):
                    raise failure from error
                if self._at == at:
                    self._at = (at + 1) % len(self.endpoints)
                if unasked <= 0 and time.monotonic() >= until:
                    raise failure from error
            is_first = False
            time.sleep(PAUSE_SECONDS)

    def ask_node(self, number: int, stub: str, method: str, request: Any) -> Any:
        """Send a request to one node. Raises StoreUnavailableError."""
        try:
            return self._send(self._stub(number, stub), method, request)
        except self._grpc.RpcError as error:
            raise self._failure_of(error) from error

    def _send(self, stub: Any, method: str, request: Any) -> Any:
        call = getattr(stub, method)
        try:
            if method == "LeaseKeepAlive":  # a stream of requests, and one of answers
                return next(iter(call(iter([request]), timeout=CALL_SECONDS)))
            return call(request, timeout=CALL_SECONDS)
        except StopIteration as error:
            raise StoreUnavailableError(RuntimeError("no answer was in the stream")) from error
        except ValueError as error:  # the channel was closed before it took the request
            if self._is_closed:
                raise ClosedError from error
            raise

    def _stub(self, number: int, name: str) -> Any:
        """Return a node's calls, made once: grpc crashes where a closed channel makes them."""
        if os.getpid() != self._process:
            raise ForkedError
        with self._lock:
            if self._is_closed:
                raise ClosedError
            if not self._channels:
                self._channels = [self._open(endpoint) for endpoint in self.endpoints]
            if (number, name) not in self._stubs:
                self._stubs[number, name] = getattr(self.rpc, name)(self._channels[number])
            return self._stubs[number, name]

    def _open(self, endpoint: str) -> Any:
        if self._credentials is None:
            return self._grpc.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
        return self._grpc.secure_channel(endpoint, self._credentials, options=CHANNEL_OPTIONS)

    def _failure_of(self, error: Any) -> ActionQueueError:
        if FULL in (error.details() or ""):
            return StoreFullError(error.details())
        return StoreUnavailableError(
            RuntimeError(f"{error.code().name}: {(error.details() or '').strip()}")
        )

    def close(self) -> None:
        """Close the channels; in a child of the process this does nothing."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._is_closed = True
            channels, self._channels = self._channels, []
        for channel in channels:
            channel.close()


def _is_repeated(error: Any) -> bool:
    return error.code().name in REPEATED
