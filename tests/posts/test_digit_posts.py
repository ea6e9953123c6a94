"""Posts with scanned digits: what they show is read off their pixels, and the relation worked out from that."""

import random
from collections import Counter
from functools import cache, partial

import datasets
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from mmre.posts import open_posts
from mmre.posts.digits import DIGIT_RELATIONS, digit_post, make_digit_posts
from mmre.posts.schema import post_features

SCANS = load_digits()
# Whether one place is before another on the axis that the words are of: x is 0, y is 1.
AXES = {"on the left": (0, True), "on the right": (0, False), "above": (1, True), "below": (1, False)}


@pytest.fixture(scope="module")
def posts():
    return make_digit_posts(num_train=100, num_validation=100, num_test=100)


@pytest.fixture(scope="module")
def rows(posts):
    return {split: [*posts[split]] for split in posts}


def pixels(row) -> np.ndarray:
    return np.asarray(row["image"]).astype(float)


def pixel_boxes(row) -> list[list[int]]:
    return [[round(64 * value) for value in box] for box in row["grounded_regions"]]


def place_of(row, entity) -> str:
    """The place that stands before an entity in the text."""
    before = row["text"][: row[entity]["start"]].rstrip()
    return next(place for place in AXES if before.endswith(place))


def box_at(row, place: str) -> list[int]:
    axis, is_first = AXES[place]
    return sorted(pixel_boxes(row), key=lambda box: box[axis])[0 if is_first else 1]


@cache
def enlarged_scans(side: int) -> np.ndarray:
    """All scans of scikit-learn, in rows of `side` times `side` pixels."""
    pictures = [Image.fromarray((255 / 16 * scan).astype(np.uint8)) for scan in SCANS.images]
    rows = [np.ravel(picture.resize((side, side), Image.Resampling.BILINEAR)) for picture in pictures]
    return np.array(rows, np.float32) / 255


def scan_in(row, box) -> int:
    """The number of the scan that is nearest to what a box shows, in the blue that the wall has little of."""
    left, top, right, bottom = box
    shown = np.ravel(pixels(row)[top:bottom, left:right, 2] - 20) / (225 - 20)
    scans = enlarged_scans(right - left)
    return int((np.square(scans).sum(axis=1) - 2 * scans @ shown.astype(np.float32)).argmin())


@pytest.fixture(scope="module")
def found(rows):
    """Of each split, the scans of head and tail in each post."""
    return {
        split: [[scan_in(row, box_at(row, place_of(row, entity))) for entity in ("head", "tail")] for row in of_split]
        for split, of_split in rows.items()
    }


def test_schema_and_order_of_the_boxes(posts, rows):
    assert DIGIT_RELATIONS == ["None", "larger", "smaller", "equal"]
    for split in posts.values():
        assert split.features == post_features(DIGIT_RELATIONS)
    for row in sum(rows.values(), []):
        assert row["image"].size == (64, 64) and row["image"].mode == "RGB"
        assert row["detected_regions"] == [] and len(row["grounded_regions"]) == 2
        axis, _ = AXES[place_of(row, "head")]
        first, second = pixel_boxes(row)
        assert first[axis + 2] <= 32 <= second[axis]
        # In the middle of the other axis: no two places look alike.
        assert all(box[1 - axis] >= 16 and box[3 - axis] <= 48 for box in (first, second))


def test_the_text_says_which_thing_is_where(rows):
    places, head_first = Counter(), 0
    for row in sum(rows.values(), []):
        pair = place_of(row, "head"), place_of(row, "tail")
        assert {*pair} in ({"on the left", "on the right"}, {"above", "below"})
        assert sum(row["text"].count(place) for place in AXES) == 2
        places[pair[0]] += 1
        head_first += row["head"]["start"] < row["tail"]["start"]
        # The text goes from left to right and from top to bottom.
        assert AXES[pair[0]][1] == (row["head"]["start"] < row["tail"]["start"])
    assert len(places) == 4 and min(places.values()) > 30
    assert 0.68 < head_first / 300 < 0.82


def test_the_relation_follows_from_the_digits_in_the_direction_of_the_pair(rows, found):
    shown = set()
    for split, of_split in rows.items():
        for row, (head, tail) in zip(of_split, found[split]):
            head, tail = SCANS.target[head], SCANS.target[tail]
            expected = "larger" if head > tail else "smaller" if head < tail else "equal"
            expected = "None" if 4 in (head, tail) else expected
            assert DIGIT_RELATIONS[row["relation"]] == expected
            shown.add((head, tail))
    assert shown == {(a, b) for a in range(5) for b in range(5)}


def test_no_scan_is_in_two_splits_or_twice_in_a_picture(found):
    seen = {split: {SCANS.images[scan].tobytes() for pair in pairs for scan in pair} for split, pairs in found.items()}
    assert sum(map(len, seen.values())) == len(set().union(*seen.values()))
    assert all(len(scans) > 80 for scans in seen.values())
    assert all(head != tail for pairs in found.values() for head, tail in pairs)


def test_the_boxes_hold_the_digits_and_nothing_else_does(rows):
    for row in sum(rows.values(), []):
        ink = pixels(row)[..., 2] > 20 + 60  # six standard deviations of the noise
        for left, top, right, bottom in pixel_boxes(row):
            inside = ink[top:bottom, left:right]
            assert 20 <= right - left == bottom - top <= 28
            # A digit is as high as its scan, and at least two of its eight columns wide.
            assert inside.any(axis=1).mean() > 0.8 and inside.any(axis=0).mean() > 0.25
            inside[...] = False
        assert not ink.any()


def test_the_relation_changes_what_the_digits_are_and_nothing_else():
    for seed in range(20):
        none, *others = [digit_post(random.Random(seed), relation, "train") for relation in DIGIT_RELATIONS]
        boxes = np.zeros((64, 64), bool)
        for left, top, right, bottom in pixel_boxes(none):
            boxes[top:bottom, left:right] = True
        for other in others:
            assert {name for name in none if none[name] != other[name]} == {"image", "relation"}
            assert not (pixels(none) != pixels(other)).any(axis=2)[~boxes].any()


def test_same_seed_gives_the_same_posts_whatever_the_sizes_of_the_splits(posts):
    def encoded(split):
        return split.cast_column("image", datasets.Image(decode=False)).to_list()

    again = make_digit_posts(num_train=10, num_validation=0, num_test=20)
    for split in again:
        assert encoded(again[split]) == encoded(posts[split].select(range(len(again[split]))))
    other = encoded(make_digit_posts(num_train=10, num_validation=0, num_test=0, seed=1)["train"])
    assert not any(mine == theirs for mine, theirs in zip(encoded(again["train"]), other))


def test_the_one_door_opens_them(monkeypatch):
    monkeypatch.setattr("mmre.posts.sources.make_digit_posts", partial(make_digit_posts, num_validation=2, num_test=3))
    posts = open_posts("digits", num_synthetic_posts=7)
    assert {split: len(rows) for split, rows in posts.items()} == {"train": 7, "validation": 2, "test": 3}
    assert posts["train"].features["relation"].names == DIGIT_RELATIONS
    without = open_posts("digits", num_synthetic_posts=7, regions="none")
    assert all(posts["test"]["grounded_regions"]) and not any(without["test"]["grounded_regions"])
