"""Every setting of every public class and function, tried with wrong values and with right ones.

The same thirty odd wrong values for each: the outcome is a ValueError or TypeError that names the
setting and what it met, at once or when it is first used; or the value is one that settings of
this kind take, and then it works. And a value that it takes, in all its other forms: the result is
the same.
"""

import contextlib
import copy
import hashlib
import io
import os
import re
import signal
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import right
import torch
import wrong
from lengths import full

import dalearn as da

WHOLE = {"-1", "0", "1e9", "2**100"}
REAL = {*WHOLE, "1.5"}
LISTS = {"[]", "[1, 2, 3]"}
ARRAYS = {
    *LISTS, "array ()", "array (1,)", "array (2, 3)", "array (1, 1, 1)", "masked", "DataArray",
    "torch nan",
}  # fmt: skip
TEXT = {"no", "'1'", "empty text"}
EVERYTHING = set(wrong.wrong())
# what an annotation takes, by a word in it; the body still refuses sizes
TAKES = {
    "int": WHOLE,
    "float": REAL,
    "Bound": {*REAL, "inf"},
    "Filled": {*REAL, "None"},
    "Flags": {"True"},
    "Sizes": {*WHOLE, *LISTS},
    "Swept": {*REAL, *ARRAYS},
    "Array": {*REAL, *ARRAYS, "nan", "inf", "-inf"},
    "Numbers": {*REAL, *ARRAYS},
    "ndarray": {*REAL, *ARRAYS},
    "bool": {"True"},
    "None": {"None"},
    "str": TEXT,
    "PathLike": TEXT,
    "Callable": {"function"},
    "Operator": {"function"},
    "Model": {"function"},
    "Jacobian": {"function"},
    "Solver": {"function"},
    "Loss": {"function"},
    "Make": {"function"},
    "type": {"class", "function"},
    "Activation": {"function"},
    "Sequence": LISTS,
    "Iterable": {"DataArray"},  # its rows
    "tuple": LISTS,
    "list": LISTS,
    "dict": {"dict"},
    "Mapping": {"dict"},
    "DataArray": {"DataArray"},
    "Covariance": {*REAL, *ARRAYS},  # matrices, variances
}
NUMBERS = {*REAL, *ARRAYS}
# what settings take whose annotation is Any, by name
ANY = {
    "B": NUMBERS, "Q": {*NUMBERS, "None"}, "alpha": NUMBERS, "answer": EVERYTHING,
    "clip": {*REAL, "inf"}, "coordinates": NUMBERS, "courant": {*REAL, "None"}, "cov": NUMBERS,
    "device": {"None"}, "drift": NUMBERS, "dtype": {"class", "None", "no"},
    "elevation": NUMBERS, "factor": NUMBERS, "floor": NUMBERS, "index": ARRAYS,
    "inflation": NUMBERS, "length": NUMBERS, "locations": {*ARRAYS, "None"}, "long": NUMBERS,
    "mean": {*NUMBERS, "None"}, "motion": {*NUMBERS, "None"}, "noise": {*NUMBERS, "None"},
    "module": {"function"}, "norm": {*REAL, "nan", "inf", "-inf", "array ()"}, "period": NUMBERS,
    "periodic": {"True"}, "points": NUMBERS, "radius": {*NUMBERS, "inf"},
    "regularization": NUMBERS, "resample_below": NUMBERS, "scale": {*NUMBERS, "None"},
    "seed": {*WHOLE, "[1, 2, 3]"}, "spacing": NUMBERS, "start": {*NUMBERS, "None"},
    "std": NUMBERS, "steps": {*WHOLE, "[1, 2, 3]", "None"}, "times": {*ARRAYS, "None"},
    "truth": {*NUMBERS, "None", "nan"}, "variance": NUMBERS, "vegetation": NUMBERS, "wet": ARRAYS,
    "xN": NUMBERS, "density": NUMBERS, "shape": {"[1, 2, 3]"}, "canopy": NUMBERS,
    "validation": {"None"}, "series": ARRAYS, "analyses": ARRAYS, "R": NUMBERS,
    "after": {"None"}, "observe": set(), "H": {"None", *ARRAYS}, "counts": {*WHOLE, "[1, 2, 3]"},
    "direction": {"None", *ARRAYS}, "names": set(), "axes": {"[1, 2, 3]"},
    "threshold": NUMBERS, "places": NUMBERS, "component": {*WHOLE, "None"},
}  # fmt: skip
# what a setting is called in messages, where that is not its own name
CALLED = {
    "operator_jacobian": "jacobian", "factor": "inflation", "model": "model", "f": "f",
    "alt": "figure", "cost": "cost", "draw": "draw", "name": "exercise", "train": "per|data",
    "innovations": "innovation", "series": "values|series", "R": "variance",
    "truth_model": "model",
    "n": "inputs", "latent": "outputs", "counts": "shape", "role": "roles", "start": "observation",
    "x": "the point", "values": "covariance", "states": "snapshots|trajectories",
    "members": "the ensemble|anomalies", "matrix": "matrix", "operator": "matrix",
    "noise": "model noise|observation noise|state's", "result": "Dataset", "parts": "pairs|Hybrid",
    "factors": "axis", "weights": "libraries", "mean": "mean|libraries", "std": "std|libraries",
    "cov": "covariance", "observations": "observation", "methods": "methods?",
    "module": "module", "names": "parameter", "coordinates": "localization",
    "shape": "numbers|localization", "axes": "axes|axis",
}  # fmt: skip
MET = re.compile(r"\b(met|has|have|holds?|returned|called|names)\b")


