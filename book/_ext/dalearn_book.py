"""What this book asks of Sphinx beyond its themes and extensions.

1. No thebe. Jupyter Book always loads sphinx-thebe, which puts a script on every page that
   declares a constant twice (a console error) and could fetch a library from a CDN. Its hooks are
   removed.
2. A small MathJax, in parts. sphinx-mathjax-offline copies 22 MB after each build; the parts in
   use (no menu, a third of the usual bundle), the fonts and TeX's lazily loaded extensions are
   2 MB. Formulas are set as they come near the window, so that a long chapter opens at once.
3. Download means the paired notebook. The theme offers the notebook that the build executed; the
   one beside the page in the repository is copied over it, so that all three roads (Colab, Binder,
   download) open the same file, and the link says `download`, since a browser would show a
   notebook as text. A page with code and no notebook is a warning.
4. Pages that are light and that everyone can read: `pages.py`, on the html once it is written.
5. Still figures as WebP: `still_figures.py`. Numbers for figures that live: `live_figures.py`.
6. A search that answers from file://, too: `site_search.py`.
7. A page that ran again is read again. Sphinx looks at the page's own text; the record that
   `execute_pages.py` keeps of an execution is named as a file that the page depends on.
8. A table of contents that changed renumbers all pages: Sphinx would keep the numbers of those
   whose text is the same, and the build would fail on a page that has none any more.
9. Styles of citations are looked up once. pybtex asks all installed packages for them, at every
   citation: a fifth of the build.

Each is a few lines on an event; the build's other pieces are untouched.
"""

import shutil
from importlib.metadata import entry_points
from pathlib import Path

import live_figures
import pages
import site_search
import still_figures
from pybtex.plugin import register_plugin
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

log = logging.getLogger(__name__)

MATHJAX = ("startup.js", "core.js", "input/tex.js", "output/chtml.js", "output/chtml/fonts",
           "a11y/assistive-mml.js", "ui/lazy.js", "input/tex/extensions")  # fmt: skip


def drop_hooks(app: Sphinx, module: str) -> None:
    """Disconnect every event handler that one extension registered."""
    for listeners in app.events.listeners.values():
        for listener in [x for x in listeners if x.handler.__module__ == module]:
            app.disconnect(listener.id)


def remove_thebe(app: Sphinx) -> None:
    drop_hooks(app, "sphinx_thebe")
    app.registry.css_files[:] = [f for f in app.registry.css_files if f[0] != "sphinx-thebe.css"]


def copy_mathjax(app: Sphinx) -> None:
    source = (
        Path(app.extensions["sphinx-mathjax-offline"].module.__file__).parent / "static/mathjax"
    )
    target = Path(app.outdir, "_static/mathjax")
    for name in MATHJAX:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def paired(app: Sphinx, page: str) -> Path:
    return Path(app.srcdir, page).with_suffix(".ipynb")


def offer_notebook(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """On pages with code, offer the notebook and not its markdown (runs after the theme)."""
    if "kernelspec" not in app.env.metadata.get(page, {}):
        return
    if not paired(app, page).exists():
        log.warning("no notebook beside %s: run `make notebooks`", page, location=page)
    for group in context.get("header_buttons", ()):
        if group.get("label") == "download-buttons":
            group["buttons"] = [
                b for b in group["buttons"] if b["label"] != "download-source-button"
            ]


def copy_notebooks(app: Sphinx) -> None:
    for page in app.env.found_docs:
        if paired(app, page).exists():
            target = Path(app.outdir, "_sources", page).with_suffix(".ipynb")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paired(app, page), target)


def finish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        site = Path(app.outdir)
        copy_mathjax(app)
        copy_notebooks(app)
        still_figures.convert(site)
        pages.polish(site)
        site_search.write(app)


def depend_on_execution(app: Sphinx, page: str, source: list[str]) -> None:
    """Read a page with code again when the record of its execution is new."""
    if source[0].startswith("---\njupytext:"):
        records = Path(app.outdir).parent / ".jupyter_cache" / "records"
        app.env.note_dependency(str(records / f"{page}.json"))


def renumber(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """All pages, when the table of contents is not the one that they were numbered by."""
    now, before = Path(app.srcdir, "_toc.yml").read_text("utf8"), getattr(env, "dalearn_toc", None)
    env.dalearn_toc = now
    return [] if now == before else sorted(env.found_docs)


def look_up_styles() -> None:
    for kind in ("backends", "style.formatting", "style.labels", "style.names", "style.sorting"):
        for found in entry_points(group=f"pybtex.{kind}"):
            register_plugin(found.group, found.name, found.load(), force=True)


def setup(app: Sphinx) -> dict:
    look_up_styles()
    remove_thebe(app)
    drop_hooks(app, "sphinx-mathjax-offline")
    app.config.mathjax_path = "mathjax/startup.js"
    site_search.setup(app)
    app.add_transform(live_figures.NumberLiveFigures)
    app.connect("html-page-context", offer_notebook, priority=900)
    app.connect("build-finished", finish)
    app.connect("source-read", depend_on_execution)
    app.connect("env-get-outdated", renumber)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
