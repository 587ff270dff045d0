"""Latent assimilation: what local polynomials cost and gain beside derivatives.

    python -m benchmarks.latent [--quick] [--only SECTION] [--out DIR]

    gla        GLA beside Gauss-Newton with autodiff, on the shallow-water networks
    gla_table  GLA of an operator without a derivative, beside rivals that need none either
    gla_rivals iterative ensembles on the problems of gla_table
    gla_window 4D-Var of three times with it
    gla_cost   CPU time of an analysis, alone and in a batch
    localised  LETKF among codes that stand on a grid
    larger     the same weights in a larger basin
    graph      coders of scattered sensors
    fires      fires corrected in latent space; and fires_floors, fires_surrogates,
               fires_di01, fires_speed
    medla      MEDLA between Burgers runs on two grids; medla_rivals, medla_seeds,
               medla_leak, medla_camera, medla_camera_seeds
    fires_drawn, fires_drawn_one    fires drawn from a VQ-VAE and its prior, on new ground and on
               that of a training
    fires_background    drawn fires as the background ensemble of a latent ETKF
    new_ground forecasts of fires on landscapes that no training has seen

In the first four the state is the velocity u of the shallow-water runs that no network was
trained on, in 16 numbers; what is seen are 256 sums of a few cells of a function of u, with errors
of 5 %, in a POD of 16 numbers. B is known, R is estimated on validation runs, with the error of
the coder of u in it. Errors are |u_a - u| / |u| of decoded velocities, relative to the truth in
the full space.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import dalearn as da
from dalearn.array import Purpose, convert_tree, generator
from dalearn.cases import shallow_water as water
from dalearn.methods.latent.polynomials import count_samples, design
from dalearn.methods.latent.surrogate import Fit
from dalearn.problem.observe import identity

from .common import Report, parser, per_call, run
from .latent_background import SECTIONS as BACKGROUND
from .latent_camera import SECTIONS as CAMERA
from .latent_fires import SECTIONS as FIRES
from .latent_fires_analyses import SECTIONS as FIRES_ANALYSED
from .latent_fires_speed import SECTIONS as FIRES_SPEED
from .latent_generated import SECTIONS as GENERATED
from .latent_graph import SECTIONS as GRAPH
from .latent_localised import SECTIONS as LOCALISED
from .latent_medla import SECTIONS as MEDLA
from .latent_new_ground import SECTIONS as NEW_GROUND

R_DATA, CELLS, ROWS, NOISE = 16, 5, 256, 0.05
SQUARE, INVERSE, LEVELS = "u^2", "1 / (u + 6)", "8 levels of u"
SOLVER = da.GaussNewton(60)


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen of a field: sums over some cells of f(u), u in units of its deviation.

    Args:
        kind: of the function.
        cells: which are summed, `(ROWS, CELLS)`.
        std: of u.
    """

    kind: str
    cells: np.ndarray
    std: float

    def __call__(self, u: Any) -> Any:
        w = u / self.std
        if self.kind == LEVELS:  # a table of eight entries
            w = torch.as_tensor(LEVEL)[torch.bucketize(w.detach(), torch.as_tensor(EDGES))]
        else:
            w = w * w if self.kind == SQUARE else 1 / (w + 6)
        return w[..., self.cells].sum(-1)


EDGES = np.array([-2.0, -1.0, -0.4, 0.0, 0.4, 1.0, 2.0])
LEVEL = np.array([-2.5, -1.5, -0.7, -0.2, 0.2, 0.7, 1.5, 2.5])


@dataclass(frozen=True, eq=False)
class Between:
    """From a code of u to the code of what is seen of it."""

    see: Seen
    coder: Any
    nets: Any

    def __call__(self, z: Any) -> Any:
        return self.coder.encode(self.see(self.nets.velocity.decode(z).flatten(-3)))


@functools.lru_cache(maxsize=1)
def fields() -> tuple[Any, tuple[Any, ...]]:
    """The networks, and u of the training, validation and test runs, `(S, T, 1024)`."""
    nets, (runs, parts) = water.trained().double(), water.states()
    index = parts.train, parts.validation, parts.test
    return nets, tuple(torch.from_numpy(runs[i][:, :, 1]).double().flatten(-2) for i in index)


