"""What holds for every input of a kind: random shapes, masks, batches, found by hypothesis."""

from dataclasses import replace

import numpy as np
import torch
from bits import same_bits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dalearn as da
from dalearn.array import (
    Streams,
    batch_index,
    convert,
    convert_tree,
    generator,
    lift,
    normal,
    sane,
    where_ok,
)
from dalearn.covariances.base import Masked
from dalearn.methods import enkf, etkf, kalman_update
from dalearn.methods.ensemble.transform import roots
from dalearn.problem.border import Border

# the same examples on every run: a red test stays red, and CI sees what the desk sees
settings.register_profile("same", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("same")

few = settings(max_examples=15)
sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
batches = st.lists(st.integers(1, 3), max_size=2).map(tuple)
ONE = torch.zeros(1, dtype=torch.float64)


def close(a, b, atol=1e-12, rtol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, (a.shape, b.shape)
    assert np.allclose(a, b, rtol=rtol, atol=atol), abs(a - b).max()


def spd(rng, n, batch=()):
    """A well-conditioned covariance matrix: its eigenvalues are at least 1."""
    G = rng.normal(size=(*batch, n, n))
    return G @ G.mT / n + np.eye(n)


@st.composite
def covariances(draw, n=None, batch=None):
    n = draw(sizes) if n is None else n
    batch = draw(st.sampled_from([(), draw(batches)])) if batch is None else batch
    rng = np.random.default_rng(draw(seeds))
    if draw(st.booleans()):
        return da.Diagonal(rng.uniform(0.1, 3, size=(*batch, n)))
    return da.Dense(spd(rng, n, batch))


# --- covariances --------------------------------------------------------------------------------


@given(covariances(), sizes, seeds)
def test_whiten_undoes_color(C, k, seed):
    z = np.random.default_rng(seed).normal(size=(*C.batch, k, C.n))
    close(C.whiten(C.color(z)), z)
    close(C.color(C.whiten(z)), z)


@given(covariances())
def test_color_is_a_root_of_the_matrix(C):
    """z L^T for the rows of I is L^T, and (L^T)^T L^T = L L^T = C."""
    root = C.color(np.broadcast_to(np.eye(C.n), (*C.batch, C.n, C.n)))
    close(root.mT @ root, C.matrix())
    close(np.diagonal(C.matrix(), axis1=-2, axis2=-1), C.variance())
    white = C.whiten(np.broadcast_to(np.eye(C.n), (*C.batch, C.n, C.n)))
    close(white @ white.mT @ C.matrix(), np.broadcast_to(np.eye(C.n), C.matrix().shape))


@given(covariances(), sizes, seeds)
def test_a_covariance_is_the_same_in_torch(C, k, seed):
    z = np.random.default_rng(seed).normal(size=(*C.batch, k, C.n))
    T = convert_tree(C, ONE)
    for f in ("color", "whiten"):
        close(getattr(T, f)(torch.as_tensor(z)), getattr(C, f)(z))
    close(T.matrix(), C.matrix())


@given(st.data(), sizes, batches, seeds)
def test_masked_equals_the_rows_removed(data, n, batch, seed):
    """Of a batch, each experiment with a mask of its own: R^-1 restricted to what is seen."""
    rng = np.random.default_rng(seed)
    C = data.draw(covariances(n, data.draw(st.sampled_from([(), batch]))))
    seen = rng.random((*batch, n)) < 0.6
    x, z = rng.normal(size=(2, *batch, 3, n))
    masked = C.masked(seen)
    assert isinstance(masked, Masked)
    assert (masked.n, masked.batch) in ((n, C.batch), (n, batch))
    white = masked.whiten(x)
    assert not np.any(white[~np.broadcast_to(seen[..., None, :], x.shape)])
    got = masked.whiten(x) @ masked.whiten(z).mT  # x R^-1 z^T, all a method ever forms
    matrix = np.broadcast_to(C.matrix(), (*batch, n, n))
    for b in np.ndindex(*batch):
        s = seen[b]
        inner = np.linalg.solve(matrix[b][np.ix_(s, s)], z[b][:, s].T)
        close(got[b], x[b][:, s] @ inner)


@given(covariances(), sizes)
def test_draws_have_their_shape_and_their_stream(C, members):
    prior = da.Gaussian(np.ones((*C.batch, C.n)), C)
    E = prior.sample(Streams(1, 7, C.batch), members)
    assert E.shape == (*C.batch, members, C.n)
    for flat, b in enumerate(np.ndindex(*C.batch)):
        alone = prior[b] if C.batch else prior
        assert same_bits(E[b], alone.sample(Streams(1, 7 + flat), members))
    assert prior.sample(np.random.default_rng(0), members).shape == E.shape
    close(prior.std**2, C.variance())


# --- arrays -------------------------------------------------------------------------------------


@given(seeds, batches, st.lists(sizes, max_size=2).map(tuple))
def test_a_batch_of_streams_is_its_singles(seed, batch, shape):
    z = Streams(1, seed, batch).normal(shape, np.ones(1))
    assert z.shape == (*batch, *shape)
    for flat, b in enumerate(np.ndindex(*batch)):
        assert np.array_equal(z[b], Streams(1, seed + flat).normal(shape, np.ones(1)))
    assert np.array_equal(Streams(1, seed, batch).normal(shape, ONE), z)
    other = Streams(0, seed, batch).normal((4,), np.ones(1))
    assert not np.array_equal(other, Streams(1, seed, batch).normal((4,), np.ones(1)))


@given(batches, st.data())
def test_lift_puts_two_axes_behind(batch, data):
    shape = tuple(data.draw(st.sampled_from([1, size])) for size in batch)
    shape = shape[data.draw(st.integers(0, len(shape))) :]
    setting = np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape)
    for like in (np.ones(1), np.ones(1, np.float32), ONE):
        value = lift(setting, like, batch)
        assert value.shape == (*shape, 1, 1)
        assert value.dtype == like.dtype
        assert np.array_equal(np.asarray(value)[..., 0, 0], setting)
    assert lift(1.5, ONE, batch) == lift(np.float64(1.5), ONE, batch) == 1.5


@given(batches, st.data())
def test_an_index_means_the_same_for_axes_that_broadcast(batch, data):
    assume(batch)
    shape = tuple(data.draw(st.sampled_from([1, size])) for size in batch)
    shape = shape[data.draw(st.integers(0, len(shape))) :]
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    whole = np.broadcast_to(x, batch)
    b = tuple(data.draw(st.integers(-size, size - 1) | st.just(slice(None))) for size in batch)
    b = b[: data.draw(st.integers(1, len(b)))]
    wanted = whole[b]
    assert np.array_equal(np.broadcast_to(x[batch_index(b, shape, batch)], wanted.shape), wanted)


@given(covariances(), st.sampled_from(["f4", "f8"]))
def test_convert_tree_changes_only_what_it_must(C, dtype):
    C = convert_tree(C, np.ones(1, dtype))
    like = np.ones(1, dtype)
    tree = (C, [da.Lorenz63(), C], {"not": "walked"}, None, 3, "word", np.arange(3))
    assert convert_tree(tree, like) is tree
    for other in (ONE, np.ones(1, "f4" if dtype == "f8" else "f8")):
        new = convert_tree(tree, other)
        assert new is not tree
        assert new[0].matrix().dtype == other.dtype
        assert new[1][0] is tree[1][0]
        assert new[2] is tree[2]
        assert "int" in str(new[6].dtype)
        back = convert_tree(new[0], like)
        close(back.matrix(), C.matrix(), rtol=1e-6)


@given(batches, sizes, seeds)
def test_sane_leaves_the_good_ones_alone(batch, n, seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(*batch, n, n))
    bad = rng.random(batch) < 0.4
    A[bad, 0, -1] = rng.choice([np.nan, np.inf])
    for like in (np.ones(1), ONE):
        B, ok = sane(convert(A, like))
        assert (ok is True) == (not bad.any())
        marked = np.asarray(where_ok(ok, convert(A, like)))
        B, ok = np.asarray(B), np.broadcast_to(np.asarray(ok), batch)
        assert np.array_equal(ok, ~bad)
        assert np.array_equal(B[ok], A[~bad])
        assert np.array_equal(B[~ok], np.broadcast_to(np.eye(n), B[~ok].shape))
        assert np.array_equal(np.isnan(marked).all((-2, -1)), bad | np.isnan(A).all((-2, -1)))


# --- models and operators -----------------------------------------------------------------------

leading = st.lists(st.integers(1, 3), max_size=3).map(tuple)
models = st.sampled_from([(da.Lorenz63(), 3), (da.Pendulum(damping=0.1), 2)]) | st.integers(
    4, 9
).map(lambda n: (da.Lorenz96(n), n))


def row_by_row(f, x):
    """f on each row alone, put together again."""
    rows = [f(row) for row in x.reshape(-1, x.shape[-1])]
    return np.stack(rows).reshape(*x.shape[:-1], -1)


@given(models, leading, seeds)
def test_a_model_takes_any_leading_axes(pair, lead, seed):
    model, n = pair
    x = np.random.default_rng(seed).normal(size=(*lead, n))
    before = x.copy()
    close(model(x), row_by_row(model, x), atol=1e-13)
    assert np.array_equal(x, before)
    close(model(torch.as_tensor(x)), model(x))


@given(st.data(), leading, st.integers(1, 6), seeds)
def test_an_operator_takes_any_leading_axes(data, lead, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*lead, n))
    index = rng.integers(-n, n, size=data.draw(sizes))
    start = int(rng.integers(0, n))
    H = rng.normal(size=(data.draw(sizes), n))
    for f, wanted in (
        (da.identity, x),
        (da.Every(2, start), x[..., start::2]),
        (da.Subset(index), x[..., index]),
        (da.Subset(index.astype(np.int8)), x[..., index]),
        (da.Linear(H), (H @ x[..., None])[..., 0]),
    ):
        close(f(x), wanted)
        close(convert_tree(f, ONE)(torch.as_tensor(x)), wanted)


