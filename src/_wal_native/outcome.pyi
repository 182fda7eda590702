"""The answer to an accepted command."""

from typing import final

from actionqueue.model import AppliedMutation

@final
class MutationOutcome:
    """The answer to an accepted command: the sequence of its event, and what it changed."""

    __match_args__ = ("sequence", "applied")
    def __init__(self, sequence: int, applied: AppliedMutation) -> None:
        """Raises InvalidFieldTypeError unless `applied` is an Applied… object."""

    @property
    def sequence(self) -> int:
        """The sequence of the command's event."""

    @property
    def applied(self) -> AppliedMutation:
        """What the command changed. An outcome of a submit makes a new object for each look."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