CALLS: dict[str, list] = {}
for one in wrong.calls():
    CALLS.setdefault(one.name, []).append(one)


def takes(parameter) -> set[str]:
    """The labels of the values that a parameter takes."""
    hint = parameter.annotation if isinstance(parameter.annotation, str) else "Any"
    if "Any" in re.split(r"\W+", hint.split("[")[0]) or hint == "Any":
        return ANY.get(parameter.name, set())
    found: set[str] = set()
    for word in re.findall(r"\w+", hint):
        found |= TAKES.get(word, set())
    return found


def clear(error: Exception, name: str) -> bool:
    """Whether an error names the setting and says what was met."""
    words = f"{name}s?|{CALLED.get(name, name)}"
    named = re.search(rf"(?<![a-z_])({words})(?![a-z_])", str(error), re.IGNORECASE)
    if isinstance(error, (FileNotFoundError, FloatingPointError)):  # no file; numbers too large
        return True
    return isinstance(error, (ValueError, TypeError)) and bool(named and MET.search(str(error)))


@contextlib.contextmanager
def quietly(seconds=30):
    """Without output and warnings, and not for ever."""

    def late(*_):
        raise TimeoutError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()), np.errstate(all="ignore"):
                yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        plt.close("all")


def used(made):
    """First use of what a constructor has made: a short run, or one step; and what it gives."""
    if isinstance(made, type):
        return None
    if isinstance(made, da.VIVID):
        return da.assimilate(wrong.PLACED, made, progress=False)
    if hasattr(made, "run") and not isinstance(made, da.LDEnSF):  # it wants a joint problem
        known = isinstance(made, (da.KF, da.RTS, da.ESMDA))
        return da.assimilate(wrong.LINEAR if known else wrong.TWIN, made, progress=False)
    if hasattr(made, "begin"):
        return da.assimilate(wrong.TWIN, da.ETKF(5, inflation=made), progress=False)
    if isinstance(made, da.Localization):
        return da.assimilate(wrong.TWIN, da.LETKF(5, localization=made), progress=False)
    if isinstance(made, da.Problem):
        return da.assimilate(made, da.ETKF(5), progress=False)
    if type(made).__module__.startswith("dalearn.models") and hasattr(made, "dt"):
        shape = getattr(made, "shape", None) or (getattr(made, "n", 3),)
        shape = {da.Pendulum: (2,), da.History: (6,), da.DMD: (6,)}.get(type(made), shape)
        return made(np.ones((1, 1, *shape)))
    return None


