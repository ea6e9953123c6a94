"""The protocols change what they name, by the share they name, and nothing else."""

import datasets
import pytest
from PIL import Image

from mmre.evaluation import align_noise
from mmre.processing import post_features

POSTS_PER_PICTURE = 3


@pytest.fixture
def posts():
    """60 posts on 20 pictures; region, caption and picture tell which picture it is."""
    rows = []
    for index in range(60):
        picture = index // POSTS_PER_PICTURE
        rows.append(
            {
                "id": f"test-{index}",
                "tokens": ["post", str(index)],
                "head": {"start": 0, "end": 1},
                "tail": {"start": 1, "end": 2},
                "image": Image.new("RGB", (4, 4), (picture, 0, 0)),
                "relation": index % 2,
                "grounded_regions": [[0.0, 0.0, (picture + 1) / 20, 1.0]],
                "detected_regions": [[0.0, 0.0, 1.0, (picture + 1) / 20]],
                "caption": f"picture {picture}",
            }
        )
    return datasets.Dataset.from_list(rows, features=post_features(["None", "couple"]))


def picture_of(row) -> int:
    picture = row["image"].getpixel((0, 0))[0]
    assert row["caption"] == f"picture {picture}"
    assert row["grounded_regions"] == [[0.0, 0.0, (picture + 1) / 20, 1.0]]
    assert row["detected_regions"] == [[0.0, 0.0, 1.0, (picture + 1) / 20]]
    return picture


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_share_of_posts_gets_another_picture_with_its_regions_and_caption(posts, share):
    noisy = align_noise(posts, share, seed=0)
    moved = [picture_of(row) != index // POSTS_PER_PICTURE for index, row in enumerate(noisy)]
    assert sum(moved) == share * len(posts)


def test_texts_entities_relations_and_order_stay(posts):
    noisy = align_noise(posts, 1.0, seed=0)
    for column in ("id", "tokens", "head", "tail", "relation"):
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
