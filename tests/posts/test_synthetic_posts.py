"""The synthetic posts: reproducible, well-formed, and with the label in the picture and nowhere else."""

import io
import math
import pickle
import random
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image, ImageChops

from mmre.posts.schema import NEGATIVE_RELATION, post_features
from mmre.posts.synthetic import SYNTHETIC_RELATIONS, make_synthetic_posts, synthetic_post

IMAGE_SIZE = (160, 120)
CHANCE = 1 / len(SYNTHETIC_RELATIONS)
# Held-out posts per relation are about 60: one standard deviation of the mean recall of a guess is 0.014.
MARGIN = 0.05


@pytest.fixture(scope="module")
def posts():
    return make_synthetic_posts()


@pytest.fixture(scope="module")
def rows(posts):
    """All rows of each split, with the encoded bytes of the pictures."""
    return {split: _encoded(posts[split]) for split in posts}


def _encoded(split: datasets.Dataset) -> list[dict]:
    return split.cast_column("image", datasets.Image(decode=False)).to_list()


def _all(rows):
    return [row for split in rows.values() for row in split]


def test_pictures_lie_on_disk_and_come_along_into_another_process():
    rows = make_synthetic_posts(num_train=3, num_validation=0, num_test=0)["train"]
    (file,) = rows.cache_files
    assert Path(file["filename"]).stat().st_size > rows.data.nbytes
    assert len(pickle.dumps(rows)) < rows.data.nbytes / 2  # its file goes by name
    assert pickle.loads(pickle.dumps(rows)).to_list() == rows.to_list()  # noqa: S301 (our own)


def test_schema(posts):
    assert {name: split.num_rows for name, split in posts.items()} == {"train": 2000, "validation": 300, "test": 300}
    assert SYNTHETIC_RELATIONS[0] == NEGATIVE_RELATION
    assert len(set(SYNTHETIC_RELATIONS)) >= 7
    for split in posts.values():
        assert split.features == post_features(SYNTHETIC_RELATIONS)
    picture = posts["test"][0]["image"]
    assert (picture.mode, picture.size, picture.format) == ("RGB", IMAGE_SIZE, "PNG")


def test_other_image_sizes():
    posts = make_synthetic_posts(num_train=20, num_validation=0, num_test=0, image_size=(90, 131))
    for row in posts["train"]:
        assert row["image"].size == (90, 131)
        for box in row["grounded_regions"]:
            assert min(box) >= 0 and max(box) <= 1


def test_same_seed_gives_the_same_bytes_whatever_the_sizes_of_the_splits(rows):
    again = make_synthetic_posts(num_train=40, num_validation=2, num_test=30)
    for split in again:
        assert _encoded(again[split]) == rows[split][: again[split].num_rows]


def test_another_seed_gives_other_posts(rows):
    other = _encoded(make_synthetic_posts(num_train=40, num_validation=0, num_test=0, seed=1)["train"])
    for mine, theirs in zip(rows["train"], other):
        assert mine["text"] != theirs["text"]
        assert mine["image"]["bytes"] != theirs["image"]["bytes"]


def test_splits_share_nothing(rows):
    every_row = _all(rows)
    for content in (
        [row["id"] for row in every_row],
        [row["text"] for row in every_row],
        [row["image"]["bytes"] for row in every_row],
    ):
        assert len(set(content)) == len(every_row)


def test_relations_are_balanced_but_for_a_larger_none(rows):
    for split, tolerance in (("train", 0.02), ("validation", 0.06), ("test", 0.06)):
        shares = Counter(row["relation"] for row in rows[split])
        assert shares[0] / len(rows[split]) == pytest.approx(0.3, abs=tolerance)
        for label in range(1, len(SYNTHETIC_RELATIONS)):
            assert shares[label] / len(rows[split]) == pytest.approx(0.1, abs=tolerance)


def test_spans_are_inside_the_text_and_apart(rows):
    tail_first = 0
    for row in _all(rows):
        head, tail = row["head"], row["tail"]
        for span in (head, tail):
            assert 0 <= span["start"] < span["end"] <= len(row["text"])
            # Whole words, without the space around them.
            assert f" {row['text']} "[span["start"]] == f" {row['text']} "[span["end"] + 1] == " "
        assert head["end"] <= tail["start"] or tail["end"] <= head["start"]
        tail_first += tail["start"] < head["start"]
    assert 0.4 < tail_first / len(_all(rows)) < 0.6


def _name(row, entity) -> str:
    return row["text"][row[entity]["start"] : row[entity]["end"]]


def test_texts_look_like_posts(rows):
    words = Counter(word for row in _all(rows) for word in set(row["text"].split(" ")))
    assert words["RT"] and words["&amp;"] and words["🔥"] and words["#TBT"]
    lengths = {len(_name(row, "head").split(" ")) for row in _all(rows)}
    assert lengths == {1, 2, 3}


def test_boxes_are_valid(rows):
    for row in _all(rows):
        assert 1 <= len(row["grounded_regions"]) <= 4
        assert 0 <= len(row["detected_regions"]) <= 3
        for x_min, y_min, x_max, y_max in row["grounded_regions"] + row["detected_regions"]:
            assert 0 <= x_min < x_max <= 1
            assert 0 <= y_min < y_max <= 1
    assert {len(row["grounded_regions"]) for row in _all(rows)} == {1, 2, 3, 4}
    assert {len(row["detected_regions"]) for row in _all(rows)} == {0, 1, 2, 3}


def _contains(box, pixels):
    x_min, y_min, x_max, y_max = [value * IMAGE_SIZE[i % 2] for i, value in enumerate(box)]
    return x_min <= pixels[0] and y_min <= pixels[1] and pixels[2] <= x_max and pixels[3] <= y_max


