"""Errors correlated in time and with each other: beside one Gaussian of all states and data."""

import dataclasses

import numpy as np
import pytest
import torch

import dalearn as da

n, m, K = 2, 2, 4
F = np.array([[0.9, 0.3], [-0.2, 0.8]])
H = np.array([[1.0, 1.0], [0.0, 1.0]])
P0, Q = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[0.5, 0.1], [0.1, 0.3]])
R, S = np.array([[0.4, 0.1], [0.1, 0.6]]), np.array([[0.1, -0.05], [0.0, 0.1]])
STEPS = [1, 2, 1, 3]
PLAIN = da.twin(
    da.Linear(F),
    da.Observation(H, R),
    da.Gaussian(np.ones(n), P0),
    K,
    steps=STEPS,
    noise=Q,
    seed=5,
)
CASES = {
    "model": {"model": 0.7},
    "data": {"data": [0.6, -0.3]},
    "part": {"data": 0.8, "share": 0.5},
    "cross": {"cross": S},
    "all": {"model": [0.5, 0.2], "data": 0.4, "share": 0.7, "cross": 0.5 * S},
}


def joint(y, model=0.0, data=0.0, share=1.0, cross=None, held=True):
    """Means and variances of the states at the data's times, and log p(y), by brute force.

    Every error is a row of coefficients of independent numbers.
    """
    a, b, total = np.zeros(n) + model, np.zeros(m) + data, sum(STEPS)
    W, V = Q * (1 - np.outer(a, a)), share * R * (1 - np.outer(b, b))
    C = np.zeros((n, m)) if cross is None else cross
    new = np.linalg.cholesky(np.block([[W, C], [C.T, V]]))
    size = n + n + m + total * (n + m) + K * m

    def part(at, root):
        out = np.zeros((len(root), size))
        out[:, at : at + root.shape[1]] = root
        return out

    x, mean = part(0, np.linalg.cholesky(P0)), np.ones(n)
    q, e = part(n, np.linalg.cholesky(Q)), part(2 * n, np.linalg.cholesky(share * R))
    at, xs, ys, means = 2 * n + m, [], [], []
    for k, steps in enumerate(STEPS):
        for _ in range(steps):
            fresh, at = part(at, new), at + n + m
            q, e = a[:, None] * q + fresh[:n], b[:, None] * e + fresh[n:]
            x, mean = F @ x + q, F @ mean
        white = part(size - (K - k) * m, (1 - share) ** 0.5 * np.linalg.cholesky(R))
        xs.append(x)
        ys.append(H @ x + e + white)
        means.append(mean)
    X, Y, d = np.vstack(xs), np.vstack(ys), y.ravel() - np.concatenate([H @ v for v in means])
    seen = ~np.isnan(d)
    A = (Y @ Y.T)[seen][:, seen]
    G = np.linalg.solve(A, (Y @ X.T)[seen]).T
    score = -(np.linalg.slogdet(2 * np.pi * A)[1] + d[seen] @ np.linalg.solve(A, d[seen])) / 2
    P = X @ X.T - G @ (Y @ X.T)[seen]
    return (np.concatenate(means) + G @ d[seen]).reshape(K, n), np.diag(P).reshape(K, n), score


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_as_one_large_gaussian(settings, gaps):
    y = np.array(PLAIN.data)
    if gaps:
        y[1, 0], y[2] = np.nan, np.nan
    p = da.coloured(dataclasses.replace(PLAIN, data=y), **settings)
    mean, variance, score = joint(y, **settings)
    got = da.assimilate(p, da.RTS(), progress=False)
    x = got.sel(stage="smoothed").isel(x=slice(n))
    assert np.allclose(x["mean"], mean, rtol=0, atol=1e-11)
    assert np.allclose(x["std"] ** 2, variance, rtol=0, atol=1e-11)
    assert float(got["log_likelihood"].sum()) == pytest.approx(score, abs=1e-10)
    assert np.isfinite(da.rmse(got.isel(x=slice(n)))).all()
    other = da.assimilate(p.to(torch.zeros(1, dtype=torch.float64)), da.RTS(), progress=False)
    assert np.allclose(other["mean"], got["mean"], rtol=0, atol=1e-11)


def test_correlations_of_zero_change_nothing():
    """a = b = 0 and S = 0: as without, though the errors stand in the state."""
    p = da.coloured(PLAIN, model=0.0, data=0.0, cross=np.zeros((n, m)))
    a, b = (da.assimilate(some, da.KF(), progress=False) for some in (PLAIN, p))
    assert np.allclose(a["mean"], b["mean"].isel(x=slice(n)), rtol=0, atol=1e-12)
    assert np.allclose(a["log_likelihood"], b["log_likelihood"], rtol=0, atol=1e-11)
    slow = da.assimilate(da.coloured(PLAIN, data=0.9), da.KF(), progress=False)["mean"]
    assert abs(float(slow[-1, -1, 0] - a["mean"][-1, -1, 0])) > 1e-3


