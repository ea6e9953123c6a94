"""A local cluster of Ray in tests: time to start in, and its workers."""

import os

import psutil

# On a machine with much other work, a local cluster needs longer to start than Ray waits by itself.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")


def ray_processes() -> list[psutil.Process]:
    """Return the workers of this process's cluster."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if (each.cmdline() or [""])[0].startswith("ray::RayWorker")]
