"""MEDLA: BLUE among codes where all is linear, B and R from held-out pairs, what it refuses."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from examples import Both

import dalearn as da
from dalearn.methods import Leak, OutOfRange
from dalearn.methods.latent.pairs import aligned, code_errors, fitted
from dalearn.models import Untrained
from dalearn.neural import Aligned, Alternating, TwoEncoders, seeded

RNG = np.random.default_rng(5)
BASIS = np.linalg.qr(RNG.normal(size=(6, 2)))[0].T
SEEN = RNG.normal(size=(4, 6))
ROOT = np.array([[1.0, 0.0], [0.6, 0.8]])  # of the errors of the background among codes
NOISE = 0.3


def linear_net(latent=2, dtype=torch.float64):
    """Two encoders that are matrices: those of a subspace, and least squares from the data."""
    net = TwoEncoders.dense(6, 4, latent, ()).to(dtype)
    with torch.no_grad():
        net.units.copy_(torch.tensor([0.0, 1.0, 0.0, 1.0]))
        for part, weight in (
            (net.encoder, BASIS),
            (net.decoder, BASIS.T),
            (net.observer, np.linalg.pinv(SEEN @ BASIS.T)),
        ):
            part.layers[-1].weight.copy_(torch.from_numpy(weight))
            part.layers[-1].bias.zero_()
    return net


def pairs(count, seed, noise=NOISE):
    """States in the subspace, data with errors, backgrounds."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(count, 2))
    x = z @ BASIS
    y = x @ SEEN.T + noise * rng.normal(size=(count, 4))
    return x, y, (z + rng.normal(size=z.shape) @ ROOT) @ BASIS


def problem(x, y, b):
    """One analysis for each row, a batch; the prior is the background."""
    see = da.Observation(SEEN, da.Diagonal(np.full(4, NOISE**2)))
    prior = da.Gaussian(b, da.Diagonal(np.full(6, 1.0)))
    return da.Problem(lambda x: x, see, prior, y[:, None])


def run(problem, method):
    return da.assimilate(problem, method, progress=False)


