"""A user's own posts: CSV and JSON lines, and a report that names row and field."""

import csv
import io
import json
import tracemalloc

import pytest
from PIL import Image
from post_file_helpers import BOX, HEAD, TAIL, TEXT, cells, post, write

from mmre.posts import load_files, post_features
from mmre.posts.row_readers import CSV_COLUMNS


def report(folder, content, name="train.jsonl", **arguments) -> str:
    """The message of the error that a training file gives rise to, without the folder."""
    with pytest.raises(ValueError) as error:
        load_files(write(folder / name, content), **arguments)
    return str(error.value).replace(f"{folder}/", "")


# What is read


def test_csv_and_json_lines_of_the_same_posts_are_the_same_data_set(folder):
    full = {"id": "x", "grounded_regions": [BOX, BOX], "detected_regions": [], "caption": 'two, "people"\nsmile'}
    as_json = {name: json.dumps(value) if isinstance(value, list) else value for name, value in full.items()}
    lines = [post(**full), post(head={"start": 10, "end": 17}, image=None), post(relation="None", id=None)]
    rows = [cells(**as_json), cells(image=""), cells(relation="None")]
    from_json = load_files(write(folder / "train.jsonl", lines))
    from_csv = load_files(write(folder / "train.csv", rows))
    assert list(from_json) == list(from_csv) == ["train"]
    features = post_features(["None", "couple"])
    assert from_json["train"].features == from_csv["train"].features == features
    assert from_json["train"].to_list() == from_csv["train"].to_list()
    first, second, third = from_csv["train"]
    assert first.pop("image").tobytes() == Image.new("RGB", (8, 6), "red").tobytes()
    assert first == {
        "id": "x",
        "text": TEXT,
        "head": {"start": HEAD[0], "end": HEAD[1]},
        "tail": {"start": TAIL[0], "end": TAIL[1]},
        "relation": 1,
        "grounded_regions": [BOX, BOX],
        "detected_regions": [],
        "caption": 'two, "people"\nsmile',
    }
    assert (second["id"], second["image"], second["caption"]) == ("train-1", None, None)
    assert (third["id"], third["relation"], third["grounded_regions"]) == ("train-2", 0, [])


def test_words_are_joined_by_single_spaces_and_otherwise_as_they_are_given(folder):
    row = post(text=..., tokens=["Ann", "Lee 's", "wedding", "Bo"], head=[0, 2], tail={"start": 3, "end": 4})
    read = load_files(write(folder / "train.json", [row]))["train"][0]
    assert read["text"] == "Ann Lee 's wedding Bo"
    assert (read["head"], read["tail"]) == ({"start": 0, "end": 10}, {"start": 19, "end": 21})


def test_the_relations_are_those_of_the_training_file_with_none_first(folder):
    train = write(folder / "train.jsonl", [post(relation=name) for name in ("peer", "couple", "peer", "Zoo")])
    test = write(folder / "test.jsonl", [post(relation="couple"), post(relation="None")])
    posts = load_files(train, test=test)
    assert list(posts) == ["train", "test"]
    for rows in posts.values():
        assert rows.features["relation"].names == ["None", "Zoo", "couple", "peer"]
    assert posts["train"]["relation"] == [3, 2, 3, 1] and posts["test"]["relation"] == [2, 0]
    alone = load_files(test=test, relations=["None", "peer", "couple"])
    assert alone["test"]["relation"] == [2, 0]


def test_no_post_without_a_relation_is_worth_a_warning(folder, caplog):
    load_files(write(folder / "train.jsonl", [post(), post(relation="no_relation")]))
    assert "No post has the relation 'None'" in caplog.text
    caplog.clear()
    load_files(write(folder / "train.jsonl", [post(), post(relation="None")]))
    assert caplog.text == ""


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_a_spreadsheet_writes_is_read(folder, separator, line_end):
    """With a byte order mark, quotes where they are needed, rows of separators at the end, and texts of two lines."""
    rows = [
        [*cells()],
        [*cells().values()],
        [*cells(text=TEXT + f' ; , \t "{line_end}é"').values()],
        [""] * 7,
        [""] * 7,
    ]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, lineterminator=line_end).writerows(rows)
    path = write(folder / "train.CSV", b"\xef\xbb\xbf" + file.getvalue().encode())
    read = load_files(path)["train"]
    assert read["id"] == ["train-0", "train-1"]
    assert read["text"] == [TEXT, TEXT + f' ; , \t "{line_end}é"']


