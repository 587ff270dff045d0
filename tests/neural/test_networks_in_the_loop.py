"""Networks in the loop: as model, as operator, as both; parameters; what TorchDA's cases give."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from lengths import full
from torch import nn

import dalearn as da
from dalearn.cases import cheng2025
from dalearn.methods import LBFGS, GaussNewton, IncrementalCG, Var3D, Var4D
from dalearn.neural import CNN, LSTM, MLP, Autoencoder, Normalisation, Normalised, seeded

F64 = torch.float64
ones = np.ones


def tensor(*values):
    return torch.tensor(values, dtype=F64)


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


NET = seeded(0, MLP, 3, 3, (8,), residual=True).double()
SEE = seeded(1, MLP, 3, 3, (8,), residual=True).double()
B = da.Diagonal(torch.ones(3, dtype=F64))
R = da.Diagonal(0.1 * torch.ones(3, dtype=F64))
PRIOR = da.Gaussian(tensor(1.0, 2.0, 3.0), B)


def problem(model=NET, operator=da.identity, **more):
    """Four times, every second step; what is seen is not far from what the prior expects."""
    x, data = PRIOR.mean + tensor(0.3, -0.2, 0.1), []
    for k in range(4):
        with torch.no_grad():
            x = NET(NET(x))
            data.append(
                SEE(x) if operator is SEE else x + 0.1 * torch.cos(tensor(k, k + 1, k + 2))
            )
    see = da.Observation(operator, R)
    return da.Problem(model, see, PRIOR, torch.stack(data), steps=2, **more)


METHODS = {
    "3D-Var": Var3D(B=B),
    "4D-Var": Var4D(window=2, B=B),
    "CG": Var4D(window=2, B=B, solver=IncrementalCG(10, tolerance=0.001, accuracy=1e-8)),
    "LBFGS": Var4D(window=2, B=B, solver=LBFGS(200, tolerance=1e-6)),
}


# --- in the loop --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["model", "operator", "both"])
@pytest.mark.parametrize("method", ["4D-Var", "CG", "LBFGS"])
def test_a_network_is_a_model_or_an_operator_like_any_function(role, method):
    """4D-Var ends where the gradient of the cost, written out here, is zero."""
    model = NET if role != "operator" else da.Linear(0.9 * torch.eye(3, dtype=F64))
    operator = SEE if role != "model" else da.identity
    p = problem(model, operator)
    fine = {"4D-Var": replace(METHODS["4D-Var"], solver=GaussNewton(50, tolerance=1e-9))}
    result = run(p, {**METHODS, **fine}[method])
    x = torch.from_numpy(result["mean"].sel(stage="analysis").values[0])

    def cost(x0):
        total, x = ((x0 - PRIOR.mean) ** 2).sum() / 2, x0
        for y in p.data[:2]:
            x = model(model(x))
            total = total + ((y - operator(x)) ** 2).sum() / 0.2
        return total

    x0 = PRIOR.mean.clone().requires_grad_()
    best = torch.optim.LBFGS([x0], 1.0, 500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")
    best.step(lambda: (best.zero_grad(), (c := cost(x0)).backward(), c)[2])
    with torch.no_grad():
        wanted = model(model(x0))
    # the solvers' own tolerance: 1e-3 standard deviations for CG, less for the others
    assert torch.allclose(x, wanted, rtol=0, atol=1e-3 if method == "CG" else 1e-5)


def test_an_untrained_affine_network_is_its_matrix():
    """nn.Linear in a torch problem against da.Linear of the same numbers in a NumPy one."""
    net = seeded(0, nn.Linear, 3, 3, bias=False).double()
    with torch.no_grad():
        net.weight.mul_(0.5).add_(0.5 * torch.eye(3))
    A = net.weight.detach().numpy()
    b = da.Diagonal(ones(3))
    prior = da.Gaussian(np.array([1.0, 2.0, 3.0]), b)
    tensors = replace(problem(net), steps=1)
    see, data = da.Observation(da.identity, 0.1 * ones(3)), tensors.data.numpy()
    numbers = da.Problem(da.Linear(A), see, prior, data)
    for method in (Var3D(B=b), Var4D(window=2, B=b), da.ETKF(5), da.KF()):
        model = tensors if not isinstance(method, da.KF) else replace(tensors, model=numbers.model)
        one, two = run(numbers, method), run(model.to(PRIOR.mean), method)
        # the same algebra in two libraries
        assert np.allclose(one["mean"], two["mean"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["3D-Var", "4D-Var", "CG"])
def test_a_sequence_network_through_history(method):
    history = da.History(seeded(3, LSTM, 2, 6).double(), 3)
    prior = da.Gaussian(torch.zeros(6, dtype=F64), da.Diagonal(torch.ones(6, dtype=F64)))
    see = da.Observation(history.observe(da.identity), 0.01 * torch.ones(2, dtype=F64))
    p = da.twin(history, see, prior, cycles=6, batch=3)
    chosen = replace(METHODS[method], B=prior.cov)
    result = run(p, chosen)
    free = p.prior.mean.expand(3, 6)
    for k in range(6):
        free = p.forecast(free[:, None], k)[:, 0]
    last = result["mean"].sel(stage="analysis")[:, -1].values
    truth = result["truth"][:, -1].values
    # the last state of the window is seen with an error of 0.1; unseen it is wrong by about 1
    assert np.abs(last - truth)[:, 4:].max() < 0.4
    assert np.abs(last - truth).mean() < 0.3 * np.abs(free.detach().numpy() - truth).mean()
    for b in range(3):
        alone = run(p[b], chosen, seed=b)
        assert np.allclose(alone["mean"], result["mean"][b], rtol=0, atol=1e-9)


def test_convolutions_see_fields_and_a_coder_is_an_operator():
    step = seeded(0, CNN, 1, 1, (4,), kernel=3, residual=True).double()
    coder = seeded(1, Autoencoder.convolutional, (1, 8, 8), 5, (3, 4)).double()
    prior = da.Gaussian(torch.zeros(64, dtype=F64), da.Diagonal(torch.ones(64, dtype=F64)))
    see = da.Observation(coder.encode, 0.01 * torch.ones(5, dtype=F64))
    p = da.twin(step, see, prior, cycles=3, shape=(1, 8, 8), batch=2)
    for method in (Var4D(window=3, B=prior.cov), da.ETKF(20)):
        result = run(p, method)
        assert np.isfinite(result["mean"]).all()
        misfit = (result["observation"] - result["predicted"].sel(stage="analysis")).values
        assert np.abs(misfit).mean() < 0.3  # five numbers seen with an error of 0.1


@pytest.mark.parametrize("role", ["model", "operator"])
def test_a_surrogate_in_a_numpy_problem(role):
    """Values are those of the module; derivatives come by differences."""
    net = {role: da.Surrogate(NET if role == "model" else SEE)}
    prior = da.Gaussian(np.array([1.0, 2.0, 3.0]), da.Diagonal(ones(3)))
    given = {"model": da.Linear(0.9 * np.eye(3)), "operator": da.identity, **net}
    see = da.Observation(given["operator"], 0.1 * ones(3))
    p = da.Problem(given["model"], see, prior, problem().data.numpy())
    by_differences = GaussNewton(jacobian=da.finite_difference)
    method = Var4D(window=2, B=prior.cov, solver=by_differences)
    torch_given = {"model": da.Linear(0.9 * torch.eye(3, dtype=F64)), "operator": da.identity}
    torch_given[role] = NET if role == "model" else SEE
    q = da.Problem(
        torch_given["model"], da.Observation(torch_given["operator"], R), PRIOR, problem().data
    )
    one, two = run(p, method), run(q, replace(method, B=B, solver=GaussNewton()))
    assert np.allclose(one["mean"], two["mean"], rtol=0, atol=1e-6)  # differences are good to 1e-8
    with pytest.raises(ValueError, match=r"Surrogate breaks the graph.*finite_difference"):
        run(p, replace(method, solver=GaussNewton()))
    with pytest.raises(TypeError, match=r"torch module.*wrap it as Surrogate"):
        run(replace(p, model=NET), method)


# --- what breaks --------------------------------------------------------------------------------


class Detached(nn.Module):
    def forward(self, x):
        return NET(x.detach())


class Cut(nn.Module):
    def forward(self, x):
        return NET(x).detach()


class NoGrad(nn.Module):
    def forward(self, x):
        with torch.no_grad():
            return NET(x)


class ByNumPy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.tanh(x.numpy()))


class ByNumPyDetached(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.tanh(x.detach().numpy()))


class WritesOverWhatIsNeeded(nn.Module):
    def forward(self, x):
        y = torch.exp(0.1 * x)
        z = y * y
        y[..., 0] = 0
        return y + z


class WritesIntoItsInput(nn.Module):
    def forward(self, x):
        x += 1
        return x


BREAKS = (
    r"breaks the graph|cannot run on torch tensors|has no derivative|no derivative of|no tangent"
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", ["model", "operator"])
@pytest.mark.parametrize(
    "broken", [Detached, Cut, NoGrad, ByNumPy, ByNumPyDetached, WritesOverWhatIsNeeded]
)
def test_a_network_that_breaks_the_graph_is_an_error_not_a_wrong_answer(broken, role, method):
    p = problem(**{role: broken()})
    if (method, role) == ("3D-Var", "model"):  # 3D-Var does not differentiate its model
        assert np.isfinite(run(p, METHODS[method])["mean"]).all()
        return
    with pytest.raises((TypeError, ValueError), match=BREAKS) as met:
        run(p, METHODS[method])
    assert "finite_difference" in str(met.value)  # what to do


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", ["model", "operator"])
@pytest.mark.parametrize(
    ("net", "words"),
    [
        (WritesIntoItsInput(), "wrote into its input"),
        (seeded(0, MLP, 3, 3), r"torch.float32.*torch.float64.*module.to\(prior\)"),
        (nn.Sequential(NET, nn.Dropout(0.5)), r"training mode with Dropout.*eval\(\)"),
        (nn.Sequential(NET, nn.BatchNorm1d(3).double()), r"training mode with BatchNorm.*eval"),
        (seeded(0, MLP, 3, 2).double(), r"returned shape .* wanted"),
    ],
    ids=["in-place", "dtype", "dropout", "batch norm", "width"],
)
def test_a_network_that_does_not_fit_says_what_to_do(net, words, role, method):
    with pytest.raises((TypeError, ValueError), match=words):
        run(problem(**{role: net}), METHODS[method])


def test_a_network_in_history_is_checked_like_one_outside():
    prior = da.Gaussian(torch.zeros(6, dtype=F64), da.Diagonal(torch.ones(6, dtype=F64)))
    noisy = nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.Dropout(0.5)).double()
    for net, words in ((seeded(0, LSTM, 2, 4), "float32"), (noisy, "Dropout")):
        history = da.History(net, 3)
        see = da.Observation(history.observe(da.identity), torch.ones(2, dtype=F64))
        p = da.Problem(history, see, prior, torch.ones(3, 2, dtype=F64))
        with pytest.raises((TypeError, ValueError), match=words):
            run(p, METHODS["4D-Var"])


# --- parameters ---------------------------------------------------------------------------------


def joint(model, name, guess, variance, cycles, steps, batch):
    n = 3 if name == "rho" else 40
    mean = np.array([1.509, -1.531, 25.46]) if n == 3 else 3 + np.sin(np.arange(40.0))
    var = 2.0 if n == 3 else 1.0
    start = da.Gaussian(mean, var * ones(n))
    p = da.twin(
        model, da.Observation(da.identity, var * ones(n)), start, cycles, steps=steps, batch=batch
    )
    return da.with_parameters(p, name, da.Gaussian(np.array([guess]), np.array([variance])))


CASES = {
    "rho": (da.Lorenz63(), "rho", 28.0, (26.0, 4.0)),
    "forcing": (da.Lorenz96(), "forcing", 8.0, (7.0, 1.0)),
}


def found(name, method, cycles, steps, batch):
    """Errors of the last estimate of the parameter, in its own error bars, and their size."""
    model, what, truth, guess = CASES[name]
    p = joint(model, what, *guess, cycles, steps, batch)
    if isinstance(method, Var4D):
        method = replace(method, B=p.prior.cov)
    result = run(p, method)
    _, theta = da.state_and_parameters(result, p)
    last = theta.sel(x=what, stage="analysis").isel(time=-1)
    bar = last["std"].values
    return (last["mean"].values - truth) / bar, bar


ESTIMATES = {
    "rho, EnKF": ("rho", da.EnKF(100, inflation=1.01), 80, 25, 0.3),
    "rho, 4D-Var": ("rho", Var4D(window=4, evolve=True), 24, 10, 0.3),
    "forcing, ETKF": ("forcing", da.ETKF(40, inflation=1.01), 60, 1, 0.06),
    "forcing, EnKF": ("forcing", da.EnKF(100, inflation=1.02), 60, 1, 0.06),
    "forcing, 4D-Var": ("forcing", Var4D(window=6, evolve=True), 24, 1, 0.2),
}


@pytest.mark.parametrize("case", ESTIMATES.values(), ids=ESTIMATES)
def test_a_parameter_is_found_with_its_error_bar(case):
    name, method, cycles, steps, sharp = case
    z, bar = found(name, method, cycles, steps, 12)
    assert (np.abs(z) < 4).all()  # of errors up to 1.35 bars in rms, one of 300
    assert (bar < sharp).all()  # the prior's were 2 and 1


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("case", ESTIMATES.values(), ids=ESTIMATES)
def test_the_error_bars_of_parameters_are_calibrated(case):
    name, method, cycles, steps, _ = case
    z, _ = found(name, method, cycles, steps, full(48, 96))
    # 48 draws: an rms of 1 is known to 10 %, 96 to 7 %; a filter with inflation is allowed to be
    # too humble, one with sampling errors a little too proud
    assert 0.6 < (z**2).mean() ** 0.5 < 1.35
    assert (np.abs(z) < 3).mean() > full(0.95, 0.97)  # one of 48 is 2 %
    assert abs(z.mean()) < 0.6  # no bias beyond half a bar


@pytest.mark.slow
def test_a_parameter_from_a_window_too_long_is_wrong_only_where_the_result_says_so():
    """Windows of six: a few of 96 runs end in another valley, some at a true minimum of it.

    Converged is not right; but the cost of a window of 18 data, about 9 in the right valley, is
    hundreds in a wrong one.
    """
    p = joint(*CASES["rho"][:2], *CASES["rho"][3], 24, 10, 96)
    with pytest.warns(UserWarning, match="minimisations ended"):
        result = run(p, Var4D(window=6, B=p.prior.cov, evolve=True))
    _, theta = da.state_and_parameters(result, p)
    last = theta.sel(x="rho", stage="analysis").isel(time=-1)
    z = np.abs((last["mean"] - 28) / last["std"]).values
    marked = (result["cost"].max("time") > 60).values
    assert 0 < marked.sum() < 10
    assert z[marked].max() > 10
    assert (z[~marked] < 4).all()


@dataclass(frozen=True, eq=False)
class Damped:
    """A network whose output is scaled by a parameter."""

    strength: object = 1.0

    def __call__(self, x):
        return x + self.strength * (NET(x) - x)


def test_a_parameter_beside_a_network():
    """The state is seen at once, so that the strength follows from how it moves."""
    p = da.twin(Damped(), da.Observation(da.identity, 1e-4 * torch.ones(3, dtype=F64)), PRIOR, 12)
    p = da.with_parameters(p, "strength", da.Gaussian(tensor(0.5), tensor(0.25)))
    result = run(p, Var4D(window=6, B=p.prior.cov, evolve=True))
    _, theta = da.state_and_parameters(result, p)
    last = theta.sel(x="strength", stage="analysis").isel(time=-1)
    assert abs(float(last["mean"]) - 1) < 3 * float(last["std"])
    assert float(last["std"]) < 0.1


# --- TorchDA's cases ----------------------------------------------------------------------------


@pytest.mark.slow
def test_torchdas_lorenz63_case():
    """EnKF of 50 members, no inflation: |mean - truth| / |truth| over the whole path, 24 seeds.

    The total of the published run is 27.2 %, X 50.6, Y 61.0, Z 16.5 (one seed).
    """
    p = cheng2025.problem(batch=24)
    result = run(p, cheng2025["EnKF N=50"].method)
    total = cheng2025.score(result)
    square = ((result["mean"].sel(stage="analysis") - p.truth) ** 2).sum("time")
    parts = 100 * (square / (p.truth**2).sum(1)) ** 0.5
    assert total.min() > 16  # of 96 seeds the extremes are 18.2 and 28.4
    assert total.max() < 30
    assert 20 < np.median(total) < 23
    # one of 24 seeds is as bad as theirs in each component, or nearly
    assert np.allclose(np.median(parts, 0), [31, 41, 15], rtol=0, atol=4)


def test_normalisation_in_the_loop_keeps_units():
    scale = Normalisation(np.array([0.0, 0.0, 25.0]), np.array([8.0, 9.0, 8.5]))
    net = Normalised(seeded(0, MLP, 3, 3, (8,), residual=True), scale).double()
    x = tensor(1.0, 2.0, 20.0)
    inner = net.module((x - net.before_mean) / net.before_std)
    assert torch.allclose(net(x), inner * net.after_std + net.after_mean)
    assert np.isfinite(run(problem(net), METHODS["4D-Var"])["mean"]).all()


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore:.*minimisations ended")  # two windows of 120
def test_torchdas_shallow_water_case():
    """Velocity from height in the latent space of an autoencoder, on runs no network has seen.

    The published error falls from 0.138 to 0.032, a factor of 4.3 (there from another start, and
    on the run that was trained on). Statistics of B and R are those of the validation runs.
    """
    from dalearn.cases import latent_twin

    water = latent_twin(batch=full(6, 12))
    p, B = water.problem, water.problem.prior.cov
    alone, floor = water.error(water.free), water.error(water.latent)
    assert alone > 0.2
    for method in (Var3D(B=B, factor=0.03), Var4D(window=2, B=B, evolve=True)):
        mean = run(p, method)["mean"].sel(stage="analysis").values
        found = water.error(mean)
        assert found < alone / 4
        # 3D-Var has 2.9 floors on these six runs
        assert floor < found < 3.5 * floor  # nothing in the latent space is better than the coder
