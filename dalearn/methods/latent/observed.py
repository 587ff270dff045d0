"""How data are compared with codes: H(decode(z)) beside y, or z beside the code of y.

    y = H(decode(z)) + e,  e ~ N(0, R)          observe="decoded", the default: exact for any gaps;
    c(y) = h(z) + e,       e ~ N(0, R_c)        Encoded(c, R_c): the data have an encoder c.

R_c is not R: it holds the error of the encoder too, and is estimated on held-out data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...array import Array, array_namespace, is_array, is_module, is_tensor, library, typed
from ...covariances.base import Covariance
from ...covariances.given import as_covariance
from ...problem.like import ProblemLike
from ...problem.observe import Observation, identity


@typed
@dataclass(frozen=True, eq=False)
class Encoded:
    """Data through an encoder, with an error covariance of their codes: c(y) = h(z) + e.

    Args:
        encode: c, data `(..., m) -> (..., p)`, each row alone.
        noise: R_c, the Covariance of dimension p of the codes' errors, or their variances,
            estimated on held-out data.
        operator: h, codes of states `(..., r) -> (..., p)`; by default the same numbers, p = r.
        gaps: whether c takes data with NaN where nothing was observed. NaN in its result then
            means that this number of the code is not observed.
        sequence: whether c takes the data of all times at once, `(..., K, m) -> (..., K, p)`, as a
            network with a memory does; what it says of a time may come from earlier ones only.

    Raises:
        TypeError: for an encoder or an operator that is no function.
        ValueError: for a noise without positive variances.
    """

    encode: Callable
    noise: Covariance | Array
    operator: Callable = identity
    gaps: bool = False
    sequence: bool = False
    observation: Observation = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(
            self, "noise", as_covariance(self.noise, "the noise of codes", definite=True)
        )
        if self.noise.singular:  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError("the noise of codes must have positive variances, and an inverse")
        object.__setattr__(self, "observation", Observation(self.operator, self.noise))

    def at(self, problem: ProblemLike, k: int, codes: dict[int, Any]) -> tuple[Observation, Array]:
        """The observing system of codes, and the code `(..., p)` of the data at observation k.

        Args:
            problem: the ProblemLike whose data they are.
            k: the observation time.
            codes: what has been encoded already, for an encoder of sequences.

        Returns:
            The Observation, its noise masked where nothing was seen, and the code without NaN.

        Raises:
            ValueError: for gaps in data whose encoder takes none, and codes of a wrong size.
            TypeError: for codes of another library.
        """
        observe, y = problem.at(k)
        seen = observe.noise.seen
        code = (
            self._sequence(problem, codes)[..., k, :] if self.sequence else self._code(y, seen, k)
        )
        xp = array_namespace(code)
        known = xp.isfinite(code) if self.gaps else None
        if seen is not None:
            some = xp.any(seen, axis=-1, keepdims=True)
            known = some | (code != code) if known is None else some & known
        if known is None or bool(xp.all(known)):
            return self.observation, code
        observation = Observation(self.operator, self.noise.masked(known))
        return observation, xp.where(known, code, xp.zeros_like(code))

    def _filled(self, y: Array, seen: Array | None, k: int) -> Array:
        """The data as the encoder takes them; a time without any is not asked for its code."""
        if seen is None:
            return y
        xp = array_namespace(y, seen)
        if self.gaps:
            return xp.where(seen, y, float("nan"))
        part = xp.any(seen, axis=-1) & ~xp.all(seen, axis=-1)
        if bool(xp.any(part)) or (self.sequence and not bool(xp.all(seen))):
            raise ValueError(
                f"the data at time {k} have gaps, which their encoder does not take; wanted "
                'observe="decoded", which masks them, or Encoded(..., gaps=True) with an encoder '
                "of data with NaN"
            )
        return y

    def _code(self, y: Array, seen: Array | None, k: int) -> Array:
        y = self._filled(y, seen, k)[..., None, :]
        return self._checked(self.encode(self._arrays(y)), y)[..., 0, :]

    def _sequence(self, problem: ProblemLike, codes: dict[int, Any]) -> Array:
        if 0 not in codes:
            rows = []
            for k in range(len(problem)):
                observe, y = problem.at(k)
                rows.append(self._filled(y, observe.noise.seen, k))
            if len({y.shape[-1] for y in rows}) > 1:
                raise ValueError(
                    f"an encoder of sequences wants the same data at each time, met "
                    f"{sorted({y.shape[-1] for y in rows})} numbers; wanted one that takes each "
                    "time alone, or data padded with NaN"
                )
            xp = array_namespace(*rows)
            lead = max((tuple(y.shape) for y in rows), key=len)
            y = xp.stack([xp.broadcast_to(y, lead) for y in rows], axis=-2)
            codes[0] = self._checked(self.encode(self._arrays(y)), y)
        return codes[0]

    def _arrays(self, y: Array) -> Array:
        if is_module(self.encode) and not is_tensor(y):
            raise TypeError(
                "the encoder of data is a torch module but the problem holds NumPy arrays; wrap "
                "it as Surrogate(module), or give the prior as a torch tensor"
            )
        return y

    def _checked(self, code: Any, y: Array) -> Array:
        if not is_array(code) or library(code) != library(y) or code.dtype != y.dtype:
            met = f"{library(code)} {getattr(code, 'dtype', '')}"
            raise TypeError(
                f"the encoder of data returned {met} for {library(y)} {y.dtype}; wanted the same"
            )
        wanted = (*y.shape[:-1], self.noise.n)
        if tuple(code.shape) != wanted:
            raise ValueError(
                f"the encoder of data returned shape {tuple(code.shape)} for data "
                f"{tuple(y.shape)}, wanted {wanted}: the dimension of its noise"
            )
        return code


@dataclass(frozen=True, eq=False)
class Decoded:
    """An operator of states as one of codes: z -> H(decode(z)).

    Args:
        operator: H, states `(..., n) -> (..., m)`.
        coder: the Coder.
    """

    operator: Callable
    coder: Any

    def __call__(self, z: Array) -> Array:
        return self.operator(self.coder.decode(z))
