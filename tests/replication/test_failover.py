"""Writers and nodes are killed, stopped and cut off; nothing that was acknowledged is lost.

``make failover`` does the same many times (tests/support/replication/failover.py).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.replication.clusters import EtcdCluster, PatroniCluster, get_over
from tests.support.replication.scene import Scene
from tests.support.stores import servers

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        yield Path(directory)


def tell(fault: str, seconds: float) -> None:
    print(f"{fault}: nothing was acknowledged for {seconds:.2f} s")


@pytest.mark.system("etcd")
def test_leaders_and_writers_over_etcd_are_lost(folder: Path) -> None:
    faults = ["leader_killed", "writer_killed", "writer_stopped", "leader_stopped"]
    with closing(EtcdCluster(folder, has_network=False)) as cluster:
        get_over(cluster, [*faults, *faults[:3], "leader_and_writer_killed"], tell)


@pytest.mark.system("etcd", "ip", "nsenter", "root")
def test_machines_over_etcd_are_cut_off(folder: Path) -> None:
    faults = ["leader_and_writer_cut_off", "writer_cut_off", "writer_mute", "leader_cut_off"]
    with closing(EtcdCluster(folder, has_network=True)) as cluster:
        get_over(cluster, faults, tell)


@pytest.mark.system("postgres")
def test_writers_over_postgres_are_lost(folder: Path) -> None:
    """Nothing promotes a standby here; Patroni does below."""
    folder.chmod(0o755)
    for name in ("postgres", "queues"):
        (folder / name).mkdir()
    cluster = servers.Postgres(folder / "postgres", standbys=2)
    try:
        store = json.dumps(["PostgresStore", cluster.conninfo, "jobs"])
        with closing(Scene(folder / "queues", store)) as scene:
            for fault in (scene.lose_writer, scene.stop_writer, scene.lose_writer):
                tell(fault.__name__, fault())
                scene.checker.look()
            scene.end()
    finally:
        cluster.stop()


@pytest.mark.system("etcd", "postgres")
def test_patroni_promotes_a_standby(folder: Path) -> None:
    faults = ["postgres_killed", "writer_killed", "postgres_killed", "node_killed"]
    with closing(PatroniCluster(folder, has_network=False)) as cluster:
        get_over(cluster, faults, tell)
