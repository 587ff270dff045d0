"""What the tuning sections of `benchmarks.score` chose, by kind; see results/score-tuning_*.md."""

from __future__ import annotations

from dalearn.methods.ensemble.inflation import RTPP, RTPS, Adaptive

from .score_setups import Setting, enff, enkf, ensf, letkf, own, ring, root, undamped

ESTIMATED = Adaptive(1.05, drift=0.05)

CHOSEN: dict[int, dict[str, Setting]] = {
    1: {
        "EnSF": ensf(0.5, 0.0125),
        "EnSF, flow": ensf(0.5, 0.0125, flow=True),
        "EnSF, own spread": own(0.7, damping=undamped, inflation=RTPS(0.3)),
        "EnFF F2P": enff(0.05, 0.025),
        "EnFF OT": enff(0.05, 0.1, coupling="OT", steps=20),
        "LETKF": letkf(100, 5, RTPP(0.5), 1.5),
        "LETKF, adaptive": letkf(100, 3, Adaptive(1.05), 1.5),
        "LETKF, published settings": letkf(100, 4, 1.1),
        "EnKF, localized": enkf(100, 3, RTPP(0.5)),
    },
    2: {
        "EnSF": ensf(0.5, 0.05),
        "EnSF, regression": ensf(regression=ring(100, 2)),
        "EnSF, own spread": own(0.7, damping=root, regression=ring(100, 2), inflation=RTPS(0.3)),
        "LETKF": letkf(100, 2, RTPS(0.5), 1.5),
        "LETKF, adaptive": letkf(100, 2, ESTIMATED, 3.0),
        "EnKF, localized": enkf(100, 4, RTPS(0.5), 3.0),
    },
    4: {
        "EnSF": ensf(0.5, 0.05),
        "EnSF, regression": ensf(0.7, 0.05, regression=ring(100, 2), inflation=RTPS(0.3)),
        "EnSF, own spread": own(0.7, regression=ring(100, 2), inflation=RTPS(0.5)),
        "LETKF": letkf(100, 2, 1.05, 3.0),
        "LETKF, adaptive": letkf(100, 2, Adaptive(1.05), 3.0),
        "EnKF, localized": enkf(100, 2, 1.05, 3.0),
    },
}
FLAMES: dict[str, Setting] = {
    "EnSF": ensf(0.5, 0.001),
    "EnSF, published eps": ensf(),
    "EnFF F2P": enff(0.01, 0.005),
    "EnFF OT": enff(0.03, 0.02, coupling="OT", steps=20),
    "LETKF": letkf(1024, 16, 1.02),
    "LETKF, adaptive": letkf(1024, 16, ESTIMATED),
    "EnKF, localized": enkf(1024, 16, 1.02),
}
