"""Annotation files: what was found in the pictures of a data set, beside the data set itself.

JSON lines, the first one a header `{"mmre_annotation": 1, ...}`, then a line per post; or parquet, with the header in
the metadata of the schema.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .post_checks import read_json
from .posts import REGION_COLUMNS

ANNOTATION_VERSION = 1
HEADER_KEY = "mmre_annotation"

PARQUET_MAGIC = b"PAR1"
BOXES = pa.list_(pa.list_(pa.float64()))
PARQUET_TYPES = {
    "id": pa.string(),
    **dict.fromkeys(REGION_COLUMNS, BOXES),
    "caption": pa.string(),
    "error": pa.string(),
}


def read_annotation_header(path: str | os.PathLike) -> dict | None:
    """Read the header of an annotation file.

    Args:
        path: of any file.

    Returns:
        The header; None if the file is no annotation file.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC:
            try:
                metadata = pq.read_schema(path).metadata or {}
            except pa.ArrowInvalid:
                return None
            header = read_json(metadata.get(HEADER_KEY.encode(), b""))
        else:
            file.seek(0)
            header = read_json(file.readline())
    return header if isinstance(header, dict) and HEADER_KEY in header else None


def check_annotation_file(path: str | os.PathLike) -> None:
    """Refuse a file that is no annotation file.

    Args:
        path: of any file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no annotation file, or one of another version.
    """
    header = read_annotation_header(path)
    if header is None:
        raise ValueError(f'{path} is no annotation file: expected {{"{HEADER_KEY}": {ANNOTATION_VERSION}}} first')
    version = header[HEADER_KEY]
    if version != ANNOTATION_VERSION:
        raise ValueError(f"{path} is an annotation file of version {version!r}; expected {ANNOTATION_VERSION}")


def read_annotation_rows(path: str | os.PathLike) -> Iterator[tuple[str, Any]]:
    """Read an annotation file that has a header.

    Args:
        path: of the file.

    Yields:
        Where each row stands, and the row: a dictionary if all is well, else what is there instead.
    """
    with open(path, "rb") as file:
        if file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC:
            number = 0
            for batch in pq.ParquetFile(path).iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
            return
        file.seek(0)
        for number, raw in enumerate(file, start=1):
            if number > 1 and raw.strip():
                row = read_json(raw)
                yield f"{path}:{number}", raw.decode(errors="replace").rstrip("\n") if row is None else row


def write_annotation(path: str | os.PathLike, header: dict, rows: Iterable[dict]) -> None:
    """Write an annotation file; at no time is there half a file at the path.

    Args:
        path: of the file; parquet if it ends in `.parquet`, else JSON lines.
        header: what the annotation was made with; the version of the schema is put before it.
        rows: dictionaries with `id` and what was found.
    """
    header = {HEADER_KEY: ANNOTATION_VERSION, **header}
    unfinished = Path(f"{path}.unfinished")
    if Path(path).suffix == ".parquet":
        rows = list(rows)
        columns = [column for column in PARQUET_TYPES if column == "error" or any(column in row for row in rows)]
        schema = pa.schema([(column, PARQUET_TYPES[column]) for column in columns])
        schema = schema.with_metadata({HEADER_KEY: json.dumps(header, ensure_ascii=False)})
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), unfinished)
    else:
        with open(unfinished, "w", encoding="utf-8", newline="\n") as file:
            for line in (header, *rows):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    with open(unfinished, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)


__all__ = [
    "ANNOTATION_VERSION",
    "check_annotation_file",
    "read_annotation_header",
    "read_annotation_rows",
    "write_annotation",
]
