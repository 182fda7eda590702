"""Machines in a network that can be cut: namespaces of Linux around a switch. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

NOWHERE = "02:00:00:00:00:01"
"""An address of the link that no machine has."""


class Network:
    """Machines by number, and this process beside them."""

    def __init__(self, count: int) -> None:
        self._name = f"aq{os.getpid()}"
        self._net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self._count = count
        switch = self._space("s")
        self._made: list[str] = []
        self._make(switch)
        self._in(switch, "ip link add switch type bridge")
        self._in(switch, "ip link set switch up")
        for number in range(count):
            self._make(self._space(number))
            self._connect(str(number), self._space(number), self.host(number))
        self._outside = f"{self._name}x"
        self._connect("x", None, f"{self._net}.99")

    def host(self, number: int) -> str:
        return f"{self._net}.{10 + number}"

    def place(self, number: int) -> list[str]:
        """Return what a command begins with that runs on a machine."""
        return ["nsenter", f"--net=/run/netns/{self._space(number)}", "--"]

    def _space(self, which: int | str) -> str:
        return f"{self._name}-{which}"

    def _make(self, space: str) -> None:
        _run(["ip", "netns", "add", space])
        self._made.append(space)
        self._in(space, "ip link set lo up")

    def _in(self, space: str | None, command: str) -> None:
        place = ["ip", "netns", "exec", space] if space else []
        _run([*place, *command.split()])

    def _connect(self, port: str, space: str | None, host: str) -> None:
        switch, near = self._space("s"), "eth0" if space else f"{self._name}x"
        where = f"netns {space}" if space else f"netns {os.getpid()}"
        self._in(switch, f"ip link add port{port} type veth peer name {near} {where}")
        self._in(switch, f"ip link set port{port} master switch up")
        self._in(space, f"ip addr add {host}/24 dev {near}")
        self._in(space, f"ip link set {near} up")

    # --- Faults -----------------------------------------------------------------------------------

    def cut(self, *numbers: int) -> None:
        """Cut machines off, each by itself and without a word."""
        for number in numbers:
            self._in(self._space("s"), f"ip link set port{number} nomaster")

    def mute(self, *numbers: int) -> None:
        """Have nothing that machines send come to another one; they go on hearing the others."""
        for number in numbers:
            for other in self._others(number):
                known = f"ip neigh replace {other} lladdr {NOWHERE} dev eth0 nud permanent"
                self._in(self._space(number), known)

    def heal(self, *numbers: int) -> None:
        for number in numbers:
            self._in(self._space("s"), f"ip link set port{number} master switch")
            self._in(self._space(number), "ip neigh flush dev eth0 nud permanent")

    def _others(self, number: int) -> Sequence[str]:
        hosts = [self.host(each) for each in range(self._count) if each != number]
        return [*hosts, f"{self._net}.99"]

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", self._outside], capture_output=True, check=False)
        for space in self._made:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
