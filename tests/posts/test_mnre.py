"""`load_mnre` on the real files, if they are there, and on small folders in each layout, good and bad."""

import ast
import io
import json
import logging
import math
import random
from collections import Counter

import pytest
import torch
from PIL import Image

from mmre.posts.mnre import MNRE_RELATIONS, load_mnre
from mmre.posts.schema import post_features

TEXTS = {"train": "mnre_train.txt", "validation": "mnre_val .txt", "test": "mnre_test.txt"}
BOX_PREFIX = {"train": "train", "validation": "dev", "test": "test"}
OLD_SPLIT = {"train": "train", "validation": "val", "test": "test"}
BOX = (0.5, 0.5, 0.5, 0.25, 0.125)
CORNERS = [0.25, 0.375, 0.75, 0.625]


def jpeg(size=(8, 6), **options) -> bytes:
    file, pixels = io.BytesIO(), random.Random(0).randbytes(3 * size[0] * size[1])  # noqa: S311
    Image.frombytes("RGB", size, pixels).save(file, "JPEG", **options)
    return file.getvalue()


def post(image="a.jpg", relation="None", head=(0, 1), tail=(2, 4), **changes) -> dict:
    tokens = ["Rafael", "in", "South", "Wales"]
    row = {
        "token": tokens,
        "h": {"name": " ".join(tokens[slice(*head)]), "pos": list(head)},
        "t": {"name": " ".join(tokens[slice(*tail)]), "pos": list(tail)},
        "img_id": image,
        "relation": relation,
    }
    return {**row, **changes}


def write(path, content) -> None:
    """Write bytes, the rows of a text file (a row is a dictionary, or a string as it is), or what torch saves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pth":
        torch.save(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        lines = [row if isinstance(row, str) else repr(row) for row in content]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def write_annotation(path, rows, header=None) -> str:
    lines = [{"mmre_annotation": 1, "detector": "any"} if header is None else header, *rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def message(error, *args, **kwargs) -> str:
    with pytest.raises(error) as raised:
        load_mnre(*args, **kwargs)
    return str(raised.value)


@pytest.fixture
def repository(tmp_path):
    """The layout of the MNRE authors: all images in one folder, and the space in the name of the dev file."""
    root = tmp_path / "MNRE"
    write(root / "mnre_txt" / "mnre_train.txt", [post("a.jpg"), post("b.jpg", "/per/loc/place_of_birth")])
    write(root / "mnre_txt" / "mnre_val .txt", [post("c.jpg", "/per/per/peer")])
    write(root / "mnre_txt" / "mnre_test.txt", [post("d.jpg", head=(2, 4), tail=(3, 4))])
    for name in "abcd":
        write(root / "mnre_image" / f"{name}.jpg", jpeg())
    return root


@pytest.fixture
def archive(tmp_path):
    """The layout of the HVPNeT and MKGformer archive, with FocalMRE's box files beside it."""
    root = tmp_path / "data"
    write(root / "ours_rel2id.json", json.dumps({name: i for i, name in enumerate(MNRE_RELATIONS)}).encode())
    for split, vg_name in (("train", "train"), ("val", "dev"), ("test", "test")):
        write(root / "txt" / f"ours_{split}.txt", [post(f"{split}_0.jpg"), post(f"{split}_1.jpg")])
        for line in (0, 1):
            write(root / "img_org" / split / f"{split}_{line}.jpg", jpeg())
        vg = {
            f"{line}_pred_yolo_crop_{n}.png": (0.5, 0.5, (n + 1) / 16, 0.5, 0) for line, n in [(0, 9), (0, 10), (1, 2)]
        }
        od = {f"{split}_0_crop_{n}.jpg": (0.5, 0.5, (n + 1) / 4, 0.5, 0) for n in (2, 0)}
        write(root / "boxes" / f"{vg_name}_vg_box_dict.pth", vg)
        write(root / "boxes" / f"{vg_name}_detect_box_dict.pth", od)
        write(root / "txt" / f"mre_{vg_name}_dict.pth", {0: [*vg][1::-1], 1: [[*vg][2]]})
        crops = {f"{split}_0": [f"img_detect/{split}/crops/{name}" for name in od], "inf": ["inf_crop_0.jpg"]}
        write(root / "img_detect" / split / f"{split}_img2crop.pth", crops)
    return root


# The real files


@pytest.fixture(scope="session")
def real_texts(shared_mnre):
    texts = {split: (shared_mnre / "mnre_txt" / name).open(encoding="utf-8").read() for split, name in TEXTS.items()}
    return {split: [ast.literal_eval(line) for line in text.rstrip("\n").split("\n")] for split, text in texts.items()}


@pytest.fixture(scope="session")
def real(shared_mnre, real_texts, tmp_path_factory):
    """All of MNRE with the released regions and BLIP-2's captions, one small picture under each image's name."""
    folder, picture = tmp_path_factory.mktemp("images"), jpeg()
    for split, rows in real_texts.items():
        (folder / OLD_SPLIT[split]).mkdir()
        for name in {row["img_id"] for row in rows}:
            (folder / OLD_SPLIT[split] / name).write_bytes(picture)
    captions = sorted((shared_mnre / "captions").glob("blip2_*.txt"))
    return load_mnre(shared_mnre, regions="released", captions=captions, image_dir=folder)


