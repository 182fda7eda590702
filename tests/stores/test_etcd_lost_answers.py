"""A log in etcd whose requests are carried out without an answer, and whose store has threads."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from actionqueue.errors import FencedError, StoreUnavailableError
from actionqueue.stores import EtcdStore
from tests.stores.test_etcd import cluster, store  # noqa: F401 -- fixtures

pytestmark = pytest.mark.system("etcd")


def _take_over(store: EtcdStore, other: EtcdStore) -> Any:  # noqa: F811
    store._let_go()  # as if its lease had ended
    return other.campaign("other", timeout=60)


def test_a_resumed_campaign_that_failed_is_no_other_writer(
    store: EtcdStore,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It put its epoch, and its time was over before it heard of that."""
    term = store.campaign("writer")
    transaction = store._transaction

    def lost(compare: Any, success: Any, failure: Any) -> Any:
        answer = transaction(compare, success, failure)
        if success[0].WhichOneof("request") == "request_put":
            raise StoreUnavailableError(TimeoutError())
        return answer

    with monkeypatch.context() as patches, pytest.raises(StoreUnavailableError):
        patches.setattr(store, "_transaction", lost)
        store.campaign("writer", resume=term, timeout=0)
    assert store.head().epoch > term.epoch
    resumed = store.campaign("writer", resume=term, timeout=60)
    store.append(resumed, 1, 1, b"1")
    with pytest.raises(FencedError):
        store.campaign("writer", resume=term, timeout=60)


def test_two_threads_take_one_lease(
    store: EtcdStore,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the store would renew one lease, and the holder's key end with the other one."""
    term = store.campaign("writer")
    store._let_go()
    call = store._call
    keeps: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:

        def beside(stub: str, method: str, request: Any) -> Any:
            if method == "LeaseGrant" and not keeps:
                keeps.append(pool.submit(store.keep, term))
                wait(keeps, 1)  # it waits for this thread now, so this says nothing of how long
            return call(stub, method, request)

        monkeypatch.setattr(store, "_call", beside)
        store.keep(term)
        keeps[0].result(60)
    (holder,) = store._get(store._keys.holder)
    assert holder.lease == store._lease


def test_a_resigned_term_ends_no_lease_of_the_next(
    store: EtcdStore,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else another writer could take the log although `valid_until` promises time."""
    term = store.campaign("writer")
    transaction = store._transaction
    with ThreadPoolExecutor(1) as pool:
        campaigns: list[Future[Any]] = []

        def beside(compare: Any, success: Any, failure: Any) -> Any:
            monkeypatch.setattr(store, "_transaction", transaction)
            campaigns.append(pool.submit(store.campaign, "writer"))
            wait(campaigns, 1)  # it waits for this thread now, so this says nothing of how long
            return transaction(compare, success, failure)

        monkeypatch.setattr(store, "_transaction", beside)
        store.resign(term)
        newer = campaigns[0].result(60)
    (holder,) = store._get(store._keys.holder)
    assert holder.lease == store._lease
    assert store.valid_until(newer) > 0


def test_an_append_meanwhile_is_not_taken_for_a_loss(
    store: EtcdStore,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    term = store.campaign("writer")
    get = store._get

    def asked(*keys: bytes) -> Any:
        found = get(*keys)
        monkeypatch.setattr(store, "_get", get)
        store.append(term, 1, 1, b"1")
        return found

    monkeypatch.setattr(store, "_get", asked)
    assert store.head().next_sequence == 1
    assert store.head().next_sequence == 2
