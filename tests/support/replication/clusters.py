"""Real clusters with writers on their machines, and the faults that these have to get over."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.support.replication.scene import Scene
from tests.support.stores import servers
from tests.support.stores.network import Network
from tests.support.stores.patroni import Patroni

NODES = 3
NAMES = "abcd"
"""The first writers are on the engine's machines, the last one has its own."""
LATE_SECONDS = 0.2
"""How long what was on its way when a machine was cut off may take to be noted."""


class Cluster:
    """An engine, its writers, and a network between them, if one is wanted."""

    def __init__(self, folder: Path, *, has_network: bool, seed: int = 0) -> None:
        self.random = Random(seed)
        self.folder = folder
        folder.chmod(0o755)  # servers run as another user
        self._stack = ExitStack()
        self.network: Network | None = None
        if has_network:
            self.network = Network(len(NAMES))
            self._stack.callback(self.network.close)
        try:
            store = self._begin()
            self.scene = Scene(self._folder("queues"), json.dumps(store), NAMES, place=self._place)
        except BaseException:
            self._stack.close()
            raise
        self._stack.callback(self.scene.close)

    def _begin(self) -> list[object]:
        """Start the engine; return the class of its store, and what that is called with."""
        raise NotImplementedError

    def leader(self) -> int:
        raise NotImplementedError

    def have_lead(self, number: int) -> None:
        raise NotImplementedError

    def is_whole(self) -> bool:
        raise NotImplementedError

    def told(self) -> str:
        """Say what the writers did last, and what the engine says."""
        return self.scene.told()

    def _folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    def hosts(self) -> list[str]:
        if self.network is None:
            return ["127.0.0.1"] * NODES
        return [self.network.host(number) for number in range(NODES)]

    def place_of(self, number: int) -> list[str]:
        return [] if self.network is None else self.network.place(number)

    def _place(self, name: str) -> list[str]:
        return self.place_of(NAMES.index(name))

    def start_etcd(self) -> servers.Etcd:
        cluster = servers.Etcd(self._folder("etcd"), NODES, hosts=self.hosts(), place=self.place_of)
        self._stack.callback(cluster.stop)
        return cluster

    def close(self) -> None:
        self._stack.close()

    # --- Faults: each returns how long nothing was acknowledged -----------------------------------

    def settle(self) -> str:
        servers.wait_for(self.is_whole, "all nodes are there")
        return self.scene.settle()

    def writer_killed(self) -> float:
        self.settle()
        return self.scene.lose_writer()

    def writer_stopped(self) -> float:
        self.settle()
        return self.scene.stop_writer()

    def writer_stopped_for_a_while(self) -> float:
        """From shorter than its lease to far longer."""
        self.settle()
        return self.scene.nap_of_writer(self.random.uniform(1, 6))

    def leader_cut_off(self) -> float:
        """The writer is elsewhere, and goes on."""
        machine = NAMES.index(self.settle())
        if self.leader() == machine:
            self.have_lead((machine + 1) % NODES)
        return self._cut([self.leader()], None)

    def leader_and_writer_cut_off(self) -> float:
        """They have each other, but no majority."""
        name = self.settle()
        while NAMES.index(name) >= NODES:
            self.scene.lose_writer()
            name = self.settle()
        if self.leader() != NAMES.index(name):
            self.have_lead(NAMES.index(name))
            self.settle()
        return self._cut([NAMES.index(name)], name)

    def writer_cut_off(self) -> float:
        name = self.settle()
        machine = NAMES.index(name)
        if self.leader() == machine:
            self.have_lead((machine + 1) % NODES)
        return self._cut([machine], name)

    def writer_mute(self) -> float:
        """It hears the others, and nothing comes from it."""
        name = self.settle()
        machine = NAMES.index(name)
        if self.leader() == machine:
            self.have_lead((machine + 1) % NODES)
            self.settle()
        return self._cut([machine], name, is_one_way=True)

    def _cut(self, machines: list[int], writer: str | None, *, is_one_way: bool = False) -> float:
        scene, network = self.scene, self.network
        assert network is not None
        begun: list[float] = []

        def begin() -> None:
            (network.mute if is_one_way else network.cut)(*machines)
            begun.append(time.monotonic())

        try:
            seconds = scene.pause(begin, lambda since: scene.are_at_work(since, writer or ""))
            if writer is not None:
                last = scene.readers[writer].acknowledged[-1].at
                assert last <= begun[0] + LATE_SECONDS, "a writer was cut off, and wrote"
        finally:
            healed = time.monotonic()
            network.heal(*machines)
        if writer is not None:
            scene.wait_for(lambda: scene.has_opened(writer, healed), f"{writer} stands by again")
            scene.expect_fenced(writer, begun[0])
        return seconds


