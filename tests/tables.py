"""Tables of the book beside the committed benchmarks that they were taken from."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
EMPTY = ("", "\u2013")  # nothing, or a dash


def page(name):
    """The text of a page of the book."""
    return (ROOT / "book" / f"{name}.md").read_text("utf8")


def rows(text, name):
    """The cells of a table of a page, without its head."""
    body = re.search(rf"^:name: {name}$(.*?)^:::$", text, re.M | re.S)[1]
    lines = [line for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]


def sections(name):
    """The rows of each section of a benchmark, by the file that it was written to."""
    found = json.loads((RESULTS / f"{name}.json").read_text("utf8"))
    return [section["rows"] for section in found["sections"]]


def numbers(text):
    return [float(v) for v in re.findall(r"\d+\.?\d*(?:e-?\d+)?", str(text).replace("-+", " "))]


def agree(cell, value):
    """Every number of a cell is that of the benchmark, to its own digits."""
    shown = numbers(cell)
    for text, wanted in zip(shown, numbers(value), strict=False):
        digits = len(str(text).rstrip("0").partition(".")[2])
        assert abs(text - wanted) <= 0.5001 * 10**-digits, (cell, value)
    assert shown or cell in EMPTY
