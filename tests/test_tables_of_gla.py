"""The tables of the chapter on heterogeneous latent spaces say what the benchmarks say."""

import pytest
import tables
from tables import agree, sections

PAGE = tables.page("learning/heterogeneous-latent-spaces")
ORDER = (0, 2, 1, 3)  # of the sections of `gla`: u^2 and 1 / (u + 6) near, then both far


def label(degree, box, samples="2.5", boxes="1", network=""):
    hidden = f", network of {network}" if network else ""
    return f"degree {degree}, box {box}, {samples} x{hidden}" + (
        f", {boxes} boxes" if boxes != "1" else ""
    )


def measured(name):
    return [{row[0]: row for row in rows} for rows in sections(f"latent-{name}")]


def test_degree_box_and_samples():
    near = [measured("gla")[i] for i in ORDER[:2]]
    for degree, box, samples, calls, *cells in tables.rows(PAGE, "gla-table"):
        for cell, found in zip(cells, near, strict=True):
            row = found[label(degree, box, samples)]
            agree(cell, row[5])
            agree(calls, row[2])


def test_moved_boxes():
    all_, dial = measured("gla"), measured("gla_table")
    for degree, box, boxes, calls, *cells in tables.rows(PAGE, "gla-moved"):
        name = label(degree, box, boxes=boxes)
        agree(calls, all_[0][name][2])
        wanted = [all_[i][name][5] for i in ORDER]
        wanted += [table[name][5] if name in table else "" for table in dial]
        for cell, value in zip(cells, wanted, strict=True):
            agree(cell, value)


def test_networks():
    found = measured("gla")
    for surrogate, boxes, calls, *cells in tables.rows(PAGE, "gla-network"):
        units = surrogate.partition("network of ")[2]
        name = label("1", "1", "22.5", boxes, units) if units else label("2", "1", boxes=boxes)
        agree(calls, found[0][name][2])
        for cell, i in zip(cells, ORDER, strict=True):
            agree(cell, found[i][name][5])


def test_windows():
    found = measured("gla_window")
    for degree, boxes, calls, *cells in tables.rows(PAGE, "gla-window"):
        for cell, section in zip(cells, found, strict=True):
            row = section[f"degree {degree}, box 1, 2.5 x, {boxes} boxes"]
            agree(calls, row[2])
            agree(cell, row[5])


def test_rivals():
    fits, ensembles = measured("gla_table"), measured("gla_rivals")
    names = {
        "ETKF, 383 members": "ETKF(383)",
        "IEnKS, 38 members, lag 0": "IEnKS(38), lag 0",
        "IEnKS, 115 members, lag 0": "IEnKS(115), lag 0",
        "GLA, degree 1, box 2, 3 boxes": label("1", "2", boxes="3"),
        "GLA, degree 1, box 1.5, 9 boxes": label("1", "1.5", boxes="9"),
        "GLA, degree 2, box 2": label("2", "2"),
        "GLA, degree 2, box 2, 3 boxes": label("2", "2", boxes="3"),
        "GLA, network of 32, box 2, 3 boxes": label("1", "2", "22.5", "3", "32"),
        "background": "background",
    }
    for method, calls, *cells in tables.rows(PAGE, "gla-rivals"):
        for cell, fit, ensemble in zip(cells, fits, ensembles, strict=True):
            name = names[method]
            row = ensemble.get(name)
            agree(calls, row[1] if row else fit[name][2] or "")
            agree(cell, row[2] if row else fit[name][4])


@pytest.mark.parametrize("column", [1, 2])
def test_cost(column):
    found = measured("gla_cost")[0]
    for row in tables.rows(PAGE, "gla-cost"):
        agree(row[column], found["direct" if row[0].startswith("auto") else row[0]][column])
