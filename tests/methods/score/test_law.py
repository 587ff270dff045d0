"""EnSF and EnFF where everything is known: Gaussian priors, identity observations."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from lengths import full

import dalearn as da
from dalearn import Diagonal, EnFF, EnSF, Every, Observation, Pointwise, identity
from dalearn.array import Streams, array_namespace
from dalearn.methods import enff, ensf

SIGMAS = 0.05, 0.1, 0.5


def one(x):
    """f(x) = x, that nobody knows to be linear."""
    return 1.0 * x


def bent(x):
    return array_namespace(x).atan(x)


def seen(sigma, n=1, f=None):
    H = identity if f is None else Pointwise(f)
    return Observation(H, Diagonal(np.full(n, sigma**2)))


# --- the law -------------------------------------------------------------------------------------


def relaxed(sigma, eps_alpha, eps_beta, steps):
    """The continuous law, by classical Runge-Kutta of mean and variance: nothing of ours."""

    def slope(t, v):  # of (share of the member, share of the datum, variance) against 1 - t
        h, a, b2 = (1 - t) / sigma**2, 1 - (1 - eps_alpha) * t, eps_beta + (1 - eps_beta) * t
        f = -(1 - eps_alpha) / a
        g2 = (1 - eps_beta) - 2 * f * b2
        rate = -f - g2 * (1 / b2 + h)
        into = np.array([g2 * a / b2, g2 * h, g2])
        return np.array([rate, rate, 2 * rate]) * v + into

    v, dt = np.array([0.0, 0.0, 1.0]), 1 / steps
    for k in range(steps):
        t = 1 - k * dt
        k1 = slope(t, v)
        k2 = slope(t - dt / 2, v + dt / 2 * k1)
        k3 = slope(t - dt / 2, v + dt / 2 * k2)
        v = v + dt / 6 * (k1 + 2 * k2 + 2 * k3 + slope(t - dt, v + dt * k3))
    return v[0], v[1], math.sqrt(v[2])


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_law_is_the_continuous_one_in_the_limit(sigma):
    """Both steps tend to it; exponential ones are within 1 % of it from ten on."""
    exact = relaxed(sigma, 0.5, 0.025, 20_000)
    for method, tolerance in (
        (EnSF(2, steps=1000), 1e-4),
        (EnSF(2, steps=20_000, sampler="euler"), 8e-3),  # its error falls as 1 / K
        (EnSF(2, steps=20), 3e-3),
        (EnSF(2, steps=10), 1e-2),
    ):
        law = method.law(sigma**2)
        assert np.allclose(law, exact, atol=tolerance * max(exact)), method


def test_published_numbers_of_the_law():
    """Gains and spreads that a simulation of the public code's steps gives, K = 500."""
    gains = [EnSF(2, steps=500, sampler="euler").law(s**2).data for s in SIGMAS]
    assert np.allclose(gains, [0.917, 0.761, 0.194], atol=6e-4)
    euler, limit = (
        EnSF(2, steps=K, sampler=name).law(0.05**2).noise
        for K, name in ((500, "euler"), (1000, "exponential"))
    )
    assert abs(euler - 0.0452) < 3e-4
    assert abs(limit - 0.0340) < 3e-4
    still = [EnSF(2, steps=K, sampler="euler", eps_beta=0.0).law(0.05**2) for K in (500, 2000)]
    assert [round(law.data, 2) for law in still] == [0.33, 0.13]  # eps_beta = 0: K decides


def test_the_law_of_steps_that_are_too_long_says_so_by_its_size():
    """Without a warning of arithmetic: the tests make errors of those."""
    method = EnSF(2, steps=200, sampler="euler")
    law = method.law(np.array([1e-9, 1.0]))
    assert not abs(law.data[0]) < 1e100
    assert law.data[1] == method.law(1.0).data


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1])
def test_the_background_variance_is_eps_beta(sigma):
    """Gain eps_beta / (eps_beta + sigma^2) within 7 % for good data, whatever the spread."""
    for eps in (eps for eps in (0.01, 0.025, 0.1) if sigma**2 < eps / 2):
        law = EnSF(2, eps_beta=eps, steps=200).law(sigma**2)
        assert abs(law.data / (eps / (eps + sigma**2)) - 1) < 0.07
        assert abs(law.data + law.forecast - 1) < 0.02


