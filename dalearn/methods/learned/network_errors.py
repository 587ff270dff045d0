"""P, the covariance of a network's errors, measured on runs that it was not trained on.

    P = S F* lambda F S ,     S_ii = s(d_i) rms(f) ,

with f the network's field, d_i the distance of cell i to the nearest sensor, s(d) the errors at
that distance in units of rms(f), and lambda the spectrum of errors divided by S: a network errs
over whole regions, not cell by cell. With lambda = 1 P is diagonal, as in VIVID; the same variance
is then counted as if each cell were told anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...array import Array, array_namespace, as_floats, convert, fft, is_tensor, to_numpy, typed
from ...covariances.base import Covariance, check_width

BINS = 8  # of the distance to the nearest sensor
FLOOR = 1e-3  # least eigenvalue of the correlations, in units of their mean


@dataclass(frozen=True, eq=False)
class OnTorus(Covariance):
    """Errors with standard deviations of their own and one spectrum on a torus.

    Args:
        std: standard deviations `(..., n)`; infinity: not known at all.
        root: of the spectrum, `(rows, columns // 2 + 1)`, or None for independent errors.
        shape: (rows, columns).
    """

    std: Array
    root: Array | None
    shape: tuple[int, int]

    @property
    def n(self) -> int:
        return self.std.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.std.shape[:-1])

    def color(self, z: Array) -> Array:
        check_width(z, self.n)
        return self._filtered(z, back=False) * self.std[..., None, :]

    def whiten(self, x: Array) -> Array:
        check_width(x, self.n)
        return self._filtered(x / self.std[..., None, :], back=True)

    def variance(self) -> Array:
        return self.std**2

    def matrix(self) -> Array:
        from ...array import eye

        root = self.color(eye(self.n, self.std))
        return root.mT @ root

    def __getitem__(self, b: Any) -> OnTorus:
        return OnTorus(self.std[b], self.root, self.shape)

    def masked(self, seen: Array) -> OnTorus:
        """Experiments of which nothing is seen know nothing; parts of a field cannot be hidden."""
        xp = array_namespace(self.std)
        if bool(xp.any(xp.any(seen, axis=-1) != xp.all(seen, axis=-1))):
            raise NotImplementedError("the field of a network is seen as a whole, or not at all")
        return OnTorus(xp.where(seen, self.std, float("inf")), self.root, self.shape)

    def _filtered(self, x: Array, back: bool) -> Array:
        if self.root is None:
            return x
        f, xp = fft(x), array_namespace(x)
        over = {"dim" if is_tensor(x) else "axes": (-2, -1)}
        waves = f.rfftn(xp.reshape(x, (*x.shape[:-1], *self.shape)), s=self.shape, **over)
        waves = waves / self.root if back else waves * self.root
        return xp.reshape(f.irfftn(waves, s=self.shape, **over), tuple(x.shape))


@typed
@dataclass(frozen=True, eq=False)
class NetworkErrors:
    """What is known of a network's errors: by distance to the nearest sensor, and their spectrum.

    Made by `NetworkErrors.measured`. `at(field, distance)` is the covariance for one estimate.

    Args:
        edges: distances at which bins begin `(k,)`, the first 0, in cells.
        variances: mean square errors in each, in units of the estimate's mean square, `(k,)`.
        spectrum: of errors divided by their standard deviations, of mean 1, `(rows, columns)`, or
            None for independent ones.

    Raises:
        ValueError: for other shapes, and numbers that are not positive.
    """

    edges: Array
    variances: Array
    spectrum: Any = None

    def __post_init__(self):
        for name in ("edges", "variances"):
            object.__setattr__(self, name, to_numpy(as_floats(getattr(self, name), name)))
        e, v = self.edges, self.variances
        if e.ndim != 1 or e.shape != v.shape or not e.size or e[0] or (np.diff(e) <= 0).any():
            raise ValueError(
                f"edges must rise from 0, one for each variance, met {e} and {v.size} variances"
            )
        whole = v if self.spectrum is None else np.append(v, np.ravel(self.spectrum))
        if not ((whole > 0) & np.isfinite(whole)).all():
            raise ValueError("variances and spectrum must be positive and finite")

    def __repr__(self) -> str:
        kind = "independent" if self.spectrum is None else "correlated"
        return f"NetworkErrors({kind}, {np.array2string(self.variances, precision=3)})"

    @classmethod
    @typed
    def measured(
        cls,
        fields: Array,
        truth: Array,
        distance: Array,
        shape: tuple[int, int],
        *,
        correlated: bool = True,
    ) -> NetworkErrors:
        """The errors of estimates on states of runs that the network was not trained on.

        Args:
            fields: what the network says `(S, n)`.
            truth: the states `(S, n)`.
            distance: of each cell to the nearest sensor `(S, n)`, in cells.
            shape: (rows, columns), rows columns = n.
            correlated: whether errors of different cells depend on each other.

        Returns:
            NetworkErrors: mean squares in bins with equally many cells, and the mean spectrum,
                which is made to depend on the wave's length alone.

        Raises:
            ValueError: shapes that do not fit, and estimates without errors.
        """
        f, x, d = (to_numpy(as_floats(v, "fields")) for v in (fields, truth, distance))
        if f.ndim != 2 or not (f.shape == x.shape == d.shape) or f.shape[1] != np.prod(shape):
            raise ValueError(
                f"met fields {f.shape}, truth {x.shape} and distance {d.shape} on a grid of "
                f"{shape}, wanted (S, {int(np.prod(shape))}) each"
            )
        error, square = f - x, np.broadcast_to((f**2).mean(-1, keepdims=True), f.shape)
        edges = np.unique(np.quantile(d, np.arange(BINS) / BINS))
        edges[0] = 0.0
        place = np.searchsorted(edges, d, side="right") - 1
        sums = [np.bincount(place.ravel(), v.ravel(), len(edges)) for v in (error**2, square)]
        variances = sums[0] / np.where(sums[1] > 0, sums[1], 1)  # small estimates weigh little
        if not (variances > 0).all():
            raise ValueError("the estimates have no errors: are they the truth itself?")
        spectrum = _isotropic(error / np.sqrt(variances)[place], shape) if correlated else None
        return cls(edges, variances, spectrum)

    def at(self, field: Array, distance: Array, shape: tuple[int, int], inflation: Any) -> OnTorus:
        """P for estimates, in their library.

        Args:
            field: the estimates `(..., n)`.
            distance: to the nearest sensor `(..., n)`, NumPy.
            shape: (rows, columns).
            inflation: a multiple of P, a number or `(..., 1)`.

        Returns:
            The covariance of dimension n.
        """
        xp = array_namespace(field)
        place = np.searchsorted(self.edges, distance, side="right") - 1
        relative = convert(np.sqrt(self.variances)[place], field)
        std = relative * xp.mean(field**2, axis=-1, keepdims=True) ** 0.5 * inflation**0.5
        root = None
        if self.spectrum is not None:
            half = np.sqrt(np.asarray(self.spectrum)[:, : shape[1] // 2 + 1])
            root = convert(np.ascontiguousarray(half), field)
        return OnTorus(std, root, shape)


def _isotropic(errors: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mean spectrum of fields `(S, n)`, averaged over rings of waves, with mean 1."""
    power = (abs(np.fft.fft2(errors.reshape(-1, *shape))) ** 2).mean(0)
    k = np.hypot(*np.meshgrid(*(n * np.fft.fftfreq(n) for n in shape), indexing="ij"))
    ring = np.rint(k).astype(int)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    power = mean[ring]
    power = np.maximum(power / power.mean(), FLOOR)
    return power / power.mean()
