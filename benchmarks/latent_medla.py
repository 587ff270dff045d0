"""Part of `benchmarks.latent`: multi-domain latent assimilation beside what needs no shared space.

Burgers: the truth on 128^2 points, data of a coarse run on 32^2 with errors of sigma sqrt|x|, the
background four frames old. All that learns has seen the same runs, with errors of all sizes up to
0.45 unless said otherwise; B and R are estimated on validation runs at the same sigma.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from dalearn.array import Purpose, generator
from dalearn.cases import medla
from dalearn.cases import medla_burgers as burgers
from dalearn.methods.latent.pairs import code_errors

from .common import Report
from .latent_medla_rivals import Coded, networks_of_both, ridge, upsampled

PUBLISHED = 0.04, 1e-4
REPEATS, STATES = 5, 60


@dataclass(frozen=True, eq=False)
class Way:
    """A way to an analysis: data as codes, a coder, and B and R or none.

    Args:
        name: of the row.
        net: what encodes and decodes, and encodes data.
        gain: "published", "estimated", or "data" for the data alone.
    """

    name: str
    net: Any
    gain: str

    def analysis(self, y: Any, b: Any, K: Any) -> Any:
        """States `(N, n)` from data and the codes of backgrounds."""
        with torch.no_grad():
            z = self.net.encode_observation(y)
            return self.net.decode(z if K is None else b + (z - b) @ K)


def gain_of(way: Way, sigma: float, valid: Any) -> Any:
    """K transposed, `(r, r)`, or None for the data alone."""
    if way.gain == "data":
        return None
    r = way.net.r
    if way.gain == "published":
        B, R = PUBLISHED
        return B / (B + R) * torch.eye(r)
    y = medla.disturbed("burgers", valid.data, sigma, 2)
    every = (v[:, ::2] for v in (valid.states, y, valid.background))
    B, R = (C.matrix() for C in code_errors(way.net, *every))
    return torch.from_numpy(np.linalg.solve(B + R, B)).float()


@cache
def trained_without_errors(quick: bool) -> tuple[Way, ...]:
    """The published recipe: exact data in training."""
    net = medla.fitted("burgers", noise=False, epochs=10 if quick else medla.EPOCHS).net
    return (
        Way("MEDLA trained without errors, published gain", net, "published"),
        Way("MEDLA trained without errors, B and R estimated", net, "estimated"),
    )


@cache
def ways() -> tuple[Way, ...]:
    """What needs no further training of a network: the shipped ones, interpolation, ridge."""
    train, valid = (burgers.pairs(part) for part in ("train", "validation"))
    net = medla.trained("burgers")
    lines = (("cubic up-sampling", "bicubic"), ("linear up-sampling", "bilinear"))
    up = {name: Coded(net, upsampled(mode)) for name, mode in lines}
    found = [
        Way("MEDLA, published gain", net, "published"),
        Way("MEDLA, B and R estimated", net, "estimated"),
        Way("MEDLA, data alone", net, "data"),
        *(Way(f"{n}, published gain", c, "published") for n, c in up.items()),
        *(Way(f"{n}, B and R estimated", c, "estimated") for n, c in up.items()),
    ]
    pod = ridge(train, valid, 40)
    found += [
        Way("POD-40 and ridge, data alone", pod, "data"),
        Way("POD-40 and ridge, B and R estimated", pod, "estimated"),
    ]
    return tuple(found)


def relative(x: Any, truth: Any) -> np.ndarray:
    """|x - truth|^2 and |truth|^2 of each state, `(2, N)`."""
    return torch.stack((((x - truth) ** 2).sum(-1), (truth**2).sum(-1))).double().numpy()


def pooled(squares: np.ndarray) -> np.ndarray:
    """The relative error of all states of each repeat, of squares `(repeats, 2, N)`."""
    return np.sqrt(squares[:, 0].sum(-1) / squares[:, 1].sum(-1))


def over_runs(squares: np.ndarray, runs: np.ndarray, other: np.ndarray | None = None) -> str:
    """The error over all repeats, or its difference to another's, with 95 % over the test runs."""
    rng, names = generator(Purpose.TEST, 31), np.unique(runs)
    by_run = [
        [s[:, :, runs == k].sum((0, 2)) for k in names] for s in (squares, other) if s is not None
    ]
    sums = np.array(by_run)  # (1 or 2, runs, 2)
    pick = np.concatenate(
        (np.arange(len(names))[None], rng.integers(len(names), size=(4000, len(names))))
    )
    error = np.sqrt(sums[:, pick, 0].sum(-1) / sums[:, pick, 1].sum(-1))
    value = error[0] if other is None else error[0] - error[1]
    low, high = np.quantile(value[1:], (0.025, 0.975))
    sign = "" if other is None else "+"
    return f"{value[0]:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


