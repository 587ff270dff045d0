"""The book's rules: what each page must hold, and what the built site must be.

The first half reads the sources. The second reads `_build/html` (`make book`), and is skipped
where there is no site; with CI=true it fails instead.
"""

import ast
import os
import re
import symtable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jupytext
import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
SITE = ROOT / "_build" / "html"
CODE = [p for p in sorted(BOOK.rglob("*.md")) if p.read_text("utf8").startswith("---\njupytext:")]
NUMBERED = ("foundations", "filters", "variational", "learning")  # folders of chapters
CHAPTERS = [p for p in CODE if p.parent.name in NUMBERED and not p.name.startswith("coming-from")]
MAX_LINES, MAX_WIDTH = 15, 92
MAX_BYTES = 3_000_000


def named(path):
    return path.relative_to(BOOK if path.is_relative_to(BOOK) else SITE).as_posix()


each_page = pytest.mark.parametrize("page", CODE, ids=named)
each_chapter = pytest.mark.parametrize("page", CHAPTERS, ids=named)


@cache
def read_page(page):
    return jupytext.read(page, fmt="md:myst")


@cache
def read_notebook(page):
    return nbformat.read(page.with_suffix(".ipynb"), as_version=4)


def tags(cell):
    return set(cell.metadata.get("tags", []))


def code_cells(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


# ---- the sources ----


def toc_pages():
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text("utf8"))
    chapters = [c for part in toc["parts"] for c in part["chapters"]]
    sections = [s for c in chapters for s in c.get("sections", [])]
    return [toc["root"], *(entry["file"] for entry in chapters + sections)]


def test_the_glossary_has_every_term_that_a_page_links():
    blocks = re.findall(
        r"^:::\{glossary\}\n(.*?)^:::", (BOOK / "glossary.md").read_text("utf8"), re.M | re.S
    )
    known = {
        w.strip().lower() for b in blocks for w in b.splitlines() if w.strip() and w[0] != " "
    }
    assert len(known) > 100
    unknown = {}
    for name in toc_pages():
        for text in re.findall(r"\{term\}`([^`]+)`", (BOOK / f"{name}.md").read_text("utf8")):
            term = re.sub(r"\s+", " ", re.sub(r"^.*<(.*)>$", r"\1", text, flags=re.S)).lower()
            if term not in known:
                unknown.setdefault(name, []).append(term)
    assert not unknown


def test_toc_and_folder_hold_the_same_pages():
    listed = [BOOK / f"{name}.md" for name in toc_pages()]
    assert len(listed) == len(set(listed))
    written = {p for p in BOOK.rglob("*.md") if ".ipynb_checkpoints" not in p.parts}
    assert set(listed) == written


@each_page
def test_pair_agrees(page):
    """The notebook says what the page says, cell by cell: `make notebooks`."""
    kinds = [[(c.cell_type, c.source, c.metadata) for c in nb.cells]
             for nb in (read_page(page), read_notebook(page))]  # fmt: skip
    assert kinds[0] == kinds[1]


@each_page
def test_only_check_cells_keep_outputs(page):
    cells = code_cells(read_notebook(page))
    kept = [c for c in cells if c.outputs]
    assert kept, "no `check` cell with an output: nothing is compared when this notebook is tested"
    assert all("check" in tags(c) for c in kept)
    assert all(c.outputs for c in cells if "check" in tags(c)), "run `make notebooks`"
    counts = [i if "check" in tags(c) else None for i, c in enumerate(cells, start=1)]
    assert [c.execution_count for c in cells] == counts  # nbval compares only cells with a count
    assert {o.output_type for c in kept for o in c.outputs} == {"stream"}


@each_page
def test_first_cell_installs_on_colab_only(page):
    cell = code_cells(read_page(page))[0]
    assert '"google.colab" in sys.modules' in cell.source
    assert "git+https://github.com/dalearn/dalearn" in cell.source
    assert "remove-cell" in tags(cell)


@each_page
def test_cells_are_short(page):
    """Code that is read fits the eye; only hidden plotting code may be longer."""
    shown = [
        c
        for c in code_cells(read_page(page))
        if not tags(c) & {"hide-input", "remove-input", "remove-cell"}
    ]
    long = {
        c.source.splitlines()[0]: n for c in shown if (n := len(c.source.splitlines())) > MAX_LINES
    }
    assert not long, f"cells of more than {MAX_LINES} lines"
    wide = [line for c in shown for line in c.source.splitlines() if len(line) > MAX_WIDTH]
    assert not wide, f"lines of more than {MAX_WIDTH} characters are cut on the page"


