"""explore(): the grid, the frames, the page it writes, and what it refuses."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from lengths import full
from PIL import Image

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dalearn.widgets import explore, explorer, page
from dalearn.widgets.frame import LEVELS, fewer_colours, layout_of, painted, picture
from dalearn.widgets.grid import count, index_of, read_control, read_controls, values_at


@pytest.fixture(autouse=True)
def nobody_watches(monkeypatch):
    """No variable from outside; no figure left behind by any test."""
    monkeypatch.delenv(page.VARIABLE, raising=False)
    before = plt.get_fignums()  # of other files, in the same process
    yield
    assert plt.get_fignums() == before


def draw(members=5, inflation=1.0):
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([0, members], [0, inflation])
    return figure


def counted(calls, draw=draw):
    def counting(**values):
        calls.append(values)
        return draw(**values)

    return counting


def small(**changes):
    given = {"alt": "A line", "members": [5, 10], "inflation": [1.0, 1.05, 1.1]} | changes
    return explore(given.pop("draw", draw), **given)


class Page(HTMLParser):
    """Tags and the text of script elements."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        self.inside = tag == "script"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data

    def one(self, tag):
        (attrs,) = [a for t, a in self.tags if t == tag]
        return attrs

    @property
    def state(self):
        return json.loads(self.scripts[0])


# the grid


@pytest.mark.parametrize(
    ("values", "texts", "ordered"),
    [
        ([5, 10, 20], ("5", "10", "20"), True),
        ([1.0, 1.02, 1.1], ("1.00", "1.02", "1.10"), True),
        (np.linspace(0, 0.3, 4), ("0.0", "0.1", "0.2", "0.3"), True),
        ([1e-5, 1e-4, 1e-3], ("1e-05", "0.0001", "0.001"), True),
        (range(2), ("0", "1"), False),  # two values are two buttons
        ([1.0, 1.05], ("1.00", "1.05"), False),
        ([7], ("7",), True),
        (["ETKF", "EnKF"], ("ETKF", "EnKF"), False),
        ([False, True], ("off", "on"), False),
        (np.array([False, True]), ("off", "on"), False),
        (["none", 3], ("none", "3"), False),
    ],
)
def test_values_as_the_reader_sees_them(values, texts, ordered):
    control = read_control("noise_level", values)
    assert (control.texts, control.ordered, control.label) == (texts, ordered, "noise level")


def test_frames_are_numbered_with_the_last_control_fastest():
    controls = read_controls({"a": [1, 2], "b": ["x", "y", "z"]}, {})
    assert count(controls) == 6
    assert [values_at(controls, i) for i in (0, 2, 3)] == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "z"},
        {"a": 2, "b": "x"},
    ]
    assert all(index_of(controls, values_at(controls, i)) == i for i in range(6))
    assert index_of(controls, {"b": "y"}) == 1  # a control not named stands at its first value


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"members": None, "inflation": None}, ValueError, "0 controls; give 1 to 3 lists"),
        (
            {"c": [1], "d": [2]},
            ValueError,
            r"4 controls \(members, inflation, c, d\); give 1 to 3",
        ),
        ({"members": []}, ValueError, "members has 0 values; give at least 1"),
        ({"members": 5}, ValueError, r"members=5: give a list of values, such as members=\[5\]"),
        ({"members": "ETKF"}, ValueError, "members='ETKF': give a list"),
        ({"members": [5, 5, 6]}, ValueError, "members has 3 values, 2 different"),
        ({"members": [5, None]}, ValueError, r"members holds None \(NoneType\); give numbers"),
        ({"start": {"members": 7}}, ValueError, r"start members=7; give one of \[5, 10\]"),
        ({"start": {"size": 7}}, ValueError, "start names 'size'; the controls are members"),
        ({"labels": {"size": "N"}}, ValueError, "labels names 'size'; the controls are members"),
        ({"alt": " "}, ValueError, "alt must describe the figure in words, met ' '"),
        ({"alt": lambda **_: None}, ValueError, "alt must describe the figure in words, met None"),
        ({"draw": lambda **_: 3}, TypeError, "draw returned int; return a matplotlib Figure"),
        ({"draw": lambda **_: None}, TypeError, "draw returned NoneType"),
    ],
)
def test_refusals(changes, error, words):
    grid = {"members": [5, 10], "inflation": [1.0, 1.05, 1.1]} | changes
    grid = {name: value for name, value in grid.items() if value is not None}
    with pytest.raises(error, match=words):
        explore(grid.pop("draw", draw), **({"alt": "A line"} | grid))


