"""Workers of Ray, on this machine or a cluster: each has its models, and works on the batches that it is handed.

A worker that dies is started anew, and its batches are handed out again. Results come back to the one process that
reads the posts and writes what is found, so that a run with workers can be stopped, and gone on with, as one without.
"""

import os
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .arguments import LOCAL

# So many times: a batch that kills each worker would otherwise never end.
RESTARTS = 4
# One that is worked on, and one that waits for it.
BATCHES_OF_A_WORKER = 2


class RayWorker:
    """Holds models in a process of its own.

    Args:
        make: makes what works on batches; it is called with a batch and a pool of threads.
    """

    def __init__(self, make: Callable[[], Callable]):
        self.make, self.made, self.pool = make, None, ThreadPoolExecutor()

    def work(self, batch: Any) -> Any:
        """Work on a batch; the models are loaded for the first one, so that what is wrong with them is told by it."""
        if self.made is None:
            self.made = self.make()
        return self.made(batch, self.pool)


def work_on_ray(
    make: Callable[[], Callable], batches: Iterable[tuple[Any, Any]], address: str, workers: int | None
) -> Iterator[tuple[Any, Any]]:
    """Work on batches with workers of Ray.

    Args:
        make: makes what works on batches, in the process of a worker.
        batches: names of batches, and the batches; read as workers become free.
        address: of a cluster, or `"local"` for one of this machine, for as long as this takes.
        workers: how many there are; one for each GPU of the cluster, or one, if not given.

    Yields:
        The name of a batch, and what came of it, as they are done.

    Raises:
        ImportError: Ray is not installed.
        OSError: there is no such cluster.
        ValueError: this machine has not room for so many workers.
        ray.exceptions.RayError: workers have died again and again.
        Exception: what is raised in a worker, is raised here.
    """
    ray = check_cluster(address)
    try:
        # A cluster of its own has no dashboard; one that is there may have.
        more = {"include_dashboard": False} if address == LOCAL else {}
        ray.init(address=address, log_to_driver=False, **more)
    except Exception as error:  # a cluster that does not start in time raises no other kind
        raise OSError(f"--ray {address}: {' '.join(str(error).split())}") from error
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        workers, room = workers or gpus or 1, gpus or int(ray.cluster_resources().get("CPU", 1))
        if address == LOCAL and workers > room:  # some would wait for ever; other clusters may grow
            what = "GPUs" if gpus else "CPUs"
            raise ValueError(f"--workers {workers}: this machine has {room} {what}; expected at most so many")
        options = {"num_cpus": 1, "num_gpus": 1 if gpus else 0, "max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        remote = ray.remote(**options)(RayWorker)
        free = deque(remote.remote(make) for _ in range(workers))
        free.extend(list(free) * (BATCHES_OF_A_WORKER - 1))
        running = {}

        def one_done() -> tuple[Any, Any]:
            (done,), _ = ray.wait(list(running), num_returns=1)
            worker, name = running.pop(done)
            free.append(worker)
            try:
                return name, ray.get(done)
            except ray.exceptions.RayTaskError as error:
                # Its own message is a traceback of the worker, which says little to a user.
                raise error.cause from error

        for name, batch in batches:
            if not free:
                yield one_done()
            worker = free.popleft()
            running[worker.work.remote(batch)] = worker, name
        while running:
            yield one_done()
    finally:
        ray.shutdown()


def check_cluster(address: str) -> Any:
    """Import Ray, which tells nobody that it is used, and look whether anything listens at an address.

    Ray itself waits for minutes for a cluster that is not there.

    Returns:
        The module.

    Raises:
        ImportError: Ray is not installed; the message has the command that installs it.
        OSError: nothing listens there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ImportError('--ray needs Ray: pip install "mmre[ray]"') from error
    place = re.fullmatch(r"(?:ray://)?([^/:]+):(\d+)", address)
    if place is not None:
        try:
            socket.create_connection((place[1], int(place[2])), timeout=10).close()
        except OSError as error:
            raise OSError(f"--ray {address}: {error.strerror or error}; expected a cluster there, or local") from error
    return ray


__all__ = ["check_cluster", "work_on_ray"]
