"""Bars are shown where somebody sees them, and one helper decides."""

import io
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import dalearn
from dalearn.files.progress import progress_bar, seen

PACKAGE = Path(dalearn.__file__).parent


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_wants_a_terminal_or_a_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    for stream, wanted in ((io.StringIO(), False), (Terminal(), True), (None, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert seen() is wanted
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for shell, wanted in (
        (None, False),  # IPython is there, but nothing runs in it
        (types.SimpleNamespace(), False),  # its shell in a terminal
        (types.SimpleNamespace(kernel=object()), True),
    ):
        ipython = types.SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert seen() is wanted


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_training_writes_no_bar_into_a_file(monkeypatch, progress, stream):
    from dalearn.neural import MLP, fit, seeded

    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys, "stderr", stream())
    x = np.ones((4, 2), np.float32)
    fit(seeded(0, MLP, 2, 2), (x, x), epochs=2, progress=progress)
    written = sys.stderr.getvalue()
    assert bool(written) == (progress and stream is Terminal)


def test_a_bar_goes_through_what_it_is_given():
    assert list(progress_bar(range(3), progress=False)) == [0, 1, 2]


def test_one_helper_makes_every_bar():
    """Whatever has a bar has this one: no other file of the package knows tqdm."""
    users = [p for p in PACKAGE.rglob("*.py") if "import tqdm" in p.read_text("utf8")]
    assert [p.relative_to(PACKAGE).as_posix() for p in users] == ["files/progress.py"]
