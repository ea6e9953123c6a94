"""A data set of posts on the Hub: pushed as parquet with its images inside, and loaded elsewhere as it was."""

import hashlib
import io
import json
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest
from PIL import Image

from mmre.posts import make_synthetic_posts, post_features

RELATIONS = ["None", "/per/per/couple", "/per/misc/awarded"]

PUSH = """
import json, sys
import datasets
from huggingface_hub import HfApi
from mmre.processing import make_synthetic_posts, post_features

public, private, rows, relations = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:])
features = post_features(relations)
mine = datasets.DatasetDict(
    {split: datasets.Dataset.from_list(rows[split], features=features) for split in rows}
)
stored = mine["train"].cast_column("image", datasets.Image(decode=False))["image"]
assert all(image is None or image["bytes"] is None for image in stored)  # only paths so far
first = mine.push_to_hub(public).oid
HfApi().create_tag(public, tag="v1", repo_type="dataset")
mine["train"] = mine["train"].select([2, 0])
second = mine.push_to_hub(public).oid
make_synthetic_posts(num_train=6, num_validation=2, num_test=2).push_to_hub(private, private=True)
print(json.dumps([first, second]))
"""

LOAD = """
import hashlib, json, sys
import datasets
datasets.config.USE_PARQUET_EXPORT = False  # it asks a host of huggingface.co that this Hub does not have

def content(splits):
    rows = {split: [{**row, "image": pixels(row["image"])} for row in splits[split]] for split in splits}
    return {"rows": rows, "features": {split: splits[split].features.to_dict() for split in splits}}

def pixels(image):
    return image and [image.mode, image.size, hashlib.sha256(image.tobytes()).hexdigest()]

public, private, first, token = sys.argv[1:]
try:
    datasets.load_dataset(private)
    refusal = "loaded"
except datasets.exceptions.DatasetNotFoundError as error:
    refusal = str(error)
print(json.dumps({
    "refusal": refusal,
    "newest": content(datasets.load_dataset(public)),
    "by sha": content(datasets.load_dataset(public, revision=first)),
    "by tag": content(datasets.load_dataset(public, revision="v1")),
    "private": content(datasets.load_dataset(private, token=token)),
    "streamed": [row["id"] for row in datasets.load_dataset(public, split="train", streaming=True)],
}))
"""


def row_of(number: int, **changed) -> dict:
    row = {
        "id": f"post-{number}",
        "tokens": ["Rafael", "Nadal", "weds", "Mery", "Perelló", "😂", "#TBT"],
        "head": {"start": 0, "end": 2},
        "tail": {"start": 3, "end": 5},
        "image": None,
        "relation": "/per/per/couple",
        "grounded_regions": [[0.1, 1 / 3, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]],
        "detected_regions": [[0.25, 0.125, 2 / 3, 0.75]],
        "caption": "two people at a wedding",
    }
    return row | changed


@pytest.fixture
def rows(tmp_path, picture):
    """Rows with images by path: a photograph, a picture with transparency, none at all, and a split without any."""
    photograph, drawing = tmp_path / "photograph.jpg", tmp_path / "drawing.png"
    picture.save(photograph)
    transparent = picture.convert("RGBA")
    transparent.putalpha(77)
    transparent.save(drawing)
    return {
        "train": [
            row_of(0, image=str(photograph)),
            row_of(1, relation="None", grounded_regions=[], detected_regions=[]),
            row_of(2, image=str(drawing), relation="/per/misc/awarded", caption=None),
        ],
        "test": [row_of(3, caption=None), row_of(4, caption=None, tokens=["a", "b"], tail={"start": 1, "end": 2})],
    }


def pixels(image: Image.Image) -> list:
    return [image.mode, list(image.size), hashlib.sha256(image.tobytes()).hexdigest()]


def as_loaded(row: dict) -> dict:
    """What a row is in a data set, by its source: the relation's id and the picture's pixels."""
    picture = row["image"] and pixels(Image.open(row["image"]))
    return row | {"relation": RELATIONS.index(row["relation"]), "image": picture}


def test_posts_come_back_from_the_hub_as_they_were(hub, run_client, rows, tmp_path):
    public, private = "org/posts", "org/private-posts"
    pushed = run_client(PUSH, public, private, json.dumps(rows), json.dumps(RELATIONS), token=hub.write_token)
    first, second = json.loads(pushed.splitlines()[-1])
    assert hub.commits(public, "dataset")[0].sha == second

    files = hub.files(public, "dataset", revision=first)
    assert set(files) == {
        ".gitattributes",
        "README.md",
        "data/train-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    }
    table = pyarrow.parquet.read_table(io.BytesIO(files["data/train-00000-of-00001.parquet"]))
    assert [image and image["bytes"] for image in table["image"].to_pylist()] == [
        row["image"] and Path(row["image"]).read_bytes() for row in rows["train"]
    ]
    assert [image["path"] for image in table["image"].to_pylist() if image] == ["photograph.jpg", "drawing.png"]
    expected = {split: [as_loaded(row) for row in rows[split]] for split in rows}
    for path in tmp_path.iterdir():  # from here on there is nothing but the Hub
        path.unlink()

    asked = len(hub.requests)
    found = json.loads(run_client(LOAD, public, private, first, hub.read_token))
    for revision in ("by sha", "by tag"):
        assert found[revision]["rows"] == expected
    assert found["newest"]["rows"] == {"train": [expected["train"][2], expected["train"][0]], "test": expected["test"]}
    assert found["streamed"] == ["post-2", "post-0"]
    for revision in ("newest", "by sha"):
        for features in found[revision]["features"].values():
            assert datasets.Features.from_dict(features) == post_features(RELATIONS)
    paths = [request.path for request in hub.requests[asked:]]
    assert f"/datasets/{public}/resolve/{first}/data/train-00000-of-00001.parquet" in paths

    posts = make_synthetic_posts(num_train=6, num_validation=2, num_test=2)
    assert private in found["refusal"]
    assert [request.status for request in hub.requests[asked:] if private in request.path][0] == 401
    for split, dataset in posts.items():
        assert found["private"]["rows"][split] == [{**row, "image": pixels(row["image"])} for row in dataset]
        assert datasets.Features.from_dict(found["private"]["features"][split]) == dataset.features
