"""Score and flow filters beside the classical ones: accuracy, steps, cost, shocks.

python -m benchmarks.score [--quick] [--only SECTION] [--out DIR]

tuning_all, tuning_half, tuning_quarter, tuning_flames   how the settings were chosen
"""

from __future__ import annotations

from functools import partial

from .common import parser, run
from .score_accuracy import accuracy, identity
from .score_large import shocks, size, steps
from .score_tuning import tuning_flames, tuning_repair, tuning_ring

SECTIONS = {
    "tuning_all": partial(tuning_ring, 1),
    "tuning_half": partial(tuning_ring, 2),
    "tuning_quarter": partial(tuning_ring, 4),
    "tuning_repair": tuning_repair,
    "tuning_flames": tuning_flames,
    "all": partial(accuracy, 1),
    "half": partial(accuracy, 2),
    "quarter": partial(accuracy, 4),
    "flames": identity,
    "steps": partial(steps, 2000),
    "steps_large": partial(steps, 10_000),
    "size": size,
    "shocks": partial(shocks, 1000, 6),
    "shocks_large": partial(shocks, 10_000, 6),
}


def main() -> None:
    """Run the chosen sections and write the report."""
    options = parser("score", __doc__, tuple(SECTIONS)).parse_args()
    run("score", "Score and flow filters", options, SECTIONS)


if __name__ == "__main__":
    main()
