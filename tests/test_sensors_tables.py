"""The tables of the chapter on several sensors are those of the benchmarks, digit by digit."""

import pytest
import tables

PAGE = tables.page("learning/several-sensors")


@pytest.mark.parametrize(
    ("name", "section"),
    [("sensors-burgers", "medla_rivals"), ("sensors-camera", "medla_camera_seeds")],
)
def test_a_table_is_that_of_the_benchmark(name, section):
    found = {row[0]: row[1:] for row in tables.sections(f"latent-{section}")[0]}
    shown = tables.rows(PAGE, name)
    assert len(shown) >= 8
    for label, *cells in shown:
        for cell, value in zip(cells, found[label], strict=False):
            assert cell == (str(value) if "(" in cell else str(value or "").split(" ")[0]), label
