"""A table's image as tests use it: saved to a list of items, loaded from one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import Memory, Table, data_of

Item = tuple[int, bytes]


def save(table: Table) -> list[Item]:
    items: list[Item] = []

    @ffi.callback("aqw_status(void *, uint8_t, aqw_bytes, aqw_bytes)")
    def sink(_to: Any, item_type: int, fields: Any, data: Any) -> int:
        assert fields.size <= lib.AQW_IMAGE_FIELDS_SIZE_MAX
        items.append((item_type, data_of(fields) + data_of(data)))
        return int(lib.AQW_OK)

    assert status_name(lib.aqw_table_save(table.table, sink, ffi.NULL)) == "ok"
    return items


def load_into(table: Table, items: Sequence[Item], size_max: int | None = None) -> str:
    """Return the status's name: of the first item that failed, or of the end."""
    loader = ffi.new("aqw_table_loader *")
    bound = sum(len(payload) for _type, payload in items) if size_max is None else size_max
    assert status_name(lib.aqw_table_load_begin(loader, table.table, bound)) == "ok"
    for item_type, payload in items:
        # No spare byte: a read past it is seen.
        data = ffi.new("uint8_t[]", payload) if payload else ffi.new("uint8_t[]", 1)
        status = lib.aqw_table_load_item(loader, item_type, data, len(payload))
        if status != lib.AQW_OK:
            assert lib.aqw_table_load_item(loader, item_type, data, len(payload)) == status
            assert lib.aqw_table_load_end(loader) == status
            return status_name(status)
    return status_name(lib.aqw_table_load_end(loader))


def loaded(items: Sequence[Item], memory: Memory | None = None) -> Table:
    """Return a new table that the items were loaded into. The caller closes it."""
    table = Table(memory)
    assert load_into(table, items) == "ok"
    return table
