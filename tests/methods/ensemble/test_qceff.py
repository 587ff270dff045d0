"""Increments beside DART's, the rank histogram beside its definition, bounded and bimodal laws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from examples import linear_gaussian, lorenz96
from scipy import stats
from scipy.integrate import quad

import dalearn as da
from dalearn.methods import (
    eakf_increments,
    enkf_increments,
    gamma_increments,
    qceff,
    rhf_increments,
)

E = np.array([-1.2, 0.3, 1.9, 0.6, -0.8, 2.4, 1.1, -0.1, 0.9, 1.6])
P = np.array([0.4, 1.3, 2.6, 0.9, 0.2, 3.1, 1.8, 0.5, 1.1, 2.2])
S = np.array([2.1, 0.8, 3.0, 1.5, 0.9, 3.6, 2.2, 1.0, 1.7, 2.9])
NORMAL, RANKS, GAMMA = da.NormalMarginal(), da.RankHistogram(), da.GammaMarginal()

# MATLAB DART_LAB, tests/matlab_reference/{eakf,rhf,rhf_bounded,state}_increments.csv of NCAR's
# pyDARTLAB 0.1.0: E and P with the datum 0.5 of variance 1. They have 15 digits; the inverse
# normal law in the tail has 9.
MATLAB = {
    "eakf": [
        *(0.548680456045063, 0.0306375824537736, -0.521941482710268, -0.0729709922644843),
        *(0.410535689754053, -0.694622440574032, -0.245651950128247, 0.168782348744784),
        *(-0.176579566982742, -0.418332907992011),
    ],
    "rhf": [
        *(0.426943825063902, 0.0797123575072315, -0.51024463178933, -0.0402339367907624),
        *(0.68303025472223, -0.603131365044992, -0.178624720288411, 0.254439550627399),
        *(-0.156019281285775, -0.543787441581868),
    ],
    "bounded": [
        *(-0.144749052830404, -0.48906827417227, -1.30916747807944, -0.447923308935855),
        *(-0.0653540927390571, -1.30077546789356, -0.809318720164846, -0.1191233126216),
        *(-0.543964002107951, -1.06613817685008),
    ],
    "state": [
        *(0.344314016704889, 0.0192260339521181, -0.327534480984171, -0.0457915625984361),
        *(0.257623887970817, -0.435897141901761, -0.154154223516026, 0.10591616268619),
        *(-0.11080915914899, -0.262516884433616),
    ],
}
# pyDARTLAB 0.1.0 itself: obs_increment_rhf(E, 3.5, 0.5), obs_increment_bnrhf(P, 0.5, 1.0) and
# (P, -0.2, 0.3), obs_increment_gamma(P, 0.5, 1.0) and (P, 1.5, 0.7), whose last is a deviation
PYDARTLAB = [
    (
        rhf_increments, E, 3.5, 0.5, {},
        [2.986679973608222, 1.9514970361235846, 1.1161021900680326, 1.7861588349915083,
         2.7821734383877366, 0.9515901450033195, 1.5376351012092138, 2.2168352372556606,
         1.603727086065704, 1.2009408773378687],
    ),
    (
        rhf_increments, P, 0.5, 1.0, {"lower": 0.0},
        [-0.1447490528304043, -0.4890682741722696, -1.3091674780794376, -0.4479233089358546,
         -0.06535409141726639, -1.3007754678935572, -0.8093187201648455, -0.11912331262159953,
         -0.5439640021079514, -1.0661381768500795],
    ),
    (
        rhf_increments, P, -0.2, 0.3, {"lower": 0.0},
        [-0.28103370843889663, -0.9418212503864876, -2.085945087694444, -0.672223527785967,
         -0.13786799283530932, -2.2877800289973065, -1.3844867042598166, -0.3285021051633541,
         -0.8070223890862274, -1.7412236854765977],
    ),
    (
        gamma_increments, P, 0.5, 1.0, {},
        [-0.3063190064177012, -0.7941368018303836, -1.3518106757359534, -0.5950443972390334,
         -0.16782125836908807, -1.546012613442408, -1.020683411273537, -0.3692910859424058,
         -0.6970992242022895, -1.190025435437999],
    ),
    (
        gamma_increments, P, 1.5, 0.49, {},
        [0.27216727166150223, -0.0575745798011944, -0.727758264620358, 0.11534487484526046,
         0.28645293186457293, -1.0084513030027997, -0.301428531588223, 0.2499083824661561,
         0.03214533603477321, -0.5103386341661056],
    ),
]  # fmt: skip
# ppi_update(E, S, E + obs_increment_eakf(E, 0.5, 1.0), state law, observed law), the same version
PROBITS = [
    (
        NORMAL, NORMAL,
        [2.444314016704888, 0.8192260339521178, 2.672465519015829, 1.4542084374015638,
         1.157623887970817, 3.1641028580982384, 2.045845776483974, 1.1059161626861904,
         1.5891908408510096, 2.637483115566383],
    ),
    (
        GAMMA, NORMAL,
        [2.476622366431081, 0.8102574875642745, 2.5915464525863996, 1.46254165977542,
         1.0577816367263986, 2.9958355776661993, 2.0395295024590063, 1.0674909527680374,
         1.6024184611685168, 2.5768812558815037],
    ),
    (
        da.RankHistogram(lower=0.0), NORMAL,
        [2.34254797994656, 0.8028876965189403, 2.9120823785504975, 1.4224544015848901,
         0.9676349671289604, 3.112801819638584, 2.1463941215376385, 1.163949328972757,
         1.6207351722936498, 2.3120659448295933],
    ),
    (
        da.RankHistogram(lower=0.0), RANKS,
        [2.5819690757944325, 0.8033387003528623, 2.875224076787689, 1.4146076562610619,
         0.9428013567193536, 2.9872182000560095, 2.1148294925271567, 1.1557830361557135,
         1.6134457133227327, 2.4699830777823144],
    ),
]  # fmt: skip


@pytest.mark.parametrize("array", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_increments_beside_dart(array):
    h, p = array(E), array(P)
    close = dict(rtol=0, atol=1e-10)
    np.testing.assert_allclose(eakf_increments(h, 0.5, 1.0), MATLAB["eakf"], **close)
    np.testing.assert_allclose(rhf_increments(h, 0.5, 1.0), MATLAB["rhf"], **close)
    bounded = rhf_increments(p, 0.5, 1.0, lower=0.0)
    np.testing.assert_allclose(bounded, MATLAB["bounded"], rtol=0, atol=2e-9)
    for f, x, y, r, settings, wanted in PYDARTLAB:
        np.testing.assert_allclose(f(array(x), y, r, **settings), wanted, **close)


def given(law, **settings):
    """The unobserved number S beside the observed one E, after the datum 0.5 of variance 1."""
    R = da.Diagonal(np.ones(1))
    return qceff(S[:, None], E[:, None], np.array([0.5]), R, observed=law, **settings)[:, 0]


def test_regression_beside_dart():
    np.testing.assert_allclose(given(NORMAL) - S, MATLAB["state"], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("state", "observed", "wanted"), PROBITS)
def test_regression_on_probits_beside_dart(state, observed, wanted):
    """There the increments of the observed number are normal; only its probits are its law's."""

    class Eakf(type(observed)):
        def updated(self, x, y, r):
            return NORMAL.updated(x, y, r)

    np.testing.assert_allclose(given(Eakf(), state=state), wanted, rtol=0, atol=1e-10)


