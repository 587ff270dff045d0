"""Covariances that settle: they repeat to the bit, so that a long run makes few of them."""

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.array import triangle
from dalearn.methods.gaussian import backward, kalman
from dalearn.methods.gaussian.square_root import settled

TIMES = 600


def walk(seed):
    """A stable random model of 2 to 6 components, half of them seen, in mixed units."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 7))
    m, units = (n + 1) // 2, 10.0 ** rng.integers(-6, 7, size=n)
    A = rng.normal(size=(n, n))
    A = units[:, None] * A / (1.05 * abs(np.linalg.eigvals(A)).max()) / units
    see = da.Observation(rng.normal(size=(m, n)) / units, da.Diagonal(np.ones(m)))
    prior = da.Gaussian(np.zeros(n), da.Diagonal(units**2))
    y = np.cumsum(rng.normal(size=(TIMES, m)), axis=0)
    return da.Problem(da.Linear(A), see, prior, y, noise=da.Diagonal(0.1 * units**2))


@pytest.mark.parametrize("seed", range(4))
def test_few_covariances_are_made_and_they_are_right(seed, monkeypatch):
    made, problem = [], walk(seed)

    def count(name, module):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a: (made.append(name), real(*a))[1])

    count("_taught", kalman)
    count("_spread", backward)
    got = da.assimilate(problem, da.RTS(), progress=False)
    assert made.count("_taught") < TIMES / 2
    assert made.count("_spread") < TIMES * 3 / 4
    for module in (kalman, backward):
        monkeypatch.setattr(module, "settled", lambda X: X)
    exact = da.assimilate(problem, da.RTS(), progress=False)
    # each step moves a number by 2^-49 at most: 1e-12 were the sum of 600
    assert float((abs(got["mean"] - exact["mean"]) / exact["std"]).max()) < 1e-12
    assert float(abs(got["std"] / exact["std"] - 1).max()) < 1e-12


def test_rows_have_a_sign_and_end_on_zeros():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(3, 7, 4)) * 10.0 ** rng.integers(-300, 300, size=(3, 1, 4))
    for U in (triangle(A), triangle(torch.as_tensor(A)).numpy(), triangle(A[:, :2])):
        assert (np.diagonal(U, axis1=-2, axis2=-1) >= 0).all()
    U = triangle(A[0] / 1e3)
    X = settled(U)
    assert (X.view(np.int64) % 16 == 0).all()
    assert np.allclose(X, U, rtol=2.0**-49, atol=0)
    assert np.isnan(settled(np.full((1, 1), np.nan))).all()
    assert np.isinf(settled(np.full((1, 1), np.inf))).all()
    assert settled(np.ones((2, 2), "f4")).dtype == np.float32
