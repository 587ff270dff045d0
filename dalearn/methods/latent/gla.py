"""Generalised latent assimilation: a local polynomial in the place of decode - operate - encode.

    y = H(decode(z)) + e,  or  c(y) = c(H(decode(z))) + e  where the data have a coder c,
    P(z) ~ this operator in a box around the background,   min_z J(z) with P.

Its place is an operator without a derivative: a table, a threshold, compiled code. Where
automatic differentiation takes the operator, Latent(method, coder) needs fewer calls of it. An
iterative ensemble, Latent(IEnKS(40, lag=0), coder), needs no derivative either: see
`python -m benchmarks.latent` for both.

Cheng et al., Generalised latent assimilation in heterogeneous reduced spaces with machine learning
surrogate models, J. Sci. Comput. 94, 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from ...array import (
    Array,
    array_namespace,
    check_between,
    check_count,
    no_grad,
    shown,
    to_numpy,
    typed,
    warn,
)
from ...covariances.base import Covariance
from ...problem.like import ProblemLike
from ...problem.observe import Observation, identity
from ..base import Cycle
from ..variational.gauss_newton import GaussNewton
from ..variational.var3d import Var3D
from ..variational.var4d import Var4D
from .inside import LatentProblem, decoded_cycles
from .latent import Latent
from .observed import Decoded, Encoded
from .surrogate import Fit

POOR = 0.5  # standard deviations of the data: errors of a fit that are no longer small


class PoorFit(UserWarning):
    """A polynomial that is not the operator near the analysis."""


@typed
@dataclass(frozen=True, eq=False)
class GLA:
    """A variational method in a coder's space, with a local polynomial for the operator.

    The polynomial is fitted by least squares in the control v of the method, z = z_b + v L^T with
    B = L L^T, at a Latin hypercube of samples |v_i| < box; for Var4D it is of H(M(z)), the model
    included, which then needs no derivative either. Its features are (c + degree)! / (c! degree!)
    of c numbers, 153 for degree 2 of 16. Up to its degree an operator is found exactly. The errors
    of samples that are left out of the fit count as errors of the data, beside R. With `outer` the
    box moves to the analysis and takes the shape of its uncertainty: see `surrogate`.

    `info` of a result has, beside the method's own, the errors of the last fit as a root mean
    square in standard deviations of the data: `error_box`, of each sample left out, and
    `error_here`, at the analysis. Where that is more than 0.5, a PoorFit warning. The cost is that
    of the operator itself with R alone; an analysis whose cost is above that of the box's centre
    is not taken.

    Args:
        method: Var3D or Var4D, with GaussNewton as its solver, which gets the exact derivative of
            the polynomial.
        coder: the Coder of states.
        degree: of the polynomial, at least 1.
        box: half the width of the box, in standard deviations of B.
        samples: as a multiple of the features, at least 1; 2.5 or more for errors near those of
            the best polynomial.
        outer: how often the polynomial is fitted: again around the last analysis. 2 where B is a
            third of the climatological deviations, 3 or 4 where B is as large as these, come to
            the errors that a derivative has, or below: see error_here.
        seed: of the Latin hypercube, which is the same in all boxes.
        hidden: units of a network of one layer that learns what the polynomials leave, 0 for none;
            every fifth sample judges it. It wants many samples for the features of a low degree.
            Needs torch.
        model: a latent model `(..., r) -> (..., r)`, as in Latent.
        steps: calls of `model` before each observation, an integer or one for each.
        noise: the Covariance of the latent model's error after each call, its variances, or None.
        observe: "decoded", data as they are; or Encoded(c, R_c), or a pair (c, R_c): data through
            a coder of their own, beside c(H(decode(z))) unless Encoded has another operator.

    Raises:
        TypeError: for a method or a solver of another kind, and as Latent.
        ValueError: for a setting out of its range, among them fewer samples than features; for an
            encoder of sequences; when run, for more features than fit into memory.

    Cheng et al., J. Sci. Comput. 94, 2023.
    """

    method: Any
    coder: Any
    _: KW_ONLY
    degree: int = 2
    box: float = 1.5
    samples: float = 2.5
    outer: int = 1
    seed: int = 0
    hidden: int = 0
    model: Callable | None = None
    steps: int | Sequence[int] = 1
    noise: Covariance | Array | None = None
    observe: Any = "decoded"

    def __post_init__(self):
        if not isinstance(self.method, (Var3D, Var4D)):
            raise TypeError(
                f"GLA minimises a cost: wanted the method Var3D or Var4D, met {shown(self.method)}"
            )
        if not isinstance(self.method.solver, GaussNewton):
            raise TypeError(
                "GLA has the derivative of a polynomial at hand: wanted a method whose solver is "
                f"GaussNewton, met {shown(self.method.solver)}"
            )
        inner = self._latent
        object.__setattr__(self, "noise", inner.noise)
        object.__setattr__(self, "observe", inner.observe)
        if isinstance(self.observe, Encoded) and self.observe.sequence:
            raise ValueError(
                "observe must be an encoder of the data of one time, which encodes H(decode(z)), "
                f"met {shown(self.observe)} with sequence=True"
            )
        check_count("degree", self.degree, 1, 20)
        check_between("box", self.box, 0, 1e6, open_low=True)
        check_between("samples", self.samples, 0, 1e6, open_low=True)
        if self.samples < 1:
            raise ValueError(
                "samples must be at least 1, as many as the features of the polynomial, met "
                f"{self.samples:g}: fewer do not determine it; 2.5 is good"
            )
        check_count("outer", self.outer, 1, 1000)
        check_count("seed", self.seed, 0, np.inf)
        check_count("hidden", self.hidden, 0, 10_000)

    @property
    def _latent(self) -> Latent:
        more = {n: getattr(self, n) for n in ("model", "steps", "noise", "observe")}
        return Latent(self.method, self.coder, **more)

    def inside(self, problem: ProblemLike) -> LatentProblem:
        """The problem that the inner method is given.

        Args:
            problem: a validated Problem, or another ProblemLike.

        Returns:
            The problem of codes; its `decoded(belief)` takes beliefs back.

        Raises:
            ValueError, TypeError: as `Latent.inside`.
        """
        found = self._latent.inside(problem)
        encoded = found.observe
        if encoded is None or encoded.operator is not identity:
            return found
        return Heterogeneous(problem, found.coder, found.prior, found.dynamics, encoded)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The cycles of the inner method, their beliefs decoded; PoorFit is warned of at the end.

        Args:
            problem: the problem of states.
            rng: Streams over its batch.

        Returns:
            One Cycle for each observation time.
        """
        with no_grad(problem.like):
            inside = self.inside(problem)
        settings = self.degree, self.box, self.samples, self.outer, self.seed, self.hidden
        method = replace(self.method, solver=Fit(self.method.solver, *settings))
        errors, undefined = [], 0
        for cycle in decoded_cycles(method, inside, rng):
            here, box, size = (
                to_numpy(cycle.info[n]) for n in ("error_here", "error_box", "cost_background")
            )
            known = np.isfinite(to_numpy(cycle.forecast.mean)).all(-1)
            good = known & np.isfinite(here)
            undefined += int((known & (np.isnan(box) | ~good & np.isfinite(size))).sum())
            errors.append(here[good])
            yield cycle
        self._warn(np.concatenate(errors), undefined)

    def _warn(self, errors: np.ndarray, undefined: int) -> None:
        poor = errors > POOR
        if undefined:
            warn(
                f"the operator gave NaN or infinity in the box, or at the minimum, of {undefined} "
                f"fits of GLA, which have no analysis; wanted a box of less than {self.box:g} "
                "standard deviations, several of them, outer = 3, as each is half as wide where "
                "that happens, or an operator that is defined everywhere",
                PoorFit,
            )
        if poor.any():
            warn(
                f"polynomials of degree {self.degree} err by up to {errors.max():.2g} standard "
                f"deviations of the data at {int(poor.sum())} of {len(errors)} analyses, wanted "
                f"{POOR:g} at most: a higher degree, a smaller box, or one that moves, outer = "
                f"{self.outer + 1}; see error_here in the result",
                PoorFit,
            )


@dataclass(frozen=True, eq=False)
class Recoded:
    """An operator from codes of states to codes of data: z -> c(H(decode(z))).

    Args:
        operator: H o decode.
        encode: c, data `(..., m) -> (..., p)`.
        seen: which data are there, `(..., m)`, for an encoder of data with gaps; None: all.
    """

    operator: Callable
    encode: Callable
    seen: Array | None = None

    def __call__(self, z: Array) -> Array:
        y = self.operator(z)
        if self.seen is None:
            return self.encode(y)
        xp = array_namespace(y)
        code = self.encode(xp.where(self.seen[..., None, :], y, float("nan")))
        return xp.where(code == code, code, xp.zeros_like(code))


@dataclass(frozen=True, eq=False)
class Heterogeneous(LatentProblem):
    """The problem of codes whose data have a coder of their own."""

    def at(self, k: int) -> tuple[Observation, Array]:
        """The observing system between the two spaces, and the code of the data."""
        observe, code = super().at(k)
        whole = self.problem.at(k)[0]
        encoded: Any = self.observe
        seen = whole.noise.seen if encoded.gaps else None
        between = Recoded(Decoded(whole.operator, self.coder), encoded.encode, seen)
        return replace(observe, operator=between), code
