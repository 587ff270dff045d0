"""A plugin of pytest: nbval compares the `check` cells, and no kernel runs (`make pages`).

nbval collects the cells of the committed notebooks, compares their outputs and reports the
differences, by its own classes and rules. Only the kernel is another: `Replay` answers each cell
with the outputs that `execute_pages.py` has kept. So each page is executed once, for the site and
for the comparison. `pytest --nbval book` runs the notebooks live, as ever (`make nbval`).
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from queue import Empty

import execute_pages
import pytest
from nbval.plugin import IPyNbFile


class ExecutedNotebook(IPyNbFile):
    """A notebook whose cells are answered from the cache."""

    def setup(self) -> None:
        self.kernel = Replay(self.path)
        self.setup_sanitize_files()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != ".ipynb" or not file_path.with_suffix(".md").exists():
        return None
    return ExecutedNotebook.from_parent(parent, path=file_path)


class Replay:
    """What nbval asks of a kernel, answered from a page's execution."""

    def __init__(self, notebook: Path) -> None:
        page = notebook.with_suffix(".md")
        why = execute_pages.stale(page)
        if why:
            pytest.fail(f"{notebook.name} was not executed as it is ({why}): `make pages`", False)
        self.cells = deque(execute_pages.executed(page))
        self.messages: deque[dict] = deque()
        self.asked = 0

    def is_alive(self) -> bool:
        return True

    def execute_cell_input(self, source: str, allow_stdin: bool | None = None) -> str:
        """Take the next cell; its outputs become the messages that a kernel would send."""
        self.asked += 1
        name = f"cell-{self.asked}"
        cell = self.cells.popleft() if self.cells else None
        if cell is None or cell.source != source:
            raise RuntimeError("the notebook's code is not the page's: `make notebooks`")
        for output in cell.outputs:
            self.say(name, output.output_type, output)
        self.say(name, "status", {"execution_state": "idle"})
        return name

    def say(self, parent: str, kind: str, content: dict) -> None:
        self.messages.append(
            {"msg_type": kind, "content": content, "parent_header": {"msg_id": parent}}
        )

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """A kernel's reply may keep nbval waiting; here everything has been said."""

    def get_message(self, stream: str, timeout: float | None = None) -> dict:
        if not self.messages:
            raise Empty
        return self.messages.popleft()

    def await_idle(self, parent_id: str, timeout: float) -> None:
        self.messages.clear()

    def stop(self) -> None:
        self.messages.clear()
