"""Whatever changes what a model does is seen by its fingerprint, or said to be unseen.

Each text is a file of a user; `{v}` in it is another number in the second of two runs. What the
file calls `model` is described: the words of two runs of the same file are the same, and those of
another number differ, or a warning names what cannot be seen into.
"""

import importlib
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from lengths import full
from torch import nn

import dalearn as da
from dalearn.files.fingerprint import describe, entries

# What stands behind ### is another file, helper.py.
NET = "import torch\nclass Net(torch.nn.Module):\n def __init__(self):\n  super().__init__()\n"
SELF = "import numpy as np\nclass Own:\n"

SEEN = {
    "attribute of a module": NET + "  self.dt = {v}\nmodel = Net()",
    "attribute of an inner module": NET
    + "  self.dt = {v}\nmodel = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(Net()))",
    "list in a module": NET + "  self.parts = [1, {{'a': {v}}}]\nmodel = Net()",
    "buffer that is not stored": NET
    + "  self.register_buffer('b', torch.tensor({v}.0), persistent=False)\nmodel = Net()",
    "buffer": NET + "  self.register_buffer('b', torch.tensor({v}.0))\nmodel = Net()",
    "forward hook": NET + "model = Net()\nmodel.register_forward_hook(lambda m, x, y: y * {v})",
    "forward pre-hook of an inner module": NET
    + "inner = Net()\ninner.register_forward_pre_hook(lambda m, x: x * {v})\n"
    + "model = torch.nn.Sequential(inner)",
    "method put on a module": NET + "model = Net()\nmodel.forward = lambda x: x + {v}",
    "mode of a module": "import torch\nmodel = torch.nn.Dropout().train({v} == 1)",
    "dropout's p": "import torch\nmodel = torch.nn.Dropout({v} / 4)",
    "default": "def model(x, a={v}): return x + a",
    "keyword default": "def model(x, *, a={v}): return x + a",
    "closure": "def make(a):\n return lambda x: x + a\nmodel = make({v})",
    "closure over an object": SELF
    + " a = 1\ndef make(o):\n return lambda x: x + o.b\no = Own()\no.b = {v}\nmodel = make(o)",
    "number outside": "A = {v}\ndef model(x): return x + A",
    "array outside": "import numpy as np\nA = np.array([{v}])\ndef model(x): return x + A",
    "function outside": "def f(x): return x * {v}\ndef model(x): return f(x)",
    "class outside": "class A:\n def f(self, x): return {v} * x\ndef model(x): return A().f(x)",
    "dict outside": "A = {{'b': {{'c': {v}}}}}\ndef model(x): return x + A['b']['c']",
    "object outside": "import types\nA = types.SimpleNamespace(b={v})\n"
    "def model(x): return x + A.b",
    "set outside": "A = {{'a', 'b', {v}}}\ndef model(x): return len(A)",
    "lambda": "model = lambda x: x + {v}",
    "lambda in a list": "A = [lambda x: x + {v}]\ndef model(x): return A[0](x)",
    "lambda in a dict": "A = {{'f': lambda x: x + {v}}}\ndef model(x): return A['f'](x)",
    "object in a list": SELF + " def __call__(self, x): return x * {v}\nmodel = [Own()]",
    "nested function": "def model(x):\n def f(y):\n  return lambda: y + {v}\n return f(x)()",
    "comprehension": "def model(x): return [y + {v} for y in x]",
    "class in a function": "def model(x):\n class A:\n  b = {v}\n return x + A.b",
    "global of a nested function": "A = {v}\ndef model(x):\n return [y + A for y in x]",
    "slots": "class Own:\n __slots__ = ('a',)\nmodel = Own()\nmodel.a = {v}",
    "slots of a base": "class A:\n __slots__ = ('a',)\nclass B(A):\n __slots__ = ()\n"
    "model = B()\nmodel.a = {v}",
    "private slot": "class Own:\n __slots__ = ('__a',)\n def __init__(self): self.__a = {v}\n"
    "model = Own()",
    "object without attributes": "class Own:\n __slots__ = ()\n def f(self): return {v}\n"
    "model = Own()",
    "property": SELF + " @property\n def a(self): return {v}\nmodel = Own()",
    "setter": SELF + " @property\n def a(self): return 1\n @a.setter\n"
    " def a(self, b): self.b = b * {v}\nmodel = Own()",
    "cached property": "import functools\n"
    + SELF
    + " @functools.cached_property\n def a(self): return {v}\nmodel = Own()",
    "class attribute": SELF + " a = {v}\nmodel = Own()",
    "class attribute of a base": "class A:\n a = ({v},)\nclass B(A): pass\nmodel = B()",
    "object in a class attribute": "class A:\n def __init__(self): self.b = {v}\n"
    "class B:\n a = A()\nmodel = B()",
    "static method": SELF + " @staticmethod\n def f(x): return {v}\nmodel = Own()",
    "class method": SELF + " @classmethod\n def f(cls, x): return {v}\nmodel = Own()",
    "static method as a model": SELF + " @staticmethod\n def f(x): return {v}\nmodel = Own.f",
    "descriptor": "class D:\n"
    " def __get__(self, a, b): return {v}\nclass A:\n d = D()\nmodel = A()",
    "metaclass": "class M(type):\n a = {v}\nclass A(metaclass=M): pass\nmodel = A()",
    "partial": "import functools\ndef f(x, a): return x\nmodel = functools.partial(f, a={v})",
    "partial of a method": "import functools\n"
    + SELF
    + " def __init__(self): self.a = {v}\n def f(self, x): return x\n"
    + "model = functools.partial(Own().f, 1)",
    "bound method": SELF + " def f(self, x): return x\nmodel = Own()\nmodel.a = {v}\n"
    "model = model.f",
    "cached function": "import functools\n@functools.lru_cache\ndef model(x): return x * {v}",
    "decorated function": "import functools\ndef d(f):\n @functools.wraps(f)\n"
    " def g(*a): return f(*a)\n return g\n@d\ndef model(x): return x * {v}",
    "decorator": "import functools\ndef d(f):\n @functools.wraps(f)\n"
    " def g(*a): return f(*a) * {v}\n return g\n@d\ndef model(x): return x",
    "attribute of a function": "def model(x): return x + model.a\nmodel.a = {v}",
    "singledispatch": "import functools\n@functools.singledispatch\ndef model(x): return x\n"
    "@model.register\ndef _(x: int): return {v}",
    "generator": "import numpy as np\nclass A: pass\nmodel = A()\n"
    "model.rng = np.random.default_rng({v})",
    "generator that was used": "import numpy as np\nA = np.random.default_rng(0)\n"
    "A.random({v})\ndef model(x): return A.random()",
    "old generator": "import numpy as np\nmodel = [np.random.RandomState({v})]",
    "generator of Python": "import random\nmodel = [random.Random({v})]",
    "generator of torch": "import torch\nmodel = [torch.Generator().manual_seed({v})]",
    "named tuple": "import collections\nP = collections.namedtuple('P', 'a')\nmodel = P({v})",
    "enum": "import enum\nclass E(enum.Enum):\n A = {v}\ndef model(x): return E.A",
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass D:\n a: int\nmodel = D({v})",
    "variable of a dataclass": "import dataclasses\n@dataclasses.dataclass(frozen=True)\n"
    "class D:\n a: dataclasses.InitVar\n"
    " def __post_init__(self, a): object.__setattr__(self, 'b', a)\n"
    "model = D({v})",
    "subclass of dict": "class A(dict): pass\nmodel = A(a=1)\nmodel.b = {v}",
    "subclass of an array": "import numpy as np\nclass A(np.ndarray): pass\n"
    "model = np.ones(2).view(A)\nmodel.b = {v}",
    "array of objects": "import numpy as np\nmodel = np.array([[1, {v}], 'a'], dtype=object)",
    "masked array": "import numpy as np\nmodel = np.ma.array([1, 2, 3], mask=[0, {v} - 1, 1])",
    "array of text": "import numpy as np\nmodel = np.array(['a', 'b{v}'])",
    "array of times": "import numpy as np\nmodel = np.array(['2020-01-0{v}'], 'M8[D]')",
    "vectorised function": "import numpy as np\nmodel = np.vectorize(lambda x: x * {v})",
    "interpolator": "import numpy as np\n"
    "from scipy.interpolate import RegularGridInterpolator as R\n"
    "model = R(([0, 1],), np.array([0.0, {v}]))",
    "spline": "from scipy.interpolate import CubicSpline\n"
    "model = CubicSpline([0, 1, 2], [0, 1, {v}])",
    "interp1d": "from scipy.interpolate import interp1d\nmodel = interp1d([0, 1], [0, {v}])",
    "tree": "from scipy.spatial import cKDTree\nmodel = cKDTree([[0.0], [{v}.0]])",
    "sparse matrix": "import scipy.sparse as s\nmodel = s.csr_array([[0.0, {v}.0]])",
    "sparse operator": "import numpy as np\nfrom scipy.sparse.linalg import aslinearoperator\n"
    "model = aslinearoperator(np.eye(2) * {v})",
    "frozen distribution": "from scipy.stats import norm\nmodel = norm(0, {v})",
    "polynomial": "import numpy as np\nmodel = np.polynomial.Polynomial([1, {v}])",
    "data frame": "import pandas as pd\nmodel = pd.DataFrame({{'a': [1, {v}]}})",
    "data array": "import xarray as xr\nmodel = xr.DataArray([1, {v}], dims='x')",
    "distribution of torch": "import torch\nmodel = torch.distributions.Normal(0.0, {v}.0)",
    "sparse tensor": "import torch\nmodel = torch.eye(2).mul({v}).to_sparse()",
    "date": "import datetime\nmodel = datetime.timedelta({v})",
    "deque": "import collections\nmodel = collections.deque([1, {v}])",
    "path": "import pathlib\nmodel = pathlib.Path('a{v}')",
    "abstract class": "import abc\nclass A(abc.ABC):\n def f(self): return {v}\n"
    "class B(A): pass\nmodel = B()",
    "string": "def model(x): return 'a{v}'",
    "other name": "import numpy as np\ndef model(x): return np.{f}(x)",
    "order of bytes of a constant": "def model(x): return x in {{'a', 'b', 'c', 'd{v}'}}",
    "recursion": "A = []\nA.append(A)\nA.append({v})\ndef model(x): return A",
    "two that call each other": "def f(x): return model(x) * {v}\ndef model(x): return f(x)",
    "library": "from helper import A\ndef model(x): return x + A\n### A = {v}",
    "number in another file": "import helper\ndef model(x): return x + helper.A\n### A = {v}",
    "function of another file": "from helper import f\ndef model(x): return f(x)\n"
    "### def f(x): return x * {v}",
    "function by the name of its file": "import helper\ndef model(x): return helper.f(x)\n"
    "### def f(x): return x * {v}",
    "number that another file uses": "from helper import f\ndef model(x): return f(x)\n"
    "### A = {v}\ndef f(x): return x * A",
    "base class of another file": "from helper import Base\nclass A(Base): pass\nmodel = A()\n"
    "### class Base:\n def f(self): return {v}",
    "file imported when it is called": "def model(x):\n from helper import f\n return f(x)\n"
    "### def f(x): return x * {v}",
    "object of another file": "import helper\ndef model(x): return helper.A.b\n"
    "### import types\nA = types.SimpleNamespace(b={v})",
    "default of a dict": "import collections\nmodel = collections.defaultdict(lambda: {v})",
    "class with a constructor outside": "class A:\n def __init__(self): self.b = {v}\n"
    "def model(x): return x + A().b",
    "constructor of a dataclass of one's own": "import dataclasses\n"
    "@dataclasses.dataclass(init=False)\nclass A:\n b: int = 0\n"
    " def __init__(self): self.b = 2 * {v}\ndef model(x): return x + A().b",
    "text of an object": SELF + " def __repr__(self): return '{v}'\nmodel = Own()",
    "comparison of a dataclass": "import dataclasses\n@dataclasses.dataclass(eq=False)\n"
    "class A:\n def __eq__(self, other): return {v}\nmodel = A()",
    "getattr of another file": "import helper\ndef model(x): return getattr(helper, 'A') + x\n"
    "### A = {v}",
    "vars of another file": "import helper\ndef model(x): return vars(helper)['A'] + x\n"
    "### A = {v}",
    "file in a dict": "import helper\nT = {{'a': helper}}\ndef model(x): return T['a'].A * x\n"
    "### A = {v}",
    "file in an attribute": "import helper\n" + SELF + " def __init__(self): self.m = helper\n"
    " def __call__(self, x): return self.m.f(x)\nmodel = Own()\n### def f(x): return x * {v}",
    "its own fingerprint": "class A:\n fingerprint = 'a{v}'\nmodel = A()",
}

