"""Running methods on problems: one run, sweeps over methods and seeds, trajectories."""
