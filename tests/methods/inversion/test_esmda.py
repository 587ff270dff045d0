"""ES-MDA: ERT's numbers, the exact posterior of linear problems, failed runs, batches, units."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.array import array_namespace
from dalearn.methods import esmda

# iterative_ensemble_smoother 1.2.0 (Equinor, PyPI): ESMDA(covariance=R, observations=y,
# alpha=[4, 2, 1]), then for each step prepare_assimilation(Y=G, truncation=1.0,
# observation_perturbations=D cos j) and assimilate_batch, on the arrays of `curved`
ERT = [
    [0.409987881516, 0.205376796817, -0.05030712376],
    [0.171114409253, 0.475430605935, -0.522490616229],
    [0.237030513373, 0.210969603656, -0.20221410692],
    [0.146319448323, 0.658805955511, -0.769054899073],
    [0.461053767159, 0.481459819563, -0.482292362519],
    [0.388755664408, 0.22425691981, -0.092340012633],
]


def curved(x):
    """Four numbers that depend on three parameters, none of them alone linearly."""
    xp = array_namespace(x)
    parts = x[..., 0] ** 2 + x[..., 1], xp.sin(x[..., 1]) + x[..., 2], x[..., 0] * x[..., 2]
    return xp.stack((*parts, xp.sum(x, axis=-1)), axis=-1)


def test_the_numbers_of_ert():
    E = np.cos(1.7 * np.arange(18.0) ** 2).reshape(6, 3)
    D = np.sin(2.3 * np.arange(24.0) ** 2).reshape(6, 4)
    y, R = np.array([0.5, -0.3, 0.2, 0.1]), np.diag([0.1, 0.2, 0.3, 0.4])
    R[0, 1] = R[1, 0] = 0.05
    for j, alpha in enumerate(da.ESMDA(6, alphas=(4, 2, 1)).coefficients):
        E = esmda(E, curved(E), y, da.Dense(R), D * np.cos(j), alpha)
    np.testing.assert_allclose(E, ERT, rtol=0, atol=1e-10)


G = np.random.default_rng(0).normal(size=(3, 4))


def still(x):
    """The model of a static state."""
    return x


ONES = np.ones(4), np.ones(3)


def inverse(batch=(), operator=G, units=ONES, gaps=False, like=ONES[0]):
    """A linear inverse problem, y = G theta + e, its data at the prior's own time."""
    D, E = units
    B = np.outer(D, D) * (np.diag([1.0, 2.0, 3.0, 4.0]) + 0.5)
    R = np.outer(E, E) * (np.diag([0.1, 0.2, 0.3]) + 0.05)
    y = np.random.default_rng(1).normal(size=(*batch, 1, 3)) * E
    if gaps:
        y[..., 1] = np.nan
    if not callable(operator):
        operator = E[:, None] * operator / D
    see = da.Observation(operator, da.Dense(R))
    return da.Problem(still, see, da.Gaussian(D.copy(), da.Dense(B)), y, steps=[0]).to(like)


def run(problem, method, seed=0):
    return da.assimilate(problem, method, seed=seed, progress=False)


def error(problem, method):
    """How far mean and deviation are from Kalman's, in deviations, mean square over the batch."""
    a, b = (run(problem, m).sel(stage="analysis") for m in (method, da.KF()))
    off = (a["mean"] - b["mean"]) / b["std"], a["std"] / b["std"] - 1
    return [float((x**2).mean()) ** 0.5 for x in off]


@pytest.mark.parametrize(("alphas", "gaps"), [(1, False), (4, True), ((8, 4, 2, 1), False)])
def test_the_exact_posterior_with_many_members(alphas, gaps):
    problem = inverse((40,), gaps=gaps)
    few, many = (np.array(error(problem, da.ESMDA(N, alphas=alphas))) for N in (100, 1600))
    assert (many < 0.09).all(), many  # about 2 / N^1/2 = 0.05
    assert (few / many > 3).all()  # 16^1/2, from 40 experiments
    assert (few / many < 5.5).all()


