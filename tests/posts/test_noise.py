"""Noise changes what it names, by the share it names, and nothing else."""

import datasets
import pytest
from protocol_helpers import POSTS_PER_PICTURE, REGIONS, count_changes, others, picture_of

from mmre.posts.noise import align_noise, aug_noise


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_share_of_posts_gets_another_picture_with_its_regions_and_caption(posts, share):
    noisy = align_noise(posts, share, seed=0)
    moved = [picture_of(row) != index // POSTS_PER_PICTURE for index, row in enumerate(noisy)]
    assert sum(moved) == share * len(posts)


def test_texts_entities_relations_and_order_stay(posts):
    noisy = align_noise(posts, 1.0, seed=0)
    for column in ("id", "text", "head", "tail", "relation"):
        assert noisy[column] == posts[column]
    assert noisy.features == posts.features


def test_pictures_are_swapped_not_drawn_anew(posts):
    assert sorted(align_noise(posts, 1.0, seed=0)["caption"]) == sorted(posts["caption"])


def test_a_seed_gives_the_same_posts_and_another_seed_others(posts):
    captions = [align_noise(posts, 0.5, seed=seed)["caption"] for seed in (1, 1, 2)]
    assert captions[0] == captions[1] != captions[2]


def test_a_share_beyond_one_and_pictures_that_cannot_be_swapped_are_refused(posts):
    with pytest.raises(ValueError, match="must be in"):
        align_noise(posts, 1.5, seed=0)
    with pytest.raises(ValueError, match="too few"):
        align_noise(posts.select(range(4)), 1.0, seed=0)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_the_share_of_all_regions_is_replaced_or_deleted_and_nothing_else_changes(drawn, share):
    total = sum(len(boxes) for name in REGIONS for boxes in drawn[name])
    noisy = aug_noise(drawn, share, seed=0)
    replaced, deleted = count_changes(drawn, noisy)
    assert replaced + deleted == round(share * total)
    if share:
        assert min(replaced, deleted) > 0.2 * share * total  # both happen
    assert others(noisy, *REGIONS) == others(drawn, *REGIONS)
    assert noisy.features == drawn.features


def test_a_replaced_region_is_a_box_of_the_picture_outside_the_focal_ones(posts):
    corner = [[0.0, 0.0, 0.4, 0.4]]
    rows = [row | {"grounded_regions": corner, "detected_regions": []} for row in others(posts)]
    noisy = aug_noise(datasets.Dataset.from_list(rows, features=posts.features), 1.0, seed=0)
    boxes = [box for boxes in noisy["grounded_regions"] for box in boxes]
    assert 0 < len(boxes) < len(posts)
    for x_min, y_min, x_max, y_max in boxes:
        assert 0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1
        inside = max(0, 0.4 - x_min) * max(0, 0.4 - y_min)
        assert inside <= 0.1 * (x_max - x_min) * (y_max - y_min)


def test_a_region_that_fills_the_picture_is_replaced_all_the_same(posts):
    rows = [row | {"grounded_regions": [[0.0, 0.0, 1.0, 1.0]], "detected_regions": []} for row in others(posts)]
    whole = datasets.Dataset.from_list(rows, features=posts.features)
    assert sum(count_changes(whole, aug_noise(whole, 1.0, seed=0))) == len(posts)


def test_region_noise_is_repeated_by_its_seed(drawn):
    regions = [aug_noise(drawn, 0.5, seed=seed)["grounded_regions"][:] for seed in (1, 1, 2)]
    assert regions[0] == regions[1] != regions[2]


@pytest.mark.parametrize("share", [-0.1, 1.1])
@pytest.mark.parametrize("noise", [align_noise, aug_noise])
def test_a_share_below_zero_or_beyond_one_is_refused(posts, noise, share):
    with pytest.raises(ValueError, match=f"`share` is {share}; it must be in"):
        noise(posts, share, seed=0)


def overlap(box, other) -> float:
    """The share of a box that lies in another one."""
    width = max(0, min(box[2], other[2]) - max(box[0], other[0]))
    height = max(0, min(box[3], other[3]) - max(box[1], other[1]))
    return width * height / ((box[2] - box[0]) * (box[3] - box[1]))


def test_where_little_room_is_left_it_is_found_and_where_none_is_that_is_said(posts, caplog):
    # A strip of 12 % is free on the right: hardly any of fifty random boxes lies in it.
    narrow = [[0.0, 0.0, 0.88, 1.0]]
    rows = [row | {"grounded_regions": narrow, "detected_regions": []} for row in others(posts)]
    noisy = aug_noise(datasets.Dataset.from_list(rows, features=posts.features), 1.0, seed=0)
    boxes = [box for boxes in noisy["grounded_regions"] for box in boxes]
    assert len(boxes) > 15 and max(overlap(box, narrow[0]) for box in boxes) <= 0.1 + 1e-9
    assert "Aug-Noise" not in caplog.text
    full = [row | {"grounded_regions": [[0.0, 0.0, 1.0, 1.0]]} for row in rows]
    noisy = aug_noise(datasets.Dataset.from_list(full, features=posts.features), 1.0, seed=0)
    count = sum(len(boxes) for boxes in noisy["grounded_regions"])
    assert f"of {count} irrelevant regions {count} (100.0%) lie by more than 10%" in caplog.text
