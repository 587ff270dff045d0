"""Reference values of other packages for filters and smoothers of the Gaussian family.

Each test names the package, its version and the call; inputs are formulas, so that anybody may
repeat them. A peer whose state at the first datum is the prior's is met by steps = [0, 1, 1, ...].
filterpy's FixedLagSmoother is not among them: in 2.0.0 the newest of its states is not its
filter's. pykalman's smoother of the data up to then is the reference for a lag.
"""

import dataclasses

import numpy as np
import pytest
from changing import Given

import dalearn as da
from dalearn.array import array_namespace

K = 8
k = np.arange(K)
CLOSE = 1e-10  # the digits that are written here; two algorithms of eight steps differ by 1e-14
Z95 = 1.959963984540054  # of the normal law
BOOST = 1e-7  # dynamax adds 1e-9 to the diagonals of what it inverts


def run(problem, method, **settings):
    return da.assimilate(problem, method, progress=False, **settings)


def holds(result, stage, time, mean, P, slack=CLOSE):
    """Mean and variances of a result beside those of a peer."""
    here = result.sel(stage=stage).isel(time=time)
    assert np.allclose(here["mean"], mean, rtol=0, atol=slack)
    assert np.allclose(here["std"] ** 2, np.diag(np.atleast_2d(P)), rtol=0, atol=slack)


def likelihood(result, wanted, slack=CLOSE):
    assert abs(float(result["log_likelihood"].sum()) - wanted) < slack


# --- a linear problem in which all changes with time ---------------------------------------------


def linear(first=0, gap=True, control=True):
    """F_t, B u_t, Q_t, H_t, R_t; `first`: 0 where the prior is of the time of the first datum."""
    dt = 0.5 + 0.4 * np.sin(k)
    F = np.stack([[[1.0, t], [-0.2 * t, 1 - 0.1 * t]] for t in dt])
    b = np.sin(2.0 * k)[:, None] * np.array([0.5, 1.0]) * control
    Q = (1 + 0.5 * np.cos(k))[:, None, None] * np.array([[0.2, 0.05], [0.05, 0.1]])
    H = np.stack([[[1.0, 0.3 * np.sin(t)]] for t in k])
    R = 0.5 + 0.2 * np.cos(3.0 * k)
    y = (2 * np.sin(0.7 * k) + 0.3 * np.cos(5.0 * k))[:, None]
    y[3] = np.nan if gap else y[3]
    told = np.concatenate([F.reshape(K, 4), b], axis=1)[1 - first :]
    return da.Problem(
        Given(2),
        da.Moving([da.Observation(h, da.Diagonal([r])) for h, r in zip(H, R, strict=True)]),
        da.Gaussian(np.array([0.5, -0.2]), np.array([[2.0, 0.3], [0.3, 1.0]])),
        y,
        [first] + [1] * (K - 1),
        [da.Dense(q) for q in Q],
        inputs=told,
    )


EXACT = [da.RTS(), da.ExtendedRTS(), da.UnscentedRTS()]
each = pytest.mark.parametrize("method", EXACT, ids=lambda m: type(m).__name__)


@each
def test_filterpy_filter_with_control_and_changing_matrices(method):
    """filterpy 2.0.0: KalmanFilter(2, 1, 1), predict(u, B, F_k, Q_k), update(z, R_k, H_k)."""
    result = run(linear(first=1), method)
    P = [[0.2659711322211, 0.0655784122485], [0.0655784122485, 0.2794315560453]]
    holds(result, "analysis", 7, [-2.0793397239689, -0.2385257270487], P)
    P = [[0.6511875531236, 0.2648638624849], [0.2648638624849, 0.3188012234148]]
    holds(result, "analysis", 3, [1.4449293709501, -0.4957032240957], P)
    likelihood(result, -10.7707712561458)


@each
def test_filterpy_rts_smoother_with_changing_matrices(method):
    """filterpy 2.0.0: KalmanFilter.rts_smoother(Xs, Ps, Fs, Qs); it takes no control."""
    result = run(linear(first=1, gap=False, control=False), method)
    P = [[0.3185164802636, -0.0912446976461], [-0.0912446976461, 0.2142438350177]]
    holds(result, "smoothed", 0, [0.9751092819179, 0.1096433382625], P)
    P = [[0.1595887375854, 0.0538843363851], [0.0538843363851, 0.1957359383719]]
    holds(result, "smoothed", 4, [0.4722712781468, -0.7252076064286], P)


