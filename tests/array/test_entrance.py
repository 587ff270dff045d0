"""What a user's array means is taken or refused: masks, labels, byte order, NA, units, types.

A table of the forms that numbers come in, times the places where they enter. Each gives exactly
what the plain float64 array gives, or an error that names the argument, what was met and what is
wanted.
"""

import decimal
import fractions
import tempfile
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import dalearn as da
from dalearn.array import array_namespace, as_floats, to_numpy
from dalearn.diagnostics.scores import crps_ensemble, crps_gaussian

SQUARE = np.array([[4.0, 1.0, 2.0], [1.0, 5.0, 3.0], [2.0, 3.0, 6.0]])  # also a covariance
SEE = da.Observation(da.identity, da.Diagonal(np.ones(3)))
HOUR = np.timedelta64(1, "h")
PRIOR = da.Gaussian(np.zeros(3), da.Diagonal(np.ones(3)))


def still(x):
    return x + 0.0


def problem(data, **rest):
    return da.Problem(still, SEE, PRIOR, data, **rest)


def on_torch(data):
    like = torch.zeros(1, dtype=torch.float64)
    return da.Problem(still, SEE, PRIOR, data).to(like).validated().data


def single(data):
    return da.Problem(still, SEE, PRIOR, data).to(np.zeros(1, "f4")).validated().data


