"""Rows of parquet files, some of them in memory at a time: of a file, a folder, or an address of a bucket."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import date, time
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmre.processing.suggestions import unknown

from .checks import Problems, as_id, show
from .post_files import find_post_files

# So many rows are in memory together: each may hold a picture.
ROWS_READ_AT_ONCE = 256
BYTES_READ_AT_ONCE = 1 << 20


class InlinePicture(str):
    """Name of a picture whose file is at hand as bytes: equal pictures have equal names, so that they are read once.

    Args:
        content: the bytes of the file.
        name: what to call it; by a hash of the bytes if not given.
    """

    def __new__(cls, content: bytes, name: str | None = None):
        """Name the picture."""
        made = super().__new__(cls, name or f"picture {hashlib.sha256(content).hexdigest()[:32]}")
        made.content = content
        return made

    def __reduce__(self):
        """Go to another process with the bytes."""
        return type(self), (self.content, str(self))


def read_parquet(
    path: str, problems: Problems, fields: Iterable[str], ignored: set[str] | None = None
) -> Iterator[tuple[str, dict]]:
    """Read the rows of parquet files.

    Args:
        path: of a file or a folder, or the address of one on a file system that fsspec knows, as `s3://bucket/posts`.
        problems: gets what is wrong with the files.
        fields: the columns that are known.
        ignored: gets the names of other columns that are like none of these; if not given, they are problems.

    Yields:
        The place of each row, and its cells that are not null, with `id` as text. A picture in the file, as bytes or as
        `datasets` has it, is an [`InlinePicture`].
    """
    fields = tuple(fields)
    files, found = find_post_files(path, "parquet")
    reported = set()
    for name in found:
        number = 0
        try:
            with files.open(name, "rb") as handle, _open(handle) as table:
                columns = [column for column in table.schema_arrow.names if column in fields]
                for column in table.schema_arrow.names:
                    clause = unknown("column", column, fields) if column not in (*fields, *reported) else None
                    reported.add(column)
                    if clause and (ignored is None or clause.endswith("?")):
                        problems.note(name, name, "column", clause)
                    elif clause:
                        ignored.add(column)
                for row in _rows(table, columns):
                    number += 1
                    yield f"{name}: row {number}", _as_row(row)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            found_there = str(error).splitlines()[0]
            problems.add(path, name, "content", show(found_there), "a parquet file that can be read")


def _open(handle: BinaryIO) -> pq.ParquetFile:
    # By default all that will be read is kept, and a file may be larger than memory.
    return pq.ParquetFile(handle, pre_buffer=False, buffer_size=BYTES_READ_AT_ONCE)


def _rows(table: pq.ParquetFile, columns: list[str]) -> Iterator[dict]:
    for group in range(table.num_row_groups):
        for batch in table.iter_batches(batch_size=ROWS_READ_AT_ONCE, row_groups=[group], columns=columns):
            yield from batch.to_pylist()


def _as_row(row: dict) -> dict:
    row = {name: value for name, value in row.items() if value is not None}
    for name, value in row.items():
        if isinstance(value, (date, time)):  # to be kept: other formats have them as text
            row[name] = value.isoformat()
    if "id" in row:
        row["id"] = as_id(row["id"])
    image = row.get("image")
    if isinstance(image, dict) and {*image} == {"bytes", "path"}:
        image = image["path"] if image["bytes"] is None else image["bytes"]
    if isinstance(image, bytes):
        image = InlinePicture(image)
    if image is None:
        row.pop("image", None)
    else:
        row["image"] = image
    for name in ("head", "tail"):
        # A struct has all its fields in each row.
        if isinstance(row.get(name), dict):
            row[name] = {key: value for key, value in row[name].items() if value is not None and key != "text"}
    return row


__all__ = ["InlinePicture", "read_parquet"]