def test_real_sizes_and_relations(real, shared_mnre):
    assert {split: len(rows) for split, rows in real.items()} == {"train": 12247, "validation": 1624, "test": 1614}
    assert [*real] == ["train", "validation", "test"]
    for rows in real.values():
        assert rows.features == post_features(MNRE_RELATIONS)
    ids = json.loads((shared_mnre / "ours_rel2id.json").read_text())
    assert sorted(ids, key=ids.get) == MNRE_RELATIONS and len(MNRE_RELATIONS) == 23
    assert MNRE_RELATIONS[0] == "None"
    counts = [Counter(rows["relation"])[0] for rows in real.values()]
    assert counts == [7744, 1000, 974]


def test_real_boxes(real, real_texts):
    grounded, detected = {}, {}
    for split, rows in real.items():
        rows = rows.select_columns(["grounded_regions", "detected_regions"])[:]
        grounded[split] = sum(map(len, rows["grounded_regions"]))
        names = [row["img_id"] for row in real_texts[split]]
        detected[split] = sum(len(boxes) for boxes in dict(zip(names, rows["detected_regions"])).values())
        boxes = [box for column in rows.values() for boxes in column for box in boxes]
        assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in boxes)
    assert grounded == {"train": 32550, "validation": 4344, "test": 4373}
    assert detected == {"train": 20885, "validation": 2614, "test": 2597}


def test_real_regions_leak_as_the_warning_says(real):
    for row in real["test"].remove_columns("image"):
        types = MNRE_RELATIONS[row["relation"]].split("/")[1:3]
        assert len(row["grounded_regions"]) == 2 + sum(name != "misc" for name in types)


def test_real_rows_against_the_files(real, real_texts, shared_mnre):
    for split, rows in real.items():
        folder, old = shared_mnre / "regions", OLD_SPLIT[split]
        vg = torch.load(folder / f"{BOX_PREFIX[split]}_vg_box_dict.pth", weights_only=True)
        od = torch.load(folder / f"{BOX_PREFIX[split]}_detect_box_dict.pth", weights_only=True)
        order = torch.load(folder / f"mre_{old}_dict.pth", weights_only=True)
        captions = (shared_mnre / "captions" / f"blip2_{old}.txt").read_text("utf-8").splitlines()
        captions = {row["img_id"]: row["text"] for row in map(ast.literal_eval, captions)}
        for line in (0, 1, 777, 1613):
            expected, row = real_texts[split][line], rows[line]
            assert row["id"] == f"{split}-{line}"
            assert row["text"] == " ".join(expected["token"])
            for entity, field in (("head", "h"), ("tail", "t")):
                start, end = expected[field]["pos"]
                before = "".join(f"{word} " for word in expected["token"][:start])
                name = " ".join(expected["token"][start:end])
                assert row[entity] == {"start": len(before), "end": len(before) + len(name)}
            assert MNRE_RELATIONS[row["relation"]] == expected["relation"]
            assert row["caption"] == captions[expected["img_id"]].strip()
            assert row["image"].size == (8, 6) and row["image"].filename.endswith(f"{old}/{expected['img_id']}")
            stem = expected["img_id"].removesuffix(".jpg")
            names = {
                "grounded_regions": order[line],
                "detected_regions": [f"{stem}_crop_{n}.jpg" for n in range(9) if f"{stem}_crop_{n}.jpg" in od],
            }
            for column, crops in names.items():
                assert len(row[column]) == len(crops)
                for (x0, y0, x1, y1), crop in zip(row[column], crops):
                    centre = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
                    assert centre == pytest.approx({**vg, **od}[crop][:4], abs=1e-12)


def test_real_captions(real):
    assert not any(
        caption is None or caption != caption.strip() for rows in real.values() for caption in rows["caption"]
    )


def test_real_ids_survive_filter_and_shuffle(real, real_texts):
    couple = MNRE_RELATIONS.index("/per/per/couple")
    rows = real["train"].filter(lambda relation: relation == couple, input_columns="relation").shuffle(seed=0)
    found = {int(row["id"].removeprefix("train-")): row["text"] for row in rows.select_columns(["id", "text"])}
    texts = enumerate(real_texts["train"])
    assert found == {line: " ".join(row["token"]) for line, row in texts if row["relation"] == "/per/per/couple"}


def test_joining_the_words_loses_nothing(real, real_texts):
    for split, rows in real.items():
        texts = rows["text"][:]
        assert len(texts) == len(real_texts[split])
        assert [text.split(" ") for text in texts] == [row["token"] for row in real_texts[split]]
        for entity, field in (("head", "h"), ("tail", "t")):
            names = [text[span["start"] : span["end"]] for text, span in zip(texts, rows[entity][:])]
            assert names == [" ".join(row["token"][slice(*row[field]["pos"])]) for row in real_texts[split]]


