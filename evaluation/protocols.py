"""Protocols: pure functions of a data set and a seed that change what a model is trained or tested on."""

import random
import zlib
from collections import defaultdict

import datasets

from mmre.processing import PICTURE_COLUMNS

# The picture and what belongs to it, which moves with it.
MOVED_COLUMNS = ["image", *PICTURE_COLUMNS]


def align_noise(dataset: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Align-Noise (FocalMRE, section 4.1): a share of the posts swap pictures among themselves.

    Args:
        dataset: a data set of posts.
        share: share of the posts that get another post's picture, in [0, 1].
        seed: the same seed gives the same data set.

    Returns:
        The data set with the pictures, and the regions and captions that belong to them, moved. No moved post keeps
        its picture; texts, entities and relations stay.

    Raises:
        ValueError: if the share is not in [0, 1], or too few different pictures are there to swap.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be in [0, 1], got {share}.")
    generator = random.Random(seed)
    chosen = generator.sample(range(len(dataset)), round(share * len(dataset)))
    posts_of_picture = defaultdict(list)
    for index, picture in zip(chosen, picture_keys(dataset.select(chosen))):
        posts_of_picture[picture].append(index)
    groups = list(posts_of_picture.values())
    generator.shuffle(groups)
    # Posts of one picture stand together: a step as long as the largest group always leads to another picture.
    step = max(map(len, groups), default=0)
    if 2 * step > len(chosen):
        raise ValueError(f"{len(chosen)} posts with {len(groups)} different pictures are too few to swap pictures.")
    in_order = [index for group in groups for index in group]
    sources = list(range(len(dataset)))
    for position, index in enumerate(in_order):
        sources[index] = in_order[(position + step) % len(in_order)]
    moved = dataset.select_columns(MOVED_COLUMNS).select(sources)
    kept = dataset.remove_columns(MOVED_COLUMNS)
    return datasets.concatenate_datasets([kept, moved], axis=1).select_columns(dataset.column_names)


def drop_pictures(dataset: datasets.Dataset) -> datasets.Dataset:
    """Text alone, or text and caption: no post keeps its picture, nor regions of it.

    Args:
        dataset: a data set of posts.

    Returns:
        The data set with null pictures and no regions; captions stay.
    """
    nothing = {"image": [None] * len(dataset)}
    nothing |= {column: [[] for _ in range(len(dataset))] for column in ("grounded_regions", "detected_regions")}
    return _replace_columns(dataset, nothing)


def region_count_as_caption(dataset: datasets.Dataset) -> datasets.Dataset:
    """The baseline that shows a leak: the number of grounded regions, as one word, in place of picture and regions.

    Args:
        dataset: a data set of posts.

    Returns:
        The data set without pictures and regions, whose captions are the numbers of grounded regions, in digits.
    """
    counts = [str(len(regions)) for regions in dataset["grounded_regions"]]
    return _replace_columns(drop_pictures(dataset), {"caption": counts})


def _replace_columns(dataset: datasets.Dataset, columns: dict[str, list]) -> datasets.Dataset:
    """The data set with other values in some columns; the others are not read."""
    features = datasets.Features({name: dataset.features[name] for name in columns})
    replaced = datasets.Dataset.from_dict(columns, features=features)
    kept = dataset.remove_columns(list(columns))
    return datasets.concatenate_datasets([kept, replaced], axis=1).select_columns(dataset.column_names)


def picture_keys(dataset: datasets.Dataset) -> list:
    """What tells one picture from another, without decoding any."""
    pictures = dataset.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))["image"]
    return [
        picture if picture is None else zlib.crc32(picture["bytes"]) if picture["bytes"] else picture["path"]
        for picture in pictures
    ]


__all__ = ["align_noise", "drop_pictures", "region_count_as_caption"]