@dataclass(frozen=True, eq=False)
class SetUp:
    """A batch of problems, and the truth.

    Args:
        problem: whose state is the code of u, observed in codes of data.
        truth: u `(b, 1024)`.
        nets: the networks.
    """

    problem: da.Problem
    truth: Any
    nets: Any

    def background(self) -> np.ndarray:
        """The errors of the background, carried to the last time."""
        z = self.problem.prior.mean
        for _ in range(len(self.problem) if len(self.problem) > 1 else 0):
            z = self.problem.model(z)
        return self.errors(z)

    def errors(self, z: Any) -> np.ndarray:
        """|decode(z) - u| / |u| of each problem."""
        with torch.no_grad():
            return self._errors(z)

    def _errors(self, z: Any) -> np.ndarray:
        u = self.nets.velocity.decode(torch.as_tensor(np.asarray(z))).flatten(-3)
        return ((u - self.truth).norm(dim=-1) / self.truth.norm(dim=-1)).numpy()


@torch.no_grad()
def set_up(kind: str, off: float, count: int, seed: int, times: int = 1) -> SetUp:
    """`count` problems whose background is `off` climatological deviations from the truth.

    Of several times the truth moves by the linear model that fits the codes of training runs best.
    """
    nets, (train, valid, test) = fields()
    rng = generator(Purpose.TEST, seed)
    cells = np.stack([rng.choice(1024, CELLS, replace=False) for _ in range(ROWS)])
    see = Seen(kind, cells, float(train.std()))

    def encoded(u: Any) -> Any:
        return nets.velocity.encode(u.unflatten(-1, (1, 32, 32)))

    def measured(u: Any) -> Any:
        y = see(u)
        errors = torch.from_numpy(rng.standard_normal(tuple(y.shape)))
        return y + NOISE * y.std() * errors

    coder = da.POD.fit(measured(train[:, ::3]), R_DATA)
    between = Between(see, coder, nets)
    sample = valid[:, ::3].flatten(0, 1)
    gap = coder.encode(measured(sample)) - between(encoded(sample))
    R = da.Dense(gap.mT @ gap / len(gap))
    std = encoded(train).flatten(0, 1).std(0)
    at = rng.integers(test.shape[1], size=count), rng.integers(len(test), size=count)
    u = test[at[1], at[0]]
    start = encoded(u) + off * std * torch.from_numpy(rng.standard_normal((count, 16)))
    prior = da.Gaussian(start, da.Diagonal((off * std) ** 2))
    if times == 1:
        data = coder.encode(measured(u))[:, None]
        problem = da.Problem(identity, da.Observation(between, R), prior, data)
        return SetUp(problem.validated(), u, nets)
    model = convert_tree(da.DMD.fit(encoded(train).numpy(), 1), u)
    codes = [encoded(u)]
    for _ in range(times):
        codes.append(model(codes[-1]))
    runs = nets.velocity.decode(torch.stack(codes[1:], 1)).flatten(-3)
    data = coder.encode(measured(runs))
    problem = da.Problem(model, da.Observation(between, R), prior, data)
    return SetUp(problem.validated(), runs[:, -1], nets)


def fitted(
    degree: int, box: float, samples: float = 2.5, outer: int = 1, hidden: int = 0
) -> da.Var3D:
    """GLA in the space of the codes; fewer samples than features too, which GLA refuses."""
    return da.Var3D("prior", solver=Fit(SOLVER, degree, box, samples, outer, 0, hidden))


def analysed(setup: SetUp, method: Any) -> tuple[np.ndarray, Any]:
    """Errors of the last analyses, and the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = da.assimilate(setup.problem, method, progress=False)
    return setup.errors(result["mean"].sel(stage="analysis")[:, -1]), result


def told(errors: np.ndarray, other: np.ndarray | None = None) -> str:
    """The mean, or that over the mean of another's, with its middle 95 % over the problems."""
    rng = generator(Purpose.TEST, 0)
    pick = rng.integers(len(errors), size=(4000, len(errors)))
    below = 1.0 if other is None else other[pick].mean(-1)
    low, high = np.quantile(errors[pick].mean(-1) / below, (0.025, 0.975))
    middle = errors.mean() / (1.0 if other is None else other.mean())
    digits = 3 if other is None else 2
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


COLUMNS = ("method", "features", "calls of H", "fit", "error", "beside direct")


def rows_of(report: Report, setup: SetUp, base: np.ndarray, settings: Any) -> None:
    """One row for each fit: degree, box, samples, outer, and units of a network."""
    for degree, box, samples, outer, *hidden in settings:
        error, result = analysed(setup, fitted(degree, box, samples, outer, *hidden))
        calls = outer * count_samples(16, degree, samples)
        moved = f", {outer} boxes" * (outer > 1)
        network = f", network of {hidden[0]}" if hidden else ""
        report.row(
            f"degree {degree}, box {box:g}, {samples:g} x{network}{moved}",
            count_samples(16, degree, 1.0),
            calls,
            round(float(np.median(result["error_here"])), 2),
            told(error),
            told(error, base),
        )