@each
def test_pykalman_and_statsmodels_with_a_gap(method):
    """pykalman 0.11.2: KalmanFilter(F, H, Q, R, b, ...).filter, smooth, of a masked array;
    statsmodels 0.15.0: MLEModel with the same, known initialization, ssm.smooth(); alike."""
    result = run(linear(), method)
    P = [[0.2660160636961, 0.065563537892], [0.065563537892, 0.2793162804392]]
    holds(result, "analysis", 7, [-2.0800189313591, -0.2391187513362], P)
    P = [[0.3144856925737, -0.1010830146706], [-0.1010830146706, 0.2333651865781]]
    holds(result, "smoothed", 0, [0.8356878399257, -0.3656182086375], P)
    P = [[0.2322393604613, 0.068878632429], [0.068878632429, 0.187978915005]]
    holds(result, "smoothed", 3, [0.3204384632845, -1.1540911085004], P)
    likelihood(result, -10.625896592809)  # statsmodels; pykalman's fails for one number a time


@each
def test_pykalman_fixed_lag(method):
    """pykalman 0.11.2: KalmanFilter(...).smooth(y[:5]) at time 2, whose lag is 2."""
    result = run(linear(), dataclasses.replace(method, lag=2))
    P = [[0.2148403081637, 0.0422338071936], [0.0422338071936, 0.2669246913545]]
    holds(result, "smoothed", 2, [1.3556657478403, -0.2304618308284], P)


@each
def test_dynamax_smoother_with_inputs(method):
    """dynamax 1.0.3, float64: lgssm_smoother(make_lgssm_params(...), y, u), weights (8, 2, 2).

    It takes the dynamics of row t for the step from t - 1 to t.
    """
    result = run(linear(gap=False), method)
    P = [[0.2647542240879, 0.0665764616339], [0.0665764616339, 0.2785031720248]]
    holds(result, "analysis", 7, [-2.0215783262049, -0.2860310538341], P, BOOST)
    P = [[0.3127783961552, -0.0964994531061], [-0.0964994531061, 0.2210597579432]]
    holds(result, "smoothed", 0, [0.7677100263202, -0.183119059672], P, BOOST)
    P = [[0.1328150126868, 0.0363917777523], [0.0363917777523, 0.1773638528234]]
    holds(result, "smoothed", 3, [0.8391893027036, -0.9845895380248], P, BOOST)
    likelihood(result, -12.6048080298853, BOOST)


def test_dynamax_timing_of_inputs():
    """dynamax 1.0.3: linear_gaussian_ssm/input_timing_test.py, whose answers are fractions."""
    u = np.array([[2.0], [4.0]])
    told = np.concatenate([u / 2, u / 2 * u + u / 2], axis=1)  # weight, and B u + b
    p = da.Problem(
        Given(1),
        da.Observation(np.eye(1), da.Diagonal([1.0])),
        da.Gaussian(np.zeros(1), da.Diagonal([1.0])),
        np.array([[4.0], [4.0], [5.0]]) - np.array([[4.0], [1.0], [2.0]]),  # y - D u
        [0, 1, 1],
        [None, da.Diagonal([1.0]), da.Diagonal([2.0])],
        inputs=told,
    )
    result = run(p, da.RTS())
    for time, (x, P) in enumerate([(0, 1 / 2), (3, 3 / 5), (146 / 27, 22 / 27)]):
        holds(result, "analysis", time, [x], [[P]])
    for time, (x, P) in enumerate([(-26 / 27, 10 / 27), (1 / 9, 1 / 3), (146 / 27, 22 / 27)]):
        holds(result, "smoothed", time, [x], [[P]])
    likelihood(result, -(3 * np.log(2 * np.pi) + np.log(27) + 169 / (27 / 5)) / 2)


# --- nonlinear ones ------------------------------------------------------------------------------


def swing(x):
    xp = array_namespace(x)
    v = 0.98 * x[..., 1] - 0.2 * xp.sin(x[..., 0])
    return xp.stack((x[..., 0] + 0.2 * v, v), axis=-1)


def far(x):
    return (x[..., :1] ** 2 + 4) ** 0.5


def pendulum(first):
    return da.Problem(
        swing,
        da.Observation(far, da.Diagonal([0.05])),
        da.Gaussian(np.array([1.0, 0.0]), np.array([[0.3, 0.1], [0.1, 0.4]])),
        (2.2 + 0.3 * np.cos(0.5 * k))[:, None],
        [first] + [1] * (K - 1),
        da.Dense(np.array([[0.02, 0.005], [0.005, 0.03]])),
    )


