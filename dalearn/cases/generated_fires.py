"""Fires drawn at random for any landscape: a VQ-VAE of arrival times, and a prior over its words.

    python -m dalearn.cases.generated_fires --out runs/generated-fires

A fire of 80 steps is one map of arrival times, see `fire_maps`; the VQ-VAE writes it as a word of
8 x 8 letters of an alphabet of 64, and a causal transformer learns which words occur on a given
landscape after an ignition at a given cell. The task is that of S. Cheng, Y. Guo and R. Arcucci, A
generative model for surrogates of spatial-temporal wildfire nowcasting, arXiv 2308.02810, 2023,
whose VQ-VAE codes sequences of maps of one real landscape by convolutions in three dimensions.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import fire_maps, fire_measures
from .fire_maps import MAPS, SIDE, STEPS, FireMaps

if TYPE_CHECKING:
    from torch import Tensor

    from ..neural import VQVAE, CodePrior

CODES, WIDTH, CHANNELS, GRID = 64, 32, (16, 32, 32), (8, 8)
EACH, EPOCHS, PRIOR_EPOCHS = 10, 9, 15  # fires on each landscape of the training, passes over them

COMMAND = "python -m dalearn.cases.generated_fires"
DATA = "4000 fires of 80 steps on {} landscapes of 64 x 64 cells, seeds {}; no wind"
PRIOR_LANDS = range(4000, 4800)  # more ground, fewer fires on each


@dataclass(frozen=True)
class Gap:
    """How far what is decoded is from a fire: whether, by cross-entropy, and when, squared.

    Args:
        late: the weight of the mean square error of the times, in units of all steps.
    """

    late: float = 30.0

    def __call__(self, found: Tensor, x: Tensor) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        burnt = x[:, 0]
        when = ((found[:, 1] - x[:, 1]) ** 2 * burnt).sum() / burnt.sum()
        return binary_cross_entropy_with_logits(found[:, 0], burnt) + self.late * when


def coder(seed: int = 0) -> VQVAE:
    """The VQ-VAE before training."""
    from ..neural import VQVAE, seeded

    return seeded(seed, VQVAE, (2, SIDE, SIDE), CODES, WIDTH, CHANNELS, maps=MAPS)


def prior(seed: int = 0) -> CodePrior:
    """The prior before training."""
    from ..neural import CodePrior, seeded

    return seeded(seed, CodePrior, GRID, CODES, maps=MAPS + 2, times=SIDE // GRID[0])


def lit(maps: Any, cells: np.ndarray) -> Tensor:
    """Maps `([S,] 4, h, w)` and where fires begin, `(S, 6, h, w)`: a bump, and the distance."""
    import torch

    maps = torch.as_tensor(maps).expand(len(cells), -1, -1, -1)
    row, column = torch.as_tensor(cells, dtype=maps.dtype).T[:, :, None, None]
    h, w = (torch.arange(n, dtype=maps.dtype) for n in maps.shape[-2:])
    far = ((h[:, None] - row) ** 2 + (w - column) ** 2).sqrt()
    return torch.cat((maps, torch.stack((torch.exp(-(far**2) / 18), far / 32), 1)), dim=1)


def anywhere(maps: Any, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random cells with fuel, `(count, 2)`, of the ground of each fire."""
    fuel = np.broadcast_to(np.asarray(maps)[..., 0, :, :] > 0, (count, SIDE, SIDE))
    chance = rng.random(fuel.shape) * fuel
    return np.stack(np.unravel_index(chance.reshape(count, -1).argmax(-1), fuel.shape[1:]), -1)


@dataclass(frozen=True, eq=False)
class Nets:
    """Both networks.

    Args:
        coder: the VQVAE.
        prior: the CodePrior.
    """

    coder: Any
    prior: Any

    def words(self, fires: FireMaps) -> Tensor:
        """The words of fires, integers `(S, 8, 8)`."""
        import torch

        states, maps = torch.from_numpy(fires.states()), torch.from_numpy(fires.maps)
        with torch.no_grad():
            parts = zip(states.flatten(1).split(256), maps.split(256), strict=True)
            return torch.cat([self.coder.codes(x, a) for x, a in parts])

    def fires(self, words: Tensor, maps: Any) -> np.ndarray:
        """Words `(S, 8, 8)` -> arrival times `(S, h, w)`, on ground `([S,] 4, h, w)`."""
        import torch

        maps = torch.as_tensor(maps).expand(len(words), -1, -1, -1)
        with torch.no_grad():
            parts = zip(words.split(256), maps.split(256), strict=True)
            found = torch.cat([self.coder.decode(self.coder.embed(k), a) for k, a in parts])
        return arrival_of(found.reshape(-1, 2, *maps.shape[-2:]), maps[:, 0])

    def draw(
        self, count: int, maps: Any, rng: np.random.Generator, cells: np.ndarray | None = None
    ) -> np.ndarray:
        """Fires drawn from the prior, arrival times `(count, h, w)`.

        Args:
            count: how many.
            maps: of the ground, `([count,] 4, h, w)`.
            rng: of the cells and letters.
            cells: where they begin, `(count, 2)`; anywhere with fuel if None.
        """
        cells = anywhere(maps, count, rng) if cells is None else cells
        return self.fires(self.prior.sample(count, rng, lit(maps, cells)), maps)


