"""The run of a parameter, interpolated between the runs of others: the surrogate to beat first.

Of S runs x_s (t) with parameters u_s, the run of another parameter is taken to be
    x(t; u) = sum_s w_s(u) x_s(t),   w_s(u_r) = 1 if r = s else 0,
where w_s interpolates 0 and 1: for one parameter by a cubic spline, for several by radial cubics,
    w_s(u) = sum_r a_rs |u - u_r|^3 + a linear function.
Nothing is trained. It is as good as the runs are close together, in a few parameters that do not
change with time; what a network can do beyond that is worth its training.

C. de Boor, A Practical Guide to Splines, 1978; G. Fasshauer, Meshfree Approximation Methods, 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..array import Array, array_namespace, as_floats, convert, to_numpy, typed
from .coders import Coder, check_coder


@typed
@dataclass(frozen=True, eq=False)
class InterpolatedRuns:
    """x(u) = sum_s w_s(u) x_s: a cubic spline over one parameter, radial cubics over several.

        pod = POD.fit(states, 256)                                   # states (S, T, n)
        runs = InterpolatedRuns(parameters, pod.encode(states), pod)  # parameters (S, p)
        runs(u).shape                                                # (T, n)

    Args:
        parameters: u_s `(S, p)`, no two alike, S at least 4 (p = 1) or p + 2.
        runs: x_s `(S, ..., n)`, or their codes `(S, ..., r)`.
        coder: the Coder that made codes of them, None where they are states.

    Raises:
        ValueError: for shapes that differ, too few runs, and two runs of one parameter.
    """

    parameters: Array
    runs: Array
    coder: Coder | None = None

    def __post_init__(self):
        for name, axes in (("parameters", ("run", "parameter")), ("runs", ("...", "x"))):
            object.__setattr__(self, name, as_floats(getattr(self, name), name, axes=axes))
        if self.coder is not None:
            check_coder(self.coder)
        u, shape = to_numpy(self.parameters), tuple(self.runs.shape)
        if u.ndim != 2 or not shape or u.shape[0] != shape[0]:
            raise ValueError(
                "wanted parameters (S, p) and runs (S, ..., n) with one S, met "
                f"{tuple(u.shape)} and {shape}"
            )
        least = 4 if u.shape[1] == 1 else u.shape[1] + 2
        if len(u) < least:
            raise ValueError(
                f"met {len(u)} runs, wanted at least {least} for {u.shape[1]} parameters"
            )
        if not np.isfinite(u).all():
            raise ValueError("parameters hold NaN or infinity; leave these runs out")
        width = np.ptp(u, axis=0)
        if len(np.unique(u, axis=0)) < len(u) or not (width > 0).all():
            raise ValueError("two runs have the same parameter, or a parameter never varies")

    def weights(self, u: Array) -> np.ndarray:
        """The weights of the runs, w_s(u).

        Args:
            u: parameters `(..., p)`; outside the range of those of the runs w extrapolates.

        Returns:
            `(..., S)`, of sum 1.

        Raises:
            ValueError: for another number of parameters.
        """
        from scipy.interpolate import CubicSpline, RBFInterpolator

        known, asked = to_numpy(self.parameters).astype(float), np.asarray(to_numpy(u), float)
        p = known.shape[1]
        if asked.shape[-1:] != (p,):
            raise ValueError(f"u has shape {asked.shape}, wanted (..., {p})")
        low, width = known.min(0), np.ptp(known, axis=0)  # of one size, whatever their units
        known, flat = (known - low) / width, (asked.reshape(-1, p) - low) / width
        if p == 1:
            order = np.argsort(known[:, 0])
            w = np.empty((len(flat), len(known)))
            w[:, order] = CubicSpline(known[order, 0], np.eye(len(known)))(flat[:, 0])
        else:
            w = RBFInterpolator(known, np.eye(len(known)), kernel="cubic")(flat)
        return w.reshape(*asked.shape[:-1], -1)

    def codes(self, u: Array) -> Array:
        """The runs at these parameters as they are given, or in codes: `(..., ..., r)`."""
        xp, w = array_namespace(self.runs), self.weights(u)
        S, *rest = self.runs.shape
        out = convert(w.reshape(-1, S), self.runs) @ xp.reshape(self.runs, (S, -1))
        return xp.reshape(out, (*w.shape[:-1], *rest))

    def __call__(self, u: Array) -> Array:
        """The runs at parameters `(..., p)`: `(..., T, n)` where those known are `(S, T, n)`."""
        z = self.codes(u)
        return z if self.coder is None else self.coder.decode(z)
