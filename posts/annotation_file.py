"""Annotation files: what was found in the pictures of a data set, beside the data set itself.

JSON lines, the first one a header `{"mmre_annotation": 1, ...}`, then a line per post; or parquet, with the header in
the metadata of the schema.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from transformers.utils import logging

from mmre.processing.focal_augmentation import clip_box

from .checks import Problems, as_id, is_text, key_twice, read_json, show, some, told_text
from .column_changes import replace_columns
from .image_checks import missing_images
from .schema import REGION_COLUMNS
from .whole_file import whole_file

logger = logging.get_logger(__name__)

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
                    yield f"{path}: row {number}", _with_text_id(row)
            return
        file.seek(0)
        for number, raw in enumerate(file, start=1):
            if number > 1 and raw.strip():
                row = read_json(raw)
                found = raw.decode(errors="replace").rstrip("\n") if row is None else _with_text_id(row)
                yield f"{path}:{number}", found


def _with_text_id(row: Any) -> Any:
    return row | {"id": as_id(row["id"])} if isinstance(row, dict) and "id" in row else row


def write_annotation(path: str | os.PathLike, header: dict, rows: Iterable[dict]) -> None:
    """Write an annotation file; at no time is there half a file at the path.

    Args:
        path: of the file; parquet if it ends in `.parquet`, else JSON lines.
        header: what the annotation was made with; the version of the schema is put before it.
        rows: dictionaries with `id` and what was found.
    """
    header = {HEADER_KEY: ANNOTATION_VERSION, **header}
    if Path(path).suffix == ".parquet":
        rows = list(rows)
        columns = [column for column in PARQUET_TYPES if column == "error" or any(column in row for row in rows)]
        schema = pa.schema([(column, PARQUET_TYPES[column]) for column in columns])
        schema = schema.with_metadata({HEADER_KEY: json.dumps(header, ensure_ascii=False, allow_nan=False)})
        with whole_file(path, "wb") as file:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    else:
        with whole_file(path) as file:
            for line in (header, *rows):
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def add_annotation(posts: Sequence[dict], path: str | os.PathLike, columns: Iterable[str], problems: Problems) -> None:
    """Take columns of posts from an annotation file.

    Args:
        posts: dictionaries with `id`; they get the columns.
        path: of the file.
        columns: what to take.
        problems: gets what is wrong with the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no annotation file.
    """
    check_annotation_file(path)
    rows = {}
    for where, row in read_annotation_rows(path):
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            check_annotation(row, str(path), where, problems)
            if row["id"] in rows:
                problems.add(path, where, "id", f"{show(row['id'])} again", "each id once")
            rows[row["id"]] = row
        else:
            twice = key_twice(row.encode()) if isinstance(row, str) else None
            found = show(row) if twice is None else f"{show(twice)} twice"
            problems.add(path, where, "line", found, "a JSON object with an id, and each field once")
    if not any(column in row for row in rows.values() for column in columns):
        problems.add(path, path, "content", f"no {' or '.join(columns)} on any line", "what is asked for")

    by_id = {post["id"]: post for post in posts}
    missing, stray = [key for key in by_id if key not in rows], [key for key in rows if key not in by_id]
    if missing:
        problems.add(path, path, "id", f"{len(missing)} of {len(by_id)} posts missing: {some(missing)}", "all")
    if stray:
        problems.add(path, path, "id", f"{len(stray)} of {len(rows)} without a post: {some(stray)}", "none")
    failed = [f"{key} ({row['error']})" for key, row in rows.items() if row.get("error")]
    if failed:
        logger.warning(f"{path}: the pictures of {len(failed)} of {len(rows)} posts were not readable: {some(failed)}")
    for key in by_id.keys() & rows.keys():
        by_id[key] |= {column: rows[key][column] for column in columns if column in rows[key]}


def check_annotation(row: dict, file: str, where: str, problems: Problems) -> None:
    """Check a row of an annotation file, and clip its boxes."""
    for column in REGION_COLUMNS:
        if column not in row:
            continue
        found = row[column] if isinstance(row[column], list) else [row[column]]
        row[column] = [clip_box(box) for box in found]
        for box, checked in zip(found, row[column]):
            if checked is None:
                expected = "[x_min, y_min, x_max, y_max], inside the image and in fractions of it"
                problems.add(file, where, column, show(box), expected)
    caption = row.get("caption")
    if not (caption is None or is_text(caption)):
        problems.add(file, where, "caption", show(caption), told_text(caption, "text or null"))


def with_annotation(
    posts: datasets.DatasetDict, regions: str | os.PathLike | None = None, captions: str | os.PathLike | None = None
) -> datasets.DatasetDict:
    """Replace regions or captions of posts by those of annotation files, as `mmre annotate` writes them.

    Args:
        posts: a data set of posts, with the columns of [`post_features`].
        regions: the file to take regions from; those of the posts stay if not given.
        captions: the file to take captions from; likewise.

    Returns:
        The posts; those without an image have no regions.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is no annotation file, or not one of these posts; one report names the bad places.
    """
    if regions is None and captions is None:
        return posts
    columns_of = defaultdict(list)
    if regions is not None:
        columns_of[str(regions)] += REGION_COLUMNS
    if captions is not None:
        columns_of[str(captions)].append("caption")
    changed, problems = [column for columns in columns_of.values() for column in columns], Problems()
    rows = {split: list(of_split.select_columns(["id", *changed])) for split, of_split in posts.items()}
    for path, columns in columns_of.items():
        add_annotation([row for of_split in rows.values() for row in of_split], path, columns, problems)
    problems.raise_if_any()
    result = datasets.DatasetDict()
    for split, of_split in posts.items():
        for row, is_missing in zip(rows[split], missing_images(of_split), strict=True):
            if is_missing:
                row |= {column: [] for column in REGION_COLUMNS if column in changed}
        new = {column: [row[column] for row in rows[split]] for column in changed}
        result[split] = replace_columns(of_split, new)
    return result


__all__ = [
    "ANNOTATION_VERSION",
    "add_annotation",
    "check_annotation_file",
    "read_annotation_header",
    "read_annotation_rows",
    "with_annotation",
    "write_annotation",
]
