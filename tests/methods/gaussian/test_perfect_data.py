"""Data without error and constraints: the Gaussian family beside one large Gaussian."""

import dataclasses

import numpy as np
import pytest
import torch

import dalearn as da

n, K = 3, 6
F = np.array([[0.9, 0.3, 0.0], [-0.2, 0.8, 0.1], [0.1, 0.0, 0.7]])
H = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
PRIOR = da.Gaussian(np.arange(3.0), np.diag([4.0, 1.0, 2.0]))
Q = 0.3 * np.eye(n)
SINGULAR = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
NOISES = {"zero": np.zeros((n, n)), "one": np.diag([0.0, 1.0, 0.5]), "rank-1": SINGULAR}
METHODS = da.KF(), da.ExtendedKF(), da.UKF(), da.RTS(), da.UnscentedRTS(), da.ExtendedRTS()


def problem(R, gaps=True, batch=()):
    p = da.twin(da.Linear(F), da.Observation(H, R), PRIOR, K, noise=Q, batch=batch, seed=3)
    y = np.array(p.data)
    if gaps:
        y[..., 2, 1], y[..., 3, :] = np.nan, np.nan
    return dataclasses.replace(p, data=y)


def joint(R, y):
    """Means and deviations of all states given all data, and the log density of the data."""
    L = np.hstack([PRIOR.cov.rows().T] + [np.zeros((n, n))] * K)
    mean, means, parts = PRIOR.mean, [], []
    for k in range(K):
        L, mean = F @ L, F @ mean
        L[:, n * (k + 1) : n * (k + 2)] += np.linalg.cholesky(Q)
        means.append(mean)
        parts.append(L)
    X, Y = np.vstack(parts), np.vstack([H @ part for part in parts])
    seen, d = ~np.isnan(y.ravel()), y.ravel() - np.concatenate([H @ m for m in means])
    S = (Y @ Y.T + np.kron(np.eye(K), R))[seen][:, seen]
    G = np.linalg.solve(S, (Y @ X.T)[seen]).T
    P = X @ X.T - G @ (Y @ X.T)[seen]
    x = np.concatenate(means) + G @ d[seen]
    score = -(np.linalg.slogdet(2 * np.pi * S)[1] + d[seen] @ np.linalg.solve(S, d[seen])) / 2
    return x.reshape(K, n), np.diag(P).reshape(K, n), score


