"""Two-scale Lorenz-96: exact identities of the equations, and published statistics."""

import dataclasses

import numpy as np
import pytest
import torch
from lengths import full
from scipy.integrate import solve_ivp

import dalearn as da


def attractor(model, members, seed=0, units=5):
    """States `(members, n + n fast)` after `units` time units from random ones."""
    rng = np.random.default_rng(seed)
    scale = np.repeat([3.0, 0.3], [model.n, model.n * model.fast])
    return march(model, rng.normal(size=(members, *model.shape)) * scale, round(units / model.dt))


def march(model, x, steps):
    for _ in range(steps):
        x = model(x)
    return x


MODEL = da.Lorenz96TwoScale()
X = attractor(MODEL, 3)


def test_without_coupling_the_slow_variables_are_lorenz96():
    model = dataclasses.replace(MODEL, coupling=0.0)
    alone = da.Lorenz96(model.n, forcing=10.0, dt=model.dt)
    # to the bit: the coupling adds a zero
    assert np.array_equal(model.slow(march(model, X, 50)), march(alone, model.slow(X), 50))


def test_each_scale_is_a_lorenz96_forced_by_the_other():
    # With Z_i = b Y_{-i} and time c t, the fast equation is Lorenz-96 forced by h X: its indices
    # run backwards. The slow one is Lorenz-96 forced by F - (h c / b) sum Y.
    h, b, c, n, J = 0.7, 9.0, 11.0, MODEL.n, MODEL.fast
    model = da.Lorenz96TwoScale(coupling=h, amplitude_ratio=b, time_ratio=c)
    slow, Y = X[:, :n], X[:, n:]
    drag = h * c / b * Y.reshape(-1, n, J).sum(-1)
    expected = da.Lorenz96(n, forcing=10.0 - drag).tendency(slow)
    got = model.tendency(X)
    assert np.allclose(got[:, :n], expected, rtol=0, atol=1e-12)  # round-off of terms of size 100
    fast = da.Lorenz96(n * J, forcing=h * np.repeat(slow, J, axis=-1)[:, ::-1])
    expected = c / b * fast.tendency(b * Y[:, ::-1])[:, ::-1]
    assert np.allclose(got[:, n:], expected, rtol=0, atol=1e-12)


def test_only_damping_and_forcing_change_the_energy():
    slow, Y = MODEL.slow(X), X[:, MODEL.n :]
    rate = (X * MODEL.tendency(X)).sum(-1)
    expected = (10.0 * slow - slow**2).sum(-1) - 10.0 * (Y**2).sum(-1)
    assert np.allclose(rate, expected, rtol=0, atol=1e-10)  # sums of 1e3 terms of size 100


def test_turning_the_ring_turns_the_forecast():
    n, J = MODEL.n, MODEL.fast

    def turn(x):
        return np.concatenate((np.roll(x[:, :n], 5, -1), np.roll(x[:, n:], 5 * J, -1)), -1)

    assert np.array_equal(MODEL(turn(X)), turn(MODEL(X)))  # the same arithmetic, elsewhere


def test_the_step_is_of_fourth_order():
    def late(dt):
        return march(dataclasses.replace(MODEL, dt=dt), X, round(0.08 / dt))

    exact = late(0.0005)
    errors = [np.abs(late(dt) - exact).max() for dt in (0.005, 0.0025)]
    assert 3.7 < np.log2(errors[0] / errors[1]) < 4.3  # 4, and the next order of the expansion


def test_a_parameter_that_is_being_learned_is_never_an_old_one():
    h = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    model, x = (
        da.Lorenz96TwoScale(4, 3, coupling=h),
        torch.linspace(-1, 1, 16, dtype=torch.float64),
    )
    with torch.no_grad():
        model(x)
    slopes = []
    for _ in range(2):
        slopes += torch.autograd.grad(model(x).square().sum(), h)
        with torch.no_grad():
            h += 1
    assert slopes[0] != 0
    assert slopes[1] != slopes[0]
    assert torch.equal(model(x), da.Lorenz96TwoScale(4, 3, coupling=3.0)(x))


def test_settings():
    for bad in ({"n": 3}, {"fast": 0}, {"amplitude_ratio": 0.0}, {"time_ratio": -1.0}, {"dt": 0}):
        with pytest.raises(ValueError, match=r"wants|must be"):
            da.Lorenz96TwoScale(**bad)
    assert MODEL.shape == (396,)
    assert MODEL.slow(X).shape == (3, 36)
    # one bad member becomes NaN, the others are untouched; numpy numbers do not widen float32
    swept = dataclasses.replace(MODEL, time_ratio=np.array([[10.0], [-10.0], [9.0]]))(X)
    assert np.isnan(swept[1]).all()
    assert np.array_equal(swept[0], MODEL(X[0]))
    model = dataclasses.replace(MODEL, forcing=np.float64(10.0), time_ratio=np.float64(10.0))
    assert model(X.astype("float32")).dtype == "float32"


