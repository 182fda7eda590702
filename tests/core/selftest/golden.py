"""Writes the golden bytes of tests/data as C, for the self-test: ``python golden.py golden.c``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random

DATA = Path(__file__).parents[2] / "data"
SESSIONS, RANDOM_SIZE = 2, 256


def array(name: str, data: bytes) -> str:
    """Return a C array; one of no bytes has one that nobody reads."""
    return f"static const uint8_t {name}[] = {{{', '.join(map(str, data or b'?'))}}};"


def payloads() -> Iterable[str]:
    golden = json.loads((DATA / "golden-payloads.json").read_text("utf-8"))
    for index, item in enumerate(golden):
        yield array(f"payload_{index}", bytes.fromhex(item["payload"]))
    yield "const golden_payload golden_payloads[] = {"
    for index, item in enumerate(golden):
        event = item["event"]
        size = len(item["payload"]) // 2
        kind, timestamp = f"AQW_{event['kind'].upper()}", event.get("timestamp") or 0
        yield f'    {{"{item["name"]}", {kind}, {timestamp}u, payload_{index}, {size}}},'
    yield "};"
    yield f"const size_t golden_payload_count = {len(golden)};"


def logs() -> Iterable[str]:
    sources = sorted((DATA / "golden-format").glob("*.json"))
    counts = []
    for log, source in enumerate(sources):
        files = json.loads(source.read_text("utf-8"))
        counts.append(len(files))
        for index, file in enumerate(files.values()):
            prefix = f"part_{log}_{index}"
            parts = [(int(offset), bytes.fromhex(part)) for offset, part in file["parts"].items()]
            for number, (_, data) in enumerate(parts):
                yield array(f"{prefix}_{number}", data)
            yield f"static const golden_part {prefix}[] = {{"
            for number, (offset, data) in enumerate(parts):
                yield f"    {{{offset}u, {prefix}_{number}, {len(data)}u}},"
            if not parts:
                yield "    {0, 0, 0},"  # an array must have something, though its count is 0
            yield "};"
        yield f"static const golden_file files_{log}[] = {{"
        for index, (path, file) in enumerate(files.items()):
            yield f'    {{"{path}", {file["size"]}u, part_{log}_{index}, {len(file["parts"])}}},'
        yield "};"
    yield "const golden_log golden_logs[] = {"
    for log, source in enumerate(sources):
        yield f'    {{"{source.stem}", files_{log}, {counts[log]}}},'
    yield "};"
    yield f"const size_t golden_log_count = {len(sources)};"


def image() -> Iterable[str]:
    items = json.loads((DATA / "golden-image.json").read_text("utf-8"))
    for index, (_, payload) in enumerate(items):
        yield array(f"item_{index}", bytes.fromhex(payload))
    yield "const golden_item golden_image[] = {"
    for index, (item_type, payload) in enumerate(items):
        yield f"    {{{item_type}, item_{index}, {len(payload) // 2}}},"
    yield "};"
    yield f"const size_t golden_image_count = {len(items)};"


def randomness() -> Iterable[str]:
    yield "const uint8_t golden_random[GOLDEN_SESSIONS][GOLDEN_RANDOM_SIZE] = {"
    for seed in range(1, SESSIONS + 1):
        yield f"    {{{', '.join(map(str, Random(seed).randbytes(RANDOM_SIZE)))}}},"
    yield "};"


def main(target: Path) -> None:
    lines = ['#include "selftest.h"', *payloads(), *logs(), *image(), *randomness()]
    target.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
