"""Forked kernels, so that what every page imports is imported once.

torch, matplotlib, SciPy and xarray take a kernel seven seconds to import, and each of some twenty
pages has a kernel of its own. Here one process, the nursery, imports them and forks for every
page: its kernel is as fresh as one that has imported them and done nothing else. Where a system
cannot fork safely (all but Linux), kernels start in the usual way; so they do under nbval.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

IMPORTS = (
    "dask.array",  # which xarray imports where it is installed: not for readers
    "ipykernel.kernelapp",
    "ipywidgets",
    "matplotlib.pyplot",
    "scipy.stats",
    "torch._dynamo",  # which torch's optimisers import, in three seconds
    "xarray",
)
BACKEND = "module://matplotlib_inline.backend_inline"
FORKS = sys.platform == "linux"


class Nursery:
    """The process that forks."""

    def __init__(self):
        self.lock = threading.Lock()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, __file__, *IMPORTS], **pipes)

    def fork(self, argv: list[str], folder: str) -> int:
        """Start a kernel with these arguments in this folder; its process number."""
        with self.lock:
            assert self.process.stdin
            assert self.process.stdout
            print(json.dumps([argv, folder]), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that forks kernels has died")
        return int(answer)


nursery = cache(Nursery)


def close() -> None:
    """End the nursery, if there is one; its kernels have ended, or end now."""
    if nursery.cache_info().currsize:
        # leaving the process closes what it reads from, and waits for it; it may have died before
        with contextlib.suppress(BrokenPipeError), nursery().process:
            nursery.cache_clear()


class Kernel:
    """A forked kernel, with what jupyter_client asks of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int):
        self.pid = pid

    def send_signal(self, number: int) -> None:
        os.killpg(self.pid, number)

    def poll(self) -> int | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.02)
        return 0

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def manager_class() -> type:
    """The class of kernel managers for `nbclient`; the nursery begins its imports now."""
    from jupyter_client.manager import AsyncKernelManager

    if not FORKS:
        return AsyncKernelManager
    nursery()

    class Forked(AsyncKernelManager):
        async def _async_launch_kernel(self, kernel_cmd, **settings):
            own = self.provisioner
            argv = kernel_cmd[kernel_cmd.index("-f") :]
            own.process = Kernel(nursery().fork(argv, str(settings.get("cwd", Path.cwd()))))
            own.pid = own.pgid = own.process.pid
            self._reconcile_connection_info(own.connection_info)

    return Forked


# ---- in the nursery ----


def become_kernel(argv: list[str], folder: str) -> None:
    """Run a kernel in this process, which was forked for it, to its end."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # its children end with it
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    os.chdir(folder)
    sys.argv[:] = ["ipykernel_launcher", *argv]
    IPKernelApp.launch_instance(argv=argv)


def main(names: list[str]) -> None:
    """Import the modules; then fork for each line that comes in, and answer with the number."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets children that have ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # a kernel ends when this process does
    os.environ["MPLBACKEND"] = BACKEND  # as a kernel has it before anything is imported
    sys.path.pop(0)  # this folder, which no kernel should see
    for name in names:
        with contextlib.suppress(ImportError):  # a page that wants it will say that it is missing
            __import__(name)
    sys.modules.pop("__mp_main__", None)  # what multiprocessing calls this file
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            become_kernel(*json.loads(line))
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
