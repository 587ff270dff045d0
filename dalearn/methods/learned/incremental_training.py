"""How a NeuralIncremental is trained, and what its training refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...array import Array, as_floats, as_tensor, is_array, shown, to_numpy


def trajectories(x: Any, name: str, net: Any) -> Any:
    """Trajectories `(S, T, n)` that a network can take, as a tensor of single precision."""
    x = as_floats(x, name)
    if x.ndim != 3 or tuple(x.shape[1:]) != (net.T, net.n) or len(x) < 2:
        raise ValueError(
            f"{name} must be trajectories (S, {net.T}, {net.n}), at least 2, met {tuple(x.shape)}"
        )
    found = as_tensor(x).detach().cpu().float()
    if not bool(found.isfinite().all()):
        raise ValueError(f"{name} holds NaN or infinity; wanted finite trajectories")
    return found


def moments_of(given: Any, net: Any) -> Any:
    """Mean and covariance as tensors, or None."""
    if given is None:
        return None
    d = net.T * net.n
    if not (isinstance(given, tuple) and len(given) == 2 and all(map(is_array, given))):
        raise TypeError(f"moments must be a mean and a covariance, met {shown(given)}")
    shapes = [tuple(v.shape) for v in given]
    if shapes != [(d,), (d, d)]:
        raise ValueError(f"moments must be ({d},) and ({d}, {d}), met {shapes}")
    return tuple(as_tensor(as_floats(v, "moments")).detach() for v in given)


def spread_of(std: Any, net: Any) -> Any:
    """Standard deviations of the data's errors over `(T, n)`."""
    import torch

    std = as_floats(std, "std")
    values = as_tensor(std).detach().float()
    fits = values.ndim <= 2 and all(
        a in (1, b) for a, b in zip(values.shape[::-1], (net.n, net.T), strict=False)
    )
    if not fits or not bool(((values > 0) & values.isfinite()).all()):
        raise ValueError(
            f"std must be positive, a number or against ({net.T}, {net.n}), met {shown(std)}"
        )
    return torch.broadcast_to(values, (net.T, net.n)).clone()


def check_apart(train: Any, validation: Any) -> None:
    """Raise ValueError for a trajectory that stands in both sets."""
    both = {row.tobytes() for row in to_numpy(train)} & {
        row.tobytes() for row in to_numpy(validation)
    }
    if both:
        raise ValueError(
            f"{len(both)} trajectories stand in train and in validation; wanted sets without a "
            "common trajectory: see neural.split"
        )


def trained(
    net: Any,
    train: Array,
    validation: Array,
    *,
    draw: Callable,
    std: Any,
    levels: int,
    one: float,
    moments: Any,
    epochs: int,
    rate: float,
    batch: int,
    checkpoint: Any,
    seed: int,
    progress: bool,
) -> None:
    """Train the network in place: see `NeuralIncremental.fit`."""
    from ...array import check_between, check_count
    from ...neural.incremental import NeuralPrior
    from ...neural.reconstruct import Reconstruction, calibrate
    from ...neural.train import adam, cosine, fit

    if not isinstance(net, NeuralPrior):
        raise TypeError(f"net must be a NeuralPrior, met {shown(net)}")
    check_between("one", one, 0, 1, open_low=False)
    check_count("levels", levels)
    x, other = trajectories(train, "train", net), trajectories(validation, "validation", net)
    check_apart(x, other)
    loss = Reconstruction(draw, spread_of(std, net), one)
    net.scaled(x, moments_of(moments, net))
    fit(
        net,
        (x,),
        (other,),
        loss=loss,
        epochs=epochs,
        batch=batch,
        optimiser=adam(rate),
        schedule=cosine(epochs),
        clip=1.0,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )
    calibrate(net, loss, other, levels, seed)