def test_perturbed_observations():
    """(y + e_i - h_i) v / (v + r), the e_i centred."""
    e, v = np.random.default_rng(0).normal(size=10), E.var(ddof=1)
    found = enkf_increments(E, 0.5, 2.0, e)
    np.testing.assert_allclose(found, (0.5 + e - e.mean() - E) * v / (v + 2), rtol=1e-12)


@pytest.mark.parametrize("bounds", [(None, None), (-1.3, None), (-1.25, 2.5), (None, 2.5)])
def test_the_histogram_is_its_definition(bounds):
    """Densities written out and integrated: a member keeps its quantile, i / (N + 1)."""
    low, high = (w if b is None else b for b, w in zip(bounds, (-np.inf, np.inf), strict=True))
    y, r, N = 1.2, 0.4, len(E)
    x, s, p = np.sort(E), E.std(ddof=1), 1 / (N + 1)
    like = np.exp(-((x - y) ** 2) / (2 * r))
    t = stats.norm.ppf(p)
    left, right = stats.norm(x[0] - s * t, s), stats.norm(x[-1] + s * t, s)

    def density(v):
        """The prior's, times the likelihood: of the two ends, or of the outermost member."""
        if v < x[0]:
            return p * left.pdf(v) / (left.cdf(x[0]) - left.cdf(low)) * like[0]
        if v > x[-1]:
            return p * right.pdf(v) / (right.cdf(high) - right.cdf(x[-1])) * like[-1]
        j = min(np.searchsorted(x, v, side="right"), N - 1)
        return p / (x[j] - x[j - 1]) * (like[j] + like[j - 1]) / 2

    ends = [max(low, x[0] - 12 * s), *x, min(high, x[-1] + 12 * s)]
    parts = [quad(density, a, b)[0] for a, b in pairwise(ends)]
    new = np.sort(E + rhf_increments(E, y, r, lower=bounds[0], upper=bounds[1]))
    for i, v in enumerate(new):
        j = np.searchsorted(ends, v) - 1
        below = sum(parts[:j]) + quad(density, ends[j], v)[0]
        assert below / sum(parts) == pytest.approx((i + 1) * p, abs=1e-6)