def test_small_steps_come_nearer_where_the_problem_is_curved():
    """The mean of exp(theta) seen once: the exact mean and deviation by quadrature."""
    x = np.linspace(-6, 6, 20001)
    w = np.exp(-(x**2) / 2 - (3 - np.exp(x)) ** 2 / (2 * 0.01))
    mean = (w * x).sum() / w.sum()
    see = da.Observation(lambda x: array_namespace(x).exp(x), da.Diagonal([0.01]))
    prior = da.Gaussian(np.zeros(1), da.Diagonal([1.0]))
    problem = da.Problem(still, see, prior, np.array([[3.0]]), steps=[0])
    off = [
        abs(run(problem, da.ESMDA(2000, alphas=a))["mean"].sel(stage="analysis").item() - mean)
        for a in (1, 4, 16)
    ]
    assert off[0] > 2 * off[1], off
    assert off[1] > off[2], off


def test_a_run_from_its_data():
    """The start of a Lorenz-96 run: better than the prior at all times."""
    model, n = da.Lorenz96(8), 8
    prior = da.Gaussian(8 * np.sin(np.arange(8.0)), da.Diagonal(np.full(n, 0.25)))
    see = da.Observation(da.identity, da.Diagonal(np.full(n, 0.01)))
    problem = da.twin(model, see, prior, 6, batch=(3,), seed=2)
    result = run(problem, da.ESMDA(60))
    errors = da.rmse(result).mean(("time",))
    forecast, analysis = (errors.sel(stage=s).values for s in ("forecast", "analysis"))
    assert (analysis < 0.4 * forecast).all()
    assert "start" in result.stage


def failing(x):
    """Linear, but runs with a large first parameter fail."""
    xp = array_namespace(x)
    return xp.where(x[..., :1] > 1.5, xp.full_like(x[..., :3], np.nan), x @ G.T)


def test_failed_runs_are_replaced_and_counted():
    result = run(inverse((3,), failing), da.ESMDA(400))
    assert np.isfinite(result["mean"].sel(stage="analysis")).all()
    assert (result["failed_members"] > 50).all()  # P(theta_1 > 1.5) is a third in the first run
    sound = run(inverse((3,), lambda x: x @ G.T), da.ESMDA(400))
    assert (sound["failed_members"] == 0).all()
    off = abs(result["mean"] - sound["mean"]).sel(stage="analysis")
    assert (off < sound["std"].sel(stage="analysis")).all()


def test_contract():
    method = da.ESMDA(20, alphas=(4, 2))
    whole = run(inverse((3,)), method)
    again = run(inverse((3,)), method)
    np.testing.assert_array_equal(whole["mean"], again["mean"])
    y = inverse((3,)).data
    for b in range(3):
        alone = run(replace(inverse(), data=y[b]), method, seed=b)
        np.testing.assert_array_equal(whole["mean"][b], alone["mean"])
    D, E = 10.0 ** np.array([-8, 3, 0, 9.0]), 10.0 ** np.array([7, -6, 0.0])
    scaled = run(inverse((3,), units=(D, E)), method)
    np.testing.assert_allclose(scaled["mean"] / D, whole["mean"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(scaled["std"] / D, whole["std"], rtol=0, atol=1e-8)
    blind = run(replace(inverse(), data=np.full((1, 3), np.nan)), method)
    np.testing.assert_allclose(*(blind["mean"].sel(stage=s) for s in ("forecast", "analysis")))


def test_numpy_equals_torch():
    rng = np.random.default_rng(3)
    E, D, y = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 6, 3)), rng.normal(size=3)
    R = da.Diagonal([0.1, 0.2, 0.3])
    a = esmda(E, E @ G.T, y, R, D, 2.0)
    E, D, y, H = (torch.as_tensor(v) for v in (E, D, y, G))
    R = da.Diagonal(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    np.testing.assert_allclose(esmda(E, E @ H.T, y, R, D, 2.0).numpy(), a, rtol=0, atol=1e-12)
    problem = inverse((10,), like=E)
    assert max(error(problem, da.ESMDA(1600))) < 0.09  # torch draws numbers of its own


@pytest.mark.parametrize("alphas", [0, (), (1.0, -2.0), (1.0, np.inf), ((1.0,),)], ids=repr)
def test_wrong_coefficients(alphas):
    with pytest.raises(ValueError, match="alphas"):
        da.ESMDA(5, alphas=alphas)
    assert np.isclose(sum(1 / a for a in da.ESMDA(5, alphas=(8, 4, 2, 1)).coefficients), 1)


def test_model_errors_are_refused():
    problem = replace(inverse(), noise=np.ones(4))
    with pytest.raises(ValueError, match="without errors"):
        run(problem, da.ESMDA(5))
