"""The tables of the chapter on learned solvers say what the committed benchmarks say."""

import json
import re

import pytest
import tables
from tables import agree, sections

PAGE = tables.page("inversion/learned-solvers")


def rows(name):
    return tables.rows(PAGE.replace("\\|", "/"), name)


def starting(found, label):
    """The row whose first cell begins as the label does, without its settings."""
    key = label.split(",")[0].removesuffix(" from the climatology")
    whole = [r for r in found if r[0].startswith(key) and " instead of " not in r[0]]
    if "wrong" in label or "true model" in label:
        whole = [r for r in whole if ("wrong" in r[0]) == ("wrong" in label)]
    assert len(whole) == 1, (label, whole)
    return whole[0]


def test_methods_on_windows():
    (every,), (alone,) = sections("inversion-rivals"), sections("inversion-rivals_x")
    table = rows("rivals-all")
    assert len(table) == 8
    for label, error, there, of_x, ms in table:
        here, other = starting(every, label), starting(alone, label)
        for cell, value in ((error, here[1]), (there, here[2]), (of_x, other[1]), (ms, here[5])):
            agree(cell, value)


def test_priors():
    found = json.loads((tables.RESULTS / "inversion-rivals_prior.json").read_text("utf8"))
    (section,) = found["sections"]
    known = {r[0]: r for r in section["rows"]}
    for label, steps, least, J, lowest in rows("rivals-prior"):
        prior = label if label == "true model" else f"{label} prior"
        ten, best = known[f"{prior}, 10 steps"], known[f"{prior}, its cost minimised"]
        assert (steps, least, J, lowest) == (ten[1], best[1], ten[5], best[5])
    paired, weights = section["after"][:2]
    assert "mean 0.140 (0.123 to 0.157)" in paired
    assert "0.140 (0.123 to 0.157) larger" in PAGE
    assert re.findall(r"\d\.\d+", weights) == ["0.281", "2.734", "0.21"]
    assert "$w_o = 0.281$ and $w_p = 2.734$: weak 4D-Var with $Q = 0.21" in PAGE


def test_samples_beside_particles():
    known = {(r[0], r[1]): r for r in sections("inversion-rivals_sda")[0]}
    assert len(rows("rivals-sda")) == 5
    for label, low, high, prior, seconds in rows("rivals-sda"):
        lo, hi = known["lo", label], known["hi", label]
        agree(low, lo[2])
        agree(high, hi[2])
        assert float(prior) == lo[5]
        agree(seconds, lo[7])


def each(system, method):
    """W1 of the three trajectories."""
    found = sections("inversion-rivals_sda")[0] + sections("inversion-rivals_chains")[0]
    return [w for r in found if r[:2] == [system, method] for w in map(float, r[3].split(", "))]


def test_three_trajectories():
    names = "particles, other seed", "SDA, C = 16"
    columns = [each(system, name) for system in ("lo", "hi") for name in names]
    shown = [[float(cell) for cell in cells] for _, *cells in rows("rivals-chains")]
    assert shown == [list(row) for row in zip(*columns, strict=True)]
    least, lo, other, hi = (sum(column) / 3 for column in columns)
    assert f"SDA is {lo:.1f} from the particles (lo), {lo / least:.1f} times" in PAGE
    assert f"and {hi:.1f} (hi), {hi / other:.1f} times" in PAGE


def test_a_reference_with_another_prior():
    (found,) = sections("inversion-rivals_starts")
    *_, (name, gaussian, climate) = found
    assert name == "SDA, C = 16"
    assert f"they are {gaussian} from SDA on the second trajectory (hi), not {climate}" in PAGE


def test_how_sure():
    known = {r[0]: r for r in sections("inversion-rivals_spread")[0]}
    for label, *cells in rows("rivals-spread"):
        assert cells == known[label][1:]


@pytest.mark.parametrize(
    ("kind", "number", "right", "wrong"),
    [
        ("begins at the truth", 0, "from the climatology", "from the truth"),
        ("gaps hold the truth", 1, "as observed", "leaked"),
        ("one run on both sides", 2, "by run", "leaked"),
    ],
)
def test_protocols(kind, number, right, wrong):
    found = sections("inversion-rivals_protocol")[number]
    for label, method, bad, good in rows("rivals-protocol"):
        if label != kind:
            continue
        key = method.split(",")[0].removeprefix("nearest ")
        for protocol, cell in ((wrong, bad), (right, good)):
            (row,) = [r for r in found if r[0] == protocol and r[1].startswith(key)]
            assert float(cell) == float(row[2])
            assert (row[3] == "passed") == (protocol == right)


def test_published_and_ours():
    (every,) = sections("inversion-rivals")
    known = {(r[0], r[1]): r for r in sections("inversion-rivals_sda")[0]}
    worse = (each("lo", "SDA, C = 16"), 6.0), (each("hi", "SDA, C = 16"), 8.0)
    first, lo, hi, bare = (row[1:3] for row in rows("rivals-reproduction"))
    here = starting(every, "4DVarNet")
    agree(first[0], here[6])
    assert here[1].startswith(first[1])
    for told, (ours, published) in zip((lo, hi), worse, strict=True):
        assert float(told[0]) == published
        assert told[1] == f"{sum(ours) / 3:.1f}"
    for told, number in ((bare[0], 4), (bare[1], 2)):
        agree(told, " ".join(str(known[s, "SDA, C = 0"][number]) for s in ("lo", "hi")))
