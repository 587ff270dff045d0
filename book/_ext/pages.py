"""Pages as they leave the build: light, legible to every reader, and at home on file://.

Font hints
    The theme preloads its fonts with `crossorigin`, which a browser refuses on file:// with an
    error in the console. The fonts load without the hint.
Icons
    The theme loads Font Awesome twice, as web fonts and as a script of 1.5 MB that draws the same
    icons. The script goes.
Code
    Pygments puts every name, operator and bracket into an element of its own, half of all elements
    of a chapter, and our two styles print them in the colour of the text. Those elements go.
Names
    "Show code cell source" is announced as it reads; entries of the references are items of a
    list; the theme's switch and menus have names that say what they do.
"""

import re
from pathlib import Path

PRELOAD = re.compile(r'\s*<link rel="preload" as="font"[^>]*>')
NOTEBOOK_LINK = re.compile(r'(<a href="[^"]*_sources/[^"]*\.ipynb") target="_blank"')
ICON_SCRIPT = re.compile(
    r"\s*(?:<link [^>]*fontawesome[^>]*\.js[^>]*>|<script [^>]*fontawesome[^>]*></script>)"
)
PRE = re.compile(r"<pre>.*?</pre>", re.S)
UNCOLOURED = re.compile(r'<span class="(?:n|nn|o|p|w)">([^<]*)</span>')


def plain_code(match: re.Match) -> str:
    return UNCOLOURED.sub(r"\1", match[0])


def polished(html: str) -> str:
    """One page."""
    html = ICON_SCRIPT.sub("", PRELOAD.sub("", html))
    html = NOTEBOOK_LINK.sub(r"\1 download", html)
    html = PRE.sub(plain_code, html)
    html = html.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    return html.replace('role="doc-biblioentry"', 'role="listitem"')


def polish(site: Path) -> None:
    """Every page under `site`, in place; a page that is polished already stays as it is."""
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf8")
        new = polished(html)
        if new != html:
            page.write_text(new, encoding="utf8")
    for script in site.glob("_static/vendor/fontawesome/*/js/*"):
        script.unlink()
