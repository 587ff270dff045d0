"""Special functions of both array libraries: the normal law, and the gamma law."""

from __future__ import annotations

from typing import Any

from .library import Array, array_namespace, convert, is_tensor, to_numpy


def special(like: Array) -> Any:
    """The library of special functions for an array.

    Both have ndtr, ndtri, log_ndtr, gammaln, gammainc, gammaincc, digamma, xlogy and erf, and keep
    single precision.

    Args:
        like: an array.

    Returns:
        `scipy.special` or `torch.special`.
    """
    if is_tensor(like):
        import torch

        return torch.special
    import scipy.special  # pyright: ignore[reportMissingTypeStubs]

    return scipy.special


def probit(below: Array, above: Array) -> Array:
    """The standard normal quantile z with P(Z < z) = below and P(Z > z) = above.

    Both are given, so that far out on either side no digit is lost. They are kept away from 0 by
    the smallest normal number: z lies within 37.6 (in float32 within 13.1).

    Args:
        below: probabilities.
        above: 1 - below, of the same shape.

    Returns:
        The quantiles.
    """
    xp, f = array_namespace(below, above), special(below)
    tiny = float(xp.finfo(below.dtype).tiny)
    least = xp.where(below <= above, below, above)
    z = f.ndtri(xp.where(least < tiny, tiny + 0 * least, least))
    return xp.where(below <= above, z, -z)


def gamma_quantile(shape: Array, below: Array, above: Array) -> Array:
    """The quantiles of gamma laws of scale 1: x with P(X < x) = below and P(X > x) = above.

    Computed by SciPy, on the CPU and without derivatives, whatever the library.

    Args:
        shape: of the laws, above 0, broadcasts to `below`.
        below: probabilities.
        above: 1 - below, of the same shape.

    Returns:
        The quantiles, like `below`.
    """
    import scipy.special  # pyright: ignore[reportMissingTypeStubs]

    a, p, q = (to_numpy(v).astype(float) for v in (shape, below, above))
    low = p <= q
    x = scipy.special.gammaincinv(a, p * low) + scipy.special.gammainccinv(a, q * ~low + low)
    return convert(x, below)
