"""Runs of a prediction: random models loaded by the real Auto classes, real spaCy, real files."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from picture_helpers import SPACY_MODEL, cached_load_spacy
from PIL import Image
from prediction_helpers import (
    NADAL,
    PERELLO,
    TEXT,
    approximately,
    expected_relations,
    long_posts,
    read,
    shown,
    write,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, BertConfig

from mmre.annotation.keywords import find_keywords
from mmre.annotation.picture_models import Captioner, Detector, Grounder
from mmre.evaluation.output_lock import only_writer
from mmre.inference.entity_names import node_name
from mmre.inference.predictor import Predictor
from mmre.inference.run import predict
from mmre.modeling import MODELS
from mmre.processing import RelationExtractionPipeline, find_entities, processing_multimodal
from mmre.processing.picture_files import load_image


@pytest.mark.parametrize("name", ["focalmre", "tgdi"])
def test_a_raw_post_becomes_triples_with_all_that_is_found_on_the_fly(name, request, folder, arguments):
    model = request.getfixturevalue(name)
    tasks = ["grounding", "detection"] + (["captions"] if name == "tgdi" else [])
    args = arguments(tasks=tasks)
    report = predict(model, write(folder / "raw.jsonl", [{"id": "x", "text": TEXT, "image": "a.png"}]), args)

    nlp, image = cached_load_spacy(SPACY_MODEL), Image.open(folder / "a.png").convert("RGB")
    entities = find_entities(nlp, TEXT)
    assert [entity["text"] for entity in entities] == ["Rafael Nadal", "Mery Perello", "South Wales"]
    keywords = find_keywords(nlp, TEXT, [entity["text"] for entity in entities])
    columns = {
        "grounded_regions": Grounder(args.grounding_model, threshold=0.0)([image], [keywords])[0],
        "detected_regions": Detector(args.detection_model, threshold=0.0)([image])[0],
    }
    assert len(columns["grounded_regions"]) > 0 and len(columns["detected_regions"]) == 3
    if name == "tgdi":
        columns["caption"] = Captioner(args.caption_model, max_new_tokens=4)([image])[0]
        assert columns["caption"]
    pairs = list(itertools.permutations([(entity["start"], entity["end"]) for entity in entities], 2))
    expected = expected_relations(model, TEXT, pairs, folder / "a.png", **columns)
    bare = expected_relations(model, TEXT, pairs, folder / "a.png")
    assert expected and approximately(expected) != bare
    assert shown(read(args)) == approximately(expected)
    assert {row["id"] for row in read(args)} == {"x"}
    assert all(TEXT[row["head"]["start"] : row["head"]["end"]] == row["head"]["text"] for row in read(args))
    assert f"{len(expected)} triples of 1 posts" in report.text
    assert f"left out: {6 - len(expected)} pairs of entities" in report.text
    assert not list(Path(args.out).parent.glob("triples.jsonl.*"))


def test_a_post_is_decided_once_over_all_its_pairs(mtb, folder, arguments):
    text = f"{TEXT} . Rafael Nadal met Barack Obama in London"
    path = write(folder / "raw.jsonl", [{"id": "x", "text": text}, {"text": "nobody is here"}])
    alone, decided, both = (
        arguments(f"{name}.jsonl", **changes)
        for name, changes in (
            ("alone", {}),
            ("decided", {"decision": "post"}),
            ("both", {"decision": "post", "both_directions": True}),
        )
    )
    reports = [predict(mtb, path, args).text for args in (alone, decided, both)]
    entities = find_entities(cached_load_spacy(SPACY_MODEL), text)
    kinds = {entity["start"]: entity["type"] for entity in entities}
    number = len(entities) * (len(entities) - 1)
    assert len(read(alone)) < number and len(read(decided)) <= len(read(both)) < len(read(alone))
    for row in read(decided):
        assert row["relation"].upper().startswith(f"/{row['head']['type']}/{row['tail']['type']}/")
        assert row["head"]["type"] == kinds[row["head"]["start"]]
        assert node_name(row["head"]["text"]) != node_name(row["tail"]["text"]) and 0 <= row["ruled_out"] < 1
    ends = [[node_name(row[name]["text"]) for name in ("head", "tail")] for row in read(decided)]
    assert not any(end[::-1] in ends for end in ends)
    # Each pair of entities is in the report, once.
    for report, args in zip(reports, (alone, decided, both)):
        counted = [int(found) for found in re.findall(r"(\d+) (?:pairs|relations|symmetric|others|of other)", report)]
        assert sum(counted) + len(read(args)) == number and "; 1 posts have no pair" in report
    assert "one decision" not in reports[0] and "2 pairs of one name" in reports[1]


def test_types_may_be_given_and_a_schema_rules_by_them(mtb, folder, arguments):
    def entities(*kinds: str | None) -> list[dict]:
        return [{"start": span[0], "end": span[1], "type": kind} for span, kind in zip((NADAL, PERELLO), kinds)]

    posts = [{"text": TEXT, "entities": entities(*kinds)} for kinds in (("PER", "PER"), ("x", None), ("x", "y"))]
    names = [name for name in AutoModel.from_pretrained(mtb).config.label2id if name != "None"]
    rules = [{"relation": name, "types": [["x", "y"], ["y", "x"]]} for name in names]
    args = arguments(decision="post", schema=write(folder / "schema.jsonl", rules))
    report = predict(mtb, write(folder / "raw.jsonl", posts), args).text
    rows = read(args)
    assert {row["id"] for row in rows} == {"raw-1", "raw-2"}
    shown_types = {(row["id"], *sorted([row["head"].get("type", ""), row["tail"].get("type", "")])) for row in rows}
    assert shown_types == {("raw-1", "", "x"), ("raw-2", "x", "y")}
    assert re.search("[1-9] relations that do not fit the types", report)
    with pytest.raises(ValueError, match="entities\\[0\\].type: 3; expected a type"):
        predict(
            mtb, write(folder / "raw.jsonl", [{"text": TEXT, "entities": entities(3, "PER")}]), arguments("y.jsonl")
        )
    with pytest.raises(FileNotFoundError, match="--schema nowhere: there is no such file"):
        predict(mtb, write(folder / "raw.jsonl", posts), arguments("z.jsonl", decision="post", schema="nowhere"))


@pytest.mark.parametrize("changes", [{"schema": "x"}, {"both_directions": True}])
def test_what_decides_over_posts_is_refused_where_pairs_are_taken_alone(arguments, changes):
    with pytest.raises(ValueError, match=f"--{next(iter(changes))}; --decision pair takes each pair as the model says"):
        arguments(decision="pair", **changes)


def test_what_the_posts_hold_is_not_looked_for(focalmre, folder, arguments, monkeypatch):
    calls = []
    ground, detect = Grounder.__call__, Detector.__call__
    monkeypatch.setattr(Grounder, "__call__", lambda *all: calls.append(("ground", len(all[1]))) or ground(*all))
    monkeypatch.setattr(Detector, "__call__", lambda *all: calls.append(("detect", len(all[1]))) or detect(*all))
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png"}
    posts = [
        {**pair, "grounded_regions": [], "detected_regions": [[0, 0, 1, 1]]},
        {**pair, "grounded_regions": [[0, 0, 0.5, 1]]},
        pair,
        {"text": "nobody is here", "image": "b.png"},
    ]
    path = write(folder / "raw.jsonl", posts)
    predict(focalmre, path, arguments(tasks=["grounding", "detection"], batch_size=4))
    # The picture of two posts is looked at once, that of a post without entities never.
    assert calls == [("detect", 1), ("ground", 1)]


def test_the_gates_are_those_of_the_model(focalmre, tgdi, folder, arguments):
    posts = [
        {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png", "grounded_regions": [[0, 0, 0.5, 1]] * 2},
        {"text": TEXT, "head": PERELLO, "tail": NADAL},
    ]
    path = write(folder / "raw.jsonl", posts)
    for name, model_folder in (("focalmre", focalmre), ("tgdi", tgdi)):
        args = arguments(f"{name}.jsonl", output_fusion=True)
        predict(model_folder, path, args)
        rows = {row["id"]: row["fusion"] for row in read(args)}
        assert rows.keys() == {"raw-0", "raw-1"}
        processor, model = AutoProcessor.from_pretrained(model_folder), AutoModel.from_pretrained(model_folder)
        inputs = processor(
            text=TEXT, head=NADAL, tail=PERELLO, images=str(folder / "a.png"), grounded_regions=[[0, 0, 0.5, 1]] * 2
        )
        with torch.no_grad():
            outputs = model(**inputs, output_fusion=True)
        if name == "focalmre":
            gates, (head, tail) = outputs.gates[0], inputs["entity_positions"][0].tolist()
            mean = [(gates[slot, head].mean() + gates[slot, tail].mean()).item() / 2 for slot in range(7)]
            weights = outputs.region_weights[0].tolist()
            assert rows["raw-0"] == {
                "grounded_regions": {
                    "gates": pytest.approx(mean[:2], abs=1e-3),
                    "weights": pytest.approx(weights[:2], abs=1e-3),
                },
                # Without a detected region the picture as it is stands in.
                "detected_regions": {
                    "gates": pytest.approx(mean[4:5], abs=1e-3),
                    "weights": pytest.approx(weights[4:5], abs=1e-3),
                },
            }
            nothing = {"gates": [], "weights": []}
            assert rows["raw-1"] == {"grounded_regions": nothing, "detected_regions": nothing}
        else:
            assert rows["raw-0"]["matching_gate"] == pytest.approx(outputs.matching_gate.mean().item(), abs=1e-3)
            levels = outputs.hierarchy_gates[0, :3].mean(dim=1).tolist()  # the picture and two crops
            assert rows["raw-0"]["hierarchy_gates"] == [pytest.approx(level, abs=1e-3) for level in levels]
            assert rows["raw-1"] == {"matching_gate": 1.0, "hierarchy_gates": []}


def test_posts_that_cannot_be_predicted_are_recorded_and_the_run_goes_on(focalmre, folder, arguments):
    Image.new("RGB", (3000, 1)).save(folder / "line.png")  # no picture for the tiny Grounding DINO
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO}
    images = ["a.png", "broken.png", "line.png", "missing.png", "b.png", None]
    path = write(folder / "raw.jsonl", [{**pair, "image": image} for image in images])
    args = arguments(tasks=["grounding"], batch_size=4, grounding_threshold=0.0)
    report = predict(focalmre, path, args)
    lines = (folder.parent / "triples.jsonl.errors.jsonl").read_text("utf-8").splitlines()
    failed = {row["id"]: row["error"] for row in map(json.loads, lines)}
    assert failed.keys() == {"raw-1", "raw-2", "raw-3"}
    assert "image broken.png: " in failed["raw-1"] and "cannot identify" in failed["raw-1"]
    assert failed["raw-3"] == "image missing.png: not found"
    assert "the models do not take the post or its picture: " in failed["raw-2"]
    assert {row["id"] for row in read(args)} == {"raw-0", "raw-4", "raw-5"}
    assert "failed: 3 posts, all of them in " in report.text and "raw-3 (image missing.png: not found)" in report.text
    # Without the bad posts, what is left of this run must not be taken for the next one's.
    Path(args.out).unlink()
    predict(focalmre, write(folder / "raw.jsonl", [{**pair, "image": "a.png"}]), args)
    assert not Path(f"{args.out}.errors.jsonl").exists()


def test_a_post_of_words_that_fails_is_recorded_as_one_of_text(focalmre, folder, arguments):
    words = {"tokens": TEXT.split(), "head": [3, 5], "tail": [6, 8]}
    args = arguments()
    predict(focalmre, write(folder / "raw.jsonl", [words, {**words, "image": "missing.png"}]), args)
    assert [(row["id"], row["text"]) for row in read(args)] == [("raw-0", TEXT)]
    failed = Path(f"{args.out}.errors.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in failed] == [{"id": "raw-1", "error": "image missing.png: not found"}]


def test_a_model_that_reads_text_alone_opens_no_picture(mtb, folder, arguments):
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO, "detected_regions": [[0, 0, 0.5, 1]]}
    args = arguments()
    predict(mtb, write(folder / "raw.jsonl", [{**pair, "image": "broken.png"}, {**pair, "image": "missing.png"}]), args)
    assert shown(read(args)) == 2 * approximately(expected_relations(mtb, TEXT, [(NADAL, PERELLO)], None))
    assert not Path(f"{args.out}.errors.jsonl").exists()


@pytest.mark.parametrize(
    "changes, error",
    [
        (
            {"tasks": ["detection"]},
            r"--tasks detection: .*mtb \(MTBForRelationClassification\) reads no regions; leave",
        ),
        ({"tasks": ["captions"]}, r"--tasks captions: .*reads no captions"),
        ({"regions": "found.jsonl"}, r"--regions: .*reads no regions"),
        ({"captions": "found.jsonl"}, r"--captions: .*reads no captions"),
        ({"output_fusion": True}, r"MODEL .*MTBForRelationClassification fuses no picture with its text.*leave"),
    ],
)
def test_what_a_model_does_not_read_or_show_is_refused_before_the_first_post(mtb, folder, arguments, changes, error):
    post = {"id": "x", "text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png"}
    found = {"id": "x", "grounded_regions": [], "detected_regions": [], "caption": None}
    files = {
        name: write(folder / file, [{"mmre_annotation": 1}, found])
        for name, file in changes.items()
        if file == "found.jsonl"
    }
    args = arguments(**{**changes, **files})
    with pytest.raises(ValueError, match=error):
        predict(mtb, write(folder / "raw.jsonl", [post]), args)
    assert not list(folder.parent.glob("triples*"))


def test_another_model_is_refused_by_name_before_its_weights_are_read(folder, arguments, tmp_path):
    (tmp_path / "bert").mkdir()
    BertConfig().save_pretrained(tmp_path / "bert")  # no weights beside it
    path = write(folder / "raw.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}])
    expected = f"'bert', which extracts no relations; expected {' or '.join(MODELS)}"
    for options in ({}, {"output_fusion": True}):
        with pytest.raises(ValueError, match=expected):
            predict(str(tmp_path / "bert"), path, arguments(**options))


def test_a_folder_of_an_adapter_predicts_as_the_model_with_the_adapter(focalmre, folder, arguments, tmp_path):
    torch.manual_seed(0)
    base = AutoModel.from_pretrained(focalmre)
    adapted = get_peft_model(base, LoraConfig(target_modules=["query", "value"], init_lora_weights=False)).eval()
    adapted.save_pretrained(tmp_path / "lora")
    AutoProcessor.from_pretrained(focalmre).save_pretrained(tmp_path / "lora")
    args, of_base = arguments(), arguments("base.jsonl")
    path = write(folder / "raw.jsonl", [{"text": TEXT, "entities": [NADAL, PERELLO, [45, 56]], "image": "a.png"}])
    predict(str(tmp_path / "lora"), path, args)
    predict(focalmre, path, of_base)
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoProcessor.from_pretrained(focalmre).save_pretrained(tmp_path / "merged")
    pairs = list(itertools.permutations([NADAL, PERELLO, (45, 56)], 2))
    expected = approximately(expected_relations(str(tmp_path / "merged"), TEXT, pairs, folder / "a.png"))
    assert shown(read(args)) == expected != shown(read(of_base))


def test_two_runs_do_not_write_one_file(focalmre, folder, arguments):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}])
    args = arguments()
    with only_writer(args.out), pytest.raises(ValueError, match="another run is writing .*triples.jsonl: wait for it"):
        predict(focalmre, path, args)
    assert not Path(args.out).exists()
    predict(focalmre, path, args)
    assert len(read(args)) == 1


KILLED = """
import json, os, signal, sys
from mmre.cli.main import main
from mmre.inference import run