def test_the_relation_changes_the_picture_in_one_grounded_box_and_nothing_else():
    places = set()
    for seed in range(40):
        streams = [random.Random(seed) for _ in SYNTHETIC_RELATIONS]  # noqa: S311 (not for secrets)
        neutral, *others = [synthetic_post(*each, IMAGE_SIZE) for each in zip(streams, SYNTHETIC_RELATIONS)]
        for other in others:
            for column in set(neutral) - {"image", "relation"}:
                assert other[column] == neutral[column]
            changed = ImageChops.difference(neutral["image"], other["image"]).getbbox()
            holding = [i for i, box in enumerate(neutral["grounded_regions"]) if _contains(box, changed)]
            assert len(holding) == 1
            places.add(holding[0])
    assert places == {0, 1, 2, 3}  # the symbol's box has no fixed place among the grounded ones


def _held_out_recall(words_of, rows) -> float:
    """Mean recall over the relations of naive Bayes on the words of `words_of`, fitted on train."""
    counts = [Counter() for _ in SYNTHETIC_RELATIONS]
    for row in rows["train"]:
        counts[row["relation"]].update(words_of(row))
    vocabulary = len(set().union(*counts))
    totals = [count.total() for count in counts]

    def score(label, words):
        return sum(math.log((counts[label][word] + 1) / (totals[label] + vocabulary)) for word in words)

    right, gold = Counter(), Counter()
    for row in rows["validation"] + rows["test"]:
        words = list(words_of(row))
        guess = max(range(len(counts)), key=lambda label: score(label, words))
        gold[row["relation"]] += 1
        right[row["relation"]] += guess == row["relation"]
    return sum(right[label] / gold[label] for label in gold) / len(gold)


def _entities(row):
    return [(entity, word) for entity in ("head", "tail") for word in _name(row, entity).split(" ")]


@pytest.mark.parametrize(
    "words_of",
    [
        pytest.param(lambda row: row["text"].split(" "), id="text"),
        pytest.param(_entities, id="entities"),
        pytest.param(lambda row: row["caption"].split(), id="caption"),
        pytest.param(lambda row: [row["caption"], *row["text"].split(" "), *_entities(row)], id="together"),
    ],
)
def test_words_do_not_tell_the_relation(rows, words_of):
    assert abs(_held_out_recall(words_of, rows) - CHANCE) < MARGIN


def _areas(boxes):
    return [(x_max - x_min) * (y_max - y_min) for x_min, y_min, x_max, y_max in boxes]


def _place_of_largest(boxes):
    return _areas(boxes).index(max(_areas(boxes)))


def _aspect(box):
    return (box[2] - box[0]) / (box[3] - box[1])


def _mean(values):
    return sum(values) / max(1, len(values))


def _words_before(row, entity) -> int:
    return row["text"][: row[entity]["start"]].count(" ")


NOT_CONTENT = {
    "number of grounded regions": lambda row: len(row["grounded_regions"]),
    "number of detected regions": lambda row: len(row["detected_regions"]),
    "regions found both ways": lambda row: sum(box in row["grounded_regions"] for box in row["detected_regions"]),
    "area of the first grounded region": lambda row: _areas(row["grounded_regions"])[0],
    "area of the last grounded region": lambda row: _areas(row["grounded_regions"])[-1],
    "area of the largest grounded region": lambda row: max(_areas(row["grounded_regions"])),
    "area of the smallest grounded region": lambda row: min(_areas(row["grounded_regions"])),
    "mean area of the detected regions": lambda row: _mean(_areas(row["detected_regions"])),
    "place of the largest grounded region": lambda row: _place_of_largest(row["grounded_regions"]),
    "aspect of the first grounded region": lambda row: _aspect(row["grounded_regions"][0]),
    "left of the first grounded region": lambda row: row["grounded_regions"][0][0],
    "top of the first grounded region": lambda row: row["grounded_regions"][0][1],
    "mean left of the grounded regions": lambda row: _mean([box[0] for box in row["grounded_regions"]]),
    "mean top of the grounded regions": lambda row: _mean([box[1] for box in row["grounded_regions"]]),
    "grounded regions from left to right": lambda row: row["grounded_regions"] == sorted(row["grounded_regions"]),
    "words in the text": lambda row: len(row["text"].split(" ")),
    "letters in the text": lambda row: len(row["text"]),
    "letters in the caption": lambda row: len(row["caption"]),
    "words in the head": lambda row: len(_name(row, "head").split(" ")),
    "words in the tail": lambda row: len(_name(row, "tail").split(" ")),
    "words between head and tail": lambda row: _words_before(row, "tail") - _words_before(row, "head"),
    "bytes of the picture": lambda row: len(row["image"]["bytes"]),
}


@pytest.mark.parametrize("name", NOT_CONTENT)
def test_what_is_not_content_does_not_tell_the_relation(rows, name):
    value_of = NOT_CONTENT[name]
    values = sorted(value_of(row) for row in rows["train"])
    borders = [values[len(values) * i // 20] for i in range(1, 20)]  # at most 20 ranges, about equally full

    recall = _held_out_recall(lambda row: [sum(value_of(row) > border for border in borders)], rows)
    assert abs(recall - CHANCE) < MARGIN


def _colours(row) -> list[int]:
    """The colours, coarsely, of more than 20 pixels of the picture squashed as models see it."""
    pixels = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).resize((64, 64))).reshape(-1, 3)
    coarse = pixels // 43 @ [36, 6, 1]  # six levels per channel
    return np.flatnonzero(np.bincount(coarse) > 20).tolist()


def test_the_picture_tells_the_relation(rows):
    """The same measure, shown nothing but colours, finds the symbols: so it would have found a leak elsewhere."""
    assert _held_out_recall(_colours, rows) > 0.85
