"""Protocols: pure functions of a data set and a seed that change what a model is trained or tested on."""

import random
from collections import defaultdict

import datasets

from .fingerprint import picture_keys
from .schema import PICTURE_COLUMNS

# The picture and what belongs to it, which moves with it.
MOVED_COLUMNS = ["image", *PICTURE_COLUMNS]
REGION_COLUMNS = ["grounded_regions", "detected_regions"]

# What the paper leaves open of an irrelevant region: how large it is, and how much of it may lie in a focal region.
IRRELEVANT_SIDES = (0.1, 0.5)
IRRELEVANT_OVERLAP = 0.1
IRRELEVANT_TRIES = 50


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
    _check_share(share)
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


def aug_noise(dataset: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Aug-Noise (FocalMRE, section 4.1): a share of all focal regions is wrong or missing.

    Args:
        dataset: a data set of posts.
        share: share of the regions of all posts together, grounded and detected, that are changed, in [0, 1].
        seed: the same seed gives the same data set.

    Returns:
        The data set where each chosen region is, by the toss of a coin, deleted or replaced by a random box of the
        picture. At most a tenth of that box lies in any of the post's regions, if fifty tries find one so; else it is
        the one with the least. Other regions, their order, and the other columns stay.

    Raises:
        ValueError: if the share is not in [0, 1].
    """
    _check_share(share)
    generator = random.Random(seed)
    columns = {name: dataset[name][:] for name in REGION_COLUMNS}
    places = [
        (row, name, position)
        for row in range(len(dataset))
        for name in REGION_COLUMNS
        for position in range(len(columns[name][row]))
    ]
    changed = {}
    for row, name, position in sorted(generator.sample(places, round(share * len(places)))):
        focal = [box for column in REGION_COLUMNS for box in columns[column][row]]
        changed[row, name, position] = _irrelevant_box(generator, focal) if generator.random() < 0.5 else None
    noisy = {}
    for name, rows in columns.items():
        found = [
            [changed.get((row, name, position), box) for position, box in enumerate(boxes)]
            for row, boxes in enumerate(rows)
        ]
        noisy[name] = [[box for box in boxes if box is not None] for boxes in found]
    return _replace_columns(dataset, noisy)


def _irrelevant_box(generator: random.Random, focal: list[list[float]]) -> list[float]:
    """A random box, hardly any of which lies in one of the focal regions, if there is room."""
    best, least = [], float("inf")
    for _ in range(IRRELEVANT_TRIES):
        width, height = (generator.uniform(*IRRELEVANT_SIDES) for _ in range(2))
        x, y = generator.uniform(0, 1 - width), generator.uniform(0, 1 - height)
        box = [x, y, x + width, y + height]
        overlap = max(
            max(0, min(box[2], other[2]) - max(x, other[0])) * max(0, min(box[3], other[3]) - max(y, other[1]))
            for other in focal
        )
        if overlap / (width * height) < least:
            best, least = box, overlap / (width * height)
        if least <= IRRELEVANT_OVERLAP:
            break
    return best


def sample_share(dataset: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Low-resource training (FocalMRE, section 5.3.5): a share of the posts, drawn without replacement.

    Args:
        dataset: a data set of posts.
        share: share of the posts that are kept, in (0, 1].
        seed: the same seed gives the same posts.

    Returns:
        The posts that are kept, in their order.

    Raises:
        ValueError: if the share is not in [0, 1], or so small that no post is kept.
    """
    _check_share(share)
    number = round(share * len(dataset))
    if number == 0:
        raise ValueError(f"A share of {share} of {len(dataset)} posts is no post.")
    return dataset.select(sorted(random.Random(seed).sample(range(len(dataset)), number)))


def sample_per_relation(dataset: datasets.Dataset, number: int, seed: int) -> datasets.Dataset:
    """Few samples of each relation (FocalMRE, section 5.3.5), the negative one too, drawn without replacement.

    Args:
        dataset: a data set of posts.
        number: K, how many posts of each relation are kept; a relation that has fewer keeps all.
        seed: the same seed gives the same posts.

    Returns:
        The posts that are kept, in their order.

    Raises:
        ValueError: if the number is below one.
    """
    if number < 1:
        raise ValueError(f"`number` must be at least 1, got {number}.")
    posts_of_relation = defaultdict(list)
    for index, relation in enumerate(dataset["relation"]):
        posts_of_relation[relation].append(index)
    generator = random.Random(seed)
    kept = []
    for relation in sorted(posts_of_relation):
        posts = posts_of_relation[relation]
        kept += generator.sample(posts, min(number, len(posts)))
    return dataset.select(sorted(kept))


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be in [0, 1], got {share}.")


def drop_pictures(dataset: datasets.Dataset) -> datasets.Dataset:
    """Text alone, or text and caption: no post keeps its picture, nor regions of it.

    Args:
        dataset: a data set of posts.

    Returns:
        The data set with null pictures and no regions; captions stay.
    """
    nothing = {"image": [None] * len(dataset)}
    nothing |= {column: [[] for _ in range(len(dataset))] for column in REGION_COLUMNS}
    return _replace_columns(dataset, nothing)


def without_regions(dataset: datasets.Dataset) -> datasets.Dataset:
    """Remove all boxes of a data set of posts."""
    return _replace_columns(dataset, {column: [[]] * len(dataset) for column in REGION_COLUMNS})


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


__all__ = [
    "align_noise",
    "aug_noise",
    "drop_pictures",
    "region_count_as_caption",
    "sample_per_relation",
    "sample_share",
]
