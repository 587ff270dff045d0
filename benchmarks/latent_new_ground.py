"""Fires on landscapes that no training has seen: a surrogate told of the ground, and rivals.

Section of `python -m benchmarks.latent`. Fires of 17 frames of 3 steps, 32 x 32 cells; forecasts
are given the truth of frames 0 to 2 (the automaton: of the states at frame 2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dalearn as da
from dalearn.array import Purpose, generator
from dalearn.cases import fire_maps, spreading_fires
from dalearn.cases.fire_maps import FireMaps
from dalearn.cases.spreading_fires import EVERY, GIVEN, STEPS, forecast
from dalearn.models.landscape import WAYS, slopes

from .common import Report

FRAMES, LEADS, MEMBERS = 1 + STEPS // EVERY, (3, 5, 8, 11, 15), 24
MODES, DELAYS, RIDGES = 48, 3, (1e-2, 1e-1, 1.0, 10.0, 100.0)


def automaton(fires: FireMaps, members: int) -> np.ndarray:
    """The mean of runs with perfect rules from the true states at frame 2, `(S, T, h, w)`."""
    found, now = fires.frames(EVERY).copy(), (GIVEN - 1) * EVERY
    times = np.arange(now, STEPS + 1, EVERY)[:, None, None, None]
    for i, a in enumerate(fires.arrival):
        fire = da.Wildfire.alexandridis(land(fires, i))
        unburnt = np.where(fires.fuel[i], 2.0, 1.0)
        x = np.where(a < now, 4.0, np.where(a == now, 3.0, unburnt)).astype("float32")
        start = np.where(a <= now, a, np.inf).astype("float32")
        x, start = (np.repeat(v[None], members, 0) for v in (x, start))
        rng = generator(Purpose.TEST, 20, i)
        arrival = fire_maps.forward(fire, x, start, now, STEPS, rng)
        found[i, GIVEN - 1 :] = (arrival[None] <= times).mean(1)
    return found


def land(fires: FireMaps, i: int) -> da.Landscape:
    """The landscape under fire i."""
    return fire_maps.landscape(int(fires.seeds[fires.place[i]]), spreading_fires.SIDE)


def mean_field(fires: FireMaps) -> np.ndarray:
    """The rules applied to probabilities, as if neighbours were independent: no training."""
    found, now = fires.frames(EVERY).copy(), (GIVEN - 1) * EVERY
    chances = []
    for seed in fires.seeds:
        g = fire_maps.landscape(int(seed), spreading_fires.SIDE)
        fire = da.Wildfire.alexandridis(g)
        flat = 0.58 * (1 + fire.vegetation) * (1 + fire.density)
        climb = np.exp(fire.slope * slopes(np.asarray(g.elevation), g.cell))
        chances.append(np.clip(flat * climb, 0, 1))
    p = np.stack(chances)[fires.place]  # (S, 8, h, w)
    h, w = p.shape[-2:]
    left = np.where(fires.arrival > now, 1.0, 0.0) * fires.fuel
    burning = (fires.arrival == now).astype(float)
    for k in range(now + 1, STEPS + 1):
        wide, escape = np.pad(burning, ((0, 0), (1, 1), (1, 1))), np.ones(1)
        for way, (i, j) in enumerate(WAYS):
            escape = escape * (1 - wide[:, 1 - i : 1 - i + h, 1 - j : 1 - j + w] * p[:, way])
        burning, left = left * (1 - escape), left * escape
        if k % EVERY == 0:
            found[:, k // EVERY] = fires.fuel * (1 - left)
    return found


def untold(train: FireMaps, valid: FireMaps) -> Callable[[FireMaps], np.ndarray]:
    """POD and DMD of the training fires, which know no ground."""
    runs, held = (
        f.frames(EVERY).reshape(len(f), FRAMES, -1).astype(float) for f in (train, valid)
    )
    pod = da.POD.fit(runs, MODES)
    codes, kept = pod.encode(runs), pod.encode(held)
    dmd = da.DMD.fit(codes, DELAYS, ridge=RIDGES, validation=kept, ahead=FRAMES - DELAYS)

    def run(fires: FireMaps) -> np.ndarray:
        x = fires.frames(EVERY)
        z = pod.encode(x[:, :GIVEN].reshape(len(x), GIVEN, -1).astype(float))
        later = pod.decode(dmd.forecast(z.reshape(len(x), -1), FRAMES - GIVEN))
        later = np.clip(later, 0, 1).reshape(len(x), -1, *x.shape[2:])
        return np.concatenate((x[:, :GIVEN], later), axis=1)

    return run


def told(errors: np.ndarray, below: np.ndarray | None = None) -> list[str]:
    """Mean squares `(L, 2, T)` of error and truth -> relative RMSE at the leads, with 95 %."""
    rng = generator(Purpose.TEST, 0)
    pick = rng.integers(len(errors), size=(2000, len(errors)))

    def ratio(rows: Any) -> np.ndarray:
        s = errors[rows].sum(-3)
        if below is None:
            return (s[..., 0, :] / s[..., 1, :]) ** 0.5
        return (s[..., 0, :] / below[rows].sum(-3)[..., 0, :]) ** 0.5

    middle, low, high = ratio(slice(None)), *np.quantile(ratio(pick), (0.025, 0.975), axis=0)
    return [f"{middle[k]:.3f} ({low[k]:.3f}-{high[k]:.3f})" for k in LEADS]


def squares(found: np.ndarray, fires: FireMaps) -> np.ndarray:
    """Sums of squares of error and truth on each landscape, `(L, 2, T)`."""
    truth = fires.frames(EVERY)
    both = np.stack([((found - truth) ** 2).sum((-2, -1)), (truth**2).sum((-2, -1))], axis=1)
    return np.stack([both[fires.place == p].sum(0) for p in np.unique(fires.place)])


def new_ground(report: Report, quick: bool) -> None:
    """Errors by lead, on landscapes of the test."""
    net = spreading_fires.trained()
    train = spreading_fires.fires("train", 4 if quick else 40, 10)
    valid = spreading_fires.fires("validation", 8, 6)
    test = spreading_fires.fires("test", 4 if quick else 20, 6, seed=7)
    fire_maps.check_apart(train, valid, test)
    blind, frames, maps = untold(train, valid), test.frames(EVERY), test.maps
    elsewhere = np.roll(np.arange(len(test)), 6)
    rivals: dict[str, Callable[[], np.ndarray]] = {
        "hold frame 2": lambda: np.repeat(frames[:, GIVEN - 1 : GIVEN], FRAMES, axis=1),
        "POD-48 + DMD-3, not told": lambda: blind(test),
        "rules on probabilities": lambda: mean_field(test),
        "Spreading": lambda: forecast(net, frames, maps),
        "Spreading, slopes set to 0": lambda: forecast(net, frames, level(maps)),
        "Spreading, maps of other ground": lambda: forecast(net, frames, moved(maps, elsewhere)),
        "automaton, one run": lambda: automaton(test, 1),
        "automaton, mean of 24": lambda: automaton(test, MEMBERS),
    }
    report.section(
        "Fires on new ground",
        f"{len(test)} fires on {len(test.grounds)} landscapes of the test; training "
        f"{len(train)} fires on {len(train.grounds)} others. |p - burnt| / |burnt| after the "
        "truth of frames 0 to 2, with bootstrapped 95 % over landscapes. CPU ms a fire, all "
        "frames, in a batch.",
        ("forecast", *(f"frame {k}" for k in LEADS), "CPU ms a fire"),
    )
    errors = {}
    for name, run in rivals.items():
        begun = time.process_time()
        found = run()
        spent = 1000 * (time.process_time() - begun) / len(test)
        errors[name] = squares(found, test)
        report.row(name, *told(errors[name]), round(spent, 2))
    report.section(
        "Fires on new ground: ratios",
        "Error of Spreading over that of another forecast, paired by landscape.",
        ("beside", *(f"frame {k}" for k in LEADS)),
    )
    for name in rivals:
        if name != "Spreading":
            report.row(name, *told(errors["Spreading"], errors[name]))


def level(maps: np.ndarray) -> np.ndarray:
    """The maps of flat ground with the same fuel."""
    return np.concatenate((maps[:, :2], 0 * maps[:, 2:]), axis=1)


def moved(maps: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The maps of other ground, but for where there is fuel."""
    return np.concatenate((maps[:, :1], maps[rows, 1:]), axis=1)


SECTIONS = {"new_ground": new_ground}
