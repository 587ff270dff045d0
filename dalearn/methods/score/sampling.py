"""What score and flow filters share: draws, weights of a mixture, and the walk along a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...array import Array, array_namespace, convert, is_array, normal, row_mean, shown
from ...problem.observe import Observation
from .likelihood import Each, MixedData, PointwiseData, spread

CACHED_NUMBERS = 2**17  # that are carried through all steps at once: a core's cache


def sampled(
    x0: Array,
    data: PointwiseData | MixedData | None,
    path: list[Any],
    rng: Any,
    centre: Callable[[Array, Any], Array] | None = None,
) -> Array:
    """Members led along the path; `centre(x, step)` gives what each is drawn to, None: x0."""
    x = draw(rng, x0)
    G, C = 0.0, Each(0.0)
    for step in path:
        if data is not None:
            G, C = data.pull(x)
        c = x0 if centre is None else centre(x, step)
        shares = step.shares(C)
        x = step.mean(x, c, G, shares)
        if not step.flow:
            x = x + step.noise(draw(rng, x0), shares)
    return x


def mixed(x0: Array, fit: Any, x: Array, step: Any) -> Array:
    """The mean of the members x0 under the weights of the mixture at each x, `(..., N, n)`.

    `fit (..., 1, N)` are the members' log-likelihoods, or 0.
    """
    s, t = step.schedule, step.t
    return shares(x, s.a(t) * x0, s.b2(t), fit) @ x0


def shares(x: Array, c: Array, variance: float, fit: Any = 0.0) -> Array:
    """Weights of the centres `c (..., N, n)` at each x, ~ exp(fit - |x - c_j|^2 / 2 variance)."""
    xp = array_namespace(x)
    far = x @ c.mT - 0.5 * xp.sum(c * c, axis=-1)[..., None, :]
    log_w = far / variance + fit
    w = xp.exp(log_w - xp.max(log_w, axis=-1, keepdims=True))
    return w / xp.sum(w, axis=-1, keepdims=True)


def check_members(E: Array, y: Array, observe: Observation) -> None:
    """Raise ValueError unless members and data have the shapes that belong together."""
    if E.ndim < 2 or 0 in E.shape or y.shape[-1:] != (observe.m,):
        raise ValueError(
            f"met E {tuple(E.shape)}, y {tuple(y.shape)} and an observation of {observe.m} "
            "numbers; wanted E (..., N, n) and y (..., m)"
        )


def turned(data: Any, observe: Observation, y: Array, E: Array) -> Any:
    """PointwiseData of angles: for each member near what it predicts; others as they are."""
    if observe.residual is None or not isinstance(data, PointwiseData):
        return data
    y, h = y[..., None, :], observe(E)
    rows = h + (y - observe.nearest(h, y))
    index = data.index
    return replace(data, y=rows if index is None else spread(rows, index, E.shape[-1]))


def unit(scale: Any, E: Array) -> Any:
    """The unit of the state: a float, an array like the members, their spread `(..., 1, n)`."""
    if not isinstance(scale, str):
        return convert(scale, E) if is_array(scale) else float(scale)
    xp, m = array_namespace(E), row_mean(E)
    s = (xp.sum((E - m) ** 2, axis=-2, keepdims=True) / (E.shape[-2] - 1)) ** 0.5
    told = xp.finfo(E.dtype)  # where members agree, a unit that moves nothing
    return xp.where(s > 0, s, float(told.eps) * xp.abs(m) + float(told.tiny) ** 0.5)


def draw(rng: Any, x: Array) -> Array:
    """Standard normal numbers of the shape of x."""
    if isinstance(rng, type) or not callable(getattr(rng, "normal", None)):
        raise TypeError(f"rng must be Streams or a numpy.random.Generator, met {shown(rng)}")
    return normal(rng, tuple(x.shape[-2:] if hasattr(rng, "batch") else x.shape), x)


def blocks(E: Array) -> list[slice]:
    """Components in blocks whose members fit a cache."""
    width = max(1, CACHED_NUMBERS // E.shape[-2])
    return [slice(i, i + width) for i in range(0, E.shape[-1], width)]