def test_real_images_where_there_are_some(shared_mnre, real_texts, tmp_path, caplog):
    """Posts of the test split whose images lie in another split's folder, with most images missing."""
    for name in ("mnre_txt/mnre_test.txt", *(f"regions/test_{kind}_box_dict.pth" for kind in ("vg", "detect"))):
        (tmp_path / name.split("/")[1]).symlink_to(shared_mnre / name)
    (tmp_path / "img_org").symlink_to(shared_mnre / "img_org")
    dataset = load_mnre(tmp_path, regions="released", on_missing_image="text_only")
    assert [*dataset] == ["test"]
    there = {path.name for path in (shared_mnre / "img_org").rglob("*.jpg")}
    names = [row["img_id"] for row in real_texts["test"]]
    assert f"test: {len({*names} - there)} of {len({*names})} images" in caplog.text
    assert {*names} & there
    for name, row in zip(names, dataset["test"]):
        assert (row["image"] is not None) == (name in there) == bool(row["grounded_regions"])
        assert row["image"] is None or row["image"].size == (800, 600)


# The layouts


def test_layout_of_the_repository(repository):
    dataset = load_mnre(repository)
    assert {split: rows["id"][:] for split, rows in dataset.items()} == {
        "train": ["train-0", "train-1"],
        "validation": ["validation-0"],
        "test": ["test-0"],
    }
    assert dataset["train"].features == post_features(MNRE_RELATIONS)
    row = dataset["train"][1]
    assert row.pop("image").size == (8, 6)
    assert row == {
        "id": "train-1",
        "text": "Rafael in South Wales",
        "head": {"start": 0, "end": 6},
        "tail": {"start": 10, "end": 21},
        "relation": 11,
        "grounded_regions": [],
        "detected_regions": [],
        "caption": None,
    }
    assert dataset["test"][0]["head"] == {"start": 10, "end": 21}
    assert dataset["test"][0]["tail"] == {"start": 16, "end": 21}


def test_images_stay_files(repository, monkeypatch):
    monkeypatch.chdir(repository.parent)
    dataset = load_mnre(repository.name)
    monkeypatch.chdir("/")  # the rows know where their images are, wherever the process goes
    assert dataset["train"].with_format("arrow")["image"].to_pylist()[0] == {
        "bytes": None,
        "path": str(repository / "mnre_image" / "a.jpg"),
    }
    assert dataset["train"][0]["image"].size == (8, 6)


@pytest.mark.parametrize("name", ["mnre_val.txt", "mnre_dev.txt", "ours_validation.txt", "ours_dev.txt"])
def test_names_of_the_validation_split(repository, name):
    (repository / "mnre_txt" / "mnre_val .txt").rename(repository / name)
    assert load_mnre(repository)["validation"]["id"][:] == ["validation-0"]


def test_absent_splits_are_absent(repository):
    (repository / "mnre_txt" / "mnre_val .txt").unlink()
    assert [*load_mnre(repository)] == ["train", "test"]


def test_no_text_file(tmp_path):
    text = message(FileNotFoundError, tmp_path)
    assert str(tmp_path) in text and "'mnre_val .txt'" in text and "'ours_test.txt'" in text
    assert "nowhere" in message(FileNotFoundError, tmp_path / "nowhere")


def test_blank_lines_count_but_are_no_posts(repository):
    write(repository / "mnre_txt" / "mnre_train.txt", ["", post("a.jpg"), "  ", "", post("b.jpg")])
    assert load_mnre(repository)["train"]["id"][:] == ["train-1", "train-4"]


def test_line_separators_within_a_post(repository):
    row = post("a.jpg", token=["Rafael\u2028", "in\x0b", "\u2026", "Wales\x85"])
    del row["h"]["name"], row["t"]["name"]
    write(repository / "mnre_txt" / "mnre_train.txt", [str(row).replace("\\u2028", "\u2028").replace("\\x85", "\x85")])
    assert load_mnre(repository)["train"][0]["text"] == " ".join(row["token"])


def test_windows_line_ends_and_byte_order_mark(repository):
    text = "\ufeff" + "\r\n".join([repr(post("a.jpg")), repr(post("b.jpg")), ""])
    write(repository / "mnre_txt" / "mnre_train.txt", text.encode())
    assert load_mnre(repository)["train"]["id"][:] == ["train-0", "train-1"]


def test_layout_of_the_archive(archive):
    dataset = load_mnre(archive, regions="released")
    assert [*dataset] == ["train", "validation", "test"]
    for rows in dataset.values():
        # mre_*_dict.pth gives the order 10, 9; *_img2crop.pth the order 2, 0.
        assert rows["grounded_regions"][:] == [
            [[0.5 - 11 / 32, 0.25, 0.5 + 11 / 32, 0.75], [0.5 - 10 / 32, 0.25, 0.5 + 10 / 32, 0.75]],
            [[0.5 - 3 / 32, 0.25, 0.5 + 3 / 32, 0.75]],
        ]
        assert rows["detected_regions"][:] == [[[0.125, 0.25, 0.875, 0.75], [0.375, 0.25, 0.625, 0.75]], []]