@pytest.mark.parametrize(
    "method",
    [
        EnSF(2),
        EnSF(2, flow=True),
        EnSF(2, steps=300, sampler="euler"),
        EnSF(2, steps=300, sampler="euler", flow=True),
        EnSF(2, scale=3.0),
    ],
    ids=lambda m: f"{m.sampler}-{m.flow}-{m.scale}",
)
@pytest.mark.parametrize("form", ["closed", "looped", "mixed"])
def test_samples_follow_the_law(method, form):
    """Means, spreads of 6000 samples, in one draw, by the steps, and through a matrix H."""
    sigma, y, members = 0.3, 0.8, 6000
    H = {"closed": identity, "looped": Pointwise(one), "mixed": da.Linear([[1.0, 0], [1.0, 1.0]])}
    observe = Observation(H[form], Diagonal(np.full(2 if form == "mixed" else 1, sigma**2)))
    if form == "mixed":  # the sum of squares of H turns about: of this H the first is watched
        H = np.array([[1.0, 0.0], [0.0, 1.0]])
        observe = Observation(da.Linear(H), da.Dense(sigma**2 * np.eye(2)))
    n = 2 if form == "mixed" else 1
    data = np.full(n, y)
    for x in (-1.0, 2.0):
        E = np.full((members, n), x)
        new = ensf(E, data, observe, np.random.default_rng(1), method)[:, 0]
        law = method.law((sigma / method.scale) ** 2)
        std = law.noise * method.scale
        # four standard errors
        assert abs(new.mean() - law.forecast * x - law.data * y) < 4 * std / members**0.5 + 1e-12
        assert abs(new.std() / std - 1) < 4 / (2 * members) ** 0.5


def test_unobserved_components_get_noise_of_eps_beta():
    E = np.random.default_rng(0).normal(size=(4, 6))
    observe = Observation(Every(2), Diagonal(np.full(3, 0.01)))
    assert abs(EnSF(4, steps=50).law(math.inf).noise ** 2 - 0.025) < 1e-12
    many = np.stack(
        [
            ensf(E, np.zeros(3), observe, np.random.default_rng(i), EnSF(4))[:, 1::2]
            for i in range(full(100, 1000))
        ]
    )
    count = len(many) * 12
    assert abs((many - E[:, 1::2]).var() / 0.025 - 1) < 4 * (2 / count) ** 0.5


# --- the mixture ---------------------------------------------------------------------------------


def posterior(sigma, y, prior=1.0):
    gain = prior / (prior + sigma**2)
    return gain * y, math.sqrt((1 - gain) * prior)


def sample(method, sigma, y, members, seed=0):
    """A posterior of N(0, 1) by a filter whose members are a stratified sample of the prior."""
    from scipy.stats import norm

    E = norm.ppf((np.arange(members) + 0.5) / members)[:, None]
    return ensf(E, np.array([y]), seen(sigma), np.random.default_rng(seed), method)[:, 0]


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0])
def test_the_mixture_without_damping_tends_to_the_kalman_posterior(sigma):
    """With the likelihood inside the mixture no damping is needed; errors fall with K and N."""
    y, members = 1.0, full(400, 3000)
    method = EnSF(
        2, eps_alpha=0.01, eps_beta=1e-3, steps=full(100, 200), score="mixture", damping="exact"
    )
    mean, std = posterior(sigma, y)
    new = sample(method, sigma, y, members)
    slack = 4 / members**0.5  # of the sampler's own numbers
    assert abs(new.mean() - mean) < slack * std + 0.01
    assert abs(new.std() / std - 1) < slack / 2**0.5 + 0.02


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 1.0])
def test_linear_damping_leaves_too_small_a_spread(sigma):
    """h = 1 - t is a guess: the standard deviation is 6 to 27 % too small, with any K and N."""
    members = full(400, 3000)
    method = EnSF(2, eps_alpha=0.05, eps_beta=1e-3, steps=100, score="mixture")
    new = sample(method, sigma, 1.0, members)
    low = 1 - new.std() / posterior(sigma, 1.0)[1]
    assert 0.03 < low < 0.36


# --- the flow filter -----------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_flow_filter_goes_a_known_part_of_the_way(sigma):
    """x_a = y + exp(-guidance / sigma^2) (x_j + sigma_min z - y), of each member alone."""
    members, low, guidance, y = 40_000, 0.02, 0.05, 0.7
    method = EnFF(2, sigma_min=low, guidance=guidance, steps=12, field="one-sample")
    E, before = np.full((members, 1), 2.0), np.full((members, 1), -1.0)
    new = enff(E, before, np.array([y]), seen(sigma), np.random.default_rng(0), method)
    kept = math.exp(-guidance / sigma**2)
    assert abs(new.mean() - y - kept * (2.0 - y)) < 4 * kept * low / members**0.5 + 1e-9
    assert abs(new.std() - kept * low) < 4 * kept * low / (2 * members) ** 0.5 + 1e-9


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_the_flow_from_noise_forgets_early_guidance(sigma):
    """OT: e' = -(1 - low) e / s + guidance (y - x_j - low e / s) / sigma^2, and x_a = x_j + e."""
    low, guidance, x1, y, steps = 0.1, 0.05, 2.0, 0.7, 4000
    e = 0.0
    for k in range(steps):
        s = 1 - (1 - low) * (k + 0.5) / steps  # the middle of a step, implicit in e
        rate = (1 - low) / s + guidance / sigma**2 * low / s
        e = (
            e * math.exp(-rate / steps)
            + guidance / sigma**2 * (y - x1) * (1 - math.exp(-rate / steps)) / rate
        )
    E = np.full((2000, 1), x1)
    method = EnFF(
        2, coupling="OT", sigma_min=low, guidance=guidance, steps=2000, field="one-sample"
    )
    new = enff(E, E, np.array([y]), seen(sigma), np.random.default_rng(0), method)
    assert abs(new.mean() - x1 - e) < 4 * low / 2000**0.5 + 2e-3


