"""Banded systems: exact against dense ones, their derivatives, and a cost linear in time."""

import time

import numpy as np
import pytest
import torch

from dalearn.array.banded import band_cholesky, band_product, dense_of
from dalearn.neural.banded import band_product as torch_product
from dalearn.neural.banded import band_solve


def factors(*batch, w=6, d=96, seed=0):
    L = 0.3 * np.random.default_rng(seed).normal(size=(*batch, w + 1, d))
    L[..., 0, :] = 1 + np.abs(L[..., 0, :])
    for k in range(w + 1):
        L[..., k, d - k :] = 0
    return L


def test_solutions_are_those_of_dense_matrices():
    L = factors(2, 3)
    A, b = band_product(L), np.random.default_rng(1).normal(size=(2, 3, 96))
    lower = np.zeros((2, 3, 96, 96))
    for k in range(7):
        i = np.arange(96 - k)
        lower[..., i + k, i] = L[..., k, : 96 - k]
    assert np.allclose(dense_of(A), lower @ lower.mT, rtol=0, atol=1e-13)
    wanted = np.linalg.solve(dense_of(A), b[..., None])[..., 0]
    assert np.abs(band_cholesky(A).solve(b) - wanted).max() < 1e-12 * np.abs(wanted).max()
    few = {k: torch.tensor(L[..., k, :]) for k in range(7)}
    assert np.allclose(torch_product(few).numpy(), A, rtol=0, atol=1e-14)


def test_a_bad_system_leaves_the_others_to_the_bit():
    A, b = band_product(factors(4)), np.ones((4, 96))
    alone = band_cholesky(A).solve(b)
    A[1, 0, 5], A[2, 0, 3] = -1.0, np.nan
    x = band_cholesky(A).solve(b)
    assert np.isnan(x[1:3]).all()
    assert (x[[0, 3]] == alone[[0, 3]]).all()


def test_a_last_row_says_nothing_of_the_next_system():
    A = band_product(factors(2))
    A[..., 6, 95] = A[..., 1, 95] = 7.0  # beyond the matrix
    clean = band_product(factors(2))
    b = np.ones((2, 96))
    assert (band_cholesky(A).solve(b) == band_cholesky(clean).solve(b)).all()


def test_the_implicit_derivative_is_that_of_finite_differences():
    A = torch.tensor(band_product(factors(3, w=2, d=7)))
    A[:, 1, 6:] = A[:, 2, 5:] = 0
    b = torch.randn(3, 7, dtype=torch.float64)

    def solved(main, one, two, right):
        pad = torch.nn.functional.pad
        bands = torch.stack((main, pad(one, (0, 1)), pad(two, (0, 2))), -2)
        return band_solve(bands, right)

    parts = (A[:, 0], A[:, 1, :6], A[:, 2, :5], b)
    assert torch.autograd.gradcheck(solved, tuple(p.clone().requires_grad_() for p in parts))


@pytest.mark.slow
def test_time_is_linear_in_the_length_up_to_ten_thousand():
    spent = []
    for d in (1000, 10_000):
        A, b, times = band_product(factors(20, w=5, d=d)), np.ones((20, d)), []
        for _ in range(7):
            start = time.process_time()
            band_cholesky(A).solve(b)
            times.append(time.process_time() - start)
        spent.append(min(times))
    assert spent[1] < 20 * spent[0]  # a dense one needs 1000 times as long


@pytest.mark.slow
def test_a_training_step_is_four_times_faster_than_a_dense_one():
    raw = torch.randn(64, 7, 96)

    def banded(o):
        A = torch_product({k: o[:, k] if k else o[:, 0].exp() for k in range(7)})
        A = torch.cat((A[:, :1] + 400, A[:, 1:]), 1)
        return band_solve(A, torch.ones(64, 96))

    def dense(o):
        L = sum(torch.diag_embed(o[:, k, : 96 - k] if k else o[:, 0].exp(), -k) for k in range(7))
        A = L @ L.mT + 400 * torch.eye(96)
        return torch.cholesky_solve(torch.ones(64, 96, 1), torch.linalg.cholesky(A))

    spent = []
    for way in (banded, dense):
        times = []
        for _ in range(6):
            o = raw.clone().requires_grad_()
            start = time.process_time()
            way(o).square().sum().backward()
            times.append(time.process_time() - start)
        spent.append(min(times))
    assert 4 * spent[0] < spent[1]


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"wanted .*w < d"):
        band_cholesky(np.ones((3, 2)))
    with pytest.raises(ValueError, match="met b of shape"):
        band_cholesky(band_product(factors())).solve(np.ones(5))
