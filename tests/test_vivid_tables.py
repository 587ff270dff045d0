"""The tables and figures of the chapter on VIVID are those of the benchmarks."""

import re

import numpy as np
import pytest
import tables

from benchmarks import inversion_vivid_more as others
from dalearn.cases import vivid_runs as case

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


def test_other_places_and_times():
    mirrored, half = tables.sections("inversion-vivid_places")
    (times,) = tables.sections("inversion-vivid_times")
    known = {("mirrored places", r[0], r[1]): r for r in mirrored}
    known |= {("one half", r[0], r[1]): r for r in half}
    known |= {(f"step {r[0]}", r[1], r[2]): r[1:] for r in times}
    shown = tables.rows(PAGE, "vivid-elsewhere")
    assert len(shown) == 8
    for where, count, *cells in shown:
        rows = [known[where, int(count), n] for n in ("3D-Var", "network alone", "VIVID, 3 P")]
        assert cells == [*(r[2] for r in rows), rows[-1][7]]
    gains = [known[f"step {s}", 100, "VIVID, 3 P"][7] for s in (2000, 6000)]
    gains = [re.findall(r"[+-]\d\.\d+", g) for g in gains]
    assert all(float(g[2]) < 0 for g in gains)
    assert f"by {gains[0][0][1:]} and {gains[1][0][1:]}: the tie" in PAGE
    own = [float(known["one half", c, "VIVID, own P"][2][:5]) for c in (25, 100)]
    assert f"to {own[0]:.3f} with 25 and {own[1]:.3f} with 100" in PAGE
    fails = [known["one half", 25, n][5].split()[0] for n in ("VIVID, 3 P", "3D-Var")]
    assert f"fails in {fails[0]} of 20 draws, 3D-Var in {fails[1]}" in PAGE
    plain = {r[0]: r for r in tables.sections("inversion-vivid")[0]}["VIVID, 3 P"]
    told = known["mirrored places", 100, "VIVID, 3 P"]
    assert abs(float(told[2][:5]) - float(plain[1][:5])) < 0.005  # hardly matter
    u = case.runs("test")[0, case.frame(4000)].reshape(50, 50)
    np.testing.assert_allclose(u[:, 1:] ** 2, u[:, :0:-1] ** 2, atol=1e-12)  # about column 25
