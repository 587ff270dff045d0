"""Whether a learned experiment measures what it says: splits, first states, masks.

Three errors of published evaluations make a method look better than it is:

    a split      frames of one run stand on both sides: the network is tested on what it has seen
    a start      the evaluation begins at the truth: a forecast without data does as well
    a mask       what was not observed holds the truth: the method reads its own answer

The first shows in equal states, in runs named twice, in windows that go on where another ends, and
in single states that lie between two others, as frames of one run do. The last two are found by
counting how much more often they happen than by chance: doubts, for a person to settle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..array import Array, as_floats, shown, to_numpy, typed
from ..methods.latent.pairs import shared
from .neighbours import neighbours

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Args:
        errors: what makes the experiment worthless as a test.
        doubts: what may, and should be explained.
        passed: the checks that found nothing.
        unchecked: the checks for which something was not given.
    """

    errors: tuple[str, ...]
    doubts: tuple[str, ...]
    passed: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are neither errors nor doubts."""
        return not self.errors and not self.doubts

    def check(self) -> Audit:
        """This audit, if it has no errors.

        Raises:
            ValueError: it has; the message lists them.
        """
        if self.errors:
            raise ValueError("the experiment is no test: " + "; ".join(self.errors))
        return self

    def __str__(self) -> str:
        kinds = {"ERROR": self.errors, "doubt": self.doubts}
        kinds |= {"passed": self.passed, "not checked": self.unchecked}
        return "\n".join(f"{kind:12}{text}" for kind, all_ in kinds.items() for text in all_)


class _Notes:
    """Findings on their way into an Audit."""

    def __init__(self):
        self.errors, self.doubts, self.passed, self.unchecked = [], [], [], []

    def note(self, name: str, errors: list[str], doubts: list[str]) -> None:
        self.errors += errors
        self.doubts += doubts
        self.passed += [name] * (not errors and not doubts)


@typed
def audit(
    *,
    train: Array | None = None,
    validation: Array | None = None,
    test: Array | None = None,
    runs: Mapping[str, Any] | None = None,
    start: Array | None = None,
    truth: Array | None = None,
    data: Array | None = None,
    seen: Array | None = None,
    free: Array | None = None,
    analysis: Array | None = None,
) -> Audit:
    """Look for the errors that make a learned method look better than it is.

        print(audit(train=train, validation=valid, test=test, start=x0, truth=truth))
        audit(...).check()                                   # or an error

    Give what the experiment has; the audit lists what it could not check.

    Args:
        train: states that were trained on, one trajectory or window a row, `(S, T, *shape)`.
        validation: those by which settings were chosen, `(S', T', *shape)`.
        test: those by which it is judged.
        runs: the run that each row of a part comes from, such as {"train": [0, 0, 1], "test":
            [2]}; by default each row is a run of its own.
        start: the states at which the evaluation begins, `(S, n)`, or its ensembles `(S, N, n)`.
        truth: the true states of the evaluation `(S, T, n)`; the first one belongs to `start`.
        data: what the method reads, of the shape of `truth`: data where there are some, and
            whatever was filled in elsewhere.
        seen: booleans of the shape of `truth`: what was observed.
        free: a forecast from `start` without any data, of the shape of `truth`.
        analysis: the method's states, of the shape of `truth`.

    Returns:
        Audit: errors, doubts, what passed and what was not checked.

    Raises:
        ValueError: shapes that do not fit, or a part without rows.
    """
    given = {"train": train, "validation": validation, "test": test}
    parts = {name: _rows(name, part) for name, part in given.items() if part is not None}
    notes = _Notes()
    _splits(notes, parts, dict(runs or {}))
    fields = {"truth": truth, "data": data, "seen": seen, "free": free, "analysis": analysis}
    fields = {name: _numbers(name, f) for name, f in fields.items() if f is not None}
    for name, f in fields.items():
        if "truth" in fields and f.shape != fields["truth"].shape:
            wanted = fields["truth"].shape
            raise ValueError(f"{name} has shape {f.shape}, wanted {wanted}, that of truth")
    if "truth" in fields and fields["truth"].ndim < 3:
        met = fields["truth"].shape
        raise ValueError(f"truth must be (S, T, n), met shape {met}; for one run truth[None]")
    _first_states(notes, start, fields)
    _masks(notes, fields)
    return Audit(*(tuple(n) for n in vars(notes).values()))


def _numbers(name: str, x: Any) -> np.ndarray:
    return to_numpy(as_floats(x, name))


def _rows(name: str, part: Any) -> np.ndarray:
    """Trajectories as `(S, T, n)`."""
    x = _numbers(name, part)
    if x.ndim < 3 or not x.size:
        raise ValueError(
            f"{name} must be trajectories (S, T, *shape), met shape {x.shape}; for one trajectory "
            f"{name}[None], for single states {name}[:, None]"
        )
    return x.reshape(*x.shape[:2], -1)


def _splits(notes: _Notes, parts: dict[str, np.ndarray], runs: dict[str, Any]) -> None:
    """Whether two parts share states or runs."""
    if len(parts) < 2:
        notes.unchecked.append("splits: wanted two of train, validation and test")
    if len({x.shape[-1] for x in parts.values()}) > 1:
        sizes = {name: x.shape[-1] for name, x in parts.items()}
        raise ValueError(f"the parts have states of different sizes: {sizes}")
    for name, labels in runs.items():
        count = np.shape(to_numpy(labels))
        if name not in parts or count != parts[name].shape[:1]:
            wanted = {n: x.shape[:1] for n, x in parts.items()}
            raise ValueError(
                f"runs has labels of shape {count} for {shown(name)}, wanted {wanted}, one for "
                "each row"
            )
    for one, other in combinations([p for p in PARTS if p in parts], 2):
        errors, doubts = [], []
        if one in runs and other in runs:
            both = set(to_numpy(runs[one]).tolist()) & set(to_numpy(runs[other]).tolist())
            if both:
                errors.append(f"{len(both)} runs stand in {one} and in {other}: {_some(both)}")
        equal = shared(*_alike(_flat(parts[one]), _flat(parts[other])))
        if equal:
            total = parts[other].shape[0] * parts[other].shape[1]
            errors.append(f"{equal} of {total} states of {other} stand in {one} too, to the bit")
        else:
            doubts = neighbours(one, parts[one], other, parts[other])
        notes.note(f"{one} and {other} share no state", errors, doubts)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


def _alike(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays in the shortest dtype among theirs: what was stored in fewer digits is equal too."""
    return [a.astype(min((b.dtype for b in arrays), key=lambda d: d.itemsize)) for a in arrays]


