"""Backwards in time: what a later state says of an earlier one, and smoothers made of it.

With x the analysis at one time and z the state at the next, jointly Gaussian in the filter,
    x | z ~ N(x_a + G (z - z_f), W^T W),   G = Cov(x, z) P_f^-1,   W^T W = P_a - G P_f G^T:
a kernel. Two of them are one again, so that a window costs a few products whatever its length. On
rows, P_a = X^T X, one QR factorization gives F with P_f = F^T F, G and W, and no difference:
    [[Z, X], [N, 0]] = Q [[F, Y], [0, W]],   G^T = F^-1 Y,
with Z the rows of z that belong to X (X M^T for a matrix M), and N those of the model's error.

S. Särkkä, Unscented Rauch-Tung-Striebel smoother, IEEE Trans. Autom. Control 53, 2008;
B. D. O. Anderson and J. B. Moore, Optimal Filtering, 1979 (ch. 7, fixed lag).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from ...array import (
    Array,
    Recall,
    array_namespace,
    check_count,
    eye,
    no_grad,
    sane,
    triangle,
    where_ok,
)
from ...covariances.diffuse import Diffuse
from ...covariances.roots import Rows
from ...problem.belief import Gaussian
from ..base import Cycle
from .one_by_one import condition
from .square_root import join, settled, variance


class Interval(NamedTuple):
    """How the covariance went from an analysis to the next, by rows: all that a smoother needs.

    start: rows X of the analysis, `(..., c, n)`.
    carried: the rows of the forecast that belong to them, without the model's error.
    noise: rows of the model's error over the interval, or None.
    endless: None, or rows of infinite variance at the start, those at the end, and the sizes of
        what made the components at the end by these and by the others, `(..., n)`.
    """

    start: Array
    carried: Array
    noise: Array | None
    endless: tuple[Array, Array, Array, Array] | None = None

    @property
    def rows(self) -> Array:
        """Of the forecast's covariance."""
        return self.carried if self.noise is None else join(self.carried, self.noise, -2)


class Smoothed(Gaussian):
    """A smoothed state that also knows how it depends on the next: x | z has the slope G.

    `back` is G^T `(..., n, n)`: Cov(z, x) = P_z G^T given all data. The last has no next.
    """

    back: Array | None = None

    @classmethod
    def of(cls, mean: Array, cov: Rows, back: Array) -> Smoothed:
        """From mean, covariance and G^T."""
        self = object.__new__(cls)
        self.__dict__.update(mean=mean, cov=cov, back=back)
        return self


class Kernel(NamedTuple):
    """A state given a later one, z: N(mean + (z - after) G^T, rows^T rows)."""

    mean: Array
    after: Array
    G: Array  # transposed: for rows of states
    rows: Array

    def through(self, x: Array) -> Array:
        """The mean of the state, where the later one has the mean `x (..., n)`."""
        return self.mean + ((x - self.after)[..., None, :] @ self.G)[..., 0, :]

    def then(self, later: Kernel) -> Kernel:
        """Given the state that `later` is given: its own later state is between the two."""
        rows = triangle(join(self.rows, later.rows @ self.G, -2))
        return Kernel(self.through(later.mean), later.after, later.G @ self.G, rows)

    def given(self, belief: Gaussian) -> Gaussian:
        """What is known of the state, where the later one has this Gaussian."""
        cov = belief.cov
        finite: Any = cov.cov if isinstance(cov, Diffuse) else cov
        S: Array = finite.values
        after: Any = Rows(triangle(join(self.rows, S @ self.G, -2)))
        if isinstance(cov, Diffuse):
            after = Diffuse.unchecked(cov.endless @ self.G, after)
        return Gaussian.unchecked(self.through(belief.mean), after)


def back(interval: Interval) -> tuple[Array, Array]:
    """G^T `(..., n, n)`, and rows W of what a later state leaves unknown."""
    n, J, N = interval.start.shape[-1], join(interval.carried, interval.start), interval.noise
    if N is not None:
        J = join(J, join(N, 0 * N), -2)
    if interval.endless is not None:
        return _endless(J, n, *interval.endless)
    U, ok = sane(triangle(J))
    r = min(U.shape[-2], n)
    F, Y, W = U[..., :r, :n], U[..., :r, n:], U[..., r:, n:]
    V, rest = _inverse(F, Y)
    return where_ok(ok, V @ Y), where_ok(ok, W if rest is None else join(W, rest, -2))


def _endless(
    J: Array, n: int, D: Array, later: Array, wide: Array, scale: Array
) -> tuple[Array, Array]:
    """`back`, where rows D have infinite variance, which are `later` at the end."""
    J, ok = sane(J)
    got = condition(J, n, scale, join(later, D), wide)
    size = variance(D)[..., None, :] ** 0.5
    tiny = 64 * n * float(array_namespace(D).finfo(D.dtype).eps)
    left = array_namespace(D).abs(got.endless) > tiny * size  # pyright: ignore
    if bool(array_namespace(D).any(left)):
        raise ValueError(
            "the model forgets a direction of infinite variance before data have seen it, so that "
            "its smoothed variance is infinite; wanted a finite prior there"
        )
    G = array_namespace(J).linalg.inv(got.T) @ got.K
    return where_ok(ok, G), where_ok(ok, got.rows)


