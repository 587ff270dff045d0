"""Filters and smoothers: accuracy against the papers, cost against DAPPER, scaling, import time.

    python -m benchmarks.filters [--quick] [--only SECTION] [--out DIR]

One thread, CPU time; the sides of a comparison run in turn, and a ratio is the median over the
rounds. The set-ups are those of Sakov and Oke (Lorenz-96) and of Sakov et al. (Lorenz-63).
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from dalearn.methods import ETKF, LETKF, EnKF, EnKFN, EnSRF, IEnKS, ParticleFilter
from dalearn.methods.ensemble.localization import Localization

from . import peers
from .accuracy import accuracy
from .common import Report, in_turn, parser, ratio, run
from .large import grid, scaling, sweep
from .setups import lorenz63, lorenz96, ours
from .update import update

# --- cost -----------------------------------------------------------------------------------


class Race(NamedTuple):
    """The same set-up for both: our method and DAPPER's."""

    name: str
    make: Callable
    method: Any
    peer: tuple[str, dict]
    cycles: int
    targets: tuple  # (alone / full, alone / core, batch / full, batch / core)
    batch: int = 64
    n: int = 40


ETKF_24 = "EnKF", {"upd_a": "Sqrt", "N": 24, "infl": 1.013, "rot": True}
LOCAL_7 = "LETKF", {"N": 7, "infl": 1.04, "rot": True, "loc_rad": 4}


def letkf7(n: int) -> LETKF:
    """Seven members, observations within about 14 points."""
    return LETKF(7, localization=Localization.ring(n, 4.0), inflation=1.04, rotate="haar")


RACES = (
    Race("L96 ETKF N=24 x1.013 haar", lorenz96, ETKF(24, inflation=1.013, rotate="haar"),
         ETKF_24, 400, (10, 2, 45, 9)),
    Race("L96 ETKF N=24 x1.013 householder", lorenz96,
         ETKF(24, inflation=1.013, rotate="householder"), ETKF_24, 400, (10, 2, 45, 9)),
    Race("L96 EnKF N=40 x1.06", lorenz96, EnKF(40, inflation=1.06),
         ("EnKF", {"upd_a": "PertObs", "N": 40, "infl": 1.06}), 400, (None, 1.2, None, 3)),
    Race("L96 EnKF-N N=24 haar", lorenz96, EnKFN(24, rotate="haar"),
         ("EnKF_N", {"N": 24, "rot": True}), 400, (None,) * 4),
    Race("L96 EnSRF N=28 x1.02 haar", lorenz96, EnSRF(28, inflation=1.02, rotate="haar"),
         ("EnKF", {"upd_a": "Serial", "N": 28, "infl": 1.02, "rot": True}), 200, (None,) * 4),
    Race("L96 IEnKS N=40 lag 1 x1.01", lorenz96, IEnKS(40, lag=1, inflation=1.01, rotate="haar"),
         ("iEnKS", {"upd_a": "Sqrt", "N": 40, "Lag": 1, "infl": 1.01, "rot": True}), 100,
         (None, 1.2, None, 2.5), 16),
    Race("L96 particles N=3000", lorenz96,
         ParticleFilter(3000, regularization=0.7, resample_below=0.5),
         ("PartFilt", {"N": 3000, "reg": 0.7, "NER": 0.5}), 40, (None, 1.2, None, 1), 4),
    Race("L96 LETKF N=7, n = 40", lorenz96, letkf7(40), LOCAL_7, 100, (None, 8, None, None)),
    Race("L96 LETKF N=7, n = 400", lorenz96, letkf7(400), LOCAL_7, 20, (None, 18, None, None),
         0, 400),
    Race("L96 LETKF N=7, n = 4000", lorenz96, letkf7(4000), LOCAL_7, 4, (None, 30, None, None),
         0, 4000),
    Race("L63 ETKF N=10 x1.02 haar", lorenz63, ETKF(10, inflation=1.02, rotate="haar"),
         ("EnKF", {"upd_a": "Sqrt", "N": 10, "infl": 1.02, "rot": True}), 200,
         (2.5, None, 40, None)),
    Race("L63 IEnKS N=10 lag 1 x1.02", lorenz63, IEnKS(10, lag=1, inflation=1.02, rotate="haar"),
         ("iEnKS", {"upd_a": "Sqrt", "N": 10, "Lag": 1, "infl": 1.02, "rot": True}), 100,
         (None, 1.2, None, 2.5)),
    Race("L63 particles N=100", lorenz63,
         ParticleFilter(100, regularization=2.4, resample_below=0.3),
         ("PartFilt", {"N": 100, "reg": 2.4, "NER": 0.3}), 200, (None,) * 4),
)  # fmt: skip
COST_COLUMNS = ("set-up", "side", "best ms", "median ms",
                "full / this", "range", "target", "core / this", "range", "target")  # fmt: skip


