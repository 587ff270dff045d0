"""How figures look: a colour, a line and a marker for each role, and the axes that have them.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), made for colour-blind readers;
in grey, lines and markers differ.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler

from ..array import typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _role(color, linestyle, marker=None, **more):
    return MappingProxyType({"color": color, "linestyle": linestyle, "marker": marker, **more})


# The truth is thin and on top, the analysis wide and below it: where they agree, both are seen.
palette: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "truth": _role("black", "-", linewidth=1.1, zorder=3),
        "observation": _role("#E69F00", "none", "x", markersize=5, markeredgewidth=1.4, zorder=4),
        "background": _role("#0072B2", "--", linewidth=1.6, zorder=2.2),
        "forecast": _role("#0072B2", "--", linewidth=1.6, zorder=2.2),
        "analysis": _role("#009E73", "-", linewidth=2.6, zorder=2.1),
        "smoothed": _role("#D55E00", ":", linewidth=2.2, zorder=2.3),
        "start": _role("#56B4E9", (0, (6, 1, 1, 1, 1, 1)), linewidth=1.6, zorder=2.2),
        "learned": _role("#CC79A7", "-.", linewidth=2.0, zorder=2.3),
        "ensemble": _role("0.6", "-", linewidth=0.6, zorder=1.8),
    }
)

settings: dict[Any, Any] = {
    "figure.figsize": (7.0, 3.2),
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",  # not transparent: black stays readable on a dark page
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": "small",
    # Solid lines first, or each line that sets only its colour would be dashed.
    "axes.prop_cycle": cycler(
        color=["#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"],
        linewidth=[1.2, 2.4, 2.2, 2.0, 1.6, 1.1],
        linestyle=["-", "-", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), "--"],
    ),
}


@typed
def style(role: str, **changes: Any) -> dict[str, Any]:
    """Arguments that draw a role of `palette`: `ax.plot(t, x, **style("truth", label="x"))`.

    Args:
        role: a key of `palette`, such as "truth" or "analysis".
        **changes: arguments that are added or take another value.

    Returns:
        A dict of keyword arguments for matplotlib.

    Raises:
        ValueError: an unknown role.
    """
    if role not in palette:
        raise ValueError(f"no style for {role!r}; the roles are {', '.join(palette)}")
    return {**palette[role], **changes}


def use_style() -> None:
    """Give every figure made from now on the book's look: write `settings` to `rcParams`.

    In a notebook figures also get two pixels to each of the screen's, so that they are sharp on
    any screen; their size on the page stays.
    """
    mpl.rcParams.update(settings)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def axes_or_new(ax, **figure) -> Axes:
    """`ax`, or axes of a new figure in the book's look."""
    if ax is not None:
        return ax
    with mpl.rc_context(settings):
        return plt.subplots(**figure)[1]


def legend(ax: Axes) -> Axes:
    """Above the axes on the right, where it covers no data; titles stand on the left."""
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2}
    if count := len(ax.get_legend_handles_labels()[0]):
        ax.legend(ncols=count, frameon=False, fontsize="small", columnspacing=1.4, **place)
    return ax
