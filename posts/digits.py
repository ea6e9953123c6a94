"""Posts with real pictures: two scans of handwritten digits, whose relation follows from what the digits are.

The scans are scikit-learn's copy of the test set of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0): 1,797 grey pictures of 8 x 8 pixels.

A post is made from one stream of random numbers in which the relation decides nothing but which scans are pasted, at
the very end: texts, places and boxes of two posts from the same stream are the same whatever the relations.
"""

import random
from functools import cache

import datasets
import numpy as np
from PIL import Image

from mmre.processing.words import join_words

from .made_posts import make_splits
from .schema import NEGATIVE_RELATION, SPLITS
from .synthetic import random_name

# How the head's digit stands to the tail's; a four is compared with nothing.
DIGIT_RELATIONS = [NEGATIVE_RELATION, "larger", "smaller", "equal"]
DIGITS = range(5)  # zero to four: what a tiny model learns in minutes
UNCOMPARED = 4

# Of the scans of each digit, what is left is the test split's.
SHARES_OF_SCANS = {"train": 0.6, "validation": 0.2}

PICTURE_SIZE = 64  # width and height in pixels
SIDES = (20, 28)  # of a digit in pixels
INK = (235, 235, 225)
NOISE = 10  # standard deviation of a pixel's grey level

# The two places of a post in reading order, and the left upper corner of the room that a digit has there, in pixels.
ROOM = 32
ARRANGEMENTS = [
    {"on the left": (0, 16), "on the right": (32, 16)},
    {"above": (16, 0), "below": (16, 32)},
]
SHARE_HEAD_FIRST = 0.75  # share of posts that name the head first: a tiny model learns the digits, then the direction
DIGIT_TEMPLATES = [
    "{} , {}",
    "{} and {}",
    "{} , and {} !",
    "look : {} , {}",
    "here : {} and {}",
    "can you read them ? {} , {}",
    "so glad to see them : {} and {}",
]
DIGIT_HASHTAGS = ["#numbers", "#MondayMood", "#news", "#photo", "#weekend", "#trending", "#TBT"]
DIGIT_CAPTIONS = ["two handwritten digits", "a picture of two digits", "digits on a coloured wall", "a noisy scan"]


def relation_of(head: int, tail: int) -> str:
    """Return the relation of two digits, one of `DIGIT_RELATIONS`, in the direction from head to tail."""
    if UNCOMPARED in (head, tail):
        return NEGATIVE_RELATION
    return "equal" if head == tail else "larger" if head > tail else "smaller"


@cache
def digit_scans() -> dict[str, dict[int, list[np.ndarray]]]:
    """Split the scans, each digit's by the same shares; scans that are the same to the pixel stay together.

    Returns:
        Of each split and digit the scans, arrays (8, 8) of ink in [0, 1].
    """
    from sklearn.datasets import load_digits  # here: other data need not wait for its import

    scans = load_digits()
    splits = {split: {} for split in SPLITS}
    for digit in DIGITS:
        different = {scan.tobytes(): scan / 16 for scan in scans.images[scans.target == digit]}
        order = random.Random(digit).sample([*different.values()], len(different))
        start = 0
        for split in SPLITS:
            end = start + round(SHARES_OF_SCANS[split] * len(order)) if split in SHARES_OF_SCANS else len(order)
            splits[split][digit] = order[start:end]
            start = end
    return splits


def _write_text(rng: random.Random, places: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """Write a text that names a thing at each of two places, in their order, with the spans of the names."""
    tokens, spans, left = [], [], iter(places)
    for word in rng.choice(DIGIT_TEMPLATES).split():
        if word == "{}":
            tokens += next(left).split()
            name = random_name(rng)
            spans.append((len(tokens), len(tokens) + len(name)))
            tokens += name
        else:
            tokens.append(word)
    tokens += rng.sample(DIGIT_HASHTAGS, rng.randint(0, 1))
    return join_words(tokens, spans)


def _paint_wall(rng: random.Random) -> np.ndarray:
    """Paint a noisy wall (`PICTURE_SIZE`, `PICTURE_SIZE`, 3) that reddens to the right and greens to the bottom.

    So a crop of the picture shows where in the picture it was.
    """
    slope = np.linspace(0, 110, PICTURE_SIZE)
    wall = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 20.0)
    wall[..., 0] += slope
    wall[..., 1] += slope[:, None]
    return wall + np.random.default_rng(rng.getrandbits(64)).normal(0, NOISE, (PICTURE_SIZE, PICTURE_SIZE, 1))


