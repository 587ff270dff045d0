"""Latent dynamics networks: Euler steps, states at points, bases, last layers solved exactly."""

import copy

import pytest
import torch
from torch import nn

from dalearn.neural import (
    AtPoints,
    Coefficients,
    Harmonics,
    InBasis,
    LDNet,
    Modes,
    SineMLP,
    Subsampled,
    fit,
    load_weights,
    refit,
    relative_error,
    save_weights,
    seeded,
    sensitivity,
    widened,
)
from dalearn.neural.last_layer import gathered
from dalearn.neural.normal import Normal
from dalearn.neural.train import adam, cosine

LINE = torch.linspace(-1, 1, 9, dtype=torch.float64)
GRID = torch.cartesian_prod(LINE, LINE)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def waves(S=12, T=6):
    """Parameters `(S, 1)` and fields `(S, T, 81, 2)`: two waves, the first travels at speed u."""
    u = torch.linspace(-1, 1, S, dtype=torch.float64)[:, None]
    t = torch.arange(T, dtype=torch.float64)
    phase = 0.3 * u[:, :, None] * t[:, None] + GRID.sum(-1)
    return u, torch.stack((torch.sin(2 * phase), 5 * torch.cos(phase)), dim=-1)


def nets(kind, hidden=(16,), **settings):
    if kind == "points":
        R = AtPoints(3, 2, 2, hidden, **settings)
    elif kind == "torus":
        R = AtPoints(3, 2, 2, hidden, periodic=True, **settings)
    elif kind == "deep":
        R = AtPoints(3, 2, 2, (*hidden, *hidden), skips=True, **settings)
    else:
        R = InBasis(3, Harmonics((4, 5), 2), hidden, **settings)
    return LDNet(1, R, (8,))


KINDS = ("points", "torus", "deep", "basis")
each = pytest.mark.parametrize("kind", KINDS)


def made(kind, **settings):
    u, fields = waves()
    return seeded(0, nets, kind, **settings).double().scaled(u, GRID, fields)


# --- dynamics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["before", "first"])
def test_linear_dynamics_are_eulers_closed_form(start):
    """With F(s, u) = A s + B u and constant u, s_k = ((1 + dt A)^k - 1) A^-1 B u."""
    net = LDNet(2, AtPoints(3, 1, 1, (4,)), (), dt=0.1, start=start).double()
    with torch.no_grad():
        net.dynamics.layers[-1].bias.zero_()
    A, B = net.dynamics.layers[-1].weight.detach().split((3, 2), dim=1)
    u = draw(4, 2)
    s = net.latents(u, 7).detach()
    assert s.shape == (4, 7, 3)
    step = torch.eye(3, dtype=torch.float64) + 0.1 * A
    for t in range(7):
        k = t + (start == "before")
        power = torch.linalg.matrix_power(step, k) - torch.eye(3, dtype=torch.float64)
        wanted = u @ (power @ torch.linalg.solve(A, B)).mT
        assert torch.allclose(s[:, t], wanted, rtol=0, atol=1e-13)  # seven sums of round-off


def test_parameters_that_change_and_those_that_do_not():
    net = made("points")
    u = draw(4, 1)
    constant = net.latents(u, 6)
    assert torch.equal(net.latents(u[:, None].expand(4, 6, 1)), constant)
    changed = u[:, None].repeat(1, 6, 1)
    changed[:, 3:] += 1
    assert torch.equal(net.latents(changed)[:, :3], constant[:, :3])
    assert not torch.allclose(net.latents(changed)[:, 3], constant[:, 3])  # "before": u of time 3
    first = copy.deepcopy(net)
    first.start = "first"
    assert torch.equal(first.latents(changed)[:, :4], first.latents(u, 6)[:, :4])
    assert not first.latents(changed)[:, 0].any()
    assert torch.allclose(net.step(constant[:, 2], u), constant[:, 3], rtol=0, atol=1e-15)
    members = net.step(constant[:, 2, None], u[:, None].expand(4, 5, 1))  # they broadcast
    assert torch.allclose(members[:, 4], constant[:, 3], rtol=0, atol=1e-15)


