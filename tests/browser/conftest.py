"""A real Chromium, a local server, and a page that may talk to nobody else."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # there is no other host
]
SCREENS = {
    "desk": {"width": 1400, "height": 900},
    "phone": {"width": 390, "height": 844},
}

# Colours change and pages scroll at once: a test must not measure half way, nor wait.
AT_ONCE = """addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent = "* { transition: none !important; scroll-behavior: auto !important }";
  document.head.append(style);
});"""


def lacking(reason):
    """Skip with a reason at home; on the integration server a browser test never skips."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI=true, yet {reason}", pytrace=False)
    pytest.skip(reason)


def chromium_path():
    """DALEARN_CHROMIUM, the system's Chromium, or None for the one playwright installed.

    Its shell without windows draws the same pages and takes half the time to open one.
    """
    named = os.environ.get("DALEARN_CHROMIUM")
    if named and not Path(named).exists():
        lacking(f"DALEARN_CHROMIUM={named} does not exist")
    installed = map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))
    return named or next(filter(None, installed), None)


@pytest.fixture(scope="module")  # so that its CPU seconds are counted where they were spent
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=chromium_path(), args=ARGS)
        except sync_api.Error as error:
            lacking(f"no Chromium starts ({str(error).splitlines()[0]}); set DALEARN_CHROMIUM")
        yield found
        found.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@dataclass
class Server:
    """Files of a folder over http."""

    folder: Path

    def __enter__(self):
        handler = functools.partial(Quiet, directory=str(self.folder))
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()
        return f"http://127.0.0.1:{self.http.server_port}"

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture(scope="session")
def serve():
    """The class, so that a test may serve its own folder."""
    return Server


@dataclass
class Watch:
    """What a page did that it should not: asked the network, complained, failed."""

    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def attach(self, context):
        context.on("request", self.judge)
        context.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        context.on("weberror", lambda e: self.errors.append(str(e.error)))
        context.on("requestfailed", lambda r: self.errors.append(f"failed: {r.url[:200]}"))
        context.on("response", self.hear)
        return context

    def judge(self, request):
        url = urlsplit(request.url)
        if url.scheme not in ("file", "data", "blob") and url.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def hear(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url}")

    def assert_clean(self, where):
        assert not self.outside, f"{where} asked the network for {self.outside}"
        assert not self.errors, f"{where}: {self.errors}"

    def forget(self):
        self.outside.clear()
        self.errors.clear()


@pytest.fixture(scope="module")
def watched(browser):
    """`with watched("phone", color_scheme="dark") as (context, watch):`, a fresh context."""

    @contextlib.contextmanager
    def opened(screen="desk", **settings):
        watch = Watch()
        context = watch.attach(browser.new_context(viewport=SCREENS[screen], **settings))
        context.set_default_timeout(60_000)
        context.add_init_script(AT_ONCE)
        try:
            yield context, watch
        finally:
            context.close()

    return opened
