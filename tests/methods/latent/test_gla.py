"""Polynomials in the place of operators: exact up to their degree, and without any derivative."""

import warnings
from dataclasses import dataclass, replace
from math import comb
from typing import Any

import numpy as np
import pytest
import torch
from examples import Rotation, linear_gaussian

import dalearn as da
from dalearn.array import array_namespace, convert
from dalearn.array.derivative import finite_difference, linearize
from dalearn.methods import Encoded, PoorFit
from dalearn.methods.latent.boxes import Box, Doubted
from dalearn.methods.latent.polynomials import Polynomial, basis, count_samples, design, exact

pytestmark = pytest.mark.filterwarnings("ignore::dalearn.NotConverged")  # so tight searches
DOUBLE = torch.zeros(1, dtype=torch.float64)
RNG = np.random.default_rng(11)
H1, H2 = RNG.normal(size=(2, 3, 4))
TIGHT = da.GaussNewton(60, tolerance=1e-6)
B4 = da.Dense(np.diag([1.0, 2.0, 0.5, 1.5]) + 0.3)


def run(problem, method, seed=0):
    return da.assimilate(problem, method, seed=seed, progress=False)


def turned(n, seed=1):
    """A POD of full rank: a rotation around some mean."""
    rng = np.random.default_rng(seed)
    return da.POD(np.linalg.qr(rng.normal(size=(n, n)))[0], rng.normal(size=n))


@dataclass(frozen=True, eq=False)
class Bent:
    """H1 x + size (H2 x)^power, polynomials of four numbers; `of` the whole where it is given."""

    power: int = 2
    size: float = 0.1
    of: Any = None

    def __call__(self, x):
        y = x @ convert(H1, x).mT + self.size * (x @ convert(H2, x).mT) ** self.power
        return y if self.of is None else self.of(y)


def sine(y):
    """Smooth and rising, and no polynomial."""
    return y + 0.8 * array_namespace(y).sin(y)


def table(x):
    """A function of H1 x in steps of 0.05, looked up."""
    edges = np.arange(-20, 20, 0.05)
    return risen(edges)[np.digitize(x.dot(H1.T), edges) - 1]


def risen(y):
    """What the table holds."""
    return sine(0.7 * y)


def bent(operator, cycles=3, batch=(), gaps=True, seed=0, noise=0.2, B: Any = B4):
    """Four numbers, three data a time; the second time has a gap, the third none in case 0."""
    prior = da.Gaussian(np.array([0.5, -1.0, 0.3, 0.8]), B)
    see = da.Observation(operator, noise * np.ones(3))
    A = 0.95 * np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    p = da.twin(Rotation(A), see, prior, cycles, batch=batch, seed=seed)
    data = p.data.copy()
    if gaps:
        data[..., 1, 2] = np.nan
        data[(*(0,) * len(batch), slice(2, 3))] = np.nan
    return replace(p, data=data)


def agree(a, b, slack=1e-8):
    assert np.allclose(a["mean"], b["mean"], rtol=0, atol=slack)
    assert np.allclose(a["std"], b["std"], rtol=0, atol=slack)


# --- polynomials ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("c", "degree"), [(1, 4), (3, 1), (3, 2), (4, 3)])
@pytest.mark.parametrize("like", [np.zeros(1), DOUBLE], ids=["numpy", "torch"])
def test_a_polynomial_is_found_with_its_derivative(c, degree, like):
    """From the samples of one box, also far outside of it, for each experiment."""
    rng = np.random.default_rng(c)
    a, b = (convert(rng.normal(size=(2, c, 5)), like) for _ in range(2))

    def f(v):
        return (v @ a[:, :c]) ** degree + v @ b - 1

    found = basis(c, degree)
    F = comb(c + degree, degree)
    assert count_samples(c, degree, 2.0) == 2 * F
    known = design(c, degree, 2 * F, 0)
    assert known.features.shape == (2 * F, F)
    centre = convert(rng.normal(size=(2, 1, c)), like)
    width = convert(np.array([0.5, 20.0])[:, None, None], like)
    values = f(centre + width * convert(known.points, like))
    inverse = convert(np.eye(c), like) / width
    p = Polynomial(found, convert(known.solve, like) @ values, centre, inverse)
    v = convert(3 * rng.normal(size=(2, 7, c)), like)
    tall = float(abs(f(v)).max())
    assert np.allclose(p(v), f(v), rtol=0, atol=1e-9 * tall)
    value, J = exact(p, v)
    other, slope = finite_difference(f, v)
    assert np.allclose(value, other, rtol=0, atol=1e-9 * tall)
    assert np.allclose(J, slope, rtol=0, atol=1e-7 * tall)  # differences have their own 1e-10
    if like is DOUBLE:
        assert np.allclose(J, linearize(p, v)[1], rtol=0, atol=1e-9 * tall)


