"""Write the notebook beside each page that has code: `make notebooks`.

The markdown is the master. A notebook takes its cells from the page, keeps the ids of cells that
did not change, and carries outputs only for the cells tagged `check`: small printed results that
hold on any machine, which nbval compares. Executions are those of `execute_pages.py`: a page runs
only when its code differs from the notebook's, or a `check` cell has no output, and the cache does
not hold what it would give. Prose alone costs nothing.

    python book/make_notebooks.py            what changed
    python book/make_notebooks.py --all      bring every page's outputs up to date with the package
    python book/make_notebooks.py --verify   write nothing; fail if a pair disagrees
    python book/make_notebooks.py book/filters/ensemble-filters.md     only these pages
"""

import argparse
import hashlib
import sys
from pathlib import Path

import jupytext
import nbformat
from execute_pages import BOOK, executed, pages, run_all, stale
from jupytext.combine import combine_inputs_with_outputs

METADATA = {
    "jupytext": {"formats": "ipynb,md:myst"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


def is_check(cell) -> bool:
    return cell.cell_type == "code" and "check" in cell.metadata.get("tags", [])


def code(notebook) -> list[tuple]:
    """What an execution depends on: the code, in order, and which cells are `check` cells."""
    return [(c.source, is_check(c)) for c in notebook.cells if c.cell_type == "code"]


def merged(page: Path):
    """The page as a notebook, with the ids and `check` outputs of the notebook beside it."""
    new = jupytext.read(page, fmt="md:myst")
    path = page.with_suffix(".ipynb")
    old = nbformat.read(path, as_version=4) if path.exists() else None
    known = {c.id for c in old.cells} if old else set()
    if old:
        new = combine_inputs_with_outputs(
            new, old, fmt={"extension": ".md", "format_name": "myst"}
        )
    used = set()
    for i, cell in enumerate(new.cells):
        if cell.get("id") not in known or cell.id in used:  # a new cell: an id from what it says
            cell.id = hashlib.sha256(f"{page.stem} {i} {cell.source}".encode()).hexdigest()[:8]
        used.add(cell.id)
    new.nbformat, new.nbformat_minor = 4, 5
    stale = old is None or code(old) != code(new)
    return new, stale or any(is_check(c) and not c.outputs for c in new.cells)


def tidy(notebook):
    """Leave nothing that changes from run to run or machine to machine."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    for i, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.outputs = [plain(o) for o in cell.outputs] if is_check(cell) else []
        cell.execution_count = i if is_check(cell) else None  # nbval compares only counted cells
    return notebook


def plain(output):
    """A `check` cell prints: keep text, refuse the rest."""
    if output.output_type == "stream" and output.name == "stdout":
        return nbformat.from_dict(output)
    raise ValueError(
        f"a `check` cell may only print; it gave {output.get('name', '')} {output.output_type}"
    )


def filled(notebook, page: Path):
    """Take the outputs of the page's execution, whose code cells are the notebook's, in order."""
    mine = [c for c in notebook.cells if c.cell_type == "code"]
    for cell, run in zip(mine, executed(page), strict=True):
        cell.outputs = run.outputs
    return notebook


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", nargs="*", type=Path, help="only these pages (default: all)")
    parser.add_argument("--all", action="store_true", help="also where the page did not change")
    parser.add_argument(
        "--verify", action="store_true", help="write nothing; fail on a difference"
    )
    options = parser.parse_args(argv)
    found = {p: merged(p) for p in [p.resolve() for p in options.page] or pages()}
    wanted = [p for p, (_, changed) in found.items() if options.all or changed]
    if not options.verify:
        errors = run_all([p for p in wanted if stale(p)], jobs=2)
        if errors:
            print(*errors, sep="\n")
            return 1
    behind = 0
    for page, (notebook, _) in found.items():
        path = page.with_suffix(".ipynb")
        if not options.verify and (page in wanted or not stale(page)):
            notebook = filled(notebook, page)
        text = "" if options.verify and page in wanted else nbformat.writes(tidy(notebook)) + "\n"
        if not path.exists() or path.read_text("utf8") != text:
            behind += 1
            if not options.verify:
                path.write_text(text, "utf8")
            print(
                f"{path.relative_to(BOOK.parent)}: {'is behind' if options.verify else 'written'}"
            )
    if options.verify and behind:
        print("run `make notebooks` and add the notebooks")
    return int(options.verify and behind > 0)


if __name__ == "__main__":
    sys.exit(main())
