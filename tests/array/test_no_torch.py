"""The classical half runs where torch is not installed, as in a browser."""

import subprocess
import sys

import numpy as np
import pytest

import dalearn as da
from dalearn.array.derivative import finite_difference, pushforward, transpose

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Refuse())
"""

METHODS = """
from dataclasses import dataclass
from typing import Any
import numpy as np
import dalearn as da
from dalearn.array import array_namespace

@dataclass(frozen=True, eq=False)
class Wave:
    H: Any

    def __call__(self, x):
        return array_namespace(x).sin(x @ self.H.mT)

rng = np.random.default_rng(0)
H = rng.normal(size=(2, 3))
A = da.Linear(0.9 * np.linalg.qr(rng.normal(size=(3, 3)))[0])  # says that it is linear
prior = da.Gaussian(rng.normal(size=3), 1.0)
straight = da.twin(A, da.Observation(H, [0.5, 0.5]), prior, 6, noise=0.1)
bent = da.twin(
    da.Lorenz63(), da.Observation(da.identity, [2.0] * 3), da.Gaussian([1.5, -1.5, 25.5], 2.0), 6,
    steps=25,
)
found = {}
for name, problem, methods in (
    ("straight", straight, (da.KF(), da.RTS(), da.ExtendedKF(), da.ETKF(30))),
    ("bent", bent, (da.ExtendedKF(inflation=1.5), da.UKF(), da.ETKF(10, inflation=1.02))),
):
    for method in methods:
        kind = type(method).__name__
        found[f"{name} {kind}"] = da.assimilate(problem, method, progress=False)["mean"].values
image = prior.map(Wave(H))
found["map"] = image.cov.matrix()
value, J = da.linearize(A, rng.normal(size=(2, 3)))
found["linear"] = J
Q = da.OnGrid(6, 1.0)
found["times"] = Q.times(np.eye(6)) - Q.matrix()
"""

CODE = f"""
{REFUSE}
{METHODS}
assert "torch" not in sys.modules
np.savez(sys.argv[1], **found)
"""


@pytest.mark.slow
def test_filters_without_torch(tmp_path):
    """Against the same script with torch, where derivatives are exact."""
    for name, code in (("without", CODE), ("with", CODE.replace(REFUSE, "import sys, torch"))):
        code = code if name == "without" else code.replace('assert "torch" not', 'assert "torch"')
        path = tmp_path / f"{name}.npz"
        run = [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore:.torch.jit:DeprecationWarning",
            "-c",
            code,
            str(path),
        ]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    bare, full = np.load(tmp_path / "without.npz"), np.load(tmp_path / "with.npz")
    for name in full:
        # differences err by 1e-10 a step, and 150 chaotic steps make a hundred times that of it
        bend = 1e-6 if name == "bent ExtendedKF" else 1e-9 if name == "map" else 1e-13
        np.testing.assert_allclose(bare[name], full[name], rtol=0, atol=bend, err_msg=name)
    assert abs(bare["times"]).max() < 1e-14


def test_without_torch_derivatives_are_differences(monkeypatch):
    monkeypatch.setattr("dalearn.array.derivative.has_torch", lambda: False)
    rng = np.random.default_rng(0)
    A, x = rng.normal(size=(2, 3)), 1e8 * rng.normal(size=(4, 3))
    value, J = da.linearize(da.Linear(A), x)
    assert np.array_equal(value, x @ A.T)
    assert np.array_equal(J, np.broadcast_to(A, (4, 2, 3)))  # to the bit, however large x is
    pair = da.linearize(np.sin, x / 1e8), finite_difference(np.sin, x / 1e8)
    for one, other in zip(*pair, strict=True):
        assert np.array_equal(one, other)
    rows = rng.normal(size=(5, 3))
    value, images = pushforward(da.Linear(A), x, rows)
    np.testing.assert_allclose(images, np.broadcast_to(rows @ A.T, (4, 5, 2)), atol=1e-15)
    np.testing.assert_allclose(
        transpose(da.Linear(A), rows[:, :2], 3), rows[:, :2] @ A, atol=1e-15
    )


def test_a_linear_function_needs_no_torch(monkeypatch):
    """Its columns are the images of unit vectors, to the bit; one with an offset is not 0 at 0."""
    rng = np.random.default_rng(0)
    A, x = rng.normal(size=(2, 3)), 1e8 * rng.normal(size=(4, 3))

    class Offset(da.Linear):
        def __call__(self, x):
            return super().__call__(x) + 1e12

    slope = da.linearize(Offset(A), x)[1]
    np.testing.assert_allclose(slope, np.broadcast_to(A, (4, 2, 3)), rtol=1e-15)  # by torch
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it raises
    value, J = da.linearize(da.Linear(A), x)
    assert np.array_equal(value, x @ A.T)
    assert np.array_equal(J, np.broadcast_to(A, (4, 2, 3)))
    with pytest.raises(ImportError):
        da.linearize(Offset(A), x)
