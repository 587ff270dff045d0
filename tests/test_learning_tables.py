"""What the benchmark of learning through filters has to show, held to its committed results."""

import tables


def rows(name):
    (found,) = tables.sections(f"learning-{name}")
    return {row[0]: row for row in found}


def test_gradients_find_inflation_and_radius_in_a_tenth_of_a_sweep():
    found = rows("inflation")
    learned = [row for name, row in found.items() if name.startswith("learned")]
    assert len(learned) == 3
    for row in learned:
        assert row[6] < 0.1, row  # of the sweep's CPU time
        assert tables.numbers(row[4])[0] < 2, row  # per cent above the best of the sweep


def test_a_correction_learned_from_observations_takes_a_third_off_the_error():
    found = rows("model")
    plain = tables.numbers(found["none"][2])[0]
    for name in ("network, learned", "network, learned, other runs and weights"):
        mean, low, high = tables.numbers(found[name][3])
        assert high < -30, name  # the whole interval of the paired difference, in per cent
        assert tables.numbers(found[name][2])[0] < 0.7 * plain
