"""Noise of FocalMRE's robustness experiments: pictures of other posts, and wrong or missing regions."""

import random
from collections import defaultdict

import datasets

from .column_changes import replace_columns
from .fingerprint import picture_keys
from .sampling import check_share
from .schema import PICTURE_COLUMNS, REGION_COLUMNS

# The picture and what belongs to it, which moves with it.
MOVED_COLUMNS = ["image", *PICTURE_COLUMNS]

# The paper leaves open how large an irrelevant region is, and how much of it may lie in a focal region.
IRRELEVANT_SIDES = (0.1, 0.5)
IRRELEVANT_OVERLAP = 0.1
IRRELEVANT_TRIES = 50


def align_noise(dataset: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Swap pictures among a share of the posts: Align-Noise (FocalMRE, section 4.1).

    Args:
        dataset: a data set of posts.
        share: share of the posts that get another post's picture, in [0, 1].
        seed: the same seed gives the same data set.

    Returns:
        The data set with the pictures, and the regions and captions that belong to them, moved. No moved post keeps
        its picture; texts, entities and relations stay.

    Raises:
        ValueError: the share is not in [0, 1], or too few different pictures are there to swap.
    """
    check_share(share)
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
        raise ValueError(f"{len(chosen)} posts with {len(groups)} different pictures are too few to swap pictures")
    in_order = [index for group in groups for index in group]
    sources = list(range(len(dataset)))
    for position, index in enumerate(in_order):
        sources[index] = in_order[(position + step) % len(in_order)]
    moved = dataset.select_columns(MOVED_COLUMNS).select(sources)
    kept = dataset.remove_columns(MOVED_COLUMNS)
    return datasets.concatenate_datasets([kept, moved], axis=1).select_columns(dataset.column_names)


def aug_noise(dataset: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Replace or delete a share of all focal regions: Aug-Noise (FocalMRE, section 4.1).

    Args:
        dataset: a data set of posts.
        share: share of the regions of all posts together, grounded and detected, that are changed, in [0, 1].
        seed: the same seed gives the same data set.

    Returns:
        The data set where each chosen region is, by the toss of a coin, deleted or replaced by a random box of the
        picture. At most a tenth of that box lies in any of the post's regions, if fifty tries find one so; else it is
        the one with the least. Other regions, their order, and the other columns stay.

    Raises:
        ValueError: the share is not in [0, 1].
    """
    check_share(share)
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
    return replace_columns(dataset, noisy)


def _irrelevant_box(generator: random.Random, focal: list[list[float]]) -> list[float]:
    """Draw a random box, hardly any of which lies in one of the focal regions, if there is room."""
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


__all__ = ["align_noise", "aug_noise"]
