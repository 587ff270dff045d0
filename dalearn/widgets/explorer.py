"""A drawing function over a small grid of values, as a figure the reader turns.

`explore` draws one frame for each point of the grid. Beside a kernel a frame is drawn when it is
first asked for; in a static page all of them are embedded. Both use explorer.js.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from html import escape
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

from ..array import check_between, typed
from .frame import Frame, Layout, picture
from .grid import Control, count, index_of, read_controls, told, values_at
from .page import audience, static_html

MOST_FRAMES, MOST_BYTES = 400, 3_000_000

HERE = files(__package__ or "dalearn.widgets")

SOURCE = HERE.joinpath("explorer.js").read_text("utf-8")

STYLE = HERE.joinpath("explorer.css").read_text("utf-8")


@typed
def explore(
    draw: Callable[..., Any],
    *,
    alt: str | Callable[..., str],
    start: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    caption: str = "",
    dpi: int = 192,
    **controls: Sequence[Any],
) -> Explorer:
    """Show a drawing function over a grid of values, with a control for each argument.

    `explore(draw, members=[5, 10, 20], inflation=[1.0, 1.05], alt="RMSE against time")` calls
    `draw(members=5, inflation=1.0)` and so on. With a reader at a kernel a frame is drawn when
    first asked for; when the notebook is executed for a page, all frames are drawn and embedded
    (see `dalearn.widgets.page.audience` for how this is told, and `DALEARN_STATIC`).

    Args:
        draw: returns a matplotlib Figure or Axes, or leaves one pyplot figure open. Every frame
            must have the same figsize; the figure is closed afterwards. Where matplotlib lays it
            out, axes stand as in the start frame as long as the labels fit. It may return the same
            figure each time, with other data in its lines and images, at half the cost.
        alt: the figure in words for those who do not see it; a string, or a function of the
            values, such as `"RMSE with {members} members".format`.
        start: the values to begin with, such as `{"members": 10}`; else each list's first.
        labels: words for the controls, such as `{"members": "ensemble size N"}`; else the
            argument's name with spaces.
        caption: a line under the figure.
        dpi: image pixels per inch, 192 for screens of two pixels to the CSS pixel; the page shows
            the figure at its size in inches.
        controls: one to three lists of values; three or more numbers make a slider that can play,
            two numbers or strings make buttons.

    Returns:
        The figure: leave it as the last line of a cell. Its `widget` is the ipywidget.

    Raises:
        ValueError: a wrong grid, a start that is not on it, an empty alt, frames of unequal
            size, or a page of more than 400 frames or 3 MB.
        TypeError: draw returned something that is no figure.
    """
    check_between("dpi", dpi, 1, 10**4, open_low=False)
    grid = read_controls(controls, labels or {})
    explorer = Explorer(draw, grid, index_of(grid, start or {}), alt, caption, dpi)
    if audience() == "page":
        _ = explorer.html  # now: an error while a cell is shown would not stop the book's build
    return explorer


class Explorer:
    """A figure over a grid of values; `explore` makes it, the notebook shows it."""

    def __init__(
        self,
        draw: Callable[..., Any],
        controls: tuple[Control, ...],
        start: int,
        alt: str | Callable[..., str],
        caption: str,
        dpi: int,
    ) -> None:
        self.controls, self.start, self.caption = controls, start, caption
        self._draw, self._alt, self._dpi = draw, alt, dpi
        self._frames: dict[int, Frame] = {}
        self._layout: Layout | None = None  # of the start frame, and of all that fit in
        self.frame(start)  # a mistake in draw shows in the cell that made it

    def __len__(self) -> int:
        return count(self.controls)

    def __repr__(self) -> str:
        lists = ", ".join(f"{c.name}=[{', '.join(c.texts)}]" for c in self.controls)
        return f"explore({lists}): {len(self)} frames"

    def frame(self, index: int) -> Frame:
        """Frame `index`, drawn at the first call and kept."""
        if index not in self._frames:
            values = values_at(self.controls, index)
            alt = self._alt(**values) if callable(self._alt) else self._alt
            if not isinstance(alt, str) or not alt.strip():
                raise ValueError(f"alt must describe the figure in words, met {alt!r}")
            image, size, self._layout = picture(self._draw, values, self._dpi, self._layout)
            first = self._frames.get(self.start)
            if first and size != first.size:
                met = "{} x {} px at {}".format(*size, told(self.controls, index))
                wanted = "{} x {} px".format(*first.size)
                raise ValueError(f"draw made {met}, the start frame is {wanted}; keep one figsize")
            self._frames[index] = Frame(image, size, alt)
        return self._frames[index]

    def scene(self, indices: Iterable[int]) -> dict[str, Any]:
        """What explorer.js shows; frames outside `indices` are left for it to ask for."""
        frames: list[str | None] = [None] * len(self)
        alts: list[str | None] = [None] * len(self)
        for i in indices:
            frames[i], alts[i] = self.frame(i).uri, self.frame(i).alt
        controls = [
            {"label": c.label, "texts": list(c.texts), "ordered": c.ordered} for c in self.controls
        ]
        size, caption = self.frame(self.start).size, self.caption
        return dict(controls=controls, size=size, caption=caption, frames=frames, alts=alts)

    @cached_property
    def html(self) -> str:
        """The figure for a page without a kernel: draws every frame."""
        check_count(self)
        total = 0
        for done in range(len(self)):
            total += len(self.frame(done).uri)
            check_size(total, done + 1, len(self))
        scene = self.scene(range(len(self)))
        scene["frames"][self.start] = None  # the page's still image has it already
        state = {"scene": scene, "index": self.start}
        return static_html("dalearn-explore", SOURCE, STYLE, state, still(self))

    @cached_property
    def widget(self) -> View:
        """The figure beside a kernel, an ipywidget: draws what the reader asks for."""
        return View(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        shown: dict[str, Any] = {"text/plain": repr(self)}
        match audience():
            case "page":
                shown["text/html"] = self.html
            case "live":
                bundle: Any = self.widget._repr_mimebundle_()
                # and a picture for those who show no widget: GitHub, nbviewer, qtconsole
                shown = bundle[0] | {"image/png": self.frame(self.start).png} | shown
        return shown


class View(anywidget.AnyWidget):
    """The live form: it draws a frame when the front-end asks for it."""

    _esm = SOURCE
    _css = STYLE
    scene = traitlets.Dict().tag(sync=True)
    index = traitlets.Int().tag(sync=True)

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(scene=explorer.scene([explorer.start]), index=explorer.start)
        self.explorer = explorer
        self.on_msg(self.answer)

    def answer(self, _: Any, request: dict[str, Any], buffers: Any) -> None:
        """Send the frame asked for, or what went wrong: the reader must not wait in vain."""
        reply = {"index": request["want"]}
        try:
            frame = self.explorer.frame(request["want"])
            reply |= {"frame": frame.uri, "alt": frame.alt}
        except Exception as error:
            reply["error"] = f"{type(error).__name__}: {error}"
        self.send(reply)


def still(explorer: Explorer) -> str:
    """The start frame as plain html: seen before the module runs, and where it never does."""
    frame = explorer.frame(explorer.start)
    width, height = frame.size
    caption = f"\n<figcaption>{escape(explorer.caption)}</figcaption>" if explorer.caption else ""
    return (
        f'<figure><div class="sheet"><img src="{frame.uri}" width="{width}" height="{height}" '
        f'alt="{escape(frame.alt)}"></div>{caption}</figure>\n<noscript><p class="hint">Shown: '
        f"{escape(told(explorer.controls, explorer.start))}. "
        "The other values need JavaScript.</p></noscript>"
    )


def check_count(explorer: Explorer) -> None:
    """Refuse too many frames before drawing them."""
    if len(explorer) > MOST_FRAMES:
        sizes = " x ".join(f"{len(c.values)} {c.name}" for c in explorer.controls)
        raise ValueError(f"{sizes} make {len(explorer)} frames, a page takes {MOST_FRAMES}; "
                         "give fewer values")  # fmt: skip


def check_size(total: int, done: int, frames: int) -> None:
    """Refuse a heavy page as soon as it is known to be heavy."""
    if total > MOST_BYTES:
        raise ValueError(
            f"{done} of {frames} frames take {total / 1e6:.1f} MB, a page takes "
            f"{MOST_BYTES / 1e6:.0f} MB in all: give fewer values, or lower figsize or dpi"
        )
