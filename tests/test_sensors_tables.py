"""The tables of the chapter on several sensors are those of the benchmarks, digit by digit."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "book" / "learning" / "several-sensors.md").read_text("utf8")


def rows(name):
    """The rows of a table of the page, as cells."""
    body = re.search(rf":name: {name}\n(.*?)\n:::", PAGE, re.S)[1]
    lines = [line for line in body.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def measured(section):
    text = (ROOT / "benchmarks" / "results" / f"latent-{section}.json").read_text("utf8")
    return {row[0]: row[1:] for row in json.loads(text)["sections"][0]["rows"]}


@pytest.mark.parametrize(
    ("name", "section"), [("sensors-burgers", "medla"), ("sensors-camera", "medla_camera")]
)
def test_a_table_is_that_of_the_benchmark(name, section):
    found, shown = measured(section), rows(name)
    assert len(shown) >= 8
    for label, *cells in shown:
        for cell, value in zip(cells, found[label], strict=True):
            assert cell == (str(value) if "(" in cell else str(value or "").split(" ")[0]), label
