"""Posts whose pictures, regions and captions tell which they are, and what was changed in them."""

import datasets
import pytest
from PIL import Image

from mmre.posts.schema import post_features
from mmre.posts.synthetic import make_synthetic_posts

REGIONS = ("grounded_regions", "detected_regions")
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
                "text": f"post {index}",
                "head": {"start": 0, "end": 4},
                "tail": {"start": 5, "end": 5 + len(str(index))},
                "image": Image.new("RGB", (4, 4), (picture, 0, 0)),
                "relation": index % 2,
                "grounded_regions": [[0.0, 0.0, (picture + 1) / 20, 1.0]],
                "detected_regions": [[0.0, 0.0, 1.0, (picture + 1) / 20]],
                "caption": f"picture {picture}",
            }
        )
    return datasets.Dataset.from_list(rows, features=post_features(["None", "couple"]))


@pytest.fixture(scope="module")
def drawn():
    """Posts with several regions each, none of which is as wide as an irrelevant one could be and the same."""
    return make_synthetic_posts(num_train=60, num_validation=0, num_test=0)["train"]


def picture_of(row) -> int:
    picture = row["image"].getpixel((0, 0))[0]
    assert row["caption"] == f"picture {picture}"
    assert row["grounded_regions"] == [[0.0, 0.0, (picture + 1) / 20, 1.0]]
    assert row["detected_regions"] == [[0.0, 0.0, 1.0, (picture + 1) / 20]]
    return picture


def others(dataset, *changed) -> list[dict]:
    """All columns but some, with the pictures' bytes."""
    plain = dataset.cast_column("image", datasets.Image(decode=False)).remove_columns(list(changed))
    return plain.to_list()


def count_changes(before, after) -> tuple[int, int]:
    """How many boxes were replaced and how many deleted; the ones that are left must be in their order."""
    replaced = deleted = 0
    for name in REGIONS:
        for old, new in zip(before[name], after[name]):
            kept = [box for box in new if box in old]
            assert kept == [box for box in old if box in kept]
            replaced += len(new) - len(kept)
            deleted += len(old) - len(new)
    return replaced, deleted
