"""Many fail-overs of both engines, and a table of them: what ``make failover`` runs, as root.

``python -m tests.support.replication.failover etcd postgres --part 0.1`` does a tenth of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from tests.support.replication.clusters import Cluster, EtcdCluster, PatroniCluster, get_over


class Kind(NamedTuple):
    count: int
    bound: float
    """The seconds without an acknowledgement that may pass."""


ENGINES: dict[str, tuple[type[Cluster], dict[str, Kind]]] = {
    "etcd": (
        EtcdCluster,
        {
            "leader_killed": Kind(20, 5),
            "leader_stopped": Kind(10, 5),
            "leader_cut_off": Kind(8, 5),
            "leader_and_writer_killed": Kind(6, 7),
            "leader_and_writer_cut_off": Kind(10, 7),
            "writer_killed": Kind(16, 5),
            "writer_stopped": Kind(8, 5),
            "writer_stopped_for_a_while": Kind(8, 7),
            "writer_cut_off": Kind(8, 5),
            "writer_mute": Kind(6, 5),
        },
    ),
    "postgres": (
        PatroniCluster,
        {
            "postgres_killed": Kind(16, 5),
            "node_killed": Kind(4, 30),
            "patroni_killed": Kind(2, 30),
            "leader_and_writer_cut_off": Kind(3, 30),
            "writer_killed": Kind(6, 5),
            "writer_stopped": Kind(3, 5),
            "writer_stopped_for_a_while": Kind(2, 7),
            "writer_cut_off": Kind(2, 5),
            "writer_mute": Kind(2, 5),
        },
    ),
}


def try_engine(name: str, part: float, seed: int) -> bool:
    """Try an engine's faults in an order by chance; return whether all pauses were short enough."""
    of_engine, kinds = ENGINES[name]
    faults = [
        fault for fault, kind in kinds.items() for _ in range(max(1, round(kind.count * part)))
    ]
    random.Random(seed).shuffle(faults)
    pauses: defaultdict[str, list[float]] = defaultdict(list)
    began = time.monotonic()

    def tell(fault: str, seconds: float) -> None:
        pauses[fault].append(seconds)
        done = sum(map(len, pauses.values()))
        passed = time.monotonic() - began
        print(
            f"{name} {done}/{len(faults)} {fault}: {seconds:.2f} s, at {passed:.0f} s", flush=True
        )

    with tempfile.TemporaryDirectory(prefix="aq-") as folder:
        cluster = of_engine(Path(folder), has_network=True, seed=seed)
        try:
            get_over(cluster, faults, tell)
        except BaseException:
            print(cluster.told(), file=sys.stderr)
            raise
        finally:
            events = len(cluster.scene.checker.payloads)
            cluster.close()
    print(f"\n| {name} | times | pause, median s | longest s |\n|---|---|---|---|")
    for fault, found in sorted(pauses.items()):
        told = f"{statistics.median(found):.1f} | {max(found):.1f}"
        print(f"| {fault.replace('_', ' ')} | {len(found)} | {told} |")
    print(
        f"\n{len(faults)} faults, {events} events in the log, none missing or changed\n", flush=True
    )
    late = [
        f"{fault}: {seconds:.2f} s"
        for fault, found in pauses.items()
        for seconds in found
        if seconds > kinds[fault].bound
    ]
    print(*late, sep="\n", file=sys.stderr)
    return not late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="+", choices=ENGINES)
    parser.add_argument("--part", type=float, default=1.0, help="of the number of faults")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000)
    given = parser.parse_args()
    print(f"--seed {given.seed}")
    were_short = [try_engine(name, given.part, given.seed) for name in given.engines]
    sys.exit(not all(were_short))


if __name__ == "__main__":
    main()