def test_the_squares_of_features_have_the_mean_one():
    """Over the box, and products of two the mean 0: over a grid of Gauss's points exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(5)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    w = np.prod(np.stack(np.meshgrid(*[weights / 2] * 3, indexing="ij"), -1), -1).ravel()
    A = basis(3, 3).values(grid)
    assert np.allclose((A * w[:, None]).T @ A, np.eye(20), rtol=0, atol=1e-12)


def test_the_errors_of_a_fit_are_errors_of_data():
    """R + F as a matrix, masked data left out; and with fewer samples than data."""
    rng = np.random.default_rng(5)
    C = da.Dense(np.cov(rng.normal(size=(5, 20))))
    for count, seen in ((3, None), (40, None), (40, np.array([True, False, True, True, False]))):
        left = rng.normal(size=(2, count, 5)) * np.array([1e-9, 1.0])[:, None, None]
        inner = C if seen is None else da.Diagonal(C.variance()).masked(seen)
        found = Doubted.by(inner, inner.whiten(left))
        some = np.ones(5, bool) if seen is None else seen
        for b in range(2):
            x = rng.normal(size=(4, 5))
            w = found.whiten(np.stack([x, x]))[b]
            whole = (inner.matrix() + left[b].T @ left[b] / count)[np.ix_(some, some)]
            wanted = np.sum(x[:, some] * np.linalg.solve(whole, x[:, some].T).T, axis=1)
            assert np.allclose(np.sum(w * w, axis=1), wanted, rtol=1e-9)


def test_a_moved_box_has_the_shape_of_the_analysis():
    """On a linear problem: w times the root of the covariance of the control, (I + G^T G)^-1."""
    problem = bent(Bent(size=0.0), 1, gaps=False)
    boxes = []

    def watched(x):
        boxes.append(np.asarray(x))
        return x @ convert(H1, x).mT

    p = replace(problem, observation=da.Observation(watched, 0.2 * np.ones(3)))
    coder, count = turned(4), count_samples(4, 2, 2.5)
    run(p, da.GLA(da.Var3D(B4), coder, box=0.7, outer=2))
    last = [x for x in boxes if x.shape[-2] == count][-1]
    L = np.linalg.cholesky(B4.matrix())
    v = np.linalg.solve(L, (coder.encode(last) - coder.encode(last.mean(0))).T).T
    G = H1 @ coder.modes.T @ L / 0.2**0.5
    u = 0.7 * design(4, 2, count, 0).points
    s, Q = np.linalg.eigh(np.eye(4) + G.T @ G)
    wanted = u @ ((Q / s**0.5) @ Q.T)
    assert np.allclose(v, wanted - wanted.mean(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("like", [np.zeros(1), DOUBLE], ids=["numpy", "torch"])
def test_a_network_learns_what_a_polynomial_leaves(like):
    """Its derivative exactly, each experiment as alone, and a sine better than a plane."""
    rng = np.random.default_rng(0)
    known = design(3, 1, 300, 0)
    a = convert(rng.normal(size=(2, 3, 2)), like)
    centre = convert(rng.normal(size=(2, 1, 3)), like)
    S = convert(np.array([np.eye(3), 0.5 * np.eye(3) + 0.1]), like)
    inverse = array_namespace(S).linalg.inv(S)

    def f(v):
        return array_namespace(v).sin(2 * ((v - centre) @ inverse) @ a)

    Y = f(centre + convert(known.points, like) @ S)
    plain = Box(known, centre, S, 0, 0).fitted(Y)[1]
    both, gaps = Box(known, centre, S, 24, 0).fitted(Y)
    assert gaps.shape[-2] == 60
    assert float((gaps**2).mean()) < 0.1 * float((plain**2).mean())
    v = convert(rng.normal(size=(2, 7, 3)), like)
    value, J = exact(both, v)
    other, slope = finite_difference(both, v)
    assert np.allclose(value, other, rtol=0, atol=1e-12)
    assert np.allclose(J, slope, rtol=0, atol=1e-6)  # differences have their own 1e-10
    for b in range(2):
        alone, _ = Box(known, centre[b], S[b], 24, 0).fitted(Y[b])
        assert np.allclose(alone(v[b]), value[b], rtol=0, atol=1e-5)  # 400 updates of round-off


def test_a_network_beside_a_plane():
    """3D-Var with it finds what a derivative finds, to a twentieth of a standard deviation."""
    problem, coder = bent(Bent(size=0.3), 1, batch=(6,), gaps=False), turned(4)
    inner, gaps = da.Var3D(B4, solver=TIGHT), []
    wanted = run(problem, da.Latent(inner, coder))
    for hidden in (0, 16):
        method = da.GLA(inner, coder, degree=1, box=0.7, samples=60.0, outer=3, hidden=hidden)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PoorFit)
            found = run(problem, method)
        gaps.append(float((abs(found["mean"] - wanted["mean"]) / wanted["std"]).max()))
    assert gaps[1] < 0.05 < gaps[0] / 10


def test_samples_are_a_latin_hypercube_of_their_seed():
    known = design(3, 2, 25, 4)
    cells = np.sort(np.floor((known.points + 1) / 2 * 25), axis=0)
    assert np.array_equal(cells, np.tile(np.arange(25.0)[:, None], (1, 3)))
    assert not np.array_equal(known.points, design(3, 2, 25, 5).points)


def test_the_error_of_the_box_is_that_of_each_sample_left_out():
    """By fitting again without it."""
    problem = bent(Bent(of=sine), 1, gaps=False)
    with pytest.warns(PoorFit):
        told = run(problem, da.GLA(da.Var3D(B4), turned(4), samples=1.5))["error_box"]
    known = design(4, 2, 23, 0)
    p = problem.validated()
    coder = turned(4)
    b = coder.encode(p.forecast(p.prior.mean[None], 0))
    L = np.linalg.cholesky(B4.matrix())
    y = p.at(0)[0](coder.decode(b + 1.5 * known.points @ L.T))
    gaps = []
    for s in range(23):
        rest = np.arange(23) != s
        c = np.linalg.lstsq(known.features[rest], y[rest], rcond=None)[0]
        gaps.append(y[s] - known.features[s] @ c)
    wanted = (np.mean(np.square(gaps)) / 0.2) ** 0.5
    assert np.isclose(float(told[0]), wanted, rtol=1e-8)


# --- the analysis --------------------------------------------------------------------------------

BOTH = [da.Var3D(B4), da.Var3D(B4, window=2), da.Var4D(1, B=B4), da.Var4D(2, B=B4)]
BOTH.append(da.Var4D(2, shift=1, B=B4, evolve=True))


@pytest.mark.parametrize("method", BOTH, ids=["3D", "FGAT", "4D", "window", "evolve"])
@pytest.mark.parametrize(("power", "degree"), [(2, 2), (3, 3), (2, 3)])
def test_up_to_its_degree_it_is_the_inner_method(method, power, degree):
    """With gaps, in a batch; a moved box changes nothing where the fit is exact."""
    problem, coder = bent(Bent(power, 0.2 / power**2), batch=(2,)), turned(4)
    inner = replace(method, solver=TIGHT)
    wanted = run(problem, da.Latent(inner, coder))
    for outer in (1, 2):
        found = run(problem, da.GLA(inner, coder, degree=degree, outer=outer))
        slack = 1e-9 if outer == 1 else 1e-4  # the same search; one that goes on from its end
        agree(found, wanted, slack)
        assert float(found["error_here"].max()) < 1e-8
        assert np.allclose(found["cost"], wanted["cost"], rtol=slack, atol=slack)


def test_the_kalman_filter_on_a_linear_gaussian_problem():
    problem = linear_gaussian(2, n=4, m=3, noise=False)
    wanted = run(problem, da.KF()).isel(time=1).sel(stage="analysis")
    for degree in (1, 2):
        method = da.GLA(da.Var4D(2, B="prior"), turned(4), degree=degree)
        agree(run(problem, method).isel(time=1).sel(stage="analysis"), wanted)


def test_a_moved_box_ends_where_the_true_cost_is_least():
    problem, coder = bent(Bent(size=0.02, of=sine), 1, batch=(6,), gaps=False), turned(4)
    wanted = run(problem, da.Latent(da.Var3D(B4, solver=TIGHT), coder))
    gaps = []
    for outer in (1, 2, 4):
        method = da.GLA(da.Var3D(B4, solver=TIGHT), coder, box=0.5, outer=outer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PoorFit)
            gaps.append(abs(run(problem, method)["cost"] - wanted["cost"])[:, 0])
    assert float(gaps[2].max()) < 0.02
    assert float(gaps[1].mean()) < 0.5 * float(gaps[0].mean())
    assert float(gaps[2].mean()) < float(gaps[1].mean())


def test_an_operator_without_a_derivative():
    """A table that is looked up: near what autodiff finds of the function that it tabulates."""
    here = bent(table, 1, batch=(8,), gaps=False, B=0.3 * np.ones(4))
    smooth = da.Observation(lambda x: risen(x @ convert(H1, x).mT), here.observation.noise)
    coder = turned(4)
    wanted = run(replace(here, observation=smooth), da.Latent(da.Var3D("prior"), coder))
    found = run(here, da.GLA(da.Var3D("prior"), coder, box=1.0, outer=2))
    gap = abs(found["mean"] - wanted["mean"]).sel(stage="analysis")
    assert float((gap / wanted["std"].sel(stage="analysis")).max()) < 0.3
    with pytest.raises(TypeError, match="table cannot run on torch tensors"):
        run(here, da.Var3D("prior"))
    with pytest.raises(TypeError, match="Decoded cannot run on torch tensors"):
        run(here, da.Latent(da.Var3D("prior"), coder))


def test_a_model_without_a_derivative():
    """4D-Var through a model in NumPy alone."""

    def model(x):
        return np.sin(x) + 0.5 * np.roll(x, 1, axis=-1)

    def same(x):
        xp = array_namespace(x)
        return xp.sin(x) + 0.5 * xp.roll(x, 1, axis=-1)

    problem, coder = bent(Bent(), 2, batch=(3,), B=0.1 * np.ones(4)), turned(4)
    wanted = run(replace(problem, model=same), da.Latent(da.Var4D(2, B="prior"), coder))
    found = run(
        replace(problem, model=model),
        da.GLA(da.Var4D(2, B="prior"), coder, degree=3, box=1.0, outer=2),
    )
    gap = (found["mean"] - wanted["mean"]) / wanted["std"]
    assert float(abs(gap).max()) < 0.2
    assert np.allclose(found["std"], wanted["std"], rtol=0.1)


def test_no_analysis_has_a_higher_cost_than_the_background():
    """Straight lines for a function that bends much: told, and not believed."""
    problem = bent(Bent(2, 3.0), 1, batch=(20,), gaps=False)
    method = da.GLA(da.Var3D(B4), turned(4), degree=1)
    with pytest.warns(PoorFit, match=r"degree 1 err by up to .* wanted 0.5 at most.*outer = 2"):
        told = run(problem, method)
    nothing = run(replace(problem, data=problem.data + np.nan), method)
    cost = da.Var3D(B4).cost(problem)
    before = cost(np.zeros((20, 4)))
    assert (told["cost"][:, 0] <= before * (1 + 1e-12)).all()
    kept = np.isclose(told["cost"][:, 0], before, rtol=1e-12)
    assert 0 < kept.sum() < 20
    x = told["mean"].sel(stage="analysis") - nothing["mean"].sel(stage="analysis")
    assert np.array_equal(np.asarray(abs(x) < 1e-12).all((-1, -2)), kept)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(bent(Bent(), 2), da.GLA(da.Var3D(B4), turned(4)))


def test_a_batch_is_the_experiments_one_by_one():
    """Where some refuse their minimum and halve their box, and others do not."""
    problem, coder = bent(Bent(2, 2.0, of=sine), 2, batch=(5,)), turned(4)
    method = da.GLA(da.Var3D(B4), coder, degree=1, outer=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        together = run(problem, method)
        for b in range(5):
            alone = run(problem[b], method)
            for part in ("mean", "std", "error_box", "error_here"):
                assert np.allclose(together[part][b], alone[part], rtol=1e-7, atol=1e-8)
        torched = run(problem.to(DOUBLE), method)
    agree(together, torched, 1e-7)


def test_pieces_of_samples_are_all_samples(monkeypatch):
    problem, method = bent(Bent(of=sine), 2, batch=(3,)), da.GLA(da.Var4D(1, B=B4), turned(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = run(problem, method)
        monkeypatch.setattr("dalearn.methods.latent.surrogate.ROWS", 20)
        agree(whole, run(problem, method))


# --- data with a coder of their own --------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mean:
    """A coder of data with gaps: the mean of those that are there; NaN where there is none."""

    def __call__(self, y):
        xp = array_namespace(y)
        known = xp.astype(xp.isfinite(y), y.dtype)
        total = xp.sum(xp.where(xp.isfinite(y), y, xp.zeros_like(y)), axis=-1, keepdims=True)
        return total / xp.sum(known, axis=-1, keepdims=True)


def test_data_with_a_coder_of_their_own():
    """c(y) beside c(H(decode(z))): 3D-Var whose operator is c o H."""
    problem, coder, data = bent(Bent(), 2, batch=(2,), gaps=False), turned(4), turned(3, 5)
    data = data.truncated(2)
    R = da.Dense(np.array([[0.2, 0.05], [0.05, 0.3]]))
    whole = da.Observation(Bent(of=data.encode), R)
    wanted = run(replace(problem, observation=whole, data=data.encode(problem.data)), da.Var3D(B4))
    B = da.Dense(coder.modes @ B4.matrix() @ coder.modes.T)
    for observe in ((data.encode, R), Encoded(data.encode, R)):
        agree(run(problem, da.GLA(da.Var3D(B), coder, observe=observe)), wanted)
    mine = Encoded(data.encode, R, operator=lambda z: data.encode(Bent()(coder.decode(z))))
    agree(run(problem, da.GLA(da.Var3D(B), coder, observe=mine)), wanted)


def test_gaps_are_in_the_codes_of_samples_too():
    """The mean of the data that are there, beside that of the same ones of a sample."""
    problem, coder = bent(Bent(), 2), turned(4)
    observe = Encoded(Mean(), 0.1 * np.ones(1), gaps=True)
    found = run(problem, da.GLA(da.Var3D(B4), coder, observe=observe))
    for k, some in enumerate(([0, 1, 2], [0, 1])):
        see = da.Observation(Bent(of=lambda y, i=some: Mean()(y[..., i])), 0.1 * np.ones(1))
        data = np.full((2, 1), np.nan)
        data[k] = problem.data[k, some].mean()
        # the other time as GLA left it
        before = found["mean"].sel(stage="analysis")[0].values if k else None
        p = replace(problem, observation=see, data=data)
        if before is not None:
            p = replace(p, prior=da.Gaussian(before, B4), data=data[1:], truth=None)
        B = da.Dense(coder.modes @ B4.matrix() @ coder.modes.T)
        now = run(p, da.Latent(da.Var3D(B4), coder)).isel(time=0)
        agree(found.isel(time=k), now, 1e-7)
        assert B.n == 4


# --- what is refused, and told -------------------------------------------------------------------


def test_what_is_refused():
    coder = turned(4)

    def gla(method=None, **settings):
        return da.GLA(method or da.Var3D(B4), coder, **settings)

    for act, kind, words in (
        (lambda: gla(da.ETKF(10)), TypeError, "Var3D or Var4D, met ETKF"),
        (lambda: gla(da.Var3D(solver=da.LBFGS())), TypeError, "GaussNewton, met LBFGS"),
        (lambda: gla(samples=0.5), ValueError, "as many as the features.*met 0.5"),
        (lambda: gla(degree=0), ValueError, "degree.*>= 1, met 0"),
        (lambda: gla(box=-1.0), ValueError, "box must be in .*met -1"),
        (lambda: gla(observe=Encoded(sine, np.ones(3), sequence=True)), ValueError, "sequence"),
        (lambda: run(bent(Bent()), gla(degree=20)), ValueError, "10626 features.*lower degree"),
        (lambda: gla(outer=0), ValueError, "outer.*>= 1, met 0"),
    ):
        with pytest.raises(kind, match=words):
            act()


def test_samples_outside_of_the_operator_are_told():
    """A root of what may be negative, for one experiment of two; the other is as alone."""
    problem = bent(Bent(), 1, batch=(2,), gaps=False)
    low = da.Observation(lambda x: (x[..., :3] + 6) ** 0.5, problem.observation.noise)
    prior = replace(problem.prior, mean=np.array([[0.5, -1, 0.3, 0.8], [-5.5, 0, 0, 0]]))
    problem = replace(problem, observation=low, prior=prior, model=da.Linear(np.eye(4)))
    problem = replace(problem, data=np.full((2, 1, 3), 2.3), truth=None)
    method = da.GLA(da.Var3D(0.5 * np.ones(4)), turned(4))
    with np.errstate(invalid="ignore"), pytest.warns(PoorFit, match="NaN or infinity.*of 1 fits"):
        told = run(problem, method)
    assert told["diverged"].values.tolist() == [False, True]
    agree(told.isel(case=0), run(problem[0], method))


def test_as_many_samples_as_features_leave_nothing_to_judge():
    told = run(bent(Bent(), 1, gaps=False), da.GLA(da.Var3D(B4), turned(4), samples=1.0))
    assert np.isinf(told["error_box"]).all()
    assert float(told["error_here"].max()) < 1e-6
