"""Runs of an annotation, killed and resumed ones too: random models, real spaCy, real files."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from picture_helpers import MNRE_IDS, as_options, mnre_post, noise, read_annotation, write_mnre_texts

from mmre.annotation import annotator as annotator_module
from mmre.annotation.annotator import Annotator
from mmre.annotation.plan import open_unlabelled_posts
from mmre.annotation.run import annotate
from mmre.evaluation.output_lock import only_writer
from mmre.posts import load_files, load_mnre
from mmre.posts.annotation_file import with_annotation


def test_every_post_gets_what_its_picture_shows(mnre, arguments):
    args = arguments()
    out = annotate(open_unlabelled_posts(mnre), args)
    header, rows = read_annotation(args)
    assert [row["id"] for row in rows] == MNRE_IDS
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
    assert "7 posts, 5 images; 0 posts have none" in out
    assert "unreadable: 2 images: train-3 (" in out and "validation-0 (not found)" in out
    assert "caption: 3 images, 5 posts" in out and "detection: 3 images in " in out
    assert not Path(f"{args.out}.part").exists()


def test_changing_every_label_changes_no_byte(mnre, arguments):
    first, second = arguments("first.jsonl"), arguments("second.jsonl")
    annotate(open_unlabelled_posts(mnre), first)
    before = {path: path.read_bytes() for path in mnre.glob("*.txt")}
    write_mnre_texts(mnre, "/per/per/couple")
    assert all(path.read_bytes() != content for path, content in before.items())
    annotate(open_unlabelled_posts(mnre), second)
    assert Path(first.out).read_bytes() == Path(second.out).read_bytes()


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_load_mnre_reads_the_file(mnre, arguments, name, caplog):
    args = arguments(name)
    annotate(open_unlabelled_posts(mnre), args)
    posts = load_mnre(mnre, regions=args.out, captions=args.out, on_missing_image="text_only")
    assert "the pictures of 2 of 7 posts were not readable: train-3 (" in caplog.text
    other = arguments("other.jsonl")
    annotate(open_unlabelled_posts(mnre), other)
    rows = {row["id"]: row for row in read_annotation(other)[1]}
    for row in (row for split in posts.values() for row in split):
        for column in ("grounded_regions", "detected_regions", "caption"):
            assert row[column] == rows[row["id"]][column]


def test_parquet_holds_the_header_and_the_reasons(mnre, arguments):
    args, other = arguments("out.parquet"), arguments("out.jsonl")
    annotate(open_unlabelled_posts(mnre), args)
    annotate(open_unlabelled_posts(mnre), other)
    table = pq.read_table(args.out)
    header, rows = read_annotation(other)
    assert json.loads(table.schema.metadata[b"mmre_annotation"]) == header
    assert table.to_pylist() == [{"error": None, **row} for row in rows]


def test_ids_that_do_not_match_are_named(mnre, arguments):
    args = arguments(tasks=["captions"])
    annotate(open_unlabelled_posts(mnre), args)
    write_mnre_texts(mnre, "None")
    (mnre / "mnre_test.txt").write_text(repr(mnre_post("York again", (0, 1), (0, 2), "a.png")) + "\n", "utf-8")
    with pytest.raises(ValueError, match="1 of 7 without a post: test-1"):
        load_mnre(mnre, captions=args.out, on_missing_image="text_only")


@pytest.mark.parametrize(
    "task, column", [("grounding", "grounded_regions"), ("detection", "detected_regions"), ("captions", "caption")]
)
def test_each_task_runs_alone(mnre, arguments, task, column, monkeypatch):
    for name, owner in (("grounding", "Grounder"), ("detection", "Detector"), ("captions", "Captioner")):
        if name != task:
            monkeypatch.setattr(annotator_module, owner, None)  # would fail if it were called
    alone, together = arguments("alone.jsonl", tasks=[task]), arguments("together.jsonl")
    annotate(open_unlabelled_posts(mnre), alone)
    monkeypatch.undo()
    annotate(open_unlabelled_posts(mnre), together)
    header, rows = read_annotation(alone)
    assert [task_name for task_name in ("grounding", "detection", "captions") if task_name in header] == [task]
    keys = ("id", column, "error")
    assert rows == [{key: row[key] for key in keys if key in row} for row in read_annotation(together)[1]]


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
    annotate(open_unlabelled_posts("files", files=dict(zip(("train", "validation"), files))), args)
    rows = {row["id"]: row for row in read_annotation(args)[1]}
    assert list(rows) == ["train-0", "train-1", "train-2", "validation-0"]
    assert "cannot identify image file" in rows["train-1"]["error"]
    assert rows["train-2"] == {"id": "train-2", "grounded_regions": [], "detected_regions": [], "caption": None}

    posts = load_files(*files, on_missing_image="text_only")
    joined = with_annotation(posts, regions=args.out, captions=args.out)
    assert {split: of_split.features for split, of_split in joined.items()} == {
        split: of_split.features for split, of_split in posts.items()
    }
    for before, after in zip(posts["train"], joined["train"], strict=True):
        found = rows[after["id"]]
        for column in ("grounded_regions", "detected_regions"):
            assert after[column] == [pytest.approx(box) for box in found[column]]
        assert after["caption"] == found["caption"]
        assert {name: before[name] for name in ("id", "text", "head", "tail", "relation", "image")} == {
            name: after[name] for name in ("id", "text", "head", "tail", "relation", "image")
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


def test_real_posts_and_pictures(shared_mnre, arguments, tmp_path):
    """The posts of the 38 real images: everything is found, and the file is read back beside the real data."""
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
    annotate(open_unlabelled_posts(folder), args)
    rows = read_annotation(args)[1]
    assert len(rows) == count >= len(present) == 38
    assert not any("error" in row for row in rows) and all(row["caption"] and row["grounded_regions"] for row in rows)
    posts = load_mnre(folder, regions=args.out, captions=args.out)
    assert sum(map(len, posts.values())) == count
    assert posts["train"][0]["grounded_regions"] == rows[0]["grounded_regions"]


# Killed runs

KILLED = """
import json, os, signal, sys
from mmre.annotation import run
from mmre.cli.main import main

