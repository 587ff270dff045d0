"""Drawn fires as the background ensemble of a latent ETKF, beside fires of the automaton.

Section of `python -m benchmarks.latent`. A new fire burns on ground of the test; satellites saw it
twice, with wrong flags and under clouds. Where did it begin, and what will burn? A background are
fires from anywhere on this ground: the automaton's, or as many drawn ones as cost the same.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

import dalearn as da
from dalearn.array import Purpose, array_namespace, generator
from dalearn.cases import fire_maps, generated_fires, wildfire_flags
from dalearn.cases.fire_maps import STEPS, FireMaps

from .common import Report

COVER = 0.5  # share of the ground under clouds
SEEN, LEADS, NEVER = (12, 24), (24, 36, 48, 64), 100.0  # steps
FACTORS, MEMBERS, MODES, TRUTHS = (1.0, 10.0, 100.0, 1000.0), 40, 40, 5


@dataclass(frozen=True, eq=False)
class Flags:
    """Which cells have been reached at the times that are seen, between 0 and 1, from arrivals."""

    width: float = 2.0  # steps

    def __call__(self, x: Any) -> Any:
        xp = array_namespace(x)
        parts = [1 / (1 + xp.exp(xp.clip((x - t) / self.width, -30, 30))) for t in SEEN]
        return xp.concat(parts, axis=-1)


def flat(arrival: np.ndarray) -> np.ndarray:
    """Arrival times as states: never is NEVER."""
    return np.minimum(arrival, NEVER).reshape(len(arrival), -1).astype(np.float64)


def data(arrival: np.ndarray, seed: int) -> np.ndarray:
    """What satellites saw of fires, NaN under clouds, `(S, times h w)`."""
    burnt = [(arrival <= t).reshape(len(arrival), -1).astype(float) for t in SEEN]
    each = [wildfire_flags.seen(b, seed + i, cover=COVER) for i, b in enumerate(burnt)]
    return np.concatenate(each, axis=-1)


def scores(burnt: Any, truth: np.ndarray) -> np.ndarray:
    """|p - burnt| / |burnt| at the leads, `(S, leads)`; `burnt(t)` gives p at step t."""
    found = []
    for t in LEADS:
        y = (truth <= t).reshape(len(truth), -1).astype(float)
        p = np.asarray(burnt(t)).reshape(len(y), -1)
        found.append(np.linalg.norm(p - y, axis=-1) / np.linalg.norm(y, axis=-1))
    return np.stack(found, -1)


def analysed(members: np.ndarray, y: np.ndarray, factor: float) -> Any:
    """p(t) of the analysis of a latent ETKF."""
    N = len(members)
    pod = da.POD.fit(members, min(MODES, N - 1))
    R = da.Diagonal(np.full(y.shape[-1], factor * wildfire_flags.variance()))
    prior = da.Ensemble(np.repeat(members[None], len(y), 0))
    problem = da.Problem(lambda x: x, da.Observation(Flags(), R), prior, y[:, None])
    told: Any = {"keep": ("moments", "members"), "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = da.assimilate(problem, da.Latent(da.ETKF(N), pod), **told)
    found = result["members"].sel(stage="analysis").isel(time=0).transpose("case", "member", "x")
    return lambda t: (found.values <= t).mean(1)


def weighted(members: np.ndarray, y: np.ndarray, factor: float) -> Any:
    """p(t) of the members, weighted by how well they fit the data."""
    far = np.stack([np.nansum((Flags()(members) - row) ** 2, -1) for row in y])
    log = -far / (2 * factor * wildfire_flags.variance())
    w = np.exp(log - log.max(-1, keepdims=True))
    w = w / w.sum(-1, keepdims=True)
    return lambda t: w @ (members <= t)


def held(y: np.ndarray) -> Any:
    """The last map, median-filtered: clouds count as not burnt."""
    from scipy import ndimage

    last = np.nan_to_num(y[:, y.shape[1] // 2 :]).reshape(len(y), 64, 64)
    kept = np.stack([ndimage.median_filter(m, 5) for m in last]) > 0.5
    return lambda t: kept


def drawn(nets: Any, fires: FireMaps, count: int, seed: int) -> np.ndarray:
    """Fires of the networks on the ground of `fires`."""
    return nets.draw(count, fires.grounds[0], generator(Purpose.TEST, 40, seed))


def costs(nets: Any, seed: int) -> tuple[float, float]:
    """CPU seconds a fire of the automaton and of the networks, in batches of 200."""
    spent: tuple[list, list] = ([], [])
    for k in range(3):
        begun = time.process_time()
        fires = fire_maps.fires([seed], 200, seed=30 + k)
        middle = time.process_time()
        drawn(nets, fires, 200, k)
        spent[0].append(middle - begun)
        spent[1].append(time.process_time() - middle)
    return float(np.median(spent[0])) / 200, float(np.median(spent[1])) / 200


METHODS = {"latent ETKF": analysed, "weighted members": weighted}


def background(report: Report, quick: bool) -> None:
    """Errors of analyses and forecasts."""
    nets = generated_fires.trained()
    old, new = costs(nets, 1400)
    counts = {"automaton": MEMBERS, "drawn": max(2, round(MEMBERS * old / new))}
    counts["drawn, as many"] = MEMBERS
    errors: dict[tuple, dict[float, list]] = {}
    for part, lands in (("validation", 2 if quick else 4), ("test", 2 if quick else 8)):
        for seed in list(fire_maps.PARTS[part])[:lands]:
            truth = fire_maps.fires([seed], TRUTHS, seed=21)
            y = data(truth.arrival, 100 * seed)
            errors.setdefault((part, "", "held"), {}).setdefault(0, []).append(
                scores(held(y), truth.arrival)
            )
            for name, count in counts.items():
                if name == "automaton":
                    members = flat(fire_maps.fires([seed], count, seed=22).arrival)
                else:
                    members = flat(drawn(nets, truth, count, seed))
                mean = scores(lambda t, m=members: [(m <= t).mean(0)] * TRUTHS, truth.arrival)
                errors.setdefault((part, name, "no data"), {}).setdefault(0, []).append(mean)
                for label, method in METHODS.items():
                    kept = errors.setdefault((part, name, label), {})
                    for f in FACTORS:
                        kept.setdefault(f, []).append(scores(method(members, y, f), truth.arrival))
    report.section(
        "Drawn fires as a background",
        f"{TRUTHS} fires on each of the landscapes of the test, seen at steps {SEEN[0]} and "
        f"{SEEN[1]} of {STEPS}: 5 % of the flags wrong, half of the ground under clouds. "
        f"Codes: a POD of the background's arrival times, at most {MODES} numbers. CPU time a "
        f"fire: automaton {1000 * old:.1f} ms, drawn {1000 * new:.1f} ms. |p - burnt| / |burnt| "
        "at later steps, mean and bootstrapped 95 % over landscapes; the factor of R was chosen "
        "on landscapes of the validation.",
        ("background", "N", "method", "factor of R", *(f"step {t}" for t in LEADS)),
    )
    for (part, name, label), kept in errors.items():
        if part != "test":
            continue
        valid = errors["validation", name, label]
        best = min(valid, key=lambda f, v=valid: float(np.mean(v[f])))
        chosen = np.stack(kept[best]).mean(1)  # (landscapes, leads)
        rng = generator(Purpose.TEST, 0)
        means = chosen[rng.integers(len(chosen), size=(2000, len(chosen)))].mean(1)
        low, high = np.quantile(means, (0.025, 0.975), axis=0)
        cells = [
            f"{m:.2f} ({a:.2f}-{b:.2f})" for m, a, b in zip(chosen.mean(0), low, high, strict=True)
        ]
        report.row(name or "last map", counts.get(name), label, best or None, *cells)


SECTIONS = {"fires_background": background}
