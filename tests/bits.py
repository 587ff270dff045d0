"""Equality to the bit, where the machine's BLAS keeps it."""

from functools import cache

import numpy as np


@cache
def sums_depend_on_place():
    """Whether a dot product changes when its numbers move by 8 bytes in memory.

    It does with OpenBLAS' kernels for processors before 2008 (`OPENBLAS_CORETYPE=Prescott`), which
    take the first number alone where that puts the others at multiples of 16 bytes. No machine
    chooses them where NumPy's wheels run; `make processors` does, as the strangest arithmetic.
    """
    x, y = np.random.default_rng(0).normal(size=(2, 100, 41))
    room, sums = np.empty(42), []
    for place in (room[:41], room[1:]):
        sums.append([])
        for one, other in zip(x, y, strict=True):
            place[:] = other
            sums[-1].append(float(one @ place))
    return sums[0] != sums[1]


def same_bits(one, other):
    """Equal to the bit; only to round-off where a batch lies differently than its parts."""
    if np.array_equal(one, other):
        return True
    # 1e-16, and what a few cycles of a chaotic model make of it
    return sums_depend_on_place() and np.allclose(one, other, rtol=1e-9, atol=1e-9)