def test_json_lines_with_a_byte_order_mark_blank_lines_and_strange_line_ends_are_read(folder):
    content = "\ufeff" + json.dumps(post()) + "\r\n\n  \n" + json.dumps(post(text=TEXT + "\u2028x"), ensure_ascii=False)
    read = load_files(write(folder / "train.jsonl", content))["train"]
    assert read["id"] == ["train-0", "train-1"]
    assert read["text"] == [TEXT, TEXT + "\u2028x"]


def test_paths_of_images_start_from_the_file_or_from_the_folder_that_is_given(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (3, 2)).save(elsewhere / "a.png")
    (folder / "deep").mkdir()
    path = write(folder / "deep" / "train.jsonl", [post(image="../a.png"), post(image=str(elsewhere / "a.png"))])
    assert [image.size for image in load_files(path)["train"]["image"]] == [(8, 6), (3, 2)]
    path = write(folder / "deep" / "train.jsonl", [post()])
    assert load_files(path, image_dir=elsewhere)["train"][0]["image"].size == (3, 2)
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        load_files(path, image_dir=folder / "nowhere")


# What is wrong

BAD_POSTS = {
    "text": (post(text=...), "train.jsonl:2: text: nothing; expected a text that is not blank"),
    "blank text": (post(text=" \n"), r"train.jsonl:2: text: ' \n'; expected a text"),
    "text of another type": (post(text=3), "train.jsonl:2: text: 3;"),
    "half a surrogate pair": ('{"text": "\\ud83d Ann", "head": [2, 3], "tail": [3, 4], "relation": "x"}', ":2: text: "),
    "text and words": (post(tokens=["a"]), "train.jsonl:2: text, tokens: "),
    "words": (post(text=..., tokens=["a", " "]), "train.jsonl:2: tokens: ['a', ' ']; expected a list of words"),
    "no words": (post(text=..., tokens=None), "train.jsonl:2: tokens: nothing"),
    "no head": (post(head=...), "train.jsonl:2: head: nothing; expected start and end of the head in characters"),
    "span outside": (
        post(tail=[33, 36]),
        "2: tail: [33, 36]; expected start and end of the tail in characters, whole ",
    ),
    "length": (post(tail=[33, 36]), "0 <= start < end <= 35"),
    "span of words": (
        post(text=..., tokens=["a", "b"], head=[0, 1], tail=[1, 3]),
        "in words, whole numbers, 0 <= start",
    ),
    "empty span": (post(tail=[5, 5]), "train.jsonl:2: tail: [5, 5]"),
    "inverted span": (post(head=[5, 2]), "train.jsonl:2: head: [5, 2]"),
    "negative span": (post(head=[-2, 2]), "train.jsonl:2: head: [-2, 2]"),
    "fraction": (post(head=[0.0, 2.0]), "train.jsonl:2: head: [0.0, 2.0]"),
    "bool": (post(head=[False, True]), "train.jsonl:2: head: [False, True]"),
    "other names": (post(head={"begin": 0, "end": 2}), "train.jsonl:2: head: {"),
    "name": (post(head="Ann Lee"), "train.jsonl:2: head: 'Ann Lee'"),
    "blank span": (post(head=[2, 3]), "2: head: ' '; expected characters 2 to 3 of the text not to be blank"),
    "relation": (post(relation=...), "train.jsonl:2: relation: nothing; expected a name"),
    "list": (post(relation=["couple"]), "train.jsonl:2: relation: ['couple']"),
    "space": (post(relation="couple "), "train.jsonl:2: relation: 'couple '; expected a name without space around it"),
    "none": (
        post(relation="none"),
        "train.jsonl:2: relation: 'none'; expected a name without space around it or invisible characters, 'None'",
    ),
    "id": (post(id=1.5), "train.jsonl:2: id: 1.5; expected text or null"),
    "empty id": (post(id=""), "train.jsonl:2: id: ''; expected text or null"),
    "caption": (post(caption=["a"]), "train.jsonl:2: caption: ['a']; expected text or null"),
    "image": (post(image=["a.png"]), "train.jsonl:2: image: ['a.png']; expected text or null"),
    "unknown field": (post(captoin="a"), "train.jsonl:2: unknown field 'captoin'; did you mean 'caption'?"),
    "box outside": (
        post(grounded_regions=[BOX, [0, 0, 1.1, 1]]),
        "2: grounded_regions: [0, 0, 1.1, 1]; expected [x_min",
    ),
    "box in pixels": (post(detected_regions=[[3, 4, 50, 60]]), "train.jsonl:2: detected_regions: [3, 4, 50, 60]"),
    "inverted box": (post(detected_regions=[[0.5, 0, 0.1, 1]]), "train.jsonl:2: detected_regions: [0.5, 0, 0.1, 1]"),
    "box of bools": (post(grounded_regions=[[False, False, True, True]]), "train.jsonl:2: grounded_regions: [False"),
    "NaN": ('{"grounded_regions": [[0, 0, NaN, 1]], ' + json.dumps(post())[1:], "2: grounded_regions: [0, 0, nan, 1]"),
    "one box": (
        post(grounded_regions=BOX),
        "train.jsonl:2: grounded_regions: [0.1, 0.2, 0.5, 0.9]; expected a list of boxes",
    ),
    "boxes of another type": (post(grounded_regions="x"), "train.jsonl:2: grounded_regions: 'x'; expected a list"),
    "boxes without image": (post(image=None, grounded_regions=[BOX]), "expected none, for the post has no image"),
    "no such image": (post(image="b.png"), "b.png (there is no such file); expected an image that can be read"),
    "a folder": (post(image="."), "(there is no such file); expected an image"),
    "no image": (post(image="train.jsonl"), "train.jsonl:2: image: train.jsonl (UnidentifiedImageError"),
    "no path": (post(image="a\0.png"), "(there is no such file); expected an image"),
    "no JSON": ("{'text': 'a'}", """train.jsonl:2: line: "{'text': 'a'}"; expected a JSON object"""),
    "no object": ("3", "train.jsonl:2: line: '3'; expected a JSON object"),
    "deep": ("[" * 100_000, "train.jsonl:2: line: '[[["),
    "huge number": ("1" * 5000, "train.jsonl:2: line: '111"),
}


