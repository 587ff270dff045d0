"""How fast one core of this machine is, beside the one in whose seconds the limits are told.

A limit in CPU seconds would fail on a slower laptop and pass anything on a faster one. So every
limit is multiplied by `slowness()`: the time of a small fixed piece of work, part Python and part
NumPy as a page is, over what it took where the limits were set. It is never less than 1: a faster
machine must not fail for the noise of a short measurement.
"""

import time
from functools import cache

import numpy as np

REFERENCE = 0.075  # CPU seconds of `work` where the limits were set (one idle core of an AMD EPYC)


def work() -> float:
    """A fixed piece of work; its result is returned so that nothing is left out."""
    words = {str(i): i for i in range(60_000)}
    total = sum(words[key] for key in sorted(words))
    x = np.linspace(0.0, 1.0, 20_000)
    for _ in range(100):
        x = np.sin(x) + 0.5 * x
    return total + float(x.sum())


@cache
def slowness(tries: int = 3) -> float:
    """Time of `work` on this machine over the reference, the best of a few tries; at least 1."""
    times = []
    for _ in range(tries):
        start = time.thread_time()  # other threads wait for pages meanwhile
        work()
        times.append(time.thread_time() - start)
    return max(1.0, min(times) / REFERENCE)