def _paste(wall: np.ndarray, scan: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """Write a scan in light ink over a box of the wall, in pixels."""
    left, top, right, bottom = box
    ink = Image.fromarray((255 * scan).astype(np.uint8)).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    part = wall[top:bottom, left:right]
    part += np.asarray(ink)[..., None] / 255 * (np.array(INK) - part)


def digit_post(rng: random.Random, relation: str, split: str) -> dict:
    """Make a row of [`make_digit_posts`], without its id; the relation decides the scans and nothing else.

    Args:
        rng: the stream of random numbers that decides all the rest.
        relation: one of `DIGIT_RELATIONS`.
        split: the split whose scans are shown.

    Returns:
        The columns of [`post_features`] but for `id`; `image` is a picture, `relation` a name.
    """
    boxes = {}
    for place, corner in rng.choice(ARRANGEMENTS).items():
        side = rng.randint(*SIDES)
        left, top = (start + rng.randint(0, ROOM - side) for start in corner)
        boxes[place] = (left, top, left + side, top + side)
    places = [*boxes]
    text, spans = _write_text(rng, places)
    head = int(rng.random() >= SHARE_HEAD_FIRST)
    caption = rng.choice(DIGIT_CAPTIONS)
    wall = _paint_wall(rng)

    # The scans are last, so that their random numbers shift no one else's.
    pair = rng.choice([(a, b) for a in DIGITS for b in DIGITS if relation_of(a, b) == relation])
    scans = digit_scans()[split]
    first = rng.choice(scans[pair[0]])
    second = rng.choice([scan for scan in scans[pair[1]] if scan is not first])  # equal digits are not equal pictures
    for scan, place in zip((first, second), (places[head], places[1 - head])):
        _paste(wall, scan, boxes[place])

    return {
        "text": text,
        "head": dict(zip(("start", "end"), spans[head])),
        "tail": dict(zip(("start", "end"), spans[1 - head])),
        "image": Image.fromarray(wall.round().clip(0, 255).astype(np.uint8)),
        "relation": relation,
        "grounded_regions": [[value / PICTURE_SIZE for value in box] for box in boxes.values()],
        "detected_regions": [],
        "caption": caption,
    }


def make_digit_posts(
    num_train: int = 2000, num_validation: int = 300, num_test: int = 300, seed: int = 0
) -> datasets.DatasetDict:
    """Make posts whose relation only the two digits of the picture tell, both together.

    The text says which of two named things is where (on the left, on the right, above, below), the boxes where the
    digits are. The digit at the head's place is `larger` or `smaller` than the one at the tail's, `equal` to it, or,
    where one of them is a four, in no relation. No scan is in two splits, so that a model has to read handwriting that
    it never saw. Three posts of four name the head first: without the text, a quarter of the directions would be wrong.

    Args:
        num_train: number of posts in the split `train`.
        num_validation: number of posts in the split `validation`.
        num_test: number of posts in the split `test`.
        seed: posts of the same seed, split and index are the same, whatever the sizes of the splits. The scans of a
            split are the same for all seeds.

    Returns:
        `datasets.DatasetDict` with the features `post_features(DIGIT_RELATIONS)`. The grounded regions are the two
        digits' boxes, the left or the upper one first; there are no detected ones.
    """
    sizes = dict(zip(SPLITS, (num_train, num_validation, num_test), strict=True))

    def make_post(rng: random.Random, split: str) -> dict:
        return digit_post(rng, rng.choice(DIGIT_RELATIONS), split)

    return make_splits(DIGIT_RELATIONS, sizes, seed, make_post)


__all__ = ["DIGITS", "DIGIT_RELATIONS", "digit_post", "digit_scans", "make_digit_posts", "relation_of"]