@given(st.integers(1, 4), st.integers(1, 4), leading, seeds)
def test_an_operator_on_fields(rows, columns, lead, seed):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(*lead, rows, columns))
    i, j = rng.integers(0, rows, size=3), rng.integers(0, columns, size=3)
    close(da.Subset((i, j))(u), u[..., i, j])
    close(da.Every(2, axes=2)(u), u[..., ::2, ::2])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), leading, seeds)
def test_the_border_shows_fields_and_gives_vectors_back(shape, lead, seed):
    n = int(np.prod(shape))
    x = np.random.default_rng(seed).normal(size=(*lead, n))
    met = []

    def f(u):
        met.append(u.shape)
        return 2 * u

    for like in (np.ones(1), ONE):
        close(Border(f, shape)(convert(x, like)), 2 * x)
    assert all(tuple(s) == (int(np.prod(lead)), *shape) for s in met)
    close(Border(lambda u: u.reshape(len(u), -1)[:, :1], shape)(x), x[..., :1])


# --- the updates --------------------------------------------------------------------------------


@st.composite
def updates(draw):
    """E (..., N, n), H (m, n), y (..., m), R of any kind, for a random batch."""
    N, n, m, batch = draw(st.integers(2, 8)), draw(sizes), draw(sizes), draw(batches)
    rng = np.random.default_rng(draw(seeds))
    E = rng.normal(size=(*draw(st.sampled_from([(), batch])), N, n))
    R = draw(covariances(m, draw(st.sampled_from([(), batch]))))
    return E, rng.normal(size=(m, n)), rng.normal(size=(*batch, m)), R, batch, rng


