"""How long a test is: short in `make test`, full in `make proofs` (DALEARN_PROOFS=1).

A claim about many seeds or a long run is made twice: at a length that its tolerance can bear each
time the suite runs, and at full length when somebody asks for proof.
"""

import os
from typing import TypeVar

T = TypeVar("T")
PROOFS = os.environ.get("DALEARN_PROOFS") == "1"


def full(usual: T, proof: T) -> T:
    """The usual length, or under `make proofs` the full one."""
    return proof if PROOFS else usual
