"""A file imports only from lower floors; heavy libraries only where the house allows them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "dalearn"
FLOORS = {
    "array": 0,
    "data": 0,  # measurements, of no use to the rooms above but in a problem
    "derivative": 0.5,  # a mezzanine: covariances are carried through derivatives
    "gaussian": 1,
    "border": 1,
    "integrate": 1,
    "grid": 1,
    "chain": 2.5,  # of beliefs about a trajectory
    "inflate": 2.5,  # acts on ensembles
    "localize": 1,
    "tridiagonal": 1,
    "roots": 1.1,
    "kernels": 1.2,  # correlations; they know the tapers
    "correlation": 1.4,
    "separable": 1.4,
    "diffusion": 1.6,
    "covariances": 1.6,
    "models": 2,
    "observe": 2,
    "belief": 2,
    "validate": 2,
    "problem": 3,
    "generate": 3,
    "nature": 3.5,  # what makes problems: from a model, or from another problem
    "joint": 3.5,
    "differences": 3.5,  # makes covariances from a problem's cycle
    "methods": 4,
    "innovations": 4.5,
    "cycle": 5,
    "sweep": 5.5,
    "diagnostics": 6,
    "consistency": 6.2,  # reads results as diagnostics do
    "statistics": 6.2,
    "increments": 6.2,
    "verify": 6,
    "tuning": 6.2,  # reads innovations
    "judges": 6,
    "plot": 6,
    "widgets": 7,
    "check": 7,
}
WING = "neural"  # may use floors 0-3
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path):
    return path.relative_to(ROOT).with_suffix("").parts


def _is_typing(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path):
    """(is it at module level, absolute dotted name) of every import in the file."""
    tree = ast.parse(path.read_text())
    package = ("dalearn", *module_of(path)[:-1])
    typing = {n for b in tree.body if _is_typing(b) for n in ast.walk(b)}
    bodies = [b for b in tree.body if not isinstance(b, (ast.FunctionDef, ast.ClassDef))]
    top = {n for b in bodies for n in ast.walk(b)} - typing  # what runs at import
    for node in ast.walk(tree):
        if node in typing:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node in top, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *(node.module.split(".") if node.module else ())))
            if name == ".".join(base) and node.level:  # from . import x
                for alias in node.names:
                    yield node in top, f"{name}.{alias.name}"
            else:
                yield node in top, name


def rooms(name):
    parts = name.split(".")
    return parts[1] if parts[0] == "dalearn" and len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(module_of(p)))
def test_imports_only_from_lower_floors(path):
    room = module_of(path)[0]
    if room == "__init__":
        names = [n for _, n in imports(path)]
        assert names == ["lazy_loader"], f"the package's front door imports {names}"
        return
    assert room in FLOORS or room == WING, f"{path} has no floor: give it one in FLOORS"
    for top, name in imports(path):
        target = rooms(name)
        if target is None or target == room:
            continue
        assert target in FLOORS or target == WING, f"{path} imports the unknown room {target}"
        if room == WING:
            assert FLOORS[target] <= 3, f"{path} (the neural wing) imports {name}"
        elif target == WING:
            assert FLOORS[room] >= 4, f"{path} imports the neural wing"
            assert not top, f"{path} must import {name} lazily"
        else:
            assert FLOORS[target] < FLOORS[room], f"{path} imports {name} from no lower floor"


def test_methods_import_each_other_only_through_the_contract():
    for path in FILES:
        parts = module_of(path)
        if parts[0] == "methods" and parts[-1] != "__init__":
            own = {n.split(".")[2] for _, n in imports(path) if n.startswith("dalearn.methods.")}
            shared = {"base", "ensemble", "transform"}  # and, of the variational ones:
            shared |= {"paths", "variational", "windows", "minimise", "newton"}
            assert own <= shared, f"{path} imports {own}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(module_of(p)))
def test_heavy_libraries_only_where_allowed(path):
    room = module_of(path)[0]
    for top, name in imports(path):
        library = name.split(".")[0]
        if library == "torch" and room != WING:
            assert not top, f"{path} imports torch at module level"
        if library in ("xarray", "scipy", "pandas"):
            assert not top, f"{path} imports {library} at module level"
        if library == "matplotlib":
            assert room in ("plot", "widgets"), f"{path} imports matplotlib"
        if library in ("ipywidgets", "anywidget"):
            assert room == "widgets", f"{path} imports {library}"


def test_files_stay_short():
    """The card says about 250 lines a file; a method or model is a page; check.py is a table."""
    code = [p for p in FILES if p.name != "check.py"]
    long = {p.name: n for p in code if (n := len(p.read_text().splitlines())) > 350}
    assert not long, f"files of more than 350 lines: {long}"
    pages = [p for p in FILES if module_of(p)[0] in ("methods", "models")]
    long = {p.name: n for p in pages if (n := len(p.read_text().splitlines())) > 210}
    assert not long, f"methods or models of more than 210 lines: {long}"


def test_import_is_light():
    import subprocess
    import sys

    code = (
        "import sys, dalearn; dalearn.__all__; "
        "print([m for m in ('torch', 'matplotlib', 'xarray', 'scipy', 'pandas', 'ipywidgets') "
        "if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_loads_and_is_documented():
    import importlib
    import inspect

    import dalearn

    for name in dalearn.__all__:
        value = getattr(dalearn, name)
        assert inspect.getdoc(value), f"dalearn.{name} has no docstring"
        if inspect.ismodule(value):
            importlib.import_module(f"dalearn.{name}")