@pytest.mark.parametrize("case", BAD_POSTS)
def test_a_bad_line_is_named_with_its_field(folder, case):
    line, message = BAD_POSTS[case]
    text = report(folder, [post(), line, post(relation="None")])
    assert message in text
    assert text.startswith("1 problem(s) in the data:\n  ") and len(text.split("\n")) <= 3, text


BAD_CELLS = {
    "no number": (
        cells(head_start="x"),
        "train.csv:3: head_start, head_end: ['x', 17]; expected start and end of the ",
    ),
    "fraction": (cells(head_start="10.0"), "train.csv:3: head_start, head_end: ['10.0', 17]"),
    "empty cell": (cells(tail_end=""), "train.csv:3: tail_start, tail_end: [33, None]"),
    "huge number": (cells(tail_end="9" * 5000), "train.csv:3: tail_start, tail_end: [33, '999"),
    "no text": (cells(text=""), "train.csv:3: text: nothing"),
    "no relation": (cells(relation=""), "train.csv:3: relation: nothing"),
    "no JSON": (
        cells(grounded_regions="[[0, 0, 1"),
        "train.csv:3: grounded_regions: '[[0, 0, 1'; expected a list of boxes",
    ),
    "box": (cells(detected_regions="[[0, 0, 1, 2]]"), "train.csv:3: detected_regions: [0, 0, 1, 2]"),
}


@pytest.mark.parametrize("case", BAD_CELLS)
def test_a_bad_cell_is_named_with_its_row_and_column(folder, case):
    row, message = BAD_CELLS[case]
    text = report(folder, [cells(), row, cells(relation="None")], "train.csv")
    assert message in text
    assert text.startswith("1 problem(s) in the data:\n  ") and "\n" not in text.split("\n  ", 1)[1]