class EtcdCluster(Cluster):
    def _begin(self) -> list[object]:
        self.etcd = self.start_etcd()
        return ["EtcdStore", self.etcd.endpoints, "jobs"]

    def leader(self) -> int:
        return self.etcd.leader()

    def have_lead(self, number: int) -> None:
        self.etcd.have_lead(number)

    def is_whole(self) -> bool:
        return self.etcd.is_whole()

    def leader_killed(self) -> float:
        self.settle()
        server = self.etcd.servers[self.leader()]
        seconds = self.scene.pause(server.kill)
        server.start()
        return seconds

    def leader_stopped(self) -> float:
        self.settle()
        server = self.etcd.servers[self.leader()]
        seconds = self.scene.pause(lambda: server.signal(signal.SIGSTOP))
        server.signal(signal.SIGCONT)
        return seconds

    def leader_and_writer_killed(self) -> float:
        name = self.settle()
        server = self.etcd.servers[self.leader()]

        def begin() -> None:
            server.kill()
            self.scene.kill(name)

        seconds = self.scene.pause(begin, lambda since: self.scene.are_at_work(since, name))
        server.start()
        self.scene.restart(name)
        return seconds


class PatroniCluster(Cluster):
    def _begin(self) -> list[object]:
        etcd = self.start_etcd()
        self.patroni = Patroni(self._folder("patroni"), etcd.endpoints, self.hosts(), self.place_of)
        self._stack.callback(self.patroni.stop)
        return ["PostgresStore", self.patroni.conninfo, "jobs"]

    def leader(self) -> int:
        return self.patroni.leader()

    def have_lead(self, number: int) -> None:
        """Patroni's own switch: the writers see a restart of the primary."""
        self.patroni.have_lead(number)
        servers.wait_for(lambda: self.is_whole() and self.leader() == number, f"p{number} leads")

    def is_whole(self) -> bool:
        return self.patroni.is_whole()

    def told(self) -> str:
        return f"{super().told()}\n{self.patroni.told()}"

    def postgres_killed(self) -> float:
        self.settle()
        number = self.leader()
        return self.scene.pause(lambda: self.patroni.kill_postgres(number))

    def node_killed(self) -> float:
        self.settle()
        number = self.leader()
        try:
            return self.scene.pause(lambda: self.patroni.kill_node(number))
        finally:
            self.patroni.start(number)

    def patroni_killed(self) -> float:
        """Its PostgreSQL goes on, until another one is promoted."""
        self.settle()
        number = self.leader()

        promoted: list[float] = []

        def is_over(_since: float) -> bool:
            if not promoted and self.patroni.leader_or_none() not in {None, f"p{number}"}:
                promoted.append(time.monotonic())
            return bool(promoted) and self.scene.are_at_work(promoted[0])

        try:
            return self.scene.pause(lambda: self.patroni.kill_patroni(number), is_over)
        finally:
            self.patroni.kill_postgres(number)
            self.patroni.start(number)


def get_over(cluster: Cluster, faults: list[str], tell: Callable[[str, float], object]) -> None:
    """Have a cluster get over one fault after the other, and compare all writes after each."""
    for fault in faults:
        tell(fault, getattr(cluster, fault)())
        cluster.scene.checker.look()
    servers.wait_for(cluster.is_whole, "all nodes are there")
    cluster.scene.end()
