"""The tables of the chapter on motion from images are those of the benchmarks, digit by digit."""

import json
import re

import pytest
import tables

PAGE = tables.page("inversion/motion")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("motion-results", 5),
        ("motion-deep", 5),
        ("motion-small", 7),
        ("motion-guess", 5),
        ("motion-sweep", 9),
        ("motion-tracer", 5),
    ],
)
def test_a_table_is_that_of_the_benchmark(name, columns):
    section = {"motion-results": "motion"}.get(name, name.replace("-", "_"))
    (found,) = tables.sections(f"inversion-{section}")
    shown = tables.rows(PAGE, name)
    assert len(shown) == len(found) >= 4
    for cells, row in zip(shown, found, strict=True):
        for cell, value in zip(cells[:columns], row[:columns], strict=True):
            number = f"{value:g}" if isinstance(value, float) else str(value)
            assert cell == ("" if value is None else number)


def errors(cells):
    """The means of cells such as "0.0046 (0.0043-0.0050)"."""
    return [tables.numbers(cell)[0] for cell in cells]


def test_sentences_on_other_noise_and_times_are_those_of_the_sweep():
    (found,) = tables.sections("inversion-motion_sweep")
    rows = {tuple(row[:3]): errors(row[4:]) for row in found}
    assert len(rows) == len(found) == 8
    for (noise, _, _), (_, _, var, learned, supervised) in rows.items():
        assert (var < min(learned, supervised)) == (noise <= 0.2)
    far, near = rows[0.05, 3, 1.0][0], rows[0.05, 2, 1.0][0]
    assert 0.3 < near / far < 0.4  # a third


def test_sentences_on_the_network_of_the_tracer_are_those_of_its_table():
    path = tables.RESULTS / "inversion-motion_tracer.json"
    (section,) = json.loads(path.read_text("utf8"))["sections"]
    found = {row[0]: row for row in section["rows"]}
    names = (
        "network, trained on pictures",
        "optical flow, Horn and Schunck",
        "4D-Var, 150 iterations",
    )
    net, flow, var = errors(found[name][1] for name in names)
    assert 0.7 < net / flow < 0.8  # a quarter less
    assert 1.8 < net / var < 2.2  # twice as much
    assert found[names[2]][4] > 500 * found[names[0]][4]
    (seconds,) = re.findall(r"in (\d+) s of CPU time", section["note"])
    assert f"in {seconds} s of CPU time" in PAGE


def test_sentences_on_narrower_deep_priors_are_those_of_their_section():
    path = tables.RESULTS / "inversion-motion_small.json"
    (section,) = json.loads(path.read_text("utf8"))["sections"]
    (half, whole) = (row for row in section["rows"] if row[0] == "test")
    assert (half[1], whole[1]) == (32, 64)
    assert 0.4 < half[6] / whole[6] < 0.6  # half the time
    for row in (half, whole):
        assert row[4].split()[0] in PAGE
    (apart,) = re.findall(r"published width: (.*) m/s", section["after"][0])
    assert f"{apart} m/s, is not told from zero" in PAGE
    low, high = (float(v) for v in re.findall(r"[+-][\d.]+", apart)[1:])
    assert low < 0 < high
    for row in section["rows"][:-2]:
        least, most = tables.numbers(row[4])[1:]
        assert most > 1.9 * least  # windows differ by twice


def test_the_sentence_on_a_second_training_is_that_of_its_section():
    (found,) = tables.sections("inversion-motion_seeds")
    first, second = found[:2]
    assert [row[1] for row in found[:2]] == [0, 1]
    (a,), (b,) = errors([first[2]]), errors([second[2]])
    assert f"({b:g} and {a:g} m/s; paired difference" in PAGE
    low, high = (float(v) for v in re.findall(r"[+-][\d.]+", second[5])[1:])
    assert low < 0 < high
