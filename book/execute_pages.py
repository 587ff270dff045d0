"""Run the book's pages, each once: `make pages`.

A page is executed in a fresh kernel (from `nursery.py`), with every frame of its figures drawn,
and kept in the cache from which Jupyter Book builds the site and pytest compares the `check` cells
(`replay.py`). Two pages run at a time, the longest first. Beside each execution stands a record:
what it cost, and what it used, that is the files of this repository that its kernel opened, the
modules of `dalearn` it imported and the versions of the packages. A page runs again when its code
or something it used has changed; prose, words about a figure, README and modules it never saw cost
nothing.

    python book/execute_pages.py             what changed
    python book/execute_pages.py --compare   what changed; then compare all `check` cells
    python book/execute_pages.py --all       every page
    python book/execute_pages.py --list      what each page cost, and why it would run again
    python book/execute_pages.py book/filters/ensemble-filters.md     only these pages
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

import nbformat
import nursery
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from yardstick import slowness

ROOT = Path(__file__).resolve().parents[1]
BOOK = Path(os.environ.get("DALEARN_BOOK") or ROOT / "book").resolve()  # a test has its own
CACHE = BOOK.parent / "_build" / ".jupyter_cache"  # where Jupyter Book looks
RECORDS = CACHE / "records"
RUNNING = re.compile(r"^:Running: (\d+) seconds", re.MULTILINE)  # what a page tells its reader
TIMEOUT = 900  # seconds a cell: no page is near it, but a machine may be busy with other things

# Run before a page and after it, outside its history. An audit hook cannot be taken away, but the
# kernel dies with the page.
BEFORE = """
def _listen():
    import builtins, os, sys

    def hear(event, arguments):
        if event == "open" and isinstance(arguments[0], str):
            writes = os.O_WRONLY | os.O_RDWR
            if not (isinstance(arguments[2], int) and arguments[2] & writes):
                opened.add(arguments[0] if os.path.isabs(arguments[0]) else
                           os.path.join(os.getcwd(), arguments[0]))

    opened = builtins.__dict__["_opened"] = set()
    sys.addaudithook(hear)

_listen()
del _listen
"""
AFTER = """
def _tell():
    import builtins, json, resource, sys
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    files = {getattr(module, "__file__", None) or "" for module in sys.modules.values()}
    files |= builtins.__dict__["_opened"]
    print(json.dumps({
        "cpu": sum(u.ru_utime + u.ru_stime for u in used),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        "files": sorted(f for f in files if f.startswith(ROOT)),
    }, indent=0))

_tell()
"""


@dataclass(frozen=True)
class Record:
    """One execution of a page: what it ran, what that used, what it cost."""

    page: str  # such as "filters/smoothers"
    code: str  # a hash of the code
    key: str  # the cache's key: a hash of the code cells and their metadata
    files: dict[str, str]  # path from the repository's root -> hash
    packages: dict[str, str]  # name -> version, Python's among them
    cpu: float  # seconds of the kernel and its children, without the nursery's imports
    wall: float
    slowness: float  # of the machine, at that time


def pages() -> list[Path]:
    """Every markdown page with a jupytext header, that is: with code."""
    return [
        p for p in sorted(BOOK.rglob("*.md")) if p.read_text("utf8").startswith("---\njupytext:")
    ]


def name_of(page: Path) -> str:
    return page.relative_to(BOOK).with_suffix("").as_posix()


def read(page: Path):
    """The page as Jupyter Book reads it: the cache's key is a hash of this."""
    return read_myst_markdown_notebook(page.read_text("utf8"), path=page)


def key_of(page: Path) -> str:
    return hashes(page, page.read_text("utf8"))[1]


def code_of(page: Path) -> str:
    return hashes(page, page.read_text("utf8"))[0]


@cache
def hashes(page: Path, text: str) -> tuple[str, str]:
    """Of a page's code, and of its code cells with their metadata: the cache's key."""
    notebook = read(page)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code = hashlib.sha256(json.dumps(sources).encode()).hexdigest()
    return code, store().create_hashed_notebook(notebook)[1]


def store():
    return store_at(CACHE)


@cache
def store_at(path: Path):
    return get_cache(path)


# ---- what a page used ----


@cache
def digest(path: Path, modules: frozenset[str] = frozenset()) -> str:
    """A hash of a file; of the stub of public names, only the lines that lead to these modules."""
    if path.suffix == ".pyi":
        text = "\n".join(names_from(path, modules))
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def names_from(stub: Path, modules: frozenset[str]) -> list[str]:
    """`name = module.name` for the public names of a lazily loaded package that come from modules.

    The stub changes with every new name; a page is concerned with the modules it imported.
    """
    if not stub.is_file():
        return ["missing"]
    package = ".".join(stub.relative_to(ROOT).parent.parts)
    found = []
    for node in ast.parse(stub.read_text("utf8")).body:
        if isinstance(node, ast.ImportFrom):
            base = ".".join(x for x in (package, node.module) if x)
            taken = [x for x in node.names if modules & ({base, f"{base}.{x.name}"} - {package})]
            found += [f"{x.asname or x.name} = {base}.{x.name}" for x in taken]
    return sorted(found)