def test_euler_steps_of_the_flow_filter_tend_to_the_exponential_ones():
    rng = np.random.default_rng(2)
    E, before, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), rng.normal(size=4)
    found = []
    for K in (200, 400, 800):
        a, b = (
            enff(E, before, y, seen(0.4, 4, bent), np.random.default_rng(0), EnFF(5, **s))
            for s in ({"steps": K}, {"steps": K, "sampler": "euler"})
        )
        found.append(abs(a - b).max())
    assert found[0] / found[1] > 1.8
    assert found[1] / found[2] > 1.8
    assert found[2] < 1e-3


def test_without_guidance_the_flow_filter_gives_back_the_forecast():
    """F2P moves each member along its path: to the forecast, and sigma_min of noise."""
    rng = np.random.default_rng(3)
    E, before = 3 * rng.normal(size=(20, 30)), 3 * rng.normal(size=(20, 30))
    method = EnFF(20, guidance=0.0, sigma_min=0.01)
    new = enff(E, before, np.zeros(30), seen(1.0, 30), np.random.default_rng(0), method)
    assert abs(new - E).max() < 0.05


# --- operators -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mixing:
    """Two numbers of five, each of several components, not linear."""

    def __call__(self, x):
        return 0.5 * (x[..., :2] + x[..., 2:4]) ** 2 + x[..., 4:]


def test_data_pull_along_the_gradient_of_the_likelihood():
    """In all forms: closed slopes, automatic ones, a matrix, a Jacobian, a given vjp."""
    from dalearn.methods.score.likelihood import data_of

    rng = np.random.default_rng(4)
    x, y5, y2 = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=2)
    auto = Observation(Pointwise(bent), Diagonal(rng.uniform(0.5, 2, 5)))
    known = Observation(Pointwise(np.arctan, derivative=lambda x: 1 / (1 + x * x)), auto.noise)
    half = Observation(Pointwise(np.arctan, at=Every(2)), Diagonal(rng.uniform(0.5, 2, 3)))
    mixing = Observation(Mixing(), da.Dense([[1.0, 0.3], [0.3, 0.5]]))
    matrix = Observation(da.Linear(rng.normal(size=(2, 5))), mixing.noise)

    def vjp(x, w):
        s = x[..., :2] + x[..., 2:4]
        return np.concatenate((w * s, w * s, w.sum(-1, keepdims=True)), -1)

    for observe, y, settings in (
        (known, y5, {"curved": True}),
        (half, y5[:3], {"curved": True}),
        (mixing, y2, {"curved": True}),
        (mixing, y2, {"curved": False}),
        (mixing, y2, {"curved": False, "vjp": vjp}),
        (matrix, y2, {"curved": True}),
        (matrix, y2, {"curved": False}),
    ):
        data = data_of(observe, y, x, 2.0, **{"vjp": None, **settings})

        def cost(z, observe=observe, y=y):
            d = observe.noise.whiten(y - observe(2.0 * z))
            return -0.5 * (d * d).sum(-1)

        h = 1e-6
        wanted = np.stack([(cost(x + h * e) - cost(x - h * e)) / (2 * h) for e in np.eye(5)], -1)
        assert np.allclose(data.pull(x)[0], wanted, atol=1e-7, rtol=1e-7)
    a, b = (data_of(o, y5, x, 1.0, vjp=None, curved=True).pull(x) for o in (known, auto))
    assert np.allclose(a[0], b[0], atol=1e-12)
    assert np.allclose(a[1].c, b[1].c, atol=1e-12)


def test_curvatures_of_both_forms_are_the_same_matrix():
    from dalearn.methods.score.likelihood import data_of

    rng = np.random.default_rng(5)
    x, y, v = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 5)), rng.normal(size=(2, 4, 5))
    R = rng.uniform(0.5, 2, 5)
    alone = Observation(Pointwise(bent), Diagonal(R))
    dense = Observation(bent, da.Dense(np.diag(R)))
    C1, C2 = (data_of(o, y, x, 1.5, vjp=None, curved=True).pull(x)[1] for o in (alone, dense))
    for factor in (lambda c: 1 / (1 + c), lambda c: c**0.5 + 2.0):
        (F1,), (F2,) = (C.functions(lambda c, f=factor: (f(c),)) for C in (C1, C2))
        assert np.allclose(F1.times(v), F2.times(v), atol=1e-10)