def tuning(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three times say little
        return da.di01(x, np.diag([1.0, 2, 3]), np.ones(3), iterations=2).s_o


def pairs(x):
    short = torch.eye(3, dtype=torch.float64) if isinstance(x, torch.Tensor) else np.eye(3)
    return da.nmc(x, short).anomalies


ENTRANCES = {  # what it is called in messages, its axes, and what it makes of a matrix (3, 3)
    "data": ("data", ("time", "sensor"), lambda x: problem(x).validated().data),
    "data on torch": ("data", ("time", "y"), on_torch),
    "data in float32": ("data", ("time", "y"), single),
    "truth": ("truth", ("time", "x"), lambda x: problem(SQUARE, truth=x).truth),
    "point": ("point", ("case", "x"), lambda x: da.Point(x).x),
    "mean": ("mean", ("case", "x"), lambda x: da.Gaussian(x, 1.0).mean),
    "members": ("ensemble", ("member", "x"), lambda x: da.Ensemble(x).members),
    "cov": ("cov", ("x", "x_"), lambda x: da.Gaussian(np.zeros(3), x).cov.matrix()),
    "dense": ("covariance", ("x", "x_"), lambda x: da.Dense(x).values),
    "variances": ("variances", ("case", "x"), lambda x: da.Diagonal(x).variances),
    "low rank": ("members", ("member", "x"), lambda x: da.LowRank.from_members(x).anomalies),
    "operator": ("observation matrix", ("y", "x"), lambda x: da.Linear(x).matrix),
    "noise": ("observation noise", ("y", "y_"),
              lambda x: da.Observation(da.identity, x).noise.matrix()),
    "locations": ("locations", ("y", "axis"),
                  lambda x: da.Observation(da.identity, np.ones(3), locations=x).locations),
    "x0": ("x0", ("case", "x"), lambda x: da.simulate(still, x, 2, progress=False)),
    "nmc": ("long", ("time", "x"), pairs),
    "innovations": ("innovations", ("time", "y"), tuning),
}  # fmt: skip


def memmap(x):
    with tempfile.TemporaryFile() as file:  # the map outlives the file's name
        found = np.memmap(file, dtype=x.dtype, shape=x.shape)
    found[:] = x
    return found


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


class Foreign:
    """An array of another library, which NumPy can read."""

    def __init__(self, x):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        return self.x


def quantised(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.as_tensor(x).float(), 1.0, 0, torch.qint8)


class Measured(Foreign):
    unit = "km"


def one_missing(x, kind):
    x = np.asarray(x, object)
    x[1, 2] = kind
    return x


SAME = {  # forms that hold the same numbers
    "list": lambda x: x.tolist(),
    "big endian": lambda x: x.astype(">f8"),
    "big endian, single": lambda x: x.astype(">f4"),
    "big-endian integers": lambda x: x.astype(">i2"),
    "integers": lambda x: x.astype(np.int64),
    "unsigned": lambda x: x.astype(np.uint8),
    "half": lambda x: x.astype(np.float16),
    "long double": lambda x: x.astype(np.longdouble),
    "objects": lambda x: x.astype(object),
    "decimals": lambda x: np.vectorize(lambda v: decimal.Decimal(int(v)), otypes=[object])(x),
    "fractions": lambda x: np.vectorize(lambda v: fractions.Fraction(int(v)), otypes=[object])(x),
    "Fortran order": np.asfortranarray,
    "strides": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "read only": read_only,
    "memory map": memmap,
    "mask without a masked value": lambda x: np.ma.masked_array(x, np.zeros((3, 3), bool)),
    "__array__": Foreign,
    "DataFrame": pd.DataFrame,
    "nullable": lambda x: pd.DataFrame(x).astype("Float64"),
    "nullable integers": lambda x: pd.DataFrame(x).astype("Int64"),
    "tensor in a list": lambda x: list(torch.as_tensor(x)),
    "tensor": torch.as_tensor,
    "tensor that wants a gradient": lambda x: torch.as_tensor(x).requires_grad_(),
    "negative bit": lambda x: torch.as_tensor(-1j * x).conj().imag,
    "table in order": lambda x: pd.DataFrame(x, index=range(3), columns=[0, 1, 2]),
}  # fmt: skip
REFUSED = {  # forms that hold something else
    "complex": lambda x: x + 0j,
    "complex objects": lambda x: (x + 0j).astype(object),
    "text": lambda x: x.astype(str),
    "text among numbers": lambda x: one_missing(x, "3"),
    "dates": lambda x: x.astype("datetime64[D]"),
    "durations": lambda x: x.astype("timedelta64[s]"),
    "ragged": lambda x: [[1.0], [1.0, 2.0]],
    "sparse tensor": lambda x: torch.as_tensor(x).to_sparse(),
    "tensor without numbers": lambda x: torch.as_tensor(x, device="meta"),
    "quantised tensor": quantised,
    "columns in another order": lambda x: pd.DataFrame(x)[[2, 0, 1]],
    "unit": Measured,
    "table with text": lambda x: pd.DataFrame(x).assign(name="a"),
    "data set": lambda x: xr.Dataset({"a": (("time", "x"), x)}),
    "dictionary": lambda x: {"a": x},
    "generator": lambda x: (row for row in x),
}
MISSING = {  # forms of a gap: NaN in data, an error elsewhere
    "masked": lambda x: np.ma.masked_array(np.where(GAP, 9.96921e36, x), GAP),
    "masked integers": lambda x: np.ma.masked_array(np.where(GAP, -32768, x).astype("i2"), GAP),
    "masked rows in a list": lambda x: list(np.ma.masked_array(np.where(GAP, 7.0, x), GAP)),
    "None": lambda x: one_missing(x, None),
    "NA": lambda x: one_missing(x, pd.NA),
    "NA in a table": lambda x: pd.DataFrame(one_missing(x, pd.NA)).astype("Float64"),
    "NaN": lambda x: np.where(GAP, np.nan, x),
}
GAP = np.arange(9).reshape(3, 3) == 5
HAS_GAPS = ("data", "data on torch", "data in float32", "truth", "innovations")


@pytest.mark.parametrize("form", SAME)
def test_the_same_numbers_in_another_form(form):
    for place, (_, _, enter) in ENTRANCES.items():
        wanted = to_numpy(enter(SQUARE))
        if form == "half" and place in ("cov", "dense", "noise", "innovations"):
            with pytest.raises(TypeError, match="dtype float16, wanted float32 or float64"):
                enter(SAME[form](SQUARE))  # no library factors matrices of half precision
            continue
        found = to_numpy(enter(SAME[form](SQUARE)))
        eps = 40 * np.finfo(found.dtype).eps  # of sums, for memory in another order
        np.testing.assert_allclose(found, wanted, rtol=eps, atol=eps, err_msg=place)
        assert found.dtype.isnative, place


@pytest.mark.parametrize("form", REFUSED)
def test_other_things_are_refused_by_name(form):
    for place, (name, _, enter) in ENTRANCES.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            enter(REFUSED[form](SQUARE))
        assert name in str(caught.value), (place, str(caught.value))
        assert (
            "real numbers" in str(caught.value)
            or "wanted" in str(caught.value)
            or ("one array" in str(caught.value))
        )


@pytest.mark.parametrize("form", MISSING)
def test_a_missing_number_is_nan_in_data_and_an_error_elsewhere(form):
    for place, (name, _, enter) in ENTRANCES.items():
        if place in HAS_GAPS:
            found = to_numpy(enter(MISSING[form](SQUARE)))
            wanted = to_numpy(enter(np.where(GAP, np.nan, SQUARE)))
            np.testing.assert_array_equal(found, wanted, err_msg=place)
        elif form != "NaN":  # what NaN means there is the business of each place
            with pytest.raises(ValueError, match=r"masked|missing|NaN|infin|finite") as caught:
                enter(MISSING[form](SQUARE))
            assert name in str(caught.value), (place, str(caught.value))


def test_floats_that_numpy_has_not_become_those_of_the_problem():
    for dtype in (torch.bfloat16, torch.float8_e5m2):
        assert np.array_equal(problem(torch.as_tensor(SQUARE).to(dtype)).validated().data, SQUARE)


def test_labels_are_honoured_wherever_they_stand():
    for place, (_, dims, enter) in ENTRANCES.items():
        wanted = to_numpy(enter(SQUARE))
        right = xr.DataArray(SQUARE, dims=dims)
        for x in (right, right.T, right.variable.T, right.chunk().T):
            found = to_numpy(enter(x))
            np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-14, err_msg=place)


