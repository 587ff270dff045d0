"""Write the notebook beside each page that has code: `make notebooks`.

The markdown is the master. A notebook takes its cells from the page, keeps the ids of cells that
did not change, and carries outputs only for the cells tagged `check`: small printed results that
hold on any machine, which `pytest --nbval` compares. A page is executed only when its code differs
from the notebook's or a `check` cell has no output; prose alone costs nothing.

    python book/make_notebooks.py            what changed
    python book/make_notebooks.py --all      execute every page
    python book/make_notebooks.py --verify   write nothing; fail if a pair disagrees
    python book/make_notebooks.py book/filters/ensemble-filters.md     only these pages
"""

import argparse
import hashlib
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient

BOOK = Path(__file__).resolve().parent
METADATA = {
    "jupytext": {"formats": "ipynb,md:myst"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


def pages() -> list[Path]:
    """Every markdown page with a jupytext header, that is: with code."""
    return [
        p for p in sorted(BOOK.rglob("*.md")) if p.read_text("utf8").startswith("---\njupytext:")
    ]


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


def execute(notebook, page: Path):
    """Run in a fresh kernel, in the page's folder, as Jupyter would."""
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(page.parent)}},
        coalesce_streams=True,
    ).execute()
    return notebook


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", nargs="*", type=Path, help="only these pages (default: all)")
    parser.add_argument("--all", action="store_true", help="execute even where nothing changed")
    parser.add_argument(
        "--verify", action="store_true", help="write nothing; fail on a difference"
    )
    options = parser.parse_args(argv)
    behind = 0
    for page in [p.resolve() for p in options.page] or pages():
        path, start = page.with_suffix(".ipynb"), time.perf_counter()
        notebook, stale = merged(page)
        run = options.all or stale
        if run and not options.verify:
            notebook = execute(notebook, page)
        text = "" if options.verify and run else nbformat.writes(tidy(notebook)) + "\n"
        if not path.exists() or path.read_text("utf8") != text:
            behind += 1
            if not options.verify:
                path.write_text(text, "utf8")
            what = (
                "is behind" if options.verify else f"written, {time.perf_counter() - start:.1f} s"
            )
            print(f"{path.relative_to(BOOK.parent)}: {what}")
    if options.verify and behind:
        print("run `make notebooks` and add the notebooks")
    return int(options.verify and behind > 0)


if __name__ == "__main__":
    sys.exit(main())
