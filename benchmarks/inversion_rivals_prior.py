"""Part of `benchmarks.inversion`: 4DVarNet with a learned prior and with the true model.

Both descents were trained for as many epochs on the same windows. Each network's cost is also
minimised, from the same first guess, to tell what is lost by the cost from what by the descent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dalearn.array import Purpose, generator
from dalearn.cases import lorenz63_fourdvarnet as case
from dalearn.methods.learned.fourdvarnet import inputs

from .common import Report
from .inversion_rivals import Q as Q_TRIED
from .inversion_rivals import audited, best, first_guess, mean, rmse, weak, windows

STEPS = (5, 10, 20)
ITERATIONS = 400  # of L-BFGS; 1600 give the same errors to 0.001
NAMES = {"all": "learned prior", "model": "true model"}


def cost(name: str, problem: Any, x: np.ndarray) -> float:
    """The mean over windows of a network's own cost J of states, in units of the network."""
    import torch

    net = case.trained(name).net.double()
    with torch.no_grad():
        _, y, seen = inputs(net, None, np.asarray(problem.data))
        scaled = (torch.as_tensor(x) - net.mean) / net.std
        return float(net.cost(scaled, y, seen).mean())


def minimised(name: str, problem: Any) -> np.ndarray:
    """The states at a minimum of a network's own cost, by L-BFGS from its first guess."""
    import torch

    net = case.trained(name).net.double()
    first, y, seen = inputs(net, None, np.asarray(problem.data))
    x = first.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [x], max_iter=ITERATIONS, max_eval=2 * ITERATIONS, line_search_fn="strong_wolfe"
    )

    def J():
        solver.zero_grad()
        value = net.cost(x, y, seen).sum()
        value.backward()
        return value

    solver.step(J)
    return (x.detach() * net.std + net.mean).numpy()


def priors(report: Report, quick: bool) -> None:
    """Learned prior, true model, and the minima of their costs."""
    problem = windows("test", "all").validated()
    q = best(Q_TRIED, weak, "all")
    epochs = ", ".join(f"{case.EPOCHS[name]} epochs ({label})" for name, label in NAMES.items())
    report.section(
        f"4DVarNet with a learned prior and with the true model: {len(problem.truth)} windows",
        f"The test windows of rivals, all three seen; trained for {epochs}. RMSE over all times "
        "and components, at observed and at other times, each with its 95 %; J is the network's "
        "own cost, mean over windows. CPU time of one thread, all windows together.",
        ("method", "RMSE", "observed times", "other times", "median", "J", "CPU ms a window"),
    )
    methods: dict[str, tuple[str, Callable]] = {}
    for name, label in NAMES.items():
        for steps in STEPS:
            at = replace(case.trained(name), steps=steps)
            methods[f"{label}, {steps} steps"] = name, at.trajectory
        methods[f"{label}, its cost minimised"] = name, lambda p, n=name: minimised(n, p)
    methods[f"weak 4D-Var, Q = {q:g} I"] = "model", lambda p: weak(p, q)
    methods["cubic interpolation"] = "model", first_guess
    there, each = np.isfinite(problem.data).any((0, 2)), {}
    for label, (name, method) in methods.items():
        begun = time.process_time()
        found = method(problem)
        ms = 1e3 * (time.process_time() - begun) / len(found)
        error = (found - problem.truth) ** 2
        parts = (error[:, part].mean((1, 2)) ** 0.5 for part in (there, ~there))
        each[label] = rmse(found, problem)
        report.row(
            *(label, mean(each[label]), *(mean(p) for p in parts)),
            *(f"{np.median(each[label]):.3f}", f"{cost(name, problem, found):.2f}"),
            float(f"{ms:.2g}"),
        )
    d = each[f"true model, {case.STEPS} steps"] - each[f"learned prior, {case.STEPS} steps"]
    pick = generator(Purpose.TEST, 66).integers(len(d), size=(4000, len(d)))
    low, high = np.quantile(d[pick].mean(-1), (0.025, 0.975))
    report.after(
        f"Paired, RMSE with the true model minus that with the learned prior, {case.STEPS} steps: "
        f"mean {d.mean():.3f} ({low:.3f} to {high:.3f}); smaller in {(d < 0).sum()} windows."
    )
    w = case.trained("model").net.weights.detach().exp().tolist()
    report.after(
        f"The trained cost with the true model weighs data by {w[0]:.3f} and the model by "
        f"{w[1]:.3f}: that of weak 4D-Var with Q = {case.VARIANCE * w[0] / w[1]:.2f} I."
    )
    audited(report, problem)


PRIORS: dict[str, Callable] = {"rivals_prior": priors}
