"""Unfinished files: the batches that a long run has done, so that a killed run goes on where it was.

The first line is a header, everything that decides what is in the file; each further line is a batch,
`{"batch": number, "rows": [...]}`.
"""

import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO


class OutputFileError(ValueError):
    """An output, finished or not, that this run may not write or go on with."""


def append_line(file: BinaryIO, line: dict) -> None:
    """Append a line of JSON to a file, and wait until it is on the disk.

    Open the file with `buffering=0`: what stays in a buffer when the disk is full fails again as the file is closed,
    and then no file is named.
    """
    left = memoryview(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    try:
        while left:
            left = left[file.write(left) :]
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, file.name) from error


def check_same_header(found: dict, header: dict, path: str | os.PathLike, option: str = "--out") -> None:
    """Refuse to go on with a file that was made with other settings or of other posts.

    Args:
        found: header of the file.
        header: header that this run would write.
        path: path of the file.
        option: of the command, that names the output.

    Raises:
        OutputFileError: the headers differ; it names the differences.
    """
    differences = list_differences(found, header)
    if differences:
        raise OutputFileError(
            f"{path} was made with other settings or of other posts. Give the same ones to go on, another {option}, or "
            "delete the file:\n  " + "\n  ".join(differences)
        )


def list_differences(found: dict, expected: dict) -> list[str]:
    """Say in which settings two headers differ, and how."""
    found, expected = _flatten(found), _flatten(expected)
    return [
        f"{key}: {found.get(key)!r} there, {expected.get(key)!r} now"
        for key in {**expected, **found}
        if found.get(key) != expected.get(key)
    ]


def _flatten(header: dict) -> dict[str, Any]:
    flat = {}
    for key, value in header.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def read_batches(
    path: str | os.PathLike, header: dict, option: str = "--out"
) -> Iterator[tuple[int | None, list[dict], int]]:
    """Read an unfinished file line by line; a last line that a kill tore off is left out.

    Args:
        path: path of the file.
        header: header that the file must have.
        option: of the command, that names the output.

    Yields:
        The number of a batch, its rows, and the byte at which its line ends; of the header None and no rows.

    Raises:
        OutputFileError: the file has another header, or is damaged elsewhere than at its end.
    """
    end = 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            end += len(raw)
            try:
                line = json.loads(raw)
                batch = (None, []) if number == 1 else (line["batch"], line["rows"])
            except (ValueError, KeyError, TypeError) as error:
                raise OutputFileError(f"{path}:{number} is damaged ({error}); delete the file to start anew") from error
            if number == 1:
                check_same_header(line, header, path, option)
            yield *batch, end


__all__ = ["OutputFileError", "append_line", "check_same_header", "list_differences", "read_batches"]
