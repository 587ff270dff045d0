"""The cost of a window, which every variational method minimises.

The control v counts in errors of the background: x = x_b + v L^T with B = L L^T, so that
    J(v) = |v|^2 / 2 + sum_k |d_k|^2 / 2,    d_k = R_k^-1/2 (y_k - H_k(x_k)),
where x_k, the state at observation k, follows from v along a path: through the model from the
window's start (4D-Var), or by increments that are linear in v (3D-Var, FGAT, 4DEnVar). This change
of variable is the preconditioner: no cost needs B^-1, and the Hessian is at least the identity.

Lorenc, Q. J. R. Meteorol. Soc. 112, 1986; Courtier, Thepaut and Hollingsworth, Q. J. R. Meteorol.
Soc. 120, 1994; Courtier et al., Q. J. R. Meteorol. Soc. 124, 1998; Bannister, A review of
operational methods of variational and ensemble-variational data assimilation, ibid. 143, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...array import Array, Jacobian, array_namespace, convert, is_tensor
from ...problem.like import ProblemLike, in_library
from ...problem.observe import is_linear
from ..base import differentiated
from .paths import Path, Window

BROKEN = (
    "the model or the operator breaks the graph (detached, in-place or NumPy inside); wanted "
    "torch operations throughout, or GaussNewton(jacobian=finite_difference)"
)


@dataclass(frozen=True, eq=False)
class Cost:
    """J of one window as a function of the control `v (..., c)`: call it.

    J(v) = |v|^2 / 2 + sum_k |R_k^-1/2 (y_k - H_k(x_k(v)))|^2 / 2.

    Made by `Var3D(...).cost(problem)` and `Var4D(...).cost(problem)`. `cost(v)` is `(...)`; with
    one experiment any leading axes of v are evaluated at once, as for a picture of the landscape.

    Args:
        problem: the problem.
        path: how states follow from v.
        window: which observations, and which of them count.
        controls: c, how many numbers v has.
    """

    problem: ProblemLike
    path: Path
    window: Window
    controls: int

    def __call__(self, v: Array) -> Array:
        return sum(self.terms(v))

    def terms(self, v: Array) -> tuple[Array, Array]:
        """J_b = |v|^2 / 2 and J_o = sum_k |d_k|^2 / 2, each `(...)`."""
        if v.shape[-1:] != (self.controls,):
            raise ValueError(
                f"met a control of shape {tuple(v.shape)}, wanted (..., {self.controls})"
            )
        xp, v = array_namespace(v), v[..., None, :]
        d = self.innovations(self.path.follow(v))
        return 0.5 * xp.sum(v * v, axis=(-2, -1)), 0.5 * xp.sum(d * d, axis=(-2, -1))

    def trajectory(self, v: Array) -> Array:
        """The states at the window's observations that belong to `v (..., c)`: `(..., K, n)`."""
        states = self.path.seen(self.path.follow(v[..., None, :]))
        return array_namespace(v).concat(states, axis=-2)

    def gradient(self, v: Array) -> Array:
        """dJ/dv `(..., c)` by one reverse pass; NumPy is converted at the border."""
        import torch

        z = v.detach() if is_tensor(v) else convert(v, torch.empty(0, dtype=torch.float64))
        cost = self if is_tensor(v) else self.to(z)
        with torch.enable_grad():
            z = z.clone().requires_grad_()
            try:
                (g,) = torch.autograd.grad(cost.terms(z)[1].sum(), z, allow_unused=True)
            except RuntimeError as error:
                raise TypeError(f"no derivative of the cost ({error}); {BROKEN}") from error
        if g is None:
            raise ValueError(f"the cost's observations do not depend on v; {BROKEN}")
        g = z.detach() + g
        return convert(g, v)

    def innovations(self, states: list[Array]) -> Array:
        """All whitened innovations of the window side by side, `(..., 1, M)`."""
        w, found = self.window, []
        for k, x in zip(range(w.first, w.end), self.path.seen(states), strict=True):
            if k >= w.new:
                observe, y = self.problem.at(k)
                y = y[..., None, :]
                h = observe.nearest(observe(x), y)
                if observe.law is None:
                    found.append(observe.noise.whiten(y - h))
                else:
                    found.append(observe.law.misfits(y, h, observe.noise))
        return side_by_side(found, -1)

    def sensitivity(self, states: list[Array], rows: list[Array], jacobian: Jacobian) -> Array:
        """G^T = dH(x)/dv whitened, side by side: `(..., c, M)`."""
        w, found = self.window, []
        at = zip(self.path.seen(states), rows, strict=True)
        for k, (x, D) in zip(range(w.first, w.end), at, strict=True):
            if k >= w.new:
                observe, y = self.problem.at(k)
                if is_linear(observe.operator):
                    seen = observe(D)
                else:
                    J = differentiated(jacobian, observe.smooth, x)[1]
                    seen = D @ J[..., 0, :, :].mT
                if observe.law is None:
                    found.append(observe.noise.whiten(seen))
                else:
                    h = observe.nearest(observe(x), y[..., None, :])
                    law, y = observe.law, y[..., None, :]
                    found.append(law.sensitivity(y, h, observe.noise, seen))
        return side_by_side(found, -1)

    @property
    def linear(self) -> bool:
        """Whether J is quadratic, as far as is known: linear increments and operators."""
        observed = range(self.window.new, self.window.end)
        seen = [self.problem.at(k)[0] for k in observed]
        return self.path.linear and all(is_linear(o.operator) and o.law is None for o in seen)

    def to(self, like: Array) -> Cost:
        """The same cost in the library, dtype and device of `like`."""
        problem = in_library(self.problem, like)
        return replace(self, problem=problem, path=self.path.to(problem))


def side_by_side(parts: list[Array], axis: int) -> Array:
    """The arrays concatenated along `axis`, over the batch axes of all."""
    if len({p.shape[:-2] for p in parts}) > 1:  # data of some experiments, states of all
        xp = array_namespace(*parts)
        lead = xp.broadcast_shapes(*(tuple(p.shape[:-2]) for p in parts))
        parts = [xp.broadcast_to(p, (*lead, *p.shape[-2:])) for p in parts]
    return parts[0] if len(parts) == 1 else array_namespace(*parts).concat(parts, axis=axis)
