"""What a state of latent assimilation of fires is: burnt flags, or the distance to the edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .wildfire import Fires
from .wildfire_flags import distance, filled, majority


@dataclass(frozen=True, eq=False)
class View:
    """What a state is: flags or a distance, less its mean over the training fires.

    A state is then linear in its code, and what is observed is the state itself.

    Args:
        name: "burnt", flags themselves, or "distance", the signed distance to the edge.
        mean: of the training fires, `(n,)`.
    """

    name: str
    mean: np.ndarray

    @classmethod
    def of_fires(cls, name: str, fires: Fires) -> View:
        """The view with the mean of these fires."""
        return cls(name, RAW[name](fires.burnt[:, ::2]).mean((0, 1)))

    def of(self, burnt: np.ndarray) -> np.ndarray:
        """States `(..., n)` of flags `(..., n)` without gaps."""
        return RAW[self.name](burnt) - self.mean

    def data(self, flags: np.ndarray) -> np.ndarray:
        """Data `(..., n)` of noisy flags with NaN under clouds: the state, with errors.

        Flags as they are; the distance of flags by majority.
        """
        if self.name == "burnt":
            return flags - self.mean
        return np.where(np.isnan(flags), np.nan, self.of(filled(majority(flags))))

    def mask(self, x: Any) -> Any:
        """Which cells of states are burnt, booleans."""
        return x + self.mean > (0.5 if self.name == "burnt" else 0.0)


def unchanged(burnt: np.ndarray) -> np.ndarray:
    """Flags as states."""
    return burnt


RAW = {"burnt": unchanged, "distance": distance}
