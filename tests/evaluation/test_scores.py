"""What the Trainer computes by, and what the record says, is the metric."""

import datasets
import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from mmre.evaluation import scores
from mmre.evaluation.relation_f1 import RelationF1, relation_f1, relation_f1_by_order
from mmre.evaluation.scores import (
    compute_relation_f1,
    heads_first,
    metrics_for_trainer,
    relation_probabilities,
    score_split,
)

RELATIONS = ["None", "couple", "peer"]


@pytest.fixture
def prediction() -> EvalPrediction:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 3)).astype(np.float32)
    return EvalPrediction(predictions=logits, label_ids=generator.integers(3, size=50))


def test_the_trainer_computes_by_the_metric(prediction, monkeypatch):
    expected = relation_f1(prediction.predictions.argmax(-1), prediction.label_ids, RELATIONS)
    found = metrics_for_trainer(RELATIONS)(prediction)
    assert list(found) == ["accuracy", "precision", "recall", "f1"]
    assert found == {name: expected[name] for name in found}  # to the last bit
    monkeypatch.setattr(RelationF1, "_compute", lambda self, **_: {"f1": 0.125, "per_relation": {}})
    assert metrics_for_trainer(RELATIONS)(prediction) == {"f1": 0.125}


def test_the_record_has_the_loss_and_all_relations(prediction):
    head_first = [index % 3 > 0 for index in range(50)]
    found = score_split(prediction, RELATIONS, head_first)
    expected = relation_f1(prediction.predictions.argmax(-1), prediction.label_ids, RELATIONS)
    assert {name: found[name] for name in expected} == expected
    probabilities = relation_probabilities(prediction)
    gold = [row[label] for row, label in zip(probabilities, prediction.label_ids)]
    assert found["loss"] == pytest.approx(-np.log(gold).mean())
    assert found["samples"] == 50 and np.sum(probabilities, axis=1) == pytest.approx(np.ones(50))
    assert list(found) == ["loss", "samples", *expected, "by_order"]
    by_order = relation_f1_by_order(prediction.predictions.argmax(-1), prediction.label_ids, RELATIONS, head_first)
    assert found["by_order"] == by_order and by_order["head_first"]["samples"] == 33


def test_scores_by_order_are_those_of_the_posts_of_each_order(prediction):
    predicted, gold = prediction.predictions.argmax(-1).tolist(), prediction.label_ids.tolist()
    head_first = np.random.default_rng(1).random(50) < 0.7
    found = relation_f1_by_order(predicted, gold, RELATIONS, head_first)
    for name, wanted in (("head_first", True), ("tail_first", False)):
        posts = [(p, g) for p, g, first in zip(predicted, gold, head_first) if first == wanted]
        hits = sum(p == g != 0 for p, g in posts)
        precision, recall = hits / sum(p != 0 for p, _ in posts), hits / sum(g != 0 for _, g in posts)
        assert found[name]["samples"] == len(posts) > 5
        assert found[name]["precision"] == pytest.approx(precision) and found[name]["recall"] == pytest.approx(recall)
        assert found[name]["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    everything = relation_f1_by_order(predicted, gold, RELATIONS, [True] * 50)
    assert everything["head_first"]["f1"] == relation_f1(predicted, gold, RELATIONS)["f1"]
    assert everything["tail_first"] == {"samples": 0}


def test_which_entity_comes_first_goes_by_the_start_then_by_the_length():
    heads = [(0, 2), (3, 4), (0, 2), (0, 5), (1, 2), (0, 9)]
    tails = [(3, 4), (0, 2), (0, 5), (0, 2), (1, 2), (3, 4)]
    columns = {"head": heads, "tail": tails}
    spans = {name: [{"start": start, "end": end} for start, end in column] for name, column in columns.items()}
    found = heads_first(datasets.Dataset.from_dict(spans))
    assert found == [True, False, False, True, True, True]


def test_the_metric_leaves_no_file_and_no_random_state_behind(prediction, monkeypatch, tmp_path):
    made = []

    class Watched(RelationF1):
        def __init__(self, **arguments):
            made.append(arguments)
            super().__init__(**arguments)

    monkeypatch.setattr(scores, "RelationF1", Watched)
    monkeypatch.setattr(scores.tempfile, "tempdir", str(tmp_path))
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    compute_relation_f1(prediction.predictions.argmax(-1), prediction.label_ids, RELATIONS)
    assert (np.random.get_state()[1] == numpy_state).all() and torch.equal(torch.get_rng_state(), torch_state)
    assert list(tmp_path.iterdir()) == []
    (arguments,) = made
    assert arguments["keep_in_memory"] and arguments["cache_dir"].startswith(str(tmp_path))
