"""POD of parts that never lie in memory together, beside the one of the whole."""

import tracemalloc

import numpy as np
import pytest
import torch
import xarray as xr
from examples import snapshots

import dalearn as da

X = snapshots(S=300).reshape(-1, 12)
FEW = np.random.default_rng(1).normal(size=(300, 6)) @ np.random.default_rng(2).normal(
    size=(6, 50)
)


def cut(x, *sizes):
    """`x` in parts of these sizes, in turn, as a generator."""
    start, i = 0, 0
    while start < len(x):
        yield x[start : start + sizes[i % len(sizes)]]
        start, i = start + sizes[i % len(sizes)], i + 1


def same(a, b, atol=1e-12):
    count = len(a.modes)
    assert np.allclose(a.mean, b.mean, rtol=0, atol=atol)
    assert np.allclose(a.values[:count], b.values[:count], rtol=0, atol=atol * b.values[0])
    assert np.allclose(a.modes, b.modes, rtol=0, atol=10 * atol)
    assert a.norm == pytest.approx(b.norm, rel=10 * atol)
    return True


def sine(a, b):
    """The sine of the largest angle between the spaces of two sets of orthonormal rows."""
    return float(np.linalg.norm(a - (a @ b.T) @ b, 2))


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("sizes", [(1,), (7,), (40, 3, 150), (300,)])
def test_what_fits_into_keep_is_the_whole_to_round_off(mean, sizes):
    x = FEW + 3
    for scale in (None, np.linspace(0.5, 2, 50)):
        whole = da.POD.fit(x, 5, mean=mean, scale=scale)
        assert same(da.POD.fit_parts(cut(x, *sizes), 5, mean=mean, scale=scale), whole)
    # all directions kept, n = 12
    assert same(da.POD.fit_parts(cut(X, *sizes), 5, keep=12), da.POD.fit(X, 5))


def test_the_order_of_the_parts_does_not_matter():
    parts = list(cut(FEW, 40, 25))
    found = [da.POD.fit_parts(p, 5) for p in (parts, parts[::-1], parts[3:] + parts[:3])]
    assert same(found[1], found[0])
    assert same(found[2], found[0])


