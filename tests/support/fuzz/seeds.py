"""Writes seeds for the corpora from the golden files: ``python -m tests.support.fuzz.seeds``.

The fuzzer finds its way to most of the code alone; these give it real payloads, headers and logs to
begin with. Files whose names begin with ``seed-`` come from here and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tests.support.fuzz.programs import CORPUS
from tests.support.places import CORE, DATA

SEGMENT = re.compile(r"wal/(\d{20})-(\d{20})\.log")
KINDS = CORE / "event" / "events.def"

# Choices of image.c and of targets/log.c, snapshot.c and headers.c, as their code reads them.
PUT_BYTES = 240
CHOOSE_RING = 1
CHOOSE_SNAPSHOT = 8
CHOOSE_SEGMENT = 128
OPEN_MAY_CREATE = 0x20
LOAD_RING = 1
LOAD_SEGMENT = 2 | 64
LOAD_ITEMS = 0
HEAD = 1


def logs() -> Iterator[tuple[str, dict[str, dict[str, object]]]]:
    for path in sorted((DATA / "golden-format").glob("*.json")):
        yield path.stem, json.loads(path.read_text("utf-8"))


def parts(file: dict[str, object]) -> dict[int, bytes]:
    assert isinstance(file["parts"], dict)
    return {int(offset): bytes.fromhex(data) for offset, data in file["parts"].items()}


def whole(file: dict[str, object]) -> bytes:
    assert isinstance(file["size"], int)
    data = bytearray(file["size"])
    for offset, part in parts(file).items():
        data[offset : offset + len(part)] = part
    return bytes(data)


def number(value: int) -> bytes:
    """As take_number reads it, for values that fit a byte."""
    assert value < 250
    return bytes([value])


def path_choice(name: str) -> bytes | None:
    if name == "ring":
        return bytes([CHOOSE_RING])
    found = SEGMENT.fullmatch(name)
    if found is None:
        return None
    return bytes([CHOOSE_SEGMENT | 1, 128 + int(found[1])]) + number(int(found[2]))


def put_bytes(choice: bytes, offset: int, data: bytes) -> bytes:
    return (
        bytes([PUT_BYTES])
        + choice
        + offset.to_bytes(4, "little")
        + len(data).to_bytes(2, "little")
        + data
    )


def log_steps(files: dict[str, dict[str, object]]) -> bytes:
    """Return the choices that make the files of a log."""
    steps = []
    for path, file in files.items():
        choice = path_choice(path)
        if choice is None:
            continue
        assert isinstance(file["size"], int)
        steps.append(put_bytes(choice, file["size"] - 1, b"\0"))
        steps += [put_bytes(choice, offset, data) for offset, data in sorted(parts(file).items())]
    return b"".join(steps)


def log_seeds() -> Iterator[tuple[str, bytes]]:
    for name, files in logs():
        yield name, bytes([OPEN_MAY_CREATE, 0]) + log_steps(files)
    for name, steps in claims():
        yield f"claims-{name}", bytes([OPEN_MAY_CREATE, 0]) + steps


def crc32c(data: bytes) -> int:
    running = 0xFFFFFFFF
    for byte in data:
        running ^= byte
        for _ in range(8):
            running = running >> 1 ^ (0x82F63B78 if running & 1 else 0)
    return running ^ 0xFFFFFFFF


def claiming(header: bytes, offset: int, value: int) -> bytes:
    """Return a header in which a field of eight bytes says something else; its last four bytes are
    the checksum, and right.
    """
    changed = header[:offset] + value.to_bytes(8, "little") + header[offset + 8 : -4]
    return changed + crc32c(changed).to_bytes(4, "little")


def claims() -> Iterator[tuple[str, bytes]]:
    """Small files that say they are as large as can be: whoever believes them takes far more memory
    than there are bytes.
    """
    files = dict(logs())["rotated"]
    steps = log_steps(files)
    last = max(path for path in files if SEGMENT.fullmatch(path))
    choice, data, ring = path_choice(last), whole(files[last]), whole(files["ring"])
    assert choice is not None
    for name, offset in (("segment", 56), ("link", 88)):
        header = claiming(data[:128], offset, 1 << 30)
        yield name, steps + put_bytes(choice, 0, header) + put_bytes(choice, 4096, header)
    yield "ring", steps + put_bytes(bytes([CHOOSE_RING]), 0, claiming(ring[:64], 32, 1 << 28))
    yield "record", steps + put_bytes(choice, 8192 + 4, b"\xff\xff\xff")
    files = dict(logs())["compacted"]
    snapshot = whole(files["snapshots/00000000000000000001.snap"])
    block = snapshot[:68] + ((1 << 24) - 1).to_bytes(4, "little") + snapshot[72:]
    yield "block", log_steps(files) + put_bytes(bytes([CHOOSE_SNAPSHOT]), 0, block)


def snapshot_seeds() -> Iterator[tuple[str, bytes]]:
    """The same of a snapshot: a head that says how many tasks come, and an event's file, whose
    first block says that it is large.
    """
    head = b"\1\0" + b"\x80\x80\x40" + bytes(12)
    yield "claims-head", bytes([LOAD_ITEMS, HEAD, len(head)]) + head
    yield "claims-block", bytes.fromhex("f50fe2a2f5ffffff2f4c4f434bffffff00ff46000000")


def header_seeds() -> Iterator[tuple[str, bytes]]:
    for name, files in logs():
        for path, file in files.items():
            data = whole(file)
            if path == "ring":
                yield (
                    f"{name}-ring",
                    bytes([LOAD_RING]) + data[:64] + data[4096:4112] + data[8192:8208],
                )
            elif found := SEGMENT.fullmatch(path):
                yield f"{name}-segment-{int(found[1])}", bytes([LOAD_SEGMENT, 0, 0]) + data[:128]


def event_seeds() -> Iterator[tuple[str, bytes]]:
    lines = re.findall(
        r"^(?:EVENT|ALSO|AGAIN)\((\d+), (\w+),", KINDS.read_text("utf-8"), re.MULTILINE
    )
    codes = {name.lower(): int(code) for code, name in lines}
    for golden in json.loads((DATA / "golden-payloads.json").read_text("utf-8")):
        yield (
            golden["name"],
            bytes([codes[golden["event"]["kind"]]]) + bytes.fromhex(golden["payload"]),
        )


def name_seeds() -> Iterator[tuple[str, bytes]]:
    yield "segment", b"00000000000000000001-00000000000000000001.log"
    yield "greatest", b"18446744073709551615-18446744073709551615.log"
    yield "too-great", b"18446744073709551616-00000000000000000001.log"
    yield "temporary", b"prepare-0123456789abcdef.tmp"


SEEDS = {
    "log": log_seeds,
    "snapshot": snapshot_seeds,
    "headers": header_seeds,
    "event": event_seeds,
    "names": name_seeds,
}


def main() -> None:
    for target, seeds in SEEDS.items():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (directory / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