def test_many_members_have_the_posterior():
    """Of two modes, and of a number that cannot be negative: quadrature of prior times likelihood.

    A mean of 20 000 members errs by their deviation over 140; by 0.01 in one run of fifty.
    """
    rng, N = np.random.default_rng(0), 20_000
    two = np.where(rng.random(N) < 0.7, rng.normal(-2, 0.5, N), rng.normal(2, 0.5, N))
    few = rng.exponential(size=N)

    def modes(v):
        return 0.7 * stats.norm.pdf(v, -2, 0.5) + 0.3 * stats.norm.pdf(v, 2, 0.5)

    cases = (two, modes, 0.3, 2.0, None), (few, stats.expon.pdf, -0.3, 0.5, 0.0)
    for h, density, y, r, lower in cases:
        v = np.linspace(-5 if lower is None else 0, 15, 40_001)
        w = density(v) * np.exp(-((v - y) ** 2) / (2 * r))
        w = w / w.sum()
        new = h + rhf_increments(h, y, r, lower=lower)
        mean = w @ v
        assert new.mean() == pytest.approx(mean, abs=0.03)
        assert new.std() == pytest.approx((w @ (v - mean) ** 2) ** 0.5, abs=0.03)
        for q in (0.1, 0.5, 0.9):
            assert np.quantile(new, q) == pytest.approx(v[w.cumsum().searchsorted(q)], abs=0.05)


def test_with_normal_laws_it_is_the_serial_filter():
    """The EAKF, inflated and localized, in linear regression and on probits."""
    problem, near = lorenz96(6), da.Localization.ring(40, 4.0)
    for settings in ({}, {"localization": near}):
        known = da.assimilate(problem, da.EnSRF(12, inflation=1.05, **settings), progress=False)
        for state in (None, NORMAL):
            method = da.QCEFF(12, observed=NORMAL, state=state, inflation=1.05, **settings)
            found = da.assimilate(problem, method, progress=False)
            for name in ("mean", "std"):
                np.testing.assert_allclose(found[name], known[name], rtol=0, atol=1e-9)


def rain(size, seed=0):
    """Members, truths and data of exponential amounts, a third of them none at all."""
    rng = np.random.default_rng(seed)
    draw = rng.exponential(size=(size, 21)) * (rng.random((size, 21)) > 1 / 3)
    return draw[:, :20], draw[:, 20], draw[:, 20] + 0.5 * rng.normal(size=size)


def test_bounded_members_keep_within_and_are_the_better_forecast():
    """The CRPS of 4000 cases, beside that of a normal law; an amount of none is met exactly."""
    h, truth, y = rain(4000)
    scores = {}
    for name, moved in (
        ("ranks", rhf_increments(h, y, np.array(0.25), lower=0.0)),
        ("normal", eakf_increments(h, y, np.array(0.25))),
    ):
        new = h + moved
        gaps = np.abs(new[:, :, None] - new[:, None, :]).mean((1, 2))
        scores[name] = (np.abs(new - truth[:, None]).mean(1) - gaps / 2).mean()
        assert (new.min() >= 0) == (name == "ranks")
    assert (h + rhf_increments(h, y, np.array(0.25), lower=0.0) == 0).mean() > 0.2
    assert scores["ranks"] < 0.92 * scores["normal"]


