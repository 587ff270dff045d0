"""The tables of the chapter on generated fires say what the committed benchmarks say."""

import re

import pytest
from tables import numbers, page, sections
from tables import rows as table_rows

PAGE = page("learning/generated-fires")


def rows(name):
    return [[cell.strip("*") for cell in row] for row in table_rows(PAGE, name)]


def measured(section, number=0):
    return sections(f"latent-{section}")[number]


def agree(cell, value):
    """Every number of a cell is that of the benchmark, to its own digits."""
    shown, wanted = re.findall(r"\d+\.?\d*", cell), numbers(value)
    assert bool(shown) == (value is not None), (cell, value)
    for text, number in zip(shown, wanted, strict=False):
        digits = len(text.partition(".")[2])
        assert abs(float(text) - number) <= 0.5001 * 10**-digits, (cell, value)


@pytest.mark.parametrize(("first", "section"), [(0, "fires_drawn")])
def test_drawn_fires(first, section):
    table = [row for row in rows("gf-drawn") if any(row[1:])][first : first + 5]
    found = measured(section)
    assert len(found) == len(table) == 5
    for cells, row in zip(table, found, strict=True):
        assert cells[0] == row[0]
        for cell, column in zip(cells[1:], (2, 3, 4, 5, 7, 8, 9), strict=True):
            agree(cell, row[column])


def test_forecasts_on_new_ground():
    found = {row[0]: row for row in measured("new_ground")}
    table = rows("gf-new")
    assert [cells[0] for cells in table] == list(found)
    for cells in table:
        for cell, value in zip(cells[1:], found[cells[0]][1:], strict=True):
            agree(cell, value)
    ratios = {row[0]: row[1:] for row in measured("new_ground", 1)}
    for rival in ("hold frame 2", "POD-48 + DMD-3, not told"):  # below at every lead
        assert all(max(numbers(cell)) < 1 for cell in ratios[rival])


def test_backgrounds():
    found = {(row[0], row[2]): row for row in measured("fires_background")}
    for cells in rows("gf-background"):
        row = found[cells[0], cells[2]]
        agree(cells[1], row[1])
        for cell, value in zip(cells[3:], row[4:], strict=True):
            agree(cell, value)


def test_a_landscape_of_its_own():
    """The sentence gives overlap, burn map, vegetation and slope."""
    told = r"better there: overlap ([\d.]+).*?by ([\d.]+), .*?by ([\d.]+) .*?of ([\d.]+) %"
    said = re.search(told, PAGE)
    assert said
    row = next(row for row in measured("fires_drawn_one") if row[0] == "drawn")
    for shown, value in zip(said.groups()[1:], (row[3], row[4], row[8]), strict=True):
        agree(shown, numbers(value)[0])