def test_alt_must_be_given():
    with pytest.raises(TypeError, match="alt"):
        explore(draw, members=[5])


# the frames


@pytest.mark.parametrize(
    "make",
    [
        lambda: plt.subplots()[0],
        lambda: plt.subplots()[1],
        lambda: plt.subplots() and None,
        lambda: plt.figure().subfigures(1, 2)[0].subplots(),
        lambda: Figure(),
    ],
    ids=["figure", "axes", "left open", "axes of a subfigure", "figure without pyplot"],
)
def test_a_drawing_function_may_return(make):
    image, size, _ = picture(lambda: make(), {}, 144)
    assert image[8:12] == b"WEBP"
    assert size == (614, 461)  # 6.4 x 4.8 inches of 96 px


def test_frames_are_sharp_and_keep_their_colours():
    """Two pixels to the CSS pixel; white is exact, no colour moves by more than half a step."""
    image, size, _ = picture(draw, {}, 192)
    assert tuple(2 * n for n in size) == Image.open(io.BytesIO(image)).size
    every = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, -1)
    rounded = np.asarray(fewer_colours(Image.fromarray(every))).astype(int)
    assert np.abs(rounded - every).max() <= np.ceil(255 / (LEVELS - 1) / 2)
    assert len(np.unique(rounded)) == LEVELS
    assert rounded[0, [0, -1]].tolist() == [[0] * 3, [255] * 3]
    clear = Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    assert fewer_colours(clear).getpixel((0, 0)) == (255, 255, 255)  # transparent is white paper


def test_a_figure_made_elsewhere_is_closed_too():
    figure, _ = plt.subplots(figsize=(3, 2))
    assert len(small(draw=lambda **_: figure)) == 6


def test_figures_are_closed_when_drawing_fails():
    def fails(members):
        draw(members)
        raise RuntimeError("no convergence")

    with pytest.raises(RuntimeError, match="no convergence") as caught:
        explore(fails, alt="A line", members=[5])
    assert caught.value.__notes__ == ["explore was drawing members=5"]


def test_a_style_that_crops_does_not_make_frames_jump():
    with plt.rc_context({"savefig.bbox": "tight"}):
        assert small().frame(0).size == (288, 192)


def two_axes(highest=1.0, label="state"):
    figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2), layout="constrained")
    left.set(ylim=(0, highest), ylabel=label, yticks=np.linspace(0, highest, 3))
    right.set(ylim=(0, highest), yticks=np.linspace(0, highest, 3))
    plt.close(figure)
    return figure


def places(figure):
    return np.array([axes.get_position().bounds for axes in figure.axes])


def test_axes_stand_still_while_the_reader_turns():
    start, tighter, alone = two_axes(), two_axes(label=""), two_axes(label="")
    painted(start, 192, None)
    painted(tighter, 192, layout_of(start))
    painted(alone, 192, None)
    assert (places(tighter) == places(start)).all()
    assert np.abs(places(alone) - places(start)).max() > 0.02  # by itself it had moved them


def test_a_figure_that_moves_its_lines_gives_the_frames_of_new_figures():
    def new(height):
        figure, axes = plt.subplots(figsize=(3, 2), layout="constrained")
        axes.plot([1, 2], [height, 1])
        axes.set(ylim=(0.1, 1000), yscale="log", title=f"${height}$")
        plt.close(figure)
        return figure

    once = new(10)

    def moved(height):
        (axes,) = once.axes
        axes.lines[0].set_ydata([height, 1])
        axes.set_title(f"${height}$")
        return once

    controls = {"height": [10, 100, 300], "alt": "a line"}
    assert explore(moved, **controls).html == explore(new, **controls).html


def test_a_figure_that_comes_again_has_room_for_wider_labels_too():
    once = two_axes()
    painted(once, 192, None)
    start, layout = places(once), layout_of(once)
    painted(once, 192, layout)
    once.axes[0].set_ylabel("state\nof it\nall")
    painted(once, 192, layout)
    wider = two_axes(label="state\nof it\nall")
    painted(wider, 192, None)
    np.testing.assert_allclose(places(once), places(wider), rtol=0, atol=1e-12)
    once.axes[0].set_ylabel("state")
    painted(once, 192, layout)
    assert (places(once) == start).all()


