"""Dynamic mode decomposition with delays: the linear model of the last L states that fits best.

    x_{t+1} = c + A_1 x_{t-L+1} + ... + A_L x_t,
    sum_t |x_{t+1} - c - A w_t|^2 + ridge g |A|^2 = min,   A = (A_1, ..., A_L),
where w_t is the window of the last L states and g the mean of the diagonal of sum_t w_t w_t^T
about its mean, so that the ridge has no unit. One state (L = 1) suffices where the whole state is
known; delays stand for what is not seen of it. It is the linear rival of a network with the same
window.

Schmid, Dynamic mode decomposition of numerical and experimental data, J. Fluid Mech. 656, 2010;
delays: Arbabi and Mezic, Ergodic theory, dynamic mode decomposition, and computation of spectral
properties of the Koopman operator, SIAM J. Appl. Dyn. Syst. 16, 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..array import (
    Array,
    Swept,
    array_namespace,
    as_floats,
    as_numbers,
    check_count,
    convert,
    is_float,
    to_numpy,
    typed,
    warn,
)
from .companion import companion, damped, spectrum
from .fields import check_positive
from .regression import Regression, candidates, check_runs, check_unit
from .windows import Windows


class Growing(UserWarning):
    """A fitted linear model with an eigenvalue outside the unit circle: its forecasts grow."""


@typed
@dataclass(frozen=True, eq=False, repr=False)
class DMD(Windows):
    """A linear model of windows by dynamic mode decomposition with delays.

        (x_1, ..., x_L) -> (x_2, ..., x_L, c + A_1 x_1 + ... + A_L x_L)

    Made by `DMD.fit(runs, delays)`. The state of the problem is the window, flattened, oldest
    first, as that of History; for codes of a coder see `Windowed`. An analysis must correct the
    whole window, by its cross-covariances with the data, as every method here does: where the
    newest state alone is corrected, the model takes the jump for motion.

    Args:
        matrix: A `(n, L n)`; the newest state's part A_L is last.
        offset: c `(n,)`, or None for 0.
        dt: the length of a step, time units.

    Raises:
        ValueError: for shapes that do not fit together, and for NaN.

    Schmid, Dynamic mode decomposition of numerical and experimental data, J. Fluid Mech. 656,
    2010.
    """

    matrix: Array
    offset: Array | None = None
    dt: Swept = 1.0
    length: int = field(init=False)
    linear: ClassVar[bool] = True

    def __post_init__(self):
        A = as_floats(self.matrix, "matrix")
        if A.ndim != 2 or 0 in A.shape or A.shape[1] % A.shape[0]:
            raise ValueError(
                f"matrix has shape {tuple(A.shape)}, wanted (n, L n): n numbers of a state from "
                "the L states of a window"
            )
        object.__setattr__(self, "matrix", A)
        object.__setattr__(self, "length", A.shape[1] // A.shape[0])
        if self.offset is not None:
            c = as_floats(self.offset, "offset")
            if tuple(c.shape) != (self.n,):
                raise ValueError(f"offset has shape {tuple(c.shape)}, wanted ({self.n},)")
            object.__setattr__(self, "offset", c)
        for name in ("matrix", "offset"):
            value = getattr(self, name)
            if value is not None and not bool((abs(value) < math.inf).all()):
                raise ValueError(f"{name} holds NaN or infinity; wanted finite numbers")
        check_positive(self, "dt")

    @classmethod
    @typed
    def fit(
        cls,
        runs: Any,
        delays: int = 4,
        *,
        ridge: float | Sequence[float] | None = None,
        rank: int | None = None,
        offset: bool = True,
        scale: Any = None,
        stable: bool = False,
        validation: Any = None,
        ahead: int | None = None,
        dt: Swept = 1.0,
    ) -> DMD:
        """The model that predicts the next state of runs from the last few.

        It warns of Growing where an eigenvalue is outside the unit circle.

        Args:
            runs: trajectories `(..., T, n)` at steps of one length, or a list of such arrays,
                whose T may differ.
            delays: L, how many states a window holds; 1 is DMD of single states.
            ridge: a number >= 0 in units of the mean of the diagonal, None for 1e-6; or several,
                of which the one with the least roll-out error on `validation` is taken (None:
                1e-10, 1e-9, ..., 1). 0 is least squares.
            rank: how many principal directions of the windows are used, None for all.
            offset: whether there is a constant c, which no ridge holds back; without it c = 0.
            scale: the unit of each component `(n,)`, as in `POD.fit`: ridge and rank weigh
                components by it. None: 1.
            stable: whether all eigenvalues are multiplied by one factor, so that none is outside
                the unit circle (A_j by its power L - j + 1); a mean window is predicted as before.
            validation: other trajectories, of the form of `runs`.
            ahead: steps of a roll-out on `validation`, from each window that has so many after it;
                None for half of those in its shortest run: long ones, which start from few
                windows, favour a model that falls to the mean.
            dt: the length of a step, time units.

        Returns:
            The model, in the library and precision of `runs`.

        Raises:
            ValueError: for runs that are too short, too few for their numbers without a ridge, or
                hold NaN; and for several ridges without validation.
        """
        check_count("delays", delays)
        series = check_runs(runs, "runs", delays + 1)
        n = series[0].shape[-1]
        unit = check_unit(scale, series)
        found = Regression.of([x / unit for x in series], delays, offset)
        ridges = candidates(ridge, validation)
        if rank is not None:
            check_count("rank", rank, 1, found.most)
        elif found.most < delays * n and (0 in ridges or (ridge is None and validation is None)):
            raise ValueError(
                f"runs have {found.count} windows of {delays} states, too few for the "
                f"{delays * n} numbers of one without a ridge of your choice; wanted ridge > 0, "
                f"rank <= {found.most}, fewer delays, or more runs"
            )
        if validation is None and ahead is not None:
            raise ValueError(f"ahead belongs to validation runs, met ahead = {ahead} without them")

        def made(value: float) -> DMD:
            A = found.matrix(value, rank)
            A = damped(A) if stable else A
            return cls(A, found.offset(A))

        best = made(ridges[0])
        if validation is not None:
            check_count("ahead", 1 if ahead is None else ahead)
            tests = check_runs(validation, "validation", delays + (ahead or 1), n)
            ahead = ahead or (1 + min(x.shape[1] for x in tests) - delays) // 2
            best = _chosen(made, ridges, [convert(x, unit) / unit for x in tests], ahead)
        c = None if best.offset is None else best.offset * unit
        xp = array_namespace(unit)
        A = best.matrix * unit[:, None] / xp.concat([unit] * delays)
        model = cls(A, c, dt)
        if best.radius > 1 + float(xp.finfo(A.dtype).eps) ** 0.5:
            warn(
                f"the largest eigenvalue of {model!r} has size {best.radius:.4g}: forecasts "
                f"double every {math.log(2) / math.log(best.radius):.3g} steps; wanted "
                "stable=True, a larger ridge or a smaller rank, unless the runs grow themselves",
                Growing,
            )
        return model

    def __repr__(self) -> str:  # a method's settings are written into results
        return f"DMD(n={self.n}, delays={self.length})"

    @property
    def n(self) -> int:
        """How many numbers a single state has."""
        return self.matrix.shape[0]

    def __call__(self, x: Array) -> Array:
        if x.shape[-1:] != self.matrix.shape[1:]:
            raise ValueError(
                f"{self!r} met a state of shape {tuple(x.shape)}, wanted "
                f"(..., {self.matrix.shape[1]}): {self.length} states of {self.n} numbers, oldest "
                "first"
            )
        if not is_float(x):
            raise TypeError(f"{self!r} wants states of floats, met dtype {x.dtype}")
        new = x @ convert(self.matrix, x).mT
        if self.offset is not None:
            new = new + convert(self.offset, x)
        return array_namespace(x).concat((x[..., self.n :], new), axis=-1)

    @typed
    def forecast(self, window: Array, steps: int) -> Array:
        """The states that follow a window.

        Args:
            window: the last L states `(..., L n)`, oldest first; see `window`.
            steps: how many.

        Returns:
            States `(..., steps, n)`.

        Raises:
            ValueError: for a window of another size.
        """
        check_count("steps", steps)
        found, x = [], window
        for _ in range(steps):
            x = self(x)
            found.append(x[..., -self.n :])
        return array_namespace(x).stack(found, axis=-2)

    def rollout_errors(self, runs: Any, ahead: int | None = None) -> Array:
        """The root-mean-square error of forecasts of runs after 1, 2, ... steps.

        Args:
            runs: held-out trajectories `(..., T, n)`, or a list of such arrays.
            ahead: how many steps, from each window that has so many after it; None for as many as
                the shortest run has.

        Returns:
            Errors `(ahead,)` in the state's units; infinity or NaN where forecasts overflow.

        Raises:
            ValueError: for runs that are too short, of another n, or with NaN.
        """
        if ahead is not None:
            check_count("ahead", ahead)
        L = self.length
        series = check_runs(runs, "runs", L + (ahead or 1), self.n)
        steps = ahead or min(x.shape[-2] for x in series) - L
        xp, sums, count = array_namespace(*series), [0.0] * steps, 0
        with np.errstate(all="ignore"):
            for s in series:
                starts = s.shape[1] - L - steps + 1
                x = xp.concat([s[:, j : j + starts] for j in range(L)], axis=-1)
                count += x.shape[0] * starts * self.n
                for k in range(steps):
                    x = self(x)
                    gap = x[..., -self.n :] - s[:, L + k : L + k + starts]
                    sums[k] = sums[k] + xp.sum(gap * gap)
            return (xp.stack(sums) / count) ** 0.5

    @property
    def companion(self) -> Array:
        """The matrix `(L n, L n)` of a step of windows, without the offset."""
        return companion(self.matrix)

    @property
    def eigenvalues(self) -> np.ndarray[Any, Any]:
        """The eigenvalues of the companion matrix, complex `(L n,)`, the largest first."""
        return spectrum(self.matrix)[0]

    @property
    def radius(self) -> float:
        """The size of the largest eigenvalue: forecasts stay bounded below 1, and grow above."""
        return float(abs(self.eigenvalues[0]))

    @property
    def rates(self) -> np.ndarray[Any, Any]:
        """log(eigenvalues) / dt: growth rates, and angular frequencies as imaginary parts."""
        with np.errstate(divide="ignore"):
            return np.log(self.eigenvalues) / as_numbers(self.dt)[..., None]

    @property
    def modes(self) -> np.ndarray[Any, Any]:
        """The mode of each eigenvalue as a column of length 1, complex `(n, L n)`."""
        found, vectors = spectrum(self.matrix)
        v = np.where(abs(found) > 1, vectors[-self.n :], vectors[: self.n])  # lambda^j v, j < L
        return v / np.linalg.norm(v, axis=0)


def _chosen(
    made: Callable[[float], DMD], ridges: Sequence[float], tests: list[Array], ahead: int | None
) -> DMD:
    """The model of the ridge whose roll-outs err least."""
    errors: list[float] = []
    for ridge in ridges:
        e = to_numpy(made(ridge).rollout_errors(tests, ahead)).astype(float)
        errors.append(float((e**2).mean()) if np.isfinite(e).all() else math.inf)
    if min(errors) == math.inf:
        raise ValueError(
            f"no ridge of {list(ridges)} has finite roll-outs on validation runs; wanted larger "
            "ones, stable=True, or a smaller ahead"
        )
    return made(ridges[errors.index(min(errors))])
