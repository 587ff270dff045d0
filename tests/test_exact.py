"""Methods beside the exact answers of random linear problems, in 80 digits (exact.py)."""

import numpy as np
import pytest
from exact import posterior, problem

import dalearn as da


@pytest.mark.parametrize("seed", range(6))
def test_the_exact_answer_is_what_the_filter_says_of_tame_data(seed):
    """Sensors of a hundredth of the spread: both must agree, or the oracle is wrong."""
    p = problem(seed, worst=1e-2)
    wanted, got = posterior(p), da.assimilate(p, da.RTS(), progress=False)
    for stage in got["stage"].values:
        here = got.sel(stage=stage)
        assert np.allclose((here["mean"] - wanted.mean[stage]) / wanted.std(stage), 0, atol=1e-6)
        assert np.allclose(here["std"], wanted.std(stage), rtol=1e-6)
    assert np.allclose(got["log_likelihood"], wanted.log_likelihood, rtol=0, atol=1e-6)
