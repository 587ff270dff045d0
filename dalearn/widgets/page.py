"""Where a widget is shown, and its form for a page that has no kernel.

A widget of this package is one ES module, `render({model, el})`, used twice. Beside a kernel,
anywidget hands it a model synced with Python; in a static page the same source is inlined with a
stand-in model of a few lines. Nothing is fetched: the html holds code, style and data, so it works
from a file as well as from a server, and twice on one page.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Literal

from IPython.core.getipython import get_ipython

VARIABLE = "DALEARN_STATIC"

STAND_IN = """
const model = (state, heard = {}) => ({
  get: (key) => state[key],
  set: (key, value) => { state[key] = value; (heard["change:" + key] ?? []).forEach((f) => f()); },
  on: (event, f) => { (heard[event] ??= []).push(f); },
  off() {}, send() {}, save_changes() {},
});
for (const el of document.querySelectorAll('[data-widget="KEY"]:not([data-alive])')) {
  el.dataset.alive = "";
  const data = el.querySelector('script[type="application/json"]').textContent;
  module.render({ model: model(JSON.parse(data)), el });
}
"""


def audience() -> Literal["live", "page", "text"]:
    """Tell who will see a cell's output.

    `DALEARN_STATIC=1` in the environment says a page, `0` says a person with a kernel. Without
    it the request that runs the cell tells: a front-end with a person before it (JupyterLab,
    Notebook, VS Code, Colab) offers to answer `input()`, while a program that executes a
    notebook (nbclient, hence jupyter-book and nbconvert) says it cannot.

    Returns:
        `"live"` beside a kernel with a reader, `"page"` where the output must live on its own,
        `"text"` where there is no kernel at all (a script, a terminal).

    Raises:
        ValueError: the variable is neither 0 nor 1.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE}={asked!r}: set it to 1 (static page), 0 (live) or leave it")
    if asked:
        return "page" if asked == "1" else "live"
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return "text"
    request = kernel.get_parent() if hasattr(kernel, "get_parent") else {}
    answers = request.get("content", {}).get("allow_stdin", True)
    return "live" if answers else "page"


def script_safe(data: str) -> str:
    """JSON that may stand inside a script element: no `<`, so neither `</script` nor `<!--`."""
    return data.replace("<", "\\u003c")


def static_html(kind: str, source: str, style: str, state: dict[str, Any], still: str) -> str:
    """Write a widget as html that needs neither kernel nor network.

    Args:
        kind: class of the outer element, such as `dalearn-explore`.
        source: the ES module, with one `export default { render }`.
        style: its CSS.
        state: what the module reads with `model.get`; must be JSON.
        still: html shown until the module runs, and for good where scripts do not run.

    Returns:
        The same text for the same arguments: the element is found by a hash of the state.
    """
    data = script_safe(json.dumps(state, ensure_ascii=False, sort_keys=True))
    key = hashlib.sha256(data.encode()).hexdigest()[:16]
    code = source.replace("export default", "const module =") + STAND_IN.replace("KEY", key)
    return (
        f"<style>\n{style}</style>\n"
        f'<div class="{kind}" data-widget="{key}">\n{still}\n'
        f'<script type="application/json">{data}</script>\n</div>\n'
        f'<script type="module">\n{code}</script>\n'
    )
