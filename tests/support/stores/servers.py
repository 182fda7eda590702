"""Real engines for tests: servers that a test starts on free ports of this machine, and stops."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 120
POSTGRES_USER = "postgres"
"""PostgreSQL refuses to run as root, which runs it as this user."""


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def program(name: str) -> str:
    """Return a program on the path, or the newest of Debian's versions of PostgreSQL."""
    debians = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debians[-1]) if debians else None)
    if found is None:
        raise FileNotFoundError(f"there is no {name}: make system-packages NEEDS=STORES")
    return found


class Server:
    """A process, with whatever it starts itself, in a session of its own."""

    def __init__(self, command: list[str], log: Path, **how: Any) -> None:
        self.command = command
        self._log = log
        self._how = how
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, **self._how
            )

    def kill(self) -> None:
        """End all of it at once, as a crash of its node does."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def wait_for(is_there: Any, what: str, server: Server | None = None) -> None:
    """Wait until something is so; fail after a long time, or where a server has ended."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        if server is not None and server.process.poll() is not None:
            raise AssertionError(f"{what}: the server ended: {server.said()}")
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {PATIENCE_SECONDS} seconds")
        time.sleep(0.02)


# --- PostgreSQL -----------------------------------------------------------------------------------


class Postgres:
    """A primary and its standbys, of which one answers for each commit."""

    def __init__(self, directory: Path, standbys: int) -> None:
        self.directory = directory
        self.ports = free_ports(1 + standbys)
        self._how: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = import_module("pwd").getpwnam(POSTGRES_USER)
            self._how = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(directory, user.pw_uid, user.pw_gid)
        self._how |= {"cwd": directory, "env": os.environ | {"HOME": str(directory), "LC_ALL": "C"}}
        self.servers: dict[int, Server] = {}
        self._run("initdb", "-D", str(self.data(0)), "-U", "aq", "--auth=trust", "--no-sync")
        names = ", ".join(f"n{number}" for number in range(len(self.ports)))
        self._configure(0, f"synchronous_standby_names = 'ANY 1 ({names})'" if standbys else "")
        self.start(0)
        for number in range(1, 1 + standbys):
            self.follow(number, 0)

    def data(self, number: int) -> Path:
        return self.directory / f"n{number}"

    def _run(self, name: str, *arguments: str) -> None:
        command = [program(name), *arguments]
        done = subprocess.run(
            command, **self._how, capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def _configure(self, number: int, *lines: str) -> None:
        own = (
            "listen_addresses = '127.0.0.1'",
            f"port = {self.ports[number]}",
            "unix_socket_directories = ''",
            f"cluster_name = 'n{number}'",
            "shared_buffers = 16MB",
            "dynamic_shared_memory_type = mmap",  # in its directory, which goes with it
            "max_wal_senders = 10",
            "wal_keep_size = 256MB",
            "wal_receiver_timeout = 5s",
            "wal_sender_timeout = 5s",
            "wal_retrieve_retry_interval = 200ms",
            *lines,
        )
        with (self.data(number) / "postgresql.conf").open("a") as file:
            file.writelines(f"{line}\n" for line in own)

    def follow(self, number: int, leader: int) -> None:
        """Make a standby of a copy of its leader."""
        port = str(self.ports[leader])
        target = ["-D", str(self.data(number)), "-X", "stream", "--no-sync", "-c", "fast"]
        self._run("pg_basebackup", "-h", "127.0.0.1", "-p", port, "-U", "aq", *target)
        leads = f"host=127.0.0.1 port={port} user=aq application_name=n{number}"
        self._configure(number, f"primary_conninfo = '{leads}'")
        (self.data(number) / "standby.signal").touch()
        self.start(number)
        wait_for(lambda: f"n{number}" in self.answering(leader), f"n{number} follows")

    def start(self, number: int) -> None:
        command = [program("postgres"), "-D", str(self.data(number))]
        log = self.directory / f"n{number}.log"
        server = self.servers[number] = Server(command, log, **self._how)
        wait_for(lambda: self._answers(number), f"n{number} starts", server)

    def _answers(self, number: int) -> bool:
        psycopg = import_module("psycopg")
        try:
            self.connect(number).close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, number: int, **options: Any) -> Any:
        psycopg = import_module("psycopg")
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.ports[number], "user": "aq"}
        where |= {"dbname": "postgres", "client_encoding": "UTF8"}
        return psycopg.connect(**where, autocommit=True, **options)

    def answering(self, number: int) -> set[str]:
        """Return the standbys that may answer for a commit of a node."""
        with self.connect(number) as connection:
            rows = connection.execute(
                "SELECT application_name FROM pg_stat_replication"
                " WHERE state = 'streaming' AND sync_state = 'quorum'"
            )
            return {row[0] for row in rows}

    def receivers(self, number: int) -> list[int]:
        """Return the processes that receive a standby's log: frozen, it is as if cut off."""
        found = []
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                parent = (line.parent / "stat").read_text().rpartition(")")[2].split()[1]
                words = line.read_bytes()
            except OSError:
                continue
            if int(parent) == self.servers[number].process.pid and b"walreceiver" in words:
                found.append(int(line.parent.name))
        return found

    @contextmanager
    def frozen(self, *numbers: int) -> Iterator[None]:
        """Cut standbys off, for a while."""
        pids = [pid for number in numbers for pid in self.receivers(number)]
        assert len(pids) == len(numbers)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def cut_off(self, number: int) -> None:
        """Have a standby receive no more."""
        with self.connect(number) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
        wait_for(lambda: not self.receivers(number), f"n{number} is cut off")

    def promote(self, number: int) -> None:
        with self.connect(number) as connection:
            connection.execute("SELECT pg_promote()")

    @property
    def conninfo(self) -> str:
        hosts = ",".join("127.0.0.1" for _ in self.ports)
        ports = ",".join(map(str, self.ports))
        return f"host={hosts} port={ports} user=aq dbname=postgres"

    def stop(self) -> None:
        """End the servers at once, but let them give back what they share in memory."""
        for server in self.servers.values():
            server.signal(signal.SIGCONT)
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(PATIENCE_SECONDS)


