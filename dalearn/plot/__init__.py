"""Figures of results, scores and costs: xarray in, matplotlib axes out."""

from .costs import cost_profile, gradient_test
from .look import palette, settings, style, use_style
from .reliability import reliability
from .results import attractor, ensemble, field, hovmoeller, trajectories
from .scores import rank_histogram, spread_skill, spread_skill_scatter

__all__ = [
    "attractor",
    "cost_profile",
    "ensemble",
    "field",
    "gradient_test",
    "hovmoeller",
    "palette",
    "rank_histogram",
    "reliability",
    "settings",
    "spread_skill",
    "spread_skill_scatter",
    "style",
    "trajectories",
    "use_style",
]