@cache
def test_states() -> tuple[Any, np.ndarray]:
    """Two frames of each test run: truth, exact data and background, and the runs' numbers."""
    test, rng = burgers.pairs("test"), generator(Purpose.TEST, 32)
    S, T = test.states.shape[:2]
    runs = np.repeat(np.arange(S), STATES // S)
    at = np.concatenate([rng.choice(T, STATES // S, replace=False) for _ in range(S)])
    return burgers.Pairs(*(v[runs, at] for v in (test.states, test.data, test.background))), runs


def errors(sigma: float, repeats: int, analysis: Callable) -> np.ndarray:
    """Squares `(repeats, 2, N)`; each repeat draws other errors, the same for all ways."""
    test = test_states()[0]
    x = torch.from_numpy(test.states)
    found = []
    for k in range(repeats):
        y = medla.disturbed("burgers", test.data, np.float32(sigma), 1000 + k)
        found.append(relative(analysis(torch.from_numpy(y)), x))
    return np.stack(found)


def table(report: Report, quick: bool) -> None:
    """The published figure: error against sigma, with the shipped networks, and up-sampling."""
    told(report, ways(), {}, 2 if quick else REPEATS)


def rivals(report: Report, quick: bool) -> None:
    """The same with networks that are trained here: without errors, or of both inputs at once."""
    told(
        report, ways() + trained_without_errors(quick), networks_of_both(quick), 2 if quick else 50
    )


def told(report: Report, ways: tuple[Way, ...], others: dict[str, Any], repeats: int) -> None:
    """Errors of all against sigma, and differences to MEDLA."""
    valid, (test, runs) = burgers.pairs("validation"), test_states()
    b, x = torch.from_numpy(test.background), torch.from_numpy(test.states)
    squares: dict[str, list[np.ndarray]] = {}
    others = {"linear up-sampling, no codes": lambda _, y: upsampled("bilinear")(y)} | others
    for sigma in burgers.LEVELS:
        for way in ways:
            K = gain_of(way, sigma, valid)
            with torch.no_grad():
                code = way.net.encode(b)
            found = errors(sigma, repeats, lambda y, w=way, c=code, K=K: w.analysis(y, c, K))
            squares.setdefault(way.name, []).append(found)
        for name, net in others.items():
            found = errors(sigma, repeats, lambda y, net=net: net(b, y))
            squares.setdefault(name, []).append(found)
    net = medla.trained("burgers")
    with torch.no_grad():
        floor, start = (over_runs(relative(v, x)[None], runs) for v in (net(x), b))
    report.section(
        "Burgers: relative error of the analysis against sigma",
        f"{len(x)} states of {len(np.unique(runs))} test runs, {repeats} draws of the errors, the "
        "same for all. In brackets the middle 95 % over the test runs, bootstrapped.",
        ("method", *(f"sigma {s:g}" for s in burgers.LEVELS)),
    )
    report.row("background, no assimilation", *[start] * len(burgers.LEVELS))
    report.row("floor of the codes, E then D", *[floor] * len(burgers.LEVELS))
    for name, found in squares.items():
        report.row(name, *(over_runs(s, runs) for s in found))
    report.section(
        "Burgers: differences to MEDLA with B and R estimated",
        "The same draws, in pairs: error of the method less that of MEDLA. Positive: MEDLA is "
        "better. With the published gain, less that of MEDLA with the published gain.",
        ("method", *(f"sigma {s:g}" for s in burgers.LEVELS)),
    )
    for name, found in squares.items():
        gain = "published gain" if "published" in name else "B and R estimated"
        base = squares[f"MEDLA, {gain}"]
        if found is not base:
            both = zip(found, base, strict=True)
            report.row(name, *(over_runs(s, runs, t) for s, t in both))


def seeds(report: Report, quick: bool) -> None:
    """MEDLA with B and R estimated, trained with other seeds."""
    count, repeats = (2, 2) if quick else (5, 10)
    valid, test = burgers.pairs("validation"), test_states()[0]
    b = torch.from_numpy(test.background)
    report.section(
        "Burgers: five trainings",
        f"MEDLA with B and R estimated; {repeats} draws of the errors.",
        ("seed", *(f"sigma {s:g}" for s in burgers.LEVELS)),
    )
    all_of = []
    for seed in range(1, count + 1):
        net = medla.fitted("burgers", seed, epochs=10 if quick else medla.EPOCHS).net
        way = Way("", net, "estimated")
        with torch.no_grad():
            code = net.encode(b)
        row = []
        for sigma in burgers.LEVELS:
            K = gain_of(way, sigma, valid)
            found = errors(sigma, repeats, lambda y, K=K, w=way, c=code: w.analysis(y, c, K))
            row.append(float(pooled(found).mean()))
        all_of.append(row)
        report.row(seed, *(round(v, 4) for v in row))
    spread = np.std(all_of, axis=0, ddof=1)
    report.row("standard deviation", *(round(float(v), 4) for v in spread))


def leak(report: Report, quick: bool) -> None:
    """Even frames of the test runs in the training, odd ones in the test."""
    train, test = burgers.pairs("train"), burgers.pairs("test")
    report.section(
        "Burgers: leakage",
        "Relative error of a POD and of a ridge regression from exact data, on the odd frames of "
        "the test runs: trained on other runs, or on the even frames of the same runs.",
        ("trained on", "runs", "POD-15 floor", "POD-40 floor", "ridge to POD-40"),
    )
    odd = burgers.Pairs(test.states[:, 1::2], test.data[:, 1::2], test.background[:, 1::2])
    even = burgers.Pairs(test.states[:, ::2], test.data[:, ::2], test.background[:, ::2])
    one = burgers.Pairs(*(v[:1] for v in (even.states, even.data, even.background)))
    first = burgers.Pairs(*(v[:1] for v in (odd.states, odd.data, odd.background)))
    for name, learned, judged in (
        ("other runs", train, odd),
        ("even frames of the test runs", even, odd),
        ("even frames of the one test run", one, first),
    ):
        x = torch.from_numpy(judged.states).flatten(0, 1)
        y = torch.from_numpy(judged.data).flatten(0, 1)
        row = []
        for r in (15, 40):
            count = min(r, learned.states[..., 0].size - 1)
            net = ridge(learned, judged, count, noise=False)
            row.append(medla.relative(net.decode(net.encode(x)), x))
        row.append(medla.relative(net.decode(net.encode_observation(y)), x))
        report.row(name, len(learned.states), *row)
    report.after(
        "One run has 11 even frames, so that its PODs have 10 modes. The ridge is the best on the "
        "frames that it is judged by, in each row."
    )


SECTIONS = {"medla": table, "medla_rivals": rivals, "medla_seeds": seeds, "medla_leak": leak}