def kalman_on_ensemble(E, H, y, R):
    """Mean and covariance of the Kalman update under the ensemble's own moments: (n,), (n, n)."""
    x, X = E.mean(0), E - E.mean(0)
    P = X.T @ X / (len(E) - 1)
    K = np.linalg.solve(H @ P @ H.T + R, H @ P).T
    return x + K @ (y - H @ x), P - K @ H @ P


@given(updates())
def test_ensemble_updates_are_kalman_updates_for_every_shape(case):
    """etkf in mean and covariance; enkf, its perturbations centred, in the mean."""
    E, H, y, R, batch, rng = case
    N, n = E.shape[-2:]
    D = R.color(rng.normal(size=(*batch, N, R.n)))
    D = D - D.mean(-2, keepdims=True)
    a, b = etkf(E, E @ H.T, y, R), enkf(E, E @ H.T, y, R, D)
    assert a.members.shape == b.shape == (*batch, N, n)
    assert a.mean.shape == a.std.shape == (*batch, n)
    full = np.broadcast_to(E, (*batch, N, n))
    C = np.broadcast_to(R.matrix(), (*batch, R.n, R.n))
    for i in np.ndindex(*batch):
        x, P = kalman_on_ensemble(full[i], H, y[i], C[i])
        close(a.mean[i], x, 1e-11)
        close(b[i].mean(0), x, 1e-11)
        close(a.anomalies[i].T @ a.anomalies[i] / (N - 1), P, 1e-11)
        close(a.members[i].mean(0), x, 1e-11)


