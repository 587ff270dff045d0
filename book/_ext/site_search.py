"""A search that answers wherever the site is opened from.

Sphinx's search fetches each page that it found to cut an excerpt from it, which a browser forbids
on file://, and it reduces words to stems. Here the build writes the text of every section into one
script beside the page; `search.js` looks the words up in it and shows the places.
"""

import json
import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

OWN = ("search-data.js", "search.js")
SPHINX = ("searchtools.js", "language_data.js", "searchindex.js")
SCRIPT = re.compile(
    r'\s*<script src="(?:_static/)?(?:{})[^"]*"></script>'.format("|".join(SPHINX))
)
UNREAD = (nodes.raw, nodes.comment, nodes.image, nodes.math, nodes.math_block, nodes.title)
BACK = ("glossary", "references", "notation")  # they name everything, and explain it last


def sections(doctree: nodes.document) -> list[tuple[str, str, str]]:
    """(id, title, text) of each section without its subsections."""
    return [
        (s["ids"][0], s[0].astext(), " ".join(words(s).split())) for s in doctree.findall(titled)
    ]


def titled(node: nodes.Node) -> bool:
    """A section of the page; exercises are sections too, without a title."""
    return isinstance(node, nodes.section) and isinstance(node[0], nodes.title)


def words(node: nodes.Node) -> str:
    if isinstance(node, nodes.Text):
        return node.astext()
    inner = [n for n in node.children if is_read(n)]
    return ("" if isinstance(node, (nodes.TextElement, nodes.Inline)) else " ").join(
        map(words, inner)
    )


def is_read(node: nodes.Node) -> bool:
    """No subsection, no formula, no key of the bibliography."""
    cited = isinstance(node, nodes.Element) and node.get("refdomain") == "cite"
    return not (cited or titled(node) or isinstance(node, UNREAD))


def entries(app: Sphinx) -> list[dict]:
    """What the search knows of each page, in the order of the book."""
    found = []
    for page in ordered(app):
        number = app.env.toc_secnumbers.get(page, {}).get("", ())
        title = app.env.titles[page].astext()
        found.append({
            "page": f"{page}.html",
            "title": " ".join([".".join(map(str, number)) + "." if number else "", title]).strip(),
            "back": page in BACK,
            "sections": sections(app.env.get_doctree(page)),
        })  # fmt: skip
    return found


def ordered(app: Sphinx, page: str | None = None) -> list[str]:
    """The root page, then the pages of its tables of contents, each with its own."""
    page = page or app.config.root_doc
    below = app.env.toctree_includes.get(page, ())
    return [page, *(q for p in below if p != page for q in ordered(app, p))]


def write(app: Sphinx) -> None:
    site, here = Path(app.outdir), Path(__file__).parent
    data = json.dumps(entries(app), ensure_ascii=False, separators=(",", ":"))
    (site / "_static" / OWN[0]).write_text(f"window.BOOK = {data};\n", "utf8")
    shutil.copy2(here / OWN[1], site / "_static")
    page = site / "search.html"
    html = SCRIPT.sub("", page.read_text("utf8"))
    ours = "".join(f'<script src="_static/{name}"></script>\n' for name in OWN)
    if ours not in html:
        html = html.replace("</body>", f"{ours}</body>")
    page.write_text(html, "utf8")
    for name in SPHINX:
        for old in (site / name, site / "_static" / name):
            old.unlink(missing_ok=True)


def keep_no_index(app: Sphinx) -> None:
    """Switch off Sphinx's own index: `write` removes it, and a later build would warn of that."""
    if app.builder.format == "html":
        app.builder.load_indexer = lambda names: None
        app.builder.index_page = lambda *page: None
        app.builder.dump_search_index = lambda: None


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", keep_no_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
