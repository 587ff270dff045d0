"""Functions that are not functions of the state are refused: buffers, memory, hidden counters.

And each component is judged in its own scale: what mixes members in a small one is seen beside a
large one, in float32 to the round-off of the small one.
"""

import functools

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.models.integrate import etd_coefficients, etdrk4, imex3, rk4

R3 = np.ones(3)
NUMPY, TORCH = np.ones(1), torch.ones(1, dtype=torch.float64)


def check(f, prior=None, like=NUMPY):
    n = 3 if prior is None else prior.mean.shape[-1]
    prior = da.Gaussian(np.ones(n), np.ones(n)) if prior is None else prior
    seen = da.Observation(da.identity, np.ones(n))
    return da.Problem(f, seen, prior, np.zeros((4, n))).to(like).validated()


def buffers(k, view=False):
    """k arrays for results, used in turn."""
    pool, calls = {}, [0]

    def f(x):
        calls[0] += 1
        b = pool.setdefault((tuple(x.shape), calls[0] % k), 0 * x)
        b[...] = 0.9 * x
        return b[..., :] if view else b

    return f


@pytest.mark.parametrize("like", [NUMPY, TORCH], ids=["numpy", "torch"])
@pytest.mark.parametrize("view", [False, True], ids=["whole", "view"])
@pytest.mark.parametrize("k", [1, 2, 3, 8, 16])
def test_a_result_that_a_later_call_writes_over_is_refused(k, view, like):
    with pytest.raises(ValueError, match="a later call writes over; wanted a new array"):
        check(buffers(k, view), like=like)


def test_buffers_of_an_operator_and_of_a_model_of_chance():
    class Chance:
        stochastic = True

        def __init__(self):
            self.f = buffers(2)

        def __call__(self, x, rng):
            return self.f(x)

    with pytest.raises(ValueError, match="the model gives its result in an array"):
        check(Chance())
    prior = da.Gaussian(R3, R3)
    seen = da.Observation(buffers(2), R3)
    with pytest.raises(ValueError, match="the observation operator gives its result in an array"):
        da.Problem(da.Linear(np.eye(3)), seen, prior, np.zeros((4, 3))).validated()


def mutates_later(x, kept=[]):  # noqa: B006
    for old in kept[-1:]:
        old *= 0.5
    kept.append(x)
    return 0.9 * x


def remembers(x, last=[]):  # noqa: B006
    last.append(x.mean())
    return 0.9 * x + 1e-3 * last[max(len(last) - 2, 0)]


class Forced:
    """A clock inside: what one writes first."""

    def __init__(self, every=50):
        self.k, self.every = 0, every

    def __call__(self, x):
        self.k += 1
        return 0.9 * x + self.k // self.every

    def step(self, x):
        return self(x)


class Pulse(Forced):
    def __call__(self, x):
        self.k += 1
        return 0.9 * x + (self.k % self.every == 0)


class Hours(Forced):
    def __call__(self, x):
        self.k += 0.25
        return 0.9 * x + (self.k > 1000)


class Shared:
    k = 0

    def __call__(self, x):
        Shared.k += 1
        return 0.9 * x + Shared.k // 50


CALLS = 0


def by_global(x):
    global CALLS
    CALLS += 1
    return 0.9 * x + CALLS // 50


def by_closure():
    k = 0

    def f(x):
        nonlocal k
        k += 1
        return 0.9 * x + k // 50

    return f


def by_table():
    inputs, k = np.zeros(40), [0]

    def f(x):
        k[0] += 1
        return 0.9 * x + inputs[k[0]]

    return f


class ByLength:
    """What one writes who keeps a history."""

    def __init__(self):
        self.history = []

    def __call__(self, x):
        self.history.append(x.mean())
        return 0.9 * x + len(self.history) // 50


class InPlace:
    def __init__(self, count):
        self.count = count

    def __call__(self, x):
        self.count += 1
        return 0.9 * x + int(self.count.max()) // 50


def by_argument(k, x):
    k[0] += 1
    return 0.9 * x + k[0] // 50


def attribute(x):
    attribute.k = getattr(attribute, "k", 0) + 1
    return 0.9 * x + attribute.k // 50


IMPURE = {
    "mutates_later": (mutates_later, "into the input of an earlier call"),
    "remembers": (remembers, "another value for the same state"),
    "every_fifth": (Forced(5), "another value for the same state"),
    "every_fiftieth": (Forced(), "counts in k"),
    "method": (Forced().step, "counts in k"),
    "pulse": (Pulse(), "counts in k"),
    "hours": (Hours(), "counts in k"),
    "class": (Shared(), "counts in k"),
    "global": (by_global, "counts in CALLS"),
    "closure": (by_closure(), "counts in k"),
    "table": (by_table(), "counts in 0"),
    "partial": (functools.partial(by_argument, [0]), "counts in 0"),
    "attribute": (attribute, "counts in k"),
    "history": (ByLength(), "counts in the length of a list"),
    "array": (InPlace(np.zeros(())), "counts in count"),
    "array of integers": (InPlace(np.zeros(2, int)), "counts in count"),
    "tensor": (InPlace(torch.zeros((), dtype=torch.int64)), "counts in count"),
    "wrapped": (functools.partial(lambda model, x: model(x), Forced()), "counts in k"),
}


