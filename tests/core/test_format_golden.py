"""The bytes on disk, against bytes that are kept: any change of the format is noticed.

Each history below is run with fixed random bytes and a fixed clock; tests/data/golden-format has
what it left on disk, as the hex of the parts that are not zero. A difference means that older logs
would no longer be read, or read differently: it needs a new format version. ``python -m
tests.core.test_format_golden`` writes the files anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import places
from tests.support.core import log_model as model
from tests.support.core.crash_images import Session
from tests.support.core.log_driver import DIRECTORY, NOW, Log, entry, entry_of_size
from tests.support.core.memory_io import Disk, MemoryIo, home
from tests.support.core.snapshot_driver import compact, parse_snapshot, snapshot_name

GOLDEN = places.DATA / "golden-format"
PART = re.compile(rb"[^\0](?:[^\0]|\0{1,15}(?=[^\0]))*")


def simple(session: Session) -> None:
    """Single events and a batch, closed."""
    session.open()
    session.commit(b"one")
    session.append(b"two")
    session.commit(b"three", b"", b"five5")
    session.close()


def continued(session: Session) -> None:
    """Two sessions with clean ends in one segment; the second only synced."""
    session.open()
    session.append(b"one")
    session.close()
    session.open()
    session.commit(b"two")
    session.kill()


def rotated(session: Session) -> None:
    """Three segments: the second by rotation, the third for a record larger than the ring."""
    session.open()
    session.commit(b"one")
    session.append(entry_of_size(40_000))
    session.append(entry_of_size(30_000))
    session.append(entry_of_size(80_000))
    session.append(b"five")
    session.close()


def padded(session: Session) -> None:
    """Synced writes padded to sectors of 512 bytes."""
    session.open()
    session.commit(b"one")
    session.commit(entry_of_size(512 - 16 - 8))
    session.append(b"three")
    session.close()


def killed(session: Session) -> None:
    """Events in the ring only, a batch among them torn: what lies before it goes on in a new
    segment, the ring is set aside.
    """
    session.open()
    session.commit(b"one")
    session.append(b"two")
    session.append(b"three", b"four")
    session.append(b"five")
    session.kill()
    ring = session.disk.files[f"{DIRECTORY}/ring"]
    ring.content[65536 + model.DATA + 60 + 60 + 20] ^= 0xFF
    session.account.acknowledged = 2
    session.open()
    session.kill()


def compacted(session: Session) -> None:
    """Two snapshots, and an event behind them."""
    session.open()
    session.commit(b"one")
    compact(session.io)
    session.commit(b"two", b"three")
    session.append(bytes(range(256)) * 4)
    session.sync()
    compact(session.io)
    session.append(b"five")
    session.close()


HISTORIES: dict[str, tuple[Callable[[Session], None], dict[str, Any]]] = {
    "simple": (simple, {}),
    "continued": (continued, {}),
    "rotated": (rotated, {}),
    "padded": (padded, {"sector_size": 512}),
    "killed": (killed, {}),
    "compacted": (compacted, {}),
}


def run(name: str) -> dict[str, bytes]:
    """Return the files that a history leaves."""
    history, options = HISTORIES[name]
    session = Session(home(), **options)
    history(session)
    session.check_io()
    return session.disk.image(DIRECTORY)


def sparse(files: dict[str, bytes]) -> dict[str, dict[str, object]]:
    return {
        name: {
            "size": len(data),
            "parts": {str(part.start()): part[0].hex() for part in PART.finditer(data)},
        }
        for name, data in files.items()
    }


def expand(kept: dict[str, dict[str, object]]) -> dict[str, bytes]:
    files = {}
    for name, file in kept.items():
        assert isinstance(file["size"], int)
        assert isinstance(file["parts"], dict)
        data = bytearray(file["size"])
        for offset, part in file["parts"].items():
            raw = bytes.fromhex(part)
            data[int(offset) : int(offset) + len(raw)] = raw
        files[name] = bytes(data)
    return files


def golden(name: str) -> dict[str, bytes]:
    return expand(json.loads((GOLDEN / f"{name}.json").read_text("utf-8")))


@pytest.mark.parametrize("name", HISTORIES)
def test_written_bytes(name: str) -> None:
    files, kept = run(name), golden(name)
    assert sorted(files) == sorted(kept)
    for path, data in files.items():
        assert sparse({path: data}) == sparse({path: kept[path]}), path
        assert data == kept[path], path


@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize("folder", ["", "older/"])
def test_kept_logs_are_still_read(name: str, folder: str) -> None:
    """The older ones are of before rings said which segment the log goes on in."""
    files = golden(folder + name)
    disk = Disk({f"{DIRECTORY}/{path}": data for path, data in files.items()})
    reading = model.read_log(disk.image(DIRECTORY))
    with Log(MemoryIo(disk)) as log:
        assert [entry(data) for data in log.recovered] == [
            record.payload for record in reading.events
        ]
        assert (
            log.report.events
            == {
                "simple": 5,
                "continued": 2,
                "rotated": 5,
                "padded": 3,
                "killed": 2,
                "compacted": 1,
            }[name]
        )
        assert log.report.snapshot_sequence == (4 if name == "compacted" else 0)


def test_kept_logs_show_the_whole_format() -> None:
    """Every kind of record, flag and link is in one of the logs, each read by hand-written offsets
    of the specification.
    """
    kinds, flags, links = set(), set(), set()
    for name in HISTORIES:
        for path, data in golden(name).items():
            if not path.startswith("wal/"):
                continue
            assert data[:8] == b"AQWALSEG"
            assert data[:128] == data[4096:4224]
            assert int.from_bytes(data[8:12], "little") == 1
            assert int.from_bytes(data[32:40], "little") == int(path[4:24])
            links.add(int.from_bytes(data[72:80], "little"))
            at = 8192
            while any(data[at : at + 16]):
                size = int.from_bytes(data[at + 4 : at + 7], "little")
                kinds.add(data[at + 7])
                flags.add(data[at + 15])
                at += 16 + (size + 3) // 4 * 4
    assert kinds == {31, 240, 241}
    assert flags == {0, 1, 2}
    assert links == {0, 1, 2}


def test_kept_snapshots_show_the_whole_format() -> None:
    """Each is read by hand-written offsets of the specification."""
    files = golden("compacted")
    for sequence, sizes in ((1, [16, 43]), (4, [16, 43, 43, 45, 1064])):
        file = parse_snapshot(files[snapshot_name(sequence)])
        assert file.sequence == sequence
        assert file.created_at == NOW
        assert file.to_bytes() == files[snapshot_name(sequence)]
        assert [kind for kind, _ in file.blocks[0]] == [1] + [14] * sequence
        assert [len(payload) for _, payload in file.blocks[0]] == sizes


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for history_name in HISTORIES:
        text = json.dumps(sparse(run(history_name)), indent=1, sort_keys=True)
        (GOLDEN / f"{history_name}.json").write_text(text + "\n", "utf-8")
