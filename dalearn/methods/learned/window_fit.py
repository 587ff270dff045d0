"""How a network of windows is trained on the experiments of a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...array import check_between, check_count, convert, is_module, shown, to_numpy
from ...covariances.base import Covariance
from ...problem.belief import Gaussian
from ...problem.border import change_parameters
from ...problem.like import in_library
from ...problem.problem import Problem
from ..latent.pairs import tell_shared
from .window_costs import WindowCost
from .window_data import windows_of


def fitted(
    net: Any,
    train: Problem,
    validation: Problem,
    *,
    at: int,
    reach: int | None,
    background: float,
    penalty: Callable | None,
    consistency: float,
    truth: Any,
    samples: int,
    hide: float,
    epochs: int,
    batch: int,
    rate: float,
    clip: float,
    checkpoint: Any,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """Train a network in place; the `steps` and `limits` of the method. See `Learned4DVar.fit`."""
    from ...neural.train import adam, cosine, fit

    if not is_module(net) or not hasattr(net, "scaled"):
        raise TypeError(f"net must be a WindowNet, met {shown(net)}")
    check_count("at", at, 0, net.times)
    reach = counted(reach, net.times, at)
    for name, value, most in (
        ("background", background, 1e12),
        ("consistency", consistency, 1e12),
    ):
        check_between(name, value, 0, most, open_low=False)
    check_between("hide", hide, 0, 1, open_low=False)
    check_between("rate", rate, 0, np.inf, open_low=True)
    check_count("samples", samples)
    if net.spread and consistency:
        raise ValueError("consistency is a distance of states, met a network with a spread")
    like = next(net.parameters())
    L = max(net.times, max(at, 1) - 1 + reach) if not consistency else net.times + reach
    told = [checked(p, net, L, name) for p, name in ((train, "train"), (validation, "validation"))]
    told = [in_library(p, like.detach()) for p in told]
    rows = [windows_of(p, like) for p in told]
    tell_shared(rows[0][0].flatten(1), rows[1][0].flatten(1))
    priors = [means(p, len(r[0])) for p, r in zip(told, rows, strict=True)]
    problem, B = told[0], covariance(told[0])
    std = problem.prior.std.reshape(-1, net.n).mean(0)
    if not bool((std > 0).all()):
        raise ValueError(
            "the prior gives the units of the state, met one without spread; wanted a Gaussian, "
            "such as the climatology, or members"
        )
    if (background or net.spread) and B is None:
        raise ValueError(
            f"the background counts, met a prior {type(problem.prior).__name__}; wanted a "
            "Gaussian with one covariance for all windows"
        )
    net.scaled(*(v[:, : net.times] for v in rows[0]), priors[0].mean(0), std)
    loss = WindowCost(
        step=problem.step,
        steps=[problem.steps_to(k) for k in range(L)],
        operators=[problem.at(k)[0].operator for k in range(L)],
        times=net.times,
        at=at,
        reach=reach,
        B=B,
        background=float(background),
        penalty=penalty,
        shape=tuple(problem.shape),
        consistency=float(consistency),
        scale=std,
        supervised=truth is not None,
        samples=samples,
        hide=float(hide),
    )
    states = [[convert(t, like)] for t in check_truth(truth, rows, net)] if truth else [[], []]
    data = [(*r, b, *t) for r, b, t in zip(rows, priors, states, strict=True)]
    fit(
        net,
        *data,
        loss=loss,
        epochs=epochs,
        batch=batch,
        optimiser=adam(rate),
        schedule=cosine(epochs),
        clip=clip,
        checkpoint=checkpoint,
        seed=seed,
        progress=progress,
    )
    return {"steps": tuple(loss.steps[: net.times]), "limits": limits(*rows[0], net.observed[0])}


def counted(reach: int | None, times: int, at: int) -> int:
    """How many observations count: all from the state on, unless given."""
    if reach is None:
        return times - max(at, 1) + 1
    check_count("reach", reach)
    return reach


def checked(problem: Problem, net: Any, length: int, name: str) -> Problem:
    """The problem, validated, or an error that says what does not fit."""
    problem = problem.validated()
    met = (len(problem), problem.observation.m, problem.n)
    if met != (length, net.m, net.n):
        raise ValueError(
            f"{name} must hold windows of {length} observations of {net.m} numbers, for states of "
            f"{net.n}, met {met[0]}, {met[1]} and {met[2]}"
        )
    model = problem.model
    if change_parameters(model, problem.batch, problem.n, lambda p, axes: p[...]) is not model:
        raise ValueError(
            f"the model of {name} has a parameter for each window, met "
            f"{type(model).__name__}; wanted one model"
        )
    return problem


def covariance(problem: Problem) -> Covariance | None:
    """B of the prior, or None where it has none for all windows."""
    prior = problem.prior
    return prior.cov if isinstance(prior, Gaussian) and not prior.cov.batch else None


def means(problem: Problem, count: int) -> Any:
    """The prior's mean for each window, `(S, n)`."""
    return problem.prior.mean.expand(*problem.batch, problem.n).reshape(count, -1)


def check_truth(truth: Any, rows: Any, net: Any) -> list[Any]:
    """True states of training and validation, or an error."""
    for part, (y, _) in zip(truth, rows, strict=True):
        if tuple(part.shape) != (len(y), net.n):
            raise ValueError(
                f"truth must be states ({len(y)}, {net.n}), one for each window, met "
                f"{tuple(part.shape)}"
            )
    return list(truth)


def limits(y: Any, p: Any, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The range of the seen data of each channel, and a quarter more on each side, `(m,)`."""
    m = y.shape[-1]
    y, seen = (to_numpy(v).reshape(-1, channels, m // channels) for v in (y, p > 0))
    low = np.where(seen, y, np.inf).min((0, 2)).repeat(m // channels)
    high = np.where(seen, y, -np.inf).max((0, 2)).repeat(m // channels)
    return low - (high - low) / 4, high + (high - low) / 4
