"""An explore() figure without a kernel: keyboard, mouse, screen reader, dark and phone."""

import itertools

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from dalearn.widgets import explore
from dalearn.widgets.page import VARIABLE

pytestmark = pytest.mark.browser

HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures</title>'
    '<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">'
    '<body style="margin: 1rem; font-family: sans-serif">'
)


def draw(members=1, inflation=1.0, method="ETKF"):
    figure, axes = plt.subplots(figsize=(6, 3))
    axes.plot([0, members], [0, inflation], "--" if method == "ETKF" else "-")
    axes.set(xlim=(0, 50), ylim=(0, 2), title=f"{method} {members} {inflation}")
    return figure


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sliders and buttons; a single slider, and that one again; two buttons."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "1")
        first = explore(
            draw,
            members=[5, 10, 20, 40],
            inflation=[1.0, 1.02, 1.05],
            method=["ETKF", "EnKF", "a filter with a long name"],
            start={"members": 10},
            labels={"members": "ensemble size N"},
            alt="{method}, {members} members".format,
            caption="What will happen?",
        )
        second = explore(draw, members=list(range(1, 13)), alt="{members} members".format)
        two = explore(draw, inflation=[1.0, 1.05], alt="inflation {inflation}".format)
    path = tmp_path_factory.mktemp("page")
    (path / "index.html").write_text(HEAD + first.html + 2 * second.html + two.html, "utf-8")
    return path


@pytest.fixture
def address(folder):
    """From a file: there a browser allows least. test_site.py opens pages from a server, too."""
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(address, watched):
    """The page, watched; whatever a test did, nothing was fetched and nothing failed."""
    with watched() as (context, watch):
        opened = context.new_page()
        opened.goto(address)
        yield opened
        watch.assert_clean(address)


def seen(figure):
    """The picture shown and the words that go with it."""
    image = figure.locator("img")
    return image.get_attribute("src"), image.get_attribute("alt")


def test_keys(page):
    figure = page.locator(".dalearn-explore").first
    slider = figure.get_by_role("slider", name="ensemble size N")
    status = figure.get_by_role("status")
    assert slider.get_attribute("aria-valuetext") == "10"
    assert status.text_content() == ""  # nothing is read out before the reader acts
    slider.focus()
    pictures = {}
    keys = {"ArrowRight": 20, "End": 40, "ArrowLeft": 20, "Home": 5, "ArrowUp": 10, "ArrowDown": 5}
    for key, members in (keys | {"PageUp": 10, "PageDown": 5}).items():
        page.keyboard.press(key)
        assert slider.get_attribute("aria-valuetext") == str(members), key
        assert figure.locator(".head b").first.text_content() == str(members)
        words = f"ensemble size N {members}, inflation 1.00, method ETKF. ETKF, {members} members"
        assert status.text_content() == words
        source, alt = seen(figure)
        assert alt == f"ETKF, {members} members"
        assert pictures.setdefault(members, source) == source
    assert len(set(pictures.values())) == 4


def test_buttons(page):
    figure = page.locator(".dalearn-explore").first
    figure.get_by_text("EnKF", exact=True).click()
    assert seen(figure)[1] == "EnKF, 10 members"
    for key, name in {"ArrowRight": "a filter", "Home": "ETKF", "End": "a filter"}.items():
        page.keyboard.press(key)
        assert seen(figure)[1].startswith(name), key
        assert figure.get_by_role("radio", checked=True).evaluate(
            "e => e === document.activeElement"
        )


def test_mouse(page):
    figure = page.locator(".dalearn-explore").first
    slider = figure.get_by_role("slider", name="ensemble size N")
    before = seen(figure)
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + box["width"] - 4, middle)
    assert seen(figure)[1] == "ETKF, 40 members"
    page.mouse.move(box["x"] + box["width"] - 9, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 9, middle, steps=8)
    page.mouse.up()
    assert seen(figure)[1] == "ETKF, 5 members"
    figure.locator(".ticks span", has_text="10").click()
    assert seen(figure) == before


def test_figures_are_independent_even_when_identical(page):
    figures = page.locator(".dalearn-explore").all()
    assert len(figures) == 4
    before = [seen(f) for f in figures]
    figures[2].get_by_role("slider").focus()
    page.keyboard.press("End")
    after = [seen(f) for f in figures]
    assert after[:2] == before[:2]
    assert (before[2][1], after[2][1]) == ("1 members", "12 members")


def test_tab_visits_each_control_once_in_order(page):
    names = []
    for _ in range(7):
        page.keyboard.press("Tab")
        name = "e => e.ariaLabel ?? e.closest('[role=radiogroup]')?.ariaLabel"
        names.append(page.locator(":focus").evaluate(name))
    sliders = ["Play ensemble size N", "ensemble size N", "Play inflation", "inflation"]
    assert names == [*sliders, "method", "Play members", "members"]


