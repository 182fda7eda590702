"""The name under which pickles know :func:`actionqueue.open` and its queues."""

from actionqueue.opening import open  # noqa: A004 -- the package's own open
from actionqueue.queue import ActionQueue, Batch

__all__ = ["ActionQueue", "Batch", "open"]
