"""Figures in tests need no display."""

import matplotlib

matplotlib.use("Agg")
