"""The posts that annotation sees."""

import pytest
from picture_helpers import dataset

from mmre.annotation.plan import open_unlabelled_posts


def test_annotation_never_holds_the_relation(mnre):
    assert open_unlabelled_posts(mnre).column_names == ["id", "text", "head", "tail", "image"]


def test_bad_data_is_named_before_any_model_is_loaded(tmp_path):
    bad = [{"id": "a"}, {"id": "a"}, {"id": "b", "head": {"start": 3, "end": 99}}, {"id": "c", "text": ""}]
    dataset(bad).save_to_disk(tmp_path / "set")
    with pytest.raises(ValueError) as error:
        open_unlabelled_posts(tmp_path / "set")
    for place in (
        "3 problem(s)",
        "train[1]: id: 'a', as at ",
        "train[2]: head: {'end': 99, 'start': 3}",
        "train[3]: text: ''",
    ):
        assert place in str(error.value)
    dataset([{}]).remove_columns(["head", "image"]).save_to_disk(tmp_path / "other")
    with pytest.raises(
        ValueError, match="head: nothing; expected a column of (.|\n)*image: nothing; expected a column"
    ):
        open_unlabelled_posts(tmp_path / "other")


def test_a_data_set_needs_neither_relations_nor_regions(tmp_path):
    columns = ["relation", "grounded_regions", "detected_regions", "caption"]
    dataset([{}, {}]).remove_columns(columns).save_to_disk(tmp_path / "set")
    posts = open_unlabelled_posts(tmp_path / "set")
    assert posts["id"][:] == ["post-0", "post-1"] and posts.column_names == ["id", "text", "head", "tail", "image"]


def test_mnre_without_any_image_is_an_error_that_names_the_option(mnre, tmp_path):
    for path in (mnre / "img_org").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="--image_dir"):
        open_unlabelled_posts(mnre, image_dir=tmp_path / "empty")
    assert len(open_unlabelled_posts(mnre, image_dir=tmp_path)) == 7