def _some(labels: set) -> str:
    return ", ".join(str(label) for label in sorted(labels, key=str)[:5])


def _first_states(notes: _Notes, start: Any, fields: dict[str, np.ndarray]) -> None:
    """Whether the evaluation begins at the truth, and whether it needs data at all."""
    if start is None or "truth" not in fields:
        notes.unchecked.append("first states: wanted start and truth")
    else:
        truth = fields["truth"]
        first = truth[:, 0].reshape(len(truth), 1, -1)
        x = _numbers("start", start)
        if x.shape[:1] != truth.shape[:1] or x.size % first.size:
            raise ValueError(
                f"start has shape {x.shape}, wanted {truth[:, 0].shape}, that of the first truth, "
                "or members (S, N, n)"
            )
        x, first = _alike(x.reshape(len(x), -1, first.shape[-1]), first)
        at = (x == first).all(-1).any(-1)
        errors = [f"{at.sum()} of {len(x)} evaluations begin at the truth"] * bool(at.any())
        notes.note("no evaluation begins at the truth", errors, [])
    if {"free", "analysis", "truth"} - set(fields):
        notes.unchecked.append("need of data: wanted free, analysis and truth")
        return
    without, with_data = (_error(fields[f], fields["truth"]) for f in ("free", "analysis"))
    doubts = [
        f"a forecast without data has an error of {without:.3g}, the analysis {with_data:.3g} (1: "
        "the variability of the truth)"
    ] * bool(without <= 1.1 * with_data)
    notes.note("data are needed", [], doubts)


def _masks(notes: _Notes, fields: dict[str, np.ndarray]) -> None:
    """Whether entries that were not observed hold the truth."""
    if {"data", "seen", "truth"} - set(fields):
        notes.unchecked.append("masks: wanted data, seen and truth")
        return
    seen = fields["seen"].astype(bool)
    data, truth = fields["data"], fields["truth"]
    hidden = ~seen & np.isfinite(data)
    same = np.equal(*_alike(data, truth))
    errors, doubts = [], []
    if hidden.any() and seen.any():
        held = same & hidden & (truth != 0)  # zeros are how gaps are filled
        there, here = (_error(data, truth, part) for part in (hidden, seen))
        if held.any():
            errors = [f"{held.sum()} of {hidden.sum()} entries not observed hold the truth"]
        elif 0 < there <= 1.25 * here:
            doubts = [
                f"entries not observed have an error of {there:.3g}, observed ones {here:.3g}: "
                "the truth with noise, or gaps filled well?"
            ]
    if seen.any() and same[seen].all():
        doubts.append("the data have no errors")
    notes.note("entries not observed do not hold the truth", errors, doubts)


def _error(x: np.ndarray, truth: np.ndarray, part: Any = ...) -> float:
    """Root mean square error of a part, each component in units of its own variability."""
    std = truth.std((0, 1))
    error = (x - truth) / np.where(std > 0, std, 1)
    return float(np.sqrt(np.nanmean(np.square(error[part], dtype=float))))