def test_a_state_within_bounds():
    """Two amounts that vary together, one seen: on probits neither becomes negative."""
    rng = np.random.default_rng(1)
    common = rng.exponential(size=(500, 30, 1))
    X = np.maximum(common + 0.3 * rng.normal(size=(500, 30, 2)), 0.0)
    y, R = np.zeros((500, 1)), da.Diagonal(np.array([0.01]))
    law = da.RankHistogram(lower=0.0)
    assert qceff(X, X[..., :1], y, R, observed=law).min() < -0.1
    new = qceff(X, X[..., :1], y, R, observed=law, state=law, inflation=1.2)
    assert new.min() == 0
    assert new.max() < X.max()
    own = da.RankHistogram(np.array([0.0, -np.inf]), np.array([np.inf, 20.0]))  # each its own
    assert qceff(X, X[..., :1], y, R, observed=law, state=own)[..., 0].min() == 0


def test_members_that_coincide_share_their_quantiles():
    """DART's ens_quantiles of [0, 0, 1, 2, 2, 3.5] with a bound at 0, as MATLAB gives them."""
    x = np.array([0.0, 0.0, 1.0, 2.0, 2.0, 3.5])[:, None]
    wanted = np.array([1, 1, 3, 4.5, 4.5, 6]) / 7
    law = da.RankHistogram(lower=0.0).fitted(x)
    for z in (law.members(), law.probits(x)):
        np.testing.assert_allclose(stats.norm.cdf(z[:, 0]), wanted, rtol=1e-14)
    np.testing.assert_allclose(law.values(law.members()), x, rtol=0, atol=1e-14)


def test_members_that_all_agree_stay():
    same = np.full(5, 2.0)
    for f in (rhf_increments, eakf_increments, gamma_increments):
        assert np.array_equal(f(same, 3.0, 1.0), np.zeros(5))


def test_probits_and_values_are_inverse():
    v = np.linspace(-0.99, 6, 40)[:, None]
    for law in (RANKS, da.RankHistogram(-1.25, 7.0), NORMAL, da.GammaMarginal(-1.25)):
        fit = law.fitted(E[:, None])
        np.testing.assert_allclose(fit.values(fit.probits(v)), v, rtol=1e-10)
        assert (np.diff(fit.probits(v)[:, 0]) > 0).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: da.RankHistogram(1.0, 0.0), "lower must be below upper, met 1.0 and 0.0"),
        (lambda: da.RankHistogram([0.0, 0.0], 1.0).fitted(S[:, None]), "met bounds of .2,"),
        (lambda: da.RankHistogram(lower=1.0).fitted(S[:, None]), "component 0 has a member 0.8"),
        (lambda: da.RankHistogram(upper=2.0).fitted(S[:, None]), "member 3.6 beyond its upper"),
        (lambda: gamma_increments(E, 0.5, 1.0), "members above its bound, met one at -1.2"),
        (lambda: gamma_increments(P, -0.5, 1.0), "data above its bound, met one at -0.5"),
        (lambda: rhf_increments(E, 0.5, 0.0), "variance must be positive, met 0"),
        (lambda: rhf_increments(E[:1], 0.5, 1.0), "N >= 2, met shape .1,"),
        (lambda: enkf_increments(E, 0.5, 1.0, E[:3]), "met errors .3,. of members .10,"),
        (lambda: da.QCEFF(5, observed="normal"), "an object .* with fitted, updated, one, met 'n"),
        (lambda: da.QCEFF(5, state=NORMAL, inflation=da.RTPS(0.5)), "wanted a factor"),
        (lambda: da.assimilate(linear_gaussian(), da.QCEFF(5), progress=False), "errors Dense"),
    ],
)  # fmt: skip
def test_refusals(wrong, words):
    with pytest.raises((ValueError, TypeError), match=words):
        wrong()
