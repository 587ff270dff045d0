"""Methods in a latent space: beside the inner method, and a projected filter written out."""

import pickle
import resource
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from examples import Bare, Curved, Rotation, linear_gaussian, lorenz63

import dalearn as da
from dalearn.array import array_namespace, streams
from dalearn.methods import Encoded, OutOfRange, etkf
from dalearn.models import Extended

DOUBLE = torch.zeros(1, dtype=torch.float64)


def run(problem, method, seed=0):
    return da.assimilate(problem, method, seed=seed, progress=False)


def turned(n, r=None, seed=1):
    """A POD of r orthonormal directions around some mean: of full rank, a rotation."""
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return da.POD(V[: r or n], rng.normal(size=n))


def gappy(cycles=5, n=6, m=4, **settings):
    """A linear problem with model noise, a dense R, two steps a cycle, and gaps in its data."""
    problem = linear_gaussian(cycles=cycles, n=n, m=m, **settings)
    data = problem.data.copy()
    data[..., 1, 2] = np.nan
    data[..., 3, :] = np.nan
    data[..., 4, :2] = np.nan
    return replace(problem, data=data)


def agree(a, b, slack=1e-9):
    """The same results: `slack` is round-off of products in another order, and its growth."""
    assert np.allclose(a["mean"], b["mean"], rtol=0, atol=slack)
    assert np.allclose(a["std"], b["std"], rtol=0, atol=slack)


# --- states that a coder does not know ---------------------------------------------------------