def gla(report: Report, quick: bool) -> None:
    """Degree, box, samples and moved boxes, beside autodiff."""
    count, degrees = (12, (1, 2)) if quick else (48, (1, 2, 3))
    for kind in (SQUARE, INVERSE):
        for off in (0.3, 1.0):
            setup = set_up(kind, off, count, 1 if kind == SQUARE else 2)
            base, direct = analysed(setup, da.Var3D("prior", solver=SOLVER))
            start = setup.background()
            report.section(
                f"{kind}, background {off:g} climatological deviations off",
                f"{count} problems. Fit: median over them of the error of the polynomial at the "
                "analysis, in standard deviations of the data. Errors: mean over the problems, "
                "and its ratio to that of Gauss-Newton with autodiff (direct), each with its "
                f"bootstrapped 95 %. Direct converged in {int(direct['converged'].sum())}.",
                COLUMNS,
            )
            report.row("background", None, None, None, told(start), told(start, base))
            report.row("direct", None, None, None, told(base), None)
            boxes = [(d, b, 2.5, 1) for d in degrees for b in (1.0, 2.0, 4.0)]
            few = [(d, 2.0, s, 1) for d in degrees[1:] for s in (0.5, 1.0, 1.5, 5.0) if d * s < 9]
            moved = [(d, b, 2.5, k) for d in degrees[:2] for b in (1.0, 2.0) for k in (2, 3, 4)]
            nets = [(1, 1.0, 22.5, k, h) for k in (1, 3) for h in (16, 32)]
            rows_of(report, setup, base, [*boxes, *few, *moved, *nets[:: 3 if quick else 1]])


def table(report: Report, quick: bool) -> None:
    """An operator that is looked up: what works without a derivative."""
    count = 12 if quick else 48
    for off in (0.3, 1.0):
        setup = set_up(LEVELS, off, count, 3)
        start = setup.background()
        members = count_samples(16, 2, 2.5)
        base = analysed(setup, da.ETKF(members))[0]
        try:
            met = "runs"
            analysed(setup, da.Var3D("prior", solver=SOLVER))
        except (TypeError, ValueError) as error:
            met = f"refused: {str(error).split('(')[0].strip()}"
        report.section(
            f"{LEVELS}, background {off:g} climatological deviations off",
            f"{count} problems. A table of 8 entries, which has no derivative: Gauss-Newton with "
            f"autodiff is {met}. Ratios to an ETKF of {members} members.",
            (*COLUMNS[:-1], "beside ETKF"),
        )
        report.row("background", None, None, None, told(start), told(start, base))
        slopes = da.Var3D("prior", solver=da.GaussNewton(60, jacobian=da.finite_difference))
        rivals = {
            f"ETKF({members})": (da.ETKF(members), members),
            f"IEnKS({members}), lag 0": (da.IEnKS(members, lag=0), None),
            "differences of 6e-6": (slopes, None),
        }
        for name, (method, calls) in rivals.items():
            error = analysed(setup, method)[0]
            report.row(name, None, calls, None, told(error), told(error, base))
        boxes = [(d, b, 2.5, k) for d in (1, 2) for b in (0.5, 1.0, 2.0) for k in (1, 2, 3)]
        nine = (1, 1.5, 2.5, 9)  # the width that is best on validation runs: see the chapter
        boxes = [*boxes[:: 4 if quick else 1], nine, (1, 2.0, 22.5, 3, 32)]
        rows_of(report, setup, base, boxes)


def rivals(report: Report, quick: bool) -> None:
    """Iterative ensembles of as many calls of H as fits take, on the problems of `table`."""
    members, count = count_samples(16, 2, 2.5), 12 if quick else 48
    for off in (0.3, 1.0):
        setup = set_up(LEVELS, off, count, 3)
        base = analysed(setup, da.ETKF(members))[0]
        report.section(
            f"{LEVELS}, background {off:g} climatological deviations off: iterative ensembles",
            f"{count} problems, those of `gla_table`. Calls of H: members times the largest "
            f"number of iterations over the problems. Ratios to an ETKF of {members} members.",
            ("method", "calls of H", "error", "beside ETKF"),
        )
        report.row(f"ETKF({members})", members, told(base), None)
        for N in (17, 38, 115):
            error, result = analysed(setup, da.IEnKS(N, lag=0))
            calls = N * int(result["iterations"].max())
            report.row(f"IEnKS({N}), lag 0", calls, told(error), told(error, base))