# --- reconstruction -----------------------------------------------------------------------------


@each
def test_a_grid_is_its_points_one_by_one(kind, monkeypatch):
    """The products and blocks of a grid say what the network says of one state at one point."""
    net = widened(made(kind), 7)
    with torch.no_grad():
        net.reconstruction.net.last.weight.normal_(generator=torch.Generator().manual_seed(1))
    s = draw(2, 3, 3)
    whole = net.reconstruct(s, GRID)
    assert whole.shape == (2, 3, 81, 2)
    monkeypatch.setattr("dalearn.neural.ldnet.BLOCK", {"cpu": 200})
    assert torch.allclose(net.reconstruct(s, GRID), whole, rtol=0, atol=1e-12)
    x = (GRID - net.x_mean) / net.x_half
    inner = net.reconstruction.net
    for i in (0, 40, 80):
        if kind == "basis":
            alone = net.reconstruction(s[1, 2], x[i : i + 1])[0]
        else:
            seen = net.reconstruction.seen(x[i : i + 1])[0]
            z = torch.cat((s[1, 2], seen))
            alone = inner(z)
            hidden = torch.sin(inner.first.weight @ z + inner.first.bias)
            for layer in inner.deeper:
                hidden = hidden + torch.sin(layer.linear(hidden))
            extra = torch.sin(inner.extra_weight @ z + inner.extra_bias)
            formula = inner.last(torch.cat((hidden, extra)))
            assert torch.allclose(alone, formula, rtol=0, atol=1e-12)
        wanted = alone * net.y_std + net.y_mean
        assert torch.allclose(whole[1, 2, i], wanted, rtol=0, atol=1e-11)


@each
def test_derivatives_in_the_state_and_in_the_points(kind):
    net = made(kind)
    s, x = draw(2, 3).requires_grad_(), GRID[::20].clone().requires_grad_()
    assert torch.autograd.gradcheck(net.reconstruct, (s, x))
    J = torch.func.jacrev(lambda s: net.reconstruct(s, GRID[:4]))(s[0].detach())
    batch = torch.func.vmap(torch.func.jacrev(lambda s: net.reconstruct(s, GRID[:4])))(s.detach())
    assert torch.allclose(batch[0], J, rtol=0, atol=1e-13)


def test_a_torus_has_no_rim():
    net = made("torus")
    s = draw(3)
    left, right = torch.tensor([[-1.0, 0.3], [1.0, 0.3]], dtype=torch.float64)
    y = net.reconstruct(s, torch.stack((left, right)))
    assert torch.allclose(y[0], y[1], rtol=0, atol=1e-13)


@each
def test_the_scalings_are_stored_and_undo_units(kind, tmp_path):
    """Other units of parameters, coordinates and fields give the same fields in those units."""
    u, fields = waves()
    net = made(kind)
    other = seeded(0, nets, kind).double().scaled(7 + 3 * u, 100 * GRID - 5, 4 * fields + 1)
    wanted = 4 * net(u, GRID, 6) + 1
    assert torch.allclose(other(7 + 3 * u, 100 * GRID - 5, 6), wanted, rtol=0, atol=1e-11)
    path = tmp_path / "net.safetensors"
    from dalearn.neural import Card

    save_weights(other, path, Card("none", "none", 0, {}))
    again = nets(kind).double()
    load_weights(again, path)
    assert torch.equal(again(u, GRID, 6), other(u, GRID, 6))
    single = copy.deepcopy(net).float()
    y = single(u.float(), GRID.float(), 6)
    assert y.dtype == torch.float32
    # six steps and 16 features, in single precision
    assert torch.allclose(y.double(), net(u, GRID, 6), rtol=0, atol=2e-5 * float(fields.std()))


