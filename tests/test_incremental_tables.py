"""The tables of the chapter on neural incremental assimilation are those of the benchmarks."""

import re

import pytest
import tables

PAGE = tables.page("inversion/neural-incremental")
SECTIONS = {
    "incremental-ways": "incremental",
    "incremental-seeds": "incremental_seeds",
    "incremental-guesses": "incremental_guesses",
    "incremental-unseen": "incremental_unseen",
    "incremental-fast": "incremental_fast",
    "incremental-pendulum": "incremental_pendulum",
    "incremental-lorenz96": "incremental_lorenz96",
    "incremental-bound": "incremental_bound",
}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_table_is_that_of_the_benchmark(name):
    found = tables.sections(f"inversion-{SECTIONS[name]}")[0]
    shown = tables.rows(PAGE, name)
    assert len(found) == len(shown) >= 4
    for cells, row in zip(shown, found, strict=True):
        assert cells == [str(v) for v in row]


def test_the_figures_of_the_text():
    guesses = {tuple(r[:3]): r for r in tables.sections("inversion-incremental_guesses")[0]}
    for minimiser, said in (("Levenberg-Marquardt", (15.8, 6)), ("Gauss-Newton", (28.8, 5.7))):
        starts = ("Gaussian guess", "network")
        assert tuple(guesses[minimiser, "yes", s][7] for s in starts) == said
        assert said[1] < said[0] / 2
    cost = tables.sections("inversion-incremental_cost")
    said = re.search(r"costs (\S+) ms by the network on Lorenz-63 and (\S+) ms", PAGE)
    assert said.groups() == (cost[0][0][1], cost[0][0][3])
    levels = {row[0]: row for row in tables.sections("inversion-incremental_levels")[0]}
    assert f"from {levels[1][2]} to {levels[3][2]}" in PAGE
    assert f"The printed step gives {levels[3][3]}" in PAGE
