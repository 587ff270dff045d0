"""Observing systems made of rows of a table: by sensor, or by place on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array import Array, array_namespace, shown
from ..covariances.matrices import Diagonal
from .interpolate import Interpolate
from .observe import Observation, Subset


@dataclass(frozen=True, eq=False)
class Joined:
    """Several operators that give one number each, side by side.

    Args:
        parts: functions of states that return `(..., 1)` or `(...)`.
        axes: how many axes a state has: 1, or those of a field.
    """

    parts: tuple[Any, ...]
    axes: int = 1

    @property
    def linear(self) -> bool:
        """Whether all of them are known to be linear."""
        return all(getattr(f, "linear", False) is True for f in self.parts)

    def __call__(self, x: Array) -> Array:
        out = [f(x) for f in self.parts]
        out = [y[..., None] if y.ndim == x.ndim - self.axes else y for y in out]
        return array_namespace(x).concat(out, axis=-1)


class Sensors:
    """Sensors with names: each sees one component of the state, or has an operator of its own.

    Args:
        known: the operator, or the component, of each sensor by its name, or by (name, kind) where
            it measures several kinds; None: the names are the components.
        shape: of a field, `()` for vectors.
    """

    def __init__(self, known: Any, shape: tuple[int, ...]):
        if known is not None and (not isinstance(known, Mapping) or not known):
            raise TypeError(
                "sensors must be a mapping from the name of a sensor to its operator or its "
                f"component of the state, met {shown(known)}"
            )
        self.known, self.shape = known, shape
        self.kinds = known is not None and any(isinstance(key, tuple) for key in known)

    def codes(self, names: list[Any], kinds: list[Any] | None) -> np.ndarray:
        """The place of each row's sensor in the mapping, or its component."""
        keys = list(zip(names, kinds, strict=True)) if self.kinds and kinds else names
        if self.known is None:
            bad = [i for i, name in enumerate(keys) if type(name) is not int or name < 0]
            if bad:
                raise ValueError(
                    f"the sensor of row {bad[0]} is {keys[bad[0]]!r}, wanted a component of the "
                    "state, an integer >= 0; or pass sensors=, which says what each name sees"
                )
            return np.asarray(keys, dtype=int)
        place = {key: i for i, key in enumerate(self.known)}
        bad = [i for i, key in enumerate(keys) if key not in place]
        if bad:
            raise ValueError(
                f"row {bad[0]} is of the sensor {keys[bad[0]]!r}, which sensors= does not know; "
                f"met there {list(place)[:8]}"
            )
        return np.asarray([place[key] for key in keys], dtype=int)

    def operator(self, codes: np.ndarray) -> Any:
        """What the sensors with these codes see, in this order."""
        if self.known is None:
            return self._picked(codes.tolist())
        values = list(self.known.values())
        parts = [values[i] for i in codes.tolist()]
        if not any(callable(p) for p in parts):
            return self._picked(parts)
        parts = [p if callable(p) else self._picked([p]) for p in parts]
        return Joined(tuple(parts), len(self.shape) or 1)

    def _picked(self, components: list[Any]) -> Subset:
        try:
            if not self.shape:
                return Subset(np.asarray([int(c) for c in components]))
            each = [
                c if isinstance(c, tuple) else np.unravel_index(c, self.shape) for c in components
            ]
            return Subset(tuple(np.asarray(i, dtype=int) for i in zip(*each, strict=True)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"sensors must be operators, or components of a state of shape {self.shape}, met "
                f"{components[:4]}"
            ) from error


class Places:
    """Places on a grid, where one of the fields of the state is seen.

    Args:
        axes: of the grid, as `Interpolate` takes them.
        period: the same.
        kinds: the names of the state's fields in their order; None: there is one, without a name.
    """

    def __init__(self, axes: Any, period: Any, kinds: Any):
        self.axes, self.period, self.names = axes, period, None if kinds is None else list(kinds)
        self.kinds = kinds is not None
        several = isinstance(axes, (tuple, list)) and any(np.ndim(a) for a in axes)
        middle = [[np.mean([a[0], a[-1]]) for a in (axes if several else (axes,))]]
        grid = Interpolate(axes, middle, period)
        self.grid = grid.axes, grid.period

    def codes(self, kinds: list[Any]) -> np.ndarray:
        """Which field each row is of."""
        assert self.names is not None
        bad = [i for i, kind in enumerate(kinds) if kind not in self.names]
        if bad:
            raise ValueError(
                f"row {bad[0]} is of the kind {kinds[bad[0]]!r}, wanted one of kinds, {self.names}"
            )
        return np.asarray([self.names.index(kind) for kind in kinds], dtype=int)

    def operator(self, places: np.ndarray, codes: np.ndarray) -> Interpolate:
        """The fields at the places, in this order."""
        which = codes if self.kinds else None
        return Interpolate(self.axes, places, self.period, which)


class Network:
    """Observing systems for rows of a table; the same rows again get the same one.

    Args:
        see: Sensors or Places.
    """

    def __init__(self, see: Sensors | Places):
        self.see, self.known = see, {}

    def __call__(
        self, codes: np.ndarray, places: np.ndarray | None, errors: np.ndarray
    ) -> Observation:
        """The system of rows with these codes, places `(m, d)` and standard deviations `(m,)`."""
        where = b"" if places is None else places.tobytes()
        key = codes.tobytes(), where, errors.tobytes()
        if key not in self.known:
            see = self.see
            if isinstance(see, Places):
                assert places is not None
                operator = see.operator(places, codes)
            else:
                operator = see.operator(codes)
            self.known[key] = Observation(operator, Diagonal(errors**2), places)
        return self.known[key]
