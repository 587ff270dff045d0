"""The figures of a page as WebP, at the size at which they were meant to be seen.

The kernel draws with two pixels to the CSS pixel (`dalearn.plot.use_style`). WebP without loss,
of 24 levels to a channel, takes a third of the PNG's bytes and keeps letters sharp; figures that
live use it too. The page gives each figure its width, and loads it when the reader comes near.
"""

import re
from pathlib import Path

from PIL import Image

from dalearn.widgets.frame import LOSSLESS, fewer_colours

# The name is a hash of the content, so one that is there is right.
DRAWN = re.compile(r'<img ([^>]*?)src="([^"]*_images/[0-9a-f]{64})\.png"([^>]*?)/?>')
LINKED = re.compile(r'(href="[^"]*_images/[0-9a-f]{64})\.png"')
STYLED = re.compile(r'\s*(?:style|width|height|loading)="[^"]*"')
DRAWN_DPI = 240  # two pixels for each of the 120 to the inch of the book's settings


def convert(site: Path) -> None:
    """Write `_images/*.webp` and name them in the pages instead of the PNGs, which go."""
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf8")
        new = DRAWN.sub(lambda found, page=page: as_webp(page, found), html)
        new = LINKED.sub(
            r'\1.webp"', new
        )  # a click shows the figure alone, to zoom into on a phone
        if new != html:
            page.write_text(new, encoding="utf8")
    for png in site.glob("_images/*.png"):
        if png.with_suffix(".webp").exists():
            png.unlink()


def as_webp(page: Path, found: re.Match) -> str:
    before, address, after = found.groups()
    webp = (page.parent / address).with_suffix(".webp")
    if not webp.exists():
        fewer_colours(Image.open(webp.with_suffix(".png"))).save(webp, "webp", **LOSSLESS)
    width, height = (round(n * 120 / DRAWN_DPI) for n in Image.open(webp).size)
    size = f'width="{width}" height="{height}" loading="lazy"'
    rest = " ".join(STYLED.sub("", before + after).split())
    return f'<img {rest} src="{address}.webp" {size}/>'
