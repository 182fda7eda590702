"""Logs of verified records in arrangements that the core may never write."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.core import log_model as model
from tests.support.core.log_images import Image


@st.composite
def made_logs(draw: st.DrawFn) -> Image:
    """Return one segment and a ring, which hold the same records, or different ones."""
    uuid, size = bytes(range(16)), 65536
    header = model.Header(uuid, 1, 5, 1, size, draw(st.integers(0, 3)))
    segment, ring = bytearray(size), bytearray(65536)
    segment[:128] = segment[4096:4224] = header.to_bytes()
    position, ordinal = model.DATA, 0
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from([31, 31, 31, 1, 240, 241]))
        flags = draw(st.sampled_from([0, 0, 1, 2])) if kind < 240 else 0
        shown = ordinal + draw(st.sampled_from([0] * 12 + [1, 2]))
        lag = draw(st.sampled_from([0, 1, 2, 3, model.LAG_UNKNOWN]))
        payload = draw(st.binary(max_size=9))
        record = model.record_bytes(header, position, shown, kind, payload, lag=lag, flags=flags)
        where = draw(st.sampled_from(["segment", "segment", "ring", "both", "neither"]))
        if where in ("segment", "both"):
            segment[position : position + len(record)] = record
        if where in ("ring", "both"):
            ring[position % 65536 : position % 65536 + len(record)] = record
        position += len(record)
        ordinal += kind < 240
    slots = draw(st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.none()))
    image = {header.name: bytes(segment), "ring": model.ring_bytes(uuid, bytes(ring), slots)}
    if draw(st.integers(0, 9)) == 0:
        del image["ring"]
    return image
