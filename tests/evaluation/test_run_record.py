"""The record of a run: its three files are read as they were written, and broken ones are refused."""

import json

import datasets
import numpy as np
import pytest

from mmre.evaluation.relation_f1 import NO_ANSWER
from mmre.evaluation.run_record import (
    posts_in_short,
    read_metrics,
    read_predictions,
    results_tables,
    write_metrics,
    write_predictions,
    write_results,
)

RELATIONS = ["None", "couple", "peer"]
POSTS = {
    "dataset": "mnre",
    "regions": "released",
    "captions": None,
    "images": "used",
    "align_noise": 0.0,
    "aug_noise": 0.0,
    "train_share": 1.0,
    "samples_per_relation": None,
    "samples": {"test": 3},
    "samples_without_image": {"test": 1},
}
SCORES = {"accuracy": 0.5, "precision": 0.25, "recall": 1.0, "f1": 0.4}
RESULTS = {
    "posts": POSTS,
    "validation": {"loss": 1.5, "samples": 2, **SCORES, "per_relation": {}},
    "test": {
        "loss": 1.25,
        "samples": 3,
        **SCORES,
        "per_relation": {"couplé": {"precision": 0.5, "recall": 1 / 3, "f1": 0.4, "support": 2}},
    },
}


def test_metrics_are_read_as_written(tmp_path):
    write_metrics(tmp_path, RESULTS)
    assert read_metrics(tmp_path) == RESULTS
    # Readable by a person and by any JSON reader; a name keeps its letters.
    assert (tmp_path / "metrics.json").read_text("utf-8") == json.dumps(RESULTS, indent=2, ensure_ascii=False) + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"test": {}}'])
def test_what_is_no_record_is_refused_by_its_path(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=r"metrics\.json: .*expected the metrics\.json of a run"):
        read_metrics(tmp_path)


def test_the_line_of_a_post_has_its_relations_by_name(tmp_path):
    probabilities = [[0.5, 0.25, 0.25], [0.0, 0.25, 0.75]]
    write_predictions(tmp_path, ["ä", "b"], RELATIONS, np.array([1, 2]), probabilities, [True, False])
    lines = (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()
    assert lines[0] == (
        '{"id": "ä", "gold": "couple", "predicted": "None", "head_first": true, '
        '"probabilities": {"None": 0.5, "couple": 0.25, "peer": 0.25}}'
    )
    assert json.loads(lines[1])["predicted"] == "peer" and len(lines) == 2


def test_the_line_of_a_post_says_what_a_person_reads_errors_by(tmp_path):
    picture = {"bytes": b"not decoded", "path": "/somewhere/else/wedding.jpg"}
    rows = [
        {"text": "ä weds b", "head": {"start": 0, "end": 1}, "tail": {"start": 7, "end": 8}, "image": picture},
        {"text": "a b", "head": {"start": 2, "end": 3}, "tail": {"start": 0, "end": 1}, "image": None},
    ]
    span = {"start": datasets.Value("int32"), "end": datasets.Value("int32")}
    features = {"text": datasets.Value("string"), "head": span, "tail": span, "image": datasets.Image()}
    posts = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    certain = np.eye(3)[:2].tolist()
    write_predictions(tmp_path, ["1", "2"], RELATIONS, [1, 2], certain, [True, False], posts_in_short(posts))
    first, second = map(json.loads, (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines())
    assert first["text"] == "ä weds b" and first["head"] == {"start": 0, "end": 1, "text": "ä"}
    assert (first["image"], second["image"]) == ("wedding.jpg", None)
    assert second["tail"]["text"] == "a" and second["head"]["text"] == "b"
    assert read_predictions(tmp_path).post_ids == ["1", "2"]


def test_predictions_are_read_in_the_order_of_their_ids(tmp_path):
    certain = np.eye(3).tolist()
    # U+2028 ends a line to `splitlines`, not to JSON.
    write_predictions(tmp_path, ["z", "a\u2028b"], RELATIONS, [1, 2], [certain[0], certain[2]], [False, True])
    for path in (tmp_path, tmp_path / "predictions.jsonl"):
        found = read_predictions(path)
        assert (found.post_ids, found.relations) == (["a\u2028b", "z"], RELATIONS)
        assert (found.gold.tolist(), found.predicted.tolist()) == ([2, 1], [2, 0])
        assert found.head_first.tolist() == [True, False]
    # A file of an earlier version does not say it.
    path.write_text(path.read_text("utf-8").replace('"head_first": true, ', ""), "utf-8")
    found = read_predictions(path)
    assert found.head_first is None and found.predicted.tolist() == [2, 0]


def test_an_answer_without_a_relation_is_read_as_none_of_them(tmp_path):
    write_predictions(tmp_path, ["a", "b"], RELATIONS, [1, 2], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [True, False])
    assert json.loads((tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()[0])["predicted"] is None
    assert read_predictions(tmp_path).predicted.tolist() == [NO_ANSWER, 2]


def test_each_post_has_its_probabilities(tmp_path):
    with pytest.raises(ValueError, match="argument"):
        write_predictions(tmp_path, ["a", "b"], RELATIONS, [1, 2], [[1.0, 0.0, 0.0]], [True, True])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no predictions"),
        ("nothing\n", ":1: JSONDecodeError.*expected a line of predictions.jsonl"),
        ('{"id": "0"}\n', ":1: KeyError: 'gold'; expected a line of predictions.jsonl"),
        ('{"id": "0", "gold": "x", "predicted": "x", "probabilities": {"y": 1}}\n', ":1: ValueError"),
        ('{"id": "0", "gold": "x", "predicted": "x", "probabilities": {"x": 1}}\n' * 2, ":2: the post '0'.* twice"),
    ],
)
def test_broken_predictions_are_refused_by_their_line(tmp_path, content, message):
    path = tmp_path / "broken.jsonl"
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_predictions(path)


def test_missing_files_are_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_metrics(tmp_path)


def test_the_tables_have_the_scores_in_per_cent(tmp_path):
    tables = write_results(tmp_path, RESULTS)
    assert (tmp_path / "results.md").read_text("utf-8") == tables == results_tables(RESULTS)
    lines = tables.splitlines()
    assert "| validation | 2 | 50.00 | 25.00 | 100.00 | 40.00 |" in lines
    assert "| test | 3 | 50.00 | 25.00 | 100.00 | 40.00 |" in lines
    assert "| relation (test) | support | precision | recall | F1 |" in lines
    assert "| couplé | 2 | 50.00 | 33.33 | 40.00 |" in lines
    assert "give the label away" in tables and "no picture" not in tables
    assert "order of the entities" not in tables  # of a run of an earlier version


def test_the_tables_have_the_scores_by_order():
    by_order = {"head_first": {"samples": 2, **SCORES}, "tail_first": {"samples": 0}}
    lines = results_tables(RESULTS | {"test": RESULTS["test"] | {"by_order": by_order}}).splitlines()
    start = lines.index("| order of the entities in the text | samples | precision | recall | F1 |")
    rows = ["| test, head first | 2 | 25.00 | 100.00 | 40.00 |", "| test, tail first | 0 |  |  |  |", ""]
    assert lines[start + 2 : start + 5] == rows


def test_the_tables_name_what_was_changed_in_the_posts():
    changed = {"images": "unused", "aug_noise": 0.25, "train_share": 0.1, "samples_per_relation": 5, "align_noise": 0.5}
    tables = results_tables({"posts": POSTS | changed})
    for part in ("no pictures", "25 % of the regions", "10 % of the training posts", "at most 5", "50 % of the pict"):
        assert part in tables
    assert "|" not in tables  # no split was scored