def test_what_the_fast_scale_does_to_the_slow_one_is_as_published():
    """The mean effect of Y as a cubic in X, for K = 8, J = 32, F = 20, h = 1, b = c = 10.

    Arnold, Moroz and Palmer, Phil. Trans. R. Soc. A 371, 2013, fit it to the tendency that
    Lorenz-96 lacks, from differences over 0.005 time units; the coefficients as DAPPER quotes
    them (mods/LorenzUV/wilks05.py).
    """
    published = np.polynomial.Polynomial([0.341, 1.30, -0.0136, -0.00235])
    model = da.Lorenz96TwoScale(8, 32, forcing=20.0)
    bare = da.Lorenz96(8, forcing=20.0)
    x = attractor(model, 32, units=3)
    slow, lacking = [], []
    for _ in range(150):
        X, next_x = model.slow(x), model(x)
        slow.append(X)
        lacking.append(bare.tendency(X) - (model.slow(next_x) - X) / model.dt)
        x = march(model, next_x, 19)
    slow, lacking = np.stack(slow), np.stack(lacking)
    at = np.linspace(-4, 12, 9)  # from the 2nd to the 94th percentile of X
    groups = [slice(g, None, 8) for g in range(8)]
    fits = [np.polyfit(slow[:, g].ravel(), lacking[:, g].ravel(), 3) for g in groups]
    curves = np.stack([np.polyval(f, at) for f in fits])
    error = curves.std(0, ddof=1) / 8**0.5
    # half a unit in the last digit of each printed coefficient; four standard errors of ours,
    # which would be met by chance once in a thousand runs
    rounding = np.abs(at[:, None] ** np.arange(4)) @ [5e-4, 5e-3, 5e-5, 5e-6]
    assert np.all(np.abs(curves.mean(0) - published(at)) < rounding + 4 * error)
    # and the test would see a tenth less coupling
    assert np.any(np.abs(0.9 * curves.mean(0) - published(at)) > 3 * (rounding + 4 * error))


def test_differences_grow_as_under_another_integrator():
    def tendency(_, z):
        z = z.reshape(-1, 396)
        X, Y = z[:, :36], z[:, 36:]
        dX = np.roll(X, 1, 1) * (np.roll(X, -1, 1) - np.roll(X, 2, 1)) - X + 10
        dX -= Y.reshape(-1, 36, 10).sum(-1)
        dY = 100 * np.roll(Y, -1, 1) * (np.roll(Y, 1, 1) - np.roll(Y, -2, 1)) - 10 * Y
        return np.concatenate((dX, dY + np.repeat(X, 10, 1)), 1).ravel()

    start = np.concatenate((X, X + 1e-5 * np.cos(np.arange(396.0))))
    settings = {"method": "DOP853", "t_eval": [0.2], "rtol": 1e-9, "atol": 1e-11}
    theirs = solve_ivp(tendency, (0, 0.2), start.ravel(), **settings).y.reshape(start.shape)
    ours = march(dataclasses.replace(MODEL, dt=0.00025), start, 800)
    # our steps make the error: 5e-5 at dt = 0.001, of fourth order, so 2e-7 here
    assert np.allclose(ours, theirs, rtol=0, atol=1e-6)
    growth = [np.linalg.norm(z[3:] - z[:3], axis=-1) for z in (ours, theirs)]
    assert np.all(growth[0] > 5 * np.linalg.norm(start[3:] - start[:3], axis=-1))
    assert np.allclose(*growth, rtol=1e-6)


def exponents(model, x, count, rounds, spinup=60, every=4, distance=1e-6):
    """Rates `(members, count)` of `count` small differences, made orthogonal every few steps."""
    v = np.random.default_rng(1).normal(size=(len(x), count, x.shape[-1]))
    total = 0
    for k in range(spinup + rounds):
        v = np.linalg.qr(v.mT)[0].mT
        both = march(model, np.concatenate((x[:, None], x[:, None] + distance * v), 1), every)
        x, v = both[:, 0], (both[:, 1:] - both[:, :1]) / distance
        if k >= spinup:
            total += np.log(np.abs(np.linalg.qr(v.mT, "r").diagonal(axis1=-2, axis2=-1)))
    return total / (rounds * every * model.dt)


@pytest.mark.slow
@pytest.mark.proof
def test_the_leading_exponent_is_the_stated_one():
    # no published value was found; the growth rates are checked against another integrator above
    rates = exponents(MODEL, attractor(MODEL, 32), 1, rounds=full(300, 600))
    error = rates.std(ddof=1) / 32**0.5
    assert error < full(0.22, 0.15)
    assert abs(rates.mean() - 9.9) < 4 * error


@pytest.mark.slow
def test_how_many_exponents_are_not_negative():
    # "about 60" for K = 8, J = 32 in the table of models of DAPPER (README, LorenzUV)
    model = da.Lorenz96TwoScale(8, 32, forcing=20.0)
    rates = exponents(model, attractor(model, 4), 75, rounds=200)
    # "about 60" is rounded to tens; with other starts we count 59 to 63
    assert 55 <= (rates.mean(0) >= 0).sum() <= 65
