"""The annual flow of the Nile at Aswan, 1871 to 1970: its mean changes once, around 1898.

G. W. Cobb, The problem of the Nile: conditional solution to a changepoint problem, Biometrika 65,
1978; the standing example of J. Durbin and S. J. Koopman, Time Series Analysis by State Space
Methods, 2012.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


# Ten years a row, in 1e8 cubic metres.
VOLUMES = (
    (1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140),  # 1871
    (995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140),  # 1881
    (1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840),  # 1891
    (874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969),  # 1901
    (831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821),  # 1911
    (768, 845, 864, 862, 698, 845, 744, 796, 1040, 759),  # 1921
    (781, 865, 845, 944, 984, 897, 822, 1010, 771, 676),  # 1931
    (649, 846, 812, 742, 801, 1040, 860, 874, 848, 890),  # 1941
    (744, 749, 838, 1050, 918, 986, 797, 923, 975, 815),  # 1951
    (1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740),  # 1961
)


def nile() -> xr.DataArray:
    """The Nile's annual flow at Aswan, 1871 to 1970.

    For assimilation: `Problem.from_xarray(nile(), model, observation, prior, start=1870, dt=1)`.

    Returns:
        `(time,)`, 100 values in 1e8 m^3 a year; `time` is the year, an integer; `attrs` hold the
        unit and the source.
    """
    import numpy as np
    import xarray as xr

    return xr.DataArray(
        np.asarray(VOLUMES, dtype=float).ravel(),
        dims="time",
        coords={"time": ("time", np.arange(1871, 1971), {"long_name": "year"})},
        name="flow",
        attrs={
            "long_name": "annual flow of the Nile at Aswan",
            "units": "1e8 m3 / year",
            "source": "Cobb, Biometrika 65, 243-251, 1978",
        },
    )