@given(updates())
def test_updates_are_the_same_in_torch(case):
    E, H, y, R, _, _ = case
    t = [convert(v, ONE) for v in (E, E @ H.T, y)]
    close(etkf(*t, convert_tree(R, ONE)).members, etkf(E, E @ H.T, y, R).members, 1e-11)


@given(updates(), seeds, st.sampled_from(["householder", "haar"]))
def test_a_rotation_changes_members_but_neither_mean_nor_covariance(case, seed, rotate):
    E, H, y, R, batch, _ = case
    root = next(roots(rotate, Streams(1, seed, batch), E.shape[-2], E))
    a, b = etkf(E, E @ H.T, y, R, 1.1), etkf(E, E @ H.T, y, R, 1.1, root)
    close(a.mean, b.mean)
    close(b.members.mean(-2), b.mean, 1e-11)
    close(a.anomalies.mT @ a.anomalies, b.anomalies.mT @ b.anomalies, 1e-11)


@given(st.integers(2, 12), batches, seeds, st.sampled_from(["householder", "haar"]))
def test_rotations_are_orthogonal_and_keep_the_ones(N, batch, seed, rotate):
    """Seen through an analysis without data, where the symmetric root is I and T the rotation."""
    for like in (np.ones(1), ONE):
        S, d = (convert(np.zeros((*batch, k, 3)), like) for k in (N, 1))
        chosen = roots(rotate, Streams(1, seed, batch), N, like)
        for _ in range(3):
            w, T = (np.asarray(a) for a in next(chosen)(S, d))
            eye = np.eye(N) - (1 / N if rotate == "haar" else 0)  # haar acts beside the ones
            close(w, np.zeros((*batch, 1, N)))
            close(T.mT @ T, np.broadcast_to(eye, T.shape))
            close(T.sum(-2), np.full((*batch, N), 1.0 if rotate == "householder" else 0.0))


@given(updates(), seeds)
def test_unseen_data_are_rows_removed_in_every_update(case, seed):
    E, H, y, R, batch, rng = case
    seen = np.random.default_rng(seed).random(R.n) < 0.5
    assume(seen.any())
    N, n = E.shape[-2:]
    masked = R.masked(np.broadcast_to(seen, y.shape))
    gaps = np.where(seen, y, 0.0)
    C = R.matrix()[..., seen, :][..., seen]
    few_R = da.Dense(C) if isinstance(R, da.Dense) else da.Diagonal(R.variances[..., seen])
    D = rng.normal(size=(*batch, N, R.n))
    Y = E @ H.T
    close(
        etkf(E, Y, gaps, masked).members,
        etkf(E, Y[..., seen], y[..., seen], few_R).members,
    )
    close(
        enkf(E, Y, gaps, masked, D),
        enkf(E, Y[..., seen], y[..., seen], few_R, D[..., seen]),
    )
    x, P = rng.normal(size=(*batch, n)), spd(rng, n, batch)
    J = np.broadcast_to(H, (*batch, *H.shape))
    a = kalman_update(x, P, x @ H.T, J, gaps, masked)
    b = kalman_update(x, P, (x @ H.T)[..., seen], J[..., seen, :], y[..., seen], few_R)
    close(a[0], b[0])
    close(a[1], b[1])


# --- whole problems -----------------------------------------------------------------------------

METHODS = (
    da.KF(),
    da.ExtendedKF(),
    da.ETKF(4, inflation=1.05),
    da.ETKF(4, rotate="haar"),
    da.EnKF(4, inflation=1.05),
)


