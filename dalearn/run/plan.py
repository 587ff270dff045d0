"""What to compute: the arguments of `simulate`, checked, and the steps of some trajectories."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from ..array import (
    Array,
    Purpose,
    Streams,
    array_namespace,
    as_floats,
    broadcasts,
    convert,
    convert_tree,
    is_array,
    is_module,
    is_tensor,
    normal,
    seed_array,
    to_numpy,
)
from ..covariances.base import Covariance
from ..covariances.given import as_covariance
from ..files.fingerprint import describe, digest, entries
from ..problem.checks import check_kind

FORMAT = 2  # of the request: what another version writes is not gone on with

NUMBERS = 2**23  # of the states in a block, 64 MB in double precision

ROWS = 4096  # trajectories in a block: enough for arrays of small states to be fast


def check_dtype(name: str, dtype: Any) -> np.dtype:
    """`dtype`, of NumPy or torch or a name, as NumPy's; TypeError unless it is a float."""
    kind = str(dtype).removeprefix("torch.")
    kind = kind if str(dtype) != kind else np.dtype(dtype).name
    if kind not in ("float16", "float32", "float64"):
        raise TypeError(f"{name} must be float16, float32 or float64, met {dtype}")
    return np.dtype(kind)


def plan_of(
    model: Any, x0: Any, steps: int, every: int, shape: Any, noise: Any, seed: Any, swept: Any
) -> Plan:
    """The arguments of `simulate`, checked."""
    check_kind("model", model)
    x0 = as_floats(x0, "x0", axes=("...", "x"))
    check_dtype("x0", x0.dtype)
    if is_module(model) and not is_tensor(x0):
        raise TypeError(
            "a torch module wants x0 as a torch tensor; or wrap it as Surrogate(module)"
        )
    core = getattr(model, "shape", None) if shape is None else shape
    core = tuple(core) if isinstance(core, (tuple, list)) and core else tuple(x0.shape[-1:])
    if not core or tuple(x0.shape[-len(core) :]) != core:
        wanted = ", ".join(map(str, core)) or "n"
        raise ValueError(
            f"x0 has shape {tuple(x0.shape)}, wanted (..., {wanted}); shape= is that of one state"
        )
    lead, n = tuple(x0.shape[: -len(core)]), math.prod(core)
    noise = as_covariance(noise, "noise", n)
    if noise is not None and (noise.n != n or not broadcasts(noise.batch, lead)):
        raise ValueError(
            f"noise has dimension {noise.n} and batch axes {noise.batch}, wanted {n}, the numbers "
            f"of one state, and axes that broadcast to x0's leading ones {lead}"
        )
    seeds = seed_array(seed)
    if seeds.ndim and seeds.size != math.prod(lead):
        raise ValueError(f"met {seeds.size} seeds, wanted {math.prod(lead)}: one per trajectory")
    swept = (swept,) if isinstance(swept, str) else swept
    missing = sorted(set(swept or ()) - set(_arrays(model)))
    if missing:
        raise ValueError(
            f"swept names {', '.join(missing)}, but the arrays among the parameters of "
            f"{type(model).__name__} are {', '.join(_arrays(model)) or 'none'}"
        )
    return Plan(model, x0, core, lead, steps, every, noise, seeds, swept)


