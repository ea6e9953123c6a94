"""The one door to data: every kind of posts through `open_posts`, each option, and what does not fit."""

import functools
import json

import datasets
import pytest
import torch
from picture_helpers import MNRE_IDS, write_mnre
from post_file_helpers import BOX, post, write

from mmre.posts import make_synthetic_posts, open_posts, post_features
from mmre.posts.sources import NAMED_DATA, kind_of_data

COLUMNS = list(post_features(["None"]))
IMAGE = datasets.Image()
CENTRE = [0.25, 0.25, 0.75, 0.75]


@pytest.fixture
def mnre(tmp_path) -> str:
    return str(write_mnre(tmp_path / "mnre"))


@pytest.fixture
def files(folder, monkeypatch) -> dict[str, str]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    lines = [post(id="a", grounded_regions=[BOX]), post(id="b", relation="None", image="gone.png")]
    return {"train": write(folder / "train.jsonl", lines), "test": write(folder / "test.jsonl", [post(id="c")])}


@pytest.fixture
def saved(files, folder) -> str:
    """A folder of `save_to_disk`, of the posts of the files."""
    path = str(folder / "saved")
    open_posts("files", files=files, on_missing_image="text_only").save_to_disk(path)
    return path


@pytest.fixture
def write_boxes():
    """Write boxes as they are released: one grounded for the first line of each split, one detected in `a.png`."""

    def write_to(mnre: str) -> None:
        for split in ("train", "dev", "test"):
            torch.save({"0_pred_yolo_crop_0.png": (0.5, 0.5, 0.5, 0.5, 0.25)}, f"{mnre}/{split}_vg_box_dict.pth")
            torch.save({"a_crop_0.jpg": (0.5, 0.5, 0.5, 0.5, 0.25)}, f"{mnre}/{split}_detect_box_dict.pth")

    return write_to


def annotation(folder, ids, **found) -> str:
    rows = [{"mmre_annotation": 1}, *({"id": key, **found} for key in ids)]
    return write(folder / "found.jsonl", rows)


def test_each_kind_of_data_is_told_from_the_others(mnre, saved, tmp_path):
    assert [kind_of_data(name) for name in NAMED_DATA] == ["mnre", "synthetic", "digits", "files"]
    assert (kind_of_data(mnre), kind_of_data(saved), kind_of_data("org/posts")) == ("mnre", "saved", "saved")


def test_synthetic_posts_have_the_schema_and_as_many_posts_as_asked_for():
    posts = open_posts("synthetic", num_synthetic_posts=7, regions="none")
    assert {split: len(rows) for split, rows in posts.items()} == {"train": 7, "validation": 300, "test": 300}
    assert posts["train"].column_names == COLUMNS
    assert not any(posts["test"]["grounded_regions"]) and any(
        open_posts("synthetic", num_synthetic_posts=7)["test"]["grounded_regions"]
    )


def test_files_a_saved_folder_and_a_folder_of_parquet_are_the_same_posts(files, saved, folder):
    posts = open_posts("files", files=files, on_missing_image="text_only")
    for split, rows in posts.items():
        rows.to_parquet(folder / "parquet" / f"{split}-00000-of-00001.parquet")
    for opened in (open_posts(saved), open_posts(folder / "parquet")):
        assert {split: rows["id"][:] for split, rows in opened.items()} == {"train": ["a", "b"], "test": ["c"]}
        assert all(rows.features == posts[split].features for split, rows in opened.items())
        assert opened["train"]["text"][:] == posts["train"]["text"][:]
        assert opened["train"]["grounded_regions"][:] == [[BOX], []]
    without = open_posts(saved, regions="none", columns=["id", "grounded_regions"])["train"]
    assert without.column_names == ["id", "grounded_regions"] and not any(without["grounded_regions"])


def test_a_folder_of_files_is_opened_by_its_path(tmp_path):
    row = {"text": "Bo weds Cy", "head": [0, 2], "tail": [8, 10], "relation": "couple"}
    for name, count in (("train.jsonl", 3), ("validation.json", 2), ("other.jsonl", 1)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for _ in range(count)))
    (tmp_path / "test.csv").write_text(
        "text,head_start,head_end,tail_start,tail_end,relation\nBo weds Cy,0,2,8,10,couple"
    )
    posts = open_posts(tmp_path)
    assert {split: len(rows) for split, rows in posts.items()} == {"train": 3, "validation": 2, "test": 1}
    assert kind_of_data(tmp_path) == "files"
    with pytest.raises(ValueError, match="`files` belongs to the data 'files'"):
        open_posts(tmp_path, files={"train": "x.csv"})
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        open_posts(tmp_path, image_dir="nowhere")