@pytest.mark.parametrize("word", ["time", "stage", "member", "scheme"])
def test_an_axis_that_has_no_place_there_is_refused(word):
    for place, (name, dims, enter) in ENTRANCES.items():
        if place in ("x0", "nmc") or dims[0] == word:
            continue  # their leading axes may be anything
        x = xr.DataArray(np.stack([SQUARE] * 2), dims=(word, *dims))
        for labelled in (x, x.isel({dims[0]: 0}), x.transpose(*reversed(x.dims))):
            with pytest.raises(ValueError, match="axes") as caught:
                enter(labelled)
            assert name in str(caught.value)


def test_dates_say_which_axis_is_time():
    """A name that means nothing here, and dates along it."""
    dates = pd.date_range("2026-01-01", periods=3)
    log = xr.DataArray(SQUARE, dims=("when", "gauge"), coords={"when": dates})
    assert np.array_equal(problem(log.T).data, SQUARE)
    table = pd.DataFrame(SQUARE, index=dates.tz_localize("Asia/Tokyo"))
    assert np.array_equal(problem(table.T).data, SQUARE)


def test_a_result_given_back_is_read_by_name_or_refused():
    p = da.twin(still, SEE, PRIOR, 3, batch=2)
    r = da.assimilate(p, da.ETKF(4), keep=("members",), progress=False)
    for x in (r["observation"], r["observation"].transpose("y", "time", "case"), r["truth"]):
        assert np.array_equal(problem(x).data, x.transpose("case", "time", ...).values)
    last = r.isel(time=-1).sel(stage="analysis")
    E = da.Ensemble(last["members"].transpose("x", "case", "member"))
    assert np.array_equal(E.members, last["members"].transpose("case", "member", "x").values)
    assert np.array_equal(da.Point(last["mean"].T).x, last["mean"].values)
    for wrong in (r["mean"], last["members"], r["mean"].sel(stage="analysis")):
        with pytest.raises(ValueError, match=r"labelled axes .*wanted \(\.\.\., x\)"):
            da.Gaussian(wrong, 1.0)
    with pytest.raises(ValueError, match="labelled axes"):
        problem(r["mean"])


@pytest.mark.parametrize("of_file", [{"scale_factor": 0.1}, {"add_offset": 9}, {"_FillValue": 6}])
def test_numbers_as_a_file_has_them_are_refused(of_file):
    """Packed numbers, and one that stands for a gap; without such a number all is well."""
    for place, (name, dims, enter) in ENTRANCES.items():
        with pytest.raises(ValueError, match="wanted it decoded") as caught:
            enter(xr.DataArray(SQUARE, dims=dims, attrs=of_file))
        assert name in str(caught.value), place
    log = xr.DataArray(SQUARE, dims=("time", "y"), coords={"time": [1.0, 2, 3]}, attrs=of_file)
    with pytest.raises(ValueError, match="decoded"):
        da.Problem.from_xarray(log, still, SEE, PRIOR, dt=1.0)
    none = xr.DataArray(SQUARE, dims=("time", "y"), attrs={"missing_value": -9})
    assert np.array_equal(problem(none).data, SQUARE)