def arrival_of(found: Tensor, fuel: Tensor) -> np.ndarray:
    """What is decoded `(S, 2, h, w)` as arrival times: where it burns more likely than not."""
    import torch

    burnt = (found[:, 0] > 0) & (fuel > 0)
    return torch.where(burnt, STEPS * found[:, 1].clamp(0, 1), torch.inf).numpy()


def trained() -> Nets:
    """The networks with the weights that come with the package, in evaluation mode."""
    from ..neural import load_weights, shipped

    nets = Nets(coder(), prior())
    load_weights(nets.coder, shipped("fire-words"))
    load_weights(nets.prior, shipped("fire-prior"))
    return nets


def fit_coder(
    train: FireMaps, valid: FireMaps, *, epochs: int = EPOCHS, seed: int = 0, **settings: Any
) -> VQVAE:
    """A VQ-VAE of these fires; `settings` of `fit`."""
    import torch

    from ..neural import Committed, fit
    from ..neural.train import adam, cosine

    net = coder(seed)
    data, held = ((torch.from_numpy(f.states()), torch.from_numpy(f.maps)) for f in (train, valid))
    rates: Any = {"optimiser": adam(3e-3), "schedule": cosine(epochs), "batch": 32}
    fit(
        net, data, held, loss=Committed(0.25, Gap()), epochs=epochs, seed=seed, **rates, **settings
    )
    return net


def fit_prior(
    net: VQVAE,
    train: FireMaps,
    valid: FireMaps,
    *,
    epochs: int = PRIOR_EPOCHS,
    seed: int = 0,
    **settings: Any,
) -> CodePrior:
    """A prior over the words of these fires; `settings` of `fit`."""
    from ..neural import CodePrior, fit
    from ..neural.train import adam, cosine

    found, nets = prior(seed), Nets(net, None)
    data, held = ((nets.words(f), lit(f.maps, f.ignition)) for f in (train, valid))
    rates: Any = {"optimiser": adam(2e-3), "schedule": cosine(epochs), "batch": 32}
    fit(found, data, held, loss=CodePrior.nats, epochs=epochs, seed=seed, **rates, **settings)
    return found


def train(folder: str | Path, *, seed: int = 0, progress: bool = True) -> Nets:
    """Train both, and write them with their cards; called again after a kill it goes on."""
    from ..neural import Card, save_weights

    folder, begun = Path(folder), time.process_time()
    data, valid = fire_maps.fires("train", EACH), fire_maps.fires("validation", EACH)
    fire_maps.check_apart(data, valid)
    told: Any = {"seed": seed, "progress": progress}
    net = fit_coder(data, valid, checkpoint=folder / "words.checkpoint", **told)
    middle = time.process_time()
    more = fire_maps.fires(PRIOR_LANDS, EACH // 2)
    fire_maps.check_apart(more, valid)
    law = fit_prior(net, more, valid, checkpoint=folder / "prior.checkpoint", **told)
    nets, ended = Nets(net, law), time.process_time()
    spent = (
        {"CPU s, with data": round(middle - begun)},
        {"CPU s, with data": round(ended - middle)},
    )
    for name, module, metric, lands in (
        ("words", net, measured(nets, valid) | spent[0], (400, "1000 to 1399")),
        ("prior", law, drawn(nets, valid) | spent[1], (800, "4000 to 4799")),
    ):
        card = Card(COMMAND, DATA.format(*lands), seed, metric)
        save_weights(module, folder / f"fire-{name}.safetensors", card)
    return nets


def measured(nets: Nets, fires: FireMaps) -> dict[str, float]:
    """How well fires come back from their words."""
    words = nets.words(fires)
    back = nets.fires(words, fires.maps)
    both = np.isfinite(back) & fires.burnt
    late = back[both] - fires.arrival[both]
    return {
        "overlap, validation": round(float(fire_measures.overlap(back, fires.arrival).mean()), 4),
        "steps late, rms": round(float(np.sqrt((late**2).mean())), 2),
        "impossible": round(fire_measures.impossible(back), 5),
        "letters used": len(words.unique()),
    }


def drawn(nets: Nets, fires: FireMaps, seed: int = 0) -> dict[str, float]:
    """How fires drawn on the same ground compare: burnt shares, and the law's own score."""
    import torch

    from ..array import Purpose, generator

    new = nets.draw(len(fires), fires.maps, generator(Purpose.CASE, seed, 301))
    with torch.no_grad():
        nats = nets.prior.nats(nets.words(fires), lit(fires.maps, fires.ignition))
    halves = [np.median(fire_measures.share(a, fires.fuel)) for a in (new, fires.arrival)]
    return {
        "nats a letter, validation": round(float(nats), 3),
        "median burnt share, drawn": round(float(halves[0]), 3),
        "median burnt share, automaton": round(float(halves[1]), 3),
        "impossible": round(fire_measures.impossible(new), 5),
    }


def main() -> None:
    """Train, and print the cards' figures."""
    import torch

    from ..neural import read_card

    ask = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    ask.add_argument(
        "--out", default="runs/generated-fires", help="folder of weights, checkpoints"
    )
    torch.set_num_threads(1)
    folder = Path(ask.parse_args().out)
    train(folder)
    for name in ("words", "prior"):
        print(name, read_card(folder / f"fire-{name}.safetensors").metric)


if __name__ == "__main__":
    main()
