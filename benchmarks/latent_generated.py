"""Fires drawn from a VQ-VAE and its prior, beside those of the automaton.

Sections of `python -m benchmarks.latent`. The shipped networks (`python -m
dalearn.cases.generated_fires`) meet landscapes that no training has seen.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from dalearn.array import Purpose, generator
from dalearn.cases import fire_maps, fire_measures, generated_fires
from dalearn.cases.fire_maps import FireMaps
from dalearn.cases.generated_fires import Nets, anywhere, lit

from .common import Report

REFERENCE, CONTROL = 10, 11  # seeds of the automaton's fires
KINDS = ("farmland", "thickets", "pine")


def mixed(words: torch.Tensor, place: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Words whose letters come from different fires on the same ground."""
    out = words.numpy().copy()
    for p in np.unique(place):
        rows = np.flatnonzero(place == p)
        for i in np.ndindex(*words.shape[1:]):
            out[(rows, *i)] = out[(rng.permutation(rows), *i)]
    return torch.from_numpy(out)


def told(values: Any, digits: int = 3) -> str:
    """A mean over landscapes and its bootstrapped 95 %."""
    values = np.asarray(values)
    rng = generator(Purpose.TEST, 0)
    means = values[rng.integers(len(values), size=(4000, len(values)))].mean(-1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{values.mean():.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def on_each(f: Any, fires: FireMaps) -> np.ndarray:
    """f(rows) of the fires of each landscape, `(L, ...)`."""
    return np.array([f(np.flatnonzero(fires.place == p)) for p in np.unique(fires.place)])


def compared(
    report: Report, fires: FireMaps, control: FireMaps, nets: Nets, train: FireMaps | None
) -> None:
    """One table: how fires drawn in four ways differ from the reference."""
    rng = generator(Purpose.TEST, 1)
    words = nets.words(fires)
    begun = time.process_time()
    new_rng = generator(Purpose.TEST, 2)
    told_of = lit(fires.maps, anywhere(fires.maps, len(fires), new_rng))
    drawn = nets.prior.sample(len(fires), new_rng, told_of)
    new = nets.fires(drawn, fires.maps)
    spent = (time.process_time() - begun) / len(fires)
    loose = mixed(words, fires.place, rng)
    known = None if train is None else nets.words(train).flatten(1)
    rows = {
        "automaton": (fires.arrival, None),
        "automaton, other fires": (control.arrival, nets.words(control)),
        "reconstructions": (nets.fires(words, fires.maps), words),
        "drawn": (new, drawn),
        "independent letters": (nets.fires(loose, fires.maps), loose),
    }
    fuel, lands = fires.fuel, [fire_maps.landscape(int(s)) for s in fires.seeds]

    def maps(arrival: np.ndarray, i: np.ndarray) -> np.ndarray:
        return np.isfinite(arrival[i]).mean(0)[fuel[i[0]]]

    def kinds(arrival: np.ndarray, i: np.ndarray) -> np.ndarray:
        burnt, land = np.isfinite(arrival[i]).mean(0), lands[fires.place[i[0]]]
        return np.array([burnt[(land.vegetation == v) & land.fuel].mean() for v in range(3)])

    true = on_each(lambda i: kinds(fires.arrival, i), fires)
    for name, (arrival, word) in rows.items():
        sizes = on_each(lambda i, a=arrival: np.median(fire_measures.share(a[i], fuel[i])), fires)
        wrong = on_each(
            lambda i, a=arrival: ((maps(a, i) - maps(fires.arrival, i)) ** 2).mean() ** 0.5, fires
        )
        shares = on_each(lambda i, a=arrival: kinds(a, i), fires)
        slope = on_each(
            lambda i, a=arrival: fire_measures.slope_effect(a[i], fires.maps[i])[0], fires
        )
        far = None
        if word is not None and known is not None:
            some = word.flatten(1)[:: max(1, len(word) // 200)]
            differ = [(known != w).float().mean(-1).min() for w in some]
            far = round(float(torch.stack(differ).mean()), 3)
        report.row(
            name,
            f"{np.median(fire_measures.share(arrival, fuel)):.3f}",
            told(sizes),
            None if name == "automaton" else told(wrong),
            told(((shares - true) ** 2).mean(-1) ** 0.5),
            f"{100 * fire_measures.impossible(arrival):.2f}",
            f"{100 * fire_measures.impossible(arrival, 0.0):.1f}",
            int(np.median(fire_measures.pieces(arrival))),
            told(100 * slope, 2),
            far,
        )
    back = rows["reconstructions"][0]
    overlap = on_each(lambda i: fire_measures.overlap(back[i], fires.arrival[i]).mean(), fires)
    report.after(
        f"Overlap (intersection over union) of reconstructions {told(overlap)}; "
        f"{len(words.unique())} letters of {nets.coder.codebook.codes} used; "
        f"a fire drawn takes {1000 * spent:.1f} ms of CPU time."
    )


COLUMNS = (
    "fires", "median burnt share, all", "a landscape", "burn map, RMSE", "vegetation, RMSE",
    "impossible, %", "strictly, %", "pieces", "slope, % a degree", "nearest training word",
)  # fmt: skip
NOTE = (
    "Burnt share of the cells with fuel, median. Burn map: how often each cell burns, against "
    "the automaton; vegetation: the same for the three classes as wholes. Impossible: burnt "
    "cells earlier than all neighbours by more than half a frame (2 steps); strictly: by "
    "anything. Slope: how much faster a front is for each degree that it climbs, by regression "
    "in squares of 7 x 7 cells. Nearest training word: share of letters that differ, mean. Means "
    "over landscapes with bootstrapped 95 %."
)


def new_ground(report: Report, quick: bool) -> None:
    """The shipped networks on landscapes of the test."""
    seeds, each = (list(fire_maps.PARTS["test"])[: 3 if quick else 20], 20 if quick else 60)
    fires, control = (fire_maps.fires(seeds, each, seed=s) for s in (REFERENCE, CONTROL))
    train = fire_maps.fires("train", 1 if quick else generated_fires.EACH)
    fire_maps.check_apart(train, fires, control)
    report.section(
        "Fires drawn on landscapes of the test",
        f"{len(seeds)} landscapes, {each} fires each, shipped networks. {NOTE}",
        COLUMNS,
    )
    compared(report, fires, control, generated_fires.trained(), train)


def one_ground(report: Report, quick: bool) -> None:
    """Networks of one landscape, trained here."""
    each, held, epochs = (60, 30, (2, 2)) if quick else (700, 200, (30, 20))
    train, valid = fire_maps.fires([0], each), fire_maps.fires([0], held // 3, seed=1)
    fires, control = (fire_maps.fires([0], held, seed=s) for s in (REFERENCE, CONTROL))
    begun = time.process_time()
    net = generated_fires.fit_coder(train, valid, epochs=epochs[0], progress=False)
    prior = generated_fires.fit_prior(net, train, valid, epochs=epochs[1], progress=False)
    spent = time.process_time() - begun
    report.section(
        "Fires drawn on the landscape of the training",
        f"Landscape of seed 0, {each} fires for the training of both networks ({spent:.0f} CPU "
        f"s), {held} other ones here. {NOTE}",
        COLUMNS,
    )
    compared(report, fires, control, Nets(net, prior), train)


SECTIONS = {"fires_drawn": new_ground, "fires_drawn_one": one_ground}
