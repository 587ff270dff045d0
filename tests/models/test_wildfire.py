"""The wildfire against what its rules promise, exactly or with counted chances."""

import dataclasses
import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.ndimage import label

import dalearn as da
from dalearn.array import Streams

FIVE = 5  # standard errors: an honest frequency is further out once in two million


def flat(h=9, w=9, **settings):
    return da.Wildfire(np.zeros((h, w)), **settings)


def run(fire, x, steps, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        x = fire(x, rng)
    return x


@pytest.fixture(scope="module")
def country():
    return da.Landscape.synthetic((40, 48), seed=1)


# --- probabilities, exactly -------------------------------------------------------------------


def test_one_burning_neighbour_gives_the_published_probability():
    fire = flat(spread=0.3, vegetation=0.4, density=-0.4, wind_speed=5.0, wind_direction=0.4)
    P = fire.probability(fire.ignite([4, 4]))
    for i, j in itertools.product((-1, 0, 1), repeat=2):
        theta = math.atan2(i, j) - 0.4  # rows grow northward
        p = 0.3 * 1.4 * 0.6 * math.exp(0.045 * 5) * math.exp(0.131 * 5 * (math.cos(theta) - 1))
        assert P[4 + i, 4 + j] == pytest.approx(p if i or j else 0, rel=1e-12)  # round-off
    assert np.count_nonzero(P) == 8


def test_calm_flat_ground_is_symmetric_to_the_bit():
    P = flat().probability(flat().ignite([4, 4]))
    assert np.all(P[3:6, 3:6][np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)] == P[3, 3])
    assert P[3, 3] == pytest.approx(0.58, rel=1e-14)


def test_wind_bias_is_the_published_factor():
    fire = flat(spread=0.2, wind_speed=4.0, wind_direction=np.pi / 2)  # blows to the north
    P = fire.probability(fire.ignite([4, 4]))
    assert P[5, 4] / P[3, 4] == pytest.approx(math.exp(2 * 4 * 0.131), rel=1e-12)
    assert P[4, 5] == pytest.approx(P[4, 3], rel=1e-12)


def test_fire_runs_uphill_by_the_published_factor():
    rise = 30 * math.tan(math.radians(10))  # 10 degrees towards the east
    fire = da.Wildfire(np.broadcast_to(rise * np.arange(9.0), (9, 9)), spread=0.1)
    P = fire.probability(fire.ignite([4, 4]))
    assert P[4, 5] / P[4, 3] == pytest.approx(math.exp(0.078 * 20), rel=1e-12)
    diagonal = math.degrees(math.atan(math.tan(math.radians(10)) / math.sqrt(2)))
    assert P[5, 5] / P[3, 3] == pytest.approx(math.exp(0.078 * 2 * diagonal), rel=1e-12)
    assert P[5, 4] == pytest.approx(0.1, rel=1e-12)


def test_neighbours_act_independently():
    fire = flat(spread=0.3)
    P = fire.probability(fire.ignite([(4, 3), (4, 5), (5, 4)]))
    assert P[4, 4] == pytest.approx(1 - 0.7**3, rel=1e-12)
    assert P[4, 3] == 0  # it burns already
    assert P[3, 3] == pytest.approx(0.3, rel=1e-12)


def test_published_settings(country):
    inner = np.s_[1:-1, 1:-1]
    a = da.Wildfire.alexandridis(country, wind_speed=8.0)
    factor = {0: 0.7, 1: 1.0, 2: 1.4}
    for k, v in factor.items():
        chosen = country.fuel & (country.vegetation == k)
        assert np.allclose(1 + a.vegetation[chosen], v)
    assert np.all(a.vegetation[~country.fuel] == -1)
    assert (a.wind_speed, a.persistence, a.cell) == (8.0, 0.0, 30.0)
    b = da.Wildfire.latent_assimilation(country)
    canopy = country.canopy / country.canopy.max()
    fuel = country.fuel[inner]
    assert np.allclose(1 + b.vegetation[inner][fuel], 0.5 + 10 * canopy[inner][fuel])
    rim = np.pad(np.zeros(np.subtract(country.shape, 2), bool), 1, constant_values=True)
    assert np.all(b.vegetation[rim] == -1)
    for fire in (a, b):
        assert {*np.unique(1 + fire.density).round(3)} == {0.6, 1.0, 1.3}
    # without wind angles the wind factor is exp(0.045 * 10) on every side
    even = dataclasses.replace(b, elevation=np.zeros(b.shape), vegetation=0.0, density=-0.5)
    P = even.probability(even.ignite([20, 20]))
    assert np.allclose(P[P > 0], 0.58 * 0.5 * math.exp(0.45), rtol=1e-12)


