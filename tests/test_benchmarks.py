"""The measuring instruments of `benchmarks/` have exact answers; its sections run and report."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch

import dalearn as da
from benchmarks import ld_ensf_vae, limits, models
from benchmarks.common import Report, per_call
from dalearn.cases import ld_ensf
from dalearn.cases.ld_ensf_twin import sensors_of
from dalearn.models import fields
from dalearn.neural import VAE, seeded

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(0)


def test_passes_are_counted():
    x = RNG.normal(size=1000)
    assert limits.passes(lambda x: 2 * x + x, x) == 2
    assert limits.passes(lambda x: np.sum(x) + x, x) == 2  # a sum reads all, writes one
    assert limits.passes(lambda x: np.concat((x[..., 500:], x[..., :500])), x) == 1
    # Four tendencies: a copy with 3 numbers more, and four operations; 12 operations of rk4.
    assert limits.passes(da.Lorenz96(1000), x) == 4 * (1.003 + 4) + 12


def test_passes_count_the_copy_into_blocks(monkeypatch):
    monkeypatch.setattr(fields, "STATE_BLOCK", 10)

    def blocked(x):
        return fields.blockwise(lambda x: 2 * x, x, 1)

    assert limits.passes(blocked, RNG.normal(size=(3, 10))) == 2
    assert limits.passes(limits.in_blocks(blocked), RNG.normal(size=(3, 10))) == 1
    assert fields.STATE_BLOCK == 10


@pytest.mark.parametrize("like", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("model", "planes"),
    [
        (da.Kolmogorov(16), 16),  # 2 to begin, 3 stages of 4, 2 to end
        (da.Kolmogorov(16, substeps=3), 2 + 3 * 12 + 2),
        (da.KuramotoSivashinsky(32), 9),  # 2 to begin, 3 stages of 2, 1 to end
        (da.Lorenz96(), 0),
    ],
)
def test_transforms_are_counted(model, planes, like):
    shape = getattr(model, "shape", None) or (model.n,)
    library = scipy.fft if like is np.asarray else torch.fft
    before = [getattr(library, name) for name in limits.TRANSFORMS]
    for batch in (1, 3):
        work = limits.Transforms(model, like(RNG.normal(size=(batch, *shape))))
        assert work.planes == batch * planes
    work()
    assert [getattr(library, name) for name in limits.TRANSFORMS] == before


def test_temporaries_are_those_of_the_formula():
    x = RNG.normal(size=10**5)
    # 1 %: the interpreter's own objects are some kilobytes of 800
    assert limits.temporaries(lambda x: x + 1, x) == pytest.approx(1, rel=0.01)
    # k1, k2, k3, the stage, its ring and one product; NumPy may not use a product's memory again
    assert limits.temporaries(da.Lorenz96(10**5), x) < 7.1


def test_per_call_divides_by_the_calls_of_each_side():
    now = 0

    def takes(ticks):
        def call():
            nonlocal now
            now += ticks

        return call

    sides = {"one": takes(1), "three": takes(3)}
    found = per_call(sides, 2, 1e-4, clock=lambda: now)
    assert found == {"one": [1, 1], "three": [3, 3]}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # at first all members are alike
def test_latent_ensf_moves_the_state_and_leaves_each_member_its_parameter():
    setup = replace(ld_ensf.kolmogorov(), first=0, every=1, steps=2, runs=(3, 2, 1))
    x = setup.trajectories()
    states = x.reshape(*x.shape[:2], -1)
    pod = da.POD.fit(states[:3], 6, scale=np.repeat(np.asarray(setup.rms, "float32"), 64**2))
    coder = ld_ensf_vae.OnModes(pod, seeded(0, VAE.dense, 6, 200, 4, (8,)))
    seen = sensors_of(setup, 10)(x)
    what: Any = SimpleNamespace(
        setup=setup, parts=setup.split(), states=states, noisy=lambda runs, noise: seen[runs]
    )
    problem = ld_ensf.twin(setup, 1)
    prior: Any = problem.prior
    box = setup.high[0] - setup.low[0]
    for method in (ld_ensf_vae.whole(setup, 0.1), ld_ensf_vae.coded(what, coder, 0.1, 0.1)):
        result = da.assimilate(problem, method, progress=False)
        mean = np.asarray(result["mean"])
        here = np.asarray(prior.members)[..., -1].mean(-1)
        # kicks of (.1)^.5 1e-6 and a shrinking of .1e-6, in units of the box
        assert abs(mean[..., -1] - here[:, None, None]).max() < 1e-5 * box
        forecast, analysis = (result["mean"].sel(stage=s) for s in ("forecast", "analysis"))
        assert float(abs(forecast - analysis)[..., :-1].max()) > 1e-3  # round-off is 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", models.SECTIONS)
def test_sections_report(name, monkeypatch):
    monkeypatch.setattr(limits, "ROUNDS", {True: 1})
    monkeypatch.setattr(limits, "BLOCK", {True: 0.0})
    report = Report("A title", "a command")
    models.SECTIONS[name](report, True)
    assert report.sections
    for section in report.sections:
        assert section["rows"] or name == "gpu"
        for row in section["rows"]:
            assert len(row) == len(section["columns"])
            # one call on a busy machine: a ratio may round to 0
            assert all(np.isfinite(c) and c >= 0 for c in row if isinstance(c, float))
    json.dumps(report.sections)


@pytest.mark.slow
def test_the_command_writes_both_files(tmp_path):
    command = [sys.executable, "-m", "benchmarks.models", "--quick", "--only", "gpu"]
    subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True, cwd=ROOT)
    found = json.loads((tmp_path / "models-quick-gpu.json").read_text("utf8"))
    assert found["command"] == "python -m benchmarks.models --quick --only gpu"
    assert found["sections"][0]["title"].startswith("GPU")
    text = (tmp_path / "models-quick-gpu.md").read_text("utf8")
    assert text.startswith("# Models: the cost of a step\n")
    assert "| model |" in text


def test_a_loss_of_speed_is_told_from_noise():
    from benchmarks.versus import LEAST, interval

    assert interval([0.9] * 9) == (0.9, 0.9)
    noisy = [0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.2, 1.3, 0.95]
    low, high = interval(noisy)
    assert low < LEAST < high


def test_data_turned_around_are_the_state_where_they_are_exact():
    from benchmarks.score_accuracy import inverted
    from dalearn.cases import bao2024

    for every in (1, 2):
        exact = bao2024.problem(4, n=12, every=every, sigma=1e-9, spin_up=50)
        truth = np.asarray(exact.truth)
        straight = truth[:, ::every]
        if every == 2:
            between = (straight + np.roll(straight, -1, axis=-1)) / 2
            straight = np.stack((straight, between), axis=-1).reshape(4, 12)
        wanted = (((straight - truth)[2:] ** 2).mean(-1) ** 0.5).mean()
        # tan multiplies the errors of 1e-9 by at most 1 + 13^2
        assert abs(inverted(exact, every, 1e3)["rmse"] - wanted) < 1e-6
    near = inverted(exact, 2, 0.5)["rmse"]  # the climate is cut off
    assert near > wanted + 1


def test_scores_are_of_the_last_analyses_and_doubt_is_of_the_errors():
    from benchmarks.score_setups import Setting, label, scores
    from dalearn.cases import bao2024

    problem = bao2024.problem(4, n=12, spin_up=50)
    trusting, doubting = (Setting(da.EnKF(20), k) for k in (1.0, 1e6))
    free = da.assimilate(problem, da.EnKF(20), progress=False, seed=1)
    wanted = da.rmse(free).sel(stage="analysis").values[2:].mean()
    assert np.allclose(scores(problem, trusting)["rmse"], wanted, rtol=1e-12)
    assert label(doubting).endswith("R x1e+12")
    assert scores(problem, doubting)["rmse"] > wanted  # it moves nobody
