"""dalearn: data assimilation with deep learning, taught by running it.

The public names, in the order data walks through them; each is loaded when first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["array", "diagnostics", "integrate", "models", "methods", "plot", "widgets"],
    submod_attrs={
        "array": ["finite_difference", "linearize"],
        "gaussian": ["Covariance", "Dense", "Diagonal", "Gaussian"],
        "integrate": ["rk4", "trajectory"],
        "models": ["Lorenz63", "Lorenz96", "Pendulum", "Surrogate"],
        "observe": ["Every", "Linear", "Moving", "Observation", "Subset", "identity"],
        "belief": ["Ensemble", "Point"],
        "problem": ["Problem", "twin"],
        "methods": ["ETKF", "KF", "Cycle", "EnKF", "ExtendedKF"],
        "cycle": ["assimilate", "compare"],
        "diagnostics": [
            "climatology",
            "crps",
            "lost",
            "lyapunov_exponents",
            "rank_histogram",
            "rmse",
            "score",
            "scoreboard",
            "spread",
        ],
        "widgets": ["explore"],
        "check": ["check"],
    },
)