append, left = run.append_line, int(sys.argv.pop(1))

def append_and_die(file, line):
    global left
    if left:
        left -= 1
        return append(file, line)
    file.write(json.dumps(line).encode()[:20])  # a torn line
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

run.append_line = append_and_die
main(['annotate', *sys.argv[1:]])
"""


def test_a_killed_run_goes_on_and_ends_in_the_same_file(mnre, arguments, monkeypatch):
    whole, killed = arguments("whole.jsonl"), arguments("killed.jsonl")
    annotate(open_unlabelled_posts(mnre), whole)
    command = [sys.executable, "-c", KILLED, "2", str(mnre), *as_options(killed)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    part = Path(f"{killed.out}.part")
    assert len(part.read_bytes().split(b"\n")) == 3 and len(part.read_bytes().split(b"\n")[2]) == 20
    assert not Path(killed.out).exists()

    numbers = []
    call = Annotator.__call__
    monkeypatch.setattr(
        Annotator,
        "__call__",
        lambda self, posts, pictures, pool: numbers.extend(pictures) or call(self, posts, pictures, pool),
    )
    annotate(open_unlabelled_posts(mnre), killed)
    assert numbers == [[3], [4], [5]]  # the first batch, of posts 0, 2, 6 and of post 1, was done
    assert Path(killed.out).read_bytes() == Path(whole.out).read_bytes()


@pytest.mark.parametrize("kept", [0, 10, -1])
def test_a_part_that_ends_anywhere_is_gone_on_with(mnre, arguments, kept):
    whole, torn = arguments("whole.jsonl", tasks=["detection"]), arguments("torn.jsonl", tasks=["detection"])
    annotate(open_unlabelled_posts(mnre), whole)
    header = Path(whole.out).read_bytes().split(b"\n")[0]
    Path(torn.out + ".part").write_bytes(header[:kept] if kept >= 0 else header)
    annotate(open_unlabelled_posts(mnre), torn)
    assert Path(torn.out).read_bytes() == Path(whole.out).read_bytes()


def test_other_settings_than_those_of_the_file_are_an_error(mnre, arguments):
    annotate(open_unlabelled_posts(mnre), arguments(tasks=["detection"]))
    before = Path(arguments().out).read_bytes()
    for changes, difference in (
        ({"detection_threshold": 0.25}, "detection.threshold: 0.0 there, 0.25 now"),
        ({"num_detected_regions": 2}, "detection.num_regions: 3 there, 2 now"),
        ({"batch_size": 3}, "batch_size: 2 there, 3 now"),
        ({"tasks": ["captions"]}, "detection.threshold: 0.0 there, None now"),
    ):
        with pytest.raises(ValueError, match=difference):
            annotate(open_unlabelled_posts(mnre), arguments(**{"tasks": ["detection"], **changes}))
    os.rename(arguments().out, arguments().out + ".part")
    with pytest.raises(ValueError, match=r"out.jsonl.part was made with other settings"):
        annotate(open_unlabelled_posts(mnre), arguments(tasks=["detection"], max_iou=0.5))
    assert Path(arguments().out + ".part").read_bytes() == before


def test_other_posts_than_those_of_the_file_are_an_error(mnre, arguments):
    args = arguments(tasks=["detection"])
    annotate(open_unlabelled_posts(mnre), args)
    path = mnre / "mnre_test.txt"
    path.write_text(path.read_text("utf-8").replace("girlfriend", "boyfriend"), "utf-8")
    with pytest.raises(ValueError, match="posts_sha256"):
        annotate(open_unlabelled_posts(mnre), args)


def test_a_finished_file_is_left_alone_and_a_strange_one_too(mnre, arguments):
    args = arguments(tasks=["detection"])
    annotate(open_unlabelled_posts(mnre), args)
    before = os.stat(args.out)
    Path(args.out + ".part").write_bytes(Path(args.out).read_bytes().split(b"\n")[0] + b"\n")  # killed before deletion
    summary = annotate(open_unlabelled_posts(mnre), args)
    assert os.stat(args.out).st_mtime_ns == before.st_mtime_ns and os.stat(args.out).st_ino == before.st_ino
    assert not Path(f"{args.out}.part").exists() and "7 posts, 5 images" in summary
    Path(args.out).write_text("my thesis")
    with pytest.raises(ValueError, match="is no annotation file"):
        annotate(open_unlabelled_posts(mnre), args)
    assert Path(args.out).read_text() == "my thesis"


def test_a_part_damaged_in_its_middle_is_an_error(mnre, arguments):
    args = arguments(tasks=["detection"])
    annotate(open_unlabelled_posts(mnre), args)
    header = Path(args.out).read_bytes().split(b"\n")[0]
    os.remove(args.out)
    Path(args.out + ".part").write_bytes(header + b"\n{torn\n" + b'{"batch": 0, "rows": []}\n')
    with pytest.raises(ValueError, match="part:2 is damaged"):
        annotate(open_unlabelled_posts(mnre), args)


def test_two_runs_do_not_write_one_file(mnre, arguments):
    args = arguments(tasks=["detection"])
    with only_writer(args.out), pytest.raises(ValueError, match="another run is writing .*out.jsonl: wait for it"):
        annotate(open_unlabelled_posts(mnre), args)
    assert not Path(f"{args.out}.part").exists() and not Path(args.out).exists()
    annotate(open_unlabelled_posts(mnre), args)
    assert len(read_annotation(args)[1]) == 7
