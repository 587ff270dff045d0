"""No unit matters to diagnostics and to the climatology: x -> D x."""

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.methods.background import background

D = 10.0 ** np.array([-6.0, 0.0, 6.0])


def rescaled(f, d=D):
    def g(x):
        own = torch.as_tensor(d, dtype=x.dtype) if isinstance(x, torch.Tensor) else d
        return f(x / own) * own

    g.dt = getattr(f, "dt", 1.0)
    return g


def test_lyapunov_exponents():
    model = da.Lorenz63()
    x = np.array([1.5, -1.5, 25.0]) + np.random.default_rng(0).normal(size=(3, 3))
    for _ in range(200):
        x = model(x)
    one, scaled = (
        da.lyapunov_exponents(f, u, steps=3000)[0]
        for f, u in ((model, x), (rescaled(model), x * D))
    )
    # the trajectories part by chaos; the last exponent is near -14.6, the first near 0.9
    assert np.allclose(one, scaled, rtol=0, atol=0.3)


@pytest.mark.parametrize("small", [0, 2])
def test_a_wrong_adjoint_of_a_small_component_is_seen(small):
    x, A = (
        np.array([1.0, 2.0, 3.0]) * D,
        np.array([[0.9, 0.1, 0.2], [0.3, 0.8, 0.1], [0.2, 0.1, 0.7]]),
    )
    A = A * D[:, None] / D
    wrong = A.copy()
    wrong[small, small] *= 1.01
    pair = {"tangent": lambda x, p: p @ A.T}
    assert da.adjoint_test(da.Linear(A), x, **pair, adjoint=lambda x, q: q @ A) < 1e-14
    assert da.adjoint_test(da.Linear(A), x, **pair, adjoint=lambda x, q: q @ wrong) > 1e-5


def test_the_climatology_keeps_small_variances():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 3)) * np.array([1e-15, 1.0, 1e9])
    prior = da.Gaussian(np.zeros(3), np.ones(3))
    seen = da.Observation(da.identity, np.ones(3))
    problem = da.Problem(da.Linear(np.eye(3)), seen, prior, truth, truth=truth)
    C = background("climatology", problem, "")
    assert np.allclose(C.variance(), truth.var(0, ddof=1), rtol=1e-12, atol=0)
