"""Data sets in our schema: on the Hub, pushed as parquet with its images inside, and in a folder."""

import hashlib
import io
import json
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest
from PIL import Image
from post_file_helpers import BOX, post, write

from mmre.posts import load_files, load_saved_posts, make_synthetic_posts, post_features
from mmre.posts.schema import ROWS_AT_ONCE

RELATIONS = ["None", "/per/per/couple", "/per/misc/awarded"]

PUSH = """
import json, sys
import datasets
from huggingface_hub import HfApi
from mmre.posts import make_synthetic_posts, post_features

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
import hashlib, json, os, sys
import datasets
from mmre.posts import open_posts
datasets.config.USE_PARQUET_EXPORT = False  # it asks a host of huggingface.co that this Hub does not have

def content(splits):
    rows = {split: [{**row, "image": pixels(row["image"])} for row in splits[split]] for split in splits}
    return {"rows": rows, "features": {split: splits[split].features.to_dict() for split in splits}}

def pixels(image):
    return image and [image.mode, image.size, hashlib.sha256(image.tobytes()).hexdigest()]

def open_with_token(name, **options):
    os.environ["HF_TOKEN"] = token
    return open_posts(name, **options)

public, private, first, token = sys.argv[1:]
try:
    datasets.load_dataset(private)
    refusal = "loaded"
except datasets.exceptions.DatasetNotFoundError as error:
    refusal = str(error)
try:
    open_posts(private)
    hint = "opened"
except FileNotFoundError as error:
    hint = str(error)
print(json.dumps({
    "refusal": refusal,
    "hint": hint,
    "newest": content(datasets.load_dataset(public)),
    "by sha": content(datasets.load_dataset(public, revision=first)),
    "by tag": content(datasets.load_dataset(public, revision="v1")),
    "private": content(datasets.load_dataset(private, token=token)),
    "streamed": [row["id"] for row in datasets.load_dataset(public, split="train", streaming=True)],
    "opened": content(open_with_token(private)),
    "without regions": open_with_token(private, regions="none", columns=["grounded_regions"])["test"].to_list(),
}))
"""


def row_of(number: int, **changed) -> dict:
    row = {
        "id": f"post-{number}",
        "text": "Rafael Nadal weds Mery Perelló 😂 #TBT",
        "head": {"start": 0, "end": 12},
        "tail": {"start": 18, "end": 30},
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
        "test": [
            row_of(3, caption=None),
            row_of(4, caption=None, text="a😂b", head={"start": 0, "end": 2}, tail={"start": 2, "end": 3}),
        ],
    }


def pixels(image: Image.Image) -> list:
    return [image.mode, list(image.size), hashlib.sha256(image.tobytes()).hexdigest()]


def as_loaded(row: dict) -> dict:
    """What a row is in a data set, by its source: the relation's id and the picture's pixels."""
    picture = row["image"] and pixels(Image.open(row["image"]))
    return row | {"relation": RELATIONS.index(row["relation"]), "image": picture}


@pytest.mark.slow
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
    assert found["opened"] == found["private"]
    assert found["without regions"] == [{"grounded_regions": []}] * 2
    assert (
        f"{private}: there is no such folder, nor such a data set on the Hub. If it is private: `hf auth login`"
        in (found["hint"])
    )
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


# In a folder


