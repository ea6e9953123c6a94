"""Figures of a server for Prometheus: requests, posts, batches, and what waits."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
COUNT_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class ServingMetrics:
    """Figures of one server.

    Args:
        count_waiting: returns the number of posts that wait.
    """

    def __init__(self, count_waiting: Callable[[], int]):
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("mmre_requests", "Requests, by path and status.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "mmre_request_seconds", "Seconds of a request.", ["path"], buckets=SECONDS_BUCKETS, registry=registry
        )
        self.posts = Counter("mmre_posts", "Posts, answered or failed.", ["result"], registry=registry)
        self.triples = Counter("mmre_triples", "Triples.", registry=registry)
        self.batch_posts = Histogram("mmre_batch_posts", "Posts of a batch.", buckets=COUNT_BUCKETS, registry=registry)
        self.batch_seconds = Histogram(
            "mmre_batch_seconds", "Seconds of the model with a batch.", buckets=SECONDS_BUCKETS, registry=registry
        )
        waiting = Gauge("mmre_waiting_posts", "Posts that wait for the model.", registry=registry)
        waiting.set_function(count_waiting)

    def note_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def note_batch(self, count: int, seconds: float) -> None:
        """Count a batch of so many posts."""
        self.batch_posts.observe(count)
        self.batch_seconds.observe(seconds)

    def note_posts(self, answers: list[dict]) -> None:
        """Count the posts of an answer, and their triples."""
        failed = sum("error" in each for each in answers)
        self.posts.labels("failed").inc(failed)
        self.posts.labels("answered").inc(len(answers) - failed)
        self.triples.inc(sum(len(each.get("triples", ())) for each in answers))

    def as_text(self) -> bytes:
        """Return all figures, as Prometheus reads them."""
        return generate_latest(self.registry)


__all__ = ["ServingMetrics"]
