"""Derivatives through runs of filters, held to finite differences; and the log-likelihood."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from changing import changing
from examples import linear_gaussian
from scipy.stats import multivariate_normal

import dalearn as da
from dalearn.array import inverse_square_root
from dalearn.problem.experiment import part
from dalearn.run.learn import ensemble_density

DOUBLE = torch.zeros(1, dtype=torch.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Damped:
    """x <- a x + (x_2, x_3, ..., x_1) / 4, in any number of components."""

    a: Any

    def __call__(self, x):
        return self.a * x + torch.roll(x, 1, -1) / 4

    linear = True


def ring(theta, model, n=6, cycles=5, m=None):
    """A problem on a ring whose model, Q and R follow theta, `(3,)`."""
    a, q, r = theta
    m = n if m is None else m
    prior = da.Gaussian(torch.linspace(-1, 1, n).double(), da.Diagonal(torch.ones(n).double()))
    data = torch.as_tensor(np.random.default_rng(1).normal(size=(cycles, m)))
    data[1, 0] = torch.nan
    see = da.Observation(da.Subset(np.arange(m)), da.Diagonal(r * torch.ones(m).double()))
    noise = da.Diagonal(q * torch.ones(n).double())
    return da.Problem(model(a), see, prior, data, steps=2, noise=noise)


def lorenz(a):
    return da.Lorenz96(n=6, forcing=6 + a, dt=0.02)


def differences(f, x, h=1e-5):
    """The gradient of f at x by central differences."""
    steps = h * torch.eye(len(x)).double()
    return torch.stack([(f(x + e) - f(x - e)) / (2 * h) for e in steps])


def agrees(f, x, slack=1e-6):
    with da.gradients():
        given = x.clone().requires_grad_()
        value = f(given)
        (g,) = torch.autograd.grad(value, given)
    with torch.no_grad(), da.gradients():  # the same formulas, without derivatives
        wanted = differences(f, x)
    assert torch.isfinite(g).all()
    assert torch.allclose(g, wanted, rtol=slack, atol=slack * float(abs(wanted).max())), (
        g,
        wanted,
    )


THETA = torch.tensor([0.6, 0.2, 0.5], dtype=torch.float64)
LINE = da.Localization.ring(6, 1.5)

METHODS = [
    da.KF(),
    da.ExtendedKF(1.05),
    da.EnKF(5),
    da.EnKF(12),
    da.ETKF(4),
    da.ETKF(12, inflation=1.1),
    da.ETKF(8, rotate="haar"),
    da.DEnKF(8),
    da.EnSRF(8),
    da.LETKF(5, localization=LINE, inflation=da.RTPS(0.3)),
    da.ParticleFilter(30, soft=0.5, resample_below=1.0),
]


def named(method):
    return f"{type(method).__name__}-{getattr(method, 'members', '')}"


@pytest.mark.parametrize("model", [Damped, lorenz], ids=["linear", "lorenz"])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_model_q_and_r_have_the_gradients_of_finite_differences(method, model):
    if isinstance(method, da.KF) and model is lorenz:
        method = da.ExtendedKF()
    agrees(lambda theta: da.log_likelihood(ring(theta, model), method), THETA)


@pytest.mark.parametrize("m", [1, 2, 6])
def test_where_eigenvalues_coincide(m):
    # 12 members and m numbers: 12 - m eigenvalues of S S^T + (N - 1) I are the same
    agrees(lambda theta: da.log_likelihood(ring(theta, lorenz, m=m), da.ETKF(12)), THETA)


def test_inflation_and_radius_are_learned():
    def loss(x):
        place = da.Localization.ring(6, x[1])
        method = da.LETKF(5, localization=place, inflation=x[0])
        return da.log_likelihood(ring(THETA, lorenz), method, marginal=True)

    agrees(loss, torch.tensor([1.1, 1.3], dtype=torch.float64))
    agrees(loss, torch.tensor([1.02, 4.0], dtype=torch.float64))


def test_networks_in_the_model_get_gradients():
    torch.manual_seed(0)
    net = torch.nn.Linear(6, 6).double()

    class Corrected(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return 0.9 * x + 0.1 * self.net(x)

    problem = ring(THETA, lambda a: Corrected())
    with da.gradients():
        (-da.log_likelihood(problem, da.ETKF(8))).backward()
    g, h = net.bias.grad.clone(), 1e-5
    for i in (0, 3):
        values = []
        for s in (h, -h):
            with torch.no_grad():
                net.bias[i] += s
                values.append(-da.log_likelihood(problem, da.ETKF(8)))
                net.bias[i] -= s
        assert float((values[0] - values[1]) / (2 * h)) == pytest.approx(float(g[i]), rel=1e-5)


def test_without_the_context_nothing_is_kept():
    theta = THETA.clone().requires_grad_()
    assert not da.log_likelihood(ring(theta, lorenz), da.ETKF(8)).requires_grad
    with da.gradients():
        assert da.log_likelihood(ring(theta, lorenz), da.ETKF(8)).requires_grad
        result = da.assimilate(ring(theta, lorenz), da.ETKF(8), progress=False)
    plain = da.assimilate(ring(THETA, lorenz), da.ETKF(8), progress=False)
    assert np.allclose(result["mean"], plain["mean"], rtol=0, atol=1e-12)
    assert not da.log_likelihood(ring(theta, lorenz), da.ETKF(8)).requires_grad


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_plain_formulas_give_the_same_analyses(method):
    model = Damped if isinstance(method, da.KF) else lorenz
    usual = list(da.cycles(ring(THETA, model), method))
    with da.gradients():
        kept = list(da.cycles(ring(THETA, model), method))
    for a, b in zip(usual, kept, strict=True):
        assert torch.allclose(a.analysis.mean, b.analysis.mean, rtol=0, atol=1e-10)
        assert torch.allclose(a.analysis.std, b.analysis.std, rtol=0, atol=1e-10)


def test_the_root_has_a_derivative_where_eigenvalues_coincide():
    A = torch.eye(4).double() * 3
    A[0, 0] = 5
    agrees(
        lambda v: inverse_square_root(A + torch.outer(v, v))[0, 1:].sum(), torch.ones(4).double()
    )
    symmetric = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    symmetric = (symmetric @ symmetric.mT + torch.eye(4)).requires_grad_()
    f = lambda A: inverse_square_root((A + A.mT) / 2)  # noqa: E731
    assert torch.autograd.gradcheck(f, symmetric)


def test_the_kalman_filter_has_the_density_of_all_data():
    p = linear_gaussian(cycles=4)
    A, H = p.model.A, p.observation.operator.matrix
    Q, R, P = p.noise.matrix(), p.observation.noise.matrix(), p.prior.cov.matrix()
    x, means, states, spread = p.prior.mean, [], [], P
    for _ in range(4):
        for _ in range(2):
            x, spread = A @ x, A @ spread @ A.T + Q
        means.append(H @ x)
        states.append(spread)
    M, C = A @ A, np.zeros((4, 2, 4, 2))
    for i in range(4):
        for j in range(i, 4):
            C[i, :, j] = H @ states[i] @ np.linalg.matrix_power(M, j - i).T @ H.T
            C[j, :, i] = C[i, :, j].T
        C[i, :, i] += R
    whole = multivariate_normal(np.concatenate(means), C.reshape(8, 8))
    wanted = whole.logpdf(p.data.reshape(-1))
    for method in (da.KF(), da.ExtendedKF(), da.UKF()):
        assert float(da.log_likelihood(p, method)) == pytest.approx(wanted, abs=1e-9)
    some = float(da.log_likelihood(p, da.KF(), skip=2))
    assert some == pytest.approx(
        wanted - multivariate_normal(np.concatenate(means[:2]), C[:2, :, :2].reshape(4, 4)).logpdf(
            p.data[:2].reshape(-1)
        ), abs=1e-9)  # fmt: skip
    # 2000 members: 0.05 in a log-likelihood of 8 data; particles 20 000
    large = da.log_likelihood(p.expand((8,)), da.EnKF(2000)).mean()
    assert float(large) == pytest.approx(wanted, abs=0.05)
    cloud = da.log_likelihood(p.expand((4,)), da.ParticleFilter(20_000)).mean()
    assert float(cloud) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("N", [3, 8])
def test_the_density_of_an_ensemble_is_that_of_its_gaussian(N):
    rng = np.random.default_rng(0)
    Y, y, r = rng.normal(size=(N, 5)), rng.normal(size=5), rng.uniform(0.5, 2, 5)
    h = Y.mean(axis=0)
    Z = (Y - h) / (N - 1) ** 0.5
    whole = multivariate_normal(h, Z.T @ Z + np.diag(r))
    found = ensemble_density(h[None], Z, y, da.Diagonal(r))
    assert float(found) == pytest.approx(whole.logpdf(y), abs=1e-10)
    seen = np.array([True, False, True, True, False])
    masked, some = da.Diagonal(r).masked(seen), np.ix_(seen, seen)
    part = multivariate_normal(h[seen], (Z.T @ Z + np.diag(r))[some])
    shut = np.where(seen, y, 0)
    assert float(ensemble_density(h[None], Z, shut, masked)) == pytest.approx(
        part.logpdf(y[seen]), abs=1e-10
    )
    alone = np.diag(Z.T @ Z) + r
    wanted = sum(multivariate_normal(h[i], alone[i]).logpdf(y[i]) for i in np.flatnonzero(seen))
    assert float(ensemble_density(h[None], Z, shut, masked, True)) == pytest.approx(wanted)


def test_soft_resampling_leaves_the_posterior():
    p = linear_gaussian(cycles=4)
    exact = da.assimilate(p, da.KF(), progress=False)["mean"].sel(stage="analysis")
    for soft in (1.0, 0.5):
        method = da.ParticleFilter(4000, soft=soft, resample_below=1.0)
        batch = da.assimilate(p.expand((16,)), method, progress=False).sel(stage="analysis")
        gap = batch["mean"] - exact
        # 12 numbers, each within four standard errors of the 16 runs
        assert (abs(gap.mean("case")) < 4 * gap.std("case") / 15**0.5).all()


def test_what_has_no_likelihood_says_so():
    p = linear_gaussian(cycles=3)
    with pytest.raises(TypeError, match="without a log-likelihood"):
        da.log_likelihood(p, da.OI())
    with pytest.raises(TypeError, match="has a log-likelihood of its own"):
        da.log_likelihood(p, da.KF(), marginal=True)
    with pytest.raises(ValueError, match="skip = 3 leaves none of 3"):
        da.log_likelihood(p, da.KF(), skip=3)
    with pytest.raises(ValueError, match="soft"):
        da.ParticleFilter(10, soft=0.0)


def test_part_is_the_problem_of_some_of_its_times():
    problem, _ = changing()
    whole = list(da.cycles(problem, da.KF()))
    again = part(problem, 2, 5, whole[1].analysis)
    for a, b in zip(da.cycles(again, da.KF()), whole[2:], strict=True):
        assert np.allclose(a.analysis.mean, b.analysis.mean, rtol=0, atol=1e-12)
        assert np.allclose(a.analysis.std, b.analysis.std, rtol=0, atol=1e-12)


def test_learning_finds_the_variance_of_the_model_and_of_the_data():
    p = linear_gaussian(cycles=200, noise=False, batch=(4,))
    q, r = 0.3, 0.8
    p = da.twin(p.model, p.observation, p.prior, 200, steps=1, batch=(4,),
                noise=da.Diagonal(q * np.ones(3)))  # fmt: skip
    rough = p.observation.noise.matrix() * r
    seen = np.random.default_rng(0).normal(size=p.data.shape) @ np.linalg.cholesky(rough).T
    clean = p.truth @ p.observation.operator.matrix.T
    p = dataclasses.replace(p, data=clean + seen).to(DOUBLE)
    u = torch.tensor([1.0, 0.1], dtype=torch.float64).log().requires_grad_()

    def make():
        R = da.Dense.unchecked(p.observation.noise.matrix() * u[1].exp())
        see = dataclasses.replace(p.observation, noise=R)
        Q = da.Diagonal(u[0].exp() * torch.ones(3).double())
        return dataclasses.replace(p, observation=see, noise=Q), da.KF()

    losses = da.learn(make, [u], window=10, passes=3, loss="likelihood")
    assert np.mean(losses[-5:]) < np.mean(losses[:2])
    # 800 times of 2 numbers: a variance is known to about 5 %, and the last step's noise as much
    assert u.detach().exp().numpy() == pytest.approx([q, r], rel=0.2)


def test_learning_says_what_is_wrong():
    problem = ring(THETA, lorenz)
    u = torch.ones(1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(TypeError, match="leaf tensors that require gradients"):
        da.learn(lambda: (problem, da.ETKF(5)), [u * 2])
    with pytest.raises(TypeError, match="met none"):
        da.learn(lambda: (problem, da.ETKF(5)), [])
    with pytest.raises(ValueError, match="does not depend on the parameters"):
        da.learn(lambda: (problem, da.ETKF(5)), [u])
    plain = linear_gaussian(cycles=3)
    with pytest.raises(TypeError, match="a problem of torch, met one of NumPy"):
        da.learn(lambda: (plain, da.ETKF(5)), [u])
    with pytest.raises(FloatingPointError, match="no window had a finite loss"):
        da.learn(lambda: (ring(1e200 * u * THETA, Damped), da.ETKF(5)), [u])