# --- draws ------------------------------------------------------------------------------------


def test_frequencies_match_the_probabilities():
    E = 8 * np.random.default_rng(3).random((3, 3))
    fire = da.Wildfire(E, spread=0.4, wind_speed=3.0, wind_direction=1.0)
    x, n = fire.ignite([1, 1]), 20000
    P = fire.probability(x)
    lit = (fire(np.broadcast_to(x, (n, 3, 3)), np.random.default_rng(0)) == 3).mean(axis=0)
    assert np.all(np.abs(lit - P) <= FIVE * np.sqrt(P * (1 - P) / n))
    assert np.ptp(P[P > 0]) > 0.1  # the eight chances do differ


def test_what_burns_is_a_cluster_of_bond_percolation():
    # four cells, each the others' neighbour: open each of six bonds with probability p
    p, edges = 0.3, list(itertools.combinations(range(4), 2))
    expected = 0.0
    for bonds in itertools.product((0, 1), repeat=6):
        reached = {0}
        for _ in range(3):
            near = [e for e, open_ in zip(edges, bonds, strict=True) if open_ and {*e} & reached]
            reached = reached.union(*near)
        weight = math.prod(p if open_ else 1 - p for open_ in bonds)
        expected += weight * (3 in reached)
    n, fire = 40000, flat(2, 2, spread=p)
    x = run(fire, np.broadcast_to(fire.ignite([0, 0]), (n, 2, 2)), 4)
    assert not (x == 3).any()  # no path is longer than three steps
    found = (x[:, 1, 1] == 4).mean()
    assert abs(found - expected) <= FIVE * math.sqrt(expected * (1 - expected) / n)


def test_persistence_gives_more_chances():
    p, keep, n = 0.2, 0.6, 20000
    fire = flat(1, 2, spread=p, persistence=keep)
    x = run(fire, np.broadcast_to(fire.ignite([0, 0]), (n, 1, 2)), 60)  # 0.6^60 burn on
    expected = p / (1 - keep * (1 - p))
    assert abs((x[:, 0, 1] > 2).mean() - expected) < FIVE * math.sqrt(
        expected * (1 - expected) / n
    )


def test_calm_fires_on_flat_ground_spread_alike_to_all_sides():
    def reach(**settings):  # how far 400 fires came to the east, north, west and south
        fire = flat(41, 41, spread=0.4, **settings)
        gone = run(fire, np.broadcast_to(fire.ignite([20, 20]), (400, 41, 41)), 14) > 2
        arms = gone[:, 20, 20:], gone[:, 20:, 20], gone[:, 20, 20::-1], gone[:, 20::-1, 20]
        return np.array([(arm * np.arange(21)).max(axis=-1) for arm in arms])

    def contrast(r):  # of one side against the mean of all, in standard errors
        d = r - r.mean(axis=0)
        return d.mean(axis=-1) / (d.std(axis=-1) / np.sqrt(d.shape[-1]))

    assert np.all(np.abs(contrast(reach())) < FIVE)
    east, _, west, _ = contrast(reach(wind_speed=1.0))
    assert east > FIVE
    assert west < -FIVE
    assert reach().mean() > 8


def test_burnt_area_grows_with_spread():
    low, high = flat(21, 21, spread=0.25), flat(21, 21, spread=0.45)
    x = run(high, np.broadcast_to(high.ignite([10, 10]), (50, 21, 21)), 5)
    step = [fire(x, np.random.default_rng(1)) for fire in (low, high)]
    assert np.all(step[0] <= step[1])  # the same numbers: every cell of one step
    assert np.any(step[0] < step[1])
    # a fire that never dies keeps its lead over the whole run
    first = flat().ignite([4, 4])
    low, high = (flat(spread=s, persistence=1.0) for s in (0.05, 0.08))
    runs = [run(fire, np.broadcast_to(first, (50, 9, 9)), 12) for fire in (low, high)]
    assert np.all(runs[0] <= runs[1])
    assert np.any(runs[0] < runs[1])
    # a fire that dies may not (its cells burn at other times), but its area does on average
    area = []
    for spread in (0.2, 0.3, 0.4):  # the threshold of this percolation lies near 0.25
        fire = flat(31, 31, spread=spread)
        x = run(fire, np.broadcast_to(fire.ignite([15, 15]), (100, 31, 31)), 50)
        area.append(fire.burnt(x).mean())
    assert area[0] < 0.05  # such fires die out
    assert area[1] > 3 * area[0]
    assert area[2] > 0.9


