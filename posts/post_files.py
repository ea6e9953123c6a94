"""Files of posts: one file, a folder of them, or an address of either on a file system that fsspec knows."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath, PurePosixPath
from typing import IO, Any

import fsspec

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
WEB_ADDRESS = re.compile("https?://")
SECRETS = re.compile(rf"({ADDRESS.pattern})(?:[^\s/@'\"]*@)?([^\s?'\"]*)(?:\?[^\s'\"]*?(?=(?::\d+)?:?(?:[\s'\"]|$)))?")
KINDS = {".parquet": "parquet", ".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv"}
TEXTS = "texts"


def kind_of_posts(path: str | os.PathLike) -> str:
    """Tell how posts are written, by the names of files.

    Args:
        path: of a file or a folder, or the address of one, as `s3://bucket/posts`.

    Returns:
        `"parquet"`, `"jsonl"`, `"csv"`, or `"texts"` for a folder on this machine in which there is none of these.

    Raises:
        FileNotFoundError: nothing is there, or no file of posts at an address.
        ImportError: the package for addresses of that kind is not installed; the message names it.
        ValueError: the name does not tell, the files of a folder are of several kinds, or addresses of that kind are
            not known.
    """
    path = os.fspath(path)
    endings = " or ".join(KINDS)
    if not os.path.isdir(path) and not ADDRESS.match(path):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path}: there is no such file")
        if _ending(path) not in KINDS:
            raise ValueError(f"{path}: the name does not tell what it is; expected one that ends in {endings}")
        return KINDS[_ending(path)]
    # Of a folder on this machine the files in it decide: texts may have anything below them.
    names = _names(*fsspec.core.url_to_fs(path)) if ADDRESS.match(path) else _shown(os.listdir(path))
    found = {KINDS[_ending(name)] for name in names if _ending(name) in KINDS}
    if len(found) > 1:
        raise ValueError(
            f"{shown_address(path)}: files of several kinds, {', '.join(sorted(found))}; expected one kind in a folder"
        )
    if not found and ADDRESS.match(path):
        raise FileNotFoundError(f"{shown_address(path)}: there is no file that ends in {endings}")
    return found.pop() if found else TEXTS


def find_post_files(path: str | os.PathLike, kind: str) -> tuple[Any, list[str]]:
    """Find the files of posts at a path or an address, in the order of their names.

    Args:
        path: of a file or a folder, or the address of one.
        kind: `"parquet"`, `"jsonl"` or `"csv"`.

    Returns:
        The file system, of fsspec, and the paths of the files on it.

    Raises:
        FileNotFoundError: there is none.
        ImportError, ValueError: as of [`kind_of_posts`].
    """
    path = os.fspath(path)
    files, root = fsspec.core.url_to_fs(path)
    names = [path] if os.path.isfile(path) else _names(files, root)  # in messages a file stands as it was given
    found = [name for name in names if KINDS.get(_ending(name)) == kind]
    if not found:
        raise FileNotFoundError(f"{shown_address(path)}: there is no {kind} file")
    return files, found


def open_post_file(path: str, mode: str = "rb", **options: Any) -> IO:
    """Open a file of posts, on this machine or at an address, as `open` does."""
    if ADDRESS.match(path):
        return fsspec.open(path, mode, **options).open()
    return open(path, mode, **options)


def name_of_posts(path: str | os.PathLike) -> str:
    """Return the last part of a path or of an address, as `posts.jsonl`, without the query of a web address."""
    path = os.fspath(path)
    return PurePath(path.partition("?")[0] if WEB_ADDRESS.match(path) else path).name


def shown_address(text: str | os.PathLike) -> str:
    """Return a text with its addresses as they may be shown: without a user, a password and what follows a `?`.

    A signed address has its signature there, and whoever reads a log could use the address.
    """
    return SECRETS.sub(r"\1\2", os.fspath(text))


@contextmanager
def naming_address(path: str | os.PathLike) -> Iterator[None]:
    """Raise what fails at an address, in the manner of its file system, with the address and the mend.

    Raises:
        ImportError: the package for addresses of that kind is not installed.
        OSError: nothing answers there, not in time, not whole, or not to this user.
        ValueError: addresses of that kind are not known.
    """
    path, shown = os.fspath(path), shown_address(path)
    try:
        yield
    except Exception as error:
        is_of_package = type(error).__module__ != "builtins"  # aiohttp, botocore and others have errors of their own
        is_named = str(error).startswith(shown) and not is_of_package and shown_address(str(error)) == str(error)
        if is_named or not ADDRESS.match(path):
            raise
        reason = shown_address(" ".join(str(error).split()) or type(error).__name__)
        if isinstance(error, ImportError):
            raise ImportError(f"{shown}: {reason}") from error
        if type(error) is ValueError:
            expected = "an address that fsspec knows, as s3://bucket/posts"
            raise ValueError(f"{shown}: {reason}; expected {expected}") from error
        if not isinstance(error, OSError) and not is_of_package:
            raise
        reason = "no answer in time" if isinstance(error, TimeoutError) else reason
        raise OSError(
            f"{shown}: {reason}; expected posts that can be read there: look at the address and at what you may read, "
            "then give the same command again: it goes on with what was done"
        ) from error


def _names(files: Any, root: str) -> Sequence[str]:
    if files.isfile(root):
        return [root]
    return _shown(sorted(files.find(root)) if files.isdir(root) else [])


def _shown(names: Sequence[str]) -> list[str]:
    # What a writer has not finished, or keeps for itself, has such a name.
    return [name for name in names if not PurePosixPath(name).name.startswith(("_", "."))]


def _ending(name: str) -> str:
    return PurePosixPath(name_of_posts(name)).suffix.lower()


__all__ = [
    "ADDRESS",
    "TEXTS",
    "find_post_files",
    "kind_of_posts",
    "name_of_posts",
    "naming_address",
    "open_post_file",
    "shown_address",
]