def _settings(model: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(model) and not is_module(model):
        yield from ((f.name, getattr(model, f.name)) for f in fields(model) if f.init)


def _arrays(model: Any) -> list[str]:
    """Names of the arrays among the settings of a model, and of the models it holds."""
    own = [name for name, value in _settings(model) if is_array(value)]
    return own + [name for _, value in _settings(model) for name in _arrays(value)]


@dataclass(frozen=True, eq=False)
class Plan:
    """What to compute: everything but where it goes."""

    model: Any
    x0: Array
    core: tuple[int, ...]
    lead: tuple[int, ...]
    steps: int
    every: int
    noise: Covariance | None
    seeds: np.ndarray
    swept: Sequence[str] | None

    @property
    def times(self) -> int:
        return self.steps // self.every + 1

    @property
    def count(self) -> int:
        return math.prod(self.lead)

    @property
    def stochastic(self) -> bool:
        return bool(getattr(self.model, "stochastic", False))

    def request(self) -> dict[str, str]:
        """What decides the states, in words."""
        rows = max(1, 2**18 // max(1, math.prod(self.core)))
        blocks = (self.block(i, rows) for i in range(0, self.count, rows))
        x0 = digest(to_numpy(self.initial(block)) for block in blocks)
        random = self.stochastic or self.noise is not None
        return {
            "format": str(FORMAT),
            **entries("model", self.model),
            "x0": f"{tuple(self.x0.shape)} {str(self.x0.dtype).removeprefix('torch.')} {x0}",
            "shape": str(self.core),
            "steps": str(self.steps),
            "every": str(self.every),
            **entries("noise", self.noise),
            "seed": describe(self.seeds.tolist()) if random else "none",
        }

    def rows(self) -> int:
        """Trajectories in a block, if nobody says: all blocks about the same."""
        most = max(1, min(NUMBERS // max(1, math.prod(self.core)), ROWS))
        return max(1, math.ceil(self.count / max(1, math.ceil(self.count / most))))

    def block(self, start: int, rows: int) -> range:
        """The trajectories from `start`, `rows` of them if there are so many."""
        return range(start, min(start + rows, self.count))

    def initial(self, block: range) -> Array:
        """Their initial states `(b, *core)`, a copy."""
        x0 = self.x0 if self.lead else self.x0[None]
        return x0[self._index(self.lead or (1,), block)]

    def streams(self, block: range) -> Streams | None:
        """Their random numbers, if there are any."""
        if not self.stochastic and self.noise is None:
            return None
        each = self.seeds.ravel().tolist()
        seeds = [each[b] if self.seeds.ndim else each[0] + b for b in block]
        return Streams(Purpose.SIMULATION, seeds, (len(block),))

    def step(self, block: range, rng: Streams | None) -> Callable:
        """One step of these trajectories, `(b, *core) -> (b, *core)`."""
        model, noise = convert_tree(self._cut(self.model, block), self.x0), self.noise
        if noise is not None:
            noise = noise[self._index(noise.batch, block)] if noise.batch else noise
            noise = convert_tree(noise, self.x0)
        drawn, n = (rng,) if self.stochastic else (), math.prod(self.core)

        def step(x: Array) -> Array:
            y = self._call(model, x, drawn)
            if noise is None:
                return y
            q = noise.color(normal(rng, (1, n), x))  # rows on their own: a block changes no bits
            return y + array_namespace(x).reshape(q, tuple(x.shape))

        return step

    def _call(self, model: Callable, x: Array, drawn: tuple) -> Array:
        try:
            y = model(x, *drawn)
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            kinds = (ValueError, TypeError, IndexError, RuntimeError)
            kind = next(k for k in kinds if isinstance(error, k))
            raise kind(f"the model failed {self._where(x)}: {error}") from error
        alike = is_array(y) and is_tensor(y) is is_tensor(x)
        if not alike or tuple(y.shape) != tuple(x.shape):
            raise ValueError(
                f"the model returned {type(y).__name__} {np.shape(y)} {self._where(x)}"
            )
        if y.dtype != x.dtype:
            raise TypeError(f"the model made {x.dtype} into {y.dtype} {self._where(x)}")
        return y

    def _where(self, x: Array) -> str:
        one = (*self.lead, *(1,) * self._axes)
        return (
            f"on {len(x)} of {self.count} trajectories, an array {tuple(x.shape)}; it must take "
            "any (b, *shape) and keep shape and dtype. (A parameter with one value for "
            f"each has the shape {one}; others that go over trajectories are named in swept=)"
        )

    # --- parameters with one entry for each trajectory ------------------------------------------

    @property
    def _axes(self) -> int:
        """Axes of a parameter of one trajectory: those of one component of a field."""
        return len(self.core) if len(self.core) < 3 else len(self.core) - 1

    def _index(self, shape: tuple[int, ...], block: range) -> tuple[Array, ...]:
        """The index of a block in leading axes `shape` that broadcast to x0's."""
        lead = self.lead or (1,)
        where = np.unravel_index(np.arange(block.start, block.stop), lead)[-len(shape) :]
        return tuple(
            convert(i * (size > 1), self.x0) for i, size in zip(where, shape, strict=True)
        )

    def _cut(self, model: Any, block: range) -> Any:
        """The model with the parameters of these trajectories."""
        if len(self.lead) < 2 and len(block) == self.count:
            return model
        cut = {}
        for name, value in _settings(model):
            if is_array(value):
                head = self._head(name, tuple(value.shape))
                new = value[self._index(head, block)] if head else value
            else:
                new = self._cut(value, block)
            if new is not value:
                cut[name] = new
        return replace(model, **cut) if cut else model

    def _head(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The leading axes of a parameter that go over trajectories, () if none do."""
        if self.swept is not None:
            head = shape[: len(self.lead)] if name in self.swept else ()
            if name in self.swept and (
                len(head) < len(self.lead) or not broadcasts(head, self.lead)
            ):
                raise ValueError(
                    f"{name}, named in swept, has shape {shape}; wanted leading axes that "
                    f"broadcast to x0's {self.lead}"
                )
            return head
        head, tail = shape[: -self._axes], shape[-self._axes :]
        if math.prod(tail) != 1 or math.prod(head) == 1 or not broadcasts(head, self.lead):
            return ()
        if head == self.core[: -self._axes]:
            raise ValueError(
                f"{name} has shape {shape}: one value for each trajectory, or for each component? "
                f"x0 has {self.lead} and {head} of them; name it in swept=, or pass swept=()"
            )
        return head