def test_dynamax_extended_smoother():
    """dynamax 1.0.3, float64: extended_kalman_smoother(ParamsNLGSSM(...), y)."""
    result = run(pendulum(0), da.ExtendedRTS())
    P = [[0.2085614712565, 0.1117743798272], [0.1117743798272, 0.2049539631792]]
    holds(result, "analysis", 7, [0.0294536369402, -1.1970458667177], P, BOOST)
    P = [[0.0609105872261, -0.0396028584681], [-0.0396028584681, 0.1940616821157]]
    holds(result, "smoothed", 0, [1.3496600913397, -0.1736693269209], P, BOOST)
    P = [[0.04863989839, 0.027828419166], [0.027828419166, 0.2049459064209]]
    holds(result, "smoothed", 3, [0.9670427498846, -0.7972372752657], P, BOOST)
    likelihood(result, 1.9507418374329, BOOST)


UNSCENTED = {  # settings, log-likelihood, last analysis, smoothed at 0 and at 3
    "alpha 1": ((1.0, 2.0, 0.0), 1.6975167893505,
        ([-0.0133563378087, -1.1347211978443], [0.2288101821541, 0.2095784678121]),
        ([1.2771651088273, -0.2417031268636], [0.0719696157862, 0.1931788089642]),
        ([0.8878867841274, -0.8024578791011], [0.0589651055487, 0.2141049560443])),
    "alpha 0.5": ((0.5, 1.0, 1.0), 1.7888536420056,
        ([-0.0176805423624, -1.1440284050333], [0.2230610539936, 0.2067153166275]),
        ([1.2878077564981, -0.2465067784541], [0.0676086365157, 0.1909356090748]),
        ([0.8930195788301, -0.8121334805426], [0.0561326077021, 0.2104214669293])),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSCENTED)
def test_filterpy_unscented_filter_and_smoother(name):
    """filterpy 2.0.0: UnscentedKalmanFilter(points=MerweScaledSigmaPoints(2, alpha, beta, kappa,
    sqrt_method=C^1/2 D)), predict, update, rts_smoother(Xs, Ps)."""
    (alpha, beta, kappa), score, last, first, third = UNSCENTED[name]
    result = run(pendulum(1), da.UnscentedRTS(alpha, beta=beta, kappa=kappa))
    holds(result, "analysis", 7, last[0], np.diag(last[1]))
    holds(result, "smoothed", 0, first[0], np.diag(first[1]))
    holds(result, "smoothed", 3, third[0], np.diag(third[1]))
    likelihood(result, score)


def scalar():
    """One number, where all roots of a variance are one."""

    def step(x):
        return 0.9 * x + 0.4 * array_namespace(x).sin(x)

    def see(x):
        return x + 0.1 * x**2

    y = linear(gap=False).data
    prior = da.Gaussian(np.array([0.3]), np.array([0.8]))
    see = da.Observation(see, da.Diagonal([0.2]))
    return da.Problem(step, see, prior, y, [0] + [1] * (K - 1), da.Diagonal([0.1]))


ONE = [
    (da.UnscentedRTS(1.0, beta=2.0, kappa=0.0), -20.7382435007475,
     (-1.6057780081463, 0.1285876109892), (0.567404456795, 0.0636682756804),
     (0.4996776426081, 0.0457264818481)),
    (da.UnscentedRTS(0.7, beta=1.5, kappa=1.0), -20.7377021131542,
     (-1.6058682790226, 0.1285941991442), (0.5673641211108, 0.0636480105558),
     (0.4996597290767, 0.0457244904916)),
    (da.UnscentedRTS(1.0, beta=0.0, kappa=2.0), None,
     (-1.5977537946747, 0.1276832910582), (0.5683161765043, 0.0649299955212),
     (0.5015876715626, 0.0458547168597)),
]  # fmt: skip


@pytest.mark.parametrize("case", ONE, ids=["dynamax", "dynamax, alpha 0.7", "pykalman"])
def test_unscented_smoothers_of_one_number(case):
    """dynamax 1.0.3, float64: unscented_kalman_smoother(params, y, UKFHyperParams(...));
    pykalman 0.11.2: AdditiveUnscentedKalmanFilter(f, g, Q, R, x, P).filter, smooth, whose points
    are those of alpha = 1, beta = 0, kappa = 3 - n."""
    method, score, last, first, fourth = case
    result, slack = run(scalar(), method), CLOSE if score is None else BOOST
    holds(result, "analysis", 7, [last[0]], [[last[1]]], slack)
    holds(result, "smoothed", 0, [first[0]], [[first[1]]], slack)
    holds(result, "smoothed", 4, [fourth[0]], [[fourth[1]]], slack)
    if score is not None:
        likelihood(result, score, slack)


