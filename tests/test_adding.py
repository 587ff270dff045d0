"""What a new part costs: one file, an import, a public name, an example - and its contract runs.

A toy of each kind is written into a copy of the package and its tests. A part that needs changes
in a fifth place fails here.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MODEL = '''
"""Decay: a toy."""
from dataclasses import dataclass
from typing import Any

from .integrate import rk4


@dataclass(frozen=True, eq=False)
class ToyDecay:
    """x' = -rate x."""

    rate: Any = 1.0
    dt: float = 0.1

    def __call__(self, x):
        return rk4(lambda x: -self.rate * x, x, self.dt)
'''
METHOD = '''
"""A filter with half of the gain on the anomalies: a toy."""
from dataclasses import dataclass

from ...array import row_mean, where_ok
from ...problem.belief import Ensemble
from .cycle import correction, ensemble_cycles


def toy(E, Y, y, R):
    """One analysis."""
    X, S, h = E - row_mean(E), R.whiten(Y - row_mean(Y)), row_mean(Y)
    step, ok = correction(R.whiten(y[..., None, :] - h), S, X)
    half, _ = correction(S, S, X)
    return where_ok(ok, E + step - half / 2)


@dataclass(frozen=True, eq=False)
class ToyFilter:
    """A toy."""

    members: int

    def run(self, problem, rng):
        def update(forecast, Y, y, observe):
            return Ensemble.unchecked(toy(forecast.members, Y, y, observe.noise))

        return ensemble_cycles(problem, rng, self.members, 1.0, update)
'''
COVARIANCE = '''
"""Alike and independent errors: a toy."""
from dataclasses import dataclass

from ..array import Array, eye
from .base import Covariance


@dataclass(frozen=True, eq=False)
class ToyAlike(Covariance):
    """C = s^2 I with s in `size (n,)`, all the same."""

    size: Array

    n = property(lambda self: self.size.shape[-1])
    batch = ()

    def color(self, z):
        if z.shape[-1] != self.n:
            raise ValueError(f"met {z.shape[-1]} numbers, wanted {self.n}")
        return z * self.size

    def whiten(self, x):
        if x.shape[-1] != self.n:
            raise ValueError(f"met {x.shape[-1]} numbers, wanted {self.n}")
        return x / self.size

    def variance(self):
        return self.size**2

    def matrix(self):
        return self.size**2 * eye(self.n, self.size)
'''
CODER = '''
"""All but the last component: a toy."""
from dataclasses import dataclass

from ..array import array_namespace
from .coders import check_states, reconstruction_error


@dataclass(frozen=True, eq=False)
class ToyShort:
    """z = x_1 .. x_(n-1); the last is taken for 2."""

    n: int

    @property
    def r(self):
        return self.n - 1

    def encode(self, x):
        if x.shape[-1] != self.n:
            raise ValueError(f"met {x.shape[-1]} numbers, wanted (..., {self.n})")
        return x[..., :-1]

    def decode(self, z):
        if z.shape[-1] != self.r:
            raise ValueError(f"met {z.shape[-1]} numbers, wanted (..., {self.r})")
        return array_namespace(z).concat((z, 0 * z[..., :1] + 2), axis=-1)

    def floor(self, test):
        return reconstruction_error(self, test)
'''
EXERCISE = '''
"""A toy part of the book."""
from .numbers import Number