@pytest.mark.parametrize("dpi", [96, 192])
@pytest.mark.parametrize("change", [{"highest": 1e5}, {"label": "state\nof it\nall"}])
def test_a_frame_whose_labels_want_more_room_has_it(change, dpi):
    start, wider, alone = two_axes(), two_axes(**change), two_axes(**change)
    painted(start, dpi, None)
    painted(wider, dpi, layout_of(start))
    painted(alone, dpi, None)
    np.testing.assert_allclose(places(wider), places(alone), rtol=0, atol=1e-12)
    left, right = (axes.get_tightbbox() for axes in wider.axes)
    assert left.x0 >= 0
    assert left.x1 <= right.x0


def test_a_title_of_the_whole_keeps_its_place():
    start, titled = two_axes(), two_axes()
    painted(start, 192, None)
    title = titled.suptitle("all")
    painted(titled, 192, layout_of(start))
    assert title.get_window_extent().y0 >= max(a.get_tightbbox().y1 for a in titled.axes)


def test_frames_must_have_one_size():
    figure = small(draw=lambda members, **_: plt.figure(figsize=(members, 2)))
    with pytest.raises(
        ValueError, match=r"960 x 192 px at members 10.*start frame is 480 x 192 px"
    ):
        figure.frame(5)


def test_frames_are_drawn_on_demand_and_kept():
    calls = []
    figure = small(draw=counted(calls), start={"members": 10})
    assert calls == [{"members": 10, "inflation": 1.0}]  # the start frame only
    assert figure.frame(1) is figure.frame(1)
    assert len(calls) == 2


# where it is shown


def kernel(allow_stdin):
    request = {"content": {} if allow_stdin is None else {"allow_stdin": allow_stdin}}
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: request))


@pytest.mark.parametrize(
    ("variable", "shell", "expected"),
    [
        (None, None, "text"),  # a script
        (None, SimpleNamespace(), "text"),  # IPython in a terminal
        (None, kernel(True), "live"),  # JupyterLab, Notebook, VS Code, Colab
        (None, kernel(None), "live"),
        (None, kernel(False), "page"),  # jupyter-book, nbconvert
        ("1", kernel(True), "page"),
        ("0", kernel(False), "live"),
        ("", None, "text"),
        ("1", None, "page"),
    ],
)
def test_audience(monkeypatch, variable, shell, expected):
    monkeypatch.setattr(page, "get_ipython", lambda: shell)
    if variable is not None:
        monkeypatch.setenv(page.VARIABLE, variable)
    assert page.audience() == expected


def test_the_variable_is_0_or_1(monkeypatch):
    monkeypatch.setenv(page.VARIABLE, "yes")
    with pytest.raises(ValueError, match="DALEARN_STATIC='yes': set it to 1"):
        page.audience()


def test_text_only_without_a_kernel():
    shown = small()._repr_mimebundle_()
    assert shown == {
        "text/plain": "explore(members=[5, 10], inflation=[1.00, 1.05, 1.10]): 6 frames"
    }


def test_live_draws_what_is_asked(monkeypatch):
    monkeypatch.setenv(page.VARIABLE, "0")
    calls, sent = [], []
    figure = small(draw=counted(calls), alt="{members} members".format)
    shown = figure._repr_mimebundle_()
    assert set(shown) == {
        "text/plain",
        "image/png",
        "application/vnd.jupyter.widget-view+json",
    }
    assert len(calls) == 1
    # GitHub, nbviewer and qtconsole show no widget: they have the start frame, pixel by pixel.
    both = base64.b64decode(shown["image/png"]), figure.frame(0).image
    still, frame = (Image.open(io.BytesIO(b)).convert("RGB") for b in both)
    assert still.size == frame.size == (576, 384)
    assert still.tobytes() == frame.tobytes()
    monkeypatch.setattr(figure.widget, "send", sent.append)
    for _ in range(2):
        figure.widget.answer(figure.widget, {"want": 4}, [])
    assert sent[0] == sent[1] == {"index": 4, "frame": figure.frame(4).uri, "alt": "10 members"}
    assert len(calls) == 2
    assert [f is not None for f in figure.widget.scene["frames"]] == [True] + [False] * 5


def test_live_tells_what_went_wrong(monkeypatch):
    monkeypatch.setenv(page.VARIABLE, "0")
    sent = []
    figure = explore(lambda n: draw(1 / n), alt="A line", n=[1, 0])
    monkeypatch.setattr(figure.widget, "send", sent.append)
    figure.widget.answer(figure.widget, {"want": 1}, [])
    assert sent == [{"index": 1, "error": "ZeroDivisionError: division by zero"}]


