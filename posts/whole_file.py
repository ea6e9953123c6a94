"""The one way to write a file, or a folder of files: it is whole at its path, or not there."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: str | os.PathLike, mode: str = "w", newline: str | None = "\n") -> Iterator[IO]:
    """Open a file to write; its path has the old file, or none, until the new one is complete and on disk.

    The new file is written to `PATH.PID.unfinished`, PID the number of the process, and takes the place of the old one
    when the block ends. If the block raises, the unfinished file is removed and the old one stays. Where two processes
    write one file, the last that ends has its place.

    Args:
        path: of the file; its folder must be there.
        mode: `"w"` for text, in UTF-8, or `"wb"` for bytes.
        newline: as `open` takes it, for text; the same line ends on every system by default.

    Yields:
        The file.

    Raises:
        OSError: the file cannot be written.
    """
    unfinished = Path(f"{os.fspath(path)}.{os.getpid()}.unfinished")
    as_text = {} if "b" in mode else {"encoding": "utf-8", "newline": newline}
    try:
        with open(unfinished, mode, **as_text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def remove_unfinished(path: str | os.PathLike) -> None:
    """Remove the unfinished files of a path, `PATH.PID.unfinished`, which killed processes left.

    Call it while you hold the lock of the path: the number in a name is a process of any machine or container that
    has this folder, so that it does not tell whether the process still writes.

    Args:
        path: of the file.
    """
    path = Path(path)
    left = re.compile(re.escape(path.name) + r"\.\d+\.unfinished")
    for other in path.parent.iterdir():
        if left.fullmatch(other.name):
            with suppress(OSError):  # it is in nobody's way
                other.unlink()


@contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Make a new folder; nothing is at its path until all files in it are complete.

    The files are written to the folder `PATH.unfinished`, which takes the path when the block ends. If the block
    raises, it is removed, as is one that a killed run left.

    Args:
        path: of the folder; one that is there is removed in the end.

    Yields:
        The folder to write to.

    Raises:
        OSError: the folder cannot be made.
    """
    unfinished = Path(f"{os.fspath(path)}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        shutil.rmtree(path, ignore_errors=True)
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


__all__ = ["remove_unfinished", "whole_file", "whole_folder"]