exercises = {"toy-half": Number(0.5, "right.", hints={2.0: "the other way round."})}
'''


class Part:
    """A toy: the files that it touches, of which the first is its own."""

    def __init__(self, root, path, source):
        self.root, self.touched = root, [path]
        (root / path).write_text(source)

    def add(self, path, line, after=None):
        """`line` at the end of a file, or after the first line that begins with `after`."""
        text = (self.root / path).read_text("utf8")
        if after is None:
            text += line + "\n"
        else:
            assert f"\n{after}" in text, f"{path} has no line that begins with {after!r}"
            head, rest = text.split(f"\n{after}", 1)
            end = rest.index("\n")
            text = f"{head}\n{after}{rest[:end]}\n{line}{rest[end:]}"
        (self.root / path).write_text(text, "utf8")
        self.touched.append(path)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the package and of its tests with five toys, and what each toy touched."""
    root = tmp_path_factory.mktemp("house")
    # what Python compiled comes along: it is valid for the files that no toy touches
    ignore = shutil.ignore_patterns("*.safetensors", "*.js", "*.css")
    shutil.copytree(ROOT / "dalearn", root / "dalearn", ignore=ignore)
    shutil.copytree(ROOT / "tests", root / "tests", ignore=ignore)
    front, examples = "dalearn/__init__.pyi", "tests/examples.py"

    model = Part(root, "dalearn/models/toy_decay.py", MODEL)
    model.add("dalearn/models/__init__.py", "from .toy_decay import ToyDecay")
    model.add(front, "from .models import ToyDecay as ToyDecay")
    entry = 'ModelExample(da.ToyDecay(), np.array([1.0, -0.4]), "rate"),'
    model.add(examples, f"    {entry}", "MODELS = (")

    method = Part(root, "dalearn/methods/ensemble/toy_filter.py", METHOD)
    method.add("dalearn/methods/__init__.py", "from .ensemble.toy_filter import ToyFilter")
    method.add(front, "from .methods import ToyFilter as ToyFilter")
    method.add(examples, "    MethodExample(da.ToyFilter(10)),", "METHODS = (")

    coder = Part(root, "dalearn/models/toy_short.py", CODER)
    coder.add("dalearn/models/__init__.py", "from .toy_short import ToyShort")
    coder.add(front, "from .models import ToyShort as ToyShort")
    entry = 'CoderExample(da.ToyShort(12), "toy", 0.19)'
    coder.add(examples, f"    yield {entry}", "def _coders():")

    cov = Part(root, "dalearn/covariances/toy_alike.py", COVARIANCE)
    cov.add("dalearn/covariances/__init__.py", "from .toy_alike import ToyAlike")
    cov.add(front, "from .covariances import ToyAlike as ToyAlike")
    cov.add(examples, '        "toy": da.ToyAlike(np.full(5, 0.3)),', "    return {")

    exercise = Part(root, "dalearn/exercises/toys.py", EXERCISE)
    exercise.add("dalearn/exercises/check.py", "from . import toys", "from .numbers import")
    exercise.add("dalearn/exercises/check.py", "    **toys.exercises,", "exercises: Mapping")
    return root, (model, method, coder, cov, exercise)


def test_a_part_touches_four_files_at_most(house):
    for part in house[1]:
        assert len(set(part.touched)) <= 4, part.touched


CONTRACT = (
    "test_any_leading_axes",
    "test_derivative_equals_finite_difference",
    "test_one_cycle_per_observation",
    "test_a_batch_is_the_experiments_one_by_one",
    "test_no_observation_at_all_is_a_forecast",
    "test_whitening_is_the_inverse",
    "test_color_variance_and_matrix_agree",
    "test_numpy_equals_torch",
    "test_the_floor_on_held_out_states",
)
FILES = (
    "models/test_models.py",
    "models/test_coders.py",
    "methods/test_methods.py",
    "covariances/test_covariances.py",
)


def python(root, *arguments):
    path = os.pathsep.join(map(str, (root, root / "tests")))
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_contracts_run_on_new_parts(house):
    root = house[0]
    chosen = f"toy and ({' or '.join(CONTRACT)})"
    options = ("-q", "-p", "no:cacheprovider", "--noconftest", "-W", "ignore", "-k", chosen)
    done = python(root, "-m", "pytest", *options, *(f"tests/{name}" for name in FILES))
    # seven of the model (five shapes), four of the method, three of covariance and coder each
    assert "17 passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]


def test_a_new_exercise_answers(house):
    code = (
        "import dalearn, pathlib; print(pathlib.Path(dalearn.__file__).parents[1]); "
        "print(bool(dalearn.check('toy-half', 0.5)), dalearn.check('toy-half', 2.0))"
    )
    done = python(house[0], "-c", code)
    where, said = done.stdout.splitlines()[:2]
    assert Path(where) == house[0]
    assert said.startswith("True")
    assert "the other way round" in done.stdout
