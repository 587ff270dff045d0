"""The two set-ups of LD-EnSF: Kolmogorov flow over Reynolds numbers, a tsunami over its origin.

    from dalearn.cases import ld_ensf
    setup = ld_ensf.kolmogorov()
    problem = ld_ensf.twin(setup, 10, sensors=10, noise=0.1)

    python -m dalearn.cases.ld_ensf --case kolmogorov --size paper --train --out runs/ld-ensf

The command makes the runs and, with `--train`, the networks: those of `ld_ensf_networks` for the
reduced size, those of the paper's text (`ld_ensf_paper`) for its own. After a kill it goes on.

What differs from run to run is a parameter, uniform in a box: the Reynolds number of a flow that
always starts alike, or the place where a bump of water is released. Training, validation and test
are different runs. P. Xiao, P. Si and P. Chen, LD-EnSF, 2024, take 150^2 points; the `reduced`
sizes of 64^2 points train on a small machine. Two things differ from the paper: the water does not
rotate, as in the first version of its text, and the reduced Kolmogorov flow ends at step 200
instead of 300, since later the runs of neighbouring Reynolds numbers have nothing in common any
more (`python -m benchmarks.ld_ensf --only window`).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..array import Array, typed
from ..models import Kolmogorov, ShallowWater
from .ld_ensf_setup import SetUp
from .ld_ensf_twin import twin

COMMAND = "python -m dalearn.cases.ld_ensf"

Size = Literal["reduced", "paper"]

__all__ = ["CASES", "Released", "SetUp", "kolmogorov", "shallow_water", "twin"]


# --- Kolmogorov flow --------------------------------------------------------------------------


def _flow(n: int, substeps: int, u: np.ndarray) -> Kolmogorov:
    reynolds = float(u[0]) if np.ndim(u) == 1 else np.asarray(u)[..., None]
    return Kolmogorov(n=n, reynolds=reynolds, dt=0.04, substeps=substeps)


def _still(n: int, u: np.ndarray) -> np.ndarray:
    one = Kolmogorov(n=n).random_flow(np.random.default_rng(42))
    return np.broadcast_to(one, (*u.shape[:-1], *one.shape))


@typed
def kolmogorov(size: Size = "reduced") -> SetUp:
    """Kolmogorov flow, Reynolds number uniform in (500, 1500), from one initial flow.

    Steps of 0.04, one state in five. The initial flow is `random_flow` of the generator
    `numpy.random.default_rng(42)`.

    Args:
        size: "reduced", 64^2 points and steps 100 to 200, 21 states; or "paper", 150^2 and steps
            100 to 300, 41 states.

    Returns:
        SetUp: with 120, 40 and 40 runs.
    """
    small = size == "reduced"
    n, substeps, last = (64, 2, 200) if small else (150, 10, 300)
    return SetUp(
        "kolmogorov",
        partial(_flow, n, substeps),
        partial(_still, n),
        (500.0,),
        (1500.0,),
        (1.11, 0.91) if small else (1.01, 0.91),
        (120, 40, 40),
        first=100,
        every=5,
        steps=last,
        carried="reynolds",
        periodic=True,
    )


# --- a tsunami --------------------------------------------------------------------------------


@typed
@dataclass(frozen=True, eq=False)
class Released:
    """Shallow water that remembers where its bump was released; the place changes no step.

    Args:
        model: the model of the water.
        centre: of the bump, x and y in m, `(..., 2)`.
    """

    model: ShallowWater
    centre: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""
        return self.model.shape

    @property
    def dt(self) -> Any:
        """The model's step, s."""
        return self.model.dt

    def __call__(self, x: Array) -> Array:
        return self.model(x)


def _basin(n: int, u: np.ndarray) -> Released:
    return Released(ShallowWater.ld_ensf(n, rotating=False), np.asarray(u))


def _bump(n: int, width: float, u: np.ndarray) -> np.ndarray:
    return ShallowWater.ld_ensf(n, rotating=False).bump(u, width)


@typed
def shallow_water(size: Size = "reduced") -> SetUp:
    """A tsunami in a closed basin of 1000 km, its origin uniform in the lower left quarter.

    A bump of water of 1 m on a depth of 100 m, without rotation, from rest. Waves cross a tenth of
    a cell in a step.

    Args:
        size: "reduced", 64^2 points, bumps 100 km wide, 850 steps, one state in 17; or "paper",
            150^2, 50 km, 2000 steps, one in 40. Both keep 51 states, the initial one among them.

    Returns:
        SetUp: with 280, 60 and 60 runs, or 120, 40 and 40.
    """
    small = size == "reduced"
    n, width, steps, every = (64, 1e5, 850, 17) if small else (150, 5e4, 2000, 40)
    return SetUp(
        "shallow-water",
        partial(_basin, n),
        partial(_bump, n, width),
        (0.0, 0.0),
        (5e5, 5e5),
        (0.117, 0.0231, 0.0231) if small else (0.058, 0.0124, 0.0124),
        (280, 60, 60) if small else (120, 40, 40),
        first=0,
        every=every,
        steps=steps,
        carried="centre",
        periodic=False,
    )


CASES = {"kolmogorov": kolmogorov, "shallow-water": shallow_water}


def gpu() -> str:
    """ "cuda" where torch is there and finds a GPU, else ""."""
    try:
        import torch
    except ImportError:
        return ""
    return "cuda" if torch.cuda.is_available() else ""


def main() -> None:
    """Make the runs of a set-up and train its networks, or go on with either after a kill."""
    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--case", choices=sorted(CASES), default="kolmogorov")
    ask.add_argument("--size", choices=("reduced", "paper"), default="reduced")
    ask.add_argument("--out", default="runs/ld-ensf", help="folder; states go to CASE-SIZE in it")
    ask.add_argument("--train", action="store_true", help="train the networks too")
    ask.add_argument("--device", help="of torch; by default a GPU for the paper's size, or NumPy")
    given = ask.parse_args()
    setup = CASES[given.case](given.size)
    folder = Path(given.out) / f"{given.case}-{given.size}"
    device = given.device or (given.size == "paper" and gpu()) or None
    states = setup.trajectories(to=folder, device=device, progress=True)
    print(f"{folder}/states.npy: {tuple(states.shape)} {states.dtype}")
    if given.train and given.size == "paper":
        from . import ld_ensf_paper as paper

        print(paper.table(paper.train(setup, f"{folder}-networks", states, device=device)[1]))
    elif given.train:
        import torch

        from .ld_ensf_training import train

        torch.set_num_threads(1)
        _, told = train(setup, f"{folder}-networks", np.asarray(states[:]))
        for name, metric in told.items():
            print(name, metric)


if __name__ == "__main__":
    main()
