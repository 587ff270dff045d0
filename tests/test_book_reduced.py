"""The tables of the chapter on reduced-order models say what the committed benchmarks say."""

import re

import pytest
from tables import EMPTY, agree, page, rows, sections

PAGE = page("learning/reduced-order-models")
NAMES = {
    "graph autoencoder": "graph, no messages",
    "dense autoencoder, gaps interpolated": "dense",
}


def row_of(found, label, numbers):
    """The row of a coder with so many numbers."""
    label = NAMES.get(label, label)
    (row,) = (r for r in found if r[0].startswith(label) and str(r[1]) == numbers)
    return row


@pytest.mark.parametrize(
    ("table", "number", "columns"),
    [("rom-one-cloud", 0, (2, 4, 5)), ("rom-own-clouds", 1, (2, 3, 4)), ("rom-missing", 2, None)],
)
def test_scattered_sensors(table, number, columns):
    found, shown = sections("latent-graph")[number], rows(PAGE, table)
    assert len(shown) >= 5
    for label, numbers, *cells in shown:
        row = row_of(found, label, numbers)
        wanted = row[2:] if columns is None else [row[c] for c in columns]
        for cell, value in zip(cells, wanted, strict=True):
            if cell not in EMPTY:
                agree(cell.replace("±", "-+"), str(value))


def test_the_larger_basin():
    (found,), shown = sections("latent-larger"), rows(PAGE, "rom-larger")
    for cells, row in zip(shown, found, strict=True):
        basin, codes, floor, name, members, error, worst = cells
        assert (basin.replace("²", "^2"), codes, name) == (row[0], str(row[2]), row[4])
        assert members == str(row[5])
        for cell, value in ((floor, row[3]), (error, row[6]), (worst, row[7])):
            agree(cell.replace("±", "-+"), str(value))


def test_the_verdicts_quote_the_tables():
    graph = sections("latent-graph")
    text = re.search(r"\| a graph autoencoder codes.*\n", PAGE)[0]
    wanted = [
        row_of(graph[0], "graph autoencoder", "16")[2].split()[0],
        row_of(graph[0], "POD of the sensors", "16")[2],
        row_of(graph[1], "graph autoencoder", "16")[2].split()[0],
        row_of(graph[1], "its modes, least squares", "16")[2],
        row_of(graph[0], "dense", "16")[2].split()[0],
        row_of(graph[0], "POD of the sensors", "64")[2],
        row_of(graph[1], "its modes, least squares", "64")[2],
    ]
    for value in wanted:
        assert re.search(rf"(?<![\d.]){re.escape(value)}(?![\d])", text), value
