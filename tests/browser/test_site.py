"""The built book, page by page, as a reader opens it: from a server, and from a folder.

One visit of a page asks everything of it, so that it is loaded once: it has a title, is not too
heavy, typesets its mathematics, asks nobody for anything, complains of nothing; its figures answer
keys and mouse; in the light and in the dark, at a desk and on a phone nothing sticks out.
`DALEARN_SITE` names another folder than `_build/html`.
"""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

SITE = Path(os.environ.get("DALEARN_SITE", Path(__file__).parents[2] / "_build" / "html"))
REDIRECT = 'http-equiv="Refresh"'
HEAVIEST = 3_000_000  # bytes of html, figures included: a slow line loads it in a few seconds


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


@pytest.fixture(scope="module", params=["file", "http"])
def base(request, serve, built):
    if request.param == "file":
        yield SITE.resolve().as_uri()
    else:
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
def test_page(base, tab, name):
    page, watch = tab
    text = (SITE / name).read_text("utf-8")
    assert len(text) < HEAVIEST, f"{name}: {len(text)} bytes; give explore fewer or smaller frames"
    page.goto(f"{base}/{name}")
    if REDIRECT in text:
        page.wait_for_url(lambda url: not url.endswith(f"/{name}"))
    assert page.title().strip()
    typeset(page)
    for figure in page.locator(".dalearn-explore").all():
        answers_keys(page, figure)
        answers_mouse(page, figure)
    fits(page)
    watch.assert_clean(name)


def typeset(page):
    """MathJax set every formula, and understood it."""
    page.wait_for_function(
        "[...document.querySelectorAll('.math')].every(e => e.querySelector('mjx-container'))"
    )
    wrong = page.locator("mjx-merror, [data-mjx-error]")
    assert not wrong.count(), wrong.first.get_attribute("data-mjx-error")


def fits(page):
    """No page is wider than its window."""
    before = page.viewport_size
    for width, height in ((1400, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            content = page.evaluate("document.documentElement.scrollWidth")
            assert content <= width, f"{content} px wide on {width} px, {scheme}: {wide(page)}"
    page.set_viewport_size(before)


def wide(page):
    """The elements that stick out, for the message."""
    return page.evaluate(
        """[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right
          > innerWidth + 1).slice(0, 4).map(e => `${e.tagName}.${e.className}`)"""
    )


def shown(figure):
    return figure.locator("img").get_attribute("src"), figure.get_by_role("status").text_content()


def answers_keys(page, figure):
    """Each control changes picture and words, the others as they were; Home brings them back."""
    for control in figure.locator("input[type=range]:enabled, .segments").all():
        radio = control.get_attribute("role") == "radiogroup"
        (control.locator("input:checked") if radio else control).focus()
        start = control.evaluate(
            "c => c.matches('input') ? +c.value : [...c.querySelectorAll('input')]"
            ".findIndex(i => i.checked)"
        )
        page.keyboard.press("Home")
        count = (
            control.locator("input").count() if radio else 1 + int(control.get_attribute("max"))
        )
        pictures, words = set(), set()
        for _ in range(count - 1):
            page.keyboard.press("ArrowRight")
            picture, said = shown(figure)
            pictures.add(picture)
            words.add(said)
        assert len(words) == count - 1, f"{words} for {count} values"
        page.keyboard.press("Home")
        assert shown(figure)[0] not in pictures or count == 1
        for _ in range(start):  # at time 0, say, another control may change nothing
            page.keyboard.press("ArrowRight")


def answers_mouse(page, figure):
    """Clicks at both ends of each slider, or on the first and last button, are heard."""
    for control in figure.locator("input[type=range]:enabled, .segments").all():
        seen = []
        for far in (False, True):
            if control.get_attribute("role") == "radiogroup":
                labels = control.locator("label")
                (labels.last if far else labels.first).click()
            else:
                control.scroll_into_view_if_needed()
                box = control.bounding_box()
                x = box["width"] - 4 if far else 4
                page.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
            seen.append(shown(figure))
        assert seen[0] != seen[1]


def test_the_figure_of_the_front_page_is_above_the_fold(base, tab):
    page, _ = tab
    page.goto(f"{base}/index.html")
    if REDIRECT in (SITE / "index.html").read_text("utf-8"):
        page.wait_for_url(lambda url: not url.endswith("/index.html"))
    typeset(page)
    figures = page.locator("[data-widget]")
    assert figures.count(), "the front page has no figure that lives"
    box = figures.first.bounding_box()
    visible = (900 - box["y"]) / box["height"]
    assert visible > 0.75, f"only {visible:.0%} of the figure is seen at 1400 x 900"
