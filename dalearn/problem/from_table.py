"""`Problem.from_table`: what users have, a table of measurements, as a problem."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..array import Model, check_between
from .belief import Belief
from .clock import on_the_clock
from .frames import Columns
from .network import Places, Sensors

if TYPE_CHECKING:
    from .table import Tabled


class FromTable:
    """What a Problem can be made from beside its parts."""

    @classmethod
    def from_table(
        cls,
        frame: Any,
        model: Model,
        prior: Belief,
        *,
        sensors: Any = None,
        axes: Any = None,
        period: Any = 0.0,
        kinds: Any = None,
        columns: Any = None,
        error: float | None = None,
        start: Any = None,
        dt: float | None = None,
        unit: Any = None,
        window: Any = None,
        superob: Any = None,
        correlation: float = 0.0,
        limits: Any = None,
        withhold: Any = None,
        **settings: Any,
    ) -> Tabled:
        """A problem from a table of measurements: one a row, in any order.

            Problem.from_table(frame, model, prior, axes=(lat, lon), period=(0, 360),
                               columns={"place": ("lat", "lon"), "value": "sst"}, ...)

        Rows of one time make one observation. Named sensors see a component of the state or what
        an operator of yours says; places on a grid are interpolated to. A row without a value
        (NaN, null) is a gap. A row that stands twice counts once. `problem.table` says where each
        row went, `problem.withheld` holds those kept out.

        Args:
            frame: of pandas or polars; a mapping of columns; a Dataset of xarray; or the path of a
                file .parquet (needs pyarrow), .csv or .nc (netCDF4).
            model: one time step.
            prior: a belief about the state at `start`.
            sensors: what each sensor sees, by its name, or by (name, kind): a component of the
                state, or an operator that gives one number. None: the column holds components.
            axes: for places on a grid in place of sensors: its coordinates along each axis.
            period: of the grid, see `Interpolate`.
            kinds: the names of the fields `(C, *grid)` that the state holds, in their order.
            columns: what the columns are called, by part: time, sensor, place (one for each axis,
                default x, or y and x), kind, value, error. Each has its own name by default.
            error: the standard deviation of all values, in place of a column.
            start: the time of the prior, needed for dates, else 0; with a time zone just where
                the dates have one.
            dt: the model's step in its own units; by default `model.dt`.
            unit: for dates, the length of one model time unit: `numpy.timedelta64(5, "D")`, "h".
            window: a length of time: rows count as made at the nearest multiple of it since the
                start. None: each row stands at a whole model step.
            superob: rows near each other become one datum, their mean weighted by 1 / error^2:
                True, those of one sensor, kind and time; for places the size of a cell.
            correlation: of the errors of two such rows, 0 to 1: 0 shrinks the error of n rows by
                sqrt(n), 1 not at all.
            limits: (low, high), or such pairs by sensor or kind: values beyond are left out.
            withhold: names of sensors, or a boolean for each row: kept out for verification.
            **settings: further ones of Problem (noise, shape, truth, inputs).

        Returns:
            The problem, the same to the bit whatever the order of the rows.

        Raises:
            ImportError: naming the package that is missing to read a file.
            TypeError: for what is no table.
            ValueError: naming the first row that does not fit.
        """
        from .rows import rows_of
        from .table import Table, Tabled, gathered

        if axes is not None and sensors is not None:
            raise ValueError("met axes= and sensors=; wanted places on a grid, or named sensors")
        check_between("correlation", correlation, 0, 1, open_low=False)
        shape = tuple(settings.get("shape", ()))
        see = Sensors(sensors, shape) if axes is None else Places(axes, period, kinds)
        clock = partial(on_the_clock, model=model, start=start, dt=dt, unit=unit, window=window)
        found = Columns(frame, columns or {})
        rows, times, steps = rows_of(found, see, clock, error, limits, withhold)
        data, observation, j, held = gathered(rows, see, len(times), superob, correlation)
        table = Table(found.arrays(), rows, j, held)
        made = model, observation, prior, data, steps
        return Tabled(*made, times=times, origin=table, **settings)
