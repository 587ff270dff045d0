"""Figures in tests need no display; tests that read the built site are marked `site`."""

import re
import sys
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "tests")]  # in every folder of tests

import bounds  # noqa: E402

matplotlib.use("Agg")
# What `make browser` runs: a test of the site elsewhere would run nowhere.
SITES = re.search(r"^SITES := (.+)$", (ROOT / "Makefile").read_text("utf8"), re.M)[1].split()


def pytest_configure(config):
    config.pluginmanager.import_plugin("seconds")


@pytest.hookimpl(tryfirst=True)  # before the marks are selected
def pytest_collection_modifyitems(items):
    """Mark what reads the site; put the longest files first, so that no worker ends alone."""
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.site)
        if item.get_closest_marker("site") or item.get_closest_marker("browser"):
            named = any(item.path.is_relative_to(ROOT / place) for place in SITES)
            assert named, f"`make browser` does not run {item.nodeid}: SITES in the Makefile"
    items.sort(key=lambda item: -bounds.of(item.path))
