"""SDA on Lorenz-63 in its published set-up, its particle reference, and the command that trains.

    python -m dalearn.cases.lorenz63_sda --out runs/sda

States are 0.025 apart, one Runge-Kutta step, and err by N(0, 0.025 I) after each, in raw units.
Trajectories have 65 states; in units of (8, 9, 8.6), x is seen in each eighth with errors of 0.05
("lo"), or in each with errors of 0.25 ("hi"). 1024 chains of 1024 states after as many of spin-up
are dealt 80 / 10 / 10 %, by chain. The reference is a particle filter of 16 384 members that
begin with states of the climate, as SDA learned it, and trajectories drawn backwards through them,
whose weights are exact in the limit: those that the filter's survivors came from, as published,
are few in the past.

F. Rozet and G. Louppe, Score-based data assimilation, NeurIPS 2023. Backwards: S. Godsill,
A. Doucet and M. West, J. Am. Stat. Assoc. 99, 2004.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..array import Purpose, generator, torch_seed
from ..models import Lorenz63
from ..run.simulate import simulate

if TYPE_CHECKING:
    from ..methods import SDA
    from ..neural.local_score import LocalScore
    from ..problem.belief import Belief, Ensemble
    from ..problem.problem import Problem

COMMAND = "python -m dalearn.cases.lorenz63_sda"
CHAINS, KEPT, DT, LENGTH = 1024, 1024, 0.025, 65
UNIT, CENTRE = np.array([8.0, 9.0, 8.6]), np.array([0.0, 0.0, 25.0])
START = np.array([[64.0, 50.0, 0.0], [50.0, 81.0, 0.0], [0.0, 0.0, 75.0]])
WIDTH, DEPTH, EPOCHS, PARTICLES = 64, 3, 40, 16384

DATA = "820 chains of 1024 states of Lorenz63 with its noise; 102 others for validation"


class Seen(NamedTuple):
    """An observing system: every so many states, errors in units of x's."""

    every: int
    error: float


SYSTEMS = {"lo": Seen(8, 0.05), "hi": Seen(1, 0.25)}


@cache
def chains() -> dict[str, np.ndarray]:
    """The chains `(S, 1024, 3)` of training, validation and test, in raw units."""
    rng = generator(Purpose.CASE, 65, 0)
    x0 = CENTRE + rng.standard_normal((CHAINS, 3)) @ np.linalg.cholesky(START).T
    noise = DT * np.ones(3)
    x = simulate(Lorenz63(dt=DT), x0, 2 * KEPT - 1, noise=noise, seed=65, progress=False)
    x = x[:, KEPT:]
    first, second = int(0.8 * CHAINS) + 1, int(0.9 * CHAINS) + 1
    return {"train": x[:first], "validation": x[first:second], "test": x[second:]}


def problem(x: np.ndarray, system: str, seed: int = 0) -> Problem:
    """Trajectories `(..., 65, 3)` seen through a system, "lo" or "hi", as a Problem.

    The prior is the climatology, one step before the first state.

    Args:
        x: the truth.
        system: which.
        seed: of the errors.
    """
    from ..covariances.matrices import Dense, Diagonal
    from ..problem.belief import Gaussian
    from ..problem.observe import Observation, Subset
    from ..problem.problem import Problem

    every, error = SYSTEMS[system]
    error = error * float(UNIT[0])
    rng = generator(Purpose.CASE, 66, seed)
    y = x[..., :1] + error * rng.standard_normal((*x.shape[:-1], 1))
    there = np.arange(x.shape[-2])[:, None] % every == 0
    rows = chains()["validation"].reshape(-1, 3)
    prior = Gaussian(rows.mean(0), Dense(np.cov(rows.T)))
    observation = Observation(Subset([0]), Diagonal([error**2]))
    data, noise = np.where(there, y, np.nan), Diagonal(DT * np.ones(3))
    return Problem(Lorenz63(dt=DT), observation, prior, data, noise=noise, truth=x)


def climate(members: int = PARTICLES, seed: int = 0) -> Ensemble:
    """So many states of the validation chains: the law that SDA learned, and not its Gaussian."""
    from ..problem.belief import Ensemble

    rows = chains()["validation"].reshape(-1, 3)
    who = generator(Purpose.CASE, 69, seed).choice(len(rows), members, replace=False)
    return Ensemble(rows[who])


