"""The content of data sets of posts and of their pictures as short keys, without decoding a picture."""

import hashlib
import json
import os
from collections.abc import Mapping

import datasets

from .schema import ROWS_AT_ONCE


def posts_fingerprint(posts: Mapping[str, datasets.Dataset]) -> str:
    """Hash the content of all rows, wherever the files of the data set and of its pictures lie.

    A picture counts by its bytes if they are embedded, and by name and size of its file if they are on disk. Splits
    and columns count by name, relations by their names and order; types, caches and metadata do not count.

    Args:
        posts: the splits of a data set of posts, as [`open_posts`] returns them.

    Returns:
        A SHA-256 in hexadecimal digits.
    """
    fingerprint, known = hashlib.sha256(), {}
    for split in sorted(posts):
        rows = posts[split]
        columns = sorted(rows.column_names)
        relations = getattr(rows.features.get("relation"), "names", None)
        fingerprint.update(_line([split, columns, relations]))
        for batch in rows.with_format("arrow").iter(ROWS_AT_ONCE):
            for row in batch.select(columns).to_pylist():
                if row.get("image") is not None:
                    row["image"] = _picture(row["image"], known)
                fingerprint.update(_line(row))
    return fingerprint.hexdigest()


def _line(value: list | dict) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _picture(image: dict, known: dict) -> list:
    """Return the hash of a picture's bytes, or name and size of its file; size None where the file is missing."""
    if image["bytes"] is not None:
        return [hashlib.sha256(image["bytes"]).hexdigest()]
    path = image["path"]
    if path not in known:  # many posts may share a picture
        known[path] = [os.path.basename(path), os.path.getsize(path) if os.path.isfile(path) else None]
    return known[path]


def picture_keys(dataset: datasets.Dataset) -> list[str | None]:
    """Return a key for the picture of each post: posts with equal keys have the same picture.

    Args:
        dataset: a data set of posts.

    Returns:
        Per post the path of the picture's file, or the hash of its bytes; None for no picture.
    """
    keys = []
    for batch in dataset.select_columns(["image"]).with_format("arrow").iter(ROWS_AT_ONCE):
        for picture in batch.column("image").to_pylist():
            if picture is not None and picture["bytes"] is not None:
                keys.append(hashlib.sha256(picture["bytes"]).hexdigest())
            else:
                keys.append(picture and picture["path"])
    return keys


__all__ = ["picture_keys", "posts_fingerprint"]
