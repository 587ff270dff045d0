"""Part of `benchmarks.latent`: coders of scattered sensors, on clouds that stay and that differ.

The tsunamis of `cases.ld_ensf`, each component in units of its rms, seen at 200 of the 64 x 64
cells. Networks are trained five times; weights go to `runs/graph`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import t

from dalearn.array import Purpose, generator
from dalearn.models import POD

from .common import Report
from .latent_clouds import SENSORS, R, Seen, interpolation, lattice

SIDE = 32
SEEDS = {"dense": 5, "0": 5, "1": 3}  # trainings
RIDGES = tuple(10.0 ** np.arange(-8, 1))
KINDS = {"dense": "dense autoencoder", "0": "graph, no messages", "1": "graph, one round"}


def relative(gap: Any, x: Any) -> float:
    """|gap| / |x|, pooled, in per cent."""
    return 100 * float(np.linalg.norm(np.asarray(gap)) / np.linalg.norm(np.asarray(x)))


def told(values: list[float]) -> str:
    """The mean over trainings with half of its 95 % interval; or the one number there is."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.3g} -+ {half:.2g}"


def per_state(call: Callable[[], Any], count: int) -> float:
    """CPU microseconds of a state, the best of five calls of `count`."""
    best = np.inf
    for _ in range(5):
        begun = time.process_time()
        call()
        best = min(best, time.process_time() - begun)
    return round(1e6 * best / count, 1)


@torch.no_grad()
def one_cloud(report: Report, quick: bool) -> None:
    """All runs are seen by the same sensors."""
    seen = Seen(quick)
    train, test = seen.part("train").flatten(0, 1), seen.part("test").flatten(0, 1)
    report.section(
        f"A tsunami at the same {SENSORS} sensors in all runs",
        f"{3 * SENSORS} numbers a state; {len(test)} states of {len(seen.part('test'))} runs that "
        "nobody trained on; relative error of encoding and decoding, %; networks: mean over "
        "some trainings and its 95 % interval.",
        ("coder", "numbers", "floor, %", "trainings", "training, CPU s", "CPU us a state"),
    )
    for r in (R, 2 * R, 4 * R):
        begun = time.process_time()
        pod = POD.fit(train, r)
        spent = round(time.process_time() - begun, 1)
        floor = relative(pod.decode(pod.encode(test)) - test, test)
        speed = per_state(lambda p=pod: p.decode(p.encode(test)), len(test))
        report.row("POD of the sensors", r, told([floor]), 1, spent, speed)
    grid, back = (interpolation(seen.points[0], lattice(SIDE)), lattice(SIDE))
    back = interpolation(back, seen.points[0])
    for r in (R, 4 * R):
        pod = POD.fit(on(grid, train), r)
        found = on(back, pod.decode(pod.encode(on(grid, test))))
        report.row(
            "POD of interpolated fields", r, told([relative(found - test, test)]), 1, "", ""
        )
    for kind in ("dense", "0"):
        name, made = (
            KINDS[kind],
            [seen.trained(kind, s) for s in range(2 if quick else SEEDS[kind])],
        )
        floors = [relative(net(test) - test, test) for net, _ in made]
        speed = per_state(lambda n=made[0][0]: n(test), len(test))
        mean = round(np.mean([s for _, s in made]))
        report.row(name, R, told(floors), len(made), mean, speed)


def on(matrix: np.ndarray, x: torch.Tensor) -> torch.Tensor:
    """States `(..., 3 P)` at other places, by a matrix `(T, P)`."""
    return (x.unflatten(-1, (3, -1)) @ torch.from_numpy(matrix).mT).flatten(-2)


def least_squares(modes: Any, mean: Any, ridge: float, x: Any) -> Any:
    """Codes of what is seen of states, by modes `(r, m)` and a mean there: gappy POD."""
    gram = modes @ modes.mT
    size = gram.diagonal().mean() * ridge
    return torch.linalg.solve(gram + size * torch.eye(len(gram)), modes @ (x - mean).mT).mT


