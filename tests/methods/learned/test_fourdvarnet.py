"""FourDVarNet: its descent, its first guess, training, windows with gaps, what it refuses."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.methods import OutOfRange
from dalearn.methods.learned.fourdvarnet import inputs
from dalearn.methods.learned.seen import interpolated
from dalearn.neural import (
    BilinearPrior,
    Direct,
    LearnedSolver,
    ModelPrior,
    Normalisation,
    UNet,
    seeded,
)

L, STD = 16, np.array([8.0, 9.0, 8.5])
UNIT = Normalisation(np.array([0.0, 0.0, 24.0]), STD)
PRIOR = da.Gaussian([1.5, -1.5, 25.0], [2.0, 2.0, 2.0])


def net(prior=None, seed=0, error=1.0, length=L):
    made = seeded(seed, lambda: LearnedSolver(prior or BilinearPrior(3, 4, 3), 3, 6)).double()
    return made.scaled(UNIT, error, length)


def problem(seed=0, batch=(), seen=(0, 1, 2), every=4):
    see = da.Observation(da.Subset(list(seen)), da.Diagonal(np.ones(len(seen))))
    return da.twin(da.Lorenz63(), see, PRIOR, L // every, steps=every, seed=seed, batch=batch)


def windows(count, seed, every=4, sigma=3.0):
    rng = np.random.default_rng(seed)
    x0 = rng.normal([0, 0, 25], 5, (count, 3))
    x = da.trajectory(da.Lorenz63(), x0, 300 + L - 1)[:, -L:]
    y = np.full_like(x, np.nan)
    y[:, ::every] = x[:, ::every] + sigma * rng.normal(size=x[:, ::every].shape)
    return x.astype("float32"), y.astype("float32")


def test_without_a_memory_the_solver_is_gradient_descent():
    """Its LSTM set to 0, x moves by rate j / steps times the gradient of J, from differences."""
    made = net()
    with torch.no_grad():
        made.out.weight.zero_()
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, L, 3, dtype=torch.float64, generator=g) for _ in range(2))
    seen = (torch.rand(2, L, 3, generator=g) < 0.5).double()
    with torch.no_grad():
        moved = made(x, y, seen, 1) - x
        for at in ((0, 3, 1), (1, 15, 2)):
            e = torch.zeros_like(x)
            e[at] = 1e-5
            slope = (made.cost(x + e, y, seen) - made.cost(x - e, y, seen))[at[0]] / 2e-5
            assert torch.allclose(moved[at], -made.rate * slope, rtol=1e-6)


def test_a_row_does_not_depend_on_its_neighbours():
    made, g = net(), torch.Generator().manual_seed(1)
    x, y = (torch.randn(3, L, 3, dtype=torch.float64, generator=g) for _ in range(2))
    seen = torch.ones_like(x)
    with torch.no_grad():
        assert torch.allclose(made(x, y, seen, 3)[1:2], made(x[1:2], y[1:2], seen[:1], 3))


def test_the_model_as_a_prior_is_exact_on_its_own_runs():
    x = torch.from_numpy(windows(2, 0)[0].astype(float))
    unit = (x - torch.from_numpy(UNIT.mean)) / torch.from_numpy(STD)
    phi = ModelPrior(da.Lorenz63(), 3).double().scaled(UNIT)
    assert float((phi(unit) - unit).abs().max()) < 1e-5  # windows are kept in single precision
    assert float((phi(unit[:, ::2]) - unit[:, ::2]).abs().max()) > 1e-3


def test_the_first_guess_is_a_cubic_spline():
    """Exact for cubics between the data, the last value beyond, 0 where nothing was ever seen."""
    t = np.arange(L, dtype=float)
    y = np.full((2, L, 3), np.nan)
    y[:, 1:14:3, 0] = (t**3 - 2 * t)[1:14:3]
    y[0, [2, 6], 1] = 1.0, 3.0
    x = interpolated(y)
    assert np.allclose(x[:, 1:14, 0], (t**3 - 2 * t)[1:14])
    assert np.allclose(x[:, 0, 0], -1)
    assert np.allclose(x[:, 14:, 0], x[:, 13:14, 0])
    assert np.allclose(x[0, 2:7, 1], np.linspace(1, 3, 5))
    assert not x[1, :, 1].any()
    assert not x[..., 2].any()


@pytest.mark.parametrize("kind", ["prior", "model", "direct"])
def test_training_beats_the_interpolation(kind):
    made = seeded(0, LearnedSolver, BilinearPrior(3, 8), 3, 8)
    if kind == "model":
        made = seeded(0, LearnedSolver, ModelPrior(da.Lorenz63(), 3), 3, 8)
    if kind == "direct":
        made = seeded(0, lambda: Direct(UNet(6, 3, (8, 16), axes=1, periodic=False), 3))
    train, valid, test = windows(300, 0), windows(50, 1), windows(50, 2)
    method = da.FourDVarNet.fit(
        made, train, valid, error=3.0, steps=3, epochs=10, rate=1e-2, progress=False, batch=16
    )
    first, y, seen, truth = inputs(method.net, *test)
    with torch.no_grad():
        x = method.net(first, y, seen, method.steps)
    before, after = (float(((v - truth) ** 2).mean() ** 0.5) for v in (first, x))
    assert method.steps == 3
    assert after < 0.9 * before


def test_a_problem_is_what_its_arrays_say():
    """Cycles are the window's states; a batch is its experiments; gaps are masked."""
    method, p = da.FourDVarNet(net(), steps=3), problem(batch=(2,))
    x = method.trajectory(p.validated())
    out = da.assimilate(p, method, progress=False)
    assert x.shape == (2, L, 3)
    assert out.sizes["time"] == 4
    assert np.array_equal(out["mean"].sel(stage="analysis"), x[:, 3::4])
    one = method.trajectory(p[1].validated())
    assert np.allclose(one, x[1], rtol=1e-10)
    gaps = np.full((2, L, 3), np.nan)
    gaps[:, 3::4] = p.data
    gapped = replace(p, data=gaps, steps=1, truth=None, times=None)
    assert np.allclose(method.trajectory(gapped.validated()), x, rtol=1e-10)
    again = pickle.loads(pickle.dumps(method)).trajectory(p.validated())
    assert np.array_equal(again, x)