lines, append = [], run.append_line

def append_and_die(file, line):
    append(file, line)
    lines.append(line)
    if len(lines) == 3:  # the header and two batches
        file.write(b'{"batch": 2, "rows": [{"id": "to')
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

run.append_line = append_and_die
main()
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_file(focalmre, folder, arguments, tmp_path, monkeypatch):
    posts = [{"text": f"{TEXT} {number}", "image": f"{'abc'[number % 3]}.png"} for number in range(7)]
    posts[1]["image"] = "broken.png"
    path = write(folder / "raw.jsonl", [{**post, "head": NADAL, "tail": PERELLO} for post in posts])
    whole, killed = arguments("whole.jsonl"), arguments("killed.jsonl")
    predict(focalmre, path, whole)
    command = [sys.executable, "-c", KILLED, "predict", focalmre, path, "--out", killed.out, "--batch_size", "2"]
    command += ["--decision", "pair"]
    done = subprocess.run([*command, "--spacy_model", SPACY_MODEL], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not os.path.exists(killed.out) and os.path.exists(f"{killed.out}.part")

    with pytest.raises(ValueError, match="made with other settings or of other posts(.|\n)*batch_size: 2 there, 4 now"):
        predict(focalmre, path, arguments("killed.jsonl", batch_size=4))
    predicted = []
    encode = RelationExtractionPipeline.preprocess
    monkeypatch.setattr(
        RelationExtractionPipeline,
        "preprocess",
        lambda self, post, *rest, **named: predicted.append(post["id"]) or encode(self, post, *rest, **named),
    )
    predict(focalmre, path, killed)
    assert predicted == ["raw-2", "raw-5", "raw-4"]  # after those of a.png and the broken one
    assert Path(killed.out).read_bytes() == Path(whole.out).read_bytes() != b""
    errors = [tmp_path / f"{name}.jsonl.errors.jsonl" for name in ("killed", "whole")]
    assert errors[0].read_bytes() == errors[1].read_bytes() and b"broken.png" in errors[0].read_bytes()
    assert not os.path.exists(f"{killed.out}.part")


def test_posts_of_one_picture_go_into_one_batch_and_come_back_in_the_order_of_the_file(
    focalmre, folder, arguments, monkeypatch
):
    images = ["a.png", "b.png", None, "a.png", "missing.png", "b.png", "a.png", "c.png", "b.png"]
    posts = [{"text": f"{TEXT}{' and' * number}", "image": image} for number, image in enumerate(images)]
    path = write(folder / "raw.jsonl", [{**post, "head": NADAL, "tail": PERELLO} for post in posts])
    batches, predict_batch = [], Predictor.__call__
    monkeypatch.setattr(
        Predictor,
        "__call__",
        lambda self, batch, pool: batches.append([post["image"] for post in batch]) or predict_batch(self, batch, pool),
    )
    args = arguments(batch_size=3)
    predict(focalmre, path, args)
    assert batches == [["b.png", "b.png", "b.png"], ["c.png", "a.png", "a.png"], ["a.png", "missing.png", None]]
    found = {row["id"]: row for row in read(args)}
    for number, post in enumerate(posts):
        if post["image"] != "missing.png":
            image = post["image"] and folder / post["image"]
            expected = expected_relations(focalmre, post["text"], [(NADAL, PERELLO)], image)
            rows = [found[f"raw-{number}"]] if f"raw-{number}" in found else []
            assert shown(rows) == approximately(expected)
    order = [int(row["id"].removeprefix("raw-")) for row in read(args)]
    assert order == sorted(order) and len(order) > 4
    (failed,) = Path(f"{args.out}.errors.jsonl").read_text("utf-8").splitlines()
    assert json.loads(failed) == {"id": "raw-4", "error": "image missing.png: not found"}


def test_a_picture_cache_changes_no_result(focalmre, mtb, folder, arguments, tmp_path, monkeypatch):
    post = {"text": TEXT, "pairs": [[NADAL, PERELLO], [PERELLO, NADAL]], "grounded_regions": [[0, 0, 0.5, 1]]}
    path = write(folder / "raw.jsonl", [{**post, "image": f"{name}.png"} for name in ("a", "broken", "a", "missing")])
    for name, changes in (
        ("plain", {}),
        *((name, {"picture_cache": str(tmp_path / "cache")}) for name in ("new", "old")),
    ):
        predict(focalmre, path, arguments(f"{name}.jsonl", batch_size=2, **changes))
        for ending in ("jsonl", "jsonl.errors.jsonl"):
            found, plain = ((tmp_path / f"{which}.{ending}").read_text("utf-8") for which in (name, "plain"))
            assert re.sub("at 0x[0-9a-f]+", "", found) == re.sub("at 0x[0-9a-f]+", "", plain) != ""
        if changes:
            # The good one: once scaled, and never decoded after that.
            monkeypatch.setattr(processing_multimodal, "load_image", lambda image, limit: refuse_good(image, limit))
    with pytest.raises(ValueError, match=r"--picture_cache: .*mtb \(MTBForRelation.*reads no pictures; leave it out"):
        predict(mtb, path, arguments("mtb.jsonl", picture_cache=str(tmp_path / "cache")))
    with pytest.raises(ValueError, match="--picture_cache keeps pictures at the size of MODEL"):
        arguments("x.jsonl", picture_cache="cache", tasks=["detection"])


def refuse_good(image, limit):
    assert not isinstance(image, dict) or "a.png" not in image["path"]
    return load_image(image, limit)


def test_memory_does_not_grow_with_the_number_of_posts(focalmre, folder, arguments):
    peaks = {}
    for number in (1, 50, 240):  # the first one fills caches
        path, args = long_posts(folder / "raw.jsonl", number), arguments(f"{number}.jsonl", batch_size=5)
        tracemalloc.start()
        predict(focalmre, path, args)
        peaks[number] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(read(args)) == number
    # 190 more posts are 3.8 MB.
    assert peaks[240] - peaks[50] < 1_000_000, peaks


def damage(folder: str, target: Path, change) -> str:
    """A copy of a model with its weights changed."""
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return str(target)


def spoil(weights: dict) -> None:
    weights["classifier.0.weight"][0, 0] = float("nan")


def rename(weights: dict) -> None:
    weights["renamed"] = weights.pop("classifier.0.weight")


def test_logits_that_are_not_finite_fail_the_posts_and_are_no_relation(focalmre, folder, arguments, tmp_path):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}, {"text": TEXT, "pairs": []}])
    args = arguments()
    report = predict(damage(focalmre, tmp_path / "nan", spoil), path, args)
    assert (report.posts, report.failed) == (2, 1) and read(args) == []
    (line,) = Path(f"{args.out}.errors.jsonl").read_text("utf-8").splitlines()
    assert "The logits of a post are not finite (FocalMREForRelationClassification" in json.loads(line)["error"]