def reference(
    problem: Problem,
    count: int,
    *,
    members: int = PARTICLES,
    first: Belief | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Trajectories `(count, 65, 3)` of the posterior of one experiment, from particles.

    The bootstrap filter forwards; then each trajectory is drawn backwards, particle i at time k
    with a chance of w_i p(x_(k+1) | x_i).

    Args:
        problem: the experiment; its prior is not used.
        count: of trajectories.
        members: particles.
        first: what they begin with, a step before the first state; none: the climate.
        seed: of all draws.
    """
    from ..array import streams
    from ..methods import ParticleFilter

    problem = replace(problem, prior=first or climate(members, seed)).validated()
    cycles = ParticleFilter(members).run(problem, streams(Purpose.ASSIMILATION, seed))
    beliefs: list[Any] = [cycle.analysis for cycle in cycles]
    rng = generator(Purpose.CASE, 67, seed)
    found = np.empty((count, len(beliefs), problem.n))
    for k in range(len(beliefs) - 1, -1, -1):
        E, log_w = beliefs[k].members, np.log(beliefs[k].weights + 1e-300)
        fit = np.broadcast_to(log_w, (count, members)).copy()
        if k + 1 < len(beliefs):
            a, b = (v / DT**0.5 for v in (found[:, k + 1], problem.step(E)))
            fit += a @ b.T - 0.5 * (b * b).sum(-1)
        fit += rng.gumbel(size=fit.shape)  # the largest is a draw from the weights exp(fit)
        found[:, k] = E[fit.argmax(1)]
    return found


def ancestors(
    problem: Problem,
    count: int,
    *,
    members: int = PARTICLES,
    first: Belief | None = None,
    seed: int = 0,
) -> np.ndarray:
    """The same from the paths of the filter's survivors, as published: few differ in the past."""
    from ..array import streams
    from ..methods import ParticleFilter

    rng = streams(Purpose.ASSIMILATION, seed)
    problem = replace(problem, prior=first or climate(members, seed)).validated()
    cycles = ParticleFilter(members, lag=None).run(problem, rng)
    beliefs: list[Any] = [cycle.info["smoothed"] for cycle in cycles]
    chance = beliefs[-1].weights
    who = generator(Purpose.CASE, 68, seed).choice(members, count, p=chance / chance.sum())
    return np.stack([belief.members[who] for belief in beliefs], axis=1)


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """The earth mover's distance of two sets of as many trajectories, in raw units."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    far = cdist(a.reshape(len(a), -1), b.reshape(len(b), -1))
    return float(far[linear_sum_assignment(far)].mean())


def log_prior(x: np.ndarray) -> float:
    """The mean of log p(x_2, ..., x_L | x_1) over trajectories `(N, L, 3)`, raw units."""
    e = x[:, 1:] - Lorenz63(dt=DT)(x[:, :-1])
    each = -0.5 * (e * e / DT + np.log(2 * np.pi * DT))
    return float(each.sum((1, 2)).mean())


def log_likelihood(x: np.ndarray, problem: Problem, system: str) -> float:
    """The mean of log p(y | x) over trajectories `(N, L, 3)`, in units of x's deviation."""
    error = SYSTEMS[system].error
    d = (np.asarray(problem.data)[:, 0] - x[..., 0]) / (error * UNIT[0])
    each = -0.5 * (d * d + np.log(2 * np.pi * error**2))
    return float(np.nansum(each, axis=1).mean())


def network(k: int = 4, width: int = WIDTH) -> LocalScore:
    """The network of windows of 2 k + 1 states before training."""
    from ..neural.local_score import LocalScore
    from ..neural.nets import seeded

    return seeded(0, LocalScore, 3, k, width=width, depth=DEPTH)


def trained(**settings: Any) -> SDA:
    """The smoother with the weights that come with the package, k = 4."""
    from ..methods import SDA
    from ..neural.weights import load_weights, shipped

    net = network()
    load_weights(net.half(), shipped("sda-lorenz63"))
    return SDA(net.float(), **settings)


def fitted(
    k: int = 4,
    width: int = WIDTH,
    *,
    epochs: int = EPOCHS,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> SDA:
    """The smoother, trained with windows of 2 k + 1 states."""
    from ..methods import SDA

    parts = chains()
    runs = (parts[name].astype("float32") for name in ("train", "validation"))
    net = network(k, width)
    return SDA.fit(net, *runs, epochs=epochs, checkpoint=checkpoint, progress=progress)


def train(folder: str | Path, k: int = 4, *, progress: bool = True) -> dict[str, float]:
    """Train; weights in half precision and a checkpoint go to the folder."""
    import torch

    from ..methods.score.window import pieces
    from ..neural.draws import Draws
    from ..neural.local_score import denoising
    from ..neural.weights import Card, save_weights

    folder = Path(folder)
    net = fitted(k, checkpoint=folder / f"{k}.checkpoint", progress=progress).net.half().float()
    runs = chains()["validation"].astype("float32")
    with Draws(torch_seed(Purpose.CASE, 0), []).turn(), torch.no_grad():
        value = float(denoising(net, pieces(runs, 2 * k + 1, net.mean)))
    told = {"mean square error of the noise": round(value, 5)}
    card = Card(COMMAND, DATA, 0, told, notes=f"k = {k}; metric: on the validation chains")
    name = "sda-lorenz63" if k == 4 else f"sda-lorenz63-{k}"
    save_weights(net.half(), folder / f"{name}.safetensors", card)
    return told


def main() -> None:
    """Train, and print the card's figure."""
    import torch

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--out", default="runs/sda", help="folder of weights and checkpoints")
    ask.add_argument("--k", type=int, default=4, help="neighbours on either side")
    ask.add_argument("--threads", type=int, default=1, help="1: the same bits on any machine")
    given = ask.parse_args()
    torch.set_num_threads(given.threads)
    print(train(given.out, given.k))


if __name__ == "__main__":
    main()