def test_mnre_is_opened_by_its_name_or_by_its_folder(mnre, caplog):
    by_folder = open_posts(mnre, regions="none", on_missing_image="text_only")
    by_name = open_posts("mnre", data_dir=mnre, regions="none", on_missing_image="text_only")
    for split, rows in by_folder.items():
        assert rows.to_list() == by_name[split].to_list() and rows.column_names == COLUMNS
    assert [key for rows in by_folder.values() for key in rows["id"]] == MNRE_IDS
    first = by_folder["train"][0]
    assert first["text"][first["head"]["start"] : first["head"]["end"]] == "Rafael Nadal"


def test_what_happens_to_missing_images_is_the_same_for_mnre_and_files(mnre, files, caplog):
    for data, options in ((mnre, {"regions": "none"}), ("files", {"files": files})):
        with pytest.raises((ValueError, OSError), match="mage(.|\n)*on_missing_image='text_only' loads"):
            open_posts(data, **options)
        caplog.clear()
        posts = open_posts(data, **options, on_missing_image="text_only")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        kept = open_posts(data, **options, on_missing_image="keep")
        for split, rows in posts.items():
            undecoded = kept[split].cast_column("image", datasets.Image(decode=False))["image"][:]
            assert all(image["path"] for image in undecoded)  # also where nothing is
            assert sum(image is None for image in rows["image"]) == sum(
                image["path"].endswith(("gone.png", "broken.png", "missing.png")) for image in undecoded
            )
    nothing = open_posts(mnre, regions="none", use_images=False)
    assert all(image is None for rows in nothing.values() for image in rows["image"])


def test_what_happens_to_unreadable_images_of_a_stored_data_set(files, saved, folder):
    posts = datasets.load_from_disk(saved)
    undecoded = posts["train"].cast_column("image", datasets.Image(decode=False))
    bad = {"image": {"bytes": b"<html>404</html>", "path": "a.png"}}
    rows = [row | (bad if row["id"] == "a" else {}) for row in undecoded]
    posts["train"] = datasets.Dataset.from_list(rows, features=undecoded.features).cast_column("image", IMAGE)
    posts.save_to_disk(folder / "bad")
    with pytest.raises(
        ValueError, match=r"train\[0\]: image: UnidentifiedImage(.|\n)*on_missing_image='text_only' loads"
    ):
        open_posts(folder / "bad")
    text_only = open_posts(folder / "bad", on_missing_image="text_only")
    assert text_only["train"]["image"][:] == [None, None] and text_only["train"]["grounded_regions"][:] == [[], []]
    assert text_only["test"][0]["image"].size == (8, 6)
    kept = open_posts(folder / "bad", on_missing_image="keep")["train"]
    assert kept["grounded_regions"][:] == [[BOX], []]
    assert [image and image["bytes"] for image in kept.cast_column("image", datasets.Image(decode=False))["image"]] == [
        b"<html>404</html>",
        None,
    ]


def test_the_regions_that_posts_have_are_the_default(mnre, files, saved, write_boxes, monkeypatch):
    few = functools.partial(make_synthetic_posts, num_validation=2, num_test=2)
    monkeypatch.setattr("mmre.posts.sources.make_synthetic_posts", few)
    write_boxes(mnre)
    for data, name, options in (
        (mnre, "released", {"use_images": False}),
        ("synthetic", "drawn", {"num_synthetic_posts": 5}),
        ("files", "as given", {"files": files, "on_missing_image": "text_only"}),
        (saved, "as given", {}),
    ):
        by_default, by_name = open_posts(data, **options), open_posts(data, regions=name, **options)
        without = open_posts(data, regions="none", **options)
        for split, rows in by_default.items():
            for column in ("grounded_regions", "detected_regions"):
                assert rows[column][:] == by_name[split][column][:]
                assert without[split][column][:] == [[]] * len(rows)
        assert any(by_default["train"]["grounded_regions"])


