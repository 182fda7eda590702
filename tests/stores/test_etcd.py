"""A log in three nodes of etcd that lose their leader, their majority, or their room."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import actionqueue.stores.etcd.calls as etcd_calls
from actionqueue.errors import (
    AcknowledgedLostError,
    FencedError,
    InvalidFieldError,
    OutcomeUnknownError,
    StoreFullError,
    StoreUnavailableError,
    TrimmedError,
)
from actionqueue.stores import EtcdStore
from tests.support.stores.servers import Etcd, wait_for

pytestmark = pytest.mark.system("etcd")


@pytest.fixture
def cluster() -> Iterator[Etcd]:
    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        made = Etcd(Path(directory), 3)
        yield made
        made.stop()


@pytest.fixture
def store(cluster: Etcd) -> Iterator[EtcdStore]:
    with closing(EtcdStore(cluster.endpoints, log="jobs")) as made:

        def is_ready() -> bool:
            try:
                return made.initialize() or bool(made.head())
            except StoreUnavailableError:
                return False

        wait_for(is_ready, "the nodes elect a leader")
        yield made


def test_a_writer_goes_on_when_the_leader_dies(cluster: Etcd, store: EtcdStore) -> None:
    term = store.campaign("writer")
    for number in range(1, 31):
        if number == 10:
            cluster.servers[cluster.leader()].kill()
        store.append(term, number, number, str(number).encode())
    assert list(store.read(0)) == [str(number).encode() for number in range(1, 31)]
    warnings = store.describe().warnings
    assert len([warning for warning in warnings if "does not answer" in warning]) == 1


def test_a_stopped_leader_is_passed_by(cluster: Etcd, store: EtcdStore) -> None:
    """It goes on to hold its connections."""
    term = store.campaign("writer")
    store.append(term, 1, 1, b"1")
    leader = cluster.servers[cluster.leader()]
    leader.signal(signal.SIGSTOP)
    term = store.campaign("writer", resume=term)
    store.append(term, 2, 2, b"2")
    leader.signal(signal.SIGCONT)
    store.append(term, 3, 3, b"3")
    assert list(store.read(0)) == [b"1", b"2", b"3"]


@pytest.mark.usefixtures("store")
def test_a_node_that_says_nothing_is_passed_by_in_the_first_call(cluster: Etcd) -> None:
    """Such as one that is cut off: a new store asks it first, and for as long as it has time."""
    followers = [number for number in range(3) if number != cluster.leader()]
    endpoints = [cluster.endpoints[number] for number in (followers[0], cluster.leader())]
    silent = cluster.servers[followers[0]]
    silent.signal(signal.SIGSTOP)
    with closing(EtcdStore(endpoints, log="jobs")) as new:
        assert new.head().next_sequence == 1
    silent.signal(signal.SIGCONT)


def test_without_a_majority_an_outcome_is_unknown(
    cluster: Etcd, store: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_calls, "PATIENCE_SECONDS", 0.5)
    term = store.campaign("writer")
    store.append(term, 1, 1, b"1")
    stopped = [cluster.servers[number] for number in (0, 1)]
    for server in stopped:
        server.signal(signal.SIGSTOP)
    with pytest.raises(OutcomeUnknownError):
        store.append(term, 2, 2, b"2")
    with pytest.raises(OutcomeUnknownError):
        store.keep(term)
    with pytest.raises(StoreUnavailableError):
        store.campaign("another", timeout=0)
    for server in stopped:
        server.signal(signal.SIGCONT)
    resumed = store.campaign("writer", resume=term, timeout=60)
    if not store.outcome(resumed, 2, b"2"):
        store.append(resumed, 2, 2, b"2")
    with pytest.raises(FencedError):
        store.append(term, 3, 3, b"of the old term")
    assert list(store.read(0)) == [b"1", b"2"]


def test_a_full_engine_says_so() -> None:
    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        cluster = Etcd(Path(directory), 1, "--quota-backend-bytes", str(4 << 20))
        try:
            with closing(EtcdStore(cluster.endpoints, log="jobs")) as store:
                store.initialize()
                term = store.campaign("writer")
                store.append(term, 1, 1, b"1")
                store.append(term, 2, 2, b"2")
                store.put_snapshot(term, 2, [b"what it holds"], b"")
                number = 2
                with pytest.raises(StoreFullError, match="space"):
                    while number < 100:
                        number += 1
                        store.append(term, number, number, bytes(2**20))
                assert len(list(store.read(0))) == number - 1
                store.keep(term)
                store.trim(term, 3)
                assert len(list(store.read(2))) == number - 3
                with pytest.raises(TrimmedError):
                    list(store.read(0))
                assert any("NOSPACE" in warning for warning in store.describe().warnings)
        finally:
            cluster.stop()


@pytest.mark.parametrize(
    ("endpoints", "named"),
    [
        ("a:1", "a:1"),
        ([], ()),
        ([1], 1),
        *(
            (["a:1", wrong], wrong)
            for wrong in (
                "",
                "a",
                "a:",
                ":1",
                "a:0",
                "a:65536",
                "a:b",
                "a:1\n",
                " a:1",
                "::1:1",
                "http://a:1",
                "https://a:1/",
                "a\ud800:1",
                "a:\u0661",
            )
        ),
    ],
)
def test_endpoints_that_make_no_sense_are_named(endpoints: object, named: object) -> None:
    with pytest.raises(InvalidFieldError, match=r"EtcdStore\.endpoints") as caught:
        EtcdStore(endpoints)  # type: ignore[arg-type]
    assert caught.value.value == named
    str(caught.value).encode()


@pytest.mark.parametrize("endpoint", ["a:1", "10.0.0.1:2379", "db-1.a_b.example:65535", "[::1]:1"])
def test_endpoints_are_names_or_addresses_with_a_port(endpoint: str) -> None:
    EtcdStore([endpoint]).close()


@pytest.mark.parametrize(("last", "missing"), [(5, "2 to 3"), (3, "2 to 3"), (2, "2 to 2")])
def test_a_hole_is_a_loss(store: EtcdStore, last: int, missing: str) -> None:
    term = store.campaign("writer")
    store.append(term, 1, 1, b"1")
    for number in range(2, last + 1):
        store.append(term, number, number, b"more")
    store._delete(store._keys.group(2), store._keys.group(4))
    assert list(store.read(0, upto=1)) == [b"1"]
    assert list(store.read(3)) == [b"more"] * (last - 3)
    for after in (0, 1):
        with pytest.raises(AcknowledgedLostError, match=missing):
            list(store.read(after))


def test_a_trim_meanwhile_is_no_loss(store: EtcdStore) -> None:
    term = store.campaign("writer")
    for number in range(1, 4):
        store.append(term, number, number, b"more")
    store.put_snapshot(term, 2, [b"two"], b"")
    groups = store.read(0)
    store.trim(term, 3)
    with pytest.raises(TrimmedError):
        list(groups)
    assert list(store.read(2)) == [b"more"]
