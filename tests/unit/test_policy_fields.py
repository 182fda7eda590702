"""Arguments of calls: what an exception of a signal's handler becomes while they are checked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from actionqueue import policy_fields
from actionqueue.compaction import CompactionPolicy
from actionqueue.sync_policy import SyncPolicy


class OutOfTimeError(Exception):
    """What a handler of alarms raises in many programs."""


def raising_at(number: int) -> Callable[[FrameType, str, Any], Any]:
    """Return a tracer that raises at the line of this number in the module, counted from 0."""
    left = number

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != policy_fields.__file__:
            return None
        if event == "line":
            if left == 0:
                raise OutOfTimeError
            left -= 1
        return trace

    return trace


@pytest.mark.parametrize(
    "check",
    [
        lambda: policy_fields.number_up_to("call", "field", 5, 9, "must be from 0 to 9"),
        lambda: policy_fields.number_from_0("call", "field", 5),
        lambda: policy_fields.seconds_from_0("call", "field", 5, 9),
        lambda: policy_fields.seconds_from_0("call", "field", 5.5, 9),
        lambda: policy_fields.number_up_to("call", "field", np.int64(5), 9, "must be from 0 to 9"),
        lambda: policy_fields.seconds_from_0("call", "field", np.float64(5), 9),
        lambda: policy_fields.seconds_from_0("call", "field", np.uint8(5), 9),
        lambda: policy_fields.file_size("segment_size", 65536),
        lambda: policy_fields.file_size("segment_size", np.int64(65536)),
        lambda: policy_fields.flag("create", True),
        lambda: SyncPolicy(records=5, milliseconds=500),
        lambda: CompactionPolicy(retention_seconds=5),
    ],
)
def test_what_a_handler_raises_is_not_taken_for_the_values_fault(
    check: Callable[[], object],
) -> None:
    tracer = sys.gettrace()
    for line in range(100):
        try:
            sys.settrace(raising_at(line))
            check()
        except OutOfTimeError:
            continue
        finally:
            sys.settrace(tracer)
        break
    assert 0 < line < 99
