"""The plan of an annotation: which posts, which of them share a picture, and what is done in one batch."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import datasets

from mmre.posts.sources import kind_of_data, open_posts

# All that annotation sees of a post. The relation is not among it.
COLUMNS = ("id", "text", "head", "tail", "image")


def open_unlabelled_posts(
    data: str | os.PathLike,
    *,
    files: Mapping[str, str | None] | None = None,
    image_dir: str | os.PathLike | None = None,
) -> datasets.Dataset:
    """Load the posts of all splits without their relations.

    Args:
        data: what [`mmre.posts.open_posts`] takes: a folder of MNRE, `"synthetic"`, `"digits"`, `"files"`, or a data
            set in a folder or on the Hub, which needs no column but `id`, `text`, `head`, `tail` and `image`.
        files: with `"files"`, the file of each split that has one.
        image_dir: the folder of the images of MNRE or of files, if it is another one than that of their texts.

    Returns:
        `datasets.Dataset` with `id`, `text`, `head`, `tail` and `image`; images are not decoded, and may be missing.

    Raises:
        FileNotFoundError: the data is not there, or none of MNRE's images is.
        ValueError: the data is bad; one report names the bad places.
    """
    is_mnre = kind_of_data(data) == "mnre"
    regions = "none" if is_mnre else None  # its released regions need not be there
    splits = open_posts(
        data, files=files, image_dir=image_dir, regions=regions, columns=COLUMNS, on_missing_image="keep"
    )
    posts = datasets.concatenate_datasets([split.select_columns(list(COLUMNS)) for split in splits.values()])
    posts = posts.cast_column("image", datasets.Image(decode=False))
    if is_mnre and not any(os.path.isfile(image["path"]) for image in posts["image"]):
        raise FileNotFoundError(
            f"none of MNRE's images is in {image_dir or data} or below it; say where they are with --image_dir"
        )
    return posts


@dataclass
class Plan:
    """Posts and the batches of their pictures.

    Args:
        posts: from [`open_unlabelled_posts`].
        fingerprint: SHA-256 of the posts, and of which of them share a picture.
        batches: batches of pictures; a picture is the row numbers of its posts.
    """

    posts: datasets.Dataset
    fingerprint: str
    batches: list[list[list[int]]]


def make_plan(posts: datasets.Dataset, batch_size: int) -> Plan:
    """Cut the work into batches of pictures, the same ones each time.

    Args:
        posts: from [`open_unlabelled_posts`].
        batch_size: number of pictures in a batch.

    Returns:
        The plan. Its fingerprint does not depend on where the posts lie.
    """
    pictures, fingerprint = {}, hashlib.sha256()
    for number, row in enumerate(posts):
        image, group = row.pop("image"), None
        if image is not None:
            key = hashlib.sha256(image["bytes"]).digest() if image["bytes"] is not None else image["path"]
            group = pictures.setdefault(key, [])
            group.append(number)
        shared = None if group is None else group[0]
        fingerprint.update(json.dumps([row, shared], sort_keys=True).encode())
    groups = list(pictures.values())
    batches = [groups[start : start + batch_size] for start in range(0, len(groups), batch_size)]
    return Plan(posts, fingerprint.hexdigest(), batches)


__all__ = ["Plan", "make_plan", "open_unlabelled_posts"]