def test_a_twin_of_it_has_such_errors():
    """Errors drawn in a long run: their correlation in time, and their covariance."""
    p = da.coloured(PLAIN, data=0.9, model=0.5)
    long = da.twin(p.model, p.observation, p.prior, 20000, noise=p.noise, seed=1)
    e = (long.data - long.truth[:, :n] @ H.T)[100:]
    assert np.allclose(e, long.truth[100:, -m:], rtol=0, atol=1e-12)
    assert np.allclose(e.T @ e / len(e), R, rtol=0, atol=0.06)
    q = long.truth[:, n : 2 * n]
    for z, b in ((e, 0.9), (q, 0.5)):
        for i in range(2):
            assert np.corrcoef(z[1:, i], z[:-1, i])[0, 1] == pytest.approx(b, abs=0.02)
    assert np.allclose(q.T @ q / len(q), Q, rtol=0, atol=0.03)


def test_fields_inputs_batches_and_ensembles():
    """A part of R that is slow goes to an ensemble filter too; fields are as vectors."""
    model = da.Lorenz96()
    plain = da.twin(
        model, da.Observation(da.Every(2), np.ones(20)), da.Gaussian(8 * np.ones(40), 1.0), 5,
        noise=0.01, batch=2,
    )  # fmt: skip
    slow = da.coloured(plain, data=0.9, share=0.5)
    got = da.assimilate(slow, da.ETKF(30), progress=False)
    assert got["mean"].shape[-1] == 60
    assert np.isfinite(got["mean"]).all()
    members = plain.prior.sample(np.random.default_rng(0), 7)
    drawn = da.coloured(dataclasses.replace(plain, prior=da.Ensemble(members)), data=0.9, seed=3)
    assert drawn.prior.members.shape == (2, 7, 60)
    assert np.array_equal(drawn.prior.members[0, :, :40], members)

    def told(x, u):
        return F[0, 0] * x + u

    def field(x, u):
        assert x.shape[1:] == (2, 3)
        return told(x, u)

    some = da.Problem(
        field,
        da.Observation(lambda x: x[:, 0, :], da.Diagonal(np.ones(3))),
        da.Gaussian(np.zeros(6), 1.0),
        np.zeros((4, 3)),
        noise=0.1,
        shape=(2, 3),
        inputs=np.arange(4.0),
    )
    flat = dataclasses.replace(
        some, model=told, observation=da.Observation(np.eye(6)[:3], np.ones(3)), shape=()
    )
    a, b = (
        da.assimilate(da.coloured(p, data=0.5, model=0.3), da.ExtendedKF(), progress=False)
        for p in (some, flat)
    )
    assert np.allclose(a["mean"], b["mean"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({}, ValueError, "wanted model=, data= or cross="),
        ({"model": 1.0}, ValueError, r"model must be a number in \(-1, 1\), or 2 of them, met 1"),
        ({"data": [0.1, 0.2, 0.3]}, ValueError, "data must be .* or 2 of them"),
        ({"data": 0.5, "share": 0.0}, ValueError, r"share must be in \(0, 1\], met 0"),
        ({"cross": np.eye(3)}, ValueError, r"cross has shape \(3, 3\), wanted \(2, 2\)"),
        ({"cross": np.eye(2)}, ValueError, "joint covariance of model and data errors"),
    ],
    ids=["nothing", "one", "three", "share", "shape", "too-large"],
)
def test_bad_settings(settings, error, words):
    with pytest.raises(error, match=words):
        da.coloured(PLAIN, **settings)


def test_problems_that_have_no_such_errors():
    with pytest.raises(TypeError, match=r"one noise Q for all steps.*met none"):
        da.coloured(dataclasses.replace(PLAIN, noise=None), model=0.5)
    with pytest.raises(TypeError, match="met one for each interval"):
        da.coloured(dataclasses.replace(PLAIN, noise=[da.Dense(Q)] * K), model=0.5)
    with pytest.raises(ValueError, match=r"steps of 0 before observation 2"):
        da.coloured(dataclasses.replace(PLAIN, steps=[1, 2, 0, 1]), data=0.5)
    several = da.Moving([PLAIN.observation] * K)
    with pytest.raises(TypeError, match="observation must be one of Observation"):
        da.coloured(dataclasses.replace(PLAIN, observation=several), data=0.5)
