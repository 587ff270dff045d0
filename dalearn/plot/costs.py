"""Figures of cost functions: their profile along a line, and the test of their gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..array import typed
from .look import axes_or_new, legend, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset


@typed
def cost_profile(profile: Dataset, *, ax: Axes | None = None) -> Axes:
    """A cost along a line, with its two terms, as `dalearn.profile` gives it.

    Dots mark the two points that the line goes through.

    Args:
        profile: the Dataset of `dalearn.profile`.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: another Dataset.
    """
    if "cost" not in getattr(profile, "data_vars", ()):
        raise ValueError(f"wanted the Dataset of dalearn.profile, met {type(profile).__name__}")
    ax, along = axes_or_new(ax), profile["along"].values
    looks = {"background": "background", "observations": "observation"}
    for name, role in looks.items():
        if name in profile:
            look = style(role, marker=None, linestyle="--" if name == "background" else ":")
            ax.plot(along, profile[name].values, **look, label=name)
    ax.plot(along, profile["cost"].values, **style("analysis", label="cost"))
    ends = profile["cost"].interp(along=[0.0, 1.0]).values
    ax.plot([0, 1], ends, "o", color="black", markersize=4, zorder=5)
    ax.set(xlabel="share of the way", ylabel="cost")
    return legend(ax)


@typed
def gradient_test(test: Dataset, *, ax: Axes | None = None) -> Axes:
    """The error of a gradient against the step, as `dalearn.gradient_test` gives it.

    A right gradient follows the line of first order down to round-off; a wrong one stays up.

    Args:
        test: the Dataset of `dalearn.gradient_test`.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: another Dataset.
    """
    if "error" not in getattr(test, "data_vars", ()):
        raise ValueError(f"wanted the Dataset of gradient_test, met {type(test).__name__}")
    ax, steps = axes_or_new(ax), test["step"].values
    error = test["error"].values
    ax.loglog(steps, error, **style("analysis", marker="o", markersize=4, label="error"))
    at = len(steps) // 3
    line = steps * error[at] / steps[at]
    ax.loglog(steps, line, **style("background", label="first order"))
    ax.set(xlabel="step", ylabel="relative error", ylim=(error.min() / 5, error.max() * 5))
    return legend(ax)
