"""What the fields of a queue's policies accept."""

from __future__ import annotations

import operator
from typing import Any

from actionqueue.errors import InvalidFieldTypeError


def whole_number(policy: str, field: str, value: Any) -> int:
    """Return it as an int, whatever kind of whole number it is, NumPy's included.

    Raises:
        InvalidFieldTypeError: It is none.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise InvalidFieldTypeError(policy, field, value, "must be a whole number or None")