def test_certain_fire_moves_one_cell_a_step():
    fire = flat(13, 17, spread=1.0)
    x, far = fire.ignite([5, 6]), np.maximum(*np.abs(np.indices((13, 17)).T - [5, 6]).T)
    for t in range(12):
        assert np.array_equal(x, np.where(far < t, 4, np.where(far == t, 3, 2)))
        x = fire(x, np.random.default_rng(t))
    one = flat(1, 2, spread=1.0).ignite([0, 0]).astype(np.float32)
    almost = type("Top", (), {"uniform": lambda self, like: np.ones_like(like)})()
    sure = flat(1, 2, spread=1.0, persistence=1.0)
    assert np.array_equal(sure(one, almost), [[3, 3]])  # u may round up to 1


@pytest.mark.parametrize("seed", range(4))
def test_certain_fire_burns_the_connected_fuel(seed):
    land = da.Landscape.synthetic((50, 64), seed=seed)
    fire = da.Wildfire(land.elevation, np.where(land.fuel, 0.0, -1.0), spread=1.0, slope=0.0)
    parts, _ = label(land.fuel, np.ones((3, 3)))
    r, c = np.argwhere(land.fuel)[0]
    x = run(fire, fire.ignite([r, c]), 150)
    assert np.array_equal(x == 4, parts == parts[r, c])
    assert np.array_equal(x == 1, ~land.fuel)
    west, east = parts[:, 0][land.fuel[:, 0]], parts[:, -1][land.fuel[:, -1]]
    assert not {*west} & {*east}  # nothing crosses the river


def test_no_fuel_never_burns(country):
    for make in (da.Wildfire.alexandridis, da.Wildfire.latent_assimilation):
        fire = make(country)
        x = fire.ignite([20, 5])
        bare = x == 1
        assert bare.any()
        assert np.all(fire.probability(np.where(bare, 2, 3.0))[bare] == 0)
        y = run(fire, x, 25)
        assert np.all(y[bare] == 1)
        assert (y == 4).sum() > 100


# --- contracts --------------------------------------------------------------------------------