def test_matlab_values_of_a_robot():
    """pykalman 0.11.2: load_robot(), by P. Abbeel, whose filtered states MATLAB made, with the
    Q and R that it found by EM; the first four data."""
    A = [[0.904, -0.0342, -0.0095, 0.0318, 0.0485], [-0.0201, 0.9356, -0.0014, 0.0428, 0.0054],
         [-0.0931, -0.0525, 0.922, 0.0215, 0.1242], [-0.0245, -0.035, 0.0249, 1.0414, -0.0451],
         [-0.0775, -0.0462, -0.0194, 0.0386, 1.0371]]  # fmt: skip
    b = [[-1.6150699745000958, 0.5532919665641255, 1.2439563491247041, 0.5531521278902174,
          3.3905347856785557],
         [0.8411815336931955, -0.7449808419541144, -0.8563841229439761, -0.561955666408188,
          -2.3509147015119725],
         [-0.0038508296339083703, -1.4361079482050605, -0.6530868039243769, -0.8604166246452537,
          -1.832761141634666],
         [3.7189365179146554, -0.8120679669492936, -2.653546861259307, -0.9967649337791133,
          -7.215584760463843]]  # fmt: skip
    C = [[0.0859, -0.7423, 2.3505, 0.7481, 0.8886], [-1.4916, -1.0616, -0.6156, -0.1924, -0.7648]]
    y = [[-0.7102319164214306, -0.47950540432945654], [1.5275203506307378, -1.649932547333353],
         [3.6765530481517525, 3.0552104580083963],
         [8.287054494532342, -3.2487388554195684]]  # fmt: skip
    Q = np.zeros((5, 5))
    Q[np.tril_indices(5)] = [
        5.547526296804944, -3.154716106597407, 6.4760523318318395, -1.3089244262101065,
        2.1353115678826033, 1.7948237210383353, -0.31418557442630124, 0.05058423656847057,
        -0.4793418074448787, 5.554649540496965, 0.4859020843922388, -0.5199543487820805,
        -0.1015039312766473, -0.22780558722656896, 1.0883739352023791,
    ]  # fmt: skip
    Q = Q + np.tril(Q, -1).T
    R = [[22.959994574496474, -9.552003090181442], [-9.552003090181442, 12.618484394448245]]
    p = da.Problem(
        Given(5),
        da.Observation(np.array(C), da.Dense(np.array(R))),
        da.Gaussian(np.zeros(5), da.Diagonal(np.ones(5))),
        np.array(y) - np.array([-2.1384, -0.8396]),
        noise=da.Dense(Q),
        inputs=np.concatenate([np.tile(np.ravel(A), (4, 1)), b], axis=1),
    )
    x = [2.812899526225, -2.983130816962, 0.053564714894, 2.612087662652, -5.029049305722]
    P = [14.233288159152, 20.114727723602, 4.865164639363, 22.312839708357, 4.725351190517]
    holds(run(p, da.KF()), "analysis", 3, x, np.diag(P))


# --- time series ---------------------------------------------------------------------------------


SERIES = 1 + np.sin(1.1 * np.arange(40)) + 0.5 * np.cos(0.37 * np.arange(40) ** 2)


def series(F, H, R, prior, noise, ahead, y=SERIES):
    data = np.concatenate([y, np.full(ahead, np.nan)])[:, None]
    see = da.Observation(np.asarray(H), da.Diagonal([R]))
    return da.Problem(
        da.Linear(np.asarray(F)), see, prior, data, [0] + [1] * (len(data) - 1), noise
    )


