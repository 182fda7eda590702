"""Arrays of callers, checked before anything is read of them. For the other doors; nothing here is for Python."""

from typing import final

@final
class Buffer: ...
