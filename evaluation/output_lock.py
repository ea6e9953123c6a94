"""The lock of an output, a folder or a file: one run at a time writes into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from mmre.posts.file_lock import take
from mmre.posts.whole_file import remove_unfinished

LOCK_FILE = ".lock"


def is_in_use(output_dir: str | Path) -> bool:
    """Tell whether a process holds the lock of an output folder."""
    lock = FileLock(Path(output_dir) / LOCK_FILE, timeout=0)
    if not Path(lock.lock_file).is_file():
        return False
    if not take(lock):
        return True
    lock.release()
    return False


@contextmanager
def only_run(output_dir: str | Path) -> Iterator[None]:
    """Hold the lock of an output folder; make the folder, and remove it if nothing is written into it.

    The system frees the lock of a process that is killed.

    Raises:
        ValueError: if another process holds it.
        OSError: if nothing can be written there.
    """
    output_dir = Path(output_dir)
    lock = _acquire(
        output_dir / LOCK_FILE,
        f"another process runs in {output_dir}: wait for its end, or set another --output_dir",
    )
    try:
        yield
    finally:
        lock.release()
        if [path.name for path in output_dir.iterdir()] == [LOCK_FILE]:
            (output_dir / LOCK_FILE).unlink()
            output_dir.rmdir()


@contextmanager
def only_writer(out: str | os.PathLike, *beside: str | os.PathLike) -> Iterator[None]:
    """Hold the lock of an output file, `OUT.lock`; make the file's folder, and remove what killed runs left of it.

    The system frees the lock of a process that is killed.

    Args:
        out: the file.
        beside: further files of the run, in the same folder.

    Raises:
        ValueError: if another process holds it.
        OSError: if nothing can be written there.
    """
    lock = _acquire(Path(f"{out}.lock"), f"another run is writing {out}: wait for it, or give another --out")
    try:
        for path in (out, *beside):
            remove_unfinished(path)
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file
            os.unlink(lock.lock_file)
        lock.release()


def _acquire(path: Path, refusal: str) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    if not take(lock):
        raise ValueError(refusal)
    return lock


__all__ = ["is_in_use", "only_run", "only_writer"]