def analysed(method, x, y, b):
    return run(problem(x, y, b), method)["mean"].sel(stage="analysis").values[:, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_with_linear_encoders_it_is_blue_among_codes(dtype):
    net, (x, y, b) = linear_net(dtype=dtype), pairs(7, 1)
    A = np.linalg.pinv(SEEN @ BASIS.T)
    B, R = ROOT.T @ ROOT, NOISE**2 * A @ A.T
    found = analysed(da.MEDLA(da.OI(B), net, R=R), x, y, b)
    zb, zo = b @ BASIS.T, y @ A.T
    wanted = (zb + (zo - zb) @ np.linalg.solve(B + R, B)) @ BASIS
    assert np.allclose(found, wanted, atol=1e-12 if dtype == torch.float64 else 1e-5)
    # and this is the best linear unbiased estimate from the data themselves
    H = SEEN @ BASIS.T
    K = B @ H.T @ np.linalg.inv(H @ B @ H.T + NOISE**2 * np.eye(4))
    assert np.allclose(wanted, (zb + (y - zb @ H.T) @ K.T) @ BASIS, atol=1e-12)


def test_torch_and_numpy_agree():
    net, (x, y, b) = linear_net(), pairs(5, 2)
    method = da.MEDLA(da.OI(ROOT.T @ ROOT), net, R=np.ones(2))
    there = problem(*(torch.from_numpy(v) for v in (x, y, b)))
    assert np.allclose(
        run(there, method)["mean"], run(problem(x, y, b), method)["mean"], atol=1e-12
    )


def test_covariances_are_those_of_the_errors():
    x, y, b = pairs(40_000, 3)
    method = da.MEDLA(da.OI(np.ones(2)), linear_net(), R=np.ones(2)).measured(x, y, b)
    A = np.linalg.pinv(SEEN @ BASIS.T)
    assert np.allclose(method.method.B.matrix(), ROOT.T @ ROOT, atol=0.04)  # 4 std of 40 000 draws
    assert np.allclose(method.R.matrix(), NOISE**2 * A @ A.T, atol=0.04 * NOISE**2)


def test_the_estimated_gain_beats_the_published_one():
    x, y, b = pairs(4000, 4, noise=1.5)
    start = da.MEDLA(da.OI(0.04 * np.ones(2)), linear_net(), R=1e-4 * np.ones(2))
    test = pairs(4000, 5, noise=1.5)
    error = [
        np.sqrt(((analysed(m, *test) - test[0]) ** 2).mean())
        for m in (start, start.measured(x, y, b))
    ]
    assert error[1] < 0.85 * error[0]


def curved(seed, count=300):
    """States on a curved surface, and data of them, both learnable in a second."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1, 1, (count, 2))
    x = np.stack([a[:, 0], a[:, 1], a[:, 0] * a[:, 1], np.sin(2 * a[:, 0])], -1)
    y = np.stack([np.tanh(2 * a[:, 0]), a[:, 1] + 0.3 * a[:, 0], a[:, 0]], -1)
    b = x + 0.3 * rng.normal(size=x.shape)
    return tuple(v.astype("float32") for v in (x, y, b))


def trained(folder=None, epochs=150, align=40, **more):
    train, valid = curved(1)[:2], curved(2)
    net = seeded(0, TwoEncoders.dense, 4, 3, 2, (16,))
    told = {"epochs": epochs, "align": align, "checkpoint": folder, "progress": False, **more}
    return da.MEDLA.fit(net, train, valid, **told)


@pytest.fixture(scope="module")
def fitted_method():
    return trained()


def test_what_fit_returns_is_better_than_background_and_data(fitted_method):
    x, y, b = curved(3, 400)
    see = da.Observation(da.Subset([0, 1, 2]), da.Diagonal(np.ones(3)))
    prior = da.Gaussian(b, da.Diagonal(np.ones(4)))
    result = run(da.Problem(lambda x: x, see, prior, y[:, None]), fitted_method)
    found = result["mean"].sel(stage="analysis").values[:, 0]
    size = np.sqrt((x**2).mean())
    assert np.sqrt(((found - x) ** 2).mean()) < 0.15 * size
    assert fitted_method.net.floor(torch.from_numpy(x)) < 0.15 * size
    assert not result["outside"].any()


def test_alignment_moves_the_encoder_of_data_alone_and_brings_it_nearer():
    x, y, b = (torch.from_numpy(v) for v in curved(1))
    net = trained(align=0).net
    before = {k: v.clone() for k, v in net.state_dict().items()}
    apart = code_errors(net, x, y, b)[1].variance().sum()
    aligned(net, (x, y), (x, y), disturb=None, epochs=20, rate=1e-3, progress=False)
    assert code_errors(net, x, y, b)[1].variance().sum() < 0.7 * apart
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("observer")), name
    assert all(p.requires_grad for p in net.parameters())


def test_the_branches_take_turns():
    net, loss = linear_net(), Alternating(every=2)
    x, y = torch.ones(3, 6).double(), torch.ones(3, 4).double()
    moved = []
    for _ in range(6):
        net.zero_grad()
        loss(net.train(), x, y).backward()
        moved.append(net.encoder.layers[-1].weight.grad is not None)
    assert moved == [True, True, False, False, True, True]
    both = loss(net.eval(), x, y)
    assert torch.isclose(both, loss(net, x, y))
    assert int(net.turn) == 6


def test_errors_are_drawn_in_training_only():
    net, y, z = linear_net(), torch.ones(3, 4).double(), torch.zeros(3, 2).double()
    loss = Aligned(lambda y: y + torch.randn_like(y))
    assert loss(net.train(), y, z) != loss(net, y, z)
    assert loss(net.eval(), y, z) == loss(net, y, z)


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    from dalearn.neural import train

    noisy = partial(trained, disturb=shaken, epochs=6, align=4, every=2)
    whole = noisy().net.state_dict()
    epochs = train.Training.epochs

    def killed(self, task):
        for value in epochs(self, task):
            yield value
            if self.epoch == 3 and self.record.ended == "":
                raise KeyboardInterrupt

    monkeypatch.setattr("dalearn.neural.checkpoint.Checkpoint.__init__", always)
    with monkeypatch.context() as patch:
        patch.setattr(train.Training, "epochs", killed)
        with pytest.raises(KeyboardInterrupt):
            noisy(folder=tmp_path)
    again = noisy(folder=tmp_path).net.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def shaken(y):
    return y + 0.1 * torch.randn_like(y)


def always(self, path, request, every):
    """A checkpoint after each epoch."""
    from pathlib import Path

    self.path, self.request, self.every, self.saved = Path(path), request, 0.0, 0.0


def test_it_pickles(fitted_method):
    again = pickle.loads(pickle.dumps(fitted_method))
    _, y, b = curved(3, 5)
    see = da.Observation(da.Subset([0, 1, 2]), da.Diagonal(np.ones(3)))
    p = da.Problem(lambda x: x, see, da.Gaussian(b, da.Diagonal(np.ones(4))), y[:, None])
    assert run(p, fitted_method)["mean"].identical(run(p, again)["mean"])


def test_states_of_the_training_in_validation_are_told():
    net, (x, y, b) = seeded(0, TwoEncoders.dense, 4, 3, 2, (4,)), curved(1)
    with pytest.warns(Leak, match="300 of 300 states"), pytest.warns(Untrained):
        da.MEDLA.fit(net, (x, y), (x, y, b), epochs=1, align=0, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Untrained)
        da.MEDLA.fit(net, (x, y), curved(2), epochs=1, align=0, progress=False)


def test_codes_that_say_nothing_are_told():
    net = linear_net()
    with torch.no_grad():
        net.decoder.layers[-1].weight.mul_(-1)
    with pytest.warns(Untrained, match="is not below"):
        code_errors(net, *pairs(20, 1))


def test_data_out_of_range_are_told(fitted_method):
    _, y, b = curved(3, 5)
    see = da.Observation(da.Subset([0, 1, 2]), da.Diagonal(np.ones(3)))
    prior = da.Gaussian(b, da.Diagonal(np.ones(4)))
    with pytest.warns(OutOfRange, match="100.0% of the data"):
        result = run(da.Problem(lambda x: x, see, prior, 50 + y[:, None]), fitted_method)
    assert (result["outside"] == 1).all()


def test_nothing_seen_is_a_forecast_and_gaps_are_refused():
    method, (x, y, b) = da.MEDLA(da.OI(np.ones(2)), linear_net(), R=np.ones(2)), pairs(2, 1)
    result = run(problem(x, np.full_like(y, np.nan), b), method)["mean"]
    assert np.array_equal(result.sel(stage="analysis"), result.sel(stage="forecast"))
    y[0, 1] = np.nan
    with pytest.raises(ValueError, match="gaps"):
        run(problem(x, y, b), method)


X, Y, X_B = pairs(20, 1)
BAD = {
    "a network of another latent dimension": (
        lambda: da.MEDLA(da.OI(np.ones(3)), linear_net(), R=np.ones(3)),
        ValueError,
        ["R", "2", "3"],
    ),
    "an untrained network": (
        lambda: da.MEDLA(da.OI(np.ones(2)), TwoEncoders.dense(6, 4, 2), R=np.ones(2)),
        ValueError,
        ["has not been trained", "MEDLA.fit"],
    ),
    "a coder of states alone": (
        lambda: da.MEDLA(da.OI(np.ones(2)), da.POD(BASIS, np.zeros(6)), R=np.ones(2)),
        TypeError,
        ["TwoEncoders", "without encode_observation"],
    ),
    "B of another dimension": (
        lambda: run(problem(X, Y, X_B), da.MEDLA(da.OI(np.ones(6)), linear_net(), R=np.ones(2))),
        ValueError,
        ["dimension 6", "2"],
    ),
    "a negative variance, as 0.04 diag(x_b) has": (
        lambda: da.MEDLA(da.OI(0.04 * np.array([1.0, -1.0])), linear_net(), R=np.ones(2)),
        ValueError,
        ["-0.04"],
    ),
    "data of another grid": (
        lambda: fitted_to((X, Y[:, :3])),
        ValueError,
        ["data of train", "(20, 3)", "(20, 4)"],
    ),
    "states of another grid": (
        lambda: fitted_to((X[:, :5], Y)),
        ValueError,
        ["states of train", "(20, 5)", "(20, 6)"],
    ),
    "pairs that are none": (
        lambda: fitted_to((X, Y[:10])),
        ValueError,
        ["data of train", "(10, 4)", "(20, 4)"],
    ),
    "NaN": (
        lambda: fitted_to((np.where(X > 1, np.nan, X), Y)),
        ValueError,
        ["states of train hold NaN"],
    ),
    "data that never vary": (
        lambda: fitted_to((X, 0 * Y)),
        ValueError,
        ["must vary", "met standard deviations"],
    ),
    "too few pairs for covariances": (
        lambda: code_errors(linear_net(), X[:3], Y[:3], X_B[:3]),
        ValueError,
        ["4 pairs at least", "met 3"],
    ),
    "no background": (
        lambda: da.MEDLA.fit(linear_net(), (X, Y), (X, Y)),
        TypeError,
        ["validation must be 3"],
    ),
    "a problem of another size": (
        lambda: run(
            da.twin(
                da.Lorenz63(),
                da.Observation(da.identity, np.eye(3)),
                da.Gaussian(np.ones(3), np.ones(3)),
                2,
            ),
            da.MEDLA(da.OI(np.ones(2)), linear_net(), R=np.ones(2)),
        ),
        ValueError,
        ["states of 6 numbers", "the problem has 3"],
    ),
    "data that the encoder does not take": (
        lambda: run(
            da.Problem(
                lambda x: x,
                da.Observation(da.Subset([0, 1, 2]), da.Diagonal(np.ones(3))),
                da.Gaussian(X, da.Diagonal(np.ones(6))),
                Y[:, None, :3],
            ),
            da.MEDLA(da.OI(np.ones(2)), linear_net(), R=np.ones(2)),
        ),
        ValueError,
        ["(..., 4)", "(20, 1, 3)"],
    ),
}


def fitted_to(train):
    told = {"disturb": None, "epochs": 1, "align": 0, "every": 1, "rate": 1e-3, "batch": 8}
    told |= {"checkpoint": None, "seed": 0, "progress": False}
    return fitted(linear_net(), train, pairs(20, 9), **told)


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    make, kind, words = BAD[name]
    with pytest.raises(kind) as told:
        make()
    for word in words:
        assert word in str(told.value), told.value


def test_any_object_with_the_parts_will_do():
    from examples import TURNED

    p = da.twin(
        da.Lorenz63(),
        da.Observation(da.identity, np.eye(3)),
        da.Gaussian(np.ones(3), np.ones(3)),
        3,
    )
    one = run(p, da.MEDLA(da.ETKF(8), Both(TURNED), R=np.ones(3)))
    two = run(p, da.Latent(da.ETKF(8), TURNED, observe=(TURNED.encode, np.ones(3))))
    assert np.array_equal(one["mean"], two["mean"])
