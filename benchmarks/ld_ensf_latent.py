"""Part of `benchmarks.ld_ensf`: LD-EnSF, its parts and its rivals, in latent spaces."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from dalearn.array import TorchStreams
from dalearn.cases import ld_ensf_networks as networks
from dalearn.cases.ld_ensf import CASES, SetUp, twin
from dalearn.cases.ld_ensf_errors import code_variances
from dalearn.cases.ld_ensf_latent import interpolated, latent
from dalearn.cases.ld_ensf_paper import dynamics
from dalearn.cases.ld_ensf_twin import sensors_of
from dalearn.covariances import Diagonal
from dalearn.methods import ETKF, EncoderAlone, EnSF, LDEnSF, ParticleFilter, ensf
from dalearn.methods.score.ensf import Known
from dalearn.problem.observe import Observation, identity
from dalearn.problem.pointwise import Pointwise
from dalearn.run.assimilate import assimilate

from .common import Report
from .ld_ensf_full import FRESH, TUNING, fields, interval, timed

NOISES, WIDE = (0.0, 0.05, 0.1, 0.2), 400
PUBLISHED = EnSF(  # scale 100, sigma .1, K = 100 Euler steps, eps_beta = 0 (LD-EnSF's code)
    20, scale=0.01, sampler="euler", steps=100, eps_beta=0.0
)


def measured(setup: SetUp, problem: Any, method: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of each truth: the relative error of the second half, and that of u (width 2) at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = assimilate(problem, method, progress=False)
    mean = result["mean"].sel(stage="analysis").values
    half = len(problem) // 2
    e = setup.relative(fields(setup, mean[:, half:]), fields(setup, problem.truth[:, half:]), -1)
    wrong = setup.unit(mean[:, -1, -setup.p :]) - setup.unit(problem.truth[:, -1, -setup.p :])
    return e, np.abs(wrong).mean(-1)


def floor(setup: SetUp, problem: Any, ld: LDEnSF) -> np.ndarray:
    """The error of the latent model with the true parameter."""
    half, u = len(problem) // 2, torch.as_tensor(problem.truth[:, -1, -setup.p :])
    with torch.no_grad():
        y = ld.net(u, ld.points, setup.times)[:, torch.as_tensor(setup.seen)]
    x = networks.as_states(setup, y)
    return setup.relative(x[:, half:], fields(setup, problem.truth[:, half:]), -1)


def rows(setup: SetUp, nets: Any, states: Any, noise: float) -> dict[str, LDEnSF]:
    """The latent methods, by what a table calls them."""
    R, exact = (
        code_variances(setup, nets.robust, getattr(nets, w), states, noise, TUNING)
        for w in ("encoder", "exact")
    )
    given = {"nets": nets, "noise": R}
    runs = interpolated(setup, states)
    bare = latent(setup, ETKF(20), data="raw", **given)
    return {
        "LSTM alone": latent(setup, EncoderAlone(), **given),
        "LSTM alone, trained on exact data": latent(
            setup, EncoderAlone(), nets=nets, encoder="exact", noise=exact
        ),
        "LSTM's parameter, latent model rerun": latent(setup, EncoderAlone(rerun=True), **given),
        "LD-EnSF": latent(setup, **given),
        "LD-EnSF as published": latent(
            setup, PUBLISHED, nets=nets, noise=np.full(len(R), 1e-3**2)
        ),
        "latent ETKF, encoded data": latent(setup, ETKF(20), **given),
        "latent ETKF, raw data": bare,
        "latent ETKF, raw data, sharp decoder": latent(
            setup, ETKF(20), data="raw", net="sharp", **given
        ),
        "latent particles (400), raw data": replace(
            bare, method=ParticleFilter(WIDE, regularization=0.3)
        ),
        "interpolated runs, ETKF, raw data": replace(bare, net=runs),
    }


def table(name: str, report: Report, quick: bool) -> None:
    """Errors by noise: 10 new truths, 10 x 10 sensors, N = 20."""
    from .ld_ensf import made, small

    count = 2 if quick else 10
    setup = small(CASES[name](), quick)
    nets, states = networks.trained(setup), made(setup, quick)
    report.section(
        f"{name}: latent filters by noise",
        f"{count} new truths, N = 20, 10 x 10 sensors; relative error of the mean, %, over "
        "the second half, mean over truths with 95 % interval; error of the parameter at the "
        "last time, where the prior has width 2; CPU seconds of all truths.",
        ("method", "noise, %", "error, %", "worst", "parameter", "CPU s"),
    )
    for noise in NOISES[::2] if quick else NOISES:
        problem = twin(setup, count, noise=noise, seed=FRESH)
        wide = twin(setup, count, noise=noise, seed=FRESH, members=WIDE) if noise == 0.1 else None
        methods = rows(setup, nets, states, noise)
        if noise == 0:
            for net in ("robust", "sharp"):
                e = floor(setup, problem, latent(setup, nets=nets, net=net))
                told = f"the latent model with the true parameter, {net}"
                report.row(told, "-", interval(e), round(100 * e.max(), 2), "-", "-")
        for label, ld in methods.items():
            start = time.process_time()
            given = wide if isinstance(ld.method, ParticleFilter) else problem
            if given is None:  # so many members cost most of the time: at one noise only
                continue
            e, p = measured(setup, given, ld)
            spent = round(time.process_time() - start, 1)
            worst = round(100 * float(e.max()), 2)
            report.row(label, round(100 * noise), interval(e), worst, interval(p, 1), spent)


def sparse(name: str, report: Report, quick: bool) -> None:
    """Fewer sensors: 10 x 10, 4 x 4 and 2 x 2, noise 10 %."""
    count = 2 if quick else 20
    setup = CASES[name]()
    nets = networks.trained(setup)
    report.section(
        f"{name}: fewer sensors",
        f"{count} new truths, N = 20, noise 10 %, latent ETKF on raw data; relative error of "
        "the mean, %, over the second half; worst truth.",
        ("decoder", "sensors", "error, %", "worst", "parameter"),
    )
    for net in ("robust", "sharp"):
        ld = latent(setup, ETKF(20), data="raw", nets=nets, net=net)
        for sensors in (10, 4, 2):
            problem = twin(setup, count, noise=0.1, sensors=sensors, seed=FRESH + 100)
            e, p = measured(setup, problem, ld)
            report.row(net, sensors**2, interval(e), round(100 * e.max(), 2), interval(p, 1))
        e = floor(setup, problem, ld)
        report.row(net, "true parameter", interval(e), round(100 * e.max(), 2), "-")


def exact(report: Report, quick: bool) -> None:
    """What the data leave open: the posterior of the latent model over its one parameter."""
    setup, count = CASES["kolmogorov"](), 2 if quick else 10
    net, H, half = networks.trained(setup).robust, sensors_of(setup, 10), len(setup.seen) // 2
    report.section(
        "kolmogorov: no filter is better than this",
        f"{count} new truths, those of `latent-kolmogorov`; relative error, %, over the second "
        "half, of the posterior's mean, computed on 161 Reynolds numbers within 2 % of the box "
        "around the true one, and of the latent model with the true one.",
        ("noise, %", "posterior", "true parameter"),
    )
    for noise in NOISES[1:]:
        problem = twin(setup, count, noise=noise, seed=FRESH)
        known, errors = np.asarray(problem.truth), []
        for x, y, v in zip(fields(setup, known), problem.data, known[:, -1, -1:], strict=True):
            near = np.linspace(-0.04, 0.04, 161)[:, None] + setup.unit(v)
            u = torch.as_tensor(setup.natural(np.clip(near, -1, 1)), dtype=torch.float32)
            with torch.no_grad():
                found = [net(w[None], networks.grid(setup), setup.times)[0] for w in u]
            runs = networks.as_states(setup, torch.stack(found))[:, setup.seen]
            d = (y - H(runs)) / (noise * np.repeat(setup.rms, 100))
            fit = -0.5 * np.cumsum((d**2).sum(-1), axis=1)
            w = np.exp(fit - fit.max(0))
            mean = np.einsum("gk,gkcij->kcij", w / w.sum(0), runs)
            errors.append([setup.relative(e[half:], x[half:]) for e in (mean, runs[80])])
        report.row(round(100 * noise), *(interval(e) for e in np.array(errors).T))


def latent_cost(report: Report, quick: bool) -> None:
    """What LD-EnSF costs for 100 members beside the model, all in one run."""
    N = 10 if quick else 100
    report.section(
        f"LD-EnSF beside the model, {N} members",
        "CPU seconds of one thread, float32, networks and model in turn in one process; the "
        "encoder's codes are known. T_d: all latent steps; T_f: all analyses, of the closed form "
        "that identity observations allow, of 20 exponential steps as for any operator, and of "
        "100 Euler steps; T_r: the last field of all members, and all of them. Ratios: the "
        "model's T_d over what is named.",
        ("model", "T_d model, s", "part", "ms", "ratio", "ratio of T_d + T_f"),
    )
    for label, setup, model, x, count, net in sides(N, quick):
        _, _, full = timed(model, x, count)
        parts = parts_of(setup, net, N)
        moved = parts["T_d latent"]
        for name, spent in parts.items():
            both = round(full / (moved + spent), 1) if name.startswith("T_f") else "-"
            told = round(full, 2), name, round(1000 * spent, 2), round(full / spent, 1), both
            report.row(label, *told)


def parts_of(setup: SetUp, net: Any, N: int) -> dict[str, float]:
    """CPU seconds of the parts of LD-EnSF for N members."""
    u = torch.as_tensor(setup.uniform(np.random.default_rng(1), N), dtype=torch.float32)
    grid, rng = networks.grid(setup), TorchStreams(torch.Generator().manual_seed(0))
    with torch.no_grad():
        parts = {"T_d latent": best(lambda: net.latents(u, setup.times))}
        s = net.latents(u, setup.times)
        v = (u - net.u_mean) / net.u_half
        codes = torch.cat((s, v[:, None].expand(-1, setup.times, -1)), -1)
        R = Diagonal(torch.full((codes.shape[-1],), 1e-3))
        for name, (method, H) in samplers(N).items():
            observe, known = Observation(H, R), Known(method)

            def analyses(method=method, observe=observe, known=known):
                for k in range(setup.times):
                    ensf(codes[:, k], codes[0, k], observe, rng, method, known)

            parts[f"T_f, {name}"] = best(analyses, 2)
        few = N if setup.shape[-1] <= 64 else 1  # the paper's networks take seconds for a field
        last = N / few * best(lambda: net.reconstruct(s[:few, -1], grid), 2)
        parts["T_r, last time" + ", from one member's" * (few < N)] = last
        if few == N:
            parts["T_r, all times, from one member's"] = N * best(
                lambda: net.reconstruct(s[:1], grid)
            )
        else:
            parts["T_r, all times, from one field's"] = setup.times * last
    return parts


def best(call: Any, rounds: int = 5) -> float:
    """The least CPU seconds of some calls."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def samplers(N: int) -> dict[str, Any]:
    """Samplers and the operator that makes them take their general way."""
    same = Pointwise(lambda x: 1.0 * x, derivative=torch.ones_like)
    return {
        "closed form": (EnSF(N), identity),
        "20 exponential steps": (EnSF(N), same),
        "100 Euler steps": (EnSF(N, sampler="euler", steps=100), same),
    }


def sides(N: int, quick: bool) -> Any:
    """Label, set-up, model, members at the start, steps, network: for both sizes."""
    for name in CASES:
        for size in ("reduced",) if quick else ("reduced", "paper"):
            setup = CASES[name](size)
            u = setup.uniform(np.random.default_rng(0), N)
            x = np.array(setup.start(u), "float32")
            # of the paper untrained: what it costs, not what it says
            net = networks.trained(setup).robust if size == "reduced" else dynamics(setup)
            yield f"{name} {setup.shape[-1]}^2", setup, setup.model(u), x, setup.steps, net
            if name == "shallow-water":
                water = setup.model(u)
                fast = replace(water, model=replace(water.model, dt=5 * water.dt))
                told = f"{name} {setup.shape[-1]}^2, Courant .5"
                yield told, setup, fast, x, setup.steps // 5, net


SECTIONS = {
    **{f"latent-{name}": partial(table, name) for name in CASES},
    **{f"sparse-{name}": partial(sparse, name) for name in CASES},
    "exact": exact,
    "latent_cost": latent_cost,
}
