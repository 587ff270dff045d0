# The names of this room; `__init__.py` loads each when it is first used.

from . import fire_maps as fire_maps
from . import generated_fires as generated_fires
from . import ld_ensf as ld_ensf
from . import ldnet_adr as ldnet_adr
from . import lorenz63 as lorenz63
from . import medla as medla
from . import medla_burgers as medla_burgers
from . import medla_camera as medla_camera
from . import score_filters as score_filters
from . import shallow_water as shallow_water
from . import wildfire as wildfire
from .case import Case as Case
from .case import Score as Score
from .lorenz63_twins import anderson2010 as anderson2010
from .lorenz63_twins import bocquet2012 as bocquet2012
from .lorenz63_twins import sakov2012 as sakov2012
from .lorenz63_twins import wiljes2017 as wiljes2017
from .lorenz96_twins import bocquet2013 as bocquet2013
from .lorenz96_twins import sakov2008 as sakov2008
from .lorenz96_twins import sakov2012_lorenz96 as sakov2012_lorenz96
from .score_filters import bao2024 as bao2024
from .score_filters import transue2025 as transue2025
from .score_filters import transue2025_flames as transue2025_flames
from .shallow_water_twin import LatentTwin as LatentTwin
from .shallow_water_twin import latent_twin as latent_twin
from .torchda import cheng2025 as cheng2025