# --- etcd -----------------------------------------------------------------------------------------


class Etcd:
    """A cluster of some nodes."""

    def __init__(
        self,
        directory: Path,
        count: int,
        *options: str,
        hosts: Sequence[str] | None = None,
        place: Callable[[int], list[str]] = lambda _number: [],
    ) -> None:
        """``place`` says what a node's command begins with, as one that enters a namespace."""
        hosts = hosts or ["127.0.0.1"] * count
        ports = free_ports(2 * count)
        self.endpoints = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=False)]
        peers = [f"http://{host}:{port}" for host, port in zip(hosts, ports[count:], strict=True)]
        cluster = ",".join(f"n{number}={peer}" for number, peer in enumerate(peers))
        self.servers: dict[int, Server] = {}
        for number, endpoint in enumerate(self.endpoints):
            client, peer = f"http://{endpoint}", peers[number]
            command = [*place(number), program("etcd"), "--name", f"n{number}"]
            command += ["--data-dir", str(directory / f"n{number}")]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", cluster, "--initial-cluster-state", "new"]
            command += ["--snapshot-count", "10000", "--logger", "zap", "--log-level", "error"]
            log = directory / f"n{number}.log"
            self.servers[number] = Server([*command, *options], log, cwd=directory)

        wait_for(self._has_leader, "the nodes elect a leader")

    def _has_leader(self) -> bool:
        try:
            return self.leader() >= 0
        except AssertionError:
            return False

    def leader(self) -> int:
        """Return the leader's number, as the nodes that answer have it."""
        for number, (own, leader) in self._statuses().items():
            if own == leader:
                return number
        raise AssertionError("no node leads")

    def is_whole(self) -> bool:
        """Whether all nodes answer, and follow one leader."""
        leaders = [leader for _, leader in self._statuses().values()]
        return len(leaders) == len(self.endpoints) and len(set(leaders)) == 1 and bool(leaders[0])

    def have_lead(self, number: int) -> None:
        """Have the leader hand over to this node."""
        from actionqueue.stores.etcd.nodes import Nodes

        nodes = Nodes(self.endpoints, None)
        target = self._statuses()[number][0]
        try:
            request = nodes.rpc.MoveLeaderRequest(targetID=target)
            nodes.ask_node(self.leader(), "MaintenanceStub", "MoveLeader", request)
        finally:
            nodes.close()
        wait_for(lambda: self.is_whole() and self.leader() == number, f"n{number} leads")

    def _statuses(self) -> dict[int, tuple[int, int]]:
        """Return the identity of each node that answers, and of the leader that it follows."""
        from actionqueue.errors import StoreUnavailableError
        from actionqueue.stores.etcd.nodes import Nodes

        found = {}
        nodes = Nodes(self.endpoints, None)
        try:
            for number in range(len(self.endpoints)):
                try:
                    status = nodes.ask_node(
                        number, "MaintenanceStub", "Status", nodes.rpc.StatusRequest()
                    )
                except StoreUnavailableError:
                    continue
                found[number] = (status.header.member_id, status.leader)
        finally:
            nodes.close()
        return found

    def stop(self) -> None:
        for server in self.servers.values():
            server.kill()
