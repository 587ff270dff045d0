"""The built book, page by page, as a reader opens it: from a folder, and from a server.

One visit from the folder asks everything of a page, so that it is loaded once: it opens fast and
with few elements, typesets its mathematics, asks nobody for anything, complains of nothing; its
figures answer keys and mouse; nothing sticks out at a desk or on a phone; axe-core has nothing
serious against it, in the light and in the dark. From a server it is opened once more.
`DALEARN_SITE` names another folder than `_build/html`.
"""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

SITE = Path(os.environ.get("DALEARN_SITE", Path(__file__).parents[2] / "_build" / "html"))
REDIRECT = 'http-equiv="Refresh"'
MOST_ELEMENTS = 8_000  # when it has opened; formulas further down are set when the reader comes
SLOWEST = 3.0  # seconds of the browser's main thread until the page is there
LEAST_CODE = 14  # CSS pixels


def is_page(path):
    return path.relative_to(SITE).parts[0] not in ("_static", "_sources", "_images")


PAGES = [str(p.relative_to(SITE)) for p in sorted(SITE.rglob("*.html")) if is_page(p)]


@pytest.fixture(scope="module", autouse=True)
def built():
    if not (SITE / "index.html").exists():
        reason = f"there is no {SITE}/index.html; run `make book` first"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"CI=true, yet {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def folder(built):
    return SITE.resolve().as_uri()


@pytest.fixture(scope="module")
def server(serve, built):
    with serve(SITE) as url:
        yield url


@pytest.fixture(scope="module")
def desk(watched):
    with watched() as (context, watch):
        yield context, watch


@pytest.fixture
def tab(desk):
    """A new tab at the desk, in the light, and the watch over it."""
    context, watch = desk
    watch.forget()
    page = context.new_page()
    yield page, watch
    page.close()


@pytest.mark.parametrize("name", PAGES or ["index.html"])
def test_page(folder, tab, name):
    page, watch = tab
    opens_fast(page, folder, name)
    assert page.title().strip()
    accessible(page)
    typeset(page)
    for figure in page.locator(".dalearn-explore").all():
        answers(page, figure)
    legible(page)
    fits(page)
    watch.assert_clean(name)


@pytest.mark.parametrize("name", PAGES or ["index.html"])
def test_page_from_a_server(server, tab, name):
    page, watch = tab
    opens(page, server, name)
    watch.assert_clean(name)


def opens(page, site, name):
    """Until everything is there; a page that sends the reader on, until the other one is.

    A tab that is closed between the two never answers.
    """
    page.goto(f"{site}/{name}")
    if REDIRECT in (SITE / name).read_text("utf-8"):
        page.wait_for_url(lambda url: url != f"{site}/{name}")
    page.wait_for_load_state("load")
    if page.locator(".math").count():
        page.wait_for_function("window.MathJax?.typesetPromise")


def opens_fast(page, site, name):
    """The work of the main thread in seconds of its own time, and the elements that it made."""
    meter = page.context.new_cdp_session(page)
    meter.send("Performance.enable", {"timeDomain": "threadTicks"})
    opens(page, site, name)
    measured = {m["name"]: m["value"] for m in meter.send("Performance.getMetrics")["metrics"]}
    meter.detach()
    assert measured["TaskDuration"] < SLOWEST, f"{measured['TaskDuration']:.1f} s"
    elements = page.evaluate("document.querySelectorAll('*').length")
    assert elements < MOST_ELEMENTS, f"{elements} elements"


# What was opened fades in, and on a fast machine it would be judged half faded.
AT_REST = """() => {
  for (const a of document.getAnimations())
    a.effect.getComputedTiming().endTime < Infinity ? a.finish() : a.cancel();
}"""


