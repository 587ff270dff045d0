"""One writer for a file or a folder: the second is refused, and told who the first is.

The lock of `run.npy` is the file `run.npy.lock` beside it. The operating system holds it for a
process (`fcntl.lockf`, also between machines that share a network file system) and lets it go
when the process ends, however it ends; what a killed writer leaves is taken over. Where a file
system has no such locks, the file itself is the lock, and one whose process is gone is taken over
on the same machine. Threads of one process are kept apart by a table.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .whole import remove_parts

fcntl: Any = None
if find_spec("fcntl"):  # not on Windows
    import fcntl

# What this process holds, by process and lock: a forked child holds none of its parent's. A lock
# that is held is not opened again here: the system lets it go when any of its files is closed.
_held: dict[tuple[int, str], dict[str, Any]] = {}
_table = threading.Lock()
_WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # no locks here


@contextmanager
def one_writer(path: str | os.PathLike) -> Iterator[None]:
    """Be the only one of all processes and threads who writes to `path`.

    Parts that a killed writer has left are removed.

    Args:
        path: the file or folder; its parent must be there.

    Returns:
        Iterator[None]: for `with`.

    Raises:
        ValueError: somebody else is writing; the message names the process.
    """
    path = Path(path).absolute()
    lock = path.with_name(path.name + ".lock")
    key = os.getpid(), os.path.realpath(lock)
    with _table:
        if key in _held:
            raise _refusal(path, lock, _held[key], "another thread of process")
        _held[key] = _about()
    try:
        file = _taken(path, lock)
        try:
            remove_parts(path)
            yield
        finally:
            _let_go(lock, file)
    finally:
        with _table:
            del _held[key]


def _about() -> dict[str, Any]:
    """Who this is, for the one who is refused."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"dalearn": "lock", "pid": os.getpid(), "host": platform.node(), "since": now}


def _taken(path: Path, lock: Path) -> int | None:
    """The lock file, open and ours; None where it is ours by being there."""
    if fcntl is not None:
        try:
            return _by_system(path, lock)
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
    return _by_name(path, lock)


def _by_system(path: Path, lock: Path) -> int:
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)  # a new process does not inherit it
        try:
            text = os.read(fd, 4096).decode(errors="replace")
            if text and '"dalearn"' not in text:
                raise ValueError(f"{lock} is no lock of dalearn's; wanted it out of the way")
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise _refusal(path, lock, _met(lock)) from None
                if error.errno in _WITHOUT and not text:
                    lock.unlink(missing_ok=True)
                raise
            if lock.exists() and os.path.samestat(os.fstat(fd), lock.stat()):
                about = json.dumps(_about()).encode()
                os.pwrite(fd, about, 0)
                os.ftruncate(fd, len(about))
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its owner had removed it; there may be a new one


def _by_name(path: Path, lock: Path) -> None:
    for _ in range(2):
        try:
            fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            about = _met(lock)
            if not _gone(about):
                raise _refusal(path, lock, about) from None
            lock.unlink(missing_ok=True)
        else:
            os.write(fd, json.dumps(_about()).encode())
            os.close(fd)
            return
    raise _refusal(path, lock, _met(lock))


def _let_go(lock: Path, fd: int | None) -> None:
    lock.unlink(missing_ok=True)  # while it is ours
    if fd is not None:
        os.close(fd)


def _met(lock: Path) -> dict[str, Any]:
    """What a lock says of its owner; it may be just about to say it."""
    for _ in range(20):
        try:
            about = json.loads(lock.read_bytes())
            return about if isinstance(about, dict) else {}
        except (OSError, ValueError):
            time.sleep(0.005)
    return {}


def _gone(about: dict[str, Any]) -> bool:
    """Whether the owner of a lock is known to have ended."""
    pid = about.get("pid")
    if about.get("host") != platform.node() or not isinstance(pid, int) or os.name != "posix":
        return False
    if pid == os.getpid():  # the number came again: this process holds it not, says the table
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _refusal(path: Path, lock: Path, about: dict[str, Any], who: str = "process") -> ValueError:
    here = about.get("host") == platform.node()
    where = "" if here else f" on the machine {about.get('host', 'unknown')}"
    return ValueError(
        f"{path} is being written by {who} {about.get('pid', 'unknown')}{where}, since "
        f"{about.get('since', 'unknown')}; one at a time may write: wait for it, or choose "
        f"another path. (If that process has ended, remove {lock.name})"
    )
