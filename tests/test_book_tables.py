"""The tables of the chapter on latent dynamics say what the committed benchmarks say."""

import re

import pytest
import tables
from tables import EMPTY, agree, numbers, sections

from dalearn.neural import read_card, shipped

PAGE = tables.page("learning/latent-dynamics")
CASES = {"Flow": "kolmogorov", "Tsunami": "shallow-water"}
LATENT = {
    "interpolated runs, ETKF, raw data": "interpolated runs, ETKF, raw data",
    "latent ETKF, raw data, sharp decoder": "latent ETKF, raw data, sharp decoder",
    "latent particles (400), raw data": "latent particles (400), raw data",
    "latent ETKF, raw data": "latent ETKF, raw data",
    "latent ETKF, codes": "latent ETKF, encoded data",
    "encoder's parameter, latent model rerun": "LSTM's parameter, latent model rerun",
    "LD-EnSF, settings as published": "LD-EnSF as published",
    "LD-EnSF": "LD-EnSF",
    "encoder alone": "LSTM alone",
    "encoder alone, trained on exact data": "LSTM alone, trained on exact data",
    "*latent model with the true parameter*": "the latent model with the true parameter, robust",
    "*the same, sharp decoder*": "the latent model with the true parameter, sharp",
}
PUBLISHED = {
    "no data": "without data",
    "EnSF, full space": "EnSF",
    "Latent-EnSF": "Latent-EnSF",
    "Latent-EnSF, trained with noise": "Latent-EnSF, noise in training",
}


def rows(name):
    """The cells of a table of the page."""
    return tables.rows(PAGE, name)


def measured(section, number=0):
    return sections(f"ld_ensf-{section}")[number]


@pytest.mark.parametrize("title", CASES)
def test_latent_filters(title):
    table = rows("ld-latent")
    start = [row[0] for row in table].index(f"**{title}**") + 1
    found = {(row[0], row[1]): row for row in measured(f"latent-{CASES[title]}")}
    for label, *cells in table[start : start + len(LATENT)]:
        given = [found.get((LATENT[label], noise)) for noise in (0, 5, 10, 20)]
        if label.startswith("*"):
            given = [None, None, found[LATENT[label], "-"], None]
        for cell, row in zip(cells, given, strict=False):
            assert (cell in EMPTY) == (row is None), label
            agree(cell, row[2] if row else "")
        agree(cells[4], given[2][3])
        if not label.startswith("*"):
            agree(cells[5], numbers(given[2][4])[0])


@pytest.mark.parametrize("title", CASES)
def test_published_filters(title):
    found = {(row[0], row[1]): row[2] for row in measured(f"published-{CASES[title]}", 1)}
    latent = {(row[0], row[1]): row[2] for row in measured(f"latent-{CASES[title]}")}
    full = measured("full", 1 if title == "Flow" else 3)
    whole = {(row[0].partition(",")[0], row[1]): row[2] for row in full}
    first = 0 if title == "Flow" else 3
    for label, *cells in rows("ld-published"):
        for cell, noise in zip(cells[first : first + 3], (0, 10, 20), strict=True):
            if label == "no data":
                agree(cell, found["without data", "-"] if cell else "")
            elif label in ("ETKF, full space", "LETKF, full space"):
                agree(cell, whole[label.partition(",")[0], noise])
            else:
                agree(cell, latent.get((label, noise)) or found[PUBLISHED[label], noise])


@pytest.mark.parametrize("case", [0, 1])
def test_surrogates(case):
    known = {row[0]: row[2] for row in measured("floors", 2 * case + 1) if row[1] == "-"}
    shown = {row[3 * case + 1]: row[3 * case + 2] for row in rows("ld-floors")[:4]}
    for runs, error in shown.items():
        agree(error, known[int(runs)])
    agree(rows("ld-floors")[-1][3 * case + 2], dict(measured("floors", 2 * case))[32])
    name = ("kolmogorov", "shallow-water")[case]
    for kind, row in zip(("sharp", "robust"), rows("ld-floors")[4:6], strict=True):
        card = read_card(shipped(f"ld-ensf-{name}-{kind}"))
        agree(row[3 * case + 2], card.metric["relative error of test runs, %"])


def test_fewer_sensors():
    """The sentence gives 100, 16 and 4 sensors: flow and tsunami, robust and then sharp."""
    said = re.search(r"100, 16 and 4 sensors are (.*?)`--only sparse", PAGE, re.S)[1]
    said = re.sub(r"where four sensors .*?twenty", "", said)
    found = [row[2] for case in CASES.values() for row in measured(f"sparse-{case}")]
    flow, tsunami = found[:8], found[8:]
    wanted = [*flow[:3], *tsunami[:3], *flow[4:7], *tsunami[4:7]]
    for shown, value in zip(re.findall(r"\d+\.?\d*", said), wanted, strict=True):
        agree(shown, value)


def test_where_the_latent_state_is_zero():
    for problem, where, *cells in rows("ld-start"):
        case = "shallow-water" if problem == "tsunami" else "kolmogorov"
        found = {(row[0], row[1]): row[3:] for row in measured(f"start-{case}")}
        every, *by_time, last = found[where, "sharp"]
        wanted = every, by_time[0], by_time[1], by_time[2], by_time[5], last
        for cell, value in zip(cells, wanted, strict=True):
            agree(cell, value)


def test_cost_of_the_models():
    found = {row[0]: row[-1] for row in measured("cost")}
    model = next(row for row in rows("ld-cost") if "of the model, 100 members" in row[0])
    agree(model[1], found["shallow water 64^2, Courant 0.1"])
    agree(model[2], found["Kolmogorov 64^2, 2 substeps"])


def test_cost_of_analyses():
    found = {(row[0], row[2]): row[3] / 1000 for row in measured("latent_cost")}
    parts = {"closed": "closed form", "20 exp": "20 exponential steps", "100 E": "100 Euler steps"}
    for row in rows("ld-cost"):
        part = next((p for k, p in parts.items() if k in row[0]), None)
        if part:
            agree(row[1], found["shallow-water 64^2", f"T_f, {part}"])
            agree(row[2], found["kolmogorov 64^2", f"T_f, {part}"])


def test_cost_of_fields():
    found = {
        (row[0], row[2].split(",")[1].strip()): row[3]
        for row in measured("latent_cost")
        if row[2].startswith("T_r")
    }
    last, every = (
        next(r for r in rows("ld-cost") if text in r[0]) for text in ("last time", "all times")
    )
    for column, model in ((1, "shallow-water 64^2"), (2, "kolmogorov 64^2")):
        for row, when in ((last, "last time"), (every, "all times")):
            agree(row[column], found[model, when] / 1000)


def test_what_the_data_leave_open():
    told = re.search(
        r"errs by ([\d.]+) % at 10 % noise and ([\d.]+) % at 20 % \(`--only exact`", PAGE
    )
    found = {row[0]: row[1] for row in measured("exact")}
    for noise, cell in zip((10, 20), told.groups(), strict=True):
        agree(cell, found[noise])