def window(report: Report, quick: bool) -> None:
    """4D-Var: three observations of one run, the codes moved by DMD of one frame."""
    count, steps = (12 if quick else 48), 3
    for off in (0.3, 1.0):
        setup = set_up(SQUARE, off, count, 5, steps)
        base, direct = analysed(setup, da.Var4D(steps, B="prior", solver=SOLVER))
        start = setup.background()
        report.section(
            f"{SQUARE} at {steps} times, background {off:g} climatological deviations off",
            f"{count} problems, 4D-Var through a linear model of the codes; errors at the last "
            "time. Columns as in `gla`. "
            f"Direct converged in {int(direct['converged'][:, -1].sum())}.",
            COLUMNS,
        )
        report.row("background", None, None, None, told(start), told(start, base))
        report.row("direct", None, None, None, told(base), None)
        for degree, box, outer in [(d, 1.0, k) for d in (1, 2) for k in (1, 2, 3)]:
            fit = Fit(SOLVER, degree, box, 2.5, outer, 0)
            error, result = analysed(setup, da.Var4D(steps, B="prior", solver=fit))
            report.row(
                f"degree {degree}, box {box:g}, 2.5 x, {outer} boxes",
                count_samples(16, degree, 1.0),
                outer * count_samples(16, degree, 2.5),
                round(float(np.median(result["error_here"])), 2),
                told(error),
                told(error, base),
            )


def cost(report: Report, quick: bool) -> None:
    """CPU time of an analysis."""
    count = 6 if quick else 48
    setup = set_up(SQUARE, 0.3, count, 4)
    problem = setup.problem
    report.section(
        f"{SQUARE}: CPU time of an analysis, ms",
        f"One problem alone, and each of a batch of {count}; median of {3 if quick else 5} rounds "
        "in turn. The least squares are solved once for all boxes (last column, s).",
        ("method", "alone", "in a batch", "once, s"),
    )
    methods: dict[str, Any] = {"direct": da.Var3D("prior", solver=SOLVER)}
    methods |= {f"degree {d}": fitted(d, 1.5) for d in ((1, 2) if quick else (1, 2, 3))}
    methods["degree 2, 2 boxes"] = fitted(2, 1.5, outer=2)
    methods |= {f"degree 1, {k} boxes": fitted(1, 1.0, outer=k) for k in (3, 9)}
    methods["degree 1, network of 32"] = fitted(1, 1.0, 22.5, 1, 32)
    points = torch.as_tensor(design(16, 2, count_samples(16, 2, 2.5), 0).points)
    between = problem.at(0)[0].operator

    def sampled(p: Any) -> Callable:
        return lambda: between(p.prior.mean[..., None, :] + 0.1 * points)

    def analysis(p: Any, method: Any) -> Callable:
        return lambda: list(method.run(p, None))

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spent = []
        for p, scale in ((problem[0].validated(), 1), (problem, count)):
            sides = {name: analysis(p, m) for name, m in methods.items()}
            sides["383 calls of H alone"] = sampled(p)
            found = per_call(sides, 3 if quick else 5, 0.0)
            spent.append({n: 1e3 * float(np.median(s)) / scale for n, s in found.items()})
    for name, alone in spent[0].items():
        again = once(int(name[7])) if name.startswith("degree") else None
        report.row(name, *(float(f"{ms:.3g}") for ms in (alone, spent[1][name])), again)


def once(degree: int) -> float:
    """Seconds for the least squares of a degree."""
    count = count_samples(16, degree, 2.5)
    start = time.process_time()
    design.__wrapped__(16, degree, count, 1)
    return float(f"{time.process_time() - start:.2g}")


GLA = {"gla": gla, "gla_table": table, "gla_rivals": rivals}
SECTIONS = GLA | {"gla_window": window, "gla_cost": cost} | LOCALISED | GRAPH
SECTIONS |= FIRES | FIRES_ANALYSED | FIRES_SPEED
SECTIONS |= MEDLA | CAMERA
SECTIONS |= GENERATED | BACKGROUND | NEW_GROUND


def main() -> None:
    """Run the chosen sections and write the report."""
    options = parser("latent", __doc__, tuple(SECTIONS)).parse_args()
    run("latent", "Latent assimilation: polynomials and derivatives", options, SECTIONS)


if __name__ == "__main__":
    main()
