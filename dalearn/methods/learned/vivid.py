"""VIVID: 3D-Var with what a learned inverse operator says as a second observation.

    J(x) = |x - x_b|^2_B^-1 / 2 + |H(x) - y|^2_R^-1 / 2 + |x - f(V(y))|^2_P^-1 / 2 ,

where V(y) is the Voronoi image of the data of scattered sensors and f a network from images to
states. The data count twice, and errors of f(V(y)) are not independent of those of y: P says how
much of the network to believe. It is measured on runs that were not trained on, in the units of
the state; B and R have to be in these units too. A B of 1000 beside a P of true size tells the
method to forget its background, and it returns the network.

Where H loses the sign of the state, as squares do, J without the network has several minima.

Cheng, Liu, Guo and Arcucci, Efficient deep data assimilation with sparse observations and
time-varying sensors, J. Comput. Phys. 496, 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

from ...array import (
    Array,
    Swept,
    array_namespace,
    check_between,
    lift,
    no_grad,
    shown,
    typed,
    warn,
)
from ...covariances.blocks import Blocks
from ...covariances.given import as_covariance
from ...models.coders import check_coder
from ...problem.like import ProblemLike
from ..background import background
from ..base import Cycle
from ..latent.latent import Latent
from ..variational.lbfgs import LBFGS
from ..variational.var3d import Var3D
from .network_errors import NetworkErrors
from .network_fields import Fields
from .vivid_fit import check_net, code_errors, estimates, trained
from .with_network import WithNetwork


class Incommensurate(UserWarning):
    """P and B that differ by so much that one of them decides alone: other units?"""


@typed
@dataclass(frozen=True, eq=False)
class VIVID:
    """A method that sees the data, and beside them what a network makes of their Voronoi image.

        vivid = VIVID.fit(net, draw, train, validation)      # trains the network, measures P
        result = assimilate(problem, replace(vivid, method=Var3D(B, solver=LBFGS())))

    The problem's observations must say where their sensors stand: `Observation(..., locations=)`,
    rows and columns in cells. Numbers and places of sensors may differ from time to time.

    Args:
        net: the inverse operator, a module from images `(b, 2, rows, columns)` of `voronoi` to
            states `(b, n)`, such as `neural.Inverse`; it has `shape`.
        P: the covariance of the network's errors: `NetworkErrors` measured on validation data, a
            Covariance, or variances `(n,)`, in the units of the state.
        method: what weighs the three terms: Var3D with the B of the background, or any method.
        inflation: a multiple of P, a number or an array over the batch. Validation runs that
            resemble the training runs give a P that is too small.
        coder: for VIVID-POD, a Coder such as POD: then the analysis is one of codes, B belongs to
            the r numbers of a code, and P, a covariance of dimension r, to those of the network.
        periodic: whether the grid closes on itself.

    Raises:
        TypeError: for a network that is no module of torch, or no method.
        ValueError: for a network that has not been trained; when run, for observations without
            locations and a problem of another size.
    """

    net: Any = field(repr=False)
    P: Any
    _: KW_ONLY
    method: Any = field(default_factory=lambda: Var3D(solver=LBFGS()))
    inflation: Swept = 1.0
    coder: Any = None
    periodic: bool = True

    def __post_init__(self):
        check_net(self.net)
        if not getattr(self.net, "trained", True):
            raise ValueError(
                "net has not been trained; wanted VIVID.fit(net, ...), or the weights of a "
                "training, load_weights(net, file)"
            )
        if isinstance(self.method, type) or not callable(getattr(self.method, "run", None)):
            raise TypeError(f"method must be one such as Var3D(B), met {shown(self.method)}")
        if self.coder is not None:
            check_coder(self.coder)
        if not isinstance(self.P, NetworkErrors):
            object.__setattr__(self, "P", as_covariance(self.P, "P", definite=True))
        elif self.coder is not None:
            raise ValueError(
                "with a coder P belongs to the codes: wanted a covariance of dimension "
                f"{self.coder.r}, met {self.P!r}; see VIVID.measured"
            )
        check_between("inflation", self.inflation, 0, 1e12, open_low=True)

    @classmethod
    @typed
    def fit(
        cls,
        net: Any,
        draw: Callable,
        train: Array,
        validation: Array,
        *,
        epochs: int = 20,
        batch: int = 32,
        rate: float = 3e-3,
        draws: int = 4,
        checkpoint: Any = None,
        seed: int = 0,
        progress: bool = True,
        periodic: bool = True,
        **settings: Any,
    ) -> VIVID:
        """Train the network on states with sensors drawn anew, and measure P on other runs.

        Args:
            net: a module with `shape`, such as `neural.Inverse`, trained in place.
            draw: `draw(states (b, n), rng) -> (values (b, m), positions (b, m, 2))`: sensors and
                what they say, by a generator of NumPy; m may differ from call to call.
            train: states of the training runs `(S, T, n)`.
            validation: of other runs: the best weights are chosen there, and P is measured.
            epochs: passes over the training states.
            batch: states in a step.
            rate: of Adam at the start; it falls to 0 as a cosine.
            draws: of sensors for each validation state, for P.
            checkpoint: a file, from which a training that was killed goes on to the same bits.
            seed: of the training.
            progress: whether to show a bar.
            periodic: as in VIVID.
            settings: those of VIVID: method, inflation, and correlated, whether P is correlated.

        Returns:
            VIVID: trained, with the P of the validation runs.

        Raises:
            ValueError: states of other shapes, and states that stand in both parts.
        """
        how = {"checkpoint": checkpoint, "seed": seed, "progress": progress}
        told = {"epochs": epochs, "batch": batch, "rate": rate, "periodic": periodic}
        trained(net, draw, train, validation, **told, **how)
        told = {"draws": draws, "seed": seed, "correlated": settings.pop("correlated", True)}
        start = cls(net, NetworkErrors([0.0], [1.0]), periodic=periodic, **settings)
        return start.measured(draw, validation, **told)

    @typed
    def measured(
        self,
        draw: Callable,
        states: Array,
        *,
        draws: int = 4,
        batch: int = 64,
        correlated: bool = True,
        coder: Any = None,
        seed: int = 0,
    ) -> VIVID:
        """The same with P as it is on these states: of runs that no network was trained on.

        Args:
            draw: as in `fit`.
            states: `(..., n)`.
            draws: of sensors for each state.
            batch: states that share the number of sensors.
            correlated: whether errors of different cells depend on each other.
            coder: a Coder: P is then that of codes, the second moments of their errors.
            seed: of the draws.

        Returns:
            VIVID: with the new P.

        Raises:
            ValueError: states of another size, and too few of them for a covariance of codes.
        """
        found = estimates(self.net, draw, states, draws, batch, seed, self.periodic)
        if coder is not None:
            return replace(self, P=code_errors(coder, found), coder=coder)
        P = NetworkErrors.measured(*found, tuple(self.net.shape), correlated=correlated)
        return replace(self, P=P)

    def run(self, problem: ProblemLike, rng: Any) -> Iterator[Cycle]:
        """The cycles of the method, on the problem with the network's fields observed too.

        Args:
            problem: observations with locations; its state is the network's field.
            rng: Streams over its batch.

        Returns:
            One Cycle for each observation time.
        """
        fields = Fields(self.net, self.periodic)
        with no_grad(problem.like):
            rows, columns = fields.shape
            if rows * columns != problem.n:
                raise ValueError(
                    f"the network gives fields of {rows} x {columns} cells, but the problem's "
                    f"state has {problem.n} numbers"
                )
            inflation = lift(self.inflation, problem.like, problem.batch, "inflation")
            inflation = inflation if isinstance(inflation, float) else inflation[..., 0]
            seen = WithNetwork(problem, fields, self.P, inflation, self.coder)
            self._compare(seen)
        inner = self.method if self.coder is None else Latent(self.method, self.coder)
        yield from inner.run(seen, rng)

    def _compare(self, problem: WithNetwork) -> None:
        """Warn of a B and a P of different units."""
        B = getattr(self.method, "B", None)
        if B is None or isinstance(B, str) or self.coder is not None:
            return
        xp = array_namespace(problem.like)
        noise = problem.at(0)[0].noise
        if not isinstance(noise, Blocks):  # nothing was seen
            return
        mean = float(xp.mean(background(B, problem, "B").variance()))
        told = float(xp.mean(noise.parts[-1].variance()))
        if not 1e-4 < told / mean < 1e4 and told < float("inf"):
            warn(
                f"P has variances of {told:.3g} and B of {mean:.3g}: the larger one will hardly "
                "count; are both in the units of the state?",
                Incommensurate,
            )
