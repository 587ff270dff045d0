"""The contract of a model, on every model."""

import numpy as np
import pytest
import torch
from examples import MODELS

import dalearn as da

each = pytest.mark.parametrize("example", MODELS, ids=str)


@each
@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (2, 1, 4), (0,)])
def test_any_leading_axes(example, lead):
    x = np.broadcast_to(example.x, (*lead, example.x.size))
    y = example.model(x)
    assert y.shape == x.shape
    # each row alone gives the same bits: elementwise arithmetic does not know its neighbours
    assert np.array_equal(y, np.broadcast_to(example.model(example.x), x.shape))


@each
def test_numpy_equals_torch(example):
    a, b = example.x, torch.from_numpy(example.x)
    for _ in range(10):
        a, b = example.model(a), example.model(b)
    assert np.allclose(a, b.numpy(), rtol=1e-12, atol=1e-12)  # round-off of ten steps


@each
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_dtype_kept_and_input_untouched(example, kind):
    x = example.x.astype(kind)
    before = x.copy()
    assert example.model(x).dtype == kind
    assert np.array_equal(x, before)
    t = torch.from_numpy(x.copy())
    assert example.model(t).dtype == getattr(torch, kind)
    assert np.array_equal(t.numpy(), before)


@each
def test_derivative_equals_finite_difference(example):
    x = torch.from_numpy(example.x)
    v = torch.cos(torch.arange(len(x), dtype=x.dtype))
    _, exact = torch.func.jvp(example.model, (x,), (v,))
    h = 1e-5  # truncation h^2 ~ 1e-10, round-off eps/h ~ 1e-11, both times the model's scale
    approximate = (example.model(x + h * v) - example.model(x - h * v)) / (2 * h)
    assert torch.allclose(exact, approximate, rtol=1e-7, atol=1e-7)
    _, J = da.linearize(example.model, example.x)
    assert np.allclose(J @ v.numpy(), exact.numpy(), rtol=1e-12, atol=1e-12)


@each
def test_parameters_broadcast(example):
    import dataclasses

    value = getattr(example.model, example.parameter)
    values = np.array([0.9, 1.0, 1.1]) * value
    swept = dataclasses.replace(example.model, **{example.parameter: values[:, None, None]})
    x = np.broadcast_to(example.x, (3, 2, example.x.size))
    y = swept(x)
    for b, v in enumerate(values):
        alone = dataclasses.replace(example.model, **{example.parameter: float(v)})
        assert np.array_equal(y[b], alone(x[b]))


@each
def test_wrong_size_is_refused(example):
    with pytest.raises(ValueError, match="shape"):
        example.model(np.zeros((4, example.x.size + 1)))


def test_surrogate_runs_a_module_in_a_numpy_problem():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 3)
    x = np.arange(6.0).reshape(2, 3)
    y = da.Surrogate(net)(x)
    assert isinstance(y, np.ndarray)
    assert y.dtype == np.float64
    assert np.allclose(y, net(torch.tensor(x, dtype=torch.float32)).detach().numpy())
