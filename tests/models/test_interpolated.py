"""Runs between runs: exact where theory says so, in any units, library and precision."""

import numpy as np
import pytest
import torch

import dalearn as da

RNG = np.random.default_rng(0)
U1, U2 = RNG.uniform(-1, 1, (12, 1)), RNG.uniform(-1, 1, (30, 2))


def cubic(u):
    """Runs `(S, 2, 3)` that depend on one parameter by a polynomial of third degree."""
    powers = np.asarray(u) ** np.arange(4)
    return (powers @ np.arange(24.0).reshape(4, 6) / 10).reshape(*np.shape(u)[:-1], 2, 3)


def plane(u):
    """Runs `(S, 2, 3)` that depend on two parameters linearly."""
    return (1 + np.asarray(u) @ np.arange(12.0).reshape(2, 6)).reshape(*np.shape(u)[:-1], 2, 3)


@pytest.mark.parametrize(("u", "runs"), [(U1, cubic), (U2, plane)], ids=["spline", "radial"])
def test_what_the_basis_holds_is_exact(u, runs):
    found = da.InterpolatedRuns(u, runs(u))
    new = RNG.uniform(-0.9, 0.9, (4, 5, u.shape[1]))
    assert np.allclose(found(new), runs(new), rtol=0, atol=1e-9)  # errors of 1e-16, conditions 1e5
    assert found(new[0, 0]).shape == (2, 3)
    assert np.allclose(found.weights(new).sum(-1), 1)


@pytest.mark.parametrize("u", [U1, U2], ids=["spline", "radial"])
def test_it_passes_through_the_runs(u):
    runs = RNG.normal(size=(len(u), 3, 4))
    assert np.allclose(da.InterpolatedRuns(u, runs)(u), runs, rtol=0, atol=1e-9)


def test_units_of_the_parameters_do_not_matter():
    runs, new = RNG.normal(size=(30, 4)), RNG.uniform(-1, 1, (5, 2))
    D = np.array([1e6, 1e-6])
    a, b = da.InterpolatedRuns(U2, runs)(new), da.InterpolatedRuns(U2 * D, runs)(new * D)
    assert np.allclose(a, b, rtol=0, atol=1e-9)


def test_order_of_the_runs_does_not_matter():
    turn = RNG.permutation(12)
    a = da.InterpolatedRuns(U1, cubic(U1))(U1[:3] + 0.01)
    assert np.allclose(da.InterpolatedRuns(U1[turn], cubic(U1)[turn])(U1[:3] + 0.01), a)


def test_it_converges():
    """A smooth curve: halving the distance divides the error of a cubic spline by 16."""

    def error(count):
        u = np.linspace(0, 1, count)[:, None]
        new = RNG.uniform(0.3, 0.7, (50, 1))
        return np.abs(da.InterpolatedRuns(u, np.sin(5 * u))(new) - np.sin(5 * new)).max()

    assert 8 < error(11) / error(21) < 32  # 16, where the points fall among the maxima


def test_codes_are_decoded_and_torch_stays_torch():
    states = plane(U2).reshape(30, 2, 3)
    pod = da.POD.fit(states, 2)
    new = U2[:4] + 0.01
    a = da.InterpolatedRuns(U2, pod.encode(states), pod)
    assert a.codes(new).shape == (4, 2, 2)
    assert np.allclose(a(new), pod.decode(pod.encode(plane(new))), rtol=0, atol=1e-9)
    t = torch.as_tensor(states, dtype=torch.float32)
    found = da.InterpolatedRuns(torch.as_tensor(U2), t)(torch.as_tensor(new))
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), plane(new), rtol=1e-4, atol=1e-4)  # 30 float32 terms


@pytest.mark.parametrize(
    ("u", "runs", "words"),
    [
        (U1[:, 0], cubic(U1), r"wanted parameters \(S, p\).*met \(12,\)"),
        (U1[:5], cubic(U1), r"one S, met \(5, 1\) and \(12, 2, 3\)"),
        (U1[:3], cubic(U1[:3]), "met 3 runs, wanted at least 4 for 1 parameter"),
        (U2[:3], plane(U2[:3]), "met 3 runs, wanted at least 4 for 2 parameters"),
        (np.concatenate((U1, U1[:1])), np.zeros((13, 2)), "two runs"),
        (np.where(U1 > 0.5, np.nan, U1), cubic(U1), "parameters hold NaN"),
    ],
)
def test_what_cannot_be_interpolated_is_refused(u, runs, words):
    with pytest.raises(ValueError, match=words):
        da.InterpolatedRuns(u, runs)


def test_another_number_of_parameters_is_refused():
    with pytest.raises(ValueError, match=r"u has shape \(3,\), wanted \(..., 2\)"):
        da.InterpolatedRuns(U2, plane(U2))(np.zeros(3))
