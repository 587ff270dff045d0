"""Results of field problems over the axes of the field."""

import numpy as np
import pytest
import xarray as xr

import dalearn as da
from dalearn.diagnostics import fields


def made(shape, n):
    rng = np.random.default_rng(0)
    data = {
        "mean": (("case", "time", "stage", "x"), rng.normal(size=(2, 4, 2, n))),
        "truth": (("case", "time", "x"), rng.normal(size=(2, 4, n))),
        "members": (("case", "time", "stage", "member", "x"), rng.normal(size=(2, 4, 2, 3, n))),
        "predicted": (("case", "time", "stage", "y"), rng.normal(size=(2, 4, 2, 5))),
        "diverged": ("case", [False, True]),
    }
    coords = {"stage": ["forecast", "analysis"], "x": np.arange(n), "y": np.arange(5)}
    return xr.Dataset(data, coords, {"shape": shape})


@pytest.mark.parametrize(
    ("shape", "dims"), [((3, 6, 8), ("field", "y", "x")), ((6, 8), ("y", "x")), ((9,), ("x",))]
)
def test_a_state_gets_the_axes_of_its_field(shape, dims):
    n = int(np.prod(shape))
    result = made(shape, n)
    got = fields(result)
    assert got["mean"].dims == ("case", "time", "stage", *dims)
    assert got["members"].dims == ("case", "time", "stage", "member", *dims)
    flat = got["truth"].values.reshape(2, 4, n)
    assert np.array_equal(flat, result["truth"])
    assert "predicted" not in got  # its y are observations
    assert got["diverged"].equals(result["diverged"])
    assert got["stage"].equals(result["stage"])


def test_axes_may_have_other_names():
    result = made((6, 8), 48)
    assert fields(result, ("north", "east"))["mean"].dims[-2:] == ("north", "east")
    with pytest.raises(ValueError, match="wanted one each"):
        fields(result, ("north",))


def test_a_state_with_parameters_is_refused():
    result = made((6, 8), 48)
    with pytest.raises(ValueError, match="state_and_parameters"):
        fields(result.isel(x=slice(40)))


def test_a_run_on_a_field_problem_and_its_picture():
    model = da.Burgers2D(16)
    prior = da.Gaussian(np.ones(512), da.Diagonal(0.01 * np.ones(512)))
    sensors = da.Observation(da.Every(7), 0.1 * np.ones(96))
    problem = da.twin(model, sensors, prior, cycles=2, shape=(2, 16, 16))
    result = da.assimilate(problem, da.ETKF(5), progress=False)
    got = fields(result)
    last = got["mean"].sel(stage="analysis").isel(time=-1, field=0)
    assert last.dims == ("y", "x")
    flat = result["mean"].sel(stage="analysis").isel(time=-1).values
    assert np.array_equal(last, flat.reshape(2, 16, 16)[0])
    (ax,) = da.plot.field(last)
    assert np.array_equal(ax.images[0].get_array(), last)