def test_after_a_text_of_two_lines_the_row_of_the_spreadsheet_is_named_too(folder):
    text = report(folder, [cells(text=TEXT + "\nx"), cells(head_end=99)], "train.csv")
    assert "train.csv:4 (row 3): head_start, head_end: [10, 99]" in text


HEADER = ",".join(cells())
ROW = ",".join(map(str, cells().values()))
BAD_FILES = {
    "empty": ("", "content: nothing; expected a header with the columns text, head_start"),
    "only a header": (HEADER, "train.csv: content: no posts"),
    "no header": (ROW, f"train.csv:1: header: no {', '.join(CSV_COLUMNS[:6])}; expected the columns text, head_start"),
    "missing column": (
        f"{HEADER},x\n{ROW},1".replace("relation", "caption"),
        "train.csv:1: header: no relation; expected",
    ),
    "unknown column": (
        f"{HEADER},captoin\n{ROW},1",
        "1: unknown column 'captoin'; did you mean 'caption'?",
    ),
    "column twice": (f"{HEADER},image\n{ROW},1", "train.csv:1: header: 'image' twice"),
    "index of pandas": (
        f",{HEADER}\n0,{ROW}",
        "train.csv:1: header: no name for column 1; expected one (of pandas: to_csv",
    ),
    "too many cells": (f"{HEADER}\n{ROW}\n{ROW},1", "train.csv:3: row: 8 cells; expected 7, as in the header"),
    "too few cells": (f"{HEADER}\n{ROW}\na,b", "train.csv:3: row: 2 cells; expected 7"),
    "open quote": (f'{HEADER}\n{ROW}\n"{ROW}', "train.csv:3: row: unexpected end of data; expected comma-separated"),
    "quote in a cell": (f'{HEADER}\n"a"b,1', "train.csv:2: row: ',' expected after '\"'"),
    "endless cell": (f"{HEADER}\n{'a' * 200_000}", "train.csv:2: row: field larger than field limit"),
    "Latin-1": (f"{HEADER}\n{ROW}\n".encode() + b"caf\xe9", "train.csv:3: content: b'\\xe9'; expected text in UTF-8"),
    "UTF-16": (f"{HEADER}\n{ROW}".encode("utf-16"), "train.csv:1: content: b'\\xff'; expected text in UTF-8"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_its_line(folder, case):
    content, message = BAD_FILES[case]
    assert message in report(folder, content, "train.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.jsonl: content: no posts"),
        (b"\xef\xbb\xbf\n \n", "train.jsonl:1: line: "),
        (b"\n \n", "train.jsonl: content: no posts"),
        (b'\xef\xbb\xbf[\n{"text": ""}]', "train.jsonl:1: content: a JSON list; expected JSON lines"),
        (b'{"text": "a", "head": [0, 1], "text": "b"}', "train.jsonl:1: line: 'text' twice; expected each field once"),
        (b'{"text": "a", "head": {"start": 0, "start": 1}}', "train.jsonl:1: line: 'start' twice; expected each field"),
        (b'{"text": "caf\xe9"}', 'train.jsonl:1: line: \'{"text": "caf\ufffd"}\'; expected a JSON object, in UTF-8'),
    ],
)
def test_bad_json_lines_are_named(folder, content, message):
    assert message in report(folder, content)


@pytest.mark.parametrize("field", ["id", "text", "caption", "relation", "image"])
def test_half_of_a_pair_of_surrogates_is_told_as_what_it_is(folder, field):
    row = post(**{field: "Ann Lee's wedding, Bo, a long text \ud83d"})
    assert f'train.jsonl:1: {field}: "' in report(folder, [row])
    assert '\\ud83d"; expected characters: half of a pair of surrogates is none' in report(folder, [row])


def test_a_field_that_nobody_knows_is_named_once(folder):
    said = report(folder, [post(author="Bo"), post(author="Cy", likes=3), post(author="Di")])
    assert said.startswith("2 problem(s)") and said.count("unknown field 'author'") == 1
    assert "train.jsonl:2: unknown field 'likes'" in said


