"""Carbon dioxide in the air of Mauna Loa, week by week, 1958 to 2001: a trend, a year, and gaps.

C. D. Keeling and T. P. Whorf, Atmospheric CO2 concentrations derived from flask air samples at
sites in the SIO network, in Trends: A Compendium of Data on Global Change, Carbon Dioxide
Information Analysis Center, Oak Ridge National Laboratory, 2004. The data are in the public
domain: so says statsmodels, whose weekly means the file holds (`statsmodels.datasets.co2`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FILE = Path(__file__).with_name("mauna_loa_co2.csv")


def co2() -> pd.DataFrame:
    """The weekly mean of carbon dioxide at Mauna Loa, 29 March 1958 to 29 December 2001.

    For assimilation: `Problem.from_table(co2(), model, prior, columns={"value": "co2"},
    error=0.35, start="1958-03-22", dt=1.0, unit=numpy.timedelta64(7, "D"))`.

    Returns:
        A table of 2284 rows, one a week: `time`, a Saturday; `sensor`, 0 everywhere; `co2` in ppm,
        NaN in the 59 weeks without a mean. `attrs` hold the unit, the source and the licence.
    """
    import pandas as pd

    table = pd.read_csv(FILE, parse_dates=["date"]).rename(columns={"date": "time"})
    table.insert(1, "sensor", 0)
    table.attrs = {
        "long_name": "weekly mean of carbon dioxide in the air, Mauna Loa, Hawaii",
        "units": "ppm",
        "source": "Keeling and Whorf, CDIAC, Oak Ridge National Laboratory, 2004",
        "licence": "public domain",
    }
    return table