@pytest.mark.parametrize("name", IMPURE)
def test_memory_is_seen_and_named(name):
    f, said = IMPURE[name]
    with pytest.raises(ValueError, match=said) as raised:
        check(f)
    assert "wanted a pure function" in str(raised.value)


def test_a_counter_that_does_nothing_is_welcome_and_left_as_it_was():
    calls = [0]

    def f(x):
        calls[0] += 1
        return 0.9 * x

    check(f)
    once = calls[0]
    assert once < 120  # a few calls, and those by which the number is moved on
    check(f)
    assert calls[0] == 2 * once  # moved on, and put back


def test_a_log_and_a_work_array_are_welcome_and_left_as_they_were():
    log, work = [], np.zeros((1, 3))

    def f(x):
        log.append(len(log))
        if x.shape == work.shape:
            work[...] = 0.9 * x
        return 0.9 * x

    check(f)
    assert log == list(range(len(log)))
    assert 0 < len(log) < 150
    assert np.array_equal(work, np.full((1, 3), 0.9))


def test_what_ends_an_iteration_is_told_as_the_fault_of_the_function():
    def f(x):
        return next(iter(()))

    with pytest.raises(RuntimeError, match=r"the model failed on an array.*StopIteration"):
        check(f)


@pytest.mark.parametrize("like", [NUMPY, TORCH], ids=["numpy", "torch"])
def test_rows_that_are_put_in_order_are_seen(like):
    def ordered(x):
        return torch.sort(x, -2).values if isinstance(x, torch.Tensor) else np.sort(x, -2)

    with pytest.raises(ValueError, match="another value when a second row stands beside it"):
        check(ordered, like=like)


def test_the_truth_of_a_twin_is_refused_before_it_is_made():
    with pytest.raises(ValueError, match='inputs="time": the time'):
        da.twin(Forced(), da.Observation(da.identity, R3), da.Gaussian(R3, R3), 4)


# --- scale ------------------------------------------------------------------------------------


def mixes(x):
    second = x[..., 1]
    return np.stack([x[..., 0], 0.5 * second + 0.5 * second.mean(-1, keepdims=True)], -1)


def noisy(x, rng=np.random.default_rng(3)):  # noqa: B008
    return np.stack([x[..., 0], x[..., 1] + rng.normal(size=x.shape[:-1]).astype(x.dtype)], -1)


def counting(x, calls=[0]):  # noqa: B006
    calls[0] += 1
    return np.stack([x[..., 0], x[..., 1] + 0.1 * np.float32(calls[0] % 4)], -1)


SCALES = [(np.float64, s) for s in (1e-12, 1.0, 1e12)] + [(np.float32, s) for s in (1e-6, 1e6)]


@pytest.mark.parametrize("f", [mixes, noisy, counting], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("dtype", "large"), SCALES)
def test_a_component_is_judged_in_its_own_scale(f, dtype, large):
    prior = da.Gaussian(np.array([large, 1.0], dtype), np.array([(0.01 * large) ** 2, 0.25]))
    with pytest.raises(ValueError, match=r"second row|same state"):
        check(f, prior, np.ones(1, dtype))


@pytest.mark.parametrize(("dtype", "large"), SCALES)
def test_sums_that_cancel_are_judged_by_their_terms(dtype, large):
    """Means and differences of 200 numbers that are nearly equal: round-off is that of the terms,
    which BLAS adds in another order for one row than for two."""
    n = 200
    rng = np.random.default_rng(0)
    A = rng.normal(size=(n, n))
    A = (A - A.mean(-1, keepdims=True)).astype(dtype)
    prior = da.Gaussian(np.full(n, large, dtype), np.full(n, large**2 * 1e-4, dtype))
    assert check(lambda x: x @ A.T, prior, np.ones(1, dtype)).n == n


def test_a_point_is_moved_in_its_own_scale():
    """A state of 1e-9 is not tried at 0.01, where this model has no value."""
    point = da.Point(np.full(3, 1e-9))

    def f(x):
        assert float(abs(x).max()) < 1e-8
        return 0.9 * x

    check(f, point)


@pytest.mark.parametrize("library", [np, torch], ids=["numpy", "torch"])
@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("k", [1, 2])
def test_a_tendency_that_uses_buffers_in_turn_is_integrated_as_it_is_meant(library, view, k):
    """The stages of a Runge-Kutta step stand side by side: the first must not be lost."""
    held = [library.zeros((2, 3), dtype=library.float64) for _ in range(k)]
    turn = iter(range(100))

    def reusing(x):
        out = held[next(turn) % k]
        out[...] = -x + x * x
        return out[...] if view else out

    x = library.asarray([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], dtype=library.float64)
    rate = library.asarray([-1.0, -2.0, -3.0], dtype=library.float64)
    parts = etd_coefficients(rate, 0.1)
    for step in (
        lambda f: rk4(f, x, 0.1),
        lambda f: imex3(f, rate, x, 0.1),
        lambda f: etdrk4(f, x, parts),
    ):
        assert (
            library.equal(step(reusing), step(lambda x: -x + x * x))
            if library is torch
            else (np.array_equal(step(reusing), step(lambda x: -x + x * x)))
        )