def accessible(page):
    """axe-core, every rule in the light; in the dark only colours differ."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    axe.axe_script += ONE_OF_EACH
    page.evaluate("for (const hidden of document.querySelectorAll('details')) hidden.open = true")
    for scheme, only in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(AT_REST)
        assert page.evaluate(MARK_COLOURS) > 1
        asked = {"resultTypes": ["violations"], "preload": False, **only}  # no file:// requests
        found = axe.run(page, options=asked).response
        bad = [
            f"{v['impact']} {v['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"][:3]
        ]
        assert not bad, "\n".join([f"in the {scheme}:", *bad])
    page.emulate_media(color_scheme="light")


# The contrast of thousands of words in a few dozen colours is asked once for each colour, size and
# weight on each ground, and whether a link is told from its text once for each colour, line and
# colour of the text: axe takes ten milliseconds a word.
MARK_COLOURS = """() => {
  const grounds = new Map([[null, ""]]);
  const ground = (e) => {
    if (!grounds.has(e)) {
      const s = getComputedStyle(e);
      const own = [s.backgroundColor, s.backgroundImage, s.opacity, s.filter].join();
      const clear = own === "rgba(0, 0, 0, 0),none,1,none";
      grounds.set(e, (clear ? "" : own) + ground(e.parentElement));
    }
    return grounds.get(e);
  };
  const seen = new Set();
  for (const e of document.querySelectorAll("body *")) {
    delete e.dataset.contrast;
    const link = e.matches("a[href]");
    const text = link || [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!text || !e.checkVisibility()) continue;
    const s = getComputedStyle(e);
    const around = link ? [s.textDecorationLine, getComputedStyle(e.parentElement).color] : [];
    const key = [s.color, s.fontSize, s.fontWeight, ground(e), ...around].join();
    if (!seen.has(key)) e.dataset.contrast = "";
    seen.add(key);
  }
  return seen.size;
}"""
ONE_OF_EACH = """;
axe.configure({ rules: [{ id: "color-contrast", selector: "[data-contrast]" },
  { id: "link-in-text-block", selector: "a[href][data-contrast]" }] });"""


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ('<i style="background: #eee"><b style="color: #999">pale</b></i>', "contrast: <b .*p"),
        ('say <a href="#" style="color: #222; text-decoration: none">so</a>', "block: <a .*so"),
    ],
)
def test_a_bad_word_among_thousands_is_found(watched, bad, found):
    """The first of its colour is marked, wherever it stands."""
    with watched() as (context, _):
        page = context.new_page()
        words = '<span>word</span> <a href="#">link</a> ' * 50
        text = f"<p>{words} words</p><p>{bad} words</p><p>{words} words</p>"
        page.set_content(f"<html lang=en><title>t</title><main><h1>h</h1>{text}")
        with pytest.raises(AssertionError, match=f"serious .*{found}"):
            accessible(page)


def typeset(page):
    """MathJax set every formula, also for the printer, and understood it."""
    page.emulate_media(media="print")
    page.wait_for_function(
        "[...document.querySelectorAll('.math')].every(e => e.querySelector('mjx-math'))"
    )
    page.emulate_media(media="screen")
    wrong = page.locator("mjx-merror, [data-mjx-error]")
    assert not wrong.count(), wrong.first.get_attribute("data-mjx-error")


def legible(page):
    """Code is nearly as large as prose."""
    sizes = page.evaluate(
        """[...new Set([...document.querySelectorAll('.bd-article :is(pre, code)')]
          .filter(e => e.checkVisibility() && !e.closest('h1, h2, h3, h4, sup'))
          .map(e => parseFloat(getComputedStyle(e).fontSize)))]"""
    )
    assert min(sizes, default=16) >= LEAST_CODE, sizes


def fits(page):
    """No page is wider than its window; what is wider than the text scrolls and says so."""
    before = page.viewport_size
    for width, height in ((1400, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        content = page.evaluate("document.documentElement.scrollWidth")
        assert content <= width, f"{content} px wide on {width} px: {wide(page)}"
        page.evaluate(
            "new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame))"
        )
        cut = page.evaluate(
            """[...document.querySelectorAll('.bd-article mjx-container')].filter(e => {
              const box = e.getBoundingClientRect(), inner = e.querySelector('mjx-math');
              if (!box.width || e.closest('table')) return false;
              const wide = inner.getBoundingClientRect().width > box.width + 1;
              const scrolls = getComputedStyle(e).overflowX === 'auto' && e.tabIndex === 0;
              return box.right > innerWidth || (wide && !scrolls);
            }).map(e => e.textContent.slice(0, 60))"""
        )
        assert not cut, f"formulas cut at {width} px: {cut}"
    page.set_viewport_size(before)


def wide(page):
    """The elements that stick out, for the message."""
    return page.evaluate(
        """[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right
          > innerWidth + 1).slice(0, 4).map(e => `${e.tagName}.${e.className}`)"""
    )


def shown(figure):
    """The number of the picture, in the order in which pictures were met, and the words."""
    return tuple(
        figure.evaluate(
            """f => { const met = f.met ??= [], picture = f.querySelector("img").src;
            if (!met.includes(picture)) met.push(picture);
            return [met.indexOf(picture), f.querySelector("[role=status]").textContent]; }"""
        )
    )


def answers(page, figure):
    """Keys and mouse bring the first frames and the last of each control.

    `test_site_pages.py` looks at the frames between, which come in the same way: painting one
    takes Chromium a tenth of a second.
    """

    def after(key):
        page.keyboard.press(key)
        return shown(figure)

    for control in figure.locator("input[type=range]:enabled, .segments").all():
        radio = control.get_attribute("role") == "radiogroup"
        values = control.locator("input") if radio else None
        count = values.count() if values else 1 + int(control.get_attribute("max"))
        start = int(control.evaluate(PLACE))
        (control.locator("input:checked") if radio else control).focus()
        first, second, last, before = map(after, ("Home", "ArrowRight", "End", "ArrowLeft"))
        assert first[0] not in (second[0], last[0])
        assert len({first[1], second[1], last[1]}) == min(count, 3)
        assert before[0] == (first if count == 2 else second)[0] or count > 3
        for far, wanted in ((False, first), (True, last)):
            if radio:
                labels = control.locator("label")
                (labels.last if far else labels.first).click()
            else:
                control.scroll_into_view_if_needed()
                box = control.bounding_box()
                x = box["width"] - 4 if far else 4
                page.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
            assert shown(figure)[0] == wanted[0]
        control.evaluate(SET, start)  # at time 0, say, another control may change nothing


PLACE = """c => c.matches('input') ? +c.value :
  [...c.querySelectorAll('input')].findIndex(i => i.checked)"""
SET = """(c, place) => {
  if (!c.matches('input')) return c.querySelectorAll('input')[place].click();
  c.value = place;
  c.dispatchEvent(new Event('input'));
}"""


def test_the_figure_of_the_front_page_is_above_the_fold(folder, tab):
    page, _ = tab
    opens(page, folder, "index.html")
    figures = page.locator("[data-widget]")
    assert figures.count(), "the front page has no figure that lives"
    box = figures.first.bounding_box()
    visible = (900 - box["y"]) / box["height"]
    assert visible > 0.75, f"only {visible:.0%} of the figure is seen at 1400 x 900"


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("ETKF", "Ensemble filters"),
        ("PyTorch", ""),
        ("dask", ""),
        ("gaspari cohn", "Inflation and localization"),
        ("Desroziers", "Error covariances"),
    ],
)
def test_search_from_a_folder(folder, tab, asked, first):
    """Words are found in any case, the chapter that explains comes first, excerpts show them."""
    page, watch = tab
    page.goto(f"{folder}/search.html")
    page.locator("form.bd-search input:visible").fill(asked)
    page.keyboard.press("Enter")
    results = page.locator("#search-results section")
    results.first.wait_for()
    assert first in results.first.locator("h2").inner_text()  # which is empty where it is hidden
    assert all(h.is_visible() for h in results.locator("h2").all())
    marks = {m.lower() for m in results.first.locator("mark").all_text_contents()}
    assert marks == set(asked.lower().split())
    link = results.first.locator("li a").first
    name = link.text_content()
    link.click()
    page.wait_for_url(lambda url: "search.html" not in url)
    heading = page.locator(f"[id='{page.url.rpartition('#')[2]}'] :is(h1, h2, h3)").first
    assert name in heading.text_content()
    watch.assert_clean(asked)


def test_search_finds_nothing_and_says_so(folder, tab):
    page, _ = tab
    page.goto(f"{folder}/search.html?q=zzyzx")
    said = page.locator("#search-results [role=status]")
    assert said.text_content() == "Nothing found for “zzyzx”."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_black_on_white(folder, watched, scheme):
    """Printed from either theme: text and code near black, grounds white, figures as drawn."""
    with watched(color_scheme=scheme) as (context, _):
        page = context.new_page()
        page.goto(f"{folder}/filters/kalman-filter.html")
        page.emulate_media(media="print", color_scheme=scheme)
        seen = page.evaluate(
            """() => {
              const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
              const bad = [];
              for (const e of document.querySelectorAll('.bd-article *')) {
                if (!e.checkVisibility() || e.closest('svg, mjx-assistive-mml')) continue;
                const style = getComputedStyle(e), [r, g, b] = rgb(style.color);
                const back = rgb(style.backgroundColor);
                const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
                const light = 0.3 * r + 0.6 * g + 0.1 * b;
                const html = e.outerHTML.slice(0, 120);
                if (text && light > 110) bad.push(`pale ${html}`);
                if ((back[3] ?? 1) > 0.5 && Math.min(...back.slice(0, 3)) < 235)
                  bad.push(`ground ${html}`);
                if (e.matches('img') && style.filter !== 'none') bad.push('a figure inverted');
              }
              return [bad.slice(0, 5), rgb(getComputedStyle(document.body).backgroundColor)];
            }"""
        )
        assert seen == [[], [255, 255, 255]]


def test_figures_in_the_dark_are_no_white_cards(folder, watched):
    """Still or alive, a figure's paper takes the colour of what is behind it."""
    with watched(color_scheme="dark") as (context, _):
        page = context.new_page()
        page.goto(f"{folder}/filters/kalman-filter.html")
        for figure in (".cell_output img[loading=lazy]", ".dalearn-explore img"):
            image = page.locator(figure).first
            image.scroll_into_view_if_needed()
            page.wait_for_function("e => e.complete && e.naturalWidth", arg=image.element_handle())
            shot = Image.open(io.BytesIO(image.screenshot())).convert("L")
            dark = sum(shot.histogram()[:64]) / (shot.width * shot.height)
            assert dark > 0.8, f"{figure}: {dark:.0%} of the figure is dark"
