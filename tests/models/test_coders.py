"""The contract of a coder, on every coder; proper orthogonal decomposition beside its theory."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from examples import CODERS, Curved, snapshots

import dalearn as da
from dalearn.array import convert_tree
from dalearn.models import Extended, reconstruction_error

each = pytest.mark.parametrize("example", CODERS, ids=str)
TWO: Any = 2.0
DOUBLE = torch.zeros(1, dtype=torch.float64)


@each
def test_any_leading_axes_and_each_row_alone(example):
    coder, x = example.coder, snapshots(seed=5)
    z = coder.encode(x)
    assert z.shape == (3, 20, coder.r)
    assert coder.decode(z).shape == (3, 20, coder.n)
    for f, rows in ((coder.encode, x), (coder.decode, z)):
        # one row or sixty: BLAS sums in another order
        assert np.allclose(f(rows[1, 2]), f(rows)[1, 2], rtol=0, atol=1e-13)
        assert np.allclose(f(rows[None, 1]), f(rows)[None, 1], rtol=0, atol=1e-13)
        before = rows.copy()
        f(rows)
        assert np.array_equal(rows, before)


@each
def test_numpy_equals_torch(example):
    coder, x = example.coder, snapshots(seed=5)
    moved, t = convert_tree(coder, DOUBLE), torch.tensor(x)
    for c in (coder, moved):  # also without moving it first
        assert c.encode(t).dtype == torch.float64
        assert np.allclose(c.encode(t), coder.encode(x), rtol=0, atol=1e-12)
        assert np.allclose(
            c.decode(c.encode(t)), coder.decode(coder.encode(x)), rtol=0, atol=1e-12
        )
    assert np.allclose(moved.floor(t), coder.floor(x), rtol=0, atol=1e-12)


@each
def test_single_precision_is_kept(example):
    x = snapshots(seed=5).astype(np.float32)
    z = example.coder.encode(x)
    assert z.dtype == example.coder.decode(z).dtype == np.float32
    exact = example.coder.encode(x.astype(float))
    assert np.allclose(z, exact, rtol=0, atol=2e-5 * abs(exact).max())  # 12 sums of eps 1e-7


@each
def test_derivatives_of_both_ways(example):
    coder, x = example.coder, snapshots(seed=5)[0, :2]
    for f, rows in ((coder.encode, x), (coder.decode, coder.encode(x))):
        J, D = da.linearize(f, rows)[1], da.finite_difference(f, rows)[1]
        assert np.allclose(J, D, rtol=1e-7, atol=1e-7 * abs(J).max())  # differences err by 1e-10


@each
def test_the_floor_on_held_out_states(example):
    test = snapshots(S=600, seed=9)
    floor = example.coder.floor(test)
    gap = test - example.coder.decode(example.coder.encode(test))
    size = gap[..., : -example.coder.p] if isinstance(example.coder, Extended) else gap
    assert floor == pytest.approx((size**2).mean() ** 0.5, rel=1e-12, abs=1e-15)
    assert floor <= example.floor
    assert test.std() > 2 * example.floor  # and a floor means something here


@each
def test_pickles(example):
    again, x = pickle.loads(pickle.dumps(example.coder)), snapshots(seed=5)
    assert np.array_equal(again.encode(x), example.coder.encode(x))


@each
def test_wrong_shapes_are_named(example):
    coder = example.coder
    for f, width in ((coder.encode, coder.n), (coder.decode, coder.r), (coder.floor, coder.n)):
        with pytest.raises(ValueError, match=r"wanted \(\.\.\., \d+\)"):
            f(np.zeros((4, width + 1)))


@each
def test_a_floor_of_nan_is_refused(example):
    test = snapshots(seed=5)
    test[1, 3, 2] = np.nan
    with pytest.raises(ValueError, match=r"1 of the test states \(3, 20, 12\) hold NaN"):
        example.coder.floor(test)
    with pytest.raises(ValueError, match="shape"):
        example.coder.floor(test[:0])


# --- proper orthogonal decomposition ----------------------------------------------------------


def test_the_modes_are_orthonormal_and_the_values_those_of_the_svd():
    x = snapshots().reshape(-1, 12)
    for pod in (da.POD.fit(x, 5), da.POD.fit(x, 5, randomised=True)):
        assert np.allclose(pod.modes @ pod.modes.T, np.eye(5), rtol=0, atol=1e-14)
        s = np.linalg.svd(x - x.mean(0), compute_uv=False)
        assert pod.values is not None
        assert np.allclose(pod.values, s, rtol=1e-12)
        assert np.allclose(pod.energy, np.cumsum(s**2) / (s**2).sum(), rtol=1e-12)


def test_rank_r_leaves_what_the_truncated_svd_leaves():
    x = snapshots().reshape(-1, 12)
    d = 10.0 ** np.linspace(-2, 2, 12)
    for mean in (True, False):
        for scale in (None, d):
            unit = np.ones(12) if scale is None else scale
            A = (x - mean * x.mean(0)) / unit
            s = np.linalg.svd(A, compute_uv=False)
            for r in (1, 5, 11):
                pod = da.POD.fit(x, r, mean=mean, scale=scale)
                gap = (x - pod.decode(pod.encode(x))) / unit
                left = (s[r:] ** 2).sum()
                # round-off of the largest value, 1e-16, beside what is left
                assert (gap**2).sum() == pytest.approx(left, rel=1e-10, abs=1e-28 * s[0] ** 2)


def test_full_rank_reconstructs_to_round_off():
    x = snapshots()
    pod = da.POD.fit(x, 12, scale=10.0 ** np.linspace(-4, 4, 12))
    assert np.allclose(pod.decode(pod.encode(x)), x, rtol=0, atol=1e-13)
    assert pod.floor(x) < 1e-13


def test_the_codes_know_no_units():
    x, D = snapshots(), 10.0 ** np.linspace(-9, 9, 12)
    scale = x.std(axis=(0, 1))
    a, b = da.POD.fit(x, 5, scale=scale), da.POD.fit(D * x, 5, scale=D * scale)
    assert np.allclose(a.encode(x), b.encode(D * x), rtol=0, atol=1e-12)
    assert np.allclose(D * a.decode(a.encode(x)), b.decode(b.encode(D * x)), rtol=1e-12)
    for size in (1e-200, 1e200):  # squares of these are 0 and infinite
        c = da.POD.fit(size * x, 5)
        assert np.allclose(c.encode(size * x) / size, da.POD.fit(x, 5).encode(x), atol=1e-12)
        assert c.floor(size * x) / size == pytest.approx(da.POD.fit(x, 5).floor(x), rel=1e-9)


def test_the_random_projection_is_within_a_per_cent_where_nothing_decays():
    x = np.random.default_rng(0).normal(size=(300, 200))  # white: the hardest spectrum
    best, fast = da.POD.fit(x, 10), da.POD.fit(x, 10, randomised=True)
    assert fast.floor(x) < 1.01 * best.floor(x)
    assert fast.norm == pytest.approx(best.norm, rel=1e-12)
    other = da.POD.fit(x, 10, randomised=True, seed=1)
    assert not np.allclose(other.modes, fast.modes)
    assert np.array_equal(fast.modes, da.POD.fit(x, 10, randomised=True).modes)


def test_large_snapshots_take_the_random_projection(monkeypatch):
    from dalearn.models import pod

    used = []
    real = pod._projected
    monkeypatch.setattr(pod, "_projected", lambda *a: used.append(a) or real(*a))
    monkeypatch.setattr(pod, "LARGE", 50)
    x = np.random.default_rng(0).normal(size=(200, 150))
    da.POD.fit(x, 2)
    assert len(used) == 1
    da.POD.fit(x, 20)  # the whole is no dearer then
    da.POD.fit(x[:40], 2)
    da.POD.fit(x, 2, randomised=False)
    assert len(used) == 1


def test_a_fit_on_torch_is_the_fit_on_numpy():
    x = snapshots()
    a, b = da.POD.fit(x, 5), da.POD.fit(torch.tensor(x), 5)
    assert isinstance(b.modes, torch.Tensor)
    assert np.allclose(a.modes, b.modes, rtol=0, atol=1e-12)
    single = da.POD.fit(torch.tensor(x, dtype=torch.float32), 5)
    assert single.modes.dtype == torch.float32
    assert np.allclose(a.modes, single.modes, rtol=0, atol=1e-4)  # eps / gap of the values


def test_integers_are_states_too():
    x = np.random.default_rng(0).integers(1, 5, size=(30, 8))  # cells of an automaton
    pod = da.POD.fit(x, 3)
    assert pod.modes.dtype == np.float64
    assert np.array_equal(pod.encode(x), pod.encode(x.astype(float)))
    assert np.array_equal(pod.encode(torch.tensor(x)), pod.encode(torch.tensor(x).double()))
    assert np.array_equal(pod.decode(np.arange(3)), pod.decode(np.arange(3.0)))


def test_states_that_never_vary():
    pod = da.POD.fit(np.ones((6, 4)), 2)
    assert np.allclose(pod.modes @ pod.modes.T, np.eye(2), rtol=0, atol=1e-14)
    assert np.allclose(pod.decode(pod.encode(np.ones(4))), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: da.POD.fit(x, 61), r"r = 61 .* 60 snapshots of 12 .*wanted r <= 12"),
        (lambda x: da.POD.fit(x[0, :4], 5), r"r = 5 .* 4 snapshots .*wanted r <= 4"),
        (lambda x: da.POD.fit(x, 0), "r must be an integer >= 1, met 0"),
        (lambda x: da.POD.fit(x, TWO), "r must be an integer, met 2.0"),
        (lambda x: da.POD.fit(x[:, :0], 2), r"shape \(3, 0, 12\)"),
        (lambda x: da.POD.fit(x, 2, scale=np.ones(3)), r"scale has shape \(3,\), wanted \(12,\)"),
        (lambda x: da.POD.fit(x, 2, scale=np.arange(12.0)), "positive, met the least 0"),
        (lambda x: da.POD.fit(np.where(x > 3, np.nan, x), 2), "of the snapshots .* hold NaN"),
        (lambda x: da.POD.fit(x, 2).truncated(3), "met r = 3 of a POD with 2"),
        (lambda x: da.POD(np.ones(4), np.ones(4)), r"modes have shape \(4,\), wanted \(r, n\)"),
        (lambda x: da.POD(np.eye(4), np.ones(3)), r"the mean has shape \(3,\), wanted \(4,\)"),
        (lambda x: da.POD(np.eye(4), np.ones(4)).energy, "without singular values"),
        (lambda x: Extended(da.POD.fit(x, 2), 0), "p must be an integer >= 1"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change(snapshots())


def test_a_coder_of_your_own_needs_four_names_and_has_its_floor():
    pod = da.POD.fit(snapshots(), 5)
    test = snapshots(seed=9)
    assert reconstruction_error(Curved(pod), test) == pytest.approx(pod.floor(test), rel=1e-9)
    assert not getattr(Curved(pod), "linear", False)
    assert pod.linear
    assert Extended(pod, 1).linear
    assert not Extended(Curved(pod), 1).linear