def test_regions_without_the_lists_of_names(archive):
    for path in (*archive.rglob("mre_*_dict.pth"), *archive.rglob("*_img2crop.pth")):
        path.unlink()
    for rows in load_mnre(archive, regions="released").values():
        assert [[box[2] - box[0] for box in boxes] for boxes in rows["grounded_regions"]] == [
            [10 / 16, 11 / 16],
            [3 / 16],
        ]
        assert [[box[2] - box[0] for box in boxes] for boxes in rows["detected_regions"]] == [[0.25, 0.75], []]


def test_regions_keep_their_line_when_lines_are_blank(archive):
    write(archive / "txt" / "ours_train.txt", ["", post("train_1.jpg")])
    write(archive / "txt" / "mre_train_dict.pth", {1: ["1_pred_yolo_crop_2.png"]})
    train = load_mnre(archive, regions="released")["train"]
    assert train["id"][:] == ["train-1"] and len(train["grounded_regions"][0]) == 1


def test_no_regions_unless_asked_for(archive):
    for rows in load_mnre(archive).values():
        assert rows["grounded_regions"][:] == rows["detected_regions"][:] == [[], []]


def test_released_needs_the_box_files(archive):
    (archive / "boxes" / "dev_vg_box_dict.pth").unlink()
    (archive / "boxes" / "test_detect_box_dict.pth").unlink()
    text = message(FileNotFoundError, archive, regions="released")
    assert "dev_vg_box_dict.pth" in text and "test_detect_box_dict.pth" in text and "hold no coordinates" in text
    assert "train_vg_box_dict.pth" not in text and "dev_detect_box_dict.pth" not in text
    load_mnre(archive)


def test_detected_regions_are_the_released_ones_without_the_grounded_ones(archive, caplog):
    whole = load_mnre(archive, regions="released")
    logging.Logger.warning_once.cache_clear()
    for path in archive.rglob("*_vg_box_dict.pth"):
        path.unlink()
    detected = load_mnre(archive, regions="detected")
    for split, rows in detected.items():
        assert rows["detected_regions"][:] == whole[split]["detected_regions"][:] and any(rows["detected_regions"])
        assert rows["grounded_regions"][:] == [[]] * len(rows) and any(whole[split]["grounded_regions"])
    assert "give the label away" not in caplog.text.split("detected", 1)[-1]
    (archive / "boxes" / "dev_detect_box_dict.pth").unlink()
    text = message(FileNotFoundError, archive, regions="detected")
    assert "regions='detected' needs" in text and "dev_detect_box_dict.pth" in text and "vg_box" not in text


def test_the_leak_is_warned_of_once(archive, caplog):
    logging.Logger.warning_once.cache_clear()
    load_mnre(archive)
    assert "give the label away" not in caplog.text
    load_mnre(archive, regions="released")
    load_mnre(archive, regions="released")
    warnings = [record.getMessage() for record in caplog.records if "give the label away" in record.getMessage()]
    assert len(warnings) == 1 and "2 + the number of types" in warnings[0] and "70 F1" in warnings[0]


@pytest.mark.parametrize("options", [{"regions": "relesed"}, {"regions": None}, {"on_missing_image": "skip"}])
def test_unknown_arguments(repository, options):
    text = message(ValueError, repository, **options)
    assert "; did you mean " in text or "; expected 'error', 'text_only' or 'keep'" in text
    assert repr(str([*options.values()][0])) in text


def test_two_different_files_for_one_place(repository):
    write(repository / "txt" / "ours_train.txt", (repository / "mnre_txt" / "mnre_train.txt").read_bytes())
    assert len(load_mnre(repository)["train"]) == 2
    write(repository / "txt" / "ours_train.txt", [post("a.jpg")])
    text = message(ValueError, repository)
    assert "ours_train.txt" in text and "mnre_train.txt" in text and "differ" in text


def test_folders_of_images(repository, tmp_path):
    """`image_dir` is searched instead of `data_dir`; the split's folder and img_org win over others."""
    for folder, width in (("more", 1), ("more/test", 2), ("more/train", 3), ("img_org", 4), ("img_org/train", 5)):
        write(tmp_path / "elsewhere" / folder / "a.jpg", jpeg((width, 6)))
    for name in "bcd":
        write(tmp_path / "elsewhere" / f"{name}.jpg", jpeg((9, 6)))

    def width(name="a.jpg"):
        train = load_mnre(repository, image_dir=tmp_path / "elsewhere")["train"]
        return train[["a.jpg", "b.jpg"].index(name)]["image"].width

    assert width("b.jpg") == 9
    for expected in (5, 4, 3):
        assert width() == expected
        (path,) = [path for path in (tmp_path / "elsewhere").rglob("a.jpg") if Image.open(path).width == expected]
        path.unlink()
    assert "a.jpg" in message(ValueError, repository, image_dir=tmp_path / "elsewhere")  # 1 or 2?