def test_a_residual_mlp_of_sines_is_its_formula():
    net = SineMLP(3, 2, (5, 5), skips=True).double()
    z = draw(4, 3)
    h = torch.sin(net.first(z))
    h = h + torch.sin(net.deeper[0].linear(h))
    assert torch.equal(net(z), net.last(h))
    assert torch.allclose(net(z[:, :1], z[:, 1:]), net(z), rtol=0, atol=1e-14)  # in parts
    plain, wide = (seeded(0, SineMLP, 3, 2, (5,), gain=g) for g in (1.0, 3.0))
    assert torch.equal(wide.first.weight, 3 * plain.first.weight)


# --- bases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("periodic", [False, True])
def test_harmonics_are_orthonormal_and_find_their_own_coefficients(periodic):
    basis = Harmonics((5, 3), 2, periodic=periodic)
    n = 64  # midpoints integrate products of low cosines exactly
    line = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1
    x = torch.cartesian_prod(line, line)
    Phi = basis.at(x).flatten(1)
    assert torch.allclose(
        Phi @ Phi.mT / n**2, torch.eye(30, dtype=torch.float64), rtol=0, atol=1e-12
    )
    c = draw(2, 3, 30)
    fields = basis(c, x)
    assert torch.allclose(basis.project(fields, x), c, rtol=0, atol=1e-12)
    assert basis.floor(fields, x) < 1e-13
    assert basis.floor(fields + 0.1 * draw(*fields.shape), x) > 0.01


def test_modes_are_the_proper_orthogonal_decomposition_of_the_harmonics():
    n = 32
    line = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1
    x, h = torch.cartesian_prod(line, line), Harmonics((4, 4), 2)
    c = draw(60, 32) * 0.7 ** torch.arange(32, dtype=torch.float64)
    fields = h(c, x)
    modes = Modes.fit(fields, x, h, 6)
    values = torch.linalg.svdvals(fields.flatten(1))
    left = (values[6:].square().sum() / values.square().sum()).sqrt()
    assert modes.floor(fields, x) == pytest.approx(float(left), rel=1e-9)  # Eckart and Young
    z = modes.project(fields, x)
    few = torch.stack([modes(row[None], x)[0] for row in z])  # by the other product
    assert torch.allclose(few, modes(z, x), rtol=0, atol=1e-12)


# --- the last layer -----------------------------------------------------------------------------


@each
def test_sums_of_products_in_a_stream_are_those_of_all_features_at_once(kind):
    net = widened(made(kind), 5)
    u, fields = waves()
    s, x = net.latents(u, 6).detach(), (GRID - net.x_mean) / net.x_half
    y = (fields - net.y_mean) / net.y_std
    R = net.reconstruction
    if kind == "basis":
        phi, y = R.net.features(s), R.basis.project(y, x)
    else:
        phi = R.features(s, x)
    dense = Normal(phi.shape[-1], y.shape[-1])
    dense.add(phi, y)
    stream = gathered(net, u, fields, GRID)
    assert stream.count == dense.count
    for name in ("phi", "y", "gram", "cross"):
        one, other = getattr(stream, name).detach(), getattr(dense, name).detach()
        slack = 1e-11 * (1 + float(other.abs().max()))  # sums of up to 6000 products
        assert torch.allclose(one, other, rtol=0, atol=slack), name


def test_ridge_regression_solves_its_normal_equations_and_has_its_limits():
    phi, y = draw(50, 6), draw(50, 2, seed=1)
    sums = Normal(6, 2)
    sums.add(phi[:20], y[:20])
    sums.add(phi[20:], y[20:])
    centred = phi - phi.mean(0)
    G = centred.mT @ centred
    for ridge in (1e-6, 0.1, 10.0):
        W, b = sums.solve(ridge)
        lam = ridge * G.diagonal().mean()
        wanted = torch.linalg.solve(
            G + lam * torch.eye(6, dtype=torch.float64), centred.mT @ (y - y.mean(0))
        )
        assert torch.allclose(W, wanted.mT, rtol=0, atol=1e-12)
        assert torch.allclose(b, (y - phi @ W.mT).mean(0), rtol=0, atol=1e-12)
    W, b = sums.solve(0.0)
    ones = torch.cat((phi, torch.ones(50, 1, dtype=torch.float64)), 1)
    free = torch.linalg.lstsq(ones, y).solution
    assert torch.allclose(torch.cat((W, b[:, None]), 1), free.mT, rtol=0, atol=1e-11)
    W, b = sums.solve(1e12)
    assert W.abs().max() < 1e-11  # only the mean is left
    assert torch.allclose(b, y.mean(0), rtol=0, atol=1e-10)