@torch.no_grad()
def own_clouds(report: Report, quick: bool) -> None:
    """Each run is seen by sensors of its own; fields between the sensors, too."""
    seen = Seen(quick, own=True)
    parts = seen.setup.split()
    report.section(
        f"A tsunami at {SENSORS} sensors, others in each run",
        "As above; field: the code decoded at all 64 x 64 cells, beside the field itself.",
        ("coder", "numbers", "floor, %", "field, %", "trainings", "training, CPU s"),
    )
    grids = [interpolation(p, lattice(SIDE)) for p in seen.points]
    train = torch.cat([on(grids[i], seen.states[i]) for i in parts.train])
    everywhere = interpolation(lattice(SIDE), lattice(64))

    def scored(code: Callable, at: Callable, which: Any = parts.test) -> tuple[float, float]:
        """Errors at the sensors and everywhere; `at(code, None)` is everywhere."""
        codes = [code(i, seen.states[i]) for i in which]
        there = torch.stack([at(z, i) for i, z in zip(which, codes, strict=True)])
        field = torch.stack([at(z, None) for z in codes])
        whole = torch.from_numpy(seen.fields[which]).flatten(-2)
        return relative(there - seen.states[which], seen.states[which]), relative(
            field - whole, whole
        )

    def none(i: int, x: Any) -> Any:
        return i, x

    def linear(z: Any, i: Any) -> Any:
        return z[1] if i is not None else on(interpolation(seen.points[z[0]], lattice(64)), z[1])

    report.row(
        "none, linear interpolation", 3 * SENSORS, *map(_round, scored(none, linear)), "", ""
    )
    unordered = POD.fit(seen.part("train").flatten(0, 1), R)
    found = unordered.decode(unordered.encode(seen.part("test")))
    alone = _round(relative(found - seen.part("test"), seen.part("test")))
    report.row("POD of the sensors", R, alone, "", 1, "")
    backs = [interpolation(lattice(SIDE), p) for p in seen.points]
    for r in (R, 2 * R, 4 * R):
        pod = POD.fit(train, r)

        def at(z: Any, i: Any, pod: Any = pod) -> Any:
            return on(everywhere if i is None else backs[i], pod.decode(z))

        def coded(i: int, x: Any, pod: Any = pod) -> Any:
            return pod.encode(on(grids[i], x))

        def fitted(ridge: float, pod: Any = pod) -> Any:
            def code(i: int, x: Any) -> Any:
                there = on(backs[i], torch.cat((pod.modes, pod.mean[None])))
                return least_squares(there[:-1], there[-1], ridge, x)

            return code

        report.row("POD of interpolated fields", r, *map(_round, scored(coded, at)), 1, "")
        best = min(RIDGES, key=lambda s: scored(fitted(s), at, parts.validation)[0])
        report.row("its modes, least squares", r, *map(_round, scored(fitted(best), at)), 1, "")
    for kind in ("0", "1"):
        made = [seen.trained(kind, s) for s in range(2 if quick else SEEDS[kind])]
        errors = []
        for net, _ in made:
            nets: dict[Any, Any] = {i: net.at(seen.points[i]) for i in parts.test}
            nets[None] = net.at(lattice(64))
            errors.append(
                scored(lambda i, x, n=nets: n[i].encode(x), lambda z, i, n=nets: n[i].decode(z))
            )
        both = (told(list(e)) for e in zip(*errors, strict=True))
        report.row(KINDS[kind], R, *both, len(made), round(np.mean([s for _, s in made])))


def _round(value: float) -> str:
    return f"{value:.3g}"


@torch.no_grad()
def missing(report: Report, quick: bool) -> None:
    """Sensors of the one cloud fail; all of them are wanted."""
    seen, clouds, count = Seen(quick), Seen(quick, own=True), 2 if quick else 5
    shares = (0.0, 0.5) if quick else (0.0, 0.25, 0.5, 0.75)
    report.section(
        f"Sensors that fail, among the same {SENSORS}",
        "Others in each run; relative error at all sensors, those that failed too, %, by the "
        "share that failed. Dense: what is missing is interpolated first.",
        ("coder", "numbers", *(f"{share:.0%} missing" for share in shares)),
    )
    points, parts = seen.points[0], seen.setup.split()
    train = seen.part("train").flatten(0, 1)
    rng = generator(Purpose.TEST, *b"graph")
    orders = np.stack([rng.permutation(SENSORS) for _ in seen.fields])

    def scored(share: float, found: Callable, which: Any = parts.test) -> float:
        back = []
        for i in which:
            left = np.sort(orders[i, round(share * SENSORS) :])
            x = seen.states[i].unflatten(-1, (3, -1))[..., left].flatten(-2)
            back.append(found(left, x))
        return relative(torch.stack(back) - seen.states[which], seen.states[which])

    def row(name: str, r: int, many: list[Callable]) -> None:
        report.row(name, r, *(told([scored(s, f) for f in many]) for s in shares))

    def filled(left: Any, x: Any) -> Any:
        return on(interpolation(points[left], points), x)

    row("none, linear interpolation", 3 * SENSORS, [filled])
    for r in (R, 2 * R, 4 * R):
        pod = POD.fit(train, r)

        def gappy(left: Any, x: Any, ridge: float, pod: Any = pod) -> Any:
            part = torch.cat((pod.modes, pod.mean[None])).unflatten(-1, (3, -1))[..., left]
            part = part.flatten(-2)
            return pod.decode(least_squares(part[:-1], part[-1], ridge, x))

        cells = []
        for share in shares:
            each = [lambda a, x, s=s: gappy(a, x, s) for s in RIDGES]
            best = min(each, key=lambda f, s=share: scored(s, f, parts.validation))
            cells.append(told([scored(share, best)]))
        report.row("POD, least squares", r, *cells)
    dense = [seen.trained("dense", s)[0] for s in range(count)]
    row(KINDS["dense"], R, [lambda a, x, n=n: n(filled(a, x)) for n in dense])
    for name, data in (("trained on this cloud", seen), ("trained on others", clouds)):
        nets = [data.trained("0", s)[0].at(points) for s in range(count)]
        many = [lambda a, x, n=n: n.decode(n.at(points[a]).encode(x)) for n in nets]
        row(f"graph, {name}", R, many)


def graph(report: Report, quick: bool) -> None:
    """Coders of scattered sensors."""
    for part in (one_cloud, own_clouds, missing):
        part(report, quick)


SECTIONS = {"graph": graph}
