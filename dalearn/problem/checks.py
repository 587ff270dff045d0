"""The one-time check of a problem, before any cycle: one bad shape here, none later."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import (
    Operator,
    array_namespace,
    broadcasts,
    is_array,
    is_module,
    library,
    no_grad,
    streams,
)
from .border import unwrapped
from .states import check_state


def check_problem(problem: Any) -> None:
    """Raise on the first thing in `problem` that could go silently wrong later."""
    n, K, m = problem.n, len(problem), problem.observation.m
    like = problem.like
    check_state(like, "the prior", axes=1)
    if array_namespace(like).finfo(like.dtype).bits not in (32, 64):
        raise TypeError(
            f"the prior has dtype {like.dtype}, wanted float32 or float64: linear algebra knows "
            "no other"
        )
    try:
        batch = problem.batch
    except ValueError:
        raise ValueError(
            f"batch axes differ: the prior's {tuple(problem.prior.mean.shape[:-1])} and the "
            f"data's {tuple(problem.data.shape[:-2])}; wanted shapes that broadcast"
        ) from None
    if problem.shape and int(np.prod(problem.shape)) != n:
        raise ValueError(
            f"shape {problem.shape} holds {int(np.prod(problem.shape))} numbers but the prior's "
            f"state has {n}; flatten fields into the last axis of the prior"
        )
    moving = getattr(problem.observation, "observations", None)
    if moving is not None and len(moving) != K:
        raise ValueError(
            f"Moving holds {len(moving)} observations, wanted {K}: one per observation time"
        )
    if problem.data.shape[-1] != m:
        raise ValueError(
            f"data have {problem.data.shape[-1]} numbers at each time (shape "
            f"{tuple(problem.data.shape)}) but the observation noise {m}; wanted (..., {K}, {m})"
        )
    truth = problem.truth
    if truth is not None and not _fits(tuple(truth.shape), (*batch, K, n)):
        raise ValueError(
            f"truth has shape {tuple(truth.shape)}, wanted (..., {K}, {n}) with leading axes that "
            f"broadcast to the batch {batch}"
        )
    if problem.noise is not None and problem.noise.n != n:
        raise ValueError(
            f"the model noise has dimension {problem.noise.n}, wanted the state's {n}"
        )
    _check_batch("model noise", problem.noise, batch)
    len(problem.time)  # a model.dt that is no number shows here, not after the run
    check_model(problem, "the model")
    xp, known = array_namespace(like), {}
    for k in range(K):
        observe = problem._observe(k)
        if id(observe) not in known:
            known[id(observe)] = observe
            _check_batch("observation noise", observe.noise, batch)
            check_call(observe.operator, problem, "the observation operator", observe.m)
            if not problem._complete[k] and bool(xp.any(problem._seen)):
                problem.at(k)  # a covariance that cannot mask says so
        if observe.m < m and bool(xp.any(problem._seen[..., k, observe.m :])):
            raise ValueError(
                f"data at time {k} hold more than the {observe.m} numbers observed then; wanted "
                f"NaN from column {observe.m} on"
            )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether `shape` is `wanted`, up to broadcasting in all but its last two axes."""
    return len(shape) > 1 and shape[-2:] == wanted[-2:] and broadcasts(shape, wanted)


def _check_batch(name: str, cov: Any, batch: tuple[int, ...]) -> None:
    if cov is not None and not broadcasts(cov.batch, batch):
        raise ValueError(
            f"the {name} has batch axes {cov.batch}, wanted axes that broadcast to {batch}"
        )


def check_kind(name: str, value: Any, *kinds: type) -> None:
    """Raise TypeError unless `value` is of one of `kinds`; of no kind: a callable, not a class."""
    if kinds and not isinstance(value, kinds):
        wanted = ", ".join(k.__name__ for k in kinds)
        raise TypeError(f"the {name} must be one of {wanted}, met {type(value).__name__}")
    if not kinds and (not callable(value) or isinstance(value, type)):
        raise TypeError(
            f"the {name} must be a callable, met {value!r}; wanted a function or an instance such "
            "as Lorenz96()"
        )


def one_each(steps: Any, K: int) -> list[int]:
    """`steps`, a positive integer or one per observation, as K integers; else ValueError."""
    counts = np.asarray(steps)
    if counts.dtype.kind not in "iu" or counts.shape not in ((), (K,)) or (counts < 1).any():
        raise ValueError(
            f"steps must be a positive integer or one per observation ({K} of them), met {steps!r}"
        )
    return np.broadcast_to(counts, (K,)).tolist()


def check_model(problem: Any, name: str) -> None:
    """`check_call` for the problem's model, stochastic or not."""
    if not problem.stochastic:
        return check_call(problem.step, problem, name, problem.n)
    _check_module(problem.model, problem.like, name)
    rng = streams(1, 0, problem.batch)  # thrown away: the run's own numbers stay as they are
    rows = array_namespace(problem.like).concat(_two_rows(problem), axis=-2)
    before = rows + 0.0
    with no_grad(rows):
        out = _call(lambda x: problem.carry(x, rng), rows, problem.shape, name, problem.n)
    _check_pure(rows, before, out[..., :1, :], name)


