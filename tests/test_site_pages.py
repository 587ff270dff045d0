"""Numbers, figures and search of the built site, read from its files.

Skipped where there is no site (`make book`); with CI=true it fails instead.
"""

import json
import re

import numpy as np
import pytest
import yaml
from test_book import BOOK, SITE, code_cells, each_page, named, read_page, site, toc_pages  # noqa: F401

ROOT = BOOK.parent
NUMBER = re.compile(r'<span class="section-number">(\d+)\b')


def numbered_pages():
    """The pages with a number, in order, by the table of contents."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text("utf8"))
    parts = [p for p in toc["parts"] if p.get("numbered")]
    return [entry["file"] for part in parts for entry in part["chapters"]]


def test_readme_counts_the_chapters_as_the_site_does():
    rows = re.findall(
        r"^\| (\d*) \| \[[^]]+\]\(book/(.+)\.md\)", (ROOT / "README.md").read_text("utf8"), re.M
    )
    counted = {page: int(number) for number, page in rows if number}
    assert counted == {page: k for k, page in enumerate(numbered_pages(), start=1)}


def test_the_first_page_has_a_card_for_every_chapter():
    cards = re.findall(r"^:link: (\S+)$", (BOOK / "intro.md").read_text("utf8"), re.M)
    assert not set(numbered_pages()) - set(cards)


def test_pages_for_those_who_come_from_elsewhere_have_no_number():
    coming = [page for page in toc_pages() if "coming-from" in page]
    assert coming
    assert not set(coming) & set(numbered_pages())
    cards = re.findall(r"^:link: (\S+)$", (BOOK / "intro.md").read_text("utf8"), re.M)
    assert not set(coming) & set(cards)


def test_what_comes_next_is_next():
    """A chapter that says "Next: [...](...)" names the page that follows in the book."""
    order = toc_pages()
    found = 0
    for name in order:
        page = BOOK / f"{name}.md"
        for target in re.findall(r"Next:\s+\[[^]]*\]\(([^)]+)\.md\)", page.read_text("utf8")):
            found += 1
            following = order[order.index(name) + 1]
            assert (page.parent / target).resolve() == (BOOK / following).resolve(), name
    assert found


@pytest.mark.site
def test_numbers_on_the_site(site):  # noqa: F811
    for k, page in enumerate(numbered_pages(), start=1):
        found = NUMBER.search((SITE / f"{page}.html").read_text("utf8"))
        assert found, page
        assert found[1] == str(k), page


@pytest.mark.site
@each_page
def test_figures_that_live_are_numbered(site, page):  # noqa: F811
    """Each `explore` of a numbered page is a figure with its own number and its caption."""
    name = page.relative_to(BOOK).with_suffix("").as_posix()
    html = (SITE / f"{name}.html").read_text("utf8")
    live = html.count('class="dalearn-explore"')
    assert live == sum(
        bool(re.search(r"\bexplore\(", c.source)) for c in code_cells(read_page(page))
    )
    if name not in numbered_pages():
        return
    figures = re.findall(
        r'<figure class="[^"]*\blive\b.*?</style>.*?<figcaption>\n?(.*?)</figcaption>\n?</figure>',
        html,
        re.S,
    )
    numbers = [re.search(r'caption-number">Fig. ([\d.]+)', caption[-2000:]) for caption in figures]
    assert len(figures) == live
    assert all(numbers)
    assert len({n[1] for n in numbers}) == live


@pytest.mark.site
@each_page
def test_each_control_changes_the_picture(site, page):  # noqa: F811
    """Where the others stand at the start, no value of it shows the picture of its first one."""
    html = (SITE / page.relative_to(BOOK).with_suffix(".html")).read_text("utf8")
    states = re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)
    assert len(states) == html.count('class="dalearn-explore"')
    for state in map(json.loads, states):
        scene = state["scene"]
        shape = [len(control["texts"]) for control in scene["controls"]]
        pictures = np.array([hash(frame) for frame in scene["frames"]]).reshape(shape)
        start = np.unravel_index(state["index"], shape)
        assert len(scene["alts"]) == pictures.size
        for axis, control in enumerate(scene["controls"]):
            where = (*start[:axis], slice(None), *start[axis + 1 :])
            first, *others = pictures[where]
            assert first not in others, control["label"]
            assert len(set(control["texts"])) == len(control["texts"])


def test_a_changed_page_is_built_anew_without_a_warning(tmp_path, monkeypatch):
    """Sphinx's own search index is gone by then, which it must not miss."""
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    import site_search
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    (tmp_path / "conf.py").write_text('extensions = ["site_search"]\n', "utf8")
    (tmp_path / "index.rst").write_text("One\n===\n\n.. toctree::\n\n   other\n   third\n", "utf8")
    (tmp_path / "third.rst").write_text("Three\n=====\n\nThe coast.\n", "utf8")
    for word in ("sea", "lake"):
        (tmp_path / "other.rst").write_text(f"Two\n===\n\nThe {word}.\n", "utf8")
        places = (tmp_path, tmp_path, tmp_path / "html", tmp_path / "trees", "html")
        with docutils_namespace():
            app = Sphinx(*map(str, places), status=None, warningiserror=True)
            app.build()
        assert app.statuscode == 0
        site_search.write(app)
        assert word in (tmp_path / "html/_static/search-data.js").read_text("utf8")
        assert not (tmp_path / "html/searchindex.js").exists()
