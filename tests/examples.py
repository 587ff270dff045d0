"""One tuple of models, one of covariances, one of methods: contract tests run on each entry."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pod_networks
import torch

import dalearn as da
from dalearn.array import array_namespace, to_numpy
from dalearn.cases import sakov2008, sakov2012
from dalearn.covariances import Blocks, Updated, kernels
from dalearn.models import Extended, reconstruction_error


@dataclass(frozen=True)
class ModelExample:
    """A model with a typical state `x (*shape)` and one of its parameters, if it has any.

    `spectral`: its transforms mix all numbers of a state, so that libraries and blocks agree to
    round-off instead of to the bit. `name`, where two settings of one model stand here.
    """

    model: Any
    x: np.ndarray
    parameter: str = ""
    spectral: bool = False
    name: str = ""

    def __str__(self):
        return self.name or type(self.model).__name__


def waves(*shape):
    """A smooth field with no symmetry, of size 1."""
    axes = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    return sum(np.sin((i + 1) * a + i) for i, a in enumerate(axes)) / len(axes)


def plane(components, rows, columns, size=1.0):
    """Smooth fields `(components, rows, columns)` with no symmetry."""
    return size * np.stack([np.roll(waves(rows, columns), 3 * i, -1) for i in range(components)])


MODELS = (
    ModelExample(da.Pendulum(omega=1.3, damping=0.1), np.array([1.0, -0.4]), "omega"),
    ModelExample(da.Lorenz63(), np.array([1.509, -1.531, 25.46]), "rho"),
    ModelExample(da.Lorenz96(), 8 * np.sin(np.arange(40.0)), "forcing"),
    ModelExample(da.Lorenz96TwoScale(6, 4), waves(30), "forcing"),
    ModelExample(da.Burgers(16, dt=0.05), 0.3 + waves(16), "viscosity"),
    ModelExample(da.Burgers(16, dt=0.05, spectral=True), waves(16), "viscosity", True, "modes"),
    ModelExample(da.Burgers2D(8), plane(2, 8, 8), "viscosity"),
    ModelExample(da.Advection((8, 10), dt=0.1), plane(3, 8, 10)),
    ModelExample(da.Advection((8, 10), order=1), plane(3, 8, 10), name="linear"),
    ModelExample(da.Advection((8, 10), inertia=True), plane(3, 8, 10), name="inertia"),
    ModelExample(da.Advection((8, 10), motion=plane(2, 8, 10)), waves(8, 10), name="motion"),
    ModelExample(
        da.DMD(np.random.default_rng(5).normal(size=(3, 12)) / 5, np.ones(3)), waves(12), "", True
    ),
    ModelExample(da.KuramotoSivashinsky(32, 22.0), 2 * waves(32), "viscosity", spectral=True),
    ModelExample(da.Kolmogorov(16), plane(2, 16, 16), "reynolds", spectral=True),
    ModelExample(da.Kolmogorov(16, substeps=3), plane(2, 16, 16), "drag", True, "substeps"),
    ModelExample(da.ShallowWater((12, 10)), plane(3, 12, 10), "depth"),
    ModelExample(
        replace(da.ShallowWater.ld_ensf(12), drag=1e-5), plane(3, 12, 12), "drag", name="rotating"
    ),
    ModelExample(
        replace(da.ShallowWater.vivid(), cells=(10, 8)),
        plane(3, 10, 8, size=0.2),
        "drag",
        name="vivid",
    ),
)


class Bare:
    """A problem that has what `ProblemLike` names, and besides only what `more` names."""

    def __init__(self, problem, more=()):
        self._problem, self._more = problem, tuple(more)

    def __len__(self):
        return len(self._problem)

    @property
    def batch(self):
        return self._problem.batch

    @property
    def n(self):
        return self._problem.n

    @property
    def like(self):
        return self._problem.like

    @property
    def prior(self):
        return self._problem.prior

    def forecast(self, x, k, rng=None):
        return self._problem.forecast(x, k, rng)

    def at(self, k):
        return self._problem.at(k)

    def __getattr__(self, name):
        if name in self._more:
            found = getattr(self._problem, name)
            return (lambda like: Bare(found(like), self._more)) if name == "to" else found
        raise AttributeError(name)


STEPS = "step", "steps_to", "noise"  # what a Stepwise problem has beside
TRUTH = ("truth",)


@dataclass(frozen=True)
class CovarianceExample:
    """A covariance of a dozen components or so, with a name."""

    name: str
    covariance: Any

    def __str__(self):
        return self.name


def wet_map():
    wet = np.ones((7, 8), bool)
    wet[3, :6] = False  # a dike with a way around it on the right
    return wet


def _covariances():
    rng = np.random.default_rng(3)
    X, V = rng.normal(size=(5, 12)), rng.normal(size=(8, 6))
    line = kernels.at_points(np.arange(4), 2.0, kernels.exponential)
    local = da.Localized(X - X.mean(0), da.OnGrid((3, 4), 1.1, kernels.gaspari_cohn))
    two = da.OnGrid((3, 4), 0.8, std=np.linspace(1, 2, 12).reshape(3, 4))
    full = da.Dense(V.T @ V + np.eye(6))
    turned = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    return {
        "diagonal": da.Diagonal(rng.uniform(0.5, 2, 7)),
        "dense": full,
        "rows": da.Rows(V),
        "updated": Updated(full, turned[:2], np.array([3.0, 1.5])),
        "blocks": Blocks((full, da.Diagonal([1.0, 2.0]), line)),
        "ring": da.OnGrid(9, 1.3, fields=2, std=rng.uniform(1, 2, (2, 9))),
        "plane": da.OnGrid((5, 4), (1.0, 2.0), kernels.exponential, spacing=0.5),
        "walls": da.OnGrid((5, 4), 1.3, periodic=False, nugget=0.1),
        "channel": da.OnGrid((5, 4), 1.3, periodic=(False, True)),
        "duct": da.OnGrid((4, 5), 1.3, periodic=(True, False)),
        "separable": da.Separable(line, kernels.at_points(np.arange(5), 1.5)),
        "three axes": da.Separable(da.Diagonal([1.0, 4.0]), line, da.OnGrid(5, 1.0)),
        "diffusion": da.Diffusion(wet_map(), 2.0, std=1.5),
        "diffusion, lines": da.Diffusion(wet_map(), 2.0, lines=True, fields=2, periodic=True),
        "diffusion, 1-D": da.Diffusion(wet_map()[:, 0], 2.0, 2),
        "low rank": da.LowRank.from_members(X),
        "localized": local,
        "hybrid": da.Hybrid((0.3, two), (0.7, local)),
        "sum": 0.5 * two + local / 3 + da.Diagonal(np.ones(12)),
        "multiple": 4 * two,
    }


COVARIANCES = tuple(CovarianceExample(name, C) for name, C in _covariances().items())


@dataclass(frozen=True)
class MethodExample:
    """A method and what its theory promises.

    `exact`: equal to the Kalman filter on linear-Gaussian problems; if not, `wide(N)` is the
    method at ensemble size N, which tends to it. `matched`: with missing data it equals the
    problem with those rows removed, without changing the random numbers it draws. Neither exact
    nor wide: its theory promises something else, held in test_ensemble.py or test_smoothers.py.
    """

    method: Any
    exact: bool = False
    wide: Any = None
    matched: bool = True
    linear_only: bool = False
    local: bool = False  # wants to know where observations are, and independent errors
    cycled: bool = True  # carries something from one time to the next, so bad data can break it
    noisy: bool = False  # wants to know how much the model errs at each step
    yardstick: bool = False  # uses no data: its error is the climatological spread
    needs: tuple[str, ...] = ()  # of a problem, beside what ProblemLike names
    fixed: bool = False  # its coder takes states of three numbers
    tracks: Any = field(default=None)  # the settings that track Lorenz-63 (None: the same)

    def __str__(self):
        turn, parts = getattr(self.method, "rotate", None), [type(self.method).__name__]
        if self.fixed:
            parts.append(type(self.method.method).__name__)
        return "-".join(parts + ["local"] * self.local + [turn] * bool(turn))


@dataclass(frozen=True, eq=False)
class Curved:
    """A coder that is not linear: the arsinh of the codes of another."""

    coder: Any
    n = property(lambda self: self.coder.n)
    r = property(lambda self: self.coder.r)

    def encode(self, x):
        z = self.coder.encode(x)
        return array_namespace(z).asinh(z)

    def decode(self, z):
        return self.coder.decode(array_namespace(z).sinh(z))

    def floor(self, test):
        return reconstruction_error(self, test)


def snapshots(n=12, S=60, seed=0):
    """States `(3, S / 3, n)` whose directions vary by 0.7, 0.49, ... of the first."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(n, n)))[0]
    return 2 + (rng.normal(size=(3, S // 3, n)) * 0.7 ** np.arange(n)) @ rotation


@dataclass(frozen=True)
class CoderExample:
    """A coder of the states that `snapshots(n)` draws.

    `floor`: the largest floor its theory allows on unseen draws, in the states' units.
    """

    coder: Any
    name: str
    floor: float

    def __str__(self):
        return self.name


def _coders():
    fitted = da.POD.fit(snapshots(), 5)
    units = np.linspace(0.5, 2, 12)
    # 0.7^i for i >= 5 leave 0.068 on 12 components; directions fitted to 60 draws leave more
    yield CoderExample(fitted, "POD", 0.09)
    yield CoderExample(da.POD.fit(snapshots(), 12), "POD-full", 1e-12)
    yield CoderExample(da.POD.fit(snapshots(), 5, randomised=True), "POD-randomised", 0.09)
    yield CoderExample(da.POD.fit(snapshots(), 5, mean=False, scale=units), "POD-units", 0.15)
    yield CoderExample(da.POD.fit(snapshots(), 8).truncated(5), "POD-truncated", 0.09)
    yield CoderExample(Extended(da.POD.fit(snapshots()[..., :10], 4), 2), "POD-parameters", 0.2)
    each = da.POD.fit(snapshots(4, seed=3), 4)  # directions of states of four numbers
    yield CoderExample(da.Windowed(each, 3), "POD-windows", 1e-12)
    yield CoderExample(Curved(fitted), "curved", 0.09)
    ends = np.where(np.arange(12) % 3, -20.0, -np.inf), np.where(np.arange(12) % 2, 30.0, np.inf)
    yield CoderExample(da.Bounded(12, *ends), "bounded", 1e-12)
    yield CoderExample(da.Anamorphosis.fit(snapshots(S=300), 20, *ends), "anamorphosis", 1e-12)
    for name, net in pod_networks.made(fitted).items():
        yield CoderExample(da.neural.FieldCoder(net), name, 0.09)
    scaled = pod_networks.made(da.POD.fit(snapshots() / units, 5))["Autoencoder"]
    yield CoderExample(da.neural.FieldCoder(scaled, units), "Autoencoder-units", 0.15)


CODERS = tuple(_coders())


@dataclass(frozen=True, eq=False)
class Both:
    """States through a coder, and data, numbers of the state, through it too."""

    coder: Any
    n = property(lambda self: self.coder.n)
    r = property(lambda self: self.coder.r)

    def encode(self, x):
        return self.coder.encode(x)

    def decode(self, z):
        return self.coder.decode(z)

    def encode_observation(self, y):
        xp, lacks = array_namespace(y), (*y.shape[:-1], self.n - y.shape[-1])
        rest = xp.zeros(lacks, dtype=y.dtype, device=y.device)
        return self.coder.encode(xp.concat((y, rest), axis=-1))


TURNED = da.POD(np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0], np.ones(3))
EVERYWHERE = da.Localization.line(3, np.inf, da.boxcar)  # every observation counts fully


class Cells(torch.nn.Module):
    """An inverse operator: what the image of a row of three cells shows is the state there."""

    shape = (1, 3)

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, image):
        return image[:, 0, 0] * self.one


class Rowed:
    """A problem like another one, whose sensors stand in a row of cells, as they lie on a line."""

    def __init__(self, problem):
        self._problem = problem

    def __len__(self):
        return len(self._problem)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._problem, name)

    def at(self, k):
        observe, y = self._problem.at(k)
        line = observe.locations
        along = np.arange(y.shape[-1]) if line is None else to_numpy(line)[:, 0]
        cells = np.stack((np.zeros(len(along)), along), -1)
        return replace(observe, locations=cells), y

    def to(self, like):
        return Rowed(self._problem.to(like))


