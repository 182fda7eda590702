"""Writers and nodes are killed and stopped for real; nothing that was acknowledged is lost.

``make failover`` does the same for longer (tests/support/replication/failover.py).
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.replication.scene import Scene
from tests.support.stores import servers

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        yield Path(directory)


@pytest.fixture
def etcd(folder: Path) -> Iterator[servers.Etcd]:
    (folder / "etcd").mkdir()
    cluster = servers.Etcd(folder / "etcd", 3)
    yield cluster
    cluster.stop()


@pytest.fixture
def over_etcd(folder: Path, etcd: servers.Etcd) -> Iterator[Scene]:
    yield from scene_at(folder, "EtcdStore", etcd.endpoints)


@pytest.fixture
def over_postgres(folder: Path) -> Iterator[Scene]:
    folder.chmod(0o755)
    (folder / "postgres").mkdir()
    cluster = servers.Postgres(folder / "postgres", standbys=2)
    try:
        yield from scene_at(folder, "PostgresStore", cluster.conninfo)
    finally:
        cluster.stop()


def scene_at(folder: Path, store: str, where: object) -> Iterator[Scene]:
    (folder / "queues").mkdir()
    scene = Scene(folder / "queues", json.dumps([store, where, "jobs"]))
    yield scene
    scene.close()


def get_over(scene: Scene, *faults: Callable[[], float]) -> None:
    """Have a scene get over one fault after the other, and compare what it did after each."""
    for fault in faults:
        seconds = fault()
        print(f"{fault.__name__}: nothing was acknowledged for {seconds:.2f} s")
        scene.checker.look()
    scene.end()


@pytest.mark.system("etcd")
def test_writers_over_etcd_are_lost(over_etcd: Scene) -> None:
    scene = over_etcd
    get_over(scene, scene.lose_writer, scene.stop_writer, scene.lose_writer, scene.stop_writer)


@pytest.mark.system("etcd")
def test_leaders_of_etcd_are_lost(over_etcd: Scene, etcd: servers.Etcd) -> None:
    def lose_leader() -> float:
        over_etcd.settle()
        leader = etcd.leader()
        seconds = over_etcd.pause(etcd.servers[leader].kill)
        etcd.servers[leader].start()
        servers.wait_for(etcd.is_whole, "the node is back")
        return seconds

    def stop_leader() -> float:
        over_etcd.settle()
        leader = etcd.leader()
        seconds = over_etcd.pause(lambda: etcd.servers[leader].signal(signal.SIGSTOP))
        etcd.servers[leader].signal(signal.SIGCONT)
        servers.wait_for(etcd.is_whole, "the node is back")
        return seconds

    get_over(over_etcd, lose_leader, stop_leader, lose_leader)


@pytest.mark.system("postgres")
def test_writers_over_postgres_are_lost(over_postgres: Scene) -> None:
    scene = over_postgres
    get_over(scene, scene.lose_writer, scene.stop_writer, scene.lose_writer)
