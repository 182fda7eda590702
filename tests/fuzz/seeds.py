"""Writes seeds for the corpora from the golden files: ``python tests/fuzz/seeds.py``.

The fuzzer finds its way to most of the code alone; these give it real payloads, headers and logs to begin with. Files whose names
begin with ``seed-`` come from here and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

FUZZ = Path(__file__).parent
DATA = FUZZ.parent / "data"
SEGMENT = re.compile(r"wal/(\d{20})-(\d{20})\.log")
KINDS = FUZZ.parents[1] / "src" / "_wal_native" / "core" / "event.h"

# Choices of image.c and of targets/log.c and headers.c, as their code reads them.
PUT_BYTES = 240
CHOOSE_RING = 1
CHOOSE_SEGMENT = 128
OPEN_MAY_CREATE = 0x20
LOAD_RING = 1
LOAD_SEGMENT = 2 | 64


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
    return bytes([PUT_BYTES]) + choice + offset.to_bytes(4, "little") + len(data).to_bytes(2, "little") + data


def log_seeds() -> Iterator[tuple[str, bytes]]:
    for name, files in logs():
        steps = []
        for path, file in files.items():
            choice = path_choice(path)
            if choice is None:
                continue
            assert isinstance(file["size"], int)
            steps.append(put_bytes(choice, file["size"] - 1, b"\0"))
            steps += [put_bytes(choice, offset, data) for offset, data in sorted(parts(file).items())]
        yield name, bytes([OPEN_MAY_CREATE, 0]) + b"".join(steps)


def header_seeds() -> Iterator[tuple[str, bytes]]:
    for name, files in logs():
        for path, file in files.items():
            data = whole(file)
            if path == "ring":
                yield f"{name}-ring", bytes([LOAD_RING]) + data[:64] + data[4096:4112] + data[8192:8208]
            elif found := SEGMENT.fullmatch(path):
                yield f"{name}-segment-{int(found[1])}", bytes([LOAD_SEGMENT, 0, 0]) + data[:128]


def event_seeds() -> Iterator[tuple[str, bytes]]:
    codes = {name.lower(): int(code) for name, code in re.findall(r"AQW_(\w+) = (\d+)", KINDS.read_text("utf-8"))}
    for golden in json.loads((DATA / "golden-payloads.json").read_text("utf-8")):
        yield golden["name"], bytes([codes[golden["event"]["kind"]]]) + bytes.fromhex(golden["payload"])


def name_seeds() -> Iterator[tuple[str, bytes]]:
    yield "segment", b"00000000000000000001-00000000000000000001.log"
    yield "greatest", b"18446744073709551615-18446744073709551615.log"
    yield "too-great", b"18446744073709551616-00000000000000000001.log"
    yield "temporary", b"prepare-0123456789abcdef.tmp"


SEEDS = {"log": log_seeds, "headers": header_seeds, "event": event_seeds, "names": name_seeds}


def main() -> None:
    for target, seeds in SEEDS.items():
        directory = FUZZ / "corpus" / target
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (directory / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
