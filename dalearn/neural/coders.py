"""Networks as coders of flat states, of any library: what a problem or a method is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..array import Array, array_namespace, as_floats, convert, shown, through, typed
from ..models.coders import check_scale, reconstruction_error


@typed
@dataclass(frozen=True, eq=False)
class FieldCoder:
    """A network that encodes and decodes, as a Coder of states `(..., n)` of any library.

        encode(x) = E(x / unit),   decode(z) = unit D(z),   the unit of each channel.

    An Autoencoder takes fields `(..., *shape)`; a problem has flat states, in NumPy or torch, of
    its own precision and in several units. The network computes in its own precision.

    Args:
        net: an Autoencoder, a VAE, a GraphAutoencoder, or a module like one of them.
        unit: of each channel `(c,)`, the first axis of a field, or of each number `(n,)`; None: 1.

    Raises:
        TypeError: for a network without `encode`, `decode` and the sizes of an Autoencoder.
        ValueError: for a unit that is not positive, or does not fit the channels.
    """

    net: Any
    unit: Array | None = None

    def __post_init__(self):
        lacks = [a for a in ("encode", "decode", "parameters") if not hasattr(self.net, a)]
        sized = hasattr(self.net, "n") and hasattr(self.net, "r")
        if lacks or isinstance(self.net, type) or not (sized or hasattr(self.net, "latent")):
            raise TypeError(
                f"net must be a network such as Autoencoder.dense(24, 3), met {shown(self.net)}"
            )
        if self.unit is not None:
            unit = as_floats(self.unit, "unit")
            c = unit.shape[0] if unit.ndim == 1 and unit.shape[0] else 0
            if not c or self.n % c:
                raise ValueError(
                    f"unit has shape {tuple(unit.shape)}, wanted (c,): one for each of c channels "
                    f"of a state of {self.n} numbers"
                )
            check_scale(unit, c, "unit")
            object.__setattr__(self, "unit", unit)

    @property
    def _shape(self) -> tuple[int, ...]:
        """What the network's own encode takes."""
        sized = hasattr(self.net, "n") and hasattr(self.net, "r")
        return (self.net.n,) if sized else tuple(self.net.shape)

    @property
    def n(self) -> int:
        return math.prod(self._shape)

    @property
    def r(self) -> int:
        return self.net.r if hasattr(self.net, "r") else self.net.latent

    def _units(self, x: Any) -> Any:
        """The unit of each number of a flat state."""
        unit = convert(self.unit, x)
        xp = array_namespace(unit)
        return xp.reshape(xp.stack([unit] * (self.n // len(unit)), axis=-1), (self.n,))

    def encode(self, x: Array) -> Array:
        """States `(..., n)` -> codes `(..., r)`."""
        x = _checked(x, self.n, "states")

        def coded(x: Any) -> Any:
            x = x if self.unit is None else x / self._units(x)
            return self.net.encode(x.reshape(*x.shape[:-1], *self._shape))

        return through(self.net, coded, x)

    def decode(self, z: Array) -> Array:
        """Codes `(..., r)` -> states `(..., n)`."""
        z = _checked(z, self.r, "codes")

        def decoded(z: Any) -> Any:
            x = self.net.decode(z).reshape(*z.shape[:-1], self.n)
            return x if self.unit is None else x * self._units(x)

        return through(self.net, decoded, z)

    def floor(self, test: Array) -> float:
        """The error that remains without any assimilation: see `reconstruction_error`."""
        return reconstruction_error(self, test)


def _checked(x: Array, n: int, name: str) -> Array:
    x = as_floats(x, name)
    if x.shape[-1:] != (n,):
        raise ValueError(f"{name} have shape {tuple(x.shape)}, wanted (..., {n})")
    return x
