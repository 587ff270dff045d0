"""The random numbers of a training run: drawn from states that all of a process shares.

Dropout takes no generator: it draws from torch's own, and a user's network may draw from that of
NumPy or of Python. A run therefore keeps states of its own. For one epoch at a time it puts them
in the place of the shared ones, which come back after it as they were. Meanwhile no other run of
the process may do so: two that draw, in two threads, take turns. Networks that draw nothing, such
as those of this package, do not wait for each other.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

_turn = threading.RLock()


def _after_fork() -> None:
    """In a forked child nobody has the turn, whoever had it in the parent."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Draws:
    """The random states of one run, those of torch, NumPy and Python.

    Args:
        seed: an integer, from which they start.
        devices: GPUs whose states belong to the run.
    """

    def __init__(self, seed: int, devices: Sequence[torch.device] = ()):
        self.seed, self.devices = seed, devices
        self.state: dict[str, Any] | None = None  # plain values and tensors; None at the start

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Draw from these states in the block; the shared ones are put back after it."""
        with _turn:
            shared = self._get()
            try:
                if self.state is None:
                    self._start()
                else:
                    self._set(self.state)
                yield
            finally:
                self.state = self._get()
                self._set(shared)

    def _start(self) -> None:
        torch.default_generator.manual_seed(self.seed)  # torch.manual_seed seeds all GPUs as well
        for device in self.devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(self.seed)
        words = np.random.SeedSequence(self.seed % 2**64).generate_state(4)
        np.random.seed(words)  # noqa: NPY002  what a user's network may draw from
        random.seed(self.seed)

    def _get(self) -> dict[str, Any]:
        old: Any = np.random.get_state()  # noqa: NPY002
        kind, keys, *rest = old
        return {
            "torch": torch.get_rng_state(),
            "gpu": [torch.cuda.get_rng_state(d) for d in self.devices],
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
            "python": random.getstate(),
        }

    def _set(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["torch"])
        for device, gpu in zip(self.devices, state["gpu"], strict=False):
            torch.cuda.set_rng_state(gpu, device)
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
        random.setstate(state["python"])


def draws(module: nn.Module) -> bool:
    """Whether a module may draw random numbers: unless it is made of layers that do not."""
    return any(map(_may_draw, module.modules()))


def _may_draw(m: nn.Module) -> bool:
    kind = type(m)
    known = kind.__module__.startswith(("torch.nn.modules.", "dalearn.neural."))
    chance = ("Dropout", "RReLU", "FractionalMaxPool", "Transformer", "Codebook")
    hooked = any(vars(m).get(f"_{k}_hooks") for k in ("forward", "forward_pre", "backward"))
    named = any(word in kind.__name__ for word in chance)
    return not known or named or hooked or bool(getattr(m, "dropout", 0))
