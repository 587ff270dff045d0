"""Dates and durations as exact whole numbers, in UTC where they have a zone.

Everything is counted in attoseconds since 1970 as integers of Python: no unit of NumPy is finer,
and nothing is cut off or overflows.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

SECOND = 10**18  # attoseconds
LENGTHS = {  # of NumPy's units that have one
    "W": 604800 * SECOND,
    "D": 86400 * SECOND,
    "h": 3600 * SECOND,
    "m": 60 * SECOND,
    **{
        unit: SECOND // 1000**i for i, unit in enumerate(("s", "ms", "us", "ns", "ps", "fs", "as"))
    },
}
TEXT = re.compile(r"\d{4}(-|$)|[+-]\d{4,}-")  # a year, and what is no month directly behind it
ZONE = re.compile(r"(.*[T ].*?)\s*(Z|[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)  # behind a time of day


def instants(values: Any, name: str) -> tuple[np.ndarray, bool] | None:
    """Dates as attoseconds since 1970, and whether they have a zone.

    Args:
        values: dates of NumPy, pandas or Python, or texts of them, `()` or `(K,)`.
        name: what they are, for messages.

    Returns:
        Integers of Python in an array of their shape, in UTC where they have a zone, and whether
        they have one; None for what are no dates.

    Raises:
        TypeError: for periods and dates of other calendars.
        ValueError: for no date (NaT), for text that is none, and where only some have a zone.
    """
    zoned = getattr(getattr(values, "dtype", None), "tz", None) is not None  # a pandas index
    if zoned:
        values = getattr(values, "array", values).tz_convert("UTC").tz_localize(None)
    found = np.asarray(values)
    if found.dtype.kind == "M":
        return _ticks(found, name), zoned
    if found.dtype.kind not in "OUS" or not found.size:
        return None
    each = [_one(v, name) for v in found.ravel().tolist()]
    if None in each:
        return None
    zones = {has for _, has in each}  # pyright: ignore
    if len(zones) > 1:
        raise ValueError(f"{name} have a time zone in some places only; wanted all or none")
    out = np.empty(found.size, object)
    out[:] = [t for t, _ in each]  # pyright: ignore
    return out.reshape(found.shape), zones.pop()


def _one(v: Any, name: str) -> tuple[int, bool] | None:
    """One date; None for what is none."""
    if isinstance(v, bytes):
        v = v.decode()
    if isinstance(v, str):
        return _text(v, name)
    where = type(v).__module__.split(".")[0]
    if where == "cftime":
        raise TypeError(
            f"{name} are dates of another calendar, met {v!r}; wanted numpy dates: see "
            "xarray's convert_calendar, or pass numbers"
        )
    if hasattr(v, "to_timestamp"):
        raise TypeError(
            f"{name} are periods, met {v!r}; wanted points in time: .to_timestamp() takes the "
            "start of each"
        )
    if isinstance(v, (np.datetime64, datetime)) and v != v:  # NaT equals nothing
        raise ValueError(f"{name} hold NaT; wanted a date")
    if isinstance(v, datetime):
        offset = v.utcoffset() or timedelta(0)
        if hasattr(v, "to_datetime64"):  # of pandas: to the nanosecond, and in UTC
            return int(_ticks(np.asarray(v.to_datetime64()), name)), v.tzinfo is not None  # pyright: ignore
        return _microseconds(v.replace(tzinfo=None) - offset), v.tzinfo is not None
    if isinstance(v, date):
        return _microseconds(datetime(v.year, v.month, v.day)), False
    if isinstance(v, np.datetime64):
        return int(_ticks(np.asarray(v), name)), False
    return None


def _microseconds(v: datetime) -> int:
    return (v - datetime(1970, 1, 1)) // timedelta(microseconds=1) * LENGTHS["us"]


def _text(v: str, name: str) -> tuple[int, bool]:
    found = ZONE.match(v)
    body, zone = found.groups() if found else (v, "")
    try:
        if not TEXT.match(body.strip()):  # NumPy takes 20260131 for a year, and "now"
            raise ValueError
        ticks = int(_ticks(np.asarray(np.datetime64(body.strip())), name))
    except ValueError as error:
        raise ValueError(f"{name} must be dates such as '2026-01-31', met {v!r}") from error
    if zone in ("", "Z", "z"):
        return ticks, bool(zone)
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    return ticks - int(f"{zone[0]}1") * (hours * 60 + minutes) * LENGTHS["m"], True


def _ticks(values: np.ndarray, name: str) -> np.ndarray:
    """Attoseconds of dates or durations of NumPy."""
    if np.isnat(values).any():
        k = int(np.argmax(np.isnat(values)))
        raise ValueError(f"{name} hold NaT, the first at {k}; wanted a date at each")
    unit, count = np.datetime_data(values.dtype)
    if unit in ("Y", "M") and values.dtype.kind == "M":
        values, unit, count = values.astype("M8[D]"), "D", 1
    if unit not in LENGTHS:
        raise ValueError(
            f"{name}: a {unit if unit != 'generic' else 'unit that is not named'} has no fixed "
            f"length, met {values.dtype}; wanted weeks, days, hours or shorter, or numbers"
        )
    return values.astype(np.int64).astype(object) * (LENGTHS[unit] * count)


def as_dates(ticks: np.ndarray) -> np.ndarray:
    """Attoseconds as dates of NumPy, in seconds or the finer unit that holds them exactly.

    Args:
        ticks: integers of Python.

    Returns:
        An array of datetime64, of the same shape.

    Raises:
        ValueError: for dates that no unit down to nanoseconds holds.
    """
    for unit in ("s", "ms", "us", "ns"):
        if not (ticks % LENGTHS[unit]).any() and abs(ticks // LENGTHS[unit]).max() < 2**63:
            return (ticks // LENGTHS[unit]).astype(np.int64).astype(f"M8[{unit}]")
    raise ValueError("times are finer than a nanosecond; wanted coarser dates, or numbers")


def span(unit: Any, name: str, positive: bool = True) -> int:
    """A duration in attoseconds.

    Args:
        unit: a timedelta of NumPy, Python or pandas, or NumPy's word for one, such as "h".
        name: of the argument, for messages.
        positive: whether it must be; else it may also be none, or backwards.

    Returns:
        An integer.

    Raises:
        TypeError: for a number, and for what is no duration.
        ValueError: for a month or a year, which differ in length, and what is not positive.
    """
    given = unit.values if hasattr(unit, "dims") else unit
    if isinstance(given, str):
        word = given.strip()
        if word in ("M", "Y", "ME", "MS", "YE", "YS"):
            raise ValueError(
                f"{name} = {unit!r}: months and years are not of one length; wanted a timedelta, "
                "such as numpy.timedelta64(30, 'D'), or times that count months as numbers"
            )
        if word not in LENGTHS:
            raise ValueError(
                f"{name} must be a timedelta or one of {', '.join(LENGTHS)} (m is a minute), met "
                f"{unit!r}"
            )
        return LENGTHS[word]
    found = np.asarray(given)
    if found.dtype.kind == "O" and isinstance(given, timedelta):
        found = np.asarray(np.timedelta64(given))
    if found.dtype.kind != "m" or found.ndim:
        raise TypeError(
            f"{name} must be a timedelta, the length of a model time unit, such as "
            f"numpy.timedelta64(1, 'h'), met {unit!r}"
        )
    if hasattr(given, "to_timedelta64"):  # of pandas, to the nanosecond
        found = np.asarray(given.to_timedelta64())  # pyright: ignore
    if np.datetime_data(found.dtype)[0] in ("M", "Y"):
        return span("M", name)
    ticks = int(_ticks(found, name))  # pyright: ignore
    if positive and ticks <= 0:
        raise ValueError(f"{name} must be positive, met {unit!r}")
    return ticks