def test_play(page):
    """Every frame in turn, to the end; the voice speaks when it stops, and Pause stops it."""
    figure = page.locator(".dalearn-explore").nth(1)
    page.evaluate(
        """() => { const f = document.querySelectorAll('.dalearn-explore')[1];
        const image = f.querySelector('img'), said = f.querySelector('.status');
        window.seen = []; new MutationObserver(() => seen.push(image.alt))
          .observe(image, {attributeFilter: ['src']});
        window.heard = []; new MutationObserver(() => heard.push(said.textContent))
          .observe(said, {childList: true, characterData: true, subtree: true}); }"""
    )
    figure.get_by_role("slider").focus()
    page.keyboard.press("End")  # from the end it begins anew
    page.evaluate("heard.length = seen.length = 0")
    figure.get_by_role("button", name="Play members").press("Space")
    pause = figure.get_by_role("button", name="Pause members")
    pause.wait_for()
    figure.get_by_role("button", name="Play members").wait_for()
    assert page.evaluate("seen") == [f"{n} members" for n in range(1, 13)]
    said = page.evaluate("heard")
    assert said == []  # it came back to the frame that had been told already
    figure.get_by_role("button", name="Play members").click()
    page.wait_for_function("seen.length >= 15")
    pause.click()
    stopped = page.evaluate("[seen.length, seen.at(-1)]")
    page.wait_for_timeout(1200)  # longer than two frames
    assert page.evaluate("[seen.length, seen.at(-1)]") == stopped
    assert page.evaluate("heard") == [f"members {stopped[1].split()[0]}. {stopped[1]}"]


@pytest.mark.parametrize(("width", "labels"), [(1200, 12), (390, 6), (250, 4)])
def test_long_sliders_write_the_values_that_fit(page, width, labels):
    page.set_viewport_size({"width": width, "height": 800})
    ticks = page.locator(".dalearn-explore").nth(1).locator(".ticks i")
    boxes = [i.bounding_box() for i in ticks.all() if i.is_visible()]
    texts = [i.text_content() for i in ticks.all() if i.is_visible()]
    assert len(texts) >= labels
    assert (texts[0], texts[-1]) == ("1", "12")
    for one, other in itertools.pairwise(boxes):
        assert one["x"] + one["width"] + 2 < other["x"]


def test_two_values_are_two_buttons(page):
    figure = page.locator(".dalearn-explore").last
    assert figure.get_by_role("slider").count() == 0
    figure.get_by_text("1.05").click()
    assert seen(figure)[1] == "inflation 1.05"


def test_keys_stay_inside(page):
    page.evaluate("document.addEventListener('keydown', (e) => { window.heard = e.key; })")
    page.locator("input").first.focus()
    for key in ("ArrowRight", "d", "Enter"):
        page.keyboard.press(key)
        assert page.evaluate("window.heard") is None, key
    page.keyboard.press("Control+b")  # the notebook keeps its own chords
    assert page.evaluate("window.heard") == "b"


def test_nothing_jumps(page):
    """The page is as tall before the picture is decoded as after, and in every frame."""
    figure = page.locator(".dalearn-explore").nth(1)
    figure.get_by_role("slider").focus()
    heights = set()
    for _ in range(12):
        heights.add(figure.bounding_box()["height"])
        page.keyboard.press("ArrowRight")
    assert len(heights) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desk", "phone"])
def test_fits_and_is_legible(folder, watched, scheme, screen):
    with watched(screen, color_scheme=scheme) as (context, watch):
        page = context.new_page()
        page.goto((folder / "index.html").as_uri())
        content, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert content <= window
        for part in (".head", ".ticks", ".hint", "figcaption", ".segments span"):
            assert contrast(page.locator(f".dalearn-explore {part}").first) >= 4.5, part
        watch.assert_clean(f"{scheme} {screen}")


def contrast(locator):
    """WCAG contrast of a text with the nearest opaque background behind it."""
    return locator.evaluate(
        """(element) => {
          const light = (colour) => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
              .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05;
          };
          let back = element;
          while (back && /, 0\\)|transparent/.test(getComputedStyle(back).backgroundColor))
            back = back.parentElement;
          const behind = back ? getComputedStyle(back).backgroundColor : "rgb(255, 255, 255)";
          const pair = [light(getComputedStyle(element).color), light(behind)];
          return Math.max(...pair) / Math.min(...pair);
        }"""
    )


def test_without_scripts_the_start_frame_stands(folder, watched):
    with watched(java_script_enabled=False) as (context, _):
        page = context.new_page()
        page.goto((folder / "index.html").as_uri())
        figure = page.locator(".dalearn-explore").first
        assert figure.locator("img").is_visible()
        assert seen(figure)[1] == "ETKF, 10 members"
        assert "Shown: ensemble size N 10, inflation 1.00" in figure.inner_text()


def test_print_shows_values_and_no_controls(folder, watched):
    with watched() as (context, _):
        page = context.new_page()
        page.goto((folder / "index.html").as_uri())
        page.emulate_media(media="print")
        figure = page.locator(".dalearn-explore").first
        assert not figure.locator("input[type=range]").first.is_visible()
        words = figure.locator(".controls").inner_text().split()
        assert " ".join(words) == "ensemble size N 10 inflation 1.00 method ETKF"
