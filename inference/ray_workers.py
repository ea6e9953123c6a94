"""Workers of Ray, on this machine or a cluster: each has a model, and predicts the batches that it is handed.

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

# So many times: a batch that kills each worker would otherwise never end.
RESTARTS = 4
# One that is worked on, and one that waits for it.
BATCHES_OF_A_WORKER = 2
LOCAL = "local"

NumberedBatch = tuple[int, list[int], list[dict]]


class RayWorker:
    """Holds a predictor in a process of its own.

    Args:
        make: makes the predictor.
    """

    def __init__(self, make: Callable[[], Callable]):
        self.predictor, self.pool = make(), ThreadPoolExecutor()

    def predict(self, posts: list[dict]) -> list[dict]:
        """Predict a batch of posts."""
        return self.predictor(posts, self.pool)


def predict_on_ray(
    make: Callable[[], Callable], batches: Iterable[NumberedBatch], address: str, workers: int | None
) -> Iterator[NumberedBatch]:
    """Predict batches with workers of Ray.

    Args:
        make: makes the predictor of a worker, in its process.
        batches: numbers of batches, the places of their posts, and the posts; read as workers become free.
        address: of a cluster, or `"local"` for one of this machine, for as long as this takes.
        workers: how many there are; one for each GPU of the cluster, or one, if not given.

    Yields:
        The number of a batch, the places, and the rows of its posts, as they are done.

    Raises:
        ImportError: Ray is not installed.
        OSError: there is no such cluster.
        ray.exceptions.RayError: workers have died again and again.
    """
    ray = check_cluster(address)
    try:
        # A cluster of its own has no dashboard; one that is there may have.
        more = {"include_dashboard": False} if address == LOCAL else {}
        ray.init(address=address, log_to_driver=False, **more)
    except (ConnectionError, ValueError) as error:
        raise OSError(f"--ray {address}: {error}") from error
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        options = {"num_cpus": 1, "num_gpus": 1 if gpus else 0, "max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        remote = ray.remote(**options)(RayWorker)
        free = deque(remote.remote(make) for _ in range(workers or gpus or 1))
        free.extend(list(free) * (BATCHES_OF_A_WORKER - 1))
        running = {}

        def one_done() -> NumberedBatch:
            (done,), _ = ray.wait(list(running), num_returns=1)
            worker, number, places = running.pop(done)
            free.append(worker)
            return number, places, ray.get(done)

        for number, places, posts in batches:
            if not free:
                yield one_done()
            worker = free.popleft()
            running[worker.predict.remote(posts)] = worker, number, places
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


__all__ = ["check_cluster", "predict_on_ray"]
