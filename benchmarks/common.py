"""What every benchmark shares: one thread, two sides timed in turn, and the written report."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PACKAGES = ("dalearn", "numpy", "scipy", "torch", "xarray", "array-api-compat", "dapper")


def one_thread() -> None:
    """Start this process again with one thread: the libraries read the setting when loaded."""
    if all(os.environ.get(name) == "1" for name in THREADS):
        return
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def in_turn(
    sides: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of each side, one block each per round, after one round that is not counted.

    A busy machine slows whole minutes, so two sides are compared within a round only. The clock
    is the CPU time of this process unless another is given.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds + 1):
        for name, block in sides.items():
            start = clock()
            block()
            if i:
                seconds[name].append(clock() - start)
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, str]:
    """Median over the rounds of slow / fast, and its range."""
    found = [s / f for s, f in zip(slow, fast, strict=True)]
    return round(statistics.median(found), 1), f"{min(found):.1f}-{max(found):.1f}"


def hardware() -> dict[str, Any]:
    """CPU model, cores, memory and GPU."""
    model, memory = platform.processor() or platform.machine(), None
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if "model name" in x), model)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    found: dict[str, Any] = {"cpu": model, "cores": os.cpu_count(), "memory_gib": memory}
    if gpu := gpu_name():
        found["gpu"] = gpu
    return found


def gpu_name() -> str | None:
    """The name of the GPU that torch sees, or None."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def versions() -> dict[str, str]:
    """Of python and of the packages that matter to a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


class Report:
    """Tables that are printed as they come and written as Markdown and JSON at the end."""

    def __init__(self, title: str, command: str):
        self.title = title
        self.meta = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": command,
            "hardware": hardware(),
            "versions": versions(),
            "threads": 1,
        }
        self.sections: list[dict[str, Any]] = []

    def section(self, title: str, note: str, columns: Sequence[str]) -> None:
        """Begin a table."""
        self.sections.append(
            {"title": title, "note": note, "columns": list(columns), "rows": [], "after": []}
        )
        print(f"\n## {title}\n\n{note}\n\n{_line(columns)}\n{_line(['---'] * len(columns))}")

    def row(self, *cells: Any) -> None:
        """Add a row to the last table."""
        self.sections[-1]["rows"].append(list(cells))
        print(_line(cells), flush=True)

    def after(self, text: str) -> None:
        """Add a sentence below the last table."""
        self.sections[-1]["after"].append(text)
        print(f"\n{text}", flush=True)

    def markdown(self) -> str:
        """The whole report."""
        meta = self.meta
        parts = [
            f"# {self.title}",
            f"{meta['date']}, `{meta['command']}`, {meta['threads']} thread.",
            ", ".join(f"{k} {v}" for k, v in meta["hardware"].items()) + ".",
            ", ".join(f"{k} {v}" for k, v in meta["versions"].items()) + ".",
        ]
        for s in self.sections:
            parts += [f"## {s['title']}", s["note"]]
            table = [s["columns"], ["---"] * len(s["columns"]), *s["rows"]]
            parts += ["\n".join(_line(cells) for cells in table), *s["after"]]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path, stem: str) -> None:
        """`stem`.md and `stem`.json in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.md").write_text(self.markdown(), encoding="utf-8")
        text = json.dumps({**self.meta, "sections": self.sections}, indent=1)
        (folder / f"{stem}.json").write_text(text + "\n", encoding="utf-8")


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(_cell(c) for c in cells) + " |"


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
