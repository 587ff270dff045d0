"""Trained weights in files that hold numbers only, each with a card that says where it is from.

The format is safetensors: a header of names, shapes and types, then the bytes. Reading one never
runs code, which reading a pickle does. The card stands in the header: the command, data and seed
that made the weights, what was measured on them, on what, with which versions, a hash of the
numbers, and the seal, a hash of the card itself.
"""

from __future__ import annotations

import json
import os
import platform
import struct
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..array import shown, to_numpy, typed
from ..files.fingerprint import digest
from ..files.lock import one_writer
from ..files.sealed import text_seal
from ..files.whole import whole


@typed
@dataclass(frozen=True)
class Card:
    """Where weights come from.

    `save_weights` fills in the last four.

    Args:
        command: makes them again.
        data: what they were trained on.
        seed: of the training.
        metric: what was measured, and on which data.
        hardware: its class.
        notes: anything else.
        network: the network's own text.
        versions: of Python and torch.
        sha256: a hash of the weights.
        seal: a hash of the card, with all that stands above.
    """

    command: str
    data: str
    seed: int
    metric: dict[str, Any]
    hardware: str = field(default_factory=lambda: f"CPU, {platform.machine()}")
    notes: str = ""
    network: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    seal: str = ""


@typed
def save_weights(module: nn.Module, path: str | os.PathLike, card: Card) -> Card:
    """Write the module's parameters and buffers with their card.

    The file appears whole or not at all.

    Args:
        module: a torch module.
        path: a file; its folder is made.
        card: where the weights come from.

    Returns:
        Card: the card, completed.

    Raises:
        ValueError: weights that are not finite or hold no numbers, no file's name, or a file that
            somebody else is writing.
        TypeError: a card that holds other things than text and numbers.
    """
    from safetensors.torch import save

    state = module.state_dict()
    if hollow := [k for k, v in state.items() if v.is_meta]:
        raise ValueError(
            f"the weights {hollow[:3]} are on the device meta; wanted numbers to save"
        )
    dense = {"memory_format": torch.contiguous_format}  # copies: weights may share their memory
    tensors = {k: v.detach().cpu().clone(**dense) for k, v in state.items()}
    bad = [k for k, v in tensors.items() if not bool(torch.isfinite(v).all())]
    if bad:
        raise ValueError(f"the weights {bad[:3]} hold NaN or infinity; they were not saved")
    given = asdict(card) | {
        "network": repr(module),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sha256": _hash(tensors),
    }
    given = json.loads(json.dumps(given, default=_plain))  # as it will be read
    given["seal"] = _seal(given)
    path = Path(path)
    if not path.name:
        raise ValueError(f"path must name a file, met {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with one_writer(path), whole(path) as part:
        part.write_bytes(save(tensors, {"card": json.dumps(given)}))
    return Card(**given)


@typed
def load_weights(module: nn.Module, path: str | os.PathLike) -> Card:
    """Put the weights of a file into the module, of the same names, shapes and dtypes.

    The module is left in evaluation mode; after an error it is unchanged.

    Args:
        module: a torch module.
        path: a file that `save_weights` wrote.

    Returns:
        Card: that of the file.

    Raises:
        ValueError: a file that is damaged, has no card, or belongs to another network; the message
            names what differs.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = read_card(path)
    try:
        tensors = load(Path(path).read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error
    if _hash(tensors) != card.sha256:
        raise _damaged(path, "the numbers do not have the hash that the card names")
    own = module.state_dict()
    problems = []
    if missing := sorted(set(own) - set(tensors)):
        problems.append(f"it lacks {missing[:3]}")
    if extra := sorted(set(tensors) - set(own)):
        problems.append(f"it holds {extra[:3]}, unknown to the module")
    for name in sorted(set(own) & set(tensors)):
        met, wanted = tensors[name], own[name]
        if met.shape != wanted.shape:
            problems.append(f"{name} is {tuple(met.shape)}, wanted {tuple(wanted.shape)}")
        elif met.dtype != wanted.dtype:
            problems.append(
                f"{name} is {met.dtype}, wanted {wanted.dtype} (load first, then module.to)"
            )
    if problems:
        raise ValueError(
            f"{path} belongs to another network: {'; '.join(problems[:3])}. It was saved from\n"
            f"{card.network}"
        )
    module.load_state_dict(tensors)
    module.eval()
    return card


@typed
def read_card(path: str | os.PathLike) -> Card:
    """The card of a file of weights.

    Args:
        path: the file.

    Returns:
        Card: where the weights come from.

    Raises:
        ValueError: the file has none.
    """
    try:
        with open(path, "rb") as f:
            (size,) = struct.unpack("<Q", f.read(8))
            if size > 2**24:
                raise ValueError("its header is longer than 16 MB")
            header = json.loads(f.read(size))
        card = json.loads(header["__metadata__"]["card"])
        if set(card) == {f.name for f in fields(Card)} - {"seal"}:
            raise ValueError(
                "an earlier version of dalearn wrote it, which did not seal the card; if you "
                "trust it: module.load_state_dict(safetensors.torch.load_file(path)), and "
                "save_weights again"
            )
        if card["seal"] != _seal(card):
            raise ValueError("the card is not as it was sealed")
        return Card(**card)
    except OSError:
        raise
    except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error


@typed
def shipped(name: str) -> Path:
    """The path of weights that come with the package, such as `shipped("lorenz63-lstm")`.

    Args:
        name: of the file, without its ending.

    Returns:
        Path: for `load_weights`.

    Raises:
        ValueError: another name; the message lists those there are.
    """
    folder = Path(str(resources.files("dalearn.data"))) / "weights"
    there = sorted(p.stem for p in folder.glob("*.safetensors"))
    if name not in there:
        raise ValueError(f"name must be one of the shipped {there}, met {name!r}")
    return folder / f"{name}.safetensors"


def _plain(value: Any) -> Any:
    """What stands in a card, as plain numbers."""
    if hasattr(value, "__array__"):  # of any library
        return to_numpy(value).tolist()
    raise TypeError(f"the card must hold text and numbers, met {shown(value)}")


def _damaged(path: Any, error: Any) -> ValueError:
    return ValueError(
        f"{path} is not a file of weights that save_weights wrote, or it is damaged ({error}); "
        "wanted a fresh copy, or run the command again that made it"
    )


def _seal(card: dict[str, Any]) -> str:
    return text_seal({k: v for k, v in card.items() if k != "seal"})


def _hash(tensors: dict[str, Tensor]) -> str:
    """Over names, types, shapes and bytes, in the order of the names."""
    named = ((f"{k} {v.dtype} {tuple(v.shape)}\n", v) for k, v in sorted(tensors.items()))
    return digest((piece for pair in named for piece in pair), None)
