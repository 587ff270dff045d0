"""A plugin of pytest: the CPU seconds of each test file, and a failure where they pass its bound.

What each file took stands in `_build/tests.json` after a run. Under pytest-xdist the workers
measure and the controller adds up.
"""

import json
import resource
from pathlib import Path

import bounds
import pytest

ROOT = Path(__file__).resolve().parent.parent
START = pytest.StashKey[float]()


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, who))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.stash[START] = spent()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.when == "teardown":
        report.user_properties.append(("cpu", spent() - item.stash[START]))
    return report


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Seconds(config), "dalearn-seconds")


class Seconds:
    """Adds up what each file took."""

    def __init__(self, config):
        self.config, self.files, self.over = config, {}, []

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown":
            name = report.nodeid.partition("::")[0]
            cpu = dict(report.user_properties).get("cpu", 0.0)
            self.files[name] = self.files.get(name, 0.0) + cpu

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        root = self.config.rootpath
        took = sorted(self.files.items(), key=lambda pair: -pair[1])
        bounded = [(name, cpu, bounds.of(root / name)) for name, cpu in took]
        self.over = [found for found in bounded if bounds.exceeded(*found[1:])]
        if self.over and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if root == ROOT:
            (ROOT / "_build").mkdir(exist_ok=True)
            text = json.dumps({name: round(cpu, 1) for name, cpu in took}, indent=1)
            (ROOT / "_build" / "tests.json").write_text(text + "\n", "utf8")

    def pytest_terminal_summary(self, terminalreporter):
        for name, cpu, bound in self.over:
            terminalreporter.write_line(
                f"FAILED {name} took {cpu:.0f} CPU s, its bound is {bound} s (tests/bounds.py)",
                red=True,
            )
