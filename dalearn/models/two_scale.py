"""Two-scale Lorenz-96: slow and fast variables, the testbed of unresolved scales."""

from __future__ import annotations

from dataclasses import dataclass

from ..array import Array, Swept, array_namespace, check_count, convert, is_array, typed
from .fields import check_members, check_positive, check_shape, valid
from .integrate import rk4


@typed
@dataclass(frozen=True, eq=False)
class Lorenz96TwoScale:
    """Lorenz-96 whose every point drives, and is braked by, `fast` small and quick variables.

    dX_k/dt = (X_{k+1} - X_{k-2}) X_{k-1} - X_k + F - (h c / b) sum_j Y_{j,k}
    dY_{j,k}/dt = c b Y_{j+1,k} (Y_{j-1,k} - Y_{j+2,k}) - c Y_{j,k} + (h c / b) X_k

    All Y stand on one ring: after Y_{J,k} comes Y_{1,k+1}. Advection and coupling conserve
    sum X^2 + sum Y^2. The Y are about b times smaller and c times quicker than the X. The leading
    Lyapunov exponent, 9.9 per time unit at the defaults, is that of the fast ones and says little
    of how long X can be forecast. X has mean 2.56 and standard deviation 3.54.

    The truth of a twin whose assimilating model is Lorenz-96 for X alone: that model lacks the Y.

    The state is X, then Y in the order of the ring: `(..., n + n fast) -> (..., n + n fast)`, any
    leading axes. Members whose b or c is not positive become NaN.

    Args:
        n: slow variables, at least 4.
        fast: how many fast variables belong to each of them.
        forcing: F, a number or an array that broadcasts against `(..., members, 1)`.
        coupling: h, a number or such an array.
        amplitude_ratio: b, positive, a number or such an array.
        time_ratio: c, positive, a number or such an array.
        dt: the Runge-Kutta step; 0.005 time units are as short for Y as 0.05 are for X.

    Raises:
        ValueError: for settings out of range, and when called with a state of another size.

    Sources: E. N. Lorenz, Predictability: a problem partly solved, ECMWF seminar, 1996, with these
    defaults; another common set-up is n = 8, fast = 32, F = 18 or 20 (D. S. Wilks, Q. J. R.
    Meteorol. Soc. 131, 2005).
    """

    n: int = 36
    fast: int = 10
    forcing: Swept = 10.0
    coupling: Swept = 1.0
    amplitude_ratio: Swept = 10.0
    time_ratio: Swept = 10.0
    dt: float = 0.005

    def __post_init__(self):
        check_count("n of Lorenz96TwoScale", self.n, 4)
        check_count("fast", self.fast)
        check_positive(self, "amplitude_ratio", "time_ratio", "dt")
        check_members(self, 1, "forcing", "coupling", "amplitude_ratio", "time_ratio")

    @property
    def shape(self) -> tuple[int]:
        """The shape of one state, `(n + n fast,)`."""
        return (self.n * (1 + self.fast),)

    def slow(self, x: Array) -> Array:
        """The slow variables X of states, `(..., n + n fast) -> (..., n)`."""
        return x[..., : self.n]

    def _parameters(self, x: Array) -> tuple:
        given = self.forcing, self.coupling, valid(self.amplitude_ratio), valid(self.time_ratio)
        F, h, b, c = (convert(p, x) if is_array(p) else float(p) for p in given)
        return F, h * c / b, b, c

    def tendency(self, x: Array) -> Array:
        """dx/dt, `(..., n + n fast) -> (..., n + n fast)`."""
        xp = array_namespace(x)
        F, exchange, b, c = self._parameters(x)
        X, Y = x[..., : self.n], x[..., self.n :]
        lead = tuple(x.shape[:-1])
        drag = exchange * xp.sum(xp.reshape(Y, (*lead, self.n, self.fast)), axis=-1)
        ring = xp.concat((X[..., -2:], X, X[..., :1]), axis=-1)
        dX = (ring[..., 3:] - ring[..., :-3]) * ring[..., 1:-2] - X + F - drag
        ring = xp.concat((Y[..., -1:], Y, Y[..., :2]), axis=-1)
        drive = xp.repeat(exchange * X, self.fast, axis=-1)
        dY = c * (b * (ring[..., :-3] - ring[..., 3:]) * ring[..., 2:-1] - Y) + drive
        return xp.concat((dX, dY), axis=-1)

    def __call__(self, x: Array) -> Array:
        check_shape(self, x, self.shape)
        return rk4(self.tendency, x, self.dt)