def names_of(source):
    """What Python knows of the names in a piece of code."""
    return symtable.symtable(source, "cell", "exec")


def read_by(function, functions):
    """The names that a function reads from the page, itself and through others of the page."""
    own = {s.get_name() for s in function.get_symbols() if s.is_global()}
    rest = {name: f for name, f in functions.items() if f is not function}
    inner = [f for name, f in rest.items() if name in own]
    return own.union(*(read_by(f, rest) for f in (*function.get_children(), *inner)))


@each_page
def test_what_a_live_figure_reads_is_not_bound_again(page):
    """Beside a kernel a frame is drawn when the reader asks, after all the cells have run."""
    magic = re.compile(r"^( *)%.*$", re.M)
    cells = [magic.sub(r"\1pass", c.source) for c in code_cells(read_page(page))]
    functions = {}
    for i, cell in enumerate(cells):
        functions |= {f.get_name(): f for f in names_of(cell).get_children()}
        calls = (n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.Call))
        for call in (c for c in map(ast.unparse, calls) if re.match(r"(\w+\.)?explore\(", c)):
            drawn = set(names_of(call).get_identifiers()) & set(functions)
            said = [f for f in names_of(call).get_children() if f.get_name() == "lambda"]
            figure = [functions[name] for name in drawn] + said
            read = set().union(*(read_by(f, functions) for f in figure))
            later = (s for c in cells[i + 1 :] for s in names_of(c).get_symbols())
            again = read & {s.get_name() for s in later if s.is_assigned()}
            assert not again, f"a later cell changes {again}, which this reads: {call}"


@each_chapter
def test_front_box(page):
    front = re.search(r"^:class: front$(.*?)^:::", page.read_text("utf8"), re.M | re.S)
    assert front, "a chapter begins with a box of class `front`"
    for field in ("You will", "You need", "Reading", "Running"):
        assert re.search(rf"^:{field}: +\S", front[1], re.M), f"the box has no `:{field}:`"


@each_chapter
def test_exercises_in_three_tiers_with_hidden_solutions(page):
    text = page.read_text("utf8")
    exercises = re.findall(
        r"^:::+ ?\{exercise\}.*?^:label: (\S+)$.*?^:class: (\S+)$", text, re.M | re.S
    )
    assert {tier for _, tier in exercises} == {"tier-1", "tier-2", "tier-3"}
    solved = re.findall(r"^:::+ ?\{solution\} (\S+)$\n^:class: dropdown$", text, re.M)
    assert sorted(solved) == sorted(label for label, _ in exercises)


@each_chapter
def test_scoreboard(page):
    by_hand = re.search(r"^:class: scoreboard$", page.read_text("utf8"), re.M)
    assert by_hand or any("scoreboard" in tags(c) for c in code_cells(read_page(page)))


# ---- the built site ----

FILE_NAME = re.compile(r"^\S+\.(?:png|svg|jpe?g|gif|webp)$|^<|_images/")
OUTSIDE = re.compile(r"^(?:https?:)?//", re.I)
CSS_OUTSIDE = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^)'\"\s]+)", re.I)
LOADS = {
    "script": ["src"],
    "img": ["src", "srcset"],
    "iframe": ["src"],
    "source": ["src", "srcset"],
    "video": ["src", "poster"],
    "audio": ["src"],
    "embed": ["src"],
    "object": ["data"],
    "link": ["href"],
    "use": ["href", "xlink:href"],
    "image": ["href", "xlink:href"],
}
INNOCENT_LINKS = {"canonical", "next", "prev", "index", "search", "author", "help", "license"}


class Page(HTMLParser):
    """Collect what a page loads, its links, and the images inside the article."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.images, self.styles = [], [], [], []
        self.depth = self.style = 0
        self.feed(path.read_text("utf8"))

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.depth += tag == "article"
        self.style += tag == "style"
        if tag != "link" or not set((a.get("rel") or "").split()) <= INNOCENT_LINKS:
            self.loads += [a[k] for k in LOADS.get(tag, []) if a.get(k)]
        if tag == "a":
            self.links.append((a.get("href") or "", a))
        if tag == "img" and self.depth:
            self.images.append((a.get("src") or "", a.get("alt")))
        self.styles.append(a.get("style") or "")

    def handle_endtag(self, tag):
        self.depth -= tag == "article"
        self.style -= tag == "style"

    def handle_data(self, data):
        if self.style:
            self.styles.append(data)


parse = cache(Page)


def site_pages():
    return sorted(
        p for p in SITE.rglob("*.html") if "_static" not in p.parts and p.name != "index.html"
    )


@pytest.fixture(scope="module")
def site():
    if not (SITE / "index.html").exists():
        reason = "there is no built site: `make book`"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return site_pages()


def test_every_page_is_built(site):
    built = {named(p) for p in site}
    assert {f"{name}.html" for name in toc_pages()} <= built


def test_images_have_alt_text(site):
    """Text that says what the figure shows: not empty, and not the file's name."""
    bad = [
        (named(page), src, alt)
        for page in site
        for src, alt in parse(page).images
        if not (alt or "").strip() or FILE_NAME.search(alt)
    ]
    assert not bad


