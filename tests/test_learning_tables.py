"""What the benchmark of learning through filters has to show, held to its committed results."""

import re

import tables


def signed(cell):
    """The numbers of a cell such as "-39.3 (-39.8 to -38.8)"."""
    return [float(v) for v in re.findall(r"[+-]\d+\.?\d*", cell)]


def test_a_correction_learned_from_observations_takes_a_third_off_the_error():
    (found,) = tables.sections("learning-model")
    rows = {row[0]: row for row in found}
    plain = tables.numbers(rows["none"][2])[0]
    for name in ("network, learned", "network, learned, other runs and weights"):
        assert signed(rows[name][3])[2] < -30, name  # the whole interval, in per cent
        assert tables.numbers(rows[name][2])[0] < 0.7 * plain