def test_windows_and_errors_that_it_does_not_know_are_told():
    p = problem().validated()
    with pytest.warns(OutOfRange, match="16 states, and the network was trained on 8"):
        da.FourDVarNet(net(length=8)).trajectory(p)
    with pytest.warns(OutOfRange, match=r"component 0 have errors of 1, .* trained on 2"):
        da.FourDVarNet(net(error=2.0)).trajectory(p)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        da.FourDVarNet(net()).trajectory(p)


SQUARE = da.Observation(lambda x: x[..., :1] ** 2, [1.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: da.FourDVarNet(LearnedSolver(BilinearPrior(3), 3)), ["has not been trained"]),
        (lambda: da.FourDVarNet(torch.nn.Linear(3, 3)), ["LearnedSolver", "Linear"]),
        (lambda: da.FourDVarNet(net(), steps=0), ["steps", "0"]),
        (
            lambda: da.FourDVarNet(net()).trajectory(
                replace(problem(seen=(0,)), observation=SQUARE).validated()
            ),
            ["components of the state", "other numbers"],
        ),
        (
            lambda: da.FourDVarNet(net(), every=3).trajectory(problem().validated()),
            ["after 4 model steps", "every = 3"],
        ),
        (
            lambda: da.FourDVarNet.fit(net(), windows(2, 0), (np.ones((2, 5)),) * 2, error=1.0),
            ["validation", "(2, 5)"],
        ),
        (lambda: da.FourDVarNet.fit(net(), np.ones(3), windows(2, 0), error=1.0), ["train"]),
        (
            lambda: net()(torch.ones(1, L, 3), torch.ones(1, L, 2), torch.ones(1, L, 3)),
            ["LearnedSolver wants", "(1, 16, 2)"],
        ),
        (lambda: ModelPrior(3, 3), ["model", "3"]),
        (lambda: LearnedSolver(3, 3), ["prior", "3"]),
        (lambda: Direct(3, 3), ["net", "3"]),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert all(w in str(error.value) for w in words), str(error.value)
