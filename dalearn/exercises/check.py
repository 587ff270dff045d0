"""Answers to the book's exercises: `check("bayes-mean", 22.4)` replies with a hint, not a mark.

An exercise is an entry of `exercises`: a name and a judge. They stand in one file a part of the
book, beside the formulas that give the right answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from ..array import typed
from . import (
    filters,
    fires,
    foundations,
    generated,
    heterogeneous,
    incremental,
    kalman,
    latent,
    learning,
    motion,
    reduced,
    rivals,
    score,
    sensors,
    variational,
    vivid,
    windows,
)
from .numbers import Feedback, Judge, not_yet, quote, unsolved

exercises: Mapping[str, Judge] = {
    **foundations.exercises,
    **kalman.exercises,
    **filters.exercises,
    **variational.exercises,
    **learning.exercises,
    **score.exercises,
    **fires.exercises,
    **latent.exercises,
    **reduced.exercises,
    **sensors.exercises,
    **rivals.exercises,
    **motion.exercises,
    **generated.exercises,
    **heterogeneous.exercises,
    **incremental.exercises,
    **windows.exercises,
    **vivid.exercises,
}


@typed
def check(name: str, answer: Any = None) -> Feedback:
    """Judge the answer to an exercise, with a hint where it is not right yet.

    Never raises because of the answer, nor ends the program where the answer would.

    Args:
        name: the name of the exercise, as the chapter gives it.
        answer: what the exercise asks for: a number, an array (NumPy, torch, xarray or a list), a
            function, or one of the offered statements; `None` or `...` while it is unsolved.

    Returns:
        Feedback: whether it is right, and why or what to look at.

    Raises:
        ValueError: no exercise has the name.
    """
    if name not in exercises:
        close = difflib.get_close_matches(str(name), exercises, n=3, cutoff=0.4)
        names = ", ".join(close or sorted(exercises))
        raise ValueError(f"no exercise is called {name!r}; did you mean {names}?")
    if unsolved(answer):
        return Feedback(False, "put your answer in place of `...` and run the cell again.", False)
    try:
        return exercises[name](answer)
    except (Exception, SystemExit) as error:  # no answer may break the reader's notebook
        return not_yet(f"your answer could not be read: {quote(error)}.")