@dataclass(frozen=True, eq=False)
class InARow:
    """A method for sensors of a plane, on problems whose sensors lie on a line."""

    method: Any

    def run(self, problem, rng):
        yield from self.method.run(Rowed(problem), rng)


# ExtendedKF: 1.9 a cycle is DAPPER's factor for this set-up, 180 on variances per time unit.
METHODS = (
    MethodExample(da.KF(), exact=True, linear_only=True, needs=STEPS),
    MethodExample(da.ExtendedKF(), exact=True, needs=STEPS, tracks=da.ExtendedKF(inflation=1.9)),
    MethodExample(
        da.ExtendedKF(jacobian=da.finite_difference, operator_jacobian=da.finite_difference),
        exact=True,
        needs=STEPS,
        tracks=da.ExtendedKF(
            1.9, jacobian=da.finite_difference, operator_jacobian=da.finite_difference
        ),
    ),
    MethodExample(da.RTS(), exact=True, linear_only=True, needs=STEPS),
    MethodExample(da.RTS(lag=2), exact=True, linear_only=True, needs=STEPS),
    MethodExample(da.ExtendedRTS(), exact=True, needs=STEPS, tracks=da.ExtendedRTS(1.9)),
    MethodExample(da.UnscentedRTS(lag=2), exact=True, needs=STEPS),
    MethodExample(da.UKF(), exact=True, needs=STEPS),
    MethodExample(da.UKF(1e-2), exact=True, needs=STEPS, tracks=da.UKF(1e-2, inflation=1.9)),
    MethodExample(da.OI(), needs=TRUTH, tracks=da.OI(factor=0.1)),
    MethodExample(da.OI(cycled=False), cycled=False, needs=TRUTH),
    MethodExample(da.Climatology(), cycled=False, yardstick=True, needs=TRUTH),
    MethodExample(da.Var3D(), needs=TRUTH, tracks=da.Var3D(factor=0.1)),
    MethodExample(
        # to round-off: the variance of a search that ends early is an upper bound
        da.Var3D(window=2, solver=da.IncrementalCG(accuracy=1e-10)),
        needs=(*TRUTH, "to"),
        tracks=da.Var3D(factor=0.1, solver=da.IncrementalCG()),
    ),
    MethodExample(da.Var4D(2), needs=STEPS + TRUTH, tracks=da.Var4D(2, factor=0.05)),
    MethodExample(
        da.Var4D(2, shift=1, evolve=True),
        needs=STEPS + TRUTH,
        tracks=da.Var4D(1, factor=0.1, evolve=True, inflation=1.1),
    ),
    MethodExample(
        da.Var3D(solver=da.LBFGS()),
        needs=(*TRUTH, "to"),
        tracks=da.Var3D(factor=0.1, solver=da.LBFGS()),
    ),
    MethodExample(da.EnVar4D(10, window=1, inflation=1.02), wide=lambda N: da.EnVar4D(N)),
    MethodExample(da.EnVar4D(10, window=2, inflation=1.02, rotate="haar")),
    MethodExample(da.WeakVar4D(1), exact=True, noisy=True, needs=STEPS),
    MethodExample(da.WeakVar4D(2), noisy=True, needs=STEPS),
    MethodExample(da.EnKF(12, inflation=1.02), wide=lambda N: da.EnKF(N), matched=False),
    MethodExample(da.ETKF(10, inflation=1.02), wide=lambda N: da.ETKF(N)),
    MethodExample(
        da.ETKF(10, inflation=1.02, rotate="householder"),
        wide=lambda N: da.ETKF(N, rotate="householder"),
    ),
    MethodExample(
        da.ETKF(10, inflation=1.02, rotate="haar"), wide=lambda N: da.ETKF(N, rotate="haar")
    ),
    MethodExample(da.DEnKF(10, inflation=1.02)),
    MethodExample(da.EnKFN(10)),  # these five: equal to the ETKF, see test_smoothers.py
    MethodExample(da.EnKFN(10, inflation=1.0, rotate="haar", xN=2.0, hessian=True)),
    MethodExample(da.EnKS(10, lag=2, inflation=1.02, rotate="haar")),
    MethodExample(da.IEnKS(10, lag=1, inflation=1.02), needs=STEPS),
    MethodExample(da.IEnKS(10, lag=2, inflation=1.02, rotate="haar"), needs=STEPS),
    MethodExample(da.EnSRF(10, inflation=1.02), wide=lambda N: da.EnSRF(N)),
    MethodExample(
        da.EnSRF(10, inflation=1.02, localization=EVERYWHERE, rotate="haar"),
        wide=lambda N: da.EnSRF(N, inflation=1.0, localization=EVERYWHERE, rotate="haar"),
        local=True,
    ),
    MethodExample(
        da.QCEFF(10, inflation=1.02),
        wide=lambda N: da.QCEFF(N),
        local=True,
        tracks=da.QCEFF(80, inflation=1.05),
    ),
    MethodExample(
        da.QCEFF(
            10,
            observed=da.NormalMarginal(),
            state=da.RankHistogram(),
            inflation=1.02,
            localization=EVERYWHERE,
        ),
        wide=lambda N: da.QCEFF(
            N,
            observed=da.NormalMarginal(),
            state=da.RankHistogram(),
            localization=EVERYWHERE,
        ),
        local=True,
        tracks=da.QCEFF(80, state=da.RankHistogram(), inflation=1.05),
    ),
    MethodExample(
        da.LETKF(10, localization=EVERYWHERE, inflation=1.02),
        wide=lambda N: da.LETKF(N, localization=EVERYWHERE),
        local=True,
    ),
    MethodExample(
        da.LETKF(
            10,
            localization=da.Localization.line(3, 1.5),
            inflation=da.RTPS(0.1),
            rotate="householder",
        ),
        local=True,
    ),
    MethodExample(
        da.ParticleFilter(100, regularization=2.4, resample_below=0.3),
        wide=lambda N: da.ParticleFilter(N),
    ),
    MethodExample(da.ParticleFilter(100, regularization=2.4, resample_below=0.3, lag=2)),
    MethodExample(
        da.LocalParticleFilter(20, localization=EVERYWHERE, inflation=1.0, regularization=0.4),
        local=True,
    ),
    # their theory is in tests/methods/score: a relaxation of each member to the data
    MethodExample(da.EnSF(10, eps_beta=1.0, scale=2.0)),
    MethodExample(da.EnSF(12, eps_beta=1.0, scale="spread", centred=True, inflation=1.05)),
    MethodExample(da.EnSF(12, score="mixture", eps_beta=1.0, scale=2.0)),
    MethodExample(da.EnFF(10, guidance=1.0, sigma_min=0.3, scale=2.0)),
    MethodExample(
        da.Latent(da.ETKF(10, inflation=1.02), TURNED),
        wide=lambda N: da.Latent(da.ETKF(N), TURNED),
        fixed=True,
    ),
    MethodExample(
        da.Latent(da.ExtendedKF(), TURNED),
        exact=True,
        needs=STEPS,
        tracks=da.Latent(da.ExtendedKF(inflation=1.9), TURNED),
        fixed=True,
    ),
    MethodExample(
        da.GLA(da.Var3D(), TURNED),
        needs=TRUTH,
        tracks=da.GLA(da.Var3D(factor=0.1), TURNED),
        fixed=True,
    ),
    MethodExample(
        da.MEDLA(da.ETKF(10, inflation=1.02), Both(TURNED), R=2 * np.ones(3)),
        matched=False,  # an encoder takes the data of a time whole
        fixed=True,
    ),
    MethodExample(
        InARow(da.VIVID(Cells(), 4 * np.ones(3), method=da.Var3D())),
        local=True,
        needs=TRUTH,
        tracks=InARow(da.VIVID(Cells(), 4 * np.ones(3), method=da.Var3D(factor=0.1))),
        fixed=True,
    ),
    # Learned4DVar, NeuralIncremental, FourDVarNet and SDA analyse a window at once, of a length
    # that their networks know, and where nothing is seen they do not fall back on the forecast:
    # the part of this contract that is theirs is in tests/methods/learned/test_windows.py
)