def test_seeds_reproduce(country):
    fire = da.Wildfire.alexandridis(country)
    x = fire.ignite([20, 5])
    assert np.array_equal(run(fire, x, 8), run(fire, x, 8))
    assert not np.array_equal(run(fire, x, 8), run(fire, x, 8, seed=1))
    t = torch.from_numpy(x)
    once, again = (fire(t, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(once, again)
    assert {*once.unique().tolist()} <= {1.0, 2.0, 3.0, 4.0}


def test_a_batch_is_its_experiments_alone(country):
    fire = da.Wildfire.latent_assimilation(country)
    x = fire.ignite([[[20, 5]], [[10, 30]], [[30, 14]]])
    members = np.stack([x, x], axis=1)
    rng, alone = Streams(1, 5, (3,)), [Streams(1, 5 + b) for b in range(3)]
    y = members
    for _ in range(6):
        y = fire(y, rng)
        members = np.stack([fire(m, s) for m, s in zip(members, alone, strict=True)])
        assert np.array_equal(y, members)
    P = fire.probability(y)
    assert np.array_equal(P[2, 1], fire.probability(y[2, 1]))
    many = np.broadcast_to(y, (40, 3, 2, *fire.shape))  # in several blocks
    assert np.array_equal(fire.probability(many)[7], P)


@pytest.mark.parametrize("lead", [(), (3,), (2, 1, 4), (0,)])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_leading_axes_and_dtype(lead, kind):
    fire = flat(wind_speed=np.float64(3.0), c1=np.float64(0.05))
    x = np.broadcast_to(fire.ignite([4, 4]), (*lead, 9, 9)).astype(kind)
    before = x.copy()
    for state in (x, torch.from_numpy(x)):
        for y in (fire(state, np.random.default_rng(0)), fire.probability(state)):
            assert y.shape == state.shape
            assert y.dtype == state.dtype
        assert fire.burnt(state).shape == lead
    assert np.array_equal(x, before)


def test_numpy_equals_torch(country):
    fire = da.Wildfire.alexandridis(country, wind_speed=8.0, wind_direction=2.0)
    x = np.broadcast_to(fire.ignite([20, 5]), (4, *fire.shape))
    a, b = x, torch.from_numpy(x.copy())
    for k in range(15):
        P, Q = fire.probability(a), fire.probability(b).numpy()
        assert np.allclose(P, Q, rtol=0, atol=1e-14)  # round-off of eight factors
        a, b = (fire(s, np.random.default_rng(k)) for s in (a, b))
    assert np.array_equal(a, b.numpy())
    single = fire.probability(a.astype(np.float32))
    assert single.dtype == np.float32
    assert np.allclose(single, fire.probability(a), atol=2e-6)  # eight roundings of 6e-8, exp
    assert np.array_equal(fire.ignite([3, 4], like=b).numpy(), fire.ignite([3, 4]))


def test_parameters_broadcast():
    x = run(flat(spread=0.5), flat().ignite([4, 4]), 3)
    values = {
        "spread": (0.2, 0.6, 1.0),
        "wind_speed": (0.0, 3.0, 9.0),
        "wind_direction": (0, 2, 4),
    }
    for name, numbers in values.items():
        base = flat(wind_speed=4.0)
        swept = dataclasses.replace(base, **{name: np.reshape(numbers, (3, 1, 1))})
        for b, number in enumerate(numbers):
            alone = dataclasses.replace(base, **{name: float(number)})
            for given in (x, np.stack([x] * 3)):
                y = swept(given, np.random.default_rng(0))[b]
                u = np.random.default_rng(0).random(given.shape)
                rng = type("Fixed", (), {"uniform": lambda s, like, u=u: u})()
                assert np.array_equal(y, alone(given, rng) if given is x else alone(given, rng)[b])
                assert np.array_equal(swept.probability(given)[b], alone.probability(x))
    chart = np.full((9, 9), 0.3)
    chart[4, 5] = 0.9
    P = flat(spread=chart).probability(flat().ignite([4, 4]))
    assert P[4, 5] == pytest.approx(0.9)
    assert P[4, 3] == pytest.approx(0.3)


def test_bad_members_become_nan_and_leave_the_others():
    x = np.stack([flat().ignite([4, 4])] * 4)
    good = np.array([0.3, 0.5, 0.7, 0.9])[:, None, None]
    for name, bad in (
        ("spread", -0.1),
        ("spread", 1.5),
        ("spread", np.nan),
        ("wind_speed", -1.0),
        ("wind_speed", np.inf),
        ("wind_direction", np.inf),
    ):
        values = good.copy()
        values[1] = bad
        fine, odd = (flat(**{name: v}) for v in (good, values))
        y, z = (fire(x, np.random.default_rng(2)) for fire in (fine, odd))
        assert np.isnan(z[1]).all()
        assert np.array_equal(np.delete(z, 1, 0), np.delete(y, 1, 0))


def test_nan_stays_and_lights_nothing():
    fire = flat(spread=1.0)
    x = fire.ignite([4, 4])
    x[4, 4] = np.nan
    y = fire(x, np.random.default_rng(0))
    assert np.array_equal(np.isnan(y), np.isnan(x))
    assert np.all(y[~np.isnan(y)] == 2)
    assert np.isnan(fire.probability(x)[4, 4])
    assert np.isnan(fire.burnt(x))


def test_states_snap_to_the_nearest():
    fire = flat(1, 9)
    x = np.array([[-3.0, 1.4, 1.6, 2.4, 2.6, 3.4, 3.6, 80.0, np.inf]])
    assert np.array_equal(fire.snap(x), [[1, 1, 2, 2, 3, 3, 4, 4, np.nan]], equal_nan=True)
    rough = fire.ignite([0, 3]) + 0.4 * np.sin(np.arange(9.0))
    rng = np.random.default_rng
    assert np.array_equal(fire(rough, rng(0)), fire(fire.snap(rough), rng(0)))
    whole = fire.ignite([0, 3])
    assert np.array_equal(fire(whole.astype(int), rng(0)), fire(whole, rng(0)))
    assert np.array_equal(fire.probability(whole.astype(int)), fire.probability(whole))


def test_burnt_is_a_share_of_the_fuel():
    fire = flat(1, 5)
    assert fire.burnt(np.array([[1.0, 2, 2, 3, 4]])) == 0.5
    assert fire.burnt(np.ones((1, 5))) == 0


def test_derivative_of_probability():
    x = torch.from_numpy(run(flat(spread=0.5), flat().ignite([4, 4]), 3))
    base = flat(wind_speed=2.0)
    for name, at in (("spread", 0.3), ("wind_speed", 2.0), ("wind_direction", 0.5)):

        def P(v, name=name):
            return dataclasses.replace(base, **{name: v}).probability(x)

        at = torch.tensor(at, dtype=torch.float64)
        _, exact = torch.func.jvp(P, (at,), (torch.ones_like(at),))
        h = 1e-5  # truncation h^2 ~ 1e-10, round-off 1e-16 / h ~ 1e-11
        assert torch.allclose(exact, (P(at + h) - P(at - h)) / (2 * h), rtol=0, atol=1e-8)
        assert exact.abs().max() > 0.01
    member = torch.full((2, 1, 1), 0.3, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(
        dataclasses.replace(base, spread=member).probability(x).sum(), member
    )
    assert torch.all(g > 1)


def test_pickles_with_what_it_keeps(country):
    fire = da.Wildfire.alexandridis(country)
    x = fire.ignite([20, 5])
    P, copy = fire.probability(x), pickle.loads(pickle.dumps(fire))
    assert np.array_equal(copy.probability(x), P)


def test_refusals(country):
    E, rng = np.zeros((4, 5)), np.random.default_rng(0)
    fire = da.Wildfire(E)
    with pytest.raises(TypeError, match="stochastic"):
        fire(np.full((4, 5), 2.0))
    for shape in ((5, 4), (5,), (2, 4, 6)):
        with pytest.raises(ValueError, match=r"\(\.\.\., 4, 5\)"):
            fire(np.full(shape, 2.0), rng)
        with pytest.raises(ValueError, match="shape"):
            fire.probability(np.full(shape, 2.0))
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(5, 4\)"):
        da.Wildfire(E, np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"elevation \(20,\)"):
        da.Wildfire(E.ravel())
    for wrong in (np.full((4, 5), np.nan), np.full((4, 5), np.inf)):
        with pytest.raises(ValueError, match="elevation"):
            da.Wildfire(wrong)
    for name, value in (
        ("vegetation", -1.1), ("density", np.nan), ("cell", 0.0), ("slope", -0.1), ("c2", -1.0),
        ("spread", -0.1), ("spread", 1.1), ("spread", np.nan), ("spread", np.full(5, 0.5)),
        ("wind_speed", -1.0), ("wind_speed", 300.0), ("wind_speed", np.ones((2, 3, 5))),
        ("wind_direction", np.nan), ("wind_direction", np.inf), ("persistence", 1.1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            da.Wildfire(E, **{name: value})
    for cells in ([4, 0], [-1, 2], [[0, 0], [0, 5]]):
        with pytest.raises(ValueError, match="outside"):
            fire.ignite(cells)
    with pytest.raises(ValueError, match="no fuel"):
        da.Wildfire(E, density=-1.0).ignite([0, 0])
    for cells in ([0.5, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match="integers"):
            fire.ignite(cells)


def test_landscapes():
    a, b, c = (da.Landscape.synthetic((40, 60), seed=s, relief=200.0) for s in (0, 0, 1))
    for name in ("elevation", "canopy", "vegetation", "density", "fuel"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
        assert not np.array_equal(getattr(a, name), getattr(c, name))
        assert getattr(a, name).shape == a.shape == (40, 60)
    assert (a.elevation.min(), a.elevation.max()) == (0, pytest.approx(200))
    assert {*np.unique(a.vegetation)} == {*np.unique(a.density)} == {0, 1, 2}
    assert not a.canopy[~a.fuel].any()
    E = a.elevation - a.elevation.mean()  # neighbours are alike, as in real terrain
    assert (E[:, 1:] * E[:, :-1]).mean() > 0.9 * (E**2).mean()
    dry = da.Landscape.synthetic((40, 60), seed=0, river=False)
    assert dry.fuel.mean() > a.fuel.mean()
    for settings in ({"shape": (4, 60)}, {"cell": 0.0}, {"relief": -1.0}, {"cell": np.nan}):
        with pytest.raises(ValueError, match="met"):
            da.Landscape.synthetic(**settings)
    for name, bad in (
        ("canopy", 2 * np.ones((40, 60))),
        ("density", a.density + 1),
        ("vegetation", a.vegetation[:-1]),
    ):
        with pytest.raises(ValueError, match=name):
            dataclasses.replace(a, **{name: bad})