def test_a_singular_gram_matrix_gives_finite_weights():
    phi = draw(30, 3)
    sums = Normal(6, 1)
    sums.add(torch.cat((phi, phi), 1), phi[:, :1])
    W, b = sums.solve(0.0)
    assert (torch.cat((phi, phi), 1) @ W.mT + b - phi[:, :1]).abs().max() < 1e-6


@each
def test_the_exact_layer_beats_what_was_there_and_the_ridge_trades_sensitivity(kind):
    u, fields = waves()
    net = made(kind)
    before = copy.deepcopy(net.state_dict())
    found = refit(net, (u, fields), GRID, ridge=1e-9)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())  # a copy
    least = found.net.error(u, fields, GRID)
    assert least < net.error(u, fields, GRID)
    for seed in range(3):  # the smallest there is
        near = copy.deepcopy(found.net)
        with torch.no_grad():
            W = near.reconstruction.net.last.weight
            W += 1e-3 * W.norm() * draw(*W.shape, seed=seed)
        assert near.error(u, fields, GRID) > least
    more = refit(net, (u, fields), GRID, ridge=1e-9, extra=40)
    assert more.net.error(u, fields, GRID) < found.net.error(u, fields, GRID)
    s = net.latents(u, 6).detach()
    stiff = refit(net, (u, fields), GRID, ridge=1e-2, extra=40).net
    sharp, soft = (sensitivity(n, s, 0.03, points=GRID) for n in (more.net, stiff))
    assert soft < sharp
    assert sensitivity(stiff, s, 0.0, points=GRID) < 1e-15


def test_the_ridge_is_chosen_at_the_error_of_the_latent_states():
    u, fields = waves(16)
    train, valid = (u[::2], fields[::2]), (u[1::2], fields[1::2])
    net = made("basis")
    exact, rough = (
        refit(net, train, GRID, validation=valid, extra=60, latent_error=e) for e in (0.0, 0.05)
    )
    assert exact.ridge < rough.ridge
    assert rough.errors[rough.ridge][1] == min(e[1] for e in rough.errors.values())
    assert exact.errors[exact.ridge][0] == pytest.approx(float(exact.net.error(*valid, GRID)))
    assert exact.errors[exact.ridge][0] == exact.errors[exact.ridge][1]
    assert rough.errors[exact.ridge][1] > rough.errors[rough.ridge][1]


@pytest.mark.parametrize("kind", ["points", "torus", "deep"])
def test_the_layer_of_some_points_of_each_run_is_near_that_of_all(kind):
    """A fifth of the points, others for each run: always the same ones would say less."""
    u, fields = waves(16)
    train, valid = (u[::2], fields[::2]), (u[1::2], fields[1::2])
    net = made(kind)
    told = {"validation": valid, "ridge": [1e-9, 1e-3]}
    whole, some, every = (refit(net, train, GRID, count=n, **told) for n in (None, 16, 81))
    error = whole.net.error(*valid, GRID)
    assert error < some.net.error(*valid, GRID) < 1.5 * error
    assert some.errors[some.ridge][0] == pytest.approx(float(error), rel=0.5)
    assert every.errors == whole.errors
    assert whole.at(1e-3).error(*valid, GRID) == pytest.approx(whole.errors[1e-3][0])


