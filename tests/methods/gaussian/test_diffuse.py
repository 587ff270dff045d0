"""Priors of infinite variance: beside statsmodels 0.15.0, exact diffuse, and very wide priors.

The references are of UnobservedComponents(y, ...) of the first 40 years of the Nile (as shipped by
statsmodels; R. Cobb, Biometrika 65, 1978) after initialize_exact_diffuse(), with
loglikelihood_burn = 0: smooth(params), the numbers of llf_obs, filtered_state, smoothed_state and
smoothed_state_cov. Their first state is that of the first datum: here steps = 0 before it.
"""

import dataclasses

import numpy as np
import pytest
import torch

import dalearn as da

EARLY = [1120.0, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020]
LATER = [960, 1180, 799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874]
NILE = np.array([*EARLY, *LATER, 694, 940, 833, 701, 916, 692, 1020, 1050, 969])
GAPS = NILE.copy()
GAPS[[0, 2, 3, 10]] = np.nan
TREND = [[1.0, 1.0], [0.0, 1.0]]
SEASON = [[1.0, 0, 0, 0], [0, -1, -1, -1], [0, 1, 0, 0], [0, 0, 1, 0]]

# F, diagonal of Q, H, R; data; sum of llf_obs; llf_obs[:5]; filtered [7]; smoothed [0], [20];
# variances of smoothed [0]
LL, TR, SE = (
    ([[1.0]], [1469.1], [[1.0]], 15099.0),
    (TREND, [1469.1, 5.0], [[1.0, 0.0]], 15099.0),
    (SEASON, [1469.1, 300.0, 0.0, 0.0], [[1.0, 1.0, 0.0, 0.0]], 15099.0),
)
AR = ([[1.0, 0.0], [0.0, 0.6]], [1469.1, 800.0], [[1.0, 1.0]], 100.0)
REFERENCES = {
    "level": (
        *(LL, NILE, -254.1531747676732),
        [-0.9189385332046727, -6.125718128413503, -6.618433285957668],
        [1098.029645486159],
        *([1111.6689574710565], [1090.3826299736304], [4032.1579419616864]),
    ),
    "level, gaps": (
        *(LL, GAPS, -229.4561635523914),
        [0.0, -0.9189385332046727, 0.0, 0.0, -6.144819597457589],
        [1100.5429868594395],
        *([1129.9659705653623], [1091.0811462254183], [6895.297065969115]),
    ),
    "trend": (
        *(TR, NILE, -252.0344904112204),
        [-0.9189385332046727, -0.9189385332046727, -6.94224530815314],
        [1088.3068839150083, -4.300187543925787],
        *([1124.6511681130671, -4.687850258006257], [1091.9017716702795, -5.127099522216085]),
        [4637.292788473405, 98.96948046687612],
    ),
    "trend, gaps": (
        *(TR, GAPS, -227.19720079359706),
        [0.0, -1.2655121234846454, 0.0, 0.0, -1.6709772315928098, -6.282615523655064],
        [1075.2628706045002, -13.860029909646478],
        *([1158.7511916969477, -6.1504222614728405], [1092.329366063419, -5.937189017234508]),
        [8772.510736769458, 108.51775886825635],
    ),
    "season": (
        *(SE, NILE, -241.52297552089072),
        [-1.2655121234846454, -1.612085713764618, -1.121671087258755, -1.0627795694305633],
        [1094.7195404662982, 120.85336848311235, -214.85388909605723, 57.861709232542296],
        [1102.8763404748004, 52.93466179854984, 31.241349550669923, -101.5960439794516],
        [1088.2194191475794, 39.511023635691274, 20.23885171095359, -65.29566584207295],
        [4135.02089165633, 2515.425857083792, 2953.122473427681, 3007.677440055859],
    ),
    "season, gaps": (
        *(SE, GAPS, -217.38837998107834),
        [0.0, -1.612085713764618, 0.0, 0.0, -1.2655121234846454, -6.173855654684251],
        [1090.75, 139.25, -277.75, 69.25],
        [1115.8276510820249, 64.10074346767829, 10.525207711099767, -87.08108560746743],
        [1088.2298718270854, 42.490761391318145, 11.976353067735742, -59.702785476052945],
        [7352.782706181419, 3076.487535091858, 3634.0208266823397, 3935.784721645798],
    ),
    "level and AR": (
        *(AR, GAPS, -373.74793890712033),
        [0.0, -1.072680883078653, 0.0, 0.0, -0.011024300932972408, -4.897754782874224],
        [1176.777738774918, 38.84924289661931],
        *([1122.9829832002576, 62.1680026087194], [1101.2494518686535, 3.279605094520516]),
        [9303.934611249315, 24356.813612204878],
    ),
}


def problem(system, y):
    F, Q, H, R = (np.asarray(part) for part in system)
    n = len(F)
    prior = da.Gaussian(np.zeros(n), da.Diffuse(np.eye(n)))
    seen, steps = da.Observation(H, np.full(1, R)), [0] + [1] * (len(y) - 1)
    return da.Problem(da.Linear(F), seen, prior, y[:, None], steps, noise=Q)


def run(p, method):
    return da.assimilate(p, method, progress=False)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", REFERENCES)
