"""The repository's own promises: lists that must agree, and what must not be tracked."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CONDA = {"pytorch": "torch", "matplotlib-base": "matplotlib"}  # conda-forge's name -> PyPI's


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "constraints.txt").read_text("utf8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "constraints.txt holds exact pins only"
    return {canonicalize_name(name): version for name, version in pairs}


def requirements(project, *extras):
    lists = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    return {canonicalize_name(r.name): r for one in lists for r in map(Requirement, one)}


def conda_requirements():
    """name -> version specifier, as pip would write it, of everything environment.yml asks for."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))["dependencies"]
    pip = next(x["pip"] for x in listed if isinstance(x, dict))
    assert "-e ." in pip
    plain = [x for x in listed if isinstance(x, str)] + [x for x in pip if not x.startswith("-")]
    found = {}
    for entry in plain:
        name, spec = re.fullmatch(r"([\w.-]+)(.*)", entry).groups()
        found[canonicalize_name(CONDA.get(name, name))] = re.sub(r"^=(?!=)", "==", spec)
    return found


def test_environment_mirrors_pyproject(project):
    wanted = {name: str(r.specifier) for name, r in requirements(project, "book", "test").items()}
    found = conda_requirements()
    assert found.pop("python") == project["requires-python"]
    found.pop("pip")
    assert found == wanted


def test_constraints_cover_every_direct_dependency(project, pins):
    wanted = requirements(project, "book", "test", "bench", "scale")
    assert set(wanted) <= set(pins)
    outside = {n: pins[n] for n, r in wanted.items() if not r.specifier.contains(pins[n])}
    assert not outside, "a pin outside what pyproject.toml allows"


def test_constraints_are_sorted_and_torch_has_no_local_tag(pins):
    assert list(pins) == sorted(pins)
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins["torch"]), "2.13.0 and not 2.13.0+cpu"


def test_the_lock_has_hashes_of_every_pin_but_torch(project, pins):
    """Written by .ci/lock.py; a pin that changed without it would not be installed by CI."""
    text = (ROOT / "requirements.lock").read_text("utf8")
    entries = re.findall(r"^([\w.-]+)==(\S+)((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", text, re.M)
    found = {canonicalize_name(name): version for name, version, _ in entries}
    assert found == {name: version for name, version in pins.items() if name != "torch"}
    assert len(entries) == len(re.findall(r"^\w", text, re.M))  # no line that is none of these
    needed, bench = text.split("# only for the extra bench\n")
    assert "\ndapper==" in "\n" + bench
    direct = requirements(project, "book", "test", "scale")
    inside = {canonicalize_name(n) for n in re.findall(r"^([\w.-]+)==", needed, re.M)}
    assert set(direct) - {"torch"} <= inside


def test_no_pin_wants_more_than_the_python_that_we_ask_for(project, pins):
    """Debian 12 has 3.11.2; a pin for 3.11.5 and later installs on a newer machine only."""
    least = re.fullmatch(r">=(3\.\d+)", project["requires-python"])[1] + ".0"
    wants = {}
    for found in metadata.distributions():
        name, asked = canonicalize_name(found.name), found.metadata.get("Requires-Python")
        if pins.get(name) == found.version and asked:
            wants[name] = asked
    assert len(wants) > 100
    above = {n: a for n, a in wants.items() if not SpecifierSet(a).contains(least)}
    assert not above


def test_what_builds_the_package_is_pinned(pins):
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["build-system"]
    assert build["requires"] == [f"{name}=={pins[name]}" for name in ("hatchling", "editables")]


def tracked():
    """Tracked files, and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_no_minified_or_built_file_is_tracked():
    """Third-party code comes from packages: no bundle, and no line that only a machine writes."""
    bad = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.endswith((".min.js", ".min.css", ".map", ".whl", ".woff", ".woff2")):
            bad.append(name)
        elif path.suffix in {".js", ".mjs", ".css"}:
            bad += [name] * any(len(line) > 500 for line in path.read_text("utf8").splitlines())
        elif name.startswith(("_build/", ".venv/")):
            bad.append(name)
    assert not bad


def test_no_two_test_files_have_one_name():
    """pytest imports them by their names alone."""
    names = [p.name for p in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_the_types_are_shipped():
    """py.typed tells type checkers to read the package's annotations (PEP 561)."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["hatch"]["build"]
    assert build == {"targets": {"wheel": {"packages": ["dalearn"]}}}  # all that is tracked in it
    assert ROOT / "dalearn" / "py.typed" in tracked()


def test_no_tracked_file_is_large():
    """One megabyte is what a shipped set of weights may weigh; nothing else comes near."""
    assert not [p.name for p in tracked() if p.stat().st_size > 1_050_000]


def blocks(language):
    """The blocks of the README in a language, each with the text block that follows it, if any."""
    text = (ROOT / "README.md").read_text("utf8")
    found = re.findall(r"```(\w+)\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.S)
    return [(code, printed) for name, code, printed in found if name == language]


@pytest.mark.slow
def test_the_blocks_of_the_readme_print_what_they_say(tmp_path):
    """All of them in one process, in their order, as a reader runs them.

    The sweep is made smaller, by its two numbers alone: 4 seeds instead of 100, in one process.
    """
    first, sweep = blocks("python")
    smaller = sweep[0]
    for old, new in (
        ("ProcessPoolExecutor(8)", "ProcessPoolExecutor(1)"),
        ("methods, 100, pool, chunk=25", "methods, 4, pool, chunk=2"),
    ):
        assert smaller.count(old) == 1
        smaller = smaller.replace(old, new)
    out = subprocess.run(
        [sys.executable, "-c", f"{first[0]}\nprint('next')\n{smaller}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    one, two = out.stdout.split("next\n")
    assert one == first[1]
    here, there = ([re.split(r"  +", line) for line in x.splitlines()] for x in (two, sweep[1]))
    assert [row[0] for row in here] == [row[0] for row in there]  # head, name of the index, rows
    assert here[0] == there[0]
    for (name, *found), (_, *wanted) in zip(here[2:], there[2:], strict=True):
        assert (found[2:], wanted[2:]) == (["0", "4"], ["0", "100"]), name
        for one, other in zip(found[:2], wanted[:2], strict=True):
            # medians over 4 seeds of 600 cycles, of which one scatters by 0.008
            assert abs(float(one) - float(other)) < 0.015, name


def test_the_commands_of_the_readme_exist():
    rules = (ROOT / "Makefile").read_text("utf8")
    shell = "".join(code for code, _ in blocks("bash"))
    wanted = re.findall(r"^make (\w+)", shell, re.M)
    assert wanted == ["book", "lab"]
    assert all(re.search(rf"^{name}:", rules, re.M) for name in wanted)
