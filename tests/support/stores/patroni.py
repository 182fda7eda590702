"""PostgreSQL whose standbys Patroni promotes: nodes of Patroni over an etcd that tests start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.stores.servers import POSTGRES_USER, Server, free_ports, program, wait_for

TTL_SECONDS = 20
"""Patroni's floor: how long it takes a node that is gone for lost."""


class Patroni:
    """Three nodes, each a Patroni and its PostgreSQL."""

    def __init__(
        self,
        directory: Path,
        etcd: Sequence[str],
        hosts: Sequence[str] = ("127.0.0.1",) * 3,
        place: Callable[[int], list[str]] = lambda _number: [],
    ) -> None:
        """``place`` says what a node's command begins with, as one that enters a namespace."""
        self.directory = directory
        self.hosts = hosts
        self._place = place
        ports = free_ports(2 * len(hosts))
        self.ports, self._rest = ports[: len(hosts)], ports[len(hosts) :]
        self._how: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = import_module("pwd").getpwnam(POSTGRES_USER)
            os.chown(directory, user.pw_uid, user.pw_gid)
            self._how = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._environment = {"HOME": str(directory), "LC_ALL": "C", "PYTHONPATH": _packages()}
        self._python = self._usable_python()
        self.servers: dict[int, Server] = {}
        for number in range(len(hosts)):
            self._configuration_of(number).write_text(json.dumps(self._settings(number, etcd)))
            self.start(number)
            wait_for(self.leader_or_none, "a node leads", self.servers[0])
        wait_for(self.is_whole, "the standbys follow")

    def _usable_python(self) -> list[str]:
        """Return the Python that the servers' user may run: a user's own one may be closed to it.

        The packages are those of this Python, so the other one has to be of the same version.
        """
        pythons = (sys.executable, f"/usr/bin/python3.{sys.version_info[1]}")
        for python in pythons:
            if self._has_patroni(python):
                return [python]
        # The packages may be closed to that user, too.
        copy = self.directory / "packages"
        shutil.copytree(_packages(), copy, symlinks=True, ignore=shutil.ignore_patterns("*.pyc"))
        self._environment["PYTHONPATH"] = str(copy)
        for python in pythons:
            if self._has_patroni(python):
                return [python]
        raise AssertionError(f"no Python that {POSTGRES_USER} may run has Patroni")

    def _has_patroni(self, python: str) -> bool:
        command = [python, "-c", "import patroni, psycopg"]
        how = {"env": self._environment, "cwd": self.directory, **self._how}
        try:
            done = subprocess.run(command, capture_output=True, check=False, **how)
        except OSError:  # it is not there, or not for that user
            return False
        return done.returncode == 0

    def _configuration_of(self, number: int) -> Path:
        return self.directory / f"p{number}.json"

    def _settings(self, number: int, etcd: Sequence[str]) -> dict[str, Any]:
        host = self.hosts[number]
        rest = f"{host}:{self._rest[number]}"
        own = f"{host}:{self.ports[number]}"
        near = "127.0.0.1/32" if host == "127.0.0.1" else "0.0.0.0/0"
        parameters = {
            "synchronous_commit": "on",
            "wal_level": "replica",
            "hot_standby": "on",
            "max_wal_senders": 10,
            "max_replication_slots": 10,
            "wal_log_hints": "on",
            "shared_buffers": "16MB",
            "dynamic_shared_memory_type": "mmap",
            "wal_keep_size": "256MB",
            "wal_receiver_timeout": "5s",
            "wal_sender_timeout": "5s",
            "wal_retrieve_retry_interval": "200ms",
        }
        return {
            "scope": "aq",
            "name": f"p{number}",
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": list(etcd)},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_SECONDS,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "maximum_lag_on_failover": 1 << 30,
                    "primary_start_timeout": 0,
                    "synchronous_mode": "quorum",
                    "synchronous_mode_strict": True,
                    "synchronous_node_count": 1,
                    "check_timeline": True,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "use_slots": True,
                        "parameters": parameters,
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "no-sync"],
            },
            "postgresql": {
                "listen": own,
                "connect_address": own,
                "data_dir": str(self.data(number)),
                "bin_dir": str(Path(program("initdb")).resolve().parent),
                "pgpass": str(self.directory / f"pgpass{number}"),
                "authentication": {
                    "superuser": {"username": "aq"},
                    "replication": {"username": "rep"},
                    "rewind": {"username": "aq"},
                },
                "parameters": {"unix_socket_directories": ""},
                # A rewind that a fault cuts short leaves empty files, and the node never starts.
                "pg_hba": [f"host all all {near} trust", f"host replication all {near} trust"],
                "remove_data_directory_on_rewind_failure": True,
            },
        }

    def data(self, number: int) -> Path:
        return self.directory / f"d{number}"

    def start(self, number: int) -> None:
        command = [*self._python, "-m", "patroni", str(self._configuration_of(number))]
        how = self._how
        place = self._place(number)
        if place and how:  # only root enters a namespace, and then becomes the other user
            ids = [f"--reuid={how['user']}", f"--regid={how['group']}", "--clear-groups"]
            command, how = [*place, "setpriv", *ids, "--", *command], {}
        log = self.directory / f"p{number}.log"
        environment = self._environment | {"PATH": os.environ["PATH"]}
        self.servers[number] = Server(command, log, cwd=self.directory, env=environment, **how)

    # --- What the nodes say -----------------------------------------------------------------------

    def _views(self) -> list[list[dict[str, Any]]]:
        """Return the members as each node that answers has them."""
        found = []
        for host, port in zip(self.hosts, self._rest, strict=True):
            try:
                with urllib.request.urlopen(f"http://{host}:{port}/cluster", timeout=2) as answer:
                    found.append(list(json.load(answer)["members"]))
            except OSError:
                continue
        return found

    def leader_or_none(self) -> str | None:
        """Return the leader's name, where all nodes that answer have the same one."""
        views = [_leader_in(members) for members in self._views()]
        return views[0] if len(set(views)) == 1 else None

    def leader(self) -> int:
        """Return the leader's number."""
        wait_for(self.leader_or_none, "the nodes have one leader")
        name = self.leader_or_none()
        assert name is not None, "no node leads"
        return int(name[1:])

    def is_whole(self) -> bool:
        """Whether one node leads, all others follow it, and each of them says so.

        Only what Patroni has noted as a standby of the quorum would be promoted.
        """
        views = self._views()
        streaming = [sum(map(_is_of_quorum, view)) for view in views]
        leaders = {_leader_in(members) for members in views}
        count = len(self.hosts)
        return streaming == [count - 1] * count and len(leaders) == 1 and None not in leaders

    def told(self) -> str:
        """Say what each node says of itself, and of the others."""
        lines = []
        for number, (host, port) in enumerate(zip(self.hosts, self._rest, strict=True)):
            for page in ("patroni", "cluster"):
                try:
                    with urllib.request.urlopen(f"http://{host}:{port}/{page}", timeout=2) as found:
                        told = found.read().decode()
                except OSError as error:
                    told = str(error)
                lines.append(f"p{number}, {page}: {told}")
            log = (self.directory / f"p{number}.log").read_text(errors="replace")
            lines += log.splitlines()[-40:]
        return "\n".join(lines)

    def have_lead(self, number: int) -> None:
        """Ask for a switchover, which takes a moment."""
        wait_for(lambda: self._asks_to_lead(number), f"p{number} may lead")

    def _asks_to_lead(self, number: int) -> bool:
        """Ask once; return False where Patroni is not ready, as a moment after a promotion."""
        now = self.leader()
        if now == number:
            return True
        body = json.dumps({"leader": f"p{now}", "candidate": f"p{number}"}).encode()
        where = f"http://{self.hosts[now]}:{self._rest[now]}/switchover"
        request = urllib.request.Request(where, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 -- as above
                return bool(answer.status == HTTPStatus.OK)
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
                return False
            raise

    @property
    def conninfo(self) -> str:
        ports = ",".join(map(str, self.ports))
        return f"host={','.join(self.hosts)} port={ports} user=aq dbname=postgres"

    # --- Faults -----------------------------------------------------------------------------------

    def kill_postgres(self, number: int) -> None:
        """End a node's PostgreSQL with all its processes; its Patroni goes on."""
        try:
            postmaster = int((self.data(number) / "postmaster.pid").read_text().split()[0])
        except FileNotFoundError:
            return
        for pid in [postmaster, *_children(postmaster)]:
            _kill(pid)

    def kill_patroni(self, number: int) -> None:
        """End a node's Patroni; its PostgreSQL goes on."""
        self.servers[number].kill()

    def kill_node(self, number: int) -> None:
        """End a node at once, with all that runs there."""
        self.kill_patroni(number)
        self.kill_postgres(number)

    def stop(self) -> None:
        for number in self.servers:
            self.kill_node(number)


def _is_of_quorum(member: dict[str, Any]) -> bool:
    return member.get("state") == "streaming" and member["role"] == "quorum_standby"


def _leader_in(members: list[dict[str, Any]]) -> str | None:
    leaders = [each["name"] for each in members if each["role"] == "leader"]
    return leaders[0] if leaders else None


def _packages() -> str:
    found = find_spec("patroni")
    assert found is not None, "make failover installs Patroni"
    assert found.origin
    return str(Path(found.origin).parents[1])


def _children(process: int) -> list[int]:
    found = []
    for line in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = line.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == process:
            found.append(int(line.parent.name))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
