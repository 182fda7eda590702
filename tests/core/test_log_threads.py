"""The log on real files with real threads: through the door, under the sanitizers, and across a
fork.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.support.core.door import CORE, ffi, lib
from tests.support.core.log_driver import Batch, Log, check, entry
from tests.support.places import cache_directory, plain_environment

STRESS = {"stress": "400", "stress_readers": "300"}
"""The stress programs, and how many events each is to deal with."""
SANITIZERS = {
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
}


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "queue")


# --- Through the door -----------------------------------------------------------------------------


class Writers:
    """Threads that append and sync to one log; a lock gives out the sequences, as the store's
    does.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.lane = threading.Lock()
        self.order: list[bytes] = []
        self.errors: list[BaseException] = []

    def run(self, count: int, work: Callable[[int], None]) -> None:
        def guarded(number: int) -> None:
            try:
                work(number)
            except BaseException as error:  # told by the main thread
                self.errors.append(error)

        threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.errors, self.errors

    def append(self, batch: Batch, *entries: bytes) -> int:
        fault = ffi.new("aqw_fault *")
        with self.lane:
            first = self.log.last_sequence + 1
            check(
                lib.aqw_log_append(self.log.log, batch.fill(first, map(entry, entries)), fault),
                fault,
            )
            self.order.extend(entries)
        return first + len(entries) - 1

    def sync(self, sequence: int) -> None:
        fault = ffi.new("aqw_fault *")
        check(lib.aqw_log_sync(self.log.log, sequence, fault), fault)
        assert self.log.durable_sequence >= sequence


def test_nobody_waits_for_those_who_do_not_come_back(directory: str) -> None:
    """Who leads a sync lets those come whom the last one covered. Here each of them comes once, and
    the last one is alone.
    """
    log = Log(directory=directory)
    writers = Writers(log)
    rounds = 30
    for _ in range(rounds):
        start = threading.Barrier(6)

        def once(_: int, start: threading.Barrier = start) -> None:
            start.wait()
            writers.sync(writers.append(Batch(), b"once"))

        writers.run(6, once)
        batch = Batch()
        for _ in range(5):
            writers.sync(writers.append(batch, b"alone"))
    assert log.durable_sequence == rounds * 11
    log.close()


@pytest.mark.parametrize("sector", [0, 4096])
def test_everything_acknowledged_is_there(directory: str, sector: int) -> None:
    log = Log(directory=directory, sector_size=sector)
    writers = Writers(log)

    def work(number: int) -> None:
        random, batch = Random(number), Batch()
        for turn in range(60):
            size = random.choice((1, 100, 3_000, 20_000)) if turn % 20 else 70_000
            data = f"{number}.{turn} ".encode()
            last = writers.append(
                batch, *(data + bytes(size) for _ in range(random.choice((1, 1, 3))))
            )
            if random.random() < 0.5:
                writers.sync(last)

    writers.run(6, work)
    stats = log.stats
    assert stats.last_sequence == len(writers.order)
    assert stats.rotations > 5
    log.close()
    with Log(directory=directory) as again:
        assert again.recovered == writers.order
        assert again.report.is_clean


def test_callers_share_syncs(directory: str) -> None:
    """However many threads wait for durability, each is served; together they cost at most one sync
    an event.
    """
    log = Log(directory=directory, segment_size=2**20)
    writers = Writers(log)
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        batch = Batch()
        for _ in range(25):
            last = writers.append(batch, bytes([number]))
            barrier.wait()
            writers.sync(last)

    writers.run(8, work)
    assert log.durable_sequence == 200
    assert log.stats.syncs <= 200
    log.close()


def test_files_and_modes(directory: str) -> None:
    old = os.umask(0)
    try:
        with Log(directory=directory) as log:
            log.commit(b"1")
    finally:
        os.umask(old)
    found = {
        str(path.relative_to(directory)): path.stat().st_mode & 0o777
        for path in Path(directory).rglob("*")
    }
    assert found == {
        "LOCK": 0o600,
        "ring": 0o600,
        "wal": 0o700,
        f"wal/{1:020d}-{1:020d}.log": 0o600,
    }
    assert Path(directory).stat().st_mode & 0o777 == 0o700


# --- Processes ------------------------------------------------------------------------------------