def test_added_features_have_the_covariance_of_the_learned_ones():
    net = seeded(0, lambda: LDNet(1, AtPoints(3, 2, 2, (200,)))).double()
    wide = widened(net, 5000, size=1.4, seed=3)
    inner = wide.reconstruction.net
    C = torch.cov(net.reconstruction.net.first.weight.detach().mT, correction=0)
    met = inner.extra_weight.mT @ inner.extra_weight / 5000
    # each entry of a sample covariance errs by sqrt(2 / 5000) = 2 % of the variances
    assert torch.allclose(met, 1.4 * C, rtol=0, atol=0.1 * 1.4 * float(C.diagonal().max()))
    s = draw(4, 3)
    assert torch.allclose(wide.reconstruct(s, GRID), net.reconstruct(s, GRID), rtol=0, atol=1e-12)
    assert torch.equal(
        widened(net, 9, seed=3).reconstruction.net.extra_weight,
        widened(net, 9, seed=3).reconstruction.net.extra_weight,
    )


# --- training -----------------------------------------------------------------------------------


def losses(net, kind):
    u, fields = waves()
    if kind == "basis":
        return u, Coefficients.of(net, fields, GRID, share=0.5, noise=0.01)
    return u, Subsampled(fields, GRID, count=20, share=0.5, noise=0.01, mixed=True)


def train(kind, **settings):
    net = made(kind)
    u, loss = losses(net, kind)
    rows = torch.arange(12)
    data, valid = (u[:9], rows[:9]), (u[9:], rows[9:])
    told = {"epochs": 20, "batch": 5, "progress": False, **settings}
    record = fit(net, data, valid, loss=loss, optimiser=adam(1e-2), schedule=cosine(20), **told)
    return net, record


@pytest.mark.parametrize("kind", ["points", "basis"])
def test_training_lowers_the_error_and_goes_on_to_the_same_bits(kind, tmp_path):
    net, record = train(kind)
    u, fields = waves()
    assert net.error(u, fields, GRID) < 0.9 * made(kind).error(u, fields, GRID)
    path = tmp_path / "run"

    class Killed(Exception):
        pass

    def stopped(*args, **kw):
        stopped.left -= 1
        if stopped.left < 0:
            raise Killed
        return plain(*args, **kw)

    plain, stopped.left = torch.optim.Adam.step, 17
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", stopped)
        with pytest.raises(Killed):
            train(kind, checkpoint=path, every=0)
    again, second = train(kind, checkpoint=path, every=0)
    assert second.train == record.train
    for k, v in net.state_dict().items():
        assert torch.equal(v, again.state_dict()[k]), k


def test_a_search_with_all_data_goes_on_to_the_same_bits(tmp_path):
    u, fields = waves()
    loss, rows = Subsampled(fields, GRID, count=81, share=1.0), torch.arange(12)

    def search(weights):
        told = {"max_iter": 3, "line_search_fn": "strong_wolfe"}
        return torch.optim.LBFGS(weights, **told)

    def run(epochs=4, **settings):
        net = made("points")
        told = {"optimiser": search, "batch": 12, "every": 0.0, "progress": False, **settings}
        return net, fit(net, (u, rows), loss=loss, epochs=epochs, **told)

    def killed(self, closure, step=torch.optim.LBFGS.step):
        killed.left -= 1
        if not killed.left:
            raise KeyboardInterrupt
        return step(self, closure)

    net, record = run()
    assert record.train[-1] < 0.8 * record.train[0]
    killed.left = 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.LBFGS, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=tmp_path / "run")
    again, second = run(checkpoint=tmp_path / "run")
    assert second.train == record.train
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in net.state_dict().items())


def test_points_are_drawn_anew_and_validation_draws_nothing():
    u, fields = waves()
    net, rows, some = (
        made("points").requires_grad_(False),
        torch.arange(12),
        Subsampled(fields, GRID, count=20),
    )
    assert len({float(some(net, u, rows)) for _ in range(5)}) == 5
    net.eval()
    assert len({float(some(net, u, rows)) for _ in range(5)}) == 1
    whole = Subsampled(fields, GRID, count=81, share=1.0)
    wanted = (((net(u, GRID, 6) - fields) / net.y_std) ** 2).mean()
    assert float(whole(net, u, rows)) == pytest.approx(float(wanted), rel=1e-12)
    net.train()
    assert float(whole(net, u, rows)) == pytest.approx(float(wanted), rel=1e-12)
    assert float(whole(net, u[4:6], rows[4:6])) != pytest.approx(float(wanted), rel=1e-3)


