"""A log in etcd under stopped candidates, keys that are gone, and calls on closed stores."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from actionqueue.errors import (
    ClosedError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TermHeldError,
    UnknownLogError,
)
from actionqueue.stores import EtcdStore
from tests.stores.test_etcd import cluster, store  # noqa: F401 -- fixtures
from tests.support.stores.servers import Etcd, wait_for

pytestmark = pytest.mark.system("etcd")


def test_a_candidate_that_was_stopped_does_not_put_a_living_writer_aside(
    cluster: Etcd,
    store: EtcdStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its lease ends while it is stopped, between taking the holder's key and putting the epoch."""
    with closing(EtcdStore(cluster.endpoints, log="jobs")) as candidate:
        hold = candidate._hold
        terms = []

        def stopped(holder: str) -> bool:
            has_key = hold(holder)
            terms.append(store.campaign("writer", timeout=60))
            return has_key

        monkeypatch.setattr(candidate, "_hold", stopped)
        with pytest.raises(TermHeldError):
            candidate.campaign("candidate", timeout=0)
        store.append(terms[0], 1, 1, b"1")


def test_an_append_that_is_closed_on_its_way_may_be_in_the_log(
    cluster: Etcd,
    store: EtcdStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    term = store.campaign("writer")
    is_sent = threading.Event()
    send = store._nodes._send

    def sent(*arguments: Any) -> Any:
        is_sent.set()
        return send(*arguments)

    monkeypatch.setattr(store._nodes, "_send", sent)
    _signal(cluster, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(store.append, term, 1, 1, b"1")
        assert is_sent.wait(60)
        store.close()
        with pytest.raises(OutcomeUnknownError):
            end.result(60)
    with pytest.raises(ClosedError):
        store.append(term, 1, 1, b"1")


def _signal(cluster: Etcd, number: int) -> None:
    for server in cluster.servers.values():
        server.signal(number)


def test_a_channel_that_closes_before_it_takes_a_request(store: EtcdStore) -> None:
    nodes = store._nodes
    stub = nodes._stub(0, "MaintenanceStub")
    store.close()
    with pytest.raises(ClosedError):
        nodes._send(stub, "Status", nodes.rpc.StatusRequest())
    with pytest.raises(ClosedError):
        nodes._stub(0, "LeaseStub")


def test_a_stream_without_an_answer_is_no_answer(
    store: EtcdStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = store._nodes

    class Stub:
        def __init__(self, channel: Any) -> None:
            self.LeaseKeepAlive = lambda requests, timeout: iter(())

    monkeypatch.setattr(nodes.rpc, "LeaseStub", Stub)
    with pytest.raises(StoreUnavailableError):
        nodes.call("LeaseStub", "LeaseKeepAlive", nodes.rpc.LeaseKeepAliveRequest(ID=1), 0)


def test_a_log_whose_end_was_deleted_is_unknown(store: EtcdStore) -> None:
    term = store.campaign("writer")
    store._delete(store._keys.end, store._keys.end + b"\0")
    with pytest.raises(UnknownLogError):
        store.append(term, 1, 1, b"1")
    wait_for(lambda: store._get_some(store._keys.end) == [None], "the key is gone")