def test_released_regions_are_kept_for_counts_where_no_image_is_looked_for(mnre, write_boxes):
    write_boxes(mnre)
    posts = open_posts(mnre, use_images=False)
    assert all(image is None for rows in posts.values() for image in rows["image"])
    assert posts["train"]["grounded_regions"][:] == [[CENTRE], [], [], []]
    assert posts["train"]["detected_regions"][:] == [[CENTRE], [], [CENTRE], []]  # of an image, whatever its posts


def test_the_limit_of_pixels_holds_for_every_kind_of_data(mnre, files, saved):
    for data, options in ((mnre, {"regions": "none"}), ("files", {"files": files}), (saved, {})):
        with pytest.raises((ValueError, OSError), match="more than 10 pixels"):
            open_posts(data, **options, max_image_pixels=10)


def test_without_the_use_of_images_none_is_looked_for(files, folder):
    posts = open_posts("files", files=files, use_images=False)
    undecoded = posts["train"].cast_column("image", datasets.Image(decode=False))
    assert [image["path"].endswith(("a.png", "gone.png")) for image in undecoded["image"]] == [True, True]
    assert posts["train"]["grounded_regions"][:] == [[BOX], []]


def test_regions_and_captions_come_from_an_annotation_file_whatever_the_posts(mnre, files, saved, folder):
    found = {"grounded_regions": [[0.0, 0.0, 0.5, 0.5]], "detected_regions": [BOX], "caption": "a city"}
    for data, ids, options in (
        (mnre, MNRE_IDS, {"on_missing_image": "text_only"}),
        ("files", "abc", {"files": files, "on_missing_image": "text_only"}),
        (saved, "abc", {}),
    ):
        file = annotation(folder, ids, **found)
        posts = open_posts(data, regions=file, captions=file, **options)
        for row in (row for rows in posts.values() for row in rows):
            there = row["image"] is not None
            assert row["grounded_regions"] == (found["grounded_regions"] if there else [])
            assert row["detected_regions"] == (found["detected_regions"] if there else [])
            assert row["caption"] == "a city"
        regions_alone = open_posts(data, regions=file, **options)
        assert all(caption is None for rows in regions_alone.values() for caption in rows["caption"])


BAD = {
    "an unknown name": ("syntetic", {}, "unknown data 'syntetic'; did you mean 'synthetic'?"),
    "a path at which nothing is": ("./no/such/folder", {}, "./no/such/folder: there is no such folder"),
    "mnre without its folder": ("mnre", {}, "the data 'mnre' needs `data_dir`"),
    "the folder of MNRE for others": ("synthetic", {"data_dir": "x"}, "`data_dir` belongs to the data 'mnre'"),
    "files without files": ("files", {}, "the data 'files' needs `files`"),
    "files for others": ("synthetic", {"files": {"train": "x.csv"}}, "`files` belongs to the data 'files'"),
    "a split that is none": ("files", {"files": {"trian": "x.csv"}}, "unknown split 'trian'; did you mean 'train'?"),
    "images of posts that have theirs": ("synthetic", {"image_dir": "x"}, "`image_dir` belongs to MNRE and to 'files'"),
    "a file as the data": ("train.csv", {}, "train.csv is a file of posts: give the data 'files'"),
    "regions of MNRE for others": (
        "synthetic",
        {"regions": "released"},
        "unknown regions 'released'; expected",
    ),
    "regions that are no file": ("synthetic", {"regions": "x.jsonl"}, "(or the path of an annotation file)"),
    "captions that are no file": ("synthetic", {"captions": "x.jsonl"}, "captions: x.jsonl: there is no such file"),
    "an unknown column": ("synthetic", {"columns": ["txt"]}, "unknown column 'txt'; did you mean 'text'?"),
    "an unknown option": (
        "synthetic",
        {"on_missing_image": "skip"},
        "unknown on_missing_image 'skip'; expected",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_with_what_does(case):
    data, options, message = BAD[case]
    with pytest.raises((ValueError, OSError)) as error:
        open_posts(data, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_empty_folder_and_two_annotation_files_are_refused(saved, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no text file of MNRE, no data set of `save_to_disk`"):
        open_posts(tmp_path / "empty")
    write(tmp_path / "empty" / "notes.txt", "Not a post.")
    with pytest.raises(ValueError, match="empty, train: the columns are not those of a data set of posts"):
        open_posts(tmp_path / "empty")
    file = annotation(folder, "abc", caption="x")
    with pytest.raises(ValueError, match="captions: 2 files; expected one annotation file"):
        open_posts(saved, captions=[file, file])
