"""Formulas of proper scores: of ensembles, of densities, of two moments; see proper.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array, typed, unbiased
from .scores import gaps_as_nan


@typed
def energy_score_ensemble(members: Array, truth: Array, weights: Array | None = None) -> Any:
    """Energy score of an ensemble of states: the CRPS with distances between states, fair.

        mean_i |x_i - y| - sum_{i<j} |x_i - x_j| / (N (N - 1)),  |.| the Euclidean norm.

    With weights sum_i w_i |x_i - y| - sum_{i<j} w_i w_j |x_i - x_j| / (1 - sum_i w_i^2).

    Args:
        members: x_i `(..., N, n)`, at least 2.
        truth: y `(..., n)`.
        weights: `(..., N)`, which sum to 1; equal where None.

    Returns:
        The score `(...)`, in the units of the state.

    Raises:
        ValueError: fewer than 2 members.

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, J. Am.
    Stat. Assoc. 102, 2007; fair: Ferro, Q. J. R. Meteorol. Soc. 140, 2014.
    """
    x, y = (np.asarray(gaps_as_nan(a), float) for a in (members, truth))
    N, norm = x.shape[-2] if x.ndim > 1 else 0, np.linalg.norm
    if N < 2:
        raise ValueError(
            f"the energy score needs at least 2 members, met {x.shape}; wanted (..., N, n)"
        )
    w = np.full(x.shape[:-1], 1 / N) if weights is None else np.asarray(weights, float)
    near = (w * norm(x - y[..., None, :], axis=-1)).sum(-1)
    pairs = sum(
        (w[..., s:] * w[..., :-s] * norm(x[..., s:, :] - x[..., :-s, :], axis=-1)).sum(-1)
        for s in range(1, N)
    )
    return near - pairs * unbiased(w)[..., 0]


@typed
def log_score_gaussian(
    mean: Array, std: Array, truth: Array, members: int | None = None
) -> np.ndarray:
    """Logarithmic score of N(mean, s^2), elementwise: minus the log density of what came true.

        log s + log(2 pi) / 2 + z^2 / 2,   z = (truth - mean) / s.

    Where mean and s are those of N members of a Gaussian law, N > 3, the fair score of that law is

        log s + log(2 pi) / 2 + (N - 3) z^2 / (2 (N - 1)) - 1 / (2 N)
          + (log((N - 1) / 2) - psi((N - 1) / 2)) / 2.

    Args:
        mean: of the forecast.
        std: its standard deviation s >= 0; where it is 0 the score is infinite, below 0 at the
            mean.
        truth: what came true; the three broadcast.
        members: N, of which mean and s are taken; None for a law that is known.

    Returns:
        The score, in nats.

    Raises:
        ValueError: for a standard deviation below 0, and for 3 members or fewer.

    Source: Gneiting and Raftery, J. Am. Stat. Assoc. 102, 2007; fair: Siegert, Ferro, Stephenson
    and Leutbecher, The ensemble-adjusted ignorance score for forecasts issued as normal
    distributions, Q. J. R. Meteorol. Soc. 145, 2019.
    """
    mean, std, truth = (np.asarray(gaps_as_nan(a), float) for a in (mean, std, truth))
    if (std < 0).any():
        raise ValueError(f"std must be >= 0, met {np.nanmin(std):.3g}")
    factor, more = fair(members, 1)
    error, point = truth - mean, std == 0
    s = np.where(point, 1.0, std)
    score = np.log(s) + np.log(2 * np.pi) / 2 + factor * (error / s) ** 2 / 2 + more / 2
    return np.where(point & np.isfinite(error), np.where(error == 0, -np.inf, np.inf), score)


def fair(N: int | None, n: int) -> tuple[float, float]:
    """What makes (z C^-1 z^T, log |C|) of N members unbiased: a factor, and a number to add.

    E log |C| = log |S| + sum_i psi((N - i) / 2) + n log(2 / (N - 1)),  i = 1 ... n,  and
    E z C^-1 z^T = (N - 1) / (N - n - 2) (e S^-1 e^T + n / N),  C drawn about S (Wishart's law).
    """
    if N is None:
        return 1.0, 0.0
    if n + 2 >= N:
        raise ValueError(
            f"the fair score of {n} components needs more than {n + 2} members, met {N}; select "
            "components, as in result.sel(x=[0, 1])"
        )
    from scipy.special import psi

    size = psi((N - np.arange(1, n + 1)) / 2).sum() + n * np.log(2 / (N - 1))
    return (N - n - 2) / (N - 1), -n / N - float(size)


def two_moments(error: np.ndarray, C: np.ndarray, members: int | None = None) -> np.ndarray:
    """log |C| + e C^-1 e^T of errors `(..., n)` and C `(..., n, n)`; NaN for a singular C.

    `members`: of which mean and C were taken; then the fair score.
    """
    factor, more = fair(members, error.shape[-1])
    one = np.eye(error.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        s = np.diagonal(C, axis1=-2, axis2=-1) ** 0.5
        e = error / s
        R = C / s[..., :, None] / s[..., None, :]  # correlations: no unit makes |C| overflow
        good = np.asarray(np.isfinite(R).all((-2, -1)) & np.isfinite(e).all(-1))
        sign, size = np.linalg.slogdet(np.where(good[..., None, None], R, one))
        good = good & (sign > 0)
        R = np.where(good[..., None, None], R, one)
        square = (e * np.linalg.solve(R, e[..., None])[..., 0]).sum(-1)
        score = 2 * np.log(s).sum(-1) + size + factor * square + more
    return np.where(good, score, np.nan)