def test_one_report_names_everything_in_all_files(folder):
    train = write(folder / "train.jsonl", [post(id="a", relation="None"), post(head=[0, 99], text="x" * 9), post()])
    validation = write(folder / "val.csv", [cells(id="a"), cells(relation="coupel")])
    test = write(folder / "test.jsonl", ["{", post(id="train-2"), *[post(image=f"{n}.png") for n in range(9)]])
    with pytest.raises(ValueError) as error:
        load_files(train, validation, test)
    lines = str(error.value).replace(f"{folder}/", "").split("\n")
    assert lines[0] == "15 problem(s) in the data:"
    for message in (
        "train.jsonl:2: head: [0, 99]",
        "train.jsonl:2: tail: [33, 35]",
        "val.csv:2: id: 'a', as at train.jsonl:1; expected another",
        "val.csv:3: unknown relation 'coupel'; did you mean 'couple'? (known are those of ",
        "test.jsonl:1: line: '{'",
        "test.jsonl:2: id: 'train-2', as at train.jsonl:3; expected another",
        "test.jsonl:3: image: 0.png (there is no such file)",
        "test.jsonl:7: image: 4.png",
        "test.jsonl: image: and 4 more",
    ):
        assert sum(line.strip().startswith(message) for line in lines) == 1, message
    assert "5.png" not in str(error.value)
    assert lines[-1] == "on_missing_image='text_only' loads their posts without image and regions"
    assert "text_only" not in report(folder, [post(head=None)])


def test_posts_of_missing_images_are_kept_as_text_if_asked_for(folder, caplog):
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:45])
    lines = [post(image=name, grounded_regions=[BOX], relation=relation) for name, relation in IMAGES.items()]
    read = load_files(write(folder / "train.jsonl", lines), on_missing_image="text_only")["train"]
    assert [image and image.size for image in read["image"]] == [(8, 6), None, None]
    assert read["grounded_regions"] == [[BOX], [], []]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "train.jsonl:2: image: " in caplog.text and "cut.png (OSError" in caplog.text
    assert "2 problem(s)" in report(folder, lines)


IMAGES = {"a.png": "couple", "cut.png": "None", "gone.png": "None"}


@pytest.mark.parametrize("limit", [30, 20])  # Pillow warns above its limit, and raises above twice its limit
def test_an_image_larger_than_pillow_takes_for_safe_is_named(folder, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    text = report(folder, [post()])
    assert "train.jsonl:1: image: a.png (DecompressionBombError: " in text and " pixels" in text


def test_the_rows_of_a_long_file_are_not_held_as_python_objects(folder):
    peaks = {}
    for number in (1, 2_000, 6_000):  # the first one fills caches
        path = write(folder / "train.jsonl", [post(caption="word " * 400, image=None)] * number)
        tracemalloc.start()
        rows = load_files(path)["train"]
        peaks[number] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(rows) == number and {*rows["caption"]} == {"word " * 400}
        assert [rows[index]["id"] for index in (0, number - 1)] == ["train-0", f"train-{number - 1}"]
    # The captions of 4,000 more posts are 8 MB.
    assert peaks[6_000] - peaks[2_000] < 4_000_000, peaks


def test_arguments_are_checked(folder):
    path = write(folder / "train.jsonl", [post()])
    for arguments, message in (
        ({"train": folder / "train.xlsx"}, "train.xlsx: the name does not tell what it is"),
        (
            {"test": path},
            "no file of training posts, whose relations are the ones to know: give",
        ),
        (
            {"train": path, "on_missing_image": "skip"},
            "unknown on_missing_image 'skip'; expected 'error', 'text_only' or 'keep'",
        ),
        ({"train": path, "relations": ["couple", "None"]}, "expected 'None' first"),
        ({"train": path, "relations": ["None", "a", "a"]}, "each once"),
        (
            {"train": path, "relations": ["None", "peer"]},
            "'couple'; expected 'None' or 'peer' .known are the relations of the checkpoint",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            load_files(**arguments)
    with pytest.raises(FileNotFoundError, match="val.csv: there is no such file"):
        load_files(path, folder / "val.csv")
    assert "relation: none in the whole file; expected at least one beside 'None'" in report(
        folder, [post(relation="None")]
    )
