"""Burgers in one and two dimensions, and advection: exact solutions, orders and invariants."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import RegularGridInterpolator

import dalearn as da


def march(model, x, steps):
    for _ in range(steps):
        x = model(x)
    return x


def slopes(errors):
    """Observed orders from errors on grids, or steps, that are halved."""
    return np.log2(np.array(errors[:-1]) / errors[1:])


# --- Burgers in one dimension -----------------------------------------------------------------


def heat(x, t, nu, a=0.99):
    """theta = 1 + a exp(-nu t) cos x, which obeys theta_t = nu theta_xx, and theta_x."""
    fade = a * np.exp(-nu * t)
    return 1 + fade * np.cos(x), -fade * np.sin(x)


def cole_hopf(x, t, nu):
    theta, slope = heat(x, t, nu)
    return -2 * nu * slope / theta


def cell_means(model, t):
    """Means of the exact solution over the cells: -2 nu (difference of log theta) / dx."""
    nu, half = model.viscosity, model.length / model.n / 2
    right, left = (np.log(heat(model.grid + s * half, t, nu)[0]) for s in (1, -1))
    return -nu * (right - left) / half


def test_finite_volumes_tend_to_the_exact_solution_at_first_order():
    errors = []
    for n in (64, 128, 256):
        steps = (n // 64) ** 2 * 22  # the diffusion number 0.5, on every grid
        model = da.Burgers(n, viscosity=0.05, dt=1 / steps)
        u = march(model, cell_means(model, 0), steps)
        errors.append(np.abs(u - cell_means(model, 1)).mean())
    assert np.all(np.abs(slopes(errors) - 1) < 0.05)
    assert errors[-1] < 1e-3


def test_spectral_scheme_is_of_fourth_order_in_time():
    errors = []
    for steps in (10, 20, 40):
        model = da.Burgers(192, viscosity=0.05, dt=1 / steps, spectral=True)
        u = march(model, cole_hopf(model.grid, 0, 0.05), steps)
        errors.append(np.abs(u - cole_hopf(model.grid, 1, 0.05)).max())
    assert np.all(np.abs(slopes(errors) - 4) < 0.35)  # 3.75 and 3.9: the next order at long steps
    assert errors[-1] < 3e-8


def test_spectral_scheme_is_exponentially_accurate_in_space():
    errors = []
    for n in (32, 64, 96, 128):
        model = da.Burgers(n, viscosity=0.05, dt=0.02, spectral=True)
        u = march(model, cole_hopf(model.grid, 0, 0.05), 50)
        errors.append(np.abs(u - cole_hopf(model.grid, 1, 0.05)).max())
    # the solution has its poles 0.14 off the real line: exp(-0.14 n / 3) is a factor 4.5 for each
    # 32 points of the 2/3 that are kept, and more as the poles move away
    ratios = np.array(errors[:-1]) / errors[1:]
    assert np.all(ratios > 4.5)
    assert errors[-1] < 1e-6


def test_spectral_products_do_not_alias():
    # 15 is kept of 48 points, twice that is not on the grid: it would come back as wave 18
    model = da.Burgers(48, viscosity=0.01, dt=0.05, spectral=True)
    u = march(model, np.cos(15 * model.grid), 10)
    assert np.allclose(
        u, np.exp(-0.01 * 15**2 * 0.5) * np.cos(15 * model.grid), rtol=0, atol=1e-13
    )


def test_rarefaction_and_shock_without_viscosity():
    # u = -1 left of pi, 1 right of it opens into the fan (x - pi) / t: a scheme without entropy
    # would leave the jump alone; at the seam u falls from 1 to -1, a shock that does not move
    errors = []
    for n in (100, 200, 400):
        model = da.Burgers(n, viscosity=0.0, dt=0.5 * 2 * np.pi / n)
        x = model.grid + np.pi / n  # a face at pi
        u = march(model, np.where(x < np.pi, -1.0, 1.0), n // 5)
        fan = np.clip((x - np.pi) / (n // 5 * model.dt), -1, 1)
        errors.append(np.abs(u - fan).mean())
        assert np.array_equal(u[[0, -1]], [-1, 1])  # the shock stays one face wide
    assert np.all(slopes(errors) > 0.6)  # the corners of the fan cost a logarithm: h log h
    assert errors[-1] < 0.01  # the jump left alone would make 0.1


@pytest.mark.parametrize("spectral", [False, True])
def test_mass_is_kept_and_energy_decays(spectral):
    model = da.Burgers(128, viscosity=0.1, dt=0.008, spectral=spectral)
    rng = np.random.default_rng(0)
    k = np.arange(1, 6)[:, None]
    u = 0.3 + sum(rng.normal(size=(5, 1)) * np.cos(k * model.grid + rng.normal(size=(5, 1)))) / 2
    assert model.courant(u) < 1
    mass, energy = u.sum(), [(u**2).sum()]
    for _ in range(300):
        u = model(u)
        energy.append((u**2).sum())
    assert abs(u.sum() - mass) < 1e-11  # 300 steps of 128 roundings of numbers of size 1
    assert np.all(np.diff(energy) < 0)
    assert energy[-1] > 0.3**2 * 128  # what the mean alone has


def test_finite_volumes_are_monotone_up_to_courant_one_and_not_beyond():
    rng = np.random.default_rng(1)
    u = rng.uniform(-1, 1, size=(200, 32))
    dx = 2 * np.pi / 32
    model = da.Burgers(32, viscosity=0.03, dt=1 / (1 / dx + 2 * 0.03 / dx**2))
    assert np.all(model.courant(u) <= 1)
    low, high = (f(np.stack([np.roll(u, s, -1) for s in (-1, 0, 1)]), 0) for f in (np.min, np.max))
    v = model(u)
    assert np.all((v >= low - 1e-15) & (v <= high + 1e-15))
    w = dataclasses.replace(model, dt=1.5 * model.dt)(u)
    assert np.any((w < low - 1e-3) | (w > high + 1e-3))


def test_burgers_settings():
    with pytest.raises(ValueError, match=r"diffusion number .* = 10.4 .*, wanted at most 1"):
        da.Burgers(128, viscosity=0.25, dt=0.05)
    da.Burgers(128, viscosity=0.25, dt=0.05, spectral=True)  # diffusion is exact there
    da.Burgers(viscosity=0.0)
    for bad in ({"n": 4}, {"dt": 0.0}, {"length": -1.0}, {"viscosity": -1.0}):
        with pytest.raises(ValueError, match=r"wants|must be"):
            da.Burgers(**bad)
    with pytest.raises(ValueError, match="viscosity positive"):
        da.Burgers(viscosity=0.0, spectral=True)
    # members out of range become NaN, the others are untouched
    nu = np.array([[0.05], [-0.05], [0.13], [np.nan]])
    for spectral, lost in ((False, [1, 2, 3]), (True, [1, 3])):
        model = da.Burgers(viscosity=nu, spectral=spectral)
        with np.errstate(invalid="ignore"):
            u = model(np.broadcast_to(np.sin(model.grid), (4, 128)))
        assert np.array_equal(np.flatnonzero(np.isnan(u).all(-1)), lost)
        alone = da.Burgers(viscosity=0.05, spectral=spectral)(np.sin(model.grid))
        assert np.allclose(u[0], alone, rtol=0, atol=1e-14)  # transforms in batches
    number = da.Burgers(viscosity=np.array([[0.05], [0.1]])).courant(np.ones((2, 128)))
    dx = 2 * np.pi / 128
    assert np.allclose(number, 0.01 / dx + 0.02 / dx**2 * np.array([0.05, 0.1]), rtol=1e-14)


# --- Burgers in the plane ---------------------------------------------------------------------


def fletcher(n, t, nu):
    """An exact solution on the unit square, C. Fletcher, Int. J. Numer. Methods Fluids 3, 1983."""
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    g = 0.25 / (1 + np.exp((4 * y - 4 * x - t) / (32 * nu)))
    return np.stack([0.75 - g, 0.75 + g])


def test_plane_tends_to_the_exact_solution_at_first_order():
    errors = []
    for n, steps in ((17, 50), (33, 120), (65, 350)):
        model = da.Burgers2D(n, 0.02, dt=0.25 / steps, length=1.0, boundary=None)
        x = fletcher(n, 0, 0.02)
        for k in range(steps):
            x, inside = fletcher(n, (k + 1) * model.dt, 0.02), model(x)
            x[:, 1:-1, 1:-1] = inside[:, 1:-1, 1:-1]
        errors.append(np.abs(x - fletcher(n, 0.25, 0.02)).max())
    assert np.all(np.abs(slopes(errors) - 1) < 0.15)  # 0.88 and 0.93, on their way to 1
    assert errors[-1] < 3e-3


def test_plane_in_one_dimension_is_an_upwind_difference():
    # constant along y and v = 0: the rim reaches one row further in each step, so the middle row
    # knows nothing of it for n / 2 - 1 steps; u has both signs
    n, nu = 33, 0.05
    model = da.Burgers2D(n, nu, dt=0.01, boundary=None)
    u = np.sin(3 * model.dx * np.arange(n))
    x = np.stack([np.tile(u, (n, 1)), np.zeros((n, n))])
    for _ in range(n // 2 - 1):
        x = model(x)
        du, mid = np.diff(u), u[1:-1]
        slope = np.where(mid > 0, mid * du[:-1], mid * du[1:])
        u[1:-1] = mid + model.dt * (nu * np.diff(du) / model.dx - slope) / model.dx
    assert np.allclose(x[0, n // 2], u, rtol=0, atol=1e-14)  # round-off of 15 steps
    assert np.array_equal(x[1], np.zeros((n, n)))


def published_step(u, v, nu, dt, dx):
    """The scheme of MEDLA: backward differences, whatever the sign."""
    un, vn = u.copy(), v.copy()
    for q in (un, vn):
        old = u if q is un else v
        for i in range(1, len(u) - 1):
            for j in range(1, len(u) - 1):
                back_x, back_y = old[i, j] - old[i, j - 1], old[i, j] - old[i - 1, j]
                lap = old[i, j + 1] + old[i, j - 1] + old[i + 1, j] + old[i - 1, j] - 4 * old[i, j]
                q[i, j] += dt * (nu * lap / dx - u[i, j] * back_x - v[i, j] * back_y) / dx
        q[[0, -1]] = q[:, [0, -1]] = 1
    return np.stack([un, vn])


def test_medla_set_up():
    model = da.Burgers2D.medla(32)
    assert abs(da.Burgers2D.medla(128).dt - 2.23e-4) < 1e-6
    assert abs(model.dt - 3.7e-3) < 1e-4  # the two steps as they state them
    x = model.initial()
    s = np.linspace(0, 2, 32)
    inside = (s >= 0.5) & (s <= 1)
    assert np.array_equal(x[0] == 2, inside[:, None] & inside)
    assert np.array_equal(x[0], x[1])
    x[1] *= 1 + 0.1 * s  # u and v apart
    y = x
    for _ in range(3):
        x, y = model(x), published_step(*y, 0.01, model.dt, model.dx)
    assert np.allclose(x, y, rtol=0, atol=1e-14)


def test_medla_grids_agree_and_stay_within_the_start():
    fine, coarse = da.Burgers2D.medla(128), da.Burgers2D.medla(32)
    end = 54 * coarse.dt  # 0.2, half way
    x = march(coarse, coarse.initial(), 54)
    z = fine.initial()
    for _ in range(round(end / fine.dt)):
        z = fine(z)
        assert z.min() >= 1
        assert z.max() <= 2
    s, c = np.linspace(0, 2, 128), np.linspace(0, 2, 32)
    points = np.stack(np.meshgrid(c, c, indexing="ij"), -1)
    seen = RegularGridInterpolator((s, s), z[0])(points)
    # numerical diffusion is |u| dx / 2, four times stronger on the coarse grid: its fronts are
    # smeared over 0.1, of a square of side 0.5 and height 1 above a ground of 1: measured 4.2 %
    assert np.linalg.norm(x[0] - seen) < 0.05 * np.linalg.norm(seen)
    assert np.linalg.norm(coarse.initial()[0] - seen) > 0.15 * np.linalg.norm(seen)  # it has moved
    assert np.array_equal(x[0], x[1])  # u and v started equal


def test_plane_symmetries():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 2, 12, 12))
    model = da.Burgers2D(12, boundary=None, dt=1e-3)
    y = model(x)
    # x and y, with u and v, exchanged
    swapped = model(x[:, ::-1].swapaxes(-1, -2))
    assert np.allclose(swapped[:, ::-1].swapaxes(-1, -2), y, rtol=0, atol=1e-14)
    # east and west exchanged, which turns the sign of u: the upwind side follows
    turn = np.array([-1.0, 1.0])[:, None, None]
    assert np.allclose(turn * model(turn * x[..., ::-1])[..., ::-1], y, rtol=0, atol=1e-14)
    assert np.array_equal(y[..., [0, -1]], x[..., [0, -1]])  # the rim keeps what it has
    held = dataclasses.replace(model, boundary=0.5)(x)
    assert np.all(held[..., [0, -1], :] == 0.5)
    assert np.all(held[..., [0, -1]] == 0.5)
    assert np.array_equal(held[..., 1:-1, 1:-1], y[..., 1:-1, 1:-1])


def test_plane_settings():
    with pytest.raises(ValueError, match=r"diffusion number .* wanted at most 1: take dt at most"):
        da.Burgers2D(32, 1.0, dt=0.01)
    with pytest.raises(ValueError, match="dt= where viscosity is an array"):
        da.Burgers2D(32, np.ones((2, 1, 1)))
    for bad in ({"n": 3}, {"length": 0.0}, {"viscosity": -1.0}, {"dt": -1.0}):
        with pytest.raises(ValueError, match=r"wants|must be"):
            da.Burgers2D(**bad)
    model = da.Burgers2D(32)
    assert np.allclose(model.courant(np.full((3, 2, 32, 32), 2.0)), 0.5, rtol=1e-12)
    nu = np.array([0.01, -0.01, 10.0])[:, None, None]
    swept = dataclasses.replace(model, viscosity=nu)
    x = np.broadcast_to(model.initial(), (3, 2, 32, 32))
    y = swept(x)
    assert np.isnan(y[1:, :, 1:-1, 1:-1]).all()
    assert np.array_equal(y[0], model(x[0]))
    assert np.allclose(swept.courant(x)[0], model.courant(x)[0], rtol=1e-12)
    assert model.initial(torch.zeros(1)).dtype == torch.float32


# --- advection --------------------------------------------------------------------------------


def tracer(x, y):
    return np.sin(x + 2 * np.cos(y))


def vortex(x, y):
    return np.stack([np.sin(x) * np.cos(y), -np.cos(x) * np.sin(y)])


@pytest.mark.parametrize("order", [1, 3])
def test_motion_by_whole_cells_is_a_roll(order):
    rng = np.random.default_rng(0)
    q, w = rng.normal(size=(4, 20, 24)), np.zeros((2, 20, 24))
    w[0], w[1] = 3, -31  # more than once around
    model = da.Advection((20, 24), length=24.0, motion=w, dt=1.0, order=order)
    rolled = np.roll(q, (-31, 3), (-2, -1))
    assert np.allclose(model(q), rolled, rtol=0, atol=1e-12)  # the way there and back: 31 - 31
    state = da.Advection((20, 24), length=24.0, dt=1.0, order=order)
    x = np.concatenate((q[:, None], np.broadcast_to(w, (4, 2, 20, 24))), axis=1)
    assert np.allclose(state(x)[:, 0], rolled, rtol=0, atol=1e-12)
    assert np.array_equal(state(x)[:, 1:], x[:, 1:])
    carried = dataclasses.replace(state, inertia=True)(x)
    assert np.allclose(carried[:, 0], rolled, rtol=0, atol=1e-12)
    # a whole number of cells of its own for each row, which the middle of the way, on a row that
    # moves alike, does not change
    w[0], w[1] = np.arange(20)[:, None] - 7, 0
    sheared = dataclasses.replace(model, motion=w)(q)
    rows = [np.roll(q[:, j], j - 7, -1) for j in range(20)]
    assert np.allclose(sheared, np.stack(rows, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, 3])
def test_order_of_the_interpolation(order):
    step, run, shear = [], [], []
    for n in (32, 64, 128):
        model = da.Advection((n, n), dt=0.4 * 2 * np.pi / n, order=order)
        x, y = model.grid
        q = tracer(x, y)
        uniform = dataclasses.replace(model, motion=np.stack([1 + 0 * x, 0.5 + 0 * x]))
        exact = tracer(x - model.dt, y - 0.5 * model.dt)
        step.append(np.abs(uniform(q) - exact).max())
        steps = 10 * n // 32
        t = steps * model.dt
        late = march(uniform, q, steps)
        run.append(np.abs(late - tracer(x - t, y - 0.5 * t)).max())
        waves = dataclasses.replace(model, motion=np.stack([np.sin(y), 0 * x]))
        late = march(waves, q, steps)
        shear.append(np.abs(late - tracer(x - t * np.sin(y), y)).max())
    assert np.all(np.abs(slopes(step) - (order + 1)) < 0.1)
    # at a fixed Courant number the steps are as many as the cells: one order is lost
    assert np.all(np.abs(slopes(run) - order) < 0.25)  # on its way up to the order
    assert np.all(np.abs(slopes(shear) - order) < 0.1)


def came_from(w, x, y, t):
    """The exact start of trajectories that end in x, y after a time t in a steady motion."""
    ends = np.stack([x, y]).ravel()

    def back(_, z):
        return -w(*z.reshape(2, -1)).ravel()

    way = solve_ivp(back, (0, t), ends, method="DOP853", t_eval=[t], rtol=1e-9, atol=1e-10)
    return way.y[:, -1].reshape(2, *x.shape)


def test_order_of_the_trajectories():
    grid = da.Advection((128, 128)).grid
    w, q, steps = vortex(*grid), tracer(*grid), (2, 4, 8)
    exact = tracer(*came_from(vortex, *grid, 1.0))
    errors = []
    for k in steps:
        model = da.Advection((128, 128), motion=w, dt=1 / k)
        errors.append(np.abs(march(model, q, k) - exact).max())
    assert np.all(np.abs(slopes(errors) - 2) < 0.2)


def test_inertia_is_of_second_order_too():
    # every particle keeps its velocity: it came from p with p + t w0(p) = (x, y)
    def w0(x, y):
        return np.stack([0.5 * np.sin(x) + 0.2 * np.cos(y), 0.3 * np.cos(x + y)])

    grid = np.stack(da.Advection((128, 128)).grid)
    p = grid
    for _ in range(200):  # a contraction by 0.8 |grad w0| < 0.7
        p = grid - 0.8 * w0(*p)
    exact = np.stack([tracer(*p), *w0(*p)])
    start, errors = np.stack([tracer(*grid), *w0(*grid)]), []
    for k in (4, 8, 16):
        model = da.Advection((128, 128), dt=0.8 / k, inertia=True)
        errors.append(np.abs(march(model, start, k) - exact).max())
    assert np.all(np.abs(slopes(errors) - 2) < 0.1)


def test_range_and_mean():
    for order, most in ((1, 6e-3), (3, 4e-3)):
        model = da.Advection((64, 64), order=order)
        x, y = model.grid
        model = dataclasses.replace(model, motion=vortex(x, y))
        assert np.allclose(model(np.full((64, 64), 2.5)), 2.5, rtol=1e-14)  # the weights sum to 1
        q = tracer(x, y)
        mean, size, drift = q.mean(), q.std(), 0.0
        for _ in range(126):  # 2 pi time units: the turnover of the innermost orbits
            q = model(q)
            drift = max(drift, abs(q.mean() - mean) / size)
            assert order == 3 or np.abs(q).max() <= 1 + 1e-14
        assert 1e-3 < drift < most  # measured 4.9e-3 and 2.5e-3: not kept, and not lost
        uniform = dataclasses.replace(model, motion=np.stack([1 + 0 * x, 0.3 + 0 * x]))
        assert abs(march(uniform, q, 20).mean() - q.mean()) < 1e-14


def test_each_member_has_its_motion_and_its_accidents():
    rng = np.random.default_rng(5)
    q, w = rng.normal(size=(5, 10, 12)), rng.normal(size=(5, 2, 10, 12))
    for order in (1, 3):
        model = da.Advection((10, 12), length=3.0, motion=w, dt=0.1, order=order)
        good = model(q)
        for i in range(5):
            assert np.array_equal(good[i], dataclasses.replace(model, motion=w[i])(q[i]))
        assert np.allclose(model.displacement(q), np.abs(w).max((-3, -2, -1)) * 0.4, rtol=1e-14)
        one = dataclasses.replace(model, motion=w[0])
        assert np.allclose(one.displacement(q), np.full(5, model.displacement(q)[0]), rtol=1e-14)
        bad = w.copy()
        bad[1, 0, 3, 4], bad[2, 1, 0, 0], bad[3] = np.nan, np.inf, 1e300
        with np.errstate(invalid="ignore", over="ignore"):
            lost = dataclasses.replace(model, motion=bad)(q)
            torched = dataclasses.replace(model, motion=torch.from_numpy(bad))
            lost_too = torched(torch.from_numpy(q)).numpy()
        for y in (lost, lost_too):
            assert np.allclose(y[[0, 4]], good[[0, 4]], rtol=0, atol=1e-12)
            assert np.isnan(y[1, 3, 4])
            assert np.isnan(y[2, 0, 0])
            assert np.isfinite(y[1]).any()


def test_derivative_in_the_motion():
    rng = np.random.default_rng(6)
    q, w, v = (torch.from_numpy(rng.normal(size=s)) for s in ((3, 6, 7), (2, 6, 7), (2, 6, 7)))

    def f(w):
        return da.Advection((6, 7), length=2.0, motion=w, dt=0.1)(q)

    _, exact = torch.func.jvp(f, (w,), (v,))
    approximate = (f(w + 1e-6 * v) - f(w - 1e-6 * v)) / 2e-6
    assert torch.allclose(exact, approximate, rtol=1e-6, atol=1e-7)  # round-off / 1e-6
    _, pull = torch.func.vjp(f, w)
    assert torch.allclose((pull(exact)[0] * v).sum(), (exact**2).sum(), rtol=1e-12)


def test_advection_settings():
    for bad, words in (
        ({"order": 2}, "order 1 or 3, met 2"),
        ({"cells": (3, 8)}, "at least 4 cells"),
        ({"dt": 0.0}, "dt positive"),
        ({"motion": np.zeros((2, 64, 63))}, r"motion \(..., 2, 64, 64\), met shape"),
        ({"motion": np.zeros((2, 64, 64)), "inertia": True}, "motion=None with inertia"),
    ):
        with pytest.raises(ValueError, match=words):
            da.Advection(**bad)
    assert da.Advection((8, 6)).shape == (3, 8, 6)
    assert da.Advection((8, 6), motion=np.zeros((2, 8, 6))).shape == (8, 6)
