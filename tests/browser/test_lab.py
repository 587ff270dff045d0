"""An explore() figure in JupyterLab, with its kernel: it is live, frames come on demand."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TOKEN = "a-token-for-this-test"
DRAW = """
import matplotlib.pyplot as plt
from dalearn.widgets import explore

def draw(members, method="ETKF"):
    with open("drawn.txt", "a") as drawn:
        drawn.write(f"{members} {method}\\n")
    if members == 99:
        raise RuntimeError("the filter diverged")
    figure, axes = plt.subplots(figsize=(6.4, 3))
    axes.plot([0, 1], [0, members], "k-" if method == "ETKF" else "r--")
    axes.set(ylim=(0, 50), title=f"{method}, {members} members")
    return figure
"""
LIVE = """
explore(draw, members=[5, 10, 20, 99], method=["ETKF", "EnKF"], start={"members": 10},
        labels={"members": "ensemble size N"}, alt="{method}, {members} members".format,
        caption="Predict: what will more members change?")
"""
STATIC = """
import os
os.environ["DALEARN_STATIC"] = "1"
explore(draw, members=[1, 2, 3], alt="{members} members".format)
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def environment(folder):
    """No settings of the user's; the kernel and the extensions of this Python."""
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    unwanted = ("DALEARN_", "JUPYTER_", "JPY_", "PYTEST_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    made = {name: str(folder / place) for name, place in own.items()}
    return kept | made | {"JUPYTER_PREFER_ENV_PATH": "1"}


def wait_for(server, url, log, seconds=90):
    """Until the server answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        refused = contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError)
        with refused, urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
        time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start in {seconds} s:\n{log.read_text()[-3000:]}")


def end(server):
    """Terminate the server, which ends its kernels; a kernel also ends when its server is gone."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that shows one notebook, and the notebook's folder."""
    pytest.importorskip("jupyterlab")
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in (DRAW, LIVE, STATIC)]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
    nbformat.write(book, work / "figure.ipynb")
    port, log = free_port(), home / "log.txt"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    settings = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": work,
        "IdentityProvider.token": TOKEN,
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    command += [f"--{name}={value}" for name, value in settings.items()]
    with log.open("w") as out:
        server = subprocess.Popen(
            command,
            cwd=work,
            env=environment(home),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(server, f"http://127.0.0.1:{port}/api", log)
        yield f"http://127.0.0.1:{port}/lab/tree/figure.ipynb?token={TOKEN}", work
    finally:
        end(server)


@pytest.fixture(scope="module")
def notebook(lab, watched):
    """The notebook in the browser, all of its cells run."""
    address, work = lab
    with watched() as (context, watch):
        context.set_default_timeout(90_000)  # the first start of a kernel, on a busy machine
        page = context.new_page()
        page.goto(address)
        page.locator(".jp-Notebook .jp-CodeCell").nth(2).wait_for()
        page.get_by_text("| Idle").wait_for()  # before, running a cell does nothing
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.locator(".dalearn-explore .controls").nth(1).wait_for()
        context.set_default_timeout(20_000)
        yield page, Path(work / "drawn.txt")
        assert not watch.outside


def drawn(path):
    return [line for line in path.read_text().splitlines() if int(line.split()[0]) >= 5]


def wait_alt(figure, text):
    figure.locator(f'img[alt="{text}"]').wait_for()


def test_frames_come_on_demand_and_are_kept(notebook):
    page, path = notebook
    figure = page.locator(".dalearn-explore").first
    wait_alt(figure, "ETKF, 10 members")
    assert drawn(path) == ["10 ETKF"]  # the start frame, and no other
    slider = figure.get_by_role("slider", name="ensemble size N")
    before = figure.locator("img").get_attribute("src")
    slider.focus()
    page.keyboard.press("ArrowRight")
    wait_alt(figure, "ETKF, 20 members")
    assert figure.locator("img").get_attribute("src") != before
    assert drawn(path) == ["10 ETKF", "20 ETKF"]
    said = "ensemble size N 20, method ETKF. ETKF, 20 members"
    assert figure.get_by_role("status").text_content() == said
    page.keyboard.press("ArrowLeft")
    wait_alt(figure, "ETKF, 10 members")
    assert figure.locator("img").get_attribute("src") == before
    assert len(drawn(path)) == 2


def test_mouse(notebook):
    page, path = notebook
    figure = page.locator(".dalearn-explore").first
    slider = figure.get_by_role("slider", name="ensemble size N")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 4, box["y"] + box["height"] / 2)
    wait_alt(figure, "ETKF, 5 members")
    figure.get_by_text("EnKF", exact=True).click()
    wait_alt(figure, "EnKF, 5 members")
    assert drawn(path)[-2:] == ["5 ETKF", "5 EnKF"]
    page.keyboard.press("Home")
    wait_alt(figure, "ETKF, 5 members")


def test_keys_are_not_taken_for_commands(notebook):
    page, _ = notebook
    figure = page.locator(".dalearn-explore").first
    figure.get_by_role("slider", name="ensemble size N").click(position={"x": 5, "y": 14})
    for key in ("d", "d", "a", "b", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == 3
    focused = figure.locator("input[type=range]").first
    assert focused.evaluate("e => e === document.activeElement")


def test_a_mistake_in_draw_is_told(notebook):
    page, _ = notebook
    figure = page.locator(".dalearn-explore").first
    slider = figure.get_by_role("slider", name="ensemble size N")
    slider.focus()
    page.keyboard.press("End")
    problem = figure.get_by_role("alert").filter(has_text="RuntimeError: the filter diverged")
    problem.wait_for()
    assert "waiting" in figure.get_attribute("class")  # the picture of other values stays dim
    page.keyboard.press("Home")
    problem.wait_for(state="hidden")
    wait_alt(figure, "ETKF, 5 members")


def test_a_static_figure_lives_in_the_notebook_too(notebook):
    page, path = notebook
    figure = page.locator(".dalearn-explore").nth(1)
    before = path.read_text()
    figure.get_by_role("slider", name="members").focus()
    page.keyboard.press("End")
    wait_alt(figure, "3 members")
    assert path.read_text() == before  # every frame was there
