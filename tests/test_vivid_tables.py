"""The tables and figures of the chapter on VIVID are those of the benchmarks."""

import re

import pytest
import tables

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