def test_every_figure_is_on_its_page(site):
    """A cell that describes a figure has drawn one: none was lost to a silent backend."""
    for name in toc_pages():
        source = (BOOK / f"{name}.md").read_text("utf8")
        if not source.startswith("---\njupytext:"):
            continue
        cells = code_cells(read_page(BOOK / f"{name}.md"))
        said = [c.metadata.get("mystnb", {}).get("image", {}).get("alt") for c in cells]
        page = next(p for p in site if named(p) == f"{name}.html")
        shown = {alt for _, alt in parse(page).images}
        missing = [alt for alt in said if alt and alt not in shown]
        assert not missing, f"{name}: described, but not on the page"


def test_pages_load_nothing_from_outside(site):
    """No script, style, font, image or frame of another host: a classroom may have no network."""
    bad = [(named(p), url) for p in site for url in parse(p).loads if OUTSIDE.match(url)]
    styles = [(p, style) for p in site for style in parse(p).styles]
    styles += [(p, p.read_text("utf8")) for p in SITE.rglob("*.css")]
    bad += [(named(p), url) for p, style in styles for url in CSS_OUTSIDE.findall(style)]
    assert not bad


def test_page_scripts_name_no_cdn(site):
    """Scripts inside a page could fetch later what its tags do not ask for now."""
    cdn = re.compile(r"unpkg\.com|jsdelivr|cdnjs|require\.min\.js|googleapis|thebe@", re.I)
    images = re.compile(r"data:image/[^\"']*")  # whose letters may spell anything
    texts = {p: images.sub("", p.read_text("utf8")) for p in site}
    bad = [(named(p), found[0]) for p, text in texts.items() if (found := cdn.search(text))]
    assert not bad


def test_what_pages_load_exists(site):
    missing = []
    for page in site:
        for url in parse(page).loads:
            path = unquote(urlsplit(url).path)
            if path and not url.startswith("data:") and not (page.parent / path).exists():
                missing.append((named(page), url))
    assert not missing


@each_page
def test_launch_and_download_open_the_notebook(site, page):
    html = SITE / page.relative_to(BOOK).with_suffix(".html")
    notebook = page.relative_to(BOOK).with_suffix(".ipynb").as_posix()
    links = [href for href, _ in parse(html).links]
    hosts = {urlsplit(href).netloc: href for href in links}
    for host in ("colab.research.google.com", "mybinder.org"):
        assert hosts[host].endswith(f"book/{notebook}")
    sources = [(href, a) for href, a in parse(html).links if "_sources/" in href]
    assert [(html.parent / href).resolve() for href, _ in sources] == [
        SITE / "_sources" / notebook
    ]
    assert "download" in sources[0][1]
    assert (SITE / "_sources" / notebook).read_bytes() == page.with_suffix(".ipynb").read_bytes()


def test_favicon(site):
    for page in site:
        icons = re.findall(r'<link rel="icon" href="([^"]+)"', page.read_text("utf8"))
        assert len(icons) == 1, named(page)
        assert (page.parent / icons[0]).exists()


def test_pages_and_site_are_light(site):
    """A page with its images opens at once, and the site fits where a teacher puts it."""
    heavy = {}
    for page in site:
        images = {
            page.parent / unquote(src)
            for src, _ in parse(page).images
            if not src.startswith("data:")
        }
        size = page.stat().st_size + sum(p.stat().st_size for p in images)
        if size > MAX_BYTES:
            heavy[named(page)] = size
    assert not heavy
    mathjax = sum(
        p.stat().st_size for p in (SITE / "_static" / "mathjax").rglob("*") if p.is_file()
    )
    assert 0 < mathjax < 5_000_000  # of the 22 MB that its package carries
