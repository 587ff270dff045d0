"""The figure of probabilities that come true, or do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..array import typed
from .look import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset


@typed
def reliability(found: Dataset, *, ax: Axes | None = None) -> Axes:
    """How often an event came true against its probability, with consistency bars.

    A bar holds the frequencies that a reliable forecast gives; points outside of it are no chance.
    Points flatter than the diagonal are of a forecast that is too sure. The small panel shows how
    many cases each bin has.

    Args:
        found: of `reliability`, of one method.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: something else, or several methods.
    """
    parts = "probability", "frequency", "low", "high", "count"
    lacks = [v for v in parts if v not in getattr(found, "data_vars", ())]
    if lacks or tuple(found["count"].dims) != ("bin",):
        raise ValueError(
            f"wanted the Dataset of reliability(...) with the dimension bin alone, met "
            f"{dict(found.sizes)} without {lacks}; select one method first"
        )
    p, f, low, high, n = (found[v].values.astype(float) for v in parts)
    some = n > 0
    p, f, low, high = (v[some] for v in (p, f, low, high))
    ax = axes_or_new(ax, figsize=(4.4, 3.8))
    ax.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="reliable")
    ax.vlines(p, low, high, color="0.75", linewidth=5, label="reliable draws")
    ax.plot(p, f, "o-", color="#0072B2", markersize=5, linewidth=1.2, label="observed")
    ax.set(xlabel="probability of the event", ylabel="relative frequency")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.legend(loc="upper left", frameon=False, fontsize="small")
    inset = ax.inset_axes((0.64, 0.1, 0.33, 0.2))
    inset.bar((np.arange(n.size) + 0.5) / n.size, n, width=0.9 / n.size, color="0.55")
    inset.set(xlim=(0, 1), xticks=[], title="cases")
    inset.set_yscale("symlog")
    inset.tick_params(labelsize=7)
    inset.title.set_fontsize(8)
    return ax
