"""One writer for a file: threads and processes, those that are killed, and forked children."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from dalearn.files import lock as module
from dalearn.files.lock import one_writer
from dalearn.files.whole import part_of

WAITS = """
import sys, time
from dalearn.files.lock import one_writer
with one_writer(sys.argv[1]):
    print("here", flush=True)
    time.sleep(60)
"""


def without_system_locks(monkeypatch):
    def lockf(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(module.fcntl, "lockf", lockf)


@pytest.fixture(params=["system", "name"])
def kind(request, monkeypatch):
    """Locks of the operating system, and those that are there by name."""
    if request.param == "name":
        without_system_locks(monkeypatch)
    return request.param


def begun(path, kind):
    code = WAITS
    if kind == "name":
        code = "import fcntl\ndef no(*_): raise OSError(37, 'none')\nfcntl.lockf = no\n" + code
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "here\n"
    return child


def test_another_process_is_refused_by_name_until_it_is_killed(tmp_path, kind):
    path = tmp_path / "run.npy"
    child = begun(path, kind)
    try:
        words = rf"run\.npy is being written by process {child.pid}, since .*remove run\.npy\.lock"
        with pytest.raises(ValueError, match=words), one_writer(path):
            pass
        left = part_of(path)
        left.write_text("half")  # what the other was about to write
        mine = tmp_path / "run.npy.part"
        mine.write_text("of somebody else")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert (tmp_path / "run.npy.lock").exists()
    with one_writer(path):
        assert not left.exists()
        assert json.loads((tmp_path / "run.npy.lock").read_bytes())["pid"] == os.getpid()
    assert [p.name for p in tmp_path.iterdir()] == ["run.npy.part"]


def test_threads_and_the_same_thread_are_refused(tmp_path, kind):
    path = tmp_path / "run.npy"
    others = (path, os.path.relpath(path), tmp_path / "." / "run.npy", str(path))

    def enter(p):
        with one_writer(p):
            pass

    with one_writer(path), ThreadPoolExecutor(1) as pool:
        for p in others:
            with pytest.raises(ValueError, match=f"another thread of process {os.getpid()}"):
                pool.submit(enter, p).result()
        with pytest.raises(ValueError, match="another thread"):
            enter(path)
        enter(tmp_path / "other.npy")
        if kind == "system":  # whoever asked has not loosened the lock
            code = "import sys\nfrom dalearn.files.lock import one_writer\n"
            code += "with one_writer(sys.argv[1]): pass"
            ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
            assert b"is being written by process" in ran.stderr
    enter(path)
    assert not list(tmp_path.iterdir())


def test_of_many_threads_one_is_inside(tmp_path, kind):
    path, inside, most, done = tmp_path / "a", [], [], []

    def go(_):
        for _ in range(30):
            try:
                with one_writer(path):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.0005)
                    inside.pop()
                    done.append(1)
            except ValueError:
                time.sleep(0.0005)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(go, range(4)))
    assert set(most) == {1}
    assert done


def counted(path, log):
    for _ in range(40):
        try:
            with one_writer(path):
                with open(log, "a") as f:
                    f.write("+")
                time.sleep(0.0005)
                with open(log, "a") as f:
                    f.write("-")
        except ValueError:
            time.sleep(0.0003)


def test_of_many_processes_one_is_inside(tmp_path):
    log, context = tmp_path / "log", get_context("fork")
    children = [context.Process(target=counted, args=(tmp_path / "a", log)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    text = log.read_text()
    assert text == "+-" * (len(text) // 2)
    assert len(text) > 40


def test_a_forked_child_holds_nothing_of_its_parent(tmp_path, kind):
    """It is refused while the parent writes, and does not go on holding when the parent ends."""
    path, context = tmp_path / "a", get_context("fork")
    ends, told = context.Event(), context.Queue()

    def child():
        try:
            with one_writer(path):
                told.put("inside")
        except ValueError:
            told.put("refused")
        ends.wait(30)

    with one_writer(path):
        process = context.Process(target=child)
        process.start()
        assert told.get(timeout=30) == "refused"
    with one_writer(path):
        pass
    ends.set()
    process.join(30)


def test_a_lock_of_another_machine_says_how_to_be_rid_of_it(tmp_path, monkeypatch):
    without_system_locks(monkeypatch)
    path, lock = tmp_path / "a", tmp_path / "a.lock"
    lock.write_text(json.dumps({"dalearn": "lock", "pid": 7, "host": "elsewhere", "since": "?"}))
    words = r"process 7 on the machine elsewhere.*has ended, remove a\.lock"
    with pytest.raises(ValueError, match=words), one_writer(path):
        pass
    lock.unlink()
    with one_writer(path):
        pass


def test_what_is_no_lock_is_left_alone(tmp_path):
    (tmp_path / "a.lock").write_text("my notes on locks")
    with pytest.raises(ValueError, match=r"a\.lock is no lock of dalearn's"):  # noqa: SIM117
        with one_writer(tmp_path / "a"):
            pass
    assert (tmp_path / "a.lock").read_text() == "my notes on locks"