def test_links_are_followed_and_hidden_folders_are_not(repository, tmp_path):
    (repository / "mnre_image").rename(tmp_path / "disk")
    (repository / "mnre_image").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(repository)
    write(repository / ".cache" / "mnre_train.txt", [post("z.jpg")])
    assert len(load_mnre(repository)["train"]) == 2


# Bad data


def test_version_1_is_refused(repository, archive):
    write(repository / "mnre_txt" / "mnre_val .txt", [post("c.jpg"), post(7, "none")])
    text = message(ValueError, repository)
    assert "mnre_val .txt:2: this is version 1" in text and "cannot be compared" in text and "Version 2" not in text[:9]
    write(repository / "mnre_txt" / "mnre_val .txt", [post("c.jpg", "/per/misc/creat")])
    assert "version 1" in message(ValueError, repository)
    write(archive / "ours_rel2id.json", b'{"none": 0, "/per/per/parent": 1}')
    assert "ours_rel2id.json: this is version 1" in message(ValueError, archive)


def test_folder_of_version_1_is_refused(tmp_path):
    write(tmp_path / "Version-1" / "mnre_txt" / "mnre_org_val.txt", [post(7, "none")])
    assert "mnre_org_val.txt: this is version 1" in message(ValueError, tmp_path)


BAD_ROWS = {
    "no literal": ("{'token': __import__('os').getcwd()}", "line", "expected a dictionary"),
    "unfinished": (repr(post())[:-5], "line", "expected a dictionary"),
    "json": ('{"token": null}', "line", "expected a dictionary"),
    "no dictionary": ("['Rafael']", "line", "['Rafael']"),
    "no token": ({k: v for k, v in post().items() if k != "token"}, "token", "nothing"),
    "empty tokens": (post(token=[]), "token", "[]"),
    "blank word": (post(token=["Rafael", " ", "South", "Wales"]), "token", "blank"),
    "token type": (post(**{"token": "Rafael in South Wales"}), "token", "'Rafael in South Wales'"),
    "no head": ({k: v for k, v in post().items() if k != "h"}, "h.pos", "nothing"),
    "head type": (post(h={"name": "Rafael", "pos": "0"}), "h.pos", "'0'"),
    "three bounds": (post(h={"pos": [0, 1, 2]}), "h.pos", "[0, 1, 2]"),
    "float bounds": (post(h={"pos": [0.0, 1.0]}), "h.pos", "[0.0, 1.0]"),
    "empty span": (post(tail=(2, 2)), "t.pos", "[2, 2]"),
    "inverted span": (post(tail=(3, 2)), "t.pos", "[3, 2]"),
    "span past the end": (post(tail=(2, 5)), "t.pos", "within 4 tokens"),
    "shifted span": (post(h={"name": "South Wales", "pos": [0, 1]}), "h.name", "'South Wales'"),
    "negative span": (post(head=(-1, 1)), "h.pos", "[-1, 1]"),
    "image type": (post(17), "img_id", "17"),
    "no image": ({k: v for k, v in post().items() if k != "img_id"}, "img_id", "nothing"),
    "unknown relation": (
        post(relation="/per/per/friend"),
        "relation",
        "unknown relation '/per/per/friend'; did you mean '/per/per/",
    ),
    "relation type": (post(relation=["None"]), "relation", "['None']"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row(repository, case):
    row, field, found = BAD_ROWS[case]
    write(repository / "mnre_txt" / "mnre_train.txt", [post("a.jpg"), "", row, post("b.jpg")])
    summary, problem = message(ValueError, repository).split("\n")
    assert summary.startswith("1 problem") and found in problem
    place = f"{repository / 'mnre_txt' / 'mnre_train.txt'}:3: "
    assert problem.strip().startswith(place + ("unknown relation " if case == "unknown relation" else f"{field}: "))
    assert "; expected " in problem or "; did you mean " in problem


def test_bad_bytes(repository):
    write(repository / "mnre_txt" / "mnre_test.txt", repr(post("d.jpg")).encode() + b"\n{'token': ['\xff']}\n")
    assert "mnre_test.txt:2: line: " in message(ValueError, repository)


def test_empty_text(repository):
    write(repository / "mnre_txt" / "mnre_test.txt", b"\n")
    assert "mnre_test.txt: content: " in message(ValueError, repository)


@pytest.mark.parametrize(
    "change", [{"/per/per/peer": 7}, {"/per/misc/creat2": 23}, {"/per/per/alumi": None}], ids=["id", "more", "fewer"]
)
def test_relation_file_must_agree(archive, change):
    ids = {**{name: index for index, name in enumerate(MNRE_RELATIONS)}, **change}
    ids = {name: index for name, index in ids.items() if index is not None}
    write(archive / "ours_rel2id.json", json.dumps(ids).encode())
    assert f"ours_rel2id.json: {[*change][0]}: " in message(ValueError, archive)


def test_broken_relation_file(archive):
    for content in (b"{", b"[1]", b"7", b"\xff"):
        write(archive / "ours_rel2id.json", content)
        assert "ours_rel2id.json: content: " in message(ValueError, archive)


BAD_BOXES = {
    "left": (0.2, 0.5, 0.5, 0.5, 0.25),
    "below": (0.5, 0.9, 0.5, 0.5, 0.25),
    "just outside": (0.5, 0.5, 1.00001, 0.5, 0.5),
    "NaN": (math.nan, 0.5, 0.5, 0.5, 0.25),
    "NaN size": (0.5, 0.5, 0.5, math.nan, 0.25),
    "infinite": (0.5, 0.5, math.inf, 0.5, 0.25),
    "inverted": (0.5, 0.5, -0.5, 0.5, 0.25),
    "no area": (0.5, 0.5, 0.0, 0.5, 0.0),
    "pixels": (400, 300, 80, 60, 4800),
    "four values": (0.5, 0.5, 0.5, 0.5),
    "text": "0.5 0.5 0.5 0.5 0.25",
    "nothing": None,
}


@pytest.mark.parametrize("case", BAD_BOXES)
@pytest.mark.parametrize("name", ["1_pred_yolo_crop_2.png", "train_0_crop_0.jpg"])
def test_bad_box(archive, name, case):
    path = archive / "boxes" / f"train_{'vg' if 'yolo' in name else 'detect'}_box_dict.pth"
    write(path, {**torch.load(path), name: BAD_BOXES[case]})
    summary, problem = message(ValueError, archive, regions="released").split("\n")
    assert summary.startswith("1 problem")
    assert problem.strip().startswith(f"{path}:{name}: box: ") and "; expected (x, y, width" in problem


def test_only_rounding_is_clipped(archive):
    path = archive / "boxes" / "train_vg_box_dict.pth"
    write(path, {**torch.load(path), "1_pred_yolo_crop_2.png": (0.5, 0.5, 1 + 1e-9, 1.0, 1.0)})
    assert load_mnre(archive, regions="released")["train"][1]["grounded_regions"] == [[0.0, 0.0, 1.0, 1.0]]


def test_region_dictionaries_must_fit_the_text(archive):
    crops = {0: ["0_pred_yolo_crop_9.png"], 1: ["1_pred_yolo_crop_99.png"], 2: ["0_pred_yolo_crop_10.png"], "x": []}
    write(archive / "txt" / "mre_dev_dict.pth", crops)
    write(
        archive / "img_detect" / "test" / "test_img2crop.pth", {"test_1": ["img_detect/test/crops/test_1_crop_0.jpg"]}
    )
    text = message(ValueError, archive, regions="released")
    assert text.startswith("4 problem(s)")
    assert "mre_dev_dict.pth:1: crop: '1_pred_yolo_crop_99.png'; expected" in text
    assert "mre_dev_dict.pth:2: line number: 2; expected" in text
    assert "mre_dev_dict.pth:x: line number: 'x'; expected" in text
    assert "test_img2crop.pth:test_1: crop: 'img_detect/test/crops/test_1_crop_0.jpg'; expected" in text


def test_names_of_boxes_must_fit_the_text(archive):
    for path in (*archive.rglob("mre_*_dict.pth"), *archive.rglob("*_img2crop.pth")):
        path.unlink()
    path = archive / "boxes" / "train_vg_box_dict.pth"
    write(path, {**torch.load(path), "2_pred_yolo_crop_11.png": BOX, "left.png": BOX})
    text = message(ValueError, archive, regions="released")
    assert text.startswith("2 problem(s)")
    assert f"{path}:2: line number: 2; expected" in text and f"{path}:left.png: name: 'left.png'; expected" in text


@pytest.mark.parametrize(
    "name", ["train_vg_box_dict.pth", "test_detect_box_dict.pth", "mre_dev_dict.pth", "val_img2crop.pth"]
)
def test_broken_torch_file(archive, name):
    (path,) = archive.rglob(name)
    write(path, [1, 2])
    assert f"{path}: content: [1, 2]; expected a dictionary" in message(ValueError, archive, regions="released")
    path.write_bytes(path.read_bytes()[:-40])
    summary, problem = message(ValueError, archive, regions="released").split("\n")
    assert problem.strip().startswith(f"{path}: content: ")


class Payload:
    def __reduce__(self):
        return print, ("a pickle was run",)


def test_pickles_are_not_run(archive, capsys):
    path = archive / "boxes" / "train_vg_box_dict.pth"
    write(path, {"0_pred_yolo_crop_9.png": Payload()})
    assert f"{path}: content: " in message(ValueError, archive, regions="released")
    assert "a pickle was run" not in capsys.readouterr().out


def test_one_report_for_everything(archive):
    write(archive / "txt" / "ours_train.txt", ["{", post("train_1.jpg", "/per/per/friend", tail=(9, 9))])
    write(archive / "txt" / "ours_val.txt", [post("val_0.jpg", token=[]), post("val_1.jpg")])
    write(archive / "boxes" / "test_vg_box_dict.pth", {"0_pred_yolo_crop_9.png": (2, 2, 1, 1, 1)})
    write(archive / "captions.txt", [{"img_id": "train_0.jpg", "text": 5}])
    text = message(ValueError, archive, regions="released", captions=archive / "captions.txt")
    for place in (
        "ours_train.txt:1: line: ",
        "ours_train.txt:2: unknown relation ",
        "ours_train.txt:2: t.pos: ",
        "ours_val.txt:1: token: ",
        "test_vg_box_dict.pth:0_pred_yolo_crop_9.png: box: ",
        "mre_test_dict.pth:1: crop: ",
        "captions.txt:1: img_id, text: ",
        "captions: ",
    ):
        assert place in text
    assert text.splitlines()[0] == f"{len(text.splitlines()) - 1} problem(s) in the data:"


# Images


@pytest.fixture
def bad_images(repository, monkeypatch):
    """a.jpg is missing, b.jpg truncated, c.jpg no image and d.jpg larger than Pillow takes for safe."""
    folder = repository / "mnre_image"
    (folder / "a.jpg").unlink()
    write(folder / "b.jpg", jpeg((64, 48))[:-300])
    write(folder / "c.jpg", b"<html>404</html>")
    write(folder / "d.jpg", jpeg((80, 60)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    return repository


REASONS = {
    "train: 2 of 2 images: a.jpg (not found), b.jpg (": "b.jpg (OSError: image file is truncated",
    "validation: 1 of 1 images: c.jpg (": "c.jpg (UnidentifiedImageError: ",
    "test: 1 of 1 images: d.jpg (": "DecompressionBombError: 80 x 60, more than 4000 pixels",
}


def test_bad_images_are_an_error(bad_images):
    text = message(FileNotFoundError, bad_images)
    for place, reason in REASONS.items():
        assert place in text and reason in text
    write(bad_images / "mnre_image" / "a.jpg", jpeg())
    assert "train: 1 of 2 images: b.jpg (" in message(ValueError, bad_images)


def test_bad_images_leave_the_text(bad_images, tmp_path, caplog):
    ids = ["train-0", "train-1", "validation-0", "test-0"]
    rows = [{"id": id, "grounded_regions": [CORNERS], "detected_regions": [CORNERS], "caption": "hills"} for id in ids]
    path = write_annotation(tmp_path / "regions.jsonl", rows)
    write(bad_images / "mnre_image" / "b.jpg", jpeg())
    dataset = load_mnre(bad_images, regions=path, captions=path, on_missing_image="text_only")
    assert "train: 1 of 2 images: a.jpg (not found)" in caplog.text
    assert [*REASONS][1] in caplog.text and [*REASONS][2] in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with_image = {row["id"]: row for rows in dataset.values() for row in rows}
    assert with_image["train-1"]["image"].size == (8, 6)
    for id, row in with_image.items():
        assert (row["image"] is not None) == (id == "train-1")
        assert row["grounded_regions"] == row["detected_regions"] == ([CORNERS] if id == "train-1" else [])
        assert row["caption"] == "hills"


def test_ten_names_and_the_number(repository):
    write(repository / "mnre_txt" / "mnre_train.txt", [post(f"{n}.jpg") for n in range(13) for _ in range(2)])
    text = message(FileNotFoundError, repository)
    assert "train: 13 of 13 images: 0.jpg (not found), 1.jpg" in text
    assert "9.jpg (not found) and 3 more" in text and "10.jpg" not in text


@pytest.mark.parametrize("cut", [1, 5, 300, 600])
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_files_are_found_out(repository, cut, progressive):
    picture = jpeg((64, 48), progressive=progressive)
    write(repository / "mnre_image" / "a.jpg", picture)
    load_mnre(repository)
    write(repository / "mnre_image" / "a.jpg", picture[:-cut])
    assert "a.jpg (" in message(ValueError, repository)


def test_a_bomb_of_twice_the_limit(repository, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # the pictures have 48; above twice the limit Pillow raises
    assert "test: 1 of 1 images: d.jpg (DecompressionBombError" in message(ValueError, repository)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48)
    load_mnre(repository)


# Captions and annotation files


def test_captions(repository, tmp_path):
    write(tmp_path / "one.txt", [{"img_id": "a.jpg", "text": "\nA player. "}, {"img_id": "inf.png", "text": "A veil"}])
    write(tmp_path / "two.txt", [{"img_id": name, "text": name} for name in ("b.jpg", "c.jpg", "d.jpg")])
    dataset = load_mnre(repository, captions=[tmp_path / "one.txt", str(tmp_path / "two.txt")])
    assert dataset["train"]["caption"][:] == ["A player.", "b.jpg"] and dataset["test"]["caption"][:] == ["d.jpg"]


def test_images_without_caption(repository, tmp_path):
    write(tmp_path / "captions.txt", [{"img_id": "b.jpg", "text": "A hill"}])
    text = message(ValueError, repository, captions=str(tmp_path / "captions.txt"))
    assert "captions: 3 image(s) without one: a.jpg, c.jpg, d.jpg" in text


def test_two_captions_of_one_image(repository, tmp_path):
    rows = [
        {"img_id": name, "text": text} for text in ("A hill", "A lake") for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    ]
    write(tmp_path / "captions.txt", rows)
    text = message(ValueError, repository, captions=tmp_path / "captions.txt")
    assert "captions.txt:5: text: 'A lake'; expected no second caption of a.jpg" in text


def annotation_rows(**changes) -> list[dict]:
    ids = ["train-0", "train-1", "validation-0", "test-0"]
    rows = [{"id": id, "grounded_regions": [CORNERS], "caption": f"of {id}"} for id in ids]
    rows[1] |= {"grounded_regions": [], "detected_regions": [CORNERS, [0, 0, 1, 1]], "caption": None}
    rows[2] |= changes
    return rows


def test_annotation_file(repository, tmp_path):
    path = write_annotation(tmp_path / "regions.jsonl", annotation_rows()[::-1])
    both = load_mnre(repository, regions=path, captions=path)
    assert both["train"]["grounded_regions"][:] == [[CORNERS], []]
    assert both["train"]["detected_regions"][:] == [[], [CORNERS, [0.0, 0.0, 1.0, 1.0]]]
    assert both["train"]["caption"][:] == ["of train-0", None]
    assert both["test"][0]["caption"] == "of test-0" and both["validation"][0]["grounded_regions"] == [CORNERS]
    regions = load_mnre(repository, regions=tmp_path / "regions.jsonl")
    assert regions["train"]["caption"][:] == [None, None] and regions["train"]["grounded_regions"][0] == [CORNERS]
    captions = load_mnre(repository, captions=[tmp_path / "regions.jsonl"])
    assert captions["train"]["grounded_regions"][:] == [[], []] and captions["train"]["caption"][0] == "of train-0"


def test_annotation_with_missing_and_stray_ids(repository, tmp_path):
    rows = annotation_rows()
    path = write_annotation(tmp_path / "regions.jsonl", [*rows[2:], {**rows[0], "id": "train-7"}])
    text = message(ValueError, repository, regions=path)
    assert "2 of 4 posts missing: train-0, train-1;" in text and "1 of 3 without a post: train-7;" in text


@pytest.mark.parametrize("header", [{"mmre_annotation": 2}, {"mmre_annotation": "1"}, {"mmre_annotation": None}])
def test_annotation_of_another_version(repository, tmp_path, header):
    path = write_annotation(tmp_path / "regions.jsonl", annotation_rows(), header)
    for options in ({"regions": path}, {"captions": path}):
        text = message(ValueError, repository, **options)
        assert f"version {header['mmre_annotation']!r}; expected 1" in text


def test_no_annotation_file(repository, tmp_path):
    path = write_annotation(tmp_path / "regions.jsonl", annotation_rows(), {"version": 1})
    assert "no annotation file" in message(ValueError, repository, regions=path)


def test_annotation_without_what_is_asked_for(repository, tmp_path):
    rows = [{"id": row["id"], "caption": row["caption"]} for row in annotation_rows()]
    path = write_annotation(tmp_path / "captions.jsonl", rows)
    load_mnre(repository, captions=path)
    assert "no grounded_regions or detected_regions" in message(ValueError, repository, regions=path)


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"grounded_regions": [CORNERS, [0.5, 0, 1.5, 1]]}, "grounded_regions: [0.5, 0, 1.5, 1]"),
        ({"detected_regions": [[0.5, 0, 0.5, 1]]}, "detected_regions: [0.5, 0, 0.5, 1]"),
        ({"detected_regions": [[0.5, math.nan, 0.6, 1]]}, "detected_regions: [0.5, nan, 0.6, 1]"),
        ({"detected_regions": [[0.5, 0, 0.4, 1]]}, "detected_regions: [0.5, 0, 0.4, 1]"),
        ({"detected_regions": CORNERS}, "detected_regions: 0.25"),
        ({"grounded_regions": "all"}, "grounded_regions: 'all'"),
        ({"caption": 3}, "caption: 3"),
        ({"id": 3.5}, "line: "),
        ({"id": "train-0"}, "id: 'train-0' again"),
    ],
)
def test_bad_annotation(repository, tmp_path, changes, field):
    path = write_annotation(tmp_path / "regions.jsonl", annotation_rows(**changes))
    assert f"{path}:4: {field}" in message(ValueError, repository, regions=path)


def test_unfinished_annotation(repository, tmp_path):
    path = write_annotation(tmp_path / "regions.jsonl", annotation_rows())
    (tmp_path / "regions.jsonl").write_text((tmp_path / "regions.jsonl").read_text()[:-9])
    assert f"{path}:5: line: " in message(ValueError, repository, regions=path)


def test_an_annotation_file_stands_alone(repository, tmp_path):
    annotation = tmp_path / "annotation.jsonl"
    annotation.write_text('{"mmre_annotation": 1}\n', "utf-8")
    captions = tmp_path / "captions.txt"
    captions.write_text("{'img_id': 'a.jpg', 'text': 'a man'}\n", "utf-8")
    with pytest.raises(ValueError, match="annotation.jsonl is an annotation file, .* give it alone"):
        load_mnre(repository, captions=[captions, annotation])
