"""Models of fields, a part of `benchmarks.models`: shallow water, Kolmogorov flow and others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from dalearn.array import Array, uniform
from dalearn.models import (
    Advection,
    Burgers2D,
    Kolmogorov,
    Landscape,
    ShallowWater,
    Wildfire,
    fields,
)

from .common import Report, in_turn, ratio
from .limits import (
    Transforms,
    add,
    in_blocks,
    libraries,
    middle,
    over,
    passes,
    temporaries,
    timed,
)

# --- shallow water --------------------------------------------------------------------------

TERMS = {True: 6, False: 4}  # pressure gradients and flux divergences; with rotation, Coriolis


def waves(model: ShallowWater, batch: int, steps: int = 20) -> np.ndarray:
    """Tsunamis `(batch, 3, rows, columns)` some steps after their start."""
    length = model.dx * (model.cells[0] - 1)
    centres = np.random.default_rng(0).uniform(0.2 * length, 0.5 * length, (batch, 2))
    x = model.bump(centres, 0.05 * length)
    for _ in range(steps):
        x = model(x)
    return x


def shallow_water(report: Report, quick: bool) -> None:
    """A step, a trajectory, the grid, and what blocks for the cache buy."""
    report.section(
        "Shallow water, 150^2 (LD-EnSF)",
        "Milliseconds a step of the whole batch; `add`: one `add(out=)` on arrays of the batch's "
        "shape (b, 3, 150, 150). Terms: two pressure gradients, two flux divergences; rotation "
        "has two more. Target: at most 8.",
        ("rotation", "batch", "numbers", "library", "ms/step", "ms per member", "add ms",
         "step / (terms x add)", "range", "target"),
    )  # fmt: skip
    for rotating in (True, False):
        model = ShallowWater.ld_ensf(rotating=rotating)
        held = []
        for batch in (1, 20) if quick else (1, 20, 100):
            states = waves(model, batch)
            held.append(temporaries(model, states))
            for dtype in ("float64", "float32"):
                for name, x in libraries(states.astype(dtype)).items():
                    spent = timed({"step": partial(model, x), "add": add(x)}, quick)
                    limit = [TERMS[rotating] * s for s in spent["add"]]
                    ms = middle(spent["step"], 1e-3)
                    report.row(
                        "yes" if rotating else "no", batch, dtype, name, ms,
                        float(f"{ms / batch:.3g}"), middle(spent["add"], 1e-3),
                        *ratio(spent["step"], limit), 8,
                    )  # fmt: skip
        report.after(
            f"{'With' if rotating else 'Without'} rotation a step makes "
            f"{passes(model, waves(model, 1)):.1f} passes over the state; beside its argument it "
            f"holds {held[0]:.1f} states at one time, and {held[1]:.1f} in a batch of 20, which "
            "goes through it in blocks."
        )
    trajectories(report, 100 if quick else 2000)
    grids(report, quick)
    blocks(report, quick)


def trajectories(report: Report, steps: int) -> None:
    """One member, all its steps."""
    report.section(
        f"Shallow water, 150^2: one trajectory of {steps} steps",
        "CPU seconds, best and range of two, from the start. Target: less than 2 s.",
        ("rotation", "numbers", "library", "s", "range", "us/step", "target"),
    )

    def march(step: Callable, x: Array) -> None:
        for _ in range(steps):
            x = step(x)

    for rotating, dtype in ((True, "float64"), (False, "float64"), (True, "float32")):
        model = ShallowWater.ld_ensf(rotating=rotating)
        states = libraries(waves(model, 1, steps=0)[0].astype(dtype))
        sides = {name: partial(march, model, x) for name, x in states.items()}
        for name, seconds in in_turn(sides, 2).items():
            low, high = min(seconds), max(seconds)
            report.row(
                "yes" if rotating else "no", dtype, name, round(low, 2), f"{low:.2f}-{high:.2f}",
                round(low / steps * 1e6), 2,
            )  # fmt: skip


def grids(report: Report, quick: bool) -> None:
    """Linear in the cells."""
    report.section(
        "Shallow water against the grid",
        "One member, rotation, double precision; nanoseconds a step for each cell, which is three "
        "numbers. `add`: one `add(out=)` on the state.",
        ("grid", "library", "ms/step", "ns per cell", "add", "step / (6 x add)", "range"),
    )
    sizes = (32, 128) if quick else (32, 64, 128, 256, 512, 1024)
    sides: dict[str, Callable[[], Any]] = {}
    for n in sizes:
        model = ShallowWater.ld_ensf(n)
        for name, x in libraries(waves(model, 1)[0]).items():
            sides |= {f"{name} {n} step": partial(model, x), f"{name} {n} add": add(x)}
    spent = timed(sides, quick)
    for n in sizes:
        for name in ("NumPy", "torch"):
            step, one = spent[f"{name} {n} step"], spent[f"{name} {n} add"]
            report.row(
                f"{n}^2", name, middle(step, 1e-3), middle(step, 1e-9 * n**2),
                middle(one, 1e-9 * n**2), *ratio(step, [6 * s for s in one]),
            )  # fmt: skip


def blocks(report: Report, quick: bool) -> None:
    """Batches in blocks for the cache, and at once."""
    sizes = {f"2^{k}": 2**k for k in (13, 15, 17, 19)} | {"at once": 2**62}
    report.section(
        "Blocks for the cache",
        "A batch of 20, double precision: milliseconds a step of the batch with the default, "
        f"blocks of 2^{fields.STATE_BLOCK.bit_length() - 1} numbers of the state, then the time "
        "with other blocks divided by that (medians).",
        ("model", "library", "default ms", *sizes),
    )
    rng = np.random.default_rng(0)
    cases: dict[str, tuple] = {}
    for n in (64,) if quick else (64, 150, 256):
        model = ShallowWater.ld_ensf(n)
        cases[f"shallow water {n}^2"] = model, waves(model, 20)
    for n in (64,) if quick else (64, 128):
        model = Kolmogorov(n, dt=0.3 / n)
        cases[f"Kolmogorov {n}^2"] = model, model.random_flow(rng, (20,))
    for label, (model, x) in cases.items():
        for name, y in libraries(x).items():
            sides = {k: partial(in_blocks(model, size), y) for k, size in sizes.items()}
            spent = timed({"default": partial(model, y)} | sides, quick)
            others = (ratio(spent[k], spent["default"], 2)[0] for k in sizes)
            report.row(label, name, middle(spent["default"], 1e-3), *others)


# --- Kolmogorov -----------------------------------------------------------------------------


def kolmogorov(report: Report, quick: bool) -> None:
    """A step over its Fourier transforms."""
    report.section(
        "Kolmogorov flow against its Fourier transforms",
        "Double precision, milliseconds a step of the whole batch. `FFTs`: the transforms that "
        "the step executes, recorded and executed again on the same shapes, in the blocks of the "
        "model; or those of the whole batch at once. `planes`: how many, for each member.",
        ("grid", "batch", "library", "planes", "ms/step", "FFTs", "step / FFTs", "range", "target",
         "FFTs at once", "step / those", "range"),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for n in (64, 128) if quick else (64, 128, 256):
        model = Kolmogorov(n, dt=0.3 / n)
        for batch in (1, 20):
            for name, x in libraries(model.random_flow(rng, (batch,))).items():
                chunked, at_once = Transforms(model, x), Transforms(in_blocks(model), x)
                sides = {"step": partial(model, x), "FFTs": chunked, "at once": at_once}
                spent = timed(sides, quick)
                report.row(
                    f"{n}^2", batch, name, chunked.planes // batch, middle(spent["step"], 1e-3),
                    *over(1e-3, spent["step"], spent["FFTs"]), 2 if batch == 1 else 2.5,
                    *over(1e-3, spent["step"], spent["at once"]),
                )  # fmt: skip


# --- other fields ---------------------------------------------------------------------------


def others(report: Report, quick: bool) -> None:
    """Advection, Burgers in the plane, a wildfire: nanoseconds for each cell."""
    report.section(
        "Other fields",
        "Double precision; nanoseconds a step for each cell of each member. Limit: as many "
        "`add(out=)` on the states as the step makes passes, counted. Advection carries its own "
        "motion in the state, and a pass may be a gather. The limit of the wildfire is its random "
        "numbers.",
        ("model", "batch", "library", "ns per cell", "limit", "ns", "step / limit", "range"),
    )
    rng = np.random.default_rng(0)
    sizes = (64,) if quick else (64, 256)
    cases: list[tuple[str, Any, np.ndarray]] = []
    for order in (1, 3):
        for n in sizes:
            model = Advection((n, n), order=order)
            cases.append((f"advection {n}^2, order {order}", model, rng.normal(size=model.shape)))
    for n in sizes:
        model = Burgers2D.medla(n)
        cases.append((f"Burgers {n}^2", model, model.initial()))
    for n in sizes:
        fire = Wildfire.alexandridis(Landscape.synthetic((n, n)))
        cases.append((f"wildfire {n}^2", fire, rng.integers(2, 4, fire.shape).astype(float)))
    for label, model, start in cases:
        for batch in (1, 20):
            states = np.broadcast_to(start, (batch, *start.shape)).copy()
            unit = 1e-9 * batch * start.shape[-1] * start.shape[-2]
            burns = isinstance(model, Wildfire)
            count = 1 if burns else round(passes(model, states))
            for name, x in libraries(states).items():
                step = partial(model, x, rng) if burns else partial(model, x)
                limit = partial(uniform, rng, x) if burns else add(x)
                spent = timed({"step": step, "limit": limit}, quick)
                least = [count * s for s in spent["limit"]]
                report.row(
                    label, batch, name, middle(spent["step"], unit),
                    "drawing" if burns else f"{count} adds", *over(unit, spent["step"], least),
                )  # fmt: skip