def check_call(f: Operator, problem: Any, name: str, width: int) -> None:
    """Call `f` on two rows around the prior's mean and compare what comes back with the contract.

    Caught: another library, dtype or shape; input written in place; NaN; and rows that change
    each other (a roll without an axis, batch normalisation in training mode).
    """
    xp = array_namespace(problem.like)
    _check_module(f, problem.like, name)
    a, b = _two_rows(problem)
    rows = xp.concat((a, b), axis=-2)
    before = rows + 0.0
    with no_grad(rows):
        both, *single = (_call(f, x, problem.shape, name, width) for x in (rows, a, b))
    _check_pure(rows, before, single[0], name)
    alone = xp.concat(single, axis=-2)
    size = float(xp.max(xp.where(xp.isfinite(alone), xp.abs(alone), 0.0)))
    slack = 1e4 * float(xp.finfo(rows.dtype).eps)  # libraries may sum rows in another order
    same = (both == alone) | (xp.abs(both - alone) <= slack * max(size, 1e-300))
    if not bool(xp.all(same | (xp.isnan(both) & xp.isnan(alone)))):
        raise ValueError(
            f"{name} gives a row another value when a second row stands beside it; wanted each "
            "row on its own and no randomness (roll along axis=-1? module.eval()? a stochastic "
            "model says so, stochastic = True, and is called with rng)"
        )


def _two_rows(problem: Any) -> tuple[Any, Any]:
    """The prior's mean, and the mean plus its standard deviation, each `(..., 1, n)`."""
    xp = array_namespace(problem.like)
    mean, std = problem.prior.mean, problem.prior.std
    shape = (*problem.batch, problem.n)
    apart = xp.where(std > 0, std, 0.01 * (1 + xp.abs(mean)))  # a Point has no spread of its own
    a = xp.broadcast_to(mean, shape)[..., None, :] + 0.0
    b = xp.broadcast_to(mean + apart, shape)[..., None, :] + 0.0
    return a, b


def _check_pure(rows: Any, before: Any, first: Any, name: str) -> None:
    """Raise where the input was written into, or the image of the prior's mean is not finite."""
    xp = array_namespace(rows)
    if not bool(xp.all(rows == before)):
        raise ValueError(f"{name} wrote into its input; wanted a pure function (copy first)")
    if not bool(xp.all(xp.isfinite(first))):
        raise ValueError(f"{name} returned NaN or infinity at the prior's mean; wanted numbers")


def _call(f: Operator, rows: Any, shape: tuple[int, ...], name: str, width: int) -> Any:
    """f(rows), of the library, dtype and shape of `rows` (but `width` wide), or an error."""
    met = f"(b, {', '.join(map(str, shape))})" if shape else str(tuple(rows.shape))
    hint = (
        f"{name} failed on an array of shape {met}; it must take any leading axes (..., n), or "
        "(b, *shape) where the problem has a field shape"
    )
    try:
        out = f(rows)
    except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        kinds = (ValueError, TypeError, IndexError, AttributeError, RuntimeError)
        kind = next(k for k in kinds if isinstance(error, k))
        raise kind(f"{hint}: {error}") from error
    except Exception as error:
        error.add_note(hint)
        raise
    if not is_array(out) or library(out) != library(rows):
        raise TypeError(
            f"{name} returned {library(out)} for a {library(rows)} array; the prior's library "
            "decides: write it with that library's (or array-API) operations"
        )
    if out.dtype != rows.dtype:
        raise TypeError(
            f"{name} changed the dtype from {rows.dtype} to {out.dtype}; wanted it kept: "
            "convert its constants, or give the prior that dtype"
        )
    wanted = (*rows.shape[:-1], width)
    if tuple(out.shape) != wanted:
        raise ValueError(
            f"{name} returned shape {tuple(out.shape)} for rows {tuple(rows.shape)}, wanted "
            f"{wanted}; it must act on the last axis and keep the others"
        )
    return out


def _check_module(f: Any, like: Any, name: str) -> None:
    """A torch module must be in a torch problem, of its dtype and device, and not training."""
    f = unwrapped(f)
    if is_module(f) and library(like) != "torch":
        raise TypeError(
            f"{name} is a torch module but the prior is a NumPy array; wrap it as "
            "Surrogate(module), or give the prior as a torch tensor"
        )
    for p in f.parameters() if is_module(f) else ():
        dtype = p.dtype.to_real() if p.is_complex() else p.dtype  # spectral weights are complex
        if (p.is_floating_point() or p.is_complex()) and (dtype, p.device) != (
            like.dtype,
            like.device,
        ):
            raise TypeError(
                f"{name} holds {p.dtype} on {p.device} but the prior is {like.dtype} on "
                f"{like.device}; wanted the same: module.to(prior) or prior.to(module)"
            )
    net: Any = f
    while not is_module(net) and hasattr(net, "module"):  # inside a Surrogate or a History
        net = net.module
    for kind in ("Dropout", "BatchNorm") if is_module(net) else ():
        noisy = [s for s in net.modules() if s.training and kind in type(s).__name__]
        if noisy:
            raise ValueError(
                f"{name} is in training mode with {type(noisy[0]).__name__}; call module.eval() "
                "first"
            )