def test_the_loss_of_coefficients_is_that_of_all_points():
    """For functions that are orthonormal on the grid, less what the basis cannot say."""
    n = 16
    line = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1
    x = torch.cartesian_prod(line, line)
    net = seeded(0, nets, "basis").double().requires_grad_(False)
    fields = net.reconstruction.basis(draw(3, 4, 40), x)
    u = draw(3, 1)
    loss = Coefficients.of(net, fields, x, share=1.0)
    wanted = ((net(u, x, 4) - fields) ** 2).mean()
    assert float(loss(net, u, torch.arange(3))) == pytest.approx(float(wanted), rel=1e-12)
    with pytest.raises(TypeError, match="InBasis"):
        Coefficients.of(made("points"), fields, x)


def test_the_relative_error_counts_components_in_their_units():
    truth = torch.ones(2, 3, 5, 2, dtype=torch.float64) * torch.tensor([1.0, 100.0])
    estimate = truth + torch.tensor([0.1, 0.0])
    assert float(relative_error(estimate, truth)) == pytest.approx(0.1 / (1 + 1e4) ** 0.5)
    unit = torch.tensor([1.0, 100.0])
    assert float(relative_error(estimate, truth, unit=unit)) == pytest.approx(0.1 / 2**0.5)
    assert relative_error(estimate, truth, keep=2).shape == (2, 3)


# --- what is refused ----------------------------------------------------------------------------


def test_wrong_shapes_are_named():
    u, fields = waves()
    net = made("points")
    basis = Harmonics((4, 5), 2)
    for wrong, words in (
        (
            lambda: net.latents(draw(4, 2), 3),
            r"u of LDNet wants \(\.\.\., 1\), met shape \(4, 2\)",
        ),
        (lambda: net.latents(draw(1)), r"u that changes must be \(\.\.\., T, 1\).*how many times"),
        (lambda: net.latents(u, 0), "times must be an integer >= 1"),
        (lambda: net.step(draw(4, 2), u[:4]), r"s of LDNet wants \(\.\.\., 3\)"),
        (lambda: net.reconstruct(draw(4, 3), draw(5, 3)), r"points of LDNet wants \(P, 2\)"),
        (lambda: net.scaled(u, GRID, fields[..., :1]), "fields of LDNet.scaled wants"),
        (lambda: net.scaled(u, GRID[:, :1], fields), r"points of LDNet.scaled wants \(P, 2\)"),
        (lambda: LDNet(1, nn.Linear(3, 2)), "AtPoints or an InBasis.*Linear"),
        (lambda: SineMLP(3, 2, ()), "hidden of SineMLP must be one width or more"),
        (lambda: SineMLP(3, 2)(draw(4, 2), draw(4, 2)), "parts of 3 numbers together"),
        (lambda: Harmonics((4, 4), periodic=True), "odd ones on a torus"),
        (lambda: Harmonics((4, 4)).project(draw(5, 1), GRID[:5]), "do not say 16 coefficients"),
        (lambda: basis.project(draw(3, 80, 2), GRID), r"project wants \(\.\.\., 81, 2\)"),
        (lambda: Modes(basis, 41), "count of Modes must be an integer <= 40"),
        (lambda: Subsampled(fields, GRID[:5]), r"fields \(S, T, P, C\) and points \(P, d\)"),
        (lambda: Subsampled(fields, GRID, share=0.0), r"share must be in \(0, 1\]"),
        (lambda: refit(net, (u, fields), GRID), "several ridges want validation data"),
        (lambda: refit(net, (u, fields), GRID, ridge=-1.0), "ridge must be >= 0"),
        (lambda: refit(net, (u[:3], fields), GRID, ridge=1.0), r"wanted fields \(3, T, 81, 2\)"),
        (lambda: relative_error(fields, fields[0]), "must have one shape"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            wrong()
