"""One drawn figure as an image, with nothing left open behind it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

# WebP without loss, of 24 levels to a channel (not seen, and half of the bytes): letters and thin
# lines are sharp at two pixels to the CSS pixel, in the bytes that WebP with loss takes for one.
LEVELS = 24
LOSSLESS: dict[str, Any] = {"lossless": True, "quality": 60, "method": 1}

# For each axes of a figure its place, and the inches its labels take around it: left and below,
# right and above. Another frame's may take more by half of what is left free between axes.
Layout: TypeAlias = tuple[tuple[Bbox, np.ndarray], ...]
SLACK = 0.02

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
    draw: Callable[..., Any], values: dict[str, Any], dpi: int, layout: Layout | None = None
) -> tuple[bytes, tuple[int, int], Layout]:
    """Draw and encode; every figure opened on the way is closed, also when drawing fails."""
    before = set(plt.get_fignums())
    try:
        with plt.ioff():
            figure = figure_of(draw(**values), set(plt.get_fignums()) - before)
        plt.close(figure)
        canvas = painted(figure, dpi, layout)
        return *encode(canvas, dpi), layout or layout_of(figure)
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


def painted(figure: Figure, dpi: int, layout: Layout | None) -> FigureCanvasAgg:
    """The figure on a canvas: in the layout of another frame where it fits, else in its own.

    So axes stand still while the reader turns, and a frame costs a third less; half, where
    `draw` moves the lines of one figure and returns it again.
    """
    figure.set_dpi(dpi)
    kept, engine = figure.canvas, figure.get_layout_engine()
    # the canvas of a figure that comes again keeps its renderer, which has parsed the formulas
    canvas = kept if type(kept) is FigureCanvasAgg else FigureCanvasAgg(figure)
    if layout and engine and len(layout) == len(figure.axes) and not around(figure):
        figure.set_layout_engine("none")
        for axes, (place, _) in zip(figure.axes, layout, strict=True):
            axes.set_position(place, which="original")
            axes.set_in_layout(True)  # again: set_position takes axes out
        canvas.draw()
        figure.set_layout_engine(engine)  # for this frame, or the next of the same figure
        rooms = zip(layout_of(figure), layout, strict=True)
        if all((ours <= theirs + SLACK).all() for (_, ours), (_, theirs) in rooms):
            return canvas
    canvas.draw()
    return canvas


def layout_of(figure: Figure) -> Layout:
    """Where each axes of a drawn figure stands, and the room that its labels take around it."""
    found = []
    for axes in figure.axes:
        labels = axes.get_tightbbox(bbox_extra_artists=[a for a in [axes.get_legend()] if a])
        box = axes.get_window_extent()
        room = labels.get_points() - box.get_points() if labels else np.zeros((2, 2))
        room = room * [[-1], [1]] / figure.dpi
        found.append((axes.get_position(original=True).frozen(), room))
    return tuple(found)


def around(figure: Figure) -> bool:
    """Whether something stands beside the axes: a title of the whole, a legend, figures within."""
    words = figure.get_suptitle() + figure.get_supxlabel() + figure.get_supylabel()
    return bool(words or figure.legends or figure.subfigs)


def encode(canvas: FigureCanvasAgg, dpi: int) -> tuple[bytes, tuple[int, int]]:
    """A drawn figure as WebP, never cropped to its ink, and its size in CSS pixels."""
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
