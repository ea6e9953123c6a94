"""A fingerprint is of the content of posts, not of the place where they lie."""

import datasets
import pytest
from PIL import Image

from mmre.posts import make_synthetic_posts
from mmre.posts.fingerprint import picture_keys, posts_fingerprint
from mmre.posts.schema import post_features


def posts_at(folder, **changes) -> datasets.DatasetDict:
    """Two posts of one picture on disk, and one without."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "a.png").exists():
        Image.new("RGB", (4, 3), "red").save(folder / "a.png")
    rows = [
        {
            "id": f"train-{index}",
            "text": "Ann weds Bo",
            "head": {"start": 0, "end": 3},
            "tail": {"start": 9, "end": 11},
            "image": image and str(folder / image),
            "relation": "couple",
            "grounded_regions": [[0.1, 1 / 3, 0.5, 1.0]],
            "detected_regions": [],
            "caption": None,
        }
        for index, image in enumerate(["a.png", "a.png", None])
    ]
    rows[0] |= changes
    rows = {column: [row[column] for row in rows] for column in rows[0]}
    features = post_features(["None", "couple", "peer"])
    return datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)})


def test_the_same_posts_have_the_same_fingerprint_wherever_they_lie(tmp_path):
    posts = posts_at(tmp_path / "here")
    fingerprint = posts_fingerprint(posts)
    assert len(fingerprint) == 64
    assert posts_fingerprint(posts_at(tmp_path / "there")) == fingerprint
    posts.save_to_disk(tmp_path / "saved")
    saved = datasets.load_from_disk(tmp_path / "saved")
    moved = datasets.DatasetDict(train=saved["train"].select([2, 1, 0]).select([2, 1, 0]))
    assert posts_fingerprint(moved) == posts_fingerprint(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "Ann wedz Bo"},
        {"id": "train-7"},
        {"relation": "peer"},
        {"head": {"start": 0, "end": 2}},
        {"grounded_regions": [[0.1, 1 / 3, 0.5, 0.9999999]]},
        {"caption": ""},
        {"image": None},
    ],
)
def test_any_change_of_a_row_changes_the_fingerprint(tmp_path, changes):
    assert posts_fingerprint(posts_at(tmp_path, **changes)) != posts_fingerprint(posts_at(tmp_path))


def test_pictures_splits_relations_and_order_count(tmp_path):
    posts = posts_at(tmp_path)
    known = {posts_fingerprint(posts)}
    for other in (
        datasets.DatasetDict(test=posts["train"]),
        datasets.DatasetDict(train=posts["train"].select([1, 0, 2])),
        datasets.DatasetDict(train=posts["train"].select([0, 1])),
        posts.cast_column("relation", datasets.ClassLabel(names=["None", "couple", "friend"])),
        posts.remove_columns("caption"),
    ):
        known.add(posts_fingerprint(other))
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    known.add(posts_fingerprint(posts))
    (tmp_path / "a.png").unlink()
    known.add(posts_fingerprint(posts))
    assert len(known) == 8


def test_no_picture_is_decoded(tmp_path):
    posts = posts_at(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    posts_fingerprint(posts)
    assert picture_keys(posts["train"]) == [str(tmp_path / "a.png")] * 2 + [None]


def test_embedded_pictures_count_by_their_bytes():
    posts = make_synthetic_posts(num_train=6, num_validation=0, num_test=0)
    keys = picture_keys(posts["train"])
    assert len(set(keys)) == 6 and picture_keys(posts["train"].select([3, 3])) == [keys[3]] * 2
    other = make_synthetic_posts(num_train=6, num_validation=0, num_test=0, seed=1)
    swapped = posts["train"].remove_columns("image").add_column("image", other["train"].with_format("arrow")["image"])
    assert posts_fingerprint({"train": swapped}) != posts_fingerprint(posts)
