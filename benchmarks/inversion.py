"""Learned inversion: networks that do the analysis, beside classical methods, same B and R.

    python -m benchmarks.inversion [--quick] [--only SECTION] [--out DIR]

Each section audits its own experiment (`da.audit`): no run on both sides of a split, no first
state that is the truth, no truth where nothing was observed.
"""

from __future__ import annotations

from collections.abc import Callable

from . import inversion_incremental, inversion_learned, inversion_vivid, inversion_vivid_more
from .common import parser, run
from .inversion_learned_more import LEARNED_MORE
from .inversion_motion import MOTION
from .inversion_motion_more import MOTION_MORE
from .inversion_motion_seeds import SEEDED
from .inversion_motion_tracer import TRACER
from .inversion_rivals import RIVALS
from .inversion_rivals_prior import PRIORS
from .inversion_rivals_protocol import PROTOCOL
from .inversion_rivals_sda import SDA

SECTIONS: dict[str, Callable] = {}
SECTIONS |= MOTION | MOTION_MORE | SEEDED | TRACER
SECTIONS |= inversion_incremental.SECTIONS
SECTIONS |= RIVALS | PRIORS | SDA | PROTOCOL
SECTIONS |= inversion_vivid.SECTIONS | inversion_vivid_more.SECTIONS
SECTIONS |= inversion_learned.SECTIONS | LEARNED_MORE


def main() -> None:
    """Run the chosen sections and write the report."""
    options = parser("inversion", __doc__, tuple(SECTIONS)).parse_args()
    run("inversion", "Learned inversion", options, SECTIONS)


if __name__ == "__main__":
    main()