@pytest.mark.parametrize("like", [np.zeros(1), DOUBLE], ids=["numpy", "torch"])
def test_a_prior_outside_of_the_coder_is_told(like):
    """One experiment of three starts off the plane of the modes; members and means alike."""
    coder = da.POD(np.eye(6)[:2], np.zeros(6))
    rng = np.random.default_rng(0)
    members = rng.normal(size=(3, 8, 6)) * np.array([1, 1, 0.1, 0.1, 0.1, 0.1])
    floor = coder.floor(members)
    members[1] = np.roll(members[1], 3, axis=-1)
    far = (np.mean(members[1][..., 2:] ** 2) * 4 / 6) ** 0.5
    see = da.Observation(np.eye(6)[:3], np.ones(3))
    for prior in (da.Ensemble(members), da.Gaussian(members[:, 0], np.ones(6))):
        problem = da.Problem(lambda x: x, see, prior, np.zeros((3, 1, 3))).to(like)
        method = da.Latent(da.ETKF(8), coder, floor=floor)
        with pytest.warns(OutOfRange, match=r"prior of 1 of 3 experiments") as caught:
            run(problem, method)
        if isinstance(prior, da.Ensemble):
            assert f"by up to {far:.3g}, wanted 3 times its floor {floor:.3g}" in str(
                caught[0].message
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", OutOfRange)
            run(problem[:1], method)
            run(problem, da.Latent(da.ETKF(8), coder))


# --- a coder that loses nothing: the inner method itself --------------------------------------

INNER = {
    "ETKF": da.ETKF(10, inflation=1.02),
    "haar": da.ETKF(10, rotate="haar"),
    "EnKF": da.EnKF(12),
    "EnSRF": da.EnSRF(10),
    "particles": da.ParticleFilter(30),
    "IEnKS": da.IEnKS(10, lag=0),
    "KF": da.KF(),  # this and the next four linearize steps: intervals of one length
    "RTS": da.RTS(),
    "ExtendedKF": da.ExtendedKF(),
    "UKF": da.UKF(),
    "Var4D": da.Var4D(2),  # B from the codes of the truth
    "Var3D": da.Var3D(window=2),
    "OI": da.OI(),
}


@pytest.mark.parametrize("name", INNER)
def test_an_orthogonal_coder_of_full_rank_changes_nothing(name):
    problem = gappy(n=4, batch=(2,))
    agree(run(problem, INNER[name]), run(problem, da.Latent(INNER[name], turned(4))))


def test_nor_on_a_model_that_is_not_linear():
    problem = lorenz63(cycles=6, batch=(2,))
    for method in (da.ETKF(10), da.EnKF(10), da.Var3D()):
        agree(run(problem, method), run(problem, da.Latent(method, turned(3))))


def test_a_background_is_given_in_the_coder_s_space():
    problem, coder = gappy(n=4), turned(4)
    B = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.5
    V = coder.modes
    agree(
        run(problem, da.Var3D(da.Dense(B))),
        run(problem, da.Latent(da.Var3D(da.Dense(V @ B @ V.T)), coder)),
    )


def test_coders_in_coders():
    problem = gappy(n=4)
    inner = da.Latent(da.ETKF(10), turned(4, seed=2))
    agree(run(problem, da.ETKF(10)), run(problem, da.Latent(inner, turned(4))))


def test_an_observing_system_that_moves():
    problem = lorenz63(cycles=3)
    networks = [
        da.Observation(da.Subset([0, 2]), np.ones(2)),
        da.Observation(da.identity, np.ones(3)),
        da.Observation(np.ones((1, 3)), np.ones(1)),
    ]
    data = problem.data.copy()
    data[0, 2] = data[2, 1:] = np.nan
    moving = replace(problem, observation=da.Moving(networks), data=data)
    agree(run(moving, da.ETKF(10)), run(moving, da.Latent(da.ETKF(10), turned(3))))


def test_parameters_stand_in_the_latent_state():
    problem = lorenz63(cycles=8, batch=(2,))
    joint = da.with_parameters(problem, "rho", da.Gaussian(np.array([26.0]), np.array([4.0])))
    result = run(joint, da.Latent(da.ETKF(12), Extended(turned(3), 1)))
    agree(run(joint, da.ETKF(12)), result)
    moved = result["mean"].isel(x=3)
    assert abs(moved.sel(stage="analysis") - 26.0).max() > 0.1  # and the data reach it
    with pytest.raises(ValueError, match=r"states of 3 numbers, but the problem has 4; Extended"):
        run(joint, da.Latent(da.ETKF(12), turned(3)))


# --- a coder of rank r: the projected filter --------------------------------------------------


def projected(problem, coder):
    """The Kalman filter of z = E (x - c), x = c + D z, in full matrices: means and deviations."""
    E, c = coder.modes / coder.scale, coder.mean
    D = (coder.modes * coder.scale).T
    M = problem.model.A @ problem.model.A
    Q0, H = problem.noise.matrix(), problem.observation.operator.matrix
    Q = problem.model.A @ Q0 @ problem.model.A.T + Q0
    z, P, found = E @ (problem.prior.mean - c), E @ problem.prior.cov.matrix() @ E.T, []
    for y in problem.data:
        z, P = E @ (M @ (c + D @ z) - c), E @ (M @ D @ P @ D.T @ M.T + Q) @ E.T
        found.append((c + D @ z, np.diag(D @ P @ D.T) ** 0.5))
        seen = ~np.isnan(y)
        G, R = H[seen] @ D, problem.observation.noise.matrix()[np.ix_(seen, seen)]
        K = P @ G.T @ np.linalg.inv(G @ P @ G.T + R)
        z, P = z + K @ (y[seen] - H[seen] @ (c + D @ z)), P - K @ G @ P
        found.append((c + D @ z, np.diag(D @ P @ D.T) ** 0.5))
    return (np.reshape([part[i] for part in found], (len(problem), 2, -1)) for i in (0, 1))


def fitted(n=6, r=3):
    x = np.random.default_rng(5).normal(size=(40, n)) * 0.8 ** np.arange(n)
    return da.POD.fit(x, r, scale=np.linspace(0.5, 2, n))


@pytest.mark.parametrize("method", [da.KF(), da.ExtendedKF(), da.UKF()], ids=str)
def test_a_coder_of_rank_r_gives_the_projected_kalman_filter(method):
    problem, coder = gappy(batch=(3,)), fitted()
    result = run(problem, da.Latent(method, coder))
    for b in range(3):  # with model noise, two steps a cycle, a dense R and gaps
        mean, std = projected(problem[b], coder)
        assert np.allclose(result["mean"][b], mean, rtol=0, atol=1e-9)
        assert np.allclose(result["std"][b], std, rtol=0, atol=1e-9)
    whole = run(problem, da.KF())
    assert abs(whole["mean"] - result["mean"]).max() > 0.1  # which is another filter


def test_an_ensemble_in_a_space_of_rank_r_step_by_step():
    problem, coder = gappy(), fitted()
    result = run(problem, da.Latent(da.ETKF(8), coder))
    rng, checked = streams(1, 0, ()), problem.validated()
    Z = coder.encode(problem.prior.sample(rng, 8))
    for k in range(len(problem)):
        Z = coder.encode(checked.forecast(coder.decode(Z), k, rng))
        observe, y = checked.at(k)
        assert np.allclose(result["mean"][k, 0], coder.decode(Z).mean(0), rtol=0, atol=1e-12)
        Z = etkf(Z, observe(coder.decode(Z)), y, observe.noise).members
        assert np.allclose(result["mean"][k, 1], coder.decode(Z).mean(0), rtol=0, atol=1e-12)
        assert np.allclose(result["std"][k, 1], coder.decode(Z).std(0, ddof=1), atol=1e-12)


@pytest.mark.parametrize("method", [da.ETKF(10), da.KF(), da.ParticleFilter(20)], ids=str)
def test_numpy_equals_torch(method):
    latent, problem = da.Latent(method, fitted()), gappy(batch=(2,))
    agree(run(problem, latent), run(problem.to(DOUBLE), latent), 1e-12)


def test_a_batch_is_its_experiments_to_the_bit():
    latent, problem = da.Latent(da.ETKF(10), fitted()), gappy(batch=(2, 2))
    together = run(problem, latent)
    for flat, b in enumerate(np.ndindex(2, 2)):
        alone = run(problem[b], latent, flat)
        here = together.isel(case0=b[0], case1=b[1])
        assert np.array_equal(here["mean"], alone["mean"])
        assert np.array_equal(here["std"], alone["std"])


def test_one_observation_time():
    problem = linear_gaussian(cycles=1, n=6, m=4)
    mean, _ = projected(problem, fitted())
    result = run(problem, da.Latent(da.KF(), fitted()))
    assert np.allclose(result["mean"], mean, rtol=0, atol=1e-9)


def test_single_precision_is_kept():
    problem, method = lorenz63(cycles=4, batch=(2,)), da.ETKF(10)
    exact = run(problem, method)
    for like in (np.zeros(1, np.float32), torch.zeros(1)):
        result = run(problem.to(like), da.Latent(method, turned(3)))  # a coder in double precision
        assert result["mean"].dtype == np.float32
        # eps 1e-7 of states up to 40, four cycles of growth: 7e-6 was seen
        assert np.allclose(result["mean"], exact["mean"], rtol=0, atol=1e-3)


def test_no_observation_time_is_no_cycle():
    class Empty(Bare):
        def __len__(self):
            return 0

    problem = Empty(linear_gaussian(cycles=2, n=6, m=4).validated())
    assert not list(da.Latent(da.ETKF(10), fitted()).run(problem, streams(1, 0, ())))


# --- priors -----------------------------------------------------------------------------------


def test_an_ensemble_is_encoded_member_by_member():
    problem, coder = gappy(), Curved(fitted())
    members = np.random.default_rng(0).normal(size=(10, 6))
    given = replace(problem, prior=da.Ensemble(members)).validated()
    inside = da.Latent(da.ETKF(10), coder).inside(given)
    assert np.array_equal(inside.prior.members, coder.encode(members))
    weights = np.full(10, 0.1)
    weighted = replace(problem, prior=da.Ensemble(members, weights))
    kept = da.Latent(da.ETKF(10), coder).inside(weighted.validated()).prior
    assert np.array_equal(kept.weights, weights)
    with pytest.raises(ValueError, match="weights"):
        run(weighted, da.Latent(da.ETKF(10), coder))


def test_a_gaussian_is_encoded_to_first_order():
    problem, coder = gappy().validated(), Curved(fitted())
    prior = da.Latent(da.ETKF(10), coder).inside(problem).prior
    J = da.linearize(coder.encode, problem.prior.mean)[1]
    assert np.allclose(prior.mean, coder.encode(problem.prior.mean))
    assert np.allclose(prior.cov.matrix(), J @ problem.prior.cov.matrix() @ J.T, atol=1e-12)


def test_a_point_is_a_point():
    problem = replace(gappy(), prior=da.Point(np.arange(6.0)))
    agree(
        run(problem, da.ETKF(10)),
        run(problem, da.Latent(da.ETKF(10), turned(6))),
    )


# --- data through an encoder ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Through:
    """y -> W y, and of states z -> W H(decode(z)) where an operator and a coder are given."""

    W: Any
    operator: Any = None
    coder: Any = None

    def __call__(self, y):
        if self.coder is not None:
            y = self.operator(self.coder.decode(y))
        return y @ self.W.mT


def test_encoded_data_of_which_nothing_is_lost_are_the_data():
    problem, coder = linear_gaussian(cycles=4, n=6, m=4, batch=(2,)), fitted()
    W = np.random.default_rng(3).normal(size=(4, 4))
    R = W @ problem.observation.noise.matrix() @ W.T
    operator = Through(W, problem.observation.operator, coder)
    for sequence in (False, True):
        encoded = Encoded(Through(W), da.Dense((R + R.T) / 2), operator, sequence=sequence)
        for method in (da.KF(), da.ETKF(10)):
            agree(
                run(problem, da.Latent(method, coder)),
                run(problem, da.Latent(method, coder, observe=encoded)),
            )
        moved = problem.to(DOUBLE)
        agree(
            run(problem, da.Latent(da.ETKF(10), coder, observe=encoded)),
            run(moved, da.Latent(da.ETKF(10), coder, observe=encoded)),
            1e-12,
        )


def test_a_state_seen_whole_may_be_encoded_like_a_state():
    problem, coder = lorenz63(cycles=4, batch=(2,)), turned(3)
    pair = coder.encode, 2 * np.ones(3)  # R = 2 I knows no direction
    agree(run(problem, da.ETKF(10)), run(problem, da.Latent(da.ETKF(10), coder, observe=pair)))


def test_gaps_want_an_encoder_that_takes_them():
    problem, coder = lorenz63(cycles=4, batch=(2,)), turned(3)
    data = problem.data.copy()
    data[1, 2] = np.nan
    whole = replace(problem, data=data)  # nothing at one time: nothing to encode there
    latent = da.Latent(da.ETKF(10), coder, observe=(coder.encode, 2 * np.ones(3)))
    agree(run(whole, da.ETKF(10)), run(whole, latent))
    data[0, 1, 2] = np.nan
    gaps = replace(problem, data=data)
    with pytest.raises(ValueError, match=r'time 1 have gaps.*observe="decoded".*gaps=True'):
        run(gaps, latent)
    sequence = Encoded(coder.encode, da.Diagonal(2 * np.ones(3)), sequence=True)
    with pytest.raises(ValueError, match="have gaps"):
        run(whole, da.Latent(da.ETKF(10), coder, observe=sequence))

    @dataclass(frozen=True)
    class Turn:  # H = V^T: what is seen of y is seen of the code, NaN where it is not
        def __call__(self, y):
            return y + 0.0

    @dataclass(frozen=True, eq=False)
    class Back:
        coder: Any

        def __call__(self, z):
            return self.coder.decode(z)

    for sequence in (False, True):
        takes = Encoded(Turn(), da.Diagonal(2 * np.ones(3)), Back(coder), True, sequence)
        agree(run(gaps, da.ETKF(10)), run(gaps, da.Latent(da.ETKF(10), coder, observe=takes)))


# --- a latent model of its own ----------------------------------------------------------------


def test_a_latent_model_in_the_place_of_the_default():
    problem, coder = linear_gaussian(cycles=4, n=6, m=4, batch=(2,), noise=False), fitted()
    A, E = problem.model.A, coder.modes / coder.scale
    D, c = (coder.modes * coder.scale).T, coder.mean

    @dataclass(frozen=True, eq=False)
    class Reduced:
        M: Any
        shift: Any

        def __call__(self, z):
            return z @ self.M.mT + self.shift

    reduced = Reduced(E @ A @ A @ D, E @ (A @ A @ c - c))
    for method in (da.ETKF(10), da.KF(), da.Var4D(2, B=np.ones(3))):
        default = run(problem, da.Latent(method, coder))
        agree(default, run(problem, da.Latent(method, coder, model=reduced)))


def test_steps_and_noise_of_a_latent_model():
    problem, coder = linear_gaussian(cycles=3, n=6, m=4), turned(6, 3)
    A, Q = 0.9 * np.eye(3), 0.1 * np.ones(3)
    latent = da.Latent(da.KF(), coder, model=Rotation(A), steps=[1, 2, 3], noise=Q)
    observation = replace(problem.observation, operator=Through(*after(problem, coder)))
    prior = problem.prior.map(coder.encode)
    small = da.Problem(Rotation(A), observation, prior, problem.data, [1, 2, 3], da.Diagonal(Q))
    a, b = run(problem, latent), run(small, da.KF())
    assert np.allclose(a["mean"], coder.decode(b["mean"].values), rtol=0, atol=1e-9)
    a, b = run(problem, replace(latent, method=da.ETKF(10))), run(small, da.ETKF(10))
    assert np.allclose(a["mean"], coder.decode(b["mean"].values), rtol=0, atol=1e-9)


def after(problem, coder):
    """H o decode, as the arguments of Through."""
    return np.eye(4), problem.observation.operator, coder


def test_a_stochastic_model_of_states():
    @dataclass(frozen=True, eq=False)
    class Random:
        stochastic = True

        def __call__(self, x, rng):
            from dalearn.array import normal

            return 0.9 * x + normal(rng, tuple(x.shape[-2:]), x)

    base = linear_gaussian(cycles=4, n=4, m=3, noise=False)
    problem = replace(base, model=Random(), steps=1)
    agree(run(problem, da.ETKF(10)), run(problem, da.Latent(da.ETKF(10), turned(4))))
    with pytest.raises(TypeError, match="stochastic"):
        run(problem, da.Latent(da.KF(), turned(4)))


# --- cost -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Counting:
    coder: Any
    calls: dict = field(default_factory=lambda: {"encode": 0, "decode": 0})
    n = property(lambda self: self.coder.n)
    r = property(lambda self: self.coder.r)

    def encode(self, x):
        self.calls["encode"] += 1
        return self.coder.encode(x)

    def decode(self, z):
        self.calls["decode"] += 1
        return self.coder.decode(z)


def test_a_cycle_costs_two_decodings_and_one_encoding():
    """Forecast and analysis are each decoded once, for beliefs, operator and model together."""
    calls = []
    for cycles in (3, 8):
        coder = Counting(fitted())
        run(linear_gaussian(cycles=cycles, n=6, m=4), da.Latent(da.ETKF(10), coder))
        calls.append(coder.calls)
    assert calls[1]["decode"] - calls[0]["decode"] == 2 * 5
    assert calls[1]["encode"] - calls[0]["encode"] == 5


@dataclass(frozen=True)
class Damped:
    def __call__(self, x):
        return 0.9 * x


@pytest.mark.parametrize("method", [da.ETKF(20), da.KF()], ids=["ETKF", "KF"])
def test_a_large_state_makes_no_matrix_of_its_size(method):
    n, r = 100_000, 16
    rng = np.random.default_rng(0)
    modes = np.linalg.qr(rng.normal(size=(n, r)))[0].T
    coder = da.POD(np.ascontiguousarray(modes), np.zeros(n))
    observation = da.Observation(da.Subset(np.arange(0, n, 5000)), 0.1 * np.ones(20))
    prior = da.Gaussian(np.zeros(n), da.Diagonal(np.ones(n)))
    Q = da.Diagonal(0.01 * np.ones(n))
    problem = da.Problem(Damped(), observation, prior, np.ones((3, 20)), 2, Q)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run(problem, da.Latent(method, coder))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 60 * 8 * n * r  # n x n is 6250 of these n r numbers
    assert np.isfinite(result["mean"]).all()
    assert (result["std"] > 0).all()


# --- what cannot be ---------------------------------------------------------------------------


class Network(torch.nn.Module):
    n, r = 6, 3

    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.down = torch.nn.Linear(6, 3, dtype=dtype)
        self.up = torch.nn.Linear(3, 6, dtype=dtype)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


def test_a_network_as_a_coder():
    problem = linear_gaussian(cycles=3, n=6, m=4)
    with pytest.raises(TypeError, match=r"torch module but the problem holds NumPy arrays"):
        run(problem, da.Latent(da.ETKF(10), Network()))
    result = run(problem.to(DOUBLE), da.Latent(da.ETKF(10), Network()))
    assert np.isfinite(result["mean"]).all()
    with pytest.raises(RuntimeError, match="the coder's encode failed"):
        run(problem.to(DOUBLE), da.Latent(da.ETKF(10), Network(torch.float32)))


def test_intervals_of_unequal_length():
    problem = replace(linear_gaussian(cycles=3, n=6, m=4), steps=[1, 2, 1])
    assert np.isfinite(run(problem, da.Latent(da.ETKF(10), fitted()))["mean"]).all()
    agree(run(problem, da.ETKF(10)), run(problem, da.Latent(da.ETKF(10), turned(6))))
    agree(run(problem, da.KF()), run(problem, da.Latent(da.KF(), turned(6))))


def test_a_noise_that_differs_from_state_to_state():
    problem = linear_gaussian(cycles=3, n=6, m=4)
    with pytest.raises(TypeError, match="differs from state to state"):
        run(problem, da.Latent(da.ExtendedKF(), Curved(fitted())))
    quiet = replace(problem, noise=None)
    assert np.isfinite(run(quiet, da.Latent(da.ExtendedKF(), Curved(fitted())))["mean"]).all()
    with pytest.raises(ValueError, match="linear"):
        run(quiet, da.Latent(da.KF(), Curved(fitted())))


@dataclass(frozen=True, eq=False)
class Wrong:
    """A coder whose encode or decode is of another size, library or dtype."""

    encode: Any
    decode: Any
    n: int = 6
    r: int = 3


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"method": da.ETKF}, TypeError, "wanted a method such as"),
        ({"coder": 3}, TypeError, "wanted a coder such as .* met 3 without encode, decode, n, r"),
        ({"coder": da.POD}, TypeError, "wanted a coder such as"),
        ({"observe": "encoded"}, TypeError, 'observe must be "decoded"'),
        ({"observe": (3, np.ones(3))}, TypeError, "encode must be a function .*, met 3"),
        ({"observe": (np.copy, np.zeros(3))}, ValueError, "positive variances"),
        ({"observe": (lambda y: y, np.ones(3))}, ValueError, r"returned shape .* wanted \(1, 3\)"),
        (
            {"observe": (lambda y: y[..., :3].astype("f4"), np.ones(3))},
            TypeError,
            "numpy float32 for numpy float64",
        ),
        (
            {"observe": (lambda y: y, da.Diagonal(np.ones((5, 4))))},
            ValueError,
            r"batch axes \(5,\), wanted",
        ),
        ({"observe": (Network(), np.ones(3))}, TypeError, "wrap it as Surrogate"),
        ({"noise": np.ones(3)}, ValueError, "wanted model="),
        ({"steps": 2}, ValueError, "wanted model="),
        ({"model": lambda z: z[..., :2]}, ValueError, r"returned shape"),
        ({"model": Damped(), "noise": np.ones(4)}, ValueError, "dimension 4, wanted .* 3"),
        ({"model": Damped(), "steps": [1, 2]}, ValueError, "one per observation"),
        ({"coder": Wrong(lambda x: x, lambda z: z)}, ValueError, "the coder's encode returned"),
        (
            {"coder": Wrong(lambda x: x[..., :3], lambda z: z)},
            ValueError,
            "the coder's decode returned",
        ),
        (
            {"coder": Wrong(lambda x: x[..., :3].astype("f4"), lambda z: z)},
            TypeError,
            "the coder's encode changed the dtype",
        ),
    ],
)
def test_what_does_not_fit_is_named(settings, error, message):
    problem = linear_gaussian(cycles=3, n=6, m=4)
    given = {"method": da.ETKF(10), "coder": fitted()} | settings
    with pytest.raises(error, match=message):
        run(problem, da.Latent(given.pop("method"), given.pop("coder"), **given))


def test_settings_are_written_short_and_pickle():
    latent = da.Latent(da.ETKF(10), fitted())
    assert "coder=POD(n=6, r=3)" in repr(latent)
    problem = linear_gaussian(cycles=3, n=6, m=4)
    agree(run(problem, latent), run(problem, pickle.loads(pickle.dumps(latent))), 0)
    assert "POD(n=6, r=3)" in run(problem, latent).attrs["method"]


def test_derivatives_pass_through_the_problem_inside():
    problem = linear_gaussian(cycles=3, n=6, m=4, noise=False).to(DOUBLE).validated()
    inside = da.Latent(da.ETKF(10), fitted()).inside(problem)
    z = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    y = inside.at(0)[0](inside.forecast(z, 0))
    (g,) = torch.autograd.grad(y.sum(), z)
    assert array_namespace(g) is array_namespace(z)
    assert float(g.abs().sum()) > 0
    assert inside.decoded(da.Point(z.detach())).x.shape == (2, 6)
