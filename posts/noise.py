"""Noise of FocalMRE's robustness experiments: pictures of other posts, and wrong or missing regions."""

import random
from collections import defaultdict
from functools import cache

import datasets
import numpy as np
from transformers.utils import logging

from .column_changes import replace_columns
from .fingerprint import picture_keys
from .sampling import check_share
from .schema import PICTURE_COLUMNS, REGION_COLUMNS

logger = logging.get_logger(__name__)

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
        picture. At most a tenth of that box lies in any of the post's regions, where there is room for such a box; how
        often there is none is logged. Other regions, their order, and the other columns stay.

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
    changed, num_replaced, num_without_room = {}, 0, 0
    for row, name, position in sorted(generator.sample(places, round(share * len(places)))):
        focal = [box for column in REGION_COLUMNS for box in columns[column][row]]
        changed[row, name, position] = None
        if generator.random() < 0.5:
            changed[row, name, position], overlap = _irrelevant_box(generator, focal)
            num_replaced += 1
            num_without_room += overlap > IRRELEVANT_OVERLAP
    if num_without_room:
        logger.warning(
            f"Aug-Noise: of {num_replaced} irrelevant regions {num_without_room} "
            f"({num_without_room / num_replaced:.1%}) lie by more than {IRRELEVANT_OVERLAP:.0%} in a region of their "
            "post, which leave no room for others."
        )
    noisy = {}
    for name, rows in columns.items():
        found = [
            [changed.get((row, name, position), box) for position, box in enumerate(boxes)]
            for row, boxes in enumerate(rows)
        ]
        noisy[name] = [[box for box in boxes if box is not None] for boxes in found]
    return replace_columns(dataset, noisy)


def _irrelevant_box(generator: random.Random, focal: list[list[float]]) -> tuple[list[float], float]:
    """Draw a random box, hardly any of which lies in one of the focal regions, if there is room.

    After `IRRELEVANT_TRIES` that failed, boxes of all sizes at all places of a grid are looked at, and one of the
    largest that fit is drawn.

    Returns:
        The box, and the largest share of it that lies in one of the focal regions.
    """
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
            return best, least
    boxes = _grid_of_boxes()
    overlaps = _overlaps(boxes, np.array(focal))
    fitting = np.flatnonzero(overlaps <= IRRELEVANT_OVERLAP)
    if not len(fitting):
        place = int(overlaps.argmin())
        return (boxes[place].tolist(), float(overlaps[place])) if overlaps[place] < least else (best, least)
    areas = np.prod(boxes[fitting, 2:] - boxes[fitting, :2], axis=1)
    place = generator.choice(fitting[areas >= areas.max() - 1e-9].tolist())
    return boxes[place].tolist(), float(overlaps[place])


@cache
def _grid_of_boxes() -> np.ndarray:
    """Return boxes (N, 4) of nine widths and heights, at steps of a twentieth of the picture."""
    low, high = IRRELEVANT_SIDES
    sides = np.linspace(low, high, 9)
    boxes = [
        (x, y, x + width, y + height)
        for width in sides
        for height in sides
        for x in np.arange(0, 1 - width + 1e-9, 0.05)
        for y in np.arange(0, 1 - height + 1e-9, 0.05)
    ]
    return np.minimum(np.array(boxes), 1.0)


def _overlaps(boxes: np.ndarray, focal: np.ndarray) -> np.ndarray:
    """Return the largest share of each box (N, 4) that lies in one of the focal regions (K, 4)."""
    shared = np.minimum(boxes[:, None, 2:], focal[None, :, 2:]) - np.maximum(boxes[:, None, :2], focal[None, :, :2])
    return (np.clip(shared, 0, None).prod(axis=2) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]).max(axis=1)


__all__ = ["align_noise", "aug_noise"]
