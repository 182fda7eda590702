"""Signals from another process at random instants of every call: what was acknowledged is there,
nothing is half applied.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

import actionqueue as aq
from tests.support.crash import ledger
from tests.support.queues import replayed

PROGRAMS = Path(__file__).parent / "programs"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
ANSWER_SECONDS = 10


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_signals_at_random_instants(
    directory: Path, tmp_path: Path, where: str, long_form: bool
) -> None:
    """On a disk most of them come while a sync is under way, in memory while Python is."""
    count = (8000 if where == "memory" else 4000) if long_form else 150
    path = (directory if where == "memory" else tmp_path) / "queue"
    random = Random(1)
    program = [sys.executable, str(PROGRAMS / "interrupted.py"), str(path), str(count)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        for _ in range(count):
            # One that Python has dropped, as it does in finalizers, is sent again.
            while not select.select([worker.stdout], [], [], ANSWER_SECONDS)[0]:
                worker.send_signal(random.choice(SIGNALS))
            if os.read(worker.stdout.fileno(), 1) != b".":
                break
            time.sleep(random.choice((0, 0.0001, 0.0005, 0.002)) * random.random())
            worker.send_signal(random.choice(SIGNALS))
        said, complaints = worker.communicate()
    assert (worker.returncode, complaints) == (0, b"")
    state, acknowledged = json.loads(said.lstrip(b"."))
    model = replayed(path)
    assert model.to_json() == state
    assert model.latest_sequence == acknowledged
    in_batches = [task for task in model.tasks.values() if task["spec"].payload.data == b"batch"]
    assert len(in_batches) % 3 == 0
    with aq.open(path) as queue:
        assert queue.recovery.is_clean
    ledger.record(
        "signals in a commit (Ctrl-C)", count, note="SIGINT, SIGTERM, SIGALRM; projection = replay"
    )