@pytest.fixture
def stored(folder, monkeypatch):
    """A data set in our schema, in memory, with images embedded as on the Hub; and the folder to store it in."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    train = write(folder / "train.jsonl", [post(grounded_regions=[BOX]), post(relation="None", image=None)])
    posts = load_files(train, validation=write(folder / "val.jsonl", [post()]))
    return posts, folder / "stored"


def store(posts, folder) -> str:
    """As `push_to_hub` does it: parquet files with the images in them."""
    for split, rows in posts.items():
        rows.with_format("arrow").map(datasets.table.embed_table_storage, batched=True).with_format(None).to_parquet(
            folder / "data" / f"{split}-00000-of-00001.parquet"
        )
    return str(folder)


def test_a_stored_data_set_comes_back_as_it_was(stored, tmp_path):
    posts, folder = stored
    more = datasets.DatasetDict({s: rows.add_column("source", ["x"] * len(rows)) for s, rows in posts.items()})
    name = store(more, folder)
    (tmp_path / "a.png").unlink()
    read = load_saved_posts(name)
    assert list(read) == ["train", "validation"]
    assert read["train"].features == posts["train"].features
    assert read["train"].column_names == list(post_features(["None"]))
    first, second = read["train"]
    assert first["image"].size == (8, 6) and second["image"] is None
    assert first["grounded_regions"] == [BOX] and first["id"] == "train-0"


def test_a_stored_data_set_of_words_comes_back_as_text(folder, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    number = 2 * ROWS_AT_ONCE + 1  # three parts
    texts = [f"Ann {'very ' * (row % 3)}weds Bo" for row in range(number)]
    lines = [post(text=text, head=[0, 3], tail=[len(text) - 2, len(text)], image=None) for text in texts]
    posts = load_files(write(folder / "train.jsonl", lines))
    words = [text.split(" ") for text in texts]
    spans = {"head": [(0, 1)] * number, "tail": [(len(row) - 1, len(row)) for row in words]}
    columns = {"tokens": words} | {name: [{"start": a, "end": b} for a, b in of] for name, of in spans.items()}
    features = posts["train"].features
    features = {"tokens": datasets.List(features["text"]), **{name: features[name] for name in spans}}
    as_words = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    kept = posts["train"].remove_columns(["text", *spans])
    name = store({"train": datasets.concatenate_datasets([kept, as_words], axis=1)}, folder / "stored")
    assert load_saved_posts(name)["train"].to_list() == posts["train"].to_list()


def test_the_columns_of_a_stored_data_set_are_checked(stored):
    posts, folder = stored
    other = posts.remove_columns("caption").cast_column("head", {n: datasets.Value("int64") for n in ("start", "end")})
    with pytest.raises(ValueError) as error:
        load_saved_posts(store(other, folder))
    text = str(error.value)
    assert "train: the columns are not those of a data set of posts:" in text
    assert "\n  caption: nothing; expected a column of Value('string')" in text
    assert "\n  head: {'start': Value('int64')" in text and "expected {'start': Value('int32')" in text
    assert "posts.cast(mmre.posts.post_features(relations))" in text
    mended = datasets.DatasetDict(
        {split: rows.add_column("caption", [None] * len(rows)) for split, rows in other.items()}
    ).cast(post_features(["None", "couple"]))
    assert len(load_saved_posts(store(mended, folder.with_name("mended")))["train"]) == 2


def test_the_relations_and_the_splits_of_a_stored_data_set_are_checked(stored):
    posts, folder = stored
    for index, (other, message) in enumerate(
        (
            (posts.cast_column("relation", datasets.Value("int64")), "relation: Value.*expected ClassLabel"),
            (posts.cast_column("relation", datasets.ClassLabel(names=["couple", "None"])), "'None' as the first"),
            (
                datasets.DatasetDict({"train": posts["train"], "extra": posts["validation"]}),
                "split 'extra'; expected train, validation, test",
            ),
        )
    ):
        with pytest.raises(ValueError, match=message):
            load_saved_posts(store(other, folder.with_name(str(index))))


def test_the_rows_of_a_stored_data_set_are_checked(stored):
    posts, folder = stored
    undecoded = posts["train"].cast_column("image", datasets.Image(decode=False))
    rows = [row for _ in range(3) for row in undecoded.to_list()]
    rows[0]["head"]["end"] = 99
    rows[1] |= {"relation": -1, "detected_regions": [BOX]}
    rows[2] |= {"id": None, "image": {"bytes": b"<html>", "path": "a.png"}}
    rows[4]["grounded_regions"] = [[0.0, 0.0, 2.0, 1.0]]
    features = posts["train"].features
    bad = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)
    with pytest.raises(ValueError) as error:
        load_saved_posts(store(datasets.DatasetDict({"train": bad}), folder))
    lines = str(error.value).replace(str(folder), "posts").split("\n  ")
    assert lines[0] == "9 problem(s) in the data:"
    for message in (
        "posts, train[0]: head: {'end': 99, 'start': 10}; expected start and end of the head in characters",
        "posts, train[1]: relation: -1; expected the id of a relation, 0 to 1",
        "posts, train[1]: detected_regions: [[0.1, 0.2, 0.5, 0.9]]; expected none",
        "posts, train[2]: id: nothing",
        "posts, train[2]: image: UnidentifiedImageError",
        "posts, train[4]: grounded_regions: [0.0, 0.0, 2.0, 1.0]",
        "posts, train[4]: id: 'train-0', as at posts, train[0]",
        "posts, train[3]: id: 'train-1', as at posts, train[1]",
        "posts, train[5]: id: 'train-1', as at posts, train[1]",
    ):
        assert sum(line.startswith(message) for line in lines) == 1, (message, lines)


def test_a_name_without_a_data_set_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with pytest.raises(OSError, match="nobody/nothing"):
        load_saved_posts("nobody/nothing")
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    (tmp_path / "test.csv").write_text("a,c\n1,2\n")
    with pytest.raises(ValueError, match="columns"):
        load_saved_posts(tmp_path)
