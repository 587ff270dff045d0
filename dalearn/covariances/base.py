"""The contract of a covariance, and a covariance of which only some rows are observed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..array import Array, array_namespace, as_tensor, convert, convert_tree, eye, root, where_ok
from ..array.derivative import has_torch, transpose


class Covariance:
    """Base class of covariances C = L L^T, known by what they do to rows.

    `n` is the dimension; `batch` holds the axes that come before the rows; `seen`, booleans
    `(..., n)`, says which entries are observed, None that all are. Covariances add and scale:
    `C1 + C2`, `2 * C`, `C / 2`, with numbers or arrays over batch axes.
    """

    if TYPE_CHECKING:  # a subclass may have properties, or fields of a dataclass

        @property
        def n(self) -> int: ...

        @property
        def batch(self) -> tuple[int, ...]: ...

    seen: Array | None = None
    singular: bool = False  # known to have no inverse: it is not whitened
    __array_ufunc__ = None  # NumPy leaves `array * C` to the covariance

    @property
    def controls(self) -> int:
        """How many independent numbers `color` takes for one error: n, unless L is not square."""
        return self.n

    def color(self, z: Array) -> Array:
        """Errors of this covariance from independent numbers: z L^T.

        Args:
            z: rows of independent numbers, `(..., k, controls)`.

        Returns:
            Rows of errors, `(..., k, n)`.
        """
        raise NotImplementedError

    def whiten(self, x: Array) -> Array:
        """Independent numbers from errors of this covariance: x L^-T.

        Args:
            x: rows of errors, `(..., k, n)`.

        Returns:
            Rows of independent numbers, `(..., k, n)`.
        """
        raise NotImplementedError

    def times(self, x: Array) -> Array:
        """x C, the matrix never made: `color` after its own transpose.

        A row of the identity gives a column of C: what one observation there would change.

        Args:
            x: rows `(..., k, n)`.

        Returns:
            Rows `(..., k, n)`.
        """
        like = as_tensor(x) if has_torch() else x
        inside = convert_tree(self, like)
        return convert(inside.color(transpose(inside.color, like, self.controls)), x)

    def adjoint(self, x: Array) -> Array:
        """x L, the transpose of `color`: the controls that move x.

        Args:
            x: rows `(..., k, n)`.

        Returns:
            Rows `(..., k, controls)`.
        """
        like = as_tensor(x) if has_torch() else x
        inside = convert_tree(self, like)
        return convert(transpose(inside.color, like, self.controls), x)

    def variance(self) -> Array:
        """The diagonal of C, `(..., n)`."""
        raise NotImplementedError

    def deviations(self) -> Array:
        """Standard deviations `(..., n)`."""
        return self.variance() ** 0.5

    def matrix(self) -> Array:
        """C itself, `(..., n, n)`."""
        raise NotImplementedError

    def rows(self) -> Array:
        """Rows V with C = V^T V: the errors that each control makes, or the root of the matrix.

        Returns:
            Rows `(..., c, n)`, at most twice as many as the dimension; NaN where C is.
        """
        if self.controls <= 2 * self.n:
            return self.color(eye(self.controls, self.variance()))
        V, ok = root(self.matrix())
        return where_ok(ok, V)

    def log_det(self) -> Array:
        """log |C| over what is observed, `(...)`."""
        C = self.matrix()
        return array_namespace(C).linalg.slogdet(C)[1]

    def masked(self, seen: Array) -> Covariance:
        """The covariance when only some entries are observed; the others whiten to 0.

        Args:
            seen: booleans `(..., n)`, True where observed.

        Returns:
            A covariance of the same dimension, with `seen`.

        Raises:
            NotImplementedError: for a covariance that cannot leave out rows.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot mask unobserved entries; give a Diagonal or Dense "
            "covariance, or data without NaN"
        )

    def __getitem__(self, b: Any) -> Covariance:
        raise NotImplementedError

    def __add__(self, other: Any) -> Covariance:
        from .hybrid import total

        return total(self, other) if isinstance(other, Covariance) else NotImplemented

    def __radd__(self, other: Any) -> Covariance:  # sum() begins with 0
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, weight: Any) -> Covariance:
        from .hybrid import multiple

        return NotImplemented if isinstance(weight, Covariance) else multiple(self, weight)

    __rmul__ = __mul__

    def __truediv__(self, weight: Any) -> Covariance:
        return NotImplemented if isinstance(weight, Covariance) else self * (1 / weight)


def check_width(x: Array, n: int) -> None:
    """Raise ValueError unless rows are as wide as a covariance wants them."""
    if x.shape[-1] != n:
        raise ValueError(
            f"met rows of shape {tuple(x.shape)} for a covariance of dimension {n}; wanted "
            f"(..., k, {n})"
        )


def check_controls(z: Array, controls: int) -> None:
    """Raise ValueError unless rows of controls are as many as `color` wants."""
    if z.shape[-1] != controls:
        raise ValueError(
            f"met rows of shape {tuple(z.shape)} for a covariance of {controls} control "
            f"variables; wanted (..., k, {controls})"
        )


@dataclass(frozen=True, eq=False)
class Masked(Covariance):
    """A covariance with unobserved entries: they whiten to 0, which equals removing their rows.

    Args:
        inner: a covariance in which the unobserved entries are independent of the others.
        seen: booleans `(..., n)`, True where observed.
    """

    inner: Covariance
    seen: Array = field()

    @property
    def n(self) -> int:
        return self.inner.n

    @property
    def batch(self) -> tuple[int, ...]:
        return self.inner.batch

    @property
    def singular(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.singular

    @property
    def controls(self) -> int:
        return self.inner.controls

    def rows(self) -> Array:
        return self.inner.rows()

    def color(self, z: Array) -> Array:
        return self.inner.color(z)

    def whiten(self, x: Array) -> Array:
        xp = array_namespace(x, self.seen)
        return self.inner.whiten(xp.where(self.seen[..., None, :], x, xp.zeros_like(x)))

    def variance(self) -> Array:
        return self.inner.variance()

    def matrix(self) -> Array:
        return self.inner.matrix()

    def log_det(self) -> Array:
        return self.inner.log_det()  # it has 1 for the unseen on its diagonal: log 1 = 0