def judged(call, label) -> str:
    """ "" for a good outcome, else what happened."""
    parameter = wrong.parameters(call.made)[call.parameter]
    value = wrong.wrong()[label]
    try:
        with quietly():
            made = call.made(**{**call.arguments, call.parameter: value})
    except Exception as error:
        return "" if clear(error, call.parameter) else f"{type(error).__name__}: {error}"
    if label not in takes(parameter):
        return f"taken in silence: {made!r:.60}"
    try:
        with quietly():
            used(made)
    except Exception as error:
        return (
            "" if clear(error, call.parameter) else f"when used, {type(error).__name__}: {error}"
        )
    return ""


def chosen(call, label) -> bool:
    """All under `make proofs`, else a fixed tenth."""
    text = f"{call.name}.{call.parameter} {label}"
    return full(hashlib.sha256(text.encode()).digest()[0] % 10 == 0, True)


# Where another form does not mean the same, and is refused: a function of arrays does not know the
# names of axes and wants one library; a formula computes with what it is given, unchecked.
UNLIKE = re.compile(
    r"(methods\.[a-z]\w*|trajectory|lyapunov_exponents|neural\.(windows|pairs)|POD|POD.fit|POD.fit_parts|DMD|DMD.fit|InterpolatedRuns|profile|"
    r"adjoint_test|gradient_test|Normalisation.fit|interval|plot.attractor|nmc|neural.Normalisation|"
    r"diagnostics.(crps_gaussian|log_score_gaussian)|Ensemble|audit)\.\w+ (DataArray|tensor)|"
    r"(rk4|models.integrate\.\w+|linearize|finite_difference)\.|"
    r"Problem.shape (deque|values)|Subset.index (tuple|values|Size)|"  # an index for each axis
    r"Rows.values .*|"  # rows of a root have no names
    r"gradient_test.x float32"  # other steps
)


def outcome(call, value):
    """What a call makes, and what that does when it is used."""
    arguments = {**call.arguments, call.parameter: value}
    modules = {k: copy.deepcopy(v) for k, v in arguments.items() if isinstance(v, torch.nn.Module)}
    torch.manual_seed(0)
    with quietly():
        made = call.made(**{**arguments, **modules})
        return made, used(made)


@pytest.mark.proof
@pytest.mark.parametrize("name", CALLS)
def test_other_forms_of_right_values_mean_the_same(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = {}
    for call in CALLS[name]:
        value = right.plain(call)
        forms = right.equivalents(value)
        forms = {k: v for k, v in forms.items() if chosen(call, k)}
        wanted = outcome(call, value) if forms else None
        for label, form in forms.items():
            where = f"{name}.{call.parameter} {label}"
            try:
                met = outcome(call, form)
            except Exception as error:
                if not UNLIKE.match(where):
                    bad[where] = f"{type(error).__name__}: {error}"[:200]
                continue
            if not right.same(wanted, met) and not UNLIKE.match(where):
                bad[where] = "another result"
    assert not bad, "\n".join(f"{k}: {v}" for k, v in sorted(bad.items()))


@pytest.mark.proof
@pytest.mark.parametrize("name", CALLS)
def test_wrong_values_are_refused_in_words(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = {}
    for call in CALLS[name]:
        for label in EVERYTHING:
            if label in wrong.tried(call) and chosen(call, label) and (met := judged(call, label)):
                bad[f"{call.parameter} = {label}"] = met[:200]
    assert not bad, "\n".join(f"{k}: {v}" for k, v in sorted(bad.items()))


def test_there_are_a_thousand_cases_and_more():
    cases = [(c, label) for calls in CALLS.values() for c in calls for label in wrong.tried(c)]
    assert len(cases) > 15_000
    assert len({c.name for c, _ in cases}) > 150
    assert os.environ.get("DALEARN_PROOFS") == "1" or sum(chosen(*c) for c in cases) > 1000
