"""Arguments of serving: where to listen, how to batch, and how much is taken of a request. Free of torch."""

from dataclasses import dataclass, field

from .arguments import DecisionArguments

LARGEST_PORT = 65535


@dataclass(kw_only=True)
class ServingArguments(DecisionArguments):
    """Arguments of serving: those of what is said about posts, and address, batches and limits of a request."""

    host: str = field(
        default="127.0.0.1",
        metadata={"metavar": "ADDRESS", "help": "Address to listen on; 0.0.0.0 is every one of this machine."},
    )
    port: int = field(default=8000, metadata={"help": "Port to listen on; 0 is any free one."})
    max_wait_ms: float = field(
        default=5.0, metadata={"help": "Longest wait, in milliseconds, of a post for others to fill its batch."}
    )
    max_queue: int = field(
        default=256,
        metadata={"help": "Most posts that wait; a request for which there is no room is answered with 503."},
    )
    max_posts: int = field(default=32, metadata={"help": "Most posts of a request."})
    max_text: int = field(default=5000, metadata={"help": "Most characters of a text, and of a caption."})
    max_pairs: int = field(default=200, metadata={"help": "Most pairs of entities of a post."})
    max_body_mb: float = field(default=10.0, metadata={"help": "Most megabytes of a request, pictures included."})
    max_pixels: int = field(default=20_000_000, metadata={"help": "Most pixels of a picture."})
    max_seconds: float = field(default=30.0, metadata={"help": "Longest time, in seconds, for a request to arrive in."})

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.port <= LARGEST_PORT:
            raise ValueError(f"--port {self.port}; expected a number from 0 to {LARGEST_PORT}")
        for name in ("max_queue", "max_posts", "max_text", "max_pairs", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}; expected at least 1")
        for name in ("max_body_mb", "max_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"--{name} {getattr(self, name)}; expected more than 0")
        if not 0 <= self.max_wait_ms <= 10_000:
            raise ValueError(f"--max_wait_ms {self.max_wait_ms}; expected a number from 0 to 10000")
        if self.max_posts > self.max_queue:
            raise ValueError(f"--max_posts {self.max_posts}; expected at most --max_queue, {self.max_queue}")


__all__ = ["ServingArguments"]
