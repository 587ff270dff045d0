"""Figures that live have numbers, as those that stand still have.

A cell that ends in `explore(..., caption="...")` puts html on the page, which Sphinx does not
count. This transform makes a figure of it, with the caption below, so that it takes the chapter's
next number. To cite it by that number, the cell names it:

    ```{code-cell} ipython3
    ---
    tags: [hide-input]
    figure: fig-kf-nile-live
    ---

and the text says `{numref}`fig-kf-nile-live``. Without a caption there is no number.
"""

import re
from html import unescape

from docutils import nodes
from sphinx.transforms import SphinxTransform

CAPTION = re.compile(r"\n?<figcaption>(.*?)</figcaption>", re.S)
STATE = re.compile(r'(?<!\\)"caption": ("(?:[^"\\]|\\.)*")')


class NumberLiveFigures(SphinxTransform):
    """Put each `explore` figure with a caption into a numbered figure."""

    default_priority = 200  # before targets are resolved

    def apply(self) -> None:
        for cell in list(self.document.findall(is_cell)):
            for bundle in list(cell.findall(is_bundle)):
                html = next((h for h in bundle.findall(nodes.raw) if is_live(h)), None)
                caption = CAPTION.search(html.astext()) if html else None
                if html is None or caption is None:
                    continue
                text = STATE.sub('"caption": ""', CAPTION.sub("", html.astext(), count=1), count=1)
                html[:] = [nodes.Text(text)]
                html.rawsource = text
                self.wrap(bundle, unescape(caption[1]), cell["cell_metadata"].get("figure"))

    def wrap(self, bundle: nodes.Element, caption: str, name: str | None) -> None:
        figure = nodes.figure("", classes=["live"])
        figure.source, figure.line = bundle.source, bundle.line
        bundle.replace_self(figure)
        figure += [bundle, nodes.caption(caption, caption)]
        if name:
            figure["names"].append(nodes.fully_normalize_name(name))
            self.document.note_explicit_target(figure, figure)


def is_cell(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def is_bundle(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle"


def is_live(node: nodes.raw) -> bool:
    return "html" in node.get("format", "") and 'class="dalearn-explore"' in node.astext()