# --- how it is used ------------------------------------------------------------------------------


def test_blocks_do_not_change_the_law(monkeypatch):
    """Wide states are led block by block through all steps: other draws, the same law."""
    from dalearn.methods.score import sampling as module

    E = np.zeros((100, 400))
    observe = seen(0.3, 400, bent)
    whole = ensf(E, np.full(400, 0.5), observe, np.random.default_rng(0), EnSF(100))
    monkeypatch.setattr(module, "CACHED_NUMBERS", 100 * 30)
    parts = ensf(E, np.full(400, 0.5), observe, np.random.default_rng(0), EnSF(100))
    assert parts.shape == whole.shape
    assert not (parts == whole).all()
    slack = 4 * whole.std() / whole.size**0.5
    assert abs(parts.mean() - whole.mean()) < 2 * slack
    assert abs(parts.std() / whole.std() - 1) < 8 / (2 * whole.size) ** 0.5


@pytest.mark.parametrize("method", [EnSF(4, steps=100, sampler="euler"), EnFF(4, sampler="euler")])
def test_euler_steps_that_are_too_long_are_told(method):
    """Stability wants K > 0.45 / sigma^2 of the published settings, K > guidance / 2 sigma^2."""
    from dataclasses import replace

    twin = da.twin(da.Lorenz63(), seen(0.02, 3), da.Gaussian(np.ones(3), np.ones(3)), 2)
    with pytest.warns(da.Unstable, match="at least") as told:
        da.assimilate(twin, method, progress=False)
    assert len(told) >= 1
    with pytest.raises(da.Unstable, match="at least"):
        da.assimilate(twin, replace(method, unstable="raise"), progress=False)
    least = int(str(told[0].message).split("at least ")[1].split(",")[0])
    if isinstance(method, EnSF):
        assert 0.48 < least * 0.02**2 < 0.52  # and the noise grows without it, see the law
        assert EnSF(2, steps=least, sampler="euler").law(0.02**2).noise < 10
        assert EnSF(2, steps=int(0.9 * least), sampler="euler").law(0.02**2).noise > 1e6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        da.assimilate(twin, replace(method, steps=least + 10), progress=False)


def test_regression_moves_what_is_not_observed():
    """A pair of which one is seen: the other moves by the regression of the forecast."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(50, 1))
    E = np.concatenate((x, 0.5 * x + 0.1 * rng.normal(size=(50, 1))), -1)
    observe = Observation(da.Subset([0]), Diagonal([0.01]))
    near = da.Localization.line(2, np.inf, da.boxcar)
    problem = da.Problem(da.Linear(np.eye(2)), observe, da.Ensemble(E), np.array([[2.0]]))
    result = da.assimilate(
        problem, EnSF(50, eps_beta=1.0, regression=near), keep=("members",), progress=False
    )
    before, after = (result["members"].sel(stage=s).values[0] for s in ("forecast", "analysis"))
    slope = np.cov(E.T)[0, 1] / np.cov(E.T)[0, 0]
    moved = after - before
    assert np.allclose(moved[:, 1], slope * moved[:, 0], rtol=1e-6, atol=1e-9)
    assert abs(after[:, 0].mean() - 2.0) < 0.1


@pytest.mark.parametrize("f", [None, one])
def test_centred_members_do_not_know_where_zero_is(f):
    """A state measured from elsewhere has the same analysis, there; without it, a bias of |x|."""
    rng = np.random.default_rng(8)
    E, y = rng.normal(size=(200, 3)), rng.normal(size=3)
    observe = seen(0.3, 3, f)

    def moved(by, **settings):
        new = ensf(E + by, y + by, observe, np.random.default_rng(0), EnSF(200, **settings))
        return new - by

    assert np.allclose(moved(0.0, centred=True), moved(300.0, centred=True), atol=1e-9)
    gap = (moved(300.0) - moved(0.0)).mean()
    assert 0.3 < gap < 3.0  # some thousandths of 300
    mixed = {"score": "mixture", "centred": True}
    assert np.allclose(moved(0.0, **mixed), moved(300.0, **mixed), atol=1e-6)


def test_same_numbers_in_batch_and_alone():
    rng = np.random.default_rng(7)
    E, y = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 4))
    for f in (None, bent):
        observe = seen(0.5, 4, f)
        for method in (EnSF(5), EnSF(5, score="mixture")):
            whole = ensf(E, y, observe, Streams(1, 3, (3,)), method)
            alone = ensf(E[1], y[1], observe, Streams(1, 4, ()), method)
            assert np.allclose(whole[1], alone, atol=1e-12)
