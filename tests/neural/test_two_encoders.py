"""Two encoders, one decoder, and a first layer of products of functions of one coordinate."""

import numpy as np
import pytest
import torch

from dalearn.neural import Alternating, TwoEncoders, fit, load_weights, save_weights, seeded
from dalearn.neural.products import Products
from dalearn.neural.weights import Card

GEN = torch.Generator().manual_seed(3)


def fields(count, rank=3, shape=(2, 12, 10)):
    """Fields that are sums of products of `rank` functions of each coordinate."""
    c, h, w = shape
    f, g = (torch.randn(n, rank, generator=GEN, dtype=torch.float64) for n in (h, w))
    return f @ torch.randn(count, c, rank, rank, generator=GEN, dtype=torch.float64) @ g.mT


def test_products_hold_what_products_there_are():
    x = fields(40)
    there, back = (Products((2, 12, 10), 3, back=b).double().fitted(x) for b in (False, True))
    a = there(x)
    assert a.shape == (40, 18)
    assert torch.allclose(back(a), x, atol=1e-10)
    assert torch.allclose(a.norm(), x.norm() / there.scale)  # orthonormal, but for the unit
    fewer = [Products((2, 12, 10), 2, back=b).double().fitted(x) for b in (False, True)]
    assert (fewer[1](fewer[0](x)) - x).norm() > 1e-3 * x.norm()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Products((12, 10), 3), ["(c, h, w)", "(12, 10)"]),
        (lambda: Products((2, 12, 10), 11), ["count = 11"]),
        (lambda: Products((2, 12, 10), 2)(torch.ones(3, 2, 9, 10)), ["(3, 2, 9, 10)"]),
        (lambda: Products((1, 4, 4), 2).fitted(torch.full((3, 16), torch.nan)), ["NaN"]),
        (lambda: net().encode(torch.ones(3, 7)), ["states of TwoEncoders", "(3, 7)"]),
        (lambda: net().decode(torch.ones(3, 7)), ["codes of TwoEncoders", "(3, 7)"]),
        (lambda: net().encode_observation(torch.ones(7)), ["data of TwoEncoders", "(7,)"]),
    ],
)
def test_sizes_that_do_not_fit(make, words):
    with pytest.raises(ValueError) as told:
        make()
    assert all(word in str(told.value) for word in words), told.value


def net(seed=0):
    return seeded(seed, TwoEncoders.separable, (2, 12, 10), (1, 8, 8), 4, 3, (16,)).double()


def example():
    x = fields(40)
    return x.flatten(1), (x[:, :1, :8, :8] ** 2).flatten(1)


@pytest.mark.parametrize(
    "made",
    [
        net,
        lambda: TwoEncoders.convolutional((2, 8, 8), (1, 4, 4), 3, (4, 8), (4,)).double(),
        lambda: TwoEncoders.dense(5, 4, 2).double(),
    ],
)
def test_shapes_and_any_leading_axes(made):
    two = made()
    x, y = torch.randn(2, 3, two.n).double(), torch.randn(2, 3, two.m).double()
    two.scaled(x, y)
    assert two.trained
    z = two.encode(x)
    assert z.shape == two.encode_observation(y).shape == (2, 3, two.r)
    assert two(x).shape == x.shape
    assert torch.allclose(z[1, 2], two.encode(x[1, 2]), atol=1e-12)


def test_training_the_part_is_training_the_whole():
    """The losses differ by what products cannot hold, here nothing, and so do the weights."""
    x, y = example()
    whole, other = net(), net()
    for two in (whole, other):
        two.scaled(x, y)
    part, (a,) = other.reduced(x)
    told = {"loss": Alternating(), "epochs": 3, "batch": 10, "progress": False}
    one = fit(whole, (x, y), (x, y), **told)
    two = fit(part, (a, y), (a, y), **told)
    ratio = a.shape[1] / x.shape[1] * other.encoder[0].scale ** 2  # means over fewer numbers
    assert np.allclose(np.multiply(two.validation, ratio), one.validation, rtol=1e-4)
    # Adam does not feel the unit of a loss, but for its own epsilon
    assert torch.allclose(whole.encode(x), other.encode(x), atol=1e-5)


def test_weights_bring_units_and_functions_along(tmp_path):
    x, y = example()
    here, there = net().scaled(x, y), net(1)
    save_weights(here, tmp_path / "net.safetensors", Card("none", "fields", 0, {}))
    assert not there.trained
    load_weights(there, tmp_path / "net.safetensors")
    assert there.trained
    assert torch.equal(here(x), there(x))
