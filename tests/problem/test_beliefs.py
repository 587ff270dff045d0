"""Beliefs: what they accept, and their images under functions."""

import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from examples import COVARIANCES

import dalearn as da
from dalearn.array import array_namespace, convert, convert_tree
from dalearn.covariances import Rows

RNG = np.random.default_rng(5)


@dataclass(frozen=True, eq=False)
class Wave:
    """sin(x W), from n numbers to m."""

    W: Any

    def __call__(self, x):
        return array_namespace(x).sin(x @ self.W)


@dataclass(frozen=True, eq=False)
class Watched:
    """A function, and the largest array that it was given or gave."""

    f: Any
    sizes: list

    def __call__(self, x):
        y = self.f(x)
        self.sizes.append(max(x.numel() if torch.is_tensor(x) else x.size, np.prod(y.shape)))
        return y


@pytest.mark.parametrize("m", [2, 30])
@pytest.mark.parametrize("example", COVARIANCES, ids=str)
def test_the_image_of_a_gaussian_is_exact_to_first_order(example, m):
    C = example.covariance
    f = Wave(RNG.normal(size=(C.n, m)) / C.n)
    belief = da.Gaussian(RNG.normal(size=C.n), C)
    value, J = da.linearize(f, belief.mean)
    image = belief.map(f)
    assert isinstance(image.cov, Rows)
    assert image.cov.controls == C.controls
    np.testing.assert_allclose(image.mean, value, rtol=0, atol=1e-15)
    # sums of at most 168 terms of size 10
    np.testing.assert_allclose(image.cov.matrix(), J @ C.matrix() @ J.T, rtol=0, atol=1e-12)
    like = torch.zeros(1, dtype=torch.float64)
    t = da.Gaussian(convert(belief.mean, like), convert_tree(C, like)).map(f)
    np.testing.assert_allclose(t.cov.matrix().numpy(), image.cov.matrix(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", [2, 7])
def test_images_of_a_batch_are_those_of_its_experiments(m):
    f, mean = Wave(RNG.normal(size=(4, m))), RNG.normal(size=(3, 4))
    G = RNG.normal(size=(3, 4, 4))
    for cov in (da.Dense(G @ G.mT + np.eye(4)), da.Dense(np.eye(4))):
        together = da.Gaussian(mean, cov).map(f)
        for b in range(3):
            alone = da.Gaussian(mean[b], cov[b] if cov.batch else cov).map(f)
            np.testing.assert_allclose(together[b].cov.matrix(), alone.cov.matrix(), atol=1e-13)
            np.testing.assert_allclose(together.std[b], alone.std, atol=1e-13)


def test_a_decoded_latent_gaussian_needs_no_large_matrix():
    """From 16 numbers to 3000: the rows are 384 kB, the matrix would be 72 MB."""
    sizes = []
    f = Watched(Wave(RNG.normal(size=(16, 3000))), sizes)
    belief = da.Gaussian(RNG.normal(size=16), np.ones(16))
    belief.map(f)  # what is made once
    tracemalloc.start()
    image = belief.map(f)
    std, draws = image.std, image.sample(np.random.default_rng(0), 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.cov.values.shape == (16, 3000)
    assert std.shape == (3000,)
    assert draws.shape == (5, 3000)
    assert peak < 4e6  # bytes of NumPy
    assert max(sizes) <= 16 * 3000  # numbers that torch held at once in f


def test_what_cannot_be_differentiated_says_so():
    belief = da.Gaussian(np.ones(3), 1.0)
    with pytest.raises(TypeError, match="cannot run on torch"):
        belief.map(lambda x: np.asarray(np.sin(x)) if isinstance(x, np.ndarray) else x.numpy())
    with pytest.raises(ValueError, match="breaks the graph"):
        belief.map(lambda x: x.detach() if torch.is_tensor(x) else x)


def test_numbers_and_lists_stand_for_arrays():
    belief = da.Gaussian([0, 1], 0.1)
    assert belief.mean.dtype == np.float64
    np.testing.assert_array_equal(belief.cov.variances, [0.1, 0.1])
    np.testing.assert_array_equal(da.Gaussian([0, 1], [1, 2]).cov.variances, [1, 2])
    np.testing.assert_array_equal(da.Gaussian([0, 1], [[2, 1], [1, 2]]).cov.values[0], [2, 1])
    single = da.Gaussian(torch.zeros(2, dtype=torch.float32), 0.1)
    assert single.cov.variances.dtype == torch.float32
    np.testing.assert_array_equal(da.Point([1, 2]).x, [1.0, 2.0])
    ensemble = da.Ensemble([[1, 2], [3, 4]], [0.25, 0.75])
    np.testing.assert_array_equal(ensemble.mean, [2.5, 3.5])
    assert da.Dense([[2, 1], [1, 2]]).values.dtype == np.float64
    assert da.Diagonal([2, 1]).variances.dtype == np.float64


def test_a_problem_of_numbers_and_lists():
    observe = da.Observation([[1, 0, 0], [0, 1, 0]], 0.5)
    plain = da.twin(da.Lorenz63(), observe, da.Gaussian([1, 1, 25], 2), 3, noise=0.01)
    ones = np.ones(3)
    wanted = da.twin(
        da.Lorenz63(),
        da.Observation(np.eye(3)[:2], da.Diagonal([0.5, 0.5])),
        da.Gaussian(np.array([1.0, 1.0, 25.0]), da.Diagonal(2 * ones)),
        3,
        noise=da.Diagonal(0.01 * ones),
    )
    np.testing.assert_array_equal(plain.data, wanted.data)
    np.testing.assert_array_equal(plain.truth, wanted.truth)