def fork(seconds: int = 20) -> int:
    """Fork; the child is ended if it hangs, also in a C call."""
    with warnings.catch_warnings():
        # Other threads of this process are what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
    return child


def in_child(work: Callable[[], None], seconds: int = 20) -> int:
    """Run in a forked child, which is ended if it hangs; return its exit status, negative for a
    signal.
    """
    child = fork(seconds)
    if child == 0:
        try:
            work()
        except BaseException:  # whatever it is, the child must not go on as a second test run
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_lets_go(directory: str) -> None:
    """Also where the parent has a preparing thread, which does not exist in the child; the parent
    goes on unharmed.
    """
    log = Log(directory=directory, segment_size=2**18)
    # This goes beyond the half, so the thread has been started.
    log.commit(bytes(60_000), bytes(60_000), bytes(60_000))
    log.append(b"in the ring")

    def child() -> None:
        lib.aqw_log_abandon(log.log)
        lib.aqw_log_free(log.log)

    assert in_child(child) == 0
    log.commit(b"after the fork")
    for _ in range(6):
        log.append(bytes(60_000))
    log.close()
    with Log(directory=directory) as again:
        assert again.recovered[3:5] == [b"in the ring", b"after the fork"]
        assert len(again.recovered) == 11


def test_a_child_does_not_keep_the_lock(directory: str) -> None:
    """A child that was forked off and has let go does not stop the next writer."""
    log = Log(directory=directory)
    ready, leave = os.pipe(), os.pipe()
    child = fork()
    if child == 0:
        lib.aqw_log_abandon(log.log)
        os.write(ready[1], b"x")
        os.read(leave[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    log.close()
    with Log(directory=directory) as again:
        again.commit(b"1")
    os.write(leave[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for descriptor in (*ready, *leave):
        os.close(descriptor)


def test_a_killed_process_loses_nothing(directory: str) -> None:
    """SIGKILL right after an append that nobody synced."""
    for number in range(5):

        def child(number: int = number) -> None:
            log = Log(directory=directory)
            assert len(log.recovered) == 3 * number
            log.append(b"a" * 5_000)
            log.append(b"b", b"c" * 100)
            os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(child) == -signal.SIGKILL
    with Log(directory=directory) as log:
        assert log.recovered == [b"a" * 5_000, b"b", b"c" * 100] * 5


@pytest.mark.parametrize("name", ["ring", "LOCK", f"wal/{1:020d}-{1:020d}.log"])
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(directory: str, name: str) -> None:
    with Log(directory=directory) as log:
        log.commit(b"1")
    (Path(directory) / name).unlink()
    os.mkfifo(Path(directory) / name)

    def child() -> None:
        with pytest.raises(Exception, match="io_error"):
            Log(directory=directory)

    assert in_child(child, seconds=5) == 0


# --- Sanitizers -----------------------------------------------------------------------------------


def stress_program(name: str, sanitizer: str) -> Path:
    """Return a stress driver, compiled with the core; kept under a name that is a digest of all
    that went into it.
    """
    flags = ["-std=c11", "-O1", "-g", "-pthread", "-fno-omit-frame-pointer", *SANITIZERS[sanitizer]]
    sources = sorted(CORE.rglob("*.c"))
    driver = Path(__file__).with_name(f"{name}.c")
    digest = hashlib.sha256(" ".join(flags).encode())
    for path in (driver, *sorted(CORE.rglob("*.*"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    cache = cache_directory()
    program = cache / f"{name}-{sanitizer}-{digest.hexdigest()[:24]}"
    if not program.exists():
        compiler = os.environ.get("CC", "cc")
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            made = Path(directory) / "stress"
            command: list[str | Path] = [
                compiler,
                *flags,
                f"-I{CORE}",
                "-o",
                made,
                driver,
                *sources,
            ]
            subprocess.run(command, check=True, timeout=300, env=plain_environment())
            made.replace(program)
    return program


@pytest.mark.parametrize("name", STRESS)
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_under_the_sanitizers(directory: str, name: str, sanitizer: str) -> None:
    environment = {
        **plain_environment(),
        "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1",
        "ASAN_OPTIONS": "detect_leaks=1",
    }
    program = stress_program(name, sanitizer)
    run = subprocess.run(
        [program, directory, STRESS[name]],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "ok\n", "")