def test_statsmodels(name):
    system, y, total, first, filtered, start, middle, variances = REFERENCES[name]
    got = run(problem(system, y), da.RTS())
    score = got["log_likelihood"].values
    assert np.allclose(score[: len(first)], first, rtol=1e-9, atol=1e-9)
    assert float(score.sum()) == pytest.approx(total, rel=1e-9)
    assert np.allclose(got["mean"].sel(stage="analysis")[7], filtered, rtol=1e-8)
    smooth = got.sel(stage="smoothed")
    assert np.allclose(smooth["mean"][0], start, rtol=1e-7)
    assert np.allclose(smooth["mean"][20], middle, rtol=1e-7)
    assert np.allclose(smooth["std"][0] ** 2, variances, rtol=1e-7)
    early = run(problem(system, y), da.KF())
    assert np.allclose(early["log_likelihood"], score, rtol=0, atol=1e-12)
    assert np.isinf(early["std"].sel(stage="forecast")[0]).all()
    late = run(problem(system, y), da.RTS(lag=6)).sel(stage="smoothed")
    assert np.allclose(late["mean"][-7:], smooth["mean"][-7:], rtol=1e-7)
    exact = run(problem(system, y[:16]), da.RTS()).sel(stage="smoothed")
    assert np.allclose(late["mean"][9], exact["mean"][9], rtol=1e-7)
    tensors = run(problem(system, y).to(torch.zeros(1, dtype=torch.float64)), da.RTS())
    assert np.allclose(tensors["log_likelihood"], score, rtol=0, atol=1e-9)
    assert np.allclose(tensors["mean"], got["mean"], rtol=1e-8, atol=1e-8)


def test_the_limit_of_wide_priors():
    """Two directions, three sensors with correlated errors, a finite part; k = 1e8."""
    F = np.array([[0.9, 0.2, 0.0], [0.1, 0.8, 0.3], [0.0, -0.2, 0.7]])
    D, P = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 2.0]]), np.diag([0.5, 1.0, 2.0])
    H = np.array([[1.0, 0.0, 1.0], [2.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    R = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 2.0]])
    p = da.twin(
        da.Linear(F), da.Observation(H, R), da.Gaussian(np.ones(3), P), 6, noise=0.1, seed=2
    )
    y = np.array(p.data)
    y[0, 2], y[1, 0] = np.nan, np.nan
    k = 1e8
    wide = dataclasses.replace(p, prior=da.Gaussian(np.ones(3), P + k * D.T @ D), data=y)
    none = dataclasses.replace(wide, prior=da.Gaussian(np.ones(3), da.Diffuse(D, P)))
    a, b = (run(some, da.RTS()) for some in (wide, none))
    assert np.isinf(b["std"].sel(stage="analysis")[0]).any()
    assert np.isfinite(b["std"].sel(stage="analysis")[1:]).all()
    assert np.allclose(
        a["mean"].sel(stage="smoothed"), b["mean"].sel(stage="smoothed"), rtol=0, atol=1e-5
    )
    assert np.allclose(
        a["std"].sel(stage="smoothed"), b["std"].sel(stage="smoothed"), rtol=0, atol=1e-5
    )
    limit = float(a["log_likelihood"].sum()) + np.log(k)  # d / 2 log k, d = 2
    assert float(b["log_likelihood"].sum()) == pytest.approx(limit, abs=1e-5)


def test_a_batch_is_its_experiments():
    """With gaps of its own, one experiment's variances are infinite for longer."""
    p = problem(TR, NILE)
    y = np.stack([NILE, GAPS])[..., None]
    both = dataclasses.replace(p, data=y, prior=da.Gaussian(np.zeros((2, 2)), p.prior.cov))
    got = run(both, da.RTS())
    for b, own in enumerate((NILE, GAPS)):
        one = run(problem(TR, own), da.RTS())
        for name in ("mean", "std", "log_likelihood"):
            assert np.allclose(got[name][b], one[name], rtol=1e-9, atol=1e-9)


def test_perfect_data_and_units():
    """R = 0 from a diffuse prior: the first two data are the state; components in any units."""
    F, Q, H, _ = TR
    p = problem((F, Q, H, 0.0), NILE)
    got = run(p, da.KF())["mean"].sel(stage="analysis")
    assert np.allclose(got[:, 0], NILE, rtol=1e-12)
    assert float(got[1, 1]) == pytest.approx(NILE[1] - NILE[0], rel=1e-10)
    unit = np.array([1e-5, 1e7])
    q = dataclasses.replace(
        problem(TR, 1e4 * NILE),
        model=da.Linear(unit[:, None] * F / unit),
        observation=da.Observation(1e4 * np.array(H) / unit, [15099e8]),
        noise=np.array(Q) * unit**2,
        prior=da.Gaussian(np.zeros(2), da.Diffuse(np.diag(unit))),
    )
    a, b = run(problem(TR, NILE), da.RTS()), run(q, da.RTS())
    assert np.allclose(b["mean"] / unit, a["mean"], rtol=1e-8, atol=1e-8)
    assert np.allclose(b["log_likelihood"] + np.log(1e4), a["log_likelihood"], rtol=0, atol=1e-9)


def test_what_has_no_answer_says_so():
    p = problem(TR, NILE)
    with pytest.raises(ValueError, match="some variances are still infinite"):
        run(dataclasses.replace(p, data=NILE[:1, None], steps=1), da.RTS())
    for method in (da.UKF(), da.ETKF(5), da.ExtendedKF(), da.Var3D("prior")):
        with pytest.raises(ValueError, match=r"infinite variances.*wanted KF or RTS"):
            run(p, method)
    for rows, cov, words in (
        (np.ones(2), None, r"rows \(d, n\), met shape \(2,\)"),
        (np.full((1, 2), np.inf), None, "finite rows"),
        (np.eye(2), da.Diagonal(np.ones(3)), "dimension 3, wanted that of the rows, 2"),
    ):
        with pytest.raises(ValueError, match=words):
            da.Diffuse(rows, cov)
