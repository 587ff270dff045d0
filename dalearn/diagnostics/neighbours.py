"""Whether rows of one part of a data set go on in another: what `audit` counts.

Two windows of one run touch: where a row of the tests begins, the nearest state of the training is
the end of one of its rows more often than by chance. Single frames of one run lie on a curve: a
frame that was left out lies between its two nearest neighbours, and the angle to them is nearly
180 degrees; independent states of three numbers or more have it seldom.
"""

from __future__ import annotations

import numpy as np

STATES, NUMBERS, TESTED = 20_000, 2 * 10**7, 300  # what is searched at most, and looked for
RARE = 1e-4  # how improbable by chance a doubt must be
STRAIGHT = -np.cos(np.pi / 6)  # between two states: at an angle of 150 degrees or more


def neighbours(one: str, x: np.ndarray, other: str, y: np.ndarray) -> list[str]:
    """Doubts: rows of `other` go on where rows of `one` end, or lie between its single states."""
    scale = x.reshape(-1, x.shape[-1]).std(0)
    x, y = (z[..., scale > 0] / scale[scale > 0] for z in (x, y))
    n, most = x.shape[-1], min(STATES, NUMBERS // max(1, x.shape[-1]))
    if not n or not np.isfinite(x).all() or not np.isfinite(y).all():
        return []
    if x.shape[1] == 1:
        return _between(one, _thinned(x[:, 0], most), other, _thinned(y.reshape(-1, n), TESTED))
    rows, tests, doubts = _thinned(x, most // 2), _thinned(y, TESTED), []
    times = _thinned(np.arange(x.shape[1]), max(2, most // len(rows)))
    states = rows[:, times].reshape(-1, n)
    place = np.tile(times, len(rows))
    for edge, at, words in ((-1, 0, "begin where a row of"), (0, -1, "end where a row of")):
        met = place[_nearest(states, tests[:, at], 1)[:, 0]] == times[edge]
        if _tail(int(met.sum()), len(tests), 1 / len(times)) < RARE:
            then = "ends" if edge else "begins"
            doubts.append(
                f"{met.sum()} of {len(tests)} rows of {other} {words} {one} {then}: parts of one "
                "run?"
            )
    return doubts


def _between(one: str, states: np.ndarray, other: str, tests: np.ndarray) -> list[str]:
    """The doubt that states lie between two others, as frames of one run do."""
    if states.shape[-1] < 3 or len(states) < 2:
        return []
    a, b = (states[i] - tests for i in _nearest(states, tests, 2).T)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    count = int(((a * b).sum(1) < STRAIGHT * lengths).sum())
    if _tail(count, len(tests), 1 / 6) >= RARE:  # 60 of 360 degrees, in a plane
        return []
    return [
        f"{count} of {len(tests)} states of {other} lie between two of {one}: frames of one run, "
        "or runs that differ in one number?"
    ]


def _thinned(x: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spread, the first and the last among them."""
    return x[np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).astype(int))]


def _nearest(states: np.ndarray, points: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the states nearest to each point, `(points, count)`."""
    middle = states.mean(0)
    states, points = states - middle, points - middle
    square = (states**2).sum(-1) - 2 * points @ states.T
    return np.argpartition(square, range(count), axis=-1)[:, :count]


def _tail(count: int, trials: int, chance: float) -> float:
    """The probability of so many or more by chance."""
    from scipy.stats import binom

    return float(binom.sf(count - 1, trials, chance))
