"""A file imports only from earlier folders; heavy libraries only where the house allows them."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "dalearn"
ORDER = (  # a file imports from earlier folders, or from its own
    "array",
    "data",
    "files",
    "covariances",
    "models",
    "problem",
    "neural",
    "methods",
    "run",
    "diagnostics",
    "cases",
    "plot",
    "widgets",
    "exercises",
)
METHODS = (
    "base",
    "background",
    "gaussian",
    "ensemble",
    "particles",
    "variational",
    "score",
    "inversion",
    "latent",
    "learned",
)
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


def room(name):
    """The folder of a module of the package, None for a module of another package."""
    parts = name.split(".")
    return parts[1] if parts[0] == "dalearn" and len(parts) > 1 else None


def test_every_file_has_its_folder():
    assert {module_of(p)[0] for p in FILES} - {"__init__"} == set(ORDER)
    assert [p.name for p in ROOT.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(module_of(p)))
def test_imports_only_from_earlier_folders(path):
    own = module_of(path)[0]
    if own == "__init__":
        names = [n for _, n in imports(path)]
        assert names == ["lazy_loader"], f"the package's front door imports {names}"
        return
    for top, name in imports(path):
        target = room(name)
        if target is None or target == own:
            continue
        assert target in ORDER, f"{path} imports the unknown folder {target}"
        assert ORDER.index(target) < ORDER.index(own), f"{path} imports {name} from a later folder"
        if target == "neural":
            assert not top, f"{path} must import {name} inside a function"


def test_the_folders_of_methods_stand_in_order():
    for path in FILES:
        parts = module_of(path)
        if parts[0] != "methods" or parts[1] == "__init__":
            continue
        for _, name in imports(path):
            if name.startswith("dalearn.methods."):
                target = name.split(".")[2]
                assert METHODS.index(target) <= METHODS.index(parts[1]), f"{path} imports {name}"


def modules(name):
    """The file of an imported module, or of the package that defines the imported name."""
    path = ROOT.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"


def test_no_circles():
    """What is imported when a file is imported never leads back to it."""
    edges = {p: {modules(n) for top, n in imports(p) if top and room(n)} for p in FILES}
    done, path = set(), []

    def visit(file):
        assert file not in path, " -> ".join("/".join(module_of(p)) for p in [*path, file])
        if file not in done:
            path.append(file)
            for target in edges.get(file, ()):
                visit(target)
            done.add(path.pop())

    for file in FILES:
        visit(file)


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(module_of(p)))
def test_heavy_libraries_only_where_allowed(path):
    own = module_of(path)[0]
    for top, name in imports(path):
        library = name.split(".")[0]
        if library == "torch" and own != "neural":
            assert not top, f"{path} imports torch at module level"
        if library in ("xarray", "scipy", "pandas"):
            assert not top, f"{path} imports {library} at module level"
        if library == "matplotlib":
            assert own in ("plot", "widgets"), f"{path} imports matplotlib"
        if library in ("ipywidgets", "anywidget"):
            assert own == "widgets", f"{path} imports {library}"


MEDIAN = 115  # lines of the middle file without docstrings; 110 is wanted


def length(path):
    return len(path.read_text().splitlines())


def test_every_warning_points_at_the_users_line():
    """`array.warn` finds it, however many calls are between; a stacklevel counts them."""
    own = [p.name for p in FILES if "warnings.warn(" in p.read_text("utf-8")]
    assert own == ["arguments.py"]


def test_no_file_is_long_and_none_is_a_scrap():
    sizes = {"/".join(module_of(p)) + ".py": length(p) for p in FILES}
    long = {n: size for n, size in sizes.items() if size > 300}
    assert not long, f"files of more than 300 lines: {long}"
    scraps = [n for n, s in sizes.items() if s < 30 and not n.endswith("__init__.py")]
    assert not scraps, f"files of fewer than 30 lines belong into another: {scraps}"


def without_docstrings(path):
    """The lines of a file that are not docstrings: their form has a line for each argument."""
    tree, lines = ast.parse(path.read_text()), length(path)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return lines


def test_the_middle_file_is_short():
    middle = statistics.median(without_docstrings(p) for p in FILES if p.name != "__init__.py")
    assert middle <= MEDIAN, f"the median file has {middle} lines, {MEDIAN} are allowed"


RUN = 6  # equal lines in a row that count as a repetition
REPEATED = {  # what two files may share, and why
    ("methods/ensemble/denkf.py", "methods/ensemble/enkf.py"),  # fields, checks: one form
}


def said(path):
    """The lines of a file without imports, docstrings, comments and blanks; spaces normalised."""
    text = path.read_text()
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            left_out |= set(range(node.lineno, node.end_lineno + 1))
        elif isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and body:
            first = body[0]
            if ast.get_docstring(node, clean=False) is not None:
                left_out |= set(range(first.lineno, first.end_lineno + 1))
    lines = (" ".join(x.split()) for i, x in enumerate(text.splitlines(), 1) if i not in left_out)
    return [x for x in lines if x and not x.startswith("#")]


def repeated(files):
    """Pairs of files that share a run of six lines, and the first line of one such run."""
    where, found = {}, {}
    for path in files:
        lines = said(path)
        for k in range(len(lines) - RUN + 1):
            run = tuple(lines[k : k + RUN])
            if not any(c.isalnum() for c in "".join(run)):
                continue
            other = where.setdefault(run, path)
            if other != path:
                found[other, path] = run[0]
    return found


def test_nothing_is_written_twice():
    found = {
        tuple("/".join(module_of(p)) + ".py" for p in pair): run
        for pair, run in repeated(FILES).items()
    }
    assert set(found) <= REPEATED, f"runs of {RUN} equal lines begin with {found}"


def test_a_repetition_is_found(tmp_path):
    one, two, three = (tmp_path / f"{name}.py" for name in "abc")
    body = "".join(f"x{i} = {i}\n" for i in range(6))
    one.write_text(f'"""One."""\nimport os\n{body}')
    two.write_text(f"def f():\n{body.replace('x', '    x')}")
    three.write_text(body.replace("x3", "y3"))
    assert repeated([one, two, three]) == {(one, two): "x0 = 0"}


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
            importlib.import_module(value.__name__)
