"""A memory that runs on: sequence-to-sequence forecasts, and the loss that trains them.

    (h_4, m_4) = LSTM(x_1, ..., x_4),   x_{k+1} = x_k + W h_k + b,
    (h_{k+1}, m_{k+1}) = LSTM(x_{k+1}; m_k)

A network trained to forecast one step is fed states that are true; alone it meets its own. The
loss of a roll-out compares the next several forecasts, each made from the network's own, with
what came. The memory is carried along, so that a step reads one state and not a window.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..array import check_count, typed
from .nets import LSTM, Normalised, check_input


@typed
def rollout(net: Any, window: Tensor, steps: int) -> Tensor:
    """The states that an LSTM makes follow a window, its memory carried along.

    The first is that of `net(window)`.

    Args:
        net: an LSTM, or a Normalised one with the same scaling before and after.
        window: `(b, L, n)`.
        steps: how many.

    Returns:
        `(b, steps, n)`.

    Raises:
        TypeError: for another network.
        ValueError: for a window of another n.
    """
    check_count("steps", steps)
    inner = net.module if isinstance(net, Normalised) else net
    if not isinstance(inner, LSTM):
        raise TypeError(f"rollout wants an LSTM or Normalised(LSTM), met {type(inner).__name__}")
    if window.ndim != 3:
        raise ValueError(f"rollout wants windows (b, L, {inner.n}), met {tuple(window.shape)}")
    check_input("rollout", window, (inner.n,))
    x = (window - net.before_mean) / net.before_std if inner is not net else window
    h, memory = inner.memory(x)
    x, found = x[:, -1], []
    for k in range(steps):
        new = inner.out(h[:, -1])
        x = x + new if inner.residual else new
        found.append(x)
        if k + 1 < steps:
            h, memory = inner.memory(x[:, None], memory)
    out = torch.stack(found, dim=1)
    return out * net.after_std + net.after_mean if inner is not net else out


@typed
def rollout_error(net: Any, window: Tensor, future: Tensor) -> Tensor:
    """The mean square error of a roll-out: the loss for `fit(loss=rollout_error)`.

        net = Normalised(seeded(0, LSTM, n, 64), Normalisation.fit(codes, per=()))
        fit(net, windows(codes, 4, ahead=8), windows(valid, 4, ahead=8), loss=rollout_error)

    Args:
        net: as for `rollout`.
        window: `(b, L, n)`.
        future: the states that came, `(b, steps, n)`.

    Returns:
        A tensor `()`.
    """
    gap = rollout(net, window, future.shape[1]) - future
    if isinstance(net, Normalised):
        gap = gap / net.after_std
    return (gap * gap).mean()
