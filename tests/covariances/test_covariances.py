"""Covariances that are never made as matrices, against matrices made entry by entry."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from examples import COVARIANCES, wet_map

import dalearn as da
from dalearn.array import Streams, convert_tree
from dalearn.covariances.kernels import (
    Kernel,
    at_points,
    exponential,
    gaspari_cohn,
    gaussian,
    images,
    least_eigenvalue,
    matern,
    nearest,
    soar,
)

RNG = np.random.default_rng(3)
KERNELS = (exponential, soar, gaspari_cohn, matern(2.5), matern(0.8))
ROUND = {"rtol": 0, "atol": 1e-12}  # variances are about 1; sums of at most a thousand terms


def points(shape):
    return np.array(list(itertools.product(*map(range, shape))), float)


def summed(shape, length, kernel, periodic, count=14):
    """C by its definition: every image of every point, mirrored ones too between walls.

    14 images of 5 points and more are 50 lengths away, where every kernel is below 1e-17.
    """
    x, total = points(shape), 0.0
    period = np.array([n * (2 - p) for n, p in zip(shape, periodic, strict=True)])
    signs = [(1,) if p else (1, -1) for p in periodic]
    for shift in itertools.product(range(-count, count + 1), repeat=len(shape)):
        for sign in itertools.product(*signs):
            other = np.where(np.array(sign) == 1, x, -1 - x) + np.array(shift) * period
            total = total + kernel(np.sqrt((((x[:, None] - other) / length) ** 2).sum(-1)))
    s = np.sqrt(np.diag(total))
    return total / s / s[:, None]


EXAMPLES = {e.name: e.covariance for e in COVARIANCES}
NO_INVERSE = ("low rank",)
THROUGH_MATRIX = ("localized", "hybrid", "sum", "rows")  # whiten has other controls than color


@pytest.fixture(params=EXAMPLES, ids=str)
def name(request):
    return request.param


def test_a_gaussian_has_its_standard_deviations(name):
    """Some covariances have a setting `std` of their own: it is no answer to this question."""
    C = EXAMPLES[name]
    belief = da.Gaussian(np.zeros(C.n), C)
    assert np.allclose(belief.std, C.variance() ** 0.5, rtol=1e-12, atol=0)


# --- the contract, for all ---------------------------------------------------------------------


def test_color_variance_and_matrix_agree(name):
    C = EXAMPLES[name]
    root = C.color(np.eye(C.controls))
    assert root.shape == (C.controls, C.n)
    np.testing.assert_allclose(root.T @ root, C.matrix(), **ROUND)
    np.testing.assert_allclose(np.diag(C.matrix()), C.variance(), **ROUND)


def test_whitening_is_the_inverse(name):
    C = EXAMPLES[name]
    if name in NO_INVERSE:
        with pytest.raises(ValueError, match="no inverse"):
            C.whiten(np.ones((1, C.n)))
        return
    W = C.whiten(np.eye(C.n))
    # W W^T is the inverse of C; 1e-9 covers condition numbers up to 1e6
    np.testing.assert_allclose(W @ W.T @ C.matrix(), np.eye(C.n), rtol=0, atol=1e-9)
    if name not in THROUGH_MATRIX:
        z = RNG.normal(size=(2, 3, C.n))
        np.testing.assert_allclose(C.whiten(C.color(z)), z, rtol=0, atol=1e-11)


def test_leading_axes_are_rows(name):
    C = EXAMPLES[name]
    z = RNG.normal(size=(2, 3, C.controls))
    before = z.copy()
    np.testing.assert_allclose(C.color(z)[1, 2], C.color(z[1, 2:])[0], **ROUND)
    np.testing.assert_array_equal(z, before)


def test_numpy_equals_torch(name):
    C = EXAMPLES[name]
    z = RNG.normal(size=(2, 3, C.controls))
    t = torch.from_numpy(z)
    T = convert_tree(C, t)
    x = T.color(t)
    assert x.dtype == torch.float64
    np.testing.assert_allclose(x.numpy(), C.color(z), **ROUND)
    assert torch.is_tensor(T.variance())
    np.testing.assert_allclose(T.variance().numpy(), C.variance(), **ROUND)
    np.testing.assert_allclose(T.matrix().numpy(), C.matrix(), **ROUND)
    if name not in NO_INVERSE:
        np.testing.assert_allclose(T.whiten(x).numpy(), C.whiten(C.color(z)), rtol=0, atol=1e-10)


def test_derivatives_pass(name):
    C = EXAMPLES[name]
    z = torch.from_numpy(RNG.normal(size=(1, C.controls))).requires_grad_()
    weights = torch.from_numpy(RNG.normal(size=(1, C.n)))
    C = convert_tree(C, weights)
    (g,) = torch.autograd.grad((C.color(z) * weights).sum(), z)
    root = C.color(torch.eye(C.controls, dtype=torch.float64))
    np.testing.assert_allclose(g.numpy(), (weights @ root.T).numpy(), **ROUND)
    _, tangent = torch.func.jvp(C.color, (z.detach(),), (z.detach(),))
    np.testing.assert_allclose(tangent.numpy(), C.color(z).detach().numpy(), **ROUND)


def test_products_without_the_matrix(name):
    C = EXAMPLES[name]
    x = RNG.normal(size=(2, 3, C.n))
    np.testing.assert_allclose(C.times(x), x @ C.matrix(), rtol=0, atol=1e-11)
    t = torch.from_numpy(x).requires_grad_()
    y = convert_tree(C, t).times(t)
    (g,) = torch.autograd.grad((y * y).sum() / 2, t)
    np.testing.assert_allclose(g.numpy(), x @ C.matrix() @ C.matrix(), rtol=0, atol=1e-10)


def test_single_precision_stays(name):
    C = EXAMPLES[name]
    z = RNG.normal(size=(2, C.controls))
    x = C.color(z.astype(np.float32))
    if name in ("ring", "plane", "walls", "channel", "duct", "diffusion", "diffusion, lines"):
        assert x.dtype == np.float32  # the operators take the state's precision
    np.testing.assert_allclose(x, C.color(z), rtol=0, atol=1e-5)


def test_wrong_widths_are_refused(name):
    C = EXAMPLES[name]
    with pytest.raises(ValueError, match=rf"shape \(2, {C.controls + 1}\)"):
        C.color(np.ones((2, C.controls + 1)))


def test_copies_are_the_same(name):
    C = EXAMPLES[name]
    z = np.ones((1, C.controls))
    wanted = C.color(z)  # now its constants are made, and a sparse factorisation cannot travel
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(C)).color(z), wanted)
    np.testing.assert_array_equal(copy.deepcopy(C).color(z), wanted)
    assert C.batch == ()


def test_a_gaussian_samples_with_the_controls(name):
    C = EXAMPLES[name]
    E = da.Gaussian(np.zeros(C.n), C).sample(np.random.default_rng(0), 4000)
    assert E.shape == (4000, C.n)
    # standard error of a variance from 4000 draws: 2.2 %; five of them
    np.testing.assert_allclose((E**2).mean(0), C.variance(), rtol=0.12)
    batch = da.Gaussian(np.zeros((2, C.n)), C).sample(Streams(0, 1, (2,)), 3)
    assert batch.shape == (2, 3, C.n)
    t = da.Gaussian(torch.zeros(C.n, dtype=torch.float64), C)
    assert torch.is_tensor(t.sample(Streams(0, 1), 3))


# --- sums and multiples ------------------------------------------------------------------------


def partner(C):
    return da.OnGrid(C.n, 1.5, exponential, std=np.linspace(1, 2, C.n))


def test_covariances_add(name):
    C = EXAMPLES[name]
    D = partner(C)
    for both in (C + D, D + C, sum([C, D])):
        np.testing.assert_allclose(both.matrix(), C.matrix() + D.matrix(), **ROUND)
        np.testing.assert_allclose(both.variance(), C.variance() + D.variance(), **ROUND)
    root = both.color(np.eye(both.controls))
    np.testing.assert_allclose(root.T @ root, both.matrix(), **ROUND)
    x = RNG.normal(size=(2, C.n))
    np.testing.assert_allclose(both.times(x), x @ both.matrix(), rtol=0, atol=1e-10)
    W = both.whiten(np.eye(C.n))  # D is definite, and so is the sum
    np.testing.assert_allclose(W @ W.T @ both.matrix(), np.eye(C.n), rtol=0, atol=1e-9)


def test_covariances_scale(name):
    C = EXAMPLES[name]
    for D, factor in (
        (2 * C, 2),
        (C * 2.5, 2.5),
        (C / 4, 0.25),
        (np.float64(3) * C, 3),
        (0 * C, 0),
    ):
        np.testing.assert_allclose(D.matrix(), factor * C.matrix(), **ROUND)
        np.testing.assert_allclose(D.variance(), factor * C.variance(), **ROUND)
        assert D.controls == C.controls
        z = RNG.normal(size=(2, C.controls))
        np.testing.assert_allclose(D.color(z), factor**0.5 * C.color(z), **ROUND)
    if name not in (*NO_INVERSE, *THROUGH_MATRIX):
        x = RNG.normal(size=(2, C.n))
        np.testing.assert_allclose((C * 4).whiten(x), C.whiten(x) / 2, **ROUND)


def test_weights_may_be_swept_over_a_batch(name):
    C = EXAMPLES[name]
    w = np.array([0.5, 2.0, 3.0])
    swept = w * C + partner(C)
    assert swept.batch == (3,)
    for b in range(3):
        wanted = w[b] * C.matrix() + partner(C).matrix()
        np.testing.assert_allclose(swept.matrix()[b], wanted, **ROUND)
        np.testing.assert_allclose(swept[b].matrix(), wanted, **ROUND)
    t = torch.from_numpy(RNG.normal(size=(3, 2, swept.controls)))
    found = convert_tree(swept, t).color(t)
    np.testing.assert_allclose(found.numpy(), swept.color(t.numpy()), **ROUND)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(swept)).color(t.numpy()), swept.color(t.numpy())
    )


def test_a_masked_sum_is_the_sum_without_those_rows(name):
    C = EXAMPLES[name]
    both = 0.5 * C + partner(C)
    seen = np.arange(C.n) % 3 > 0
    x = RNG.normal(size=(2, C.n))
    M = both.matrix()[np.ix_(seen, seen)]
    wanted = np.einsum("ki,ij,kj->k", x[:, seen], np.linalg.inv(M), x[:, seen])
    found = both.masked(seen).whiten(x)
    np.testing.assert_allclose((found**2).sum(-1), wanted, rtol=1e-9)


def test_matrices_stay_matrices():
    """So that what wants independent errors, or a mask, still has them."""
    d, C = da.Diagonal([1.0, 2.0]), da.Dense([[2.0, 1.0], [1.0, 2.0]])
    assert isinstance(2 * d + d, da.Diagonal)
    assert isinstance(2 * C + d, da.Dense)
    seen = np.array([True, False])
    for masked in (3 * d.masked(seen), d.masked(seen) * 3, d.masked(seen) + 2 * d):
        np.testing.assert_array_equal(masked.seen, seen)
        np.testing.assert_array_equal(masked.variance(), [3.0, 1.0])  # 1 where unseen
    both = d.masked(seen) + d.masked(np.array([True, True]))
    np.testing.assert_array_equal(both.seen, seen)


def test_what_does_not_add_or_scale():
    d = da.Diagonal([1.0, 2.0])
    with pytest.raises(ValueError, match="not negative"):
        _ = -1 * d
    with pytest.raises(ValueError, match=r"dimensions \[2, 3\]"):
        _ = d + da.Diagonal([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="broadcast"):
        _ = np.ones(3) * da.Diagonal(np.ones((2, 4)))
    for wrong in (lambda: d + 1.0, lambda: d * d, lambda: 1.0 / d, lambda: d / d):
        with pytest.raises(TypeError):
            wrong()


# --- grids --------------------------------------------------------------------------------------


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_a_line_is_the_matrix_of_images(kernel, periodic):
    C = da.OnGrid((9,), 1.3, kernel, periodic=periodic)
    np.testing.assert_allclose(C.matrix(), summed((9,), 1.3, kernel, (periodic,)), **ROUND)


@pytest.mark.parametrize("periodic", [*itertools.product((True, False), repeat=2)], ids=str)
@pytest.mark.parametrize("kernel", [soar, matern(0.8)], ids=repr)
def test_a_plane_is_the_matrix_of_images(kernel, periodic):
    shape, length = (6, 5), np.array([1.3, 0.9])
    C = da.OnGrid(shape, length, kernel, periodic=periodic)
    np.testing.assert_allclose(C.matrix(), summed(shape, length, kernel, periodic), **ROUND)


def test_units_do_not_matter():
    a = da.OnGrid((6, 5), (3.0, 2.0), spacing=(1.0, 0.5))
    b = da.OnGrid((6, 5), (3.0, 4.0))
    np.testing.assert_allclose(a.matrix(), b.matrix(), **ROUND)


@pytest.mark.parametrize("length", [0.01, 2.0, 80.0, 1000.0])
def test_long_and_short_lengths(length):
    """On a ring of 40: from no correlation at all to errors that are the same everywhere."""
    C = da.OnGrid(40, length, exponential)
    M = C.matrix()
    np.testing.assert_allclose(np.diag(M), 1, **ROUND)
    if length == 0.01:
        np.testing.assert_allclose(M, np.eye(40), **ROUND)
    if length == 1000.0:  # the sum over images is P / 2 r + ... : differences of r^2 / P L
        assert M.min() > 0.999
    z = RNG.normal(size=(1, 40))
    np.testing.assert_allclose(C.whiten(C.color(z)), z, rtol=0, atol=1e-9)


def test_the_nearest_image_alone_is_no_covariance():
    """SOAR on a ring of 100 with length 30: negative, and Dense says so; the images are not."""
    row = nearest(soar, 100, 30.0)
    C = row[(np.arange(100)[:, None] - np.arange(100)) % 100]
    least = np.linalg.eigvalsh(C).min()
    assert least < -0.01
    assert least_eigenvalue(row) == pytest.approx(least, abs=1e-12)
    with pytest.raises(ValueError, match="not positive definite"):
        da.Dense(C)
    assert least_eigenvalue(images(soar, 100, 30.0)) > 0
    assert least_eigenvalue(nearest(soar, 100, 5.0)) > 0  # short lengths do no harm
    np.testing.assert_allclose(nearest(soar, 100, 2.0), images(soar, 100, 2.0), rtol=0, atol=1e-9)


def test_nearest_in_the_plane():
    row = nearest(soar, (20, 30), (8.0, 8.0))
    x = points((20, 30))
    away = np.abs(x[:, None] - x)
    r = np.sqrt((np.minimum(away, np.array([20, 30]) - away) ** 2).sum(-1)) / 8
    least = np.linalg.eigvalsh(soar(r)).min()
    assert least_eigenvalue(row) == pytest.approx(least, abs=1e-10)
    assert least < 0 < least_eigenvalue(images(soar, (20, 30), 8.0))


def test_a_smooth_kernel_wants_a_nugget():
    with pytest.raises(ValueError, match=r"least eigenvalue.*nugget"):
        da.OnGrid((50,), 5.0, gaussian)
    C = da.OnGrid((50,), 5.0, gaussian, nugget=1e-6)
    z = RNG.normal(size=(1, 50))
    np.testing.assert_allclose(C.whiten(C.color(z)), z, rtol=0, atol=1e-9)
    np.testing.assert_allclose(C.variance(), 1, **ROUND)


def test_what_is_no_correlation_is_refused():
    box = Kernel("box", lambda r: (r < 1) * 1.0, 1.0)
    with pytest.raises(ValueError, match=r"not positive.*correlation function"):
        da.OnGrid(40, 5.0, box)
    with pytest.raises(ValueError, match="not positive"):
        da.OnGrid(40, 5.0, da.boxcar)  # a taper is taken as a kernel


def test_kernels_at_known_values():
    r = np.linspace(0, 5, 11)
    np.testing.assert_allclose(matern(0.5)(r), exponential(r), rtol=1e-12)
    np.testing.assert_allclose(matern(1.5)(r / 3**0.5), soar(r), rtol=1e-12)
    np.testing.assert_allclose(gaspari_cohn(r), da.gaspari_cohn(r), rtol=0, atol=0)
    # at nu = 50 the distance to the Gaussian is of order 1 / nu
    np.testing.assert_allclose(matern(50)(r), gaussian(r), rtol=0, atol=0.01)
    for kernel in (*KERNELS, gaussian, matern(50), matern(0.05)):
        assert kernel(0.0) == 1
        assert np.isfinite(kernel([1e-300, 1e-6, 1.0, 1e3])).all()
        assert abs(kernel(kernel.reach)) < 1e-16


def test_at_points():
    x = RNG.uniform(0, 10, (7, 2))
    C = at_points(x, (2.0, 1.0), soar, std=np.arange(1.0, 8.0), nugget=0.2)
    d = (x[2] - x[4]) / [2.0, 1.0]
    assert C.values[2, 4] == pytest.approx(3 * 5 * 0.8 * soar(np.hypot(*d)), rel=1e-13)
    np.testing.assert_allclose(C.variance(), np.arange(1.0, 8.0) ** 2, rtol=1e-13)


def test_separable_is_the_kronecker_product():
    a, b = EXAMPLES["separable"].factors
    np.testing.assert_allclose(
        EXAMPLES["separable"].matrix(), np.kron(a.matrix(), b.matrix()), **ROUND
    )
    c = EXAMPLES["three axes"]
    dense = [f.matrix() for f in c.factors]
    np.testing.assert_allclose(c.matrix(), np.kron(np.kron(*dense[:2]), dense[2]), **ROUND)


def test_a_product_of_gaussians_is_a_gaussian_of_distance():
    line = at_points(np.arange(6), 2.0, gaussian, nugget=0.0)
    x = points((6, 6)) / 2
    away = ((x[:, None] - x) ** 2).sum(-1)
    np.testing.assert_allclose(da.Separable(line, line).matrix(), np.exp(-away / 2), **ROUND)


def test_separable_with_a_batch():
    a = at_points(np.arange(3), 1.0).matrix()
    batch = da.Separable(da.Dense(np.stack([a, 4 * a])), at_points(np.arange(4), 1.0))
    assert batch.batch == (2,)
    z = RNG.normal(size=(2, 5, 12))
    x = batch.color(z)
    for i in range(2):
        np.testing.assert_allclose(x[i], batch[i].color(z[i]), **ROUND)
    np.testing.assert_allclose(batch.whiten(x), z, rtol=0, atol=1e-11)
    np.testing.assert_allclose(batch.matrix()[1], batch[1].matrix(), **ROUND)
    np.testing.assert_allclose(batch.variance()[1], batch[1].variance(), **ROUND)


# --- diffusion ----------------------------------------------------------------------------------


def laplacian(wet, steep):
    """I - sum steep D, cell by cell."""
    A = np.eye(wet.size)
    index = np.arange(wet.size).reshape(wet.shape)
    for i, j in np.argwhere(wet):
        for axis, (di, dj) in enumerate(((1, 0), (0, 1))):
            k, l = i + di, j + dj
            if k < wet.shape[0] and l < wet.shape[1] and wet[k, l]:
                p, q = index[i, j], index[k, l]
                A[[p, q], [p, q]] += steep[axis]
                A[[p, q], [q, p]] -= steep[axis]
    return A


def test_diffusion_is_the_power_of_a_matrix():
    wet, steps, L = wet_map(), 4, 2.0
    A = laplacian(wet, [L**2 / (2 * steps - 4)] * 2)
    C = np.linalg.inv(np.linalg.matrix_power(A, steps))
    s = np.sqrt(np.diag(C))
    np.testing.assert_allclose(da.Diffusion(wet, L, steps).matrix(), C / s / s[:, None], **ROUND)


def test_diffusion_along_lines_is_a_product_of_matrices():
    wet, steps, L = wet_map(), 4, (2.0, 3.0)
    steep = np.array(L) ** 2 / (2 * steps - 3)
    rows, columns = laplacian(wet, [steep[0], 0]), laplacian(wet, [0, steep[1]])
    G = np.linalg.matrix_power(np.linalg.inv(rows @ columns), steps // 2)
    C = G @ G.T
    s = np.sqrt(np.diag(C))
    M = da.Diffusion(wet, L, steps, lines=True).matrix()
    np.testing.assert_allclose(M, C / s / s[:, None], **ROUND)


def test_land_is_not_crossed():
    wet = wet_map()
    wet[3] = False  # no way around any more
    for lines in (False, True):
        C = da.Diffusion(wet, 3.0, lines=lines).matrix().reshape(7, 8, 7, 8)
        assert abs(C[:3, :, 4:, :]).max() == 0
        land = C[3].reshape(8, 56)
        np.testing.assert_array_equal(land @ land.T, np.eye(8))  # independent, variance 1
    dike = da.Diffusion(wet_map(), 3.0).matrix().reshape(7, 8, 7, 8)
    open_sea = da.Diffusion(np.ones((7, 8), bool), 3.0).matrix().reshape(7, 8, 7, 8)
    assert 0 < dike[2, 0, 4, 0] < 0.2 * open_sea[2, 0, 4, 0]


def test_diffusion_far_from_coasts_is_matern():
    """A^-M in the plane has smoothness M - 1; l = L / 2, so its kernel's length is l sqrt(6)."""
    L = 8.0
    C = da.Diffusion(np.ones((65, 65), bool), L, 4, samples=2)
    hit = np.zeros((1, 65 * 65))
    hit[0, 32 * 65 + 32] = 1
    root = C._operator.solve(hit.reshape(1, 65, 65), True)
    bump = C._operator.solve(root, False)[0]
    r = np.arange(17)
    wanted = matern(3.0)(r / (L / 2 * 6**0.5))
    # differences in place of derivatives: an error of (h / l)^2 / 12 = 0.5 %
    np.testing.assert_allclose(bump[32, 32:49] / bump[32, 32], wanted, rtol=0, atol=0.01)


