"""What was made of the same arrays before: covariances are not read from data, and soon repeat."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any

import numpy as np

from .library import Array


class Recall:
    """Keeps what was made of the last few arrays, and gives it again: the same result, for free.

    With the same matrices the covariances of a filter repeat after a while, to the bit. A small
    NumPy array is known by its bytes; of others only the last is kept, and known as an object.
    """

    KEPT, LARGEST = 64, 2**14  # arrays, and bytes of one that is looked up

    def __init__(self):
        self.known: dict[Any, Any] = {}
        self.last: tuple[Any, tuple[Any, ...], Any] = (None, (), None)

    def __call__(self, X: Array, others: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """`make()`, or what it returned for the same array and the same other objects.

        Args:
            X: the array; it is not written to afterwards.
            others: objects from which the result is made too, known by identity.
            make: makes it.

        Returns:
            The result, which the caller leaves as it is.
        """
        before, those, value = self.last
        if X is before and len(others) == len(those) and all(map(is_, others, those)):
            return value
        small = type(X) is np.ndarray and X.nbytes <= self.LARGEST
        what: Any = (X.shape, X.tobytes()) if small else id(X)
        key = what, *map(id, others)
        found: Any = self.known.get(key)
        if found is None:
            found = make(), X, others  # they are kept: no other has their ids
            if not small or len(self.known) >= self.KEPT:
                self.known = {}  # a new one: other threads may be reading
            self.known[key] = found
        self.last = X, others, found[0]
        return found[0]

    def __reduce__(self):
        return Recall, ()  # a copy has other objects
