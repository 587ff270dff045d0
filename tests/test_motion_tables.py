"""The tables of the chapter on motion from images are those of the benchmarks, digit by digit."""

import pytest
import tables

PAGE = tables.page("inversion/motion")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("motion-results", 5),
        ("motion-deep", 5),
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