def linear(n, m, cycles, batch, seed, R=None):
    rng = np.random.default_rng(seed)
    see = da.Observation(rng.normal(size=(m, n)), da.Dense(spd(rng, m)) if R is None else R)
    prior = da.Gaussian(rng.normal(size=n), da.Dense(spd(rng, n)))
    A = 0.9 * np.linalg.qr(rng.normal(size=(n, n)))[0]
    noise = da.Diagonal(0.1 * np.ones(n))
    return da.twin(
        da.Linear(A), see, prior, cycles, steps=2, noise=noise, batch=batch, seed=seed % 1000
    )


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


@few
@given(st.sampled_from(METHODS), sizes, sizes, batches, seeds)
def test_one_experiment_of_a_batch_is_itself(method, n, m, batch, seed):
    problem = linear(n, m, 3, batch, seed)
    together = run(problem, method, seed=5)
    for flat, b in enumerate(np.ndindex(*batch)):
        alone = run(problem[b] if batch else problem, method, seed=5 + flat)
        where = {f"case{i}" if len(b) > 1 else "case": j for i, j in enumerate(b)}
        for name in ("mean", "std", "predicted", "observation", "truth"):
            close(together[name].isel(where), alone[name], 1e-12)


@few
@given(st.sampled_from(METHODS[:4]), st.integers(1, 4), batches, seeds)
def test_missing_data_are_rows_removed_over_a_whole_run(method, n, batch, seed):
    """A mask that changes from time to time, against a moving network without the gaps."""
    rng = np.random.default_rng(seed)
    problem = linear(n, 3, 4, batch, seed)
    seen = rng.random((4, 3)) < 0.6
    seen[~seen.any(1), 0] = True
    gaps = replace(problem, data=np.where(seen, problem.data, np.nan))
    H, R = problem.observation.operator.matrix, problem.observation.noise.matrix()
    network = [da.Observation(H[s], da.Dense(R[np.ix_(s, s)])) for s in seen]
    widest = max(o.m for o in network)
    data = np.full((*batch, 4, widest), np.nan)
    for k, s in enumerate(seen):
        data[..., k, : s.sum()] = problem.data[..., k, s]
    moved = replace(problem, observation=da.Moving(network), data=data)
    a, b = run(gaps, method), run(moved, method)
    close(a["mean"], b["mean"], 1e-12)
    close(a["std"], b["std"], 1e-12)


@few
@given(sizes, batches, seeds)
def test_kalman_filters_agree_on_linear_problems(n, batch, seed):
    problem = linear(n, 2, 3, batch, seed)
    a = run(problem, da.KF())
    for jacobian in (da.linearize, da.finite_difference):
        b = run(problem, da.ExtendedKF(jacobian=jacobian, operator_jacobian=jacobian))
        close(a["mean"], b["mean"], 1e-7)
        close(a["std"], b["std"], 1e-7)


@few
@given(st.sampled_from([(2, 3), (1, 6), (3, 2, 1)]), batches, seeds)
def test_a_field_problem_is_its_vector_problem(shape, batch, seed):
    """The same numbers whether the model sees vectors or fields."""
    rng = np.random.default_rng(seed)
    A = 0.9 * np.linalg.qr(rng.normal(size=(6, 6)))[0]

    def on_fields(u):
        return (u.reshape(len(u), 6) @ A.T).reshape(u.shape)

    def seen_of_fields(u):
        return u.reshape(len(u), 6)[:, ::2]

    prior = da.Gaussian(rng.normal(size=6), np.ones(6))
    vectors = da.twin(da.Linear(A), da.Observation(da.Every(2), np.ones(3)), prior, 3, batch=batch)
    fields = replace(
        vectors,
        model=on_fields,
        observation=da.Observation(seen_of_fields, np.ones(3)),
        shape=shape,
    )
    for method in (da.ETKF(4), da.EnKF(4)):
        close(run(vectors, method)["mean"], run(fields, method)["mean"], 1e-12)


@given(st.integers(2, 6), sizes, seeds)
def test_normal_draws_are_the_streams_own(members, n, seed):
    own = generator(1, seed)
    assert np.array_equal(
        normal(Streams(1, seed), (members, n), np.ones(1)), own.standard_normal((members, n))
    )
