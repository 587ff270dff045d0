"""How many CPU seconds a test file may take: what `make test` is held to."""

import os
from pathlib import Path

from yardstick import slowness

USUAL = 15  # CPU seconds; most files take less than five
BOUNDS = {
    "test_published": 50,
    "test_methods": 110,
    "test_particles": 45,
    "test_smoothers": 70,
    "test_kalman_family": 50,
    "test_fields": 35,
    "test_ensemble": 30,
    "test_networks_in_the_loop": 40,
    "test_weak": 35,
    "test_neural": 25,
    "test_site": 120,  # Chromium and the server of JupyterLab among them
    "test_lab": 40,
    "test_static_widget": 40,
    "test_compare": 80,
    "test_light": 35,
    "test_bad_input": 40,
    "test_cases": 35,
    "test_benchmarks": 25,
    "test_oracles": 40,
    "test_properties": 40,
    "test_two_scale": 20,
    "test_variational": 40,
    "test_adding": 25,
    "test_execution": 25,
    "test_hard": 25,
    "test_scale": 35,
    "test_latent": 25,
    "test_damage": 25,
    "test_changes": 20,
    "test_two_writers": 20,
}

# A run fails where a file takes more than FACTOR times its bound, in seconds of the machine that
# the bounds were set on (`slowness`). The factor covers what a measurement varies by on a busy
# machine (neighbours in the caches: up to 1.7 seen), and the imports of torch, xarray and scipy,
# 4 s, which the first file in each process pays.
FACTOR = 2


def of(path) -> float:
    return BOUNDS.get(Path(path).stem, USUAL)


def exceeded(cpu: float, bound: float) -> bool:
    """Whether a file took too long; at the lengths of the papers (`make proofs`) none does."""
    if os.environ.get("DALEARN_PROOFS") == "1":
        return False
    return cpu > FACTOR * bound and cpu > FACTOR * bound * slowness()
