"""Many trajectories at once: training data that may be larger than memory, and long to make."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ..array import (
    Array,
    Bound,
    Model,
    array_namespace,
    check_count,
    convert,
    no_grad,
    to_numpy,
    typed,
    warn,
    where_ok,
)
from ..files.progress import progress_bar
from .opening import open_run
from .plan import Plan, check_dtype, plan_of
from .sidecar import Progress, Sidecar
from .trajectories import Layout, MemoryTarget


@typed
def simulate(
    model: Model,
    x0: Array,
    steps: int,
    *,
    every: int = 1,
    to: str | os.PathLike | None = None,
    shape: tuple[int, ...] | None = None,
    noise: Any = None,
    seed: int | Sequence[int] = 0,
    swept: str | Sequence[str] | None = None,
    dtype: Any = None,
    rows: int | None = None,
    checkpoint: Bound = 30.0,
    overwrite: bool = False,
    progress: bool = True,
) -> Any:
    """The states after 0, every, 2 every, ..., steps steps of the model, from many initial states.

        x <- M(x) + q,  q ~ N(0, Q)  at each step.

    Trajectories are run in blocks, one batched call of the model for each step of a block. With a
    path in `to` they go to a file that may be larger than memory and is resumable: called again
    with the same arguments, `simulate` goes on from the last checkpoint to the same bits, and
    computes nothing when the file is complete. How far it is, and its checksums, stand beside it
    in a small file whose name ends in .resume.npz. Each call reads what is there once and compares
    it with them; a file that is damaged is refused. (`numpy.load(path, mmap_mode="r")` reads
    without that.) One process at a time may write. What the model is, is known by its parameters
    and attributes, its code and what that uses in any file of yours; a warning names what cannot
    be seen into, and an attribute `fingerprint` of it, a text, then speaks for it.

        sw = da.ShallowWater.ld_ensf()
        x0 = sw.bump(rng.uniform(0, 5e5, (200, 2)))                       # (200, 3, 150, 150)
        states = da.simulate(sw, x0, 2000, every=40, to="tsunami.npy", dtype="float32")
        states.shape                                                      # (200, 51, 3, 150, 150)

    A trajectory of which a saved state is not finite is NaN from there on, and a warning says how
    many are; the others are not touched. There are no derivatives: see `trajectory`.

    Args:
        model: one time step. It sees `(b, *shape)`, b trajectories at a time. If it has
            `stochastic = True` it is called as `model(x, rng)`.
        x0: initial states `(..., *shape)`, NumPy or torch; runs on the device where x0 is.
        steps: how many, a multiple of `every`.
        every: steps between two states that are kept.
        to: None for an array in memory, of the library and on the device of x0; or a path that
            ends in .npy, or in .zarr (needs the package zarr).
        shape: of one state; the model's own `shape`, or else one axis, if None.
        noise: Q, of the flattened state; sigma^2 dt for dx = f dt + sigma dW, Euler-Maruyama.
        seed: trajectory b draws from a stream of its own, of `seed + b` (or the b-th of many).
        swept: names of the model's parameters that have one entry for each trajectory in their
            leading axes, which are x0's. If None: the arrays of shape `(..., 1)`, for fields
            `(..., 1, 1)`, whose leading axes broadcast to x0's.
        dtype: of the states that are kept, "float16", "float32" or "float64" (x0's). They are
            carried in that of x0.
        rows: trajectories in a block; if None, all in memory, and for files so many that a block's
            states are at most 64 MB in double precision.
        checkpoint: seconds between the moments from which a killed run can go on.
        overwrite: start again, over an array that is at the path; never over anything else.
        progress: a bar for runs of more than a few seconds, in steps of trajectories.

    Returns:
        `(..., times, *shape)`, times = steps / every + 1: an array, a read-only `numpy.memmap`,
        or a `zarr.Array`.

    Raises:
        ValueError: shapes and numbers that do not fit, or a file that answers another request, is
            damaged, or is being written by somebody else; the message names what differs.
        TypeError: a model or a dtype that cannot be used.
    """
    for name, n in (("steps", steps), ("every", every), ("rows", 1 if rows is None else rows)):
        check_count(name, n)
    if steps % every:
        raise ValueError(f"steps must be a multiple of every = {every}, met {steps}")
    if not isinstance(checkpoint, (int, float)) or not checkpoint >= 0:
        raise ValueError(f"checkpoint must be seconds, at least 0, met {checkpoint!r}")
    plan = plan_of(model, x0, int(steps), int(every), shape, noise, seed, swept)
    kept = check_dtype("dtype", plan.x0.dtype if dtype is None else dtype)
    layout = Layout(plan.lead, plan.times, plan.core, kept)
    if to is None:
        at = Progress(rows=rows or max(1, plan.count))
        opened = nullcontext((MemoryTarget(layout, plan.x0), at, None))
    else:
        request = {**plan.request(), "dtype": layout.dtype.name}
        opened = open_run(Path(to), layout, request, rows, plan.rows(), overwrite)
    with opened as (target, at, side):
        if not at.done:
            Run(plan, at, target, side, checkpoint).go(progress)
    if at.diverged:
        warn(
            f"{len(at.diverged)} of {plan.count} trajectories diverged, the first by step "
            f"{min(at.diverged.values())}; they are NaN from there on (a shorter dt?)",
            RuntimeWarning,
        )
    return target.result()


class Run:
    """The blocks of a plan, one after another, from wherever an earlier call left off.

    Nothing is saved when a run is interrupted: in the middle of a step, random streams may have
    moved on and the states not.

    Args:
        plan: what to compute.
        at: how far it is.
        target: where the states go.
        side: where the progress goes; None for a run in memory.
        seconds: between two savings.
    """

    def __init__(
        self, plan: Plan, at: Progress, target: Any, side: Sidecar | None, seconds: float
    ):
        self.plan, self.at, self.target, self.side = plan, at, target, side
        self.seconds, self.last = seconds, time.monotonic()

    def go(self, progress: bool) -> None:
        """Compute all that is missing."""
        plan, at = self.plan, self.at
        bar = progress_bar(
            progress=progress,
            total=plan.count * plan.steps,
            initial=at.start * plan.steps + at.step * len(plan.block(at.start, at.rows)),
            unit="step",
            unit_scale=True,
            delay=2.0,
            leave=False,
        )
        with bar, no_grad(plan.x0):
            while at.start < plan.count:
                self.block(plan.block(at.start, at.rows), bar)
            at.done = True
            self.save(None, None, 0.0)

    def block(self, block: range, bar: Any) -> None:
        """The steps that are left of one block."""
        plan, at = self.plan, self.at
        rng = plan.streams(block)
        x = self.keep(plan.initial(block)) if at.state is None else self.restored(rng)
        step = plan.step(block, rng)
        while at.step < plan.steps:
            x = step(x)
            at.step += 1
            if at.step % plan.every == 0:
                x = self.keep(x)
            bar.update(len(block))
            self.save(x, rng, self.seconds)
        at.start, at.step = block.stop, 0
        self.save(None, None, min(self.seconds, 1.0))

    def restored(self, rng: Any) -> Array:
        """The states in the middle of a block, and its random streams, as a file has them."""
        at = self.at
        x = convert(at.state, self.plan.x0)
        for generator, state in zip(rng.generators if rng else (), at.streams, strict=True):
            generator.bit_generator.state = state
        self.forget()
        return x

    def keep(self, x: Array) -> Array:
        """Put the states where they go; those that have diverged become NaN."""
        at, target = self.at, self.target
        xp = array_namespace(x)
        value = xp.astype(x, getattr(xp, target.layout.dtype.name), copy=False)
        for i in diverged_rows(value):
            at.diverged.setdefault(at.start + i, at.step)
        lost = [i - at.start for i in at.diverged if i >= at.start]
        if lost:  # also where a model makes numbers of NaN again
            alive = convert(~np.isin(np.arange(len(x)), lost), x)
            x, value = where_ok(alive, x), where_ok(alive, value)
        target.put(at.start, at.step // self.plan.every, value)
        return x

    def save(self, x: Any, rng: Any, wait: float) -> None:
        """Save all that is needed to go on, if the last time was `wait` seconds ago."""
        if self.side is None or time.monotonic() - self.last < wait:
            return
        at = self.at
        at.state, at.pending = (None if x is None else to_numpy(x)), self.target.pending
        at.streams = [g.bit_generator.state for g in rng.generators] if rng else []
        self.target.file.sync()
        self.side.save(at)
        self.forget()
        self.last = time.monotonic()

    def forget(self) -> None:
        """Drop the arrays that only a file needs."""
        self.at.state, self.at.pending, self.at.streams = None, None, []


def diverged_rows(x: Array) -> list[int]:
    """The rows of `x` that are not finite."""
    xp = array_namespace(x)
    if math.isfinite(float(xp.sum(x))):  # one pass; NaN and infinity survive any sum
        return []
    ok = xp.all(xp.reshape(xp.isfinite(x), (len(x), -1)), axis=-1)
    return np.flatnonzero(~to_numpy(ok)).tolist()
