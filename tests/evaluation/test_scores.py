"""What the Trainer computes by, and what the record says, is the metric."""

import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from mmre.evaluation import scores
from mmre.evaluation.relation_f1 import RelationF1, relation_f1
from mmre.evaluation.scores import (
    compute_relation_f1,
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
    found = score_split(prediction, RELATIONS)
    expected = relation_f1(prediction.predictions.argmax(-1), prediction.label_ids, RELATIONS)
    assert {name: found[name] for name in expected} == expected
    probabilities = relation_probabilities(prediction)
    gold = [row[label] for row, label in zip(probabilities, prediction.label_ids)]
    assert found["loss"] == pytest.approx(-np.log(gold).mean())
    assert found["samples"] == 50 and np.sum(probabilities, axis=1) == pytest.approx(np.ones(50))
    assert list(found) == ["loss", "samples", *expected]


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
