"""Figures in tests need no display; tests that read the built site are marked `site`."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.hookimpl(tryfirst=True)  # before the marks are selected
def pytest_collection_modifyitems(items):
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.site)
