"""Full disks: those who write weights name neither the file nor the cause in one manner."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

# What torch and safetensors say of it.
SAID = ("No space left", "File too large", "PytorchStreamWriter", "unexpected pos", "iostream error")
NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: Exception) -> bool:
    """Tell whether an error is that of a full disk, or of a file that is larger than files may be here."""
    return getattr(error, "errno", None) in NUMBERS or any(words in str(error) for words in SAID)


def full_disk(error: Exception, folder: str | os.PathLike, advice: str) -> OSError:
    """Return an error that names the file that there was no room for.

    Args:
        error: what was raised, of which [`is_full`] is true.
        folder: that was written into.
        advice: what stopped, and what to do.
    """
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    file = getattr(error, "filename", None) or max(files, key=lambda path: path.stat().st_mtime, default=folder)
    if isinstance(error, SafetensorError):  # it leaves no file, and comes after the configuration
        file = f"model.safetensors in {Path(file).parent if Path(file).is_file() else file}"
    return OSError(f"{file} cannot be written, for the disk is full or the file too large (`ulimit -f`): {advice}")


@contextmanager
def naming_full_disk(folder: str | os.PathLike, advice: str) -> Iterator[None]:
    """Raise `OSError`, with the file's name, if there is no room for what is written into a folder."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if not is_full(error):
            raise
        raise full_disk(error, folder, advice) from error


__all__ = ["full_disk", "is_full", "naming_full_disk"]
