"""Figures show the numbers they are given, and say what is wrong with data of another form."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

from dalearn import plot

K, N, n, m = 12, 5, 4, 2


@pytest.fixture(autouse=True)
def clean():
    with mpl.rc_context():
        plt.switch_backend("agg")
        yield
        plt.close("all")


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    stages = ["forecast", "analysis"]
    members = rng.standard_normal((K, 2, N, n))
    y = rng.standard_normal((K, m))
    y[3:5] = np.nan
    return xr.Dataset(
        {
            "mean": (("time", "stage", "x"), members.mean(2)),
            "std": (("time", "stage", "x"), members.std(2, ddof=1)),
            "members": (("time", "stage", "member", "x"), members),
            "observation": (("time", "y"), y),
            "truth": (("time", "x"), rng.standard_normal((K, n))),
            "diverged": False,
        },
        {
            "time": ("time", 0.05 * np.arange(1, K + 1), {"units": "s"}),
            "cycle": ("time", np.arange(1, K + 1)),
            "stage": stages,
            "x": np.arange(n),
        },
    )


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def drawn(ax):
    """Render, so that a mistake which shows only then is an error here."""
    ax.figure.canvas.draw()
    return ax


# The look


def test_roles_differ_without_their_colours():
    looks = [
        (str(s["linestyle"]), s["marker"], s.get("linewidth"))
        for role, s in plot.palette.items()
        if role != "background"  # another name of the forecast
    ]
    assert len(set(looks)) == len(looks)
    assert plot.palette["background"] == plot.palette["forecast"]


def test_style_is_a_fresh_set_of_arguments():
    arguments = plot.style("truth", label="x", linewidth=3)
    assert arguments["color"] == "black"
    assert arguments["label"] == "x"
    assert arguments["linewidth"] == 3
    arguments["color"] = "red"
    assert plot.style("truth")["color"] == "black"
    with pytest.raises(TypeError):
        plot.palette["truth"]["color"] = "red"  # type: ignore[index]
    with pytest.raises(ValueError, match="no style for 'thruth'; the roles are truth"):
        plot.style("thruth")
    ax = plt.figure().gca()
    for role in plot.palette:
        ax.plot([0, 1], **plot.style(role))
    drawn(ax)


def test_use_style_and_only_use_style_changes_the_session(result):
    before = dict(mpl.rcParams)
    plot.trajectories(result)
    assert dict(mpl.rcParams) == before
    plot.use_style()
    assert all(
        mpl.rcParams[key] == value for key, value in plot.settings.items() if "fig" not in key
    )
    assert tuple(mpl.rcParams["figure.figsize"]) == (7.0, 3.2)
    (only,) = plt.figure().gca().plot([0, 1], color="black")
    assert only.get_linestyle() == "-"


def test_own_figures_are_white_and_given_axes_are_kept(result):
    with mpl.rc_context({"figure.facecolor": "black"}):
        ax = plot.trajectories(result)
    assert to_rgb(ax.figure.get_facecolor()) == (1, 1, 1)
    assert not ax.spines["top"].get_visible()
    _, own = plt.subplots()
    count = len(plt.get_fignums())
    assert plot.trajectories(result, ax=own) is own
    assert len(plt.get_fignums()) == count


# Over time


def test_trajectories_draw_the_component_and_the_band(result):
    both = ("forecast", "analysis")
    ax = drawn(plot.trajectories(result, 2, stages=both, interval=3, observed=1))
    shown = lines(ax)
    np.testing.assert_array_equal(shown["truth"].get_ydata(), result["truth"][:, 2])
    np.testing.assert_array_equal(shown["observation"].get_ydata(), result["observation"][:, 1])
    for i, stage in enumerate(both):
        np.testing.assert_array_equal(shown[stage].get_ydata(), result["mean"][:, i, 2])
        np.testing.assert_array_equal(shown[stage].get_xdata(), result["time"])
        assert shown[stage].get_color() == plot.palette[stage]["color"]
    assert shown["forecast"].get_linestyle() == "--"
    (band,) = ax.collections
    top = (result["mean"] + 3 * result["std"]).sel(stage="analysis")[:, 2]
    assert band.get_datalim(ax.transData).y1 == pytest.approx(float(top.max()))
    assert legend(ax) == ["truth", "forecast", "analysis", "observation", "± 3 std"]
    assert ax.get_xlabel() == "time (s)"


def test_trajectories_leave_out_what_is_absent_or_not_asked_for(result):
    ax = plot.trajectories(result.drop_vars("truth"), stages="forecast", interval=0)
    assert list(lines(ax)) == ["forecast"]
    assert not ax.collections
    drawn(plot.trajectories(result.where(result["time"] < 0.3)))  # a diverged run: NaN to the end
    drawn(plot.trajectories(result.where(False)))


def test_trajectories_refuse(result):
    batch = result.expand_dims(case=3)
    with pytest.raises(
        ValueError, match=r"result has dims \(case, time, stage, x\).*isel\(case=0\)"
    ):
        plot.trajectories(batch)
    several = result.expand_dims(scheme=2, seed=2)
    with pytest.raises(ValueError, match=r"result\.isel\(scheme=0\)\.isel\(seed=0\)"):
        plot.trajectories(several)
    with pytest.raises(ValueError, match="no stage 'smoothed', it has forecast, analysis"):
        plot.trajectories(result, stages=("smoothed",))
    with pytest.raises(ValueError, match="no position 4 along x, it has 4"):
        plot.trajectories(result, 4)
    with pytest.raises(ValueError, match="no position 2 along y, it has 2"):
        plot.trajectories(result, observed=2)
    with pytest.raises(ValueError, match="this Dataset has no variable 'std'"):
        plot.trajectories(result.drop_vars("std"))
    with pytest.raises(ValueError, match="it lacks stage"):
        plot.trajectories(result.sel(stage="analysis"))
    with pytest.raises(TypeError, match=r"result must be a Dataset .*, met DataArray"):
        plot.trajectories(result["mean"])
    assert not plt.get_fignums()  # refused before a figure was opened


def test_trajectories_of_one_experiment_of_a_batch(result):
    one = result.expand_dims(case=3).isel(case=0)
    assert list(lines(plot.trajectories(one))) == ["truth", "analysis"]


def test_ensemble_draws_every_member(result):
    members = result["members"].sel(stage="forecast")
    ax = drawn(plot.ensemble(members, component=1))
    assert len(ax.lines) == N
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), members[:, 2, 1])
    assert legend(ax) == ["5 members"]
    bare = plot.ensemble(members.values, component=1)
    np.testing.assert_array_equal(bare.lines[2].get_xdata(), np.arange(K))
    turned = plot.ensemble(members.transpose("x", "member", "time"), component=1)
    np.testing.assert_array_equal(turned.lines[2].get_ydata(), members[:, 2, 1])
    timed = plot.ensemble(members.values, time=np.arange(K) / 2)
    assert timed.lines[0].get_xdata()[-1] == (K - 1) / 2


def test_ensemble_refuses(result):
    with pytest.raises(ValueError, match=r'members\.sel\(stage="analysis"\)'):
        plot.ensemble(result["members"])
    with pytest.raises(ValueError, match=r"shape \(12, 5\), wanted \(time, member, x\)"):
        plot.ensemble(np.zeros((12, 5)))
    with pytest.raises(ValueError, match=r"time has shape \(3,\), wanted \(12,\)"):
        plot.ensemble(np.zeros((12, 5, 4)), time=np.arange(3))


def test_spread_skill_over_time(result):
    spread = result["std"].mean("x").sel(stage="analysis")
    ax = drawn(plot.spread_skill(2 * spread, spread))
    shown = lines(ax)
    np.testing.assert_array_equal(shown["spread"].get_ydata(), spread)
    np.testing.assert_array_equal(shown["RMSE of the analysis"].get_ydata(), 2 * spread)
    bare = plot.spread_skill(spread.drop_vars("stage"), spread.drop_vars("stage"))
    assert legend(bare) == ["spread", "RMSE"]
    with pytest.raises(ValueError, match=r'rmse\.sel\(stage="analysis"\)'):
        plot.spread_skill(result["std"].mean("x"), spread)
    with pytest.raises(ValueError, match="take both from one result"):
        plot.spread_skill(spread, spread[1:])


# Over space


def test_hovmoeller_has_space_to_the_right_and_time_upwards(result):
    truth = result["truth"].copy()
    truth[2, 1] = np.nan
    ax = drawn(plot.hovmoeller(truth))
    (image,) = ax.collections
    shown = image.get_array()
    assert shown.shape == (K, n)
    assert shown.mask.sum() == 1
    assert shown[7, 3] == truth[7, 3]
    assert not ax.yaxis_inverted()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "time (s)")
    low, high = ax.get_ylim()
    assert low < 0.05 < 0.6 < high
    assert to_rgb(image.cmap.get_bad()[:3]) == (0.75, 0.75, 0.75)
    turned = plot.hovmoeller(truth.transpose("x", "time"))
    np.testing.assert_array_equal(turned.collections[0].get_array(), shown)


def test_hovmoeller_colours(result):
    truth = result["truth"]
    (image,) = plot.hovmoeller(truth, symmetric=True).collections
    assert image.get_clim() == (-abs(truth).max(), abs(truth).max())
    (image,) = plot.hovmoeller(truth, limits=(-1, 2), cmap="magma").collections
    assert image.get_clim() == (-1, 2)
    assert image.cmap.name == "magma"
    (image,) = plot.hovmoeller(truth, symmetric=True, limits=(-2, 2)).collections
    assert image.get_clim() == (-2, 2)
    assert image.cmap.name == "RdBu_r"
    ax = plot.hovmoeller(truth.assign_attrs(units="m/s"))
    assert ax.figure.axes[-1].get_ylabel() == "truth (m/s)"
    drawn(plot.hovmoeller(0 * truth, symmetric=True))
    drawn(plot.hovmoeller(truth.where(False), symmetric=True))
    drawn(plot.hovmoeller(truth.drop_vars(["time", "x", "cycle"])))
    days = np.datetime64("2020-01-01") + np.arange(K)
    drawn(plot.hovmoeller(truth.assign_coords(time=days)))
    _, pair = plt.subplots(1, 2)
    plt.figure()  # a newer figure than that of the axes
    assert plot.hovmoeller(truth, ax=pair[1], label="z") is pair[1]


def test_field_draws_panels_on_one_scale():
    u = np.arange(12.0).reshape(3, 4)
    v = np.where(u == 5, np.nan, 2 * u)
    left, right = plot.field({"u": u, "v": v}, label="m")
    drawn(left)
    images = [ax.images[0] for ax in (left, right)]
    assert [i.get_clim() for i in images] == [(0, 22)] * 2
    assert images[1].get_array().mask.sum() == 1
    np.testing.assert_array_equal(images[0].get_array(), u)
    assert images[0].origin == "lower"  # row 0 at the bottom
    assert (left.get_title(), right.get_title()) == ("u", "v")
    assert left.figure.axes[-1].get_ylabel() == "m"
    (ax,) = plot.field(-u, symmetric=True)
    assert ax.images[0].get_clim() == (-11, 11)
    assert len(ax.figure.axes) == 1  # no bar without a label
    pair = plt.subplots(1, 2)[1]
    assert plot.field(v, axes=pair[1], limits=(0, 1))[0] is pair[1]
    drawn(plot.field(np.full((2, 2), np.nan))[0])
    with pytest.raises(ValueError, match=r"shape \(4,\), wanted \(rows, columns\)"):
        plot.field({"u": u, "line": u[0]})


def test_hovmoeller_refuses(result):
    with pytest.raises(ValueError, match=r'data\.sel\(stage="analysis"\)'):
        plot.hovmoeller(result["mean"])
    with pytest.raises(ValueError, match="it lacks x"):
        plot.hovmoeller(result["observation"])


# Scores


def test_rank_histogram_has_the_binomial_band():
    counts = np.array([30, 20, 10, 20, 20])
    ax = drawn(plot.rank_histogram(counts))
    heights = [p.get_height() for p in ax.patches[: counts.size]]
    np.testing.assert_allclose(heights, counts / 100)
    band = ax.patches[-1].get_extents().transformed(ax.transData.inverted())
    # Binomial(100, 1/5): P(X <= 12) = 0.0253, P(X <= 27) = 0.9658, P(X <= 28) = 0.980
    assert (band.y0, band.y1) == (pytest.approx(0.12), pytest.approx(0.28))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 1 / 5)
    assert ax.get_xlabel() == "rank of the truth among 4 members"
    wide = plot.rank_histogram(counts, independent=25)
    band = wide.patches[-1].get_extents().transformed(wide.transData.inverted())
    assert band.y1 - band.y0 > 0.28 - 0.12


def test_rank_histogram_takes_labelled_counts_of_one_stage():
    coordinates = {"stage": ["forecast", "analysis"]}
    counts = xr.DataArray([[3, 4, 5], [5, 4, 3]], coordinates, ("stage", "rank"))
    ax = plot.rank_histogram(counts.sel(stage="forecast"))
    assert to_rgb(ax.patches[0].get_facecolor()[:3]) == to_rgb(plot.palette["forecast"]["color"])
    with pytest.raises(ValueError, match=r'counts\.sel\(stage="analysis"\)'):
        plot.rank_histogram(counts)


@pytest.mark.parametrize("counts", [[0.2, 0.8], [-1, 2], [1], [np.nan, 1.0], [np.inf, 1.0]])
def test_rank_histogram_refuses_shares(counts):
    with pytest.raises(ValueError, match="whole numbers"):
        plot.rank_histogram(counts)


def test_rank_histogram_refuses_nothing_to_show():
    with pytest.raises(ValueError, match="sum to 0"):
        plot.rank_histogram([0, 0, 0])
    with pytest.raises(ValueError, match="independent is 0"):
        plot.rank_histogram([1, 2, 3], independent=0)


def scores(values, **coordinates):
    return xr.DataArray(values, coordinates, ("scheme", "case"))


def test_spread_skill_scatter_has_a_marker_for_each_method():
    error = scores([[0.2, 0.3, np.nan], [0.4, 0.5, 0.6]], scheme=["EnKF", "ETKF"])
    width = scores([[0.2, 0.2, 0.2], [0.1, 0.2, 0.3]], scheme=["EnKF", "ETKF"])
    ax = drawn(plot.spread_skill_scatter(error, width.T))
    assert legend(ax) == ["reliable", "EnKF, 1 not finite", "ETKF"]
    first, second = ax.lines[1:]
    np.testing.assert_array_equal(first.get_xydata(), [[0.2, 0.2], [0.2, 0.3]])
    assert first.get_marker() != second.get_marker()
    assert ax.get_xlim() == ax.get_ylim()
    assert legend(plot.spread_skill_scatter(error[1], width[1])) == ["reliable", "ETKF"]
    bare = (a[1].drop_vars("scheme") for a in (error, width))
    assert legend(plot.spread_skill_scatter(*bare)) == ["reliable"]
    drawn(plot.spread_skill_scatter(error.where(False), width))
    many = xr.concat([error] * 4, "scheme")
    assert len(plot.spread_skill_scatter(many, many).lines) == 1 + 8


def test_spread_skill_scatter_refuses():
    error = xr.DataArray(np.ones((3, K)), dims=("case", "time"))
    with pytest.raises(ValueError, match=r'rmse has dims \(case, time\).*\.mean\("time"\)'):
        plot.spread_skill_scatter(error, error)
    with pytest.raises(ValueError, match="spread has dims"):
        plot.spread_skill_scatter(error.mean("time"), error)
    with pytest.raises(ValueError, match="take both from one result"):
        plot.spread_skill_scatter(error.mean("time"), error.mean("time")[1:])


def test_attractor_in_the_plane_and_in_space(result):
    x = np.random.default_rng(1).standard_normal((2, 3, K, n))
    ax = drawn(plot.attractor(x, components=(0, 3)))
    assert len(ax.lines) == 6
    np.testing.assert_array_equal(ax.lines[5].get_xydata(), x[1, 2][:, [0, 3]])
    assert ax.lines[0].get_linestyle() == "-"
    space = drawn(plot.attractor(x[0, 0], components=(0, 1, 2)))
    assert space.name == "3d"
    np.testing.assert_array_equal(space.lines[0].get_data_3d()[2], x[0, 0, :, 2])
    labelled = plot.attractor(result["truth"].T, ax=ax, **plot.style("analysis"))
    np.testing.assert_array_equal(labelled.lines[6].get_xdata(), result["truth"][:, 0])
    assert labelled.lines[6].get_color() == "#009E73"


def test_attractor_refuses(result):
    x = np.zeros((K, 3))
    with pytest.raises(ValueError, match=r"wanted \(..., K, n\)"):
        plot.attractor(np.zeros(3))
    with pytest.raises(ValueError, match="wanted two or three of 3"):
        plot.attractor(x, components=(0,))
    with pytest.raises(ValueError, match="wanted two or three of 3"):
        plot.attractor(x, components=(0, 3))
    with pytest.raises(ValueError, match="3 components do not fit axes of kind 'rectilinear'"):
        plot.attractor(x, components=(0, 1, 2), ax=plt.figure().gca())
    with pytest.raises(ValueError, match=r'x\.sel\(stage="analysis"\)'):
        plot.attractor(result["mean"])


def test_cost_profile_and_gradient_test_are_drawn():
    import dalearn as da

    def cost(x):
        return (x**2).sum(-1) ** 2

    ax = drawn(plot.cost_profile(da.profile(cost, np.zeros(2), np.ones(2), points=21)))
    assert ax.lines[-1].get_ydata().tolist() == [0.0, 4.0]  # the two points themselves
    test = da.gradient_test(cost, np.ones(2))
    ax = drawn(plot.gradient_test(test))
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert np.array_equal(ax.lines[0].get_ydata(), test["error"].values)
    for draw in (plot.cost_profile, plot.gradient_test):
        with pytest.raises(TypeError, match=r"must be a Dataset .*, met ndarray"):
            draw(np.zeros(3))