def test_a_page_is_drawn_at_once_so_that_a_mistake_stops_the_build(monkeypatch):
    monkeypatch.setenv(page.VARIABLE, "1")
    with pytest.raises(ZeroDivisionError):
        explore(lambda n: draw(1 / n), alt="A line", n=[1, 0])
    calls = []
    figure = small(draw=counted(calls))
    shown = figure._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert shown["text/html"] == figure.html
    assert len(calls) == len(figure) == 6


# the page


def test_the_page_is_the_same_each_time_and_differs_with_its_state():
    assert small().html == small().html
    found = [re.findall(r'data-widget="(\w+)"', small(caption=c).html) for c in "ab"]
    assert len(found[0]) == 2  # the element, and the module that looks for it
    assert len(set(found[0] + found[1])) == 2
    assert not re.search(r'\sid="', small().html)  # nothing to clash when shown twice


def test_the_page_shows_the_start_frame_without_scripts():
    figure = small(start={"members": 10, "inflation": 1.1}, caption="a < b")
    read = Page(figure.html)
    assert read.one("img") == {
        "src": figure.frame(5).uri,
        "width": "288",
        "height": "192",
        "alt": "A line",
    }
    assert "Shown: members 10, inflation 1.10." in figure.html
    assert "<figcaption>a &lt; b</figcaption>" in figure.html


def test_the_page_holds_every_frame_once():
    figure = small(start={"members": 10}, alt="{members} members".format)
    state = Page(figure.html).state
    assert state["index"] == 3
    assert state["scene"]["frames"][3] is None  # the still image has it
    for i in range(6):
        assert figure.html.count(figure.frame(i).uri) == 1
    assert state["scene"]["alts"] == ["5 members"] * 3 + ["10 members"] * 3
    assert state["scene"]["size"] == [288, 192]


def test_what_could_end_a_script_is_escaped():
    evil = "</script><!--<script>\" & 'quoted' \\ {0} é"
    figure = small(alt=evil, caption=evil, labels={"members": evil})
    read = Page(figure.html)
    assert len(read.scripts) == 2
    assert "<" not in read.scripts[0]
    assert read.state["scene"]["alts"][0] == evil
    assert read.state["scene"]["controls"][0]["label"] == evil
    assert read.one("img")["alt"] == evil


def test_the_page_asks_nothing_of_the_network():
    code = explorer.SOURCE + explorer.STYLE + page.STAND_IN
    assert not re.search(r"https?:|\bimport\b|fetch\(|@import|url\(|</", code)


def test_too_many_frames_are_refused_before_they_are_drawn():
    calls = []
    figure = explore(counted(calls), alt="A line", members=range(1, 42), inflation=range(10))
    with pytest.raises(
        ValueError, match="41 members x 10 inflation make 410 frames, a page takes"
    ):
        _ = figure.html
    assert len(calls) == 1


def test_a_heavy_page_is_refused_early(monkeypatch):
    monkeypatch.setattr(explorer, "MOST_BYTES", 3_000)
    calls = []
    with pytest.raises(
        ValueError, match=r"of 6 frames take .* MB.*fewer values, or lower figsize"
    ):
        _ = small(draw=counted(calls)).html
    assert len(calls) < 6


@pytest.mark.proof
def test_thirty_frames_of_lines_weigh_less_than_a_megabyte():
    def lines(members, inflation):
        axes = plt.figure(figsize=(6, 3.4), layout="constrained").add_subplot()
        t = np.linspace(0, 10, 200)
        axes.plot(t, np.sin(t), "k", label="truth")
        axes.plot(t, np.sin(t) * inflation, "--", label="forecast")
        axes.plot(t, np.sin(t) + np.cos(3 * t) / members, label="analysis")
        axes.set(xlabel="time", ylabel="x")
        axes.legend()
        return axes

    members, inflation = full(([5, 20, 80], [1, 6]), ([5, 10, 20, 40, 80], range(1, 7)))
    figure = explore(lines, members=members, inflation=inflation, alt="Three lines")
    assert len(figure) == full(6, 30)
    # About 15 KB a frame, a third more in base64; the limit leaves room for another font. Six
    # frames, of which each is as large as the others, may weigh a fifth.
    assert len(figure.html) < full(200_000, 1_000_000)


def test_importing_dalearn_loads_no_widget():
    code = (
        "import sys, dalearn, dalearn.widgets; "
        "print(sorted({'matplotlib', 'ipywidgets', 'anywidget'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
