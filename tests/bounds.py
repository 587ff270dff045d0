"""How many CPU seconds a test file may take: what `make test` is held to."""

import os
from pathlib import Path

from yardstick import slowness

USUAL = 15  # CPU seconds; most files take less than five
BOUNDS = {}

# A run fails where a file takes more than FACTOR times its bound, in seconds of the machine that
# the bounds were set on (`slowness`). The factor covers what a measurement varies by on a busy
# machine (neighbours in the caches: up to 1.7 seen), and the imports of torch, xarray and scipy,
# 4 s, which the first file in each process pays.
FACTOR = 2


def of(path) -> float:
    return BOUNDS.get(Path(path).stem, USUAL)


def exceeded(cpu: float, bound: float) -> bool:
    """Whether a file took too long; at the lengths of the papers (`make proofs`) none does."""
    if os.environ.get("DALEARN_PROOFS") == "1":
        return False
    return cpu > FACTOR * bound and cpu > FACTOR * bound * slowness()
