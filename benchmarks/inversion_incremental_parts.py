"""Further sections of `inversion_incremental`, and what all of them share."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

import dalearn as da
from dalearn.array.banded import band_cholesky, dense_of
from dalearn.cases import neural_incremental as cases
from dalearn.cases.neural_incremental_setup import SETUPS
from dalearn.neural import Scattered, seeded
from dalearn.neural.incremental import NeuralPrior
from dalearn.neural.reconstruct import Reconstruction

from .common import Report
from .inversion_incremental_rivals import variational
from .inversion_incremental_setups import SYSTEMS, TestSet, drawn, network

COLUMNS = ("RMSE", "mean", "median", "failed, %")
FAILED = 0.5
MAIN = "u1 at 4 times, spacing 8"


def each(x: torch.Tensor, test: TestSet) -> np.ndarray:
    """The root mean square error of each trajectory."""
    return (x - test.truth).square().mean((1, 2)).sqrt().double().numpy()


def cells(e: np.ndarray) -> list[Any]:
    """The columns of a row, of the errors of trajectories."""
    half = 1.96 * e.std(ddof=1) / len(e) ** 0.5
    total = float((e**2).mean() ** 0.5)
    share = round(100 * float((e > FAILED).mean()), 1)
    return [f"{total:.3f}", f"{e.mean():.3f} ± {half:.3f}", f"{np.median(e):.3f}", share]


def audited(report: Report, name: str, test: TestSet, first: torch.Tensor) -> None:
    """Audit the splits, the first guess and the gaps of a test set; stop at an error."""
    setup = SETUPS[name]
    zeros = torch.where(test.mask, test.y, torch.zeros_like(test.y))
    found = da.audit(
        train=setup.trajectories("train", 3000),
        validation=setup.trajectories("validation"),
        test=test.physical.double().numpy(),
        start=first[:, 0].double().numpy(),
        truth=test.truth.double().numpy(),
        data=zeros.double().numpy(),
        seen=test.mask.numpy(),
    )
    found.check()
    report.after(f"Audit: {len(found.errors)} errors in splits, first states and gaps.")


def fields(net: Any, test: TestSet, levels: int = 1) -> torch.Tensor:
    """The analyses of a network."""
    with torch.no_grad():
        return net.assimilate(test.seen, levels)[-1]


def levels(report: Report, quick: bool) -> None:
    """One shot and coarse to fine, and the update as it is printed."""
    net = cases.trained("lorenz63-05").net
    test = drawn("lorenz63-05", net, SYSTEMS[MAIN], 200 if quick else 2000, 30)
    report.section(
        "Levels",
        f"Lorenz-63, dt 0.05, {len(test.truth)} fresh trajectories, u1 at spacing 8: RMSE of each "
        "x_k. Printed: z <- z + s_k (x_k - z_0) with s_k = 1 - k / (l + 1), as Algorithm 2 of the "
        "paper.",
        ("levels", "corrected update", "of the last", "printed update, of the last"),
    )
    ablated = network("none")
    for count in (1, 2, 3, 5, 10):
        with torch.no_grad():
            found = net.assimilate(test.seen, count)
            sizes = [float((x - test.truth).square().mean().sqrt()) for x in found]
            wrong = printed(net, test, count)
        told = [f"{v:.3f}" for v in sizes]
        report.row(count, " ".join(told), told[-1], f"{wrong:.3f}")
    one, three = (each(fields(net, test, k), test) for k in (1, 3))
    d = three - one
    report.after(
        f"Three levels minus one shot, paired, mean: {d.mean():.4f} "
        f"± {1.96 * d.std(ddof=1) / len(d) ** 0.5:.4f}. Without the solve one shot errs by "
        f"{float((fields(ablated, test) - test.truth).square().mean().sqrt()):.3f}, three levels "
        f"by {float((fields(ablated, test, 3) - test.truth).square().mean().sqrt()):.3f}."
    )


def printed(net: Any, test: TestSet, count: int) -> float:
    """The RMSE of the last x_k by the update as it is printed."""
    first = z = net.first(test.seen)
    x = z
    for k in range(count):
        s = 1 - k / (count + 1)
        x = net.step(z, torch.full((len(z),), s), test.seen)
        z = z + s * (x - first)
    return float((x - test.truth).square().mean().sqrt())


def pendulum(report: Report, quick: bool) -> None:
    """The pendulum of the paper, in one shot."""
    name, net = "pendulum", cases.trained("pendulum").net
    test = drawn(name, net, Scattered(100, 2, 10, 10, (0,)), 40 if quick else 400)
    report.section(
        "Pendulum",
        f"{len(test.truth)} fresh trajectories of 100 times, the angle at 10 random times, error "
        "0.01; errors in radians and radians per time unit together, not normalised. 4D-Var: "
        "model errors of variance 1e-6, background of the training set's first states.",
        ("way", *COLUMNS),
    )
    with torch.no_grad():
        z = net.first(test.seen)
    rows = {"Gaussian guess of the spring": z, "network, one shot": fields(net, test)}
    for label, start in (("Gaussian guess", z), ("network", rows["network, one shot"])):
        found = variational(name, net, test, start)
        rows[f"4D-Var from the {label}"] = found.x
        report.after(f"4D-Var from the {label}: {found.iterations.mean():.1f} iterations.")
    for label, x in rows.items():
        e = ((x - test.truth) * net.std).square().mean((1, 2)).sqrt().double().numpy()
        report.row(label, *cells(e))
    audited(report, name, test, z)


def cost(report: Report, quick: bool) -> None:
    """Time of a reconstruction, and of the banded solve."""
    report.section(
        "Cost",
        "CPU milliseconds of one reconstruction in a batch of 256, one thread, 4D-Var with "
        "background from the Gaussian guess in the same run.",
        ("set-up", "network, one shot", "3 levels", "4D-Var", "ratio"),
    )
    for name in ("lorenz63-05", "pendulum"):
        net, setup = cases.trained(name).net, SETUPS[name]
        draw = SYSTEMS[MAIN] if name != "pendulum" else Scattered(100, 2, 10, 10, (0,))
        test = drawn(name, net, draw, 32 if quick else 256, 40)
        with torch.no_grad():
            z = net.first(test.seen)
        spent = []
        for call in (
            lambda net=net, test=test: fields(net, test),
            lambda net=net, test=test: fields(net, test, 3),
            lambda net=net, test=test, z=z, name=name: variational(name, net, test, z),
        ):
            call() if len(spent) < 2 else None
            start = time.process_time()
            for _ in range(3 if len(spent) < 2 else 1):
                call()
            times = 3 if len(spent) < 2 else 1
            spent.append(1e3 * (time.process_time() - start) / times / len(test.truth))
        report.row(setup.name, *(f"{v:.3g}" for v in spent), f"{spent[2] / spent[0]:.0f}")
    report.after("Published: 10 for 4D-Var to 2 for the network, a ratio of 5.")
    banded(report, quick)


def banded(report: Report, quick: bool) -> None:
    """The banded solve beside a dense one, forward and backward, and its growth with T."""
    report.section(
        "Banded solve",
        "CPU milliseconds for 64 systems of 5 diagonals below the main one, forward (float64).",
        ("d", "banded", "dense", "largest difference"),
    )
    rng = np.random.default_rng(0)
    for T in (32, 320, 3200, 10_000)[: 2 if quick else 4]:
        d = 3 * T
        count = max(1, 64 * 32 // T)
        A = 0.1 * rng.normal(size=(count, 6, d))
        A[:, 0] = 3.0
        b = rng.normal(size=(count, d))
        start = time.process_time()
        x = band_cholesky(A).solve(b)
        spent = 1e3 * (time.process_time() - start) * 64 / count
        dense, gap = "-", "-"
        if d <= 960:
            M = dense_of(A)
            start = time.process_time()
            other = np.linalg.solve(M, b[..., None])[..., 0]
            dense = f"{1e3 * (time.process_time() - start) * 64 / count:.3g}"
            gap = f"{np.abs(x - other).max() / np.abs(other).max():.1g}"
        report.row(d, f"{spent:.3g}", dense, gap)


def bound(report: Report, quick: bool) -> None:
    """Training with links of any size, and with bounded ones."""
    setup, steps = SETUPS["lorenz63-05"], 40 if quick else 200
    x = torch.as_tensor(setup.trajectories("train", 3000)).float()
    std = torch.as_tensor(setup.std(x)).float()
    report.section(
        "Bounded links",
        f"The banded form trained by {steps} steps of Adam at a rate of 0.01, ten times that of "
        "the shipped networks, 128 trajectories a step, gradients not clipped. Bound: the largest "
        "entry of the factor beside the diagonal of its column.",
        ("bound", "largest loss of a step", "steps with a loss above 10", "last loss"),
    )
    for limit in (0.5, 1.0, 2.0, 1e6):
        net = seeded(0, NeuralPrior, 32, 3, bound=limit).scaled(x)
        loss = Reconstruction(setup.draw(), std)
        adam, met = torch.optim.Adam(net.parameters(), 1e-2), []
        torch.manual_seed(0)
        for _ in range(steps):
            value = loss(net, x[torch.randint(len(x), (128,))])
            met.append(float(value.detach()))
            if not math.isfinite(met[-1]):
                break
            adam.zero_grad()
            value.backward()
            adam.step()
        label = "none" if limit > 100 else f"{limit:g}"
        high = sum(v > 10 for v in met)
        report.row(label, f"{max(met):.3g}", high, f"{met[-1]:.3g}")


def lorenz96(report: Report, quick: bool) -> None:
    """Beyond the paper: forty variables."""
    name, method = "lorenz96", cases.trained("lorenz96")
    net = method.net
    report.section(
        "Lorenz-96",
        "Fresh trajectories of 10 times of 40 variables, random places and numbers of data with "
        "errors of 0.5. A network of convolutions, precision with links to the nearest variables. "
        "4D-Var with the model, its Q and the law of the first state.",
        ("seen of 400", "way", *COLUMNS),
    )
    for seen in (40, 100, 160):
        test = drawn(name, net, Scattered(10, 40, seen, seen), 20 if quick else 60, seen)
        with torch.no_grad():
            z = net.first(test.seen)
        rows = {"Gaussian first guess": z, "network, one shot": fields(net, test)}
        rows["network, 3 levels"] = fields(net, test, 3)
        for label, start in (("Gaussian guess", z), ("network", rows["network, 3 levels"])):
            found = variational(name, net, test, start)
            rows[f"4D-Var from the {label}, {found.iterations.mean():.1f} iterations"] = found.x
        for label, x in rows.items():
            report.row(seen, label, *cells(each(x, test)))
    audited(report, name, test, z)
