"""Set-ups of `inversion_incremental`: test sets, observing systems, networks that are not shipped.

python -m benchmarks.inversion_incremental_setups        # trains them all, into runs/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dalearn.array import Purpose, torch_seed
from dalearn.cases import neural_incremental as cases
from dalearn.cases.neural_incremental_setup import KNOWN, SETUPS
from dalearn.neural import Card, Regular, Scattered, load_weights, save_weights
from dalearn.neural.draws import Draws
from dalearn.neural.incremental import Seen

FOLDER = Path("runs/inversion_incremental")
EPOCHS = 8  # half of those of the shipped network: all ways are compared at equal cost
NEW = 2, 5  # first times of the family that were not trained on
FAMILY = Regular(32, 3, 8, KNOWN)
WAYS: dict[str, dict[str, Any]] = {
    "banded": {},
    "none": {"form": "none"},
    "low-rank": {"form": "low-rank"},
    "reads": {"reads": True},
    "family": {"draw": FAMILY},
    "family, none": {"draw": FAMILY, "form": "none"},
}
SEEDS = {"banded": 3, "none": 3, "family": 2, "family, none": 2}

# observing systems of the tests on Lorenz-63: none was trained on as it is
SYSTEMS = {
    "u1 at 4 times, spacing 8": Regular(32, 3, 8),
    "the same, first times 2 and 5": Regular(32, 3, 8, NEW),
    "u1, u2 at 3 to 8 random places": Scattered(32, 3, 3, 8, (0, 1)),
    "u1, spacing 5": Regular(32, 3, 5),
    "u1, spacing 11": Regular(32, 3, 11),
    "u1 at 4 random times": Scattered(32, 3, 4, 4, (0,)),
    "u1 at 2 random times": Scattered(32, 3, 2, 2, (0,)),
    "u1 at 12 random times": Scattered(32, 3, 12, 12, (0,)),
    "u2 at 4 times, spacing 8": Regular(32, 3, 8, None, 1),
    "u3 at 4 times, spacing 8": Regular(32, 3, 8, None, 2),
}


@dataclass(frozen=True, eq=False)
class TestSet:
    """Trajectories, what is seen of them, and the data, in the units of a network.

    `physical` are the trajectories in their own units, `truth` in those of the network.
    """

    physical: torch.Tensor
    truth: torch.Tensor
    mask: torch.Tensor
    y: torch.Tensor
    seen: Seen
    std: torch.Tensor

    def rows(self, count: int) -> TestSet:
        """The first trajectories."""
        x, truth, mask, y = (v[:count] for v in (self.physical, self.truth, self.mask, self.y))
        return TestSet(x, truth, mask, y, Seen(*(v[:count] for v in self.seen)), self.std)


def drawn(name: str, net: Any, draw: Any, count: int, seed: int = 0) -> TestSet:
    """Fresh trajectories and data of a set-up."""
    setup = SETUPS[name]
    x = torch.as_tensor(setup.trajectories("test", count, seed)).float()
    std = setup.error * (net.std if setup.relative else torch.ones_like(net.std))
    with Draws(torch_seed(Purpose.CASE, 100 * setup.key + seed), []).turn():
        mask = draw(count)
        y = x + std * torch.randn_like(x)
    seen = net.seen(y, mask, std)
    return TestSet(
        x, (x - net.mean) / net.std, mask, (y - net.mean) / net.std, seen, std / net.std
    )


def network(way: str, seed: int = 0, name: str = "lorenz63-05") -> Any:
    """A trained network of Lorenz-63 that is not shipped; trained when first asked for."""
    path = FOLDER / f"{name}-{way.replace(', ', '-')}-{seed}.safetensors"
    told = dict(WAYS[way])
    draw = told.pop("draw", None)
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        settings = {"draw": draw, "epochs": EPOCHS, **told}
        net = cases.fitted(name, seed, **settings).net
        card = Card(
            "python -m benchmarks.inversion_incremental_setups", way, seed, {"epochs": 8.0}
        )
        save_weights(net, path, card)
    net = cases.network(name, seed, **told)
    load_weights(net, path)
    return net


if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed in range(max(SEEDS.values())):
        for way in WAYS:
            if seed < SEEDS.get(way, 1):
                network(way, seed)
                print(way, seed, flush=True)
