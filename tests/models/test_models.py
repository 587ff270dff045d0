"""The contract of a model, on every model."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from examples import MODELS

import dalearn as da
from dalearn.array import Store, convert, to_numpy

each = pytest.mark.parametrize("example", MODELS, ids=str)
tuned = pytest.mark.parametrize("example", [e for e in MODELS if e.parameter], ids=str)


def same(example, a, b):
    """Equal to the bit; for a spectral model to the round-off of its transforms."""
    if not example.spectral:
        return np.array_equal(a, b)
    return np.allclose(a, b, rtol=0, atol=1e-13 * np.abs(b).max(initial=1))


@each
@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (2, 1, 4), (0,)])
def test_any_leading_axes(example, lead):
    x = np.broadcast_to(example.x, (*lead, *example.x.shape))
    y = example.model(x)
    assert y.shape == x.shape
    # each row alone gives the same: a state does not know its neighbours
    assert same(example, y, np.broadcast_to(example.model(example.x), x.shape))


@each
def test_blocks_for_the_cache_change_nothing(example, monkeypatch):
    x = example.x * np.linspace(0.9, 1.1, 7).reshape(7, *(1,) * example.x.ndim)
    whole = example.model(x)
    monkeypatch.setattr("dalearn.models.fields.STATE_BLOCK", 2 * example.x.size)
    assert same(example, example.model(x), whole)
    t = torch.from_numpy(x)
    assert np.allclose(example.model(t).numpy(), whole, rtol=1e-12, atol=1e-12)


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
    y = example.model(x)
    assert y.dtype == kind
    assert np.array_equal(x, before)
    # single precision is the same model, to a thousand roundings of the largest number met
    exact = example.model(example.x)
    assert np.abs(y - exact).max() <= 1000 * np.finfo(kind).eps * np.abs(exact).max()
    t = torch.from_numpy(x.copy())
    assert example.model(t).dtype == getattr(torch, kind)
    assert np.array_equal(t.numpy(), before)


@each
def test_derivative_equals_finite_difference(example):
    x = torch.from_numpy(example.x)
    v = torch.cos(torch.arange(x.numel(), dtype=x.dtype)).reshape(x.shape)
    _, exact = torch.func.jvp(example.model, (x,), (v,))
    h = 1e-5  # truncation h^2 ~ 1e-10, round-off eps/h ~ 1e-11, both times the model's scale
    approximate = (example.model(x + h * v) - example.model(x - h * v)) / (2 * h)
    assert torch.allclose(exact, approximate, rtol=1e-7, atol=1e-7)
    _, pull = torch.func.vjp(example.model, x)
    w = torch.sin(v)
    scale = float(exact.abs().max())  # <w, M v> = <M^T w, v>, the two modes against each other
    assert abs(float((w * exact).sum() - (pull(w)[0] * v).sum())) < 1e-10 * max(1, scale)
    _, J = da.linearize(flat(example), example.x.ravel())
    assert np.allclose(J @ v.numpy().ravel(), exact.numpy().ravel(), rtol=1e-11, atol=1e-11)


def flat(example):
    """The model on vectors `(..., n)`."""
    shape = example.x.shape
    return lambda x: example.model(x.reshape(*x.shape[:-1], *shape)).reshape(x.shape)


@tuned
def test_parameters_broadcast(example):
    value = getattr(example.model, example.parameter)
    values = np.array([0.9, 1.0, 1.1]) * value
    x = np.broadcast_to(example.x, (3, 2, *example.x.shape))
    lead = (3, 1, 1, 1) if example.x.ndim > 1 else (3, 1, 1)
    swept = dataclasses.replace(example.model, **{example.parameter: values.reshape(lead)})
    y = swept(x)
    torched = dataclasses.replace(
        example.model, **{example.parameter: torch.from_numpy(values.reshape(lead))}
    )
    assert np.allclose(torched(torch.from_numpy(x.copy())).numpy(), y, rtol=1e-12, atol=1e-12)
    for b, v in enumerate(values):
        alone = dataclasses.replace(example.model, **{example.parameter: float(v)})
        assert same(example, y[b], alone(x[b]))


@tuned
def test_derivative_in_the_parameter(example):
    value = float(getattr(example.model, example.parameter))
    x = torch.from_numpy(example.x)[None]
    one = (1, 1, 1)[: max(example.x.ndim, 2)] if example.x.ndim > 1 else (1, 1)

    def f(p):
        return dataclasses.replace(example.model, **{example.parameter: p.reshape(one)})(x)

    p, h = torch.tensor(value, dtype=x.dtype), 1e-5 * value
    _, exact = torch.func.jvp(f, (p,), (torch.ones_like(p),))
    approximate = (f(p + h) - f(p - h)) / (2 * h)
    scale = float(f(p).abs().max()) / value  # round-off eps / 1e-5 of the state, per parameter
    assert torch.allclose(exact, approximate, rtol=1e-6, atol=1e-9 * max(scale, 1e-6))


@each
def test_one_member_out_of_order_leaves_the_others(example):
    x = np.stack([example.x, np.full_like(example.x, np.nan), 0.5 * example.x])
    with np.errstate(invalid="ignore"):
        y = example.model(x)
    assert np.isnan(y[1]).any()
    assert same(example, y[0], example.model(example.x))
    assert same(example, y[2], example.model(0.5 * example.x))


@each
def test_wrong_size_is_refused(example):
    *head, last = example.x.shape
    with pytest.raises(ValueError, match="shape"):
        example.model(np.zeros((4, *head, last + 1)))


fields = pytest.mark.parametrize(
    "example", [e for e in MODELS if e.parameter and hasattr(e.model, "shape")], ids=str
)


@each
def test_integers_are_refused_or_mean_the_same_as_floats(example):
    x = np.stack([np.rint(example.x).astype(int)] * 3)
    with contextlib.suppress(TypeError):
        assert np.array_equal(example.model(x)[0], example.model(x[0].astype(float)))
        return
    with pytest.raises(TypeError, match="floats, met dtype int64"):
        example.model(x)


@each
def test_torch_knows_no_members_too(example):
    x = torch.zeros((2, 0, *example.x.shape), dtype=torch.float64)
    assert example.model(x).shape == x.shape


@fields
def test_parameters_follow_the_state(example):
    """Into its library and dtype, whatever they are; integers may have bad members too."""
    value, axes = getattr(example.model, example.parameter), max(example.x.ndim - 1, 1)
    swept = np.full((2, *(1,) * axes), value)
    x = np.stack([example.x] * 2)
    y = example.model(x)
    model = dataclasses.replace(example.model, **{example.parameter: swept})
    assert model(x.astype(np.float32)).dtype == np.float32
    assert np.allclose(model(torch.from_numpy(x)).numpy(), y, rtol=1e-12, atol=1e-12)
    none = dataclasses.replace(example.model, **{example.parameter: 0 * swept.astype(int) - 1})
    if example.parameter != "forcing":  # which may be negative
        with np.errstate(invalid="ignore"):
            assert np.isnan(none(x)).any()
    torched = dataclasses.replace(example.model, **{example.parameter: torch.from_numpy(swept)})
    assert same(example, torched(x), y)


@fields
def test_parameters_of_members_are_not_taken_for_the_field(example):
    """`(b,)` for b members would act on the b columns of a field."""
    if example.parameter == "forcing":
        return  # of Lorenz-96: may differ from point to point
    b = example.x.shape[-1]
    with pytest.raises(ValueError, match="for members"):
        dataclasses.replace(example.model, dt=1e-9, **{example.parameter: np.ones(b)})


@each
def test_what_is_kept_under_inference_mode_serves_derivatives(example, monkeypatch):
    monkeypatch.setattr("dalearn.array.constants.SHARED", Store())
    x = torch.from_numpy(example.x)
    with torch.inference_mode():
        example.model(x)

    def gradient():
        z = x.clone().requires_grad_()
        return torch.autograd.grad(example.model(z).square().sum(), z)[0]

    after = gradient()
    monkeypatch.setattr("dalearn.array.constants.SHARED", Store())  # made anew, with derivatives
    assert torch.equal(after, gradient())
    assert float(after.abs().max()) > 0


def test_surrogate_runs_a_module_in_a_numpy_problem():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 3)
    x = np.arange(6.0).reshape(2, 3)
    y = da.Surrogate(net)(x)
    assert isinstance(y, np.ndarray)
    assert y.dtype == np.float64
    assert np.allclose(y, net(torch.tensor(x, dtype=torch.float32)).detach().numpy())


@pytest.mark.parametrize("lead", [(4, 1), (1, 1), (1200,), (4, 1200), (2, 1, 1)])
def test_lorenz96_in_blocks_is_each_row_alone(lead):
    """4 x 1200 x 40 numbers go in blocks; the forcing of each row goes with it."""
    rng = np.random.default_rng(0)
    x, forcing = rng.normal(size=(4, 1200, 40)), 8 + rng.random((*lead, 1))
    for like in (np.zeros(1), torch.zeros(1, dtype=torch.float64)):
        got = to_numpy(da.Lorenz96(forcing=convert(forcing, like))(convert(x, like)))
        each = np.broadcast_to(forcing, (*np.broadcast_shapes(lead, (4, 1200)), 1))
        rows = np.broadcast_to(x, (*each.shape[:-1], 40))
        for i in [(0,) * (each.ndim - 1), (-1,) * (each.ndim - 1)]:
            alone = da.Lorenz96(forcing=each[i].item())(rows[i])
            np.testing.assert_allclose(got[i], alone, rtol=0, atol=1e-14)