@pytest.mark.filterwarnings("ignore:.*is not resolved")  # the last shock is known to 0.4^k
def test_statsmodels_arma():
    """statsmodels 0.15.0: SARIMAX(y, order=(2, 0, 1)).smooth([0.6, -0.3, 0.4, 0.5]), whose prior
    is the stationary law, and get_forecast(5). The state is seen without error."""
    F, g = np.array([[0.6, 1.0], [-0.3, 0.0]]), np.array([[1.0, 0.4]])
    P = [[1.067669172932331, 0.006015037593985], [0.006015037593985, 0.17609022556391]]
    noise = da.Rows(0.5**0.5 * g)
    p = series(F, [[1.0, 0.0]], 0.0, da.Gaussian(np.zeros(2), np.array(P)), noise, 5)
    result = run(p, da.KF())
    ahead = result.sel(stage="forecast", x=0).isel(time=slice(40, None))
    mean = [-0.7143048849345, -0.3270104075789, 0.018085220933, 0.1089542548335, 0.0599469866202]
    std = [0.7071067813409, 1.0000000000393, 1.0222524150134, 1.0257680049624, 1.0321443697479]
    likelihood(result, -58.9385374794344, 1e-8)
    assert np.allclose(ahead["mean"], mean, rtol=0, atol=1e-8)  # it rounds its own to 1e-10
    assert np.allclose(ahead["std"], std, rtol=0, atol=1e-8)


def test_statsmodels_structural_model():
    """statsmodels 0.15.0: UnobservedComponents(y, "local linear trend", seasonal=4), known
    initialization N(0, 4 I), smooth([0.3, 0.1, 0.02, 0.05]), get_forecast(6)."""
    F, G, H = np.zeros((5, 5)), np.zeros((3, 5)), [[1.0, 0.0, 1.0, 0.0, 0.0]]
    F[0, :2] = F[1, 1] = F[3, 2] = F[4, 3] = 1
    F[2, 2:] = -1
    G[[0, 1, 2], [0, 1, 2]] = np.sqrt([0.1, 0.02, 0.05])
    prior = da.Gaussian(np.zeros(5), da.Diagonal(4 * np.ones(5)))
    result = run(series(F, H, 0.3, prior, da.Rows(G), 6), da.RTS(), keep="predicted_std")
    likelihood(result, -72.9498219234968, 1e-8)
    ahead = result["predicted"].sel(stage="forecast").isel(time=slice(40, None), y=0)
    mean = [-0.064322611214, -0.6629419578578, -0.4876200969391, -1.062948746908]
    assert np.allclose(ahead, [*mean, -1.1702448335264, -1.7688641801702], rtol=0, atol=1e-8)
    ahead = result["predicted_std"].sel(stage="forecast").isel(time=slice(40, None), y=0)
    std = [1.0865510894127, 1.2511036565655, 1.4793577637436, 1.6891559057593, 2.1787596894662]
    assert np.allclose(ahead, [*std, 2.4805955433996], rtol=0, atol=1e-8)
    first = result.sel(stage="smoothed").isel(time=0)
    mean = [1.770033186879, -0.1603523570166, -0.1936087080299, -0.0892282615527, 0.2353442871798]
    std = [0.4541051858942, 0.2355876549899, 0.3669659290127, 0.4438600294308, 0.4506014355197]
    assert np.allclose(first["mean"], mean, rtol=0, atol=1e-8)
    assert np.allclose(first["std"], std, rtol=0, atol=1e-8)


def test_statsmodels_nile_forecast():
    """statsmodels 0.15.0: UnobservedComponents(nile, "local level"), known initialization
    N(1000, 1e5), smooth([15099, 1469.1]), get_forecast(10).se_mean and conf_int(alpha=0.05)."""
    y = np.asarray(da.data.nile())
    prior = da.Gaussian(np.array([1000.0]), da.Diagonal([1e5]))
    p = series(np.eye(1), np.eye(1), 15099.0, prior, da.Diagonal([1469.1]), 0, y)
    result = run(da.with_forecast(p, 10), da.RTS(), keep="predicted_std")
    likelihood(result, -639.3007238141726, 1e-8)
    ahead = result.sel(stage="smoothed", x=0).isel(time=slice(len(y), None))
    assert np.allclose(ahead["mean"], 798.370292608358, rtol=0, atol=1e-7)
    flow = ahead["predicted_std"].isel(y=0)
    assert np.allclose(flow[[0, 9]], [143.5278995241308, 183.9080148927963], rtol=0, atol=1e-7)
    lower, upper = (float(ahead["predicted"][9, 0] + z * flow[9]) for z in (-Z95, Z95))
    assert abs(lower - 437.9172069502213) < 1e-7
    assert abs(upper - 1158.8233782664947) < 1e-7
    first = result.sel(stage="smoothed", x=0).isel(time=0)
    assert np.allclose(first["mean"], 1107.3401930096065, rtol=0, atol=1e-7)
    assert np.allclose(first["std"] ** 2, 3875.8764804858847, rtol=0, atol=1e-6)
