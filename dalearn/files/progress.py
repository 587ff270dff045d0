"""Progress bars, where somebody sees them: in a terminal or a notebook, not in a log file."""

from __future__ import annotations

import sys
from typing import Any


def seen() -> bool:
    """Whether a bar on stderr is seen: stderr is a terminal, or this is a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is not None:
        return True
    return sys.stderr is not None and sys.stderr.isatty()


def progress_bar(iterable: Any = None, *, progress: bool, **settings: Any) -> Any:
    """A bar of tqdm, silent unless it is asked for and seen.

    Args:
        iterable: what to go through; None for a bar that is moved by `update`.
        progress: whether a bar is wanted.
        **settings: of tqdm, such as total and unit.

    Returns:
        tqdm: the bar; it iterates over `iterable`.
    """
    from tqdm.auto import tqdm

    given = () if iterable is None else (iterable,)
    return tqdm(*given, **settings, disable=not (progress and seen()))
