"""One drawn figure as an image, with nothing left open behind it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# WebP without loss, of 24 levels to a channel (not seen, and half of the bytes): letters and thin
# lines are sharp at two pixels to the CSS pixel, in the bytes that WebP with loss takes for one.
LEVELS = 24
LOSSLESS: dict[str, Any] = {"lossless": True, "quality": 60, "method": 1}

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

    @property
    def png(self) -> str:
        """The image in base64 for readers of notebooks, not all of which know WebP."""
        png = io.BytesIO()
        Image.open(io.BytesIO(self.image)).save(png, "png")
        return base64.b64encode(png.getvalue()).decode()


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
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    webp, image = io.BytesIO(), fewer_colours(Image.fromarray(np.asarray(canvas.buffer_rgba())))
    image.save(webp, "webp", **LOSSLESS)
    width, height = (round(n * CSS_DPI / dpi) for n in image.size)
    return webp.getvalue(), (width, height)


def fewer_colours(image: Image.Image) -> Image.Image:
    """The image on white paper, each channel rounded to one of `LEVELS`; white stays white."""
    paper = Image.new("RGBA", image.size, "white")
    opaque = Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    step = 255 / (LEVELS - 1)
    return opaque.point([round(round(v / step) * step) for v in range(256)] * 3)
