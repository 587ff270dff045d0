"""Answers to the book's exercises: `check("bayes-mean", 22.4)` replies with a hint, not a mark.

An exercise is an entry of `exercises`: a name and a judge. They stand in one file a part of the
book, beside the formulas that give the right answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from ..array import typed
    **reduced.exercises,
