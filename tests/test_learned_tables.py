"""The tables of the chapter on learned 4D-Var are those of the benchmarks, digit by digit."""

import json

import pytest
import tables

PAGE = tables.page("inversion/learned-4d-var")
METHODS = [
    "kriging", "EnKS of 100", "4D-Var", "4D-Var without a background", "4D-Var, quasi-static",
    "learned", "learned with a background", "supervised",
]  # fmt: skip
STARTS = {
    "climatology": "4D-Var",
    "grown": "4D-Var, quasi-static",
    "learned": "4D-Var from learned",
}


def label(value):
    """As a page shows it."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "\u2013" if text == "-" else text.replace("%", " %")


def windows():
    """What each method says of each setting."""
    found = {}
    names = "inversion-learned_windows", "inversion-learned_tenth"
    for times, seen, sigma, method, *rest in (r for n in names for r in tables.sections(n)[0]):
        found[str(times), seen.replace("%", " %"), f"{sigma:g}", method] = rest
    return found


def test_errors_of_windows():
    found, shown = windows(), tables.rows(PAGE, "l4-windows")
    assert len(shown) == 13
    for times, seen, sigma, *cells in shown:
        for cell, method in zip(cells, METHODS, strict=True):
            tables.agree(cell.strip("*"), found[times, seen, sigma, method][0])


def test_first_guesses():
    found, shown = windows(), tables.rows(PAGE, "l4-guess")
    assert len(shown) >= 9
    for times, seen, start, *cells in shown:
        error, *_, iterations, minima = found[times, seen, "1", STARTS[start]]
        for cell, value in zip(cells, (iterations, minima, error), strict=True):
            tables.agree(cell, value)


@pytest.mark.parametrize(
    ("name", "section", "labels"),
    [("l4-costs", "learned_costs", 1), ("l4-posterior", "learned_posterior", 3),
     ("l4-coda", "learned_coda", 1), ("l4-coda-more", "learned_coda_more", 2)],
)  # fmt: skip
def test_a_table_is_that_of_the_benchmark(name, section, labels):
    rows = tables.sections(f"inversion-{section}")[0]
    found = {tuple(map(label, row[:labels])): row[labels:] for row in rows}
    shown = tables.rows(PAGE, name)
    assert len(shown) == len(found)
    for row in shown:
        for cell, value in zip(row[labels:], found[tuple(row[:labels])], strict=False):
            tables.agree(cell, value)


def test_consistency_and_filter_in_codas_windows():
    rows = tables.sections("inversion-learned_coda_more")[0]
    found = {(m, str(seed)): tables.numbers(e) for m, seed, e, *_ in rows}
    with_, *without = [found["alpha = 0.5", "0"], *(found["alpha = 0", s] for s in "01")]
    for mean, half in without:  # beyond the intervals, and beyond what seeds differ by
        assert mean - half > sum(with_)
        assert mean - with_[0] > 5 * abs(without[0][0] - without[1][0])
    mean, half = found["LETKF", "-"]
    assert abs(mean - with_[0]) < half + with_[1]


def test_the_deep_prior():
    found, shown = tables.sections("inversion-learned_prior")[0], tables.rows(PAGE, "l4-prior")
    assert len(shown) == len(found)
    for (*named, error, middle, lost, stop), row in zip(shown, found, strict=True):
        times, share, _, kind, e, m, away, _, step, cpu = row
        assert named == [str(times), label(share), kind]
        for cell, value in ((error, e), (middle, m), (lost, away), (stop, step)):
            tables.agree(cell, value)
        assert cpu < 0.3


def test_the_deep_prior_is_no_better_than_the_descent_or_a_window_that_grows():
    others = windows()
    rows = {}
    for times, share, _, kind, e, *_ in tables.sections("inversion-learned_prior")[0]:
        rows[times, share, kind] = tables.numbers(e)
    for (times, share, kind), (mean, half) in rows.items():
        setting = str(times), label(share), "1"
        grown, none = (
            tables.numbers(others[*setting, f"4D-Var{name}"][0])
            for name in (", quasi-static", " without a background")
        )
        assert grown[0] < mean + half
        assert mean < none[0] + half  # no worse than Gauss-Newton without a background
        other = rows[times, share, "descent" if kind == "deep prior" else "deep prior"]
        assert abs(mean - other[0]) < half + other[1]  # the intervals touch


def test_the_last_observation():
    others, shown = windows(), tables.rows(PAGE, "l4-last")
    found = tables.sections("inversion-learned_letkf")[0]
    assert len(shown) == len(found)
    methods = "kriging", "EnKS of 100", "4D-Var", "4D-Var, quasi-static", "learned"
    for (*named, filtered, a, b, c, d, e), row in zip(shown, found, strict=True):
        times, share, sigma, _, last, *_ = row
        assert named == [str(times), label(share), f"{sigma:g}"]
        tables.agree(filtered, last)
        for cell, method in zip((a, b, c, d, e), methods, strict=True):
            tables.agree(cell, others[*named, method][3])
    first = [tables.numbers(row[3])[0] for row in found]
    low, high = (f"{v:.1f}" for v in (min(first), max(first)))
    assert f"errs by {low} to {high}" in PAGE


def test_the_cost_of_a_window():
    ten, twenty = (row[3] for row in tables.sections("inversion-learned_cost")[0])
    assert f"a factor of {ten:g} with 10 times and {twenty:g} with 20 times" in PAGE


@pytest.mark.parametrize(
    "path", sorted(tables.RESULTS.glob("inversion-learned_*.json")), ids=lambda p: p.stem
)
def test_every_section_has_audited_its_windows(path):
    (section,) = json.loads(path.read_text("utf8"))["sections"]
    assert any(text.startswith("Audit: 4 checks passed, 0 doubts") for text in section["after"])


def test_another_seed_of_the_training():
    rows = tables.sections("inversion-learned_seeds")[0]
    found = [tables.numbers(row[4]) for row in rows]
    assert len(rows) == 6
    assert all(gap < half for gap, half in found)
    assert f"differ by at most {max(gap for gap, _ in found):.3f} in six" in PAGE


def test_a_tenth_seen():
    found = windows()
    grown, near = (
        found["40", "10 %", "1", f"4D-Var{n}"] for n in (", quasi-static", " from the truth")
    )
    assert f"loses {label(grown[2])} of" in PAGE
    assert f"errs by {tables.numbers(near[0])[0]:.2f} only" in PAGE
