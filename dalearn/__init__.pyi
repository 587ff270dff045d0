# The public names, by the rooms they live in. `__init__.py` loads each when it is first used
# (lazy_loader, SPEC 1); editors and type checkers read them here.

from . import array as array
from . import diagnostics as diagnostics
from . import integrate as integrate
from . import methods as methods
from . import models as models
from . import plot as plot
from . import widgets as widgets
from .array import finite_difference as finite_difference
from .array import linearize as linearize
from .belief import Ensemble as Ensemble
from .belief import Point as Point
from .check import check as check
from .cycle import assimilate as assimilate
from .cycle import compare as compare
from .diagnostics import climatology as climatology
from .diagnostics import crps as crps
from .diagnostics import lost as lost
from .diagnostics import lyapunov_exponents as lyapunov_exponents
from .diagnostics import rank_histogram as rank_histogram
from .diagnostics import rmse as rmse
from .diagnostics import score as score
from .diagnostics import scoreboard as scoreboard
from .diagnostics import spread as spread
from .gaussian import Covariance as Covariance
from .gaussian import Dense as Dense
from .gaussian import Diagonal as Diagonal
from .gaussian import Gaussian as Gaussian
from .integrate import rk4 as rk4
from .integrate import trajectory as trajectory
from .methods import ETKF as ETKF
from .methods import KF as KF
from .methods import Cycle as Cycle
from .methods import EnKF as EnKF
from .methods import ExtendedKF as ExtendedKF
from .models import Lorenz63 as Lorenz63
from .models import Lorenz96 as Lorenz96
from .models import Pendulum as Pendulum
from .models import Surrogate as Surrogate
from .observe import Every as Every
from .observe import Linear as Linear
from .observe import Moving as Moving
from .observe import Observation as Observation
from .observe import Subset as Subset
from .observe import identity as identity
from .problem import Problem as Problem
from .problem import twin as twin
from .widgets import explore as explore

__version__: str
