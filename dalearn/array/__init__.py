"""Arrays of NumPy and torch: libraries, random numbers, linear algebra, checks, derivatives."""

from .batch import batch_index, broadcasts, lift
from .checks import check_between, check_count, check_factor
from .constants import constant, eye, kept, lasting, row_mean
from .library import (
    Array,
    array_namespace,
    as_floats,
    as_tensor,
    convert,
    convert_tree,
    device,
    fft,
    is_array,
    is_float,
    is_module,
    is_tensor,
    library,
    no_grad,
    to_numpy,
)
from .linalg import definite, inverse_root, sane, solve, where_ok
from .protocols import Jacobian, Model, Operator, Random
from .random import Streams, TorchStreams, normal, streams, uniform

__all__ = [
    "Array",
    "Jacobian",
    "Model",
    "Operator",
    "Random",
    "Streams",
    "TorchStreams",
    "array_namespace",
    "as_floats",
    "as_tensor",
    "batch_index",
    "broadcasts",
    "check_between",
    "check_count",
    "check_factor",
    "constant",
    "convert",
    "convert_tree",
    "definite",
    "device",
    "eye",
    "fft",
    "inverse_root",
    "is_array",
    "is_float",
    "is_module",
    "is_tensor",
    "kept",
    "lasting",
    "library",
    "lift",
    "no_grad",
    "normal",
    "row_mean",
    "sane",
    "solve",
    "streams",
    "to_numpy",
    "uniform",
    "where_ok",
]