def test_the_variance_from_draws_has_the_error_it_states():
    wet = wet_map()
    C = da.Diffusion(wet, 2.0, samples=800)
    assert C.error == pytest.approx(0.05)
    exact = da.Diffusion(wet, 2.0)
    assert exact.error == 0
    off = np.diag(C.matrix())[wet.ravel()] - 1
    assert 0.2 * C.error < off.std() < 2 * C.error  # neighbours err together: few independent
    z = RNG.normal(size=(1, C.n))
    np.testing.assert_allclose(C.whiten(C.color(z)), z, rtol=0, atol=1e-12)  # exact all the same


# --- ensembles ----------------------------------------------------------------------------------


def test_low_rank_is_the_sample_covariance():
    E = RNG.normal(size=(2, 6, 4))
    B = da.LowRank.from_members(E)
    assert (B.batch, B.n, B.controls) == ((2,), 4, 6)
    for i in range(2):
        np.testing.assert_allclose(B.matrix()[i], np.cov(E[i].T), **ROUND)
        np.testing.assert_allclose(B[i].matrix(), B.matrix()[i], rtol=0, atol=0)


def test_localized_is_the_schur_product():
    X = RNG.normal(size=(2, 5, 12))
    C = da.OnGrid((3, 4), 1.1, gaspari_cohn)
    B = da.Localized(X, C)
    wanted = np.swapaxes(X, -1, -2) @ X / 4 * C.matrix()
    np.testing.assert_allclose(B.matrix(), wanted, **ROUND)
    root = B.color(np.broadcast_to(np.eye(B.controls), (2, B.controls, B.controls)))
    np.testing.assert_allclose(np.swapaxes(root, -1, -2) @ root, wanted, **ROUND)
    shared = B.color(np.eye(B.controls))  # one z for both experiments
    np.testing.assert_array_equal(shared, root)
    np.testing.assert_allclose(B[1].matrix(), wanted[1], **ROUND)
    assert np.linalg.matrix_rank(wanted[0]) == 12 > 4  # localization raises the rank
    np.testing.assert_allclose(B.whiten(root)[0], B[0].whiten(root[0]), rtol=0, atol=1e-9)