def cost(report: Report, quick: bool) -> None:
    """A cycle of ours against a cycle of DAPPER's."""
    rounds = 2 if quick else 7
    report.section(
        "Cost of a cycle, dalearn and DAPPER in turn",
        "CPU milliseconds per cycle and experiment. dalearn: `assimilate` (moments kept, no bar) "
        "and `rmse`, one experiment or a batch. DAPPER full: `xp.assimilate` and its time "
        "means, as shipped; core: its statistics switched off. Ratios: DAPPER / dalearn, the "
        f"median of {rounds} rounds, with their range and the target.",
        COST_COLUMNS,
    )
    for race in RACES:
        cycles = max(2, race.cycles // 2) if quick else race.cycles
        size = {} if race.n == 40 else {"n": race.n}
        sides: dict[str, Callable] = {
            "dalearn, alone": partial(ours, race.make(cycles, **size), race.method)
        }
        together = f"dalearn, batch of {race.batch}"
        if race.batch:
            sides[together] = partial(ours, race.make(cycles, race.batch), race.method)
        if peers.available():
            model = peers.twin(race.name[:3], cycles, 0, burn_in=False, **size)
            method = peers.method(race.peer[0], **race.peer[1])
            sides["DAPPER core"] = partial(peers.core, method, model)
            if race.targets[0] or race.targets[2]:
                sides["DAPPER full"] = partial(peers.full, method, model)
        seconds = in_turn(sides, rounds)
        each = {
            k: [s / cycles / (race.batch if k == together else 1) * 1e3 for s in v]
            for k, v in seconds.items()
        }
        for label, ms in each.items():
            cells: list[Any] = []
            for j, slow in enumerate(("DAPPER full", "DAPPER core")):
                if slow in each and not label.startswith("DAPPER"):
                    cells += [*ratio(each[slow], ms), race.targets[2 * (label == together) + j]]
                else:
                    cells += [None] * 3
            middle = statistics.median(ms)
            report.row(race.name, label, round(min(ms), 4), round(middle, 4), *cells)
    if not peers.available():
        report.after("DAPPER is not installed (`pip install dalearn[bench]`): not compared.")


# --- import ---------------------------------------------------------------------------------

HEAVY = ("torch", "matplotlib", "xarray", "scipy", "pandas", "ipywidgets")


def child(code: str) -> tuple[float, float]:
    """Wall-clock and CPU milliseconds of a fresh interpreter that runs `code`."""

    def used() -> float:
        r = resource.getrusage(resource.RUSAGE_CHILDREN)
        return r.ru_utime + r.ru_stime

    cpu, start = used(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - start) * 1e3, (used() - cpu) * 1e3


def imports(report: Report, quick: bool) -> None:
    """What `import dalearn` costs, and what it does not load."""
    count = 3 if quick else 10
    report.section(
        "Import time",
        f"Median of {count} fresh interpreters each, in turn, less a bare one; milliseconds.",
        ("statement", "wall", "CPU"),
    )
    codes = {
        "import numpy": "import numpy",
        "import dalearn": "import dalearn",
        "from dalearn import ETKF, Lorenz96, twin, assimilate": (
            "from dalearn import ETKF, Lorenz96, twin, assimilate"
        ),
    }
    runs: dict[str, list] = {name: [] for name in ("", *codes)}
    for _ in range(count):
        for name in runs:
            runs[name].append(child(codes.get(name, "pass")))
    middle = {k: [statistics.median(column) for column in zip(*v, strict=True)]
              for k, v in runs.items()}  # fmt: skip
    for name in codes:
        wall, cpu = (a - b for a, b in zip(middle[name], middle[""], strict=True))
        report.row(f"`{name}`", round(wall, 1), round(cpu, 1))
    code = f"import sys, dalearn; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = out.stdout.split()
    report.after(
        f"Loaded by `import dalearn` of {', '.join(HEAVY)}: {', '.join(found) or 'none'}."
    )


SECTIONS = {
    "accuracy": accuracy,
    "cost": cost,
    "scaling": scaling,
    "grid": grid,
    "update": update,
    "sweep": sweep,
    "import": imports,
}


def main() -> None:
    """Run the chosen sections and write the report."""
    options = parser("filters", __doc__, tuple(SECTIONS)).parse_args()
    run("filters", "Filters: accuracy, cost, scaling", options, SECTIONS)


if __name__ == "__main__":
    main()