@pytest.mark.parametrize("R", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_as_one_large_gaussian(method, R):
    p = problem(R)
    mean, variance, score = joint(R, p.data)
    got = da.assimilate(p, method, progress=False)
    whole = "smoothed" in got["stage"]
    stage = got.sel(stage="smoothed" if whole else "analysis")
    at = slice(None) if whole else slice(-1, None)
    assert np.allclose(stage["mean"][at], mean[at], rtol=0, atol=1e-11)
    assert np.allclose(stage["std"][at] ** 2, variance[at], rtol=0, atol=1e-11)
    assert float(got["log_likelihood"].sum()) == pytest.approx(score, abs=1e-9)


def test_a_twin_without_errors_shows_its_truth():
    p = problem(np.zeros(n), gaps=False)
    assert np.allclose(p.data, p.truth @ H.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("R", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("method", METHODS[:4], ids=lambda m: type(m).__name__)
def test_batches_and_torch(method, R):
    p = problem(R, batch=2)
    both = da.assimilate(p, method, progress=False)
    for b in range(2):
        one = da.assimilate(p[b], method, progress=False)
        assert np.array_equal(
            both["mean"][b], one["mean"][0] if one["mean"].ndim > 3 else one["mean"]
        )
    other = da.assimilate(p.to(torch.zeros(1, dtype=torch.float64)), method, progress=False)
    assert np.allclose(other["mean"], both["mean"], rtol=0, atol=1e-12)
    assert np.allclose(other["log_likelihood"], both["log_likelihood"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS[:4], ids=lambda m: type(m).__name__)
def test_units(method):
    """Components and data in units from 1e-6 to 1e6."""
    D, E = np.array([1e-6, 1.0, 1e6]), np.array([1e5, 1e-5, 1.0])
    p = problem(SINGULAR)
    scaled = da.Problem(
        da.Linear(D[:, None] * F / D),
        da.Observation(E[:, None] * H / D, SINGULAR * E * E[:, None]),
        da.Gaussian(PRIOR.mean * D, PRIOR.cov.matrix() * D * D[:, None]),
        p.data * E,
        noise=Q * D * D[:, None],
    )
    a, b = (da.assimilate(some, method, progress=False) for some in (p, scaled))
    assert np.allclose(b["mean"] / D, a["mean"], rtol=0, atol=1e-9)
    assert np.allclose(b["std"] ** 2 / D**2, a["std"] ** 2, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS[:4], ids=lambda m: type(m).__name__)
def test_a_constraint_again_and_again(method):
    """A sum that is known stays so, from a wide prior, and says nothing the second time."""
    y = np.array([[1.0, 0.2], [1.0, 0.25], [1.0, 0.21]])
    p = da.Problem(
        da.Linear(np.eye(3)),
        da.Observation(H[:2], [0.0, 0.01]),
        da.Gaussian(np.zeros(3), 1e6),
        y,
    )
    got = da.assimilate(p, method, progress=False)
    x = got["mean"].sel(stage="analysis").values
    assert np.allclose(x.sum(-1), 1.0, rtol=0, atol=1e-12)
    assert np.allclose(x[-1, 0], y[:, 1].mean(), rtol=0, atol=1e-7)
    alone = dataclasses.replace(p, observation=da.Observation(H[1:2], [0.01]), data=y[:, 1:])
    # given the sum, x_0 has two thirds of its variance
    alone = dataclasses.replace(alone, prior=da.Gaussian(np.ones(3) / 3, 2e6 / 3))
    later = da.assimilate(alone, da.KF(), progress=False)["log_likelihood"][1:]
    assert np.allclose(got["log_likelihood"][1:], later, rtol=0, atol=1e-6)


def test_the_same_perfect_number_twice():
    """Two equal sensors without error are one; two that differ are told."""
    A = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    y = np.array([[2.0, 2.0, 3.0], [2.5, 2.5, 3.0]])
    p = da.Problem(da.Linear(F), da.Observation(A, np.zeros(3)), PRIOR, y, noise=Q)
    once = dataclasses.replace(p, observation=da.Observation(A[1:], np.zeros(2)), data=y[:, 1:])
    a, b = (da.assimilate(some, da.KF(), progress=False) for some in (p, once))
    assert np.allclose(a["mean"], b["mean"], rtol=0, atol=1e-12)
    assert np.allclose(a["log_likelihood"], b["log_likelihood"], rtol=0, atol=1e-10)
    y = np.stack([y, y + np.array([[0, 0, 0], [0, 0.1, 0]])])
    with pytest.raises(ValueError, match=r"number 1 of experiment \[1\] is off by 0\.1 .*wanted"):
        da.assimilate(dataclasses.replace(p, data=y), da.KF(), progress=False)


@pytest.mark.parametrize(
    "method",
    [da.ETKF(5), da.EnKF(5), da.ParticleFilter(9), da.Var3D("prior")],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("R", [np.array([0.0, 1.0, 1.0]), SINGULAR], ids=["zero", "singular"])
def test_methods_that_whiten_say_so(method, R):
    with pytest.raises(ValueError, match=r"cannot be whitened.*KF, ExtendedKF, UKF, OI"):
        da.assimilate(problem(R, gaps=False), method, progress=False)


def test_derivatives_go_through():
    """Of an analysis in its data and in the forecast, beside differences."""
    from dalearn.methods import kalman_update

    R = da.Diagonal(torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64))
    x, P, h, y = (torch.tensor(a) for a in (np.zeros(3), PRIOR.cov.matrix(), np.ones(3), H[0]))

    def analysed(y, P):
        return kalman_update(x, P, h, torch.tensor(H), y, R)[0].sum()

    y, P = y.clone().requires_grad_(), P.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: analysed(y, P.detach()), (y,))
    E = torch.diag(torch.tensor([1e-5, 0, 0], dtype=torch.float64))
    (g,) = torch.autograd.grad(analysed(y.detach(), P), P)
    with torch.no_grad():
        slope = (analysed(y, P + E) - analysed(y, P - E)) / 2e-5
    assert float(g[0, 0]) == pytest.approx(float(slope), abs=1e-7)


def test_the_differentiable_filter_takes_them_too():
    """The log-likelihood of perfect data, as the filter on rows has it, and its slope in Q."""
    p = problem(NOISES["one"]).to(torch.zeros(1, dtype=torch.float64))

    def score(q):
        some = dataclasses.replace(p, noise=da.Diagonal(q * torch.ones(n, dtype=torch.float64)))
        return da.log_likelihood(some, da.KF())

    q = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    wanted = joint(NOISES["one"], p.data.numpy())[2]
    with da.gradients():
        found = score(q)
    assert float(found.detach()) == pytest.approx(wanted, abs=1e-9)
    (g,) = torch.autograd.grad(found.sum(), q)
    with torch.no_grad():
        slope = (score(q + 1e-5) - score(q - 1e-5)) / 2e-5
    assert float(g) == pytest.approx(float(slope), rel=1e-6)