def module_names(files: Iterable[str]) -> frozenset[str]:
    """The modules that these files are: dalearn/models/lorenz63.py -> dalearn.models.lorenz63."""
    parts = [Path(f).with_suffix("").parts for f in files if f.endswith(".py")]
    return frozenset(".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts)


def belongs(path: Path) -> bool:
    """Whether a file that was opened is part of this repository, and no product of a run."""
    if not path.is_relative_to(ROOT) or path.suffix in (".pyc", ".ipynb", ".md"):
        return False
    hidden = any(part.startswith((".", "__")) for part in path.relative_to(ROOT).parts[:-1])
    return not hidden and path.is_file() and path.relative_to(ROOT).parts[0] != "_build"


def files_of(paths: Iterable[str]) -> dict[str, str]:
    """Hash of each file of the repository that was imported or opened."""
    resolved = {Path(p).resolve() for p in paths}
    used = sorted(p.relative_to(ROOT).as_posix() for p in resolved if belongs(p))
    known = module_names(used)
    return {name: digest(ROOT / name, known) for name in used}


def packages_of(modules: Iterable[str]) -> dict[str, str]:
    """Version of each installed package that was imported, and of Python."""
    names = {d for top in modules for d in distributions().get(top, ())} - {"dalearn"}
    return {"python": platform.python_version()} | {n: version(n) for n in sorted(names)}


@cache
def distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


@cache
def version(package: str) -> str:
    if package == "python":
        return platform.python_version()
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


# ---- records ----


def record_path(page: Path) -> Path:
    return RECORDS / f"{name_of(page)}.json"


def recorded(page: Path) -> Record | None:
    try:
        return Record(**json.loads(record_path(page).read_text("utf8")))
    except (OSError, ValueError, TypeError):
        return None


def stale(page: Path) -> str:
    """Why the page must run; empty where the cache holds what it would give."""
    record = recorded(page)
    if record is None:
        return "never run"
    if record.code != code_of(page):
        return "its code changed"
    modules = module_names(record.files)
    for name, was in record.files.items():
        if digest(ROOT / name, modules) != was:
            return f"{name} changed"
    for name, was in record.packages.items():
        if version(name) != was:
            return f"{name} is {version(name)}, was {was}"
    if not kept_at(record.key).is_file():
        return "not in the cache"
    return ""


def kept_at(key: str) -> Path:
    return CACHE / "executed" / key / "base.ipynb"


def executed(page: Path) -> list:
    """The page's code cells as they were executed, outputs included."""
    record = recorded(page)
    assert record is not None, f"{name_of(page)} was never run"
    notebook = nbformat.v4.reads(kept_at(record.key).read_text("utf8"))
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def rekey(page: Path) -> None:
    """Where only the words about cells changed, keep the execution under the page's new key."""
    record = recorded(page)
    if record and record.key != key_of(page):
        notebook, old = read(page), nbformat.v4.reads(kept_at(record.key).read_text("utf8"))
        notebook.metadata["language_info"] = old.metadata["language_info"]
        new = (cell for cell in notebook.cells if cell.cell_type == "code")
        for cell, run in zip(new, executed(page), strict=True):
            cell.outputs, cell.execution_count = run.outputs, run.execution_count
        keep(notebook, replace(record, key=key_of(page)))


# ---- running ----


class PageError(Exception):
    """A cell failed; the text is what a reader of the log needs."""


def run(page: Path):
    """Execute a page in a fresh kernel, in its folder, as Jupyter Book would.

    Returns:
        The notebook with its outputs, and the record.

    Raises:
        PageError: a cell raised, took too long, or killed its kernel.
    """
    notebook = read(page)
    code, key = code_of(page), key_of(page)
    where = {"metadata": {"path": str(page.parent)}}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        kernel_manager_class=nursery.manager_class(),
        resources=where,
        coalesce_streams=True,
        record_timing=False,  # times in the cells would change the cache's key
    )
    start = time.perf_counter()
    try:
        with client.setup_kernel():
            told = all_cells(client)
    except (CellExecutionError, CellTimeoutError) as error:
        raise PageError(f"{name_of(page)}: {error}") from None
    except Exception as error:  # a kernel that died or did not start
        raise PageError(f"{name_of(page)}: {type(error).__name__}: {error}") from None
    record = Record(
        name_of(page),
        code,
        key,
        files_of(told["files"]),
        packages_of(told["modules"]),
        round(told["cpu"], 2),
        round(time.perf_counter() - start, 2),
        round(slowness(), 3),
    )
    return notebook, record


