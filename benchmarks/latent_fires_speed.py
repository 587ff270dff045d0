"""Part of `benchmarks.latent`: DI01 on codes of fires, and what a frame of a fire costs."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch

import dalearn as da
from dalearn.array import Purpose, Streams, generator
from dalearn.cases import wildfire as fire
from dalearn.methods.latent.observed import Encoded
from dalearn.neural import LSTM, Autoencoder, seeded
from dalearn.neural.rollout import rollout

from .common import Report, per_call
from .latent_fires import R, fires, parts, told
from .latent_fires_analyses import DAYS, analysed, codes_noise, flags_of, newest_code, scored


def tuning(report: Report, quick: bool) -> None:
    """DI01: a twin where it must work, unit matrices, and what it says of fires."""
    p, draws = parts("burnt"), 20
    B = p.B.matrix()[-R:, -R:].astype(float)
    noise = codes_noise(p)
    Rc = noise.matrix().astype(float)
    rng = generator(Purpose.TEST, 5)
    report.section(
        "DI01 in latent space",
        f"{draws} draws of 50 innovations of {R} codes, B that of the fires. Within 15 %: "
        "draws in which both factors are found. Refused: draws it calls not identifiable.",
        ("B, R", "true s_b, s_o", "found, mean", "within 15 %", "refused"),
    )
    eye = np.eye(R)
    worse = fire.variance(0.2) / fire.variance()
    noisy = "R of 20 % wrong flags"
    factors = (1.0, 1.0), (2.0, 0.5), (0.5, 2.0)
    cases = [("R of 5 % wrong flags", f, (B, Rc)) for f in factors]
    cases += [(noisy, f, (B, worse * Rc)) for f in factors]
    cases.append(("B = R = I", (1.0, 1.0), (eye, eye)))
    for name, (b, r), given in cases:
        roots = [np.linalg.cholesky(C) for C in given]
        e = rng.standard_normal((2, draws, 50, R))
        d = b**0.5 * e[0] @ roots[0].T + r**0.5 * e[1] @ roots[1].T
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = da.di01(d, *given)
        near = (abs(got.s_b / b - 1) < 0.15) & (abs(got.s_o / r - 1) < 0.15)
        mean = f"{np.mean(got.s_b):.2f}, {np.mean(got.s_o):.2f}"
        refused = int((~np.asarray(got.identifiable)).sum())
        report.row(name, f"{b:g}, {r:g}", mean, f"{int(near.sum())} of {draws}", refused)
    see = Encoded(p.pod.encode, noise, newest_code)
    pairs, _ = analysed(p, "choice", 0.0, da.OI(p.B), observe=see)
    data = p.pod.encode(p.view.data(flags_of("choice", 0.0)))
    report.section(
        "DI01 on fires",
        "Factors from innovations of 60 validation fires on each day; the test fires with B and R "
        "times these, beside those with B and R as estimated.",
        ("day", "s_b", "s_o", "at the day, ratio", "4 or 6 frames later, ratio"),
    )
    base = scored(p, "test", analysed(p, "test", 0.0, da.OI(p.B), observe=see))
    for i, day in enumerate(DAYS):
        d = data[:, i] - newest_code(pairs[i][0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = da.di01(d.astype(float), B, Rc)
        s_b, s_o = float(got.s_b), float(got.s_o)
        tuned = Encoded(p.pod.encode, da.Dense((s_o * Rc).astype(np.float32)), newest_code)
        method = da.OI(p.B, factor=s_b)
        found = scored(p, "test", analysed(p, "test", 0.0, method, observe=tuned))
        ratios = (told(found[day][j], base[day][j]) for j in (1, 2))
        report.row(day, round(s_b, 2), round(s_o, 2), *ratios)


def speed(report: Report, quick: bool) -> None:
    """CPU time of a frame: the automaton beside surrogates, with and without decoding."""
    count, rounds = 64, 3 if quick else 7
    report.section(
        "CPU time of a frame of a fire, microseconds",
        f"One thread, single precision, {count} fires at once, median of {rounds} rounds in turn. "
        f"POD, r = {R}; LSTM of 96 that reads a window of 4 (History) or carries its memory "
        "(rollout); the autoencoder has the layers of the one that is shipped.",
        ("grid", "step", "LSTM", "LSTM, carried", "DMD of 4", "decode POD", "decode CAE"),
    )
    spent = {}
    for side in (64, 128):
        land = fire.landscape(side=side)
        cells, dice = fire.cells_of("train", land), generator(Purpose.TEST, side)
        at = cells[dice.integers(len(cells), size=count)]
        wind = dice.uniform(0, fire.FASTEST, count), dice.uniform(-np.pi, np.pi, count)
        burning = fire.burn(land, at, *wind, range(count), frames=2, steps=side // 2)
        model, x = fire.automaton(land, *wind), burning[:, -1].astype(np.float32)
        rng = Streams(Purpose.TEST, 9, (count,))
        z = generator(Purpose.TEST, 1).standard_normal((count, 4 * R)).astype(np.float32)
        net = seeded(0, LSTM, R, 96)
        history = da.History(da.Surrogate(net), 4)
        dmd = da.DMD(np.zeros((R, 4 * R), np.float32) + 0.01)
        pod = da.POD(np.ones((R, side * side), np.float32), np.zeros(side * side, np.float32))
        cae = seeded(0, Autoencoder.convolutional, (1, side, side), R, (8, 16, 32, 32))
        code = torch.from_numpy(z[:, :R].copy())

        def carried(net: Any = net, z: Any = z) -> Any:
            return rollout(net, torch.from_numpy(z).reshape(count, 4, R), 20)

        def decoded(cae: Any = cae, code: Any = code) -> Any:
            return cae.decode(code)

        with torch.no_grad():
            sides = {
                "step": lambda model=model, x=x, rng=rng: model(x, rng),
                "LSTM": lambda history=history, z=z: history(z),
                "carried": carried,
                "DMD": lambda dmd=dmd, z=z: dmd(z),
                "POD": lambda pod=pod, z=z: pod.decode(z[:, :R]),
                "CAE": decoded,
            }
            found = per_call(sides, rounds, 0.05)
        t = {n: 1e6 * float(np.median(s)) / count for n, s in found.items()}
        t["carried"] /= 20
        spent[side] = t
        report.row(f"{side} x {side}", *(float(f"{v:.3g}") for v in t.values()))
    report.section(
        "Times a predicted frame is cheaper than the automaton",
        "A frame of so many steps of the automaton over one of the surrogate: in latent space "
        "alone, and decoded.",
        ("grid", "steps a frame", "surrogate", "latent", "decoded by POD", "decoded by CAE"),
    )
    for side, t in spent.items():
        for steps in (4,) if side == 64 else (8, 32):
            for name in ("LSTM", "carried", "DMD"):
                frame = steps * t["step"]
                ratios = [frame / (t[name] + extra) for extra in (0, t["POD"], t["CAE"])]
                report.row(f"{side} x {side}", steps, name, *(float(f"{v:.2g}") for v in ratios))
    payback(report, spent[64])


def payback(report: Report, t: dict[str, float]) -> None:
    """What training costs, and after how many frames it is paid."""
    from .latent_fires import FOLDER

    report.section(
        "When training pays, 64 x 64",
        "CPU seconds of 1500 fires, POD and fit; then the number of fires of 21 frames (4 steps "
        "each) after which the automaton would have cost more, forecasts decoded by POD.",
        ("surrogate", "training, s", "fires"),
    )
    start = time.process_time()
    fires.__wrapped__("train")
    made = time.process_time() - start
    start = time.process_time()
    parts.__wrapped__("burnt")
    fitted = time.process_time() - start
    from dalearn.neural import read_card

    path = FOLDER / "lstm-0.safetensors"
    extra = read_card(path).metric["CPU seconds"] if path.exists() else None
    for name, more in (("DMD", 0.0), ("carried", extra)):
        if more is None:
            continue
        saved = 21e-6 * (4 * t["step"] - t[name] - t["POD"])
        total = made + fitted + more
        report.row(name, round(total), round(total / saved))


SECTIONS = {"fires_di01": tuning, "fires_speed": speed}
