"""What a result is worth: scores, intervals, consistency, and tests of derivatives."""

from .consistency import (
    degrees_of_freedom,
    desroziers,
    effective_dimension,
    effective_size,
    innovation_chi2,
)
from .derivative_tests import adjoint_test, gradient_test, profile
from .di01 import Tuning, di01
from .explain import Explanation, explain
from .intervals import autocorrelation_time, interval, spread_skill
from .lyapunov import lyapunov_exponents
from .nmc import forecast_pairs, nmc
from .scores import (
    climatology,
    crps,
    crps_ensemble,
    crps_gaussian,
    lost,
    rank_histogram,
    rmse,
    score,
    scoreboard,
    spread,
)

__all__ = [
    "Explanation",
    "Tuning",
    "adjoint_test",
    "autocorrelation_time",
    "climatology",
    "crps",
    "crps_ensemble",
    "crps_gaussian",
    "degrees_of_freedom",
    "desroziers",
    "di01",
    "effective_dimension",
    "effective_size",
    "explain",
    "forecast_pairs",
    "gradient_test",
    "innovation_chi2",
    "interval",
    "lost",
    "lyapunov_exponents",
    "nmc",
    "profile",
    "rank_histogram",
    "rmse",
    "score",
    "scoreboard",
    "spread",
    "spread_skill",
]