UNSEEN = {
    "ufunc of Python": "import numpy as np\nmodel = np.frompyfunc(lambda x: x * {v}, 1, 1)",
    "variable of the environment": "import os\ndef model(x): return os.environ['A{v}'[:1]]",
    "environment by name": "from os import getenv\ndef model(x): return getenv('A')",
    "open": "def model(x):\n with open('a') as f: return f.read()",
    "load": "import numpy as np\ndef model(x): return x + np.load('a.npy')",
    "text of a path": "import pathlib\nP = pathlib.Path('a')\ndef model(x): return P.read_text()",
    "load by its name": "from numpy import load\ndef model(x): return x + load('a.npy')",
    "file of another program": "from scipy.io import loadmat\n"
    "def model(x): return x + loadmat('a.mat')['a']",
    "other program": "import subprocess\ndef model(x): return subprocess.run(['./a'])",
    "other program by name": "from os import popen\ndef model(x): return popen('./a').read()",
    "arguments of the program": "import sys\ndef model(x): return x * float(sys.argv[1])",
    "text that is run": "A = {v}\ndef model(x): return eval('A * x')",
    "global by its name": "A = {v}\ndef model(x): return globals()['A'] * x",
    "file by its name": "def model(x): return __import__('helper').A * x\n### A = {v}",
    "function in C": "import ctypes\nmodel = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: {v})",
    "iterator": "model = (x for x in [{v}])",
    "file": "model = open(__file__)",
    "socket": "import socket\nmodel = socket.socket()",
}