def _inverse(F: Array, Y: Array) -> tuple[Array, Array | None]:
    """F^-1 and None; where F is singular, its pseudo-inverse and the rows of Y that it leaves.

    Columns are measured by their own size: units do not matter.
    """
    xp, (r, n) = array_namespace(F), F.shape[-2:]
    s, tiny = variance(F) ** 0.5, n * float(xp.finfo(F.dtype).eps)
    regular = xp.all(xp.linalg.diagonal(F) > tiny * s[..., :r], axis=-1) & (r == n)
    if bool(xp.all(regular)):
        return xp.linalg.inv(F), None
    s = xp.where(s > 0, s, 1.0 + 0 * s)[..., None, :]
    V = xp.linalg.inv(xp.where(regular[..., None, None], F, eye(n, F))) if r == n else None
    U, w, Z = xp.linalg.svd(F / s, full_matrices=False)
    keep = w > tiny * w[..., :1]
    inverse = xp.where(keep, 1 / xp.where(keep, w, 1.0 + 0 * w), 0 * w)
    pseudo = (Z.mT * inverse[..., None, :]) @ U.mT / s.mT
    kept = U * xp.astype(keep, w.dtype)[..., None, :]
    rest = Y - kept @ (kept.mT @ Y)
    if V is None:
        return pseudo, rest
    here = regular[..., None, None]
    return xp.where(here, V, pseudo), xp.where(here, 0 * rest, rest)


def smoothed(
    pairs: Iterator[tuple[Cycle, Interval]], lag: int | None, like: Array
) -> Iterator[Cycle]:
    """The cycles of a filter, each with the Gaussian "smoothed" in `info`.

    Args:
        pairs: each Cycle of the filter, its analysis on Rows, and the Interval before it.
        lag: how many later observation times a state learns from, None for all.
        like: an array of the problem.

    Returns:
        The cycles, `lag` of them late.
    """
    return _whole(pairs, like) if lag is None else _lagged(pairs, lag, like)


def _whole(pairs: Iterator[tuple[Cycle, Interval]], like: Array) -> Iterator[Cycle]:
    cycles, intervals = zip(*pairs, strict=True)
    found = [cycles[-1].analysis]
    recall, known = Recall(), Recall()
    if isinstance(cycles[-1].analysis.cov, Diffuse):
        raise ValueError(
            "after all data some variances are still infinite; wanted data that see each "
            "direction of the Diffuse prior, or a finite prior"
        )
    with no_grad(like):
        for k in range(len(cycles) - 2, -1, -1):
            here, later, end = cycles[k].analysis, cycles[k + 1].forecast, found[-1]
            interval, S = intervals[k + 1], end.cov.values
            G, W = known(interval.carried, (interval,), partial(back, interval))
            cov = recall(S, (interval,), partial(_spread, G, W, S))
            x = Kernel(here.mean, later.mean, G, W).through(end.mean)
            found.append(Smoothed.of(x, cov, G))
    for cycle, state in zip(cycles, reversed(found), strict=True):
        yield cycle.with_info(smoothed=state)


def _spread(G: Array, W: Array, S: Array) -> Rows:
    return Rows(settled(triangle(join(W, S @ G, -2))))


def _lagged(pairs: Iterator[tuple[Cycle, Interval]], lag: int, like: Array) -> Iterator[Cycle]:
    queue, known = KernelQueue(), Recall()
    for cycle, interval in pairs:
        with no_grad(like):
            kernel = None
            if queue.newest is not None:
                G, W = known(interval.carried, (interval,), partial(back, interval))
                kernel = Kernel(queue.newest.mean, cycle.forecast.mean, G, W)
            queue.push(cycle, kernel)
            done = queue.pop() if len(queue) > lag else None
        if done is not None:
            yield done
    while queue:
        with no_grad(like):
            done = queue.pop()
        yield done


class KernelQueue:
    """Cycles, first in, first out, each smoothed by the data up to the newest one.

    Two stacks, so that a cycle costs three products of kernels however many wait. `early` holds
    cycles with the kernel from each to the last of them, the first on top; `late` holds those that
    came after, with the kernel to each from the one before, and `product` is all of these.
    """

    def __init__(self):
        self.early: list[tuple[Cycle, Kernel | None]] = []
        self.late: list[tuple[Cycle, Kernel | None]] = []
        self.product: Kernel | None = None
        self.newest: Gaussian | None = None

    def __len__(self) -> int:
        return len(self.early) + len(self.late)

    def push(self, cycle: Cycle, kernel: Kernel | None) -> None:
        """Add a cycle, and the kernel of the state before it, given its own."""
        self.late.append((cycle, kernel))
        self.product = _both(self.product, kernel)
        self.newest = cycle.analysis  # pyright: ignore

    def pop(self) -> Cycle:
        """The first cycle, with "smoothed" in its info."""
        if not self.early:
            after = None
            for cycle, kernel in reversed(self.late):
                self.early.append((cycle, after))
                after = _both(kernel, after)
            self.late, self.product = [], None
        cycle, after = self.early.pop()
        kernel, newest = _both(after, self.product), self.newest
        state = newest if kernel is None or newest is None else kernel.given(newest)
        return cycle.with_info(smoothed=state)


def _both(first: Kernel | None, second: Kernel | None) -> Kernel | None:
    if first is None or second is None:
        return second if first is None else first
    return first.then(second)


def check_lag(lag: Any) -> None:
    """Raise for what is neither None nor a whole number >= 0."""
    check_count("lag (None is the whole run)", 0 if lag is None else lag, 0)
