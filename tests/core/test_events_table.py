"""The table of kinds, ``events.def``: a kind that is one line there, and nothing else, is read and
written.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import places
from tests.support.core.door import CORE, ffi, lib

KIND = """
EVENT(CODE, PARCEL_SENT, parcel_sent,
      FIELD(ID, parcel_id) FIELD(TIME, timestamp) FIELD(OFFSET, due_at, event->timestamp)
      FIELD(MAYBE_TEXT, note) FIELD(CODE, speed, 2) FIELD(IDS, part_ids, part_count, 3)
      FIELD(NUMBER32_AS, grams, weight) FIELD(BYTES, label) FIELD(MUST, at->grams > 0))

"""

PROGRAM = """
from tests.support.core.door import ffi, lib

def encoded(event):
    to, size = ffi.new("uint8_t[]", 256), ffi.new("size_t *")
    status = lib.aqw_event_encode(event, to, 256, size)
    assert status != lib.AQW_OK or lib.aqw_event_payload_size(event) == size[0]
    return status, bytes(ffi.buffer(to, size[0]))

code = lib.AQW_PARCEL_SENT
assert code == lib.AQW_EVENT_KIND_LAST == CODE
event = ffi.new("aqw_event *", {"sequence": 7, "kind": code, "timestamp": 5})
parcel = getattr(event, "as").parcel_sent
ids = ffi.new("uint8_t[]", b"p" * 16 + b"q" * 16 + bytes(32))  # two more, for a list too long
note, label = ffi.new("uint8_t[]", b"soon"), ffi.new("uint8_t[]", b"\\xff\\xfe")
parcel.parcel_id = b"i" * 16
parcel.due_at, parcel.speed, parcel.grams = 4, 2, 300
parcel.part_ids, parcel.part_count = ids, 2
parcel.note.data, parcel.note.size = note, 4
parcel.label.data, parcel.label.size = label, 2
payload = b"i" * 16 + b"\\5" + b"\\1" + b"\\1\\4soon" + b"\\2"
payload += b"\\2" + b"p" * 16 + b"q" * 16 + b"\\xac\\2" + b"\\2\\xff\\xfe"
assert encoded(event) == (lib.AQW_OK, payload)

memory, read = ffi.new("uint8_t[]", payload), ffi.new("aqw_event *")
assert lib.aqw_event_decode(code, 7, memory, len(payload), read) == lib.AQW_OK
parcel = getattr(read, "as").parcel_sent
assert (read.kind, read.sequence, read.timestamp) == (code, 7, 5)
assert (parcel.due_at, parcel.speed, parcel.grams) == (4, 2, 300)
assert bytes(ffi.buffer(parcel.note.data, parcel.note.size)) == b"soon"
assert encoded(read) == (lib.AQW_OK, payload)
for size in range(len(payload)):
    assert lib.aqw_event_decode(code, 7, memory, size, read) == lib.AQW_MALFORMED_EVENT

parcel = getattr(event, "as").parcel_sent
parcel.grams = 0
assert encoded(event)[0] == lib.AQW_MALFORMED_EVENT
parcel.grams, parcel.speed = 1, 3
assert encoded(event)[0] == lib.AQW_MALFORMED_EVENT
parcel.speed, parcel.part_count = 2, 4
assert encoded(event)[0] == lib.AQW_TOO_LARGE

layout = lib.aqw_event_layout_of(code)
fields = [layout.fields[i] for i in range(layout.field_count)]
assert [ffi.string(field.name).decode() for field in fields] == [
    "parcel_id", "timestamp", "due_at", "note", "speed", "part_ids", "weight", "label"]
place = ffi.offsetof("aqw_event", "as") + ffi.offsetof("aqw_event_parcel_sent", "grams")
assert (fields[6].form, fields[6].offset) == (lib.AQW_FIELD_NUMBER32, place)
assert lib.aqw_event_layout_of(code + 1) == ffi.NULL
"""


def test_a_kind_is_one_line(tmp_path: Path) -> None:
    core = tmp_path / "core"
    shutil.copytree(CORE, core)
    table = core / "event" / "events.def"
    before, end, after = table.read_text("utf-8").partition("#undef EVENT")
    code = str(lib.AQW_EVENT_KIND_LAST + 1)
    table.write_text(before + KIND.replace("CODE", code, 1) + end + after, encoding="utf-8")
    environment = places.environment(
        ACTIONQUEUE_TEST_CORE=str(core), ACTIONQUEUE_TEST_CACHE=str(tmp_path / "cache")
    )
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("CODE", code)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_every_kind_has_a_layout_inside_the_event() -> None:
    size = ffi.sizeof("aqw_event")
    for kind in range(1, lib.AQW_EVENT_KIND_LAST + 1):
        layout = lib.aqw_event_layout_of(kind)
        names = [ffi.string(layout.fields[i].name) for i in range(layout.field_count)]
        assert len(set(names)) == len(names)
        assert all(0 < layout.fields[i].offset < size for i in range(layout.field_count))
        assert all(layout.fields[i].second < size for i in range(layout.field_count))
        assert all(
            layout.fields[i].form <= lib.AQW_FIELD_FORM_LAST for i in range(layout.field_count)
        )
    assert all(
        lib.aqw_event_layout_of(kind) == ffi.NULL
        for kind in (0, *range(lib.AQW_EVENT_KIND_LAST + 1, 256))
    )