def test_places_in_another_order_are_refused_by_their_labels():
    """Labels 0, 1, 2 of the package and of pandas are places; other labels are names."""
    for place, (name, dims, enter) in ENTRANCES.items():
        last = {dims[-1]: [2, 0, 1]}
        with pytest.raises(ValueError, match=r"in the order \[2, 0, 1\]") as caught:
            enter(xr.DataArray(SQUARE, dims=dims, coords=last))
        assert name in str(caught.value), place
        enter(xr.DataArray(SQUARE, dims=dims, coords={dims[-1]: [20, 0, 10]}))
    r = da.assimilate(da.twin(still, SEE, PRIOR, 3), da.ETKF(4), progress=False)
    with pytest.raises(ValueError, match=r"the data has labels along axis 'y'.*sortby"):
        problem(r["observation"].isel(y=[1, 0, 2]))
    log = r["observation"].isel(y=[1, 0, 2])
    with pytest.raises(ValueError, match=r"data has labels along axis 'y'"):
        da.Problem.from_xarray(log, still, SEE, PRIOR, dt=1.0)
    with pytest.raises(ValueError, match=r"variances has labels.*sort_index"):
        da.Diagonal(pd.Series([3.0, 1, 2]).sort_values())
    E = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 3))).sample(frac=1, random_state=0)
    da.POD.fit(E, 2)  # examples in any order


def test_a_truth_of_other_times_than_the_data_is_refused():
    r = da.assimilate(da.twin(still, SEE, PRIOR, 3), da.ETKF(4), progress=False)
    y, x = r["observation"], r["truth"]
    assert np.array_equal(problem(y, truth=x).truth, x)
    dates = pd.date_range("2026-01-01", periods=3)
    on = dict(time=dates)
    assert np.array_equal(problem(y.assign_coords(on), truth=x.assign_coords(on)).truth, x)
    for other in (x.assign_coords(time=x.time + 1), x.isel(time=[2, 1, 0]), x.assign_coords(on)):
        with pytest.raises(ValueError, match="the truth is of other times than the data, met"):
            problem(y, truth=other)
    with pytest.raises(ValueError, match="the truth is of other times"):
        problem(y.values, times=dates + HOUR, truth=x.assign_coords(on))


def test_what_is_masked_counts_nowhere():
    """Steps, indices, times, and a state that another library differentiates."""
    hidden = np.ma.masked_array([1, 2, 1], [0, 1, 0])
    for make in (
        lambda: problem(SQUARE, steps=hidden),
        lambda: da.Subset(hidden),
        lambda: problem(SQUARE, times=np.ma.masked_array([1, 2, 3], [0, 1, 0])),
        lambda: problem(SQUARE, times=np.ma.masked_array(np.arange(3).astype("M8[D]"), [0, 1, 0])),
        lambda: da.linearize(still, np.ma.masked_array(np.ones(3), [0, 1, 0])),
    ):
        with pytest.raises((ValueError, TypeError), match="mask"):
            make()


def test_masked_values_are_no_numbers_in_diagnostics():
    y = np.array([1.0, 2, 9999, 3, 4, 5, 2, 3])
    gone = np.arange(8) == 2
    series = np.ma.masked_array(y, gone)
    for batches in (None, 3):
        found, wanted = (da.interval(s, batches=batches) for s in (series, y[~gone]))
        xr.testing.assert_identical(found, wanted)
    pair = da.interval(np.ma.masked_array([y, y], [gone, 0 * gone]))
    assert pair["mean"].values.tolist() == [20 / 7, y.mean()]
    with pytest.raises(ValueError, match=r"series.*masked value at entry 2"):
        da.autocorrelation_time(series)
    assert np.isnan(crps_gaussian(series, 1.0, 0.0)).tolist() == gone.tolist()
    members = np.ma.masked_array(np.stack([y, y + 1], -1), np.stack([gone, gone], -1))
    assert np.isnan(crps_ensemble(members, 0 * y)).tolist() == gone.tolist()


def test_operations_that_mean_something_else_do_not_enter_pure_functions():
    """A matrix of NumPy multiplies where an array scales; a masked array works below its mask."""
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.asmatrix(np.eye(3))
    for x in (matrix, np.ma.masked_array(np.eye(3))):
        with pytest.raises(TypeError, match=r"wanted a NumPy array.*met"):
            array_namespace(x)
    with pytest.raises(ValueError, match="masked array; wanted numbers"):
        to_numpy(np.ma.masked_array([1.0, 9, 1], [0, 1, 0]))
    with pytest.raises(ValueError, match="radius must be positive, met MaskedArray"):
        da.Localization.ring(3, np.ma.masked_array([1.0, 9, 1], [0, 1, 0]))


def test_no_copy_where_none_is_needed():
    for x in (np.ones(3), np.ones(3, "f4"), np.ones((2, 3)).T, torch.ones(3)):
        assert as_floats(x, "x") is x
