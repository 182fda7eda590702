"""The example of a scheduler that outlives its machine, in two processes over real nodes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import places
from tests.support.stores import servers

pytestmark = pytest.mark.system("etcd")
EXAMPLE = places.ROOT / "examples" / "replicated" / "scheduler.py"


def start(endpoints: list[str], path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(EXAMPLE), "--etcd", ",".join(endpoints), "--path", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_another_process_takes_over(tmp_path: Path) -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="aq-"))
        cluster = servers.Etcd(Path(directory), 3)
        stack.callback(cluster.stop)
        first = stack.enter_context(start(cluster.endpoints, tmp_path / "first"))
        stack.callback(first.kill)
        assert [line_of(first), line_of(first)] == ["active", "say hello"]
        second = stack.enter_context(start(cluster.endpoints, tmp_path / "second"))
        stack.callback(second.kill)
        first.kill()
        assert [line_of(second), line_of(second)] == ["active", "say hello"]
