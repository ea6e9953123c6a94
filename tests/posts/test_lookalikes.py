"""Names that look the same: of relations, of images."""

import unicodedata

import datasets
import pytest
from PIL import Image
from post_file_helpers import cells, post, write

from mmre.posts import load_files, load_saved_posts, make_synthetic_posts
from mmre.posts.column_changes import with_relations
from mmre.processing.suggestions import unknown

COMPOSED, DECOMPOSED = "né à", unicodedata.normalize("NFD", "né à")
ZERO_WIDTH = "cou\u200bple"


def test_composed_and_decomposed_letters_are_one_relation(folder):
    assert COMPOSED != DECOMPOSED
    lines = [post(relation=COMPOSED), post(relation=DECOMPOSED), post(relation="None")]
    posts = load_files(write(folder / "train.jsonl", lines), write(folder / "val.csv", [cells(relation=DECOMPOSED)]))
    assert posts["train"].features["relation"].names == ["None", COMPOSED]
    assert posts["train"]["relation"][:] == [1, 1, 0] and posts["validation"]["relation"][:] == [1]
    # So it is with the relations of a checkpoint, in whichever form they stand there.
    read = load_files(test=write(folder / "test.jsonl", lines), relations=["None", DECOMPOSED])
    assert read["test"]["relation"][:] == [1, 1, 0]
    assert with_relations(read, ["None", DECOMPOSED])["test"].features["relation"].names == ["None", DECOMPOSED]


@pytest.mark.parametrize("name", [ZERO_WIDTH, "couple\u00a0x", "cou\u202eple", "cou\u00adple", "a\nb"])
def test_characters_that_nobody_sees_are_named_by_their_code_points(folder, name):
    with pytest.raises(ValueError) as error:
        load_files(write(folder / "train.jsonl", [post(), post(relation=name)]))
    assert f"train.jsonl:2: relation: {ascii(name)}; expected a name without space around it or invisible" in (
        str(error.value).replace(f"{folder}/", "")
    )


def test_a_suggestion_that_looks_the_same_shows_code_points():
    assert unknown("relation", DECOMPOSED, ["None", COMPOSED]) == (
        r"unknown relation 'ne\u0301 a\u0300'; did you mean 'n\xe9 \xe0'?"
    )
    assert unknown("relation", ZERO_WIDTH, ["couple"]) == r"unknown relation 'cou\u200bple'; did you mean 'couple'?"
    assert unknown("relation", "Né", ["né à"]) == "unknown relation 'Né'; did you mean 'né à'?"


@pytest.mark.parametrize(
    "names, message",
    [
        (["None", COMPOSED, DECOMPOSED], r"names that look the same, 'None', 'n\\xe9 \\xe0', 'ne\\u0301 a\\u0300'"),
        (["None", ZERO_WIDTH], r"the names 'cou\\u200bple'; expected names without invisible characters"),
        (["None", "a\ufe0fb"], r"the names 'a\\ufe0fb'; expected names without invisible characters"),
        (["None", "a\u034fb"], r"the names 'a\\u034fb'; expected names without invisible characters"),
        (["None", "a\u3164b"], r"the names 'a\\u3164b'; expected names without invisible characters"),
    ],
)
def test_the_relations_of_a_stored_data_set_are_checked_too(tmp_path, names, message):
    rows = make_synthetic_posts(num_train=4, num_validation=1, num_test=1)["train"]
    features = rows.features.copy()
    features["relation"] = datasets.ClassLabel(names=names)
    rows = rows.map(lambda _: {"relation": 0}, features=features)
    datasets.DatasetDict({"train": rows}).save_to_disk(tmp_path / "posts")
    with pytest.raises(ValueError, match=message):
        load_saved_posts(tmp_path / "posts")


def test_spaces_within_a_name_are_one_space(folder):
    lines = [post(relation="member of"), post(relation="member  of"), post(relation="None")]
    posts = load_files(
        write(folder / "train.jsonl", lines), write(folder / "val.jsonl", [post(relation="member   of")])
    )
    assert posts["train"].features["relation"].names == ["None", "member of"]
    assert posts["train"]["relation"][:] == [1, 1, 0] and posts["validation"]["relation"][:] == [1]
    assert with_relations(posts, ["None", "member  of"])["train"]["relation"][:] == [1, 1, 0]


@pytest.mark.parametrize(
    "names, warning",
    [
        (["co-founder", "co\u2011founder"], r"'co-founder' and 'co\u2011founder' look the same"),
        (["of\ufb01ce", "office", "x"], r"'office' and 'of\ufb01ce' look the same"),
        (["couple", "c\u043euple"], r"'c\u043euple' has letters of two alphabets in one word"),
        (["\u039frg"], r"'\u039frg' has letters of two alphabets in one word"),
        (["couple", "Couple", "né", "ne", "a_b", "a-b", "пара", "Twitter пара", "T細胞"], None),
    ],
)
def test_relations_that_look_the_same_are_told_by_their_code_points(folder, tmp_path, caplog, names, warning):
    posts = load_files(write(folder / "train.jsonl", [*(post(relation=name) for name in names), post(relation="None")]))
    assert set(posts["train"].features["relation"].names) == {"None", *names}
    expected = [] if warning is None else [f"Of the relations, {warning}. If one is meant, call it by one name."]
    assert [record.message for record in caplog.records] == expected
    caplog.clear()
    posts.save_to_disk(tmp_path / "posts")
    load_saved_posts(tmp_path / "posts")
    assert [record.message for record in caplog.records] == expected


def test_a_suggestion_of_another_alphabet_shows_code_points():
    assert unknown("relation", "c\u043euple", ["None", "couple"]) == (
        r"unknown relation 'c\u043euple'; did you mean 'couple'?"
    )
    assert unknown("relation", "co\u2011founder", ["co-founder"]) == (
        r"unknown relation 'co\u2011founder'; did you mean 'co-founder'?"
    )
    assert unknown("relation", "параа", ["пара"]) == "unknown relation 'параа'; did you mean 'пара'?"


def test_an_image_whose_name_is_not_all_seen_is_told_on_one_line_by_its_code_points(folder):
    names = ["a\r\nb.png", "a\u200bb.png", "a\u3164b.png"]
    with pytest.raises(ValueError) as error:
        load_files(write(folder / "train.jsonl", [post(image=name) for name in names]))
    for line, name in enumerate(names, start=1):
        shown = name.encode("ascii", "backslashreplace").decode().replace("\r\n", r"\r\n")
        assert f"train.jsonl:{line}: image: {folder}/{shown} (there is no such file); expected" in str(error.value)
    assert len(str(error.value).splitlines()) == 5  # the number of problems, three of them, and the hint


@pytest.mark.parametrize("on_disk, in_row", [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_an_image_is_found_in_whichever_form_its_name_is_written(folder, on_disk, in_row):
    name = unicodedata.normalize(on_disk, "café.png")
    Image.new("RGB", (8, 6), "blue").save(folder / name)
    row = post(image=unicodedata.normalize(in_row, "café.png"))
    (read,) = load_files(write(folder / "train.jsonl", [row, post()]))["train"].select([0])
    assert read["image"].getpixel((0, 0)) == (0, 0, 255)
