"""Operators inside borders, joint states and histories are still known for what they are."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import dalearn as da
from dalearn.diagnostics.consistency import innovation_chi2
from dalearn.models.windows import Latest
from dalearn.problem.border import Border, OnState, unwrapped
from dalearn.problem.observe import is_linear, is_selection

SEA = da.ShallowWater((6, 5))


def field_problem(operator=None, batch=()):
    operator = da.Every(7) if operator is None else operator
    rng = np.random.default_rng(0)
    prior = da.Gaussian(0.1 * rng.normal(size=90), 0.01)
    m = operator(np.zeros((1, 3, 6, 5))).size
    see = da.Observation(operator, 0.04 * np.ones(m))
    return da.twin(SEA, see, prior, 4, shape=SEA.shape, batch=batch)


def joint_problem(operator=None, batch=()):
    plain = field_problem(operator, batch)
    return da.with_parameters(plain, "gravity", da.Gaussian([9.81], 0.01))


INSIDE = da.Subset((np.array([0, 0, 1]), np.array([1, 2, 3]), np.array([0, 4, 2])))


@pytest.mark.parametrize(
    "operator", [da.identity, da.Every(2, axes=2), INSIDE], ids=["identity", "Every", "Subset"]
)
def test_selections_are_seen_through_everything_around_them(operator):
    history = da.History(lambda past: past[:, -1], 2)
    for f in (
        operator,
        Border(operator, (3, 6, 5)),
        OnState(Border(operator, (3, 6, 5)), 90),
        history.observe(operator),
    ):
        assert unwrapped(f) is operator
        assert is_linear(f)
        assert is_selection(f)
        if not isinstance(f, Latest):  # whose network is a lambda here
            assert is_linear(pickle.loads(pickle.dumps(f)))
    square = OnState(Border(lambda x: x**2, (3, 6, 5)), 90)
    assert not is_linear(square)
    assert not is_selection(square)
    matrix = OnState(da.Linear(np.ones((2, 90))), 90)
    assert is_linear(matrix)
    assert not is_selection(matrix)


def test_the_linear_operator_of_a_joint_field_is_applied_to_increments():
    for problem in (field_problem(INSIDE), joint_problem(INSIDE)):
        operator = problem.validated().at(0)[0].operator
        assert is_linear(operator)
        x, dx = np.random.default_rng(1).normal(size=(2, 1, problem.n))
        np.testing.assert_allclose(operator(x + dx) - operator(x), operator(dx), atol=1e-15)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_chi_square_from_the_variances_of_a_joint_field(batch):
    """The same as the mean of d^2 / (s^2 + r^2) from the observed components themselves."""
    joint = joint_problem(INSIDE, batch)
    data = joint.data.copy()
    data[..., 1, 0] = np.nan
    joint = replace(joint, data=data)
    result = da.assimilate(joint, da.ETKF(20), progress=False)
    at = np.ravel_multi_index(INSIDE.index, SEA.shape)
    forecast = result.sel(stage="forecast")
    d = data - forecast["mean"].values[..., at]
    wanted = np.nanmean(d**2 / (forecast["std"].values[..., at] ** 2 + 0.04), axis=-1)
    np.testing.assert_allclose(innovation_chi2(result, joint), wanted, rtol=1e-12)


def test_a_joint_field_is_localized_where_its_components_are():
    joint = joint_problem(INSIDE)
    grid = da.Localization.plane(SEA.shape, 2.0).with_globals(1)
    result = da.assimilate(joint, da.LETKF(10, localization=grid), progress=False)
    assert np.isfinite(result["mean"]).all()
