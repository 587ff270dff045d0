"""One drawn figure as an image, with nothing left open behind it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

QUALITY = 70  # of WebP: letters stay clean, a line plot of 6 x 3.4 inches takes 10 to 20 KB

CSS_DPI = 96  # CSS counts 96 px to the inch, so 10 pt in the figure are 10 pt on the page


@dataclass(frozen=True)
class Frame:
    """One drawn figure: its WebP bytes, its size in CSS pixels, its description."""

    image: bytes
    size: tuple[int, int]
    alt: str

    @property
    def uri(self) -> str:
        return "data:image/webp;base64," + base64.b64encode(self.image).decode()


def picture(
    draw: Callable[..., Any], values: dict[str, Any], dpi: int
) -> tuple[bytes, tuple[int, int]]:
    """Draw and encode; every figure opened on the way is closed, also when drawing fails."""
    before = set(plt.get_fignums())
    try:
        with plt.ioff():
            figure = figure_of(draw(**values), set(plt.get_fignums()) - before)
        plt.close(figure)
        return encode(figure, dpi)
    except Exception as error:
        error.add_note("explore was drawing " + ", ".join(f"{k}={v!r}" for k, v in values.items()))
        raise
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def figure_of(drawn: Any, fresh: set[int]) -> Figure:
    """The figure that the drawing function returned, or left open."""
    if drawn is None and fresh:
        return plt.figure(max(fresh))
    if isinstance(drawn, Axes):
        drawn = drawn.get_figure(root=True)
    if not isinstance(drawn, Figure):
        raise TypeError(
            f"draw returned {type(drawn).__name__}; return a matplotlib Figure or Axes"
        )
    return drawn


def encode(figure: Figure, dpi: int) -> tuple[bytes, tuple[int, int]]:
    """A figure as WebP, never cropped to its ink, and its size in CSS pixels."""
    webp = io.BytesIO()
    with plt.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(webp, format="webp", dpi=dpi, pil_kwargs={"quality": QUALITY, "method": 6})
    width, height = (round(n * CSS_DPI / dpi) for n in Image.open(webp).size)
    return webp.getvalue(), (width, height)