@pytest.mark.parametrize("keep", [5, 8, 20])
def test_what_is_lost_on_the_way_is_bounded_by_what_it_reports(keep):
    """White states, the hardest spectrum, that drift from part to part: no order is kind."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 60)) * np.linspace(2, 1, 60) + np.linspace(0, 3, 400)[:, None]
    best = da.POD.fit(x, 5)
    assert best.values is not None
    for order in (x, x[::-1], rng.permutation(x)):
        found = da.POD.fit_parts(cut(order, 25), 5, keep=keep)
        assert found.values is not None
        assert found.norm == pytest.approx(best.norm, rel=1e-12)
        gap = ((x - found.decode(found.encode(x))) ** 2).sum()
        bound = found.norm**2 - (found.values[:5] ** 2).sum()
        least = ((x - best.decode(best.encode(x))) ** 2).sum()
        assert least * (1 - 1e-12) <= gap <= bound * (1 + 1e-12)
        assert (found.values[:5] <= best.values[:5] * (1 + 1e-12)).all()


def test_keeping_more_loses_less():
    x = np.random.default_rng(4).normal(size=(400, 60)) * 0.9 ** np.arange(60)
    whole = da.POD.fit(x, 5)
    lost = [sine(da.POD.fit_parts(cut(x, 20), 5, keep=k).modes, whole.modes) for k in (6, 15, 40)]
    assert lost[0] > 3 * lost[1] > 9 * lost[2]
    assert da.POD.fit_parts(cut(x, 20), 5).floor(x) < 1.001 * whole.floor(x)  # keep = 20


def test_memory_holds_a_few_parts_and_not_the_whole():
    n, parts, rows = 4000, 60, 30
    modes = np.random.default_rng(5).normal(size=(8, n))
    whole = parts * rows * n * 8

    def made():
        rng = np.random.default_rng(6)
        for _ in range(parts):
            yield rng.normal(size=(rows, 8)) @ modes

    tracemalloc.start()
    pod = da.POD.fit_parts(made(), 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * whole  # 58 MB: 30 + 26 + 1 rows, four times, are 7.3
    x = next(iter(made()))
    assert pod.floor(x) < 1e-12


def test_files_give_their_rows(tmp_path):
    zarr = pytest.importorskip("zarr")
    x = FEW.reshape(6, 50, 50)
    np.save(tmp_path / "x.npy", x)
    whole = da.POD.fit(x, 5)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert same(da.POD.fit_parts(mapped, 5), whole)  # a run at a time
    assert same(da.POD.fit_parts(mapped.reshape(-1, 50), 5), whole)  # a state at a time
    stored = zarr.create_array(store=str(tmp_path / "x.zarr"), data=x, chunks=(1, 50, 50))
    assert same(da.POD.fit_parts((stored[i] for i in range(6)), 5), whole)


def test_labelled_arrays_give_the_rows_that_their_labels_say():
    whole = da.POD.fit(FEW, 5)
    for x in (xr.DataArray(FEW, dims=("time", "x")), xr.DataArray(FEW.T, dims=("x", "time"))):
        assert same(da.POD.fit_parts(x, 5), whole)


def test_a_part_may_be_overwritten_by_the_next():
    def reused():
        place = np.empty((10, 50))
        for part in cut(FEW, 10):
            place[:] = part
            yield place

    assert same(da.POD.fit_parts(reused(), 5), da.POD.fit(FEW, 5))


def test_library_and_precision_are_those_of_the_first_part():
    whole = da.POD.fit(FEW, 5)
    found = da.POD.fit_parts((torch.tensor(p) for p in cut(FEW, 70)), 5)
    assert isinstance(found.modes, torch.Tensor)
    assert np.allclose(found.modes, whole.modes, rtol=0, atol=1e-12)
    single = da.POD.fit_parts(cut(FEW.astype("f4"), 70), 5)
    assert single.modes.dtype == np.float32
    assert np.allclose(single.modes, whole.modes, rtol=0, atol=1e-4)
    assert da.POD.fit_parts([np.arange(12).reshape(3, 4) ** 2], 2).modes.dtype == np.float64


def test_squares_out_of_range():
    for size in (1e-200, 1e200):
        found = da.POD.fit_parts(cut(size * FEW, 70), 5)
        assert np.allclose(found.modes, da.POD.fit(FEW, 5).modes, rtol=0, atol=1e-11)
        assert found.norm / size == pytest.approx(da.POD.fit(FEW, 5).norm, rel=1e-11)
    still = da.POD.fit_parts(iter(np.ones((6, 4))), 2)
    assert np.allclose(still.decode(still.encode(np.ones(4))), 1)


HOLED = np.where(np.arange(600).reshape(12, 50) == 7, np.nan, FEW[:12])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda: da.POD.fit_parts([FEW, HOLED], 2),
            r"1 of the states of parts\[1\] \(12, 50\) hold",
        ),
        (
            lambda: da.POD.fit_parts([FEW, FEW[:, :9]], 2),
            r"parts\[1\] have shape \(300, 9\), wanted",
        ),
        (lambda: da.POD.fit_parts([X[:2], X[:1]], 4), "parts of 3 states in all, wanted .* r = 4"),
        (lambda: da.POD.fit_parts([], 1), "parts of 0 states in all"),
        (lambda: da.POD.fit_parts([X], 13), "r = 13 directions of states of 12 numbers"),
        (lambda: da.POD.fit_parts([X], 3, keep=2), "keep must be an integer >= 3, met 2"),
        (lambda: da.POD.fit_parts([X], 3, scale=np.ones(4)), r"scale has shape \(4,\)"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        change()