def test_hybrid_is_the_weighted_sum():
    X = RNG.normal(size=(2, 5, 12))
    static, low = da.OnGrid(12, 2.0), da.LowRank(X)
    w = np.array([0.2, 0.9])
    B = da.Hybrid((1 - w, static), (w, low))
    assert (B.batch, B.controls) == ((2,), 17)
    wanted = (1 - w)[:, None, None] * static.matrix() + w[:, None, None] * low.matrix()
    np.testing.assert_allclose(B.matrix(), wanted, **ROUND)
    np.testing.assert_allclose(B.variance(), np.einsum("bii->bi", wanted), **ROUND)
    root = B.color(np.eye(17))
    np.testing.assert_allclose(np.swapaxes(root, -1, -2) @ root, wanted, **ROUND)
    np.testing.assert_allclose(B[1].matrix(), wanted[1], **ROUND)
    x = RNG.normal(size=(2, 3, 12))
    np.testing.assert_allclose(B.whiten(x)[1], B[1].whiten(x[1]), rtol=0, atol=1e-10)


def test_one_part_whitens_as_it_does_alone():
    C = da.OnGrid((60, 60), 3.0)  # 3600 points: its matrix would be refused
    B = da.Hybrid((0.02, C))
    z = RNG.normal(size=(2, C.n))
    np.testing.assert_allclose(B.whiten(B.color(z)), z, rtol=0, atol=1e-11)
    two = da.Hybrid((0.5, C), (0.5, da.Diagonal(np.ones(C.n))))
    with pytest.raises(ValueError, match=r"dimension 3600.*up to 2000.*control variables"):
        two.whiten(z)


def test_gaps_in_data_with_errors_on_a_grid():
    """A hybrid as R with NaN in the data: the same as removing the rows."""
    R = da.Hybrid((0.5, da.OnGrid(6, 1.0)), (0.5, da.Diagonal(np.ones(6))))
    seen = np.array([True, False, True, True, False, True])
    x = RNG.normal(size=(1, 6))
    w = R.masked(seen).whiten(x)
    part = da.Dense(R.matrix()[np.ix_(seen, seen)]).whiten(x[:, seen])
    assert (w**2).sum() == pytest.approx((part**2).sum(), rel=1e-12)


def test_the_noise_of_a_model_may_have_other_controls():
    """Q of low rank: forecast errors span its directions only."""
    X = np.zeros((3, 40))
    X[:, 7] = 1.0, -1.0, 0.0
    problem = da.Problem(
        da.identity,
        da.Observation(da.identity, np.ones(40)),
        da.Point(np.zeros(40)),
        np.zeros((2, 40)),
        noise=da.LowRank(X),
    )
    x = problem.forecast(np.zeros((5, 40)), 0, np.random.default_rng(0))
    assert abs(np.delete(x, 7, axis=1)).max() == 0
    assert (x[:, 7] != 0).all()
