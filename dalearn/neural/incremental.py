"""A learned Gaussian law of trajectories, local to a first guess, and its analysis of data.

    x | z ~ N(mu(z, s), P(z, s)),   A(z, y) = mu + (P^-1 + H^T R^-1 H)^-1 H^T R^-1 (y - H mu),

a state for each of T times, z a guess of it and s in (0, 1] how coarse the guess is: s z_0 + (1 -
s) x. The data enter through H^T R^-1 H and H^T R^-1 y alone, so that one network serves any linear
observing system. z_0 is the same analysis with the mean and covariance of the training set.

P^-1 = L L^T with blocks of L on the diagonal and just below it: the precision of a Markov chain.
The entries of L below the diagonal are at most `bound` times the diagonal of their column;
unbounded ones make P without bound, and the training diverges. Units: each number of a trajectory
is scaled by its own mean and standard deviation over the training set.

M. Blanke, R. Fablet and M. Lelarge, Neural incremental data assimilation, 2024. They write of a
banded P; their code has the precision I + L L^T of low rank, `form="low-rank"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..array import check_between, check_count, shown, typed
from ..array.tridiagonal import block_cholesky
from .banded import band_product, band_solve, markov_links
from .nets import check_sizes
from .trajectory_nets import Perceptron

LEAST = 1e-8  # precision of every number, so that round-off leaves the factor positive definite
Form = Literal["banded", "low-rank", "none"]


class Seen(NamedTuple):
    """Data as a trajectory's law meets them, in its units: `G = H^T R^-1 H`, `g = H^T R^-1 y`.

    `G (b, T, n, n)` are its blocks, one a time; `g (b, T, n)`.
    """

    G: Tensor
    g: Tensor


class NeuralPrior(nn.Module):
    """mu(z, s) and the precision P(z, s)^-1 of trajectories of T states of n numbers.

    Args:
        T: times.
        n: components of a state.
        form: "banded", a block tridiagonal precision; "low-rank", I + L L^T with `rank` columns;
            "none", no solve: x = mu, the cold diffusion of the paper's ablation.
        hidden: widths of the perceptron.
        neck: units before the layer that makes L.
        reach: components at most this far apart are linked in L; None for all.
        rank: columns of L in the form "low-rank".
        modes: principal directions of the training set that the first guess keeps.
        bound: the largest entry of L beside the diagonal of its column; 1e6 or more for none.
        reads: whether the network also sees where data are and what they are.
        body: another module in the perceptron's place, `(b, c, T, n) -> (b, 1 + k, T, n)`, made by
            `body(c, k)`; c is 2, or 4 where `reads`.

    Raises:
        ValueError: sizes that do not fit.
    """

    mean: Tensor
    std: Tensor
    first_mean: Tensor
    root: Tensor
    spread: Tensor
    _valid: Tensor

    @typed
    def __init__(
        self,
        T: int,
        n: int,
        *,
        form: Form = "banded",
        hidden: Sequence[int] = (256, 256, 256),
        neck: int = 32,
        reach: int | None = None,
        rank: int = 5,
        modes: int = 48,
        bound: float = 2.0,
        reads: bool = False,
        body: Any = None,
    ):
        super().__init__()
        check_sizes("NeuralPrior", T=T, n=n, hidden=tuple(hidden), neck=neck, modes=modes)
        check_count("rank of NeuralPrior", rank)
        check_between("bound of NeuralPrior", bound, 0, torch.inf, open_low=True)
        if reach is not None:
            check_count("reach of NeuralPrior", reach, 0, n)
        if body is not None and (isinstance(body, (type, str)) or not callable(body)):
            raise TypeError(f"body must be a function of two counts, met {shown(body)}")
        if form not in ("banded", "low-rank", "none"):
            raise ValueError(f'form must be "banded", "low-rank" or "none", met {form!r}')
        self.T, self.n, self.form, self.bound, self.reads = T, n, form, bound, reads
        self.offsets, masks = markov_links(T, n, n if reach is None else reach)
        self.register_buffer("_valid", masks, persistent=False)
        more = {"banded": len(self.offsets), "low-rank": rank, "none": 1}[form]
        channels = 4 if reads else 2
        if body is None and not hidden:
            raise ValueError("hidden must hold one width or more, met none")
        self.body: Any = (
            Perceptron(T, n, channels, more, hidden, neck)
            if body is None
            else body(channels, more)
        )
        self.register_buffer("mean", torch.zeros(T, n))
        self.register_buffer("std", torch.zeros(T, n))
        self.register_buffer("first_mean", torch.zeros(T * n))
        self.register_buffer("root", torch.zeros(min(modes, T * n), T * n))
        self.register_buffer("spread", torch.ones(()))

    @property
    def trained(self) -> bool:
        """Whether the units are known: those of a training set."""
        return bool((self.std > 0).all())

    @torch.no_grad()
    def scaled(self, train: Tensor, moments: tuple[Tensor, Tensor] | None = None) -> NeuralPrior:
        """Units, mean and covariance from training trajectories `(S, T, n)`.

        Args:
            train: the trajectories, and no others.
            moments: mean `(T n,)` and covariance `(T n, T n)` of the first guess, in the units of
                the data, in the place of those of the training set.

        Returns:
            This network.
        """
        if train.ndim != 3 or tuple(train.shape[1:]) != (self.T, self.n) or len(train) < 2:
            raise ValueError(
                f"train must be trajectories (S, {self.T}, {self.n}), met {tuple(train.shape)}"
            )
        x, d = train.double(), self.T * self.n
        self.mean.copy_(x.mean(0))
        std = x.std(0, correction=0)
        self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))
        u = ((x - self.mean) / self.std).flatten(1)
        mean, cov = u.mean(0), torch.cov(u.mT, correction=0).view(d, d)
        if moments is not None:
            unit = self.std.double().flatten()
            mean = (moments[0].double() - self.mean.double().flatten()) / unit
            cov = moments[1].double() / unit / unit[:, None]
        values, vectors = torch.linalg.eigh(cov)
        top = slice(len(values) - len(self.root), None)
        root = values[top].clamp_min(0).sqrt()[:, None] * vectors[:, top].mT
        self.first_mean.copy_(mean)
        self.root.copy_(root)
        return self

    def seen(self, x: Tensor, mask: Tensor, std: Tensor) -> Seen:
        """Data of components, in the units of the network.

        Args:
            x: measured numbers `(b, T, n)`; only those in the mask count.
            mask: booleans `(b, T, n)`.
            std: of their errors, in the same units as x, against `(b, T, n)`.

        Returns:
            Seen: blocks that are diagonal.
        """
        weight = torch.where(mask, (self.std / std) ** 2, torch.zeros_like(self.std))
        y = torch.where(mask, (x - self.mean) / self.std, torch.zeros_like(x))
        return Seen(torch.diag_embed(weight), weight * y)

    def first(self, seen: Seen) -> Tensor:
        """z_0: the Gaussian interpolation of the data, `(b, T, n)`."""
        b, T, n = seen.g.shape
        X = self.root.view(-1, T, n)
        XG = torch.einsum("rti,btij->brtj", X, seen.G).flatten(2)
        A = torch.eye(len(X), dtype=XG.dtype, device=XG.device) + XG @ self.root.mT
        mean = self.first_mean.view(T, n)
        left = seen.g - torch.einsum("btij,tj->bti", seen.G, mean)
        w = torch.linalg.solve(A, left.flatten(1) @ self.root.mT)
        return mean + (w @ self.root).view(b, T, n)

    def forward(self, z: Tensor, s: Tensor, seen: Seen | None = None) -> tuple[Tensor, Tensor]:
        """mu `(b, T, n)` and the numbers that L is made of, `(b, k, T, n)`; s is `(b,)`."""
        parts = [z, s[:, None, None].expand_as(z)]
        if self.reads:
            if seen is None:
                raise ValueError("this network reads the data: give it seen=")
            weight = seen.G.diagonal(dim1=-2, dim2=-1)
            parts += [weight / (1 + weight), seen.g / (1 + weight)]
        out = self.body(torch.stack(parts, dim=1))
        return z + out[:, 0], out[:, 1:]

    def factor(self, raw: Tensor) -> dict[int, Tensor]:
        """The diagonals of L, `(b, T n)` each, in the form "banded"."""
        raw = raw.flatten(2)
        diagonal = torch.exp(4 * torch.tanh(raw[:, 0] / 4))
        made = {0: diagonal}
        for i, k in enumerate(self.offsets[1:], 1):
            o = raw[:, i]
            o = o if self.bound >= 1e6 else self.bound * torch.tanh(o / self.bound)
            made[k] = torch.where(self._valid[i], o * diagonal, torch.zeros_like(o))
        return made

    def solve(self, mu: Tensor, raw: Tensor, seen: Seen) -> Tensor:
        """x = mu + (P^-1 + H^T R^-1 H)^-1 H^T R^-1 (y - H mu), `(b, T, n)`."""
        if self.form == "none":
            return mu
        b = seen.g - torch.einsum("btij,btj->bti", seen.G, mu)
        if self.form == "banded":
            bands = self.bands(raw.double(), Seen(*(v.double() for v in seen)))
            return mu + band_solve(bands, b.double().flatten(1)).to(mu).view_as(mu)
        one = torch.eye(self.n, dtype=mu.dtype, device=mu.device)
        L = torch.tanh(raw).movedim(1, -1)  # (b, T, n, k), as in the code of the paper
        both = torch.linalg.solve(one + seen.G, torch.cat((b[..., None], L), -1))
        v, W = both[..., 0], both[..., 1:]
        inner = torch.einsum("btik,btil->bkl", L, W) + torch.eye(L.shape[-1], dtype=mu.dtype)
        c = torch.linalg.solve(inner, torch.einsum("btik,bti->bk", L, v))
        return mu + v - torch.einsum("btik,bk->bti", W, c)

    def bands(self, raw: Tensor, seen: Seen) -> Tensor:
        """The bands of P^-1 + H^T R^-1 H, `(b, w + 1, T n)`."""
        made = band_product(self.factor(raw))
        made = torch.cat((made[:, :1] + LEAST, made[:, 1:]), 1)
        rows = []
        for k in range(self.n):
            row = nn.functional.pad(seen.G.diagonal(-k, -2, -1), (0, k)).flatten(1)
            rows.append(made[:, k] + row if k < made.shape[1] else row)
        return torch.cat((torch.stack(rows, 1), made[:, self.n :]), 1)

    def step(self, z: Tensor, s: Tensor, seen: Seen) -> Tensor:
        """A(z, y) at the level s `(b,)`."""
        mu, raw = self(z, s, seen)
        return self.solve(mu, raw, seen)

    def assimilate(self, seen: Seen, levels: int = 1) -> list[Tensor]:
        """The analyses x_0 ... x_{l-1} from coarse to fine, each `(b, T, n)`; the last is wanted.

        s_k = 1 - k / l, and z_{k+1} = z_k + (s_k - s_{k+1}) (x_k - z_0), which is the guess of
        level s_{k+1} were x_k the truth, corrected by what the levels before have changed
        (Bansal et al., Cold diffusion, NeurIPS 2023). In the published algorithm s_k stands in
        the place of s_k - s_{k+1}, and the steps sum to more than 1.
        """
        first = z = self.first(seen)
        found: list[Tensor] = []
        for k in range(levels):
            found.append(self.step(z, self._level(z, k, levels), seen))
            z = z + (found[-1] - first) / levels
        return found

    def analysed(self, G: Tensor, g: Tensor, levels: int = 1) -> tuple[Tensor, Tensor]:
        """The last of the analyses, and the covariances of its states, `(b, T, n, n)`."""
        seen, first = Seen(G, g), self.first(Seen(G, g))
        z = first
        for k in range(levels - 1):
            z = z + (self.step(z, self._level(z, k, levels), seen) - first) / levels
        mu, raw = self(z, self._level(z, levels - 1, levels), seen)
        return self.solve(mu, raw, seen), self.covariances(raw, seen)

    def covariances(self, raw: Tensor, seen: Seen) -> Tensor:
        """Those of each state given the data, `spread` times the blocks of A^-1, in its units."""
        A = self.precision(raw.double(), Seen(*(v.double() for v in seen)))
        b, T, n = seen.g.shape
        i, A = torch.arange(T), A if self.form == "banded" else torch.linalg.inv(A)
        A = A.view(b, T, n, T, n)
        Z = A[:, i, :, i].movedim(0, 1)
        if self.form == "banded":
            Z = block_cholesky(Z, A[:, i[1:], :, i[:-1]].movedim(0, 1)).inverse()[0]
        return (self.spread * Z).to(seen.g)

    def precision(self, raw: Tensor, seen: Seen) -> Tensor:
        """P^-1 + H^T R^-1 H whole, `(b, T n, T n)`."""
        b, T, n = seen.g.shape
        whole, i = seen.G.new_zeros(b, T, n, T, n), torch.arange(T)
        whole[:, i, :, i] = seen.G.movedim(1, 0)
        G = whole.view(b, T * n, T * n)
        if self.form == "banded":
            L = torch.zeros_like(G)
            for k, v in self.factor(raw).items():
                L = L + torch.diag_embed(v[:, : T * n - k], -k)
            return G + L @ L.mT + LEAST * torch.eye(T * n, dtype=G.dtype, device=G.device)
        one = torch.eye(T * n, dtype=G.dtype, device=G.device)
        L = torch.tanh(raw).flatten(2).mT if self.form == "low-rank" else 0 * one
        return G + one + L @ L.mT

    def climatology(self) -> tuple[Tensor, Tensor]:
        """Means `(T, n)` and covariances `(T, n, n)` of the first guess, in units of the data."""
        X = self.root.view(-1, self.T, self.n) * self.std
        mean = self.mean + self.first_mean.view(self.T, self.n) * self.std
        return mean, torch.einsum("rti,rtj->tij", X, X)

    @staticmethod
    def _level(z: Tensor, k: int, levels: int) -> Tensor:
        return torch.full((len(z),), 1 - k / levels, dtype=z.dtype, device=z.device)
