"""The tables of the chapter on latent assimilation say what the committed benchmarks say."""

import re

import pytest
import tables

PAGE = tables.page("learning/latent-assimilation")


def rows(name):
    return tables.rows(PAGE, name)


def sections(name):
    return tables.sections(f"latent-{name}")


def agree(cell, value):
    """Every number of a cell is that of the benchmark, to its own digits."""
    shown = re.findall(r"\d+\.?\d*", cell.replace("s_b", "").replace("s_o", ""))
    wanted = re.findall(r"\d+\.?\d*", str(value))
    assert shown, (cell, value)
    assert len(shown) <= len(wanted), (cell, value)
    for text, whole in zip(shown, wanted, strict=False):
        digits = len(text.partition(".")[2])
        assert abs(float(text) - float(whole)) <= 0.5001 * 10**-digits, (cell, value)


def test_floors():
    windy, calm = sections("fires_floors")
    calm = {(r[0], r[1]): r[3] for r in calm}
    for row, known in zip(rows("la-floors"), windy, strict=True):
        assert row[:2] == [known[0], str(known[1])]
        agree(row[2], known[2])
        agree(row[3], known[3])
        if (known[0], known[1]) in calm:
            agree(row[4], calm[known[0], known[1]])


def test_surrogates():
    (known,) = sections("fires_surrogates")
    known = {r[0]: r for r in known}
    for row in rows("la-surrogates"):
        for cell, value in zip(row[1:], known[row[0]][1:], strict=True):
            agree(cell, value)


def test_fires():
    parts = [{r[0]: r for r in part} for part in sections("fires")]
    known = {}
    for row in rows("la-fires"):
        if row[0].startswith("**"):
            known = parts.pop(0)
            continue
        for cell, value in zip(row[1:], known[row[0]][1:9], strict=True):
            agree(cell, value)
    assert not parts


def test_di01():
    twin, fires = sections("fires_di01")
    for row, known in zip(rows("la-di01"), twin, strict=True):
        assert row == [str(v) for v in known]
    for row, known in zip(rows("la-di01-fires"), fires, strict=True):
        for cell, value in zip(row, known, strict=True):
            agree(cell, value)


@pytest.mark.parametrize("column", range(6))
def test_speed(column):
    for row, known in zip(rows("la-speed"), sections("fires_speed")[1], strict=True):
        assert row[column] == (f"{known[column]:g}" if column > 2 else str(known[column]))
