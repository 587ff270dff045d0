"""What a result is worth.

    proper            energy, logarithmic and Dawid-Sebastiani scores
    reliability       probabilities that come true
    calibration       simulation-based calibration, over many twins
    scores            rmse, spread, climatology, crps, rank histogram
    scoreboard        time means, which experiments lost the truth, a row for each method
    intervals         how well a mean over a run is known; spread against error
    consistency       innovation chi-square, Desroziers statistics, degrees of freedom for signal
    ensembles         effective size and dimension
    explain           why an increment is as large as it is
    fields            results of field problems with the axes of the field
    motion            errors and roughness of fields of velocity
    nmc, di01         the shape and the size of B, from forecasts and innovations
    quality           rows of a table beside a run: departures, flags, withheld sensors
    audit             whether a learned experiment is a test: splits, first states, masks
    derivative_tests  gradients, adjoints, costs along a line
    lyapunov          growth of small differences

Diagnostics read the Dataset of `assimilate` or `compare`, vectorised over every case; those of
motions read arrays.
"""

from .audit import Audit, audit
from .calibration import simulation_based_calibration
from .consistency import degrees_of_freedom, desroziers, innovation_chi2
from .derivative_tests import adjoint_test, gradient_test, profile
from .di01 import Tuning, di01
from .ensembles import effective_dimension, effective_size
from .explain import Explanation, explain
from .fields import fields
from .intervals import autocorrelation_time, interval, spread_skill
from .losses import energy_score_ensemble, log_score_gaussian
from .lyapunov import lyapunov_exponents
from .motion import Roughness, angular_error, end_point_error, roughness
from .nmc import forecast_pairs, nmc
from .proper import dawid_sebastiani, energy_score, log_score
from .quality import quality, verify
from .reliability import reliability
from .scoreboard import lost, score, scoreboard
from .scores import (
    climatology,
    crps,
    crps_ensemble,
    crps_gaussian,
    rank_histogram,
    rmse,
    spread,
)

__all__ = [
    "Audit",
    "Explanation",
    "Roughness",
    "Tuning",
    "adjoint_test",
    "angular_error",
    "audit",
    "autocorrelation_time",
    "climatology",
    "crps",
    "crps_ensemble",
    "crps_gaussian",
    "dawid_sebastiani",
    "degrees_of_freedom",
    "desroziers",
    "di01",
    "effective_dimension",
    "effective_size",
    "end_point_error",
    "energy_score",
    "energy_score_ensemble",
    "explain",
    "fields",
    "forecast_pairs",
    "gradient_test",
    "innovation_chi2",
    "interval",
    "log_score",
    "log_score_gaussian",
    "lost",
    "lyapunov_exponents",
    "nmc",
    "profile",
    "quality",
    "rank_histogram",
    "reliability",
    "rmse",
    "roughness",
    "score",
    "scoreboard",
    "simulation_based_calibration",
    "spread",
    "spread_skill",
    "verify",
]