def all_cells(client: NotebookClient) -> dict:
    """Run the cells between the two questions; what the kernel answered to the second."""
    notebook = client.nb
    reply = client.wait_for_reply(client.kc.kernel_info())
    notebook.metadata["language_info"] = reply["content"]["language_info"]
    aside(client, BEFORE)
    count = 0
    for index, cell in enumerate(notebook.cells):
        count += cell.cell_type == "code" and bool(cell.source.strip())
        client.execute_cell(cell, index, execution_count=count)
    answer = aside(client, AFTER.replace("ROOT", repr(str(ROOT))))
    client.set_widgets_metadata()
    return json.loads(answer)


def aside(client: NotebookClient, source: str) -> str:
    """Run code that is no part of the page, and return what it printed."""
    cell = nbformat.v4.new_code_cell(source)
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1, store_history=False)
    client.nb.cells.pop()
    return "".join(o.text for o in cell.outputs)


def keep(notebook, record: Record) -> None:
    """Put an execution where the site and the tests find it."""
    uri = str(BOOK / f"{record.page}.md")
    bundle = CacheBundleIn(notebook, uri, data={"execution_seconds": record.wall})
    store().cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    path = RECORDS / f"{record.page}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(record), indent=1) + "\n", "utf8")


def forget_others() -> None:
    """Drop executions of code that no page has any more, and records of pages that are gone."""
    wanted = {key_of(page) for page in pages()}
    for record in store().list_cache_records():
        if record.hashkey not in wanted:
            store().remove_cache(record.pk)
    names = {record_path(page) for page in pages()}
    for path in set(RECORDS.rglob("*.json")) - names:
        path.unlink()


def longest_first(some: Iterable[Path]) -> list[Path]:
    """By what a page took last time, else by what it tells its reader, else in the middle."""

    def cost(page: Path) -> float:
        record, told = recorded(page), RUNNING.search(page.read_text("utf8"))
        return record.cpu if record else float(told[1]) if told else 30.0

    return sorted(some, key=cost, reverse=True)


def run_all(some: list[Path], jobs: int) -> list[str]:
    """Execute pages and keep them; the errors of those that failed."""
    errors: list[str] = []
    ordered = longest_first(some)
    if not ordered:
        return errors
    os.environ.pop("DALEARN_STATIC", None)  # frames are drawn, whoever asks
    for page in ordered:
        record_path(page).unlink(missing_ok=True)  # so a failure is not taken for the last success
    with ThreadPoolExecutor(jobs) as pool:  # the work is the kernels'
        for future in as_completed([pool.submit(run, page) for page in ordered]):
            try:
                notebook, record = future.result()
            except PageError as error:
                errors.append(str(error))
                print(f"{errors[-1].partition(':')[0]}: FAILED", flush=True)
            else:
                keep(notebook, record)
                print(f"{record.page}: {record.cpu:.1f} CPU s", flush=True)
    nursery.close()
    return errors


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", nargs="*", type=Path, help="only these pages (default: all)")
    parser.add_argument("--all", action="store_true", help="also where nothing changed")
    parser.add_argument("--compare", action="store_true", help="then compare the `check` cells")
    parser.add_argument("--list", action="store_true", help="run nothing; say what would run")
    parser.add_argument("--jobs", type=int, default=2, help="pages at a time (default: 2)")
    options = parser.parse_args(argv)
    chosen = [p.resolve().with_suffix(".md") for p in options.page] or pages()
    why = {page: "asked for" if options.all else stale(page) for page in chosen}
    if options.list:
        for page, reason in why.items():
            record = recorded(page)
            cost = f"{record.cpu:.1f} CPU s" if record else "unknown"
            print(f"{name_of(page):36} {cost:>12}  {reason}")
        return 0
    due = [page for page, reason in why.items() if reason]
    for page in due:
        print(f"{name_of(page)}: {why[page]}", flush=True)
    start = time.perf_counter()
    errors = run_all(due, options.jobs)
    for page in set(chosen) - set(due):
        rekey(page)
    forget_others()
    print(*errors, sep="\n", end="\n" if errors else "")
    took = f" in {time.perf_counter() - start:.0f} s" if due else ""
    print(f"{len(due) - len(errors)} pages run{took}, {len(chosen) - len(due)} kept", end="")
    print(f", {len(errors)} FAILED" if errors else "")
    if options.compare and not errors:
        return compare()
    return int(bool(errors))


def compare() -> int:
    """Compare the committed notebooks with the executions, by nbval: `replay.py`."""
    import pytest

    # jupyter_client leaves an event loop in each thread that ran a page
    quiet = ("-W", "default", "-W", "ignore:unclosed event loop:ResourceWarning")
    return int(pytest.main(["-q", *quiet, "-p", "replay", str(BOOK)]))


if __name__ == "__main__":
    sys.exit(main())
