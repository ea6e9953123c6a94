"""The lock of an output folder: one run at a time writes into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_FILE = ".lock"


def is_in_use(output_dir: str | Path) -> bool:
    """Tell whether a process holds the lock of an output folder."""
    lock = FileLock(Path(output_dir) / LOCK_FILE, timeout=0)
    if not Path(lock.lock_file).is_file():
        return False
    try:
        with lock:
            return False
    except Timeout:
        return True


@contextmanager
def only_run(output_dir: str | Path) -> Iterator[None]:
    """Hold the lock of an output folder, which is made; it goes again if nothing is written into it.

    The system frees the lock of a process that is killed.

    Raises:
        ValueError: if another process holds it.
    """
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output_dir / LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another process runs in {output_dir}: wait for its end, or set another --output_dir"
        ) from None
    try:
        yield
    finally:
        lock.release()
        if [path.name for path in output_dir.iterdir()] == [LOCK_FILE]:
            (output_dir / LOCK_FILE).unlink()
            output_dir.rmdir()


__all__ = ["is_in_use", "only_run"]
