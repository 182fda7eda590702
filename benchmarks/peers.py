"""How fast this project and other embedded stores for Python take records of 128 bytes.

There are three modes: one thread without a sync (acknowledged records survive the end of the
process in all stores, but maybe not a power loss), one thread that syncs every record, and eight
threads that sync every record. The benchmark uses each store as its documentation shows, with the
settings that give these promises. This project's record is a new task with a payload of 128 bytes,
which the queue also validates and applies to the projection; the others have no counterpart of
that. The ratios are the peer's rate divided by this project's, round by round.

    python -m benchmarks.peers --install    # pip installs the peers first, one by one
    python -m benchmarks.peers --seconds 1 --rounds 5
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter

from benchmarks.measure import Row, finish, interleave, parser, row, scratch
from benchmarks.stores import PEERS, RECORD, Peer

THREADS = 8
RECORDS_A_LOOK = 4
"""Records between two looks at the clock."""
WARM_UP = 0.2
"""The part of the time for which a store works before the measurement."""

MODES = (
    ("no sync, 1 thread", False, 1),
    ("sync each, 1 thread", True, 1),
    (f"sync each, {THREADS} threads", True, THREADS),
)


def install(peers: list[Peer]) -> dict[str, str]:
    """Install what each peer needs, one by one; return pip's messages on those that failed."""
    failed = {}
    for peer in peers:
        if peer.requirement:
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                peer.requirement,
            ]
            done = subprocess.run(  # noqa: S603 -- a fixed command
                command, capture_output=True, text=True, check=False
            )
            if done.returncode:
                said = [line for line in done.stderr.splitlines() if line.strip()]
                failed[peer.name] = " ".join(said[-2:]) or f"pip ended with {done.returncode}"
    return failed


def missing(peers: list[Peer], failed: dict[str, str]) -> dict[str, str]:
    """Return the peers that can't be imported, and why."""
    found = {}
    for peer in peers:
        try:
            import_module(peer.module)
        except ImportError as error:
            found[peer.name] = (
                failed.get(peer.name) or f"{error}; python -m benchmarks.peers --install tells more"
            )
    return found


def puts_for(put: Callable[[bytes], object], seconds: float) -> int:
    """Put records until the time is up, and return their number."""
    ends, count = perf_counter() + seconds, 0
    while perf_counter() < ends:
        for _ in range(RECORDS_A_LOOK):
            put(RECORD)
        count += RECORDS_A_LOOK
    return count


def rate(peer: Peer, directory: Path, seconds: float, *, is_synced: bool, threads: int) -> float:
    """Return the records a second that a new store takes."""
    store = peer.open(Path(tempfile.mkdtemp(dir=directory)), is_synced)
    counts: list[int] = []
    errors: list[BaseException] = []
    start = threading.Barrier(threads + 1)

    def work(put: Callable[[bytes], object]) -> None:
        try:
            puts_for(put, seconds * WARM_UP)
            start.wait()
            counts.append(puts_for(put, seconds))
        except BaseException as error:  # noqa: BLE001 -- the joining thread raises it again
            errors.append(error)
            start.abort()

    workers = [
        threading.Thread(target=work, args=(store.connect(),), daemon=True) for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    with suppress(threading.BrokenBarrierError):
        start.wait()
    began = perf_counter()
    for worker in workers:
        worker.join()
    taken = perf_counter() - began
    store.close()
    if errors:
        raise errors[0]
    return sum(counts) / taken


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument(
        "--seconds",
        type=float,
        default=0.3,
        help="time of a store in a mode and round; default 0.3",
    )
    options_of.add_argument(
        "--install",
        action="store_true",
        help="first install the peers with pip, at the versions in stores.py",
    )
    options = options_of.parse_args()
    absent = missing(PEERS, install(PEERS) if options.install else {})
    present = [peer for peer in PEERS if peer.name not in absent]
    rows: list[Row] = []
    with scratch(options.directory) as directory:
        for title, is_synced, threads in MODES:
            measure = partial(
                rate,
                directory=directory,
                seconds=options.seconds,
                is_synced=is_synced,
                threads=threads,
            )
            found = interleave(
                options.rounds, {peer.name: partial(measure, peer) for peer in present}
            )
            ours = found["actionqueue"]
            for name, rates in found.items():
                to = None if name == "actionqueue" else ("actionqueue", ours)
                rows.append(row(f"{title}: {name}", "records/s", rates, to=to))
    options.missing = absent
    return finish(options, rows, [f"missing: {name}: {reason}" for name, reason in absent.items()])


if __name__ == "__main__":
    sys.exit(main())
