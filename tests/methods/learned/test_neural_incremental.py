"""Neural incremental assimilation: exact where the law is known, and what it refuses."""

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.neural import NeuralPrior, Scattered, seeded

T, N = 5, 2
M = np.array([[0.9, 0.3], [-0.2, 0.8]])
Q, P0, MEAN = np.diag([0.1, 0.3]), np.array([[1.0, 0.2], [0.2, 0.5]]), np.array([1.0, -2.0])


class Law(torch.nn.Module):
    """A body that gives the law of a linear chain, whatever the guess."""

    def __init__(self, mean, raw):
        super().__init__()
        self.mean, self.raw = mean, torch.nn.Parameter(raw)

    def forward(self, x):
        first = self.mean - x[:, :1]
        return torch.cat((first, self.raw.expand(len(x), -1, -1, -1)), 1)


def model(x):
    return x @ M.T if isinstance(x, np.ndarray) else x @ torch.as_tensor(M.T).to(x)


def exact(unit=1.0):
    """A network that holds the law of the chain x' = M x + q, in units of its own."""
    A = np.zeros((T * N, T * N))
    A[:N, :N] = np.linalg.inv(P0)
    W = np.linalg.inv(Q)
    for t in range(T - 1):
        i = slice(N * t, N * t + 2 * N)
        A[i, i] += np.block([[M.T @ W @ M, -M.T @ W], [-W @ M, W]])
    means = [MEAN]
    for _ in range(T - 1):
        means.append(M @ means[-1])
    std, mean = unit * np.linspace(0.7, 2.0, T * N), np.concatenate(means)
    L = np.linalg.cholesky(A * std * std[:, None])
    net = NeuralPrior(T, N, bound=1e9, hidden=(2, 2)).double()
    raw = np.zeros((len(net.offsets), T * N))
    for row, k in enumerate(net.offsets):
        i = np.arange(T * N - k)
        raw[row, i] = L[i + k, i] / L[i, i] if k else 4 * np.arctanh(np.log(L[i, i]) / 4)
    cov = torch.tensor(np.linalg.inv(A))
    draws = torch.tensor(np.random.default_rng(0).normal(size=(50, T, N)) * std.reshape(T, N))
    net.scaled(draws, (torch.tensor(mean), cov))
    net.mean.copy_(torch.tensor(mean).view(T, N)), net.std.copy_(torch.tensor(std).view(T, N))
    net.first_mean.zero_()
    values, vectors = np.linalg.eigh(np.linalg.inv(A) / std / std[:, None])
    net.root.copy_(torch.tensor(np.sqrt(values)[:, None] * vectors.T))
    net.body = Law(torch.zeros(1, 1, T, N), torch.tensor(raw.reshape(1, -1, T, N))).double()
    return net


def chain(batch=(), seed=0, gaps=True, like=None):
    rng = np.random.default_rng(seed)
    see = da.Observation(np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([0.2, 0.4]))
    y = rng.normal(size=(*batch, 3, 2))
    if gaps:
        y[..., 1, 0] = np.nan
    prior = da.Gaussian(MEAN, da.Dense(P0))
    if like is not None:
        prior = da.Gaussian(torch.tensor(MEAN), da.Dense(torch.tensor(P0)))
    return da.Problem(model, see, prior, y, steps=[1, 2, 1], noise=da.Dense(Q))


def run(problem, method):
    return da.assimilate(problem, method, progress=False, keep=("moments",))


@pytest.mark.parametrize("levels", [1, 3])
def test_it_is_the_kalman_smoother_where_the_law_is_that_of_a_linear_chain(levels):
    problem = chain()
    ours = run(problem, da.NeuralIncremental(exact(), levels=levels))
    smoother = run(problem, da.RTS())
    for name in ("mean", "std"):
        for stage in ("analysis", "smoothed"):
            found = ours[name].sel(stage=stage).values
            wanted = smoother[name].sel(stage="smoothed").values
            assert np.allclose(found, wanted, rtol=0, atol=1e-7)


def test_the_forecast_is_the_climatology_and_so_is_what_saw_nothing():
    problem = chain((2,))
    data = problem.data.copy()
    data[1] = np.nan
    out = run(da.Problem(**{**parts(problem), "data": data}), da.NeuralIncremental(exact()))
    free = run(chain(gaps=False), da.KF())
    first = free["mean"].sel(stage="forecast").values[0]
    assert np.allclose(out["mean"].sel(stage="forecast").values[0, 0], first, atol=1e-7)
    blind = out.isel(case=1)
    for name in ("mean", "std"):
        forecast, after = (blind[name].sel(stage=s).values for s in ("forecast", "analysis"))
        assert (forecast == after).all()


def parts(problem):
    names = ("model", "observation", "prior", "data", "steps", "noise")
    return {k: getattr(problem, k) for k in names}


def test_a_batch_is_its_experiments_and_torch_is_numpy():
    problem, method = chain((3,)), da.NeuralIncremental(exact())
    whole = run(problem, method)["mean"].values
    for b in range(3):
        assert np.allclose(run(problem[b], method)["mean"].values, whole[b], atol=1e-12)
    torch_run = run(chain((3,), like="torch"), method)["mean"].values
    assert np.allclose(torch_run, whole, rtol=0, atol=1e-12)


def test_training_by_fit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, T, N)).cumsum(1)
    net = seeded(0, NeuralPrior, T, N, hidden=(8, 8))
    told = {"draw": Scattered(T, N, 2, 3), "std": 0.1, "epochs": 1, "progress": False}
    method = da.NeuralIncremental.fit(net, x[:200], x[200:], levels=2, **told)
    assert method.levels == 2
    assert method.net.trained
    assert method.net.spread != 1
    again = seeded(0, NeuralPrior, T, N, hidden=(8, 8))
    da.NeuralIncremental.fit(again, x[:200], x[200:], levels=2, **told)
    for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
        assert (a == b).all()
    with pytest.raises(ValueError, match="stand in train and in validation"):
        da.NeuralIncremental.fit(again, x[:200], x[198:], **told)
    with pytest.raises(ValueError, match=r"validation must be trajectories \(S, 5, 2\)"):
        da.NeuralIncremental.fit(again, x[:200], x[200:, :4], **told)


def test_what_it_refuses():
    with pytest.raises(TypeError, match="must be a NeuralPrior"):
        da.NeuralIncremental(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="has not been trained"):
        da.NeuralIncremental(NeuralPrior(T, N))
    method = da.NeuralIncremental(exact())
    longer = da.Problem(**{**parts(chain()), "steps": [1, 2, 2]})
    with pytest.raises(ValueError, match="window has 6 states, met a network trained for 5"):
        run(longer, method)
    wide = da.twin(da.Lorenz63(), da.Observation(da.identity, np.ones(3)), climate(), 2)
    with pytest.raises(ValueError, match="for states of 2 numbers, met a problem of 3"):
        run(wide, method)
    bent = da.Observation(lambda x: x[..., :1] ** 2, np.ones(1))
    curved = da.Problem(**{**parts(chain()), "observation": bent, "data": np.ones((3, 1))})
    with pytest.raises(ValueError, match="wants linear operators"):
        run(curved, method)


def climate():
    return da.Gaussian(np.array([1.5, -1.5, 25.0]), da.Diagonal(np.ones(3)))
