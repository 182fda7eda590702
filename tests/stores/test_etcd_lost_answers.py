"""A log in etcd whose requests are carried out without an answer, and whose store has threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any

import pytest

import actionqueue.stores.etcd.calls as etcd_calls
from actionqueue.errors import FencedError, OutcomeUnknownError, StoreUnavailableError
from actionqueue.stores import EtcdStore
from tests.stores.test_etcd import cluster, store  # noqa: F401 -- fixtures
from tests.support.stores.servers import Etcd

pytestmark = pytest.mark.system("etcd")


def _take_over(store: EtcdStore, other: EtcdStore) -> Any:
    store._let_go()  # as if its lease had ended
    return other.campaign("other", timeout=60)


def _lose_first(
    store: EtcdStore,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[], object],
    *,
    is_carried_out: bool = True,
) -> None:
    """Have the next request lose its answer, and something happen before it is sent again."""
    import grpc

    send = store._nodes._send

    class Late(grpc.RpcError):  # type: ignore[misc]
        def code(self) -> Any:
            return grpc.StatusCode.DEADLINE_EXCEEDED

        def details(self) -> str:
            return "a fault"

    def lost(*arguments: Any) -> Any:
        monkeypatch.setattr(store._nodes, "_send", send)
        if is_carried_out:
            send(*arguments)
        meanwhile()
        raise Late

    monkeypatch.setattr(store._nodes, "_send", lost)


@pytest.fixture
def other(cluster: Etcd) -> Iterator[EtcdStore]:
    """Another writer's store on the same log."""
    with closing(EtcdStore(cluster.endpoints, log="jobs")) as made:
        yield made


def test_an_append_before_another_writer_came_is_not_said_to_be_refused(
    store: EtcdStore, other: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to it was lost, and the other writer refuses the request that is sent again."""
    term = store.campaign("writer")
    _lose_first(store, monkeypatch, lambda: _take_over(store, other))
    store.append(term, 1, 1, b"1")
    with pytest.raises(FencedError):
        store.append(term, 2, 2, b"2")
    assert list(other.read(0)) == [b"1"]


def test_an_append_that_was_not_carried_out_is_refused(
    store: EtcdStore, other: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = store.campaign("writer")
    _lose_first(store, monkeypatch, lambda: _take_over(store, other), is_carried_out=False)
    with pytest.raises(FencedError):
        store.append(term, 1, 1, b"1")
    assert list(other.read(0)) == []


def test_an_equal_group_of_another_writer_is_not_the_append(
    store: EtcdStore, other: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two writers would believe that one group is theirs."""
    term = store.campaign("writer")

    def append_the_same() -> None:
        other.append(_take_over(store, other), 1, 1, b"1")

    _lose_first(store, monkeypatch, append_the_same, is_carried_out=False)
    with pytest.raises(FencedError):
        store.append(term, 1, 1, b"1")


def test_an_append_that_another_writer_trimmed_may_have_been_there(
    store: EtcdStore, other: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = store.campaign("writer")

    def take_over_and_trim() -> None:
        newer = _take_over(store, other)
        other.append(newer, 2, 2, b"2")
        other.put_snapshot(newer, 1, [b"one"], b"")
        other.trim(newer, 2)

    _lose_first(store, monkeypatch, take_over_and_trim)
    with pytest.raises(OutcomeUnknownError):
        store.append(term, 1, 1, b"1")


def test_a_resumed_campaign_that_failed_is_no_other_writer(
    store: EtcdStore,
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
    store: EtcdStore,
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
    store: EtcdStore,
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
    store: EtcdStore,
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


def test_more_snapshots_than_one_answer_holds_are_all_there(
    store: EtcdStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(etcd_calls, "KEYS_AT_ONCE", 2)
    term = store.campaign("writer")
    for number in range(1, 6):
        store.append(term, number, number, b"1")
        store.put_snapshot(term, number, [b"a piece"], b"")
    assert [info.sequence for info in store.snapshots()] == [5, 4, 3, 2, 1]
