"""The tables and figures of the chapter on VIVID are those of the benchmarks."""

import re

import numpy as np
import pytest
import tables

from benchmarks import inversion_vivid_more as others

PAGE = tables.page("inversion/vivid")
PLACES = {
    "vivid-hundred": ("vivid", 0),
    "vivid-few": ("vivid", 1),
    "vivid-noise": ("vivid_noise", 0),
    "vivid-networks": ("vivid_networks", 0),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_table_is_that_of_the_benchmark(name):
    section, number = PLACES[name]
    found, shown = tables.sections(f"inversion-{section}")[number], tables.rows(PAGE, name)
    assert len(found) == len(shown) >= 3
    for cells, row in zip(shown, found, strict=True):
        assert cells == ["\u2013" if v is None else str(v) for v in row]


def test_the_figures_of_the_text():
    rows = {r[0]: r for r in tables.sections("inversion-vivid")[0]}
    apart = re.findall(r"[+-]\d\.\d+", rows["VIVID, 3 P"][6])
    assert f"is ${apart[0]}$" in PAGE
    assert float(apart[1]) < 0 < float(apart[2])
    small, large = (float(rows[n][1][:5]) for n in ("3D-Var, small B", "3D-Var"))
    assert large < small / 2
    assert f"| {rows['VIVID, 3 P'][5]} beside {rows['3D-Var'][5]} |" in PAGE
    assert f"takes {tables.sections('inversion-vivid_voronoi')[0][1][2]:.0f} ms" in PAGE
    few = {r[0]: r for r in tables.sections("inversion-vivid")[1]}
    assert float(re.findall(r"[+-]\d\.\d+", few["VIVID, 3 P"][6])[2]) < 0
    more = tables.sections("inversion-vivid_more")
    for rows, said in zip(more, ("better by 0.084", "worse by 0.006"), strict=True):
        (line,) = (r for r in rows if r[0] == "VIVID, 3 P")
        size = float(re.findall(r"[+-]\d\.\d+", line[6])[0])
        word = "worse" if size > 0 else "better"
        assert said == f"{word} by {abs(size):.3f}"
        assert said.split(" by ")[1] in PAGE


def test_modes_and_interpolation():
    """Mean and failures of each number of sensors."""
    choice, found, _ = tables.sections("inversion-vivid_others")
    known = {(r[0], r[1]): r for r in found}
    shown = tables.rows(PAGE, "vivid-modes")
    assert len(shown) == 7
    for name, *cells in shown:
        for count, cell in zip((25, 50, 100, 200), cells, strict=True):
            row = known[count, name]
            assert cell == f"{row[2]}; {row[5].split()[0]}"
    best = np.mean([r[1:] for r in choice], axis=0).argmin()
    assert others.FACTORS[best] == others.IN_MODES  # chosen on the validation runs


def test_units_of_b():
    found = tables.sections("inversion-vivid_others")[2]
    known = {(r[0], r[1]): [float(c[:5]) for c in r[2:]] for r in found}
    told = known[100, "VIVID, B = 1000, P as measured"]
    scaled = known[100, "VIVID, B = 1000, P in its scale"]
    assert f"is {told[2]:.2f} away from the network and errs by {told[0]:.2f}" in PAGE
    assert f"it errs by {scaled[0]:.2f}" in PAGE
    assert abs(scaled[0] - known[100, "VIVID, 1 P"][0]) < 0.002
