"""Many trajectories, in memory or in files that outlast an interruption."""

from .run import simulate as simulate
