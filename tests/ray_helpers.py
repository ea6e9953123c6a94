"""A local cluster of Ray in tests: time to start in, and its workers."""

import os
import signal
from types import ModuleType

import psutil
from pytest import MonkeyPatch

# On a machine with much other work, a local cluster needs longer to start than Ray waits by itself.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")


def ray_processes() -> list[psutil.Process]:
    """Return the workers of this process's cluster."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if (each.cmdline() or [""])[0].startswith("ray::RayWorker")]


def kill_a_worker(monkeypatch: MonkeyPatch, module: ModuleType) -> list[int]:
    """Kill a worker once `module` has written its first batch; return where its process id will be."""
    killed, append_line = [], module.append_line

    def append_and_kill(file, line):
        append_line(file, line)
        if "batch" in line and not killed:
            worker = ray_processes()[0]
            os.kill(worker.pid, signal.SIGKILL)
            killed.append(worker.pid)

    monkeypatch.setattr(module, "append_line", append_and_kill)
    return killed
