"""How many durable commands a second one thread gets from groups that share a sync.

Groups go from 1 to 1,024 commands.

    python -m benchmarks.groups --seconds 2
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from actionqueue.bench.modes import Choice, Mode, modes_of
from actionqueue.bench.rounds import Limit, Measured, measure_round
from benchmarks.measure import finish, interleave, parser, row, scratch

GROUPS = (1, 4, 16, 64, 256, 1024)


def group_modes() -> dict[int, Mode]:
    """Return the mode of each size; a group of one is a submit."""
    choice = Choice(threads=(1,), groups=GROUPS[1:])
    return {mode.group: mode for mode in modes_of(choice) if mode.family != "deferred"}


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument(
        "--seconds", type=float, default=0.5, help="time of a size in a round; default 0.5"
    )
    options = options_of.parse_args()
    modes = group_modes()
    with scratch(options.directory) as directory:

        def measure(mode: Mode, place: Path = directory) -> Measured:
            return measure_round(mode, place, Limit(options.seconds))

        found = interleave(
            options.rounds, {str(size): partial(measure, modes[size]) for size in GROUPS}
        )
    alone = [done.rate for done in found["1"]]
    rates = {size: [done.rate for done in found[str(size)]] for size in GROUPS}
    rows = [
        row(f"groups of {size:,}", "commands/s", rates[size], to=("groups of 1", alone))
        for size in GROUPS
    ]
    return finish(
        options,
        rows,
        [
            (
                "a group is one submit_many: one append, one sync, all or nothing, on stable "
                "storage when it returns"
            )
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