def lorenz63(cycles=40, batch=(), seed=0, **settings):
    """The Lorenz-63 twin of Sakov et al. 2012 (observed every 25 steps of 0.01, R = 2 I)."""
    return sakov2012.problem(cycles, batch, seed, **settings)


def lorenz96(cycles, batch=(), seed=0, n=40):
    """The Lorenz-96 twin of Sakov and Oke 2008 (everything observed, every step, R = I)."""
    return sakov2008.problem(cycles, batch, seed, n=n)


@dataclass(frozen=True, eq=False)
class Rotation:
    """x <- A x: a linear model for exact answers."""

    A: Any

    def __call__(self, x):
        return x @ self.A.mT


def linear_gaussian(cycles=5, n=3, m=2, batch=(), seed=0, noise=True, local=False):
    """A random stable linear-Gaussian problem with a dense R, B and Q, and two steps a cycle.

    `local`: with independent observation errors, and locations on the line 0, ..., n - 1.
    """
    rng = np.random.default_rng(seed)

    def spd(k):
        G = rng.normal(size=(k, k))
        return da.Dense(G @ G.T / k + np.eye(k))

    A = np.linalg.qr(rng.normal(size=(n, n)))[0] * 0.95
    observation = da.Observation(rng.normal(size=(m, n)), spd(m))
    if local:
        R = da.Diagonal(observation.noise.variance())
        places = np.linspace(0, n - 1, m)[:, None]
        observation = da.Observation(observation.operator, R, places)
    prior = da.Gaussian(rng.normal(size=n), spd(n))
    Q = spd(n) if noise else None
    return da.twin(
        Rotation(A), observation, prior, cycles, steps=2, noise=Q, batch=batch, seed=seed
    )