def described(folder, text, v):
    """The words for the model of a file, as a new process would find it."""
    main, _, other = text.partition("### ")
    names = {"own_model.py": main, "helper.py": other}
    for name, code in names.items():
        (folder / name).write_text(code.format(v=v, f=("sin", "cos")[v - 1]), "utf8")
        sys.modules.pop(name[:-3], None)
    importlib.invalidate_caches()
    return describe(importlib.import_module("own_model").model)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two files of one second and one size
    yield tmp_path
    for name in ("own_model", "helper"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("what", SEEN)
def test_a_change_is_seen(folder, what):
    first, again, other = (described(folder, SEEN[what], v) for v in (1, 1, 2))
    assert first == again
    assert first != other
    assert " at 0x" not in first


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("what", UNSEEN)
def test_what_cannot_be_seen_is_said(folder, what):
    with pytest.warns(RuntimeWarning, match="cannot see into .*an attribute\n?.*`fingerprint`"):
        described(folder, UNSEEN[what], 1)


def test_there_are_more_than_the_23_ways():
    assert len(SEEN) > 90


def test_another_process_finds_the_same_words(folder, tmp_path):
    """Whatever the seed of its hashes, its addresses, and the order of its sets."""
    names = full([k for k in SEEN if "set" in k or "import" not in SEEN[k]], list(SEEN))
    code = (
        "import sys\n"
        "sys.dont_write_bytecode = True\n"
        "sys.path[:0] = sys.argv[1:4]\n"
        "from pathlib import Path\n"
        "import test_changes as t\n"
        "for name in sys.argv[4:]:\n"
        "    print(t.described(Path(sys.argv[1]), t.SEEN[name], 1))\n"
    )
    here = os.path.dirname(__file__)
    for seed in full("1", "123"):
        (tmp_path / seed).mkdir()
        where = [str(tmp_path / seed), here, os.path.dirname(here)]
        child = subprocess.run(
            [sys.executable, "-c", code, *where, *names],
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            text=True,
            check=True,
        )
        assert child.stdout.splitlines() == [described(folder, SEEN[k], 1) for k in names]


def test_nothing_of_the_package_is_unseen():
    from examples import METHODS, MODELS

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for example in (*METHODS, *MODELS):
            entries("it", getattr(example, "method", example))


def test_the_structure_of_a_network_is_not_its_numbers():
    a, b = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    assert describe(a) != describe(b)
    assert describe(a, weights=False) == describe(b.eval(), weights=False)
    b[1].inplace = True
    assert describe(a, weights=False) != describe(b, weights=False)


def test_what_is_shared_is_gone_into_once(monkeypatch):
    """A large array in many places is hashed once; a chain of functions is no tree of them."""
    big, sizes = np.ones(1000), []
    monkeypatch.setattr(
        "dalearn.files.fingerprint._bytes", lambda x: sizes.append(np.size(x)) or b""
    )
    describe([{"a": big, "b": [big] * 10}, big])
    assert sizes.count(1000) == 1
    shared = [0]
    for _ in range(60):
        shared = [shared, shared]
    assert describe(shared) != describe([shared])
    for _ in range(5000):
        shared = [shared]
    with pytest.warns(RuntimeWarning, match="nested too deeply"):
        describe(shared)
    alone, twice = [1.0], [[1.0], [1.0]]
    assert describe([alone, alone]) == describe(twice)  # to be shared is no difference


def test_a_resumed_run_sees_the_attribute_of_a_module(tmp_path):
    class Net(nn.Module):
        def __init__(self, dt):
            super().__init__()
            self.dt, self.layer = dt, nn.Linear(3, 3).double()

        def forward(self, x):
            return x - self.dt * self.layer(x)

    a, b = Net(0.1), Net(0.9)
    b.load_state_dict(a.state_dict())
    x0 = torch.ones(2, 3, dtype=torch.float64)
    given = {"steps": 4, "progress": False}
    da.simulate(a, x0, to=tmp_path / "a.npy", **given)
    with pytest.raises(ValueError, match="another request"):
        da.simulate(b, x0, to=tmp_path / "a.npy", **given)
    data = (x0, x0)
    da.neural.fit(a, data, epochs=1, checkpoint=tmp_path / "fit", progress=False)
    with pytest.raises(ValueError, match=r"another run .*(attributes|code)"):
        da.neural.fit(b, data, epochs=1, checkpoint=tmp_path / "fit", progress=False)
