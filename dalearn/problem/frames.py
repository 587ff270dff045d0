"""Columns of tables: of pandas, polars or xarray, in memory or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np

from ..array import as_floats, shown, to_numpy

READERS = {".parquet": "read_parquet", ".csv": "read_csv"}
NETCDF = ".nc", ".nc4", ".netcdf"


class Columns:
    """The columns of a table by the part they play.

    Args:
        frame: a frame of pandas or polars, a mapping of columns, a Dataset of xarray (its
            variables are broadcast against each other, one row for each entry), or the path of a
            file: .parquet, .csv or .nc.
        names: what the columns are called, by part.

    Raises:
        ImportError: naming the package that is missing to read a file.
        TypeError: for what is no table.
    """

    def __init__(self, frame: Any, names: Mapping[str, Any]):
        if isinstance(frame, (str, PathLike)):
            frame = _opened(fspath(frame))
        frame = frame.collect() if hasattr(frame, "collect") else frame  # lazy, of polars
        if hasattr(frame, "to_dataframe"):
            named = {"name": frame.name or "value"} if not hasattr(frame, "data_vars") else {}
            frame = frame.to_dataframe(**named)
        if hasattr(frame, "reset_index") and any(n is not None for n in frame.index.names):
            frame = frame.reset_index()
        if hasattr(frame, "iloc"):
            frame = frame.set_axis(range(len(frame)))  # the numbers of the rows
        columns = frame if isinstance(frame, Mapping) else getattr(frame, "columns", None)
        if columns is None:
            raise TypeError(
                "the table must be a frame of pandas or polars, a Dataset, or the path of a file, "
                f"met {shown(frame)}"
            )
        self.frame, self.names = frame, dict(names)
        self.met = list(columns)

    def __len__(self) -> int:
        return len(self.frame[self.met[0]]) if self.met else 0

    def __contains__(self, part: str) -> bool:
        return self.names.get(part, part) in self.met

    def column(self, part: str, name: Any = None) -> Any:
        """A column as its table has it; ValueError, naming those met, where there is none."""
        name = self.names.get(part, part) if name is None else name
        if name not in self.met:
            raise ValueError(
                f"the table has no column {name!r} for the {part}, met {self.met[:12]}; wanted "
                f"columns={{{part!r}: its name}}"
            )
        return self.frame[name]

    def numbers(self, part: str, name: Any = None) -> np.ndarray:
        """A column of numbers in float64, NaN where they are missing."""
        found = self.column(part, name)
        found = found.to_numpy() if hasattr(found, "to_numpy") else found
        floats = as_floats(np.asarray(found), f"the column of the {part}", gaps=True)
        return np.asarray(to_numpy(floats), dtype=float)

    def arrays(self) -> dict[str, Any]:
        """All columns as they came, arrays by name."""
        found = {str(name): self.frame[name] for name in self.met}
        return {k: c if hasattr(c, "iloc") else np.asarray(c) for k, c in found.items()}

    def words(self, part: str) -> list[Any]:
        """A column of names, or integers."""
        found = self.column(part)
        return np.asarray(found.to_numpy() if hasattr(found, "to_numpy") else found).tolist()

    def times(self) -> Any:
        """The column of times, with its zone if it has one."""
        found = self.column("time")
        zone = getattr(getattr(found, "dtype", None), "time_zone", None)
        if hasattr(found, "to_numpy") and not hasattr(found, "iloc"):  # of polars, in UTC
            found = found.to_numpy()
            if zone:
                import pandas as pd

                found = pd.DatetimeIndex(found).tz_localize("UTC")
        return found


def _opened(path: str) -> Any:
    """The table in a file."""
    import pandas as pd

    suffix = "." + path.rsplit(".", 1)[-1].lower()
    if suffix not in (*READERS, *NETCDF):
        raise ValueError(f"the table must end in .parquet, .csv or .nc, met {path!r}")
    try:
        if suffix in READERS:
            return getattr(pd, READERS[suffix])(path)
        import xarray as xr

        with xr.open_dataset(path) as found:
            return found.load()
    except ImportError as error:
        wanted = "pyarrow" if suffix == ".parquet" else "netCDF4"
        raise ImportError(f"{path} needs the package {wanted}: pip install {wanted}") from error
    except ValueError as error:
        if suffix in READERS or "engine" not in str(error):
            raise
        raise ImportError(f"{path} needs the package netCDF4: pip install netCDF4") from error
