"""Parts of `benchmarks.score`: how the settings were chosen, on truths of their own."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

from dalearn.cases.score_filters import arctan_ring, flames
from dalearn.methods.ensemble.inflation import RTPP, RTPS, Adaptive
from dalearn.methods.score.ensf import linear_damping

from .common import Report
from .score_setups import (
    FINAL,
    TOLD,
    VALIDATION,
    Setting,
    enff,
    enkf,
    ensf,
    label,
    letkf,
    own,
    ring,
    root,
    scores,
    told,
    undamped,
)

INFLATIONS = (1.02, 1.05, 1.1, 1.2, 1.3, RTPS(0.2), RTPS(0.5), RTPS(0.8), RTPP(0.5))
ESTIMATED = (Adaptive(1.05), Adaptive(1.05, drift=0.05))
EPS = ((0.5, 0.0125), (0.5, 0.025), (0.5, 0.05), (0.3, 0.025), (0.7, 0.025))
SIGMA_MIN, GUIDANCE = (0.02, 0.05), (0.025, 0.05, 0.1)
FINALISTS, OTHERS = 2, 8


def doubting(best: Setting) -> list[Setting]:
    """The same method that takes the errors for larger."""
    return [Setting(best.method, k) for k in (1.5, 3.0) if k != best.doubt]


def classical(
    n: int, radii: Any, inflations: Any = INFLATIONS, doubts: Any = (1.0,)
) -> dict[str, list[Setting]]:
    """LETKF, LETKF with adaptive inflation, localized EnKF."""
    return {
        "LETKF": [letkf(n, *c) for c in product(radii, inflations, doubts)],
        "LETKF, adaptive": [letkf(n, *c) for c in product(radii[:2], ESTIMATED, doubts)],
        "EnKF, localized": [enkf(n, *c) for c in product(radii[:2], inflations, doubts)],
    }


def flowing() -> dict[str, list[Setting]]:
    """EnSF and EnFF where everything is observed."""
    pairs = list(product(SIGMA_MIN, GUIDANCE))
    return {
        "EnSF": [ensf(*e) for e in EPS],
        "EnSF, flow": [ensf(*e, flow=True) for e in EPS[:3]],
        "EnFF F2P": [enff(*p) for p in pairs],
        "EnFF OT": [enff(*p, coupling="OT", steps=20) for p in pairs],
    }


def sparse(n: int) -> dict[str, list[Setting]]:
    """EnSF where a part is observed, without and with regression."""
    inflations = (1.0, 1.03, 1.1, RTPS(0.3), RTPS(0.6))
    made = [ensf(regression=ring(n, r), inflation=i) for r, i in product((2, 3, 5), inflations)]
    return {
        "EnSF": [ensf(*e) for e in EPS[1:4]],
        "EnSF, regression": made,
    }


def chosen(
    report: Report,
    what: str,
    make: Any,
    kinds: dict[str, list[Setting]],
    truths: int,
    quick: bool,
    others: int = OTHERS,
) -> dict[str, Setting]:
    """A grid on a few truths, its best four on more; the table, and the best of each kind."""
    grid, final = make(seed=VALIDATION, batch=truths), make(seed=FINAL, batch=others)
    report.section(
        f"Tuning, {what}",
        f"RMSE of the second half on validation truths: those with the least mean over {truths} "
        f"truths, of as many as are named, and these on {others} others; then the best with a "
        "larger R. The least mean of those is taken (bold).",
        ("kind", "settings", f"mean of {truths}", *TOLD),
    )
    found = {}
    for kind, settings in kinds.items():
        settings = settings[:2] if quick else settings
        first = sorted(
            ((float(scores(grid, s)["rmse"].mean()), k) for k, s in enumerate(settings)),
        )[:FINALISTS]
        told_of = [(settings[k], e, scores(final, settings[k])) for e, k in first]
        best = min(told_of, key=lambda t: t[2]["rmse"].mean())
        if kind.startswith(("LETKF", "EnKF")) and others > 1 and not quick:
            told_of += [(s, None, scores(final, s)) for s in doubting(best[0])]
            best = min(told_of, key=lambda t: t[2]["rmse"].mean())
        found[kind] = best[0]
        for s, e, r in told_of:
            name = f"**{label(s)}**" if s is best[0] else label(s)
            few = None if e is None else float(f"{e:.3g}")
            report.row(f"{kind} ({len(settings)})", name, few, *told(r))
    return found


def tuning_ring(every: int, report: Report, quick: bool) -> None:
    """The ring, with all, a half or a quarter observed."""
    make = partial(arctan_ring, 30 if quick else 150, every=every)
    radii = {1: (3, 5), 2: (2, 4, 8), 4: (2, 4)}[every]
    grid: Any = ((1.05, 1.2, RTPS(0.5), RTPP(0.5)), (1.0, 3.0)) if every == 4 else ()
    kinds = flowing() if every == 1 else sparse(100)
    share = {1: "all", 2: "a half", 4: "a quarter"}[every]
    kinds = kinds | classical(100, radii, *grid)
    chosen(report, f"arctan of {share} of the ring, n = 100", make, kinds, 2, quick)


def tuning_repair(report: Report, quick: bool) -> None:
    """Finer grids for EnSF with regression; and in units of the ensemble's own spread."""
    eps, radii, relaxed = ((0.5, 0.035), (0.7, 0.05)), (2, 3), (0.1, 0.2, 0.3)
    made = [
        ensf(*e, regression=ring(100, r), inflation=RTPS(a))
        for e, r, a in product(eps, radii, relaxed)
    ]
    units = list(product((0.5, 0.7), (linear_damping, root, undamped), (0.1, 0.3, 0.5)))
    for every, share in ((1, "all"), (2, "a half"), (4, "a quarter")):
        make = partial(arctan_ring, 30 if quick else 150, every=every)
        near = {} if every == 1 else {"regression": ring(100, 2)}
        spread = [own(a, damping=h, inflation=RTPS(f), **near) for a, h, f in units]
        kinds = {"EnSF, own spread": spread} | ({"EnSF, regression": made} if near else {})
        what = f"regression, arctan of {share} of the ring, n = 100"
        chosen(report, what, make, kinds, 2, quick)


def tuning_flames(report: Report, quick: bool) -> None:
    """Kuramoto-Sivashinsky, n = 1024."""
    make = partial(flames, 20 if quick else 100)
    pairs = list(product((0.01, 0.03), (0.005, 0.01, 0.02)))
    kinds = {
        "EnSF": [ensf(0.5, b) for b in (0.001, 0.003, 0.01, 0.025)],
        "EnFF F2P": [enff(*p) for p in pairs],
        "EnFF OT": [enff(*p, coupling="OT", steps=20) for p in pairs],
    }
    chosen(report, "Kuramoto-Sivashinsky, n = 1024, identity", make,
           kinds | classical(1024, (8, 16), (1.02, 1.05)), 1, quick, others=1)  # fmt: skip
