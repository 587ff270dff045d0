"""What every benchmark shares: one thread, two sides timed in turn, and the written report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
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


def per_call(
    sides: Mapping[str, Callable[[], Any]],
    rounds: int,
    block: float,
    clock: Callable[[], float] = time.process_time,
    finish: Callable[[], Any] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of one call of each side in each round, as `in_turn`, but for short calls.

    In a round each side is called as often as fits in `block` seconds, after a call that is not
    counted: another side had the cache and the allocator. `finish` ends the work that was only
    started (on a GPU).
    """

    def times(call: Callable, count: int, clock: Callable[[], float]) -> float:
        call()
        finish()
        start = clock()
        for _ in range(count):
            call()
        finish()
        return (clock() - start) / count

    once = {name: times(call, 1, time.perf_counter) for name, call in sides.items()}
    counts = {name: max(1, int(block / seconds)) for name, seconds in once.items()}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            found[name].append(times(call, counts[name], clock))
    return found


def ratio(slow: Sequence[float], fast: Sequence[float], digits: int = 1) -> tuple[float, str]:
    """Median over the rounds of slow / fast, and its range."""
    found = [s / f for s, f in zip(slow, fast, strict=True)]
    span = f"{min(found):.{digits}f}-{max(found):.{digits}f}"
    return round(statistics.median(found), digits), span


def hardware() -> dict[str, Any]:
    """CPU model, cores, caches, memory, GPU, and how busy the machine is."""
    model, memory = platform.processor() or platform.machine(), None
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if "model name" in x), model)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    found: dict[str, Any] = {"cpu": model, "cores": os.cpu_count(), "memory_gib": memory}
    found |= {f"l{level}_cache_kib": size // 1024 for level, size in caches().items() if level > 1}
    if gpu := gpu_name():
        found["gpu"] = gpu
    if hasattr(os, "getloadavg"):
        found["load_at_start"] = round(os.getloadavg()[0], 1)  # what else kept the cores busy
    return found


def caches() -> dict[int, int]:
    """Bytes of the data caches that the first core sees, level by level (Linux; else none)."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / n).read_text().strip() for n in ("level", "type", "size"))
        if kind != "Instruction" and size.endswith("K"):
            found[int(level)] = int(size[:-1]) * 1024
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


def parser(module: str, doc: str | None, sections: Sequence[str]) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    found = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--quick", action="store_true", help="shorter runs, fewer rounds")
    found.add_argument("--only", choices=sections, help="one section instead of all")
    found.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return found


def run(
    module: str,
    title: str,
    options: argparse.Namespace,
    sections: Mapping[str, Callable[[Report, bool], None]],
) -> None:
    """Run the chosen sections, one thread, and write the report."""
    one_thread()
    os.environ.setdefault("MPLBACKEND", "Agg")
    flags = [name for name, value in vars(options).items() if value is True]
    chosen = [*(f"--{f}" for f in flags), *(["--only", options.only] if options.only else [])]
    report = Report(title, shlex.join(["python", "-m", f"benchmarks.{module}", *chosen]))
    stem = "-".join([module, *(f for f in flags if f == "quick"), *filter(None, [options.only])])
    start = time.perf_counter()
    for name in [options.only] if options.only else sections:
        sections[name](report, options.quick)
        report.write(options.out, stem)
    print(f"\n{time.perf_counter() - start:.0f} s; wrote {options.out / stem}.md and .json")


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(_cell(c) for c in cells) + " |"


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