def test_a_checkpoint_that_does_not_fill_the_model_or_is_cut_predicts_nothing(focalmre, folder, arguments, tmp_path):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}])
    with pytest.raises(
        ValueError,
        match=r"MODEL .*renamed: The checkpoint .*renamed does not fill .* it lacks classifier.0.weight, which",
    ):
        predict(damage(focalmre, tmp_path / "renamed", rename), path, arguments())
    shutil.copytree(focalmre, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(OSError, match=r"MODEL .*cut: .*"):
        predict(str(tmp_path / "cut"), path, arguments())
    assert not list(folder.parent.glob("triples*"))


def test_a_run_does_not_go_on_with_another_model_at_the_same_place(focalmre, folder, arguments, tmp_path):
    pair = {"head": NADAL, "tail": PERELLO}
    path = write(folder / "raw.jsonl", [{"text": f"{TEXT} {number}", **pair} for number in range(5)])
    args = arguments(batch_size=2)
    command = [sys.executable, "-c", KILLED, "predict", focalmre, path, "--out", args.out, "--batch_size", "2"]
    command += ["--decision", "pair"]
    assert subprocess.run([*command, "--spacy_model", SPACY_MODEL]).returncode == -signal.SIGKILL

    def double(weights):
        weights["classifier.0.weight"] *= 2

    other = damage(focalmre, tmp_path / "other", double)
    shutil.copy(f"{other}/model.safetensors", f"{focalmre}/model.safetensors")
    with pytest.raises(ValueError, match="made with other settings or of other posts(.|\n)*files_sha256: "):
        predict(focalmre, path, args)
